"""Which rule of LRP each operation has in one evaluation, and the probe that sees what relevance comes and goes there."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax

from jaxviz.attribution.rules.affine import Affine, WithoutWeights
from jaxviz.attribution.rules.boxes import tallied
from jaxviz.attribution.rules.composites import CENTERING, Candidate, Composite
from jaxviz.attribution.rules.pending import Raw, Stretch
from jaxviz.attribution.rules.usage import Probe, Usage, Use, name_of
from jaxviz.program import Active, Where
from jaxviz.program._compat import JaxprEqn

# What an operation has for rules that ask for weights: some; none; or one number, which is of a function rather than of a layer.
Weighing = Literal["weights", "none", "number"]


class Assignment:
    """The rules of one evaluation.

    Args:
        function: the name of the method, for errors.
        composite: which rule is for which layer.
        flows: zeros for each operation with a rule, in order of execution, or nothing; see `Probe`.
        tally: see `boxes.tally`.

    Attributes:
        usage: what becomes of the rules.
    """

    def __init__(self, function: str, composite: Composite, flows: Sequence[Any] = (), tally: Any = None) -> None:
        self.function = function
        self.composite = composite
        self.usage = Usage(function, composite)
        self._flows, self._tally = flows, tally
        self._has_first = False
        self._instead: JaxprEqn | None = None  # which equation is the first layer where none sees the inputs

    def is_first(self, equation: JaxprEqn, base: Active) -> bool:
        """Whether an equation is a first linear layer: of raw inputs or, if none is, the one that is met first."""
        if isinstance(base, Raw):
            self._has_first = True
            return True
        if not self._has_first:
            self._has_first, self._instead = True, equation
        return equation is self._instead  # it may be evaluated more than once

    def rule(
        self, operation: str, where: Where, value: Any, *, first: bool = False, weighing: Weighing = "weights"
    ) -> Candidate:
        """The rule of an operation: the first that fits it and that it has the weights for.

        Args:
            operation: its kind, one of `composites.OPERATIONS`.
            where: the layer that it stands in.
            value: its value.
            first: whether it is a first linear layer.
            weighing: what it has for rules that ask for weights.
        """
        found: list[Candidate] = []
        for candidate in self.composite.candidates(operation, where, first):
            if weighing != "weights" and not (candidate.is_of_operations and operation != CENTERING):
                if weighing == "number":
                    continue
                if not found and _asks_for_weights(candidate.rule, value):
                    if candidate.is_exact or candidate.is_of_operations:
                        raise self.weightless(candidate, where)
                    self.usage.left_out(candidate, where)
                    continue
            self.usage.fits(candidate, operation, where)
            found.append(candidate)
        return found[0]

    def stretch(
        self,
        operation: str,
        where: Where,
        value: Any,
        base: Active,
        affine: Affine,
        *,
        first: bool = False,
        feature: Callable[[Any], Any] | None = None,
        candidate: Candidate | None = None,
    ) -> Stretch:
        """An affine map of a settled value, with its rule and its probe.

        Args:
            operation: its kind, one of `composites.OPERATIONS`.
            where: the layer that it stands in.
            value: its value.
            base: what it is a map of.
            affine: the map.
            first: whether it is a first linear layer.
            feature: see `Stretch`.
            candidate: its rule; None for the one that the composite has for it.
        """
        if candidate is None:
            weighing: Weighing = "none" if affine.kind == "unknown" else "weights"
            candidate = self.rule(operation, where, value, first=first, weighing=weighing)
        base = tallied(base, candidate.rule, self._tally)
        probe = self.probe(where, operation, candidate.rule, candidate)
        return Stretch(value, base, affine, candidate.rule, where, operation, probe, feature)

    def probe(self, where: Where, operation: str, rule: Any, candidate: Candidate | None = None) -> Probe:
        """The probe of an operation with a rule."""
        number, use = len(self.usage.uses), Use(where, operation, rule, candidate)
        self.usage.uses.append(use)
        return Probe(self._flows[number] if number < len(self._flows) else None, use)

    def weightless(self, candidate: Candidate, where: Where) -> ValueError:
        """The error for a rule that asks for weights where there are none."""
        what = "what subtracts its mean or divides by its own scale"
        if candidate.argument == "primitives":
            what = "a primitive"
        instead = f"; the pattern '{candidate.name}*' is for what has weights alone" if candidate.is_exact else ""
        return ValueError(
            f"{self.function}: the rule {name_of(candidate.rule)} of composite.{candidate.argument} for {candidate.name!r} asks "
            f"for weights, and {what} has none, in {where}; the rules Epsilon, Norm and Pass do without{instead}"
        )

    def missing(self, equation: JaxprEqn, where: Where, what: str) -> ValueError:
        """The error for an operation that has no rule."""
        name, given = equation.primitive.name, ""
        own = [one for one in self.composite.candidates("", where, first=True) if one.argument]
        if own:
            given = f" (that of composite.{own[0].argument} for {own[0].name!r} is for what is linear there)"
        return ValueError(
            f"{self.function}: no rule for the primitive {name!r}{what}, in {where}{given}; give one: "
            f"composite=Composite(primitives={{{name!r}: rule}}), where rule(layer, x, relevance) returns the relevance of x, "
            "the operand that depends on the inputs, or a tuple of these"
        )


def _asks_for_weights(rule: Any, value: Any) -> bool:
    """Whether a rule asks for the weights of a map, told by one without any, from and to the shape of a value."""
    shape = jax.ShapeDtypeStruct(value.shape, value.dtype)
    try:
        jax.eval_shape(lambda x, relevance: rule(Affine(lambda x, weights: x), x, relevance), shape, shape)
    except WithoutWeights:
        return True
    except Exception:  # what else is wrong with it is told where it is applied
        return False
    return False

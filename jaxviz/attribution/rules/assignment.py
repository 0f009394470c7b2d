"""Which rule of LRP each operation has in one evaluation, and the probe that sees what relevance comes and goes there."""

from collections.abc import Callable
from typing import Any

from jaxviz.attribution.rules.affine import Affine
from jaxviz.attribution.rules.composites import Composite
from jaxviz.attribution.rules.pending import Raw, Stretch
from jaxviz.program import Active, Where
from jaxviz.program._compat import JaxprEqn


class Assignment:
    """The rules of one evaluation.

    Args:
        function: the name of the method, for errors.
        composite: which rule is for which layer.
        probe: what gives the probe of an operation: `probe(where, operation, rule)`, or None.
    """

    def __init__(
        self, function: str, composite: Composite, probe: Callable[[Where, str, Any], Any] | None = None
    ) -> None:
        self.function = function
        self.composite = composite
        self.probe = probe or (lambda where, operation, rule: None)
        self._first: set[int] = set()  # which equations are first linear layers; some are evaluated more than once

    def is_first(self, equation: JaxprEqn, base: Active) -> bool:
        """Whether an equation is a first linear layer: of raw inputs or, if none is, the one that is met first."""
        if isinstance(base, Raw) or not self._first:
            self._first.add(id(equation))
        return id(equation) in self._first

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
        """
        rule = self.composite.find(operation, where, first)
        return Stretch(value, base, affine, rule, self.probe(where, operation, rule), feature)

    def missing(self, equation: JaxprEqn, where: Where, what: str) -> ValueError:
        """The error for an operation that has no rule."""
        name = equation.primitive.name
        return ValueError(
            f"{self.function}: no rule for the primitive {name!r}{what}, in {where}; give one: "
            f"composite=Composite(primitives={{{name!r}: rule}}), where rule(layer, x, relevance) returns the relevance of x, "
            "the operand that depends on the inputs, or a tuple of these"
        )

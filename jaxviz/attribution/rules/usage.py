"""What became of a composite's rules in one evaluation: which operations they fit, and why one that fits a layer fits none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.rules.composites import (
    CONVOLUTION,
    DENSE,
    NORMALIZATION,
    OPERATIONS,
    POOLING,
    Candidate,
    Composite,
)
from jaxviz.program import Where, paths


@dataclass(eq=False)
class Use:
    """An operation with a rule.

    Attributes:
        where: the layer that it stands in.
        operation: what it is.
        rule: its rule.
        candidate: by which name it has it, if by one of the composite.
        applied: whether relevance came there; known once relevance has been handed back.
    """

    where: Where
    operation: str
    rule: Any
    candidate: Candidate | None = None
    applied: bool = False


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Probe:
    """What sees the relevance that comes to an operation.

    Attributes:
        flow: None, or zeros, whose derivative is how much came and how much went on.
        use: which operation it is.
    """

    flow: Any
    use: Use = field(metadata={"static": True})

    def applied(self, came: Any, went: list[Any]) -> "Probe":
        """The derivative by this, of the relevance of an operation's result and of its operands."""
        self.use.applied = True
        if self.flow is None:
            return self
        sums = came.sum(), sum(part.sum() for part in went)
        return replace(self, flow=jnp.stack([jnp.asarray(each).astype(self.flow.dtype) for each in sums]))


class Usage:
    """What became of a composite's rules by layer and by class of modules.

    Attributes:
        uses: the operations with rules, in order of execution.
        seen: the layers in which an operation depends on the inputs.
        own: those in which a rule for a primitive stands in for one.
        folded: those that scale or shift what is a linear layer's -> that layer.
    """

    def __init__(self, function: str, composite: Composite) -> None:
        self.uses: list[Use] = []
        self.seen: set[Where] = set()
        self.own: set[Where] = set()
        self.folded: dict[Where, Where] = {}
        self._function, self._composite = function, composite
        self._fits: dict[tuple[str, str], set[str]] = {}
        self._left: dict[tuple[str, str], Where] = {}

    def fits(self, candidate: Candidate, operation: str, where: Where) -> None:
        """A rule fits an operation, whether it has another one that goes before or not."""
        self._fits.setdefault(candidate[1:], set()).add(operation)
        if operation in (CONVOLUTION, DENSE):  # of classes that may be a first layer, in another network
            self._fits.setdefault(("first", where.kind), set()).add(operation)

    def left_out(self, candidate: Candidate, where: Where) -> None:
        """A rule fits an operation, but asks for weights, which that has not."""
        self._left[candidate[1:]] = where

    def check(self, kinds: Mapping[str, str]) -> None:
        """Raises where a rule fits a layer, by its path or class, but no operation, whatever relevance comes there.

        Args:
            kinds: the layers of the program, by path, and what they are.
        """
        used = {use.candidate[1:] for use in self.uses if use.applied and use.candidate is not None}
        for argument in ("layers", "rules", "first"):
            for name, rule in getattr(self._composite, argument).items():
                if (argument, name) in used or (argument != "layers" and name in OPERATIONS):
                    continue
                why = next(self._reasons(argument, name, kinds), None)
                if why is not None:
                    raise ValueError(
                        f"{self._function}: composite.{argument} has the rule {name_of(rule)} for {name!r}, which no operation "
                        f"has: {why}"
                    )

    def _reasons(self, argument: str, name: str, kinds: Mapping[str, str]) -> Iterator[str]:
        """Why no operation has a rule; the most telling reason first, and none if another network's may have it."""
        fits = self._fits.get((argument, name), set())
        if (argument, name) in self._left and fits <= {POOLING, NORMALIZATION}:
            where = self._left[argument, name]
            yield f"it asks for weights, and {where} has none; the rules Epsilon, Norm and Pass do without"
        is_of = lambda layer, kind: paths.match(layer, name) if argument == "layers" else kind == name
        places = [where for where in self.seen if is_of(*where)]
        if fits or not self.own.isdisjoint(places):
            return
        folded = [(where, self.folded[where]) for where in places if where in self.folded]
        if folded:
            where, linear = min(folded)
            yield f"what {where} scales and shifts is part of the linear {linear}; give the rule to that one"
        for layer, kind in kinds.items():
            if is_of(layer, kind) and any(where.layer.startswith(f"{layer}/") for where in self.seen):
                yield f"what stands in the layers that {layer!r} holds is of those: composite.layers={{'{layer}/**': rule}}"
        if places:
            yield (
                f"in {min(places)} nothing that depends on the inputs is of a kind that has rules ({', '.join(OPERATIONS)}); "
                "composite.primitives has those of all else"
            )


def name_of(rule: Any) -> str:
    """What a rule is called in texts: its class, or the name of a function as a rule."""
    function = getattr(rule, "function", None)
    if function is not None:
        return str(getattr(function.value, "__name__", "a function"))
    return rule if isinstance(rule, str) else type(rule).__name__

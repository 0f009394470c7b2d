"""Variances as norms compute them, `max(0, mean(x^2) - mean(x)^2)`: the maximum is against rounding, and no ReLU."""

from dataclasses import dataclass
from typing import Any

import jax

from jaxviz.program import Active
from jaxviz.program._compat import JaxprEqn

_SUMS = frozenset({"psum", "psum_invariant", "reduce_sum"})
# What is still a mean, or the square of one, when it was one before.
_KEEPING = frozenset(
    {
        "add",
        "broadcast_in_dim",
        "concatenate",
        "convert_element_type",
        "dynamic_slice",
        "gather",
        "imag",
        "pvary",
        "real",
        "reshape",
        "slice",
        "split",
        "squeeze",
        "stack",
        "transpose",
        "unstack",
    }
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mean(Active):
    """A sum or mean over axes."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SquaredMean(Active):
    """The square of a mean."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Variance(Active):
    """A mean less the square of a mean."""


def derived(equation: JaxprEqn, operands: list[Any]) -> type[Active]:
    """What the results of an equation are."""
    name = equation.primitive.name
    active = [operand for operand in operands if isinstance(operand, Active)]
    kinds = list(map(type, active))
    if name in _SUMS:
        return Mean
    if name == "sub" and kinds == [Mean, SquaredMean]:
        return Variance
    if len(set(kinds)) > 1:
        return Active
    is_square = name == "square" or (name == "integer_pow" and equation.params["y"] == 2)
    if is_square or (name == "mul" and len(active) == 2 and active[0] is active[1]):
        return SquaredMean if kinds[0] is Mean else Active
    is_scale = name in ("div", "mul") and len(active) == 1 and active[0] is operands[0]
    return kinds[0] if name in _KEEPING or is_scale else Active

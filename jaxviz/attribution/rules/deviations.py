"""Divisions by a deviation, as in layer, group, instance and root mean square norms, for DeepLIFT.

At a baseline without any contrast a norm divides by about nothing. The mean of the two factors, 1 / deviation, would then be
large, and the shares of what is divided and of the deviation as large, of opposite sign. Of `y = x / deviation` the differences
are those of `x = y * deviation` by the mean rule, solved for that of `y`, instead:

`dy = (dx - mean(y) * d deviation) / mean(deviation)`

which is as complete, and divides by no less than half of the larger deviation. A deviation is told by its being a square root,
whatever constants it is scaled by or added to.
"""

import functools
from typing import Any

import jax

from jaxviz.attribution.rules.pairs import Pair, references, values
from jaxviz.program import Rule, Where
from jaxviz.program._compat import JaxprEqn

# What leaves a deviation one: in another shape or dtype, with constants added or multiplied, or bounded by them.
_SHAPES = {
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "copy_p",
    "expand_dims",
    "reshape",
    "squeeze",
    "transpose",
}
_KEPT = _SHAPES | {"add", "max", "mul", "stop_gradient"}


def followed(rule: Rule) -> Rule:
    """A rule that tells of its results whether they are deviations."""

    @functools.wraps(rule)
    def with_power(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        results = rule(equation, operands, where)
        power = _power(equation, operands)
        return [Pair(each.value, each.reference, each.carrier, power) for each in results] if power else results

    return with_power


def _power(equation: JaxprEqn, operands: list[Any]) -> int:
    """That of an equation's result; see `Pair`."""
    name = equation.primitive.name
    active = [index for index, operand in enumerate(operands) if isinstance(operand, Pair)]
    if name in ("sqrt", "rsqrt"):
        return 1 if name == "sqrt" else -1
    if len(active) != 1:
        return 0
    power: int = operands[active[0]].power
    if name == "div":
        return power if active == [0] else -power
    if name == "integer_pow" and equation.params["y"] == -1:
        return -power
    return power if name in _KEPT and not (power < 0 and name in ("add", "max")) else 0


def of_product(equation: JaxprEqn, operands: list[Pair]) -> list[jax.Array] | None:
    """The weights of the factors' differences where one is the inverse of a deviation and the other none; else None."""
    inverse = [operand.power == -1 for operand in operands]
    if equation.primitive.name != "mul" or sum(inverse) != 1:
        return None
    index = inverse.index(True)
    (scale, x), (scale0, x0) = ((at[index], at[1 - index]) for at in (values(operands), references(operands)))
    own = (scale0 * x0 + scale * x) / (scale + scale0)
    other = 2 * scale * scale0 / (scale + scale0)
    return [own, other] if index == 0 else [other, own]


def of_quotient(operands: list[Pair]) -> list[jax.Array] | None:
    """The weights of the differences of what is divided and of the divisor, where the divisor is a deviation; else None."""
    if operands[1].power != 1 or operands[0].power:
        return None
    (top, bottom), (top0, bottom0) = values(operands), references(operands)
    mean = (bottom + bottom0) / 2
    return [1 / mean, -(top / bottom + top0 / bottom0) / 2 / mean]

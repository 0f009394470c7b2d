"""LRP of sums, products and quotients: by one constant a scale or a shift; of two values that depend on the inputs by shares."""

import operator
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.rules.affine import Affine
from jaxviz.attribution.rules.assignment import Assignment
from jaxviz.attribution.rules.composites import CENTERING
from jaxviz.attribution.rules.elementwise import negated, scaled_or_shifted, spread
from jaxviz.attribution.rules.pending import (
    Gauge,
    Pointwise,
    Statistic,
    Stretch,
    bare,
    common_source,
    is_active,
    passing,
    plain,
    relevant,
    with_rule,
)
from jaxviz.attribution.rules.stabilizers import share
from jaxviz.program import Active, Where
from jaxviz.program._compat import JaxprEqn, bind


def addition(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of a sum or difference."""
    (value,) = bind(equation, list(map(bare, operands)))
    one, other = operands
    if isinstance(other, Gauge):
        return [_gauged(value, one, other)]
    minus = equation.primitive.name == "sub"
    if not is_active(other):
        return [scaled_or_shifted(assignment, value, one, where, constant=-other if minus else other)]
    if not is_active(one):
        if minus:
            other = negated(assignment, -other.value, other, where)
        return [scaled_or_shifted(assignment, value, other, where, constant=one)]
    one, other = (spread(operand, value.shape) for operand in operands)
    source = common_source([one, other])
    if source is not None:
        return [Pointwise(value, source)]
    if minus and isinstance(other, Stretch) and other.affine.kind == "ones" and other.base is with_rule(operands[0]):
        return [_centered(assignment, value, other, where)]
    return [by_contribution(assignment, equation, [one, other], value, where, "sum")]


def _gauged(value: Any, operand: Any, gauge: Gauge) -> Active:
    both = lambda operands, constants, relevance: (relevance,) * len(operands)
    operands = (plain(operand), gauge.value) if is_active(operand) else (gauge.value,)
    return Active(relevant(both, value, operands, None, None))


def _centered(assignment: Assignment, value: Any, mean: Stretch, where: Where) -> Stretch:
    """A value minus its mean, as one map."""
    affine = Affine(
        lambda x, mean: x - mean.linear(x),
        weights=mean.affine,
        bias=None if mean.affine.bias is None else -mean.affine.bias,
    )
    return assignment.stretch(CENTERING, where, value, mean.base, affine)


def negative(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of a change of sign."""
    (operand,) = operands
    return [negated(assignment, -operand.value, operand, where)]


def product(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of an elementwise product."""
    (value,) = bind(equation, list(map(bare, operands)))
    one, other = operands
    if not (is_active(one) and is_active(other)):
        active, constant = (one, other) if is_active(one) else (other, one)
        return [scaled_or_shifted(assignment, value, active, where, factor=constant)]
    if isinstance(one, Statistic) != isinstance(other, Statistic):
        active, statistic = (other, one) if isinstance(one, Statistic) else (one, other)
        return [scaled_or_shifted(assignment, value, active, where, factor=bare(statistic), statistic=True)]
    one, other = (spread(operand, value.shape) for operand in operands)
    source = common_source([one, other])
    if source is not None:
        return [Pointwise(value, source)]
    halves = lambda pair, constants, relevance: (relevance / 2, relevance / 2)
    return [Active(relevant(halves, value, (plain(one), plain(other)), None, None))]


def quotient(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of a quotient."""
    (value,) = bind(equation, list(map(bare, operands)))
    one, other = operands
    if not is_active(one):
        other = with_rule(spread(other, value.shape))
        return [Statistic(passing(value, other.value))]
    if is_active(other):
        if _is_softmax(one, other):
            return [_softmax(assignment, value, one, other.affine, where)]
        source = common_source([spread(operand, value.shape) for operand in operands])
        if source is not None:
            return [Pointwise(value, source)]
    return [scaled_or_shifted(assignment, value, one, where, factor=1 / bare(other), statistic=is_active(other))]


def _is_softmax(one: Any, other: Any) -> bool:
    """Whether of two operands one is an exponential, and the other the sum of the same."""
    is_sum = isinstance(other, Stretch) and other.affine.kind == "ones" and other.affine.bias is None
    return is_sum and isinstance(one, Pointwise) and one.logits is not None and other.base is one.settled


def _softmax(assignment: Assignment, value: Any, exponential: Pointwise, total: Affine, where: Where) -> Active:
    """The Taylor rule of AttnLRP: `R_i = x_i (R_i - s_i sum_j R_j)` for logits x and softmax s."""

    def backward(x: Any, constants: Any, relevance: Any) -> Any:
        softmax, logits, total = constants
        logits = jnp.where(jnp.isfinite(logits), logits, jnp.zeros_like(logits))  # a masked logit has no weight
        return logits * (relevance - softmax * total.linear(relevance))

    constants = value, exponential.logits, total
    probe = assignment.probe(where, "softmax", "AttnLRP")
    return Active(relevant(backward, value, with_rule(exponential.source).value, constants, probe))


def by_contribution(
    assignment: Assignment,
    equation: JaxprEqn,
    operands: list[Any],
    value: Any,
    where: Where,
    operation: str,
    part: float = 1.0,
) -> Active:
    """Operands of which each gets its share of the value, `x_i dvalue/dx_i / (value ± stabilizer) * part`."""
    active = [index for index, operand in enumerate(operands) if is_active(operand)]
    constants = [None if is_active(operand) else operand for operand in operands]

    def backward(x: Any, constants: Any, relevance: Any) -> Any:
        others, stabilizer = constants

        def call(*x: Any) -> Any:
            every = list(others)
            for index, leaf in zip(active, x, strict=True):
                every[index] = leaf
            return bind(equation, every)[0]

        z, back = jax.vjp(call, *x)
        return tuple(map(operator.mul, x, back(share(relevance * jnp.asarray(part, z.dtype), z, stabilizer))))

    x = tuple(plain(operands[index]) for index in active)
    probe = assignment.probe(where, operation, "shares")
    return Active(relevant(backward, value, x, (constants, assignment.composite.stabilizer), probe))

"""LRP of what is elementwise: functions, scales and shifts of one value, which are gathered, and pass relevance unchanged."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from jaxviz.attribution.rules.affine import Affine
from jaxviz.attribution.rules.assignment import Assignment, Weighing
from jaxviz.attribution.rules.composites import NORMALIZATION
from jaxviz.attribution.rules.pending import (
    Pointwise,
    Statistic,
    Stretch,
    bare,
    common_source,
    computed,
    is_active,
    is_inexact,
    passing,
    sources,
    with_rule,
)
from jaxviz.attribution.rules.relevance import Pass
from jaxviz.program import Active, Where
from jaxviz.program._compat import JaxprEqn

# Functions of one value each, or of one and constants: relevance passes. Results that are no floats are constants.
ELEMENTWISE = (
    "abs acos acosh asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp cos cosh digamma eq erf erf_inv erfc exp "
    "exp2 expm1 floor ge gt integer_pow is_finite le lgamma log log1p logistic lt ne nextafter pow reduce_precision rem round "
    "rsqrt sign sin sinh sqrt square tan tanh"
)
# Activation functions of `jax.nn` that are taken as a whole: one by one, their operations would not pass all relevance. What they
# add to their operand, or its sign, would belong to the linear layer before them, or they choose a constant.
FUNCTIONS = "hard_sigmoid() hard_tanh() log_sigmoid() sparse_sigmoid()"


def elementwise(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of an elementwise function."""
    (value,) = computed(equation, operands)
    if not is_inexact(value):
        return [value]
    operands = [spread(operand, value.shape) for operand in operands]
    source = _source(assignment, equation, operands, where)
    name = equation.primitive.name
    if name == "exp" and len(operands) == 1:
        (operand,) = operands
        unshifted = operand.unshifted if isinstance(operand, Pointwise) else None
        return [Pointwise(value, source, logits=bare(operand) if unshifted is None else unshifted)]
    if name == "rsqrt" or (name == "integer_pow" and equation.params["y"] < 0):
        return [Statistic(passing(value, with_rule(source).value))]
    return [Pointwise(value, source)]


def whole_function(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> Any:
    """The rule of an activation function as a whole."""
    result: Any = equation.outvars[0].aval
    if len(operands) > 1 or operands[0].value.shape != result.shape:
        return NotImplemented  # another function of that name
    return elementwise(assignment, equation, operands, where)


def _source(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> Active:
    source = common_source(operands)
    if source is None:
        raise assignment.missing(equation, where, " of several values that depend on the inputs")
    return source


def spread(operand: Any, shape: tuple[int, ...]) -> Any:
    """An active operand in the shape of the result."""
    if not is_active(operand) or operand.value.shape == shape:
        return operand
    spread = lambda value: jnp.broadcast_to(value, shape)
    if isinstance(operand, Stretch):
        return operand.moved(spread)
    settled = with_rule(operand)
    return type(settled)(spread(settled.value))


def scaled_or_shifted(
    assignment: Assignment,
    value: Any,
    operand: Any,
    where: Where,
    factor: Any = None,
    constant: Any = None,
    statistic: bool = False,
) -> Active:
    """An active value, times a constant or plus one; a factor may be a statistic of the value, which counts as a constant."""
    operand = spread(operand, value.shape)
    if isinstance(operand, Stretch) and operand.operation == NORMALIZATION and statistic:
        candidate = assignment.rule(NORMALIZATION, operand.where, value, weighing="none")
        if isinstance(candidate.rule, Pass):
            return Pointwise(value, operand.base)
        operand = replace(operand, rule=candidate.rule)
    if isinstance(operand, Stretch) and operand.where.layer != where.layer:
        assignment.usage.folded[where] = operand.where
    if not isinstance(operand, Stretch):
        base = with_rule(operand)
        if isinstance(operand, Statistic) and constant is None:
            return Statistic(passing(value, operand.value))
        weighing: Weighing = "weights"
        if statistic:
            weighing = "none"
        elif jnp.ndim(factor if constant is None else constant) == 0:
            weighing = "number"
        candidate = assignment.rule(NORMALIZATION, where, value, weighing=weighing)
        if isinstance(candidate.rule, Pass):
            unshifted = None
            if constant is not None:
                unshifted = getattr(operand, "unshifted", None)
                unshifted = bare(operand) if unshifted is None else unshifted
            return Pointwise(value, sources(operand)[0], unshifted)
        affine = Affine(lambda x, weights: x, kind="ones")
        operand = assignment.stretch(NORMALIZATION, where, base.value, base, affine, candidate=candidate)
    return operand.scaled(value, factor) if constant is None else operand.shifted(value, constant)


def negated(assignment: Assignment, value: Any, operand: Any, where: Where) -> Active:
    """An active value times -1."""
    return scaled_or_shifted(assignment, value, operand, where, factor=jnp.array(-1, value.dtype))

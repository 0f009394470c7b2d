"""DeepLIFT's rules: how each primitive shares the difference of its result among the differences of its operands.

All are complete: the shares of an operation's operands add up to the difference of its result from the reference, at each
element. Functions of each element follow the rescale rule. A product is shared half and half between the two orders in which its
factors may change (the mean rule: Shapley's value of two players), a maximum goes to what was, or becomes, the largest. A norm's
division by a deviation has a rule of its own, see `deviations`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.rules import deviations
from jaxviz.attribution.rules.mean_derivative import follow, mean_derivative
from jaxviz.attribution.rules.pairs import (
    Pair,
    both,
    finite_or_0,
    floating,
    is_float,
    means,
    pair,
    ratio,
    references,
    shared,
    values,
    weighted,
)
from jaxviz.program import Rule, Where
from jaxviz.program._compat import JaxprEqn, bind


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _is_pair(operand: Any) -> bool:
    return isinstance(operand, Pair)


# Which operands are data, where some are indices or a choice.
_DATA: dict[str, tuple[int, ...]] = {
    "dynamic_slice": (0,),
    "dynamic_update_slice": (0, 1),
    "gather": (0,),
    "scatter": (0, 2),
    "scatter-add": (0, 2),
    "scatter-sub": (0, 2),
}


def linear(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """Operations that are linear in all their data together: shared as their derivative does."""
    name = equation.primitive.name
    if name == "stop_gradient":  # said for the training: the value depends on the inputs all the same
        return operands
    data = _DATA.get(name, tuple(range(name == "select_n", len(operands))))
    if any(_is_pair(operand) for index, operand in enumerate(operands) if index not in data):
        return mean_derivative(equation, operands, where)
    into_floats = is_float(equation.outvars[0].aval)
    if name == "convert_element_type" and not (into_floats and is_float(operands[0].value)):
        return elementwise(equation, operands, where)
    reference = bind(equation, references(operands))
    if into_floats:
        flows = [operand.flow if _is_pair(operand) else operand for operand in operands]
        return [pair(*results) for results in zip(bind(equation, flows), reference, strict=True)]
    if not any(operands[index].has_flow for index in data if _is_pair(operands[index])):
        return follow(equation, operands, where)
    flows = [
        (operand.flow if _is_pair(operand) else floating(operand)) if index in data else operand
        for index, operand in enumerate(operands)
    ]
    results = zip(bind(equation, values(operands)), reference, bind(equation, flows), strict=True)
    return [pair(*result) for result in results]


def product(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """Products of two operands: each has its own difference, times the mean of the other."""
    if not is_float(equation.outvars[0].aval):
        return follow(equation, operands, where)
    if not all(map(_is_pair, operands)):
        return linear(equation, operands, where)
    (value,), (reference,) = both(equation, operands)
    flows = [operand.flow for operand in operands]
    weights = deviations.of_product(equation, operands)
    if weights is not None:
        return [pair(shared(weighted, equation, value, list(map(finite_or_0, weights)), flows), reference)]
    return [pair(shared(_product, equation, value, list(map(finite_or_0, means(operands))), flows), reference)]


def _product(equation: JaxprEqn, factors: list[Any], directions: list[Any]) -> Any:
    return bind(equation, [directions[0], factors[1]])[0] + bind(equation, [factors[0], directions[1]])[0]


def quotient(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """Quotients: the numerator has its difference, times the mean of 1 / denominator, and the other way around."""
    if not is_float(equation.outvars[0].aval):
        return follow(equation, operands, where)
    if not _is_pair(operands[1]):
        return linear(equation, operands, where)
    if not _is_pair(operands[0]):
        return elementwise(equation, operands, where)
    (value,), (reference,) = both(equation, operands)
    (top, bottom), (top0, bottom0) = values(operands), references(operands)
    weights = deviations.of_quotient(operands)
    if weights is None:
        weights = [(1 / bottom + 1 / bottom0) / 2, -(top + top0) / 2 / bottom / bottom0]
    return [
        pair(
            shared(weighted, equation, value, list(map(finite_or_0, weights)), [operand.flow for operand in operands]),
            reference,
        )
    ]


def select(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """A choice among cases.

    Where inputs and baseline choose differently, each of the two cases has half of its own difference, and what made the choice
    has the rest; if it is an index of which no share is known, the two cases have all, in proportion.
    """
    choice, *cases = operands
    if not _is_pair(choice):
        return linear(equation, operands, where)
    (value,), (reference,) = both(equation, operands)
    if not is_float(value):
        return follow(equation, operands, where)
    difference, zeros = value - reference, jnp.zeros_like(value)
    chosen = [jnp.broadcast_to(which, value.shape).astype(int) for which in (choice.value, choice.reference)]
    own, weights, flows = zeros, [], []
    for number, case in enumerate(cases):
        if _is_pair(case):
            weight = sum((which == number).astype(value.dtype) for which in chosen) / 2
            usable = jnp.isfinite(case.difference)  # else it is guarded against by this choice
            weights.append(jnp.where(usable, weight, zeros))
            flows.append(case.flow)
            own = own + jnp.where(usable, weight * case.difference, zeros)
    if not choice.has_flow:
        scale = ratio(difference, own, jnp.ones_like(value))
        weights = [scale * weight for weight in weights]
    else:
        change = jnp.broadcast_to(choice.difference, value.shape).astype(value.dtype)
        weights.append(ratio(difference - own, change, zeros))
        flows.append(jnp.broadcast_to(choice.flow, value.shape).astype(value.dtype))
    return [pair(shared(weighted, equation, value, weights, flows), reference)]


# How these differ from their tangents decides how a slope is computed.
_KINKED = _names(
    """abs and atan2 ceil clamp convert_element_type eq eq_to floor ge gt is_finite le le_to lt lt_to max min ne not or rem round
    sign xor"""
)
_SCALE_FREE = _names("cbrt digamma div integer_pow lgamma log log2 pow rsqrt sqrt square")
_POLES = _names("acos acosh asin atanh erf_inv tan")
_SMOOTH = _names(
    "asinh atan bessel_i0e bessel_i1e cos cosh erf erfc exp exp2 expm1 log1p logistic one_minus_square sin sinh tanh"
)


def elementwise(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """Functions of each element: the rescale rule, `difference of the result / difference of the operand`.

    Of two operands each has the mean of its slopes at the other's value and at its reference.
    """
    active = [index for index, operand in enumerate(operands) if _is_pair(operand)]
    if not any(operands[index].has_flow for index in active):
        return follow(equation, operands, where)
    if jnp.iscomplexobj(operands[active[0]].value):
        return (_modulus if equation.primitive.name == "abs" else mean_derivative)(equation, operands, where)
    if len(active) > 2:
        return mean_derivative(equation, operands, where)
    (value,), (reference,) = both(equation, operands)
    points = [values(operands), references(operands)][: len(active)]
    slopes = [
        sum(_slope(equation, index, operands[index], point) for point in points) / len(points) for index in active
    ]
    flow = shared(weighted, equation, floating(value), slopes, [operands[index].flow for index in active])
    return [pair(value, reference, flow)]


def _modulus(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The absolute value of complex numbers: the difference of the squares is the mean's product with the difference."""
    (value,), (reference,) = both(equation, operands)
    weight = ratio(2 * jnp.ones_like(value), value + reference, jnp.zeros_like(value))
    flow = shared(_weighted_projection, equation, value, (weight, means(operands)), [operands[0].flow])
    return [pair(flow, reference)]


def _weighted_projection(equation: JaxprEqn, constants: Any, directions: list[Any]) -> Any:
    weight, (mean,) = constants
    return weight * jnp.real(jnp.conj(mean) * directions[0])


def _slope(equation: JaxprEqn, index: int, operand: Pair, others: list[Any]) -> jax.Array:
    """The slope of the secant over one operand, the others being given."""

    def function(x: Any) -> Any:
        return bind(equation, [*others[:index], x, *others[index + 1 :]])[0]

    name = equation.primitive.name
    (x,), x0, difference = values([operand]), operand.reference, operand.difference
    y = function(x)
    change = (floating(y) - floating(function(x0))).astype(difference.dtype)
    if not (is_float(x) and is_float(y)):
        return ratio(change, difference, jnp.zeros_like(difference))
    derivative = lambda at: jax.jvp(function, (at,), (jnp.ones_like(at),))[1].astype(difference.dtype)
    if name in _KINKED:  # exact where no kink is between the two
        tangent = derivative(x)
        if name in ("max", "min"):  # of two equal numbers the other: a ReLU is off at 0
            tangent = jnp.where(x == others[1 - index], jnp.zeros_like(tangent), tangent)
        return ratio(change, difference, tangent)
    # The secant of two close numbers has the rounding errors of both; the mean of the derivative between them (two points of
    # Gauss and Legendre) has an error of order 4 in their distance. At this limit the two errors are alike.
    middle, half = (x + x0) / 2, difference / 2 / np.sqrt(3).astype(x.dtype)
    near = jnp.abs(difference) <= _scale(name, index, middle) * (100 * jnp.finfo(x.dtype).eps) ** 0.2
    tangent = (derivative(middle - half) + derivative(middle + half)) / 2
    return jnp.where(near, finite_or_0(tangent), ratio(change, difference, tangent))


def _scale(name: str, index: int, x: jax.Array) -> jax.Array:
    """The distance over which a function changes its slope by much."""
    if name == "div" or (name in _SCALE_FREE and index == 0):
        return jnp.abs(x)
    if name == "log1p":
        return jnp.abs(1 + x)
    return jnp.full_like(x, 1e-2 if name in _POLES else 1.0)


_EXTREMA = _names("cummax cummin max min reduce_max reduce_min reduce_window_max reduce_window_min")


def extremum(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """Maxima: the difference goes to one element.

    To the one that is the largest at the inputs where the maximum has grown, to the one that is the largest at the baseline where
    it has shrunk: its own difference is then as large, and of the same sign.
    """
    name = equation.primitive.name
    if not is_float(equation.outvars[0].aval):
        return follow(equation, operands, where)
    if not all(map(_is_pair, operands)):
        return elementwise(equation, operands, where)
    (value,), (reference,) = both(equation, operands)
    grown = value <= reference if name.endswith("min") else value >= reference
    points = (grown, values(operands), references(operands))
    own = _chosen(equation, points, [operand.difference for operand in operands])
    weight = ratio(value - reference, own, jnp.ones_like(own))
    return [
        pair(shared(_weighted_choice, equation, value, (weight, points), [each.flow for each in operands]), reference)
    ]


def _chosen(equation: JaxprEqn, points: Any, directions: list[Any]) -> Any:
    grown, *ends = points
    one, other = (jax.jvp(lambda *data: bind(equation, [*data])[0], end, directions)[1] for end in ends)
    return jnp.where(grown, one, other)


def _weighted_choice(equation: JaxprEqn, constants: Any, directions: list[Any]) -> Any:
    weight, points = constants
    return weight * _chosen(equation, points, directions)


LINEAR = _names(
    """add add_any broadcast_in_dim complex concatenate conj convert_element_type copy copy_p cumsum device_put dynamic_slice
    dynamic_update_slice expand_dims fft gather imag layout_constraint neg optimization_barrier pad pvary real reduce_precision
    reduce_sum reduce_window_sum reshape reshard rev scatter scatter-add scatter-sub sharding_constraint slice split squeeze stack
    stop_gradient sub tile transpose unstack"""
)
_INDICES = _names(
    """argmax argmin bitcast_convert_type clz population_count reduce_and reduce_or reduce_xor shift_left shift_right_arithmetic
    shift_right_logical"""
)
_OTHERS = _names(
    """approx_top_k cholesky cumlogsumexp cumprod custom_linear_solve eigh igamma igammac lu polygamma qr ragged_dot_general
    reduce_prod regularized_incomplete_beta scatter-max scatter-min scatter-mul sort svd top_k triangular_solve
    tridiagonal_solve"""
)

_RULES: dict[str, Rule] = {
    **dict.fromkeys(_KINKED + _SCALE_FREE + _POLES + _SMOOTH, elementwise),
    **dict.fromkeys(LINEAR, linear),
    **dict.fromkeys(_names("conv_general_dilated dot_general mul"), product),
    **dict.fromkeys(_EXTREMA, extremum),
    **dict.fromkeys(_OTHERS, mean_derivative),
    **dict.fromkeys(_INDICES, follow),
    "div": quotient,
    "select_n": select,
}

RULES = {name: deviations.followed(rule) for name, rule in _RULES.items()}

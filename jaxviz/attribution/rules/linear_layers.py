"""LRP of linear layers, convolutions and matrix products, and of sums over axes, which are linear layers of ones."""

import functools
from typing import Any

import jax.numpy as jnp

from jaxviz.attribution.rules.affine import Affine
from jaxviz.attribution.rules.arithmetic import by_contribution
from jaxviz.attribution.rules.assignment import Assignment
from jaxviz.attribution.rules.composites import CONVOLUTION, DENSE, POOLING
from jaxviz.attribution.rules.pending import bare, is_active, is_inexact, with_rule
from jaxviz.program import Where
from jaxviz.program._compat import JaxprEqn, bind


def contraction(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of a convolution or matrix product."""
    one, other = operands
    is_convolution = equation.primitive.name == "conv_general_dilated"
    if is_active(one) and is_active(other):
        (value,) = bind(equation, list(map(bare, operands)))
        return [by_contribution(assignment, equation, operands, value, where, "product", part=0.5)]
    on_left = is_active(one)
    base, weights = (with_rule(one), other) if on_left else (with_rule(other), one)
    both = lambda x, weights: [x, weights] if on_left else [weights, x]
    core = lambda x, weights: bind(equation, both(x, weights))[0]
    return [
        assignment.stretch(
            CONVOLUTION if is_convolution else DENSE,
            where,
            core(bare(base), weights),
            base,
            Affine(core, weights, kind="array"),
            first=assignment.is_first(equation, base),
            feature=functools.partial(_as_factor, equation) if on_left else None,
        )
    ]


def pooling(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of a sum over axes, over windows, or of what is added at places."""
    (value,) = bind(equation, list(map(bare, operands)))
    if not is_inexact(value):
        return [value]
    if len(operands) > 1:
        return [by_contribution(assignment, equation, operands, value, where, "sum")]
    affine = Affine(lambda x, weights: bind(equation, [x])[0], kind="ones")
    return [assignment.stretch(POOLING, where, value, with_rule(operands[0]), affine)]


def _as_factor(equation: JaxprEqn, scale: Any) -> Any:
    """A scale of a linear layer's outputs as a factor of its weights; None if it has another value for each example, say."""
    scale = jnp.asarray(scale)
    kernel: Any = equation.invars[1].aval
    if scale.ndim == 0:
        return scale
    if equation.primitive.name == "conv_general_dilated":
        numbers = equation.params["dimension_numbers"]
        if scale.size != scale.shape[numbers.out_spec[1]]:
            return None
        shape = [1] * kernel.ndim
        shape[numbers.rhs_spec[0]] = scale.size
        return scale.reshape(shape)
    (_, contracted), (_, batched) = equation.params["dimension_numbers"]
    free = [axis for axis in range(kernel.ndim) if axis not in (*contracted, *batched)]
    features = scale.shape[scale.ndim - len(free) :]
    if any(size != 1 for size in scale.shape[: scale.ndim - len(free)]):
        return None
    shape = [1] * kernel.ndim
    for axis, size in zip(free, features, strict=True):
        shape[axis] = size
    return scale.reshape(shape)

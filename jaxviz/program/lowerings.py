"""Lowerings: other ways to compute some equations, equal up to rounding, that are faster on XLA's CPU back end.

They are for whole programs, derivatives included: applied before, the other ways would be differentiated themselves, and the
derivative of a sum of shifted products is slower than the sum of shifted products which computes the derivative. Other platforms
keep their own ways.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxviz.flags import Flag
from jaxviz.program import convolutions
from jaxviz.program._compat import ClosedJaxpr, Jaxpr, JaxprEqn, bind, closed, subprograms
from jaxviz.program.trace import PLAIN_CALLS
from jaxviz.program.variables import Variables


def lowered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, computed in faster ways where there are any for the platform.

    Args:
        function: a function of pytrees of arrays, and of other values, which are part of the program.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if jax.default_backend() != "cpu":
            return function(*args, **kwargs)
        leaves, structure = jax.tree.flatten((args, kwargs))
        arrays = [index for index, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray)]

        def of_arrays(*values: Any) -> Any:
            filled = list(leaves)
            for index, value in zip(arrays, values, strict=True):
                filled[index] = value
            args, kwargs = jax.tree.unflatten(structure, filled)
            return function(*args, **kwargs)

        given = [leaves[index] for index in arrays]
        with _tracing.raised():
            jaxpr, shape = jax.make_jaxpr(of_arrays, return_shape=True)(*given)
        return jax.tree.unflatten(jax.tree.structure(shape), _evaluate(jaxpr, given))

    return call


_tracing = Flag()


def is_inside() -> bool:
    """Whether a function is being traced that is lowered afterwards: what it calls is to stay as it is until then.

    What it calls inside of a loop, a branch or a function with a derivative of its own is not lowered at all then.
    """
    return _tracing.up


def call(function: Callable[..., Any], *args: Any) -> Any:
    """`lowered(function)(*args)`."""
    return lowered(function)(*args)


def _evaluate(jaxpr: ClosedJaxpr | Jaxpr, args: list[Any]) -> list[Any]:
    jaxpr, consts = closed(jaxpr)
    variables = Variables.of(jaxpr, consts, args)
    for equation in jaxpr.eqns:
        operands = variables.operands(equation)
        way = _way(equation)
        if way is not None:
            own = functools.partial(_as_it_stands, equation)
            results = [lax.platform_dependent(*operands, cpu=way, default=own)]
        # Not into functions with a derivative of their own, which must keep it, nor into loops.
        elif equation.primitive.name in PLAIN_CALLS and _has_any(subprograms(equation)[0]):
            results = _evaluate(subprograms(equation)[0], operands)
        else:
            results = bind(equation, operands)
        variables.write(results, equation)
    return variables.read(jaxpr.outvars)


def _as_it_stands(equation: JaxprEqn, *operands: Any) -> Any:
    return bind(equation, list(operands))[0]


def _has_any(jaxpr: ClosedJaxpr | Jaxpr) -> bool:
    equations = closed(jaxpr)[0].eqns
    return any(
        _way(equation) is not None or (equation.primitive.name in PLAIN_CALLS and _has_any(subprograms(equation)[0]))
        for equation in equations
    )


def _way(equation: JaxprEqn) -> Callable[..., Any] | None:
    """The faster way to compute an equation, or None."""
    if equation.primitive.name == "conv_general_dilated":
        return convolutions.faster(equation)
    if equation.primitive.name == "select_and_scatter_add":
        return _max_pool_derivative(equation)
    return None


def _max_pool_derivative(equation: JaxprEqn) -> Callable[..., Any] | None:
    """The derivative of max-pooling: each window's goes to its first maximum. At least 5 times faster than XLA's own way."""
    params = equation.params
    window, strides = tuple(params["window_dimensions"]), tuple(params["window_strides"])
    padding = tuple(map(tuple, params["padding"]))
    if params["select_prim"].name != "ge" or math.prod(window) > 16:  # a large window has too many places to go through
        return None

    def call(source: Any, operand: Any) -> Any:
        padded = lax.pad(operand, jnp.array(-jnp.inf, operand.dtype), [(low, high, 0) for low, high in padding])
        places = [
            lax.slice(
                padded,
                start,
                [first + (size - 1) * step + 1 for first, size, step in zip(start, source.shape, strides, strict=True)],
                strides,
            )
            for start in itertools.product(*map(range, window))
        ]
        maximum = functools.reduce(lax.max, places)
        chosen = jnp.zeros(source.shape, jnp.uint8)
        for place, value in reversed(list(enumerate(places))):
            chosen = jnp.where(value == maximum, jnp.uint8(place), chosen)
        spread = _spread_tiles if window == strides else _spread
        result = spread(source, chosen, window, strides, padded.shape)
        crop = [(-low, -high, 0) for low, high in padding]
        return lax.pad(result, jnp.zeros((), result.dtype), crop)

    return call


def _spread_tiles(source: Any, chosen: Any, window: Any, strides: Any, shape: Any) -> Any:
    """Each value at the chosen place of its window, where windows stand side by side: each place is written once."""
    split = [size for pair in zip(source.shape, window, strict=True) for size in pair]
    place = sum(
        lax.broadcasted_iota(jnp.uint8, split, 2 * axis + 1) * math.prod(window[axis + 1 :])
        for axis, width in enumerate(window)
        if width > 1
    )
    once = [size for count in source.shape for size in (count, 1)]
    tiles = jnp.where(chosen.reshape(once) == place, source.reshape(once), jnp.zeros((), source.dtype))
    result = tiles.reshape([count * width for count, width in zip(source.shape, window, strict=True)])
    rest = [(0, size - covered, 0) for size, covered in zip(shape, result.shape, strict=True)]
    return lax.pad(result, jnp.zeros((), result.dtype), rest)


def _spread(source: Any, chosen: Any, window: Any, strides: Any, shape: Any) -> Any:
    """Each value at the chosen place of its window, where windows overlap."""
    total = jnp.zeros(shape, source.dtype)
    for place, start in enumerate(itertools.product(*map(range, window))):
        part = jnp.where(chosen == place, source, jnp.zeros((), source.dtype))
        config = [
            (first, size - first - ((count - 1) * step + 1), step - 1)
            for first, size, count, step in zip(start, shape, source.shape, strides, strict=True)
        ]
        total = total + lax.pad(part, jnp.zeros((), part.dtype), config)
    return total

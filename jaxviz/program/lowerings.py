"""Lowerings: other ways to compute some equations, equal in value and derivative, faster on XLA's CPU back end.

Measured on two cores: the derivative of max-pooling (XLA's select-and-scatter) at least 5 times faster, a convolution of a few
channels as a matrix product 1.5 to 2 times. Other platforms keep their own ways.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxviz.program._compat import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, bind, closed, subprograms

# A convolution of more channels keeps XLA's own way, which is then the faster one.
NARROW = 4


def call(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, with faster ways to compute what it has where there are any for the platform.

    Args:
        function: a function of pytrees of arrays.
        args: its arguments.
    """
    if jax.default_backend() != "cpu":
        return function(*args)
    jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*args)
    if not _has_any(jaxpr):
        return function(*args)
    return jax.tree.unflatten(jax.tree.structure(shape), _evaluate(jaxpr, jax.tree.leaves(args)))


def _evaluate(jaxpr: ClosedJaxpr | Jaxpr, args: list[Any]) -> list[Any]:
    jaxpr, consts = closed(jaxpr)
    values = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        lowering = _lowering(equation)
        if lowering is not None:
            results = [lowering(*operands)]
        elif equation.primitive.name in _INLINE and _has_any(subprograms(equation)[0]):
            results = _evaluate(subprograms(equation)[0], operands)
        else:
            results = bind(equation, operands)
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


# Not into functions with a derivative of their own, which must keep it, nor into loops.
_INLINE = frozenset({"jit", "pjit", "closed_call", "core_call"})


def _has_any(jaxpr: ClosedJaxpr | Jaxpr) -> bool:
    equations = closed(jaxpr)[0].eqns
    return any(
        _lowering(e) is not None or (e.primitive.name in _INLINE and _has_any(subprograms(e)[0])) for e in equations
    )


def _lowering(equation: JaxprEqn) -> Callable[..., Any] | None:
    """The other way to compute an equation, or None."""
    params = equation.params
    operand: Any = equation.invars[0].aval if equation.invars else None
    match equation.primitive.name:
        case "reduce_window_max":
            floating = jnp.issubdtype(operand.dtype, jnp.floating)
            plain = set(params["base_dilation"]) == set(params["window_dilation"]) == {1}
            if not (floating and plain and math.prod(params["window_dimensions"]) <= 16):
                return None  # a large window has too many places to go through one by one
            window = (
                tuple(params["window_dimensions"]),
                tuple(params["window_strides"]),
                tuple(map(tuple, params["padding"])),
            )
            return lambda operand: _max_pool(operand, *window)
        case "conv_general_dilated":
            numbers, rank = params["dimension_numbers"], operand.ndim
            last = (0, rank - 1, *range(1, rank - 1))  # channels last
            kernel: Any = equation.invars[1].aval
            plain = (
                (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec)
                == (last, (rank - 1, rank - 2, *range(rank - 2)), last)
                and params["feature_group_count"] == params["batch_group_count"] == 1
                and set(params["lhs_dilation"]) == set(params["rhs_dilation"]) == {1}
                and params["preferred_element_type"] in (None, kernel.dtype)
            )
            taps = math.prod(kernel.shape[:-2])
            if not (
                plain and kernel.shape[-2] <= NARROW and taps > 1 and taps * kernel.shape[-2] <= 3 * kernel.shape[-1]
            ):
                return None  # else the patches would be far larger than the result
            return functools.partial(
                _patches_product,
                strides=params["window_strides"],
                padding=params["padding"],
                precision=params["precision"],
            )
    return None


def _places(operand: Any, window: tuple[int, ...], strides: tuple[int, ...]) -> list[Any]:
    """For each place in the window, what stands there in all positions of the window; first place first."""
    size = [(side - width) // stride for side, width, stride in zip(operand.shape, window, strides, strict=True)]
    parts = []
    for start in itertools.product(*map(range, window)):
        limit = [first + count * stride + 1 for first, count, stride in zip(start, size, strides, strict=True)]
        parts.append(lax.slice(operand, start, limit, strides))
    return parts


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _max_pool(
    operand: Any, window: tuple[int, ...], strides: tuple[int, ...], padding: tuple[tuple[int, int], ...]
) -> Any:
    lowest = jnp.array(-jnp.inf, operand.dtype)
    return lax.reduce_window(operand, lowest, lax.max, window, strides, padding)


@_max_pool.defjvp
def _max_pool_jvp(
    window: tuple[int, ...], strides: tuple[int, ...], padding: tuple[tuple[int, int], ...], primals: Any, tangents: Any
) -> tuple[Any, Any]:
    """The tangent of the first maximum, as select-and-scatter has it."""
    (operand,), (tangent,) = primals, tangents
    maximum = _max_pool(operand, window, strides, padding)
    if any(side != (0, 0) for side in padding):
        config = [(low, high, 0) for low, high in padding]
        operand = lax.pad(operand, jnp.array(-jnp.inf, operand.dtype), config)
        tangent = lax.pad(tangent, jnp.zeros((), tangent.dtype), config)
    places = _places(operand, window, strides)
    chosen = jnp.zeros(maximum.shape, jnp.uint8)  # the place of the first maximum
    for place, value in reversed(list(enumerate(places))):
        chosen = jnp.where(value == maximum, jnp.uint8(place), chosen)
    if window == strides:
        return maximum, _chosen_of_tiles(chosen, tangent, window)
    result = jnp.zeros_like(maximum)
    for place, direction in enumerate(_places(tangent, window, strides)):
        result = result + jnp.where(chosen == place, direction, jnp.zeros((), direction.dtype))
    return maximum, result


def _chosen_of_tiles(chosen: Any, values: Any, window: tuple[int, ...]) -> Any:
    """The chosen value of each window, where windows stand side by side.

    Its derivative writes each value once, one after the other, where that of slices is a sum of padded arrays.
    """
    values = lax.slice(values, [0] * values.ndim, [n * width for n, width in zip(chosen.shape, window, strict=True)])
    split = [size for pair in zip(chosen.shape, window, strict=True) for size in pair]
    tiles = values.reshape(split)
    place = sum(
        lax.broadcasted_iota(jnp.uint8, split, 2 * axis + 1) * math.prod(window[axis + 1 :])
        for axis, width in enumerate(window)
        if width > 1
    )
    is_chosen = chosen.reshape([size for n in chosen.shape for size in (n, 1)]) == place
    zero = jnp.zeros((), values.dtype)
    return jnp.where(is_chosen, tiles, zero).sum(axis=tuple(range(1, len(split), 2)))


def _patches_product(operand: Any, kernel: Any, *, strides: tuple[int, ...], padding: Any, precision: Any) -> Any:
    """A convolution, channels last, as the product of all its windows with the kernel."""
    padded = lax.pad(
        operand, jnp.zeros((), operand.dtype), [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)]
    )
    patches = lax.concatenate(_places(padded, (1, *kernel.shape[:-2], 1), (1, *strides, 1)), operand.ndim - 1)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    return lax.dot_general(patches, matrix, (((patches.ndim - 1,), (0,)), ((), ())), precision=precision)

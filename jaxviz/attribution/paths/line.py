"""A straight line between two inputs, followed from the end of a program's first affine stretch on.

There it is straight, too. The stretch is computed twice forward, for the line's two ends, and once backward, for the sum of the
gradients on it, however many points are looked at.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.compilation import jit
from jaxviz.program import affine
from jaxviz.targets import Target, select


@functools.partial(jit, static_argnames="function")
def ends(
    function: Callable[..., Any], args: tuple[Any, ...], inputs: Any, baseline: Any
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Where the line starts, and what it adds up to the inputs, at the end of the stretch of `function(*args, inputs)`."""
    start, end = (affine.frontier(function, args, point) for point in (baseline, inputs))
    return start, jax.tree.map(jnp.subtract, end, start)


@functools.partial(jit, static_argnames="function")
def scored_ends(
    function: Callable[..., Any], args: tuple[Any, ...], inputs: Any, baseline: Any, target: Target
) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
    """What `ends` gives, and the scores at both ends, `(2, batch)`."""
    start, way = ends(function, args, inputs, baseline)
    score = lambda node: select(affine.onward(function, args, inputs, at(node, start, way)), target)
    return start, way, jax.vmap(score)(jnp.arange(2))


def at(node: jax.Array, start: list[jax.Array], way: list[jax.Array]) -> list[jax.Array]:
    """The values at a point of the line, for `affine.onward`.

    Args:
        node: where the point is, from 0 to 1; with axes, one for each place in the values' first axes.
        start: as `ends` gives it.
        way: likewise.
    """
    return [
        low + jnp.expand_dims(node.astype(low.dtype), tuple(range(node.ndim, low.ndim))) * step
        for low, step in zip(start, way, strict=True)
    ]


@functools.partial(jit, static_argnames="function")
def back(
    function: Callable[..., Any], args: tuple[Any, ...], inputs: Any, total: list[jax.Array], baseline: Any = None
) -> Any:
    """The sum of the gradients at the end of the stretch, as one at the inputs; with a baseline, times the way from there."""
    gradient = jax.vjp(lambda inputs: affine.frontier(function, args, inputs), inputs)[1](total)[0]
    if baseline is None:
        return gradient
    return jax.tree.map(lambda sum_, end, start: sum_ * (end - start), gradient, inputs, baseline)

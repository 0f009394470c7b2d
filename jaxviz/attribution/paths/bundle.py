"""A bundle of straight paths, from each of a set of baselines to the inputs, followed from the first affine stretch's end on.

There the paths are straight, too. The stretch is computed forward once for each of their ends, and backward once for each
baseline, for the sum of the gradients on its path, however many points are looked at.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz.attribution import batches
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import affine
from jaxviz.targets import Target, select

Axes = tuple[int, ...]  # where the values at the end of the stretch have the batch


class Ends(NamedTuple):
    """Both ends of the paths, at the end of the stretch, with the baselines or the batch as axis 0."""

    starts: list[jax.Array]
    ends: list[jax.Array]


def batch_axes(model: Model, inputs: Any) -> Axes | None:
    """Where the values at the end of the stretch have the batch.

    None if one of them has no such axis (a reshape has joined it with another), or mixes the examples. None, too, if the model is
    for this batch alone: the axis would be a guess, and without it the result is the same, later.
    """
    batch = jax.tree.leaves(inputs)[0].shape[0]
    larger = batches.larger(inputs, batch)
    try:
        pairs = list(zip(_frontier.eval_shape(model, inputs), _frontier.eval_shape(model, larger), strict=True))
    except Exception:
        return None
    found = []
    for small, large in pairs:
        axis = batches.axis(small.shape, large.shape, batch)
        if axis is None or batches.changed(small.shape, large.shape) != [axis]:
            return None
        found.append(axis)
    return tuple(found)


@functools.partial(jit, static_argnames="axes")
def ends(model: Model, inputs: Any, baselines: Any, axes: Axes) -> Ends:
    """The ends of the paths; the baselines go through the stretch in batches of the inputs' size."""
    batch, count = (jax.tree.leaves(tree)[0].shape[0] for tree in (inputs, baselines))
    rounds = -(-count // batch)
    batches = jax.tree.map(
        lambda leaf: jnp.resize(leaf, (rounds * batch, *leaf.shape[1:])).reshape(rounds, batch, *leaf.shape[1:]),
        baselines,
    )
    values = jax.vmap(lambda points: _in_front(_frontier(model, points), axes))(batches)
    starts = [leaf.reshape(rounds * batch, *leaf.shape[2:])[:count] for leaf in values]
    return Ends(starts, _in_front(_frontier(model, inputs), axes))


@functools.partial(jit, static_argnames="axes")
def gradients(
    chosen: jax.Array, places: jax.Array, model: Model, inputs: Any, paths: Ends, target: Target, axes: Axes
) -> list[jax.Array]:
    """The gradients at points of the paths.

    Args:
        chosen: each example's baseline at each point, `(points, batch)`.
        places: where on its path the point is, `(points, batch)`.
        model: the model.
        inputs: of these only shapes and dtypes matter.
        paths: as `ends` gives them.
        target: what is explained.
        axes: as `batch_axes` gives them.

    Returns:
        `(points, batch, *shape)` for each value at the end of the stretch.
    """

    def score(values: list[jax.Array]) -> jax.Array:
        values = [jnp.moveaxis(leaf, 0, axis) for leaf, axis in zip(values, axes, strict=True)]
        return select(affine.onward(Model.__call__, (model,), inputs, values), target).sum()

    def at(chosen: jax.Array, place: jax.Array) -> list[jax.Array]:
        points = []
        for points_of, end in zip(paths.starts, paths.ends, strict=True):
            start = points_of[chosen]
            points.append(start + place.astype(end.dtype).reshape(-1, *[1] * (end.ndim - 1)) * (end - start))
        return jax.grad(score)(points)

    return jax.vmap(at)(chosen, places)


@functools.partial(jit, donate_argnums=0)
def add(total: list[jax.Array], chosen: jax.Array, values: list[jax.Array]) -> list[jax.Array]:
    """Adds gradients to the sums of their paths, `(baselines, batch, *shape)`; with one sum for all, to that."""
    if len(total[0]) == 1:
        return jax.tree.map(lambda sum_, leaf: sum_ + leaf.sum(axis=0)[None], total, values)
    share = jax.nn.one_hot(chosen, len(total[0]))
    return jax.tree.map(
        lambda sum_, leaf: sum_ + jnp.einsum("pbk,pb...->kb...", share.astype(leaf.dtype), leaf), total, values
    )


@functools.partial(jit, static_argnames=("axes", "multiply_by_inputs"))
def at_inputs(
    model: Model, inputs: Any, baselines: Any, total: list[jax.Array], axes: Axes, multiply_by_inputs: bool
) -> Any:
    """The sums of the paths as an attribution: each through the stretch, and times its way."""
    _, back = jax.vjp(lambda inputs: _in_front(_frontier(model, inputs), axes), inputs)
    sums = jax.vmap(lambda values: back(values)[0])(total)
    if multiply_by_inputs:
        way = lambda leaf, end, points: leaf * (end[None] - points[:, None])
        sums = jax.tree.map(way, sums, inputs, baselines)
    return jax.tree.map(lambda leaf: leaf.sum(axis=0), sums)


def _in_front(values: list[jax.Array], axes: Axes) -> list[jax.Array]:
    return [jnp.moveaxis(leaf, axis, 0) for leaf, axis in zip(values, axes, strict=True)]


@jit
def _frontier(model: Model, inputs: Any) -> list[jax.Array]:
    return affine.frontier(Model.__call__, (model,), inputs)

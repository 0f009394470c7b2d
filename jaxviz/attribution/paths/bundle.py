"""A bundle of straight paths, from each of a set of baselines to the inputs, followed from the first affine stretch's end on.

There the paths are straight, too. The stretch is computed forward once for each of their ends, and backward once for each
baseline, for the sum of the gradients on its path, however many points are looked at.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz.attribution import stretches
from jaxviz.attribution.paths import line
from jaxviz.attribution.stretches import Axes
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import affine
from jaxviz.targets import Target, select


class Ends(NamedTuple):
    """Both ends of the paths, at the end of the stretch, with the baselines or the batch as axis 0."""

    starts: list[jax.Array]
    ends: list[jax.Array]


@functools.partial(jit, static_argnames="axes")
def ends(model: Model, inputs: Any, baselines: Any, axes: Axes) -> Ends:
    """The ends of the paths; the baselines go through the stretch in batches of the inputs' size."""
    batch, count = (jax.tree.leaves(tree)[0].shape[0] for tree in (inputs, baselines))
    rounds = -(-count // batch)
    batches = jax.tree.map(
        lambda leaf: jnp.resize(leaf, (rounds * batch, *leaf.shape[1:])).reshape(rounds, batch, *leaf.shape[1:]),
        baselines,
    )
    values = jax.vmap(lambda points: stretches.in_front(stretches.frontier(model, points), axes))(batches)
    starts = [leaf.reshape(rounds * batch, *leaf.shape[2:])[:count] for leaf in values]
    return Ends(starts, stretches.in_front(stretches.frontier(model, inputs), axes))


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
        axes: as `stretches.batch_axes` gives them.

    Returns:
        `(points, batch, *shape)` for each value at the end of the stretch.
    """

    def score(values: list[jax.Array]) -> jax.Array:
        return select(affine.onward(Model.__call__, (model,), inputs, stretches.in_place(values, axes)), target).sum()

    def at(chosen: jax.Array, place: jax.Array) -> list[jax.Array]:
        starts = [points[chosen] for points in paths.starts]
        return jax.grad(score)(line.at(place, starts, jax.tree.map(jnp.subtract, paths.ends, starts)))

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

    def share(values: list[jax.Array], baseline: Any) -> Any:
        return line.back(Model.__call__, (model,), inputs, stretches.in_place(values, axes), baseline)

    starts = jax.tree.map(lambda leaf: leaf[:, None], baselines) if multiply_by_inputs else None
    return jax.tree.map(lambda leaf: leaf.sum(axis=0), jax.vmap(share)(total, starts))

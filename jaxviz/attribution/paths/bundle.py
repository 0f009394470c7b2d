"""A bundle of straight paths, from each of a set of baselines to the inputs, followed from the first affine stretch's end on.

There the paths are straight, too. The stretch is computed forward once for each of their ends, and backward once for each
baseline, for the sum of the gradients on its path, however many points are looked at.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz.attribution import batches
from jaxviz.attribution.paths import line
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
    ends = batches.of_one_more(lambda inputs: _frontier.eval_shape(model, inputs), inputs)
    if ends is None:
        return None
    found = []
    for small, large in zip(_frontier.eval_shape(model, inputs), ends, strict=True):
        axis = batches.axis(small.shape, large.shape, batch)
        if axis is None or batches.changed(small.shape, large.shape) != [axis]:
            return None
        found.append(axis)
    one, more = (_traceable.trace(model, points).jaxpr.jaxpr for points in (inputs, batches.larger(inputs, batch)))
    return tuple(found) if _keeps_apart(one, more, batch, len(jax.tree.leaves(inputs))) else None


# What is the same for all examples where its operands are.
_ALIKE = frozenset({"add", "broadcast_in_dim", "convert_element_type", "copy", "div", "mul", "neg", "reshape", "sub"})
# What moves or sums values along an axis that stays as long: the parameter that has the axes.
_ALONG = {"rev": "dimensions", "cumsum": "axis"}


def _keeps_apart(small: Any, large: Any, batch: int, count: int) -> bool:
    """Whether a stretch does the same to each example, by itself: a baseline is then not in need of the others of a batch.

    Args:
        small: the stretch.
        large: the stretch for one example more: where sides differ there is the batch.
        batch: how many examples `small` has.
        count: how many of its last arguments are the inputs.
    """
    varying = set(small.invars[len(small.invars) - count :])
    if len(small.eqns) != len(large.eqns):
        return False
    for one, other in zip(small.eqns, large.eqns, strict=True):
        name = one.primitive.name
        depends = any(not hasattr(atom, "val") and atom in varying for atom in one.invars)
        for result, longer in zip(one.outvars, other.outvars, strict=True):
            pairs = list(zip(result.aval.shape, longer.aval.shape, strict=True))
            axes = [axis for axis, sides in enumerate(pairs) if sides[0] != sides[1]]
            if not depends:
                if axes and name not in _ALIKE:
                    return False
                continue
            varying.add(result)
            if len(axes) != 1 or pairs[axes[0]][0] * (batch + 1) != pairs[axes[0]][1] * batch:
                return False
            along = one.params[_ALONG[name]] if name in _ALONG else ()
            if axes[0] in (along if isinstance(along, tuple) else (along,)):
                return False
            if name == "reduce_window_sum" and one.params["window_dimensions"][axes[0]] != 1:
                return False
    return True


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
        return select(affine.onward(Model.__call__, (model,), inputs, _in_place(values, axes)), target).sum()

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
        return line.back(Model.__call__, (model,), inputs, _in_place(values, axes), baseline)

    starts = jax.tree.map(lambda leaf: leaf[:, None], baselines) if multiply_by_inputs else None
    return jax.tree.map(lambda leaf: leaf.sum(axis=0), jax.vmap(share)(total, starts))


def _in_front(values: list[jax.Array], axes: Axes) -> list[jax.Array]:
    return [jnp.moveaxis(leaf, axis, 0) for leaf, axis in zip(values, axes, strict=True)]


def _in_place(values: list[jax.Array], axes: Axes) -> list[jax.Array]:
    """The inverse of `_in_front`."""
    return [jnp.moveaxis(leaf, 0, axis) for leaf, axis in zip(values, axes, strict=True)]


@jit
def _frontier(model: Model, inputs: Any) -> list[jax.Array]:
    return affine.frontier(Model.__call__, (model,), inputs)


# JAX's own, which keeps what it has traced.
_traceable = jax.jit(lambda model, inputs: affine.frontier(Model.__call__, (model,), inputs))

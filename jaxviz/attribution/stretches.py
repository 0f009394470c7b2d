"""The first affine stretch of a model, of inputs whose examples it keeps apart: where the batch is at its end, and its values."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution import batches
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import affine

Axes = tuple[int, ...]  # where the values at the end of the stretch have the batch


def batch_axes(model: Model, inputs: Any) -> Axes | None:
    """Where the values at the end of the stretch have the batch.

    None if one of them has no such axis (a reshape has joined it with another), or mixes the examples. None, too, if the model is
    for this batch alone: the axis would be a guess, and without it the result is the same, later.
    """
    batch = jax.tree.leaves(inputs)[0].shape[0]
    ends = batches.of_one_more(lambda inputs: frontier.eval_shape(model, inputs), inputs)
    if ends is None:
        return None
    found = []
    for small, large in zip(frontier.eval_shape(model, inputs), ends, strict=True):
        axis = batches.axis(small.shape, large.shape, batch)
        if axis is None or batches.changed(small.shape, large.shape) != [axis]:
            return None
        found.append(axis)
    one, more = (_traceable.trace(model, points).jaxpr.jaxpr for points in (inputs, batches.larger(inputs, batch)))
    return tuple(found) if _keeps_apart(one, more, batch, len(jax.tree.leaves(inputs))) else None


# Operations on what does not depend on the inputs (a bias, say) whose results, with the batch as an axis, are alike for all
# examples, as their operands are.
_ALIKE = frozenset({"add", "broadcast_in_dim", "convert_element_type", "copy", "div", "mul", "neg", "reshape", "sub"})
# Operations that mix the places of an axis without changing its length, which does not show in shapes -> their parameter that
# names the axes.
_ALONG = {"rev": "dimensions", "cumsum": "axis"}


def _keeps_apart(small: Any, large: Any, batch: int, count: int) -> bool:
    """Whether a stretch computes each example by itself, and all in the same way.

    Then one example, such as a baseline, can be sent through it without the others of its batch.

    Args:
        small: the stretch.
        large: the stretch for one example more; axes whose length differs between the two are the batch.
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


def in_front(values: list[jax.Array], axes: Axes) -> list[jax.Array]:
    """The values with the batch as axis 0."""
    return [jnp.moveaxis(leaf, axis, 0) for leaf, axis in zip(values, axes, strict=True)]


def in_place(values: list[jax.Array], axes: Axes) -> list[jax.Array]:
    """The inverse of `in_front`."""
    return [jnp.moveaxis(leaf, 0, axis) for leaf, axis in zip(values, axes, strict=True)]


@jit
def frontier(model: Model, inputs: Any) -> list[jax.Array]:
    """The values at the end of the stretch."""
    return affine.frontier(Model.__call__, (model,), inputs)


# To trace a stretch: by `jax.jit` itself, which keeps the programs it has traced, so that a second look at a model is quick.
_traceable = jax.jit(lambda model, inputs: affine.frontier(Model.__call__, (model,), inputs))

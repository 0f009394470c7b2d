"""Scores of inputs in which a window is replaced, of a model evaluated only where the window changes it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.perturbation.game import scores_with
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import is_top_level, local
from jaxviz.program.patches import sizes
from jaxviz.program.spans import Spans, window_span
from jaxviz.targets import Target

Windows = tuple[tuple[int, ...], tuple[int, ...]]  # sides and strides, for each axis after the batch


def places(shape: tuple[int, ...], windows: Windows) -> list[np.ndarray]:
    """Where windows start, per axis: the last is the first that reaches the end."""
    return [
        np.arange(-(-(length - side) // step) + 1, dtype=np.int32) * np.int32(step)
        for length, side, step in zip(shape, *windows, strict=True)
    ]


def base(number: int, windows: Windows, model: Model, inputs: Any, target: Target) -> list[jax.Array] | None:
    """What `scores` needs of the activations at the inputs; None where the model is better evaluated in whole.

    Args:
        number: of the input in which the windows lie.
        windows: their sides and strides.
        model: the model.
        inputs: all inputs.
        target: the target.
    """
    if jax.tree.leaves(inputs)[number].ndim < 3:
        return None
    derived = not is_top_level()
    return _base(number, windows, derived, model, inputs, target)


@functools.partial(jit, static_argnums=(0, 1, 2))
def _base(
    number: int, windows: Windows, derived: bool, model: Model, inputs: Any, target: Target
) -> list[jax.Array] | None:
    leaf = jax.tree.leaves(inputs)[number]
    function, args = functools.partial(scores_with, number), (model, inputs, target)
    return local.base(function, args, leaf, _spans(leaf, windows), derived=derived)


def scores(
    number: int,
    windows: Windows,
    start: jax.Array,
    patch: Callable[[list[Any], tuple[int, ...]], jax.Array],
    model: Model,
    inputs: Any,
    target: Target,
    kept: list[jax.Array],
) -> jax.Array:
    """The scores of inputs of which one window is replaced, `(batch,)`: unchecked and not jitted.

    Args:
        number: as for `base`.
        windows: likewise.
        start: where the window starts, `(axes after the batch,)`.
        patch: what is in the inputs then, of a patch that starts there and has that shape.
        model: as for `base`.
        inputs: likewise.
        target: likewise.
        kept: what `base` gave.
    """
    leaf = jax.tree.leaves(inputs)[number]
    where = _spans(leaf, windows)
    shape = sizes(leaf.shape, where)
    numbers = [jnp.int32(0), *(start // jnp.array(windows[1], jnp.int32))]
    first = [
        jnp.int32(0) if span is None else jnp.minimum(start[axis - 1], leaf.shape[axis] - shape[axis])
        for axis, span in enumerate(where)
    ]
    function, args = functools.partial(scores_with, number), (model, inputs, target)
    return local.onward(function, args, leaf, where, numbers, patch(first, shape), kept)


def _spans(leaf: jax.Array, windows: Windows) -> Spans:
    """Where the windows stand on each axis of the input."""
    shape = leaf.shape[1:]
    each = zip(shape, windows[0], places(shape, windows), strict=True)
    return (None, *(window_span(axis, length, side, starts) for axis, (length, side, starts) in enumerate(each, 1)))

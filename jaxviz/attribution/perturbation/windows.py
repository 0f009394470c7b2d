"""Occlusion: what the score loses when a window of the inputs is covered, window after window."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.baselines import baseline_like
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.perturbation import nearby
from jaxviz.attribution.perturbation.game import collect, scores_with, weighted_sum
from jaxviz.attribution.perturbation.groups import attribution_dtype, feature_count
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import Target, TargetLike


@cautious
def occlusion(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    window: Any,
    stride: Any = None,
    baseline: Any = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Occlusion: what the score loses when a window of the inputs is put to the baseline.

    `attribution[i] = mean over the windows w that cover i of score(inputs) - score(inputs with w at the baseline)`

    Args:
        model: the model.
        inputs: as for `feature_ablation`.
        target: as for `gradient`.
        window: the sides of the window, in elements. An int is the side along every axis between the batch and the channels
            (the last axis; where inputs have two axes, the last is no channels). A tuple has one side per axis after the batch.
            Of trailing axes for which there is no side, channels most often, a window has all. For several inputs: an int for
            all, or a tuple of one such window for each.
        stride: how far the window is moved, of the same form; None: as far as the window is wide, so that none overlap. The last
            windows on an axis may stand over its end.
        baseline: as for `feature_ablation`.
        chunk_size: most model evaluations (windows x examples) in flight, at least one window; memory grows with it. None
            chooses by the size of the inputs.
        progress: draw a progress bar.

    Returns:
        The attribution, as for `feature_ablation`. It costs one evaluation per window, and one per input; where it pays, as in
        most convolutional networks, only of what the window can change, which takes the memory of the activations at the inputs.
        Windows of one input are covered while the other inputs stand as they are.

    Raises:
        TypeError, ValueError: as for `feature_ablation`, and if a side of the window or a stride is less than 1, is larger than
            the input, or if a stride is larger than the window, which would leave out elements.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs.sum(axis=1), ())
        >>> occlusion(model, jnp.array([[1.0, 2.0, 3.0, 4.0]]), window=2)
        Array([[3., 3., 7., 7.]], dtype=float32)

    Note:
        As Captum's `Occlusion`, but for the strides, which are 1 by default there, and short tuples. Zennit's shows the window
        alone by default, and gives the score itself: `score(blank) - occlusion(model, blank, baseline=inputs, ...)`, where blank
        is an array of what it fills with. It adds windows up where they overlap, as `saliency` does.

    References:
        M. D. Zeiler, R. Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014. arXiv:1311.2901.
    """
    name = "occlusion"
    inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
    baseline = baseline_like(name, baseline, inputs)
    chunks.check_chunk_size(name, chunk_size)
    leaves, structure = jax.tree.flatten(inputs)
    several = type(inputs) is tuple
    windows = _sides(name, "window", window, leaves, [leaf.shape[1:] for leaf in leaves], several)
    strides = windows if stride is None else _sides(name, "stride", stride, leaves, windows, several)
    attributions = []
    for number, (leaf, sides, steps) in enumerate(zip(leaves, windows, strides, strict=True)):
        for side, step, length in zip(sides, steps, leaf.shape[1:], strict=True):
            if step > side < length:
                raise ValueError(
                    f"{name}: stride {step} is larger than the window's side {side}, so some elements are never covered"
                )
        starts = _starts(leaf.shape[1:], sides, steps)
        given = {"model": model, "inputs": inputs, "baseline": baseline, "target": prepared}
        base = nearby.base(number, (sides, steps), model, inputs, prepared)
        scores: Any = functools.partial(_scores, number, sides=np.array(sides, np.int32))
        if base is not None:
            scores = functools.partial(_scores_nearby, number, (sides, steps), base=base)
        parts = collect(
            functools.partial(scores, **given),
            starts,
            chunks.sizes(len(starts), leaf.shape[0], chunk_size, values=feature_count(*leaves)),
            progress=progress,
            label=name,
        )
        attributions.append(_averaged(leaf, parts, _shares(leaf.shape[1:], sides, steps)))
    return jax.tree.unflatten(structure, attributions)


def _starts(shape: tuple[int, ...], sides: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """Where windows start, `(windows + 1, axes)`: the first one outside, so that nothing is covered."""
    places = np.stack(np.meshgrid(*nearby.places(shape, (sides, steps)), indexing="ij"), axis=-1).reshape(
        -1, len(shape)
    )
    return np.concatenate([np.array([shape], np.int32), places])


def _shares(shape: tuple[int, ...], sides: tuple[int, ...], steps: tuple[int, ...]) -> list[np.ndarray]:
    """Per axis, `(places, length)`: the weight of each place of the window in the mean at each element.

    The mean over the windows that cover an element is one along each axis after the other.
    """
    shares = []
    for places, length, side in zip(nearby.places(shape, (sides, steps)), shape, sides, strict=True):
        positions = np.arange(length)
        covers = (positions >= places[:, None]) & (positions < places[:, None] + side)
        shares.append((covers / covers.sum(axis=0)).astype(np.float32))
    return shares


@functools.partial(jit, static_argnums=0)
def _scores(
    number: int, starts: jax.Array, sides: jax.Array, model: Model, inputs: Any, baseline: Any, target: Target
) -> jax.Array:
    leaf, fill = jax.tree.leaves(inputs)[number], jax.tree.leaves(baseline)[number]

    def score(start: jax.Array) -> jax.Array:
        covered = jnp.where(_covers(leaf.shape, [0] * leaf.ndim, start, sides), fill, leaf)
        return scores_with(number, model, inputs, target, covered)

    return jax.vmap(score)(starts)


@functools.partial(jit, static_argnums=(0, 1))
def _scores_nearby(
    number: int,
    windows: nearby.Windows,
    starts: jax.Array,
    model: Model,
    inputs: Any,
    baseline: Any,
    target: Target,
    base: list[jax.Array],
) -> jax.Array:
    """As `_scores`, of the model evaluated only where a window changes it."""
    leaf, fill = jax.tree.leaves(inputs)[number], jax.tree.leaves(baseline)[number]

    def score(start: jax.Array) -> jax.Array:
        # The window that covers nothing starts at the end: its patch is the last one's, as it is.
        def patch(first: list[Any], shape: tuple[int, ...]) -> jax.Array:
            covers = _covers(shape, first, start, windows[0])
            cut = lambda array: jax.lax.dynamic_slice(array, first, shape)
            return jnp.where(covers, cut(fill), cut(leaf))

        return nearby.scores(number, windows, start, patch, model, inputs, target, base)

    return jax.vmap(score)(starts)


def _covers(shape: tuple[int, ...], first: Any, start: jax.Array, sides: Any) -> jax.Array:
    """What a window covers of a patch of an input that starts at `first`."""
    covers = jnp.bool_(True)
    for axis in range(1, len(shape)):
        position = first[axis] + jnp.expand_dims(
            jnp.arange(shape[axis], dtype=jnp.int32), [other for other in range(len(shape)) if other != axis]
        )
        covers = covers & (position >= start[axis - 1]) & (position < start[axis - 1] + sides[axis - 1])
    return covers


@jit
def _averaged(leaf: jax.Array, parts: list[jax.Array], shares: list[jax.Array]) -> jax.Array:
    scores = jnp.concatenate(parts)
    losses = (scores[:1] - scores[1:]).reshape(*(len(share) for share in shares), -1)
    for share in shares:  # each takes the first axis away and adds one at the end, after the batch
        losses = weighted_sum(losses, share.astype(losses.dtype))
    return losses.astype(attribution_dtype(leaf, scores))


def _sides(
    function: str, name: str, given: Any, leaves: list[jax.Array], rest: list[tuple[int, ...]], several: bool
) -> list[tuple[int, ...]]:
    """Windows or strides, one side for each axis after the batch of each input; those of `rest` where none is given."""
    if not (several and isinstance(given, tuple | list)):
        return [_side(function, name, given, *pair) for pair in zip(leaves, rest, strict=True)]
    if len(given) != len(leaves):
        raise ValueError(f"{function}: there are {len(leaves)} inputs, but {name} has {len(given)} entries")
    names = [f"{name}[{i}]" for i in range(len(leaves))]
    return [_side(function, *each) for each in zip(names, given, leaves, rest, strict=True)]


def _side(function: str, name: str, given: Any, leaf: jax.Array, rest: tuple[int, ...]) -> tuple[int, ...]:
    shape = leaf.shape[1:]
    if not shape:
        raise ValueError(f"{function}: an input of shape {leaf.shape} has no axis after the batch to cover")
    if not isinstance(given, tuple | list):
        given = (given,) * max(len(shape) - 1, 1)
    if any(isinstance(side, bool) or not hasattr(side, "__index__") for side in given):
        raise TypeError(f"{function}: {name} must be an int or a tuple of ints, got {given!r}")
    if not 0 < len(given) <= len(shape):
        raise ValueError(
            f"{function}: {name} has {len(given)} sides, but the input has {len(shape)} axes after the batch"
        )
    if any(not 1 <= side <= length for side, length in zip(given, shape, strict=False)):
        raise ValueError(f"{function}: {name} must be between 1 and the input's {shape}, got {tuple(given)}")
    return (*map(int, given), *rest[len(given) :])

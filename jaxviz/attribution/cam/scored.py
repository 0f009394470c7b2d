"""Class activation maps without gradients: channels weighted by what the score is through them, or without them."""

import functools
from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.baselines import baseline_like
from jaxviz.attribution.cam.channels import channel_map, component, positions, stretched
from jaxviz.attribution.cam.maps import Layers, Size, Wanted, activations, finish, resized, wanted
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.perturbation.game import collect, scores_of
from jaxviz.attribution.perturbation.groups import feature_count
from jaxviz.checks import check_number
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.precision import at_least_float32
from jaxviz.program import OUTPUT
from jaxviz.targets import Target, TargetLike


@cautious
def score_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    baseline: Any = None,
    relu: bool = True,
    upsample: Size = True,
    eigen_smooth: bool = False,
    chunk_size: int | None = None,
    progress: bool = False,
) -> jax.Array:
    """Score-CAM: a layer's channels, weighted by the score of the inputs seen through each channel as a mask.

    `map = relu(sum_c w_c * activation_c)`, `w = softmax_c(score(baseline + m_c * (inputs - baseline)))`; the mask `m_c` is the
    channel at the size of the inputs, stretched to the range from 0 to 1 in each example

    Args:
        model: the model.
        inputs: as for `grad_cam`; those are masked that have as many spatial axes as the layer. Others may be integers.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: as for `gradient`. The softmax weighs differences of the score: those of logits are often large, so that few
            channels count; those of probabilities are less than 1.
        baseline: what is seen where the mask is 0: None (zeros), a number, an array that broadcasts to inputs, or a tuple of
            these for several inputs.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.
        eigen_smooth: as for `grad_cam`.
        chunk_size: most model evaluations (channels x examples) in flight, at least one channel; memory grows with it, and not
            with the number of channels. None chooses by the size of the inputs.
        progress: draw a progress bar.

    Returns:
        The map, as for `grad_cam`. It costs an evaluation per channel.

    Raises:
        TypeError, ValueError: as for `grad_cam`, and if no input has as many spatial axes as the layer, baseline does not
            broadcast to inputs, or chunk_size is less than 1.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jv.tag(inputs, "grid")[:, 0].sum(axis=1), ())
        >>> inputs = jnp.array([[[8.0, 0.0], [0.0, 2.0]]])  # its first channel shows what the score is of, its second does not
        >>> score_cam(model, inputs, layer="grid").round(2)
        Array([[8., 0.]], dtype=float32)

    Note:
        The paper's score of the baseline is left out: the softmax does not depend on it. A channel that is constant in an example
        masks everything there. As pytorch-grad-cam, but that enlarges with the centers of the corners in place, where pixels
        are areas here.

    References:
        H. Wang, Z. Wang, M. Du, F. Yang, Z. Zhang, S. Ding, P. Mardziel, X. Hu. Score-CAM: Score-Weighted Visual Explanations for
        Convolutional Neural Networks. CVPR Workshops 2020. arXiv:1910.01279.
    """
    name = "score_cam"
    inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
    baseline = baseline_like(name, baseline, inputs)
    chunks.check_chunk_size(name, chunk_size)
    asked = wanted(name, layer, side, relu, upsample, eigen_smooth)
    grids = _activations(asked, model, inputs)
    weights = []
    for path, grid in grids.items():
        _check_maskable(name, path, grid, inputs)
        step = functools.partial(
            _scores_through, grid=grid, model=model, inputs=inputs, baseline=baseline, target=prepared
        )
        channels = np.arange(grid.shape[-1], dtype=np.int32)
        weights.append(
            _collected(step, channels, grid, feature_count(*jax.tree.leaves(inputs)), chunk_size, progress, path)
        )
    return _weighted(asked, _softmax(weights), grids, inputs)


@cautious
def ablation_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    share: float = 1.0,
    relu: bool = True,
    upsample: Size = True,
    eigen_smooth: bool = False,
    chunk_size: int | None = None,
    progress: bool = False,
) -> jax.Array:
    """Ablation-CAM: a layer's channels, weighted by the share of the score that is lost without each.

    `map = relu(sum_c w_c * activation_c)`, `w_c = (score - score without channel c) / |score|`: without a channel is with 0 at
    all of its positions (all tokens)

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: as for `gradient`.
        share: what part of the channels are left out, more than 0, at most 1. Of less than 1, this part at either end of their
            order: those that lie most, and those that lie least, where the layer's first principal component stands out (1 % of
            its range above the least absolute value). Other channels weigh nothing. It saves evaluations below 1/2.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.
        eigen_smooth: as for `grad_cam`.
        chunk_size: most evaluations (channels x examples) in flight, at least one channel; memory grows with it, and not with the
            number of channels. None chooses by the size of the layer.
        progress: draw a progress bar.

    Returns:
        The map, as for `grad_cam`. It costs an evaluation of the model up to the layer, and of the rest of the model one per
        channel that is left out, and one.

    Raises:
        TypeError, ValueError: as for `grad_cam`, and if share is out of its range or chunk_size is less than 1.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> weights = jnp.array([3.0, -1.0])
        >>> model = jv.Model.from_function(lambda params, inputs: jv.tag(inputs, "grid").sum(axis=1) @ weights, ())
        >>> ablation_cam(model, jnp.array([[[0.0, 1.0], [2.0, 1.0]]]), layer="grid", relu=False)  # weights 6 / 4 and -2 / 4
        Array([[-0.5,  2.5]], dtype=float32)

    Note:
        The paper divides by the score, which turns the map around where the score is negative, as logits may be: here it is
        divided by its absolute value, and not at all where it is 0. pytorch-grad-cam puts a channel to 10 million below the
        activation's minimum where that is not 0; here it is 0 always, as in the paper.
        `share` is its `ratio_channels_to_ablate`; of more than a half it takes some channels twice, here all are taken.

    References:
        S. Desai, H. G. Ramaswamy. Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization. WACV 2020.
    """
    name = "ablation_cam"
    inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
    chunks.check_chunk_size(name, chunk_size)
    part = float(check_number(name, "share", share, 0, 1))
    if not part:
        raise ValueError(f"{name}: share must be more than 0, got {share}")
    asked = wanted(name, layer, side, relu, upsample, eigen_smooth)
    grids = _activations(asked, model, inputs)
    weights, chosen = [], []
    for path, grid in grids.items():
        count = grid.shape[-1]
        each = max(int(count * part), 1)  # at either end
        channels = np.arange(count, dtype=np.int32) if 2 * each >= count else _outstanding(each, grid)
        chosen.append(channels)
        tail, activation = model.since(path, inputs, side=side)
        step = functools.partial(_scores_without, activation=activation, tail=tail, target=prepared)
        values = max(feature_count(activation), feature_count(*jax.tree.leaves(inputs)))
        weights.append(_collected(step, _after_none(channels), grid, values, chunk_size, progress, path))
    return _weighted(asked, _losses(weights, chosen, list(grids.values())), grids, inputs)


def _collected(
    step: Any, channels: Any, grid: jax.Array, values: int, chunk_size: int | None, progress: bool, path: str
) -> list[jax.Array]:
    """The scores of channels, `(channels, batch)`, in parts."""
    sizes = chunks.sizes(len(channels), grid.shape[0], chunk_size, values=values)
    return collect(step, channels, sizes, progress=progress, label=f"channels of {path}")


def _check_maskable(function: str, layer: str, grid: jax.Array, inputs: Any) -> None:
    masked = [leaf for leaf in jax.tree.leaves(inputs) if leaf.ndim == grid.ndim]
    if not masked:
        raise ValueError(
            f"{function}: layer {layer!r} has {grid.ndim - 2} spatial axes, and no input of shapes "
            f"{[leaf.shape for leaf in jax.tree.leaves(inputs)]} has as many, which its channels could be masks of"
        )
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in masked):
        raise TypeError(f"{function}: inputs of dtype {masked[0].dtype} cannot be masked; give floating-point inputs")


@functools.partial(jit, static_argnums=0)
def _activations(wanted: Wanted, model: Model, inputs: Any) -> OrderedDict[str, jax.Array]:
    return activations(wanted, model, inputs)


@jit
def _scores_through(
    channels: jax.Array, grid: jax.Array, model: Model, inputs: Any, baseline: Any, target: Target
) -> jax.Array:
    def score(channel: jax.Array) -> jax.Array:
        channel = jax.lax.dynamic_index_in_dim(grid, channel, axis=grid.ndim - 1, keepdims=False)
        return scores_of(model, jax.tree.map(functools.partial(_through, channel), inputs, baseline), target)

    return jax.vmap(score)(channels)


def _through(channel: jax.Array, leaf: jax.Array, baseline: jax.Array) -> jax.Array:
    """An input through a channel `(batch, *grid)` as a mask; an input of another number of axes as it is."""
    if leaf.ndim != channel.ndim + 1:
        return leaf
    mask = resized(channel, leaf.shape[1:-1])
    axes = tuple(range(1, mask.ndim))
    mask = mask - mask.min(axis=axes, keepdims=True)
    largest = mask.max(axis=axes, keepdims=True)
    mask = mask / jnp.where(largest == 0, jnp.ones_like(largest), largest)
    return baseline + mask[..., None].astype(leaf.dtype) * (leaf - baseline)


@jit
def _scores_without(channels: jax.Array, activation: jax.Array, tail: Model, target: Target) -> jax.Array:
    numbers = jax.lax.broadcasted_iota(jnp.int32, activation.shape, activation.ndim - 1)

    def score(channel: jax.Array) -> jax.Array:
        channel = channel.reshape(-1, *[1] * (activation.ndim - 1))  # of all examples, or of each
        return scores_of(tail, jnp.where(numbers == channel, jnp.zeros_like(activation), activation), target)

    return jax.vmap(score)(channels)


@jax.jit
def _softmax(scores: list[list[jax.Array]]) -> list[jax.Array]:
    def softmax(scores: jax.Array) -> jax.Array:
        # NaN is put back: within other programs, XLA (jax 0.10, CPU) made weights of scores that are NaN.
        lost = jnp.isnan(scores).any(axis=0, keepdims=True)
        return jnp.where(lost, jnp.full_like(scores, jnp.nan), jax.nn.softmax(scores, axis=0))

    return [softmax(jnp.concatenate(parts)) for parts in scores]


@jax.jit
def _losses(scores: list[list[jax.Array]], channels: list[Any], grids: list[jax.Array]) -> list[jax.Array]:
    """The share of the score that is lost without each channel, of the scores with all, and without each that was left out."""
    weights = []
    for parts, numbers, grid in zip(scores, channels, grids, strict=True):
        whole, without = jnp.split(jnp.concatenate(parts), [1])
        lost = (whole - without) / jnp.where(whole == 0, jnp.ones_like(whole), jnp.abs(whole))
        if numbers.ndim == 2:
            zeros = jnp.zeros((grid.shape[-1], grid.shape[0]), lost.dtype)
            lost = jnp.put_along_axis(zeros, numbers, lost, axis=0, inplace=False)
        weights.append(lost)
    return weights


@jax.jit
def _after_none(channels: Any) -> jax.Array:
    """The channels after -1, which is none."""
    return jnp.concatenate([jnp.full_like(channels[:1], -1), channels])


@functools.partial(jit, static_argnums=0)
def _outstanding(each: int, grid: jax.Array) -> jax.Array:
    """So many channels, int32 `(2 * each, batch)`, that lie least and most where the first principal component stands out."""
    places = positions(grid)
    outlined = stretched(component(grid), places) > 0.01
    sizes = at_least_float32(stretched(grid, places))
    total = sizes.sum(axis=places)
    inside = jnp.where(outlined[..., None], sizes, jnp.zeros_like(sizes)).sum(axis=places)
    order = jnp.argsort(inside / jnp.where(total == 0, jnp.ones_like(total), total), axis=1).astype(jnp.int32)
    return jnp.concatenate([order[:, :each], order[:, -each:]], axis=1).T


@functools.partial(jit, static_argnums=0)
def _weighted(wanted: Wanted, weights: list[jax.Array], grids: OrderedDict[str, jax.Array], inputs: Any) -> jax.Array:
    cams = []
    for weight, grid in zip(weights, grids.values(), strict=True):
        shape = (grid.shape[0], *[1] * (grid.ndim - 2), grid.shape[-1])
        cams.append(channel_map(wanted, weight.T.reshape(shape).astype(grid.dtype) * grid))
    return finish(wanted, cams, inputs)

"""FullGrad: the contributions of the inputs and of all biases, in one map."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz import views
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.cam.biases import full_gradient
from jaxviz.attribution.cam.channels import component, stretched
from jaxviz.attribution.cam.maps import Layers, resized, wanted
from jaxviz.attribution.cam.tokens import are_alike, are_tokens, fitting, to_grid
from jaxviz.attribution.caution import cautious
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import OUTPUT, Key, paths
from jaxviz.targets import Target, TargetLike


@cautious
def full_grad(
    model: Model,
    inputs: Any,
    *,
    layer: Layers | None = None,
    target: TargetLike = None,
    upsample: bool | tuple[int, ...] = True,
    eigen_smooth: bool = False,
) -> jax.Array:
    """FullGrad: what the inputs and what each bias contribute to the score, in one map.

    `map = sum_channels(psi(inputs * d score / d inputs)) + sum_biases(sum_channels(psi(bias * d score / d bias)))`, where `psi`
    takes the absolute value, stretches it to the range from 0 to 1 in each example, and resizes it to the inputs

    Before psi, the contributions sum to the score: in ReLU networks, of which the biases are the paper's, and in any other.

    Args:
        model: the model. A bias is what a layer's output is beyond its derivative times its input, `y - J x`: the bias of a dense
            or convolutional layer; `bias - mean * scale / deviation` of batch normalization, as in the paper; of another
            activation function than ReLU and of a normalization by the inputs' own statistics what makes the sum complete. Every
            layer that has no layers in it has one, and outside of these every run of elementwise operations; scans, conditionals
            and checkpoints count as one operation. Biases without spatial axes, of dense layers after the pooling say, have no
            place in the map and are left out of it, as in the paper.
        inputs: as for `gradient`, with channels last, `(batch, *spatial, channels)`, 1 to 3 spatial axes; of several inputs one
            has these.
        layer: None for the biases of all layers; a path or pattern, or a tuple of these, for those of these layers only.
        target: as for `gradient`.
        upsample: True for a map of the inputs' size; a tuple of ints is the size wanted.
        eigen_smooth: True makes the map of the first principal component over positions of all that is added up, in place of the
            sum: the inputs' channels, and a channel for each bias. It has its own scale, zero and the sign of the sum.

    Returns:
        The map of each example, without channels, of the dtype of the inputs: `(batch, *spatial)`. At least 0 without
        eigen_smooth.

    Raises:
        TypeError, ValueError: as for `gradient`, and if the inputs have no spatial axes, a layer is not found, or upsample is
            no size.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: (inputs + params).sum(axis=(1, 2)), jnp.array([[[0.0], [5.0]]]))
        >>> full_grad(model, jnp.array([[[3.0], [0.0]]]))  # the input contributes at the left, the bias at the right
        Array([[1., 1.]], dtype=float32)

    Note:
        Each bias is stretched as a whole, as in the paper's implementation; pytorch-grad-cam stretches each channel by itself.
        Both find biases in modules of certain classes only. There is no setting `relu`, as no value is negative. For its
        `eigen_smooth` pytorch-grad-cam brings all channels to an eighth of the size before, to save memory.

    References:
        S. Srinivas, F. Fleuret. Full-Gradient Representation for Neural Network Visualization. NeurIPS 2019. arXiv:1905.00780.
    """
    name = "full_grad"
    inputs, prepared = prepare(name, model, inputs, target)
    asked = wanted(name, "" if layer is None else layer, OUTPUT, False, upsample, eigen_smooth)
    patterns = None if layer is None else (layer,) if isinstance(layer, str) else tuple(layer)
    spatial = _size(name, inputs, True)
    size = _size(name, inputs, asked.upsample)
    if len(size) != len(spatial):
        raise ValueError(
            f"{name}: upsample must be one positive int for each of the inputs' {len(spatial)} spatial axes, got {size}"
        )
    return _full_grad(patterns, size, asked.eigen_smooth, model, inputs, prepared)


def _size(function: str, inputs: Any, upsample: bool | tuple[int, ...]) -> tuple[int, ...]:
    if upsample is False:
        raise ValueError(
            f"{function}: upsample must be True or a size, since the biases' maps are of several sizes, got False"
        )
    if isinstance(upsample, tuple):
        if not all(hasattr(side, "__index__") and side >= 1 for side in upsample):
            raise ValueError(f"{function}: upsample must have positive ints, got {upsample}")
        return upsample
    leaves = [leaf for leaf in jax.tree.leaves(inputs) if 3 <= leaf.ndim <= 5]
    if len(leaves) != 1:
        found = [leaf.shape for leaf in jax.tree.leaves(inputs)]
        raise ValueError(
            f"{function}: one input must have the shape (batch, *spatial, channels) with 1 to 3 spatial axes, got {found}"
        )
    return leaves[0].shape[1:-1]


@functools.partial(jit, static_argnums=(0, 1, 2))
def _full_grad(
    patterns: tuple[str, ...] | None,
    size: tuple[int, ...],
    eigen_smooth: bool,
    model: Model,
    inputs: Any,
    target: Target,
) -> jax.Array:
    program = views.program(model, inputs)
    if patterns is not None:
        paths.choose("full_grad", patterns, dict.fromkeys(key.layer for key in program.sites))
    of_inputs, biases = full_gradient(model, inputs, target)
    (of_input,) = [leaf for leaf in jax.tree.leaves(of_inputs) if leaf.ndim == len(size) + 2]
    parts = [of_input]
    for layer, part in biases:
        if layer is None or (patterns is not None and not paths.match(layer, patterns)):
            continue
        if are_tokens(part.shape, inputs) and fitting(part.shape[1], of_input.shape[1:-1]):
            parts.append(to_grid("full_grad", Key(layer), part, inputs, program))
        elif _has_place(part.shape, of_input.shape):
            parts.append(part)
    if eigen_smooth:
        shares = [stretched(part, tuple(range(1, part.ndim))).astype(of_input.dtype) for part in parts]
        channels = [shares[0], *(share.sum(axis=-1, keepdims=True) for share in shares[1:])]
        return component(jnp.concatenate([resized(part, size) for part in channels], axis=-1))
    sums: dict[tuple[int, ...], jax.Array] = {}  # resizing is linear: it comes last, once for each grid
    for part in parts:
        cam = stretched(part, tuple(range(1, part.ndim))).sum(axis=-1).astype(of_input.dtype)
        sums[cam.shape] = sums[cam.shape] + cam if cam.shape in sums else cam
    maps = [resized(cam, size) for cam in sums.values()]
    return sum(maps[1:], maps[0])


def _has_place(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether a bias has the axes of the inputs: a batch, a grid of about their aspect ratio, and channels."""
    if len(shape) != len(whole) or shape[0] != whole[0] or math.prod(shape[1:-1]) == 1:
        return False
    return are_alike(shape[1:-1], whole[1:-1])

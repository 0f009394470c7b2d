"""Shapley-CAM: Grad-CAM with the second derivatives, by which the score without a channel is approached."""

import functools
from typing import Any

import jax

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.cam.channels import channel_map
from jaxviz.attribution.cam.maps import Layers, Size, Wanted, finish, wanted, with_curvatures
from jaxviz.attribution.cam.weighted import mean_weighted
from jaxviz.attribution.caution import cautious
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import OUTPUT
from jaxviz.targets import Target, TargetLike


@cautious
def shapley_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    relu: bool = True,
    upsample: Size = True,
    eigen_smooth: bool = False,
    channels: bool = False,
) -> jax.Array:
    """Shapley-CAM: Grad-CAM of the channels' Shapley values in the second-order expansion of the score.

    `map = relu(sum_c w_c * activation_c)`, `w = mean_positions(d score / d activation - H activation / 2)` with `H` the second
    derivatives of the score by the activation

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: as for `gradient`. Of a logit that is piecewise linear in the layer (ReLU, max-pooling, dense layers) `H` is 0, so
            that the map is that of `grad_cam`; the paper's score is the logit plus its log-softmax, as below.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.
        eigen_smooth: as for `grad_cam`.
        channels: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`. It costs the second derivatives of the model from the layer on, once for each layer.

    Raises:
        TypeError, ValueError: as for `grad_cam`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: (jv.tag(inputs, "grid") ** 2).sum(axis=(1, 2)), ())
        >>> shapley_cam(model, jnp.array([[[1.0], [3.0]]]), layer="grid")  # weighs 4 - 4 / 2
        Array([[2., 6.]], dtype=float32)
        >>> def rest(outputs):  # the paper's score of class 0
        ...     return (outputs + jax.nn.log_softmax(outputs))[:, 0]
        >>> module = jv.models.CNN(classes=3, channels=(4, 8))
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), images))
        >>> shapley_cam(model, images, layer="relu_1", target=rest, relu=False).shape
        (2, 8, 8)

    Note:
        As pytorch-grad-cam's, but for its scale (see `grad_cam`), and that its map of several layers is an error there.

    References:
        H. Cai. CAMs as Shapley Value-based Explainers. 2025. arXiv:2501.06261.
    """
    name = "shapley_cam"
    inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
    return _shapley_cam(wanted(name, layer, side, relu, upsample, eigen_smooth, channels), model, inputs, prepared)


@functools.partial(jit, static_argnums=0)
def _shapley_cam(wanted: Wanted, model: Model, inputs: Any, target: Target) -> jax.Array:
    found = with_curvatures(wanted, model, inputs, target)
    cams = [channel_map(wanted, mean_weighted(activation, slope - bend / 2)) for activation, slope, bend in found]
    return finish(wanted, cams, inputs)

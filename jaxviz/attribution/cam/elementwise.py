"""Class activation maps of the gradient at each position: HiResCAM and LayerCAM."""

from typing import Any

import jax

from jaxviz.attribution.cam.gradient_map import gradient_map
from jaxviz.attribution.cam.maps import Layers, Size, wanted
from jaxviz.attribution.caution import cautious
from jaxviz.model import Model
from jaxviz.program import OUTPUT
from jaxviz.targets import TargetLike


@cautious
def hires_cam(
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
    """HiResCAM: the gradient at each position times the activation there.

    `map = relu(sum_c d score / d activation_c * activation_c)`

    For a network that is linear after the layer, but for biases, this is what each position contributes to the score.

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: as for `gradient`.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.
        eigen_smooth: as for `grad_cam`.
        channels: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`.

    Raises:
        TypeError, ValueError: as for `grad_cam`.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> weights = jnp.array([[[4.0], [1.0]]])
        >>> model = jv.Model.from_function(lambda params, inputs: (weights * jv.tag(inputs, "grid")).sum(axis=(1, 2)), ())
        >>> hires_cam(model, jnp.array([[[1.0], [3.0]]]), layer="grid")
        Array([[4., 3.]], dtype=float32)

    Note:
        As pytorch-grad-cam's, but for its scale (see `grad_cam`). Its `GradCAMElementWise`, which leaves out what is negative in
        each channel, is `hires_cam(..., channels=True).sum(axis=-1)`, and `layer_cam` where no activation is negative.

    References:
        R. L. Draelos, L. Carin. Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks.
        2020. arXiv:2011.08891.
    """
    asked = wanted("hires_cam", layer, side, relu, upsample, eigen_smooth, channels)
    return gradient_map(_elementwise, asked, model, inputs, target)


@cautious
def layer_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    relu: bool = True,
    upsample: Size = True,
    eigen_smooth: bool = False,
) -> jax.Array:
    """LayerCAM: the positive part of the gradient at each position times the activation there; good at early layers, too.

    `map = relu(sum_c relu(d score / d activation_c) * activation_c)`

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: as for `gradient`.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.
        eigen_smooth: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`.

    Raises:
        TypeError, ValueError: as for `grad_cam`.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> weights = jnp.array([[[4.0], [-1.0]]])
        >>> model = jv.Model.from_function(lambda params, inputs: (weights * jv.tag(inputs, "grid")).sum(axis=(1, 2)), ())
        >>> layer_cam(model, jnp.array([[[1.0], [3.0]]]), layer="grid")
        Array([[4., 0.]], dtype=float32)

    Note:
        As pytorch-grad-cam's, but for its scale (see `grad_cam`). To join early layers with late ones the paper scales the early
        layers' maps by a hyperbolic tangent and takes the maximum; a tuple of layers has the mean here.

    References:
        P.-T. Jiang, C.-B. Zhang, Q. Hou, M.-M. Cheng, Y. Wei. LayerCAM: Exploring Hierarchical Class Activation Maps for
        Localization. IEEE Transactions on Image Processing 30, 2021.
    """
    return gradient_map(
        _positive, wanted("layer_cam", layer, side, relu, upsample, eigen_smooth), model, inputs, target
    )


def _elementwise(activation: jax.Array, gradient: jax.Array) -> jax.Array:
    return gradient * activation


def _positive(activation: jax.Array, gradient: jax.Array) -> jax.Array:
    return jax.nn.relu(gradient) * activation

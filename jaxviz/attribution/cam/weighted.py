"""Class activation maps whose channels have one weight each, of the score's gradient: Grad-CAM and its kin."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.cam.channels import positions
from jaxviz.attribution.cam.gradient_map import gradient_map
from jaxviz.attribution.cam.maps import Layers, Size, wanted
from jaxviz.attribution.caution import cautious
from jaxviz.model import Model
from jaxviz.precision import at_least_float32
from jaxviz.program import OUTPUT
from jaxviz.targets import TargetLike


@cautious
def grad_cam(
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
    """Grad-CAM: a layer's channels, weighted by the mean of the score's gradient over their positions.

    `map = relu(sum_c mean_positions(d score / d activation_c) * activation_c)`

    Args:
        model: the model.
        inputs: as for `gradient`, or integers (token ids); for upsampling with channels last, `(batch, *spatial, channels)`, but
            token ids `(batch, tokens)`.
        layer: path of a layer whose activation is `(batch, *spatial, channels)` with 1 to 3 spatial axes (`model.layers(inputs)`
            lists them): as a rule the last convolution, or its activation function. Where the inputs have 2 or 3 spatial axes, an
            activation `(batch, tokens, channels)` is a vision transformer's: its tokens are laid out as the grid that has the
            inputs' aspect ratio, without up to 8 others (class tokens, registers). Where among those the patches' stand is told
            by the concatenation or padding that joined them before the layer; without one, they are taken to be the last.
            A tuple of paths and patterns is for the mean over all layers that fit: of their maps, each divided by its largest
            absolute value in the example, at the size wanted.
        side: `"output"` of the layer, or its `"input"`, where that is one array: of a convolution, what a function that is no
            layer made of the features before it.
        target: as for `gradient`.
        relu: False keeps the map's negative values, which speak against the target.
        upsample: True resizes the map (linearly) to the spatial axes of the inputs: of the one input that has as many axes as the
            layer. A tuple of ints is the size wanted, whatever the layer's aspect ratio; False leaves the layer's grid.
        eigen_smooth: True makes the map of the weighted channels' first principal component over positions, in place of their
            sum: less of what few channels show alone, at the price of the map's scale and zero. Its sign is that of the sum.
        channels: True leaves out the sum over channels: a map of each, `relu` being of each, too.

    Returns:
        The map of each example, of the activation's dtype: `(batch, *spatial)`, or with channels `(batch, *spatial, channels)`.

    Raises:
        TypeError, ValueError: as for `gradient`, and if the layer is not found or has no spatial axes, its tokens make no grid,
            or upsample does not tell a size, or is True and one of the layer's axes is reduced more than twice as much as another
            (tokens by heads, say, are no grid).

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> module = jv.models.CNN(classes=3, channels=(4, 8))
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), images))
        >>> grad_cam(model, images, layer="relu_1", target=0).shape
        (2, 8, 8)
        >>> grad_cam(model, images, layer=("relu_*",), target=0).shape
        (2, 8, 8)

    Note:
        Captum's `LayerGradCam` leaves the layer's grid and by default the negative values; it has the map in a channel of its
        own; `channels=True` is its `attr_dim_summation=False`. pytorch-grad-cam stretches every map to the range from 0 to 1;
        here a map keeps its scale, and a map that is 0 everywhere stays so. Over several layers it takes the mean of the
        stretched maps, and stretches that; its `RefineCAM` is the product of the maps of several layers, each divided by its
        largest value. Its `aug_smooth` is `jaxviz.augmented(grad_cam)`, its `targets` (of segmentation and detection, too) are
        callables as target, and its `FinerCAM` is `jaxviz.finer_target` as such. Its `reshape_transform` is needed where the
        activation is neither grid nor tokens: then explain `Model.from_function(lambda tail, grid: tail(back(jaxviz.tag(grid,
        "grid"))), tail)` at `layer="grid"`, where `tail, activation = model.since(layer, inputs)`, of the activation brought
        into a grid, which `back` undoes.

    References:
        R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra. Grad-CAM: Visual Explanations from Deep Networks
        via Gradient-based Localization. ICCV 2017. arXiv:1610.02391.
    """
    asked = wanted("grad_cam", layer, side, relu, upsample, eigen_smooth, channels)
    return gradient_map(mean_weighted, asked, model, inputs, target)


@cautious
def grad_cam_pp(
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
    """Grad-CAM++: Grad-CAM with weights that do not depend on how large an object is, nor on how often it is there.

    `map = relu(sum_c w_c * activation_c)`, `w_c = sum_positions(relu(g_c) / (2 + g_c * sum_positions(activation_c)))` with
    `g_c = d score / d activation_c`

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`; best the output of a ReLU, or another activation that is at least 0.
        side: as for `grad_cam`.
        target: as for `gradient`; a logit.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.
        eigen_smooth: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`.

    Raises:
        TypeError, ValueError: as for `grad_cam`.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: 2.0 * jv.tag(inputs, "grid").sum(axis=(1, 2)), ())
        >>> grad_cam_pp(model, jnp.array([[[1.0], [3.0]]]), layer="grid")  # each position weighs 2 / (2 + 2 * 4)
        Array([[0.4, 1.2]], dtype=float32)

    Note:
        The paper's third and second derivatives are those of `exp(score)` in a layer after which all is linear; `exp(score)`, a
        factor of the whole map, is left out, as in pytorch-grad-cam. There the quotient has 1e-6 in its denominator, before it is
        divided by `g_c ** 2`, which makes weights of small gradients smaller. Where the denominator is 0, the weight is 0.

    References:
        A. Chattopadhyay, A. Sarkar, P. Howlader, V. N. Balasubramanian. Grad-CAM++: Improved Visual Explanations for Deep
        Convolutional Networks. WACV 2018. arXiv:1710.11063.
    """
    return gradient_map(
        _plus_plus, wanted("grad_cam_pp", layer, side, relu, upsample, eigen_smooth), model, inputs, target
    )


@cautious
def xgrad_cam(
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
    """XGrad-CAM: Grad-CAM whose mean of the gradient is weighted by the activation.

    `map = relu(sum_c w_c * activation_c)`, `w_c = sum_positions(g_c * activation_c) / sum_positions(activation_c)` with
    `g_c = d score / d activation_c`

    For a network that is linear after the layer, without biases, the map with `relu=False` sums to the score.

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`; best the output of a ReLU, or another activation that is at least 0.
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
        >>> weights = jnp.array([[[4.0], [0.0]]])
        >>> model = jv.Model.from_function(lambda params, inputs: (weights * jv.tag(inputs, "grid")).sum(axis=(1, 2)), ())
        >>> xgrad_cam(model, jnp.array([[[1.0], [3.0]]]), layer="grid")  # the channel weighs 4 / 4
        Array([[1., 3.]], dtype=float32)

    Note:
        pytorch-grad-cam adds 1e-7 to the sum of the activation. Here a channel whose sum is 0 has no weight.

    References:
        R. Fu, Q. Hu, X. Dong, Y. Guo, Y. Gao, B. Li. Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of
        CNNs. BMVC 2020. arXiv:2008.02312.
    """
    return gradient_map(
        _activation_weighted, wanted("xgrad_cam", layer, side, relu, upsample, eigen_smooth), model, inputs, target
    )


def mean_weighted(activation: jax.Array, gradient: jax.Array) -> jax.Array:
    """Grad-CAM's channels on the layer's grid, with their signs."""
    weights = gradient.mean(axis=positions(gradient), keepdims=True)
    return weights * activation


def _plus_plus(activation: jax.Array, gradient: jax.Array) -> jax.Array:
    # The paper's g^2 / (2 g^2 + g^3 sum(activation)) with g^2 canceled: what is small stays exact.
    values, slopes = at_least_float32(activation), at_least_float32(gradient)  # their sums are beyond half precision
    below = 2 + slopes * values.sum(axis=positions(values), keepdims=True)
    is_zero = below == 0
    shares = jnp.where(is_zero, jnp.zeros_like(below), jax.nn.relu(slopes) / jnp.where(is_zero, 1, below))
    return (shares.sum(axis=positions(shares), keepdims=True) * values).astype(activation.dtype)


def _activation_weighted(activation: jax.Array, gradient: jax.Array) -> jax.Array:
    values, slopes = at_least_float32(activation), at_least_float32(gradient)  # their sums are beyond half precision
    total = values.sum(axis=positions(values), keepdims=True)
    is_zero = total == 0
    weights = (slopes * values).sum(axis=positions(values), keepdims=True) / jnp.where(is_zero, 1, total)
    return (jnp.where(is_zero, jnp.zeros_like(weights), weights) * values).astype(activation.dtype)

"""Class activation maps: where on a layer's grid the channels that speak for the target are active."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import prepare
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import Target, TargetLike, select


def grad_cam(
    model: Model,
    inputs: Any,
    *,
    layer: str,
    target: TargetLike = None,
    relu: bool = True,
    upsample: bool | tuple[int, ...] = True,
) -> jax.Array:
    """Grad-CAM: a layer's channels, weighted by the mean of the score's gradient over their positions.

    `map = relu(sum_c mean_positions(d score / d activation_c) * activation_c)`

    Args:
        model: the model.
        inputs: as for `gradient`; for upsampling with channels last, `(batch, *spatial, channels)`.
        layer: path of a layer whose activation is `(batch, *spatial, channels)` with 1 to 3 spatial axes (`model.layers(inputs)`
            lists them): as a rule the last convolution, or its activation function.
        target: as for `gradient`.
        relu: False keeps the map's negative values, which speak against the target.
        upsample: True resizes the map (linearly) to the spatial axes of the inputs: of the one input that has as many axes as the
            layer. A tuple of ints is the size wanted; False leaves the layer's grid.

    Returns:
        The map of each example, without channels, of the activation's dtype: `(batch, *spatial)`.

    Raises:
        TypeError, ValueError: as for `gradient`, and if the layer is not found or has no spatial axes, or if upsample does not
            tell a size.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> module = jv.models.CNN(classes=3, channels=(4, 8))
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), images))
        >>> grad_cam(model, images, layer="relu_1", target=0).shape
        (2, 8, 8)

    Note:
        Captum's `LayerGradCam` leaves the layer's grid and by default the negative values; it has
        the map in a channel of its own.

    References:
        R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra. Grad-CAM: Visual Explanations from Deep Networks
        via Gradient-based Localization. ICCV 2017. arXiv:1610.02391.
    """
    name = "grad_cam"
    inputs, prepared = prepare(name, model, inputs, target)
    if not isinstance(layer, str):
        raise TypeError(f"{name}: layer must be the path of a layer, a string, got {type(layer).__name__}")
    if isinstance(upsample, list):
        upsample = tuple(upsample)
    if not isinstance(upsample, bool | tuple):
        raise TypeError(f"{name}: upsample must be True, False or the size wanted as a tuple of ints, got {upsample!r}")
    return _grad_cam(model, inputs, prepared, layer, bool(relu), upsample)


@functools.partial(jit, static_argnames=("layer", "relu", "upsample"))
def _grad_cam(
    model: Model, inputs: Any, target: Target, layer: str, relu: bool, upsample: bool | tuple[int, ...]
) -> jax.Array:
    tail, activation = model.since(layer, inputs)
    check_grid("grad_cam", layer, activation, inputs)
    gradient = jax.grad(lambda activation: select(tail(activation), target).sum())(activation)
    weights = gradient.mean(axis=tuple(range(1, activation.ndim - 1)), keepdims=True)
    return finish("grad_cam", (weights * activation).sum(axis=-1), inputs, relu, upsample)


def check_grid(function: str, layer: str, activation: Any, inputs: Any) -> None:
    """Raises unless the activation is a float array with a batch, 1 to 3 spatial axes, and channels."""
    if not hasattr(activation, "shape"):
        raise ValueError(
            f"{function}: layer {layer!r} has {len(jax.tree.leaves(activation))} arrays as its activation, not one map"
        )
    if not 3 <= activation.ndim <= 5:
        raise ValueError(
            f"{function}: layer {layer!r} has an activation of shape {activation.shape}, without spatial axes; choose a "
            "layer whose activation is (batch, *spatial, channels), a convolution for instance"
        )
    if activation.shape[0] != jax.tree.leaves(inputs)[0].shape[0]:
        raise ValueError(
            f"{function}: layer {layer!r} has an activation of shape {activation.shape}, whose axis 0 is not the batch"
        )
    if not jnp.issubdtype(activation.dtype, jnp.floating):
        raise TypeError(
            f"{function}: layer {layer!r} has an activation of {activation.dtype}, which cannot be differentiated"
        )


def finish(function: str, cam: jax.Array, inputs: Any, relu: bool, upsample: bool | tuple[int, ...]) -> jax.Array:
    """What the class activation maps have in common: negative values left out, and the size of the inputs."""
    cam = jax.nn.relu(cam) if relu else cam
    if upsample is False:
        return cam
    size = upsample if isinstance(upsample, tuple) else _spatial(function, cam, inputs)
    if len(size) != cam.ndim - 1 or not all(hasattr(side, "__index__") and side >= 1 for side in size):
        raise ValueError(
            f"{function}: upsample must be one positive int for each of the layer's {cam.ndim - 1} spatial axes, got {size}"
        )
    return jax.image.resize(cam, (cam.shape[0], *size), "linear", antialias=False)


def _spatial(function: str, cam: jax.Array, inputs: Any) -> tuple[int, ...]:
    """The spatial axes of the input that the map is of."""
    shapes = {leaf.shape[1:-1] for leaf in jax.tree.leaves(inputs) if leaf.ndim == cam.ndim + 1}
    if len(shapes) == 1:
        return shapes.pop()
    found = [leaf.shape for leaf in jax.tree.leaves(inputs)]
    raise ValueError(
        f"{function}: the layer's map has {cam.ndim - 1} spatial axes, and the inputs of shapes {found} do not tell one "
        "size for it; give upsample=(size, ...) or upsample=False"
    )

"""Guided Grad-CAM: guided backpropagation where Grad-CAM looks."""

import functools
from typing import Any

import jax

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.cam.maps import Layers, Wanted, activations_and_gradients, mean_over_layers, wanted
from jaxviz.attribution.cam.weighted import mean_weighted
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.rules.guided import guided_backprop
from jaxviz.checks import check_choice
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import OUTPUT
from jaxviz.targets import Target, TargetLike

INTERPOLATIONS = ("linear", "nearest", "cubic")


@cautious
def guided_grad_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    relu: bool = True,
    interpolation: str = "linear",
) -> Any:
    """Guided Grad-CAM: guided backpropagation times the Grad-CAM map at the size of the inputs.

    `attribution = guided_backprop(inputs) * resized(grad_cam(inputs))`

    Args:
        model: the model.
        inputs: as for `gradient`, with channels last, `(batch, *spatial, channels)`, and with as many spatial axes as the layer.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: as for `gradient`.
        relu: False keeps the Grad-CAM map's negative values.
        interpolation: how the map is enlarged: `"linear"`, `"nearest"` or `"cubic"`.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError, ValueError: as for `grad_cam`, and if an input has not as many spatial axes as the layer, or interpolation
            is unknown.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> module = jv.models.CNN(classes=3, channels=(4, 8))
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), images))
        >>> guided_grad_cam(model, images, layer="relu_1", target=0).shape
        (2, 8, 8, 1)

    Note:
        There is no setting `upsample`: the map always has the size of the inputs. Captum's `GuidedGradCam` enlarges it by
        repeating the nearest value, or as told; here it is by linear interpolation, as in the paper. `"nearest"` goes by the
        centers of elements, as PyTorch's `"nearest-exact"`; its `"nearest"` differs where sides are no multiples of the map's.

    References:
        R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra. Grad-CAM: Visual Explanations from Deep Networks
        via Gradient-based Localization. ICCV 2017. arXiv:1610.02391.
    """
    name = "guided_grad_cam"
    check_choice(name, "interpolation", interpolation, INTERPOLATIONS)
    inputs, prepared = prepare(name, model, inputs, target)
    guided = guided_backprop(model, inputs, target=prepared)
    return _product(wanted(name, layer, side, relu, True), interpolation, model, inputs, prepared, guided)


@functools.partial(jit, static_argnums=(0, 1))
def _product(wanted: Wanted, interpolation: str, model: Model, inputs: Any, target: Target, guided: Any) -> Any:
    cams = [mean_weighted(*pair).sum(axis=-1) for pair in activations_and_gradients(wanted, model, inputs, target)]

    def times_map(leaf: jax.Array) -> jax.Array:
        if any(leaf.ndim != cam.ndim + 1 for cam in cams):
            raise ValueError(
                f"{wanted.function}: an input of shape {leaf.shape} has not as many spatial axes as the layer, whose map is "
                f"{cams[0].shape}; explain it alone, and what else the model takes as a keyword of the model's constructor"
            )
        cam = mean_over_layers(wanted, cams, leaf.shape[1:-1], interpolation)
        return leaf * cam[..., None].astype(leaf.dtype)

    return jax.tree.map(times_map, guided)

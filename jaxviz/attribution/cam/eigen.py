"""Class activation maps that are principal components: what varies most over the positions of a layer."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import prepare, prepare_without_score
from jaxviz.attribution.cam.channels import component
from jaxviz.attribution.cam.maps import (
    Layers,
    Size,
    Wanted,
    activations,
    activations_and_gradients,
    finish,
    wanted,
)
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.kinds import without_score
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import OUTPUT
from jaxviz.targets import Target, TargetLike


@cautious
@without_score
def eigen_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    relu: bool = True,
    upsample: Size = True,
) -> jax.Array:
    """Eigen-CAM: the activation's first principal component, whatever the target.

    `map = relu(X v)`: `X` is the activation as a matrix `(positions, channels)`, less its mean over the positions, and `v` its
    first right singular vector, with the sign that makes the map correlate positively with the sum of the channels

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: taken so that the method is called as the others are; the map does not depend on it.
        relu: False keeps the positions on the other side of the mean.
        upsample: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`. It costs the model up to the layer, once.

    Raises:
        TypeError, ValueError: as for `grad_cam`.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jv.tag(inputs, "grid").sum(axis=(1, 2)), ())
        >>> eigen_cam(model, jnp.array([[[0.0, 0.0], [3.0, 4.0]]]), layer="grid", relu=False).round(3)
        Array([[-2.5,  2.5]], dtype=float32)

    Note:
        The mean is taken off as in pytorch-grad-cam; the paper leaves it, so that the component is mostly the mean. A singular
        vector has no sign of its own: pytorch-grad-cam's map has either, here it is positive where the layer is active. Where the
        two largest singular values are equal the component is not determined.

    References:
        M. B. Muhammad, M. Yeasin. Eigen-CAM: Class Activation Map using Principal Components. IJCNN 2020. arXiv:2008.00299.
    """
    name = "eigen_cam"
    inputs = prepare_without_score(name, model, inputs, target)
    return _eigen_cam(wanted(name, layer, side, relu, upsample), model, inputs)


@cautious
def eigen_grad_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    relu: bool = True,
    upsample: Size = True,
) -> jax.Array:
    """Eigen-Grad-CAM: the first principal component of activation times gradient, which depends on the target.

    `map = relu(X v)`: `X` is `d score / d activation * activation` as a matrix `(positions, channels)`, less its mean over the
    positions, and `v` its first right singular vector, with the sign that makes the map correlate positively with HiResCAM's

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: as for `gradient`.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`.

    Raises:
        TypeError, ValueError: as for `grad_cam`.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jv.tag(inputs, "grid")[..., 0].sum(axis=1), ())
        >>> eigen_grad_cam(model, jnp.array([[[0.0, 9.0], [6.0, 4.0]]]), layer="grid", relu=False).round()
        Array([[-3.,  3.]], dtype=float32)

    Note:
        Of pytorch-grad-cam, but for the sign, which is arbitrary there: here what is positive speaks for the target. It is
        `hires_cam` with `eigen_smooth=True`.

    References:
        J. Gildenblat and contributors. PyTorch library for CAM methods. 2021. https://github.com/jacobgil/pytorch-grad-cam.
        M. B. Muhammad, M. Yeasin. Eigen-CAM: Class Activation Map using Principal Components. IJCNN 2020. arXiv:2008.00299.
    """
    name = "eigen_grad_cam"
    inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
    return _eigen_grad_cam(wanted(name, layer, side, relu, upsample), model, inputs, prepared)


@cautious
def seg_eigen_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    relu: bool = True,
    upsample: Size = True,
) -> jax.Array:
    """Seg-Eigen-CAM: the first principal component of the activation where the score is sensitive; for segmentation.

    `map = relu(X v)`: `X` is `|d score / d activation| * activation` as a matrix `(positions, channels)`, less its mean over the
    positions, and `v` its first right singular vector, with the sign that makes the map's largest absolute value positive

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`.
        side: as for `grad_cam`.
        target: as for `gradient`; of a segmentation a callable, the sum of a class over a region for instance.
        relu: as for `grad_cam`.
        upsample: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`.

    Raises:
        TypeError, ValueError: as for `grad_cam`.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: -jv.tag(inputs, "grid")[..., 0].sum(axis=1), ())
        >>> seg_eigen_cam(model, jnp.array([[[0.0, 9.0], [0.0, 4.0], [6.0, 4.0]]]), layer="grid", relu=False).round()
        Array([[-2., -2.,  4.]], dtype=float32)

    Note:
        As pytorch-grad-cam's, sign and all, but for its scale (see `grad_cam`). The map does not tell what speaks for the target
        from what speaks against it, since the gradient's sign is not in it: `eigen_grad_cam` does.

    References:
        C.-T. Chung, J. J.-C. Ying. Seg-Eigen-CAM: Eigen-Value-Based Visual Explanations for Semantic Segmentation Models. Applied
        Sciences 15(13), 2025.
    """
    name = "seg_eigen_cam"
    inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
    return _seg_eigen_cam(wanted(name, layer, side, relu, upsample), model, inputs, prepared)


@functools.partial(jit, static_argnums=0)
def _eigen_cam(wanted: Wanted, model: Model, inputs: Any) -> jax.Array:
    return finish(wanted, [component(values) for values in activations(wanted, model, inputs).values()], inputs)


@functools.partial(jit, static_argnums=0)
def _eigen_grad_cam(wanted: Wanted, model: Model, inputs: Any, target: Target) -> jax.Array:
    pairs = activations_and_gradients(wanted, model, inputs, target)
    return finish(wanted, [component(gradient * activation) for activation, gradient in pairs], inputs)


@functools.partial(jit, static_argnums=0)
def _seg_eigen_cam(wanted: Wanted, model: Model, inputs: Any, target: Target) -> jax.Array:
    cams = []
    for activation, gradient in activations_and_gradients(wanted, model, inputs, target):
        cam = component(jnp.abs(gradient) * activation)
        grid = tuple(range(1, cam.ndim))
        is_below = -cam.min(axis=grid, keepdims=True) > cam.max(axis=grid, keepdims=True)
        cams.append(jnp.where(is_below, -cam, cam))
    return finish(wanted, cams, inputs)

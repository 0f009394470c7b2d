"""KPCA-CAM: the first principal component of a layer's positions in the space of a kernel."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import prepare_without_score
from jaxviz.attribution.cam.channels import centered, kernel_component
from jaxviz.attribution.cam.maps import Layers, Size, Wanted, activations, finish, wanted
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.kinds import without_score
from jaxviz.checks import check_choice, check_number
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import OUTPUT
from jaxviz.targets import TargetLike

KERNELS = ("linear", "polynomial", "rbf", "sigmoid", "cosine")


@cautious
@without_score
def kpca_cam(
    model: Model,
    inputs: Any,
    *,
    layer: Layers,
    side: str = OUTPUT,
    target: TargetLike = None,
    kernel: str = "sigmoid",
    gamma: float | None = None,
    relu: bool = True,
    upsample: Size = True,
) -> jax.Array:
    """KPCA-CAM: Eigen-CAM by a kernel, so that the component need not be linear in the channels; whatever the target.

    `map = relu(sqrt(l) * u)`: `l` is the largest eigenvalue, and `u` its eigenvector, of the kernel `k(x_p, x_q)` of all
    positions `p` and `q`, less its means over rows and columns; `x` is the activation `(positions, channels)`, less its mean over
    the positions; `u` has the sign that makes the map correlate positively with the sum of the channels

    Args:
        model: the model.
        inputs: as for `grad_cam`.
        layer: as for `grad_cam`. The kernel is of all pairs of positions: memory grows with the square of their number, and time
            with its cube, so that a late layer, of a few hundred positions, is what this is for.
        side: as for `grad_cam`.
        target: taken so that the method is called as the others are; the map does not depend on it.
        kernel: `"sigmoid"`, `tanh(gamma * x.y + 1)`; `"rbf"`, `exp(-gamma * |x - y|^2)`; `"polynomial"`, `(gamma * x.y + 1)^3`;
            `"cosine"`, `x.y / (|x| |y|)`; or `"linear"`, `x.y`, whose map is that of `eigen_cam`.
        gamma: at least 0; None is 1 / channels. `"linear"` and `"cosine"` have none.
        relu: False keeps the positions on the other side of the mean.
        upsample: as for `grad_cam`.

    Returns:
        The map, as for `grad_cam`. It costs the model up to the layer, once.

    Raises:
        TypeError, ValueError: as for `grad_cam`, and if kernel is unknown, or gamma is negative or of a kernel that has none.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: jv.tag(inputs, "grid").sum(axis=(1, 2)), ())
        >>> grid = jnp.array([[[0.0, 0.0], [3.0, 4.0]]])
        >>> kpca_cam(model, grid, layer="grid", kernel="linear", relu=False).round(3)
        Array([[-2.5,  2.5]], dtype=float32)
        >>> kpca_cam(model, grid, layer="grid", kernel="rbf", gamma=0.01, relu=False).round(3)
        Array([[-0.333,  0.333]], dtype=float32)

    Note:
        Kernels and gamma are those of pytorch-grad-cam, which takes scikit-learn's. The sign there is that of the component's
        largest value, so that the map may be of what is not active; here it is positive where the layer is active. The sigmoid
        kernel may have negative eigenvalues: these are no components.

    References:
        S. Karmani, T. Sivakaran, G. Prasad, M. Ali, W. Yang, S. Tang. KPCA-CAM: Visual Explainability of Deep Computer Vision
        Models using Kernel PCA. MMSP 2024. arXiv:2410.00267.
    """
    name = "kpca_cam"
    check_choice(name, "kernel", kernel, KERNELS)
    if gamma is not None:
        gamma = check_number(name, "gamma", gamma, 0)
        if kernel in ("linear", "cosine"):
            raise ValueError(f"{name}: gamma is {gamma}, but the kernel {kernel!r} has none")
    inputs = prepare_without_score(name, model, inputs, target)
    return _kpca_cam(wanted(name, layer, side, relu, upsample), kernel, model, inputs, gamma)


@functools.partial(jit, static_argnums=(0, 1))
def _kpca_cam(wanted: Wanted, kernel: str, model: Model, inputs: Any, gamma: Any) -> jax.Array:
    grids = activations(wanted, model, inputs).values()
    return finish(wanted, [_component(values, kernel, gamma) for values in grids], inputs)


def _component(values: jax.Array, kernel: str, gamma: Any) -> jax.Array:
    """The first component of the kernel over positions of `(batch, *grid, channels)`, `(batch, *grid)`."""
    batch, *grid, channels = values.shape
    matrix, largest = centered(values)
    gram = _gram(matrix, largest, kernel, jnp.asarray(1 / channels if gamma is None else gamma, matrix.dtype))
    rows = gram.mean(axis=1, keepdims=True)
    found = kernel_component(gram - rows - jnp.swapaxes(rows, 1, 2) + rows.mean(axis=2, keepdims=True), matrix)
    scale = largest[:, :, 0] if kernel == "linear" else 1
    return (found * scale).reshape(batch, *grid).astype(values.dtype)


def _gram(matrix: jax.Array, largest: jax.Array, kernel: str, gamma: jax.Array) -> jax.Array:
    """The kernel of all pairs of positions, `(batch, positions, positions)`, but for a constant, which goes with the means.

    Beside the constant a small kernel would be rounded away. `"linear"` is of the matrix, all others of the matrix times the
    largest magnitudes.
    """
    if kernel == "cosine":
        lengths = jnp.linalg.norm(matrix, axis=2, keepdims=True)
        matrix = matrix / jnp.where(lengths == 0, jnp.ones_like(lengths), lengths)
    products = jnp.einsum("bpc,bqc->bpq", matrix, matrix, precision=jax.lax.Precision.HIGHEST)
    if kernel in ("linear", "cosine"):
        return products
    scaled = gamma * largest**2
    if kernel == "rbf":
        lengths = jnp.einsum("bpc,bpc->bp", matrix, matrix, precision=jax.lax.Precision.HIGHEST)
        return jnp.expm1(-scaled * jax.nn.relu(lengths[:, :, None] + lengths[:, None] - 2 * products))
    products = scaled * products
    if kernel == "polynomial":
        return products * (3 + 3 * products + products**2)  # (products + 1) ** 3 - 1
    at_zero = math.tanh(1)
    slopes = jnp.tanh(products)
    return slopes * (1 - at_zero**2) / (1 + at_zero * slopes)  # tanh(products + 1) - tanh(1)

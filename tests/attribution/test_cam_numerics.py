"""Class activation maps of what is very small, very large, constant or in half precision: against float64 formulas."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(7)
GRID = RANDOM.uniform(size=(2, 7, 7, 5))
WEIGHTS = RANDOM.normal(size=(1, 7, 7, 5))

alike = pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # they are meant to be


def weighted_sum(params, x):
    return (params * jv.tag(x, "grid")).sum(axis=(1, 2, 3))


def model(weights, dtype=np.float32):
    return jv.Model.from_function(weighted_sum, jnp.asarray(weights, dtype))


def component(values):
    maps = []
    for example in values.reshape(len(values), -1, values.shape[-1]):
        centered = example - example.mean(axis=0)
        projected = centered @ np.linalg.svd(centered)[2][0]
        maps.append(projected * np.sign(projected @ centered.sum(axis=1)))
    return np.reshape(maps, values.shape[:3])


def close(ours, expected, tolerance):
    ours = np.asarray(ours, np.float64)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("channels", [5, 60])  # fewer than positions, and more
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e19, 1e30])
def test_components_of_any_scale(scale, channels):
    grid, weights = np.tile(GRID, channels // 5), np.tile(WEIGHTS, channels // 5)
    grid = grid * np.linspace(0.5, 1.5, channels)
    inputs = jnp.asarray(grid, jnp.float32)
    settings: dict[str, Any] = {"layer": "grid", "relu": False}
    close(jv.eigen_grad_cam(model(weights * scale), inputs, **settings), component(weights * scale * grid), 2e-5)
    smoothed = jv.hires_cam(model(weights * scale), inputs, eigen_smooth=True, **settings)
    close(smoothed, component(weights * scale * grid), 2e-5)
    expected = component(np.abs(weights) * scale * grid)
    expected *= np.sign(expected.reshape(2, -1)[[0, 1], np.abs(expected).reshape(2, -1).argmax(axis=1)])[:, None, None]
    close(jv.seg_eigen_cam(model(weights * scale), inputs, **settings), expected, 2e-5)
    scaled = jnp.asarray(grid * scale, jnp.float32)
    for found in (
        jv.eigen_cam(model(weights), scaled, **settings),
        jv.kpca_cam(model(weights), scaled, kernel="linear", **settings),
    ):
        close(found, component(grid * scale), 2e-5)


def test_components_are_differentiable_at_any_scale():
    inputs = jnp.asarray(GRID[:, :2, :2], jnp.float32)
    plain = model(np.ones((1, 1, 1, 1)))
    total = lambda x: (jv.eigen_cam(plain, x, layer="grid", relu=False) * jnp.asarray(WEIGHTS[:, :2, :2, 0])).sum()
    expected = jax.grad(total)(inputs)
    for scale in (1e-12, 1e12):  # the map scales as its activation does, so that its derivative stays
        close(jax.grad(total)(inputs * scale), np.asarray(expected, np.float64), 1e-3)


def kernel_component(values, kernel, gamma=1 / 5):
    maps = []
    for example in values.reshape(len(values), -1, values.shape[-1]):
        centered = example - example.mean(axis=0)
        products = centered @ centered.T
        squares = np.diag(products)
        gram = {
            "sigmoid": np.tanh(gamma * products + 1),
            "polynomial": (gamma * products + 1) ** 3,
            "rbf": np.exp(-gamma * (squares[:, None] + squares - 2 * products)),
            "cosine": products / np.sqrt(squares[:, None] * squares),
        }[kernel]
        middle = np.eye(len(gram)) - 1 / len(gram)
        lengths, vectors = np.linalg.eigh(middle @ gram @ middle)
        projected = vectors[:, -1] * np.sqrt(lengths[-1])
        maps.append(projected * np.sign(projected @ centered.sum(axis=1)))
    return np.reshape(maps, values.shape[:3])


@pytest.mark.parametrize("kernel", ["sigmoid", "polynomial", "rbf", "cosine"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 3.0])
def test_kernels_of_small_activations_are_not_rounded_away(kernel, scale):
    found = jv.kpca_cam(model(WEIGHTS), jnp.asarray(GRID * scale, jnp.float32), layer="grid", kernel=kernel, relu=False)
    close(found, kernel_component(GRID * scale, kernel), 1e-4)


@alike
def test_rounding_is_no_component():
    """A blank image through a convolution: all positions are alike, but the mean of 196 of them is rounded."""
    kernel = RANDOM.normal(size=(3, 3, 1, 6)).astype(np.float32)

    def network(params, x):
        features = jax.lax.conv_general_dilated(x, params, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jv.tag(jax.nn.relu(features), "features").mean(axis=(1, 2))

    blank = jnp.full((1, 16, 16, 1), 0.37)
    explained = jv.Model.from_function(network, kernel)
    settings: dict[str, Any] = {"layer": "features", "target": 0, "relu": False}
    assert np.ptp(explained.capture(blank, "features")["features"], axis=(1, 2)).max() == 0
    for method in (jv.eigen_cam, jv.eigen_grad_cam, jv.seg_eigen_cam):
        assert not method(explained, blank, **settings).any()
    for kind in ("linear", "polynomial", "rbf", "sigmoid", "cosine"):
        assert not jv.kpca_cam(explained, blank, kernel=kind, **settings).any()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_sums_of_half_precision(dtype):
    """The sum of a channel of 112 x 112 is beyond float16's largest number, 65504."""
    grid = np.asarray(jnp.asarray(RANDOM.uniform(4, 12, size=(1, 112, 112, 2)), dtype), np.float64)
    weights = np.asarray(jnp.asarray(RANDOM.uniform(-1, 1, size=(1, 112, 112, 2)), dtype), np.float64)
    total = grid.sum(axis=(1, 2), keepdims=True)
    assert total.max() > 65504
    inputs, explained = jnp.asarray(grid, dtype), model(weights, dtype)
    share = np.maximum(weights, 0) / (2 + weights * total)
    plus_plus = (share.sum(axis=(1, 2), keepdims=True) * grid).sum(axis=-1)
    xgrad = ((weights * grid).sum(axis=(1, 2), keepdims=True) / total * grid).sum(axis=-1)
    for method, expected in ((jv.grad_cam_pp, plus_plus), (jv.xgrad_cam, xgrad)):
        found = method(explained, inputs, layer="grid", relu=False)
        assert found.dtype == dtype
        close(found, expected, 2 * float(jnp.finfo(dtype).eps))

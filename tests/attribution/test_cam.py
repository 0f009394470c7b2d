"""Grad-CAM: against a naive float64 formula on a network whose gradient is known, in one, two and three dimensions."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(1)


def network(params, x):
    """Channels 2 -> 3 at every second position, tanh, then a dense layer on the whole grid."""
    mixed = jnp.tanh(jnp.einsum("...c,cd->...d", x[(slice(None), *[slice(None, None, 2)] * (x.ndim - 2))], params[0]))
    mixed = jv.tag(mixed, "grid")
    return jv.tag(mixed.reshape(x.shape[0], -1), "flat") @ params[1]


@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # a map that is negative everywhere is 0
@pytest.mark.parametrize("spatial", [(8,), (8, 6), (4, 6, 4)])
@pytest.mark.parametrize("relu", [True, False])
def test_against_the_formula(spatial, relu):
    grid = tuple(side // 2 for side in spatial)
    x, mix = RANDOM.normal(size=(2, *spatial, 2)), RANDOM.normal(size=(2, 3))
    head = RANDOM.normal(size=(*grid, 3, 4))
    model = jv.Model.from_function(
        network, (jnp.asarray(mix, jnp.float32), jnp.asarray(head.reshape(-1, 4), jnp.float32))
    )
    activation = np.tanh(x[(slice(None), *[slice(None, None, 2)] * len(spatial))] @ mix)
    target = [3, 1]
    weights = np.stack([head[..., t].reshape(-1, 3).mean(axis=0) for t in target])  # of a linear head: its mean
    expected = sum(weights[:, c].reshape(2, *[1] * len(spatial)) * activation[..., c] for c in range(3))
    expected = np.maximum(expected, 0) if relu else expected
    inputs = jnp.asarray(x, jnp.float32)
    cam = jv.grad_cam(model, inputs, layer="grid", target=np.array(target), relu=relu, upsample=False)
    np.testing.assert_allclose(cam, expected, atol=1e-5)
    for axis in range(1, len(spatial) + 1):
        expected = np.apply_along_axis(double, axis, expected)
    full = jv.grad_cam(model, inputs, layer="grid", target=np.array(target), relu=relu)
    assert full.shape == x.shape[:-1]
    np.testing.assert_allclose(full, expected, atol=1e-5)


def double(line):
    """Linear interpolation to twice the length, pixels being areas; beyond the centers of the ends, their values."""
    places = (np.arange(2 * len(line)) + 0.5) / 2 - 0.5
    return np.interp(places, np.arange(len(line)), line)


MODEL = jv.Model.from_function(network, (jnp.ones((2, 3)), jnp.ones((12, 4))))
IMAGE = jnp.ones((1, 4, 4, 2))


def test_a_map_of_each_channel():
    weights, image = (RANDOM.normal(size=shape).astype(np.float32) for shape in ((12, 4), (2, 4, 4, 2)))
    model = jv.Model.from_function(network, (np.asarray(RANDOM.normal(size=(2, 3)), np.float32), weights))
    settings = {"layer": "grid", "target": 1, "relu": False}
    for upsample, shape in ((False, (2, 2, 2, 3)), (True, (2, 4, 4, 3)), ((5, 7), (2, 5, 7, 3))):
        found = jv.grad_cam(model, image, upsample=upsample, channels=True, **settings)
        assert found.shape == shape
        np.testing.assert_allclose(
            found.sum(axis=-1), jv.grad_cam(model, image, upsample=upsample, **settings), rtol=1e-4, atol=1e-5
        )
    shares = jv.grad_cam(model, image, channels=True, **{**settings, "layer": ("grid",)})
    np.testing.assert_allclose(np.abs(shares).max(axis=(1, 2, 3)), np.ones(2), rtol=0.3)
    with pytest.raises(
        ValueError, match=r"^grad_cam: upsample must be one positive int for each of the layer's 2 spatial"
    ):
        jv.grad_cam(model, image, channels=True, upsample=(4, 4, 4), **settings)
    with pytest.raises(TypeError, match=r"^grad_cam: channels must be True or False, got 1"):
        jv.grad_cam(model, image, channels=1, **settings)
    with pytest.raises(
        ValueError, match=r"^guided_grad_cam: interpolation must be one of 'linear', 'nearest', 'cubic'"
    ):
        jv.guided_grad_cam(model, image, layer="grid", target=1, interpolation="bilinear")


def test_upsample_to_a_size():
    model = MODEL
    assert jv.grad_cam(model, IMAGE, layer="grid", target=0, upsample=(5, 7)).shape == (1, 5, 7)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"layer": "gird"}, ValueError, "layer 'gird' not found; layers: grid, flat"),
        ({"layer": "flat"}, ValueError, r"layer 'flat' has an activation of shape \(1, 12\), without spatial axes"),
        (
            {"layer": 0},
            TypeError,
            "layer must be the path of a layer, a string, or a tuple of paths and patterns, got 0",
        ),
        ({"layer": "grid", "upsample": (5,)}, ValueError, "one positive int for each of the layer's 2 spatial axes"),
        ({"layer": "grid", "upsample": "yes"}, TypeError, "upsample must be True, False or the size wanted"),
    ],
)
def test_errors(settings, error, words):
    with pytest.raises(error, match=words):
        jv.grad_cam(MODEL, IMAGE, target=0, **settings)


def test_through_a_residual_connection():
    # the score is 3 * sum(tagged) + sum(x): what bypasses the layer has no part in its gradient
    model = jv.Model.from_function(lambda params, x: (3 * jv.tag(2 * x, "branch") + x).sum(axis=(1, 2)), ())
    x = jnp.asarray(RANDOM.normal(size=(1, 5, 1)), jnp.float32)
    np.testing.assert_allclose(
        jv.grad_cam(model, x, layer="branch", relu=False, upsample=False), 6 * x[..., 0], rtol=1e-6
    )

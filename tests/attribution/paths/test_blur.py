"""Blur integrated gradients against `saliency` and by hand."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.paths import blur

SETTINGS: dict[str, dict[str, Any]] = {
    "narrow": {"max_sigma": 1.0, "steps": 20},
    "wide": {"max_sigma": 5.0, "steps": 30},
}


def close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def blurred(inputs: Any, sigma: float) -> np.ndarray:
    weights = np.exp(-0.5 * np.square(np.arange(-300, 301) / sigma))
    result = np.asarray(inputs, np.float64)
    for axis in range(1, inputs.ndim - 1):
        places = np.arange(inputs.shape[axis])
        matrix = (weights / weights.sum())[places[:, None] - places + 300]
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return result


@pytest.mark.parametrize("reference", ["cnn"], indirect=True)
def test_against_saliency(double):
    explain = functools.partial(jv.blur_integrated_gradients, double.model, double.inputs, target=double.target)
    for kind, settings in SETTINGS.items():
        ours = explain(quadrature="riemann_left", **settings)
        close(ours, double.figures[f"blur/{kind}"])
        # With its own differences of blurs that are cut off.
        close(ours, double.figures[f"blur/{kind} as it is"], 0.01)


@pytest.mark.parametrize("reference", ["cnn"], indirect=True)
def test_completeness(double):
    explain = functools.partial(jv.blur_integrated_gradients, double.model, double.inputs, target=double.target)
    scores = lambda inputs: np.asarray(double.model(inputs))[np.arange(len(inputs)), double.target]
    whole = scores(double.inputs) - scores(jnp.asarray(blurred(double.inputs, 3.0)))
    for settings in ({}, {"sqrt": True}, {"quadrature": "riemann_middle"}):
        sums = explain(max_sigma=3.0, steps=100, **settings).sum(axis=(1, 2, 3))
        assert np.abs(sums - whole).max() < 2e-2 * np.abs(whole).max()


@pytest.mark.parametrize("sqrt", [False, True])
def test_kernels(sqrt):
    """The Gaussian of each node, against a long sum, and its derivative, against differences."""
    nodes = np.array([0.0, 1e-4, 0.05, 0.199, 0.2, 0.201, 0.5, 1.0])
    kernels, slopes = blur._kernels(nodes, 5.0, 7, sqrt)
    for node, kernel in zip(nodes, kernels, strict=True):
        sigma = 5.0 * (np.sqrt(node) if sqrt else node)
        weights = np.exp(-0.5 * np.square(np.arange(-200, 201) / max(sigma, 1e-3)))
        np.testing.assert_allclose(kernel, (weights / weights.sum())[200:207], rtol=1e-13, atol=1e-300)
    step = 1e-6
    above, below = (blur._kernels(nodes[2:] + sign * step, 5.0, 7, sqrt)[0] for sign in (1, -1))
    np.testing.assert_allclose(slopes[2:], (above - below) / (2 * step), rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(slopes[0], 0)


@pytest.mark.parametrize("shape", [(2, 9, 3), (2, 6, 5, 3), (2, 4, 5, 3, 2)])
def test_a_quadratic_score_along_one_to_three_axes(shape):
    """`score = sum(w * x^2)`: what an element gets is `w * (x^2 - blurred x^2)`, as its own path is all that counts."""
    random = np.random.default_rng(0)
    weights, inputs = (jnp.asarray(random.normal(size=size), jnp.float32) for size in (shape[1:], shape))
    model = jv.Model.from_function(lambda w, x: (w[None] * x**2).reshape(shape[0], -1).sum(axis=1), weights)
    found = jv.blur_integrated_gradients(model, inputs, max_sigma=2.0, steps=60)
    close(found, np.asarray(weights) * (np.asarray(inputs) ** 2 - blurred(inputs, 2.0) ** 2), 1e-4)


def test_several_inputs_and_narrow_types():
    model = jv.Model.from_function(
        lambda params, x: (x[0] ** 2).sum((1, 2)) + (x[1].astype(jnp.float32) ** 2).sum((1, 2, 3)), ()
    )
    random = np.random.default_rng(0)
    inputs = (
        jnp.asarray(random.normal(size=(2, 5, 1)), jnp.float32),
        jnp.asarray(random.normal(size=(2, 4, 3, 2)), jnp.bfloat16),
    )
    found = jv.blur_integrated_gradients(model, inputs, max_sigma=2.0, steps=60)
    assert [leaf.dtype for leaf in found] == [jnp.float32, jnp.bfloat16]
    close(found[0], np.asarray(inputs[0]) ** 2 - blurred(inputs[0], 2.0) ** 2, 1e-4)
    close(found[1], np.asarray(inputs[1], np.float32) ** 2 - blurred(inputs[1].astype(jnp.float32), 2.0) ** 2, 0.05)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"max_sigma": 0}, ValueError, "max_sigma must be more than 0, got 0"),
        ({"max_sigma": -1}, ValueError, r"max_sigma must be in \[0, inf\), got -1"),
        ({"sqrt": 1}, TypeError, "sqrt must be True or False, got 1"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"quadrature": "simpson"}, ValueError, "quadrature must be one of"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1"),
        ({"inputs": jnp.ones((2, 4))}, ValueError, r"inputs must have the shape \(batch, \*spatial, channels\)"),
    ],
)
def test_errors(settings, error, words):
    model = jv.Model.from_function(lambda params, x: x.reshape(x.shape[0], -1).sum(axis=1), ())
    with pytest.raises(error, match=f"blur_integrated_gradients: {words}"):
        jv.blur_integrated_gradients(model, **{"inputs": jnp.ones((2, 4, 1)), **settings})

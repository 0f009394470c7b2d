"""Smoothing: against moments known in closed form, and against a naive loop over the same noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

CUBE = jv.Model.from_function(lambda params, x: (x**3).sum(axis=1), ())
INPUTS = jnp.array([[1.0, 3.0, -1.0], [2.0, 0.0, 10.0]])
KEY = jax.random.key(3)


def test_moments_in_closed_form():
    # the gradient of x^3 is 3 x^2; with x + s e: mean 3 (x^2 + s^2), variance 9 (4 x^2 s^2 + 2 s^4)
    x, s = np.asarray(INPUTS, np.float64), 0.5
    mean, variance = 3 * (x**2 + s**2), 9 * (4 * x**2 * s**2 + 2 * s**4)
    expected = {"mean": mean, "variance": variance, "square": mean**2 + variance}
    n = 20_000
    for reduce, value in expected.items():
        smoothed = jv.smooth(jv.gradient, samples=n, noise=s, reduce=reduce, scale="absolute")
        # several standard errors: of the mean sqrt(variance / n); of the others, a share of the value
        tolerance = 5 * np.sqrt(variance / n) if reduce == "mean" else 0.08 * value
        assert (np.abs(smoothed(CUBE, INPUTS, key=KEY) - value) < tolerance).all()


def test_noise_is_a_share_of_each_examples_range():
    double = jv.Model.from_function(
        lambda params, x: (x**2).sum(axis=1), ()
    )  # the gradient is 2 x: its deviation is 2 s
    variance = jv.smooth(jv.gradient, samples=5000, noise=0.1, reduce="variance")(double, INPUTS, key=KEY)
    np.testing.assert_allclose(np.sqrt(variance) / 2, [[0.4] * 3, [1.0] * 3], rtol=0.06)


def test_samples_differ_between_inputs_and_examples():
    model = jv.Model.from_function(lambda params, x: (x[0] ** 2).sum(axis=1) + (x[1] ** 2).sum(axis=1), ())
    inputs = (jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    one, other = jv.smooth(jv.gradient, samples=1, noise=(1.0, 3.0), scale="absolute")(model, inputs, key=KEY)
    values = np.concatenate([np.asarray(one), np.asarray(other) / 3])
    assert len(np.unique(values)) == values.size


def test_a_chunked_method_sees_the_same_noise():
    # the mean gradient on a path of length 0 is the gradient
    one = jv.smooth(jv.gradient, samples=7, noise=0.2, reduce="variance")(CUBE, INPUTS, key=KEY)
    other = jv.smooth(jv.input_x_gradient, samples=7, noise=0.2, reduce="variance")
    again = jv.smooth(_gradient_in_chunks, samples=7, noise=0.2, reduce="variance")(CUBE, INPUTS, key=KEY)
    np.testing.assert_allclose(again, one, rtol=1e-4)
    assert not np.allclose(other(CUBE, INPUTS, key=KEY), one)


def test_without_noise_what_draws_has_other_keys():
    # x times the gradient 3 (u x)^2, u even in [0, 1): the variance of u^2 is 1/5 - 1/9
    inputs = jnp.array([[1.0, -2.0]])
    settings = {"baselines": jnp.zeros((1, 2)), "samples": 1, "key": KEY}
    drawn = jv.smooth(jv.expected_gradients, samples=300, noise=0, reduce="variance")(CUBE, inputs, **settings)
    np.testing.assert_allclose(drawn, 9 * np.asarray(inputs) ** 6 * (1 / 5 - 1 / 9), rtol=0.25)


def _gradient_in_chunks(model, inputs, *, target=None, chunk_size=None):
    return jv.gradient(model, inputs, target=target)


@pytest.mark.parametrize("method", [jv.integrated_gradients, jv.deeplift])  # sample by sample, and many at once
def test_a_baseline_drawn_for_each_sample(method):
    # For the sum of squares the attribution is x^2 - b^2: its mean over draws tells how often each baseline was drawn.
    traces = []
    model = jv.Model.from_function(lambda params, x: (traces.append(None), (x**2).sum(axis=1))[1], ())
    points = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]], np.float32)
    smoothed = jv.smooth(method, samples=60, noise=0.0)
    found = np.asarray(smoothed(model, INPUTS, baselines=points, key=KEY))
    shares = (np.asarray(INPUTS) ** 2 - found) / 4
    np.testing.assert_allclose(shares, np.broadcast_to(shares[:, :1], shares.shape), atol=1e-5)  # one for all features
    assert (np.abs(shares[:, 0] - 0.5) < 0.2).all()
    assert shares[0, 0] != shares[1, 0]  # each example has its own
    np.testing.assert_allclose(shares[:, 0] * 60, np.round(shares[:, 0] * 60), atol=2e-3)
    np.testing.assert_allclose(
        smoothed(model, INPUTS, baselines=points, key=KEY, chunk_size=7), found, rtol=1e-5, atol=1e-5
    )
    few = jv.smooth(method, samples=2, noise=0.1)
    jitted = jax.jit(lambda inputs: few(model, inputs, baselines=points, key=KEY))(INPUTS)
    np.testing.assert_allclose(jitted, few(model, INPUTS, baselines=points, key=KEY), rtol=1e-4, atol=1e-4)
    before = len(traces)
    smoothed(model, INPUTS, baselines=points + 1, key=jax.random.key(9))
    assert before == len(traces)
    with pytest.raises(TypeError, match="baseline and baselines are both given"):
        smoothed(model, INPUTS, baselines=points, baseline=0.0, key=KEY)
    with pytest.raises(ValueError, match=r"baselines must have the shape \(k, 3\), got \(2, 2\)"):
        smoothed(model, INPUTS, baselines=points[:, :2], key=KEY)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"samples": 0}, ValueError, "samples must be at least 1"),
        ({"noise": -1.0}, ValueError, "noise is a standard deviation, finite and at least 0"),
        ({"noise": "much"}, TypeError, "noise must be a number"),
        ({"reduce": "median"}, ValueError, "reduce must be one of 'mean', 'square', 'variance', got 'median'"),
        ({"scale": "relative"}, ValueError, "scale must be one of 'range', 'absolute'"),
    ],
)
def test_bad_settings(settings, error, words):
    with pytest.raises(error, match="smooth: " + words):
        jv.smooth(jv.gradient, **settings)


def test_bad_calls():
    smoothed = jv.smooth(jv.gradient, noise=(0.1, 0.1))
    with pytest.raises(TypeError, match=r"smooth\(gradient\): key is missing"):
        smoothed(CUBE, INPUTS)
    with pytest.raises(TypeError, match=r"key must be a jax\.random\.key, got 3"):
        smoothed(CUBE, INPUTS, key=3)
    with pytest.raises(ValueError, match="key must be one key"):
        smoothed(CUBE, INPUTS, key=jax.random.split(KEY))
    with pytest.raises(ValueError, match="noise has 2 entries, but the model has 1 inputs"):
        smoothed(CUBE, INPUTS, key=KEY)
    with pytest.raises(TypeError, match="method must be an attribution method"):
        jv.smooth("gradient")


IMAGES = jnp.asarray(np.random.default_rng(1).uniform(size=(2, 6, 8, 3)), jnp.float32)
CLASSES = jv.Model.from_function(lambda params, x: jv.tag(jnp.sqrt(x), "grid").sum(axis=(1, 2)) @ params, jnp.eye(3))


@pytest.mark.parametrize("name", ["eigen_cam", "kpca_cam", "fem_cam"])
def test_methods_that_do_not_look_at_the_score_need_no_target(name):
    """Of three outputs none is to be chosen: around such a method neither."""
    method = getattr(jv, name)
    settings: Any = {"layer": "grid", "relu": False} | ({"deviations": 1.0} if name == "fem_cam" else {})
    still, plain = jv.smooth(method, samples=2, noise=0.0), method(CLASSES, IMAGES, **settings)
    np.testing.assert_allclose(still(CLASSES, IMAGES, key=KEY, **settings), plain, rtol=1e-4, atol=1e-5)
    flipped = jv.augmented(method, flips=(None,), factors=(1.0,))
    np.testing.assert_allclose(flipped(CLASSES, IMAGES, **settings), plain, rtol=1e-4, atol=1e-5)
    both = jv.augmented(still, flips=(None,), factors=(1.0,))
    np.testing.assert_allclose(both(CLASSES, IMAGES, key=KEY, **settings), plain, rtol=1e-4, atol=1e-5)
    found = jv.explain_dataset(still, CLASSES, np.asarray(IMAGES), key=KEY, progress=False, **settings)
    np.testing.assert_allclose(found.mean, np.asarray(plain, np.float64).mean(axis=0), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"smooth\(grad_cam\): target is None"):
        jv.smooth(jv.grad_cam)(CLASSES, IMAGES, key=KEY, layer="grid")


@pytest.mark.parametrize("wrapper", [jv.smooth, jv.augmented])
def test_components_of_each_call_have_no_mean(wrapper):
    with pytest.raises(TypeError, match=f"{wrapper.__name__}: method must be one whose results have a mean"):
        wrapper(jv.feature_factorization)

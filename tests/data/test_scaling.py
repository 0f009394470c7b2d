"""Scaling and one-hot rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz.data
from jaxviz.data import Scaling, normalize, one_hot, standardize

X = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)


def test_standardize_against_float64():
    scaling = standardize(X)
    x = X.astype(np.float64)
    np.testing.assert_allclose(scaling.offset, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(scaling.scale, np.sqrt(((x - x.mean(0)) ** 2).mean(0)), rtol=1e-6)
    y = scaling.apply(X)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-6)
    assert y.dtype == np.float32
    assert isinstance(y, np.ndarray)


def test_other_splits_use_the_training_statistics():
    train = np.array([[0.0], [2.0]])
    np.testing.assert_array_equal(standardize(train).apply(np.array([[5.0]])), [[4.0]])
    np.testing.assert_array_equal(normalize(train).apply(np.array([[5.0]])), [[2.5]])


@pytest.mark.parametrize("fit", [standardize, normalize, lambda x: normalize(x, low=-1.0, high=3.0)])
def test_inverse(fit):
    scaling = fit(X)
    np.testing.assert_allclose(scaling.invert(scaling.apply(X)), X, rtol=1e-5, atol=1e-6)


def test_normalize_reaches_both_ends():
    y = normalize(X, low=-1.0, high=3.0).apply(X)
    np.testing.assert_allclose(y.min(0), -1, atol=1e-6)
    np.testing.assert_allclose(y.max(0), 3, atol=1e-6)


def test_constant_features():
    x = np.full((30, 2), 0.1, np.float32)
    x[:, 1] = np.arange(30)
    assert (standardize(x).apply(x)[:, 0] == 0).all()
    np.testing.assert_allclose(normalize(x, low=-1.0).apply(x)[:, 0], -1, rtol=1e-6)
    for fit in (standardize, normalize):
        np.testing.assert_allclose(fit(x).invert(fit(x).apply(x)), x, rtol=1e-6)


def test_channels_of_images_and_all_pixels():
    images = np.random.default_rng(1).integers(0, 256, (5, 4, 3, 2), np.uint8)
    scaling = standardize(images, axis=(0, 1, 2))
    assert scaling.offset.shape == (2,)
    np.testing.assert_allclose(scaling.offset, images.reshape(-1, 2).mean(0), rtol=1e-6)
    y = scaling.apply(images)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.reshape(-1, 2).std(0), 1, rtol=1e-5)
    everything = normalize(images, axis=(0, 1, 2, 3))
    assert everything.offset.shape == ()
    assert everything.apply(images).max() == 1
    kept = standardize(images, axis=(0, 2))
    assert kept.offset.shape == (4, 1, 2)
    np.testing.assert_allclose(kept.apply(images).mean((0, 2)), 0, atol=1e-6)


def test_one_example_under_jit_and_vmap():
    scaling = standardize(X)
    expected = scaling.apply(X)
    np.testing.assert_array_equal(scaling.apply(X[3]), expected[3])
    np.testing.assert_allclose(jax.vmap(scaling.apply)(jnp.asarray(X)), expected, rtol=1e-6)
    apply = jax.jit(lambda scaling, x: scaling.apply(x))
    np.testing.assert_allclose(apply(scaling, jnp.asarray(X)), expected, rtol=1e-6)
    assert apply._cache_size() == 1
    assert isinstance(jax.tree.map(lambda a: a, scaling), Scaling)


def test_scaling_errors():
    with pytest.raises(ValueError, match="1 NaN or infinite values, the first at index \\(2, 1\\)"):
        standardize(np.array([[1.0, 1], [2, 2], [3, np.nan]]))
    with pytest.raises(ValueError, match="shape \\(0, 3\\)"):
        normalize(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="axis must name axes"):
        standardize(X, axis=2)
    with pytest.raises(TypeError, match="real numbers"):
        standardize(np.array(["a"]))
    with pytest.raises(ValueError, match="low must be below high"):
        normalize(X, low=1.0, high=1.0)
    with pytest.raises(ValueError, match="does not fit"):
        standardize(X).apply(X[:, :3])


def test_one_hot():
    labels = np.array([[0, 2], [1, 1]], np.int32)
    rows = one_hot(labels)
    assert rows.shape == (2, 2, 3)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows.argmax(-1), labels)
    np.testing.assert_array_equal(rows.sum(-1), 1)
    assert one_hot(np.array([0]), 5).shape == (1, 5)
    np.testing.assert_array_equal(one_hot(jnp.asarray(labels)), rows)
    np.testing.assert_array_equal(jax.jit(lambda y: one_hot(y, 3))(labels), rows)


def test_one_hot_errors():
    with pytest.raises(ValueError, match=r"in \[0, 3\), got values from 0 to 3"):
        one_hot(np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="from -1 to 0"):
        one_hot(np.array([-1, 0]))
    with pytest.raises(TypeError, match="integers, got float64"):
        one_hot(np.array([0.0]))
    with pytest.raises(ValueError, match="under jit"):
        jax.jit(one_hot)(np.array([0]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: d.standardize("a"), TypeError, "standardize: x must hold real numbers"),
        (lambda d: d.standardize(X, axis="a"), TypeError, "standardize: axis must be an int, got 'a'"),
        (
            lambda d: jax.jit(lambda x: d.standardize(x).scale)(X),
            TypeError,
            "standardize: x is traced; a scaling is fitted",
        ),
        (lambda d: d.normalize(X, low="a"), TypeError, "normalize: low must be a number, got 'a'"),
        (lambda d: d.normalize(X, high=np.inf), ValueError, "normalize: high must be in .* got inf"),
        (lambda d: d.standardize(X).apply([1.0]), TypeError, "Scaling: what is scaled must be an array, got list"),
        (lambda d: d.one_hot([[0], [1, 2]]), TypeError, r"one_hot: labels must be integers, got \[\[0\], \[1, 2\]\]"),
        (lambda d: d.one_hot(np.array([0]), "a"), TypeError, "one_hot: classes must be an int, got 'a'"),
        (lambda d: d.one_hot(np.array([0]), 0), ValueError, "one_hot: classes must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_scaled(call, error, message):
    with pytest.raises(error, match=message):
        call(jaxviz.data)

"""Lowerings: equal to the plain program in value and in derivatives, ties included."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz.program import lowerings


def names(function: Any, *args: Any) -> str:
    return str(jax.make_jaxpr(function)(*args))


POOLINGS: list[Any] = [
    ((2, 7, 7, 2), (2, 2), (2, 2), "VALID"),
    ((2, 9, 8, 2), (3, 3), (2, 2), "SAME"),
    ((1, 6, 6, 1), (3, 3), (1, 1), ((1, 1), (0, 2))),
    ((2, 9, 3), (3,), (2,), ((1, 1),)),
    ((1, 4, 4, 4, 2), (2, 2, 2), (2, 2, 2), "VALID"),
]


@pytest.mark.parametrize(("shape", "window", "strides", "padding"), POOLINGS)
def test_max_pool(shape, window, strides, padding):
    x = jnp.round(jax.random.normal(jax.random.key(0), shape))  # rounded, so that windows have several maxima
    pool = lambda x: nn.max_pool(x, window, strides, padding)
    weights = jax.random.normal(jax.random.key(1), pool(x).shape)
    plain = jax.jit(lambda x: (weights * pool(x) ** 2).sum())
    lowered = jax.jit(lambda x: (weights * lowerings.call(pool, x) ** 2).sum())
    np.testing.assert_allclose(lowered(x), plain(x), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lowered)(x), jax.grad(plain)(x), atol=1e-6)
    assert "select_and_scatter" in names(jax.grad(plain), x)
    assert "select_and_scatter" not in names(jax.grad(lowered), x)
    if shape == (2, 9, 3):
        batch = jnp.stack([x, 1 - x])
        np.testing.assert_allclose(jax.vmap(jax.grad(lowered))(batch), jax.vmap(jax.grad(plain))(batch), atol=1e-6)


CONVOLUTIONS: list[Any] = [
    ((2, 8, 8, 1), 16, (3, 3), (1, 1), "SAME"),
    ((2, 9, 8, 3), 32, (3, 3), (2, 2), "SAME"),
    ((2, 9, 8, 2), 32, (5, 3), (2, 1), "VALID"),
    ((2, 9, 4), 8, (3,), (1,), ((2, 0),)),
]


@pytest.mark.parametrize(("shape", "features", "kernel", "strides", "padding"), CONVOLUTIONS)
def test_narrow_convolution(shape, features, kernel, strides, padding):
    x = jax.random.normal(jax.random.key(0), shape)
    module: Any = nn.Conv(features, kernel, strides=strides, padding=padding)
    params = module.init(jax.random.key(1), x)
    plain = jax.jit(lambda params, x: jnp.tanh(module.apply(params, x)).sum())
    lowered = jax.jit(lambda params, x: jnp.tanh(lowerings.call(module.apply, params, x)).sum())
    assert "conv_general_dilated" not in names(lowered, params, x)
    np.testing.assert_allclose(lowered(params, x), plain(params, x), rtol=1e-5, atol=1e-5)
    ours, theirs = jax.grad(lowered, (0, 1))(params, x), jax.grad(plain, (0, 1))(params, x)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), ours, theirs)


def test_what_has_no_lowering_stays():
    x = jnp.ones((1, 8, 8, 8))
    module = nn.Conv(8, (3, 3))
    params = module.init(jax.random.key(0), x)
    assert "conv_general_dilated" in names(lambda x: lowerings.call(module.apply, params, x), x)
    integers = jnp.arange(16).reshape(1, 4, 4, 1)
    pool = lambda x: jax.lax.reduce_window(x, -1, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    np.testing.assert_array_equal(lowerings.call(pool, integers)[0, :, :, 0], [[5, 7], [13, 15]])

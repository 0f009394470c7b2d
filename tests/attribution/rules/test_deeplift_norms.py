"""DeepLIFT through norms: against a float64 formula, and at baselines without contrast, where a norm divides by nothing."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(11)
INPUTS, BASELINE, WEIGHTS = (RANDOM.normal(size=shape) for shape in ((4, 6), (4, 6), (6,)))
EPSILON = 1e-6


def naive(x: np.ndarray, x0: np.ndarray, centered: bool = True) -> np.ndarray:
    """Of `weights @ norm(x)`: what the mean rule gives for `c = y * deviation` and for its square, solved for that of y."""
    center = lambda values: values - centered * values.mean(axis=1, keepdims=True)
    c, c0 = center(x), center(x0)
    deviation, deviation0 = (np.sqrt((each**2).mean(axis=1, keepdims=True) + EPSILON) for each in (c, c0))
    y, c_mean, mean = (c / deviation + c0 / deviation0) / 2, (c + c0) / 2, (deviation + deviation0) / 2
    slope = WEIGHTS / mean - (WEIGHTS * y).sum(axis=1, keepdims=True) * c_mean / (len(WEIGHTS) * mean**2)
    return center(slope) * (x - x0)


def variance(x: jax.Array) -> jax.Array:
    return x.var(axis=1, keepdims=True)


def centered(x: jax.Array) -> jax.Array:
    return x - x.mean(axis=1, keepdims=True)


NORMS: dict[str, Any] = {
    "rsqrt": lambda x: centered(x) * jax.lax.rsqrt(variance(x) + EPSILON),
    "rsqrt first, scaled": lambda x: (3 * jax.lax.rsqrt(variance(x) + EPSILON)) * centered(x) / 3,
    "sqrt": lambda x: centered(x) / jnp.sqrt(variance(x) + EPSILON),
    "inverse": lambda x: centered(x) * (1 / jnp.sqrt(variance(x) + EPSILON)),
    "standardize": lambda x: jax.nn.standardize(x, epsilon=EPSILON),
    "LayerNorm": lambda x: nn.LayerNorm(epsilon=EPSILON, use_bias=False, use_scale=False).apply({}, x),
    "RMSNorm": lambda x: nn.RMSNorm(epsilon=EPSILON, use_scale=False).apply({}, x),
    "in a scan": lambda x: jax.lax.scan(lambda carry, _: (NORMS["rsqrt"](carry + x), None), 0 * x, length=1)[0],
    "in a branch": lambda x: jax.lax.cond(x[0, 0] > -9, NORMS["sqrt"], lambda x: x, x),
    "its inverse out of a branch": lambda x: (
        centered(x) * jax.lax.cond(x[0, 0] > -9, lambda v: 1 * jax.lax.rsqrt(v), lambda v: v, variance(x) + EPSILON)
    ),
}


def model_of(norm: Any) -> jv.Model:
    return jv.Model.from_function(lambda params, x: norm(x) @ params, jnp.asarray(WEIGHTS))


@pytest.mark.parametrize("name", NORMS)
def test_formula(name):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # Flax promotes statistics in norms
        model = model_of(NORMS[name])
        for baseline in (BASELINE, np.full_like(BASELINE, 0.3)):
            found = jv.deeplift(model, jnp.asarray(INPUTS), baseline=jnp.asarray(baseline))
            gap = jv.completeness_gap(model, jnp.asarray(INPUTS), found, baseline=jnp.asarray(baseline))
            assert np.abs(gap).max() < 1e-12
            if name != "its inverse out of a branch":  # there it is not told from other values
                np.testing.assert_allclose(found, naive(INPUTS, baseline, name != "RMSNorm"), rtol=1e-9, atol=1e-12)


def test_a_deviation_and_a_constant():
    """`x / (deviation + 1)`: of the deviation's difference, 1 more does nothing."""
    with jax.enable_x64(True):
        model = model_of(lambda x: centered(x) / (jnp.sqrt(variance(x)) + 1))
        x, x0 = (each - each.mean(axis=1, keepdims=True) for each in (INPUTS, BASELINE))
        s, s0 = (np.sqrt((each**2).mean(axis=1, keepdims=True)) for each in (x, x0))
        y, mean, root = (x / (s + 1) + x0 / (s0 + 1)) / 2, (s + s0) / 2 + 1, (s + s0) / 2
        slope = WEIGHTS / mean - (WEIGHTS * y).sum(axis=1, keepdims=True) / mean * (x + x0) / 2 / root / 6
        expected = (slope - slope.mean(axis=1, keepdims=True)) * (INPUTS - BASELINE)
        found = jv.deeplift(model, jnp.asarray(INPUTS), baseline=jnp.asarray(BASELINE))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


class Normed(nn.Module):
    norm: Any

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.relu(self.norm()(nn.Conv(8, (3, 3), use_bias=False)(x)))
        return nn.Dense(3)(x.mean((1, 2)))


@pytest.mark.parametrize("norm", [lambda: nn.GroupNorm(4), nn.LayerNorm, nn.InstanceNorm, nn.RMSNorm])
def test_a_baseline_without_contrast(norm):
    """The baseline 0 goes through convolutions without biases as 0, and is divided by sqrt(epsilon) = 0.001."""
    images = jnp.asarray(RANDOM.normal(size=(2, 12, 12, 3)), jnp.float32)
    module = Normed(norm)
    model = jv.Model.from_linen(module, module.init(jax.random.key(0), images))
    found = jv.deeplift(model, images, target=0)
    size = lambda values: np.abs(np.asarray(values, np.float64)).sum(axis=(1, 2, 3))
    # The mean of the two inverses gave up to 250 times as much as integrated gradients.
    assert (size(found) < 2 * size(jv.integrated_gradients(model, images, target=0, steps=100))).all()
    gap = jv.completeness_gap(model, images, found, target=0)
    assert np.abs(gap).max() < 3e-6 * size(found).max()

"""The first affine stretch of a program: cut off and put back, it is the program; between two inputs it is straight."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.program import affine


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x):
        hidden = nn.BatchNorm(use_running_average=True)(
            nn.Conv(4, (3, 3))(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))
        )
        return nn.Dense(3)(nn.relu(hidden).mean((1, 2))) + x.mean((1, 2))  # a way around, affine to its end


def twice_used(params, x):
    early = x @ params
    return jnp.tanh(early) * early + jnp.sin(x)


def divided(params, x):
    return (params[None] / x).sum(axis=1) + jax.jit(lambda x: jnp.concatenate([2 * x, -x], axis=1))(x).sum(axis=1)


def by_two_inputs(params, inputs):
    one, other = inputs
    return jnp.where(params[0] > 0, one + other[:, :3] @ params, one) * other.sum(axis=1, keepdims=True)


def linear(params, x):
    return jnp.flip(x.reshape(4, 3) @ params, axis=1)


KEYS = jax.random.split(jax.random.key(0), 8)
IMAGES = jax.random.normal(KEYS[0], (2, 5, 5, 3))
ROWS = jax.random.normal(KEYS[1], (4, 3))
SQUARE = jax.random.normal(KEYS[2], (3, 3))
CASES = {
    "normalized": (Normalized().apply, Normalized().init(KEYS[3], IMAGES), IMAGES, 2),
    "twice used": (twice_used, SQUARE, ROWS, 2),
    "divided": (divided, SQUARE[0], ROWS, 2),
    "by two inputs": (by_two_inputs, SQUARE, (ROWS, jnp.tile(ROWS, 2)), 2),
    "linear": (linear, SQUARE, ROWS, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_cut_off_and_put_back(case):
    function, params, inputs, count = CASES[case]
    other = jax.tree.map(lambda leaf: 3 * leaf[::-1] + 1, inputs)
    values = affine.frontier(function, (params,), inputs)
    assert len(values) == count
    # The inputs given on the way back do not matter.
    result = affine.onward(function, (params,), other, values)
    np.testing.assert_allclose(result, function(params, inputs), rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_straight_between_two_inputs(case):
    function, params, start, _ = CASES[case]
    end = jax.tree.map(lambda leaf: 3 * leaf[::-1] + 1, start)
    middle = jax.tree.map(lambda one, two: 0.75 * one + 0.25 * two, start, end)
    ends = [affine.frontier(function, (params,), point) for point in (start, end)]
    for first, last, found in zip(*ends, affine.frontier(function, (params,), middle), strict=True):
        np.testing.assert_allclose(found, 0.75 * first + 0.25 * last, rtol=1e-5, atol=1e-5)


def test_rounding_to_a_narrow_dtype_ends_the_stretch():
    narrow = lambda params, x: (x.astype(jnp.bfloat16) * params).astype(jnp.float32)
    (value,) = affine.frontier(narrow, (jnp.bfloat16(3),), ROWS)
    np.testing.assert_array_equal(value, ROWS)


def test_effects_are_no_values():
    def printed(params, x):
        jax.debug.callback(lambda x: None, x)
        return jnp.tanh(x @ params)

    model = jv.Model.from_function(printed, jnp.array([1.0, 2.0]))
    found = jv.integrated_gradients(model, jnp.ones((1, 2)), steps=100)
    assert jnp.abs(found.sum() - jnp.tanh(3.0)) < 1e-5

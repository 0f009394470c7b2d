"""Occlusion: naive loops over windows, overlaps, truncated windows, several inputs, wrong arguments."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv


def curved(params: Any, inputs: jax.Array) -> jax.Array:
    return jnp.tanh((inputs * params[None]).sum(axis=tuple(range(1, inputs.ndim))))


def naive(weights: np.ndarray, inputs: np.ndarray, sides: Any, steps: Any, baseline: float) -> np.ndarray:
    """Window after window, with the sum and the number of losses at each element."""
    score = lambda x: np.tanh((x * weights).sum())
    total, count = np.zeros(inputs.shape), np.zeros(inputs.shape)
    numbers = [-(-(n - side) // step) + 1 for n, side, step in zip(inputs.shape[1:], sides, steps, strict=True)]
    for example, place in itertools.product(range(len(inputs)), itertools.product(*map(range, numbers))):
        window: Any = (
            example,
            *(slice(i * step, i * step + side) for i, step, side in zip(place, steps, sides, strict=True)),
        )
        covered = inputs.astype(np.float64).copy()
        covered[window] = baseline
        total[window] += score(inputs[example]) - score(covered[example])
        count[window] += 1
    return total / count


@pytest.mark.parametrize(
    ("shape", "window", "stride", "sides", "steps"),
    [
        ((2, 7), 3, 2, (3,), (2,)),
        ((2, 7), 7, None, (7,), (7,)),
        ((1, 5, 4, 2), 3, 2, (3, 3, 2), (2, 2, 2)),
        ((1, 5, 4, 2), (3, 2, 1), (1, 2), (3, 2, 1), (1, 2, 1)),
        ((2, 3, 3, 3, 2), 2, 1, (2, 2, 2, 2), (1, 1, 1, 2)),
    ],
)
def test_against_a_loop(shape, window, stride, sides, steps):
    random = np.random.default_rng(0)
    weights, inputs = random.normal(size=shape[1:]) / 5, random.normal(size=shape).astype(np.float32)
    model = jv.Model.from_function(curved, weights.astype(np.float32))
    found = jv.occlusion(model, inputs, window=window, stride=stride, baseline=0.3, chunk_size=6)
    np.testing.assert_allclose(found, naive(weights, inputs, sides, steps, 0.3), rtol=1e-4, atol=1e-6)


def test_several_inputs_are_covered_one_after_the_other():
    def product(params: Any, inputs: Any) -> jax.Array:
        return inputs[0].sum(axis=1).astype(jnp.float32) * inputs[1].sum(axis=(1, 2))

    model = jv.Model.from_function(product, ())
    inputs = (np.array([[1, 2, 3]]), np.ones((1, 4, 2), np.float32))
    tokens, series = jv.occlusion(model, inputs, window=(1, (3, 2)), stride=1)
    np.testing.assert_allclose(tokens, [[8.0, 16.0, 24.0]])
    np.testing.assert_allclose(series[0], np.full((4, 2), 36.0))


@pytest.mark.parametrize(
    ("error", "message", "settings"),
    [
        (ValueError, "window must be between 1 and the input's (7, 2), got (8,)", {"window": 8}),
        (ValueError, "window must be between 1", {"window": 0}),
        (ValueError, "window has 3 sides, but the input has 2 axes", {"window": (1, 1, 1)}),
        (TypeError, "window must be an int or a tuple of ints, got (2.0,)", {"window": 2.0}),
        (ValueError, "stride 3 is larger than the window's side 2", {"window": 2, "stride": 3}),
    ],
)
def test_wrong_arguments(error, message, settings):
    model = jv.Model.from_function(curved, np.ones((7, 2), np.float32))
    with pytest.raises(error) as raised:
        jv.occlusion(model, np.ones((1, 7, 2), np.float32), **settings)
    assert message in str(raised.value)


def test_wrong_windows_of_several_inputs():
    model = jv.Model.from_function(lambda params, inputs: inputs[0].sum(axis=1), ())
    inputs = (np.ones((1, 3), np.float32), np.ones(1, np.float32))
    with pytest.raises(ValueError, match="there are 2 inputs, but window has 3 entries"):
        jv.occlusion(model, inputs, window=(1, 1, 1))
    with pytest.raises(ValueError, match="has no axis after the batch"):
        jv.occlusion(model, inputs, window=1)

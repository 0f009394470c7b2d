"""Occlusion: naive loops over windows, overlaps, truncated windows, several inputs, wrong arguments."""

import itertools
from typing import Any
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.perturbation import nearby, windows


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


def convolutional(params: Any, inputs: Any) -> jax.Array:
    """Convolutions and a mean over the map; of a second input, its mean counts."""
    maps, other = inputs if isinstance(inputs, tuple) else (inputs, jnp.ones((inputs.shape[0], 2), inputs.dtype))
    for kernel in params:
        maps = jax.nn.relu(jax.lax.conv_general_dilated(maps, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT))
    return jnp.tanh(maps.mean((1, 2, 3)) / 8 * other.mean(axis=1))


LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize(("window", "stride", "chunk_size"), [(3, 2, None), ((2, 3, 1), (1, 3, 1), 40)])
def test_near_the_window(monkeypatch, window, stride, chunk_size):
    """Only where the windows change something is computed, and the result is the same; also of windows over the end."""
    near = Mock(side_effect=windows._scores_nearby)
    monkeypatch.setattr(windows, "_scores_nearby", near)
    random = np.random.default_rng(0)
    params = tuple(random.normal(size=shape).astype(np.float32) for shape in ((3, 3, 2, 4), (3, 3, 4, 4)))
    maps, rest = random.normal(size=(2, 14, 15, 2)).astype(np.float32), np.ones((2, 3), np.float32)
    baseline = random.normal(size=maps.shape).astype(np.float32)
    model, settings = jv.Model.from_function(convolutional, params), {"window": window, "stride": stride}
    found = jv.occlusion(model, maps, baseline=baseline, chunk_size=chunk_size, **settings)
    count = near.call_count
    assert count
    pair = {"window": (window, 1), "stride": (stride, 1), "baseline": (baseline, np.zeros(1, np.float32))}
    of_two, other = jv.occlusion(model, (maps, rest), **pair)
    assert near.call_count > count
    assert np.abs(other).max() > 0
    monkeypatch.setattr(nearby, "base", lambda *args, **kwargs: None)
    expected = jv.occlusion(model, maps, baseline=baseline, **settings)
    assert np.abs(expected).max() > 1e-3
    for each in (found, of_two):
        np.testing.assert_allclose(each, expected, rtol=0, atol=5e-7)  # the scores are of the order of 1


@jax.custom_vjp
def rounded(x: jax.Array) -> jax.Array:
    return jnp.round(x)


rounded.defvjp(lambda x: (rounded(x), None), lambda _, cotangent: (cotangent,))  # straight through


@pytest.mark.parametrize("activation", [rounded, jax.nn.relu6])
def test_derivatives_of_their_own_are_kept(monkeypatch, activation):
    """Of the attribution itself; a covered window is exactly at the kink of `relu6`, whose derivative is 0 there."""

    def apply(params: Any, maps: jax.Array) -> jax.Array:
        maps = jax.lax.conv_general_dilated(maps, params, (1, 1), "SAME", dimension_numbers=LAYOUT)
        return (activation(maps) ** 2 + activation(maps)).mean((1, 2, 3))

    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 2)).astype(np.float32)
    model = jv.Model.from_function(apply, kernel)
    maps = np.random.default_rng(1).normal(size=(1, 12, 12, 1)).astype(np.float32)
    near = Mock(side_effect=windows._scores_nearby)
    monkeypatch.setattr(windows, "_scores_nearby", near)
    loss = lambda maps, baseline: (1e3 * jv.occlusion(model, maps, window=4, baseline=baseline) ** 2).sum()
    assert loss(maps, 0.0) > 0
    assert near.call_count == 1
    found = jax.grad(loss, argnums=(0, 1))(maps, np.zeros_like(maps))
    assert near.call_count == (2 if activation is jax.nn.relu6 else 1)
    monkeypatch.setattr(nearby, "base", lambda *args, **kwargs: None)
    expected = jax.grad(loss, argnums=(0, 1))(maps, np.zeros_like(maps))
    for one, other in zip(found, expected, strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())

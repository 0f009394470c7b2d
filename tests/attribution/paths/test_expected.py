"""Expected gradients, against a loop in float64 over the same draws, and against the exact expectation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution import stretches
from jaxviz.attribution.paths import bundle, expected
from jaxviz.attribution.paths.expected import draw
from jaxviz.targets import Target

pytestmark = pytest.mark.usefixtures("quickly_compiled")

KEY = jax.random.key(5)
RANDOM = np.random.default_rng(0)
FIRST, SECOND, INPUTS, BASELINES = (
    jnp.asarray(RANDOM.normal(size=shape), jnp.float32) for shape in ((3, 6), (6, 2), (4, 3), (5, 3))
)


def network(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params[0]) @ params[1]


MODEL = jv.Model.from_function(network, (FIRST, SECOND))


def close(ours: Any, theirs: Any, tolerance: float) -> bool:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max())


def loop(samples: int, multiply: bool) -> np.ndarray:
    """In numpy, from the same draws."""
    first, second, x, points = (np.asarray(array, np.float64) for array in (FIRST, SECOND, INPUTS, BASELINES))
    total = np.zeros_like(x)
    for number in range(samples):
        chosen, place = map(np.asarray, draw(KEY, number, 4, 5)[:2])
        for row in range(4):
            way = x[row] - points[chosen[row]]
            hidden = np.tanh((points[chosen[row]] + float(place[row]) * way) @ first)
            gradient = first @ ((1 - hidden**2) * second[:, 1])
            total[row] += gradient * way if multiply else gradient
    return total / samples


@pytest.mark.parametrize("multiply", [True, False])
def test_against_a_loop_in_float64(multiply):
    settings: dict[str, Any] = {"target": 1, "baselines": BASELINES, "key": KEY, "multiply_by_inputs": multiply}
    ours = jv.expected_gradients(MODEL, INPUTS, samples=20, **settings)
    assert close(ours, loop(20, multiply), 1e-5)
    assert np.array_equal(ours, jv.expected_gradients(MODEL, INPUTS, samples=20, **settings))
    assert close(jv.expected_gradients(MODEL, INPUTS, samples=20, chunk_size=7, **settings), ours, 1e-6)


def test_the_mean_is_that_of_integrated_gradients():
    exact = np.mean([jv.integrated_gradients(MODEL, INPUTS, target=0, baseline=point) for point in BASELINES], axis=0)
    ours = jv.expected_gradients(MODEL, INPUTS, target=0, baselines=BASELINES, samples=20_000, key=KEY)
    parts = jnp.stack(
        [
            jv.expected_gradients(MODEL, INPUTS, target=0, baselines=BASELINES, samples=500, key=jax.random.key(seed))
            for seed in range(20)
        ]
    )
    error = np.asarray(parts).std(axis=0, ddof=1) / np.sqrt(40)  # of a mean of 40 times as many samples
    assert (np.abs(ours - exact) < 6 * error).all()
    assert np.abs(ours - exact).max() < 0.1 * np.abs(exact).max()


def test_noise_on_the_inputs_and_several_inputs():
    def product(params: Any, inputs: Any) -> jax.Array:
        return inputs[0].sum(axis=1) * inputs[1][:, 0, 0]

    model = jv.Model.from_function(product, ())
    inputs = (jnp.ones((2, 3)), jnp.full((2, 2, 1), 5.0))
    baselines = (np.zeros((4, 3), np.float32), np.zeros((4, 2, 1), np.float32))
    found = jv.expected_gradients(model, inputs, baselines=baselines, samples=400, key=KEY)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, inputs)
    assert close(found[0].sum(axis=1) + found[1].sum(axis=(1, 2)), [15.0, 15.0], 0.2)
    noisy = jv.expected_gradients(model, inputs, baselines=baselines, samples=400, noise=0.1, key=KEY)
    assert not np.array_equal(noisy[0], found[0])
    assert close(noisy[0], found[0], 0.2)


def front(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params[0] + 1).sum(axis=1)


def behind(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh((params[0].T @ x.T) * 2).sum(axis=0)


def joined(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh((x @ params[0]).reshape(-1, 2)).reshape(x.shape[0], -1).sum(axis=1)


def fixed(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params[0] + jnp.arange(4.0)[:, None]).sum(axis=1)


def centered(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh((x - x.mean(axis=0, keepdims=True)) @ params[0]).sum(axis=1)


def flipped(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh((x + x[::-1]) @ params[0]).sum(axis=1)


def numbered(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ params[0] + jnp.arange(x.shape[0], dtype=x.dtype)[:, None]).sum(axis=1)


@pytest.mark.parametrize(
    ("apply", "axes"),
    [(front, (0,)), (behind, (1,)), *((each, None) for each in (joined, fixed, centered, flipped, numbered))],
    ids=["front", "behind", "joined", "fixed", "centered", "flipped", "numbered"],
)
@pytest.mark.parametrize("multiply", [True, False])
def test_paths_followed_behind_the_first_affine_stretch(apply, axes, multiply, monkeypatch):
    model = jv.Model.from_function(apply, (FIRST,))
    assert stretches.batch_axes(model, INPUTS) == axes
    explain = lambda: jv.expected_gradients(
        model, INPUTS, baselines=BASELINES, samples=9, key=KEY, multiply_by_inputs=multiply
    )
    taken = []
    following = bundle.gradients
    monkeypatch.setattr(bundle, "gradients", lambda *args: taken.append(1) or following(*args))
    found = explain()
    assert len(taken) == (axes is not None)
    monkeypatch.setattr(expected, "_axes", lambda *args: None)
    assert close(found, explain(), 1e-5)
    assert len(taken) == (axes is not None)


def squeezed(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x.squeeze() @ params[0] + 1).reshape(x.shape[0], -1).sum(axis=1)


def test_a_single_example_whose_axis_the_model_squeezes_out():
    explain = lambda apply: jv.expected_gradients(
        jv.Model.from_function(apply, (FIRST,)), INPUTS[:1], baselines=BASELINES, samples=9, key=KEY
    )
    assert close(explain(squeezed), explain(front), 1e-5)


def test_the_stretch_is_computed_for_the_ends_alone():
    """By XLA's count of the operations at each sample."""
    weights = jnp.ones((400, 8))
    model = jv.Model.from_function(lambda w, x: jnp.tanh(x @ w).sum(axis=1), weights)
    inputs, baselines = jnp.ones((2, 400)), jnp.ones((3, 400))
    paths = bundle.ends(model, inputs, baselines, (0,))
    chosen, places = jnp.zeros((10, 2), jnp.int32), jnp.ones((10, 2))
    program = bundle.gradients.lower(chosen, places, model, inputs, paths, Target(), (0,)).compile()
    assert 0 < program.cost_analysis()["flops"] < 10 * 2 * 400


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"key": None}, TypeError, "key is missing"),
        ({"baselines": np.zeros((5, 4))}, ValueError, r"baselines must have the shape \(k, 3\), got \(5, 4\)"),
        ({"baselines": 0.0}, TypeError, "baselines must be an array, got float"),
        ({"baselines": np.zeros((0, 3))}, ValueError, "baselines has no baselines"),
        ({"samples": 0}, ValueError, "samples must be at least 1"),
        ({"noise": -1}, ValueError, r"noise must be in \[0, inf\), got -1"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1"),
        ({"target": 2}, ValueError, "target 2 is out of range"),
    ],
)
def test_wrong_calls(settings, error, message):
    with pytest.raises(error, match=f"expected_gradients: {message}"):
        jv.expected_gradients(MODEL, INPUTS, **{"target": 0, "baselines": BASELINES, "key": KEY, **settings})


@pytest.mark.filterwarnings(r"ignore:.*inputs\[0\] is all zero:jaxviz.AttributionWarning")  # it is meant to be
def test_noise_of_each_input():
    model = jv.Model.from_function(lambda params, x: (x[0] ** 2).sum(axis=1) + (x[1] ** 2).sum(axis=1), ())
    inputs, points = (jnp.zeros((2, 3)), jnp.zeros((2, 2))), (np.zeros((1, 3)), np.zeros((1, 2)))
    settings: dict[str, Any] = {"baselines": points, "samples": 400, "key": KEY}
    first, second = jv.expected_gradients(model, inputs, noise=(0.0, 2.0), **settings)
    assert np.abs(first).max() == 0
    # (x - b) * 2 u (x - b) in the mean is the variance.
    assert close(second, np.full((2, 2), 4.0), 0.4)
    alike = jv.expected_gradients(model, inputs, noise=(0.5, 0.5), **settings)
    for ours, theirs in zip(alike, jv.expected_gradients(model, inputs, noise=0.5, **settings), strict=True):
        assert np.array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"^expected_gradients: there are 2 inputs, but noise has 3 entries"):
        jv.expected_gradients(model, inputs, noise=(0.0, 1.0, 2.0), **settings)
    with pytest.raises(ValueError, match=r"^expected_gradients: noise\[1\] must be in \[0, inf\), got -1"):
        jv.expected_gradients(model, inputs, noise=(0.0, -1.0), **settings)

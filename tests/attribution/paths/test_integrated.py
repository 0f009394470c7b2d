"""Integrated gradients: against a naive float64 sum, numbers by hand, and the properties of the quadratures."""

import subprocess
import sys
import tracemalloc
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.paths.quadratures import QUADRATURES, quadrature

RANDOM = np.random.default_rng(0)
WEIGHTS = [RANDOM.normal(size=shape) for shape in ((4, 8), (8, 5), (5, 3))]


def mlp(params, x):
    first, second, third = params
    return jnp.tanh(jnp.tanh(x @ first) @ second) @ third


MODEL = jv.Model.from_function(mlp, [jnp.asarray(weight, jnp.float32) for weight in WEIGHTS])
INPUTS, BASELINE = RANDOM.normal(size=(3, 4)), RANDOM.normal(size=(3, 4))
TARGET = np.array([2, 0, 1])


def naive_gradient(x):
    """Backpropagation by hand, in float64."""
    first, second, third = WEIGHTS
    one = np.tanh(x @ first)
    two = np.tanh(one @ second)
    back = third.T[TARGET] * (1 - two**2)
    return (back @ second.T * (1 - one**2)) @ first.T


def naive(name, steps):
    nodes: Any
    weights: Any
    match name:
        case "riemann_left":
            nodes, weights = [k / steps for k in range(steps)], [1 / steps] * steps
        case "riemann_right":
            nodes, weights = [(k + 1) / steps for k in range(steps)], [1 / steps] * steps
        case "riemann_middle":
            nodes, weights = [(k + 0.5) / steps for k in range(steps)], [1 / steps] * steps
        case "trapezoid":
            nodes = [k / (steps - 1) for k in range(steps)]
            weights = [(0.5 if k in (0, steps - 1) else 1.0) / (steps - 1) for k in range(steps)]
        case "gauss_legendre":  # by Golub and Welsch: eigenvalues of the Jacobi matrix
            k = np.arange(1, steps)
            beta = k / np.sqrt(4.0 * k**2 - 1)
            values, vectors = np.linalg.eigh(np.diag(beta, 1) + np.diag(beta, -1))
            nodes, weights = (values + 1) / 2, vectors[0] ** 2
    total = sum(
        w * naive_gradient(BASELINE + node * (INPUTS - BASELINE)) for node, w in zip(nodes, weights, strict=True)
    )
    return total * (INPUTS - BASELINE)


@pytest.mark.parametrize("name", QUADRATURES)
@pytest.mark.parametrize("chunk_size", [None, 6])
def test_against_a_naive_sum(name, chunk_size):
    inputs, baseline = jnp.asarray(INPUTS, jnp.float32), jnp.asarray(BASELINE, jnp.float32)
    attribution = jv.integrated_gradients(
        MODEL, inputs, target=TARGET, baseline=baseline, steps=7, quadrature=name, chunk_size=chunk_size
    )
    np.testing.assert_allclose(attribution, naive(name, 7), atol=2e-6 * np.abs(naive(name, 7)).max() * 5)


@pytest.mark.parametrize("name", QUADRATURES)
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_weights_sum_to_one_and_nodes_lie_on_the_path(name, steps):
    nodes, weights = quadrature(name, steps)
    assert nodes.shape == weights.shape == (steps,)
    assert abs(weights.sum() - 1) < 1e-14
    assert nodes.min() >= 0
    assert nodes.max() <= 1


def test_gauss_legendre_is_exact_for_polynomials():
    for steps in (1, 2, 5):
        nodes, weights = quadrature("gauss_legendre", steps)
        for degree in range(2 * steps):
            assert abs((weights * nodes**degree).sum() - 1 / (degree + 1)) < 1e-14


def test_by_hand():
    # score = x0 * x1 from 0: the path is (t x0, t x1), so each input gets half of the product
    model = jv.Model.from_function(lambda params, x: x[:, 0] * x[:, 1], ())
    inputs = jnp.array([[2.0, 3.0], [-1.0, 4.0]])
    np.testing.assert_allclose(jv.integrated_gradients(model, inputs, steps=1), [[3, 3], [-2, -2]], rtol=1e-6)
    np.testing.assert_allclose(
        jv.integrated_gradients(model, inputs, multiply_by_inputs=False), [[1.5, 1], [2, -0.5]], rtol=1e-5
    )
    # from (1, 1): x0 * x1 - 1 = 5, of which d0 * mean(x1) = 1 * 2 and d1 * mean(x0) = 2 * 1.5
    np.testing.assert_allclose(jv.integrated_gradients(model, inputs[:1], baseline=1.0), [[2, 3]], rtol=1e-5)


def test_completeness_gap_by_hand():
    model = jv.Model.from_function(lambda params, x: x**2 @ params, jnp.array([[1.0, 2.0], [0.0, 1.0]]))
    inputs = jnp.array([[2.0, 3.0]])  # score 1: 2 * 4 + 9 = 17, at the baseline (1, 1): 3
    gap = jv.completeness_gap(model, inputs, jnp.array([[10.0, 7.0]]), target=1, baseline=1.0)
    np.testing.assert_allclose(gap, [3.0])


@pytest.mark.parametrize(
    "baseline", [0.5, np.float32(0.5), 1, np.full((4,), 0.5), jnp.full((1, 4), 0.5), np.full((3, 1), 0.5)]
)
def test_baselines(baseline):
    inputs = jnp.asarray(INPUTS, jnp.float32)
    full = np.broadcast_to(np.asarray(baseline, np.float32), (3, 4))
    attribution = jv.integrated_gradients(MODEL, inputs, target=0, baseline=baseline)
    np.testing.assert_allclose(attribution, jv.integrated_gradients(MODEL, inputs, target=0, baseline=full))
    assert np.abs(jv.completeness_gap(MODEL, inputs, attribution, target=0, baseline=baseline)).max() < 1e-4


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (
            {"baseline": np.zeros(3)},
            ValueError,
            r"baseline of shape \(3,\) does not broadcast to the inputs' shape \(3, 4\)",
        ),
        ({"baseline": np.zeros((2, 3, 4))}, ValueError, r"baseline of shape \(2, 3, 4\) does not broadcast"),
        ({"baseline": "zero"}, TypeError, "baseline must be None, a number or an array, got str"),
        ({"baseline": np.nan}, ValueError, "baseline must be finite"),
        (
            {"quadrature": "simpson"},
            ValueError,
            "quadrature must be one of 'gauss_legendre', .*'trapezoid', got 'simpson'",
        ),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 2.5}, TypeError, "steps must be an int, got 2.5"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1 model evaluation"),
        ({"chunk_size": "all"}, TypeError, "chunk_size must be a positive int or None"),
    ],
)
def test_errors(settings, error, words):
    with pytest.raises(error, match="integrated_gradients: " + words):
        jv.integrated_gradients(MODEL, jnp.asarray(INPUTS, jnp.float32), target=0, **settings)


def test_completeness_gap_wants_the_shapes_of_the_inputs():
    with pytest.raises(
        ValueError,
        match=r"attribution must have the structure and shapes of inputs, \(3, 4\), or arrays of a layer with the batch of 3 as "
        r"axis 0, got \(3,\)",
    ):
        jv.completeness_gap(MODEL, jnp.ones((3, 4)), jnp.ones(3), target=0)
    with pytest.raises(ValueError, match=r"got \(2, 4\)"):
        jv.completeness_gap(MODEL, jnp.ones((3, 4)), jnp.ones((2, 4)), target=0)
    with pytest.raises(TypeError, match="baseline and baselines are both given"):
        jv.completeness_gap(
            MODEL, jnp.ones((3, 4)), jnp.ones((3, 4)), target=0, baseline=0.0, baselines=np.ones((2, 4))
        )


def words(params, tokens):
    return jnp.tanh(jv.tag(params[0][tokens], "embedded") @ params[1]).sum(axis=1)


def test_gaps_of_layers_of_token_ids_and_of_sets_of_baselines():
    random = np.random.default_rng(0)
    table, kernel = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((6, 3), (3, 2)))
    model, tokens = jv.Model.from_function(words, (table, kernel)), np.array([[1, 2], [3, 5], [4, 4]])
    points = np.array([[0, 0], [1, 5]])
    found = jv.at_layer(jv.deep_shap, "embedded")(model, tokens, target=1, baselines=points)
    scores = model(tokens)[:, 1]
    np.testing.assert_allclose(
        jv.completeness_gap(model, tokens, found, target=1, baselines=points), np.zeros(3), atol=1e-5
    )
    gap = jv.completeness_gap(model, tokens, {"embedded": found}, target=1, baseline=0)
    means = model(points)[:, 1].mean()
    np.testing.assert_allclose(gap, (scores - means) - (scores - model(points[:1])[:, 1]), atol=1e-5)


MEMORY = """
import resource, sys
import jax, jax.numpy as jnp, jaxviz as jv
weight = jnp.full((1024, 1024), 0.01)
model = jv.Model.from_function(lambda w, x: jnp.tanh(jnp.tanh(x @ w) @ w).sum(axis=1), weight)
inputs = jnp.ones((64, 1024))
jv.integrated_gradients(model, inputs, steps=int(sys.argv[1]), chunk_size=640).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_memory_does_not_grow_with_steps():
    def peak(steps: int) -> int:
        return int(
            subprocess.run(
                [sys.executable, "-c", MEMORY, str(steps)], capture_output=True, text=True, check=True
            ).stdout
        )

    few, many = peak(10), peak(100)
    # 90 more steps of one array of 64 x 1024 floats each would be 23 MB, and there are several such arrays
    assert many - few < 16 * 1024


@pytest.mark.parametrize("steps", [1, 2, 3, 50, 301])
def test_gauss_legendre_is_that_of_numpy(steps):
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    np.testing.assert_allclose(quadrature("gauss_legendre", steps)[0], (1 + nodes) / 2, rtol=0, atol=1e-15)
    np.testing.assert_allclose(quadrature("gauss_legendre", steps)[1], weights / 2, rtol=1e-9)  # numpy is 1e-10 off


def test_memory_of_the_quadrature_does_not_grow_with_the_square_of_its_steps():
    tracemalloc.start()
    try:
        nodes, weights = quadrature("gauss_legendre", 3001)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # a matrix of 3001 x 3001 is 72 MB
    np.testing.assert_allclose([weights @ nodes**power for power in (1, 8, 999)], [1 / 2, 1 / 9, 1 / 1000], rtol=1e-9)

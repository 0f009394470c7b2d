"""LIME: its surrogates against scikit-learn, kernels and samplers of one's own, masks, integers, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.perturbation import surrogates

KEY = jax.random.key(2)


@pytest.mark.parametrize(("samples", "groups", "strength"), [(200, 30, 0.02), (25, 40, 0.1)])
def test_surrogates_are_those_of_scikit_learn(samples, groups, strength):
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    members = (random.random((samples, groups)) < 0.5).astype(np.float64)
    scores = members @ random.normal(size=groups) + random.normal(size=samples) / 3
    weights = random.random(samples)
    lasso = linear_model.Lasso(alpha=strength, tol=1e-10, max_iter=1_000_000).fit(members, scores, weights).coef_
    ridge = linear_model.Ridge(alpha=50 * strength).fit(members, scores, weights).coef_
    data = [jnp.float32(array) for array in (members, scores, weights)]
    assert (lasso == 0).any()
    np.testing.assert_allclose(surrogates.lasso(*data, jnp.float32(strength)), lasso, atol=1e-4)
    np.testing.assert_allclose(surrogates.ridge(*data, jnp.float32(50 * strength)), ridge, atol=1e-5)


def plain(members: jax.Array, scores: jax.Array, weights: jax.Array) -> jax.Array:
    """Weighted least squares with an intercept."""
    columns = jnp.concatenate([members, jnp.ones_like(members[:, :1])], axis=1) * jnp.sqrt(weights)[:, None]
    return jnp.linalg.lstsq(columns, scores * jnp.sqrt(weights))[0][:-1]


def sparse(key: jax.Array, samples: int, groups: int) -> jax.Array:
    return jax.random.bernoulli(key, 0.3, (samples, groups))


def nearness(inputs: jax.Array, sample: jax.Array, coalition: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.abs(inputs - sample).sum(axis=1)) * jnp.where(coalition[0], 2.0, 1.0)


def test_a_surrogate_a_kernel_and_a_sampler_of_ones_own(small):
    settings = {"surrogate": plain, "kernel": nearness, "sampler": sparse, "samples": 40, "key": KEY}
    found = np.asarray(jv.lime(small.model, small.inputs, target=1, baseline=small.baseline, chunk_size=30, **settings))
    coalitions = np.asarray(sparse(KEY, 40, 6))
    for example in range(3):
        samples = np.where(coalitions, small.inputs[example], small.baseline).astype(np.float64)
        weights = np.exp(-np.abs(small.inputs[example] - samples).sum(axis=1)) * (coalitions[:, 0] + 1)
        columns = np.sqrt(weights)[:, None] * np.concatenate([coalitions, np.ones((40, 1))], axis=1)
        expected = np.linalg.lstsq(columns, np.sqrt(weights) * small.score(samples), rcond=None)[0][:-1]
        np.testing.assert_allclose(found[example], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("kernel", ["cosine", "euclidean"])
def test_kernels_by_their_formula(small, kernel):
    coalitions = np.asarray(sparse(KEY, 40, 6)) != 0
    found = jv.lime(
        small.model,
        small.inputs[:1],
        target=1,
        baseline=small.baseline,
        samples=40,
        surrogate="ridge",
        strength=0.1,
        kernel=kernel,
        kernel_width=0.7,
        sampler=sparse,
        key=KEY,
    )
    whole, samples = small.inputs[0], np.where(coalitions, small.inputs[0], small.baseline)
    cosine = 1 - samples @ whole / np.linalg.norm(whole) / np.linalg.norm(samples, axis=1)
    distances = cosine if kernel == "cosine" else np.linalg.norm(samples - whole, axis=1)
    weights = np.exp(-(distances**2) / (2 * 0.7**2))
    members = coalitions - weights @ coalitions / weights.sum()
    scores = small.score(samples.astype(np.float64))
    gram = (members * weights[:, None]).T @ members + 0.1 * np.eye(6)
    np.testing.assert_allclose(found[0], np.linalg.solve(gram, (members * weights[:, None]).T @ scores), rtol=1e-4)


def test_tokens_with_a_mask_for_each_example():
    embedding = jnp.array([0.0, 1.0, 2.0, 4.0, 8.0])
    model = jv.Model.from_function(lambda params, tokens: params[tokens].sum(axis=1), embedding)
    tokens = np.array([[1, 2, 3, 4], [4, 4, 4, 1]])
    mask = np.array([[0, 1, 2, 3], [0, 0, 0, 2]])
    settings = {"surrogate": "ridge", "strength": 1e-3, "samples": 60, "key": KEY, "mask": mask}
    found = jv.lime(model, tokens, **settings)
    np.testing.assert_allclose(found, [[1, 2, 4, 8], [24, 24, 24, 1]], rtol=1e-3)


@pytest.mark.parametrize(
    ("error", "message", "settings"),
    [
        (ValueError, "surrogate must be one of 'lasso', 'ridge', got 'tree'", {"surrogate": "tree"}),
        (ValueError, "kernel must be one of 'cosine', 'euclidean', got 'l1'", {"kernel": "l1"}),
        (ValueError, "kernel_width must be finite and more than 0, got 0", {"kernel_width": 0}),
        (ValueError, "strength must be finite and at least 0, got -1", {"strength": -1}),
        (TypeError, "strength must be a number, got 'big'", {"strength": "big"}),
        (ValueError, "strength belongs to the surrogates", {"surrogate": plain, "strength": 1.0}),
        (TypeError, "sampler must be None or callable", {"sampler": 3}),
        (ValueError, "sampler must give an array of shape", {"sampler": lambda key, samples, groups: jnp.ones(3)}),
        (ValueError, "kernel must give one weight per example", {"kernel": lambda inputs, *_: inputs}),
        (ValueError, "surrogate must give one coefficient per group", {"surrogate": lambda *data: data[1]}),
        (ValueError, "samples must be at least 1", {"samples": 0}),
        (TypeError, "key is missing", {"key": None}),
    ],
)
def test_wrong_arguments(small, error, message, settings):
    with pytest.raises(error) as raised:
        jv.lime(small.model, small.inputs, **{"target": 1, "samples": 8, "key": KEY, **settings})
    assert message in str(raised.value)

"""LIME: its surrogates against scikit-learn, kernels and samplers of one's own, masks, integers, wrong arguments."""

import warnings
from collections.abc import Callable
from typing import Any

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


def amounts(key: jax.Array, samples: int, groups: int) -> jax.Array:
    return jax.random.uniform(key, (samples, 2))


def halves(sample: jax.Array, inputs: jax.Array) -> jax.Array:
    return inputs * jnp.repeat(sample, 3)[None]


def moved(key: jax.Array, inputs: jax.Array) -> jax.Array:
    return inputs + 0.3 * jax.random.normal(key, inputs.shape, inputs.dtype)


def sums(sample: jax.Array, inputs: jax.Array) -> jax.Array:
    return sample.reshape(len(sample), 2, 3).sum(axis=2)


@pytest.mark.parametrize("surrogate", ["ridge", "lasso"])
def test_spaces_of_ones_own(small, surrogate):
    linear_model = pytest.importorskip("sklearn.linear_model")
    strength = 0.01
    model = linear_model.Ridge(strength) if surrogate == "ridge" else linear_model.Lasso(strength, tol=1e-10)
    settings = {"samples": 40, "surrogate": surrogate, "strength": strength, "kernel": "euclidean", "key": KEY}
    scaled = jv.lime(small.model, small.inputs, target=1, sampler=amounts, to_inputs=halves, **settings)
    nearby = jv.lime(small.model, small.inputs, target=1, sampler=moved, to_features=sums, chunk_size=33, **settings)
    assert scaled.shape == nearby.shape == (3, 2)
    drawn = np.asarray(amounts(KEY, 40, 6), np.float64)
    for i, example in enumerate(small.inputs.astype(np.float64)):
        own = np.stack([moved(jax.random.fold_in(KEY, n), small.inputs)[i] for n in range(40)]).astype(np.float64)
        for found, samples, features in (
            (scaled, example * drawn.repeat(3, axis=1), drawn),
            (nearby, own, own.reshape(40, 2, 3).sum(axis=2)),
        ):
            weights = np.exp(-np.square(samples - example).sum(axis=1) / 2)
            expected = model.fit(features, small.score(samples), weights).coef_
            np.testing.assert_allclose(found[i], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("space", [{"sampler": amounts, "to_inputs": halves}, {"sampler": moved, "to_features": sums}])
def test_other_values_in_a_space_trace_nothing(small, space):
    traces = []

    def apply(params, inputs):
        traces.append(inputs.shape)
        return small.model.apply(params, {}, inputs)

    model = jv.Model.from_function(apply, small.model.params)
    settings = {"samples": 8, "surrogate": "ridge", **space}
    jv.lime(model, small.inputs, target=1, key=KEY, **settings)
    before = len(traces)
    assert before
    jv.lime(model, small.inputs + 1, target=2, strength=3.0, key=jax.random.key(3), **settings)
    assert len(traces) == before
    jitted = jax.jit(lambda model, inputs: jv.lime(model, inputs, target=1, key=KEY, **settings))
    np.testing.assert_allclose(
        jitted(model, small.inputs), jv.lime(model, small.inputs, target=1, key=KEY, **settings), rtol=1e-3, atol=1e-5
    )


def swapped(key: jax.Array, tokens: jax.Array) -> jax.Array:
    return jnp.where(jax.random.bernoulli(key, 0.5, tokens.shape), tokens, jnp.zeros_like(tokens))


def kept(sample: jax.Array, tokens: jax.Array) -> jax.Array:
    return (sample == tokens).astype(jnp.float32)


def test_tokens_in_a_space_of_ones_own():
    embedding = jnp.array([0.0, 1.0, 2.0, 4.0, 8.0])
    model = jv.Model.from_function(lambda params, tokens: params[tokens].sum(axis=1), embedding)
    tokens = np.array([[1, 2, 3, 4], [4, 4, 4, 1]])
    settings = {"surrogate": "ridge", "strength": 1e-3, "samples": 60, "key": KEY}
    found = jv.lime(model, tokens, sampler=swapped, to_features=kept, **settings)
    np.testing.assert_allclose(found, [[1, 2, 4, 8], [8, 8, 8, 1]], rtol=1e-3)


@pytest.mark.parametrize(
    ("error", "message", "settings"),
    [
        (ValueError, "surrogate must be one of 'lasso', 'ridge', got 'tree'", {"surrogate": "tree"}),
        (ValueError, "kernel must be one of 'cosine', 'euclidean', got 'l1'", {"kernel": "l1"}),
        (ValueError, "kernel_width must be more than 0, got 0", {"kernel_width": 0}),
        (ValueError, "strength must be in [0, inf), got -1", {"strength": -1}),
        (TypeError, "strength must be a number, got 'big'", {"strength": "big"}),
        (ValueError, "strength belongs to the surrogates", {"surrogate": plain, "strength": 1.0}),
        (TypeError, "sampler must be None or callable", {"sampler": 3}),
        (ValueError, "sampler must give an array of shape", {"sampler": lambda key, samples, groups: jnp.ones(3)}),
        (TypeError, "to_inputs needs a sampler", {"to_inputs": halves}),
        (TypeError, "to_features must be a function of a sample and inputs, got 1", {"to_features": 1}),
        (ValueError, "give one of them", {"sampler": moved, "to_inputs": halves, "to_features": sums}),
        (ValueError, "mask is of groups", {"sampler": amounts, "to_inputs": halves, "mask": np.zeros(6, int)}),
        (ValueError, "baseline is of groups", {"sampler": moved, "to_features": sums, "baseline": 0.0}),
        (ValueError, "to_inputs must give what has", {"sampler": amounts, "to_inputs": lambda sample, inputs: sample}),
        (ValueError, "sampler must give what has", {"sampler": lambda key, inputs: inputs[:1], "to_features": sums}),
        (
            ValueError,
            "to_features must give an array of shape (batch, features) = (3, ...), got (3,)",
            {"sampler": moved, "to_features": lambda sample, inputs: sample.sum(axis=1)},
        ),
        (
            ValueError,
            "sampler must give an array of shape (samples, features) = (8, ...), got (8,)",
            {"sampler": lambda key, samples, groups: jnp.ones(8), "to_inputs": halves},
        ),
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


def warnings_of(call: Callable[[int], Any]) -> list[str]:
    """What is warned of by two calls from one line, as Python shows it."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for number in range(2):
            call(number)
    return [str(warning.message) for warning in found]


def test_a_penalty_that_takes_all_is_told_with_what_would_leave_some(small):
    members = np.asarray(jax.random.bernoulli(KEY, 0.5, (60, 6)))
    own = {"sampler": lambda key, samples, groups: jnp.asarray(members), "samples": 60, "key": KEY}
    own |= {"kernel": lambda inputs, sample, coalition: jnp.ones(len(inputs)), "baseline": small.baseline, "target": 1}
    # The largest covariance of a group with the scores, from which on the lasso has nothing left, of the least example.
    least = np.inf
    for example in range(3):
        scores = small.score(np.where(members, small.inputs[example], small.baseline).astype(np.float64))
        least = min(least, np.abs(((members - members.mean(0)) * (scores - scores.mean())[:, None]).mean(0)).max())
    # Another strength is another text, and the same warning.
    (told,) = warnings_of(lambda number: jv.lime(small.model, small.inputs, strength=10.0 + number, **own))
    assert told.startswith(
        "lime: the attribution of every example is all zero: the score does change with the groups, but"
    )
    assert "strength=10 was used; up to " in told
    up_to = float(told.partition("up to ")[2].split()[0])
    assert 0.85 * least < up_to < least
    assert np.abs(jv.lime(small.model, small.inputs, strength=up_to, **own)).max(axis=1).min() > 0
    with pytest.warns(jv.AttributionWarning, match="some example is all zero: the score does change"):
        jv.lime(small.model, small.inputs, strength=1.0001 * least, **own)


def test_a_penalty_is_not_blamed_for_a_score_that_stays(small):
    constant = jv.Model.from_function(lambda params, x: 3.3 + 0 * x.sum(axis=1), ())
    (told,) = warnings_of(lambda number: jv.lime(constant, small.inputs + number, key=KEY, samples=30))
    assert "It may be that the score does not depend on the inputs there" in told
    (told,) = warnings_of(lambda number: jv.lime(small.model, small.inputs * 0, key=KEY, samples=30, target=1))
    assert "every example equals the baseline" in told


def test_a_penalty_that_takes_all_of_a_layer():
    model = jv.Model.from_function(lambda params, x: jnp.tanh(jv.tag(x * 2, "twice")).sum(axis=1), ())
    method = jv.at_layer(jv.lime, "twice")
    (told,) = warnings_of(lambda number: method(model, jnp.ones((1, 3)), strength=5.0, samples=30, key=KEY))
    assert told.startswith("at_layer(lime): the attribution of every example is all zero: the score does change")

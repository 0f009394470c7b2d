"""Shapley values by enumeration, by orders and by regression, against the sum over all coalitions in float64."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.perturbation import shapley

KEY = jax.random.key(5)
MASK = np.array([[0, 0, 1, 1, 2, 3], [0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 5, 5]])  # 4, 6 and 2 groups


def naive(small, example: int, mask: np.ndarray) -> np.ndarray:
    """The definition, coalition after coalition."""
    shares = np.zeros(6)
    players = np.unique(mask)
    for player in players:
        others = [other for other in players if other != player]
        for size in range(len(players)):
            weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(players))
            for members in itertools.combinations(others, size):
                with_player = small.worth(np.isin(mask, [*members, player]), example)
                gain = with_player - small.worth(np.isin(mask, members), example)
                shares[mask == player] += weight * gain
    return shares


@pytest.fixture(scope="module")
def exact(small) -> dict[str, np.ndarray]:
    """Per feature, and with the mask."""
    return {
        "features": np.stack([naive(small, example, np.arange(6)) for example in range(3)]),
        "mask": np.stack([naive(small, example, MASK[example]) for example in range(3)]),
    }


def near(ours, theirs, tolerance):
    return np.abs(np.asarray(ours, np.float64) - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("method", [jv.shapley_values, jv.kernel_shap])
def test_exact_over_all_coalitions(small, exact, method):
    settings = {"target": 1, "baseline": small.baseline} | ({"key": KEY} if method is jv.kernel_shap else {})
    assert near(method(small.model, small.inputs, **settings), exact["features"], 1e-6)
    assert near(method(small.model, small.inputs, mask=MASK, **settings), exact["mask"], 1e-6)
    assert near(method(small.model, small.inputs, chunk_size=15, **settings), exact["features"], 1e-6)


def test_sampling_gets_nearer_with_more_samples(small, exact):
    settings = {"target": 1, "baseline": small.baseline, "key": KEY}
    few = jv.shapley_sampling(small.model, small.inputs, samples=3, **settings)
    many = jv.shapley_sampling(small.model, small.inputs, samples=3000, **settings)
    assert not near(few, exact["features"], 0.02)
    assert near(many, exact["features"], 0.01)
    kernel = jv.kernel_shap(small.model, small.inputs, samples=29, **settings)
    assert near(kernel, exact["features"], 0.2)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (jv.shapley_sampling, {"samples": 3}),
        (jv.kernel_shap, {"samples": 29}),
    ],
)
def test_shares_sum_to_the_difference_from_the_baseline(small, method, settings):
    settings = {**settings, "target": 1, "baseline": small.baseline, "key": KEY}
    whole = method(small.model, small.inputs, **settings)
    gap = jv.completeness_gap(small.model, small.inputs, whole, target=1, baseline=small.baseline)
    assert np.abs(np.asarray(gap)).max() < 1e-5
    grouped = np.asarray(method(small.model, small.inputs, mask=MASK, **settings))
    for example, mask in enumerate(MASK):
        shares = [grouped[example, mask == group][0] for group in np.unique(mask)]
        gain = small.worth(np.ones(6), example) - small.worth(np.zeros(6), example)
        assert sum(shares) == pytest.approx(gain, abs=1e-5)


def test_antithetic_orders_are_exact_for_pairs_that_interact():
    matrix = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    model = jv.Model.from_function(lambda params, inputs: ((inputs @ params) * inputs).sum(axis=1), matrix)
    inputs = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    exact = inputs * (inputs @ (matrix + matrix.T)) / 2
    for samples in (2, 24):
        assert near(jv.shapley_sampling(model, inputs, samples=samples, key=KEY), exact, 1e-5)
    # The last order of odd samples has none backwards.
    ranks = np.asarray(shapley.orders(KEY, 25, 8, True))[-1]
    gains = inputs[:, :, None] * (matrix + matrix.T) * inputs[:, None]
    alone = (gains * (ranks[None] < ranks[:, None])).sum(axis=2) + np.diag(matrix) * inputs**2
    odd = jv.shapley_sampling(model, inputs, samples=25, key=KEY)
    assert near(odd, (24 * exact + alone) / 25, 1e-5)
    assert not near(odd, exact, 0.01)
    assert not near(jv.shapley_sampling(model, inputs, samples=2, antithetic=False, key=KEY), exact, 0.01)


def test_an_additive_score_is_regressed_exactly_from_few_samples():
    weights = np.random.default_rng(0).normal(size=40).astype(np.float32)
    model = jv.Model.from_function(lambda params, inputs: inputs @ params, weights)
    inputs = np.random.default_rng(1).normal(size=(2, 40)).astype(np.float32)
    assert near(jv.kernel_shap(model, inputs, samples=200, key=KEY), inputs * weights, 1e-4)


@pytest.mark.parametrize(("method", "samples"), [(jv.shapley_sampling, 3), (jv.kernel_shap, 29)])
def test_chunks_and_batches_do_not_change_the_draws(small, method, samples):
    settings = {"target": 1, "samples": samples, "key": KEY}
    whole = method(small.model, small.inputs, **settings)
    np.testing.assert_array_equal(method(small.model, small.inputs, **settings), whole)
    np.testing.assert_allclose(
        method(small.model, small.inputs, chunk_size=15, **settings), whole, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(method(small.model, small.inputs[1:2], **settings), whole[1:2], rtol=1e-4, atol=1e-5)


def test_few_groups_where_examples_have_groups_of_their_own(small, exact):
    settings = {"target": 1, "baseline": small.baseline, "mask": MASK, "key": KEY}
    found = np.asarray(jv.kernel_shap(small.model, small.inputs, nonzero=4, **settings))
    # Two examples have no more than four groups.
    assert near(found[[0, 2]], exact["mask"][[0, 2]], 1e-6)
    assert np.count_nonzero(found[1]) == 4
    np.testing.assert_allclose(found[1].sum(), exact["mask"][1].sum(), rtol=1e-5)
    alone = jv.kernel_shap(small.model, small.inputs[1:2], nonzero=4, **settings | {"mask": MASK[1:2]})
    np.testing.assert_allclose(alone, found[1:2], rtol=1e-4, atol=1e-5)


def test_one_group_has_all(small):
    gain = [small.worth(np.ones(6), i) - float(small.score(np.zeros(6))) for i in range(3)]
    mask = np.zeros(6, int)
    for found in (
        jv.shapley_values(small.model, small.inputs, target=1, mask=mask),
        jv.shapley_sampling(small.model, small.inputs, target=1, mask=mask, key=KEY),
        jv.kernel_shap(small.model, small.inputs, target=1, mask=mask, key=KEY),
    ):
        np.testing.assert_allclose(found, np.repeat(np.array(gain)[:, None], 6, axis=1), rtol=1e-5)


def test_wrong_arguments(small):
    with pytest.raises(ValueError, match=r"21 groups take 2\*\*21 evaluations; at most 20 groups"):
        jv.shapley_values(jv.Model.from_function(lambda params, inputs: inputs.sum(axis=1), ()), jnp.ones((1, 21)))
    with pytest.raises(ValueError, match="a regression on 5000 groups"):
        jv.kernel_shap(
            jv.Model.from_function(lambda params, inputs: inputs.sum(axis=1), ()), jnp.ones((1, 5000)), key=KEY
        )
    with pytest.raises(ValueError, match="kernel_shap: nonzero must be at least 1, got 0"):
        jv.kernel_shap(small.model, small.inputs, target=1, nonzero=0, key=KEY)
    for method in (jv.shapley_sampling, jv.kernel_shap):
        with pytest.raises(ValueError, match=f"{method.__name__}: samples must be at least 1, got 0"):
            method(small.model, small.inputs, target=1, samples=0, key=KEY)
        with pytest.raises(TypeError, match=f"{method.__name__}: key is missing"):
            method(small.model, small.inputs, target=1)


@pytest.mark.parametrize("method", [jv.shapley_sampling, jv.kernel_shap])
def test_keys_can_be_mapped_and_traced(small, method):
    explain = lambda key: method(small.model, small.inputs, target=1, samples=3, key=key)
    keys = jax.random.split(KEY, 2)
    alone = np.stack([explain(key) for key in keys])
    # Of the largest value: the least squares of KernelSHAP subtract what is much larger than some results.
    np.testing.assert_allclose(jax.vmap(explain)(keys), alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(explain)(keys[0]), alone[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compared", [True, False])
def test_orders_are_permutations_drawn_evenly(compared):
    bits = jax.random.bits(jax.random.key(0), (12_000, 4), jnp.uint32)
    ranks = np.asarray(shapley.ranked(bits, compared))
    assert (np.sort(ranks, axis=1) == np.arange(4)).all()
    counts = np.unique(ranks, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    # Each of 24 as often, within five deviations of the binomial distribution.
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500 * 23 / 24)


def test_ranks_of_what_is_drawn():
    bits = np.asarray(jax.random.bits(jax.random.key(1), (4, 30), jnp.uint32))
    drawn = np.asarray(shapley.orders(jax.random.key(1), 7, 30, True))
    assert (drawn[0::2] == np.argsort(np.argsort(bits, axis=1), axis=1)).all()
    assert (drawn[1::2] == 29 - drawn[0:6:2]).all()
    ties = np.zeros((1, 30), np.uint32)
    ties[:, ::3] = 1
    counted = np.asarray(shapley.ranked(jnp.asarray(ties), compared=True))
    assert (counted == np.argsort(np.argsort(ties, kind="stable"))).all()  # they stay in order


def test_many_groups_are_sorted():
    bits = np.asarray(jax.random.bits(jax.random.key(1), (3, shapley.MOST_COMPARED + 1), jnp.uint32))
    drawn = shapley.orders(jax.random.key(1), 3, shapley.MOST_COMPARED + 1, False)
    assert np.array_equal(drawn, np.argsort(bits, axis=1))

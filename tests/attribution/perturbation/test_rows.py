"""Tables without one feature each: the first product less a feature's share, and where it is multiplied anew instead."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.perturbation import rows
from jaxviz.attribution.perturbation.game import Game, game

FEATURES, BATCH = 48, 24
KEY = jax.random.key(5)
ROWS = jax.random.normal(KEY, (BATCH, FEATURES))
TARGET = np.arange(BATCH) % 3
MODULE = nn.Sequential([nn.Dense(48), nn.tanh, nn.Dense(16), nn.relu, nn.Dense(3)])
VARIABLES = MODULE.init(jax.random.key(6), ROWS)


def unknown(ours: Game) -> jax.Array:
    """In place of what is computed anew."""
    return jnp.full((FEATURES + 1, BATCH), jnp.nan)


def ablated(params: Any, inputs: Any, baseline: Any) -> tuple[np.ndarray, bool]:
    """The attribution, and whether the first product was used for all features."""
    model = jv.Model.from_linen(MODULE, params)
    attribution = jv.feature_ablation(model, inputs, target=TARGET, baseline=baseline)
    ours = game("feature_ablation", model, inputs, TARGET, None, baseline, None)
    scores = rows.scores_without(ours, unknown)
    assert scores is not None
    return np.asarray(attribution), not np.isnan(scores).any()


def dense(name: str, x: np.ndarray) -> np.ndarray:
    layer = VARIABLES["params"][f"layers_{name}"]
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def naive(x: np.ndarray, baseline: float) -> np.ndarray:
    """The losses, in float64, one evaluation each."""
    x = np.asarray(x, np.float64)

    def scores(x: np.ndarray) -> np.ndarray:
        return dense("4", np.maximum(dense("2", np.tanh(dense("0", x))), 0))[np.arange(BATCH), TARGET]

    losses = np.empty((BATCH, FEATURES))
    for feature in range(FEATURES):
        without = x.copy()
        without[:, feature] = baseline
        losses[:, feature] = scores(x) - scores(without)
    return losses


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_the_first_product_less_a_share(baseline):
    attribution, taken = ablated(VARIABLES, ROWS, baseline)
    assert taken
    np.testing.assert_allclose(attribution, naive(ROWS, baseline), atol=2e-6)


@pytest.mark.parametrize(("count", "batch", "width", "number"), [(65, 15, 64, 1), (65, 16, 64, 2), (65, 64, 64, 5)])
def test_parts_are_all_features(count, batch, width, number):
    parts = rows._parts(count, batch, width)
    assert len(parts) == number
    assert [feature for part in parts for feature in range(count)[part]] == list(range(count))
    assert max(part.stop - part.start for part in parts) * batch * width <= rows.DIVIDED
    # Of wide layers, and of many rows, the operations are worth dividing.
    assert len(rows._parts(count, batch, 129)) == len(rows._parts(count, 7 * batch, 128)) == 1


def test_parts_side_by_side_are_the_same(monkeypatch):
    ours = game("feature_ablation", jv.Model.from_linen(MODULE, VARIABLES), ROWS, TARGET, None, 0.0, None)
    found = []
    for divided in (1 << 16, 1 << 14):
        monkeypatch.setattr(rows, "DIVIDED", divided)
        scores = jax.jit(lambda ours: rows.scores_without(ours, unknown))(ours)
        assert scores is not None
        found.append(np.asarray(scores))
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose((found[1][-1] - found[1][:-1]).T, naive(ROWS, 0.0), rtol=2e-5, atol=2e-6)


def test_what_changes_nothing_is_zero_to_the_last_bit():
    params = jax.tree.map(jnp.asarray, VARIABLES)
    kernel = params["params"]["layers_0"]["kernel"].at[3].set(0)
    params = {"params": {**params["params"], "layers_0": {**params["params"]["layers_0"], "kernel": kernel}}}
    attribution, taken = ablated(params, ROWS.at[:, 8].set(0.25), 0.25)
    assert taken
    assert (attribution[:, [3, 8]] == 0).all()
    assert (attribution[:, 4] != 0).all()


@pytest.mark.parametrize("changed", ["inputs", "baseline"])
def test_a_share_that_is_all_there_is(changed):
    # A millionth of it is as much as the others' together.
    great = 1e6
    inputs = ROWS.at[:, 5].set(great) if changed == "inputs" else ROWS
    baseline = np.zeros(FEATURES, np.float32)
    baseline[5] = great if changed == "baseline" else 0
    attribution, taken = ablated(VARIABLES, inputs, baseline)
    assert not taken
    expected = naive(inputs, 0.0)
    if changed == "baseline":
        expected[:, 5] = naive(inputs, great)[:, 5]
    np.testing.assert_allclose(attribution, expected, atol=1e-4 if changed == "inputs" else 2e-6)
    np.testing.assert_allclose(attribution[:, 5], expected[:, 5], atol=2e-6)


def standardized(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh((x - 2000.0) / 3 @ params).sum(axis=1)


def squared(params: Any, x: jax.Array) -> jax.Array:
    return (x**2 @ params).sum(axis=1)


def half(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(x.astype(jnp.bfloat16) @ params.astype(jnp.bfloat16)).sum(axis=1)


def centered(params: Any, x: jax.Array) -> jax.Array:
    z = x @ params
    return jnp.tanh(z - z.mean(axis=0, keepdims=True)).sum(axis=1)


@pytest.mark.parametrize("apply", [standardized, squared, half, centered])
def test_programs_that_are_computed_as_they_stand(apply, monkeypatch):
    monkeypatch.setattr(rows, "LEAST", 1)
    model = jv.Model.from_function(apply, jax.random.normal(KEY, (FEATURES, 8)))
    ours = game("feature_ablation", model, ROWS, None, None, None, None)
    assert rows.scores_without(ours, unknown) is None


def mean_of_batch(params: Any, x: jax.Array) -> jax.Array:
    return jnp.tanh(4 * (x @ params) / x.shape[0]).sum(axis=1)


def small_batches(params: Any, x: jax.Array) -> jax.Array:
    if x.shape[0] > 2 * BATCH - 1:
        raise ValueError("too many rows")
    return jnp.tanh(x @ params).sum(axis=1)


def host(params: Any, x: jax.Array) -> jax.Array:
    z = x @ params
    shape = jax.ShapeDtypeStruct(z.shape, z.dtype)
    return jax.pure_callback(np.tanh, shape, z, vmap_method="expand_dims").sum(axis=1)


@pytest.mark.parametrize("apply", [mean_of_batch, small_batches, host])
def test_models_that_know_their_batch_or_have_no_derivative(apply):
    params = jax.random.normal(KEY, (FEATURES, 64)) / 8
    model = jv.Model.from_function(apply, params)
    scores = rows.scores_without(game("feature_ablation", model, ROWS, None, None, None, None), unknown)
    assert scores is not None
    losses = np.asarray(scores[-1:] - scores[:-1]).T
    for feature in (0, 1, FEATURES - 1):
        without = model(ROWS.at[:, feature].set(0))
        np.testing.assert_allclose(losses[:, feature], model(ROWS) - without, atol=1e-5)
    np.testing.assert_allclose(jv.feature_ablation(model, ROWS), losses, atol=1e-5)


def test_groups_images_integers_and_little_work_are_computed_as_they_stand(monkeypatch):
    model = jv.Model.from_linen(MODULE, VARIABLES)
    one = lambda model, inputs, mask=None, target=0: rows.scores_without(
        game("feature_ablation", model, inputs, target, mask, None, None), unknown
    )
    assert one(model, ROWS) is not None
    assert one(model, ROWS[:2]) is None
    monkeypatch.setattr(rows, "LEAST", 1)
    assert one(model, ROWS, mask=np.arange(FEATURES) // 2) is None
    series = jv.Model.from_function(lambda params, x: (x @ params).sum(axis=1), jnp.ones((FEATURES, 3)))
    assert one(series, ROWS[:, None]) is None
    product = jv.Model.from_function(lambda params, tokens: params[tokens].sum(axis=1), jnp.ones((4, 3)))
    assert one(product, jnp.ones((2, 3), jnp.int32)) is None


def test_within_another_program_nothing_is_computed_both_ways():
    model = jv.Model.from_linen(MODULE, VARIABLES)
    program = jax.make_jaxpr(lambda x: jv.feature_ablation(model, x, target=0))(ROWS)
    assert "cond[" not in str(program)

"""Ablation and permutation of features: naive formulas, masks of every kind, several inputs, integers, wrong arguments."""

from typing import Any
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.perturbation import ablation, nearby

KEY = jax.random.key(3)


def test_each_group_is_what_the_score_loses_without_it(small):
    mask = np.array([7, 7, -2, 0, 0, 0])  # numbers need not be consecutive
    found = np.asarray(
        jv.feature_ablation(small.model, small.inputs, target=1, mask=mask, baseline=small.baseline, chunk_size=4)
    )
    for example in range(3):
        for feature in range(6):
            loss = small.worth(np.ones(6), example) - small.worth(mask != mask[feature], example)
            assert found[example, feature] == pytest.approx(loss, abs=1e-5)


def test_a_mask_for_each_example(small):
    mask = np.array([[0, 0, 1, 1, 2, 2], [5, 5, 5, 5, 5, 5], [0, 1, 2, 3, 4, 5]])
    settings = {"target": 1, "baseline": small.baseline}
    found = np.asarray(jv.feature_ablation(small.model, small.inputs, mask=mask, **settings))
    for i in range(3):
        alone = jv.feature_ablation(small.model, small.inputs[i : i + 1], mask=mask[i], **settings)
        np.testing.assert_allclose(found[i], alone[0], rtol=1e-5, atol=1e-6)


def two_inputs(params: Any, inputs: Any) -> jax.Array:
    tokens, images = inputs
    return params[tokens].sum(axis=1) * images.sum(axis=(1, 2))


EMBEDDING = jnp.array([0.0, 1.0, 10.0, 100.0])
TOKENS, IMAGES = np.array([[1, 2, 3], [3, 3, 0]]), np.ones((2, 2, 2), np.float32)
PAIR = (TOKENS, IMAGES)


def test_integers_and_floats_and_groups_that_span_them():
    model = jv.Model.from_function(two_inputs, EMBEDDING)
    tokens, images = jv.feature_ablation(model, PAIR)  # token 0 is the baseline
    assert tokens.dtype == np.float32
    np.testing.assert_allclose(tokens, 4 * np.asarray(EMBEDDING)[TOKENS])
    np.testing.assert_allclose(images, np.array([[[111.0] * 2] * 2, [[200.0] * 2] * 2]))
    # The group 1 is the last token and the first row of the image; the baseline is token 1, and 3.
    tokens, images = jv.feature_ablation(model, PAIR, mask=([0, 0, 1], [[1, 1], [2, 2]]), baseline=(1, 3.0))
    scores = np.array([111 * 4, 200 * 4])
    without = np.array([[102 * 4, 2 * 4], [12 * 8, 201 * 8], [111 * 8, 200 * 8]])  # of tokens 0 and 1, of 1, of 2
    losses = (scores - without).T
    np.testing.assert_allclose(tokens, losses[:, [0, 0, 1]])
    np.testing.assert_allclose(images[:, :, 0], losses[:, [1, 2]])


def test_any_rank_and_a_broadcast_mask():
    model = jv.Model.from_function(lambda params, inputs: inputs.sum(axis=(1, 2, 3, 4)), ())
    inputs = np.arange(48, dtype=np.float32).reshape(2, 2, 3, 2, 2)
    mask = np.arange(3)[:, None, None]  # one group per place on axis 2
    found = jv.feature_ablation(model, inputs, mask=mask)
    np.testing.assert_allclose(found, np.broadcast_to(inputs.sum(axis=(1, 3, 4), keepdims=True), inputs.shape))


def test_permutation_gives_each_example_the_values_of_another():
    weights = np.array([2.0, 0.0, -1.0], np.float32)
    model = jv.Model.from_function(lambda params, inputs: inputs @ params, weights)
    inputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    found = np.asarray(jv.feature_permutation(model, inputs, key=KEY))
    # What an example lost says whose value it had.
    for feature in (0, 2):
        distances = np.abs(inputs[:, None, feature] - (inputs[:, feature] - found[:, feature] / weights[feature]))
        whose = distances.argmin(axis=0)
        assert distances.min(axis=0).max() < 1e-5
        assert sorted(whose) == list(range(5))
        assert (whose != np.arange(5)).all()
    assert not found[:, 1].any()


def test_permutation_over_many_samples_is_the_mean_over_the_other_examples():
    weights = np.array([2.0, 0.0, -1.0], np.float32)
    model = jv.Model.from_function(lambda params, inputs: jnp.square(inputs @ params), weights)
    inputs = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    mask = np.array([0, 1, 0])
    found = np.asarray(jv.feature_permutation(model, inputs, mask=mask, samples=2000, key=KEY))
    scores = (inputs @ weights) ** 2
    means = scores - (scores.sum() - scores) / 3  # the whole score of another example
    np.testing.assert_allclose(found[:, 0], means, atol=0.06 * np.abs(means).max())
    np.testing.assert_array_equal(found[:, 0], found[:, 2])
    again = jv.feature_permutation(model, inputs, mask=mask, samples=2000, key=KEY, chunk_size=4000)
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-5)


def shifted(key: jax.Array, inputs: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), inputs)


def test_other_values_by_a_sampler_of_ones_own():
    model = jv.Model.from_function(two_inputs, EMBEDDING)
    images = np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2)
    # The group 1 is the last token and the first row of the image, both of the other example.
    found = jv.feature_permutation(
        model, (TOKENS, images), mask=([0, 0, 1], [[1, 1], [2, 2]]), sampler=shifted, key=KEY
    )
    values, rows = np.asarray(EMBEDDING)[TOKENS], images.sum(axis=2)
    worth = lambda values, rows: values.sum(axis=1) * rows.sum(axis=1)
    losses = np.stack(
        [
            worth(values, rows) - worth(np.where(first, values[::-1], values), np.where(second, rows[::-1], rows))
            for first, second in (([1, 1, 0], [0, 0]), ([0, 0, 1], [1, 0]), ([0, 0, 0], [0, 1]))
        ],
        axis=1,
    )
    np.testing.assert_allclose(found[0], losses[:, [0, 0, 1]])
    np.testing.assert_allclose(found[1], losses[:, [1, 2]][:, :, None].repeat(2, axis=2))


def noisy(key: jax.Array, inputs: jax.Array) -> jax.Array:
    return inputs + jax.random.normal(key, inputs.shape, inputs.dtype)


def test_a_sampler_draws_anew_for_each_sample_and_group(small):
    settings: dict[str, Any] = {"target": 1, "sampler": noisy, "samples": 3, "key": KEY}
    found = jv.feature_permutation(small.model, small.inputs[:1], **settings)  # one example will do
    again = jv.feature_permutation(small.model, small.inputs[:1], chunk_size=4, **settings)
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-5)
    losses = np.zeros(6)
    for variation in range(18):
        sample = np.asarray(noisy(jax.random.fold_in(KEY, variation), small.inputs[:1]))[0]
        moved = np.where(np.arange(6) == variation % 6, sample, small.inputs[0])
        losses[variation % 6] += (small.score(small.inputs[0]) - small.score(moved)) / 3
    np.testing.assert_allclose(found[0], losses, rtol=1e-4, atol=1e-5)
    for sampler, error, words in (
        (3, TypeError, "sampler must be a function of a key and inputs, got 3"),
        (lambda key, inputs: inputs[:, :2], ValueError, "sampler must give what has the structure, shapes and dtypes"),
    ):
        with pytest.raises(error, match=f"^feature_permutation: {words}"):
            jv.feature_permutation(small.model, small.inputs, **{**settings, "sampler": sampler})


@pytest.mark.parametrize(
    ("error", "message", "settings"),
    [
        (ValueError, "mask of shape (5,) broadcasts neither", {"mask": np.zeros(5, int)}),
        (TypeError, "mask must have integers", {"mask": np.zeros(6)}),
        (TypeError, "mask must be None or an integer array, got str", {"mask": "superpixels"}),
        (ValueError, "baseline of shape (5,) does not broadcast", {"baseline": np.zeros(5, np.float32)}),
        (ValueError, "target 3 is out of range", {"target": 3}),
        (ValueError, "chunk_size must be at least 1", {"chunk_size": 0}),
    ],
)
def test_wrong_arguments(small, error, message, settings):
    with pytest.raises(error) as raised:
        jv.feature_ablation(small.model, small.inputs, **{"target": 1, **settings})
    assert message in str(raised.value)
    assert str(raised.value).startswith("feature_ablation: ")


def test_wrong_masks_and_baselines_of_several_inputs():
    model = jv.Model.from_function(two_inputs, EMBEDDING)
    with pytest.raises(ValueError, match="there are 2 inputs; give a tuple of one mask for each"):
        jv.feature_ablation(model, PAIR, mask=np.zeros(3, int))
    with pytest.raises(TypeError, match=r"baseline\[0\] must be integers, too, got 0.5"):
        jv.feature_ablation(model, PAIR, baseline=(0.5, 0.0))
    with pytest.raises(TypeError, match="cannot be differentiated"):
        jv.gradient(model, PAIR)


def test_a_traced_mask_and_a_batch_of_one(small):
    with pytest.raises(TypeError, match="mask is traced"):
        jax.jit(lambda mask: jv.feature_ablation(small.model, small.inputs, target=1, mask=mask))(jnp.zeros(6, int))
    with pytest.raises(ValueError, match="the batch has only one example"):
        jv.feature_permutation(small.model, small.inputs[:1], target=1, key=KEY)
    with pytest.raises(TypeError, match="key is missing"):
        jv.feature_permutation(small.model, small.inputs, target=1)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (jv.feature_permutation, {"key": KEY}),
        (jv.feature_permutation, {"key": KEY, "sampler": shifted}),
        (jv.shapley_values, {"baseline": 0.0}),
        (jv.feature_ablation, {}),
    ],
)
def test_other_values_of_the_same_shapes_trace_nothing(small, method, settings):
    traces = []

    def apply(params: Any, inputs: jax.Array) -> jax.Array:
        traces.append(inputs.shape)
        return small.model.apply(params, {}, inputs)

    model = jv.Model.from_function(apply, small.model.params)
    method(model, small.inputs, target=1, mask=[0, 1, 1, 2, 2, 2], **settings)
    before = len(traces)
    assert before
    other = settings | {
        name: value for name, value in {"key": jax.random.key(9), "baseline": 0.5}.items() if name in settings
    }
    method(model, small.inputs + 1, target=np.array([0, 2, 1]), mask=[4, 4, 8, 8, 8, 3], **other)
    assert len(traces) == before


TRACES = 0


def convolutional(params: Any, maps: jax.Array) -> jax.Array:
    global TRACES
    TRACES += 1
    layout = ("NHWC", "HWIO", "NHWC")
    for kernel in params:
        maps = jax.nn.relu(jax.lax.conv_general_dilated(maps, kernel, (1, 1), "SAME", dimension_numbers=layout))
    return jnp.tanh(maps.mean((1, 2, 3)) / 8)


RANDOM = np.random.default_rng(0)
KERNELS = tuple(RANDOM.normal(size=shape).astype(np.float32) for shape in ((3, 3, 2, 4), (3, 3, 4, 4)))
MAPS, FILL = RANDOM.normal(size=(2, 2, 14, 13, 2)).astype(np.float32)
ROWS, COLUMNS = np.mgrid[:14, :13]
TILES = (ROWS // 3 * 5 + COLUMNS // 3)[..., None]  # cut off at the end
CELLS = ((ROWS + COLUMNS // 2) // 3 * 5 + COLUMNS // 3)[..., None]  # leaning, of several widths
MASKS = {
    "features": None,
    "tiles": TILES,
    "tiles of one channel": 2 * TILES + np.arange(2),
    "cells": CELLS,
    "cells of each example": np.stack([CELLS, np.concatenate([CELLS[:1], CELLS[:-1]])]),
}


@pytest.mark.parametrize("case", MASKS)
def test_near_the_groups(case, monkeypatch):
    """Only where a group changes something is computed, and the result is the same."""
    near = Mock(side_effect=ablation._scores_without_nearby)
    monkeypatch.setattr(ablation, "_scores_without_nearby", near)
    model, settings = jv.Model.from_function(convolutional, KERNELS), {"mask": MASKS[case], "baseline": FILL}
    found = jv.feature_ablation(model, MAPS, chunk_size=200, **settings)
    assert near.called
    monkeypatch.setattr(nearby, "base", lambda *args: None)
    expected = jv.feature_ablation(model, MAPS, chunk_size=200, **settings)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-7)  # the scores are of the order of 1


def test_another_mask_of_its_kind_is_the_same_program():
    model = jv.Model.from_function(convolutional, KERNELS)
    jv.feature_ablation(model, MAPS, mask=CELLS)
    before = TRACES
    jv.feature_ablation(model, MAPS, mask=CELLS[:, ::-1])
    assert before == TRACES


def test_booleans():
    weights = jnp.array([1.0, 10.0, 100.0])
    model = jv.Model.from_function(lambda params, x: jnp.where(x, params[None], 0.0).sum(axis=1), weights)
    inputs = np.array([[True, False, True], [False, False, True]])
    lost = np.where(inputs, weights, 0)
    for baseline, expected in (
        (None, lost),
        (False, lost),
        (True, lost - np.asarray(weights)),
        (np.array([True, True, False]), lost - [1, 10, 0]),
    ):
        np.testing.assert_allclose(jv.feature_ablation(model, inputs, baseline=baseline), expected)
    with pytest.raises(ValueError, match=r"inputs have dtype bool, so baseline must be False or True, got 0.5"):
        jv.feature_ablation(model, inputs, baseline=0.5)
    with pytest.raises(TypeError, match="baseline must be None, a number or an array, got bool"):
        jv.feature_ablation(model, np.ones((2, 3), np.float32), baseline=True)

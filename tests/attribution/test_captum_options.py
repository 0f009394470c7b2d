"""Options that Captum has, too, against figures that it computed with the same weights and the same draws."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

FILE = Path(__file__).parents[1] / "reference" / "captum_option_figures.npz"
KEY = jax.random.key(0)
TILES = (np.arange(12)[:, None] // 6 * 2 + np.arange(12) // 6)[..., None]


@pytest.fixture(scope="module")
def theirs() -> dict[str, np.ndarray]:
    with np.load(FILE) as stored:
        return {key: stored[key] for key in stored.files}


@pytest.fixture(scope="module")
def case(reference: Any) -> Any:
    figures = reference.figures
    return reference.model, figures["inputs"], {"target": figures["target"]}, figures["baseline"]


cnn = pytest.mark.parametrize("reference", ["cnn"], indirect=True)


def close(ours: Any, theirs: np.ndarray, tolerance: float = 1e-5) -> None:
    theirs = theirs.astype(np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(np.asarray(ours, np.float64) - theirs).max() <= tolerance * np.abs(theirs).max()


def shifted(key: jax.Array, inputs: jax.Array) -> jax.Array:
    return jnp.roll(inputs, 1, axis=0)


def chosen(activation: jax.Array) -> jax.Array:
    return activation[:, 3, 3, 1]


@cnn
@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # a map that is negative everywhere is 0
def test_one_call_each(case, theirs):
    model, inputs, target, _ = case
    permuted = jv.feature_permutation(model, inputs, mask=TILES, sampler=shifted, key=KEY, **target)
    close(permuted, theirs["feature_permutation"])
    guided = jv.guided_grad_cam(model, inputs, layer="features", interpolation="nearest", **target)
    close(guided, theirs["guided_grad_cam/nearest"])
    maps = jv.grad_cam(model, inputs, layer="features", relu=False, upsample=False, channels=True, **target)
    close(maps, theirs["grad_cam/channels"])
    close(
        maps.sum(axis=-1),
        np.asarray(jv.grad_cam(model, inputs, layer="features", relu=False, upsample=False, **target)),
    )


@cnn
@pytest.mark.filterwarnings("ignore:.*all zero:jaxviz.AttributionWarning")  # the unit is off in some
def test_a_neuron_by_a_function(case, theirs):
    model, inputs, target, baseline = case
    through = jv.neuron_conductance(model, inputs, layer="Conv_1", unit=chosen, baseline=baseline, steps=12, **target)
    close(through, theirs["neuron_conductance"])


def spread(model: jv.Model, data: jax.Array) -> jax.Array:
    """One number for all examples together: `(1, examples, ...)` to `(1,)`."""
    return jax.vmap(lambda examples: model(examples)[:, 0].std())(data)


def error(params: tuple[jv.Model, jax.Array], data: jax.Array) -> jax.Array:
    model, answers = params
    return jax.vmap(lambda examples: jnp.sqrt(jnp.square(model(examples)[:, 0] - answers).mean()))(data)


def before(key: jax.Array, data: jax.Array) -> jax.Array:
    """The values of the example before, where all examples are one."""
    return jnp.roll(data, 1, axis=1)


@cnn
def test_a_score_of_all_examples_together(case, theirs):
    model, inputs, _, _ = case
    together, data = jv.Model.from_function(spread, model), inputs[None]
    error_model = jv.Model.from_function(error, (model, jnp.linspace(-1, 1, len(inputs), dtype=inputs.dtype)))
    found = {
        "feature_ablation": jv.feature_ablation(together, data, baseline=0.1, mask=TILES),
        "shapley_values": jv.shapley_values(together, data, baseline=0.1, mask=TILES),
        "feature_permutation": jv.feature_permutation(together, data, mask=TILES, sampler=before, key=KEY),
        "loader": jv.feature_ablation(error_model, data, baseline=0.1, mask=TILES),
    }
    for name, ours in found.items():
        close(ours[0, :1], theirs[f"all/{name}"])  # the examples share their groups, and what these are worth
        assert (ours == ours[:, :1]).all()


def test_another_place_in_each_example_is_no_new_program():
    """What Captum has a list of tuples for as the target."""
    traces = []

    def at_places(params: tuple[jv.Model, jax.Array], inputs: jax.Array) -> jax.Array:
        traces.append(inputs.shape)
        model, places = params
        return model(inputs)[jnp.arange(len(places)), places]

    weights = jax.random.normal(KEY, (2, 5))
    sequence = jv.Model.from_function(lambda weights, x: jnp.tanh(jnp.cumsum(x, axis=1) @ weights), weights)
    inputs, units = jax.random.normal(jax.random.key(1), (3, 4, 2)), jnp.array([0, 4, 2])
    for places in ([3, 0, 1], [2, 2, 0]):
        counted = len(traces)
        there = jv.Model.from_function(at_places, (sequence, jnp.array(places)))
        ours = jv.integrated_gradients(there, inputs, target=units, steps=8)
        for i, place in enumerate(places):
            one = jv.integrated_gradients(sequence, inputs[i : i + 1], target=jv.unit(place, int(units[i])), steps=8)
            np.testing.assert_allclose(ours[i : i + 1], one, rtol=1e-4, atol=1e-6)
            assert np.abs(one).max() > 0
            assert not np.any(ours[i, place + 1 :])
    assert len(traces) == counted > 0  # the second time


def plain(members: jax.Array, scores: jax.Array, weights: jax.Array) -> jax.Array:
    """Weighted least squares with an intercept."""
    columns = jnp.concatenate([members, jnp.ones_like(members[:, :1])], axis=1) * jnp.sqrt(weights)[:, None]
    return jnp.linalg.lstsq(columns, scores * jnp.sqrt(weights))[0][:-1]


def nearness(inputs: jax.Array, sample: jax.Array, features: jax.Array) -> jax.Array:
    return jnp.exp(-jnp.square(inputs - sample).mean(axis=(1, 2, 3)))


def scaled(amounts: jax.Array, inputs: jax.Array) -> jax.Array:
    return inputs * amounts[None, None, None]


def means(sample: jax.Array, inputs: jax.Array) -> jax.Array:
    return sample.mean(axis=(1, 2))


@cnn
def test_lime_in_spaces_of_ones_own(case, theirs):
    model, inputs, target, _ = case
    amounts, noise = jnp.asarray(theirs["amounts"]), jnp.asarray(theirs["noise"])
    keys = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(30, dtype=jnp.int32)))

    def moved(
        key: jax.Array, inputs: jax.Array
    ) -> jax.Array:  # by the noise of the sample's number, which the key tells
        return inputs + noise[(keys == jax.random.key_data(key)[None]).all(axis=1).argmax()][None]

    settings = {"samples": 30, "surrogate": plain, "kernel": nearness, "key": KEY, **target}
    found = jv.lime(model, inputs, sampler=lambda *_: amounts, to_inputs=scaled, chunk_size=20, **settings)
    close(found, theirs["lime/to_inputs"], 1e-4)
    found = jv.lime(model, inputs, sampler=moved, to_features=means, **settings)
    close(found, theirs["lime/to_features"], 1e-4)

"""DeepLIFT with an own way from multipliers to attributions: Captum's figures, sets of baselines, layers, wrong arguments."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

FILE = Path(__file__).parents[2] / "reference" / "captum_option_figures.npz"


def squared(multipliers: Any, inputs: Any, baseline: Any) -> Any:
    return jax.tree.map(lambda m, x, b: m * (x - b) ** 2, multipliers, inputs, baseline)


@pytest.mark.parametrize("modules", ["mlp"], indirect=True)
def test_against_captum(modules):
    model, figures = modules
    inputs, target = figures["inputs"], figures["target"]
    with np.load(FILE) as theirs:
        found = {
            "deeplift": jv.deeplift(model, inputs, target=target, baseline=figures["baseline"], combine=squared),
            "deep_shap": jv.deep_shap(
                model, inputs, target=target, baselines=figures["baselines"], combine=squared, chunk_size=5
            ),
            "layer deeplift": jv.at_layer(jv.deeplift, "Dense_0")(
                model, inputs, target=target, baseline=figures["baseline"], combine=squared
            ),
        }
        for name, ours in found.items():
            assert np.abs(ours - theirs[name]).max() <= 4e-6 * np.abs(theirs[name]).max()


TRACES = 0


def network(params: Any, inputs: Any) -> jax.Array:
    global TRACES
    TRACES += 1
    return jnp.tanh(inputs[0] @ params).sum(axis=1) * inputs[1]


MODEL = jv.Model.from_function(network, jnp.array([[1.0, -2.0], [0.5, 1.0]]))
PAIR = (jnp.array([[1.0, 2.0], [0.5, -1.0]]), jnp.array([2.0, 3.0]))


def test_several_inputs_and_a_second_call_that_traces_nothing():
    bare = jv.deeplift(MODEL, PAIR, baseline=0.1, multiply_by_inputs=False)
    found = jv.deeplift(MODEL, PAIR, baseline=0.1, combine=squared)
    for ours, multiplier, leaf in zip(found, bare, PAIR, strict=True):
        np.testing.assert_allclose(ours, multiplier * (leaf - 0.1) ** 2, rtol=1e-5)
    before = TRACES
    jv.deeplift(MODEL, jax.tree.map(lambda leaf: leaf + 1, PAIR), baseline=0.2, combine=squared)
    assert before == TRACES


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"combine": 3}, TypeError, "combine must be a function of multipliers, inputs and baseline, got 3"),
        ({"combine": squared, "multiply_by_inputs": False}, ValueError, "combine takes the place of the product"),
        ({"combine": lambda m, x, b: m[0]}, ValueError, "combine must give what has the structure, shapes and dtypes"),
    ],
)
def test_wrong_arguments(settings, error, words):
    with pytest.raises(error, match=f"^deeplift: {words}"):
        jv.deeplift(MODEL, PAIR, **settings)
    with pytest.raises(error, match=f"^deep_shap: {words}"):
        jv.deep_shap(MODEL, PAIR, baselines=jax.tree.map(np.asarray, PAIR), **settings)

"""Shapley values and their approximations against figures that SHAP computed with the same weights, in float64."""

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.paths import expected

FILE = Path(__file__).parents[1] / "reference" / "shap_figures.npz"
KEY = jax.random.key(0)
ACTIVATIONS = {
    "mlp": (
        nn.tanh,
        nn.relu,
        nn.sigmoid,
        nn.softplus,
        nn.elu,
        lambda x: nn.leaky_relu(x, 0.1),
        nn.selu,
        lambda x: nn.gelu(x, approximate=False),
    ),
    "game": (nn.tanh, nn.relu),
}
OUTPUT = 1


class Case(NamedTuple):
    model: jv.Model
    inputs: jax.Array
    background: jax.Array
    theirs: dict[str, np.ndarray]


def network(name: str) -> Any:
    """A function of its own for each network: it is what the compiled programs are kept by."""

    def apply(layers: Any, x: jax.Array) -> jax.Array:
        for (kernel, bias), activation in zip(layers[:-1], ACTIVATIONS[name], strict=True):
            x = activation(x @ kernel + bias[None])
        kernel, bias = layers[-1]
        return x @ kernel + bias[None]

    return apply


APPLY = {name: network(name) for name in ACTIVATIONS}


def load(name: str, dtype: Any) -> Case:
    with np.load(FILE) as stored:
        theirs = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
    array = lambda key: jnp.asarray(theirs[key], dtype)
    numbers = range(0, 2 * len(ACTIVATIONS[name]) + 1, 2)
    layers = [(array(f"weights/{number}.weight"), array(f"weights/{number}.bias")) for number in numbers]
    return Case(jv.Model.from_function(APPLY[name], layers), array("inputs"), array("background"), theirs)


@pytest.fixture
def case(request: pytest.FixtureRequest):
    with jax.enable_x64(True):
        yield load(getattr(request, "param", "game"), jnp.float64)


def distance(ours: Any, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    ours = np.asarray(ours, np.float64)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("case", ["mlp", "game"], indirect=True)
def test_deep_shap(case):
    assert distance(case.model(case.inputs), case.theirs["outputs"]) < 1e-13
    ours = jv.deep_shap(case.model, case.inputs, target=OUTPUT, baselines=case.background)
    assert distance(ours, case.theirs["deep"][..., OUTPUT]) < 1e-11


def over_background(method: Any, case: Case, **settings: Any) -> np.ndarray:
    """The mean over the baselines: SHAP's game, in which missing features come from all of the background."""
    every = [method(case.model, case.inputs, target=OUTPUT, baseline=row, **settings) for row in case.background]
    return np.mean(every, axis=0)


def test_exact_values(case):
    one = jv.shapley_values(case.model, case.inputs, target=OUTPUT, baseline=case.background[0])
    every = over_background(jv.shapley_values, case)
    for explainer in ("exact", "kernel"):  # KernelExplainer goes through all coalitions, too
        assert distance(one, case.theirs[f"{explainer}/one"][..., OUTPUT]) < 1e-13
        assert distance(every, case.theirs[f"{explainer}/all"][..., OUTPUT]) < 1e-13


def test_kernel_shap_of_all_coalitions(case):
    # Its regression is regularized, by 1e-10.
    ours = over_background(jv.kernel_shap, case, key=KEY)
    assert distance(ours, case.theirs["kernel/all"][..., OUTPUT]) < 1e-9


def test_kernel_shap_of_few_features(case):
    settings: dict[str, Any] = {"target": OUTPUT, "baseline": case.background[0], "key": KEY}
    ours = jv.kernel_shap(case.model, case.inputs, nonzero=3, **settings)
    theirs = case.theirs["kernel/selected/one"][..., OUTPUT]
    assert (np.count_nonzero(theirs, axis=1) == 3).all()
    assert distance(ours, theirs) < 1e-9
    every = jv.kernel_shap(case.model, case.inputs, **settings)
    np.testing.assert_array_equal(jv.kernel_shap(case.model, case.inputs, nonzero=9, **settings), every)


def test_samples_within_their_error(case):
    exact = case.theirs["exact/one"][..., OUTPUT]
    settings: dict[str, Any] = {"target": OUTPUT, "baseline": case.background[0], "key": KEY}
    # 100 orders and their reverses, there and here.
    error = spread_of_orders(case) / np.sqrt(100)
    ours = jv.shapley_sampling(case.model, case.inputs, samples=200, **settings)
    theirs = case.theirs["permutation/one"][..., OUTPUT]
    for sampled in (np.asarray(ours), theirs):
        in_errors = (sampled - exact) / error
        assert np.abs(in_errors).max() < 4
        assert 0.5 < np.sqrt(np.mean(in_errors**2)) < 1.6
    # 100 of the 254 coalitions: complete, and near; 6 % of the largest value here, 4 % there, when this was written.
    ours = jv.kernel_shap(case.model, case.inputs, samples=100, **settings)
    for sampled in (np.asarray(ours), case.theirs["kernel/sampled/one"][..., OUTPUT]):
        assert 1e-3 < distance(sampled, exact) < 0.1
        np.testing.assert_allclose(sampled.sum(axis=1), exact.sum(axis=1), rtol=1e-9)


def spread_of_orders(case: Case) -> np.ndarray:
    """The standard deviation of what a pair of opposite orders says, from 2000 pairs."""
    inputs, baseline = np.asarray(case.inputs), np.asarray(case.background[0])
    present = (np.arange(256)[:, None] >> np.arange(8)) & 1 == 1
    worth = np.stack([case.model(np.where(present, row, baseline))[:, OUTPUT] for row in inputs], axis=1)
    random = np.random.default_rng(1)
    pairs = []
    for _ in range(2000):
        order = random.permutation(8)
        pair = np.zeros((8, len(inputs)))
        for one in (order, order[::-1]):
            before = np.concatenate([[0], np.cumsum(1 << one)])
            pair[one] += (worth[before[1:]] - worth[before[:-1]]) / 2
        pairs.append(pair.T)
    return np.std(pairs, axis=0)


def test_expected_gradients_of_the_same_draws(monkeypatch):
    model, inputs, background, theirs = load("game", jnp.float32)
    chosen, places = (jnp.asarray(theirs[f"gradient/{name}"]).T for name in ("chosen", "places"))
    draw = lambda key, number, batch, count: (chosen[number].astype(int), places[number], key)
    monkeypatch.setattr(expected, "draw", draw)
    ours = jv.expected_gradients(model, inputs, target=OUTPUT, baselines=background, samples=len(places), key=KEY)
    assert distance(ours, theirs["gradient"][..., OUTPUT]) < 1e-6

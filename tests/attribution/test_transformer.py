"""A small transformer, on numbers and on token ids, against figures that Captum computed with the same weights."""

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.perturbation import shapley

pytestmark = pytest.mark.usefixtures("quickly_compiled")

FILE = Path(__file__).parents[1] / "reference" / "transformer_figures.npz"
TOLERANCE = 1e-5  # of the largest value
KEY = jax.random.key(0)
TOKENS = 5
STEPS = 12


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm(epsilon=1e-5, name="norm0")(x)
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(y)
        y = nn.Dense(16, name="up")(nn.LayerNorm(epsilon=1e-5, name="norm1")(x))
        return x + nn.Dense(8, name="down")(nn.gelu(y, approximate=False))


class Transformer(nn.Module):
    ids: bool

    @nn.compact
    def __call__(self, x):
        x = nn.Embed(11, 8, name="enter")(x) if self.ids else nn.Dense(8, name="enter")(x)
        x = x + self.param("places", nn.initializers.zeros, (TOKENS, 8))[None]
        for number in range(2):
            x = Block(name=f"block{number}")(x)
        return nn.Dense(3, name="head")(nn.LayerNorm(epsilon=1e-5, name="norm")(x).mean(1))


class Case(NamedTuple):
    model: jv.Model
    inputs: np.ndarray
    baseline: np.ndarray
    target: np.ndarray
    theirs: dict[str, np.ndarray]

    @property
    def settings(self) -> dict[str, Any]:
        return {"target": self.target, "baseline": self.baseline}


def variables(weights: dict[str, np.ndarray]) -> Any:
    norm = lambda name: {"scale": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]}
    dense = lambda name: {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}
    params = {"places": weights["places"], "norm": norm("norm"), "head": dense("head")}
    params["enter"] = dense("enter") if "enter.bias" in weights else {"embedding": weights["enter.weight"]}
    for number in range(2):
        name = f"blocks.{number}"
        kernels = np.split(weights[f"{name}.attention.in_proj_weight"], 3)
        biases = np.split(weights[f"{name}.attention.in_proj_bias"], 3)
        attention = {
            part: {"kernel": kernel.T.reshape(8, 2, 4), "bias": bias.reshape(2, 4)}
            for part, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True)
        }
        out = dense(f"{name}.attention.out_proj")
        attention["out"] = {"kernel": out["kernel"].reshape(2, 4, 8), "bias": out["bias"]}
        block = {"norm0": norm(f"{name}.norms.0"), "norm1": norm(f"{name}.norms.1"), "attention": attention}
        params[f"block{number}"] = block | {layer: dense(f"{name}.{layer}") for layer in ("up", "down")}
    return {"params": jax.tree.map(np.float32, params)}


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    found = {}
    with np.load(FILE) as stored:
        for name in ("numbers", "ids"):
            theirs = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
            weights = {key.removeprefix("weights/"): theirs[key] for key in theirs if key.startswith("weights/")}
            model = jv.Model.from_linen(Transformer(name == "ids"), variables(weights))
            dtype = np.int32 if name == "ids" else np.float32
            given = (theirs["inputs"].astype(dtype), theirs["baseline"].astype(dtype), theirs["target"])
            found[name] = Case(model, *given, theirs)
    return found


@pytest.fixture(params=["numbers", "ids"])
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


@pytest.fixture
def numbers(cases: dict[str, Case]) -> Case:
    return cases["numbers"]


def distance(ours: Any, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    ours = np.asarray(ours, np.float64)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_outputs(case):
    assert distance(case.model(case.inputs), case.theirs["outputs"]) < TOLERANCE


@pytest.mark.parametrize("method", ["gradient", "input_x_gradient", "integrated_gradients"])
def test_gradients(numbers, method):
    settings = numbers.settings | {"steps": STEPS} if method == "integrated_gradients" else {"target": numbers.target}
    ours = getattr(jv, method)(numbers.model, numbers.inputs, **settings)
    assert distance(ours, numbers.theirs[method]) < TOLERANCE


def test_at_the_embedding(cases):
    ids = cases["ids"]
    ours = jv.at_layer(jv.input_x_gradient, "enter")(ids.model, ids.inputs, target=ids.target)
    assert distance(ours, ids.theirs["input_x_gradient/enter"]) < TOLERANCE
    ours = jv.at_layer(jv.integrated_gradients, "enter")(ids.model, ids.inputs, steps=STEPS, **ids.settings)
    assert distance(ours, ids.theirs["integrated_gradients/enter"]) < TOLERANCE


def test_at_a_layer_within(numbers):
    model, inputs, theirs, layer = numbers.model, numbers.inputs, numbers.theirs, "block1/up"
    found = {
        "integrated_gradients/up": jv.at_layer(jv.integrated_gradients, layer)(
            model, inputs, steps=STEPS, **numbers.settings
        ),
        "conductance": jv.conductance(model, inputs, layer=layer, steps=STEPS, change="difference", **numbers.settings),
        "internal_influence": jv.internal_influence(model, inputs, layer=layer, steps=STEPS, **numbers.settings),
        "neuron_gradient": jv.gradient(model.until(layer), inputs, target=jv.unit(2, 4)),
    }
    distances = {name: distance(ours, theirs[name]) for name, ours in found.items()}
    assert {name: value for name, value in distances.items() if not value < TOLERANCE} == {}


def test_features(cases, monkeypatch):
    ids = cases["ids"]
    model, inputs, theirs = ids.model, ids.inputs, ids.theirs
    settings = ids.settings | {"mask": np.arange(TOKENS)}
    exact = jv.shapley_values(model, inputs, **settings)
    orders, coalitions = theirs["orders"], jnp.asarray(theirs["coalitions"])
    monkeypatch.setattr(shapley, "orders", lambda *_: jnp.asarray(np.argsort(orders, axis=1)))
    sampler = lambda key, samples, groups: coalitions
    lime = {"samples": len(coalitions), "strength": 0.001, "sampler": sampler, "key": KEY}
    found = {
        "feature_ablation": jv.feature_ablation(model, inputs, **settings),
        "occlusion": jv.occlusion(model, inputs, window=2, stride=1, **ids.settings),
        "shapley_values": exact,
        "shapley_sampling": jv.shapley_sampling(model, inputs, samples=len(orders), key=KEY, **settings),
        "lime/coalitions": jv.lime(model, inputs, **lime, **settings),
    }
    distances = {name: distance(ours, theirs[name]) for name, ours in found.items()}
    assert {name: value for name, value in distances.items() if not value < TOLERANCE} == {}
    assert distance(jv.kernel_shap(model, inputs, key=KEY, **settings), theirs["shapley_values"]) < TOLERANCE
    # Captum's 3000 draws among 30 coalitions.
    assert distance(theirs["kernel_shap"], np.asarray(exact, np.float64)) < 0.05
    # By default it weighs samples by the cosine of the ids, as if they were amounts.
    assert distance(theirs["lime"], theirs["lime/coalitions"]) > 1e-3


def test_features_of_numbers(numbers):
    model, inputs, theirs = numbers.model, numbers.inputs, numbers.theirs
    settings = numbers.settings | {"mask": np.arange(TOKENS)[:, None]}
    assert distance(jv.feature_ablation(model, inputs, **settings), theirs["feature_ablation"]) < TOLERANCE
    assert distance(jv.shapley_values(model, inputs, **settings), theirs["shapley_values"]) < TOLERANCE


def test_deeplift_is_complete_where_captums_is_not(numbers):
    """It sees the module of GELU there, and neither layer norms, nor softmax, nor products."""
    rows = np.arange(len(numbers.target)), numbers.target
    scores = [
        np.asarray(numbers.model(points), np.float64)[rows]
        for points in (numbers.inputs, numbers.baseline[None] + 0 * numbers.inputs)
    ]
    ours = jv.deeplift(numbers.model, numbers.inputs, **numbers.settings)
    assert distance(ours.sum((1, 2)), scores[0] - scores[1]) < TOLERANCE
    assert distance(numbers.theirs["captum deeplift"].sum((1, 2)), scores[0] - scores[1]) > 0.1

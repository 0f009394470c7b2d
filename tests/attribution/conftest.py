"""The networks that Captum's figures are of; the figures are made by `tests/reference/captum_figures.py`."""

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

FILE = Path(__file__).parents[1] / "reference" / "captum_figures.npz"

FEW_POINTS = pytest.mark.filterwarnings("ignore:.* do not sum to what the score differs by:UserWarning")


def pytest_collection_modifyitems(items):
    """Lets the tests of this folder take few points on a path, which is warned of; `test_warned_of.py` is about that."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(FEW_POINTS)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        exact_gelu = lambda x: nn.gelu(x, approximate=False)
        for activation in (nn.tanh, nn.relu, nn.sigmoid, exact_gelu, nn.silu, nn.elu):
            x = activation(nn.Dense(12)(x))
        return nn.Dense(3)(x)


class Cnn(nn.Module):
    @nn.compact
    def __call__(self, x):
        norm = lambda x: nn.BatchNorm(use_running_average=True, epsilon=1e-5)(x)
        x = nn.max_pool(nn.relu(norm(nn.Conv(8, (3, 3))(x))), (3, 3), (2, 2), ((1, 1), (1, 1)))
        y = nn.relu(norm(nn.Conv(8, (3, 3))(x)))
        x = jv.tag(nn.relu(norm(nn.Conv(8, (3, 3))(y)) + x), "features")
        return nn.Dense(4)(nn.max_pool(x, (2, 2), (2, 2)).mean((1, 2)))


def lstm(params: Any, x: jax.Array) -> jax.Array:
    def step(carry: Any, now: jax.Array) -> Any:
        hidden, cell = carry
        gates = now @ params["lstm.weight_ih_l0"] + hidden @ params["lstm.weight_hh_l0"] + params["bias"][None]
        entry, forget, new, out = jnp.split(gates, 4, axis=1)
        cell = nn.sigmoid(forget) * cell + nn.sigmoid(entry) * jnp.tanh(new)
        return (nn.sigmoid(out) * jnp.tanh(cell), cell), None

    zeros = jnp.zeros((x.shape[0], 5))
    (hidden, _), _ = jax.lax.scan(step, (zeros, zeros), jnp.moveaxis(x, 1, 0))
    return hidden @ params["layers.0.weight"] + params["layers.0.bias"][None]


class Reference(NamedTuple):
    model: jv.Model
    figures: dict[str, np.ndarray]


def _linen(weights: dict[str, np.ndarray], kind: str, name: str, number: int) -> dict[str, np.ndarray]:
    return {"kernel": weights[f"{name}.{number}.weight"], "bias": weights[f"{name}.{number}.bias"]}


def _model(name: str, weights: dict[str, np.ndarray]) -> jv.Model:
    if name == "lstm":
        bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
        return jv.Model.from_function(lstm, jax.tree.map(jnp.asarray, {**weights, "bias": bias}))
    if name == "mlp":
        return jv.Model.from_linen(
            Mlp(), {"params": {f"Dense_{i}": _linen(weights, "Dense", "layers", i) for i in range(7)}}
        )
    params = {f"Conv_{i}": _linen(weights, "Conv", "convs", i) for i in range(3)} | {
        "Dense_0": _linen(weights, "Dense", "layers", 0)
    }
    params |= {
        f"BatchNorm_{i}": {"scale": weights[f"norms.{i}.weight"], "bias": weights[f"norms.{i}.bias"]} for i in range(3)
    }
    statistics = {
        f"BatchNorm_{i}": {"mean": weights[f"norms.{i}.running_mean"], "var": weights[f"norms.{i}.running_var"]}
        for i in range(3)
    }
    return jv.Model.from_linen(Cnn(), {"params": params, "batch_stats": statistics})


@pytest.fixture(scope="session", params=["mlp", "cnn", "lstm"])
def reference(request: pytest.FixtureRequest) -> Reference:
    name = request.param
    with np.load(FILE) as stored:
        figures = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
    weights = {key.removeprefix("weights/"): value for key, value in figures.items() if key.startswith("weights/")}
    return Reference(_model(name, weights), figures)

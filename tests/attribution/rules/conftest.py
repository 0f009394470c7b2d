"""The networks that the figures of Captum are of; the figures are made by `tests/reference/deeplift_figures.py`."""

from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import numpy as np
import pytest

import jaxviz as jv

FILE = Path(__file__).parents[2] / "reference" / "deeplift_figures.npz"


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        leaky = lambda x: nn.leaky_relu(x, 0.1)
        for activation in (nn.tanh, nn.relu, nn.sigmoid, nn.softplus, nn.elu, leaky):
            x = activation(nn.Dense(12)(x))
        return nn.Dense(3)(x)


class Cnn(nn.Module):
    @nn.compact
    def __call__(self, x):
        norm = lambda x: nn.BatchNorm(use_running_average=True, epsilon=1e-5)(x)
        x = nn.max_pool(norm(nn.Conv(8, (3, 3))(x)), (2, 2), (2, 2))
        y = nn.relu(norm(nn.Conv(8, (3, 3))(x)))
        return nn.Dense(4)(nn.relu(norm(nn.Conv(8, (3, 3))(y)) + x).mean((1, 2)))


class Reference(NamedTuple):
    model: jv.Model
    figures: dict[str, np.ndarray]


def _variables(name: str, weights: dict[str, np.ndarray]) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    linear = lambda path: {"kernel": weights[f"{path}.weight"], "bias": weights[f"{path}.bias"]}
    if name == "mlp":
        return {"params": {f"Dense_{i}": linear(str(2 * i)) for i in range(7)}}
    parameters = {"Dense_0": linear("head")} | {f"Conv_{i}": linear(f"convs.{i}") for i in range(3)}
    statistics = {}
    for i in range(3):
        norm = {key: weights[f"norms.{i}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
        parameters[f"BatchNorm_{i}"] = {"scale": norm["weight"], "bias": norm["bias"]}
        statistics[f"BatchNorm_{i}"] = {"mean": norm["running_mean"], "var": norm["running_var"]}
    return {"params": parameters, "batch_stats": statistics}


@pytest.fixture(scope="session", params=["mlp", "cnn"])
def modules(request: pytest.FixtureRequest) -> Reference:
    """A network of modules, and what Captum says of it."""
    name = request.param
    with np.load(FILE) as stored:
        figures = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
    weights = {key.removeprefix("weights/"): value for key, value in figures.items() if key.startswith("weights/")}
    module = Mlp() if name == "mlp" else Cnn()
    return Reference(jv.Model.from_linen(module, _variables(name, weights)), figures)


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled(quickly_compiled):
    """Of all tests of rules."""

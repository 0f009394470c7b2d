"""LRP, and the gradient with smooth ReLUs, against what Zennit computed with the same weights.

The scripts are `lrp_figures.py` and `option_figures.py` in `tests/reference`.
"""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Stabilizer,
    WSquare,
    ZBox,
    ZPlus,
    epsilon_gamma_box,
    epsilon_plus,
    epsilon_plus_flat,
)

FOLDER = Path(__file__).parents[2] / "reference"
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}  # of the largest value


def norm(x: jax.Array) -> jax.Array:
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, dtype=x.dtype)(x)


def mean_pool(x: jax.Array, side: int) -> jax.Array:
    window = (1, side, side, 1)
    return jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, window, window, "VALID") / side**2


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        for activation in (nn.tanh, nn.relu, lambda x: nn.gelu(x, approximate=False), nn.silu, nn.sigmoid):
            x = activation(nn.Dense(10)(x))
        return nn.Dense(3)(x)


class Activations(nn.Module):
    @nn.compact
    def __call__(self, x):
        kinds = (nn.elu, nn.celu, nn.selu, nn.leaky_relu, nn.softplus, nn.soft_sign, nn.log_sigmoid, nn.relu6)
        for activation in (*kinds, nn.hard_tanh, nn.hard_sigmoid, nn.hard_swish):
            x = activation(nn.Dense(10)(x))
        return nn.Dense(3)(x)


class Cnn(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(norm(nn.Conv(8, (3, 3))(x))), (2, 2), (2, 2))
        convolution = nn.Conv(6, (3, 3), strides=2, padding="VALID", use_bias=False, feature_group_count=2)
        x = mean_pool(nn.relu(norm(convolution(x))), 2)
        return nn.Dense(4)(nn.relu(nn.Dense(12)(x.reshape(x.shape[0], -1))))


class Residual(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(norm(nn.Conv(6, (3, 3))(x)))
        for _ in range(2):
            y = nn.relu(norm(nn.Conv(6, (3, 3))(x)))
            x = nn.relu(norm(nn.Conv(6, (3, 3))(y)) + x)
        return nn.Dense(4)(x.mean((1, 2)))


# The names that torch gives to the layers, in the order in which Flax makes them.
NAMES: dict[str, Any] = {
    "mlp": (Mlp, {"Dense": [f"layers.{i}" for i in range(6)]}),
    "activations": (Activations, {"Dense": [str(2 * i) for i in range(12)]}),
    "cnn": (Cnn, {"Conv": ["0", "4"], "BatchNorm": ["1", "5"], "Dense": ["11", "9"]}),
    "residual": (
        Residual,
        {
            "Conv": ["stem.0", *(f"blocks.{i}.{j}" for i in range(2) for j in (0, 3))],
            "BatchNorm": ["stem.1", *(f"blocks.{i}.{j}" for i in range(2) for j in (1, 4))],
            "Dense": ["head"],
        },
    ),
}
FIRST = {"z-box": ZBox(-3.0, 3.0), "w-square": WSquare(), "flat": Flat()}


def ours(z: jax.Array) -> jax.Array:
    return z + 0.2 * jnp.where(z < 0, -1.0, 1.0).astype(z.dtype)


def first(rule: Any, other: Any) -> Composite:
    return Composite({"convolution": other, "dense": other}, {"convolution": rule, "dense": rule})


NORM, CLIP = Stabilizer(0.1, relative=True), Stabilizer(0.1, clip=True)
OPTIONS: dict[str, Any] = {
    "without bias epsilon": Epsilon(bias=False),
    "without bias gamma": Gamma(bias=False),
    "without bias alpha2 beta1": AlphaBeta(bias=False),
    "without bias z-plus": ZPlus(bias=False),
    "without bias z-box": first(ZBox(-3.0, 3.0), Epsilon(bias=False)),
    "without bias w-square": first(WSquare(bias=False), Epsilon(bias=False)),
    "without bias EpsilonPlusFlat": epsilon_plus_flat(epsilon=0.1, bias=False),
    "without bias EpsilonGammaBox": epsilon_gamma_box(-3.0, 3.0, epsilon=0.1, gamma=0.5, bias=False),
    "stabilizer clip": Epsilon(CLIP),
    "stabilizer norm": Epsilon(NORM),
    "stabilizer norm clip": Epsilon(Stabilizer(0.1, clip=True, relative=True)),
    "stabilizer norm channels": Epsilon(Stabilizer(0.1, relative=True, axes=(-1,))),
    "stabilizer function": Epsilon(ours),
    "stabilizers of EpsilonPlus": epsilon_plus(epsilon=NORM, stabilizer=CLIP),
    "more rules": epsilon_plus().extended(rules={"convolution": Gamma(0.5)}),
}
COMPOSITES: dict[str, Any] = {
    **OPTIONS,
    "epsilon": Epsilon(),
    "epsilon 0.1": Epsilon(0.1),
    "gamma": Gamma(),
    "gamma 1": Gamma(1.0),
    "alpha2 beta1": AlphaBeta(),
    "alpha3 beta2": AlphaBeta(3.0, 2.0),
    "z-plus": ZPlus(),
    "EpsilonGammaBox": epsilon_gamma_box(-3.0, 3.0),
    **{name: first(rule, Epsilon()) for name, rule in FIRST.items()},
    **{
        name: name
        for name in (
            "EpsilonPlus",
            "EpsilonPlusFlat",
            "EpsilonAlpha2Beta1",
            "EpsilonAlpha2Beta1Flat",
            "ExcitationBackprop",
        )
    },
}


class Case:
    """One network with its inputs, and what Zennit says of it."""

    def __init__(self, name: str, dtype: str) -> None:
        figures: dict[str, Any] = {}
        for file in ("lrp_figures.npz", "option_figures.npz"):
            with np.load(FOLDER / file) as stored:
                figures |= {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(name)}
        module, names = NAMES[name]
        weights = {key: value.astype(dtype) for key, value in figures.items() if key.startswith("weights/")}
        params: dict[str, Any] = {}
        statistics: dict[str, Any] = {}
        for kind, layers in names.items():
            for number, layer in enumerate(layers):
                kernel = "scale" if kind == "BatchNorm" else "kernel"
                params[f"{kind}_{number}"] = {kernel: weights[f"weights/{layer}.weight"]}
                if f"weights/{layer}.bias" in weights:
                    params[f"{kind}_{number}"]["bias"] = weights[f"weights/{layer}.bias"]
                if kind == "BatchNorm":
                    mean, var = (weights[f"weights/{layer}.running_{which}"] for which in ("mean", "var"))
                    statistics[f"{kind}_{number}"] = {"mean": mean, "var": var}
        variables = {"params": params, "batch_stats": statistics}
        self.model = jv.Model.from_linen(module(), jax.tree.map(jnp.asarray, variables))
        self.inputs, self.target, self.figures = figures["inputs"].astype(dtype), figures["target"], figures

    def distance(self, ours: Any, name: str) -> float:
        """The largest difference, as a part of the largest value."""
        theirs = self.figures[name]
        assert ours.shape == theirs.shape
        assert ours.dtype == self.inputs.dtype
        return float(np.abs(np.asarray(ours, np.float64) - theirs).max() / np.abs(theirs).max())


# Compiling takes its time: each rule is on one network at least.
CHOSEN = [
    (
        "mlp",
        "float64",
        ("epsilon", "epsilon 0.1", "gamma", "gamma 1", "alpha2 beta1", "alpha3 beta2", "flat", "w-square"),
    ),
    ("mlp", "float32", ("epsilon", "gamma")),
    ("activations", "float64", ("epsilon", "gamma", "alpha2 beta1")),
    ("cnn", "float64", ("epsilon", "z-plus", "ExcitationBackprop", "EpsilonGammaBox", "EpsilonAlpha2Beta1Flat")),
    ("cnn", "float32", ("epsilon", "epsilon 0.1", "EpsilonPlusFlat")),
    ("residual", "float64", ("epsilon", "epsilon 0.1")),
    ("mlp", "float64", tuple(name for name in OPTIONS if "Epsilon" not in name and name != "more rules")),
    (
        "cnn",
        "float64",
        ("without bias EpsilonGammaBox", "stabilizer norm channels", "stabilizers of EpsilonPlus", "more rules"),
    ),
]


@pytest.mark.parametrize(
    ("name", "dtype", "composites"), CHOSEN, ids=[f"{name} {dtype} {rules[0]}" for name, dtype, rules in CHOSEN]
)
def test_zennit(name, dtype, composites):
    with jax.enable_x64(dtype == "float64"):
        case = Case(name, dtype)
        assert case.distance(case.model(case.inputs), "outputs") < TOLERANCE[dtype]
        distances = {
            rule: case.distance(jv.lrp(case.model, case.inputs, target=case.target, composite=COMPOSITES[rule]), rule)
            for rule in composites
        }
    assert {rule: distance for rule, distance in distances.items() if not distance < TOLERANCE[dtype]} == {}


def test_a_sum_without_a_module_counts_once():
    """There it counts twice, once for each operand: two blocks, about four times the relevance."""
    case = Case("residual", "float32")
    ours = jv.lrp(case.model, case.inputs, target=case.target, composite="EpsilonPlus").sum(axis=(1, 2, 3))
    scores = case.figures["outputs"][np.arange(3), case.target]
    functional = case.figures["residual/functional EpsilonPlus".removeprefix("residual/")].sum(axis=(1, 2, 3))
    same = case.figures["EpsilonPlus"].sum(axis=(1, 2, 3))
    assert np.abs(ours - same).max() < 1e-5 * np.abs(same).max()
    assert np.abs(functional / same).min() > 1.5
    assert np.abs(ours - scores).max() < np.abs(functional - scores).min()


def test_relevance_from_one():
    """Zennit's `attr_output`: relevance starts from what the score is divided by, too."""
    with jax.enable_x64(True):
        case = Case("cnn", "float64")
        target = jnp.asarray(case.target)

        def one(outputs: jax.Array) -> jax.Array:
            scores = outputs[jnp.arange(3), target]
            return scores / jax.lax.stop_gradient(scores)

        found = jv.lrp(case.model, case.inputs, target=one)
        assert case.distance(found, "relevance of one") < TOLERANCE["float64"]


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_beta_smooth(name):
    with jax.enable_x64(True):
        case = Case(name, "float64")
        maps = {beta: jv.beta_smooth(case.model, case.inputs, target=case.target, beta=beta) for beta in (1, 10)}
        gradient = jv.gradient(case.model, case.inputs, target=case.target)
        for beta, found in maps.items():
            assert case.distance(found, f"beta smooth {beta}") < TOLERANCE["float64"]
            assert case.distance(gradient, f"beta smooth {beta}") > 1e-3
        steep = jv.beta_smooth(case.model, case.inputs, target=case.target, beta=1e9)
        np.testing.assert_allclose(steep, gradient, atol=1e-12)


def test_occlusion_of_all_but_the_window():
    """What Zennit's occlusion is by default: the score where the window is seen alone."""
    with jax.enable_x64(True):
        case = Case("cnn", "float64")
        zeros = jnp.zeros(case.inputs.shape)
        lost = jv.occlusion(case.model, zeros, target=case.target, window=4, baseline=case.inputs)
        scores = case.model(zeros)[jnp.arange(3), jnp.asarray(case.target)]
        assert case.distance(scores[:, None, None, None] - lost, "only the window") < TOLERANCE["float64"]

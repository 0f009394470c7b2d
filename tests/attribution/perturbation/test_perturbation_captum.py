"""Perturbation methods against figures that Captum computed with the same weights, and the same draws."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.attribution.perturbation import shapley

FILE = Path(__file__).parents[2] / "reference" / "perturbation_figures.npz"
TOLERANCE = 1e-5  # of the largest value
KEY = jax.random.key(0)
WINDOWS: dict[tuple[int, ...], dict[str, Any]] = {
    (6,): {"plain": (3, None), "overlapping": (3, 2)},
    (12, 12, 2): {"plain": (4, None), "overlapping": (5, 3), "channelwise": ((5, 4, 1), (2, 3))},
    (7, 3): {"plain": (2, None), "overlapping": ((4, 2), (2, 1))},
}


@pytest.fixture(scope="session")
def case(reference):
    """The model; inputs, target and baseline; the mask; Captum's figures."""
    model, figures = reference
    name = {1: "mlp", 3: "cnn", 2: "lstm"}[figures["inputs"][0].ndim]
    with np.load(FILE) as stored:
        captum = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
    settings = {"target": figures["target"], "baseline": figures["baseline"]}
    return model, figures["inputs"], settings, captum


def close(ours: Any, theirs: np.ndarray, tolerance: float = TOLERANCE) -> None:
    theirs = theirs.astype(np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(np.asarray(ours, np.float64) - theirs).max() <= tolerance * np.abs(theirs).max()


def test_feature_ablation(case):
    model, inputs, settings, captum = case
    close(jv.feature_ablation(model, inputs, **settings), captum["feature_ablation"])
    close(jv.feature_ablation(model, inputs, mask=captum["mask"], **settings), captum["feature_ablation/mask"])


def test_occlusion(case):
    model, inputs, settings, captum = case
    for kind, (window, stride) in WINDOWS[inputs.shape[1:]].items():
        close(jv.occlusion(model, inputs, window=window, stride=stride, **settings), captum[f"occlusion/{kind}"])


def test_shapley_values(case):
    model, inputs, settings, captum = case
    close(jv.shapley_values(model, inputs, mask=captum["mask"], **settings), captum["shapley_values"])


@pytest.mark.parametrize("reference", ["mlp"], indirect=True)
def test_shapley_sampling_in_the_same_orders(case, monkeypatch):
    model, inputs, settings, captum = case
    orders = captum["orders"]
    monkeypatch.setattr(shapley, "orders", lambda *_: jnp.asarray(np.argsort(orders, axis=1)))
    ours = jv.shapley_sampling(model, inputs, mask=captum["mask"], samples=len(orders), key=KEY, **settings)
    close(ours, captum["shapley_sampling"])


@pytest.mark.parametrize("reference", ["mlp", "cnn"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "how"),
    [("lasso", {"strength": 0.001}), ("ridge", {"surrogate": "ridge", "kernel": "euclidean", "kernel_width": 4.0})],
)
def test_lime_on_the_same_coalitions(case, kind, how):
    model, inputs, settings, captum = case
    rows = jnp.asarray(captum["coalitions"])
    ours = jv.lime(
        model,
        inputs,
        mask=captum["mask"],
        samples=len(rows),
        sampler=lambda key, samples, groups: rows,
        key=KEY,
        **how,
        **settings,
    )
    close(ours, captum[f"lime/{kind}"], 1e-4)


@pytest.mark.parametrize("reference", ["mlp"], indirect=True)
def test_kernel_shap_within_the_error_of_sampling(case):
    model, inputs, settings, captum = case
    ours = jv.kernel_shap(model, inputs, mask=captum["mask"], key=KEY, **settings)
    close(ours, captum["shapley_values"], 1e-5)
    # Captum's 3000 draws among 30 coalitions
    close(captum["kernel_shap"], np.asarray(ours), 0.05)

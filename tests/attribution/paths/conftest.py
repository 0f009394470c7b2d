"""Networks in float64 with the weights that `saliency`'s figures are of; these are made by `tests/reference/path_figures.py`."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

FILE = Path(__file__).parents[2] / "reference" / "path_figures.npz"


class Case(NamedTuple):
    """Call it under 64-bit types."""

    model: jv.Model
    inputs: jax.Array
    baseline: jax.Array
    target: np.ndarray
    figures: dict[str, np.ndarray]


@pytest.fixture
def double(reference):
    """A network and its inputs in float64."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # Flax promotes statistics in norms
        widen = lambda leaf: jnp.asarray(leaf, jnp.float64)
        model, figures = reference
        name = "cnn" if figures["inputs"].ndim == 4 else "mlp"
        with np.load(FILE) as stored:
            found = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
        inputs = widen(figures["inputs"])
        yield Case(
            model.with_params(jax.tree.map(widen, model.params)),
            inputs,
            jnp.broadcast_to(widen(figures["baseline"]), inputs.shape),
            figures["target"],
            found,
        )

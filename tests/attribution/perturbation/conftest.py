"""A small network of six features, and its score in numpy, against which naive formulas are computed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv


class Small(NamedTuple):
    model: jv.Model
    inputs: np.ndarray
    baseline: np.ndarray
    score: Callable[[np.ndarray], np.ndarray]  # of output 1, in float64

    def worth(self, present: Any, example: int) -> float:
        """The score of an example whose features stand at the baseline where they are not present."""
        return float(self.score(np.where(present, self.inputs[example], self.baseline)))


def apply(params: Any, inputs: jax.Array) -> jax.Array:
    return jnp.tanh(inputs @ params[0]) @ params[1]


@pytest.fixture(scope="session")
def small() -> Small:
    random = np.random.default_rng(0)
    weights = random.normal(size=(6, 16)), random.normal(size=(16, 3))
    inputs, baseline = random.normal(size=(3, 6)), random.normal(size=6) / 3
    model = jv.Model.from_function(apply, tuple(np.float32(weight) for weight in weights))
    score = lambda x: (np.tanh(x @ np.float32(weights[0]).astype(float)) @ np.float32(weights[1]).astype(float))[..., 1]
    return Small(model, inputs.astype(np.float32), baseline.astype(np.float32), score)

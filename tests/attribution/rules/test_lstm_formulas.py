"""DeepLIFT and LRP of an LSTM, which Captum and Zennit have no rules for, against the formulas, followed forwards in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

pytestmark = pytest.mark.parametrize("reference", ["lstm"], indirect=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Contributions(NamedTuple):
    """A vector, its reference, and what each input contributes to the difference of the two, `(inputs, size)`: DeepLIFT."""

    value: np.ndarray
    reference: np.ndarray
    parts: np.ndarray

    @classmethod
    def of_inputs(cls, value, baseline):
        """Each contributes to itself."""
        return cls(value, baseline, np.diag(value - baseline))

    @classmethod
    def zeros(cls, size, inputs):
        """A constant."""
        return cls(np.zeros(size), np.zeros(size), np.zeros((inputs, size)))

    def __matmul__(self, matrix):
        return Contributions(self.value @ matrix, self.reference @ matrix, self.parts @ matrix)

    def __add__(self, other):
        if isinstance(other, np.ndarray):
            return Contributions(self.value + other, self.reference + other, self.parts)
        return Contributions(*(one + two for one, two in zip(self, other, strict=True)))

    def __mul__(self, other):
        mean = lambda term: (term.value + term.reference) / 2
        parts = self.parts * mean(other) + other.parts * mean(self)
        return Contributions(self.value * other.value, self.reference * other.reference, parts)

    def apply(self, function):
        """The rescale rule."""
        value, reference = function(self.value), function(self.reference)
        return Contributions(value, reference, self.parts * (value - reference) / (self.value - self.reference))

    def __getitem__(self, index):
        return Contributions(self.value[index], self.reference[index], self.parts[:, index])


class Shares(NamedTuple):
    """A vector, and the share that each input has in the relevance of its elements, `(inputs, size)`: LRP."""

    value: np.ndarray
    parts: np.ndarray

    @classmethod
    def of_inputs(cls, value, baseline):
        """Each has all of its own."""
        return cls(value, np.eye(len(value)))

    @classmethod
    def zeros(cls, size, inputs):
        """A constant."""
        return cls(np.zeros(size), np.zeros((inputs, size)))

    def __matmul__(self, matrix):
        value = self.value @ matrix
        return Shares(value, (self.parts * self.value) @ matrix / stable(value))

    def __add__(self, other):
        if isinstance(other, np.ndarray):
            return Shares(self.value + other, self.parts)
        value = self.value + other.value
        return Shares(value, (self.parts * self.value + other.parts * other.value) / stable(value))

    def __mul__(self, other):
        return Shares(self.value * other.value, (self.parts + other.parts) / 2)

    def apply(self, function):
        """Relevance passes."""
        return Shares(function(self.value), self.parts)

    def __getitem__(self, index):
        return Shares(self.value[index], self.parts[:, index])


def stable(z):
    return z + np.where(z < 0, -1e-6, 1e-6)


def lstm(weights: dict[str, np.ndarray], x: Any) -> Any:
    """The outputs of the network of `tests/attribution/conftest.py`, for one example, `(steps * features,)`."""
    hidden = cell = x.zeros(5, 21)
    for step in range(7):
        gates = (
            x[3 * step : 3 * step + 3] @ weights["lstm.weight_ih_l0"]
            + hidden @ weights["lstm.weight_hh_l0"]
            + weights["bias"]
        )
        entry, forget, new, out = (gates[5 * gate : 5 * gate + 5] for gate in range(4))
        cell = forget.apply(sigmoid) * cell + entry.apply(sigmoid) * new.apply(np.tanh)
        hidden = out.apply(sigmoid) * cell.apply(np.tanh)
    return hidden @ weights["layers.0.weight"]


def explained(reference: Any, kind: Any, method: Callable[..., Any], last: Callable[..., np.ndarray]) -> float:
    """The largest difference of the method from the formula, as a share of the largest value.

    Args:
        reference: the network and its inputs.
        kind: what is followed.
        method: called with model, inputs, target and baseline.
        last: makes the attribution of what is there before the last bias, that bias, and the target.
    """
    model, figures = reference
    weights = {name: np.asarray(value, np.float64) for name, value in model.params.items()}
    rows = []
    for inputs, baseline, target in zip(figures["inputs"], figures["baseline"], figures["target"], strict=True):
        outputs = lstm(weights, kind.of_inputs(*(np.float64(array).reshape(-1) for array in (inputs, baseline))))
        rows.append(last(outputs, weights["layers.0.bias"], target).reshape(inputs.shape))
    with jax.enable_x64(True):
        model, inputs, baseline = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), (model, figures["inputs"], figures["baseline"])
        )
        ours = method(model, inputs, target=figures["target"], baseline=baseline)
    theirs = np.stack(rows)
    assert ours.shape == theirs.shape
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


def test_deeplift(reference):
    last = lambda outputs, bias, target: outputs.parts[:, target]
    found = explained(reference, Contributions, jv.deeplift, last)
    assert found < 1e-12


def test_lrp(reference):
    def last(outputs: Shares, bias: np.ndarray, target: int) -> np.ndarray:
        score = outputs.value[target] + bias[target]
        # The bias is one of the last layer's own, which is stabilized with it.
        return outputs.parts[:, target] * stable(outputs.value[target]) / stable(score) * score

    method = lambda model, inputs, target, baseline: jv.lrp(model, inputs, target=target)
    found = explained(reference, Shares, method, last)
    assert found < 1e-12

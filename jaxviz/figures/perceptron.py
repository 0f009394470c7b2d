"""A multilayer perceptron as it is drawn: its layers, and what is known of its neurons and connections, checked."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxviz.figures import checks

MOST_NEURONS = 32  # in one layer; more cannot be told apart in a figure one screen high
MOST_NUMBERS = 16  # connections between two layers that still have room for their numbers


class Perceptron(NamedTuple):
    """What is drawn of a network. What is not given is None.

    Attributes:
        sizes: neurons of each layer, inputs first.
        names: the name of each neuron, by layer.
        has_numbers: whether numbers are written beside the lines.
        weights: `(inputs, outputs)` of each layer of connections.
        biases: `(outputs,)` of each layer of connections.
        activations: `(neurons,)` of each layer.
        gradients: of the weights.
        bias_gradients: of the biases.
    """

    sizes: list[int]
    names: list[list[str]]
    has_numbers: bool
    weights: list[np.ndarray] | None
    biases: list[np.ndarray] | None
    activations: list[np.ndarray] | None
    gradients: list[np.ndarray] | None
    bias_gradients: list[np.ndarray] | None

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer of connections."""
        return list(itertools.pairwise(self.sizes))


def perceptron(
    where: str,
    weights: Any,
    biases: Any,
    activations: Any,
    gradients: Any,
    bias_gradients: Any,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    values: bool | None,
) -> Perceptron:
    """The network of these arguments of `network_diagram`; raises unless they fit each other and can be drawn."""
    kernels, sizes = _weights(where, weights)
    if kernels is None and (biases is not None or gradients is not None or bias_gradients is not None):
        raise ValueError(f"{where}: biases and gradients need weights; weights holds the sizes of the layers alone")
    shapes = list(itertools.pairwise(sizes))
    bias = _like(where, "biases", biases, [(n,) for n in sizes[1:]], "layer of connections")
    slope = _like(where, "gradients", gradients, shapes, "layer of connections")
    bias_slope = _like(where, "bias_gradients", bias_gradients, [(n,) for n in sizes[1:]], "layer of connections")
    active = _like(where, "activations", activations, [(n,) for n in sizes], "layer of neurons")
    largest = max(a * b for a, b in shapes)
    if values and largest > MOST_NUMBERS:
        raise ValueError(
            f"{where}: values can be written for at most {MOST_NUMBERS} connections between two layers, "
            f"got {largest}; give values=False"
        )
    has_numbers = kernels is not None and (largest <= MOST_NUMBERS if values is None else values)
    names = _names(where, sizes, input_names, output_names)
    return Perceptron(sizes, names, has_numbers, kernels, bias, active, slope, bias_slope)


def _weights(where: str, weights: Any) -> tuple[list[np.ndarray] | None, list[int]]:
    items = list(weights) if isinstance(weights, list | tuple | np.ndarray) else None
    if items is None or not items:
        raise TypeError(
            f"{where}: weights must be a sequence of arrays (inputs, outputs), or of layer sizes, got {type(weights).__name__}"
        )
    kernels: list[np.ndarray] | None = None
    if not any(isinstance(item, list | tuple) or getattr(item, "ndim", 0) for item in items):
        if len(items) < 2:
            raise ValueError(f"{where}: a network has at least 2 layers of neurons, got sizes {tuple(items)}")
        sizes = [checks.check_count(where, "every size in weights", item) for item in items]
    else:
        kernels = [checks.as_numbers(where, f"weights[{i}]", item) for i, item in enumerate(items)]
        for i, kernel in enumerate(kernels):
            if kernel.ndim != 2 or 0 in kernel.shape:
                raise ValueError(f"{where}: weights[{i}] must have shape (inputs, outputs), got {kernel.shape}")
            if i and kernel.shape[0] != kernels[i - 1].shape[1]:
                raise ValueError(
                    f"{where}: weights[{i}] has {kernel.shape[0]} inputs, but weights[{i - 1}] has "
                    f"{kernels[i - 1].shape[1]} outputs; weights have shape (inputs, outputs)"
                )
        sizes = [kernels[0].shape[0], *(kernel.shape[1] for kernel in kernels)]
    if max(sizes) > MOST_NEURONS or len(sizes) > 9:
        raise ValueError(
            f"{where}: at most {MOST_NEURONS} neurons in a layer and 9 layers can be drawn, got sizes {tuple(sizes)}; "
            "layer_diagram shows larger networks"
        )
    return kernels, sizes


def _like(where: str, name: str, given: Any, shapes: Sequence[tuple[int, ...]], what: str) -> list[np.ndarray] | None:
    if given is None:
        return None
    items = list(given)
    if len(items) != len(shapes):
        raise ValueError(f"{where}: {name} must have one array per {what}, {len(shapes)} in all, got {len(items)}")
    arrays = [checks.as_numbers(where, f"{name}[{i}]", item) for i, item in enumerate(items)]
    for i, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
        if array.shape != shape:
            hint = (
                "; for one example of a batch give activation[i]" if name == "activations" and array.ndim == 2 else ""
            )
            raise ValueError(f"{where}: {name}[{i}] must have shape {shape}, got {array.shape}{hint}")
    return arrays


def _names(
    where: str, sizes: Sequence[int], inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> list[list[str]]:
    first = checks.check_names(where, "input_names", inputs, sizes[0], "input") or [
        f"x{i + 1}" for i in range(sizes[0])
    ]
    ends = ["y"] if sizes[-1] == 1 else [f"y{i + 1}" for i in range(sizes[-1])]
    last = checks.check_names(where, "output_names", outputs, sizes[-1], "output") or ends
    single = len(sizes) == 3
    hidden = [
        [f"h{i + 1}" if single else f"h{k},{i + 1}" for i in range(n)] for k, n in enumerate(sizes[1:-1], start=1)
    ]
    return [first, *hidden, last]

"""The table of a model's layers, as Keras and torchinfo users know it."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jaxviz import views
from jaxviz.inputs import calling, check_inputs
from jaxviz.layers import Layer, layer_records, size
from jaxviz.model import Model, check_model
from jaxviz.tables import as_html, as_text

_COLUMNS = ("Layer", "Kind", "Output shape", "Parameters", "FLOPs", "Memory")
_TEXTS = 3  # columns that are aligned left


@dataclass(frozen=True)
class Summary:
    """A model's layers and totals. Shows itself as text, and as a table in a notebook.

    Attributes:
        layers: one record per call of each layer, as `Model.layers` gives them.
        parameters: how many trained numbers the model has.
        state: how many other numbers it keeps (batch statistics, say).
        flops: floating-point operations of one call with these inputs; a multiplication and an addition are two.
        parameter_bytes: memory of parameters and state.
        input_bytes: memory of the inputs.
        activation_bytes: memory of the outputs of all layers that have no inner layers, were all kept, as training does.
    """

    layers: tuple[Layer, ...]
    parameters: int
    state: int
    flops: int
    parameter_bytes: int
    input_bytes: int
    activation_bytes: int

    def __str__(self) -> str:
        lines = as_text(_COLUMNS, self._rows(), left=_TEXTS)
        return "\n".join([*lines, "", *(f"{name}: {value}" for name, value in self._totals())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        totals = "<br>".join(f"{html.escape(name)}: <b>{html.escape(value)}</b>" for name, value in self._totals())
        return f"{as_html(_COLUMNS, self._rows(), left=_TEXTS)}<p>{totals}</p>"

    def _rows(self) -> list[list[str]]:
        return [[prefix + _name(layer), *_cells(layer)] for prefix, layer in _tree(self.layers)]

    def _totals(self) -> list[tuple[str, str]]:
        return [
            ("Parameters", f"{self.parameters:,}"),
            *([("Other state (batch statistics and the like)", f"{self.state:,}")] if self.state else []),
            ("FLOPs", _count(self.flops)),
            ("Memory of parameters", _bytes(self.parameter_bytes)),
            ("Memory of inputs", _bytes(self.input_bytes)),
            ("Memory of activations", _bytes(self.activation_bytes)),
        ]


def summary(model: Model, inputs: Any) -> Summary:
    """The layers of a model as a tree, with shapes, parameters, FLOPs and memory.

    Nothing is computed: the model is only traced.

    Args:
        model: the model.
        inputs: an array, or a tuple of arrays; `jax.ShapeDtypeStruct` may stand in their place. Shapes, FLOPs and memory are for
            this batch.

    Returns:
        A `Summary`, which prints as a table and shows itself as one in a notebook.

    Raises:
        TypeError: if model is not a `Model`, or inputs are not arrays.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, jaxviz as jv
        >>> module = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(2)])
        >>> inputs = jnp.ones((8, 4))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), inputs))
        >>> print(jv.summary(model, inputs))
        Layer      Kind    Output shape   Parameters   FLOPs   Memory
        ─────────────────────────────────────────────────────────────
        layers_0   Dense   (8, 16)                80   1.15k    512 B
        layers_2   Dense   (8, 2)                 34     528     64 B
        <BLANKLINE>
        Parameters: 114
        FLOPs: 1.81k
        Memory of parameters: 456 B
        Memory of inputs: 128 B
        Memory of activations: 576 B
    """
    check_model("summary", model)
    check_inputs("summary", inputs)
    with calling("summary"):
        program = views.program(model, inputs)
    parameters = model.apply.parameters(model.params)
    layers = layer_records(parameters, program, inputs)
    count, _ = size(parameters)
    whole, parameter_bytes = size(model.params)
    return Summary(
        layers=tuple(layers),
        parameters=count,
        state=whole - count,
        flops=program.flops,
        parameter_bytes=parameter_bytes,
        input_bytes=size(inputs)[1],
        activation_bytes=sum(layer.nbytes for layer, inner in _nested(layers) if not inner and layer.kind != "tag"),
    )


def _nested(layers: Any) -> list[tuple[Layer, list[Any]]]:
    """The layers as a forest: each with its inner layers. A layer stands after those inside it, so they lie on the stack."""
    stack: list[tuple[Layer, list[Any]]] = []
    flat: list[tuple[Layer, list[Any]]] = []
    for layer in layers:
        inner = []
        while stack and stack[-1][0].depth > layer.depth:
            inner.append(stack.pop())
        stack.append((layer, inner[::-1]))
        flat.append(stack[-1])
    return flat


def _tree(layers: tuple[Layer, ...]) -> Iterator[tuple[str, Layer]]:
    """The layers from the outer to the inner, each with the lines of the tree before it."""
    flat = _nested(layers)

    def walk(nodes: list[Any], indent: str, top: bool) -> Iterator[tuple[str, Layer]]:
        for index, (layer, inner) in enumerate(nodes):
            last = index == len(nodes) - 1
            yield ("" if top else indent + ("└─ " if last else "├─ ")), layer
            yield from walk(inner, "" if top else indent + ("   " if last else "│  "), False)

    yield from walk([node for node in flat if node[0].depth == 0], "", True)


def _name(layer: Layer) -> str:
    return layer.path if layer.depth == 0 else layer.path.rsplit("/", 1)[-1]


def _cells(layer: Layer) -> list[str]:
    again = "#" in layer.path
    parameters = "(shared)" if again else f"{layer.parameters:,}" if layer.parameters else "–"
    return [
        layer.kind,
        _shape(layer.shape),
        parameters,
        "–" if layer.flops is None else _count(layer.flops),
        _bytes(layer.nbytes),
    ]


def _shape(shape: Any) -> str:
    return " ".join(map(str, shape)) if shape and isinstance(shape[0], tuple) else str(shape)


def _count(number: int) -> str:
    return _scaled(number, 1000, ("", "k", "M", "G", "T", "P"))


def _bytes(number: int) -> str:
    return _scaled(number, 1024, (" B", " KiB", " MiB", " GiB", " TiB", " PiB"))


def _scaled(number: int, base: int, units: tuple[str, ...]) -> str:
    value, power = float(number), 0
    while value >= base and power < len(units) - 1:
        value, power = value / base, power + 1
    digits = f"{value:.0f}" if power == 0 else f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return digits + units[power]

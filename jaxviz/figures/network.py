"""The diagram of a small network: neurons, weights as lines, activations as node colors, gradients beside them."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle

from jaxviz.figures import canvas, palette
from jaxviz.figures.perceptron import Perceptron, perceptron
from jaxviz.figures.scale import shared_scale

RADIUS = 0.29  # inches
WIDTHS = (0.8, 6.0)  # points, of the weakest and the strongest connection
ROOM = {"boxstyle": "round,pad=0.12", "facecolor": palette.PAPER, "edgecolor": "none", "alpha": 0.92}


def network_diagram(
    weights: Sequence[int] | Sequence[npt.ArrayLike],
    biases: Sequence[npt.ArrayLike] | None = None,
    *,
    activations: Sequence[npt.ArrayLike] | None = None,
    gradients: Sequence[npt.ArrayLike] | None = None,
    bias_gradients: Sequence[npt.ArrayLike] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    values: bool | None = None,
    title: str | None = None,
) -> canvas.Figure:
    """Draws a multilayer perceptron: a circle for each neuron, a line for each weight.

    Weights are the lines' color (orange positive, blue negative, on one scale symmetric about 0) and width. Activations are the
    circles' color and number. Small networks have their weights, biases and gradients written beside the lines. What is NaN or
    inf is yellow, and a note counts it.

    Args:
        weights: for each layer of connections its weights `(inputs, outputs)`, as `kernel` in Flax; or the sizes of the layers
            alone, such as `(2, 2, 1)`. At most 32 neurons in a layer.
        biases: for each layer of connections `(outputs,)`.
        activations: for each layer of neurons, inputs first, `(neurons,)`: of one example.
        gradients: of the weights, of the same shapes; written as ∂ under the weight.
        bias_gradients: of the biases, of the same shapes.
        input_names: names of the inputs; by default x1, x2, ...
        output_names: names of the outputs; by default y1, y2, ... or y.
        values: whether numbers are written beside the lines; by default where no two layers have more than 16 connections.
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: shapes do not fit each other, a layer is too large, values of a larger network are asked for, or gradients
            come without weights.
        TypeError: something is not made of real numbers.

    Example:
        >>> weights = [[[1.0, -2.0], [0.5, 3.0]], [[1.0], [-1.0]]]
        >>> figure = network_diagram(weights, [[0.0, 0.1], [0.2]], activations=[[0, 1], [0.6, 0.9], [0.4]])
        >>> len(figure.axes[0].patches)  # neurons
        5
    """
    net = perceptron(
        "network_diagram",
        weights,
        biases,
        activations,
        gradients,
        bias_gradients,
        input_names,
        output_names,
        values,
    )
    plan = _planned(net, title)
    figure = canvas.sheet(plan.width, plan.height, layout=None)
    axes = canvas.blank_panel(figure, plan.width, plan.height)
    strongest = 0.0 if net.weights is None else max(float(np.abs(_finite(each)).max()) for each in net.weights)
    strongest = strongest or 1.0
    low, high, map = _activation_range(net.activations)
    _draw_connections(axes, net, plan, strongest)
    for k, places in enumerate(plan.places):
        for i in range(len(places)):
            _draw_neuron(axes, net, plan, k, i, low, high, map)
    _headings(axes, plan)
    if title is not None:
        heading = canvas.wrap(title, plan.width * 0.88, canvas.TITLE + 1, 1)
        canvas.write(axes, plan.width / 2, plan.height - 0.22, heading, size=canvas.TITLE + 1, weight="bold")
    bars = [("weight", "diverging", -strongest, strongest)] if net.weights is not None else []
    bars += [("activation", map, low, high)] if net.activations is not None else []
    _color_bars(figure, plan, bars)
    if plan.note:
        settings: dict[str, Any] = {"size": canvas.NOTE, "color": palette.MUTED, "va": "bottom", "linespacing": 1.25}
        canvas.write(axes, plan.width / 2, 0.08, plan.note, **settings)
    return figure


class _Plan(NamedTuple):
    """Where everything is, in inches.

    Attributes:
        width: of the figure.
        height: of the figure.
        places: the middle of each neuron `(neurons, 2)`, by layer.
        radius: of a neuron.
        named: whether hidden neurons have their names above them.
        headings: the height at which the layers' headings stand.
        note: what is said at the foot, wrapped; nothing where all is finite.
        bars: the height at which the color bars stand.
    """

    width: float
    height: float
    places: list[np.ndarray]
    radius: float
    named: bool
    headings: float
    note: str
    bars: float


def _planned(net: Perceptron, title: str | None) -> _Plan:
    sizes, most = net.sizes, max(net.sizes)
    largest = max(a * b for a, b in net.shapes)
    # Labels of the connections from a layer stand at even distances pitch / (1 + outputs), see _write_weights.
    label = 0.4 if net.gradients is not None else 0.24
    has_biases = net.has_numbers and net.biases is not None
    below = 0.0 if not has_biases else 0.36 if net.bias_gradients is not None else 0.2
    pitch = max(0.8 if most <= 8 else 0.66, 2 * RADIUS + 0.22 + below)
    if net.has_numbers:
        pitch = max(pitch, max(label * (1 + b) for a, b in net.shapes if a * b > 1) if largest > 1 else 0.0)
    gap = 2.5 if net.has_numbers else 1.7
    crowded = most > 12 and not net.has_numbers
    pitch = 8.0 / most if crowded else pitch
    radius = min(RADIUS, 0.42 * pitch)
    outer = 0.35 + 0.075 * max(len(name) for name in (*net.names[0], *net.names[-1]))
    width = max(gap * (len(sizes) - 1) + 2 * (RADIUS + outer), 4.6)
    named = net.activations is not None and pitch > 2 * radius + 0.2
    top = (0.45 if title else 0.1) + (0.55 if named else 0.4)
    bars = net.weights is not None or net.activations is not None
    note = canvas.wrap(_missing(net), width - 0.3, canvas.NOTE)
    room = 0.16 * (note.count("\n") + 1) if note else 0.0
    foot = room + (0.75 if bars else 0.1) + below + 0.1
    tall = pitch * (most - 1) + 2 * radius
    middle = foot + tall / 2
    left = (width - gap * (len(sizes) - 1)) / 2
    places = [
        np.stack([np.full(n, left + gap * k), middle + pitch * ((n - 1) / 2 - np.arange(n))], axis=-1)
        for k, n in enumerate(sizes)
    ]
    headings = middle + tall / 2 + (0.4 if named else 0.26)
    return _Plan(width, top + tall + foot, places, radius, named, headings, note, room + 0.5)


def _missing(net: Perceptron) -> str:
    """What of the colors' values is not finite, in words."""
    colored = (("weights", net.weights), ("activations", net.activations))
    scales = [(name, shared_scale("network_diagram", arrays)) for name, arrays in colored if arrays is not None]
    said = [missing for name, scale in scales if (missing := scale.missing(name))]
    return f"{', '.join(said)}, shown in yellow." if said else ""


def _draw_connections(axes: Axes, net: Perceptron, plan: _Plan, strongest: float) -> None:
    for k, (start, end) in enumerate(itertools.pairwise(plan.places)):
        kernel = None if net.weights is None else net.weights[k]
        _draw_weights(axes, start, end, kernel, strongest)
        if net.has_numbers and kernel is not None:
            _write_weights(axes, start, end, kernel, None if net.gradients is None else net.gradients[k])


def _draw_neuron(axes: Axes, net: Perceptron, plan: _Plan, k: int, i: int, low: float, high: float, map: str) -> None:
    """Neuron i of layer k: its circle with what is in it, its name beside or above it, its bias below it."""
    (x, y), radius, active, name = plan.places[k][i], plan.radius, net.activations, net.names[k][i]
    is_large = radius > 0.2
    outside = k in (0, len(net.sizes) - 1)
    face = (
        palette.rgb("#EFEFEF")
        if active is None
        else palette.paint(np.asarray((_cut(active[k][i]) - low) / (high - low)), map)
    )
    line = 1.2 if is_large else 0.8
    axes.add_patch(Circle((x, y), radius, facecolor=tuple(face), edgecolor=palette.INK, linewidth=line, zorder=3))
    if is_large or active is None:
        inside = _in_circle(active[k][i]) if active is not None else "" if outside else name
        size = canvas.TICK if is_large else 6.5  # points
        canvas.write(axes, x, y, inside if radius > 0.12 else "", size=size, color=palette.ink_on(face), zorder=4)
    if outside:
        x_name = x + (-1 if k == 0 else 1) * (radius + 0.08)
        size = canvas.LABEL if is_large else 7.0
        canvas.write(axes, x_name, y, name, size=size, ha="right" if k == 0 else "left", zorder=4)
    elif plan.named:
        canvas.write(axes, x, y + radius + 0.1, name, size=canvas.TICK, color=palette.MUTED, zorder=4)
    if net.has_numbers and net.biases is not None and k > 0:
        slope = None if net.bias_gradients is None else net.bias_gradients[k - 1][i]
        _write_bias(axes, x, y - radius - 0.05, net.biases[k - 1][i], slope)


def _finite(array: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(array), array, 0.0)


def _cut(value: float) -> float:
    return float(value) if np.isfinite(value) else np.nan


def _in_circle(value: float) -> str:
    """A number with three digits after the point at the most: a circle has room for six characters."""
    if 0 < abs(value) < 5e-4:
        return "≈0"
    return canvas.short(round(float(value), 3) if abs(value) < 1 else float(value))


def _draw_weights(axes: Axes, start: np.ndarray, end: np.ndarray, kernel: np.ndarray | None, strongest: float) -> None:
    lines = [(tuple(a), tuple(b)) for a in start for b in end]
    bare = (
        palette.FAINT if kernel is not None else "#A0A0A0"
    )  # under the weights' colors, so that weights near 0 stay visible
    axes.add_collection(LineCollection(lines, colors=bare, linewidths=WIDTHS[0], zorder=1), autolim=False)
    if kernel is None:
        return
    flat = kernel.ravel()
    unit = np.where(np.isfinite(flat), flat / strongest / 2 + 0.5, np.nan)
    widths = WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * np.abs(_finite(flat)) / strongest
    order = np.argsort(widths)  # the strongest on top
    axes.add_collection(
        LineCollection(
            [lines[i] for i in order],
            colors=palette.paint(unit, "diverging")[order],
            linewidths=widths[order],
            zorder=2,
        ),
        autolim=False,
    )


def _write_weights(
    axes: Axes, start: np.ndarray, end: np.ndarray, kernel: np.ndarray, slope: np.ndarray | None
) -> None:
    """Writes each weight on its line, all of a layer in one column.

    At the share t = 1 / (1 + outputs) of the way, the lines from neuron i to neuron j are at the heights
    (i * outputs + j) / (1 + outputs) but for a constant: all different and evenly spaced, so that labels in one
    column never meet.
    """
    inputs, outputs = kernel.shape
    t = 1 / (1 + outputs)
    if outputs == 1 and inputs == 1:
        t = 0.5
    for i in range(inputs):
        for j in range(outputs):
            x, y = start[i] + t * (end[j] - start[i])
            text = canvas.short(kernel[i, j]) + ("" if slope is None else f"\n∂ {canvas.short(slope[i, j])}")
            canvas.write(axes, x, y, text, size=canvas.NOTE, bbox=ROOM, zorder=5, linespacing=1.15)


def _write_bias(axes: Axes, x: float, y: float, bias: float, slope: float | None) -> None:
    text = f"b {canvas.short(bias)}" + ("" if slope is None else f"\n∂ {canvas.short(slope)}")
    canvas.write(axes, x, y, text, size=canvas.NOTE, va="top", bbox=ROOM, zorder=5, linespacing=1.15)


def _activation_range(active: list[np.ndarray] | None) -> tuple[float, float, str]:
    if active is None:
        return 0.0, 1.0, "sequential"
    values = np.concatenate([_finite(array) for array in active])
    largest = float(np.abs(values).max()) or 1.0
    return (-largest, largest, "diverging") if values.min() < 0 else (0.0, largest, "sequential")


def _headings(axes: Axes, plan: _Plan) -> None:
    last = len(plan.places) - 1
    for k, places in enumerate(plan.places):
        kind = "inputs" if k == 0 else "outputs" if k == last else "hidden" if last == 2 else f"hidden {k}"
        text = f"{kind} ({len(places)})"
        canvas.write(axes, places[0, 0], plan.headings, text, size=canvas.LABEL, color=palette.MUTED)


def _color_bars(figure: canvas.Figure, plan: _Plan, bars: list[tuple[str, str, float, float]]) -> None:
    """Color bars side by side at the foot: label, map, and the values at its ends."""
    room = plan.width / max(len(bars), 1)
    length = min(room - 0.6, 2.6)
    for i, (label, name, low, high) in enumerate(bars):
        left = room * (i + 0.5) - length / 2
        place = (left / plan.width, plan.bars / plan.height, length / plan.width, 0.11 / plan.height)
        inside = figure.add_axes(place)
        canvas.color_bar(figure, inside, map=name, low=low, high=high, label=label, inside=inside, horizontal=True)

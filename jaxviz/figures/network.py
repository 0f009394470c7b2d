"""The diagram of a small network: neurons, weights as lines, activations as node colors, gradients beside them."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle

from jaxviz.figures import canvas, checks, palette

MOST_NEURONS = 32  # in one layer; more cannot be told apart in a figure one screen high
MOST_NUMBERS = 16  # connections between two layers that still have room for their numbers
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
    circles' color and number. Small networks have their weights, biases and gradients written beside the lines.

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
    where = "network_diagram"
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
    numbers = kernels is not None and (largest <= MOST_NUMBERS if values is None else values)
    names = _names(where, sizes, input_names, output_names)

    # Sizes in inches. Labels of the connections from a layer stand at even distances pitch / (1 + outputs), see _write_weights.
    label = 0.4 if slope is not None else 0.24
    below = 0.0 if not numbers or bias is None else 0.36 if bias_slope is not None else 0.2
    pitch = max(0.8 if max(sizes) <= 8 else 0.66, 2 * RADIUS + 0.22 + below)
    if numbers:
        pitch = max(pitch, max(label * (1 + b) for a, b in shapes if a * b > 1) if largest > 1 else 0.0)
    gap = 2.5 if numbers else 1.7
    crowded = max(sizes) > 12 and not numbers
    pitch = 8.0 / max(sizes) if crowded else pitch
    radius = min(RADIUS, 0.42 * pitch)
    size = canvas.TICK if radius > 0.2 else 6.5  # points
    outer = 0.35 + 0.075 * max(len(name) for name in (*names[0], *names[-1]))
    width = max(gap * (len(sizes) - 1) + 2 * (RADIUS + outer), 4.6)
    named = active is not None and pitch > 2 * radius + 0.2  # hidden neurons have their name above them
    top = (0.45 if title else 0.1) + (0.55 if named else 0.4)
    bars = (kernels is not None) + (active is not None)
    foot = (0.75 if bars else 0.1) + below + 0.1
    tall = pitch * (max(sizes) - 1) + 2 * radius
    figure = canvas.sheet(width, top + tall + foot, layout=None)
    axes = canvas.blank_panel(figure, width, top + tall + foot)
    middle = foot + tall / 2
    left = (width - gap * (len(sizes) - 1)) / 2
    at = [
        np.stack([np.full(n, left + gap * k), middle + pitch * ((n - 1) / 2 - np.arange(n))], axis=-1)
        for k, n in enumerate(sizes)
    ]

    strongest = 0.0 if kernels is None else max(float(np.abs(_finite(kernel)).max()) for kernel in kernels)
    for k, (start, end) in enumerate(itertools.pairwise(at)):
        kernel = None if kernels is None else kernels[k]
        _draw_weights(axes, start, end, kernel, strongest or 1.0)
        if numbers and kernel is not None:
            _write_weights(axes, start, end, kernel, None if slope is None else slope[k])
    low, high, map = _activation_range(active)
    for k, places in enumerate(at):
        for i, (x, y) in enumerate(places):
            face = (
                palette.rgb("#EFEFEF")
                if active is None
                else palette.paint(np.asarray((_cut(active[k][i]) - low) / (high - low)), map)
            )
            axes.add_patch(
                Circle(
                    (x, y),
                    radius,
                    facecolor=tuple(face),
                    edgecolor=palette.INK,
                    linewidth=1.2 if radius > 0.2 else 0.8,
                    zorder=3,
                )
            )
            outside = k in (0, len(sizes) - 1)
            text = names[k][i] if active is None and not outside else "" if active is None else _in_circle(active[k][i])
            if radius > 0.2 or active is None:
                canvas.write(axes, x, y, text if radius > 0.12 else "", size=size, color=palette.ink_on(face), zorder=4)
            if outside:
                side = -1 if k == 0 else 1
                canvas.write(
                    axes,
                    x + side * (radius + 0.08),
                    y,
                    names[k][i],
                    size=canvas.LABEL if radius > 0.2 else 7.0,
                    ha="right" if k == 0 else "left",
                    zorder=4,
                )
            elif named:
                canvas.write(axes, x, y + radius + 0.1, names[k][i], size=canvas.TICK, color=palette.MUTED, zorder=4)
            if numbers and bias is not None and k > 0:
                _write_bias(
                    axes, x, y - radius - 0.05, bias[k - 1][i], None if bias_slope is None else bias_slope[k - 1][i]
                )
    _headings(axes, at, middle + tall / 2 + (0.4 if named else 0.26))
    if title is not None:
        heading = canvas.wrap(title, width * 0.88, canvas.TITLE + 1, 1)
        canvas.write(axes, width / 2, top + tall + foot - 0.22, heading, size=canvas.TITLE + 1, weight="bold")
    _color_bars(
        figure, width, top + tall + foot, kernels is not None, strongest or 1.0, active is not None, low, high, map
    )
    return figure


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


def _headings(axes: Axes, at: list[np.ndarray], y: float) -> None:
    for k, places in enumerate(at):
        kind = "inputs" if k == 0 else "outputs" if k == len(at) - 1 else "hidden" if len(at) == 3 else f"hidden {k}"
        canvas.write(axes, places[0, 0], y, f"{kind} ({len(places)})", size=canvas.LABEL, color=palette.MUTED)


def _color_bars(
    figure: canvas.Figure,
    width: float,
    height: float,
    weights: bool,
    strongest: float,
    active: bool,
    low: float,
    high: float,
    map: str,
) -> None:
    shown = [("weight", "diverging", -strongest, strongest)] if weights else []
    shown += [("activation", map, low, high)] if active else []
    room = width / max(len(shown), 1)
    length = min(room - 0.6, 2.6)
    for i, (label, name, bottom, top) in enumerate(shown):
        inside = figure.add_axes(((room * (i + 0.5) - length / 2) / width, 0.5 / height, length / width, 0.11 / height))
        canvas.color_bar(figure, inside, map=name, low=bottom, high=top, label=label, inside=inside, horizontal=True)

"""Histograms over training: how the distribution of weights, gradients or activations moves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxviz.checks import given
from jaxviz.figures import canvas, checks, palette

MOST_RIDGES = 24


def histograms_over_steps(
    counts: npt.ArrayLike | Sequence[npt.ArrayLike],
    edges: npt.ArrayLike | Sequence[npt.ArrayLike],
    steps: npt.ArrayLike,
    *,
    x_label: str = "value",
    title: str | None = None,
) -> canvas.Figure:
    """Draws histograms as ridges, one above the other: the earliest step at the back (top), the latest in front (bottom).

    Heights are densities, count / (total * width of the bin), so that histograms with different bins compare; all ridges share
    one scale, on which the tallest spans three ridges.

    Args:
        counts: `(steps, bins)`, or a sequence of `(bins,)`, 0 or more.
        edges: `(bins + 1,)`, the same for all, or `(steps, bins + 1)`, or a sequence; increasing.
        steps: `(steps,)`, increasing. Of more than 24 steps, 24 evenly spaced ones are drawn, and a note says so.
        x_label: what the values are: "weight", "gradient of Dense_0/kernel".
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape, negative counts, edges or steps that do not increase.
        TypeError: something is not made of real numbers.

    Example:
        >>> figure = histograms_over_steps([[1, 2, 1], [0, 4, 0]], [-1.5, -0.5, 0.5, 1.5], [0, 100], x_label="weight")
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['0', '100']
    """
    where = "histograms_over_steps"
    times = checks.as_numbers(where, "steps", steps)
    if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError(
            f"{where}: steps must have shape (steps,), at least 1, finite and increasing, got shape {times.shape}"
        )
    for name, value in (("counts", counts), ("edges", edges)):
        if not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
            raise TypeError(f"{where}: {name} must have one row per step, got {given(value)}")
    rows: Any = counts
    borders: Any = edges
    heights = [checks.as_numbers(where, f"counts[{i}]", row) for i, row in enumerate(rows)]
    shared = np.ndim(borders[0]) == 0
    bins = [checks.as_numbers(where, "edges", row) for row in ([borders] * len(times) if shared else borders)]
    if not len(heights) == len(bins) == len(times):
        raise ValueError(
            f"{where}: counts and edges must have one row per step, {len(times)} in all, got {len(heights)} and {len(bins)}"
        )
    for i, (count, edge) in enumerate(zip(heights, bins, strict=True)):
        if count.ndim != 1 or count.size == 0 or edge.shape != (count.size + 1,):
            raise ValueError(
                f"{where}: counts[{i}] must have shape (bins,) and its edges (bins + 1,), got {count.shape} and {edge.shape}"
            )
        if not np.isfinite(count).all() or (count < 0).any():
            raise ValueError(f"{where}: counts[{i}] must be 0 or more and finite")
        if not np.isfinite(edge).all() or (np.diff(edge) <= 0).any():
            raise ValueError(f"{where}: the edges of counts[{i}] must be finite and increasing")

    chosen = np.unique(np.rint(np.linspace(0, len(times) - 1, min(len(times), MOST_RIDGES))).astype(int))
    density = [np.divide(heights[i], heights[i].sum() or 1.0) / np.diff(bins[i]) for i in chosen]
    tallest = max(float(row.max()) for row in density) or 1.0
    figure = canvas.sheet(6.4, 1.6 + 0.16 * len(chosen) + (0.2 if title else 0.0))
    axes = figure.add_subplot()
    colors = palette.table("negative")[
        np.linspace(180, 40, len(chosen)).astype(int)
    ]  # light to dark blue, as time goes on
    for rank, (i, row) in enumerate(zip(chosen, density, strict=True)):
        base = len(chosen) - 1 - rank
        x = np.repeat(bins[i], 2)
        y = np.concatenate([[0.0], np.repeat(row, 2), [0.0]]) / tallest * 3.0 + base
        axes.fill_between(x, base, y, facecolor=colors[rank], edgecolor="none", linewidth=0, alpha=0.9, zorder=2 + rank)
        axes.plot(x, y, color=palette.PAPER, linewidth=0.8, linestyle="-", marker="None", zorder=2 + rank)
    canvas.panel(axes, title=title, x_label=x_label, y_label="step", frame=("bottom",))
    axes.tick_params(left=False)
    every = max(1, len(chosen) // 8)
    labelled = list(range(0, len(chosen), every))
    axes.set_yticks(
        [len(chosen) - 1 - rank for rank in labelled], labels=[f"{times[chosen[rank]]:g}" for rank in labelled]
    )
    occupied = [
        bins[i][[np.flatnonzero(heights[i])[0], np.flatnonzero(heights[i])[-1] + 1]] for i in chosen if heights[i].any()
    ]
    if occupied:
        low, high = min(ends[0] for ends in occupied), max(ends[1] for ends in occupied)
        axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.set_ylim(-0.2, len(chosen) - 1 + 3.2)
    notes = [f"{len(chosen)} of {len(times)} steps are drawn."] if len(chosen) < len(times) else []
    empty = [i for i in chosen if not heights[i].any()]
    if empty:
        notes.append(f"No values at {len(empty)} of the steps drawn.")
    canvas.add_notes(figure, notes)
    return figure

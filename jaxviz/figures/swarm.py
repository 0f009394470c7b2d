"""A swarm: the attributions of every example of a data set, feature by feature."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from jaxviz.figures import canvas, checks, palette
from jaxviz.figures.bars import strongest
from jaxviz.figures.scale import shared_scale

MOST_POINTS = 2000
BINS = 120  # over the width of the axis: points of one bin are stacked


def beeswarm(
    attributions: npt.ArrayLike,
    values: npt.ArrayLike | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    most: int = 12,
    limit: float | None = None,
    x_label: str = "attribution",
    title: str | None = None,
) -> canvas.Figure:
    """Draws a row for each feature and a point for each example: where it is says how much the feature contributed there.

    Points at the same place are stacked, so that a row is as high as there are many. Their colors tell the feature's values,
    light for low ones and dark for high ones, from the 5th to the 95th percentile of the feature: dark points on the right mean
    that high values raise the score. The features of the largest mean magnitude stand first; the others are summed in a last row.

    Args:
        attributions: `(examples, features)`, in units of the score.
        values: `(examples, features)`, the features of the examples; without them all points have one color. NaN is a missing
            value, drawn as a ring.
        feature_names: one name for each feature; by default "feature 0", "feature 1", ...
        most: how many features have a row of their own, at least 1.
        limit: the largest magnitude that the axis spans, for one scale over several figures. Points beyond it are drawn as
            triangles at the edge, and a note says so. By default all are within.
        x_label: what the attributions are, and in what unit.
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape, no example or feature, counts that differ, a bad limit.
        TypeError: something is not made of real numbers.

    Example:
        >>> figure = beeswarm([[0.5, -2.0], [-0.5, 1.0]], [[1.0, 3.0], [0.0, 7.0]], feature_names=["age", "dose"])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['dose', 'age']

    Note:
        As SHAP's summary plot; of more than 2,000 examples, 2,000 evenly spaced ones are drawn, and a note says so.

    References:
        S. M. Lundberg et al. From local explanations to global understanding with explainable AI for trees. Nature Machine
        Intelligence 2, 2020.
    """
    where = "beeswarm"
    table = checks.as_numbers(where, "attributions", attributions)
    if table.ndim != 2 or table.size == 0:
        hint = "; for one example call attribution_bars" if table.ndim == 1 else ""
        raise ValueError(f"{where}: attributions must have shape (examples, features), got {table.shape}{hint}")
    features = None if values is None else checks.as_numbers(where, "values", values)
    if features is not None and features.shape != table.shape:
        raise ValueError(f"{where}: values must have the shape of attributions, {table.shape}, got {features.shape}")
    names = checks.check_names(where, "feature_names", feature_names, table.shape[1], "feature")
    names = names or [f"feature {i}" for i in range(table.shape[1])]
    most = checks.check_count(where, "most", most)

    finite = np.where(np.isfinite(table), table, np.nan)
    counts = np.maximum(np.isfinite(table).sum(axis=0), 1)
    chosen, rest = strongest(np.nansum(np.abs(finite), axis=0, keepdims=True) / counts, most)
    columns = [(names[i], table[:, i], None if features is None else features[:, i]) for i in chosen]
    if len(rest):
        with np.errstate(invalid="ignore"):  # inf - inf is NaN, and is told as such
            columns.append((f"{len(rest)} other features", table[:, rest].sum(axis=1), None))
    scale = shared_scale(where, [column for _, column, _ in columns], percentile=100.0, limit=limit)

    drawn = np.unique(np.linspace(0, len(table) - 1, min(len(table), MOST_POINTS)).astype(int))
    height = 0.36 * len(columns) + 1.0 + (0.3 if title else 0.0)
    figure = canvas.sheet(canvas.WIDTH, height)
    axes = figure.add_subplot()
    seen = [np.clip(column[drawn][np.isfinite(column[drawn])], -scale.limit, scale.limit) for _, column, _ in columns]
    low, high = (
        min((ends.min() for ends in seen if ends.size), default=0.0),
        max((ends.max() for ends in seen if ends.size), default=0.0),
    )
    low, high = min(low, 0.0), max(high, 0.0)
    span = high - low or 1.0
    for row, (_, column, shades) in enumerate(columns):
        _row(axes, row, column[drawn], None if shades is None else shades[drawn], low, span, scale.limit)
        missing = int((~np.isfinite(column)).sum())
        if missing:
            marked: dict[str, Any] = {"boxstyle": "square,pad=0.2", "facecolor": palette.NAN, "edgecolor": "none"}
            canvas.write(
                axes,
                high + 0.02 * span,
                row - 0.32,
                f"{missing:,} not finite",
                size=canvas.NOTE,
                ha="right",
                bbox=marked,
                zorder=5,
            )
    axes.axvline(0, color=palette.MUTED, linewidth=0.8, linestyle="-", marker="None", zorder=1)
    canvas.panel(axes, title=title, x_label=x_label, frame=("bottom",))
    axes.tick_params(left=False)
    canvas.name_ticks(
        axes.yaxis, range(len(columns)), [canvas.wrap(name, 2.2, canvas.TICK, 3) for name, _, _ in columns]
    )
    axes.set(xlim=(low - 0.04 * span, high + 0.04 * span), ylim=(len(columns) - 0.5, -0.55))
    for row in range(len(columns)):
        axes.axhline(row, color=palette.FAINT, linewidth=0.6, linestyle=":", marker="None", zorder=0)
    if features is not None:
        bar = canvas.color_bar(figure, axes, map="value", low=0.0, high=1.0, label="value of the feature", ticks=[0, 1])
        bar.set_ticks([0, 1], labels=["low", "high"])
        bar.ax.yaxis.labelpad = -8
    notes = scale.notes(beyond="The axis ends at", shown="")  # the rows say themselves what is not finite
    if scale.clipped:
        notes.append("Triangles are beyond it.")
    if len(drawn) < len(table):
        notes.append(f"{len(drawn):,} of {len(table):,} examples are drawn.")
    if features is not None and not np.isfinite(features[:, chosen]).all():
        notes.append("Rings: the feature's value is missing.")
    canvas.add_notes(figure, notes)
    return figure


def _row(
    axes: Axes, row: int, column: np.ndarray, values: np.ndarray | None, low: float, span: float, limit: float
) -> None:
    """Draws the points of one feature, stacked where they are close."""
    known = np.isfinite(column)
    x = np.clip(column[known], -limit, limit)
    beyond = np.abs(column[known]) > limit
    y = row + stacked(x, low, span)
    settings: dict[str, Any] = {"s": 11, "linewidths": 0, "zorder": 3}
    if values is None:
        shades, colors = np.zeros(len(x)), None
        missing = np.zeros(len(x), bool)
    else:
        shades = values[known]
        missing = ~np.isfinite(shades)
        colors = canvas.color_map("value")
    ends = np.percentile(shades[~missing], [5, 95]) if (~missing).any() else np.array([0.0, 1.0])
    if ends[0] == ends[1]:  # a feature that is the same nearly everywhere, a rare flag for instance
        ends = np.array([shades[~missing].min(), shades[~missing].max()])
    norm = Normalize(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1)
    for marker, some in (("o", ~beyond), ("<", beyond & (x < 0)), (">", beyond & (x > 0))):
        some = some & ~missing
        paint: dict[str, Any] = (
            {"color": palette.MUTED} if colors is None else {"c": shades[some], "cmap": colors, "norm": norm}
        )
        axes.scatter(x[some], y[some], marker=marker, **paint, **settings)
    if missing.any():
        axes.scatter(
            x[missing],
            y[missing],
            s=11,
            marker="o",
            facecolors="none",
            edgecolors=palette.MUTED,
            linewidths=0.7,
            zorder=2,
        )


def stacked(x: np.ndarray, low: float, span: float) -> np.ndarray:
    """How far each point is moved from the middle of its row: those in one bin alternate to both sides, at most 0.4."""
    bins = np.rint((x - low) / span * BINS).astype(int)
    order = np.lexsort((x, bins))
    starts = np.r_[True, np.diff(bins[order]) != 0] if len(x) else np.zeros(0, bool)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(x)), 0))
    rank = np.arange(len(x)) - first
    levels = np.empty(len(x))
    levels[order] = np.ceil(rank / 2) * np.where(rank % 2, 1, -1)
    step = 0.4 / max(np.abs(levels).max(initial=0.0), 8.0)
    return levels * step

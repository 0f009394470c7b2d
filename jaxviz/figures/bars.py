"""Bars: what each feature of one example contributed, by one method or several."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from jaxviz.figures import canvas, checks, palette
from jaxviz.figures.scale import Scale, shared_scale

MOST_METHODS = 6


def attribution_bars(
    attribution: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    *,
    feature_names: Sequence[str] | None = None,
    values: npt.ArrayLike | Sequence[Any] | None = None,
    most: int = 12,
    limit: float | None = None,
    x_label: str = "attribution",
    title: str | None = None,
) -> canvas.Figure:
    """Draws the attribution of one example's features as bars, the strongest first, orange positive and blue negative.

    Several methods stand side by side, with the same order of features and one scale; above each stands the sum of all its
    features, which is the score's change for a complete method. Features that are not among the strongest are summed in a last
    bar, so that nothing is left out.

    Args:
        attribution: `(features,)`, in units of the score; or for each method's name `(features,)`, 1 to 6 methods.
        feature_names: one name for each feature; by default "feature 0", "feature 1", ...
        values: `(features,)`, what the example has, numbers or texts, written behind the names.
        most: how many features have a bar of their own, at least 1: those of the largest magnitude by any of the methods.
        limit: the largest magnitude that the axis spans, for one scale over several figures. Longer bars are cut, and a note
            says so. By default nothing is cut.
        x_label: what the bars are, and in what unit.
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape, no feature, no method or more than 6, counts that differ, a bad limit.
        TypeError: an attribution is not made of real numbers.

    Example:
        >>> figure = attribution_bars([0.5, -2.0, 0.25], feature_names=["age", "dose", "sex"], values=[41, 2.5, "f"], most=2)
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['dose = 2.5', 'age = 41', 'sex = f']
    """
    where = "attribution_bars"
    alone = not isinstance(attribution, Mapping)
    methods: Mapping[str, Any] = attribution if isinstance(attribution, Mapping) else {"": attribution}
    if not 1 <= len(methods) <= MOST_METHODS:
        raise ValueError(f"{where}: attribution must hold 1 to {MOST_METHODS} methods, got {len(methods)}")
    rows = []
    for name, row in methods.items():
        label = "attribution" if alone else f"attribution[{name!r}]"
        rows.append(checks.as_numbers(where, label, row))
        if rows[-1].ndim != 1 or rows[-1].size == 0 or rows[-1].shape != rows[0].shape:
            hint = "; for one example of a batch give attribution[i], for all of them call beeswarm"
            expected = "(features,)" if rows[-1] is rows[0] else f"{rows[0].shape}, as the first"
            raise ValueError(
                f"{where}: {label} must have shape {expected}, got {rows[-1].shape}{hint if rows[-1].ndim == 2 else ''}"
            )
    table = np.stack(rows)
    most = checks.check_count(where, "most", most)
    labels = feature_labels(where, feature_names, values, table.shape[1])

    chosen, rest = strongest(table, most)
    texts = [labels[i] for i in chosen]
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and is shown as such
        bars = np.concatenate([table[:, chosen], table[:, rest].sum(axis=1, keepdims=True)], axis=1)
        sums = table.sum(axis=1)
    if len(rest):
        texts.append(f"{len(rest)} other features")
    else:
        bars = bars[:, :-1]
    scale = shared_scale(where, [bars], percentile=100.0, limit=limit)

    columns = min(len(table), 3)
    rows_of_panels = -(-len(table) // columns)
    widest = min(max(len(text) for text in texts), 34) * canvas.TICK * 0.56 / 72
    width = 5.6 if columns == 1 else canvas.WIDTH + 0.8
    inches = max((width - widest - 0.4) / columns, 1.2)
    height = rows_of_panels * (0.27 * len(texts) + 0.75) + (0.35 if title else 0.0) + 0.25
    figure = canvas.sheet(width, height, title=title)
    panels = figure.subplots(rows_of_panels, columns, squeeze=False, sharey=True)
    for axes, name, row, total in zip(panels.flat, methods, bars, sums, strict=False):
        heading = (
            f"sum {canvas.short(total)}"
            if alone
            else f"{canvas.wrap(name, inches, canvas.LABEL, 2)}\nsum {canvas.short(total)}"
        )
        _panel(axes, row, scale, bars, inches, bool(len(rest)))
        canvas.panel(axes, title=heading, x_label=canvas.wrap(x_label, inches, canvas.LABEL), frame=("bottom",))
        axes.title.set(size=canvas.LABEL, linespacing=1.2)
    for row_of_panels in panels:
        axes = row_of_panels[0]
        wrapped = [canvas.wrap(text, 34 * 0.56 * canvas.TICK / 72, canvas.TICK, 3) for text in texts]
        canvas.name_ticks(axes.yaxis, range(len(texts)), wrapped)
        axes.set_ylim(len(texts) - 0.5, -0.5)
    for axes in panels.flat:
        axes.tick_params(left=False)
    for axes in list(panels.flat)[len(table) :]:
        axes.set_axis_off()
    canvas.add_notes(figure, scale.notes(beyond="Bars are cut at"))
    return figure


def feature_labels(
    where: str, names: Sequence[str] | None, values: npt.ArrayLike | Sequence[Any] | None, count: int
) -> list[str]:
    """One text for each feature: its name, and its value if given."""
    texts = checks.check_names(where, "feature_names", names, count, "feature")
    texts = texts or [f"feature {i}" for i in range(count)]
    if values is None:
        return texts
    given = list(values if isinstance(values, list | tuple) else np.asarray(values))
    if len(given) != count or any(np.ndim(value) for value in given):
        raise ValueError(f"{where}: values must have shape ({count},), one for each feature, got {np.shape(values)}")
    shown = [_number(float(value)) if hasattr(value, "__float__") else str(value) for value in given]
    return [f"{text} = {value}" for text, value in zip(texts, shown, strict=True)]


def _number(value: float) -> str:
    """A feature's value as one reads it: 41, 17.99, 1,001, 0.0064."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else canvas.short(value) if abs(value) < 100 else f"{value:.4g}"


def strongest(table: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of `(rows, features)` by largest magnitude, and those after the first `most`. NaN and inf come first.

    One left over is no rest: it takes no more room than its sum would.
    """
    magnitude = np.where(np.isfinite(table), np.abs(table), np.inf).max(axis=0)
    order = np.argsort(-magnitude, kind="stable")
    most = most + 1 if len(order) == most + 1 else most
    return order[:most], order[most:]


def _panel(axes: Axes, row: np.ndarray, scale: Scale, bars: np.ndarray, inches: float, rest: bool) -> None:
    """Draws one method's bars with their values; all panels have the range of all `bars`."""
    limit = scale.limit or 1.0
    finite = np.clip(bars[np.isfinite(bars)], -limit, limit)
    low, high = (min(finite.min(), 0.0), max(finite.max(), 0.0)) if finite.size else (0.0, limit)
    if low == high:
        high = limit
    label = 8 * canvas.NOTE * 0.6 / 72 / inches * (high - low)  # the room that a bar's value takes, in data units
    axes.set_xlim(low - label * (low < 0 or not finite.size), high + label)
    for i, value in enumerate(row):
        if not np.isfinite(value):
            marked: dict[str, Any] = {
                "ha": "left",
                "bbox": {"boxstyle": "square,pad=0.25", "facecolor": palette.NAN, "edgecolor": "none"},
            }
            canvas.write(axes, label * 0.1, i, canvas.short(value), size=canvas.NOTE, **marked)
            continue
        width = float(np.clip(value, -limit, limit))
        color = palette.POSITIVE if value > 0 else palette.NEGATIVE
        cut = "////" if abs(value) > limit else None
        axes.barh(
            i,
            width,
            height=0.72,
            facecolor=color,
            edgecolor=palette.PAPER,
            linewidth=0,
            hatch=cut,
            alpha=0.55 if rest and i == len(row) - 1 else 1,
        )
        text = ("+" if value > 0 else "") + canvas.short(value)
        canvas.write(axes, width, i, f" {text} ", size=canvas.NOTE, ha="left" if value >= 0 else "right")
    axes.axvline(0, color=palette.MUTED, linewidth=0.8, linestyle="-", marker="None", zorder=3)
    axes.locator_params(axis="x", nbins=4)

"""Learning curves: metrics over epochs or steps, training and validation together."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jaxviz.figures import canvas, checks, palette

Curve: TypeAlias = npt.ArrayLike | Sequence[float] | tuple[npt.ArrayLike, npt.ArrayLike]
VALIDATION_PREFIXES = ("val_", "validation_", "valid_", "test_", "val/", "validation/", "valid/", "test/")
TRAIN_PREFIXES = ("train_", "training_", "train/", "training/")
BAD: dict[str, Any] = {"color": palette.WRONG, "marker": "X", "linestyle": "None", "markersize": 6, "clip_on": False}


def split_name(name: str) -> tuple[str, bool]:
    """The metric that a name speaks of, and whether it was measured on held-out data.

    Example:
        >>> split_name("val_loss"), split_name("train/accuracy"), split_name("loss")
        (('loss', True), ('accuracy', False), ('loss', False))
    """
    for prefixes, held_out in ((VALIDATION_PREFIXES, True), (TRAIN_PREFIXES, False)):
        for prefix in prefixes:
            if name.startswith(prefix) and len(name) > len(prefix):
                return name[len(prefix) :], held_out
    return name, False


def learning_curves(
    history: Mapping[str, Curve],
    *,
    x_label: str = "epoch",
    log: bool | Sequence[str] = False,
    columns: int | None = None,
    title: str | None = None,
) -> canvas.Figure:
    """Draws each metric in a panel of its own, training as a solid line and validation as a dashed one of the same hue.

    `val_loss`, `validation/loss` or `test_loss` share the panel of `loss`, `train_loss` or `train/loss`. The legend gives the
    last values. A NaN breaks the line and is told in the legend.

    Args:
        history: name -> values `(n,)`, taken at 1, 2, ..., n, or a tuple of steps `(n,)` and values `(n,)`.
        x_label: what the steps count: "epoch", "step".
        log: a logarithmic axis for all metrics (True), or for the metrics named, such as `("loss",)`.
        columns: how many panels in a row; by default at most 2.
        title: a title of the whole figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: the history is empty, a curve has no values or a bad shape, `log` names no metric.
        TypeError: the history is not a mapping, or values are not real numbers.

    Example:
        >>> figure = learning_curves({"loss": [0.7, 0.3, 0.1], "val_loss": ([1, 3], [0.7, 0.2])})
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['training (0.1)', 'validation (0.2)']
    """
    where = "learning_curves"
    if not isinstance(history, Mapping):
        raise TypeError(f"{where}: history must be a mapping of names to values, got {type(history).__name__}")
    if not history:
        raise ValueError(f"{where}: history is empty")
    metrics: dict[str, list[tuple[str, bool, np.ndarray, np.ndarray]]] = {}
    for name, curve in history.items():
        metric, held_out = split_name(str(name))
        metrics.setdefault(metric, []).append((str(name), held_out, *_points(where, str(name), curve)))
    logged = (
        set(metrics)
        if log is True
        else set()
        if log is False
        else {split_name(name)[0] for name in ([log] if isinstance(log, str) else log)}
    )
    if logged - set(metrics):
        raise ValueError(f"{where}: log names {sorted(logged - set(metrics))}, metrics: {', '.join(metrics)}")
    columns = None if columns is None else checks.check_count(where, "columns", columns)

    rows, columns = canvas.grid_shape(len(metrics), columns, 2)
    figure = canvas.sheet(
        5.2 if columns == 1 else canvas.WIDTH + 0.5, rows * 2.9 + (0.4 if title else 0.0), title=title
    )
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, (metric, curves) in zip(panels.flat, metrics.items(), strict=False):
        notes: list[str] = []
        for name, held_out, steps, values in curves:
            twice = sum(other[1] == held_out for other in curves) > 1
            kind = (
                name if twice else "validation" if held_out else "training" if _is_training(name, len(curves)) else None
            )
            hidden = int((~np.isfinite(values)).sum())
            shown = np.where(np.isfinite(values), values, np.nan)
            if hidden:
                first = steps[~np.isfinite(values)][0]
                notes.append(f"{hidden} NaN or inf, first at {x_label} {canvas.short(first)}")
                axes.plot(first, 0.02, transform=axes.get_xaxis_transform(), **BAD)
            if metric in logged and (shown <= 0).any():
                notes.append(f"{int((shown <= 0).sum())} values ≤ 0 cannot be shown")
                shown = np.where(shown > 0, shown, np.nan)
            axes.plot(
                steps,
                shown,
                color=palette.VALIDATION if held_out else palette.TRAIN,
                linestyle=(0, (4, 2)) if held_out else "-",
                linewidth=1.8,
                marker="o" if len(values) <= 12 else "None",
                markersize=3.5,
                label=f"{kind} ({canvas.short(values[-1])})" if kind else f"last: {canvas.short(values[-1])}",
            )
        canvas.panel(axes, title=metric, x_label=x_label, grid=True)
        if metric in logged:
            axes.set_yscale("log")
        low, high = min(steps.min() for *_, steps, _ in curves), max(steps.max() for *_, steps, _ in curves)
        margin = 0.03 * (high - low) or 0.5
        axes.set_xlim(low - margin, high + margin)  # NaN at the end keeps its place
        for note in dict.fromkeys(notes):
            axes.plot([], [], label=note, **BAD)
        if low == high:  # a single point, at which no locator puts the only tick
            axes.set_xticks([low])
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        canvas.add_legend(axes, loc="best", frameon=True, handlelength=2.2)
    for axes in list(panels.flat)[len(metrics) :]:
        axes.set_axis_off()
    return figure


def _is_training(name: str, curves: int) -> bool:
    return curves > 1 or name.startswith(TRAIN_PREFIXES)


def _points(where: str, name: str, curve: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(curve, tuple) and len(curve) == 2 and all(np.ndim(part) == 1 for part in curve):
        steps = checks.as_numbers(where, f"the steps of {name!r}", curve[0])
        values = checks.as_numbers(where, f"the values of {name!r}", curve[1])
    else:
        values = checks.as_numbers(where, f"history[{name!r}]", curve)
        steps = np.arange(1.0, values.shape[0] + 1) if values.ndim == 1 else np.zeros(0)
    if values.ndim != 1 or values.size == 0 or steps.shape != values.shape:
        raise ValueError(
            f"{where}: history[{name!r}] must be values (n,), or (steps (n,), values (n,)), n at least 1, got {values.shape}"
        )
    if not np.isfinite(steps).all():
        raise ValueError(f"{where}: the steps of {name!r} must be finite")
    return steps, values

"""The confusion matrix: which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap

from jaxviz.figures import canvas, checks, palette

MOST_COUNTED = 30_000  # a table of 7 GB; a greater label is rather an id than a class


def confusion_counts(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, *, num_classes: int | None = None
) -> np.ndarray:
    """Counts how often each class (row) was given each answer (column).

    Args:
        labels: `(n,)` integer classes.
        predictions: `(n,)` integer classes.
        num_classes: how many classes there are; by default one more than the largest seen.

    Returns:
        `(num_classes, num_classes)` int64.

    Raises:
        ValueError: shapes differ, or a class is not below num_classes.
        TypeError: labels or predictions are not integers.

    Example:
        >>> confusion_counts([0, 1, 1], [0, 1, 0]).tolist()
        [[1, 0], [1, 1]]
    """
    where = "confusion_counts"
    truth, answer = checks.as_integers(where, "labels", labels), checks.as_integers(where, "predictions", predictions)
    if truth.shape != answer.shape:
        raise ValueError(f"{where}: labels and predictions must have one shape, got {truth.shape} and {answer.shape}")
    top = int(max(truth.max(), answer.max()))
    size = top + 1 if num_classes is None else checks.check_count(where, "num_classes", num_classes)
    if top >= size:
        raise ValueError(f"{where}: num_classes is {size}, but there is a class {top}")
    if size > MOST_COUNTED:
        raise ValueError(
            f"{where}: at most {MOST_COUNTED:,} classes can be counted, got {size:,}; are these class indices?"
        )
    return np.bincount(truth * size + answer, minlength=size * size).reshape(size, size)


def confusion_matrix(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    title: str | None = None,
) -> canvas.Figure:
    """Draws the counts of labels (rows) by answers (columns), with the share of each row.

    Right answers are blue by their share of the row, from 0 to 100 %. Wrong ones are orange on a scale of their own, up to the
    largest share of mistakes: at 98 % accuracy the mistakes are what one looks for.

    Args:
        labels: `(n,)` integer classes.
        predictions: `(n,)` integer classes.
        class_names: names of the classes 0, 1, ...
        num_classes: how many classes there are; by default as many as there are names, or one more than the largest
            seen. At most 100.
        title: a title in place of the accuracy.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: shapes differ, more than 100 classes, a class without a name.
        TypeError: labels or predictions are not integers.

    Example:
        >>> figure = confusion_matrix([0, 1, 1, 1], [0, 1, 1, 0])
        >>> figure.axes[0].get_title()
        'accuracy 75.0 % (3 of 4)'
    """
    if num_classes is None and class_names is not None:
        num_classes = len(class_names)
    counts = confusion_counts(labels, predictions, num_classes=num_classes)
    size = len(counts)
    if size > 100:
        raise ValueError(f"confusion_matrix: at most 100 classes can be shown, got {size}")
    names = checks.check_names("confusion_matrix", "class_names", class_names, size, "class") or [
        str(i) for i in range(size)
    ]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    wrong = shares[~np.eye(size, dtype=bool)]
    worst = float(wrong.max()) if wrong.size else 0.0

    side = min(max(0.52, 3.2 / size), 1.1) if size <= 12 else 6.0 / size
    longest = max(len(name) for name in names)
    margin = 0.9 + min(longest, 16) * 0.07
    figure = canvas.sheet(max(side * size + margin + 0.3, 3.8), side * size + margin + 0.6)
    axes = figure.add_subplot()
    maps = (_from_white("right", palette.BLUE), _from_white("wrong", palette.VERMILION))
    colors = np.where(np.eye(size, dtype=bool)[..., None], maps[0](shares), maps[1](shares / (worst or 1.0)))
    axes.imshow(colors, interpolation="nearest", origin="upper", aspect="equal")

    total, right = int(counts.sum()), int(np.trace(counts))
    heading = title if title is not None else f"accuracy {100 * right / total:.1f} % ({right:,} of {total:,})"
    canvas.panel(axes, title=heading, x_label="answer", y_label="label", frame=())
    steep = longest > 2 and (longest * canvas.TICK * 0.6 / 72 > side)
    if size <= 40:
        shown = [name if len(name) <= 16 else name[:15] + "…" for name in names]
        canvas.name_ticks(
            axes.xaxis,
            range(size),
            shown,
            rotation=45 if steep else 0,
            ha="right" if steep else "center",
            rotation_mode="anchor" if steep else "default",
        )
        canvas.name_ticks(axes.yaxis, range(size), shown)
        if size > 20:
            axes.tick_params(labelsize=canvas.TICK * 20 / size + 1)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color=palette.PAPER, linewidth=1.5 if size <= 20 else 0.5, linestyle="-")
    axes.tick_params(which="minor", length=0)
    if size <= 20:
        scale = min(side / 0.52, 1.2) if size > 12 else 1.0
        for row, column in np.argwhere(counts > 0):
            ink = palette.ink_on(colors[row, column])
            text = f"{counts[row, column]}\n{_percent(shares[row, column])}"
            canvas.write(axes, column, row, text, size=canvas.NOTE * scale, color=ink, linespacing=1.15)
    empty = [names[i] for i in np.flatnonzero(totals[:, 0] == 0)]
    notes = ["Shares are of the row (all examples with that label)."] if size <= 20 else []
    notes.append(
        f"Blue: right, 0 to 100\N{NO-BREAK SPACE}%. Orange: wrong, 0 to {_percent(worst)}."
        if worst
        else "No wrong answer."
    )
    if empty:
        notes.append(f"No example with label {', '.join(empty[:8])}{' …' if len(empty) > 8 else ''}.")
    canvas.add_notes(figure, notes)
    return figure


def _percent(share: float) -> str:
    percent = 100 * share
    return (
        "100\N{NO-BREAK SPACE}%"
        if share == 1
        else f"{min(percent, 99.9):.1f}\N{NO-BREAK SPACE}%"
        if percent >= 9.95
        else f"{percent:.2g}\N{NO-BREAK SPACE}%"
    )


def _from_white(name: str, color: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list(f"jaxviz_{name}", [palette.NEUTRAL, color])

"""The panel of a decision surface: its colors, its points, and the lines of hidden units."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from jaxviz.figures import canvas, checks, palette, plane
from jaxviz.figures.plane import Bounds

MARKERS = "osD^vP*X"  # classes differ by shape, too
TINT = 0.75  # strength of the surface's colors, so that the points stand out


def draw(
    axes: Axes,
    field: np.ndarray,
    at_points: np.ndarray,
    spot: np.ndarray,
    truth: np.ndarray,
    box: Bounds,
    hidden: tuple[np.ndarray, np.ndarray] | None,
    hidden_names: Sequence[str] | None,
    *,
    names: Sequence[str],
    small: bool = False,
) -> tuple[list[tuple[str, Artist]], list[str]]:
    """Draws one surface; returns its points with their names, and the hidden units whose lines are outside the box."""
    resolution, _, classes = field.shape
    if classes == 2:
        colors = palette.paint(field[..., 1], "probability")
    else:
        table = np.array([to_rgb(palette.class_color(i)) for i in range(classes)])
        sure = (np.nan_to_num(field.max(axis=-1, keepdims=True)) - 1 / classes) / (1 - 1 / classes)
        colors = 1 - (1 - table[np.nan_to_num(field, nan=-1).argmax(axis=-1)]) * np.clip(0.15 + 0.7 * sure, 0, 1)
        colors = np.where(np.isnan(field).any(axis=-1, keepdims=True), palette.rgb(palette.NAN), colors)
    colors = 1 - TINT * (1 - colors)
    axes.imshow(colors, extent=box, origin="lower", interpolation="nearest", aspect="equal")
    if classes == 2 and np.isfinite(field).all() and field[..., 1].min() < 0.5 < field[..., 1].max():
        step = (box[1] - box[0]) / resolution, (box[3] - box[2]) / resolution
        x = box[0] + step[0] * (np.arange(resolution) + 0.5)
        y = box[2] + step[1] * (np.arange(resolution) + 0.5)
        axes.contour(
            x, y, field[..., 1], levels=[0.5], colors=palette.INK, linewidths=1.0 if small else 1.6, linestyles="solid"
        )
    outside = draw_lines(axes, box, hidden, hidden_names, small)
    right = at_points.argmax(axis=1) == truth
    size = (70.0 if len(spot) <= 20 else 28.0 if len(spot) <= 300 else 10.0) * (0.5 if small else 1.0)
    drawn: list[tuple[str, Artist]] = []
    for i, name in enumerate(names):
        chosen = truth == i
        if chosen.any():
            face, marker = palette.class_color(i), MARKERS[i % len(MARKERS)]
            marks = axes.scatter(
                spot[chosen, 0],
                spot[chosen, 1],
                s=size,
                c=face,
                marker=marker,
                edgecolors=palette.PAPER,
                linewidths=1.0,
                zorder=4,
                label=name,
            )
            drawn.append((name, marks))
    if not right.all():
        wrong = f"wrong ({int((~right).sum())})"
        marks = axes.scatter(
            spot[~right, 0],
            spot[~right, 1],
            s=size * 1.7,
            c=palette.INK,
            marker="x",
            linewidths=1.1,
            zorder=5,
            label=wrong,
        )
        drawn.append((wrong, marks))
    axes.set(xlim=box[:2], ylim=box[2:])
    return drawn, outside


def draw_lines(
    axes: Axes, box: Bounds, hidden: tuple[np.ndarray, np.ndarray] | None, names: Sequence[str] | None, small: bool
) -> list[str]:
    """Draws the line at which each hidden unit turns; returns the names of those outside the box."""
    if hidden is None:
        return []
    weights, biases = hidden
    units = len(biases)
    texts = checks.check_names("decision_surface", "hidden_names", names, units, "hidden unit") or [
        f"h{i + 1}" for i in range(units)
    ]
    span = min(box[1] - box[0], box[3] - box[2])
    outside = []
    for i in range(units):
        ends = plane.line_in_box(weights[:, i], biases[i], box)
        if ends is None:
            outside.append(texts[i])
            continue
        axes.plot(
            *ends.T, color=palette.INK, linewidth=1.0 if small else 1.4, linestyle=(0, (5, 3)), marker="None", zorder=3
        )
        # parallel lines are common: labels at different places along them
        place = ends[0] + (ends[1] - ends[0]) * (0.5 + 0.3 * (-1) ** i * (0.4 + 0.6 * (i + 1) / units))
        side = weights[:, i] / np.hypot(*weights[:, i])
        axes.annotate(
            "",
            xy=tuple(place + side * span * (0.11 if small else 0.075)),
            xytext=tuple(place),
            arrowprops={
                "arrowstyle": "-|>",
                "color": palette.INK,
                "linewidth": 1.2,
                "mutation_scale": 8 if small else 11,
                "shrinkA": 0,
                "shrinkB": 0,
            },
            zorder=3,
        )
        if not small:
            box_style = {
                "boxstyle": "round,pad=0.2",
                "facecolor": palette.PAPER,
                "edgecolor": palette.MUTED,
                "linewidth": 0.6,
            }
            x, y = place - side * span * 0.035
            canvas.write(axes, x, y, texts[i], bbox=box_style, zorder=6)
    return outside

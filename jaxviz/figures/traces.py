"""The curve of a channel, and the colors of its attribution: behind it, in a strip below it, or in the curve itself."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from jaxviz.figures import canvas, palette
from jaxviz.figures.lines import alone
from jaxviz.figures.scale import Scale, signed_part

MARKED = 60  # times at the most, so that each has a mark
COLORS = (palette.INK, palette.GREEN, palette.PURPLE)  # of channels in one panel: none that the attribution has
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.2)),
    (0, (6, 1.5, 1, 1.5)),
)  # of each further round of colors


def edges(at: np.ndarray) -> np.ndarray:
    """Where each time's color begins and ends: half way to its neighbors."""
    if len(at) == 1:
        return np.array([at[0] - 0.5, at[0] + 0.5])
    middles = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middles[0]], middles, [2 * at[-1] - middles[-1]]])


def curve(
    axes: Axes,
    at: np.ndarray,
    values: np.ndarray,
    color: str = palette.INK,
    dashes: Any = "-",
) -> Line2D:
    """Draws a channel; on strong colors, a white edge keeps the curve visible."""
    marked = _marked(np.isfinite(values))
    for paint, width, size, style in ((palette.PAPER, 3.6, 5.5, "-"), (color, 1.6, 3.0, dashes)):
        (line,) = axes.plot(
            at,
            np.where(np.isfinite(values), values, np.nan),
            color=paint,
            linewidth=width,
            linestyle=style,
            marker="o" if marked else "None",
            markevery=marked,
            markersize=size,
            markeredgewidth=0,
            zorder=3,
        )
    return line


def colored_curve(axes: Axes, at: np.ndarray, values: np.ndarray, heat: np.ndarray, scale: Scale) -> None:
    """Draws a channel in the colors of its attribution, with a gray edge where they are pale.

    The color of a time goes half way to its neighbors, as in the background: none is left out, none is interpolated.
    """
    shown = np.where(np.isfinite(values), values, np.nan)
    middle = np.stack([(at[1:] + at[:-1]) / 2, (shown[1:] + shown[:-1]) / 2], axis=1)
    point = np.stack([at, shown], axis=1)
    before, after = point.copy(), point.copy()
    before[1:], after[:-1] = middle, middle
    there = np.isfinite(shown)
    for end in (before, after):  # at a gap a piece ends in its time
        gap = ~np.isfinite(end).all(axis=1)
        end[gap] = point[gap]
    pieces: Any = np.stack([before, point, after], axis=1)[there]
    heats = np.ma.masked_invalid(signed_part(heat, scale.sign))
    settings: dict[str, Any] = {
        "cmap": canvas.color_map(scale.map),
        "norm": Normalize(scale.low, scale.high),
        "capstyle": "round",
        "joinstyle": "round",
        "zorder": 3,
    }
    axes.plot(
        at,
        shown,
        color=palette.MUTED,
        linewidth=4.0,
        linestyle="-",
        marker="None",
        solid_capstyle="round",
        solid_joinstyle="round",
        zorder=3,
    )
    axes.add_collection(LineCollection(pieces, array=heats[there], linewidths=2.6, **settings))
    if marked := _marked(there):
        axes.scatter(
            at[marked],
            shown[marked],
            c=heats.filled(np.nan)[marked],
            s=30,
            cmap=settings["cmap"],
            norm=settings["norm"],
            plotnonfinite=True,
            edgecolors=palette.MUTED,
            linewidths=0.8,
            zorder=4,
        )


def _marked(finite: np.ndarray) -> list[int]:
    """The times that have a mark: all of a few, and otherwise those through which no line goes."""
    return np.flatnonzero(finite).tolist() if len(finite) <= MARKED else alone(finite)


def frame(axes: Axes, values: np.ndarray) -> None:
    """Sets the range of a panel to that of its finite values, with some room."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    room = 0.12 * (high - low) or 0.5
    axes.set_ylim(low - room, high + room)
    axes.locator_params(axis="y", nbins=4)


def strip(axes: Axes, edges: np.ndarray, heat: np.ndarray, scale: Scale, height: tuple[float, float]) -> None:
    """Paints the attribution of each time over a range of y."""
    shown = np.ma.masked_invalid(signed_part(heat, scale.sign))
    widths = np.diff(edges)
    if np.allclose(widths, widths[0], atol=0):  # times may be in any unit
        axes.imshow(
            shown[None],
            cmap=canvas.color_map(scale.map),
            vmin=scale.low,
            vmax=scale.high,
            aspect="auto",
            origin="lower",
            interpolation="nearest",
            extent=(edges[0], edges[-1], *height),
            zorder=0,
        )
    else:
        axes.pcolorfast(
            edges,
            np.array(height),
            shown[None],
            cmap=canvas.color_map(scale.map),
            vmin=scale.low,
            vmax=scale.high,
            zorder=0,
        )

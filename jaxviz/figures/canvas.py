"""The sheet that every figure is drawn on: its sizes, fonts, frames, notes and color bars, in one place.

Every color and size is passed to matplotlib explicitly. Neither the user's rcParams nor pyplot's global state is read for
them or changed, so that a figure looks the same everywhere and may be drawn in any thread. (The font family stays the
user's: names may be in any script.)
"""

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib.figure
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.text import Text

from jaxviz.figures import checks, palette

DPI = 120
WIDTH = 7.0  # inches: 840 pixels, legible when TensorBoard shrinks them to 700
TITLE, LABEL, TICK, NOTE = 11.0, 9.5, 8.5, 8.0  # points
HEADING = 4  # lines of a title at the most


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that also shows itself in a notebook which never imported pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi, facecolor=self.get_facecolor(), bbox_inches=None)
        return buffer.getvalue()


def sheet(
    width: float,
    height: float,
    *,
    title: str | None = None,
    layout: Literal["constrained", "compressed"] | None = "constrained",
) -> Figure:
    """An empty figure of a size in inches."""
    engine: Any = layout or "none"  # None would ask rcParams
    paper = palette.PAPER
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=paper, edgecolor=paper, frameon=True, layout=engine)
    FigureCanvasAgg(figure)
    if layout is not None:
        space(figure, w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.02)
    if title is not None:
        heading = figure.suptitle(wrap(title, width * 0.88, TITLE + 1, HEADING), size=TITLE + 1, weight="bold")
        heading.set(color=palette.INK, parse_math=False)
    return figure


def space(figure: Figure, **sizes: float) -> None:
    """Sets the room around panels: `w_pad` and `h_pad` in inches, `wspace` and `hspace` as shares of a panel."""
    engine: Any = figure.get_layout_engine()  # matplotlib's stub knows the base class only, which has no sizes
    engine.set(**sizes)


def panel(
    axes: Axes,
    *,
    title: str | None = None,
    x_label: str | None = None,
    y_label: str | None = None,
    grid: bool = False,
    frame: Sequence[str] = ("left", "bottom"),
) -> None:
    """Gives axes the house's look: which sides have a line, tick marks, labels, a faint grid."""
    axes.set_facecolor(palette.PAPER)
    for side, spine in axes.spines.items():
        spine.set(visible=side in frame, color=palette.MUTED, linewidth=0.8)
    axes.tick_params(
        which="major",
        colors=palette.MUTED,
        labelcolor=palette.INK,
        labelsize=TICK,
        direction="out",
        length=3,
        width=0.8,
        pad=3,
    )
    axes.tick_params(
        which="both", top=False, right=False, left="left" in frame, bottom="bottom" in frame, grid_color=palette.FAINT
    )
    axes.tick_params(which="minor", colors=palette.MUTED, direction="out", length=2, width=0.6)
    axes.minorticks_off()
    axes.grid(False, which="both")
    if grid:
        axes.grid(True, which="major", color=palette.FAINT, linewidth=0.7, linestyle="-", alpha=1)
        axes.set_axisbelow(True)
    plain: dict[str, Any] = {"color": palette.INK, "weight": "normal", "parse_math": False}
    if title is not None:
        figure: Any = axes.figure
        text = wrap(title, figure.get_figwidth() * 0.95, TITLE, HEADING)
        axes.set_title(text, size=TITLE, loc="center", pad=5, y=None, **plain)
    if x_label is not None:
        axes.set_xlabel(checks.clean(x_label), size=LABEL, labelpad=3, **plain)
    if y_label is not None:
        axes.set_ylabel(checks.clean(y_label), size=LABEL, labelpad=3, **plain)


def picture_panel(
    axes: Axes, *, title: str | None = None, size: float = LABEL, color: str = palette.FAINT, width: float = 0.8
) -> None:
    """Gives axes that hold a picture a thin frame and no ticks."""
    axes.set_facecolor(palette.PAPER)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False, which="both")
    for spine in axes.spines.values():
        spine.set(visible=True, color=color, linewidth=width)
    if title is not None:
        plain: dict[str, Any] = {"color": palette.INK, "weight": "normal", "parse_math": False}
        axes.set_title(checks.clean(title), size=size, loc="center", pad=3, y=None, linespacing=1.1, **plain)


def blank_panel(figure: Figure, width: float, height: float) -> Axes:
    """Axes over the whole figure whose data units are inches, for diagrams; y runs upwards from 0."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), facecolor=palette.PAPER)
    axes.set_axis_off()
    return axes


def write(
    axes: Axes, x: float, y: float, text: str, *, size: float = TICK, color: str = palette.INK, **settings: Any
) -> Text:
    """A text in an axes, with size and color explicit and matplotlib's `$` markup off."""
    settings = {"ha": "center", "va": "center", "weight": "normal", "parse_math": False, **settings}
    return axes.text(x, y, checks.clean(text), size=size, color=color, **settings)


def add_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Writes notes under the figure's panels, wrapped to its width. Nothing where there are none."""
    if notes:
        text = wrap(" ".join(notes), figure.get_figwidth(), NOTE)
        plain: dict[str, Any] = {"color": palette.MUTED, "weight": "normal", "parse_math": False}
        figure.supxlabel(text, x=0.5, ha="center", size=NOTE, linespacing=1.25, **plain)


def name_ticks(axis: Axis, at: Sequence[float], names: Sequence[str], **settings: Any) -> None:
    """Ticks that have names, as they are written: matplotlib's `$` markup is off."""
    axis.set_ticks(at, labels=[checks.clean(name) for name in names], parse_math=False, **settings)


def add_legend(
    place: Axes | Figure, artists: Sequence[Artist] = (), names: Sequence[str] = (), **settings: Any
) -> None:
    """A legend in the house's look, its texts as they are written, of artists by any names, or of all that have a label.

    A frame is half transparent, so that what is behind it can be seen.
    """
    framed: dict[str, Any] = {"facecolor": palette.PAPER, "edgecolor": "none", "fancybox": False, "shadow": False}
    look = {"fontsize": TICK, "labelcolor": palette.INK, "frameon": False, "framealpha": 0.85, **framed}
    # Not by their names at once: matplotlib may leave out those that start with an underscore.
    entries = (artists, [f".{name}" for name in names]) if names else ()
    texts = place.legend(*entries, **{**look, **settings}).get_texts()
    for text, name in zip(texts, names or [text.get_text() for text in texts], strict=True):
        text.set(text=name, parse_math=False)


def wrap(text: str, inches: float, size: float, most: int | None = None) -> str:
    """Breaks lines so that text of a size (points) fits a width; a letter is about 0.56 of its size wide.

    Of more lines than `most` the rest is left out, and an ellipsis says so: it would take the place of the picture.
    """
    columns = max(8, int(inches * 72 / (size * 0.56)))
    # What cannot be seen any more is not measured either.
    cut = checks.clean(text if most is None else str(text)[: 2 * columns * most])
    lines = "\n".join(textwrap.fill(line, columns) for line in cut.split("\n")).split("\n")
    if most is not None and len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: columns - 1] + "…"]
    return "\n".join(lines)


def color_map(name: str) -> ListedColormap:
    """A matplotlib color map from the palette, with NaN in its own color."""
    map: Any = ListedColormap(palette.table(name), name=f"jaxviz_{name}")
    return map.with_extremes(bad=palette.NAN)  # of the same class, which matplotlib's stub does not say


def color_bar(
    figure: Figure,
    axes: Axes | Sequence[Axes],
    *,
    map: str,
    low: float,
    high: float,
    label: str,
    clipped: bool = False,
    ticks: Sequence[float] | None = None,
    inside: Axes | None = None,
    horizontal: bool = False,
) -> Colorbar:
    """A labelled color bar beside axes (or filling the axes `inside`), pointed at its ends where values were clipped."""
    mappable = ScalarMappable(Normalize(low, high), color_map(map))
    ends = "neither" if not clipped else {True: "min", False: "max"}[high == 0] if low == 0 or high == 0 else "both"
    place: dict[str, Any] = (
        {"cax": inside} if inside is not None else {"ax": axes, "fraction": 0.05, "pad": 0.02, "aspect": 28}
    )
    bar = figure.colorbar(mappable, extend=ends, orientation="horizontal" if horizontal else "vertical", **place)
    at = np.linspace(low, high, 5) if ticks is None else np.asarray(ticks)
    bar.set_ticks(list(at), labels=[short(value) for value in at])
    bar.ax.tick_params(
        which="both",
        labelsize=TICK,
        colors=palette.MUTED,
        labelcolor=palette.INK,
        length=2,
        width=0.8,
        direction="out",
        pad=2,
    )
    bar.ax.minorticks_off()
    bar.ax.grid(False, which="both")
    bar.ax.set_facecolor(palette.PAPER)
    bar.set_label(checks.clean(label), size=LABEL, color=palette.INK, weight="normal", parse_math=False)
    bar.outline.set(edgecolor=palette.MUTED, linewidth=0.6)
    return bar


def short(value: float) -> str:
    """A number in three digits at the most, with a true minus sign: 0.125, 12k, −3.1e-05."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("−inf" if value < 0 else "inf")
    text = f"{value:.3g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{float(mantissa):.2g}e{int(exponent)}"
    return text.replace("-", "−").removeprefix("−") if value == 0 else text.replace("-", "−")


def count(value: float) -> str:
    """A count with a unit prefix: 950, 12.3 k, 4.1 M."""
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor * 0.9995:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.0f}"


def grid_shape(number: int, columns: int | None, default: int) -> tuple[int, int]:
    """Rows and columns for a number of panels: as given, or balanced with at most `default` columns."""
    if columns is None:
        rows = math.ceil(number / default)
        columns = math.ceil(number / rows)
    columns = min(columns, number)
    return math.ceil(number / columns), columns

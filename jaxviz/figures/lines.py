"""Named lines over one axis, in one panel or several side by side: what one wants to compare."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jaxviz.checks import given
from jaxviz.figures import canvas, checks, palette

Lines: TypeAlias = Mapping[str, npt.ArrayLike]
MOST_LINES, MOST_PANELS = 14, 4
COLORS = tuple(color for color in palette.CLASSES if color != palette.YELLOW)  # yellow cannot be seen on white
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)))  # the second round of colors is dashed
CONTROLS: tuple[Any, ...] = ((0, (1, 1.2)), (0, (4, 1.5)), (0, (6, 1.5, 1, 1.5)))


def line_chart(
    lines: Lines | Mapping[str, Lines],
    *,
    x: npt.ArrayLike | None = None,
    controls: Sequence[str] = (),
    x_label: str | None = None,
    y_label: str | None = None,
    title: str | None = None,
) -> canvas.Figure:
    """Draws named lines, such as the deletion curves of several methods; a line has the same look in all panels.

    The order of the legend is that of the lines given. NaN and inf break a line, and a note counts them.

    Args:
        lines: name -> values `(n,)`; or, for each panel's title, such a mapping. At most 14 names and 4 panels, which share the
            axis of the values.
        x: `(n,)` where the values are, increasing; by default 0, 1, ..., n - 1.
        controls: those of the names, at most 3, that the others are compared with (chance, say): drawn in broken gray lines.
        x_label: what is counted along the horizontal axis.
        y_label: what the values are.
        title: a title of the whole figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: nothing to draw or too much, lines of different lengths, positions that do not increase, controls that are no
            lines.
        TypeError: lines is not a mapping, controls are one string, or values are not real numbers.

    Example:
        >>> curves = {"by attribution": [1.0, 0.4, 0.1], "at random": [1.0, 0.8, 0.3]}
        >>> figure = line_chart(curves, x=[0, 5, 10], controls=["at random"])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['by attribution', 'at random']
    """
    where = "line_chart"
    panels = _panels(where, lines)
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    if not 1 <= len(names) <= MOST_LINES:
        raise ValueError(f"{where}: lines must hold 1 to {MOST_LINES} names, got {len(names)}")
    if isinstance(controls, str) or not isinstance(controls, Iterable):
        raise TypeError(f"{where}: controls must be a sequence of names, got {given(controls)}")
    gray = [checks.clean(name) for name in controls]
    if len(gray) > len(CONTROLS) or not set(gray) <= set(names):
        raise ValueError(f"{where}: controls must be at most {len(CONTROLS)} of {', '.join(names)}; got {gray}")
    colored = [name for name in names if name not in gray]
    length = len(next(iter(next(iter(panels.values())).values())))
    for panel in panels.values():
        for name, values in panel.items():
            if len(values) != length:
                raise ValueError(
                    f"{where}: lines must have one length, {length} as the first, got {len(values)} of {name!r}"
                )
    at = checks.as_positions(where, "x", x, length)

    longest = min(max(len(name) for name in names), 30) * canvas.TICK * 0.56 / 72 + 0.6  # inches of the legend
    # As narrow as two panels can be read, so that TensorBoard has little to shrink.
    width = max(min(3.6 * len(panels) + longest, canvas.WIDTH + 1.5), 2.2 * len(panels) + longest)
    figure = canvas.sheet(width, 3.6 + (0.35 if title else 0.0), title=title)
    drawn: dict[str, Any] = {}
    hidden = 0
    for axes, (heading, panel) in zip(
        figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items(), strict=True
    ):
        for name, values in panel.items():
            color, dashes = (
                (palette.MUTED, CONTROLS[gray.index(name)])
                if name in gray
                else (COLORS[(place := colored.index(name)) % len(COLORS)], DASHES[place // len(COLORS)])
            )
            hidden += int((~np.isfinite(values)).sum())
            lonely = alone(np.isfinite(values))
            drawn[name] = axes.plot(
                at,
                np.where(np.isfinite(values), values, np.nan),
                color=color,
                linestyle=dashes,
                linewidth=1.8,
                marker="o" if lonely else "None",
                markevery=lonely,
                markersize=3.5,
            )[0]
        first = axes.get_subplotspec().is_first_col()
        heading = canvas.wrap(heading, (width - longest) / len(panels) * 0.9, canvas.LABEL, canvas.HEADING)
        canvas.panel(axes, title=heading or None, x_label=x_label, y_label=y_label if first else None, grid=True)
        axes.title.set(size=canvas.LABEL)
        axes.margins(x=0.02)
    canvas.add_legend(
        figure,
        [drawn[name] for name in names],
        [canvas.wrap(name, 30 * 0.56 * canvas.TICK / 72, canvas.TICK, 3) for name in names],
        loc="outside right center",
        handlelength=2.2,
    )
    canvas.add_notes(figure, [f"{hidden} NaN or inf values are left out."] if hidden else [])
    return figure


def _panels(where: str, lines: Any) -> dict[str, dict[str, np.ndarray]]:
    """The lines by panel and name; one panel without a title where no panels are given."""
    if not isinstance(lines, Mapping):
        raise TypeError(f"{where}: lines must be a mapping of names to values, got {type(lines).__name__}")
    alone = not lines or not all(isinstance(value, Mapping) for value in lines.values())
    if alone and any(isinstance(value, Mapping) for value in lines.values()):
        raise TypeError(f"{where}: lines must map all names to values, or all to mappings of names to values, not some")
    panels: Mapping[Any, Any] = {"": lines} if alone else lines
    if len(panels) > MOST_PANELS:
        raise ValueError(f"{where}: lines must hold at most {MOST_PANELS} panels, got {len(panels)}")
    found: dict[str, dict[str, np.ndarray]] = {}
    for heading, panel in panels.items():
        row = found[checks.clean(heading)] = {}
        for name, values in panel.items():
            label = f"lines[{name!r}]" if alone else f"lines[{heading!r}][{name!r}]"
            array = checks.as_numbers(where, label, values)
            if array.ndim != 1 or array.size == 0:
                raise ValueError(f"{where}: {label} must have shape (n,), n at least 1, got {array.shape}")
            if checks.clean(name) in row:
                raise ValueError(f"{where}: two lines are named {checks.clean(name)!r}")
            row[checks.clean(name)] = array
        if not row:
            raise ValueError(f"{where}: lines must hold at least one line" + ("" if alone else f" for {heading!r}"))
    return found


def alone(finite: np.ndarray) -> list[int]:
    """The finite points without a finite neighbor, through which no line goes."""
    beside = np.pad(finite, 1)
    return np.flatnonzero(finite & ~beside[:-2] & ~beside[2:]).tolist()

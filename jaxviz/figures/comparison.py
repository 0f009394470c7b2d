"""Comparison: a table of examples and methods, each cell the map of one example by one method."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from jaxviz.figures import canvas, checks, palette, panels
from jaxviz.figures.rgb import Mode, as_rgb, check_mode, fit_to_image, notes_of_images, to_bytes
from jaxviz.figures.scale import PERCENTILE, Reduction, Scale, Sign, as_map, notes_of_limits, shared_scale


def explanations(
    images: npt.ArrayLike | Sequence[npt.ArrayLike],
    attributions: Mapping[str, npt.ArrayLike | Sequence[npt.ArrayLike]],
    *,
    titles: Sequence[str] | None = None,
    correct: Sequence[bool] | None = None,
    scale: Literal["map", "method", "shared"] = "map",
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    overlaid: bool = False,
    mode: Mode = "blend",
    label: str | None = None,
    title: str | None = None,
) -> canvas.Figure:
    """Draws a table: a row for each example, its image first, then its attribution by each method.

    Methods have different units, so colors show shares of a limit: that of each map, or of each method over all examples. Where
    all have one unit (heads of attention, say), one scale for all maps keeps it.

    Args:
        images: a batch `(n, H, W)` or `(n, H, W, C)`, or a sequence of images; at most 24.
        attributions: for each method's name a batch `(n, H, W)` or `(n, H, W, C)`, or a sequence; 1 to 20 methods. More than 8
            take several lines for each example.
        titles: one text for each example, written beside its image, such as `answers` makes.
        correct: whether each answer is right, shown as the frame's color and width.
        scale: "map" (each map on its own scale), "method" (each method on one scale for all examples) or "shared" (one scale for
            all maps; the color bar then shows their own values).
        sign: "all", "positive", "negative" or "absolute"; see `normalize`.
        percentile: the share of the non-zero magnitudes, in %, within a scale's colors; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile, for one scale over several figures; with
            `scale="shared"`.
        channels: how channels are taken together; see `reduce_channels`.
        overlaid: draw the maps with the images.
        mode: how: "blend" (over the faded images), "mask" or "alpha" (what of the images counts); see `overlay`.
        label: what the color bar shows, where it is no attribution ("share of attention").
        title: a title of the whole figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: too many examples or methods, counts that differ, a bad shape, sign, scale, percentile, limit or
            mode; a limit without `scale="shared"`, a mode without `overlaid=True`.
        TypeError: something is not made of real numbers.

    Example:
        >>> images = [[[0.0, 1.0], [1.0, 0.0]]]
        >>> figure = explanations(images, {"gradient": [[[0.0, 3.0], [-1.0, 0.0]]]}, titles=["7 → 1 (0.62)"])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['input', 'gradient']
    """
    where = "explanations"
    checks.check_choice(where, "scale", scale, ("map", "method", "shared"))
    check_mode(where, mode, sign)
    if mode != "blend" and not overlaid:
        raise ValueError(f"{where}: mode {mode!r} shows images through their maps: give overlaid=True")
    if limit is not None and scale != "shared":
        raise ValueError(f"{where}: limit is of one scale for all maps: give scale='shared' with it, got {scale!r}")
    given = panels.items(where, "images", images)
    count = len(given)
    if not 1 <= count <= 24:
        raise ValueError(f"{where}: images must hold 1 to 24 images, got {count}")
    if not isinstance(attributions, Mapping):
        raise TypeError(
            f"{where}: attributions must be a mapping of names to attributions, got {type(attributions).__name__}"
        )
    if not 1 <= len(attributions) <= 20:
        raise ValueError(f"{where}: attributions must hold 1 to 20 methods, got {len(attributions)}")
    names = checks.check_names(where, "titles", titles, count, "image")
    right = checks.check_correct(where, correct, count, "image")
    pictures = [as_rgb(where, item, f"images[{i}]") for i, item in enumerate(given)]

    tables = {
        method: _heats(where, f"attributions[{method!r}]", maps, pictures, channels)
        for method, maps in attributions.items()
    }

    sheet = _sheet(list(tables), pictures, title)
    for row, (picture, _) in enumerate(pictures):
        _draw_image(sheet, row, picture, None if names is None else names[row], None if right is None else right[row])
    scaled = functools.partial(shared_scale, where, sign=sign, percentile=percentile, limit=limit)
    every = scaled([heat for heats in tables.values() for heat in heats]) if scale == "shared" else None
    clipped = 0
    for column, (method, heats) in enumerate(tables.items(), start=1):
        own = [scaled([heat]) for heat in heats] if scale == "map" else [every or scaled(heats)] * count
        clipped += sum(each.clipped for each in (own if scale == "map" else own[:1]))
        for row, heat in enumerate(heats):
            _draw_map(sheet, row, column, str(method), heat, own[row], pictures[row][0] if overlaid else None, mode)
    # With one scale for all, colors keep their unit; otherwise they are shares.
    unit = every or Scale.of_shares(sign, clipped)
    share = None if every else f"share of the {scale}'s limit"
    panels.bar(sheet.figure, list(sheet.cells.flat), unit, label or share, mode)
    notes = every.notes() if every else notes_of_limits(scale, percentile, clipped) + _missing(tables)
    notes += notes_of_images(pictures)
    if right is not None:
        notes.append("Frames: thin blue for right answers, thick orange for wrong ones.")
    canvas.add_notes(sheet.figure, notes)
    return sheet.figure


class _Sheet(NamedTuple):
    """The empty table.

    Attributes:
        figure: the figure.
        cells: all panels, as they stand, `(examples * lines, columns)`.
        grid: the same by example, `(examples, lines * columns)`: its image, its maps, and what stays empty.
        side: the width of a panel, in inches.
        size: of the headings, in points.
        headings: how many of the examples have headings.
    """

    figure: canvas.Figure
    cells: np.ndarray
    grid: np.ndarray
    side: float
    size: float
    headings: int


def _sheet(methods: list[str], pictures: list[Any], title: str | None) -> _Sheet:
    count = len(pictures)
    lines, columns = canvas.grid_shape(len(methods) + 1, None, 9)  # of each example
    side = min(1.5, (canvas.WIDTH - (1.2 if lines == 1 else 0.9)) / columns)
    longest = max(len(word) for method in methods for word in str(method).split() or [""])
    size = canvas.LABEL if lines == 1 and longest * canvas.LABEL * 0.56 / 72 <= 0.85 * side else canvas.NOTE
    tall, wide = pictures[0][0].shape[:2]
    ratio = min(max(tall / wide, 0.3), 2.0)
    headings = 1 if lines == 1 else count * lines  # several lines need a heading for each map
    height = count * lines * (side * ratio + 0.08) + 0.3 * headings + (0.4 if title else 0.1) + 0.3
    figure = canvas.sheet(side * columns + (1.3 if lines == 1 else 2.0), height, title=title, layout="compressed")
    cells = figure.subplots(count * lines, columns, squeeze=False)
    grid = cells.reshape(count, lines * columns)
    for axes in grid[:, len(methods) + 1 :].flat:
        axes.set_axis_off()
    return _Sheet(figure, cells, grid, side, size, headings)


def _heats(where: str, name: str, maps: Any, pictures: list[Any], channels: Reduction) -> list[np.ndarray]:
    """The maps of one method, each of its image's size."""
    items = panels.items(where, name, maps)
    if len(items) != len(pictures):
        raise ValueError(f"{where}: {name} must hold one map per image, {len(pictures)} in all, got {len(items)}")
    heats = []
    for i, (item, (picture, _)) in enumerate(zip(items, pictures, strict=True)):
        heat = as_map(where, item, channels, f"{name}[{i}]", picture.shape[:2])
        heats.append(fit_to_image(where, heat, *picture.shape[:2]))
    return heats


def _draw_image(sheet: _Sheet, row: int, picture: np.ndarray, text: str | None, right: bool | None) -> None:
    """The image of an example, in the frame of its answer, with its text beside it."""
    axes = sheet.grid[row, 0]
    axes.imshow(to_bytes(picture), interpolation="nearest", origin="upper", aspect="equal")
    color, width = {None: (palette.FAINT, 0.8), True: (palette.RIGHT, 1.5), False: (palette.WRONG, 3.5)}[right]
    heading = "input" if row < sheet.headings else None
    canvas.picture_panel(axes, title=heading, size=sheet.size, color=color, width=width)
    if text is not None:
        beside: dict[str, Any] = {"rotation": "horizontal", "ha": "right", "va": "center", "labelpad": 5}
        plain: dict[str, Any] = {"color": palette.INK, "parse_math": False}
        axes.set_ylabel(canvas.wrap(text, 1.1, canvas.LABEL), size=canvas.LABEL, **plain, **beside)


def _draw_map(
    sheet: _Sheet,
    row: int,
    column: int,
    method: str,
    heat: np.ndarray,
    scale: Scale,
    picture: np.ndarray | None,
    mode: Mode,
) -> None:
    axes = sheet.grid[row, column]
    panels.draw(axes, heat, scale, picture, mode)
    heading = canvas.wrap(method, sheet.side, sheet.size) if row < sheet.headings else None
    canvas.picture_panel(axes, title=heading, size=sheet.size)
    own = shared_scale("explanations", [heat], sign=scale.sign)  # other maps may share the scale
    if own.largest == 0:
        text = "\n".join(own.notes()[-1:])
        color = palette.FAINT if mode == "mask" else palette.MUTED
        canvas.write(axes, 0.5, 0.5, text, size=canvas.NOTE, color=color, transform=axes.transAxes, wrap=True)


def _missing(tables: dict[str, list[np.ndarray]]) -> list[str]:
    missing = sum(int((~np.isfinite(heat)).sum()) for heats in tables.values() for heat in heats)
    return [f"{missing:,} NaN or inf values are shown in yellow."] if missing else []

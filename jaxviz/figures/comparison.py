"""Comparison: a table of examples and methods, each cell the map of one example by one method."""

import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from jaxviz.figures import canvas, checks, palette, panels
from jaxviz.figures.rgb import Mode, as_rgb, check_mode, fit_to_image, to_bytes
from jaxviz.figures.scale import PERCENTILE, Reduction, Scale, Sign, as_map, shared_scale


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
    right = None if correct is None else [bool(value) for value in correct]
    if right is not None and len(right) != count:
        raise ValueError(f"{where}: correct must have one entry per image, {count} in all, got {len(right)}")
    pictures = [as_rgb(where, item, f"images[{i}]") for i, item in enumerate(given)]

    lines, columns = canvas.grid_shape(len(attributions) + 1, None, 9)  # of each example
    side = min(1.5, (canvas.WIDTH - (1.2 if lines == 1 else 0.9)) / columns)
    longest = max(len(word) for method in attributions for word in str(method).split() or [""])
    size = canvas.LABEL if lines == 1 and longest * canvas.LABEL * 0.56 / 72 <= 0.85 * side else canvas.NOTE
    ratio = min(max(pictures[0][0].shape[0] / pictures[0][0].shape[1], 0.3), 2.0)
    headings = 1 if lines == 1 else count * lines  # several lines need a heading for each map
    height = count * lines * (side * ratio + 0.08) + 0.3 * headings + (0.4 if title else 0.1) + 0.3
    figure = canvas.sheet(side * columns + (1.3 if lines == 1 else 2.0), height, title=title, layout="compressed")
    cells = figure.subplots(count * lines, columns, squeeze=False)
    grid = cells.reshape(count, lines * columns)
    for axes in grid[:, len(attributions) + 1 :].flat:
        axes.set_axis_off()
    for row, (picture, _) in enumerate(pictures):
        axes = grid[row, 0]
        axes.imshow(to_bytes(picture), interpolation="nearest", origin="upper", aspect="equal")
        color, width = (
            (palette.FAINT, 0.8) if right is None else ((palette.RIGHT, 1.5) if right[row] else (palette.WRONG, 3.5))
        )
        canvas.picture_panel(axes, title="input" if row < headings else None, size=size, color=color, width=width)
        if names is not None:
            text = canvas.wrap(names[row], 1.1, canvas.LABEL)
            axes.set_ylabel(
                text, size=canvas.LABEL, color=palette.INK, rotation="horizontal", ha="right", va="center", labelpad=5
            )

    tables: dict[str, list[np.ndarray]] = {}
    for method, maps in attributions.items():
        items = panels.items(where, f"attributions[{method!r}]", maps)
        if len(items) != count:
            raise ValueError(
                f"{where}: attributions[{method!r}] must hold one map per image, {count} in all, got {len(items)}"
            )
        heats = [
            as_map(where, item, channels, f"attributions[{method!r}][{i}]", pictures[i][0].shape[:2])
            for i, item in enumerate(items)
        ]
        tables[method] = [fit_to_image(where, heat, *pictures[i][0].shape[:2]) for i, heat in enumerate(heats)]
    scaled = functools.partial(shared_scale, where, sign=sign, percentile=percentile, limit=limit)
    every = scaled([heat for heats in tables.values() for heat in heats]) if scale == "shared" else None
    missing = clipped = 0
    for column, (method, heats) in enumerate(tables.items(), start=1):
        common = scaled(heats) if scale == "method" else every
        for row, heat in enumerate(heats):
            own = common or scaled([heat])
            missing += int((~np.isfinite(heat)).sum())
            clipped += own.clipped if scale == "map" or (scale == "method" and row == 0) else 0
            axes = grid[row, column]
            panels.draw(axes, heat, own, pictures[row][0] if overlaid else None, mode)
            heading = canvas.wrap(str(method), side, size) if row < headings else None
            canvas.picture_panel(axes, title=heading, size=size)
            if own.largest == 0:
                canvas.write(
                    axes,
                    0.5,
                    0.5,
                    "\n".join(own.notes()[-1:]),
                    size=canvas.NOTE,
                    color=palette.FAINT if mode == "mask" else palette.MUTED,
                    transform=axes.transAxes,
                    wrap=True,
                )
    # With one scale for all, colors keep their unit; otherwise they are shares.
    unit = every or Scale(sign, 1.0, 1.0, None, clipped, 0, 0, 1)
    panels.bar(figure, list(cells.flat), unit, label or (None if every else f"share of the {scale}'s limit"), mode)
    said = (
        every.notes()
        if every
        else [f"The limit covers {percentile:g} % of the non-zero magnitudes of each {scale}; stronger ones saturate."]
        if clipped
        else []
    )
    if missing and not every:  # its notes tell already
        said.append(f"{missing:,} NaN or inf values are shown in yellow.")
    if any(note for _, note in pictures):
        said.append("Images with values beyond [0, 1] are each stretched: minimum shown as black, maximum as white.")
    if right is not None:
        said.append("Frames: thin blue for right answers, thick orange for wrong ones.")
    canvas.add_notes(figure, said)
    return figure

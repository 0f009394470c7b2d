"""Heat maps: one attribution, several on one scale, over their images, or a table of examples and methods."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from jaxviz.figures import canvas, checks, palette
from jaxviz.figures.rgb import as_rgb, blend, fit_to_image, to_bytes
from jaxviz.figures.scale import PERCENTILE, Reduction, Scale, Sign, as_map, shared_scale, signed_part

LABELS = {
    "all": "attribution",
    "positive": "positive attribution",
    "negative": "negative attribution",
    "absolute": "|attribution|",
}


def heatmap(
    attribution: npt.ArrayLike,
    *,
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    title: str | None = None,
) -> canvas.Figure:
    """Draws one attribution as a heat map with a color bar.

    Signed maps have a scale symmetric about 0, orange positive and blue negative. Clipped values, NaN, inf and maps without
    anything to show are told in a note under the picture.

    Args:
        attribution: `(H, W)`, or `(H, W, C)`, whose channels are reduced.
        sign: "all", "positive", "negative" or "absolute"; see `normalize`.
        percentile: the share of the non-zero magnitudes, in % (0, 100], within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile.
        channels: how channels are taken together: "sum", "mean", "norm" or "largest"; see `reduce_channels`.
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape, sign, percentile or limit.
        TypeError: the attribution is not made of real numbers.

    Example:
        >>> figure = heatmap([[0.5, -1.0], [0.0, 2.0]], title="gradient")
        >>> figure.axes[0].images[0].get_clim()
        (-2.0, 2.0)
    """
    heat = as_map("heatmap", attribution, channels)
    scale = shared_scale("heatmap", [heat], sign=sign, percentile=percentile, limit=limit)
    return _single(heat, scale, None, [], title)


def overlay(
    image: npt.ArrayLike,
    attribution: npt.ArrayLike,
    *,
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    title: str | None = None,
) -> canvas.Figure:
    """Draws an image in faded gray, tinted by its attribution, with a color bar.

    Args:
        image: `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`; uint8, or floats in [0, 1]. Floats beyond that range are
            stretched, and a note says so.
        attribution: `(H, W)` or `(H, W, C)`; or smaller by whole factors, such as a Grad-CAM on its layer's grid.
        sign: "all", "positive", "negative" or "absolute"; see `normalize`.
        percentile: the share of the non-zero magnitudes, in %, within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile.
        channels: how channels are taken together; see `reduce_channels`.
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape, sign, percentile or limit.
        TypeError: image or attribution are not made of real numbers.

    Example:
        >>> figure = overlay([[0.0, 1.0]], [[0.5, -1.0]])
        >>> figure.axes[0].images[0].get_array().shape
        (1, 2, 3)
    """
    colors, note = as_rgb("overlay", image)
    heat = fit_to_image("overlay", as_map("overlay", attribution, channels), *colors.shape[:2])
    scale = shared_scale("overlay", [heat], sign=sign, percentile=percentile, limit=limit)
    return _single(heat, scale, colors, [] if note is None else [note], title)


def _single(
    heat: np.ndarray, scale: Scale, image: np.ndarray | None, notes: list[str], title: str | None
) -> canvas.Figure:
    ratio = min(max(heat.shape[0] / heat.shape[1], 0.2), 2.0)
    figure = canvas.sheet(5.2, 0.45 + 4.1 * ratio + (0.25 if title else 0.0), layout="compressed")
    axes = figure.add_subplot()
    _draw(axes, heat, scale, image)
    canvas.picture_panel(
        axes, title=None if title is None else canvas.wrap(title, 4.4, canvas.TITLE, canvas.HEADING), size=canvas.TITLE
    )
    _bar(figure, [axes], scale)
    canvas.add_notes(figure, notes + scale.notes())
    return figure


def heatmaps(
    attributions: npt.ArrayLike | Sequence[npt.ArrayLike],
    *,
    images: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    title: str | None = None,
) -> canvas.Figure:
    """Draws several attributions on one shared scale with one color bar, on their own or over their images.

    Args:
        attributions: a batch `(n, H, W)` or `(n, H, W, C)`, or a sequence of `(H, W)` and `(H, W, C)` of any sizes; at most 100.
        images: as many images, drawn under the maps as in `overlay`.
        titles: one title each.
        columns: how many panels in a row; by default at most 5.
        sign: "all", "positive", "negative" or "absolute"; see `normalize`.
        percentile: the share of the non-zero magnitudes of all maps together, in %, within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile.
        channels: how channels are taken together; see `reduce_channels`.
        title: a title of the whole figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: no map or more than 100, a bad shape, sign, percentile or limit, or counts that differ.
        TypeError: something is not made of real numbers.

    Example:
        >>> figure = heatmaps([[[1.0, 2.0]], [[-4.0, 3.0]]], titles=["first", "second"])
        >>> [axes.images[0].get_clim() for axes in figure.axes[:2]]
        [(-4.0, 4.0), (-4.0, 4.0)]
    """
    heats = [
        as_map("heatmaps", item, channels, f"attributions[{i}]")
        for i, item in enumerate(_items("heatmaps", "attributions", attributions))
    ]
    if not 1 <= len(heats) <= 100:
        raise ValueError(f"heatmaps: attributions must hold 1 to 100 maps, got {len(heats)}")
    names = checks.check_names("heatmaps", "titles", titles, len(heats), "attribution")
    columns = None if columns is None else checks.check_count("heatmaps", "columns", columns)
    colors: list[np.ndarray | None] = [None] * len(heats)
    notes: list[str] = []
    if images is not None:
        given = _items("heatmaps", "images", images)
        if len(given) != len(heats):
            raise ValueError(f"heatmaps: images must be as many as attributions, {len(heats)}, got {len(given)}")
        for i, item in enumerate(given):
            picture, note = as_rgb("heatmaps", item, f"images[{i}]")
            heats[i] = fit_to_image("heatmaps", heats[i], *picture.shape[:2])
            colors[i] = picture
            if note is not None and "shown as black to white" not in " ".join(notes):
                notes.append(
                    "Images with values beyond [0, 1] are each stretched: minimum shown as black, maximum as white."
                )
    scale = shared_scale("heatmaps", heats, sign=sign, percentile=percentile, limit=limit)

    rows, columns = canvas.grid_shape(len(heats), columns, 5)
    side = min(2.2, (canvas.WIDTH - 0.8) / columns)
    ratio = min(max(float(np.median([heat.shape[0] / heat.shape[1] for heat in heats])), 0.2), 2.0)
    height = rows * (side * ratio + (0.3 if names else 0.08)) + (0.45 if title else 0.1) + 0.3
    figure = canvas.sheet(max(side * columns + 0.9, 3.6), height, title=title, layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False)
    for i, axes in enumerate(grid.flat):
        if i >= len(heats):
            axes.set_axis_off()
            continue
        _draw(axes, heats[i], scale, colors[i])
        canvas.picture_panel(axes, title=None if names is None else canvas.wrap(names[i], side, canvas.LABEL))
    _bar(figure, list(grid.flat), scale)
    canvas.add_notes(figure, notes + scale.notes())
    return figure


def explanations(
    images: npt.ArrayLike | Sequence[npt.ArrayLike],
    attributions: Mapping[str, npt.ArrayLike | Sequence[npt.ArrayLike]],
    *,
    titles: Sequence[str] | None = None,
    correct: Sequence[bool] | None = None,
    scale: Literal["map", "method", "shared"] = "map",
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    channels: Reduction = "sum",
    overlaid: bool = False,
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
        channels: how channels are taken together; see `reduce_channels`.
        overlaid: draw the maps over the faded images.
        label: what the color bar shows, where it is no attribution ("share of attention").
        title: a title of the whole figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: too many examples or methods, counts that differ, a bad shape, sign, scale or percentile.
        TypeError: something is not made of real numbers.

    Example:
        >>> images = [[[0.0, 1.0], [1.0, 0.0]]]
        >>> figure = explanations(images, {"gradient": [[[0.0, 3.0], [-1.0, 0.0]]]}, titles=["7 → 1 (0.62)"])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['input', 'gradient']
    """
    where = "explanations"
    checks.check_choice(where, "scale", scale, ("map", "method", "shared"))
    given = _items(where, "images", images)
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
    size = canvas.LABEL if lines == 1 and longest * canvas.LABEL * 0.56 / 72 <= side else canvas.NOTE
    ratio = min(max(pictures[0][0].shape[0] / pictures[0][0].shape[1], 0.3), 2.0)
    headings = 1 if lines == 1 else count * lines  # several lines need a heading for each map
    height = count * lines * (side * ratio + 0.08) + 0.3 * headings + (0.4 if title else 0.1) + 0.3
    figure = canvas.sheet(side * columns + (1.3 if lines == 1 else 2.0), height, title=title, layout="compressed")
    panels = figure.subplots(count * lines, columns, squeeze=False)
    grid = panels.reshape(count, lines * columns)
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
        items = _items(where, f"attributions[{method!r}]", maps)
        if len(items) != count:
            raise ValueError(
                f"{where}: attributions[{method!r}] must hold one map per image, {count} in all, got {len(items)}"
            )
        heats = [as_map(where, item, channels, f"attributions[{method!r}][{i}]") for i, item in enumerate(items)]
        tables[method] = [fit_to_image(where, heat, *pictures[i][0].shape[:2]) for i, heat in enumerate(heats)]
    scaled = functools.partial(shared_scale, where, sign=sign, percentile=percentile)
    every = scaled([heat for heats in tables.values() for heat in heats]) if scale == "shared" else None
    missing = clipped = 0
    for column, (method, heats) in enumerate(tables.items(), start=1):
        common = scaled(heats) if scale == "method" else every
        for row, heat in enumerate(heats):
            own = common or scaled([heat])
            missing += int((~np.isfinite(heat)).sum())
            clipped += own.clipped if scale == "map" or (scale == "method" and row == 0) else 0
            axes = grid[row, column]
            _draw(axes, heat, own, pictures[row][0] if overlaid else None)
            heading = canvas.wrap(str(method), side, size) if row < headings else None
            canvas.picture_panel(axes, title=heading, size=size)
            if own.largest == 0:
                canvas.write(
                    axes,
                    0.5,
                    0.5,
                    "\n".join(own.notes()[-1:]),
                    size=canvas.NOTE,
                    color=palette.MUTED,
                    transform=axes.transAxes,
                    wrap=True,
                )
    # With one scale for all, colors keep their unit; otherwise they are shares.
    unit = every or Scale(sign, 1.0, 1.0, None, clipped, 0, 0, 1)
    _bar(figure, list(panels.flat), unit, label or (None if every else f"share of the {scale}'s limit"))
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


def _items(where: str, name: str, value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    array = np.asarray(value)
    if array.ndim < 1:
        raise TypeError(f"{where}: {name} must be a batch or a sequence of arrays, got {type(value).__name__}")
    return list(array)


def _draw(axes: Axes, heat: np.ndarray, scale: Scale, image: np.ndarray | None) -> None:
    part = signed_part(heat, scale.sign)
    # long thin maps (a row of tokens) may fill the panel; pictures keep square pixels
    aspect: Literal["equal", "auto"] = "equal" if 0.2 <= heat.shape[0] / heat.shape[1] <= 5 else "auto"
    settings: dict[str, Any] = {"interpolation": "nearest", "origin": "upper", "aspect": aspect}
    if image is not None:
        axes.imshow(to_bytes(blend(image, part, scale)), **settings)
        return
    shown = np.ma.masked_invalid(part)
    axes.imshow(shown, cmap=canvas.color_map(scale.map), vmin=scale.low, vmax=scale.high, **settings)


def _bar(figure: canvas.Figure, axes: Sequence[Axes], scale: Scale, label: str | None = None) -> None:
    canvas.color_bar(
        figure,
        axes,
        map=scale.map,
        low=scale.low,
        high=scale.high,
        label=label or LABELS[scale.sign],
        clipped=scale.clipped > 0,
    )

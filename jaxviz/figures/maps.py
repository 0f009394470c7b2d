"""Heat maps: one attribution, or several on one scale, by themselves or over their images."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jaxviz.figures import canvas, checks, panels
from jaxviz.figures.rgb import Mode, as_rgb, check_mode, fit_to_image, notes_of_images
from jaxviz.figures.scale import PERCENTILE, Reduction, Scale, Sign, as_map, shared_scale


def heatmap(
    attribution: npt.ArrayLike,
    *,
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    groups: npt.ArrayLike | None = None,
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
        groups: `(H, W)` or `(H, W, 1)` integers, the group of each pixel, such as `superpixels` makes: their borders are drawn.
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape (a batch of one map, too), sign, percentile or limit.
        TypeError: the attribution is not made of real numbers, or groups not of integers.

    Example:
        >>> figure = heatmap([[0.5, -1.0], [0.0, 2.0]], title="gradient")
        >>> figure.axes[0].images[0].get_clim()
        (-2.0, 2.0)
    """
    heat = as_map("heatmap", attribution, channels)
    scale = shared_scale("heatmap", [heat], sign=sign, percentile=percentile, limit=limit)
    return _single("heatmap", heat, scale, None, [], groups, title)


def overlay(
    image: npt.ArrayLike,
    attribution: npt.ArrayLike,
    *,
    mode: Mode = "blend",
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    groups: npt.ArrayLike | None = None,
    title: str | None = None,
) -> canvas.Figure:
    """Draws an image and its attribution in one picture, with a color bar: tinted by it, or seen only where it is.

    "blend" is the one to read values from. "mask" and "alpha" show what of the image counts, and of the attribution only how
    strong it is there, of one sign. What is dark in the image stays dark under a mask however much it counts, and what is bright
    is lost on white.

    Args:
        image: `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`; uint8, or floats in [0, 1]. Floats beyond that range are
            stretched, and a note says so.
        attribution: `(H, W)` or `(H, W, C)`; or smaller by whole factors, such as a Grad-CAM on its layer's grid.
        mode: "blend" (the image in faded gray, tinted), "mask" (the image on black, as bright as the attribution is strong) or
            "alpha" (on white, as opaque); `overlay_rgb` has the formulas.
        sign: "all", "positive", "negative" or "absolute"; see `normalize`. Not "all" in the modes "mask" and "alpha", which
            cannot tell signs apart.
        percentile: the share of the non-zero magnitudes, in %, within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile.
        channels: how channels are taken together; see `reduce_channels`.
        groups: `(H, W)` or `(H, W, 1)` integers, the group of each pixel, such as `superpixels` makes: their borders are drawn.
        title: a title.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: a bad shape (a batch of one map, too), mode, sign, percentile or limit; `sign="all"` in a
            mode that cannot tell signs apart.
        TypeError: image or attribution are not made of real numbers, or groups not of integers.

    Example:
        >>> figure = overlay([[0.0, 1.0]], [[0.5, -1.0]])
        >>> figure.axes[0].images[0].get_array().shape
        (1, 2, 3)
    """
    check_mode("overlay", mode, sign)
    picture = as_rgb("overlay", image)
    colors = picture[0]
    heat = as_map("overlay", attribution, channels, picture=colors.shape[:2])
    heat = fit_to_image("overlay", heat, *colors.shape[:2])
    scale = shared_scale("overlay", [heat], sign=sign, percentile=percentile, limit=limit)
    return _single("overlay", heat, scale, colors, notes_of_images([picture]), groups, title, mode)


def _single(
    where: str,
    heat: np.ndarray,
    scale: Scale,
    image: np.ndarray | None,
    notes: list[str],
    groups: npt.ArrayLike | None,
    title: str | None,
    mode: Mode = "blend",
) -> canvas.Figure:
    ratio = min(max(heat.shape[0] / heat.shape[1], 0.2), 2.0)
    figure = canvas.sheet(5.2, 0.45 + 4.1 * ratio + (0.25 if title else 0.0), layout="compressed")
    axes = figure.add_subplot()
    panels.draw(axes, heat, scale, image, mode)
    if groups is not None:
        panels.borders(axes, checks.as_groups(where, "groups", groups, *heat.shape))
    canvas.picture_panel(
        axes, title=None if title is None else canvas.wrap(title, 4.4, canvas.TITLE, canvas.HEADING), size=canvas.TITLE
    )
    panels.bar(figure, [axes], scale, mode=mode)
    canvas.add_notes(figure, notes + scale.notes())
    return figure


def heatmaps(
    attributions: npt.ArrayLike | Sequence[npt.ArrayLike],
    *,
    images: npt.ArrayLike | Sequence[npt.ArrayLike] | None = None,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    mode: Mode = "blend",
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    title: str | None = None,
) -> canvas.Figure:
    """Draws several attributions on one shared scale with one color bar, on their own or over their images.

    Args:
        attributions: a batch `(n, H, W)` or `(n, H, W, C)`, or a sequence of `(H, W)` and `(H, W, C)` of any sizes; at most 100.
        images: as many images, drawn with the maps as in `overlay`.
        titles: one title each.
        columns: how many panels in a row; by default at most 5.
        mode: how maps are laid on images: "blend", "mask" or "alpha"; see `overlay`.
        sign: "all", "positive", "negative" or "absolute"; see `normalize`.
        percentile: the share of the non-zero magnitudes of all maps together, in %, within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile.
        channels: how channels are taken together; see `reduce_channels`.
        title: a title of the whole figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: no map or more than 100, a bad shape, mode, sign, percentile or limit, a mode without images, or counts
            that differ.
        TypeError: something is not made of real numbers.

    Example:
        >>> figure = heatmaps([[[1.0, 2.0]], [[-4.0, 3.0]]], titles=["first", "second"])
        >>> [axes.images[0].get_clim() for axes in figure.axes[:2]]
        [(-4.0, 4.0), (-4.0, 4.0)]
    """
    check_mode("heatmaps", mode, sign)
    if images is None and mode != "blend":
        raise ValueError(f"heatmaps: mode {mode!r} shows images through their maps: give images")
    maps = panels.items("heatmaps", "attributions", attributions)
    if not 1 <= len(maps) <= 100:
        raise ValueError(f"heatmaps: attributions must hold 1 to 100 maps, got {len(maps)}")
    names = checks.check_names("heatmaps", "titles", titles, len(maps), "attribution")
    columns = None if columns is None else checks.check_count("heatmaps", "columns", columns)
    pictures: list[tuple[np.ndarray, str | None]] = []
    if images is not None:
        given = panels.items("heatmaps", "images", images)
        if len(given) != len(maps):
            raise ValueError(f"heatmaps: images must be as many as attributions, {len(maps)}, got {len(given)}")
        for i, item in enumerate(given):
            pictures.append(as_rgb("heatmaps", item, f"images[{i}]"))
    colors: list[np.ndarray | None] = [color for color, _ in pictures] if pictures else [None] * len(maps)
    heats = []
    for i, (item, color) in enumerate(zip(maps, colors, strict=True)):
        size = None if color is None else color.shape[:2]
        heat = as_map("heatmaps", item, channels, f"attributions[{i}]", size)
        heats.append(heat if size is None else fit_to_image("heatmaps", heat, *size))
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
        panels.draw(axes, heats[i], scale, colors[i], mode)
        canvas.picture_panel(axes, title=None if names is None else canvas.wrap(names[i], side, canvas.LABEL))
    panels.bar(figure, list(grid.flat), scale, mode=mode)
    canvas.add_notes(figure, notes_of_images(pictures) + scale.notes())
    return figure

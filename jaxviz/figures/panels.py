"""The panel of a map, and the color bar of several: what all figures of maps share."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from jaxviz.figures import canvas, palette
from jaxviz.figures.rgb import lay, map_of, to_bytes
from jaxviz.figures.scale import Scale, signed_part

LABELS = {
    "all": "attribution",
    "positive": "positive attribution",
    "negative": "negative attribution",
    "absolute": "|attribution|",
}
SEEN = {"blend": "", "mask": " (brightness)", "alpha": " (opacity)"}


def items(where: str, name: str, value: Any) -> list[Any]:
    """The arrays of a batch or a sequence."""
    if isinstance(value, list | tuple):
        return list(value)
    array = np.asarray(value)
    if array.ndim < 1:
        raise TypeError(f"{where}: {name} must be a batch or a sequence of arrays, got {type(value).__name__}")
    return list(array)


def draw(axes: Axes, heat: np.ndarray, scale: Scale, image: np.ndarray | None, mode: str = "blend") -> None:
    """Draws a map into its panel, over its image if there is one."""
    part = signed_part(heat, scale.sign)
    # long thin maps (a row of tokens) may fill the panel; pictures keep square pixels
    aspect: Literal["equal", "auto"] = "equal" if 0.2 <= heat.shape[0] / heat.shape[1] <= 5 else "auto"
    settings: dict[str, Any] = {"interpolation": "nearest", "origin": "upper", "aspect": aspect}
    if image is not None:
        axes.imshow(to_bytes(lay(image, part, scale, mode)), **settings)
        return
    shown = np.ma.masked_invalid(part)
    axes.imshow(shown, cmap=canvas.color_map(scale.map), vmin=scale.low, vmax=scale.high, **settings)


def borders(axes: Axes, groups: np.ndarray) -> None:
    """Draws the borders between groups of pixels, dark on a light edge: seen on every ground."""
    rows, columns = np.nonzero(groups[1:] != groups[:-1])
    level = np.stack([columns - 0.5, rows + 0.5, columns + 0.5, rows + 0.5], axis=1)
    rows, columns = np.nonzero(groups[:, 1:] != groups[:, :-1])
    upright = np.stack([columns + 0.5, rows - 0.5, columns + 0.5, rows + 0.5], axis=1)
    lines: Any = np.concatenate([level, upright]).reshape(-1, 2, 2)
    for color, width in ((palette.PAPER, 1.6), (palette.INK, 0.7)):
        axes.add_collection(LineCollection(lines, colors=color, linewidths=width, capstyle="round"), autolim=False)


def bar(
    figure: canvas.Figure, axes: Sequence[Axes], scale: Scale, label: str | None = None, mode: str = "blend"
) -> None:
    """The color bar of a scale, beside the panels that share it."""
    canvas.color_bar(
        figure,
        axes,
        map=map_of(scale, mode),
        low=scale.low,
        high=scale.high,
        label=(label or LABELS[scale.sign]) + SEEN[mode],
        clipped=scale.clipped > 0,
    )

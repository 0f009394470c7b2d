"""The colors of every picture, by role, and the color maps made from them. No matplotlib here: colors are plain numbers.

The categorical colors are those of Okabe and Ito, told apart by readers with every common kind of color blindness. The
diverging map runs between two of them, blue and vermilion, an axis that red-green blindness leaves intact, and its lightness
falls equally to both sides.

References:
    M. Okabe, K. Ito. Color Universal Design: how to make figures and presentations that are friendly to colorblind people. 2008.
"""

import functools

import numpy as np

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW, BLACK = "#E69F00", "#56B4E9", "#F0E442", "#000000"

CLASSES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, YELLOW, BLACK)
POSITIVE, NEGATIVE, NEUTRAL = VERMILION, BLUE, "#F7F7F7"
NAN = "#FFF000"  # a yellow without any blue: far from every color of the maps below, for every reader
TRAIN, VALIDATION = BLUE, "#00426B"  # one hue; validation is also dashed
RIGHT, WRONG = BLUE, VERMILION  # wrong is also drawn thicker
INK, MUTED, FAINT, PAPER = "#1F1F1F", "#5F5F5F", "#DEDEDE", "#FFFFFF"

# Color maps as anchors at even distances, white (no attribution) to dark (much of it).
MAPS = {
    "diverging": ("#004675", BLUE, "#77B7DE", NEUTRAL, "#F4AE84", VERMILION, "#863700"),
    "positive": (NEUTRAL, "#F4AE84", VERMILION, "#863700"),
    "negative": ("#004675", BLUE, "#77B7DE", NEUTRAL),  # its low end is the most negative
    "probability": (BLUE, "#77B7DE", NEUTRAL, "#F4AE84", VERMILION),  # from class 0 to class 1
    "sequential": (NEUTRAL, "#C3A8D6", "#8250A8", "#33094F"),
    "brighter": (BLACK, PAPER),  # how much of a picture is seen: on black,
    "darker": (PAPER, BLACK),  # and on paper
    "value": ("#9ADBC5", "#3FA7A5", "#4A62A8", "#33094F"),  # low to high, for points on white: its low end is not white
}


def rgb(color: str) -> np.ndarray:
    """The red, green and blue of `#RRGGBB`, `(3,)` float64 in [0, 1].

    Example:
        >>> rgb("#FF0080").round(2).tolist()
        [1.0, 0.0, 0.5]
    """
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255


@functools.cache
def table(name: str) -> np.ndarray:
    """A color map as a look-up table, `(257, 3)` float64 in [0, 1]: an odd number, so that the middle color is exact."""
    anchors = np.stack([rgb(color) for color in MAPS[name]])
    at = np.linspace(0, 1, 257)
    colors = np.stack([np.interp(at, np.linspace(0, 1, len(anchors)), channel) for channel in anchors.T], axis=-1)
    colors.flags.writeable = False  # shared by all callers
    return colors


def paint(unit: np.ndarray, name: str) -> np.ndarray:
    """Colors of values in [0, 1] by the map `name`: `(...,)` -> `(..., 3)` float64 in [0, 1]. NaN is painted `NAN`."""
    missing = np.isnan(unit)
    index = np.rint(np.clip(np.where(missing, 0, unit), 0, 1) * 256).astype(int)
    return np.where(np.asarray(missing)[..., None], rgb(NAN), table(name)[index])


def class_color(index: int) -> str:
    """The color of class `index`; after eight classes the colors start again."""
    return CLASSES[index % len(CLASSES)]


def luminance(color: np.ndarray) -> np.ndarray:
    """Relative luminance (WCAG 2) of colors `(..., 3)` in [0, 1]: 0 for black, 1 for white."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def ink_on(color: np.ndarray) -> str:
    """The text color, dark or white, that has more contrast on a background `(3,)`."""
    light = float(luminance(np.asarray(color)[:3]))
    return INK if (light + 0.05) / (float(luminance(rgb(INK))) + 0.05) >= 1.05 / (light + 0.05) else PAPER

"""Pictures as plain arrays: an attribution, or an image under its attribution, as `(H, W, 3)` uint8. No matplotlib."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from jaxviz.figures import checks, palette
from jaxviz.figures.scale import PERCENTILE, Reduction, Scale, Sign, as_map, shared_scale, signed_part

Mode: TypeAlias = Literal["blend", "mask", "alpha"]

MODES = ("blend", "mask", "alpha")
GRAY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
ROUNDING = 1e-3  # by which alpha may be beyond [0, 1], from resampling for instance
FADE = 0.55  # black of the image becomes 1 - FADE under an overlay, so that the colors keep their meaning


def as_rgb(where: str, image: Any, name: str = "image") -> tuple[np.ndarray, str | None]:
    """An image as `(H, W, 3)` float64 in [0, 1] (not finite stays), and a note where its values were rescaled.

    uint8 is divided by 255; floats in [0, 1] stay; floats beyond (a standardized input) are stretched from their own minimum and
    maximum to [0, 1]. Alpha, a fourth channel, is no color: it is not stretched with them, and they are laid on white.
    """
    values = checks.as_numbers(where, name, image)
    given = np.asarray(image)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[-1] not in (1, 3, 4) or values.size == 0:
        raise ValueError(
            f"{where}: {name} must have shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {given.shape}"
        )
    note = None
    values, alpha = values[..., :3], values[..., 3:]
    if given.dtype == np.uint8:
        values = values / 255
    elif given.dtype.kind != "b":
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if low < 0 or high > 1:
            values = (values - low) / (high - low) if high > low else np.where(np.isfinite(values), 0.5, values)
            note = f"Image values {low:.3g} to {high:.3g} are shown as black to white."
    if alpha.size:
        alpha = _shares(where, name, alpha, given.dtype)
        values = values * alpha + (1 - alpha)
    return np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values, note


def _shares(where: str, name: str, alpha: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Alpha as shares of opaque: integers are of 255 unless none is above 1, floats are shares already."""
    finite = alpha[np.isfinite(alpha)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if dtype == np.uint8 or (dtype.kind in "iu" and high > 1):
        alpha, low, high = alpha / 255, low / 255, high / 255
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f"{where}: the fourth channel of {name}, alpha, must be in [0, 1], got {low:.3g} to {high:.3g}"
        )
    return np.clip(alpha, 0, 1)


def notes_of_images(pictures: Sequence[tuple[np.ndarray, str | None]]) -> list[str]:
    """What is to be told of the images that a figure shows: pictures and notes of `as_rgb`."""
    notes = [note for _, note in pictures if note is not None]
    if notes and len(pictures) > 1:
        notes = ["Images with values beyond [0, 1] are each stretched: minimum shown as black, maximum as white."]
    missing = sum(int((~np.isfinite(picture).all(axis=-1)).sum()) for picture, _ in pictures)
    if missing:
        total = sum(picture.shape[0] * picture.shape[1] for picture, _ in pictures)
        whose = "the image's" if len(pictures) == 1 else "the images'"
        notes.append(f"{missing:,} of {whose} {total:,} pixels are NaN or inf, shown in yellow.")
    return notes


def to_bytes(colors: np.ndarray) -> np.ndarray:
    """Colors in [0, 1] as uint8; pixels that are not finite in the color of NaN."""
    missing = ~np.isfinite(colors).all(axis=-1)
    colors = np.where(missing[..., None], palette.rgb(palette.NAN), colors)
    return np.rint(np.clip(colors, 0, 1) * 255).astype(np.uint8)


def fit_to_image(where: str, heat: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarges a map to the image's size by whole factors (each value a block); equal sizes pass through."""
    if height % heat.shape[0] or width % heat.shape[1]:
        raise ValueError(
            f"{where}: the attribution's height and width must be the image's, ({height}, {width}), or divide them, "
            f"got {heat.shape}"
        )
    return heat.repeat(height // heat.shape[0], axis=0).repeat(width // heat.shape[1], axis=1)


def blend(image: np.ndarray, part: np.ndarray, scale: Scale) -> np.ndarray:
    """The colors of a map (of the scale's sign) times the faded gray image: `(H, W, 3)` float64."""
    with np.errstate(invalid="ignore"):  # of pixels that are not finite, which get their own color
        gray = image @ GRAY
        heat = palette.paint(scale.unit(part), scale.map)
        mixed = heat * (1 - FADE + FADE * gray)[..., None]
    lost = ~np.isfinite(part) | ~np.isfinite(gray)
    return np.where(lost[..., None], palette.rgb(palette.NAN), mixed)


def lay(image: np.ndarray, part: np.ndarray, scale: Scale, mode: str) -> np.ndarray:
    """A map (of the scale's sign) laid on its image: `(H, W, 3)` float64. Pixels that are not finite have their own color."""
    if mode == "blend":
        return blend(image, part, scale)
    share = np.abs(scale.share(part))[..., None]
    ground = 0.0 if mode == "mask" else palette.rgb(palette.PAPER)
    with np.errstate(invalid="ignore"):  # of an infinite pixel of the image
        seen = share * image + (1 - share) * ground
    return np.where(np.isfinite(seen).all(axis=-1, keepdims=True), seen, palette.rgb(palette.NAN))


def map_of(scale: Scale, mode: str) -> str:
    """The name of the color map that tells how strong a map laid on an image is."""
    if mode == "blend":
        return scale.map
    return "brighter" if (mode == "mask") == (scale.sign != "negative") else "darker"


def check_mode(where: str, mode: str, sign: str) -> None:
    """Raises where the mode is unknown, or cannot tell the signs apart that it is asked to show."""
    checks.check_choice(where, "mode", mode, MODES)
    if mode != "blend" and sign == "all":
        raise ValueError(
            f"{where}: sign must be 'positive', 'negative' or 'absolute' where mode is {mode!r}, which cannot tell signs "
            "apart, got 'all'"
        )


def heatmap_rgb(
    attribution: npt.ArrayLike,
    *,
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
) -> np.ndarray:
    """An attribution as a color picture: orange where positive, blue where negative, near-white at 0, yellow where NaN or inf.

    Args:
        attribution: `(H, W)`, or `(H, W, C)`, whose channels are reduced.
        sign: "all", "positive", "negative" or "absolute" (purple); see `normalize`.
        percentile: the share of the non-zero magnitudes, in %, within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile: for pictures that stay
            comparable over steps.
        channels: how channels are taken together; see `reduce_channels`.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        ValueError: a bad shape (a batch of one map, too), sign, percentile or limit.
        TypeError: the attribution is not made of real numbers.

    Example:
        >>> heatmap_rgb([[0.0, 1.0]], limit=1.0).tolist()
        [[[247, 247, 247], [134, 55, 0]]]
    """
    heat = as_map("heatmap_rgb", attribution, channels)
    scale = shared_scale("heatmap_rgb", [heat], sign=sign, percentile=percentile, limit=limit)
    return to_bytes(palette.paint(scale.unit(signed_part(heat, sign)), scale.map))


def overlay_rgb(
    image: npt.ArrayLike,
    attribution: npt.ArrayLike,
    *,
    mode: Mode = "blend",
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
) -> np.ndarray:
    """An image and its attribution in one picture: tinted by it, or seen only where it is.

    - "blend": `color(attribution) * (0.45 + 0.55 * gray(image))`. The image is gray and faded so that hue means attribution and
      nothing else, and so that the colors can be read on dark and light parts alike.
    - "mask": `share * image`, where `share = |normalize(attribution)|`: black where there is no attribution.
    - "alpha": `share * image + (1 - share) * white`: nothing but white paper where there is no attribution.

    Args:
        image: `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`; uint8, or floats in [0, 1]. Floats beyond that range are
            stretched from their minimum and maximum.
        attribution: `(H, W)` or `(H, W, C)`; or smaller by whole factors, such as a Grad-CAM on its layer's grid.
        mode: "blend", "mask" or "alpha"; the last two show one sign, or magnitudes.
        sign: "all", "positive", "negative" or "absolute"; see `normalize`.
        percentile: the share of the non-zero magnitudes, in %, within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile.
        channels: how channels are taken together; see `reduce_channels`.

    Returns:
        `(H, W, 3)` uint8. Pixels where image or attribution are NaN or inf are yellow.

    Raises:
        ValueError: a bad shape (a batch of one map, too), mode, sign, percentile or limit; a mode that cannot tell
            signs apart with `sign="all"`.
        TypeError: image or attribution are not made of real numbers.

    Example:
        >>> overlay_rgb([[1.0, 0.0]], [[0.0, 0.0]]).tolist()
        [[[247, 247, 247], [111, 111, 111]]]
        >>> overlay_rgb([[1.0, 1.0]], [[1.0, 4.0]], mode="mask", sign="positive").tolist()
        [[[64, 64, 64], [255, 255, 255]]]

    Note:
        Captum's `masked_image` and `alpha_scaling`, but for the limit: see `normalize`.
    """
    check_mode("overlay_rgb", mode, sign)
    colors, _ = as_rgb("overlay_rgb", image)
    heat = as_map("overlay_rgb", attribution, channels, picture=colors.shape[:2])
    heat = fit_to_image("overlay_rgb", heat, *colors.shape[:2])
    scale = shared_scale("overlay_rgb", [heat], sign=sign, percentile=percentile, limit=limit)
    return to_bytes(lay(colors, signed_part(heat, sign), scale, mode))

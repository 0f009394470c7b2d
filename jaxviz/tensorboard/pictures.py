"""Images as PNGs and back."""

import io
from typing import Any

import numpy as np
from PIL import Image

# Yellow: neither on a scale of grays nor in most heat maps, and told apart by every reader.
_NOT_FINITE = (240, 228, 66)
_ROUNDING = 1e-3  # how far outside [0, 1] is a rounding error, not a mistake


def as_pixels(where: str, array: np.ndarray) -> np.ndarray:
    """Returns images as `(N, H, W, C)` uint8 with C 1, 3 or 4, from `(H, W)`, `(H, W, C)` or `(N, H, W, C)`.

    Floats in [0, 1] are scaled by 255 and rounded; what is not finite becomes yellow.
    """
    images = array
    if array.ndim == 2:
        images = array[None, :, :, None]
    elif array.ndim == 3:
        images = array[None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        hint = "; a stack (N, H, W) wants its channel axis: images[..., None]" if array.ndim == 3 else ""
        raise ValueError(
            f"{where}: image must have shape (H, W), (H, W, C) or (N, H, W, C) with C 1, 3 or 4 and no axis of size 0, "
            f"got {array.shape}{hint}"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * np.uint8(255)
    if images.dtype.kind != "f":
        raise TypeError(
            f"{where}: image must be uint8, bool or float in [0, 1], got {images.dtype}; image.astype('uint8')?"
        )
    finite = np.isfinite(images)
    whole = bool(finite.all())
    values = images if whole else np.where(finite, images, 0)
    low, high = float(values.min()), float(values.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        hint = (
            "image / 255?"
            if 2 < high <= 255 and low >= 0
            else "scale it first, e.g. by (x - x.min()) / (x.max() - x.min())"
        )
        raise ValueError(f"{where}: an image of floats must be in [0, 1], got values from {low:g} to {high:g}; {hint}")
    pixels = np.clip(np.rint(values.astype(np.float32, copy=False) * np.float32(255)), 0, 255).astype(np.uint8)
    return pixels if whole else _marked(pixels, ~finite.all(axis=-1))


def _marked(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    colored = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels.copy()
    colored[missing] = _NOT_FINITE if colored.shape[-1] == 3 else (*_NOT_FINITE, 255)
    return colored


def encode(pixels: np.ndarray) -> bytes:
    """Returns `(H, W, C)` uint8 as a PNG."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(buffer, "png", compress_level=3)  # 3 is several times faster than the default 6, and hardly larger
    return buffer.getvalue()


def decode(encoded: bytes) -> np.ndarray:
    """Returns a PNG as `(H, W, C)` uint8."""
    with Image.open(io.BytesIO(encoded)) as image:
        plain = image.mode in ("L", "RGB", "RGBA")
        array = np.asarray(image if plain else image.convert("RGBA" if "transparency" in image.info else "RGB"))
    return array[..., None] if array.ndim == 2 else array


def size(encoded: bytes) -> tuple[int, int]:
    """Returns width and height of a PNG."""
    with Image.open(io.BytesIO(encoded)) as image:
        return image.size


def render(where: str, figure: Any) -> bytes:
    """Returns a matplotlib figure as a PNG, at the figure's own size and dpi."""
    if not callable(getattr(figure, "savefig", None)):
        raise TypeError(f"{where}: figure must be a matplotlib Figure, got {type(figure).__name__}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi="figure", pil_kwargs={"compress_level": 3})
    return buffer.getvalue()

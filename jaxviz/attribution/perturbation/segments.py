"""Superpixels: a mask of image segments of like color, for the methods that take groups of features."""

from typing import Any

import numpy as np

from jaxviz.checks import check_count, check_number

# What makes CIE Lab of linear RGB: sRGB primaries and white point D65.
_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _RGB_TO_XYZ.sum(axis=1)


def superpixels(image: Any, *, segments: int = 50, compactness: float = 10.0, iterations: int = 10) -> np.ndarray:
    """Superpixels by SLIC: segments of an image that are compact and of one color, as a mask for perturbation methods.

    k-means on color (CIE Lab) and place, each pixel choosing among the clusters near it by
    `color_distance^2 + (compactness * place_distance / spacing)^2`, `spacing` the distance of the clusters at the start. Parts
    cut off from their segment, if small, then go to a neighbor, so that segments are connected.

    Args:
        image: `(height, width)`, `(height, width, channels)` or a batch, `(batch, height, width, channels)`; three channels are
            sRGB, others are taken as they are. Integers are from 0 to their type's maximum; floating point has any range, which
            is stretched to 0 to 1.
        segments: how many are wanted, at least 1 and at most the number of pixels; there will be about as many.
        compactness: how much the place counts against the color, more than 0. At 100 and more segments are nearly squares.
        iterations: of k-means, at least 1.

    Returns:
        The segment of each pixel, int32, numbered from 0: `(height, width)`, `(height, width, 1)`, or
        `(batch, height, width, 1)`, which is what `mask` takes for inputs of the image's shape.

    Raises:
        TypeError, ValueError: if image or a setting is of another shape or type or out of its range.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((32, 32, 3)); image[:, 16:] = 1.0
        >>> mask = superpixels(image, segments=4)
        >>> mask.shape, bool(np.intersect1d(mask[:, :16], mask[:, 16:]).size)
        ((32, 32, 1), False)

    Note:
        As `skimage.segmentation.slic` in its distance, color space and default compactness. Each pixel chooses among the nine
        clusters around it at the start, where there each cluster looks at the pixels around it.

    References:
        R. Achanta, A. Shaji, K. Smith, A. Lucchi, P. Fua, S. Susstrunk. SLIC Superpixels Compared to State-of-the-art Superpixel
        Methods. IEEE TPAMI 34, 2012.
    """
    name = "superpixels"
    pixels = _pixels(name, image)
    segments, iterations = check_count(name, "segments", segments), check_count(name, "iterations", iterations)
    if check_number(name, "compactness", compactness, 0) == 0:
        raise ValueError(f"{name}: compactness must be more than 0, got {compactness}")
    height, width = pixels.shape[1:3]
    if segments > height * width:
        raise ValueError(f"{name}: segments must be at most the number of pixels, {height * width}, got {segments}")
    labels = np.stack([_slic(one, segments, float(compactness), iterations) for one in pixels])
    if np.ndim(image) == 2:
        return labels[0]
    return labels[0, ..., None] if np.ndim(image) == 3 else labels[..., None]


def _pixels(function: str, image: Any) -> np.ndarray:
    """A batch of images in the units of color distances, float64 `(batch, height, width, channels)`."""
    if not hasattr(image, "shape") or not hasattr(image, "dtype"):
        raise TypeError(f"{function}: image must be an array, got {type(image).__name__}")
    array = np.asarray(image)
    if array.ndim not in (2, 3, 4) or not array.size:
        raise ValueError(
            f"{function}: image must have the shape (height, width), (height, width, channels) or (batch, height, width, "
            f"channels), got {array.shape}"
        )
    integers = np.issubdtype(array.dtype, np.integer)
    limit = np.iinfo(array.dtype).max if integers else None
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{function}: image must be finite, but it has NaN or infinite values")
    array = array.reshape((1,) * (array.ndim < 4) + array.shape + (1,) * (array.ndim == 2))
    if limit is not None:
        array = array / limit
    else:
        axes = (1, 2, 3)
        low, high = array.min(axis=axes, keepdims=True), array.max(axis=axes, keepdims=True)
        array = (array - low) / np.where(high > low, high - low, 1)
    if array.shape[3] != 3:
        return array * 100  # the range of Lab's lightness
    linear = np.where(array <= 0.04045, array / 12.92, ((np.maximum(array, 0) + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _RGB_TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _slic(pixels: np.ndarray, segments: int, compactness: float, iterations: int) -> np.ndarray:
    """The segments of one image, int32 `(height, width)`."""
    height, width, channels = pixels.shape
    spacing = np.sqrt(height * width / segments)
    rows = min(max(round(height / spacing), 1), height)
    columns = min(max(round(segments / rows), 1), width)
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    # Place and color in one, in the units of color.
    points = np.concatenate([pixels, places * (compactness / spacing)], axis=-1).reshape(-1, channels + 2)
    row = (np.arange(height) * rows // height)[:, None]
    column = (np.arange(width) * columns // width)[None]
    labels = (row * columns + column).ravel()
    # For each pixel, the clusters that started around it; at the border the same one twice, which does no harm.
    around = np.stack(
        [
            (np.clip(row + down, 0, rows - 1) * columns + np.clip(column + right, 0, columns - 1)).ravel()
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
        ]
    )
    centers = _means(points, labels, rows * columns, None)
    for _ in range(iterations):
        distances = np.stack([np.square(points - centers[near]).sum(axis=1) for near in around])
        chosen = np.take_along_axis(around, distances.argmin(axis=0)[None], axis=0)[0]
        if np.array_equal(chosen, labels):
            break
        labels = chosen
        centers = _means(points, labels, rows * columns, centers)
    return _connected(labels.reshape(height, width), smallest=height * width // (rows * columns) // 4)


def _means(points: np.ndarray, labels: np.ndarray, count: int, before: np.ndarray | None) -> np.ndarray:
    """The mean of the points of each label; of a label without points that before."""
    numbers = np.bincount(labels, minlength=count)
    sums = np.stack([np.bincount(labels, weights=part, minlength=count) for part in points.T], axis=1)
    means = sums / np.maximum(numbers, 1)[:, None]
    return means if before is None else np.where(numbers[:, None] > 0, means, before)


def _connected(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Each connected part a segment of its own, but for small ones, which go to the neighbor of the longest border."""
    parts = _parts(labels)
    while True:
        sizes = np.bincount(parts.ravel())
        borders = _borders(parts)
        ends = np.searchsorted(borders[:, 0], np.arange(sizes.size + 1))
        small = [part for part in np.argsort(sizes, kind="stable") if sizes[part] < smallest]
        goal, stays = np.arange(sizes.size), np.zeros(sizes.size, bool)
        for part in small:
            beside = borders[ends[part] : ends[part + 1]]
            # Not to one that goes away itself, and not away if another has come; the next round looks again.
            beside = beside[goal[beside[:, 1]] == beside[:, 1]]
            if len(beside) and not stays[part]:
                goal[part] = beside[beside[:, 2].argmax(), 1]
                stays[goal[part]] = True
        parts = np.unique(goal[parts], return_inverse=True)[1].reshape(labels.shape)
        if (goal == np.arange(goal.size)).all():
            return parts.astype(np.int32)


def _borders(parts: np.ndarray) -> np.ndarray:
    """Neighboring parts and the lengths of their borders, rows `(part, neighbor, length)` in the order of the parts."""
    pairs = np.concatenate(
        [
            np.stack([parts[1:].ravel(), parts[:-1].ravel()], axis=1),
            np.stack([parts[:, 1:].ravel(), parts[:, :-1].ravel()], axis=1),
        ]
    )
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    found, lengths = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0, return_counts=True)
    return np.concatenate([found, lengths[:, None]], axis=1)


def _parts(labels: np.ndarray) -> np.ndarray:
    """The connected parts of equal labels, numbered from 0."""
    root = np.arange(labels.size).reshape(labels.shape)
    down, right = labels[1:] == labels[:-1], labels[:, 1:] == labels[:, :-1]
    while True:
        before = root
        root = before.copy()  # each takes the least number of its neighbors, then that one's, and so on
        np.minimum(root[1:], before[:-1], out=root[1:], where=down)
        np.minimum(root[:-1], before[1:], out=root[:-1], where=down)
        np.minimum(root[:, 1:], before[:, :-1], out=root[:, 1:], where=right)
        np.minimum(root[:, :-1], before[:, 1:], out=root[:, :-1], where=right)
        root = root.ravel()[root]
        if np.array_equal(root, before):
            return np.unique(root, return_inverse=True)[1].reshape(labels.shape)

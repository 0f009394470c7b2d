"""Regions of an image, which may overlap, and their order by the attribution that each adds. On the host, in NumPy."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Regions(NamedTuple):
    """Regions as the pixels of each, and the regions of each pixel.

    Attributes:
        members: the pixels of all regions, one region after another.
        ends: where each region's pixels end in members, `(regions + 1,)`, the first of them 0.
        owners: the regions of all pixels, one pixel after another.
        stops: where each pixel's regions end in owners, `(pixels + 1,)`, the first of them 0.
    """

    members: np.ndarray
    ends: np.ndarray
    owners: np.ndarray
    stops: np.ndarray


def density(attribution: np.ndarray, regions: Regions, area: float, smallest: int, fast: bool = False) -> np.ndarray:
    """The mean attribution of each region's pixels that no region before it has, best first.

    What regions add is kept up to date pixel by pixel, so that all of them together cost about as much as their pixels.

    Args:
        attribution: of each pixel, `(pixels,)`.
        regions: the regions.
        area: no further region is added once they cover more than this share of the pixels.
        smallest: regions that would add fewer pixels are left out.
        fast: whether the best region is that of the highest mean over all of its pixels, also those that others have.

    Returns:
        For each pixel the density of its region when that was added, float64; for pixels of none, their mean attribution.
    """
    values = attribution.astype(np.float64)
    count, total = len(regions.ends) - 1, len(values)
    numbers = np.diff(regions.ends)
    sums = np.bincount(regions.owners, np.repeat(values, np.diff(regions.stops)), count)
    result, covered, left = np.zeros(total), np.zeros(total, bool), numbers >= smallest
    done, whole = 0, sums / np.maximum(numbers, 1)
    while done <= area * total and left.any():
        best = np.where(left, whole if fast else sums / np.maximum(numbers, 1), -np.inf).argmax()
        pixels = regions.members[regions.ends[best] : regions.ends[best + 1]]
        pixels = pixels[~covered[pixels]]
        result[pixels] = values[pixels].mean()
        covered[pixels] = True
        done += len(pixels)
        lengths = regions.stops[pixels + 1] - regions.stops[pixels]
        places = np.repeat(regions.stops[pixels] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        touched = regions.owners[places]
        sums -= np.bincount(touched, np.repeat(values[pixels], lengths), count)
        numbers = numbers - np.bincount(touched, minlength=count)
        left[best] = False
        left &= numbers >= smallest
    if not covered.all():
        result[~covered] = values[~covered].mean()
    return result


def regions(masks: Sequence[np.ndarray], dilation: int) -> Regions:
    """The regions of one image's masks.

    Args:
        masks: each `(*spatial)`: integers, each of whose values is a region, or True where its one region is.
        dilation: by how many pixels each region is widened.
    """
    pixels = masks[0].size
    keys, first = [], 0
    for mask in masks:
        numbered = mask.dtype != bool
        labels = np.unique(mask, return_inverse=True)[1].reshape(mask.shape) if numbered else np.where(mask, 0, -1)
        keys.append(_keys(labels, dilation) + first * pixels)
        first += int(labels.max(initial=-1)) + 1 if numbered else 1
    joined = np.concatenate(keys)
    owners, members = np.divmod(joined, pixels)
    by_pixel = np.argsort(members, kind="stable")
    return Regions(
        members,
        np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=first))]),
        owners[by_pixel],
        np.concatenate([[0], np.cumsum(np.bincount(members, minlength=pixels))]),
    )


def _keys(labels: np.ndarray, dilation: int) -> np.ndarray:
    """Which pixel belongs to which region, as `region * pixels + pixel`, sorted; a label of -1 is none."""
    place = np.arange(labels.size).reshape(labels.shape)
    inside = labels >= 0
    found = [labels[inside].astype(np.int64) * labels.size + place[inside]]
    if dilation:
        # Only from the borders of a region does one get to pixels that are not in it.
        border = np.zeros(labels.shape, bool)
        for axis in range(labels.ndim):
            swapped, edge = np.moveaxis(labels, axis, 0), np.moveaxis(border, axis, 0)
            differs = swapped[1:] != swapped[:-1]
            edge[1:] |= differs
            edge[:-1] |= differs
        points = np.argwhere(border & inside)
        for offset in _ball(dilation, labels.ndim):
            moved = points + offset
            within = ((moved >= 0) & (moved < labels.shape)).all(axis=1)
            region, there = labels[tuple(points[within].T)].astype(np.int64), tuple(moved[within].T)
            outside = labels[there] != region
            found.append(region[outside] * labels.size + place[there][outside])
    return np.unique(np.concatenate(found))


def _ball(radius: int, axes: int) -> Iterator[np.ndarray]:
    """The places of a ball of this radius, but for its center."""
    for offset in itertools.product(range(-radius, radius + 1), repeat=axes):
        if 0 < sum(part * part for part in offset) <= radius * radius:
            yield np.array(offset)


def read(function: str, segments: Any, batch: int, spatial: tuple[int, ...]) -> list[np.ndarray]:
    """The user's masks, each `(1 or batch, *spatial)`.

    Args:
        function: the name of the caller, for error messages.
        segments: an integer or boolean array, or a sequence of these, of the shape `spatial` or `(batch, *spatial)`, or of one of
            these with an axis of 1 for the channels behind it.
        batch: how many examples there are.
        spatial: their sides.
    """
    single = hasattr(segments, "shape")
    if not single and not isinstance(segments, list | tuple):
        raise TypeError(
            f"{function}: segments must be None, numbers of superpixels, or a mask or several, got {type(segments).__name__}"
        )
    masks = []
    for number, mask in enumerate([segments] if single else segments):
        name = "segments" if single else f"segments[{number}]"
        if isinstance(mask, jax.core.Tracer):
            raise TypeError(f"{function}: {name} is traced, but its values make the regions; give a concrete array")
        if not hasattr(mask, "shape") or not hasattr(mask, "dtype"):
            raise TypeError(f"{function}: {name} must be an array, got {type(mask).__name__}")
        array = np.asarray(mask)
        if not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
            raise TypeError(f"{function}: {name} must be integers or booleans, got dtype {array.dtype}")
        if array.shape in ((*spatial, 1), (batch, *spatial, 1)):
            array = array[..., 0]
        if array.shape == spatial:
            array = array[None]
        if array.shape not in ((1, *spatial), (batch, *spatial)):
            raise ValueError(
                f"{function}: {name} must have the shape {spatial} or {(batch, *spatial)}, or one of these with an axis of 1 "
                f"behind it, got {tuple(np.shape(mask))}"
            )
        masks.append(array)
    if not masks:
        raise ValueError(f"{function}: segments has no masks")
    return masks

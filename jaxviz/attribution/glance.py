"""A glance at a result on the host: whether attributions are all zero, nearly so, or not finite."""

import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxviz import finite, host

_SMALL = 1 << 12  # values, up to which NumPy's calls take longer than what they do
TINY = 1e-4  # a largest value of an example from which down it is asked whether its score is saturated


def largest_values(leaves: list[np.ndarray]) -> np.ndarray:
    """The largest absolute value of each example, NaN where it has one; of all together where axis 0 is not theirs alone."""
    if len({leaf.shape[:1] for leaf in leaves}) > 1:
        leaves = [leaf[None] for leaf in leaves]
    parts = [np.maximum.reduce(np.abs(leaf.reshape(len(leaf), -1)), axis=1) for leaf in leaves]
    return parts[0] if len(parts) == 1 else np.maximum.reduce([part.astype(np.float64) for part in parts])


class Seen(NamedTuple):
    """What was seen of a result.

    Attributes:
        largest: as `largest_values` gives it.
        zeros: which of its arrays are 0 everywhere, if it is a tuple, as for several inputs.
    """

    largest: np.ndarray
    zeros: tuple[int, ...]


def suspicious(attribution: Any) -> Seen | None:
    """What was seen, if an example is 0, nearly so or not finite, or one of several arrays is 0; else None."""
    arrays, is_well = [], True
    for leaf in (attribution,) if isinstance(attribution, jax.Array) else jax.tree.leaves(attribution):
        if not host.sees(leaf) or not leaf.ndim:
            return None
        array = host.fetch(leaf)
        arrays.append(array)
        is_well = is_well and _is_well(array)
    if is_well:
        return None
    largest = largest_values(arrays)
    several = type(attribution) is tuple and len(arrays) > 1
    zeros = tuple(index for index, array in enumerate(arrays) if not array.any()) if several else ()
    if not zeros and np.minimum.reduce(largest) > TINY and np.maximum.reduce(largest) < np.inf:
        return None
    return Seen(largest, zeros)


def _is_well(array: np.ndarray) -> bool:
    """Whether a few microseconds tell that all values are finite, and some of each example not tiny, as most often they do."""
    if not 0 < array.size <= _SMALL or array.dtype not in finite.WITH_PRODUCTS:
        return False
    rows = array if array.ndim == 2 else array.reshape(len(array), -1)
    # With finite squares the sums below are finite, too; they are tiny where all values are, and seldom where some are not.
    if not np.vdot(rows, rows) < math.inf:
        return False
    sums = np.dot(rows, _weights(rows.shape[1], rows.dtype))
    return bool((min(map(abs, sums.tolist())) if len(sums) <= 64 else np.abs(sums).min()) > TINY)


@functools.lru_cache(maxsize=256)
def _weights(count: int, dtype: np.dtype) -> np.ndarray:
    """Weights with which a sum is hardly ever 0 by chance, and as large as the values are."""
    weights = np.sqrt(np.arange(2, count + 2))
    return (weights / np.linalg.norm(weights)).astype(dtype)

"""Histograms binned on the device: a tensor of any size becomes 64 counts and 65 edges."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz.checks import check_count
from jaxviz.watch.rows import as_rows, fold
from jaxviz.watch.statistics import Statistics, as_reals, ranges_of, statistics_of

BINS = 64


class Histogram(NamedTuple):
    """What `histogram` tells of an array.

    Attributes:
        counts: how many finite values fall in each bin, int32 `(bins,)`.
        edges: the edges of the bins, increasing, float `(bins + 1,)`.
        nan: how many values are NaN, int32 scalar.
        inf: how many values are +inf, int32 scalar.
        neginf: how many values are -inf, int32 scalar.
    """

    counts: jax.Array
    edges: jax.Array
    nan: jax.Array
    inf: jax.Array
    neginf: jax.Array


def histogram(values: Any, *, bins: int = BINS) -> Histogram:
    """Counts the finite values in bins of equal width from the least to the greatest; NaN and inf are counted apart.

    `counts[i] = #{x : edges[i] <= x < edges[i + 1]}`; the last bin includes its right edge. The counts are exactly those of
    `numpy.histogram(x, edges)`. So that they can be, the width is rounded up by at most 2^-15 of itself, and the two
    outermost bins are narrower by as much. Where all values are equal, or so near to each other that edges between
    them cannot be told apart in the dtype, the range is widened a little around them.

    Pure: for use inside `jax.jit`, `jax.vmap` and `jax.lax.cond`; on sharded arrays too.

    Args:
        values: a real array of any shape and dtype, of fewer than 2^31 elements; empty arrays too. Reckoned in float32 (float64
            for float64).
        bins: the number of bins, 2 to 1024.

    Returns:
        `Histogram`.

    Raises:
        TypeError: if values are complex or not numbers, or bins is not an int.
        ValueError: if bins is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> found = histogram(jnp.array([0.0, 1.0, 1.5, 4.0, jnp.inf]), bins=4)
        >>> found.counts.tolist(), int(found.inf)
        ([1, 2, 0, 1], 1)
    """
    check_bins("watch.histogram", bins)
    return jax.tree.map(lambda column: column[0], histograms_of([values], bins=bins))


def histograms_of(tensors: Sequence[Any], *, bins: int = BINS) -> Histogram:
    """Histograms of several tensors; each field has axis 0 of length `len(tensors)`."""
    arrays = as_reals("watch.histogram", tensors)
    return _count(arrays, *ranges_of(arrays), bins)


def describe(tensors: Sequence[Any], *, bins: int = BINS) -> tuple[Histogram, Statistics]:
    """Histograms and statistics of several tensors; each field has axis 0 of length `len(tensors)`."""
    check_bins("watch.describe", bins)
    arrays = as_reals("watch.describe", tensors)
    found = statistics_of(arrays)
    return _count(arrays, found.low, found.high, bins), found


def check_bins(function: str, bins: Any) -> None:
    """Raises unless bins is an int from 2 to 1024."""
    check_count(function, "bins", bins, at_least=2, at_most=1024)


class _Grid(NamedTuple):
    """Bins around a center: `edge(i) = center + (i - bins / 2) * width`.

    The width has so few significant bits that its multiples are exact. An edge is then one rounded sum, the same whether or not
    the compiler fuses product and sum, and comparisons with it agree everywhere.
    """

    center: jax.Array
    width: jax.Array
    scale: jax.Array
    start: jax.Array

    @staticmethod
    def of(center: jax.Array, width: jax.Array, bins: int) -> "_Grid":
        scale = 1 / width
        # Rounding moves a position by less than a quarter of a bin, so a quarter lower it is in its bin or the one below.
        return _Grid(center, width, scale, center * scale - (bins / 2 - 0.25))

    def edge(self, index: jax.Array, bins: int) -> jax.Array:
        return self.center + (index - bins / 2) * self.width

    def slot(self, values: jax.Array, bins: int) -> jax.Array:
        """The bin of each value; after the bins come the slots of NaN, +inf and -inf."""
        guess = jnp.clip(jnp.floor(values * self.scale - self.start), 0, bins - 1)
        above = values >= self.edge(guess + 1, bins)
        index = jnp.minimum(guess.astype(jnp.int32) + above.astype(jnp.int32), bins - 1)
        other = jnp.where(jnp.isnan(values), bins, jnp.where(values > 0, bins + 1, bins + 2))
        return jnp.where(jnp.isfinite(values), index, other)


def _grid(low: jax.Array, high: jax.Array, bins: int) -> tuple[_Grid, jax.Array]:
    """Grids from low to high, `(n,)` each, and their edges, `(n, bins + 1)`."""
    info = jnp.finfo(low.dtype)
    limit = float(info.max)
    some = low <= high
    low, high = jnp.where(some, low, 0), jnp.where(some, high, 0)
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    # Halves first: the difference of two large values would overflow.
    given, center = high / 2 - low / 2, high / 2 + low / 2
    least = jnp.maximum(largest * (4 * bins * float(info.eps)), bins * 16 * float(info.tiny))
    half = jnp.where(low == high, jnp.maximum(largest * 2**-7, 2.0**-20), jnp.maximum(given, least))
    low = jnp.where(half > given, jnp.maximum(center - half, -limit), low)
    high = jnp.where(half > given, jnp.minimum(center + half, limit), high)
    half, center = high / 2 - low / 2, high / 2 + low / 2
    bits = info.nmant - (bins - 1).bit_length()
    width = jax.lax.reduce_precision(half * (2 / bins * (1 + 2.0 ** (1 - bits))), info.nexp, bits - 1)
    inner = jnp.arange(1, bins, dtype=jnp.int32).astype(width.dtype)[None]
    edges = _Grid.of(center[:, None], width[:, None], bins).edge(inner, bins)
    return _Grid.of(center, width, bins), jnp.concatenate([low[:, None], edges, high[:, None]], axis=1)


def _count(tensors: Sequence[jax.Array], low: jax.Array, high: jax.Array, bins: int) -> Histogram:
    grid, edges = _grid(low, high, bins)
    slots = jax.lax.platform_dependent(
        grid,
        *tensors,
        cpu=lambda grid, *tensors: _scatter(grid, tensors, bins),
        default=lambda grid, *tensors: _compare(grid, tensors, bins),
    )
    return Histogram(slots[:, :bins], edges, slots[:, bins], slots[:, bins + 1], slots[:, bins + 2])


def _scatter(grid: _Grid, tensors: Sequence[jax.Array], bins: int) -> jax.Array:
    """Counts per tensor and slot, for CPU: one increment per value."""
    stride = bins + 4  # the last slot of each tensor is for padding

    def step(
        counts: Any, index: jax.Array, values: jax.Array, valid: jax.Array, offset: Any, *of_row: jax.Array
    ) -> Any:
        slot = jnp.where(valid, _Grid(*of_row).slot(values, bins), bins + 3) + offset
        return counts.at[slot].add(1, mode="promise_in_bounds")

    rows = as_rows(tensors)
    columns = (column[rows.owners] for column in grid)
    counts = fold(rows, step, jnp.zeros(len(tensors) * stride, jnp.int32), jnp.asarray(rows.owners * stride), *columns)
    return counts.reshape(-1, stride)[:, :-1]


def _compare(grid: _Grid, tensors: Sequence[jax.Array], bins: int) -> jax.Array:
    """Counts per tensor and slot, for accelerators: fused reductions, without increments that wait for each other."""

    def one(index: int, values: jax.Array) -> jax.Array:
        slots = jnp.arange(bins + 3, dtype=jnp.int32).reshape((-1,) + (1,) * values.ndim)
        found = _Grid(*(column[index] for column in grid)).slot(values, bins)
        return (found[None] == slots).sum(axis=tuple(range(1, values.ndim + 1)), dtype=jnp.int32)

    return jnp.stack([one(index, values) for index, values in enumerate(tensors)])

"""Statistics of tensors of any size, on the device, in one pass."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.watch.rows import as_rows, fold


class Statistics(NamedTuple):
    """What `statistics` tells of an array; all of them scalars.

    Attributes:
        mean: mean of the finite values, float.
        std: their standard deviation (of the population: divided by n), float.
        norm: their Euclidean norm, float.
        zeros: the share of all values that are exactly 0, in [0, 1], float.
        nan: how many values are NaN, int32.
        inf: how many values are infinite, of either sign, int32.
        low: the least finite value, float; inf where there is none.
        high: the greatest finite value, float; -inf where there is none.
    """

    mean: jax.Array
    std: jax.Array
    norm: jax.Array
    zeros: jax.Array
    nan: jax.Array
    inf: jax.Array
    low: jax.Array
    high: jax.Array


def statistics(values: Any) -> Statistics:
    """Mean, standard deviation, norm, share of zeros, and counts of NaN and inf.

    Values that are NaN or infinite are counted and otherwise left out: mean, std, norm, low and high are of the finite values.
    Without any finite value mean, std and norm are 0. Reckoned in float32 (float64 for float64), the squares in units of
    the largest magnitude, so that only a norm that is itself beyond the dtype overflows.

    Pure: for use inside `jax.jit`, `jax.vmap` and `jax.lax.cond`; on sharded arrays too.

    Args:
        values: a real array of any shape and dtype, of fewer than 2^31 elements; empty arrays too.

    Returns:
        `Statistics`, all scalars.

    Raises:
        TypeError: if values are complex or not numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> found = statistics(jnp.array([3.0, 0.0, -4.0, jnp.nan]))
        >>> float(found.norm), float(found.zeros), int(found.nan)
        (5.0, 0.25, 1)
    """
    return jax.tree.map(lambda column: column[0], statistics_of(as_reals("watch.statistics", [values])))


def as_reals(function: str, tensors: Sequence[Any]) -> list[jax.Array]:
    """Tensors of real numbers, in float32, or all in float64 if one of them is that."""
    try:
        arrays = [jnp.asarray(values) for values in tensors]
    except (TypeError, ValueError):
        kinds = ", ".join(sorted({type(values).__name__ for values in tensors}))
        raise TypeError(f"{function}: values must be an array of real numbers, got {kinds}") from None
    for array in arrays:
        if not (
            jnp.issubdtype(array.dtype, jnp.floating)
            or jnp.issubdtype(array.dtype, jnp.integer)
            or array.dtype == jnp.bool
        ):
            hint = "; take their absolute value" if jnp.issubdtype(array.dtype, jnp.complexfloating) else ""
            raise TypeError(f"{function}: values must be real numbers, got dtype {array.dtype}{hint}")
    dtype = jnp.float64 if any(array.dtype == jnp.float64 for array in arrays) else jnp.float32
    return [array.astype(dtype) for array in arrays]


def statistics_of(tensors: Sequence[jax.Array]) -> Statistics:
    """The statistics of several tensors (of one float dtype); each field has a value per tensor, `(len(tensors),)`."""
    moments = jax.lax.platform_dependent(*tensors, cpu=_by_rows, default=_whole)
    count, mean, squares, unit, zeros, nan, low, high = moments
    sizes = jnp.array([tensor.size for tensor in tensors], jnp.int32)
    dtype = mean.dtype
    std = jnp.sqrt(squares / jnp.maximum(count, 1).astype(dtype)) * unit
    level = mean / unit
    return Statistics(
        mean=mean,
        std=std,
        # Of sums of positive terms only, so that nothing cancels.
        norm=jnp.sqrt(squares + count.astype(dtype) * level * level) * unit,
        zeros=zeros.astype(dtype) / jnp.maximum(sizes, 1).astype(dtype),
        nan=nan,
        inf=sizes - count - nan,
        low=low,
        high=high,
    )


class _Moments(NamedTuple):
    count: Any  # of finite values
    mean: Any
    squares: Any  # sum of squared deviations from the mean, in units
    unit: Any  # a power of two, see `_unit`
    zeros: Any
    nan: Any
    low: Any
    high: Any


def ranges_of(tensors: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The least and the greatest finite value of each tensor; inf and -inf where there is none."""

    # Only what is asked for is computed: `by_rows` without the sums is the cheaper loop.
    def by_rows(*tensors: jax.Array) -> tuple[jax.Array, jax.Array]:
        moments = _by_rows(*tensors, sums=False)
        return moments.low, moments.high

    def whole(*tensors: jax.Array) -> tuple[jax.Array, jax.Array]:
        moments = _whole(*tensors)
        return moments.low, moments.high

    return jax.lax.platform_dependent(*tensors, cpu=by_rows, default=whole)


def _unit(low: jax.Array, high: jax.Array) -> jax.Array:
    """The power of two next to the largest magnitude: in units of it no square overflows, and what is divided by it stays exact.

    Kept from the ends of the dtype's range, where its inverse would be lost; the least of all without a finite value but 0.
    """
    kind = jnp.finfo(low.dtype)
    largest = jnp.maximum(-low, high)
    exponent = jnp.where(largest > 0, jnp.frexp(jnp.where(largest > 0, largest, 1))[1], kind.minexp)
    return jnp.ldexp(jnp.ones_like(low), jnp.clip(exponent, kind.minexp, kind.maxexp - 2))


def _count(mask: jax.Array, axis: int | None = None) -> jax.Array:
    return mask.sum(axis=axis, dtype=jnp.int32)


def _whole(*tensors: jax.Array) -> _Moments:
    def one(values: jax.Array) -> _Moments:
        finite = jnp.isfinite(values)
        count = _count(finite)
        low = jnp.where(finite, values, jnp.inf).min(initial=jnp.inf)
        high = jnp.where(finite, values, -jnp.inf).max(initial=-jnp.inf)
        unit = _unit(low, high)
        level = jnp.where(finite, values / unit, 0).sum() / jnp.maximum(count, 1).astype(values.dtype)
        deviations = jnp.where(finite, values / unit - level, 0)
        squares = (deviations * deviations).sum()
        return _Moments(count, level * unit, squares, unit, _count(values == 0), _count(jnp.isnan(values)), low, high)

    return jax.tree.map(lambda *columns: jnp.stack(columns), *map(one, tensors))


def _lanes(values: jax.Array) -> jax.Array:
    # Reduced over axis 0 first, 128 sums side by side: the compiler vectorizes that, and sums round less.
    return values.reshape(-1, 128)


def _by_rows(*tensors: jax.Array, sums: bool = True) -> _Moments:
    """Moments of each row, about the row's own mean, and then of the rows of each tensor (Chan et al. 1983)."""
    rows = as_rows(tensors)
    dtype = tensors[0].dtype
    total = lambda values: _lanes(values).sum(axis=0).sum()
    count = lambda mask: total(mask.astype(jnp.int32)).astype(jnp.int32)

    def moments(values: jax.Array, valid: jax.Array) -> _Moments:
        finite = jnp.isfinite(values) & valid
        low = _lanes(jnp.where(finite, values, jnp.inf)).min(axis=0).min()
        high = _lanes(jnp.where(finite, values, -jnp.inf)).max(axis=0).max()
        if not sums:
            return _Moments((), (), (), (), (), (), low, high)
        n, unit = count(finite), _unit(low, high)
        level = total(jnp.where(finite, values / unit, 0)) / jnp.maximum(n, 1).astype(dtype)
        deviations = jnp.where(finite, values / unit - level, 0)
        nan = count(jnp.isnan(values) & valid)
        return _Moments(
            n, level * unit, total(deviations * deviations), unit, count((values == 0) & valid), nan, low, high
        )

    def step(found: _Moments, index: jax.Array, values: jax.Array, valid: jax.Array) -> _Moments:
        put = lambda column, part: jax.lax.dynamic_update_index_in_dim(column, part, index, 0)
        return jax.tree.map(put, found, moments(values, valid))

    n = len(rows.owners)
    integer, real = jnp.zeros(n, jnp.int32), jnp.zeros(n, dtype)
    start = (
        _Moments(integer, real, real, real, integer, integer, real, real)
        if sums
        else _Moments((), (), (), (), (), (), real, real)
    )
    of_row = fold(rows, step, start)
    gather: dict[str, Any] = {"segment_ids": jnp.asarray(rows.owners), "num_segments": len(tensors)}
    low, high = jax.ops.segment_min(of_row.low, **gather), jax.ops.segment_max(of_row.high, **gather)
    if not sums:
        return _Moments((), (), (), (), (), (), low, high)
    unit = jax.ops.segment_max(of_row.unit, **gather)
    means, ratio = of_row.mean / unit[rows.owners], of_row.unit / unit[rows.owners]
    number = jax.ops.segment_sum(of_row.count, **gather)
    weights = of_row.count.astype(dtype) / jnp.maximum(number, 1).astype(dtype)[rows.owners]
    # About the mean of each tensor's first row, so that a large mean costs no precision.
    starts = means[np.searchsorted(rows.owners, np.arange(len(tensors)))]
    mean = starts + jax.ops.segment_sum(weights * (means - starts[rows.owners]), **gather)
    mean = jnp.where(number > 0, mean, 0)
    apart = means - mean[rows.owners]
    squares = of_row.squares * ratio * ratio + of_row.count.astype(dtype) * apart * apart
    squares = jax.ops.segment_sum(squares, **gather)
    zeros, nan = (jax.ops.segment_sum(column, **gather) for column in (of_row.zeros, of_row.nan))
    return _Moments(number, mean * unit, squares, unit, zeros, nan, low, high)

"""Scaling of features, fitted on the training split, applied to any other, invertible."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.checks import check_count, check_number, given, is_traced

Array = TypeVar("Array", np.ndarray, jax.Array)


class Scaling(NamedTuple):
    """A fitted scaling `y = (x - offset) / scale`; a pytree: an argument of jitted functions, easily saved.

    Args:
        offset: what becomes zero, per feature.
        scale: what becomes one unit, per feature; positive.

    Example:
        >>> import numpy as np
        >>> train = np.array([[0.0, 5.0], [2.0, 5.0]], np.float32)
        >>> scaling = standardize(train)
        >>> scaling.apply(train).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
        >>> scaling.invert(scaling.apply(train)).tolist()
        [[0.0, 5.0], [2.0, 5.0]]
    """

    offset: np.ndarray | jax.Array
    scale: np.ndarray | jax.Array

    def apply(self, x: Array) -> Array:
        """Returns the scaled array: the shape of `x`, the float type of the data that the scaling was fitted on."""
        offset, scale = (_expand(part, x) for part in self)
        return (x.astype(offset.dtype) - offset) / scale

    def invert(self, y: Array) -> Array:
        """Returns the array in its own units again: `y * scale + offset`."""
        offset, scale = (_expand(part, y) for part in self)
        return y.astype(offset.dtype) * scale + offset


def standardize(x: np.ndarray | jax.Array, *, axis: int | tuple[int, ...] = 0) -> Scaling:
    """Fits the scaling to mean 0 and standard deviation 1: `(x - mean) / std`, with the population's `std`.

    A constant feature becomes 0 (its scale is 1). Statistics are accumulated in float64.

    Args:
        x: training data, numbers `(n, ...)`; integers (such as uint8 images) are scaled to float32.
        axis: the axes over which to take the statistics: 0, the default, scales each feature by itself;
            `(0, 1, 2)` scales each channel of images `(n, height, width, channels)`.

    Returns:
        The `Scaling`: apply it to this and to every other split.

    Raises:
        ValueError: no data, NaN or infinite values, or an axis that `x` does not have.
    """
    x, axes = _checked("standardize", x, axis)
    low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
    constant = low == high  # not std == 0: rounding leaves a constant 0.1 with a tiny one
    mean = np.where(constant, low, x.mean(axes, keepdims=True, dtype=np.float64))
    std = np.where(constant, 1.0, x.std(axes, keepdims=True, dtype=np.float64))
    return _scaling(mean, std, x.dtype, axes)


def normalize(
    x: np.ndarray | jax.Array, *, axis: int | tuple[int, ...] = 0, low: float = 0.0, high: float = 1.0
) -> Scaling:
    """Fits the scaling of the range of the training data to [low, high]: `low + (x - min) (high - low) / (max - min)`.

    Values of other splits beyond that range are not clipped. A constant feature becomes `low`.

    Args:
        x: training data, numbers `(n, ...)`; integers (such as uint8 images) are scaled to float32.
        axis: the axes over which to take minimum and maximum: 0, the default, scales each feature by itself;
            `(0, 1, 2)` scales each channel of images, and `(0, 1, 2, 3)` all pixels alike.
        low: what the minimum becomes.
        high: what the maximum becomes; above `low`.

    Returns:
        The `Scaling`: apply it to this and to every other split.

    Raises:
        ValueError: no data, NaN or infinite values, an axis that `x` does not have, or `low >= high`.
    """
    check_number("normalize", "low", low)
    check_number("normalize", "high", high)
    if not low < high:
        raise ValueError(f"normalize: low must be below high, got low={low!r} and high={high!r}")
    x, axes = _checked("normalize", x, axis)
    least = x.min(axes, keepdims=True).astype(np.float64)
    most = x.max(axes, keepdims=True).astype(np.float64)
    scale = np.where(least == most, 1.0, (most - least) / (high - low))
    return _scaling(least - low * scale, scale, x.dtype, axes)


def one_hot(labels: np.ndarray | jax.Array, classes: int | None = None) -> np.ndarray | jax.Array:
    """Returns labels as rows of zeros with a one at the label.

    Args:
        labels: integers of any shape, in [0, classes).
        classes: how many there are; None takes the largest label plus one (not under jit, where labels have no value).

    Returns:
        float32 `(*labels.shape, classes)`; a NumPy array where labels are one.

    Raises:
        ValueError: a label out of range.
        TypeError: labels are not integers.

    Example:
        >>> import numpy as np
        >>> one_hot(np.array([0, 2]), 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if not hasattr(labels, "dtype"):
        try:
            labels = np.asarray(labels)
        except ValueError:
            raise TypeError(f"one_hot: labels must be integers, got {given(labels)}") from None
    if classes is not None:
        check_count("one_hot", "classes", classes)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"one_hot: labels must be integers, got {labels.dtype}")
    if isinstance(labels, jax.core.Tracer):
        if classes is None:
            raise ValueError("one_hot: under jit, classes must be given")
        return jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    if labels.size == 0:
        raise ValueError("one_hot: labels are empty")
    low, high = int(labels.min()), int(labels.max())
    classes = high + 1 if classes is None else classes
    if low < 0 or high >= classes:
        raise ValueError(f"one_hot: labels must be in [0, {classes}), got values from {low} to {high}")
    if isinstance(labels, jax.Array):
        return jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    return np.eye(classes, dtype=np.float32)[labels]


def _checked(where: str, x: np.ndarray | jax.Array, axis: int | tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    if is_traced(x):
        raise TypeError(
            f"{where}: x is traced; a scaling is fitted outside of jax.jit, and its apply may be called inside"
        )
    x = np.asarray(x)
    if x.dtype == object or not np.issubdtype(x.dtype, np.number) or np.issubdtype(x.dtype, np.complexfloating):
        raise TypeError(f"{where}: x must hold real numbers, got dtype {x.dtype}")
    if x.size == 0 or x.ndim == 0:
        raise ValueError(f"{where}: x must have examples along axis 0, got shape {x.shape}")
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    if not axes or any(not -x.ndim <= check_count(where, "axis", a, at_least=-x.ndim) < x.ndim for a in axes):
        raise ValueError(f"{where}: axis must name axes of x, whose shape is {x.shape}, got {axis!r}")
    axes = tuple(sorted({a % x.ndim for a in axes}))
    if not np.isfinite(x).all():
        bad = ~np.isfinite(x)
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{where}: x has {int(bad.sum())} NaN or infinite values, the first at index {first}")
    return x, axes


def _scaling(offset: np.ndarray, scale: np.ndarray, dtype: np.dtype, axes: tuple[int, ...]) -> Scaling:
    """Returns the scaling in the data's float type, without the leading axes that were reduced away."""
    dtype = dtype if np.issubdtype(dtype, np.floating) else np.dtype(np.float32)
    leading = 0
    while leading in axes:
        leading += 1
    shape = offset.shape[leading:]
    return Scaling(offset.reshape(shape).astype(dtype), scale.reshape(shape).astype(dtype))


def _expand(part: np.ndarray | jax.Array, x: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """Returns `part` with as many axes as `x`: one example is scaled as a batch is, without rank promotion."""
    if not hasattr(x, "ndim"):
        raise TypeError(f"Scaling: what is scaled must be an array, got {type(x).__name__}")
    if part.ndim > x.ndim or any(p not in (1, n) for p, n in zip(part.shape[::-1], x.shape[::-1], strict=False)):
        raise ValueError(f"Scaling: the shape {x.shape} does not fit the features' {part.shape} that it was fitted on")
    return part.reshape((1,) * (x.ndim - part.ndim) + part.shape)

"""Checks of what the figures are given: arrays of any library become numpy float64 once, and bad ones are named."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxviz.checks import check_choice as check_choice
from jaxviz.checks import check_count as check_count
from jaxviz.checks import check_number as check_number
from jaxviz.checks import is_traced

LARGEST = 1e300  # what is beyond it has no range that is a number, and counts as infinite


def as_numbers(where: str, name: str, value: Any) -> np.ndarray:
    """`value` as a float64 numpy array; jax arrays, bfloat16, integers and booleans included."""
    if is_traced(value):
        raise TypeError(
            f"{where}: {name} is traced: inside jax.jit there are no values yet; draw what the function returns"
        )
    try:
        array = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise TypeError(f"{where}: {name} must be an array of numbers, got {type(value).__name__} ({error})") from None
    # ml_dtypes (bfloat16, float8) are of kind "V" in older numpy and can only be told by conversion
    if array.dtype.kind in "cOUSMm" or array.dtype.names is not None:
        raise TypeError(
            f"{where}: {name} must be an array of real numbers, got {type(value).__name__} of dtype {array.dtype}"
        )
    array = array.astype(np.float64)
    beyond = np.abs(array) > LARGEST
    return np.where(beyond, np.copysign(np.inf, array), array) if beyond.any() else array


def as_positions(where: str, name: str, value: Any, count: int) -> np.ndarray:
    """So many increasing numbers; 0, 1, ... where the value is None."""
    if value is None:
        return np.arange(count, dtype=float)
    at = as_numbers(where, name, value)
    if at.shape != (count,) or not np.isfinite(at).all() or (np.diff(at) <= 0).any():
        raise ValueError(f"{where}: {name} must have shape ({count},), finite and increasing, got shape {at.shape}")
    return at


def clean(text: Any) -> str:
    """A text that can be drawn and encoded: half characters (lone surrogates) become question marks."""
    return str(text).encode("utf-8", "replace").decode("utf-8")


def as_integers(where: str, name: str, value: Any) -> np.ndarray:
    """`value` as a one-dimensional int64 array of classes, each 0 or more."""
    array = np.asarray(value)
    if array.dtype.kind not in "iub":
        raise TypeError(f"{where}: {name} must be integer classes, got dtype {array.dtype}")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{where}: {name} must have shape (n,), n at least 1, got {array.shape}")
    if array.min() < 0:
        raise ValueError(f"{where}: {name} must be classes 0, 1, ..., got {array.min()}")
    return array.astype(np.int64)


def as_groups(where: str, name: str, value: Any, height: int, width: int) -> np.ndarray:
    """The integer group of each pixel, `(height, width)`."""
    array = np.asarray(value)
    if array.dtype.kind not in "iub":
        raise TypeError(f"{where}: {name} must be integer groups, got dtype {array.dtype}")
    if array.shape not in ((height, width), (height, width, 1)):
        raise ValueError(
            f"{where}: {name} must have shape ({height}, {width}) or ({height}, {width}, 1), got {array.shape}"
        )
    return array.reshape(height, width)


def check_names(where: str, name: str, names: Sequence[Any] | None, count: int, what: str) -> list[str] | None:
    """`names` as strings; raises unless there are `count` of them. None stays None."""
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError(f"{where}: {name} must be a sequence of {count} strings, got the string {names!r}")
    texts = [clean(text) for text in names]
    if len(texts) != count:
        raise ValueError(f"{where}: {name} must have one entry per {what}, {count} in all, got {len(texts)}")
    return texts


def check_correct(where: str, correct: Any, count: int, what: str) -> list[bool] | None:
    """Whether each answer is right; raises unless there are `count` of them. None stays None."""
    if correct is None:
        return None
    right = [bool(value) for value in np.asarray(correct).ravel()]
    if len(right) != count:
        raise ValueError(f"{where}: correct must have one entry per {what}, {count} in all, got {len(right)}")
    return right

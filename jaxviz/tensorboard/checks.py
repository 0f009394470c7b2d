"""Checks that the writer's functions share: every message names the function, the argument, what was given, what is allowed."""

import operator
from typing import Any

import numpy as np

from jaxviz.checks import given, is_traced

# TensorBoard keeps its own records under these.
_RESERVED = ("_hparams_/", "custom_scalars__config__")


def check_tag(where: str, tag: Any) -> None:
    """Raises unless `tag` is a name that TensorBoard can show."""
    if not isinstance(tag, str):
        raise TypeError(f"{where}: tag must be a string such as 'train/loss', got {tag!r}")
    if not tag or tag != tag.strip() or not tag.isprintable():
        raise ValueError(
            f"{where}: tag must be printable, not empty, without blanks around it, such as 'train/loss'; got {tag!r}"
        )
    if tag.startswith(_RESERVED):
        raise ValueError(f"{where}: tag {tag!r} is reserved by TensorBoard; use Writer.hparams or Writer.layout")


def check_step(where: str, step: Any, name: str = "step") -> int:
    """Returns `step` as an int; raises unless it is an integer of at least 0."""
    if isinstance(step, (bool, np.bool_)):
        raise TypeError(f"{where}: {name} must be an integer, got {step!r}")
    try:
        number = operator.index(step)
    except TypeError:
        raise TypeError(
            f"{where}: {name} must be an integer, got {given(step)} of type {type(step).__name__}"
        ) from None
    if not 0 <= number < 2**63:
        raise ValueError(f"{where}: {name} must be at least 0 and below 2**63, got {given(number)}")
    return number


def as_array(where: str, name: str, value: Any) -> np.ndarray:
    """Returns `value` as a NumPy array of numbers or bools; the small floats of JAX (bfloat16, ...) become float32."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        hint = (
            "inside jit there are no values yet: return them from the jitted function, then log"
            if is_traced(value)
            else error
        )
        raise TypeError(f"{where}: {name} must be an array of numbers, got {type(value).__name__} ({hint})") from error
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "V" and array.dtype.names is None and array.dtype.name != f"void{8 * array.dtype.itemsize}":
        return array.astype(np.float32)  # ml_dtypes' floats are of kind V
    raise TypeError(f"{where}: {name} must hold real numbers, got {_describe(value, array)}")


def as_scalar(where: str, name: str, value: Any) -> float:
    """Returns `value`, a number or an array of shape (), as a float."""
    if type(value) is float:
        return value
    array = as_array(where, name, value)
    if array.shape != ():
        hint = "; histograms are for many values" if array.size > 1 else f"; pass {name}[{', '.join('0' * array.ndim)}]"
        raise ValueError(
            f"{where}: {name} must be one number of shape (), got shape {array.shape}{hint if array.size else ''}"
        )
    return float(array)


def _describe(value: Any, array: np.ndarray) -> str:
    return f"an array of {array.dtype}" if array.shape else f"{given(value)} of type {type(value).__name__}"

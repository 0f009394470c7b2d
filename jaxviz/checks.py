"""Checks that all folders share: every message names the function, the argument, what was given, and what is allowed.

JAX is imported by those checks alone that need it: `tensorboard/` does without.
"""

import contextlib
import math
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax

_LONGEST = 160  # characters of a value in a message


def given(value: Any) -> str:
    """A value as messages show it: in one line, cut where it is long."""
    if is_traced(value):
        return "a traced value, which is not known yet inside jax.jit"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an integer of thousands of digits
        text = "a very large number"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… of type {type(value).__name__}"


def is_traced(value: Any) -> bool:
    """Whether a value is what stands for an array inside `jax.jit`."""
    jax = sys.modules.get("jax")  # nothing is traced before it is imported
    return jax is not None and isinstance(value, jax.core.Tracer)


def check_count(function: str, name: str, value: Any, *, at_least: int = 1, at_most: int | None = None) -> int:
    """The value as an int; raises unless it is an integer in the range."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{function}: {name} must be an int, got {given(value)}")
    if number < at_least or (at_most is not None and number > at_most):
        allowed = f"at least {at_least}" if at_most is None else f"{at_least} to {at_most}"
        raise ValueError(f"{function}: {name} must be {allowed}, got {given(number)}")
    return number


def check_number(function: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """The value; raises unless it is a finite number in [low, high]. A traced one passes, as it is not known yet."""
    if is_traced(value):
        return value
    scalar = isinstance(value, int | float | np.number) or (
        getattr(value, "shape", None) == () and getattr(getattr(value, "dtype", None), "kind", "") in ("i", "u", "f")
    )
    if isinstance(value, bool) or not scalar or isinstance(value, complex | np.complexfloating):
        raise TypeError(f"{function}: {name} must be a number, got {given(value)}")
    if not low <= value <= high or abs(value) == math.inf:
        ends = f"{'(' if low == -math.inf else '['}{low:g}, {high:g}{')' if high == math.inf else ']'}"
        raise ValueError(f"{function}: {name} must be in {ends}, got {given(value)}")
    return value


def check_flag(function: str, name: str, value: Any) -> bool:
    """The value as a bool; raises unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{function}: {name} must be True or False, got {given(value)}")
    return bool(value)


def check_choice(function: str, name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raises unless the value is one of the choices."""
    choices = tuple(choices)
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        raise ValueError(f"{function}: {name} must be one of {', '.join(map(repr, choices))}, got {given(value)}")


def check_function(function: str, name: str, value: Any, of: str) -> None:
    """Raises unless the value is callable; `of` says what it is a function of."""
    if not callable(value):
        raise TypeError(f"{function}: {name} must be a function of {of}, got {given(value)}")


def check_text(function: str, name: str, value: Any) -> str:
    """The value; raises unless it is a string that can be encoded."""
    if not isinstance(value, str):
        raise TypeError(f"{function}: {name} must be a string, got {given(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{function}: {name} has half a character at index {error.start} (a lone surrogate), which cannot be "
                f"encoded, in {given(value)}; value.encode('utf-8', 'replace').decode() takes such out"
            ) from None
    return value


def check_strings(function: str, name: str, value: Any, what: str = "string") -> tuple[str, ...]:
    """One string or several as a tuple; raises at anything else. `what` says what each of them is."""
    texts = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{function}: {name} must be one {what}, or several of them, got {given(text)}")
    return texts


def check_path(function: str, name: str, value: Any) -> Path:
    """The value as a path; raises unless it is one that a local or mounted disk can have."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{function}: {name} must be a path, got {given(value)}")
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError(f"{function}: {name} must be a path of str, got {given(text)}")
    try:
        named = bool(text) and "://" not in text and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        named = False
    if not named:
        raise ValueError(
            f"{function}: {name} must be a path on a local or mounted disk, not empty, without NUL, got {text!r}"
        )
    return Path(text)


def check_key(function: str, key: Any) -> "jax.Array":
    """The key; raises unless it is one random key."""
    import jax

    if key is None:
        raise TypeError(
            f"{function}: key is missing; give a random key, key=jax.random.key(0) for instance: the same "
            "key gives the same result"
        )
    if not isinstance(key, jax.Array) or not jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(f"{function}: key must be a jax.random.key, got {given(key)}")
    if key.shape:
        raise ValueError(f"{function}: key must be one key, got an array of keys of shape {key.shape}")
    return key


@contextlib.contextmanager
def applying(function: str, name: str, network: Callable[[Any], Any], inputs: Any) -> Iterator[None]:
    """Says so where an error comes from a network that cannot be applied to its inputs, and names them.

    Nothing is done unless there is an error; the network is then traced, at the inputs' shapes alone.

    Args:
        function: the name of the caller, for the message.
        name: which argument the inputs are.
        network: a function of them.
        inputs: a pytree of arrays, or of their shapes and dtypes.

    Raises:
        ValueError: if the network cannot be applied; it is of the network's own error.
    """
    import jax

    try:
        yield
    except Exception:
        try:
            jax.eval_shape(network, inputs)
        except Exception as reason:
            shapes = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(inputs)]
            raise ValueError(
                f"{function}: the network cannot be applied to {name}, {' and '.join(shapes)}: {reason}"
            ) from reason
        raise

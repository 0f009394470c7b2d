"""Checks of the networks' settings, so that a wrong one is named when the network is made, not deep inside a trace."""

from collections.abc import Sequence
from typing import Any


def is_int(value: Any) -> bool:
    """Returns whether `value` is an integer (numpy's too) and not a bool."""
    return hasattr(value, "__index__") and not isinstance(value, bool)


def check_sizes(where: str, name: str, sizes: Any, *, at_least: int = 1) -> None:
    """Raises unless `sizes` is a sequence of at least `at_least` positive integers."""
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        raise TypeError(
            f"{where}: {name} must be a tuple of positive integers, got {sizes!r}; for one layer write ({sizes!r},)"
        )
    if len(sizes) < at_least:
        raise ValueError(f"{where}: {name} must have at least {at_least} entry, got {sizes!r}")
    for size in sizes:
        check_size(where, f"every entry of {name}", size)


def check_size(where: str, name: str, size: Any) -> None:
    """Raises unless `size` is a positive integer."""
    if not is_int(size):
        raise TypeError(f"{where}: {name} must be a positive integer, got {size!r}")
    if size < 1:
        raise ValueError(f"{where}: {name} must be a positive integer, got {size!r}")


def check_rate(where: str, name: str, rate: Any) -> None:
    """Raises unless `rate` is a number in [0, 1)."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise TypeError(f"{where}: {name} must be a number in [0, 1), got {rate!r}")
    if not 0 <= rate < 1:
        raise ValueError(f"{where}: {name} must be in [0, 1), got {rate!r}")


def check_choice(where: str, name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raises unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{where}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")

"""Checks of the networks' settings, so that a wrong one is named when the network is made, not deep inside a trace."""

from collections.abc import Sequence
from typing import Any

from jaxviz.checks import check_count, check_number, given


def check_sizes(where: str, name: str, sizes: Any, *, at_least: int = 1) -> None:
    """Raises unless `sizes` is a sequence of at least `at_least` positive integers."""
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        hint = f"; for one layer write ({sizes!r},)" if hasattr(sizes, "__index__") else ""
        raise TypeError(f"{where}: {name} must be a tuple of positive ints, got {given(sizes)}{hint}")
    if len(sizes) < at_least:
        raise ValueError(f"{where}: {name} must have at least {at_least} entry, got {sizes!r}")
    for index, size in enumerate(sizes):
        check_count(where, f"{name}[{index}]", size)


def check_rate(where: str, name: str, rate: Any) -> None:
    """Raises unless `rate` is a number in [0, 1)."""
    check_number(where, name, rate)
    if not 0 <= rate < 1:
        raise ValueError(f"{where}: {name} must be in [0, 1), got {rate!r}")

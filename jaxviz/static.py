"""Static values: functions, modules and settings as arguments that jitted functions compare by value."""

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any

import flax.linen as nn


class Static:
    """A static value, equal to another of the same type and value; what cannot be hashed is equal only to itself."""

    __slots__ = ("_hash", "_key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        try:
            self._key = _by_value(value)
            self._hash = hash(self._key)
        except TypeError:
            self._key, self._hash = id(value), id(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Static) and self._hash == other._hash and bool(self._key == other._key)
        )

    def __repr__(self) -> str:
        return repr(self.value)


def _by_value(value: Any) -> Any:
    """What identifies a value, its type always being part of it: `True`, `1` and `1.0` make different programs.

    A bound method is its function and owner, a partial its function and arguments, a Linen module its fields (of which some
    may be lists, which have no hash of their own).
    """
    parts: Any = value
    if isinstance(value, types.MethodType):
        parts = value.__func__, _by_value(value.__self__)
    elif isinstance(value, functools.partial):
        parts = tuple(map(_by_value, (value.func, value.args, value.keywords)))
    elif isinstance(value, nn.Module):
        names = [field.name for field in dataclasses.fields(value) if field.name != "parent"]
        parts = tuple((name, _by_value(getattr(value, name, None))) for name in names)
    elif isinstance(value, Mapping):
        parts = tuple((name, _by_value(item)) for name, item in sorted(value.items()))
    elif isinstance(value, list | tuple):
        parts = tuple(map(_by_value, value))
    return type(value), parts

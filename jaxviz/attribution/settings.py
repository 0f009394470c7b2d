"""The settings of a method that another is made around: their names, and which of them are data."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxviz.static import Static


@functools.lru_cache(maxsize=256)
def signature(method: Callable[..., Any]) -> inspect.Signature:
    """`inspect.signature`, which takes as long as a small network."""
    return inspect.signature(method)


def defaults(method: Callable[..., Any]) -> dict[str, Any]:
    """The names of a method's arguments and their defaults; of one made around another, those of the one inside, too."""
    own = {name: parameter.default for name, parameter in signature(method).parameters.items()}
    inside = getattr(method, "method", None)
    return defaults(inside) | own if callable(inside) else own


def split(settings: dict[str, Any]) -> tuple[Static, dict[str, Any]]:
    """Settings that are part of the program, and those that are data (arrays and numbers with a fraction)."""
    if not settings:
        return NO_SETTINGS, {}
    data = {}
    for name, value in settings.items():
        leaves = jax.tree.leaves(value)
        if leaves and all(isinstance(leaf, float | jax.Array | np.ndarray | np.floating) for leaf in leaves):
            data[name] = value
    return Static(tuple(sorted((name, value) for name, value in settings.items() if name not in data))), data


NO_SETTINGS = Static(())

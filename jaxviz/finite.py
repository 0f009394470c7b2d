"""Floating-point numbers, NaN and infinite values: whether there are any, how many, and in words."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@functools.cache  # JAX's own takes longer than much of what small networks do
def is_floating(dtype: Any) -> bool:
    """Whether a dtype is one of floating-point numbers, which can be NaN and infinite."""
    return bool(jnp.issubdtype(dtype, jnp.floating))


def counts(leaf: Any) -> tuple[int, int]:
    """How many values of an array are NaN, and how many infinite; none of one that cannot have them (integers, random keys)."""
    if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return 0, 0
    nan, inf = counted(leaf)
    return int(nan), int(inf)


def counted(leaf: Any) -> tuple[jax.Array, jax.Array]:
    """How many values of a floating-point array are NaN, and how many infinite, as arrays: also while it is traced."""
    return jnp.isnan(leaf).sum(), jnp.isinf(leaf).sum()


def first(tree: Any) -> tuple[str, Any] | None:
    """The first floating-point array of a pytree that is not finite, and its name."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if any(counts(leaf)):
            return jax.tree_util.keystr(path) or "the array", leaf
    return None


def told(name: str, leaf: Any) -> str:
    """What an array has that is not finite, as in "the activation has 3 NaN among its 64 values"."""
    return f"{name} has {in_words(*counts(leaf))} among its {jnp.size(leaf)} values"


def in_words(nan: int, inf: int) -> str:
    """The counts in words: "3 NaN and 1 inf"."""
    return " and ".join(f"{count} {kind}" for count, kind in ((nan, "NaN"), (inf, "inf")) if count)


def is_finite(array: np.ndarray) -> bool:
    """Whether all values of a NumPy array are finite; where its squares are, too, in one pass without another array."""
    if array.dtype in WITH_PRODUCTS:
        flat = array.ravel()
        if np.vdot(flat, flat) < np.inf:
            return True
    return bool(np.isfinite(array).all())


WITH_PRODUCTS = frozenset((np.dtype(np.float32), np.dtype(np.float64)))

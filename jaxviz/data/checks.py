"""Checks and small tools that the data functions share."""

from typing import Any

import jax
import numpy as np

Data = Any  # an array, or a pytree of arrays with the same number of examples along axis 0


def length(where: str, data: Data) -> int:
    """Returns the number of examples; raises unless every array of `data` has the same, at least one."""
    leaves = jax.tree_util.tree_flatten_with_path(data)[0]
    if not leaves:
        raise ValueError(f"{where}: data holds no array, got {data!r}")
    sizes: dict[str, int] = {}
    for path, leaf in leaves:
        name = f"data{jax.tree_util.keystr(path)}"
        if not hasattr(leaf, "shape"):
            raise TypeError(
                f"{where}: {name} must be an array, got {type(leaf).__name__}; a list becomes one by np.asarray"
            )
        if not leaf.shape:
            raise ValueError(f"{where}: {name} must have the examples along axis 0, got a scalar")
        sizes[name] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ValueError(f"{where}: all arrays must have the same number of examples along axis 0: {found}")
    n = next(iter(sizes.values()))
    if n == 0:
        raise ValueError(f"{where}: data is empty (0 examples)")
    return n


def check_count(where: str, name: str, value: Any, *, at_least: int = 1) -> None:
    """Raises unless `value` is an integer of at least `at_least`."""
    if not hasattr(value, "__index__") or isinstance(value, bool):
        raise TypeError(f"{where}: {name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{where}: {name} must be at least {at_least}, got {value!r}")


def check_number(where: str, name: str, value: Any, low: float, high: float = np.inf) -> None:
    """Raises unless `value` is a number in [low, high]; a traced one passes, as its value is not known yet."""
    if isinstance(value, jax.core.Tracer):
        return
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{where}: {name} must be in [{low:g}, {high:g}], got {value!r}")


def generator(where: str, key: jax.Array) -> np.random.Generator:
    """Returns NumPy's generator seeded by a JAX key: the host shuffles without compiling or waiting for a device."""
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
        return np.random.default_rng(np.asarray(jax.random.key_data(key)))
    if isinstance(key, jax.Array) and key.dtype == np.uint32 and key.ndim == 1:  # of jax.random.PRNGKey
        return np.random.default_rng(np.asarray(key))
    raise TypeError(f"{where}: key must be one key, such as jax.random.key(0), got {key!r}")

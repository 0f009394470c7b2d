"""Checks and small tools that the data functions share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.checks import given, is_traced

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


def check_key(where: str, key: Any) -> jax.Array:
    """The key; raises unless it is one random key, of `jax.random.key` or of `jax.random.PRNGKey`."""
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    if isinstance(key, jax.Array) and key.dtype == np.uint32 and key.ndim == 1:
        return key
    raise TypeError(f"{where}: key must be one key, such as jax.random.key(0), got {given(key)}")


def generator(where: str, key: jax.Array) -> np.random.Generator:
    """Returns NumPy's generator seeded by a JAX key: the host shuffles without compiling or waiting for a device."""
    if is_traced(check_key(where, key)):
        raise TypeError(f"{where}: key is traced; this works on the host, so call it outside of jax.jit")
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.random.default_rng(np.asarray(jax.random.key_data(key) if typed else key))


def as_array(where: str, name: str, value: Any) -> jax.Array:
    """The value as a JAX array; raises unless it is one, or becomes one, of numbers or bools."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: {name} must be an array of numbers, got {type(value).__name__}") from None

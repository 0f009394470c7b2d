"""Sets of baselines: the reference points that an explanation is averaged over."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def baseline_set(function: str, baselines: Any, inputs: Any) -> Any:
    """The baselines in the structure and dtypes of inputs, with the number of baselines as axis 0.

    Args:
        function: the name of the caller, for error messages.
        baselines: an array `(k, *inputs.shape[1:])`, or, for several inputs, a tuple of these.
        inputs: an array or a tuple of arrays.
    """
    if type(inputs) is not tuple:
        return _one(function, "baselines", baselines, inputs)
    if not isinstance(baselines, tuple | list) or len(baselines) != len(inputs):
        given = f"{len(baselines)} entries" if isinstance(baselines, tuple | list) else type(baselines).__name__
        raise ValueError(
            f"{function}: there are {len(inputs)} inputs; baselines must be a tuple with one set for each, got {given}"
        )
    sets = [_one(function, f"baselines[{i}]", *pair) for i, pair in enumerate(zip(baselines, inputs, strict=True))]
    counts = [len(leaf) for leaf in sets]
    if len(set(counts)) > 1:
        raise ValueError(f"{function}: baselines must be as many for all inputs, got {counts}")
    return tuple(sets)


def _one(function: str, name: str, baselines: Any, leaf: jax.Array) -> Any:
    if not isinstance(baselines, np.ndarray | jax.Array):
        raise TypeError(f"{function}: {name} must be an array, got {type(baselines).__name__}")
    expected = ", ".join(("k", *map(str, leaf.shape[1:])))
    if baselines.shape[1:] != leaf.shape[1:] or baselines.ndim != leaf.ndim:
        raise ValueError(f"{function}: {name} must have the shape ({expected}), got {tuple(baselines.shape)}")
    if not len(baselines):
        raise ValueError(f"{function}: {name} has no baselines, its shape is {tuple(baselines.shape)}")
    if not (jnp.issubdtype(baselines.dtype, jnp.floating) or jnp.issubdtype(baselines.dtype, jnp.integer)):
        raise TypeError(f"{function}: {name} must be numbers, got dtype {baselines.dtype}")
    if isinstance(baselines, jax.core.Tracer):
        return baselines.astype(leaf.dtype)
    baselines = np.asarray(baselines)  # on the host, to be handed over in chunks
    if not np.isfinite(baselines.astype(np.float64)).all():
        raise ValueError(f"{function}: {name} must be finite, but it has NaN or infinite values")
    return baselines.astype(leaf.dtype)

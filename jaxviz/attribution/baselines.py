"""Baselines, and sets of them: the reference points of an explanation, or that one is averaged over."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.checks import given
from jaxviz.program import is_top_level
from jaxviz.shardings import automatic


def baseline_like(function: str, baseline: Any, inputs: Any) -> Any:
    """The baseline in the shapes and dtypes of inputs.

    Args:
        function: the name of the caller, for error messages.
        baseline: None (zeros), a scalar, an array that broadcasts to inputs, or, for several inputs, a tuple of these.
        inputs: an array or a tuple of arrays.
    """
    several = type(inputs) is tuple
    if several and isinstance(baseline, tuple | list):
        if len(baseline) != len(inputs):
            raise ValueError(f"{function}: there are {len(inputs)} inputs, but baseline has {len(baseline)} entries")
        return tuple(
            _baseline(function, f"baseline[{i}]", *pair) for i, pair in enumerate(zip(baseline, inputs, strict=True))
        )
    if several:
        if baseline is not None and np.ndim(baseline):
            raise ValueError(
                f"{function}: there are {len(inputs)} inputs; give one baseline for each, as a tuple, or a scalar for all"
            )
        return tuple(_baseline(function, "baseline", baseline, leaf) for leaf in inputs)
    return _baseline(function, "baseline", baseline, inputs)


def _baseline(function: str, name: str, baseline: Any, leaf: jax.Array) -> jax.Array:
    if baseline is None:
        if leaf.size <= _SMALL and is_top_level():
            return _filled(0, leaf.shape, leaf.dtype)
        baseline = 0
    is_flag = isinstance(baseline, bool | np.bool_)
    if is_flag and leaf.dtype == bool:
        baseline = np.bool_(baseline)
    elif is_flag or not isinstance(baseline, int | float | np.number | np.ndarray | jax.Array):
        raise TypeError(f"{function}: {name} must be None, a number or an array, got {type(baseline).__name__}")
    kind = baseline.dtype if hasattr(baseline, "dtype") else np.asarray(baseline).dtype
    real = any(jnp.issubdtype(kind, one) for one in (jnp.floating, jnp.integer, jnp.bool_))
    if not real and not (jnp.issubdtype(kind, jnp.number) and jnp.issubdtype(leaf.dtype, jnp.complexfloating)):
        raise TypeError(f"{function}: {name} must be numbers, got dtype {kind}")
    if jnp.issubdtype(leaf.dtype, jnp.integer) and not jnp.issubdtype(kind, jnp.integer):
        raise TypeError(
            f"{function}: inputs have dtype {leaf.dtype}, so {name} must be integers, too, got {given(baseline)}"
        )
    if not isinstance(baseline, jax.core.Tracer):
        _check_fits(function, name, np.asarray(baseline), leaf.dtype)
    try:
        if np.ndim(baseline) == 0 and leaf.size <= _SMALL and is_top_level():
            return _filled(np.asarray(baseline).item(), leaf.shape, leaf.dtype)
        # On the host where it is there already: a new scalar is then no new program.
        library = jnp if isinstance(baseline, jax.Array) else np
        return jnp.asarray(library.broadcast_to(library.asarray(automatic(baseline), leaf.dtype), leaf.shape))
    except ValueError:
        raise ValueError(
            f"{function}: {name} of shape {np.shape(baseline)} does not broadcast to the inputs' shape {leaf.shape}"
        ) from None


_SMALL = 1 << 14  # values: up to this, the same baseline is made once


@functools.lru_cache(maxsize=64)
def _filled(value: float, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jnp.asarray(np.full(shape, value, dtype))


def _check_fits(function: str, name: str, baseline: np.ndarray, dtype: Any) -> None:
    """Raises if values of a baseline are not finite, or not of the inputs' dtype: what is cast is not what was given."""
    if jnp.issubdtype(dtype, jnp.bool_):
        if not np.isin(baseline, (0, 1)).all():
            raise ValueError(
                f"{function}: inputs have dtype bool, so {name} must be False or True, got {given(baseline.tolist())}"
            )
        return
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        if baseline.size and not (limits.min <= int(baseline.min()) and int(baseline.max()) <= limits.max):
            raise ValueError(
                f"{function}: {name} must be in the range of the inputs' {dtype}, {limits.min} to {limits.max}, "
                f"got {given(baseline)}"
            )
        return
    if not np.isfinite(baseline).all():
        raise ValueError(f"{function}: {name} must be finite, but it has NaN or infinite values")
    with np.errstate(over="ignore"):
        fits = np.isfinite(baseline.astype(dtype)).all()
    if not fits:
        raise ValueError(
            f"{function}: {name} has values that are infinite as the inputs' {dtype}, whose largest is {jnp.finfo(dtype).max}"
        )


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

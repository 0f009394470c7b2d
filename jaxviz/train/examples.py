"""The examples that a network is trained on, evaluated on or applied to, checked at the public edge."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.checks import check_count, given, is_traced

_PAIR = "(inputs, targets); several inputs are ((a, b), targets)"


def length(batch: Any) -> int:
    """The number of examples of a batch."""
    return jax.tree.leaves(batch)[0].shape[0]


def check_pair(function: str, argument: str, data: Any, *, traced: bool = False) -> int:
    """The number of examples of `(inputs, targets)`; raises an error that says what is wrong.

    Args:
        function: the name of the caller, for the message.
        argument: what the caller calls the data.
        data: what is checked.
        traced: whether arrays may be traced: a single step may be compiled, a loop over batches runs on the host.
    """
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(f"{function}: {argument} must be a tuple of arrays {_PAIR}; got {_kind(data)}")
    for name, part in zip(("inputs", "targets"), data, strict=True):
        if not jax.tree.leaves(part):
            hint = ", and where a loss needs none, give the inputs in their place" if name == "targets" else ""
            raise TypeError(
                f"{function}: {argument} must be a tuple of arrays {_PAIR}; its {name} are {given(part)}{hint}"
            )
    return check_arrays(function, argument, data, traced=traced)


def check_batch(function: str, argument: str, batch: Any, *, traced: bool = False) -> Any:
    """The batch, a tuple or list of inputs and targets; raises unless it is one. See `check_pair`."""
    check_pair(function, argument, tuple(batch) if isinstance(batch, list) else batch, traced=traced)
    return batch


def check_arrays(function: str, argument: str, data: Any, *, traced: bool = False) -> int:
    """The number of examples of a pytree of arrays, the same in all of them."""
    lengths = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]:
        name = argument + jax.tree_util.keystr(path)
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{function}: {name} must be an array, got {type(leaf).__name__}; a list is made one by numpy.asarray"
            )
        if leaf.dtype == object or not (jnp.issubdtype(leaf.dtype, jnp.number) or jnp.issubdtype(leaf.dtype, jnp.bool)):
            raise TypeError(f"{function}: {name} must hold numbers, got dtype {leaf.dtype}")
        if not leaf.shape:
            raise ValueError(f"{function}: {name} must have the examples as its axis 0, got a scalar")
        if is_traced(leaf) and not traced:
            raise TypeError(
                f"{function}: {name} is traced; {function} is a loop on the host, so call it outside of jax.jit "
                "(train.make_step and a Model itself may be called inside)"
            )
        lengths[name] = leaf.shape[0]
    if not lengths:
        raise TypeError(f"{function}: {argument} must be an array, or a tuple of arrays, got {given(data)}")
    if min(lengths.values()) == 0:
        raise ValueError(f"{function}: {argument} has no examples")
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in lengths.items())
        raise ValueError(f"{function}: the arrays of {argument} must have one number of examples: {told}")
    return next(iter(lengths.values()))


def check_batches(function: str, argument: str, data: Any) -> None:
    """Raises unless data is an iterable of batches, or a function that returns one."""
    wrong = isinstance(data, Mapping | str | bytes) or hasattr(data, "shape")
    if wrong or not (callable(data) or isinstance(data, Iterable)):
        raise TypeError(
            f"{function}: {argument} must be a tuple of arrays {_PAIR}; or an iterable of such batches, or a function that "
            f"returns one; got {_kind(data)}"
        )


def check_batch_size(function: str, batch_size: Any) -> None:
    """Raises unless batch_size is None (all examples at once) or a positive integer."""
    if batch_size is not None:
        check_count(function, "batch_size", batch_size)


def check_finite_values(function: str, argument: str, data: Any) -> None:
    """Raises where an array has NaN or infinite values."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]:
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            bad = int((~np.isfinite(np.asarray(leaf))).sum())
            if bad:
                name = argument + jax.tree_util.keystr(path)
                raise ValueError(
                    f"{function}: {name} must be finite, but {bad} of its {leaf.size} values are NaN or infinite"
                )


def told_labels(outputs: Any, targets: Any) -> str:
    """What is wrong with integer labels for outputs `(batch, ..., classes)`, in words; empty where nothing is."""
    if (
        hasattr(outputs, "shape")
        and hasattr(targets, "shape")
        and jnp.issubdtype(targets.dtype, jnp.integer)
        and targets.shape[1:] == outputs.shape[1:-1]
    ):
        low, high, classes = int(targets.min()), int(targets.max()), outputs.shape[-1]
        if low < 0 or high >= classes:
            return f"the labels reach from {low} to {high}, the {classes} classes from 0 to {classes - 1}"
    return ""


def _kind(data: Any) -> str:
    if isinstance(data, tuple | list | Mapping):
        return f"a {type(data).__name__} of {len(data)}"
    shape = f" of shape {tuple(data.shape)}" if hasattr(data, "shape") else ""
    return "None" if data is None else f"{type(data).__name__}{shape}"

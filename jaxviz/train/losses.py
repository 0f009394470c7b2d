"""Losses by name: functions of the outputs and targets of a batch to one number per example, by optax."""

import difflib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxviz.checks import given
from jaxviz.precision import at_least_float32
from jaxviz.static import Static

Loss = Callable[[Any, Any], jax.Array]


def softmax_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross entropy of a softmax over classes: `-sum_k t_k log softmax(outputs)_k`.

    Args:
        outputs: logits `(batch, ..., classes)`.
        targets: integer labels `(batch, ...)`, or probabilities (one-hot rows, soft targets) `(batch, ..., classes)`.

    Returns:
        `(batch,)`, the mean over the axes between batch and classes; NaN where a label is out of range.
    """
    if jnp.issubdtype(targets.dtype, jnp.integer) and targets.shape != outputs.shape:
        if targets.shape != outputs.shape[:-1]:
            raise ValueError(
                f"softmax_cross_entropy: for outputs {outputs.shape} integer targets must have shape {outputs.shape[:-1]}, "
                f"got {targets.shape}"
            )
        values = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
        # A label below 0 would be counted from the last class.
        return per_example(jnp.where(targets < 0, jnp.nan, values))
    return per_example(optax.softmax_cross_entropy(outputs, _alike("softmax_cross_entropy", outputs, targets)))


def sigmoid_binary_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross entropy of independent sigmoids: `-t log s(outputs) - (1 - t) log(1 - s(outputs))`.

    Args:
        outputs: logits, of any shape `(batch, ...)`: the network has no sigmoid of its own at its end.
        targets: of the same shape, in [0, 1]; integers and bools are taken as numbers.

    Returns:
        `(batch,)`, the mean over all other axes.
    """
    targets = _alike("sigmoid_binary_cross_entropy", outputs, targets)
    return per_example(optax.sigmoid_binary_cross_entropy(outputs, targets))


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """`(outputs - targets)^2`, the mean over all axes but the batch: `(batch,)`."""
    return per_example(optax.squared_error(outputs, _alike("squared_error", outputs, targets)))


def absolute_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """`|outputs - targets|`, the mean over all axes but the batch: `(batch,)`."""
    return per_example(jnp.abs(outputs - _alike("absolute_error", outputs, targets)))


def huber(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Huber's loss: half the squared error up to 1, then linear; the mean over all axes but the batch: `(batch,)`."""
    return per_example(optax.huber_loss(outputs, _alike("huber", outputs, targets)))


def log_cosh(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """`log cosh(outputs - targets)`, the mean over all axes but the batch: `(batch,)`."""
    return per_example(optax.log_cosh(outputs, _alike("log_cosh", outputs, targets)))


def hinge(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """`max(0, 1 - t * outputs)` for targets t of -1 and 1, the mean over all axes but the batch: `(batch,)`."""
    return per_example(optax.hinge_loss(outputs, _alike("hinge", outputs, targets)))


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "sigmoid_binary_cross_entropy": sigmoid_binary_cross_entropy,
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "log_cosh": log_cosh,
    "hinge": hinge,
}


def resolve_loss(loss: str | Loss, *, function: str = "fit") -> Loss:
    """Returns the loss of a name; a callable as it is.

    A callable takes outputs and targets and returns one number per example `(batch,)` (further axes are averaged), or
    the batch's mean as a scalar. Give the same function each time: a new lambda is compiled again.

    Raises:
        ValueError: no loss has that name.
        TypeError: neither a name nor a callable.
    """
    return loss if callable(loss) else named(function, "loss", loss, LOSSES)


def named(function: str, argument: str, name: Any, known: dict[str, Any]) -> Any:
    """Returns what a name stands for, or raises an error with the names that there are and the nearest."""
    if not isinstance(name, str):
        raise TypeError(
            f"{function}: {argument} must be a name or a callable, got {given(name)}; names: {', '.join(known)}"
        )
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"{function}: unknown {argument} {name!r}{hint} names: {', '.join(known)}")
    return known[name]


def per_example(values: jax.Array) -> jax.Array:
    """The mean over all axes but the first."""
    return values.mean(axis=tuple(range(1, values.ndim))) if values.ndim > 1 else values


def mean(loss: Static, outputs: Any, targets: Any) -> jax.Array:
    """The mean of a loss or metric over the batch, summed in float32 at least."""
    found = loss.value(outputs, targets)
    batch = jax.tree.leaves(outputs)[0].shape[0]
    must = f"must return one value per example, ({batch},), or their mean as a scalar"
    name = getattr(loss.value, "__name__", "the loss or metric")
    if not (hasattr(found, "shape") or isinstance(found, int | float)):
        raise TypeError(f"{name} {must}, got {given(found)}")
    values = jnp.asarray(found)
    if values.ndim and values.shape[0] != batch:
        raise ValueError(f"{name} {must}, got shape {values.shape}")
    if jnp.issubdtype(values.dtype, jnp.complexfloating):
        raise TypeError(f"{name} {must}, of real numbers, got dtype {values.dtype}")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        values = values.astype(jnp.float32)
    return jnp.mean(at_least_float32(values))


def _alike(name: str, outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The targets, of the outputs' dtype."""
    if outputs.shape != targets.shape:
        hint = ""
        if outputs.shape == (*targets.shape, 1):
            hint = "; give targets[..., None]"
        elif name == "softmax_cross_entropy":
            hint = f"; or give integer labels {outputs.shape[:-1]}"
        raise ValueError(
            f"{name}: outputs and targets must have one shape, got outputs {outputs.shape} and targets {targets.shape}{hint}"
        )
    return targets.astype(outputs.dtype)

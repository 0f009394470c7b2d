"""Metrics by name: as losses, functions of outputs and targets to one number per example, whose mean is reported."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.checks import check_count, given
from jaxviz.static import Static
from jaxviz.train import losses
from jaxviz.train.losses import per_example

Metric = Callable[[Any, Any], jax.Array]
Metrics = Iterable[str | Metric] | Mapping[str, str | Metric]

_TAKEN = ("loss", "gradient_norm", "learning_rate")


def accuracy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Whether the greatest output is at the label.

    Args:
        outputs: scores `(batch, ..., classes)`.
        targets: integer labels `(batch, ...)`, or one-hot or soft rows `(batch, ..., classes)`, of which the greatest counts.

    Returns:
        `(batch,)`, 1.0 where right, 0.0 where wrong.
    """
    if outputs.shape[-1] == 1:
        raise ValueError("accuracy: outputs have a single class; use binary_accuracy")
    return per_example((outputs.argmax(axis=-1) == _labels("accuracy", outputs, targets)).astype(jnp.float32))


def binary_accuracy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Whether a logit is on the target's side: `outputs > 0` where the target is above 0.5; `(batch,)`."""
    if outputs.shape != targets.shape:
        hint = "; give targets[..., None]" if outputs.shape == (*targets.shape, 1) else ""
        raise ValueError(
            f"binary_accuracy: outputs and targets must have one shape, got {outputs.shape} and {targets.shape}{hint}"
        )
    return per_example(((outputs > 0) == (targets.astype(jnp.float32) > 0.5)).astype(jnp.float32))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "mean_absolute_error": losses.absolute_error,
    "mean_squared_error": losses.squared_error,
    **losses.LOSSES,
}

_TOP: dict[int, Metric] = {}  # made once each, so that a compiled step is found again


def top_accuracy(k: int) -> Metric:
    """The metric whether the label is among the k greatest outputs; by name `"top_5_accuracy"`.

    A label whose output ties with others counts as the last of them.

    Args:
        k: at least 1.
    """
    k = check_count("top_accuracy", "k", k)

    def metric(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        labels = _labels(f"top_{k}_accuracy", outputs, targets)
        score = jnp.take_along_axis(outputs, labels[..., None], axis=-1)
        return per_example(((outputs >= score).sum(axis=-1) <= k).astype(jnp.float32))

    metric.__name__ = f"top_{k}_accuracy"
    return _TOP.setdefault(k, metric)


def resolve_metrics(metrics: Metrics, *, function: str = "fit") -> dict[str, Metric]:
    """Returns the metrics by name.

    Args:
        metrics: names and callables (outputs, targets) -> `(batch,)` or a scalar; or a dict of them, by the names that
            they are to be reported under.
        function: named in errors.

    Raises:
        TypeError: not several metrics, or one that is neither a name nor a callable.
        ValueError: an unknown name, two metrics of one name, or a name that is taken.
    """
    if isinstance(metrics, str) or callable(metrics) or not isinstance(metrics, Iterable):
        hint = f"; write ({given(metrics)},)" if isinstance(metrics, str) or callable(metrics) else ""
        raise TypeError(
            f"{function}: metrics must be a tuple of names or callables, or a dict, got {given(metrics)}{hint}"
        )
    pairs = list(metrics.items()) if isinstance(metrics, Mapping) else [(_name(metric), metric) for metric in metrics]
    resolved: dict[str, Metric] = {}
    for name, metric in pairs:
        if not isinstance(name, str):
            raise TypeError(f"{function}: the names of metrics must be strings, got {given(name)}")
        if name in resolved or name in _TAKEN:
            raise ValueError(
                f"{function}: metrics must have different names, none of them {', '.join(_TAKEN)}; got {name!r}"
                f"{' twice' if name in resolved else ''}; a dict gives other names"
            )
        resolved[name] = _resolve(function, metric)
    return resolved


def static(metrics: Mapping[str, Metric]) -> tuple[tuple[str, Static], ...]:
    """Metrics as a static argument that compares by value."""
    return tuple((name, Static(metric)) for name, metric in metrics.items())


def _name(metric: str | Metric) -> str:
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__).strip("<>")


def _resolve(function: str, metric: str | Metric) -> Metric:
    if callable(metric):
        return metric
    if isinstance(metric, str) and (top := re.fullmatch(r"top_([1-9]\d*)_accuracy", metric)):
        return top_accuracy(int(top[1]))
    result: Metric = losses.named(function, "metric", metric, {**METRICS, "top_5_accuracy": accuracy})
    return result


def _labels(name: str, outputs: jax.Array, targets: jax.Array) -> jax.Array:
    if targets.shape == outputs.shape[:-1] and jnp.issubdtype(targets.dtype, jnp.integer):
        return targets
    if targets.shape == outputs.shape:
        return targets.argmax(axis=-1)
    raise ValueError(
        f"{name}: targets must be integer labels {outputs.shape[:-1]} or rows {outputs.shape}, got {targets.dtype}{targets.shape}"
    )

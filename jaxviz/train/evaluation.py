"""Evaluation and prediction, in batches, of a trained network."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxviz.checks import applying
from jaxviz.model import Model
from jaxviz.static import Static
from jaxviz.train import losses, metrics
from jaxviz.train.examples import check_arrays, check_batch, check_batch_size, check_batches, check_pair, length
from jaxviz.train.losses import Loss
from jaxviz.train.metrics import Metrics
from jaxviz.train.state import State

_MOST = 512  # examples at once, where batch_size is not given


def evaluate(
    state: State | Model,
    data: Any,
    *,
    loss: str | Loss | None = None,
    metrics: Metrics = (),
    batch_size: int | None = None,
) -> dict[str, float]:
    """The loss and the metrics on data, in evaluation mode: means over all examples, whatever the batches.

    Args:
        state: a state, or any `jaxviz.Model`.
        data: `(inputs, targets)`, arrays with the examples along axis 0; or an iterable of such batches.
        loss: a name in `LOSSES` or a callable; None leaves it out.
        metrics: names in `METRICS`, "top_5_accuracy" or any other k, or callables (outputs, targets) -> `(batch,)` or scalar.
        batch_size: examples at once; None chooses batches of about equal size, at most 512. The result does not depend on it but
            for rounding.

    Returns:
        "loss" and each metric's name -> value.

    Raises:
        TypeError: state, data, loss or a metric of another kind; called inside `jax.jit`, for it is a loop on the host.
        ValueError: neither loss nor metrics, data without examples or of different lengths, an unknown loss or metric, shapes
            that the loss or a metric cannot compare, or inputs that the network cannot be applied to.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, x: x * params, jnp.ones(3))
        >>> evaluate(model, (jnp.eye(3), jnp.array([0, 1, 1])), metrics=("accuracy",))
        {'accuracy': 0.6666666865348816}
    """
    named = resolve("evaluate", loss, metrics)
    if not named:
        raise ValueError("evaluate: give a loss, or metrics")
    model = _model("evaluate", state)
    return means("evaluate", "data", model, _batches("evaluate", data, batch_size), named)


def resolve(function: str, loss: str | Loss | None, names: Metrics) -> tuple[tuple[str, Static], ...]:
    """What is to be measured, as a static argument."""
    first = () if loss is None else (("loss", Static(losses.resolve_loss(loss, function=function))),)
    return (*first, *metrics.static(metrics.resolve_metrics(names, function=function)))


def means(
    function: str, argument: str, model: Model, batches: Iterator[Any], named: tuple[tuple[str, Static], ...]
) -> dict[str, float]:
    """The means over all examples of batches; function and argument are named in errors."""
    sums = []
    for batch in batches:
        with applying(function, argument, model, batch[0]):
            sums.append((length(batch), _means(model, batch, named)))
    if not sums:
        raise ValueError(f"{function}: {argument} has no batches")
    counts = np.array([count for count, _ in sums], float)
    values = np.stack([np.asarray(value, float) for _, value in sums])
    return dict(
        zip((name for name, _ in named), (counts @ values / counts.sum()).astype(np.float32).tolist(), strict=True)
    )


def check(function: str, argument: str, model: Model, data: Any, named: tuple[tuple[str, Static], ...]) -> None:
    """Raises unless the network can be applied to data, and the loss and metrics to what it returns; nothing is computed."""
    first = next(slices(function, data, None))
    with applying(function, argument, model, first[0]):
        _means.eval_shape(model, first, named)


def predict(state: State | Model, inputs: Any, *, batch_size: int | None = None) -> Any:
    """The outputs for many inputs, in evaluation mode, computed in batches.

    Args:
        state: a state, or any `jaxviz.Model`.
        inputs: an array with the examples along axis 0, or a tuple of arrays for several inputs.
        batch_size: examples at once; None chooses batches of about equal size, at most 512.

    Returns:
        The outputs of all examples, NumPy arrays on the host.

    Raises:
        TypeError: state or inputs of another kind; called inside `jax.jit`, where the model itself is to be called.
        ValueError: inputs without examples or of different lengths, or that the network cannot be applied to.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, x: x @ params, jnp.ones((3, 2)))
        >>> predict(model, jnp.ones((1000, 3)), batch_size=100).shape
        (1000, 2)
    """
    model = _model("predict", state)
    check_arrays("predict", "inputs", inputs)
    outputs, waiting = [], None
    for batch in slices("predict", inputs, batch_size):
        with applying("predict", "inputs", model, batch):
            coming = _predict(model, batch)
        if waiting is not None:  # one batch later, so that the device goes on meanwhile
            outputs.append(jax.tree.map(np.asarray, waiting))
        waiting = coming
    outputs.append(jax.tree.map(np.asarray, waiting))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *outputs)


def slices(function: str, data: Any, batch_size: int | None) -> Iterator[Any]:
    """The data in batches, in order. The last may be smaller."""
    check_batch_size(function, batch_size)
    count = length(data)
    if batch_size is None:
        batch_size = -(-count // -(-count // _MOST))
    # On the host: a slice is a view, and on CPU so is the device's own array.
    data = jax.tree.map(np.asarray, data)
    return (jax.tree.map(lambda leaf, s=start: leaf[s : s + batch_size], data) for start in range(0, count, batch_size))


def _batches(function: str, data: Any, batch_size: int | None) -> Iterator[Any]:
    if isinstance(data, tuple):
        check_pair(function, "data", data)
        return slices(function, data, batch_size)
    check_batches(function, "data", data)
    batches = data() if callable(data) else data
    check_batches(function, "what data returns" if callable(data) else "data", batches)
    return (check_batch(function, "data's batch", batch) for batch in batches)


def _model(function: str, state: State | Model) -> Model:
    if isinstance(state, State):
        return state.model
    if not isinstance(state, Model):
        raise TypeError(f"{function}: state must be a train.State or a jaxviz.Model, got {type(state).__name__}")
    return state


@functools.partial(jax.jit, static_argnames="named")
def _means(model: Model, batch: Any, named: tuple[tuple[str, Static], ...]) -> jax.Array:
    inputs, targets = batch
    outputs = model.apply(model.params, model.keywords, inputs)
    return jax.numpy.stack([losses.mean(metric, outputs, targets).astype(jax.numpy.float32) for _, metric in named])


@jax.jit
def _predict(model: Model, inputs: Any) -> Any:
    return model.apply(model.params, model.keywords, inputs)

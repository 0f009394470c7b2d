"""One training step, seen: every value of the forward pass, every gradient of the backward pass, every update."""

import functools
import html
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxviz.checks import check_count
from jaxviz.model import Model, check_model
from jaxviz.tables import as_html, as_text
from jaxviz.train.examples import check_arrays, length
from jaxviz.train.losses import Loss, resolve_loss

Rows = list[list[str]]


@dataclass(frozen=True)
class Backpropagation:
    """What one step of gradient descent computes. Shows itself as tables, as text and in a notebook.

    Attributes:
        loss: the mean loss over the batch.
        inputs: the inputs, an array `(batch, ...)`.
        targets: the targets, `(batch, ...)`.
        activations: layer path -> its value, in order of execution.
        activation_gradients: layer path -> the gradient of the loss with respect to that value, of its shape.
        parameters: parameter path -> its value before the step.
        parameter_gradients: parameter path -> the gradient of the loss.
        updates: parameter path -> what the optimizer adds to the parameter; None without an optimizer.
    """

    loss: float
    inputs: np.ndarray
    targets: np.ndarray
    activations: dict[str, np.ndarray]
    activation_gradients: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    parameter_gradients: dict[str, np.ndarray]
    updates: dict[str, np.ndarray] | None

    def tables(self) -> Iterator[tuple[str, list[str], Rows]]:
        """The tables: title, names of the columns, rows of text."""
        examples = [f"example {index}" for index in range(len(self.inputs))]
        forward = [
            *_rows("inputs", self.inputs),
            *(row for path, value in self.activations.items() for row in _rows(path, value)),
        ]
        yield (
            f"Forward pass: values (loss {self.loss:.4f})",
            ["value", *examples],
            [*forward, *_rows("target", self.targets)],
        )
        backward = [row for path, value in reversed(self.activation_gradients.items()) for row in _rows(path, value)]
        yield "Backward pass: gradient of the loss with respect to each value", ["value", *examples], backward
        columns = ["parameter", "before", "gradient", *(["update", "after"] if self.updates is not None else [])]
        rows: Rows = []
        for path, value in self.parameters.items():
            changes = [] if self.updates is None else [self.updates[path], value + self.updates[path]]
            parts = [np.ravel(part) for part in (value, self.parameter_gradients[path], *changes)]
            names = (f"{path}[{', '.join(map(str, index))}]" if index else path for index in np.ndindex(value.shape))
            rows.extend([name, *map(_number, numbers)] for name, *numbers in zip(names, *parts, strict=True))
        yield "Gradient descent: the parameters", columns, rows

    def __str__(self) -> str:
        parts = [[title, *as_text(columns, rows), ""] for title, columns, rows in self.tables()]
        return "\n".join(itertools.chain(*parts))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(
            f"<h4>{html.escape(title)}</h4>{as_html(columns, rows)}" for title, columns, rows in self.tables()
        )

    def markdown(self) -> str:
        """The tables in markdown, for the Text tab of TensorBoard."""
        lines = []
        for title, columns, rows in self.tables():
            lines += [f"### {title}", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
            lines += [*(f"| {' | '.join(row)} |" for row in rows), ""]
        return "\n".join(lines)


def backpropagation(
    model: Model,
    inputs: Any,
    targets: Any,
    *,
    loss: str | Loss,
    optimizer: optax.GradientTransformation | None = None,
    most: int = 4096,
) -> Backpropagation:
    """Computes one step of training and keeps everything in between.

    The gradients with respect to the layers' values come from backpropagation through the traced program, so they are right for
    layers that are called several times and for residual connections.

    Args:
        model: a model whose parameters are those of a Linen module, or any pytree.
        inputs: an array whose axis 0 is the batch.
        targets: an array `(batch, ...)`, as the loss takes it.
        loss: the name of a loss or a callable, as in `fit`.
        optimizer: an optax optimizer, freshly initialized for this step; None leaves the updates out.
        most: how many numbers there may be at the most, for this is to be read.

    Raises:
        TypeError: a model, inputs, targets, loss or optimizer of another kind; called inside `jax.jit`.
        ValueError: if there are more than `most` numbers in the parameters and activations; arrays of different lengths.

    Example:
        >>> import jax, jax.numpy as jnp, optax, jaxviz as jv
        >>> module = jv.models.MLP(features=(2, 1), activation="sigmoid")
        >>> inputs, targets = jv.data.xor()
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), inputs))
        >>> step = jv.train.backpropagation(
        ...     model, inputs, targets[:, None], loss="sigmoid_binary_cross_entropy", optimizer=optax.sgd(0.1)
        ... )
        >>> list(step.activations)
        ['Dense_0', 'sigmoid_0', 'Dense_1']
        >>> step.activation_gradients["Dense_1"].shape
        (4, 1)

    References:
        D. E. Rumelhart, G. E. Hinton, R. J. Williams. Learning representations by back-propagating errors. Nature 323, 1986.
    """
    check_model("backpropagation", model)
    examples = check_arrays("backpropagation", "inputs", inputs)
    if check_arrays("backpropagation", "targets", targets) != examples:
        raise ValueError(
            f"backpropagation: inputs and targets must have one number of examples, got {examples} and {length(targets)}"
        )
    check_count("backpropagation", "most", most)
    if optimizer is not None and not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"backpropagation: optimizer must be an optax optimizer, or None, got {type(optimizer).__name__}"
        )
    resolved = resolve_loss(loss, function="backpropagation")
    layers = tuple(layer.path for layer in model.layers(inputs))
    numbers = sum(layer.nbytes // 4 for layer in model.layers(inputs)) + sum(
        map(jnp.size, jax.tree.leaves(model.params))
    )
    if numbers > most:
        raise ValueError(
            f"backpropagation: {numbers} numbers are too many to be read, at most {most}; "
            "take fewer examples or a smaller network"
        )
    value, activations, gradients, parameter_gradients, updates = _step(
        model, inputs, targets, layers, resolved, optimizer
    )
    order = [path for path in layers if hasattr(activations[path], "shape")]
    host = functools.partial(jax.tree.map, np.asarray)
    named = model.apply.parameters
    return Backpropagation(
        loss=float(value),
        inputs=np.asarray(inputs),
        targets=np.asarray(targets),
        activations={path: np.asarray(activations[path]) for path in order},
        activation_gradients={path: np.asarray(gradients[path]) for path in order},
        parameters=host(named(model.params)),
        parameter_gradients=host(named(parameter_gradients)),
        updates=None if updates is None else host(named(updates)),
    )


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _step(
    model: Model,
    inputs: Any,
    targets: Any,
    layers: tuple[str, ...],
    loss: Callable[[Any, Any], jax.Array],
    optimizer: optax.GradientTransformation | None,
) -> tuple[Any, ...]:
    activations = model.capture(inputs, layers)
    # The gradient with respect to a layer's value is the gradient with respect to something added to it.
    zeros = jax.tree.map(jnp.zeros_like, activations)

    def score(params: Any, additions: Any) -> jax.Array:
        return jnp.mean(loss(model.with_params(params).add(additions)(inputs), targets))

    value, (parameter_gradients, gradients) = jax.value_and_grad(score, argnums=(0, 1))(model.params, zeros)
    updates = None
    if optimizer is not None:
        updates, _ = optimizer.update(parameter_gradients, optimizer.init(model.params), model.params)
    return value, activations, gradients, parameter_gradients, updates


def _rows(path: str, value: np.ndarray) -> Rows:
    """One row per unit, one column per example."""
    units = value.reshape(len(value), -1)
    names = (
        [path]
        if value.ndim == 1
        else [f"{path}[{', '.join(map(str, index))}]" for index in np.ndindex(value.shape[1:])]
    )
    return [[name, *map(_number, unit)] for name, unit in zip(names, units.T, strict=True)]


def _number(number: Any) -> str:
    if isinstance(number, np.integer | np.bool_):
        return str(int(number))
    size = abs(float(number))
    return f"{number:.4f}" if size == 0 or 1e-3 <= size < 1e4 else f"{number:.2e}"

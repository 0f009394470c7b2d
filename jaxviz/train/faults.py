"""NaN and inf: where the first of them arose."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.finite import counts, first, in_words, told
from jaxviz.model import Model
from jaxviz.program import INPUT, paths
from jaxviz.train.examples import told_labels
from jaxviz.train.state import State
from jaxviz.train.step import Recipe, step_key


class NonFiniteError(FloatingPointError):
    """A loss or gradient was NaN or infinite, and training was stopped.

    Attributes:
        step: the number of updates done before the faulty one.
        layer: the path of the first layer, in order of execution, whose activation was not finite; of the parameter whose
            gradient was not finite, where the forward pass was ("Dense_0/kernel"); or "inputs", "targets", "loss".
        reason: what was found there, in words.
        state: the state before the faulty step, to go on from with other settings.
        history: what was recorded until then.
    """

    def __init__(self, step: int, layer: str, reason: str, state: State, history: Any = None) -> None:
        super().__init__(
            f"fit: not finite at step {step}, first in {layer}: {reason}. The state before that step is in error.state"
        )
        self.step, self.layer, self.reason, self.state, self.history = step, layer, reason, state, history


def find_fault(state: State, batch: Any, recipe: Recipe) -> tuple[str, str]:
    """Does a step again, slowly, and looks for the first value that is not finite.

    Args:
        state: the state before the step.
        batch: its `(inputs, targets)`, before augmentation.
        recipe: the step's.

    Returns:
        Where it is (see `NonFiniteError.layer`), and what was found there.
    """
    network_key, augment_key = jax.random.split(step_key(state))
    if bad := first(jax.tree.map(jnp.asarray, batch[0])):
        return "inputs", told(*bad) + " in the data"
    if recipe.augment is not None:
        batch = recipe.augment.value(augment_key, tuple(batch))
    inputs, targets = batch
    if bad := first(inputs):
        return "inputs", told(*bad) + " after augmentation"
    if bad := first(targets):
        return "targets", told(*bad)
    for path, leaf in paths.flatten(state.params).items():
        if not np.isfinite(leaf).all():
            return path, f"{told('the parameter', leaf)} before the step"
    model = state.network.training_model(state.params, state.model_state, network_key)
    for path, activation in model.capture(inputs).items():
        if bad := first(activation):
            return path, told("the activation", bad[1]) + _entered(model, inputs, path)
    return _backward(state, inputs, targets, network_key, recipe)


def _entered(model: Model, inputs: Any, path: str) -> str:
    """What is to be said of a layer's input where that is not finite, the layers before it being so."""
    try:
        values = model.capture(inputs, path, side=INPUT)
    except ValueError:  # a tagged value has no input, and one of a while loop is not kept
        return ""
    bad = first(values)
    if not bad:
        return ""
    nan, inf = counts(bad[1])
    # Infinities may be meant, as those of an additive mask; a NaN is not.
    return f"; its input already has {in_words(nan, inf)}" + (", which arose between the layers" if nan else "")


def _backward(state: State, inputs: Any, targets: Any, key: jax.Array, recipe: Recipe) -> tuple[str, str]:
    """Looks into the loss and the gradients, the forward pass being finite."""

    def objective(params: Any) -> tuple[jax.Array, Any]:
        outputs, _ = state.network.train(params, state.model_state, inputs, key)
        values = recipe.loss.value(outputs, targets)
        return jnp.mean(values), (values, outputs)

    (_, (values, outputs)), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    if bad := first(values):
        labels = told_labels(outputs, targets)
        hint = f"; {labels}" if labels else ""
        return "loss", f"{told('the loss', bad[1])}, while the network's outputs are finite{hint}"
    # Backpropagation comes from the end: the first to be hit is the layer that is executed last.
    model = state.network.training_model(state.params, state.model_state, key)
    order = {layer.path: number for number, layer in enumerate(model.layers(inputs))}
    place = lambda path: max((number for layer, number in order.items() if path.startswith(f"{layer}/")), default=-1)
    bad_grads = {path: leaf for path, leaf in paths.flatten(grads).items() if not np.isfinite(leaf).all()}
    if not bad_grads:
        return (
            "loss",
            "it does not show when the step is done again, operation by operation: it is at the edge of what the dtype holds",
        )
    path = max(bad_grads, key=place)
    return path, told("the gradient", bad_grads[path]) + ", while the forward pass is finite"

"""What the sections on training share: the demo's network, its data, and the loop that one writes by hand."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState

import jaxviz as jv
from jaxviz.demo.mnist import BATCH_SIZE as BATCH_SIZE
from jaxviz.demo.mnist import MODULE as MODULE

LEARNING_RATE = 1e-3
OPTIMIZER = optax.adam(LEARNING_RATE)
Data = tuple[np.ndarray, np.ndarray]


def data(examples: int) -> Data:
    """Returns so many of the demo's training images and labels, in whole batches."""
    (images, labels), _ = jv.data.mnist()
    examples = min(examples, len(labels)) // BATCH_SIZE * BATCH_SIZE
    return images[:examples], labels[:examples]


class State(TrainState):
    """What flax's documentation makes of TrainState for a network with batch norm."""

    batch_stats: Any = None


@functools.partial(jax.jit, donate_argnums=0)
def step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, jax.Array, jax.Array]:
    """One step as flax's and optax's own documentation writes it: loss, gradient, update; the metric from the same outputs."""

    def loss_of(params: Any) -> tuple[jax.Array, Any]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, changed = state.apply_fn(variables, images, train=True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), (logits, changed)

    (loss, (logits, changed)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    accuracy = (logits.argmax(-1) == labels).mean()
    return state.apply_gradients(grads=gradients, **changed), loss, accuracy


class HandWritten:
    """The loop by hand: a permutation for each epoch, a jitted step for each batch, the epoch's means fetched at its end.

    Args:
        examples: images and labels.
        params: the first parameters; copied, as the step uses them up.
        batch_stats: the first running statistics.
    """

    def __init__(self, examples: Data, params: Any, batch_stats: Any) -> None:
        self.images, self.labels = examples
        params, batch_stats = jax.tree.map(jnp.copy, (params, batch_stats))
        self.state = State.create(apply_fn=MODULE.apply, params=params, tx=OPTIMIZER, batch_stats=batch_stats)
        self.order = np.random.default_rng(0)

    def epoch(self, *, shuffle: bool = True) -> tuple[float, float]:
        """Trains one epoch; returns its mean loss and accuracy."""
        count = len(self.labels)
        permutation = self.order.permutation(count) if shuffle else np.arange(count)
        losses, accuracies = [], []
        for chosen in permutation.reshape(-1, BATCH_SIZE):
            self.state, loss, accuracy = step(self.state, self.images[chosen], self.labels[chosen])
            losses.append(loss)
            accuracies.append(accuracy)
        return float(np.mean(jax.device_get(losses))), float(np.mean(jax.device_get(accuracies)))

    def seconds(self, epochs: int) -> float:
        """Trains and returns the wall time."""
        start = time.perf_counter()
        for _ in range(epochs):
            self.epoch()
        return time.perf_counter() - start

    def step_flops(self) -> float | None:
        """Returns the floating-point operations of one step, by the compiler's own count."""
        analysis = step.lower(self.state, self.images[:BATCH_SIZE], self.labels[:BATCH_SIZE]).compile().cost_analysis()
        return None if analysis is None or "flops" not in analysis else float(analysis["flops"])

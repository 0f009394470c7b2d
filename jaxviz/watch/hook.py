"""What a hook is: a pair of functions, one that measures on the device and one that writes on the host."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.checks import check_count, check_function
from jaxviz.inputs import check_inputs
from jaxviz.model import Model


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepView:
    """What a training step shows to the hooks: values of one and the same step. What is not given is None.

    Attributes:
        step: how many updates were done before this step, an int scalar (0 at the first step); traced inside `jax.jit`.
        params: the parameters before the update: a Linen or plain pytree (with or without the collection "params"), an NNX
            state or an NNX module.
        grads: the gradients taken at them, of the same structure.
        updates: what the optimizer adds to the parameters, of the same structure.
        model: the model with these parameters, in evaluation mode.
        loss: the loss, a scalar.
    """

    step: Any
    params: Any = None
    grads: Any = None
    updates: Any = None
    model: Model | None = None
    loss: Any = None


@dataclass(frozen=True)
class Hook:
    """A pair of functions: `measure` on the device, inside the compiled step, and `write` on the host.

    Attributes:
        name: told in error messages; unique in a watcher.
        measure: `StepView -> pytree of small arrays`, pure.
        write: `(writer, step, the same pytree of numpy arrays) -> None`.
        every: measured at the steps that this divides.
        probe: whether `measure` needs the view's step and model only, so that `Watcher.probe` can do it outside of the step.
    """

    name: str
    measure: Callable[[StepView], Any]
    write: Callable[[Any, int, Any], None]
    every: int = 100
    probe: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"Hook: name must be a non-empty string, got {self.name!r}")
        object.__setattr__(self, "every", check_count(f"watch.{self.name}", "every", self.every))
        check_function(f"watch.{self.name}", "measure", self.measure, "a StepView")
        check_function(f"watch.{self.name}", "write", self.write, "a writer, a step and what was measured")


def needed(hook: str, view: StepView, field: str) -> Any:
    """A field of the view, or an error that says how to give it."""
    value = getattr(view, field)
    if value is None:
        raise ValueError(
            f"watch.{hook}: the StepView has no {field}; give StepView(step, {field}=..., ...) to Watcher.measure"
        )
    return value


def check_probe(hook: str, probe: Any, *, differentiable: bool = False) -> None:
    """Raises unless probe is a batch of inputs, not empty; a differentiable one is of floats."""
    check_inputs(f"watch.{hook}", probe, "probe")
    for leaf in jax.tree.leaves(probe):
        if not leaf.shape or 0 in leaf.shape:
            raise ValueError(f"watch.{hook}: probe must be a batch of examples, got shape {tuple(leaf.shape)}")
        if differentiable and not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"watch.{hook}: probe must be of floats, to be differentiated, got dtype {leaf.dtype}")

"""Measuring: what the hooks do inside the user's compiled step. Pure; the `Watcher` reads it back on the host."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.checks import given
from jaxviz.watch.hook import Hook, StepView
from jaxviz.watch.packed import Packed


def check_hooks(function: str, hooks: Any) -> tuple[Hook, ...]:
    """The hooks as a tuple; raises unless they are hooks with different names."""
    if isinstance(hooks, Hook):
        raise TypeError(f"{function}: hooks must be several hooks, got one Hook; write [hook]")
    if isinstance(hooks, str) or not isinstance(hooks, Iterable):
        raise TypeError(f"{function}: hooks must be a list of hooks, such as [watch.weights()], got {given(hooks)}")
    hooks = tuple(hooks)
    for hook in hooks:
        if not isinstance(hook, Hook):
            raise TypeError(
                f"{function}: hooks must be Hook instances, such as watch.weights(), got {type(hook).__name__}"
            )
    names = [hook.name for hook in hooks]
    if len(set(names)) < len(names):
        raise ValueError(f"{function}: hooks must have different names, got {', '.join(names)}; give name=")
    return hooks


def measure(hooks: tuple[Hook, ...], view: StepView, *, function: str = "measure") -> dict[str, Packed]:
    """Measures what is due at the view's step.

    Each hook is computed under `jax.lax.cond`, only at the steps that its `every` divides; at other steps its result is zeros.

    Args:
        hooks: the hooks; those on the model are left out where the view has none.
        view: the step's values.
        function: the name of the caller, for error messages.

    Returns:
        Small arrays, for `Watcher.record`.
    """
    if not isinstance(view, StepView):
        raise TypeError(f"{function}: view must be a StepView, got {type(view).__name__}")
    try:
        step = jnp.asarray(view.step)
    except (TypeError, ValueError):
        raise TypeError(f"{function}: the view's step must be an int scalar, got {given(view.step)}") from None
    if step.shape != () or not jnp.issubdtype(step.dtype, jnp.integer):
        raise TypeError(f"{function}: the view's step must be an int scalar, got {step.dtype} of shape {step.shape}")
    step = step.astype(jnp.int32)
    measured = {}
    intervals: dict[int, list[Hook]] = {}
    for hook in hooks:
        if not hook.probe or view.model is not None:
            intervals.setdefault(hook.every, []).append(hook)
    # One conditional per interval: hooks that are due together share their reads of the parameters.
    for every, together in intervals.items():
        # The step is counted from 1 here, so that zeros are no step.
        due = lambda together=together: Packed.of((step + 1, {hook.name: hook.measure(view) for hook in together}))
        shape = jax.eval_shape(due)
        idle = lambda shape=shape: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shape)
        measured[f"every_{every}"] = due() if every == 1 else jax.lax.cond(step % every == 0, due, idle)
    return measured

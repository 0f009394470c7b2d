"""The training step: one pure function, compiled alone or inside a loop of several steps per dispatch."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxviz.checks import check_flag, given
from jaxviz.static import Static
from jaxviz.train import losses, metrics
from jaxviz.train.examples import check_batch
from jaxviz.train.losses import Loss
from jaxviz.train.metrics import Metrics
from jaxviz.train.state import State, lenient
from jaxviz.watch import Hook, StepView
from jaxviz.watch.measurement import check_hooks, measure

Augmentation = Callable[[jax.Array, Any], Any]


@dataclass(frozen=True)
class Recipe:
    """What is static in a step. Equal recipes share one compiled program.

    Attributes:
        loss: the loss.
        metrics: names and metrics.
        augment: `(key, batch) -> batch`, or None.
        hooks: what is measured inside the step.
        check_finite: whether the state stops changing at the first loss or gradient that is not finite.
    """

    loss: Static
    metrics: tuple[tuple[str, Static], ...] = ()
    augment: Static | None = None
    hooks: tuple[Hook, ...] = ()
    check_finite: bool = True


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepReport:
    """What a step tells: `report["loss"]`, each metric, `"gradient_norm"`, and `"learning_rate"` where it is known.

    Attributes:
        values: float32 `(names + 1,)`, the last being 1.0 as long as all was finite; one array, so one transfer.
        measured: what the hooks measured, for `Watcher.record`.
        names: of the values.
    """

    values: jax.Array
    measured: dict[str, Any]
    names: tuple[str, ...] = field(metadata={"static": True})

    def __getitem__(self, name: str) -> jax.Array:
        return self.values[..., self.names.index(name)]


@dataclass(frozen=True)
class Step:
    """A compiled training step, made by `make_step`: `step(state, batch) -> (state, report)`."""

    recipe: Recipe

    def __call__(self, state: State, batch: Any) -> tuple[State, StepReport]:
        """Does one update; the given state's memory is reused, so that it can no longer be read."""
        if not isinstance(state, State):
            raise TypeError(
                f"step: state must be a train.State, as create_state returns it, got {type(state).__name__}"
            )
        check_batch("step", "batch", batch, traced=True)
        return one(state, batch, self.recipe)


def make_step(
    *,
    loss: str | Loss,
    metrics: Metrics = (),
    augment: Augmentation | None = None,
    hooks: Iterable[Hook] = (),
    check_finite: bool = True,
) -> Step:
    """A jitted training step with donated buffers, for a loop of one's own.

    Args:
        loss: a name in `LOSSES`, or a callable `(outputs, targets) -> (batch,)` or scalar.
        metrics: names or callables, as in `fit`; of the outputs in training mode, before the update.
        augment: `(key, batch) -> batch`, compiled into the step.
        hooks: `jaxviz.watch` hooks to measure inside the step; give `report.measured` to `Watcher.record`.
        check_finite: leave the state as it is from the first loss or gradient on that is not finite; `state.finite` tells.

    Returns:
        `step(state, (inputs, targets)) -> (state, report)`. The state given is used up (its buffers are donated).

    Raises:
        TypeError: loss, a metric, augment or a hook of another kind; when called, a state or batch of another kind.
        ValueError: an unknown loss or metric, or two metrics or hooks of one name; when called, arrays of different lengths.

    Example:
        >>> import jax, jax.numpy as jnp, optax, jaxviz as jv
        >>> inputs, labels = jv.data.xor()
        >>> module = jv.models.MLP(features=(8, 2))
        >>> state = jv.train.create_state(module, inputs, optimizer=optax.adam(0.1), key=jax.random.key(0))
        >>> step = jv.train.make_step(loss="softmax_cross_entropy", metrics=("accuracy",))
        >>> for _ in range(100):
        ...     state, report = step(state, (inputs, labels))
        >>> float(report["accuracy"]), int(state.step)
        (1.0, 100)
    """
    return Step(make_recipe("make_step", loss, metrics, augment, hooks, check_finite))


def make_recipe(
    function: str,
    loss: str | Loss,
    names: Metrics,
    augment: Augmentation | None,
    hooks: Iterable[Hook],
    check_finite: bool,
) -> Recipe:
    """The static part of a step, its arguments checked."""
    if augment is not None and not callable(augment):
        raise TypeError(f"{function}: augment must be a function of (key, batch), got {type(augment).__name__}")
    return Recipe(
        Static(losses.resolve_loss(loss, function=function)),
        metrics.static(metrics.resolve_metrics(names, function=function)),
        None if augment is None else Static(augment),
        check_hooks(function, hooks),
        check_flag(function, "check_finite", check_finite),
    )


def update(state: State, batch: Any, recipe: Recipe) -> tuple[State, StepReport]:
    """One update. Pure; not compiled."""
    network_key, augment_key = jax.random.split(step_key(state))
    inputs, targets = batch if recipe.augment is None else _augmented(recipe.augment.value(augment_key, tuple(batch)))

    def objective(params: Any) -> tuple[jax.Array, tuple[Any, Any]]:
        outputs, model_state = state.network.train(params, state.model_state, inputs, network_key)
        return losses.mean(recipe.loss, outputs, targets), (outputs, model_state)

    (loss, (outputs, model_state)), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    optimizer = optax.with_extra_args_support(state.optimizer)
    with lenient():
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=loss)
        rate = learning_rate(state)
    norm = _norm(grads)
    finite = state.finite
    if recipe.check_finite:
        finite &= jnp.isfinite(loss) & jnp.isfinite(norm)
    before = (state.params, state.model_state, state.opt_state)
    after = (optax.apply_updates(state.params, updates), model_state, opt_state)
    # A selection, not a conditional: XLA fuses it into the update, and a conditional would copy the state.
    params, model_state, opt_state = jax.tree.map(
        lambda new, old: _kept(new, old, finite if recipe.check_finite else None), after, before
    )
    values = {
        "loss": loss,
        **{name: losses.mean(metric, outputs, targets) for name, metric in recipe.metrics},
        "gradient_norm": norm,
    }
    if rate is not None:
        values["learning_rate"] = rate
    measured: dict[str, Any] = {}
    if recipe.hooks:
        view = StepView(state.step, params=state.params, grads=grads, updates=updates, loss=loss)
        measured = measure(recipe.hooks, view)
    packed = jnp.stack([jnp.asarray(value, jnp.float32) for value in (*values.values(), finite)])
    state = replace(
        state, step=state.step + 1, params=params, model_state=model_state, opt_state=opt_state, finite=finite
    )
    return state, StepReport(packed, measured, tuple(values))


@functools.partial(jax.jit, static_argnames="recipe", donate_argnames="state")
def one(state: State, batch: Any, recipe: Recipe) -> tuple[State, StepReport]:
    """One update with a batch."""
    return update(state, batch, recipe)


@functools.partial(jax.jit, static_argnames="recipe", donate_argnames="state")
def gathered(state: State, data: Any, indices: jax.Array, recipe: Recipe) -> tuple[State, StepReport]:
    """One update with the examples of the given indices `(batch,)`."""
    return update(state, take(data, indices), recipe)


@functools.partial(jax.jit, static_argnames=("recipe", "most"), donate_argnames="state")
def many(
    state: State, data: Any, indices: jax.Array | None, count: jax.Array, recipe: Recipe, most: int
) -> tuple[State, StepReport]:
    """`count` updates, with the examples of `indices[i]` in the i-th, or with all examples where indices is None.

    The count is traced, up to `most`: a rest of an epoch is not another program. Reports are stacked along axis 0.
    """
    batch = lambda i: data if indices is None else take(data, indices[i])
    shapes = jax.eval_shape(lambda state: update(state, batch(0), recipe)[1], state)

    def body(i: jax.Array, carry: tuple[State, StepReport]) -> tuple[State, StepReport]:
        state, report = update(carry[0], batch(i), recipe)
        return state, jax.tree.map(lambda all_, new: all_.at[i].set(new), carry[1], report)

    reports = jax.tree.map(lambda leaf: jnp.zeros((most, *leaf.shape), leaf.dtype), shapes)
    state, reports = jax.lax.fori_loop(0, count, body, (state, reports))
    return state, reports


def step_key(state: State) -> jax.Array:
    """The random key of the next step, of which the network's and the augmentation's are the two parts."""
    return jax.random.fold_in(state.key, state.step)


def take(data: Any, indices: jax.Array) -> Any:
    """The examples of these indices, which must be in range: without the check, a gather takes a third of the time."""
    return jax.tree.map(lambda leaf: leaf.at[indices].get(mode="promise_in_bounds"), data)


def learning_rate(state: State) -> Any:
    """The learning rate of the next update, if the optimizer tells it: of `train.optimizer` or `optax.inject_hyperparams`."""
    rate = getattr(state.optimizer, "learning_rate", None)
    if rate is not None:
        return rate(state.step) if callable(rate) else rate
    injected = [
        leaf.hyperparams["learning_rate"]
        for leaf in jax.tree.leaves(state.opt_state, is_leaf=lambda leaf: hasattr(leaf, "hyperparams"))
        if "learning_rate" in getattr(leaf, "hyperparams", {})
    ]
    return injected[0] if len(injected) == 1 else None


def _kept(new: Any, old: Any, finite: jax.Array | None) -> Any:
    """The new value, of the old one's dtype, or the old one where the step was not finite."""
    new = jnp.asarray(new)
    new = new if new.dtype == old.dtype else new.astype(old.dtype)
    return new if finite is None else jnp.where(finite, new, old)


def _norm(grads: Any) -> jax.Array:
    squares = [jnp.sum(jnp.square(jnp.abs(leaf)), dtype=jnp.float32) for leaf in jax.tree.leaves(grads)]
    return jnp.sqrt(sum(squares, start=jnp.float32(0)))


def _augmented(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(
            f"augment: it must return a batch (inputs, targets), as it is given, but it returned {given(batch)}"
        )
    return batch[0], batch[1]

"""Many trainings of one network at once."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxviz.checks import check_count, given, is_traced
from jaxviz.train import losses
from jaxviz.train.devices import Placement
from jaxviz.train.examples import check_batch_size, check_finite_values, check_pair, told_labels
from jaxviz.train.losses import Loss
from jaxviz.train.metrics import Metrics
from jaxviz.train.network import LinenNetwork
from jaxviz.train.source import Arrays
from jaxviz.train.state import State, initialize
from jaxviz.train.step import Augmentation, Recipe, make_recipe, take, update


@dataclass(frozen=True)
class Sweep:
    """What many trainings gave. Row i belongs to `keys[i]`.

    Attributes:
        state: the states after the last step, stacked: each array has the trainings as its axis 0; `sweep[i]` is one of them.
        losses: loss of each step before its update, float32 `(trainings, steps)`. From the first loss or gradient that is not
            finite on, a training stands still.
        metrics: name -> values `(trainings, steps)`.
    """

    state: State
    losses: np.ndarray
    metrics: dict[str, np.ndarray]

    @property
    def params(self) -> Any:
        """The parameters, stacked."""
        return self.state.params

    @property
    def finite(self) -> np.ndarray:
        """Which trainings met nothing but finite losses and gradients, bool `(trainings,)`."""
        return np.asarray(self.state.finite)

    def __len__(self) -> int:
        return len(self.losses)

    def __getitem__(self, index: int) -> State:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Sweep: index {index} is out of range for {len(self)} trainings")
        return jax.tree.map(lambda leaf: leaf[index], self.state)


def sweep(
    module: Any,
    data: Any,
    *,
    loss: str | Loss,
    optimizer: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    keys: jax.Array,
    steps: int,
    metrics: Metrics = (),
    learning_rates: Any = None,
    batch_size: int | None = None,
    augment: Augmentation | None = None,
) -> Sweep:
    """Trains many networks at once, each as `fit` would train it alone (to float rounding): one vectorized program.

    Args:
        module: a Linen module.
        data: `(inputs, targets)`, arrays with the examples along axis 0.
        loss: as in `fit`.
        optimizer: an optax optimizer, the same for all; or, with learning_rates, what makes one: `optax.adam`.
        keys: random keys `(trainings,)`, as `jax.random.split(key, n)` gives them: weights, order of the data, dropout and
            augmentation of each.
        steps: updates of each.
        metrics: as in `fit`.
        learning_rates: `(trainings,)`, or one for all; optimizer is then called as `optimizer(learning_rate=...)`. For a
            grid, repeat and tile keys and rates.
        batch_size: examples per step; None for all at once. A smaller last batch of an epoch is left out.
        augment: as in `fit`.

    Raises:
        TypeError: a module, key, loss, metric or optimizer of another kind, or data that are no pair of arrays; called inside
            `jax.jit`.
        ValueError: data that are not finite or of different lengths, labels out of range, a learning rate below 0 or not
            finite, an unknown loss or metric, or shapes that do not fit.

    Example:
        >>> import jax, optax, jaxviz as jv
        >>> inputs, labels = jv.data.xor()
        >>> module = jv.models.MLP(features=(2, 2), activation="sigmoid")
        >>> keys = jax.random.split(jax.random.key(0), 16)
        >>> result = sweep(
        ...     module, (inputs, labels), loss="softmax_cross_entropy", optimizer=optax.adam(0.1), keys=keys, steps=200
        ... )
        >>> result.losses.shape, result[3].model(inputs).shape
        ((16, 200), (4, 2))
    """
    keys = _checked_keys(keys)
    steps = check_count("sweep", "steps", steps)
    if not isinstance(module, nn.Module):
        raise TypeError(f"sweep: module must be a flax.linen.Module, got {type(module).__name__}")
    check_pair("sweep", "data", data)
    check_finite_values("sweep", "data", data)
    check_batch_size("sweep", batch_size)
    rates = _checked_rates(learning_rates, keys, optimizer)
    recipe = make_recipe("sweep", loss, metrics, augment, (), True)
    source = Arrays(data, batch_size=batch_size, key=keys[0], shuffle=True, drop_remainder=True, place=Placement(None))
    if rates is not None:
        optimizer = _injected(optimizer)
    network = LinenNetwork.of(module)
    sample = jax.tree.map(lambda leaf: leaf[:1], source.data[0])
    states = _initialize(network, optimizer, keys, sample, rates)
    if recipe.loss.value is losses.softmax_cross_entropy:
        outputs = jax.eval_shape(jax.vmap(lambda state: state.training_outputs(sample)), states)
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), outputs)
        if fault := told_labels(one, data[1]):
            raise ValueError(f"sweep: data[1] has labels out of range: {fault}")
    indices = None
    if not source.whole:
        indices = np.stack([_order(data, batch_size, key, steps) for key in states.key], axis=1)
    states, values, names = _train(states, source.data, indices, recipe, steps)
    curves = dict(zip(names, np.asarray(values).transpose(2, 1, 0), strict=False))
    return Sweep(states, curves["loss"], {name: curves[name] for name, _ in recipe.metrics})


@functools.partial(jax.jit, static_argnames=("network", "optimizer"))
def _initialize(
    network: LinenNetwork, optimizer: optax.GradientTransformation, keys: jax.Array, inputs: Any, rates: Any
) -> State:
    states = jax.vmap(lambda key: initialize(network, optimizer, key, inputs))(keys)
    return states if rates is None else replace(states, opt_state=optax.tree.set(states.opt_state, learning_rate=rates))


class _Names(tuple[str, ...]):
    """Names, as a pytree without leaves, so that a compiled function can return them."""


jax.tree_util.register_static(_Names)


@functools.partial(jax.jit, static_argnames=("recipe", "steps"))
def _train(states: State, data: Any, indices: Any, recipe: Recipe, steps: int) -> tuple[State, jax.Array, _Names]:
    names: list[str] = []

    def one(state: State, chosen: Any) -> tuple[State, jax.Array]:
        state, report = update(state, data if chosen is None else take(data, chosen), recipe)
        names[:] = report.names
        return state, report.values

    states, values = jax.lax.scan(lambda states, chosen: jax.vmap(one)(states, chosen), states, indices, length=steps)
    return states, values, _Names(names)


def _order(data: Any, batch_size: int | None, key: jax.Array, steps: int) -> np.ndarray:
    """The examples of each step, in the order in which `fit` takes them."""
    source = Arrays(data, batch_size=batch_size, key=key, shuffle=True, drop_remainder=True, place=Placement(None))
    assert source.per_epoch is not None
    epochs = [chosen for begin in range(0, steps, source.per_epoch) for _, chosen in source.epoch(begin, 0)]
    return np.stack(epochs[:steps])


@functools.lru_cache(maxsize=64)
def _injected(optimizer: Callable[..., optax.GradientTransformation]) -> optax.GradientTransformation:
    return optax.inject_hyperparams(optimizer)(learning_rate=jnp.float32(0))


def _checked_keys(keys: Any) -> jax.Array:
    if not (
        isinstance(keys, jax.Array) and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) and keys.ndim == 1 and len(keys)
    ):
        raise TypeError(
            "sweep: keys must be random keys (trainings,), such as jax.random.split(jax.random.key(0), 8), "
            f"got {given(keys)}"
        )
    if is_traced(keys):
        raise TypeError("sweep: keys is traced; sweep runs on the host, so call it outside of jax.jit")
    return keys


def _checked_rates(learning_rates: Any, keys: jax.Array, optimizer: Any) -> np.ndarray | None:
    """The learning rate of each training; None where the optimizer has its own."""
    if learning_rates is None:
        if not isinstance(optimizer, optax.GradientTransformation):
            raise TypeError(
                f"sweep: optimizer must be an optax optimizer, got {type(optimizer).__name__}; or give learning_rates"
            )
        return None
    if isinstance(optimizer, optax.GradientTransformation) or not callable(optimizer):
        raise TypeError(
            "sweep: with learning_rates, optimizer must be what makes an optimizer, such as optax.adam itself"
        )
    try:
        rates = np.asarray(learning_rates, np.float32)
    except (TypeError, ValueError):
        raise TypeError(f"sweep: learning_rates must be numbers, got {given(learning_rates)}") from None
    if rates.shape not in ((), keys.shape):
        raise ValueError(
            f"sweep: learning_rates must be one number, or one per key {keys.shape}, got shape {rates.shape}"
        )
    if not (np.isfinite(rates) & (rates >= 0)).all():
        raise ValueError(f"sweep: learning_rates must be finite and at least 0, got {given(learning_rates)}")
    try:
        made = optimizer(learning_rate=1e-3)
    except TypeError as error:
        raise TypeError(
            f"sweep: with learning_rates, optimizer is called as optimizer(learning_rate=...), as optax.adam is: {error}"
        ) from error
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(
            f"sweep: optimizer(learning_rate=...) must return an optax optimizer, it returned {given(made)}"
        )
    return np.broadcast_to(rates, keys.shape)

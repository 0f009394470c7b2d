"""The state of a training run: everything that the next step depends on."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxviz.checks import check_key, given
from jaxviz.model import Model
from jaxviz.train.network import LinenNetwork, Network, NnxNetwork


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Everything that the next training step depends on, as one pytree. Made by `create_state`.

    Attributes:
        step: how many updates were done, an int32 scalar.
        params: the parameters: the collection "params" of a Linen module, the `nnx.Param` of an NNX module.
        model_state: what else the module keeps, such as `{"batch_stats": ...}`; empty for most.
        opt_state: the optimizer's state.
        key: the random key that dropout, augmentation and the order of the data come from; each step folds in its number.
        finite: False from the first step on whose loss or gradient was not finite; but for `step`, the state stands still then.
        network: how the module is applied, static.
        optimizer: the optax optimizer, static; equal to another only if it holds the same functions.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: Any
    key: jax.Array
    finite: jax.Array
    network: Network = field(metadata={"static": True})
    optimizer: optax.GradientTransformation = field(metadata={"static": True})

    @property
    def module(self) -> Any:
        """The Linen module, or the NNX module's graph."""
        return self.network.module

    @property
    def model(self) -> Model:
        """The network as it is now, in evaluation mode."""
        return self.network.model(self.params, self.model_state)

    def training_outputs(self, inputs: Any) -> Any:
        """The outputs of the network as the next step would compute them, with dropout and the batch's own statistics."""
        return self.network.train(self.params, self.model_state, inputs, self.key)[0]

    def __repr__(self) -> str:
        kind = type(self.network).__name__.removesuffix("Network")
        leaves = jax.tree.leaves(self.params)
        if not all(isinstance(leaf, jax.Array) for leaf in [self.step, *leaves]) or isinstance(
            self.step, jax.core.Tracer
        ):
            return f"State({kind} module)"
        return f"State({kind} module with {sum(leaf.size for leaf in leaves):,} parameters, step {self.step})"


def create_state(
    module: nn.Module | nnx.Module,
    sample_inputs: Any = None,
    *,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
) -> State:
    """The state before the first step.

    Args:
        module: a Linen module, called as `module(inputs)`; if its call has an argument `train` (or `training`, `is_training`,
            `deterministic`, `use_running_average`), it is set as needed. Or an NNX module, which is copied.
        sample_inputs: an array of the inputs' shape and dtype, or a tuple for several inputs; of its examples one is used. A
            Linen module is initialized with it; NNX modules do without.
        optimizer: an optax optimizer, or `train.optimizer(...)`. Schedules, weight decay and clipping are part of it.
        key: a random key. The parameters are those of `module.init(key, sample_inputs)`; a key derived from it drives dropout,
            augmentation and the order of the data.

    Raises:
        TypeError: a module, optimizer or key of another kind; a Linen module without sample_inputs.
        ValueError: sample_inputs without an example.

    Example:
        >>> import jax, jax.numpy as jnp, optax, jaxviz as jv
        >>> module = jv.models.MLP(features=(8, 2))
        >>> jv.train.create_state(module, jnp.zeros((1, 3)), optimizer=optax.adam(1e-3), key=jax.random.key(0))
        State(Linen module with 50 parameters, step 0)
    """
    if not isinstance(optimizer, optax.GradientTransformation):
        hint = "; call it" if callable(optimizer) else ""
        raise TypeError(
            f"create_state: optimizer must be an optax optimizer such as optax.adam(1e-3), got {type(optimizer).__name__}{hint}"
        )
    check_key("create_state", key)
    if isinstance(module, nnx.Module):
        network, params, model_state = NnxNetwork.split(module)
        return assemble(network, optimizer, params, model_state, key)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"create_state: module must be a flax.linen.Module or flax.nnx.Module, got {type(module).__name__}"
        )
    leaves = jax.tree.leaves(sample_inputs)
    if not leaves or not all(hasattr(leaf, "dtype") and getattr(leaf, "ndim", 0) for leaf in leaves):
        raise TypeError(
            "create_state: a Linen module needs sample_inputs, an array of the inputs' shape with the batch as axis 0, "
            f"or a tuple of arrays; got {given(sample_inputs)}"
        )
    if not all(leaf.shape[0] for leaf in leaves):
        raise ValueError("create_state: sample_inputs has no examples; one is enough")
    sample = jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), sample_inputs)
    return initialize(LinenNetwork.of(module), optimizer, key, sample)


@functools.partial(jax.jit, static_argnames=("network", "optimizer"))
def initialize(network: LinenNetwork, optimizer: optax.GradientTransformation, key: jax.Array, inputs: Any) -> State:
    """The state of a Linen network before the first step."""
    params, model_state = network.init(key, inputs)
    return assemble(network, optimizer, params, model_state, key)


@functools.partial(jax.jit, static_argnames=("network", "optimizer"))
def assemble(
    network: Network, optimizer: optax.GradientTransformation, params: Any, model_state: Any, key: jax.Array
) -> State:
    """The state of given parameters before the first step."""
    key = jax.random.fold_in(key, 0x7261_696E)  # another key than the one that drew the parameters
    with lenient():
        opt_state = optimizer.init(params)
    return strong(State(jnp.int32(0), params, model_state, opt_state, key, jnp.bool_(True), network, optimizer))


def strong(state: Any) -> Any:
    """The state without weak types, which would make the second step another program than the first."""

    def convert(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        special = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
        return leaf if special else jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.tree.map(convert, state)


@jax.jit
def copied(state: Any) -> Any:
    """A copy in memory of its own: steps write over the state that they are given."""
    return jax.tree.map(jnp.copy, strong(state))


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """JAX's default rules of promotion, which optax relies on, where the user has set stricter ones."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield

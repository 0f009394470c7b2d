"""What the training step needs of a module: its parameters and other state, applied as in training, and as a `Model`."""

import functools
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
from flax import nnx

from jaxviz import adapters
from jaxviz.adapters import evaluation_keywords, positional
from jaxviz.model import Model
from jaxviz.static import Static


@dataclass(frozen=True)
class LinenNetwork:
    """A Linen module. Its other collections ("batch_stats", ...) are the model state, updated by each training step.

    One random key serves all of the module's streams ("dropout" and any other); flax folds the layer's path into it.
    """

    static: Static

    @staticmethod
    def of(module: nn.Module) -> "LinenNetwork":
        """The network of a module; a bound one is taken without its variables."""
        return LinenNetwork(Static(module if module.scope is None else module.unbind()[0]))

    @property
    def module(self) -> nn.Module:
        """The module."""
        return self.static.value

    def init(self, key: jax.Array, inputs: Any) -> tuple[Any, Any]:
        """The parameters and model state: those of `module.init(key, inputs)`."""
        variables = dict(self.module.init(key, *positional(inputs)))
        return variables.pop("params", {}), {
            name: value for name, value in variables.items() if name != "intermediates"
        }

    def train(self, params: Any, model_state: Any, inputs: Any, key: jax.Array) -> tuple[Any, Any]:
        """Outputs and new model state in training mode."""
        apply = functools.partial(
            self.module.apply, {"params": params, **model_state}, *positional(inputs), rngs=key, **self._mode()
        )
        if not model_state:
            return apply(), model_state
        outputs, changed = apply(mutable=list(model_state))
        return outputs, {**model_state, **changed}

    def model(self, params: Any, model_state: Any) -> Model:
        """The model in evaluation mode."""
        return Model.from_linen(self.module, {"params": params, **model_state})

    def training_model(self, params: Any, model_state: Any, key: jax.Array) -> Model:
        """The model in training mode, with the noise of one key."""
        mutable = {"mutable": tuple(model_state)} if model_state else {}
        return Model.from_linen(self.module, {"params": params, **model_state}, rngs=key, **self._mode(), **mutable)

    def _mode(self) -> dict[str, Any]:
        """The arguments that tell the module's call that it is being trained."""
        return {name: not value for name, value in evaluation_keywords(type(self.module).__call__).items()}


@dataclass(frozen=True)
class NnxNetwork:
    """An NNX module, split into its graph, its `nnx.Param` and all else (batch statistics, streams of random keys)."""

    graph: Static

    @property
    def module(self) -> nnx.GraphDef[Any]:
        """The module's graph; the module itself, trained, is `nnx.merge(state.module, state.params, state.model_state)`."""
        return self.graph.value

    @staticmethod
    def split(module: nnx.Module) -> tuple["NnxNetwork", Any, Any]:
        """The network, parameters and model state of a module, which is not touched."""
        copy = nnx.merge(*nnx.split(module))
        copy.train()
        parts: tuple[Any, ...] = nnx.split(copy, nnx.Param, ...)
        graph, params, rest = parts
        return NnxNetwork(Static(graph)), params, rest

    def train(self, params: Any, model_state: Any, inputs: Any, key: jax.Array) -> tuple[Any, Any]:
        """Outputs and new model state in training mode; random keys come from the module's own streams."""
        # Variables made anew: NNX lets a variable be changed only within the transformation that made it.
        module = nnx.merge(self.module, *jax.tree.map(lambda leaf: leaf, (params, model_state)))
        outputs = module(*positional(inputs))
        parts: tuple[Any, ...] = nnx.split(module, nnx.Param, ...)
        return outputs, parts[2]

    def model(self, params: Any, model_state: Any) -> Model:
        """The model in evaluation mode."""
        return Model.from_nnx(nnx.merge(self.module, params, model_state))

    def training_model(self, params: Any, model_state: Any, key: jax.Array) -> Model:
        """The model in training mode."""
        graph, state = nnx.split(nnx.merge(self.module, params, model_state))
        return Model(adapters.NnxAdapter(Static(graph), Static({})), state, {})


Network = LinenNetwork | NnxNetwork

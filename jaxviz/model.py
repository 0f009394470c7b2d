"""`Model`: a pure function and its parameters, with its layers' values to read, to replace and to start from."""

import contextlib
import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import flax.linen as nn
import jax
from flax import nnx

from jaxviz import adapters, shardings, views
from jaxviz.adapters import Adapter
from jaxviz.checks import check_choice, check_strings
from jaxviz.compilation import jit
from jaxviz.inputs import SIDES, calling, check_inputs, check_keywords, check_layer, check_values
from jaxviz.layers import Layer, layer_records
from jaxviz.program import OUTPUT


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)  # compared by identity, so that jax.jit(model) works: arrays have no hash
class Model:
    """A pure function with named layers, and its parameters.

    Made by `Model.from_linen`, `Model.from_nnx` or `Model.from_function`, and by the methods of a model. It is a pytree: its
    parameters are its leaves, so it passes through `jax.jit`, `jax.grad` and `jax.vmap` as any pytree does; what is static in it
    compares by value, so that a model made again of the same module is not compiled again.

    Attributes:
        apply: the static part.
        params: the parameters, a pytree of arrays: all variables of a Linen module, the state of an NNX module, or what
            `from_function` was given. They are not to be changed in place: `with_params` gives a model with others.
        keywords: further traced arguments of the module's call, such as masks and random keys, by name.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, jaxviz as jv
        >>> module = nn.Sequential([nn.Dense(3), nn.relu, nn.Dense(2)])
        >>> inputs = jnp.ones((4, 5))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), inputs))
        >>> [(layer.path, layer.shape) for layer in model.layers(inputs)]
        [('layers_0', (4, 3)), ('layers_2', (4, 2))]
        >>> model.capture(inputs)["layers_0"].shape
        (4, 3)
    """

    apply: Adapter = field(metadata={"static": True})
    params: Any
    keywords: dict[str, Any]

    @staticmethod
    def from_linen(module: nn.Module, variables: Any, **keywords: Any) -> "Model":
        """A model of a Linen module.

        Args:
            module: the module.
            variables: its variables, all collections, as `module.init` returns them: `{"params": ..., "batch_stats": ...}`.
            **keywords: what `module.apply` is to be called with beside variables and inputs, `train=False` for instance, masks,
                `rngs` or `method`. An argument of the module's call named `train`, `training`, `is_training`, `deterministic` or
                `use_running_average` that is not given is set for evaluation. With `mutable`, the outputs are the module's own.

        Raises:
            TypeError: if module is not a Linen module, variables not a dict, or the module's call does not take a keyword, or
                needs one more.
            ValueError: if variables has no collection `params`.
        """
        parts = adapters.linen(module, variables, keywords)
        method = keywords.get("method") or "__call__"
        call = getattr(type(module), method) if isinstance(method, str) else method
        check_keywords("Model.from_linen", call, {**adapters.evaluation_keywords(call), **keywords})
        return Model(*parts)

    @staticmethod
    def from_nnx(module: nnx.Module, **keywords: Any) -> "Model":
        """A model of an NNX module: of a copy in evaluation mode (`module.eval()`); the module itself is not touched.

        Args:
            module: the module.
            **keywords: what the module is to be called with beside its inputs.

        Raises:
            TypeError: if module is not an NNX module, or its call does not take a keyword, or needs one more.
        """
        parts = adapters.nnx_module(module, keywords)
        if not callable(module):
            raise TypeError(
                f"Model.from_nnx: {type(module).__name__} has no __call__; a function is for Model.from_function"
            )
        check_keywords("Model.from_nnx", type(module).__call__, keywords)
        return Model(*parts)

    @staticmethod
    def from_function(apply: Callable[[Any, Any], Any], params: Any) -> "Model":
        """A model of any function. Its layers are the values that it tags (`jaxviz.tag`), and those of modules it applies.

        Args:
            apply: `apply(params, inputs) -> outputs`, pure. Give the same function each time: a new lambda is a new program,
                which is traced and compiled again. (Bound methods and partials are told apart by what they hold.)
            params: a pytree of arrays.

        Raises:
            TypeError: if apply is not a function of two arguments.
        """
        adapter = adapters.function(apply)
        with contextlib.suppress(ValueError):  # some functions have no signature
            try:
                inspect.signature(apply).bind(params, None)
            except TypeError as error:
                raise TypeError(f"Model.from_function: apply must be apply(params, inputs): {error}") from None
        return Model(adapter, adapters.on_device(params), {})

    def __call__(self, inputs: Any) -> Any:
        """The outputs, equal to those of the plain model under `jax.jit`.

        Args:
            inputs: an array whose axis 0 is the batch, or a tuple of arrays for several inputs.

        Raises:
            TypeError: if inputs are not arrays, or the module's call takes other ones.
        """
        check_inputs("Model", inputs)
        call = _call_optimized if isinstance(self.apply, views.Optimized) else _call
        with calling("Model"):
            return call(self, inputs)

    @functools.cached_property
    def _known(self) -> dict[Any, Any]:
        """What `attribution.arguments` knows of the model by the kinds of its inputs, as long as it lives."""
        return {}

    @functools.cached_property
    def _is_explicit(self) -> bool:
        """Whether parameters are spread over a mesh with explicit axes: looked for once, for `shardings.has_explicit`."""
        return shardings.has_explicit([(self.params, self.keywords)])

    def optimized(self) -> "Model":
        """The same model, faster on CPU: equal up to rounding, where a plain call is equal to the last bit.

        Depthwise convolutions and those from a few channels are computed in other ways, and XLA's options are chosen for speed
        (`jaxviz.compilation`). The methods of attribution do so by themselves. On other platforms nothing changes.
        """
        return self if isinstance(self.apply, views.Optimized) else replace(self, apply=views.Optimized(self.apply))

    def with_params(self, params: Any) -> "Model":
        """The same function with other parameters."""
        return replace(self, params=adapters.on_device(params))

    def layers(self, inputs: Any) -> list[Layer]:
        """The layers in order of execution; a module stands after the modules that it calls.

        Args:
            inputs: as for a call; `jax.ShapeDtypeStruct` may stand in place of arrays. Nothing is computed.

        Returns:
            One record per call of each layer: path, kind, shape, dtype, number of parameters, FLOPs, and the layers that it
            comes from.

        Raises:
            TypeError: as a call does.
        """
        check_inputs("layers", inputs)
        with calling("layers"):
            return layer_records(self.apply.parameters(self.params), views.program(self, inputs), inputs)

    def capture(self, inputs: Any, layers: str | Iterable[str] | None = None, *, side: str = OUTPUT) -> dict[str, Any]:
        """The activations of layers.

        Args:
            inputs: as for a call.
            layers: paths or patterns (`"Block_*/Conv_0"`, `"**/relu"`); None for all layers, save those inside while loops.
                A layer called n times has the paths `path`, `path#1`, `path#2`, ..., each naming one call; `path*` fits
                them all.
            side: `"output"` of the layers, or their `"input"` (a tuple where there are several).

        Returns:
            Path -> activation, in order of execution. A layer inside a scan has the steps of the scan as its first axis; inside
            a `vmap` of the module itself, it has the mapped axis where JAX has it, which most often is the first, too. In a
            branch of a conditional that is not taken, it is NaN (integers: 0).

        Raises:
            TypeError: as a call does; if layers are not strings.
            ValueError: if a layer is not found, or is asked for by its path but runs inside a while loop, which keeps no values;
                if side is neither of the two.
        """
        check_inputs("capture", inputs)
        wanted = None if layers is None else check_strings("capture", "layers", layers, "path or pattern")
        check_choice("capture", "side", side, SIDES)
        with calling("capture"):
            return dict(_capture(self, inputs, wanted, side))

    def until(self, layer: str, *, side: str = OUTPUT) -> "Model":
        """The model whose output is the activation of a layer.

        Args:
            layer: the path of one call of one layer.
            side: `"output"` or `"input"` of the layer.

        Raises:
            TypeError: if layer is not a string.
            ValueError: if side is neither of the two; when called, if the layer is not found.
        """
        check_layer("until", layer, side)
        return replace(self, apply=views.Until(self.apply, layer, side))

    def since(self, layer: str, inputs: Any, *, side: str = OUTPUT) -> tuple["Model", Any]:
        """The rest of the model from a layer on.

        What bypasses the layer (a residual connection, say) is computed here, once, and kept in the parameters of the tail.

        Args:
            layer: the path of one call of one layer.
            inputs: as for a call.
            side: `"output"` or `"input"` of the layer.

        Returns:
            The model whose input is that layer's activation, for this batch of inputs; and the activation.

        Raises:
            TypeError: as a call does; if layer is not a string.
            ValueError: if the layer is not found, or side is neither of the two.
        """
        check_layer("since", layer, side)
        check_inputs("since", inputs)
        with calling("since"):
            (values, activation), tail = views.since(self, layer, side, inputs)
        return Model(tail, values, {}), activation

    def replace(self, values: Mapping[str, Any], *, side: str = OUTPUT) -> "Model":
        """The model with other values at some layers.

        Args:
            values: path or pattern -> the new value, an array that broadcasts to the layer's activation, or a function
                `activation -> activation` (give the same function each time; a new lambda is compiled again). Inside a scan
                an array has the steps as its first axis, as captured, and a function sees one step. Where several patterns
                fit a layer, the last counts.
            side: `"output"` or `"input"` of the layers.

        Raises:
            TypeError: if values is not a dict of paths and arrays, numbers or functions; when called, if a value has another
                dtype than its layer.
            ValueError: if side is neither of the two; when called, if a layer is not found, or a value has another shape or
                structure than its layer.
        """
        return self._edited(values, side, views.REPLACE)

    def add(self, values: Mapping[str, Any], *, side: str = OUTPUT) -> "Model":
        """The model with something added to the activations of some layers; else as `replace`."""
        return self._edited(values, side, views.ADD)

    def _edited(self, values: Mapping[str, Any], side: str, how: str) -> "Model":
        check_choice(how, "side", side, SIDES)
        adapter, arrays = views.edited(self.apply, values, side, how)
        check_values(how, values)
        return Model(adapter, (self.params, arrays), self.keywords)


def check_model(function: str, model: Any) -> None:
    """Raises unless model is a `Model`; function is the name of the caller, for the error message."""
    if not isinstance(model, Model):
        raise TypeError(
            f"{function}: model must be a jaxviz.Model, got {type(model).__name__}; make one with "
            "Model.from_linen(module, variables), Model.from_nnx(module) or Model.from_function(apply, params)"
        )


def _apply(model: Model, inputs: Any) -> Any:
    return model.apply(model.params, model.keywords, inputs)


_call, _call_optimized = jax.jit(_apply), jit(_apply)


@functools.partial(jax.jit, static_argnames=("layers", "side"))
def _capture(model: Model, inputs: Any, layers: tuple[str, ...] | None, side: str) -> OrderedDict[str, Any]:
    # Ordered, since JAX sorts the keys of a plain dict.
    return OrderedDict(views.capture(model, inputs, layers, side))

"""Layer forms: any method at the activations of layers in place of the inputs."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz import chunks
from jaxviz.attribution.arguments import baseline_like, check_choice, prepare
from jaxviz.attribution.baselines import baseline_set
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.cuts import Cut, Form, activations, cut, named
from jaxviz.attribution.smoothing import Smooth
from jaxviz.checks import check_flag
from jaxviz.inputs import SIDES
from jaxviz.model import Model
from jaxviz.targets import Target, TargetLike


def at_layer(
    method: Callable[..., Any], layer: str | tuple[str, ...], side: str = "output", *, jointly: bool = True
) -> "AtLayer":
    """The layer form of any method: it explains by the activation of a layer in place of the inputs.

    `attribution = method(tail, activation)`, where `tail(activation)` is the rest of the model, and what bypasses the layer is
    part of it

    Token ids cannot be differentiated: this is how they are explained, at the layer that embeds them.

    Args:
        method: any attribution method of this package, or a function called as they are. One that has `layer` and `side` among
            its own settings, as `lrp`, is called with these (but for token ids, which it does not take).
        layer: the path of a layer (`model.layers(inputs)` lists them), or a tuple of paths and patterns for several layers.
        side: `"output"` or `"input"` of the layer.
        jointly: how several layers are explained: True as several inputs of one model are (the embeddings of tokens and of
            positions, say), which none may be if it is computed from another; False each by itself.

    Returns:
        A method, called as the method is, `method(model, inputs, *, target=None, ...)`. It gives what has the structure, shapes
        and dtypes of the layer's activation (a pytree where that is one: a carry, or several outputs); for a tuple of layers a
        dict, path -> attribution, in the order of execution. Of the settings,
         - `baseline` and `baselines` are of the model's inputs (token ids, for token ids), and mapped to the layer's activation
           there: by default that of zeros. `layer_baseline=` is of the layer's activation: a number, an array that broadcasts to
           it, or a tuple of these for a layer of several arrays or for several layers.
         - All others (a mask, a window, noise) are of the layer's activation.

    Raises:
        TypeError, ValueError: if method cannot be called, has a layer of its own already, or a setting is unknown; when called,
            as the method, and if a layer is not found, or its activation has no axis that is the batch.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, jaxviz as jv
        >>> module = nn.Sequential([nn.Embed(10, 4), nn.tanh, lambda x: x.mean(1), nn.Dense(2)])
        >>> tokens = jnp.array([[1, 5, 3]])
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), tokens))
        >>> at_layer(jv.integrated_gradients, "layers_0")(model, tokens, target=1, baseline=0).shape  # token 0 is padding
        (1, 3, 4)

    Note:
        `at_layer(input_x_gradient, layer)` is Captum's `LayerGradientXActivation`, `at_layer(integrated_gradients, layer)` its
        `LayerIntegratedGradients`, and so on. Its `LayerFeatureAblation` has a baseline of the layer, zeros by default: give
        `layer_baseline=0`. Its neuron forms are methods on `model.until(layer)`, with an int or `unit(...)` as target.

    References:
        N. Kokhlikyan et al. Captum: A unified and generic model interpretability library for PyTorch. 2020. arXiv:2009.07896.
    """
    if not callable(method):
        raise TypeError(
            f"at_layer: method must be an attribution method such as jaxviz.gradient, got {type(method).__name__}"
        )
    if isinstance(layer, list):
        layer = tuple(layer)
    if not isinstance(layer, str) and not (
        isinstance(layer, tuple) and layer and all(isinstance(path, str) for path in layer)
    ):
        raise TypeError(f"at_layer: layer must be the path of a layer, or a tuple of paths, got {layer!r}")
    check_choice("at_layer", "side", side, SIDES)
    if "layer" in _parameters(method) and "side" not in _parameters(method):
        name = getattr(method, "__name__", type(method).__name__)
        raise TypeError(f"at_layer: {name} explains a layer by itself; call {name}(..., layer={layer!r})")
    return AtLayer(method, layer, side, check_flag("at_layer", "jointly", jointly))


@dataclass(frozen=True)
class AtLayer:
    """The layer form of a method; see `at_layer`. Equal to another by value, so that one made again is not compiled again."""

    method: Callable[..., Any]
    layer: str | tuple[str, ...]
    side: str
    jointly: bool

    def __post_init__(self) -> None:
        # The settings are the method's, so that what is made around this method finds them.
        object.__setattr__(self, "__signature__", _signature(self.method))

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"at_layer({getattr(self.method, '__name__', type(self.method).__name__)})"

    @cautious
    def __call__(self, model: Model, inputs: Any, *, target: TargetLike = None, **settings: Any) -> Any:
        """The attribution of the layer; see `at_layer`."""
        name = self.name
        inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
        one = functools.partial(self._attribution, name, model, inputs, prepared, settings)
        if isinstance(self.layer, str):
            return one((self.layer,))
        layers = named(name, model, inputs, self.layer, self.side)
        if self.jointly and len(layers) > 1 and not self._has_own_form(inputs):
            return dict(zip(layers, one(layers), strict=True))
        return {layer: one((layer,)) for layer in layers}

    def _has_own_form(self, inputs: Any) -> bool:
        """Whether the method is told the layer; token ids it does not take, but it does their embeddings."""
        floating = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(inputs))
        return floating and "layer" in _parameters(self.method)

    def _attribution(
        self,
        name: str,
        model: Model,
        inputs: Any,
        target: Target,
        settings: Mapping[str, Any],
        layers: tuple[str, ...],
    ) -> Any:
        if self._has_own_form(inputs):
            return self.method(model, inputs, target=target, layer=layers[0], side=self.side, **settings)
        found = cut(model, inputs, function=name, layers=layers, side=self.side)
        settings = self._of_layer(name, model, inputs, layers, found, settings)
        attribution = self.method(found.tail, found.activation, target=target, **settings)
        return found.form.restore(attribution)

    def _of_layer(
        self,
        name: str,
        model: Model,
        inputs: Any,
        layers: tuple[str, ...],
        found: Cut,
        settings: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The settings, with baselines of the inputs as baselines of the layers' activation."""
        settings, accepted = dict(settings), _parameters(self.method)
        if "layer_baseline" in settings:
            if "baseline" not in accepted or "baseline" in settings:
                why = "baseline is given, too" if "baseline" in settings else "the method has no baseline"
                raise TypeError(f"{name}: layer_baseline cannot be used: {why}")
            settings["baseline"] = settings.pop("layer_baseline")
        elif "baseline" in accepted:
            baseline = baseline_like(name, settings.get("baseline", accepted["baseline"]), inputs)
            settings["baseline"] = found.form.bring(activations(model, baseline, layers, self.side))
        if settings.get("baselines") is not None:
            points = baseline_set(name, settings["baselines"], inputs)
            settings["baselines"] = _in_parts(model, points, layers, self.side, found.form)
        return settings


def _in_parts(model: Model, points: Any, layers: tuple[str, ...], side: str, form: Form) -> Any:
    """The layers' activation at a set of inputs, some at a time."""
    leaves = jax.tree.leaves(points)
    sizes = chunks.sizes(len(leaves[0]), 1, None, values=sum(leaf[0].size for leaf in leaves))

    def append(parts: list[Any], part: Any) -> list[Any]:
        return [*parts, form.bring(activations(model, part, layers, side))]

    parts: list[Any] = chunks.fold(append, [], points, sizes)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _parameters(method: Callable[..., Any]) -> dict[str, Any]:
    """The names of a method's settings and their defaults; those of the method inside, where it is made around one."""
    own = {name: parameter.default for name, parameter in inspect.signature(method).parameters.items()}
    return _parameters(method.method) | own if isinstance(method, Smooth | AtLayer) else own


def _signature(method: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(method)
    parameters = dict(signature.parameters)
    if "baseline" in parameters:
        new = inspect.Parameter("layer_baseline", inspect.Parameter.KEYWORD_ONLY, default=None)
        last = [
            parameters.pop(name) for name in list(parameters) if parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        ]
        return signature.replace(parameters=[*parameters.values(), new, *last])
    return signature

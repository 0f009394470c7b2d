"""Layer forms: any method at the activations of layers in place of the inputs."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks, host
from jaxviz.attribution import batches
from jaxviz.attribution.arguments import all_finite, check_choice, prepare
from jaxviz.attribution.baselines import baseline_like, baseline_set
from jaxviz.attribution.caution import cautious, if_nan, passed_on
from jaxviz.attribution.cuts import Form, activations, cut, named
from jaxviz.attribution.gradients import gradient, input_x_gradient, saliency
from jaxviz.attribution.rules.deeplift import deeplift
from jaxviz.attribution.rules.guided import beta_smooth, deconvnet, guided_backprop
from jaxviz.attribution.settings import NO_SETTINGS, defaults, signature, split
from jaxviz.checks import check_flag, is_traced
from jaxviz.compilation import jit
from jaxviz.inputs import SIDES
from jaxviz.model import Model
from jaxviz.program import is_top_level
from jaxviz.static import Static
from jaxviz.targets import Target, TargetLike


def at_layer(
    method: Callable[..., Any], layer: str | tuple[str, ...], side: str = "output", *, jointly: bool = True
) -> "AtLayer":
    """The layer form of any method: it explains by the activation of a layer in place of the inputs.

    `attribution = method(tail, activation)`, where `tail(activation)` is the rest of the model, and what bypasses the layer is
    part of it

    Token ids cannot be differentiated: this is how they are explained, at the layer that embeds them.

    Args:
        method: any attribution method of this package, or a function called as they are. One that can be asked for a `layer` and
            its `side` itself, as `lrp`, is (but for token ids, which it does not take); one that must be, is no method of inputs.
        layer: the path of a layer (`model.layers(inputs)` lists them), or a tuple of paths and patterns for several layers.
        side: `"output"` or `"input"` of the layer.
        jointly: how several layers are explained: True as several inputs of one model are (the embeddings of tokens and of
            positions, say), which none may be if it is computed from another; False each by itself.

    Returns:
        A method, called as the method is, `method(model, inputs, *, target=None, ...)`. It gives what has the structure, shapes
        and dtypes of the layer's activation (a pytree where that is one: a carry, or several outputs); for a tuple of layers a
        dict, path -> attribution, in the order of execution. Of an activation that all examples share, as embeddings of positions
        `(1, tokens, channels)`, each has its own copy, `(batch, tokens, channels)`. Of the settings,
         - `baseline` and `baselines` are of the model's inputs (token ids, for token ids), and mapped to the layer's activation
           there: by default that of zeros. `layer_baseline=` is of the layer's activation: a number, an array that broadcasts to
           it, or a tuple of these for a layer of several arrays or for several layers.
         - All others (a mask, a window, noise) are of the layer's activation.

    Raises:
        TypeError, ValueError: if method cannot be called, has a layer of its own already, or a setting is unknown; when called,
            as the method, and if a layer is not found, or computed from the inputs without an axis that is the batch.

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
        `layer_baseline=0`. Its neuron forms are methods on `model.until(layer)`, with an int or `unit(...)` as target. Paths are
        straight at the layer here: `at_layer(expected_gradients, layer)` is complete in the mean over samples, where Captum's
        `LayerGradientShap` multiplies the difference at the layer by gradients on a path of the inputs, and is not.

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
    accepted = defaults(method)
    if accepted.get("layer") is inspect.Parameter.empty or ("layer" in accepted and "side" not in accepted):
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

    @functools.cached_property
    def name(self) -> str:
        """What messages call it."""
        return f"at_layer({getattr(self.method, '__name__', type(self.method).__name__)})"

    @functools.cached_property
    def _accepted(self) -> dict[str, Any]:
        """The method's settings and their defaults."""
        return defaults(self.method)

    @functools.cached_property
    def _static(self) -> Static:
        return Static(self.method)

    @functools.cached_property
    def _plain(self) -> "tuple[_How, Callable[..., Any]]":
        """What `_one_program` gives of the one layer without settings that are part of the program."""
        assert isinstance(self.layer, str)
        return _one_program(self._static, self.name, (self.layer,), self.side, NO_SETTINGS)

    @cautious
    def __call__(self, model: Model, inputs: Any, *, target: TargetLike = None, **settings: Any) -> Any:
        """The attribution of the layer; see `at_layer`."""
        name = self.name
        inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
        if isinstance(self.layer, str):
            return self._attribution(name, model, inputs, prepared, settings, (self.layer,))
        one = functools.partial(self._attribution, name, model, inputs, prepared, settings)
        layers = named(name, model, inputs, self.layer, self.side)
        if self.jointly and len(layers) > 1 and not self._has_own_form(inputs):
            return dict(zip(layers, one(layers), strict=True))
        return {layer: one((layer,)) for layer in layers}

    def _has_own_form(self, inputs: Any) -> bool:
        """Whether the method is told the layer; token ids it does not take, but it does their embeddings."""
        return "layer" in self._accepted and all(
            jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(inputs)
        )

    def _attribution(
        self,
        name: str,
        model: Model,
        inputs: Any,
        target: Target,
        settings: dict[str, Any],
        layers: tuple[str, ...],
    ) -> Any:
        if self._has_own_form(inputs):
            return self.method(model, inputs, target=target, layer=layers[0], side=self.side, **settings)
        accepted = self._accepted
        if "layer_baseline" in settings and ("baseline" not in accepted or "baseline" in settings):
            why = "baseline is given, too" if "baseline" in settings else "the method has no baseline"
            raise TypeError(f"{name}: layer_baseline cannot be used: {why}")
        if "baseline" in accepted and "layer_baseline" not in settings:
            # Checked, and in a form in which another one is the same program.
            baseline = baseline_like(name, settings.get("baseline", accepted["baseline"]), inputs)
            settings = {**settings, "baseline": baseline}
        if self.method in _ONE_PROGRAM:
            static, data = split(settings)
            is_plain = static is NO_SETTINGS and isinstance(self.layer, str)
            how, program = self._plain if is_plain else _one_program(self._static, name, layers, self.side, static)
            attribution = program(model, inputs, target, **data)
            if is_top_level():
                check = lambda: _check_activation(how, all_finite(activations(model, inputs, layers, self.side)))
                is_seen = host.is_alone() or all(map(host.sees, jax.tree.leaves(inputs)))
                if_nan(check) if is_seen else check()
            return attribution
        how = _How(self._static, name, layers, self.side, NO_SETTINGS)
        return _of_layers(how, model, inputs, target, settings)[0]


@dataclass(frozen=True)
class _How:
    """The static part of a call: the method, its caller's name, the layers, and those settings that are part of the program."""

    method: Static
    name: str
    layers: tuple[str, ...]
    side: str
    settings: Static


def _of_layers(how: _How, model: Model, inputs: Any, target: Target, settings: dict[str, Any]) -> tuple[Any, Any]:
    """The attribution of one layer, or of several as the inputs of one model; and their activation, of the same structure."""
    method, settings = how.method.value, dict(how.settings.value) | settings
    found = cut(model, inputs, function=how.name, layers=how.layers, side=how.side)
    _check_activation(how, all_finite(found.activation))
    if "layer_baseline" in settings:
        settings["baseline"] = settings.pop("layer_baseline")
    elif "baseline" in settings:
        settings["baseline"] = found.form.bring(
            activations(model, settings["baseline"], how.layers, how.side), jax.tree.leaves(inputs)[0].shape[0]
        )
    if settings.get("baselines") is not None:
        points = baseline_set(how.name, settings["baselines"], inputs)
        settings["baselines"] = _in_parts(how, model, inputs, points, found.form)
    with passed_on():
        attribution = method(found.tail, found.activation, target=target, **settings)
    leaves = jax.tree.leaves(attribution)
    if len(leaves) != len(found.form.axes) or not all(hasattr(leaf, "ndim") for leaf in leaves):
        raise TypeError(
            f"{how.name}: the method gave {type(attribution).__name__}, which is no attribution of the layer; call it on what "
            f"follows: tail, activation = model.since({how.layers[0]!r}, inputs)"
        )
    return found.form.restore(attribution), found.form.restore(found.activation)


# Methods that are one program make one with the model up to the layers: a small network's time is that of the calls.
_ONE_PROGRAM = frozenset({gradient, saliency, input_x_gradient, guided_backprop, deconvnet, beta_smooth, deeplift})


# So many that who goes through all layers of a large network finds the first ones again.
@functools.lru_cache(maxsize=4096)
def _one_program(
    method: Static, name: str, layers: tuple[str, ...], side: str, settings: Static
) -> tuple[_How, Callable[..., Any]]:
    """The way to the attribution of some layers; and its program, of model, inputs, target and the settings that are data."""
    how = _How(method, name, layers, side, settings)

    def attribution_of_layers(model: Model, inputs: Any, target: Target, **data: Any) -> Any:
        attribution, activation = _of_layers(how, model, inputs, target, data)
        # NaN where the activation is not finite: that is looked at if the attribution is NaN.
        return jax.tree.map(lambda leaf, at: jnp.where(jnp.isfinite(at), leaf, jnp.nan), attribution, activation)

    return how, jit(attribution_of_layers)


def _check_activation(how: _How, finite: bool) -> None:
    """Raises unless the layers' activation is finite."""
    if not finite:
        raise ValueError(
            f"{how.name}: the activation of {' and '.join(map(repr, how.layers))} has NaN or infinite values, though the inputs "
            "have none: look at the model's parameters"
        )


def _in_parts(how: _How, model: Model, inputs: Any, points: Any, form: Form) -> Any:
    """The layers' activation at a set of inputs, some at a time."""
    leaves = jax.tree.leaves(points)
    shapes = batches.of_one_more(lambda inputs: activations.eval_shape(model, inputs, how.layers, how.side), inputs)
    alone = shapes is None
    sizes = (1,) * len(leaves[0])
    if not alone:
        sizes = chunks.sizes(len(leaves[0]), 1, None, values=sum(leaf[0].size for leaf in leaves))

    def append(parts: list[Any], part: Any) -> list[Any]:
        if alone:  # the point in place of each example, since the model has a value for each
            part = jax.tree.map(lambda leaf, like: jnp.broadcast_to(leaf, like.shape), part, inputs)
        found = form.bring(activations(model, part, how.layers, how.side), len(jax.tree.leaves(part)[0]))
        return [*parts, _that_of_all(how, found) if alone else found]

    parts: list[Any] = chunks.fold(append, [], points, sizes)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _that_of_all(how: _How, found: Any) -> Any:
    """The activation of one point, which is to be the same in each example's place."""
    leaves = jax.tree.leaves(found)
    if any(map(is_traced, leaves)) or not all(_is_constant(host.fetch(leaf)) for leaf in leaves):
        raise ValueError(
            f"{how.name}: the model holds a value for each example of the batch (a mask among its keywords, say), on which the "
            f"activation of {' and '.join(map(repr, how.layers))} at a baseline depends, or may depend inside jax.jit; explain "
            "one example at a time"
        )
    return jax.tree.map(lambda leaf: leaf[:1], found)


def _is_constant(leaf: Any) -> bool:
    """Whether all examples have the same values, to rounding."""
    if not np.issubdtype(leaf.dtype, np.floating):
        return bool((leaf == leaf[:1]).all())
    return bool((np.abs(leaf - leaf[:1]) <= 100 * np.finfo(leaf.dtype).eps * np.abs(leaf).max(initial=0)).all())


def _signature(method: Callable[..., Any]) -> inspect.Signature:
    plain = signature(method)
    parameters = dict(plain.parameters)
    if "baseline" in parameters:
        new = inspect.Parameter("layer_baseline", inspect.Parameter.KEYWORD_ONLY, default=None)
        last = [
            parameters.pop(name) for name in list(parameters) if parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        ]
        return plain.replace(parameters=[*parameters.values(), new, *last])
    return plain

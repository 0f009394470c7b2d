"""Views of a model: what reads, replaces, cuts off or starts at a layer, as adapters made of adapters."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxviz.adapters import Adapter
from jaxviz.program import INPUT, OUTPUT, Edit, Key, Program, Site, evaluate, fit, paths, trace
from jaxviz.program._compat import JaxprEqn, Literal, bind
from jaxviz.program.marks import marking
from jaxviz.program.variables import Variables
from jaxviz.shardings import automatic
from jaxviz.static import Static

REPLACE, ADD = "replace", "add"


class ModelLike(Protocol):
    """The three parts of a `jaxviz.Model`."""

    @property
    def apply(self) -> Adapter: ...
    @property
    def params(self) -> Any: ...
    @property
    def keywords(self) -> dict[str, Any]: ...


# Under jit, so that JAX keeps the traced program for all that is done with a model at the same shapes.
@functools.partial(jax.jit, static_argnums=0)
def _marked(adapter: Adapter, params: Any, keywords: dict[str, Any], inputs: Any) -> Any:
    return adapter(params, keywords, inputs, marked=True)


def _trace(adapter: Adapter, params: Any, keywords: dict[str, Any], inputs: Any) -> Program:
    with marking(True):
        return trace(functools.partial(_marked, adapter), params, keywords, inputs)


def program(model: ModelLike, inputs: Any, then: Callable[[Any], Any] | None = None) -> Program:
    """The traced program of a model at the shapes of inputs; with `then`, of `then(outputs)`."""
    if then is None:
        return _trace(model.apply, model.params, model.keywords, inputs)
    with marking(True):
        return trace(lambda *args: then(_marked(model.apply, *args)), model.params, model.keywords, inputs)


def _known(traced: Program, side: str) -> dict[str, Site]:
    if side not in (INPUT, OUTPUT):
        raise ValueError(f"side must be 'input' or 'output', got {side!r}")
    return {key.layer: site for key, site in traced.sites.items() if key.side == side}


def _one(function: str, traced: Program, layer: str, side: str) -> Site:
    if not isinstance(layer, str):
        raise TypeError(f"{function}: layer must be a path string, got {type(layer).__name__}")
    known = _known(traced, side)
    if layer in known:
        return known[layer]
    chosen = paths.choose(function, (layer,), known)
    if len(chosen) > 1:
        raise ValueError(
            f"{function}: layer {layer!r} fits {len(chosen)} layers, give one of them: {', '.join(chosen)}"
        )
    return known[chosen[0]]


def capture(model: ModelLike, inputs: Any, layers: Iterable[str] | None, side: str) -> dict[str, Any]:
    """The values of layers by path; see `Model.capture`."""
    traced = program(model, inputs)
    known = _known(traced, side)
    if layers is None:
        chosen = tuple(layer for layer, site in known.items() if not site.looped)
    else:
        chosen = paths.choose("capture", layers, known)
    leaves = jax.tree.leaves((model.params, model.keywords, inputs))
    _, captured = evaluate(traced, leaves, capture=[Key(layer, side) for layer in chosen], outputs=False)
    return {layer: captured[Key(layer, side)] for layer in chosen}


class Optimized(Adapter):
    """A model that is called in the faster ways of `jaxviz.compilation`. Part: the model's adapter."""

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        return self.parts[0](params, keywords, inputs, marked=marked)

    def parameters(self, params: Any) -> dict[str, Any]:
        return self.parts[0].parameters(params)


class Until(Adapter):
    """A model up to a layer. Parts: the model's adapter, the layer, the side."""

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        base, layer, side = self.parts
        traced = _trace(base, params, keywords, inputs)
        site = _one("until", traced, layer, side)
        _, captured = evaluate(traced, jax.tree.leaves((params, keywords, inputs)), capture=[site.key], outputs=False)
        return captured[site.key]

    def parameters(self, params: Any) -> dict[str, Any]:
        return self.parts[0].parameters(params)


class Edited(Adapter):
    """A model with changed layers. Parts: the adapter, the side, how, and per layer its path and its function or None.

    The params are those of the model, and the values by path for the layers that have no function.
    """

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        base, side, how, layers = self.parts
        params, values = params
        traced = _trace(base, params, keywords, inputs)
        known = _known(traced, side)
        edits = {}
        for wanted, function in layers:
            for layer in paths.choose(how, (wanted,), known):
                site = known[layer]
                edits[site.key] = _edit(how, site, function, None if function else values[wanted])
        return evaluate(traced, jax.tree.leaves((params, keywords, inputs)), edits=edits)[0]

    def parameters(self, params: Any) -> dict[str, Any]:
        return self.parts[0].parameters(params[0])


def edited(base: Adapter, values: Mapping[str, Any], side: str, how: str) -> tuple[Edited, dict[str, Any]]:
    """The adapter of a model with changed layers, and the arrays that it takes beside the model's params."""
    if not isinstance(values, Mapping) or not values:
        raise TypeError(f"{how}: values must be a non-empty dict of layer -> value, got {values!r}")
    layers = tuple((layer, Static(value) if callable(value) else None) for layer, value in values.items())
    return Edited(base, side, how, layers), {layer: value for layer, value in values.items() if not callable(value)}


def _edit(how: str, site: Site, function: Static | None, value: Any) -> Edit:
    if function is not None:
        call = function.value
        return Edit(how, call if how == REPLACE else lambda old: jax.tree.map(jnp.add, old, call(old)))
    given = jax.tree.leaves(value)
    if len(given) not in (1, len(site.leaves)):
        raise ValueError(
            f"{how}: layer {site.key.layer!r} has {len(site.leaves)} arrays, the value given has {len(given)}"
        )
    given = given * (len(site.leaves) // len(given))
    arrays = tuple(fit(how, site.key.layer, new, old) for new, old in zip(given, site.leaves, strict=True))
    combine = (lambda old, new: new) if how == REPLACE else (lambda old, new: jax.tree.map(jnp.add, old, new))
    return Edit(how, combine, arrays)


class Tail(Adapter):
    """A model from a layer on, at the shapes that it was made for.

    Parts: the model's adapter, the layer, the side, and the shapes of the arguments. The params are the values computed
    before the layer that the rest of the program needs.
    """

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        base, layer, side, (structure, shapes) = self.parts
        cut = _Cut(base, layer, side, structure.unflatten(shapes))
        given, expected = jax.tree.leaves(inputs), cut.site.leaves
        if [jnp.shape(leaf) for leaf in given] != [leaf.shape for leaf in expected]:
            raise ValueError(
                f"since: the tail from layer {layer!r} takes an activation of shape {[leaf.shape for leaf in expected]}, "
                f"the batch it was made for; got {[jnp.shape(leaf) for leaf in given]}"
            )
        return cut.after(params, [fit("since", layer, new, old) for new, old in zip(given, expected, strict=True)])


class _Cut:
    """A traced program cut at a layer: what depends on the layer's value, and what does not."""

    def __init__(self, adapter: Adapter, layer: str, side: str, args: tuple[Any, Any, Any]) -> None:
        traced = _trace(adapter, *args)
        self.site = site = _one("since", traced, layer, side)

        def replaced(args: tuple[Any, Any, Any], activation: tuple[Any, ...]) -> Any:
            return evaluate(
                traced, jax.tree.leaves(args), edits={site.key: Edit("since", lambda old, new: new, activation)}
            )[0]

        self.closed, outputs = jax.make_jaxpr(replaced, return_shape=True)(args, site.leaves)
        self.outputs = jax.tree.structure(outputs)
        jaxpr = self.closed.jaxpr
        self.entrance = jaxpr.invars[len(jaxpr.invars) - len(site.leaves) :]
        late = set(self.entrance)
        self.before_steps: list[JaxprEqn] = []
        self.after_steps: list[JaxprEqn] = []
        for equation in jaxpr.eqns:
            depends = any(not isinstance(atom, Literal) and atom in late for atom in equation.invars)
            (self.after_steps if depends else self.before_steps).append(equation)
            if depends:
                late.update(equation.outvars)
        used = [atom for equation in self.after_steps for atom in equation.invars] + list(jaxpr.outvars)
        self.frontier = list(dict.fromkeys(atom for atom in used if not isinstance(atom, Literal) and atom not in late))

    def before(self, args: tuple[Any, Any, Any]) -> list[Any]:
        """The values that the rest of the program needs."""
        leaves = [*jax.tree.leaves(args), *[None] * len(self.entrance)]
        variables = Variables.of(self.closed.jaxpr, self.closed.consts, leaves)
        return _execute(self.before_steps, variables, self.frontier)

    def after(self, frontier: list[Any], activation: list[Any]) -> Any:
        """The outputs, from those values and the layer's."""
        known = zip([*self.frontier, *self.entrance], [*frontier, *activation], strict=True)
        results = _execute(self.after_steps, Variables(dict(known)), self.closed.jaxpr.outvars)
        return jax.tree.unflatten(self.outputs, results)


def _execute(equations: list[JaxprEqn], variables: Variables, wanted: list[Any]) -> list[Any]:
    for equation in equations:
        variables.write(bind(equation, variables.operands(equation)), equation)
    return variables.read(wanted)


@functools.partial(jax.jit, static_argnames=("layer", "side"))
def _before(model: ModelLike, layer: str, side: str, inputs: Any) -> tuple[list[Any], Any]:
    args = (model.params, model.keywords, inputs)
    cut = _Cut(model.apply, layer, side, args)
    _, captured = evaluate(program(model, inputs), jax.tree.leaves(args), capture=[cut.site.key], outputs=False)
    return cut.before(args), captured[cut.site.key]


def since(model: ModelLike, layer: str, side: str, inputs: Any) -> tuple[tuple[list[Any], Any], Tail]:
    """The params and activation of the rest of a model from a layer on, and its adapter; see `Model.since`."""
    inputs = automatic(inputs)
    leaves, structure = jax.tree.flatten((model.params, model.keywords, inputs))
    # The weak types too, so that the tail is cut from the very program that its params were computed by.
    types = [jax.typeof(leaf) for leaf in leaves]
    shapes = tuple(jax.ShapeDtypeStruct(kind.shape, kind.dtype, weak_type=kind.weak_type) for kind in types)
    return _before(model, layer, side, inputs), Tail(model.apply, layer, side, (structure, shapes))

"""A model cut at layers: what follows them, as a model whose inputs are their activations."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz import views
from jaxviz.adapters import Adapter
from jaxviz.attribution import batches
from jaxviz.compilation import jit
from jaxviz.inputs import check_layer
from jaxviz.model import Model
from jaxviz.program import Edit, Key, Program, evaluate, paths
from jaxviz.program.dependence import reached


class Form(NamedTuple):
    """What the activation of layers looks like: where its arrays have the batch, and the pytree that they are the leaves of.

    The axis is None of an array that all examples share (the embeddings of positions); in the tail each has a copy of its own.
    """

    axes: tuple[int | None, ...]
    structure: Any

    def bring(self, value: Any, count: int) -> Any:
        """The layers' own pytree, of so many examples, as inputs of the tail: one array, or several, with the batch as axis 0."""
        leaves = []
        for leaf, axis in zip(jax.tree.leaves(value), self.axes, strict=True):
            if axis is None:
                one = leaf[0] if leaf.shape[:1] == (1,) else leaf
                leaves.append(jnp.broadcast_to(one[None], (count, *one.shape)))
            else:
                leaves.append(jnp.moveaxis(leaf, axis, 0))
        return leaves[0] if len(leaves) == 1 else tuple(leaves)

    def restore(self, value: Any) -> Any:
        """The layers' own pytree, from what looks like the inputs of the tail; copies stay the examples' own."""
        axes = (axis or 0 for axis in self.axes)
        leaves = [jnp.moveaxis(leaf, 0, axis) for leaf, axis in zip(jax.tree.leaves(value), axes, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cut:
    """A model cut at one layer, or at several.

    Attributes:
        tail: the rest of the model, for one batch; its inputs are the activation.
        activation: the array of the layers, or a tuple of all their arrays, with the batch as axis 0.
        form: what they look like as the layers have them: the layer's value, or a tuple of the layers' values.
    """

    tail: Model
    activation: Any
    form: Form = field(metadata={"static": True})


@functools.partial(jit, static_argnames=("function", "layers", "side"))
def cut(model: Model, inputs: Any, *, function: str, layers: tuple[str, ...], side: str) -> Cut:
    """Cuts a model at layers, for one batch of inputs.

    Args:
        model: the model.
        inputs: an array or a tuple of arrays.
        function: the name of the caller, for error messages.
        layers: paths of the layers. Several are cut at once: the tail is a function of all their activations.
        side: `"output"` or `"input"` of the layers.

    Raises:
        ValueError: if a layer is not found, if one of several is computed from another, or if an activation has no axis that
            is the batch, though it is computed from the inputs.
    """
    for layer in layers:
        check_layer(function, layer, side)
    found = named(function, model, inputs, layers, side)
    if len(found) != len(layers):
        raise ValueError(
            f"{function}: layer {layers[0]!r} fits {len(found)} layers, give one of them: {', '.join(found)}"
        )
    layers = found
    form = _form(function, model, inputs, layers, side)
    keys = tuple(Key(layer, side) for layer in layers)
    if len(layers) > 1:
        _check_independent(function, model, inputs, keys)
    if len(layers) == 1 and None not in form.axes:
        tail, activation = model.since(layers[0], inputs, side=side)
    else:
        rest = _Apart if None in form.axes else _Jointly
        tail = Model(rest(model.apply, keys), (model.params, model.keywords, inputs), {})
        activation = tuple(model.until(layer, side=side)(inputs) for layer in layers)
    if None not in form.axes and any(form.axes):
        tail = Model(_Moved(tail.apply, form.axes), tail.params, tail.keywords)
    return Cut(tail, form.bring(activation, jax.tree.leaves(inputs)[0].shape[0]), form)


@functools.partial(jit, static_argnames=("layers", "side"))
def activations(model: Model, inputs: Any, layers: tuple[str, ...], side: str) -> Any:
    """The activation of one layer, or a tuple of the activations of several, in the order given."""
    values = tuple(model.until(layer, side=side)(inputs) for layer in layers)
    return values[0] if len(values) == 1 else values


def named(function: str, model: Model, inputs: Any, wanted: Iterable[str], side: str) -> tuple[str, ...]:
    """The paths of the layers that paths and patterns name, in the order of execution."""
    sites = views.program(model, inputs).sites
    return paths.choose(function, wanted, [key.layer for key in sites if key.side == side])


def _form(function: str, model: Model, inputs: Any, layers: tuple[str, ...], side: str) -> Form:
    """Finds the batch in the activations."""
    batch = jax.tree.leaves(inputs)[0].shape[0]
    shapes = activations.eval_shape(model, inputs, layers, side)
    leaves = jax.tree.leaves(shapes)
    larger = batches.of_one_more(lambda inputs: activations.eval_shape(model, inputs, layers, side), inputs)
    others = [None] * len(leaves) if larger is None else [leaf.shape for leaf in jax.tree.leaves(larger)]
    axes = tuple(batches.axis(leaf.shape, other, batch) for leaf, other in zip(leaves, others, strict=True))
    if None in axes:
        each = [(layers[0], shapes)] if len(layers) == 1 else zip(layers, shapes, strict=True)
        names = [layer for layer, value in each for _ in jax.tree.leaves(value)]
        jaxpr = jax.make_jaxpr(lambda inputs: activations(model, inputs, layers, side))(inputs).jaxpr
        computed = reached(jaxpr, [True] * len(jaxpr.invars))
        for name, leaf, axis, is_computed in zip(names, leaves, axes, computed, strict=True):
            if axis is None and (is_computed or larger is None):
                raise ValueError(
                    f"{function}: layer {name!r} has an activation of shape {leaf.shape}, none of whose axes is the batch of "
                    f"{batch}; {_ADVICE if larger is not None else _ADVICE_TO_ONE}"
                )
    return Form(axes, jax.tree.structure(shapes))


_ADVICE = "choose a layer that has a value for each example, or one that is not computed from the inputs"
_ADVICE_TO_ONE = "the model holds a value for each example of the batch (a mask, say): explain one example at a time"


class _Moved(Adapter):
    """A model that has the batch at other axes of its inputs, with the batch in front. Parts: its adapter, the axes."""

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        """The outputs of the model."""
        base, axes = self.parts
        leaves = [jnp.moveaxis(leaf, 0, axis) for leaf, axis in zip(jax.tree.leaves(inputs), axes, strict=True)]
        return base(params, keywords, leaves[0] if len(leaves) == 1 else tuple(leaves), marked=marked)


class _Jointly(Adapter):
    """The rest of a model from several layers on, for one batch. Parts: the model's adapter, and the keys of the layers' values.

    The params are the arguments of the model.
    """

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        """The outputs of the model."""
        base, keys = self.parts
        program = views.program(Model(base, *params[:2]), params[2])
        leaves = iter(jax.tree.leaves(inputs))
        edits = {}
        for key in keys:
            arrays = tuple(next(leaves) for _ in program.sites[key].leaves)
            edits[key] = Edit("at_layer", lambda old, new: new, arrays)
        # What comes before the layers only is computed in vain, and left out by the compiler.
        return evaluate(program, jax.tree.leaves(params), edits=edits)[0]


class _Apart(Adapter):
    """The rest of a model from layers on, for one batch, each example with its own copy of what the layers' arrays share.

    Parts: the model's adapter, and the keys of the layers' values. The params are the arguments of the model.
    """

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        """The outputs of the model."""
        base, keys = self.parts
        fixed, given = params[:2], params[2]

        def one(example: Any, arrays: list[Any]) -> Any:
            example = jax.tree.map(lambda leaf: leaf[None], example)
            sites = views.program(Model(base, *fixed), example).sites
            shapes = [leaf.shape for key in keys for leaf in sites[key].leaves]
            values = tuple(array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True))
            outputs = _Jointly(base, keys)((*fixed, example), {}, values)
            return jax.tree.map(lambda leaf: leaf[0], outputs)

        return jax.vmap(one)(given, jax.tree.leaves(inputs))


def _check_independent(function: str, model: Model, inputs: Any, keys: tuple[Key, ...]) -> None:
    """Raises if the value of one of the layers is computed from another's."""
    args = (model.params, model.keywords, inputs)
    program = views.program(model, inputs)
    for key in keys:
        for other in _computed_from(key, [other for other in keys if other != key], program, args):
            raise ValueError(
                f"{function}: layer {other.layer!r} is computed from layer {key.layer!r}, so that they are not two inputs of the "
                "rest of the model; give jointly=False to explain each by itself"
            )


def _computed_from(key: Key, others: list[Key], program: Program, args: Any) -> list[Key]:
    """Those of the other values that depend on one."""

    def values(arrays: tuple[Any, ...]) -> list[Any]:
        edits = {key: Edit("at_layer", lambda old, new: new, arrays)}
        _, captured = evaluate(program, jax.tree.leaves(args), capture=others, edits=edits, outputs=False)
        return [captured[other] for other in others]

    jaxpr = jax.make_jaxpr(values)(program.sites[key].leaves).jaxpr
    results = iter(reached(jaxpr, [True] * len(jaxpr.invars)))
    # In lists: `any` stops at the first that is true, and would leave the rest to the next value.
    each = {other: [next(results) for _ in program.sites[other].leaves] for other in others}
    return [other for other in others if any(each[other])]

"""What is measured of a model, its inputs and its score: on the device, a few numbers for each example and each layer's value."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz import finite, views
from jaxviz.attribution import batches
from jaxviz.attribution.rules.pairs import is_float
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import Edit, Key, evaluate, paths
from jaxviz.program.trace import Node
from jaxviz.targets import Target, select


class Place(NamedTuple):
    """A layer's value that is measured: its key, and for each of its arrays the axis that is the batch, or None."""

    key: Key
    axes: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"the {self.key.side} of layer {self.key.layer!r}"


class Numbers(NamedTuple):
    """Of a value, for each example, `(batch,)` each: the largest absolute value, and how many values are NaN or infinite."""

    largest: jax.Array
    nan: jax.Array
    inf: jax.Array


class Forward(NamedTuple):
    """What was measured of one evaluation.

    Attributes:
        params: path -> how many values are NaN, and how many infinite.
        activations: the numbers of each place, if they were asked for.
        outputs: of the outputs.
        scores: the score of each example, `(batch,)`.
        values: the outputs themselves, where they are one array, `(batch,)` or `(batch, n)`; else None.
        alike: the values of the places that have as many numbers as these, in their shape, by the place's index.
    """

    params: dict[str, tuple[jax.Array, jax.Array]]
    activations: tuple[Numbers, ...]
    outputs: Numbers
    scores: jax.Array
    values: Any
    alike: dict[int, jax.Array]


class Backward(NamedTuple):
    """The gradients of the score: with respect to each of the inputs, the values of the places asked for, and the outputs."""

    inputs: tuple[Numbers, ...]
    activations: tuple[Numbers, ...]
    outputs: Numbers


def places(model: Model, inputs: Any) -> tuple[Place, ...]:
    """The values of layers that can be measured, those that are floating point, in the order of execution.

    Not those inside while loops, which keep no values, in branches of a conditional, which may not be taken, and inside functions
    that have a derivative rule of their own, which would be left out to reach them.
    """
    program = views.program(model, inputs)
    batch = jax.tree.leaves(inputs)[0].shape[0]
    others = batches.of_one_more(lambda inputs: views.program(model, inputs).sites, inputs) or {}
    found = []
    for key in program.sites:
        leaves = program.sites[key].leaves
        if key in _open(program.root) and any(map(is_float, leaves)):
            twins = others[key].leaves if key in others else (None,) * len(leaves)
            found.append(Place(key, tuple(_axis(leaf, twin, batch) for leaf, twin in zip(leaves, twins, strict=True))))
    return tuple(found)


_CLOSED = frozenset({"while", "cond", "custom_jvp_call", "custom_vjp_call"})


def _open(node: Node) -> frozenset[Key]:
    """The keys of the values of a program that always arise, and can be reached without changing its derivative."""
    keys = {step.site.key for step in node.steps if step.site is not None}
    for step in node.steps:
        if step.equations[0].primitive.name not in _CLOSED:
            keys.update(*map(_open, step.nodes))
    return frozenset(keys)


def _axis(leaf: Any, other: Any, batch: int) -> int | None:
    """The axis that is the batch: the one that is longer where the batch is, or, where that is not known, of its length."""
    if other is None:
        found = [axis for axis, size in enumerate(leaf.shape[:2]) if size == batch][:1]
    else:
        found = [axis for axis, sizes in enumerate(zip(leaf.shape, other.shape, strict=True)) if sizes[0] != sizes[1]]
    return found[0] if len(found) == 1 else None


@functools.partial(jit, static_argnames=("watched", "counted", "followed"))
def measure(
    model: Model,
    inputs: Any,
    target: Target,
    *,
    watched: tuple[Place, ...],
    counted: bool = False,
    followed: tuple[Place, ...] | None = (),
) -> tuple[Forward, Backward | None]:
    """Evaluates the model once, and measures on the way.

    Args:
        model: the model.
        inputs: an array or a tuple of arrays.
        target: the checked target.
        watched: its places.
        counted: whether the numbers of all of them are wanted. To compile these takes long for a large network.
        followed: the places that gradients are wanted of; None for no gradient at all.
    """
    program = views.program(model, inputs)
    batch = jax.tree.leaves(inputs)[0].shape[0]
    parts, structure = jax.tree.flatten(inputs)
    alike = [
        index
        for index, place in enumerate(watched)
        if _is_alike(program.sites[place.key].leaves, place, program.outputs)
    ]
    captured_keys = [place.key for index, place in enumerate(watched) if counted or index in alike]

    def run(added: Any) -> tuple[jax.Array, Forward]:
        to_inputs, to_values, to_outputs = added
        moved = jax.tree.unflatten(structure, list(map(_plus, parts, to_inputs)))
        edits = {
            place.key: Edit("diagnose", lambda old, new: jax.tree.map(_plus, old, new), tuple(arrays))
            for place, arrays in zip(followed or (), to_values, strict=True)
        }
        leaves = jax.tree.leaves((model.params, model.keywords, moved))
        outputs, captured = evaluate(program, leaves, capture=captured_keys, edits=edits)
        outputs = jax.tree.map(_plus, outputs, to_outputs)
        found = select(outputs, target)
        values = {key: tuple(jax.tree.leaves(value)) for key, value in captured.items()}
        return found.sum(), Forward(
            {path: finite.counted(leaf) for path, leaf in paths.flatten(model.params).items() if is_float(leaf)},
            tuple(_numbers(values[place.key], place.axes, batch) for place in watched) if counted else (),
            _numbers(tuple(jax.tree.leaves(outputs)), None, batch),
            found,
            outputs if hasattr(outputs, "ndim") and outputs.ndim in (1, 2) else None,
            {index: values[watched[index].key][0].reshape(outputs.shape) for index in alike},
        )

    # Something is added to each value, which is 0: its gradient is that of the value.
    zeros = (
        [_zeros(part) for part in parts],
        [[_zeros(leaf) for leaf in program.sites[place.key].leaves] for place in followed or ()],
        jax.tree.map(_zeros, program.outputs),
    )
    if followed is None:
        return run(zeros)[1], None
    (to_inputs, to_values, to_outputs), forward = jax.grad(run, has_aux=True, allow_int=True)(zeros)
    return forward, Backward(
        tuple(_numbers((leaf,), (0,), batch) for leaf in to_inputs),
        tuple(_numbers(tuple(leaves), place.axes, batch) for leaves, place in zip(to_values, followed, strict=True)),
        _numbers(tuple(jax.tree.leaves(to_outputs)), None, batch),
    )


def _is_alike(leaves: tuple[Any, ...], place: Place, outputs: Any) -> bool:
    """Whether a value has one number for each of the outputs."""
    if getattr(outputs, "ndim", 0) not in (1, 2) or len(leaves) != 1 or place.axes != (0,):
        return False
    return jnp.issubdtype(leaves[0].dtype, jnp.floating) and math.prod(leaves[0].shape) == math.prod(outputs.shape)


@jit
def scores(model: Model, inputs: Any, target: Target) -> jax.Array:
    """The score of each example."""
    return select(model(inputs), target)


def _zeros(leaf: Any) -> jax.Array:
    return jnp.zeros(leaf.shape, leaf.dtype)


def _plus(value: Any, added: Any) -> Any:
    return value + added if is_float(value) else value


def _numbers(leaves: tuple[Any, ...], axes: tuple[int | None, ...] | None, batch: int) -> Numbers:
    """The numbers of a value's arrays. One without an axis that is the batch counts for every example."""
    widest = jnp.result_type(float)
    largest, nan, inf = jnp.zeros(batch, widest), jnp.zeros(batch, jnp.int32), jnp.zeros(batch, jnp.int32)
    for number, leaf in enumerate(leaves):
        if not is_float(leaf) or not leaf.size:
            continue
        axis = axes[number] if axes is not None else (0 if leaf.shape[:1] == (batch,) else None)
        rows = leaf.reshape(1, -1) if axis is None else jnp.moveaxis(leaf, axis, 0).reshape(batch, -1)
        # What is NaN or infinite is counted, and not among the largest.
        sizes = jnp.abs(rows)
        sizes = jnp.where(jnp.isfinite(rows), sizes, jnp.zeros_like(sizes)).max(axis=1)
        largest = jnp.maximum(largest, jnp.broadcast_to(sizes.astype(widest), (batch,)))
        nan = nan + jnp.isnan(rows).sum(axis=1).astype(jnp.int32)
        inf = inf + jnp.isinf(rows).sum(axis=1).astype(jnp.int32)
    return Numbers(largest, nan, inf)

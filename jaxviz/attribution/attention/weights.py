"""Attention weights as layers have them, and in one form: `(batch, heads, queries, keys)`."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz import views
from jaxviz.attribution import batches
from jaxviz.attribution.attention.crossing import Crossing
from jaxviz.attribution.attention.products import Attention, attentions
from jaxviz.attribution.attention.streams import Streams, streams
from jaxviz.attribution.attention.view import NAME, tag_attention
from jaxviz.model import Model
from jaxviz.program import OUTPUT, Key, Program, Site, paths
from jaxviz.program.flow import Flow, Position

MISSING = (
    "no attention weights found, which are a softmax over the axis that a product contracts with values. Name the weights in the "
    "model, weights = jaxviz.tag(weights, 'weights'), of shape (batch, heads, queries, keys), and give layers='weights'; "
    "jax.nn.dot_product_attention keeps them with implementation='xla'"
)


class Weights(NamedTuple):
    """The weights of one layer, or of one step of a scan that it stands in.

    Attributes:
        path: their name: the layer's, with `@i` for step i of a scan.
        key: the layer's value.
        steps: which entry of the value they are, of each scan.
        batch: the axis of the batch in that entry.
        queries: the axis of the queries.
        keys: the axis of the keys.
        several: whether there are further axes beside that of the heads, such as windows.
        crossed: whether queries and keys are of different tokens, as far as the program tells.
        streams: which sequences of tokens queries and keys are, see `streams`; None where that is not told.
    """

    path: str
    key: Key
    steps: tuple[int, ...]
    batch: int
    queries: int
    keys: int
    several: bool
    crossed: bool
    streams: Streams | None

    def bring(self, value: jax.Array) -> jax.Array:
        """The weights, or what has their form, of the layer's value: `(batch, heads, queries, keys)`."""
        value = value[self.steps]
        last = (self.queries, self.keys)
        heads = [axis for axis in range(value.ndim) if axis not in (self.batch, *last)]
        count = math.prod(value.shape[axis] for axis in heads)
        moved = value.transpose(self.batch, *heads, *last)
        return moved.reshape(moved.shape[0], count, *moved.shape[-2:])


def traced(model: Model, inputs: Any) -> Program:
    """The program of a model, with its attention weights as layers."""
    return views.program(tag_attention(model), inputs)


def weights(
    function: str, model: Model, inputs: Any, program: Program, layers: tuple[str, ...] | None
) -> list[Weights]:
    """The weights that paths and patterns name, in order of execution; all that are found where these are None.

    Args:
        function: the name of the caller, for error messages.
        model: the model.
        inputs: its inputs.
        program: its program, as `traced` gives it.
        layers: paths and patterns: of the weights, of the modules in which they stand, or of values that are tagged.
    """
    flow = Flow(program)
    listed = attentions(flow)
    found = {attention.key: attention for attention in listed if attention.key is not None}
    sites = {key: site for key, site in program.sites.items() if key.side == OUTPUT and len(site.leaves) == 1}
    if layers is None:
        entries = [each for key in sites if key in found and not sites[key].looped for each in _entries(flow, key)]
    else:
        tags = [key for key in sites if key in found or sites[key].structure.kind == "tag"]
        entries = _chosen(function, layers, [each for key in tags for each in _entries(flow, key)], found)
    crossing = Crossing(flow, len(jax.tree.leaves(inputs)), listed)
    axes, sequences = _Axes(function, model, inputs, program, crossing), streams(crossing, listed)
    known = {
        key: axes.of(key, found.get(key), skip=layers is None) for key in dict.fromkeys(entry.key for entry in entries)
    }
    result = [
        Weights(entry.path, entry.key, entry.steps, *of_layer, sequences.get(entry.key))
        for entry in sorted(entries, key=lambda entry: entry.order)
        if (of_layer := known[entry.key]) is not None
    ]
    if not result:
        raise ValueError(f"{function}: {MISSING}")
    return result


def captured(weights: list[Weights], values: Any) -> list[jax.Array]:
    """The weights of each layer, of the layers' values by key."""
    return [each.bring(values[each.key]) for each in weights]


class _Entry(NamedTuple):
    path: str
    key: Key
    steps: tuple[int, ...]
    order: tuple[tuple[int, int], ...]  # by which they are sorted in order of execution


def _entries(flow: Flow, key: Key) -> Iterator[_Entry]:
    """One for each step of the scans that a layer stands in."""
    positions = flow.positions[key]
    lengths = [position.scan.length for position in positions if position.scan is not None]
    for steps in itertools.product(*map(range, lengths)):
        path = key.layer + "".join(f"@{step}" for step in steps)
        remaining = iter(steps)
        order = [(position.number, _when(position, remaining)) for position in positions]
        yield _Entry(path, key, steps, tuple(order))


def _when(position: Position, steps: Iterator[int]) -> int:
    if position.scan is None:
        return position.branch
    step = next(steps)
    return position.scan.length - 1 - step if position.scan.reverse else step


def _chosen(function: str, wanted: tuple[str, ...], entries: list[_Entry], found: Iterable[Key]) -> list[_Entry]:
    """The entries that paths and patterns name."""

    def names(entry: _Entry) -> set[str]:
        both = {entry.path, entry.key.layer}
        return both | {name.replace(f"/{NAME}", "") for name in both}

    for text in wanted:
        if not any(paths.match(name, text) for entry in entries for name in names(entry)):
            known = [entry.path for entry in entries if entry.key in found]
            raise ValueError(
                f"{function}: layer {text!r} not found; " + (paths.nearest(text, known) if known else f"{MISSING}")
            )
    return [entry for entry in entries if any(paths.match(name, wanted) for name in names(entry))]


class _Axes:
    """What the axes of layers' values are."""

    def __init__(self, function: str, model: Model, inputs: Any, program: Program, crossing: Crossing) -> None:
        self.function = function
        self.batch = jax.tree.leaves(inputs)[0].shape[0]
        self.sites = program.sites
        self.larger = _larger(model, inputs)
        self.crossing = crossing
        self.scans = {
            key: sum(position.scan is not None for position in positions)
            for key, positions in crossing.flow.positions.items()
        }

    def of(self, key: Key, attention: Attention | None, *, skip: bool) -> tuple[int, int, int, bool, bool] | None:
        """The axes of the batch, of the queries and of the keys; whether there are others, and whether the tokens are others.

        None, where that is to be skipped, for what is not of each example.
        """
        shape = self._shape(self.sites, key)
        batch = self._batch(key, shape, attention)
        if batch is None:
            if skip:
                return None
            raise ValueError(
                f"{self.function}: layer {key.layer!r} has a value of shape {shape}, none of whose axes is the batch of "
                f"{self.batch}"
            )
        if attention is None:
            rest = [axis for axis in range(len(shape)) if axis != batch]
            if len(rest) < 2 or not jnp.issubdtype(self.sites[key].leaves[0].dtype, jnp.floating):
                raise ValueError(
                    f"{self.function}: layer {key.layer!r} has a value of shape {shape}, which is not attention weights "
                    "(batch, heads, queries, keys)"
                )
            return batch, rest[-2], rest[-1], sum(shape[axis] > 1 for axis in rest[:-2]) > 1, False
        # Mapped axes (groups of heads) stand before the batch; of the others the queries are as many as the keys, or last.
        free = [axis for axis in attention.free if axis > batch] or list(attention.free)
        alike = [axis for axis in free if shape[axis] == shape[attention.keys]]
        queries = (alike or free)[-1] if shape[attention.keys] > 1 else free[-1]
        others = set(range(len(shape))) - {batch, attention.keys, *attention.free}
        several = sum(shape[axis] > 1 for axis in others) > 1
        return batch, queries, attention.keys, several, self.crossing.of(attention)

    def _shape(self, sites: Mapping[Key, Site], key: Key) -> tuple[int, ...]:
        return sites[key].leaves[0].shape[self.scans[key] :]

    def _batch(self, key: Key, shape: tuple[int, ...], attention: Attention | None) -> int | None:
        """The axis that is the batch."""
        places = range(len(shape)) if attention is None else (*attention.loose, *attention.shared)
        other = None if self.larger is None or key not in self.larger else self._shape(self.larger, key)
        if other is None or len(other) != len(shape):
            return batches.axis(shape, None, self.batch, among=places)
        changed = batches.changed(shape, other)
        if not changed or not set(changed) <= set(places):
            return None
        if batches.axis(shape, other, self.batch) is None or len(changed) > 1:
            raise ValueError(
                f"{self.function}: layer {key.layer!r} has weights of shape {shape}, in which the batch of {self.batch} is one "
                "axis with others (heads, windows). Name them in the model where the batch is an axis of its own, "
                "weights = jaxviz.tag(weights, 'weights'), of shape (batch, heads, queries, keys), and give layers='weights'"
            )
        return changed[0]


def _larger(model: Model, inputs: Any) -> Mapping[Key, Site] | None:
    """The layers of the model with one example more; None if it is for this batch alone."""
    batch = jax.tree.leaves(inputs)[0].shape[0]
    # A mask that is a keyword has the batch, too.
    for keywords in (model.keywords, batches.larger(model.keywords, batch)):
        sites = batches.of_one_more(functools.partial(_sites, replace(model, keywords=keywords)), inputs)
        if sites is not None:
            return sites
    return None


def _sites(model: Model, inputs: Any) -> Mapping[Key, Site]:
    return traced(model, inputs).sites

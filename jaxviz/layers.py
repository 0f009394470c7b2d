"""Layer records: what a model's layers are, without computing anything."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from jaxviz.program import INPUT, Key, Program
from jaxviz.program.sources import sources_of


@dataclass(frozen=True)
class Layer:
    """One call of one layer.

    Attributes:
        path: its path; the k-th further call of a layer has `#k` behind it.
        kind: the class of its module; `"tag"` for a tagged value.
        shape: the shape of its output; a tuple of shapes where the output is several arrays.
        dtype: the dtype of its output; a tuple where it is several arrays.
        input_shape: the shape of its input, likewise; None for a tagged value.
        parameters: how many trained numbers it has, its inner layers' included. A further call of a layer has none of its own.
        flops: floating-point operations of the call (a multiplication and an addition are two), for the whole batch, inner
            layers' included; None for a tagged value.
        nbytes: the size of its output in bytes.
        depth: how many layers it runs inside of.
        sources: the layers whose outputs its output is computed from with no other layer's output between, in order of
            execution; the model's inputs are `""`, and come first. A block with a residual connection has as sources what
            enters it and its last layer.
    """

    path: str
    kind: str
    shape: tuple[Any, ...]
    dtype: Any
    input_shape: tuple[Any, ...] | None
    parameters: int
    flops: int | None
    nbytes: int
    depth: int
    sources: tuple[str, ...]


def layer_records(parameters: Mapping[str, Any], program: Program, inputs: Any) -> list[Layer]:
    """The layers of a program, in order of execution.

    Args:
        parameters: the model's parameters by path.
        program: the traced model.
        inputs: what it was traced at.
    """
    records = []
    sources = sources_of(program, len(jax.tree.leaves(inputs)))
    opened: list[tuple[str, set[str]]] = []  # the layers that run, and the parameters of their inner layers
    for key, site in program.sites.items():
        if key.side == INPUT:
            opened.append((key.layer, set()))
            continue
        own: set[str] = set()
        if key.layer == site.path:
            own.update(path for path in parameters if path.startswith(f"{site.path}/"))
        entrance = program.sites.get(Key(key.layer, INPUT))
        if any(layer == key.layer for layer, _ in opened):
            while opened[-1][0] != key.layer:  # a layer that was left without a value
                opened.pop()
            own |= opened.pop()[1]
        if opened:
            opened[-1][1].update(own)
        records.append(
            Layer(
                path=key.layer,
                kind=site.structure.kind,
                shape=_one([leaf.shape for leaf in site.leaves]),
                dtype=_one([leaf.dtype for leaf in site.leaves]),
                input_shape=None if entrance is None else _one([leaf.shape for leaf in entrance.leaves]),
                parameters=sum(math.prod(parameters[path].shape) for path in own),
                flops=site.flops,
                nbytes=sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in site.leaves),
                depth=len(opened),
                sources=sources.get(key.layer, ()),
            )
        )
    return records


def _one(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else tuple(items)


def size(tree: Any) -> tuple[int, int]:
    """How many numbers a pytree of arrays holds, and how many bytes."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]
    count = sum(math.prod(leaf.shape) for leaf in leaves)
    return count, sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)

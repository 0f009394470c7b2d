"""Layer records: what a model's layers are, without computing anything."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from jaxviz.program import INPUT, OUTPUT, Key, Program


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


def layer_records(parameters: Mapping[str, Any], program: Program) -> list[Layer]:
    """The layers of a program, in order of execution.

    Args:
        parameters: the model's parameters by path.
        program: the traced model.
    """
    records = []
    opened: list[str] = []
    for key, site in program.sites.items():
        if key.side == INPUT:
            opened.append(key.layer)
            continue
        entrance = program.sites.get(Key(key.layer, INPUT))
        if entrance is not None and key.layer in opened:
            del opened[opened.index(key.layer) :]
        own = (
            [leaf for path, leaf in parameters.items() if path.startswith(f"{site.path}/")]
            if key.layer == site.path
            else []
        )
        records.append(
            Layer(
                path=key.layer,
                kind=site.structure.kind,
                shape=_one([leaf.shape for leaf in site.leaves]),
                dtype=_one([leaf.dtype for leaf in site.leaves]),
                input_shape=None if entrance is None else _one([leaf.shape for leaf in entrance.leaves]),
                parameters=sum(math.prod(leaf.shape) for leaf in own),
                flops=site.flops,
                nbytes=sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in site.leaves),
                depth=len(opened),
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

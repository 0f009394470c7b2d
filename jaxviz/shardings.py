"""Arrays that are spread over devices: their axes are left to the compiler, whatever kind of mesh they came with."""

import functools
from collections.abc import Iterable
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding

Tree = TypeVar("Tree")


def automatic(tree: Tree) -> Tree:
    """The arrays of a mesh whose axes are explicit (what `jax.make_mesh` gives) with automatic axes; all else as it is.

    Explicit axes are part of an array's type, so that every operation that joins or splits an axis (the batch and the steps of
    a path, say) would have to be told how its result is spread. Nothing is copied: parts and devices stay the same. What is
    computed from them has automatic axes, too.
    """
    leaves, structure = jax.tree.flatten(tree)
    if not any(map(is_explicit, leaves)):
        return tree
    return jax.tree.unflatten(structure, map(_automatic, leaves))


def is_explicit(value: Any) -> bool:
    """Whether an array, not traced, is of a mesh with explicit axes."""
    sharding = getattr(value, "sharding", None)  # which traced arrays do not have
    return type(sharding) is NamedSharding and AxisType.Explicit in sharding.mesh.axis_types


def has_explicit(trees: Iterable[Any]) -> bool:
    """Whether an array of some pytrees is of such a mesh; a model has looked once, and a target never is (`_is_explicit`)."""
    for tree in trees:  # no calls where there need be none: a small network's time is that of the calls
        if isinstance(tree, jax.Array):
            found = is_explicit(tree)
        else:
            known = getattr(tree, "_is_explicit", None)
            found = any(map(is_explicit, jax.tree.leaves(tree))) if known is None else known
        if found:
            return True
    return False


def _automatic(value: Any) -> Any:
    return jax.device_put(value, _as_automatic(value.sharding)) if is_explicit(value) else value


@functools.lru_cache(maxsize=256)
def _as_automatic(sharding: NamedSharding) -> NamedSharding:
    mesh: Any = sharding.mesh
    names = mesh.axis_names
    mesh = Mesh(mesh.devices, names, axis_types=(AxisType.Auto,) * len(names))
    return NamedSharding(mesh, sharding.spec, memory_kind=sharding.memory_kind)

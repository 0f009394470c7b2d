"""Arrays that are spread over devices: their axes are left to the compiler, whatever kind of mesh they came with."""

import functools
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding

Tree = TypeVar("Tree")


def automatic(tree: Tree) -> Tree:
    """The arrays of a mesh whose axes are explicit (what `jax.make_mesh` gives) with automatic axes; all else as it is.

    Explicit axes are part of an array's type, so that every operation that joins or splits an axis (the batch and the steps of
    a path, say) would have to be told how its result is spread. Nothing is copied: parts and devices stay the same.
    """
    return jax.tree.map(_automatic, tree) if _has_several_devices() else tree


def is_explicit(value: Any) -> bool:
    """Whether an array, not traced, is of a mesh with explicit axes."""
    if not _has_several_devices() or not isinstance(value, jax.Array) or isinstance(value, jax.core.Tracer):
        return False
    return isinstance(value.sharding, NamedSharding) and AxisType.Explicit in value.sharding.mesh.axis_types


def _automatic(value: Any) -> Any:
    return jax.device_put(value, _as_automatic(value.sharding)) if is_explicit(value) else value


@functools.cache
def _has_several_devices() -> bool:
    return jax.device_count() > 1


@functools.lru_cache(maxsize=256)
def _as_automatic(sharding: NamedSharding) -> NamedSharding:
    mesh: Any = sharding.mesh
    names = mesh.axis_names
    mesh = Mesh(mesh.devices, names, axis_types=(AxisType.Auto,) * len(names))
    return NamedSharding(mesh, sharding.spec, memory_kind=sharding.memory_kind)

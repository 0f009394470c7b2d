"""Marks: the names that layers leave in the traced program.

A mark is `jax.ad_checkpoint.checkpoint_name`, an identity that leaves a `name` equation. One equation marks one array, so a
layer whose value is a pytree leaves one per array; the text of the name says which array of which pytree it is.
"""

import threading
from typing import Any, NamedTuple

import jax
from jax.ad_checkpoint import checkpoint_name

from jaxviz.program._compat import is_array

_SEPARATOR = "::"

# In the key of JAX's caches of traced functions, so that a jitted function that was traced without marks is traced again.
marking = jax.make_user_context(default_value=False)

INPUT, OUTPUT = "input", "output"
SIDES = (INPUT, OUTPUT)


class Structure(NamedTuple):
    """What the leaves of a marked value add up to: the pytree, and the kind of layer (the module's class)."""

    treedef: Any
    kind: str


_ARRAY = Structure(jax.tree.structure(0), "tag")
# A name equation carries a text only, so the structures are kept here, each once, and a name refers to one by its number.
_structures: list[Structure] = [_ARRAY]
_numbers: dict[Structure, int] = {_ARRAY: 0}
_lock = threading.Lock()


def _number(structure: Structure) -> int:
    with _lock:
        if structure not in _numbers:
            _structures.append(structure)
            _numbers[structure] = len(_structures) - 1
        return _numbers[structure]


class Mark(NamedTuple):
    """One marked array: leaf number `leaf` of a value of the given structure, on one side of the layer at `path`."""

    path: str
    side: str
    leaf: int
    structure: Structure


def mark(value: Any, path: str, *, side: str = OUTPUT, kind: str = "tag") -> Any:
    """Marks every array of a pytree; other leaves pass unmarked (a capture has None in their place)."""
    leaves, treedef = jax.tree.flatten(value)
    marked = [is_array(leaf) for leaf in leaves]
    if all(marked):
        arrays = treedef
    else:
        arrays = jax.tree.structure(jax.tree.unflatten(treedef, [0 if is_marked else None for is_marked in marked]))
    structure = Structure(arrays, kind)
    plain = side == OUTPUT and structure == _ARRAY
    number = _number(structure)
    count = 0
    for index, leaf in enumerate(leaves):
        if marked[index]:
            text = path if plain else _SEPARATOR.join((path, side, str(count), str(number)))
            leaves[index] = checkpoint_name(leaf, text)
            count += 1
    return jax.tree.unflatten(treedef, leaves)


def parse(text: str) -> Mark:
    """The mark that a name equation's text stands for."""
    path, *rest = text.rsplit(_SEPARATOR, 3)
    if len(rest) != 3 or rest[0] not in SIDES:
        return Mark(text, OUTPUT, 0, _ARRAY)
    side, leaf, number = rest
    return Mark(path, side, int(leaf), _structures[int(number)])


def tag(value: Any, name: str) -> Any:
    """Gives a value inside a model a name, by which it is a layer as a module is.

    The value itself is not changed: `tag` is the identity.

    Args:
        value: an array of any shape and dtype, or a pytree of arrays.
        name: the layer's path. A name used n times gives the layers `name`, `name#1`, `name#2`, ...

    Returns:
        The value, marked.

    Raises:
        TypeError: if the name is not a string.
        ValueError: if the name is empty or has `::` or `#` in it.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> def apply(params, inputs):
        ...     hidden = jv.tag(jnp.maximum(inputs @ params, 0.0), "hidden")
        ...     return hidden.sum(axis=1)
        >>> model = jv.Model.from_function(apply, jnp.eye(2))
        >>> model.capture(jnp.array([[1.0, -1.0]]))["hidden"]
        Array([[1., 0.]], dtype=float32)
    """
    if not isinstance(name, str):
        raise TypeError(f"tag: name must be a string, got {type(name).__name__}")
    if not name or _SEPARATOR in name or "#" in name:
        raise ValueError(f"tag: name must be a non-empty string without '::' and '#', got {name!r}")
    return mark(value, name)

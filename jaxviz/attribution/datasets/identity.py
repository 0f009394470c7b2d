"""What identifies a function, a model, a setting or a piece of data from one process to the next, as text."""

import contextlib
import dataclasses
import functools
import hashlib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxviz import views
from jaxviz.model import Model
from jaxviz.program.trace import Node

_LONGEST = 120  # characters


def identity(value: Any) -> str:
    """A text that is the same for equal values, in this process and in another one.

    Arrays are known by their bytes, functions by their name, code and what they hold, dataclasses by their fields, and other
    objects by their `repr`, without addresses.
    """
    text = _text(value)
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}… {hashlib.sha256(text.encode()).hexdigest()}"


def program_identity(model: Model, inputs: Any) -> str:
    """What identifies the program of a model at the shapes of inputs, without its parameters."""
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype)), inputs
    )
    root = views.program(model, shapes).root
    consts = [identity(const) for node in _nodes(root) for const in node.consts]
    text = _without_addresses(str(root.jaxpr)) + "".join(consts)
    return hashlib.sha256(text.encode()).hexdigest()


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for step in node.steps:
        for inner in step.nodes:
            yield from _nodes(inner)


def _text(value: Any, within: tuple[int, ...] = ()) -> str:
    """The text; `within` are the functions that hold the value, which may hold themselves."""
    text = functools.partial(_text, within=within)
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"key {jax.random.key_impl(value)} {np.asarray(jax.random.key_data(value)).tolist()}"
    if isinstance(value, np.ndarray | jax.Array):
        array = np.ascontiguousarray(value)
        return text(array.tolist()) if array.dtype.hasobject else f"{array.dtype}{list(value.shape)} {_sha(array)}"
    if isinstance(value, functools.partial):
        return f"partial({text((value.func, value.args, value.keywords))})"
    if isinstance(value, types.MethodType):
        return f"{text(value.__func__)} of {text(value.__self__)}"
    if isinstance(value, types.FunctionType):
        name = f"{value.__module__}.{value.__qualname__}"
        if id(value) in within:
            return name
        inner = functools.partial(_text, within=(*within, id(value)))
        return f"{name} {_code(value.__code__)} {inner((value.__defaults__, value.__kwdefaults__, _captured(value)))}"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if callable(value) and hasattr(value, "__wrapped__"):  # of `jax.jit`
        return f"{type(value).__qualname__} of {text(value.__wrapped__)}"
    if isinstance(value, Model):
        return f"Model({text((value.apply, jax.tree.leaves((value.params, value.keywords))))})"
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value) if field.name != "parent"]
        return f"{type(value).__qualname__}{text({name: getattr(value, name, None) for name in fields})}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{text(name)}: {text(item)}' for name, item in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(text, value))})"
    return _without_addresses(repr(value))


def _captured(function: types.FunctionType) -> list[Any]:
    """What a function holds of the functions around it."""
    captured = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # nothing is in it yet
            captured.append(cell.cell_contents)
    return captured


def _code(code: types.CodeType) -> str:
    consts = [_code(const) if isinstance(const, types.CodeType) else _text(const) for const in code.co_consts]
    return hashlib.sha256(repr((code.co_code, code.co_names, consts)).encode()).hexdigest()[:16]


def _sha(array: np.ndarray) -> str:
    return hashlib.sha256(array.reshape(-1).view(np.uint8)).hexdigest()


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+|0x[0-9a-fA-F]{8,}", "", text)


class Digest:
    """The running identity of data: what was added in the same order gives the same text."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, tree: Any) -> None:
        """Adds a pytree of arrays."""
        for leaf in jax.tree.leaves(tree):
            array = np.ascontiguousarray(leaf)
            self._hash.update(f"{array.dtype}{array.shape}".encode())
            self._hash.update(array.reshape(-1).view(np.uint8))

    def text(self) -> str:
        """What identifies all that was added so far."""
        return self._hash.hexdigest()

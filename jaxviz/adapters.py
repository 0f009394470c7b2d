"""What makes a pure function with named layers of a Linen module, an NNX module, or any function.

An adapter is the static part of a `Model`: hashable by value, so that a model made twice of the same module is the same static
argument and nothing is traced again. `adapter(params, keywords, inputs)` is the plain model; with `marked=True` the same model
leaves a mark at the input and output of every module.
"""

import abc
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxviz.program import INPUT, OUTPUT, mark, paths
from jaxviz.shardings import automatic
from jaxviz.static import Static

# How a module is told that it is not being trained, by the names of the argument in use.
_EVALUATION = {
    "train": False,
    "training": False,
    "is_training": False,
    "deterministic": True,
    "use_running_average": True,
}


def _split_keywords(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords that are part of the program (`train=False`), and those that are data (masks, random keys)."""
    data = {
        name: value
        for name, value in keywords.items()
        if any(isinstance(leaf, jax.Array) or hasattr(leaf, "__array__") for leaf in jax.tree.leaves(value))
    }
    return {name: value for name, value in keywords.items() if name not in data}, data


def _interceptor(
    next_function: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
) -> Any:
    module, method = context.module, context.method_name
    # Local functions that a lifted transformation makes methods (the step of `nn.RNN`) are no layers.
    if not module.path or method == "setup" or not hasattr(type(module), method):
        return next_function(*args, **kwargs)
    path = paths.join(*module.path) + ("" if method == "__call__" else f".{method}")
    args, kwargs = _mark_inputs(args, kwargs, path, type(module).__name__)
    return mark(next_function(*args, **kwargs), path, side=OUTPUT, kind=type(module).__name__)


def _mark_inputs(
    args: tuple[Any, ...], kwargs: dict[str, Any], path: str, kind: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Marks the arguments of a layer: one argument as itself, several as a tuple."""
    leaves, structure = jax.tree.flatten((args, kwargs), is_leaf=lambda leaf: leaf is None)
    arrays = [index for index, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]
    if len(arrays) == 1:
        leaves[arrays[0]] = mark(leaves[arrays[0]], path, side=INPUT, kind=kind)
    elif arrays:
        for index, leaf in zip(
            arrays, mark(tuple(leaves[index] for index in arrays), path, side=INPUT, kind=kind), strict=True
        ):
            leaves[index] = leaf
    return jax.tree.unflatten(structure, leaves)


def positional(inputs: Any) -> tuple[Any, ...]:
    """The inputs as positional arguments: a tuple is several inputs."""
    return inputs if type(inputs) is tuple else (inputs,)


class Adapter(abc.ABC):
    """The static part of a model; equal to another of the same class with equal parts."""

    def __init__(self, *parts: Any) -> None:
        self.parts: tuple[Any, ...] = parts
        self._hash = hash((type(self), parts))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and isinstance(other, Adapter) and self.parts == other.parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"

    @abc.abstractmethod
    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        """The outputs of the model."""

    def parameters(self, params: Any) -> dict[str, Any]:
        """The trained parameters by path; the paths of a layer's parameters begin with its own path."""
        return paths.flatten(params)


class LinenAdapter(Adapter):
    """A Linen module; `params` are its variables, all collections."""

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        module, static = (part.value for part in self.parts)
        call = functools.partial(module.apply, params, *positional(inputs), **static, **keywords)
        if not marked:
            outputs = call()
        else:
            with nn.intercept_methods(_interceptor):
                outputs = call()
        return outputs if static.get("mutable", False) is False else outputs[0]

    def parameters(self, params: Any) -> dict[str, Any]:
        return paths.flatten(params.get("params", {}))


class FunctionAdapter(Adapter):
    """Any function `apply(params, inputs)`; Linen modules that it applies have their layers."""

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        function = self.parts[0].value
        if not marked:
            return function(params, inputs)
        with nn.intercept_methods(_interceptor):
            return function(params, inputs)

    def parameters(self, params: Any) -> dict[str, Any]:
        # The variables of a Linen module have their parameters in the collection "params".
        return {path.removeprefix("params/"): leaf for path, leaf in paths.flatten(params).items()}


class NnxAdapter(Adapter):
    """An NNX module; `params` is its state."""

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        module = nnx.merge(self.parts[0].value, params)  # a copy, so that marking leaves the user's module alone
        if marked:
            for path, submodule in list(nnx.iter_modules(module)):
                if path and callable(submodule):  # to nnx.Dict, an attribute is one of its items
                    object.__setattr__(submodule, _PATH, paths.join(*map(str, path)))
                    object.__setattr__(submodule, "__class__", _marking(type(submodule)))
        return module(*positional(inputs), **self.parts[1].value, **keywords)

    def parameters(self, params: Any) -> dict[str, Any]:
        return paths.flatten(nnx.filter_state(params, nnx.Param))


_PATH = "_jaxviz_path"


@functools.cache
def _marking(cls: type) -> type:
    """A subclass whose calls are marked with the path that the instance carries."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        path = getattr(self, _PATH)
        args, kwargs = _mark_inputs(args, kwargs, path, cls.__name__)
        return mark(cls.__call__(self, *args, **kwargs), path, side=OUTPUT, kind=cls.__name__)

    return types.new_class(
        cls.__name__,
        (cls,),
        exec_body=lambda body: body.update(__call__=call, __module__=cls.__module__, __qualname__=cls.__qualname__),
    )


# A dict of variables has at least one of these; bare parameters, passed by mistake, have the names of submodules.
_COLLECTIONS = frozenset({"params", "batch_stats", "cache", "constants"})


def on_device(params: Any) -> Any:
    """Parameters as they are computed with: NumPy's arrays on the device, where else each call would bring them there.

    They are copied: later changes of the arrays are not seen. Those of a type that JAX would change (float64 without
    64-bit types) stay as they are. Arrays of a mesh with explicit axes get automatic ones.
    """

    def bring(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array):
            return automatic(leaf)
        if type(leaf) is not np.ndarray or not (
            jnp.issubdtype(leaf.dtype, jnp.number) or jnp.issubdtype(leaf.dtype, jnp.bool_)
        ):
            return leaf
        return jnp.array(leaf) if jax.dtypes.canonicalize_dtype(leaf.dtype) == leaf.dtype else leaf

    with jax.ensure_compile_time_eval():  # inside `jax.jit`, too, constants stay constants
        return jax.tree.map(bring, params)


def linen(module: nn.Module, variables: Any, keywords: Mapping[str, Any]) -> tuple[LinenAdapter, Any, dict[str, Any]]:
    """The adapter, params and traced keywords of a Linen module."""
    if not isinstance(module, nn.Module):
        hint = "; use Model.from_nnx" if isinstance(module, nnx.Module) else ""
        raise TypeError(f"Model.from_linen: module must be a flax.linen.Module, got {type(module).__name__}{hint}")
    if not isinstance(variables, Mapping):
        raise TypeError(
            f"Model.from_linen: variables must be a dict of collections ({{'params': ...}}), got {type(variables).__name__}"
        )
    collections = all(isinstance(value, Mapping) for value in variables.values())
    if variables and not (collections and variables.keys() & _COLLECTIONS):
        raise ValueError(
            f"Model.from_linen: variables must be a dict of collections, as module.init returns it; it has {list(variables)}. "
            "Pass {'params': params}"
        )
    if module.scope is not None:
        module, _ = module.unbind()
    method = keywords.get("method") or "__call__"
    if isinstance(method, str):
        if not hasattr(type(module), method):
            raise ValueError(f"Model.from_linen: method {method!r} not found in {type(module).__name__}")
        method = getattr(type(module), method)
    static, data = _split_keywords({**evaluation_keywords(method), **keywords})
    return LinenAdapter(Static(module), Static(static)), on_device(dict(variables)), data


def nnx_module(module: nnx.Module, keywords: Mapping[str, Any]) -> tuple[NnxAdapter, Any, dict[str, Any]]:
    """The adapter, params and traced keywords of an NNX module, in evaluation mode."""
    if not isinstance(module, nnx.Module):
        hint = "; use Model.from_linen" if isinstance(module, nn.Module) else ""
        raise TypeError(f"Model.from_nnx: module must be a flax.nnx.Module, got {type(module).__name__}{hint}")
    copy = nnx.merge(*nnx.split(module))
    copy.eval()
    graph, state = nnx.split(copy)
    state = jax.tree.map(lambda leaf: leaf, state)  # variables of its own: the module's change when it is trained
    static, data = _split_keywords({**evaluation_keywords(type(module).__call__), **keywords})
    return NnxAdapter(Static(graph), Static(static)), on_device(state), data


def function(apply: Callable[[Any, Any], Any]) -> FunctionAdapter:
    """The adapter of a function."""
    if not callable(apply) or isinstance(apply, nn.Module | nnx.Module):
        hints = {nn.Module: "; use Model.from_linen", nnx.Module: "; use Model.from_nnx"}
        hint = "".join(text for kind, text in hints.items() if isinstance(apply, kind))
        raise TypeError(
            f"Model.from_function: apply must be a function of (params, inputs), got {type(apply).__name__}{hint}"
        )
    return FunctionAdapter(Static(apply))


def evaluation_keywords(call: Callable[..., Any]) -> dict[str, bool]:
    """What tells a call, by the names of its arguments, that the module is not being trained."""
    try:
        names = set(inspect.signature(call).parameters)
    except (TypeError, ValueError):
        names = set()
    return {name: value for name, value in _EVALUATION.items() if name in names}

"""What a model is called with: its inputs, and the keywords of its module's call, checked before anything is traced."""

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax

from jaxviz.checks import check_choice, given
from jaxviz.program import INPUT, OUTPUT

SIDES = (OUTPUT, INPUT)
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_OF_APPLY = tuple(
    inspect.signature(nn.Module.apply).parameters
)  # `rngs`, `mutable` and the like: not for the module's call


def check_inputs(function: str, inputs: Any, name: str = "inputs") -> None:
    """Raises unless inputs are arrays and nothing else, in whatever structure the model takes them.

    Args:
        function: the name of the caller, for the error message.
        inputs: what is checked; anything with a shape passes for an array.
        name: what the caller calls them.
    """
    leaves = jax.tree.leaves(inputs)
    wrong = [leaf for leaf in leaves if not hasattr(leaf, "shape")]
    if leaves and not wrong:
        return
    found = f"{type(inputs).__name__} with a {type(wrong[0]).__name__} in it" if wrong else given(inputs)
    if wrong and wrong[0] is inputs:
        found = type(inputs).__name__
    raise TypeError(f"{function}: {name} must be an array, or a tuple of arrays for several inputs; got {found}")


def check_layer(function: str, layer: Any, side: Any) -> None:
    """Raises unless layer is a string, and side one of the two."""
    if not isinstance(layer, str):
        raise TypeError(f"{function}: layer must be a path string, got {type(layer).__name__}")
    check_choice(function, "side", side, SIDES)


def check_values(function: str, values: Mapping[Any, Any]) -> None:
    """Raises unless all layers are strings, and all values arrays, numbers or functions."""
    for layer, value in values.items():
        if not isinstance(layer, str):
            raise TypeError(f"{function}: the layers in values must be paths or patterns, got {given(layer)}")
        leaves = [value] if value is None else jax.tree.leaves(value)
        if not callable(value) and not all(
            hasattr(leaf, "shape") or isinstance(leaf, int | float | complex) for leaf in leaves
        ):
            raise TypeError(
                f"{function}: the value of layer {layer!r} must be an array, a number or a function, got {given(value)}"
            )


def check_keywords(function: str, call: Callable[..., Any], keywords: Mapping[str, Any]) -> None:
    """Raises where a module's call does not take a keyword, or needs one that is not given."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):  # it has no signature
        return
    name = getattr(call, "__qualname__", repr(call))
    taken = [parameter.name for parameter in parameters[1:] if parameter.kind in _BY_KEYWORD]
    unknown = [keyword for keyword in keywords if keyword not in (*taken, *_OF_APPLY)]
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        raise TypeError(
            f"{function}: {name} takes no keyword {', '.join(map(repr, unknown))}; it takes {', '.join(taken)}"
        )
    missing = [
        parameter.name
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
        and parameter.default is parameter.empty
        and parameter.name not in keywords
    ]
    if missing:
        how = ", ".join(f"{keyword}=..." for keyword in missing)
        raise TypeError(f"{function}: {name} needs {', '.join(map(repr, missing))}; give {function}(..., {how})")


@contextlib.contextmanager
def calling(function: str) -> Iterator[None]:
    """Adds to Python's own error, where a module's call does not take what it is given, how to give it."""
    try:
        yield
    except TypeError as error:
        if not re.match(r"(\S*\.)?__call__\(\) (missing|takes|got (an unexpected|multiple))", str(error)):
            raise
        raise TypeError(
            f"{function}: {error}. Several inputs are given as a tuple; what else the module's call takes is given by name, "
            "to Model.from_linen or Model.from_nnx"
        ) from error

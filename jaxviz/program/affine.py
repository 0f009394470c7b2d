"""The first affine stretch of a program: what it does to its inputs before anything that is not affine.

On a straight line between two inputs the values of this stretch lie on straight lines, too, and its derivative is the same
everywhere. A method that follows such a line needs the stretch (often the one with the largest feature maps) once forward and
once backward, however many points it looks at.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxviz.program._compat import ClosedJaxpr, Jaxpr, JaxprEqn, bind, closed, subprograms
from jaxviz.program.trace import PLAIN_CALLS
from jaxviz.program.variables import Variables


class _Affine(NamedTuple):
    """A value that is affine in the inputs."""

    value: Any


class _Curved(NamedTuple):
    """A value that depends on the inputs in another way."""

    value: Any


Cut = Callable[[Any], Any]  # takes a value of any kind, and gives what is to be computed with

# Affine in all their operands together.
_JOINTLY = frozenset({"add", "sub", "add_any", "concatenate", "neg", "name", "copy", "pad"})
# Affine in their first operand, the others being constant.
_FIRST = frozenset(
    [
        "broadcast_in_dim",
        "cumsum",
        "div",
        "dynamic_slice",
        "expand_dims",
        "gather",
        "reduce_sum",
        "reduce_window_sum",
        "reshape",
        "rev",
        "slice",
        "squeeze",
        "transpose",
    ]
)
# Affine in one operand, the others being constant.
_ONE = frozenset({"mul", "dot_general", "conv_general_dilated"})


def frontier(function: Callable[..., Any], args: tuple[Any, ...], inputs: Any) -> list[jax.Array]:
    """The values at the end of the first affine stretch of `function(*args, inputs)`.

    Args:
        function: a function of pytrees of arrays.
        args: what it takes beside the inputs.
        inputs: a pytree of floating-point arrays, in which the values are affine.
    """
    values: list[jax.Array] = []

    def cut(affine: _Affine) -> Any:
        values.append(affine.value)
        return jax.lax.stop_gradient(affine.value)  # what follows need not have a derivative

    _run(function, args, inputs, cut)
    return values


def onward(function: Callable[..., Any], args: tuple[Any, ...], inputs: Any, values: list[jax.Array]) -> Any:
    """The outputs of `function(*args, inputs)`, had its first affine stretch ended in other values.

    Args:
        function: as for `frontier`.
        args: likewise.
        inputs: likewise; of these only shapes and dtypes matter.
        values: in place of what `frontier` gives.
    """
    remaining = iter(values)
    return _run(function, args, inputs, lambda affine: next(remaining))


def _run(function: Callable[..., Any], args: tuple[Any, ...], inputs: Any, cut: Callable[[_Affine], Any]) -> Any:
    jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*args, inputs)
    constant, varying = jax.tree.leaves(args), jax.tree.leaves(inputs)
    seen: dict[int, tuple[_Affine, Any]] = {}  # a value that is used twice is cut once

    def once(value: Any) -> Any:
        if isinstance(value, _Curved):
            return value.value
        if not isinstance(value, _Affine):
            return value
        if id(value) not in seen:
            seen[id(value)] = value, cut(value)
        return seen[id(value)][1]

    results = _evaluate(jaxpr, [*constant, *map(_Affine, varying)], once)
    return jax.tree.unflatten(jax.tree.structure(shape), list(map(once, results)))


def _evaluate(jaxpr: ClosedJaxpr | Jaxpr, args: list[Any], cut: Cut) -> list[Any]:
    jaxpr, consts = closed(jaxpr)
    variables = Variables.of(jaxpr, consts, args)
    for equation in jaxpr.eqns:
        operands = variables.operands(equation)
        varying = [isinstance(operand, _Affine | _Curved) for operand in operands]
        curved = any(isinstance(operand, _Curved) for operand in operands)
        if not any(varying):
            results = bind(equation, operands)
        elif equation.primitive.name in PLAIN_CALLS:
            results = _evaluate(subprograms(equation)[0], operands, cut)
        elif not curved and _is_affine(equation, varying):
            plain = [operand.value if isinstance(operand, _Affine) else operand for operand in operands]
            results = list(map(_Affine, bind(equation, plain)))
        else:
            results = list(map(_Curved, bind(equation, list(map(cut, operands)))))
        variables.write(results, equation)
    return variables.read(jaxpr.outvars)


def _is_affine(equation: JaxprEqn, varying: list[bool]) -> bool:
    """Whether an equation is affine in its varying operands."""
    if not equation.outvars:  # an effect, such as that of `jax.debug.print`
        return False
    name = equation.primitive.name
    operand: Any = equation.invars[0].aval
    result: Any = equation.outvars[0].aval
    if not jnp.issubdtype(result.dtype, jnp.floating):
        return False
    if name in _JOINTLY:
        return True
    if name in _FIRST:
        return not any(varying[1:])
    if name in _ONE:
        return sum(varying) == 1
    if name == "select_n":
        return not varying[0]
    if name == "convert_element_type":  # to a narrower dtype values are rounded
        old, new = (jnp.finfo(dtype) for dtype in (operand.dtype, equation.params["new_dtype"]))
        return new.nmant >= old.nmant and new.maxexp >= old.maxexp
    return False

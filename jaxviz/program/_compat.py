"""All contact with JAX's program representation, and what differs between its versions."""

from typing import Any

import jax
from jax.extend import core
from jax.extend.core import primitives

ClosedJaxpr = core.ClosedJaxpr
Jaxpr = core.Jaxpr
JaxprEqn = core.JaxprEqn
Literal = core.Literal
Var = core.Var

# The names of JAX's primitives.
PRIMITIVES = frozenset(getattr(primitives, name).name for name in dir(primitives) if name.endswith("_p"))


def closed(jaxpr: ClosedJaxpr | Jaxpr) -> tuple[Jaxpr, list[Any]]:
    """A program and the values of its constants; some primitives hold an open program, which has none."""
    if isinstance(jaxpr, ClosedJaxpr):
        return jaxpr.jaxpr, list(jaxpr.consts)
    return jaxpr, []


def bind(equation: JaxprEqn, values: list[Any]) -> list[Any]:
    """Executes one equation as it stands."""
    outputs = equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def scan_groups(params: dict[str, Any]) -> tuple[int, int]:
    """The number of constants and of carried values of a scan equation."""
    if "num_carry" in params:
        return params["num_consts"], params["num_carry"]
    constants, carry, _ = params["ft_in"].unpack()  # jax 0.11 and later
    return len(list(constants)), len(list(carry))


def subprograms(equation: JaxprEqn) -> list[ClosedJaxpr | Jaxpr]:
    """The programs that an equation's parameters hold."""
    params = equation.params
    if equation.primitive.name == "while":  # in order of execution
        return [params["cond_jaxpr"], params["body_jaxpr"]]
    groups = [value if isinstance(value, tuple | list) else (value,) for value in params.values()]
    return [item for group in groups for item in group if isinstance(item, ClosedJaxpr | Jaxpr)]


def is_array(value: Any) -> bool:
    """Whether a value can carry a name in the program: a JAX array that is not a random key."""
    return isinstance(value, jax.Array) and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended)


def called(equation: JaxprEqn) -> str:
    """The name of the function that a call primitive calls."""
    name = equation.params.get("name")
    if isinstance(name, str):
        return name
    return next((closed(program)[0].debug_info.func_name for program in subprograms(equation)), "")


def is_top_level() -> bool:
    """Whether what is called now is executed at once, not traced into another program or transformed."""
    return type(core.find_top_trace(())).__name__ == "EvalTrace"  # of this thread, whatever the arguments

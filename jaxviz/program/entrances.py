"""Entrances: what the arguments of a program enter first, whatever shape they are brought into before."""

from collections.abc import Iterable

from jaxviz.program._compat import ClosedJaxpr, Jaxpr, Literal, closed, subprograms
from jaxviz.program.trace import INLINE

# What hands its operand on as it is, in another shape.
_SHAPES = frozenset({"broadcast_in_dim", "copy", "name", "reshape", "squeeze", "transpose"})


def entrances(program: ClosedJaxpr | Jaxpr, entering: Iterable[bool]) -> frozenset[str]:
    """The names of the primitives that some arguments enter first, calls gone into; a result among them is `"result"`.

    Args:
        program: the program.
        entering: for each argument, whether it is one of those.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> program = jax.make_jaxpr(lambda a, b: a.T @ b + jnp.tanh(b).sum())(jnp.ones((2, 3)), jnp.ones((2, 3)))
        >>> sorted(entrances(program, [True, False])), sorted(entrances(program, [False, True]))
        (['dot_general'], ['dot_general', 'tanh'])
    """
    jaxpr = closed(program)[0]
    given = {var for var, enters in zip(jaxpr.invars, entering, strict=True) if enters}
    is_given = lambda atom: not isinstance(atom, Literal) and atom in given
    found: set[str] = {"result"} if any(map(is_given, jaxpr.outvars)) else set()
    for equation in jaxpr.eqns:
        operands = list(map(is_given, equation.invars))
        if not any(operands):
            continue
        name = equation.primitive.name
        if name in _SHAPES:
            given.update(equation.outvars)
            found |= {"result"} if any(map(is_given, jaxpr.outvars)) else set()
        elif name in INLINE:
            found |= entrances(subprograms(equation)[0], operands)
        else:
            found.add(name)
    return frozenset(found)

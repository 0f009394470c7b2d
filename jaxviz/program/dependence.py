"""Dependence: which results of a program are computed from which of its arguments."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jaxviz.program._compat import Jaxpr, JaxprEqn, Literal, closed, scan_groups, subprograms
from jaxviz.program.trace import CALLS, INLINE

# Says of an equation that is reached whether something passes through it to one of its results, a variable.
Passes = Callable[[JaxprEqn, Any], bool]


def reached(jaxpr: Jaxpr, entering: Iterable[bool], passes: Passes = lambda equation, result: True) -> list[bool]:
    """Which results of a program depend on some of its arguments, calls, loops and branches gone into.

    Args:
        jaxpr: the program.
        entering: for each argument, whether it is one of those.
        passes: leaves equations out; by default all of them count. Of calls that are gone into, the equations inside are asked.

    Example:
        >>> import jax
        >>> jaxpr = jax.make_jaxpr(lambda a, b: (jax.jit(lambda x, y: (x, 2 * y))(a, b), 3))(1.0, 1.0).jaxpr
        >>> reached(jaxpr, [True, False])
        [True, False, False]
    """
    late = {var for var, enters in zip(jaxpr.invars, entering, strict=True) if enters}

    def depends(atoms: Iterable[Any]) -> list[bool]:
        return [not isinstance(atom, Literal) and atom in late for atom in atoms]

    for equation in jaxpr.eqns:
        operands = depends(equation.invars)
        if any(operands):
            results = _through(equation, operands, passes)
            late.update(var for var, is_reached in zip(equation.outvars, results, strict=True) if is_reached)
    return depends(jaxpr.outvars)


def _through(equation: JaxprEqn, operands: list[bool], passes: Passes) -> Sequence[bool]:
    """Which results of an equation depend on those operands."""
    name = equation.primitive.name
    if name not in CALLS:
        return [passes(equation, result) for result in equation.outvars]
    inner = [closed(program)[0] for program in subprograms(equation)]
    if name == "scan":
        constants, carried = scan_groups(equation.params)
        return _loop(inner[0], operands[:constants], operands[constants:], carried, passes)
    if name == "while":
        count = equation.params["cond_nconsts"], equation.params["body_nconsts"]
        return _while(inner[0], inner[1], operands, count, passes)
    if name == "cond":
        index, *rest = operands
        branches = [reached(branch, rest, passes) for branch in inner]
        # The choice among branches has no derivative, but the results depend on it.
        chosen = [index and passes(equation, result) for result in equation.outvars]
        return [any(results) for results in zip(*branches, chosen, strict=True)]
    return reached(inner[0], operands, passes)


def _loop(body: Jaxpr, constants: list[bool], entering: list[bool], carried: int, passes: Passes) -> list[bool]:
    """A loop whose body gives its first operands anew: until no more of them are reached."""
    carry, rest = entering[:carried], entering[carried:]
    while True:
        results = reached(body, [*constants, *carry, *rest], passes)
        grown = [before or after for before, after in zip(carry, results, strict=False)]
        if grown == carry:
            return [*carry, *results[carried:]]
        carry = grown


def _while(
    condition: Jaxpr, body: Jaxpr, operands: list[bool], count: tuple[int, int], passes: Passes
) -> Sequence[bool]:
    of_condition, of_body = operands[: count[0]], operands[count[0] : sum(count)]
    carry = _loop(body, of_body, operands[sum(count) :], len(operands) - sum(count), passes)
    # All results depend on how often the loop runs.
    if any(reached(condition, [*of_condition, *carry])):
        return [True] * len(carry)
    return carry


# What is known of a value after one of these is the value itself, in another form.
FORMS = frozenset(
    {"broadcast_in_dim", "convert_element_type", "copy", "name", "reduce_precision", "reshape", "squeeze", "transpose"}
)


def last_primitive(jaxpr: Jaxpr, atom: Any) -> str:
    """The name of the primitive that a value is the result of, changes of its form left out; empty for an argument."""
    if isinstance(atom, Literal):
        return ""
    for equation in reversed(jaxpr.eqns):
        if atom not in equation.outvars:
            continue
        name = equation.primitive.name
        if name in FORMS:
            return last_primitive(jaxpr, equation.invars[0])
        if name in INLINE:
            inner = closed(subprograms(equation)[0])[0]
            result = inner.outvars[equation.outvars.index(atom)]
            if result in inner.invars:
                return last_primitive(jaxpr, equation.invars[inner.invars.index(result)])
            return last_primitive(inner, result)
        return name
    return ""

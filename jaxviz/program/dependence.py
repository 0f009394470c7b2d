"""Dependence: which results of a program are computed from which of its arguments."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

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
    if name in LOOPS:

        def run(place: int, entering: list[bool]) -> list[bool]:
            if name == "while" and place == 0:  # the condition: it passes nothing on, but the results depend on it
                return reached(inner[place], entering)
            return reached(inner[place], entering, passes)

        return through_loop(equation, operands, run)
    if name == "cond":
        index, *rest = operands
        branches = [reached(branch, rest, passes) for branch in inner]
        # The choice among branches has no derivative, but the results depend on it.
        chosen = [index and passes(equation, result) for result in equation.outvars]
        return [any(results) for results in zip(*branches, chosen, strict=True)]
    return reached(inner[0], operands, passes)


LOOPS = frozenset({"scan", "while"})

Known: TypeAlias = Any  # what is known of a value, a bool or a set; `|` joins what is known of two


def through_loop(
    equation: JaxprEqn, operands: Sequence[Known], run: Callable[[int, list[Known]], Sequence[Known]]
) -> list[Known]:
    """What is known of the results of a scan or a while loop, whose bodies give some of their operands anew.

    Args:
        equation: the loop.
        operands: what is known of its operands.
        run: of the number of an inner program and of what is known of its operands, what is known of its results.
    """
    operands = list(operands)
    if equation.primitive.name == "scan":
        constants, carried = scan_groups(equation.params)
        return _until_settled(functools.partial(run, 0), operands[:constants], operands[constants:], carried)
    of_condition, of_body = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    entering = operands[of_condition + of_body :]
    constant = operands[of_condition : of_condition + of_body]
    carry = _until_settled(functools.partial(run, 1), constant, entering, len(entering))
    # All results depend on how often the loop runs.
    (often,) = run(0, [*operands[:of_condition], *carry])
    return [value | often for value in carry]


def _until_settled(
    run: Callable[[list[Known]], Sequence[Known]], constants: list[Known], entering: list[Known], carried: int
) -> list[Known]:
    """A body that gives its first operands anew: until no more becomes known of them."""
    carry, rest = entering[:carried], entering[carried:]
    while True:
        results = run([*constants, *carry, *rest])
        grown = [before | after for before, after in zip(carry, results, strict=False)]
        if grown == carry:
            return [*carry, *results[carried:]]
        carry = grown


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

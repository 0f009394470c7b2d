"""Going back through a traced program from a value to what it is made of, by what is done to its numbers on the way."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from jaxviz.program._compat import JaxprEqn
from jaxviz.program.flow import Flow, Place, Value, inner

# Gives what is found at an equation, and what else to look at: atoms, each with a state of its own.
Visit = Callable[[Flow, Any, JaxprEqn, int, Any], tuple[Any, Iterable[tuple[Any, Any]]]]


def search(flow: Flow, value: Value, state: Any, visit: Visit) -> tuple[list[tuple[Place, Any]], Any]:
    """Goes back from a value, depth first: the places on the way, each with its state, and what was found at the last."""
    seen = set()

    def go(value: Value, state: Any) -> tuple[list[tuple[Place, Any]], Any]:
        value = flow.source(value)
        place = flow.place(value)
        if place is None or (value, state) in seen:
            return [], None
        seen.add((value, state))
        result = inner(place)
        pending: Iterable[tuple[Value, Any]] = ()
        found = None
        if result is not None:
            pending = [(result, state)]
        elif not place.step.nodes:
            found, atoms = visit(flow, value.node, flow.equation(place), place.result, state)
            pending = [(Value(value.node, atom), state) for atom, state in atoms]
        if found is not None:
            return [(place, state)], found
        for earlier, its_state in pending:
            path, found = go(earlier, its_state)
            if found is not None:
                return [(place, state), *path], found
        return [], None

    return go(value, state)


# What leaves every number where it is.
PLAIN = frozenset(
    [
        "convert_element_type",
        "copy",
        "div",
        "mul",
        "name",
        "optimization_barrier",
        "reduce_precision",
        "select_n",
        "sharding_constraint",
        "stop_gradient",
    ]
)


# Of an axis of an equation's result, the axis of its operand; None if the operand has none for it.
Axis = Callable[[int], int | None]


def passed(equation: JaxprEqn, index: int) -> list[tuple[Any, Axis, bool]]:
    """The operands whose numbers an equation passes on: where they have each axis, and whether all numbers stay in place."""
    name, params = equation.primitive.name, equation.params
    first = equation.invars[0]
    if name in PLAIN:
        return [(atom, lambda axis: axis, True) for atom in alike(equation, index)]
    if name == "transpose":
        return [(first, lambda axis: params["permutation"][axis], False)]
    if name == "broadcast_in_dim":
        places = {int(place): axis for axis, place in enumerate(params["broadcast_dimensions"])}
        return [(first, places.get, False)]
    if name == "squeeze":
        kept = [axis for axis in range(len(shape(first))) if axis not in params["dimensions"]]
        return [(first, kept.__getitem__, False)]
    if name == "reshape":
        before, after = _stretches(shape(first)), _stretches(shape(equation.outvars[0]))
        return [(first, lambda axis: before.index(after[axis]) if after[axis] in before else None, False)]
    return [(first, lambda axis: axis, False)] if name == "slice" else []


def _stretches(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Of each axis its length, and how many entries all axes before it have: equal where a reshape leaves an axis as it is."""
    return [(math.prod(shape[:axis]), length) for axis, length in enumerate(shape)]


def alike(equation: JaxprEqn, index: int) -> list[Any]:
    """The operands, of the result's shape, of an equation that leaves every number where it is."""
    atoms: list[Any] = list(equation.invars)
    if len(equation.outvars) > 1:
        atoms = [atoms[index]]
    elif equation.primitive.name == "select_n":
        atoms = atoms[1:]
    elif equation.primitive.name == "div":
        atoms = atoms[:1]
    return [atom for atom in atoms if shape(atom) == shape(equation.outvars[min(index, len(equation.outvars) - 1)])]


def shape(atom: Any) -> tuple[int, ...]:
    """The shape of a variable or a literal."""
    return tuple(atom.aval.shape)

"""Attention in a traced program: a softmax over the axis that a product contracts with values."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxviz.program import OUTPUT, Key
from jaxviz.program._compat import JaxprEqn, Literal
from jaxviz.program.flow import Flow, Place, Value, inner


class Attention(NamedTuple):
    """Weights that a product contracts with values.

    Attributes:
        place: where the weights are made, as the product takes them.
        key: the tag by which they are a layer, or None.
        layer: the path of the layer in which the product stands; empty outside of all layers.
        keys: the axis over which they are a softmax.
        shared: the axes that they share with the values: the batch, and most often the heads.
        free: the axes that the values do not have: the queries among them.
        logits: the operands of the product, of queries and keys, that the softmax is of; None if it is not found.
    """

    place: Place
    key: Key | None
    layer: str
    keys: int
    shared: tuple[int, ...]
    free: tuple[int, ...]
    logits: tuple[Value, Value] | None


def attentions(flow: Flow) -> list[Attention]:
    """All attention of a program, in the order of the products."""
    found: list[Attention] = []
    known: list[list[Place]] = []  # for each, the places at which its weights have the form that they are found in
    for node, step in flow.steps:
        equation = step.equations[0]
        if equation.primitive.name != "dot_general":
            continue
        for side, atom in enumerate(equation.invars):
            contracted, shared = (axes[side] for axes in equation.params["dimension_numbers"])
            free = tuple(axis for axis in range(_rank(atom)) if axis not in {*contracted, *shared})
            if not (free and shared):  # every example has values of its own, and every query its weights
                continue
            for axis in contracted:
                path, softmax = _search(flow, Value(node, atom), (axis, True), _visit)
                if softmax is None:
                    continue
                plain = [place for place, (_, plain) in path if plain]
                twice = next((index for index, places in enumerate(known) if not set(plain).isdisjoint(places)), None)
                if twice is not None:  # weights of two products are marked where both take them from
                    common = [place for place in known[twice] if place in plain]
                    known[twice] = common
                    found[twice] = found[twice]._replace(place=common[0])
                    continue
                known.append(plain)
                layer = step.where.layer.partition("#")[0]
                logits = _search(flow, softmax, None, _logits)[1]
                found.append(Attention(plain[0], _tag(plain), layer, int(axis), tuple(map(int, shared)), free, logits))
    return found


def _tag(places: list[Place]) -> Key | None:
    for place in places:
        site = place.step.site
        if site is not None and site.structure.kind == "tag" and site.key.side == OUTPUT and len(site.leaves) == 1:
            return site.key
    return None


# Gives what is found at an equation, and what else to look at: atoms, each with a state of its own.
Visit = Callable[[Flow, Any, JaxprEqn, int, Any], tuple[Any, Iterable[tuple[Any, Any]]]]


def _search(flow: Flow, value: Value, state: Any, visit: Visit) -> tuple[list[tuple[Place, Any]], Any]:
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
_PLAIN = frozenset(
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


def _visit(flow: Flow, node: Any, equation: JaxprEqn, index: int, state: Any) -> tuple[Any, Any]:
    """Looks for a softmax over an axis. The state: which axis it is here, and whether the numbers are still where they were."""
    axis, plain = state
    logits = _exponent(flow, node, equation, axis)
    if logits is not None:
        return logits, ()
    return None, [(atom, (moved, plain and same)) for atom, moved, same in _passed(equation, index, axis)]


def _passed(equation: JaxprEqn, index: int, axis: int) -> list[tuple[Any, int, bool]]:
    """The operands whose numbers an equation passes on, each with the axis in it, and whether they stay where they are."""
    name, params = equation.primitive.name, equation.params
    first = equation.invars[0]
    if name in _PLAIN:
        return [(atom, axis, True) for atom in _alike(equation, index)]
    if name == "transpose":
        return [(first, params["permutation"][axis], False)]
    if name == "broadcast_in_dim" and axis in params["broadcast_dimensions"]:
        return [(first, list(params["broadcast_dimensions"]).index(axis), False)]
    if name == "reshape":
        before, after = _shape(first), _shape(equation.outvars[0])
        where = (math.prod(after[:axis]), after[axis])
        found = [place for place in range(len(before)) if (math.prod(before[:place]), before[place]) == where]
        return [(first, place, False) for place in found[:1]]
    if name == "squeeze":
        kept = [place for place in range(_rank(first)) if place not in params["dimensions"]]
        return [(first, kept[axis], False)]
    return [(first, axis, False)] if name == "slice" else []


def _alike(equation: JaxprEqn, index: int) -> list[Any]:
    """The operands, of the result's shape, of an equation that leaves every number where it is."""
    atoms: list[Any] = list(equation.invars)
    if len(equation.outvars) > 1:
        atoms = [atoms[index]]
    elif equation.primitive.name == "select_n":
        atoms = atoms[1:]
    elif equation.primitive.name == "div":
        atoms = atoms[:1]
    return [atom for atom in atoms if _shape(atom) == _shape(equation.outvars[min(index, len(equation.outvars) - 1)])]


def _exponent(flow: Flow, node: Any, equation: JaxprEqn, axis: int) -> Value | None:
    """The exponent of a softmax over an axis, if an equation is its last: `e / sum(e)`, or `exp(x - log(sum(e)))`."""
    name = equation.primitive.name
    operands = [Value(node, atom) for atom in equation.invars]
    if name in ("div", "mul"):
        pairs = [operands, operands[::-1]] if name == "mul" else [operands]
        for part, total in pairs:
            exponent = _search(flow, part, None, _exponential)[1]
            if exponent is not None and _search(flow, total, (axis, exponent), _sum)[1] is not None:
                return exponent
    elif name in ("exp", "exp2"):
        return _search(flow, operands[0], axis, _normalized)[1]
    return None


def _exponential(flow: Flow, node: Any, equation: JaxprEqn, index: int, state: Any) -> tuple[Value | None, Any]:
    """Looks for an exponential: its operand."""
    if equation.primitive.name in ("exp", "exp2"):
        return flow.source(Value(node, equation.invars[0])), ()
    return None, [(atom, state) for atom in _alike(equation, index)] if equation.primitive.name in _PLAIN else ()


def _normalized(flow: Flow, node: Any, equation: JaxprEqn, index: int, axis: int) -> tuple[Value | None, Any]:
    """Looks for a difference whose second part is the logarithm of a sum over an axis: its first part."""
    if equation.primitive.name == "sub":
        part, total = (Value(node, atom) for atom in equation.invars)
        if _search(flow, total, (axis, None), _sum)[1] is not None:
            return flow.source(part), ()
    return None, [(atom, axis) for atom in _alike(equation, index)] if equation.primitive.name in _PLAIN else ()


# What a sum goes through before it divides.
_AFTER_SUM = frozenset(["abs", "add", "broadcast_in_dim", "integer_pow", "log", "max", "reshape", "squeeze"]) | _PLAIN


def _sum(flow: Flow, node: Any, equation: JaxprEqn, index: int, state: Any) -> tuple[bool | None, Any]:
    """Looks for the sum over an axis of the exponential of a value; of any value where that is None."""
    axis, exponent = state
    name = equation.primitive.name
    if name == "reduce_sum" and tuple(map(int, equation.params["axes"])) == (axis,):
        summed = _search(flow, Value(node, equation.invars[0]), None, _exponential)[1]
        if summed is not None and exponent in (None, summed):
            return True, ()
    return None, [(atom, state) for atom in equation.invars] if name in _AFTER_SUM else ()


# What queries times keys go through before they are exponents: scales, masks, biases, caps.
_AFTER_PRODUCT = frozenset(["add", "broadcast_in_dim", "max", "min", "reshape", "sub", "tanh", "transpose"]) | _PLAIN


def _logits(
    flow: Flow, node: Any, equation: JaxprEqn, index: int, state: Any
) -> tuple[tuple[Value, Value] | None, Any]:
    """Looks for the product of queries and keys: its operands."""
    name = equation.primitive.name
    if name == "dot_general":
        one, other = (Value(node, atom) for atom in equation.invars)
        return (one, other), ()
    if name not in _AFTER_PRODUCT:
        return None, ()
    return None, [(atom, state) for atom in (equation.invars[1:] if name == "select_n" else equation.invars)]


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(atom.aval.shape)


def _rank(atom: Any) -> int:
    return 0 if isinstance(atom, Literal) else len(_shape(atom))

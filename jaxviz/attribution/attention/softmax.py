"""A softmax in a traced program, however it is written."""

from typing import Any

from jaxviz.attribution.attention.search import PLAIN, alike, search
from jaxviz.program._compat import JaxprEqn
from jaxviz.program.flow import Flow, Value


def softmax(flow: Flow, node: Any, equation: JaxprEqn, axis: int) -> Value | None:
    """The exponent of a softmax over an axis, if an equation is its last: `e / sum(e)`, or `exp(x - log(sum(e)))`."""
    name = equation.primitive.name
    operands = [Value(node, atom) for atom in equation.invars]
    if name in ("div", "mul"):
        pairs = [operands, operands[::-1]] if name == "mul" else [operands]
        for part, total in pairs:
            exponent = search(flow, part, None, _exponential)[1]
            if exponent is not None and search(flow, total, (axis, exponent), _sum)[1] is not None:
                return exponent
    elif name in ("exp", "exp2"):
        return search(flow, operands[0], axis, _normalized)[1]
    return None


def _exponential(flow: Flow, node: Any, equation: JaxprEqn, index: int, state: Any) -> tuple[Value | None, Any]:
    """Looks for an exponential: its operand."""
    if equation.primitive.name in ("exp", "exp2"):
        return flow.source(Value(node, equation.invars[0])), ()
    return None, [(atom, state) for atom in alike(equation, index)] if equation.primitive.name in PLAIN else ()


def _normalized(flow: Flow, node: Any, equation: JaxprEqn, index: int, axis: int) -> tuple[Value | None, Any]:
    """Looks for a difference whose second part is the logarithm of a sum over an axis: its first part."""
    if equation.primitive.name == "sub":
        part, total = (Value(node, atom) for atom in equation.invars)
        if search(flow, total, (axis, None), _sum)[1] is not None:
            return flow.source(part), ()
    return None, [(atom, axis) for atom in alike(equation, index)] if equation.primitive.name in PLAIN else ()


# What a sum goes through before it divides.
_AFTER_SUM = frozenset(["abs", "add", "broadcast_in_dim", "integer_pow", "log", "max", "reshape", "squeeze"]) | PLAIN


def _sum(flow: Flow, node: Any, equation: JaxprEqn, index: int, state: Any) -> tuple[bool | None, Any]:
    """Looks for the sum over an axis of the exponential of a value; of any value where that is None."""
    axis, exponent = state
    name = equation.primitive.name
    if name == "reduce_sum" and tuple(map(int, equation.params["axes"])) == (axis,):
        summed = search(flow, Value(node, equation.invars[0]), None, _exponential)[1]
        if summed is not None and exponent in (None, summed):
            return True, ()
    return None, [(atom, state) for atom in equation.invars] if name in _AFTER_SUM else ()

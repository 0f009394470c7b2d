"""Which function a value is the result of, as the traced program says it."""

from typing import Any

from jaxviz.attribution.attention.search import passed, search
from jaxviz.attribution.attention.softmax import softmax
from jaxviz.program import Key
from jaxviz.program._compat import JaxprEqn, Literal
from jaxviz.program.dependence import FORMS
from jaxviz.program.flow import Flow, Value


def of_outputs(flow: Flow) -> str:
    """The function that the first of the outputs is the result of: see `of_value`."""
    return of_value(flow, Value(flow.root, flow.root.jaxpr.outvars[0]))


def of_layer(flow: Flow, key: Key) -> str:
    """The function that a layer's value, its first array, is the result of: see `of_value`."""
    for node, step in flow.steps:
        if step.site is not None and step.site.key == key:
            return of_value(flow, Value(node, step.equations[0].invars[0]))
    return ""


def of_value(flow: Flow, value: Value) -> str:
    """`"softmax"` (over the last axis), `"sigmoid"`, `"tanh"` or `"relu"` (also one that is cut above); else empty."""
    return search(flow, value, len(value.atom.aval.shape) - 1, _visit)[1] or ""


def _visit(flow: Flow, node: Any, equation: JaxprEqn, index: int, axis: int | None) -> tuple[str | None, Any]:
    name = equation.primitive.name
    operands = [Value(node, atom) for atom in equation.invars]
    if name == "logistic" or (
        name == "div" and _is(flow, operands[0], 1) and _is_one_and_exponential(flow, operands[1])
    ):
        return "sigmoid", ()
    if name == "tanh":
        return "tanh", ()
    if name == "max" and any(_is(flow, operand, 0) for operand in operands):
        return "relu", ()
    if name == "min" and any(of_value(flow, operand) == "relu" for operand in operands):
        return "relu", ()
    if axis is not None and softmax(flow, node, equation, axis) is not None:
        return "softmax", ()
    if name == "select_n":  # a mask, if all but one of its cases are 0
        cases = [operand.atom for operand in operands[1:] if not _is(flow, operand, 0)]
        return None, [(atom, axis) for atom in cases] if len(cases) == 1 else ()
    if name not in FORMS:
        return None, ()
    return None, [(atom, None if axis is None else before(axis)) for atom, before, _ in passed(equation, index)]


def _is_one_and_exponential(flow: Flow, value: Value) -> bool:
    """Whether a value is `1 + exp(...)`."""
    place = flow.place(value)
    if place is None or place.step.nodes or flow.equation(place).primitive.name != "add":
        return False
    operands = [Value(flow.source(value).node, atom) for atom in flow.equation(place).invars]
    for one, other in (operands, operands[::-1]):
        there = flow.place(other)
        if _is(flow, one, 1) and there is not None and flow.equation(there).primitive.name in ("exp", "exp2"):
            return True
    return False


def _is(flow: Flow, value: Value, number: int) -> bool:
    """Whether a value is that number, written in the program."""
    value = flow.source(value)
    if isinstance(value.atom, Literal):
        return bool(value.atom.val == number)
    place = flow.place(value)
    if place is None or place.step.nodes or flow.equation(place).primitive.name not in FORMS:
        return False
    return _is(flow, Value(value.node, flow.equation(place).invars[0]), number)

"""LRP of what moves and selects values: relevance goes the way of the derivative."""

from typing import Any

from jaxviz.attribution.rules.assignment import Assignment
from jaxviz.attribution.rules.elementwise import elementwise, spread
from jaxviz.attribution.rules.pending import (
    Pointwise,
    Raw,
    Stretch,
    bare,
    common_source,
    is_active,
    is_inexact,
    plain,
    with_rule,
)
from jaxviz.program import Active, Where
from jaxviz.program._compat import JaxprEqn, bind

_LIGHT = frozenset(
    {"broadcast_in_dim", "convert_element_type", "copy", "expand_dims", "reshape", "squeeze", "transpose"}
)
MOVES = " ".join(sorted(_LIGHT)) + (
    " concatenate copy_p device_put dynamic_slice dynamic_update_slice gather layout_constraint optimization_barrier pad pvary "
    "reshard rev scatter sharding_constraint slice sort split stack tile unstack"
)
# The derivative of these chooses: the winner takes all.
SELECTIONS = (
    "argmax argmin cummax cummin max min reduce_and reduce_max reduce_min reduce_or reduce_window_max reduce_window_min select_n "
    "top_k"
)


def move(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of what moves values; a light move leaves open what its operand was gathered for."""
    if len(operands) == 1 and equation.primitive.name in _LIGHT:
        (operand,) = operands
        if isinstance(operand, Stretch):
            return [operand.moved(lambda value: bind(equation, [value])[0])]
        settled = with_rule(operand)
        return [type(settled)(*bind(equation, [settled.value]))]
    return select(assignment, equation, operands, where)


def select(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """The rule of what chooses among values."""
    name = equation.primitive.name
    if name in ("max", "min") and not all(map(is_active, operands)):
        return elementwise(assignment, equation, operands, where)
    if name in ("max", "min", "select_n"):
        cases = operands[1:] if name == "select_n" else operands
        aval: Any = equation.outvars[0].aval
        cases = [spread(case, aval.shape) for case in cases]
        source = common_source(cases) if all(map(is_active, cases)) else None
        if source is not None:
            return [Pointwise(bind(equation, list(map(bare, operands)))[0], source)]
    results = bind(equation, list(map(plain, operands)))
    is_raw = all(isinstance(operand, Raw) for operand in operands if is_active(operand))
    return [(Raw if is_raw else Active)(value) if is_inexact(value) else value for value in results]

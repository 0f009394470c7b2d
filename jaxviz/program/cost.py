"""What an equation costs: floating-point operations, by the shapes of its operands."""

import math
from typing import Any

from jaxviz.program._compat import JaxprEqn, closed, subprograms


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# One operation per element of the output. A transcendental function counts as one operation, as in XLA's own estimate.
ELEMENTWISE = _names(
    """abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp cos cosh digamma div eq erf erf_inv erfc exp
    exp2 expm1 floor ge gt integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or pow rem
    round rsqrt select_n sign sin sinh sqrt square sub tan tanh xor"""
)
# One operation per element of the input.
_REDUCTIONS = _names(
    """argmax argmin cumlogsumexp cummax cummin cumprod cumsum reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
    reduce_xor"""
)


def flops(equation: JaxprEqn) -> int:
    """Floating-point operations of one equation; a multiplication and an addition count as two.

    Data movement (reshape, transpose, gather, ...) counts as none. Of a call those of the program inside count: of a scan as
    often as it is executed, of branches those of the dearest, of a while loop, whose length is not known, those of one step.
    """
    name = equation.primitive.name
    operands: list[Any] = [atom.aval for atom in equation.invars]
    output: Any = equation.outvars[0].aval if equation.outvars else None
    if name in ELEMENTWISE:
        return math.prod(output.shape)
    if name in _REDUCTIONS:
        return math.prod(operands[0].shape)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * math.prod(output.shape) * math.prod(operands[0].shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = operands[1]
        out_channels = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
        return 2 * math.prod(output.shape) * math.prod(kernel.shape) // out_channels
    if name.startswith("reduce_window"):
        return math.prod(output.shape) * math.prod(equation.params["window_dimensions"])
    inside = [sum(map(flops, closed(program)[0].eqns)) for program in subprograms(equation)]
    if name == "cond":
        return max(inside)
    return sum(inside) * (equation.params["length"] if name == "scan" else 1)

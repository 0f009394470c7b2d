"""What DeepLIFT does with an operation that has no rule of its own kind: shares by the mean derivative, or no shares."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.rules.pairs import Pair, both, is_float, pair, ratio, references, shared, values
from jaxviz.program import Where
from jaxviz.program._compat import JaxprEqn, bind


def follow(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """Of integers and indices: the results, with no shares. They are constants to what follows."""
    return [pair(*results) for results in zip(*both(equation, operands), strict=True)]


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)


def mean_derivative(equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """Any differentiable operation: its mean derivative between baseline and inputs, scaled so that it is complete.

    These are integrated gradients of this one operation, with 4 points; the scale, one for each element of the result, makes up
    for the error of the quadrature. In a choice of elements, the indices are half of the time those at the inputs.
    """
    active = [index for index, operand in enumerate(operands) if isinstance(operand, Pair) and is_float(operand.value)]
    results, reference = both(equation, operands)
    floats = [index for index, result in enumerate(results) if is_float(result)]
    if not active or not floats:
        return follow(equation, operands, where)
    differences = [operands[index].difference for index in active]

    def mean(equation: JaxprEqn, constants: Any, directions: list[Any]) -> list[Any]:
        scales, ends, starts = constants
        totals: list[Any] = [0.0] * len(floats)
        for node, weight in zip((1 + _NODES) / 2, _WEIGHTS / 2, strict=True):
            place = list(ends if node > 0.5 else starts)  # indices have nothing in between

            def function(*data: Any, place: list[Any] = place) -> list[Any]:
                for index, each in zip(active, data, strict=True):
                    place[index] = each
                return [bind(equation, place)[number] for number in floats]

            point = [starts[index] + (ends[index] - starts[index]) * float(node) for index in active]
            tangents = jax.jvp(function, point, directions)[1]
            totals = [total + float(weight) * tangent for total, tangent in zip(totals, tangents, strict=True)]
        return [scale * total for scale, total in zip(scales, totals, strict=True)]

    ends = (values(operands), references(operands))
    ones = [jnp.ones_like(results[number]) for number in floats]
    own = mean(equation, (ones, *ends), differences)
    scales = [
        ratio(results[number] - reference[number], each, one)
        for number, each, one in zip(floats, own, ones, strict=True)
    ]
    flows = shared(
        mean,
        equation,
        [results[number] for number in floats],
        (scales, *ends),
        [operands[index].flow for index in active],
    )
    for number, flow in zip(floats, flows, strict=True):
        results[number] = flow
    return [pair(*each) for each in zip(results, reference, strict=True)]

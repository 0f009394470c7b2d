"""How relevance goes through a program, equation by equation: relevance takes the place of the cotangent.

Every equation that does more than move values is wrapped, so that its derivative is a rule of LRP. What is affine is gathered
first: a convolution or matrix product with constants and all that scales and shifts its outputs is one `Affine` map, whose rule
is applied where its value is used for something else. Elementwise functions of one value are gathered likewise (a GELU written
out, say), and pass relevance unchanged. A value that is used more than once gets the sum of what comes from its uses.
"""

import functools
from collections.abc import Iterator
from typing import Any

from jaxviz.attribution.rules import arithmetic, elementwise, linear_layers, moves
from jaxviz.attribution.rules.affine import Affine, WithoutWeights
from jaxviz.attribution.rules.assignment import Assignment
from jaxviz.attribution.rules.composites import Candidate
from jaxviz.attribution.rules.pending import (
    Detached,
    Pointwise,
    bare,
    computed,
    is_active,
    is_inexact,
    plain,
    relevant,
    settle,
    sources,
)
from jaxviz.program import Active, Rule, Rules, Where
from jaxviz.program._compat import JaxprEqn, bind


def propagation(assignment: Assignment) -> Rules:
    """The rules of one evaluation, for the program's evaluator."""
    table: dict[str, Any] = {}
    for names, rule in _table(assignment):
        table.update(dict.fromkeys(names.split(), functools.partial(_beside_detached, assignment, rule)))
    table.update(
        {key: functools.partial(_own, assignment, rule) for key, rule in assignment.composite.primitives.items()}
    )
    return Rules(assignment.function, table, settle=settle)


def _table(assignment: Assignment) -> Iterator[tuple[str, Rule]]:
    """Names of operations, and their rule."""
    assigned = lambda rule: functools.partial(rule, assignment)
    yield elementwise.ELEMENTWISE, assigned(elementwise.elementwise)
    yield elementwise.FUNCTIONS, assigned(elementwise.whole_function)
    yield moves.MOVES, assigned(moves.move)
    yield moves.SELECTIONS, assigned(moves.select)
    yield "add sub add_any", assigned(arithmetic.addition)
    yield "mul", assigned(arithmetic.product)
    yield "div", assigned(arithmetic.quotient)
    yield "neg", assigned(arithmetic.negative)
    yield "dot_general conv_general_dilated", assigned(linear_layers.contraction)
    yield "reduce_sum reduce_window_sum cumsum scatter-add scatter_add scatter-sub", assigned(linear_layers.pooling)
    yield "*", assigned(_unknown)
    yield "stop_gradient", lambda equation, operands, where: [Detached(bare(operands[0]))]


def _beside_detached(
    assignment: Assignment, rule: Rule, equation: JaxprEqn, operands: list[Any], where: Where
) -> list[Any]:
    """What a rule makes of operands of which some may be detached."""
    assignment.usage.seen.add(where)
    detached = [isinstance(operand, Detached) for operand in operands]
    if not any(detached):
        return rule(equation, operands, where)
    if not any(is_active(operand) and not isinstance(operand, Detached) for operand in operands):
        values = bind(equation, list(map(bare, operands)))
        return [Detached(value) if is_inexact(value) else value for value in values]
    if equation.primitive.name in ("add", "sub", "add_any"):
        (value,) = bind(equation, list(map(bare, operands)))
        (active,) = (operand for operand, is_detached in zip(operands, detached, strict=True) if not is_detached)
        if detached[0] and equation.primitive.name == "sub":
            active = elementwise.negated(assignment, -active.value, active, where)
        active = elementwise.spread(active, value.shape)
        unshifted = getattr(active, "unshifted", None)
        return [Pointwise(value, sources(active)[0], bare(active) if unshifted is None else unshifted)]
    return rule(equation, [bare(operand) if isinstance(operand, Detached) else operand for operand in operands], where)


def _unknown(assignment: Assignment, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    values = computed(equation, operands)
    if any(map(is_inexact, values)):
        raise assignment.missing(equation, where, ", through which the score depends on the inputs")
    return values


def _own(assignment: Assignment, rule: Rule, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
    """A rule of one's own for a primitive."""
    assignment.usage.seen.add(where)
    assignment.usage.own.add(where)
    value, *more = computed(equation, operands)
    if more:
        raise ValueError(
            f"{assignment.function}: a rule for {equation.primitive.name!r}, which has several results, cannot be given"
        )
    active = [index for index, operand in enumerate(operands) if is_active(operand)]
    constants = [None if is_active(operand) else operand for operand in operands]
    several = len(active) > 1

    def core(x: Any, constants: Any) -> Any:
        every = list(constants)
        for index, leaf in zip(active, x if several else (x,), strict=True):
            every[index] = leaf
        return bind(equation, every)[0]

    def backward(x: Any, constants: Any, relevance: Any) -> Any:
        others, rule = constants
        try:
            return rule(Affine(core, others), x, relevance)
        except WithoutWeights as error:
            raise assignment.weightless(Candidate(rule, "primitives", equation.primitive.name), where) from error

    x = tuple(plain(operands[index]) for index in active)
    probe = assignment.probe(where, equation.primitive.name, rule)
    return [Active(relevant(backward, value, x if several else x[0], (constants, rule), probe))]

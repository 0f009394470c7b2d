"""Joined tokens: where in a row of tokens the patches begin, by how the program puts it together."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jaxviz.program import Key, Program
from jaxviz.program._compat import JaxprEqn
from jaxviz.program.trace import Node, Step


class Join(NamedTuple):
    """A row of tokens that is made of parts: how many tokens it has, and where each part begins and ends."""

    tokens: int
    parts: tuple[tuple[int, int], ...]


def first_patch(program: Program, tokens: int, patches: int, *, before: Key | None = None) -> int:
    """Where in a row of tokens the patches begin: as the program joins them with others; where it does not, behind those.

    Args:
        program: the model's.
        tokens: how many there are in the row.
        patches: how many of them are the patches'.
        before: the value that is the row, up to which the program is looked at; None for all of it.
    """
    joins: list[Join] = []
    for step in _steps(program.root):
        if before is not None and step.site is not None and step.site.key == before:
            break
        joins.extend(join for join in map(_join, step.equations) if join is not None)
    first = _first(joins, tokens, patches)
    return tokens - patches if first is None else first


def _steps(node: Node) -> Iterator[Step]:
    """All steps in order of execution; a call stands before what it calls."""
    for step in node.steps:
        yield step
        for inner in step.nodes:
            yield from _steps(inner)


def _join(equation: JaxprEqn) -> Join | None:
    """The row that an equation makes by concatenation or padding, `(batch, tokens, channels)`, or of one example."""
    name = equation.primitive.name
    if name not in ("concatenate", "pad"):
        return None
    avals: list[Any] = [atom.aval for atom in (equation.outvars[0], *equation.invars)]
    axis = len(avals[0].shape) - 2
    if axis not in (0, 1):
        return None
    sizes = [aval.shape[axis] for aval in avals[1:]] if name == "concatenate" else [avals[1].shape[axis]]
    start = 0
    if name == "pad":
        start, behind, between = equation.params["padding_config"][axis]
        if min(start, behind) < 0 or between:
            return None
    elif equation.params["dimension"] != axis:
        return None
    bounds = itertools.accumulate(sizes, initial=start)
    return Join(avals[0].shape[axis], tuple(itertools.pairwise(bounds)))


def _first(joins: Sequence[Join], tokens: int, patches: int) -> int | None:
    """Where the patches begin in the last row of so many tokens, or in a part of it that was joined before."""
    for number, join in reversed(list(enumerate(joins))):
        if join.tokens != tokens:
            continue
        for start, end in join.parts:
            size = end - start
            inner = 0 if size == patches else None
            if patches < size < tokens:
                inner = _first(joins[:number], size, patches)
            if inner is not None:
                return start + inner
    return None

"""Tags from outside: values of a traced program made layers, without a change of the function that it was traced from."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax

from jaxviz.program.calls import ENTER
from jaxviz.program.evaluate import Run
from jaxviz.program.flow import Place
from jaxviz.program.marks import mark
from jaxviz.program.trace import Node, Program, Step

if TYPE_CHECKING:
    from jaxviz.program.evaluate import Captured
    from jaxviz.program.trace import Key


def tagged(program: Program, args: Iterable[Any], tags: Mapping[Place, str]) -> Any:
    """Evaluates a program, and tags values in it as `jaxviz.tag` does.

    Args:
        program: the traced program.
        args: the leaves of the arguments, in order.
        tags: the names of values, by the place where they are made.

    Returns:
        The outputs, as the function returns them.
    """
    steps: dict[Step, dict[int, str]] = {}
    for place, name in tags.items():
        steps.setdefault(place.step, {})[place.result] = name
    leaves, _ = _Tagging(steps, frozenset(_around(program.root, steps))).node(program.root, list(args))
    return jax.tree.unflatten(jax.tree.structure(program.outputs), leaves)


def _around(node: Node, steps: Mapping[Step, Any]) -> set[Step]:
    """The calls in which the steps stand."""
    found = set()
    for step in node.steps:
        for program in step.nodes:
            inside = _around(program, steps)
            if inside or any(inner in steps for inner in program.steps):
                found |= {step, *inside}
    return found


class _Tagging(Run):
    """An evaluation that tags the results of some steps."""

    def __init__(self, tags: Mapping[Step, Mapping[int, str]], around: frozenset[Step]) -> None:
        super().__init__(frozenset(), {}, None)
        self.tags = tags
        self.around = around

    def with_values(self, values: "dict[Key, tuple[Any, ...]]") -> Run:
        """The same run: nothing is changed in it."""
        return self

    def _step(self, step: Step, operands: list[Any], used: list[bool], captured: "Captured") -> list[Any]:
        if step in self.around:
            results, _ = ENTER[step.equations[0].primitive.name](self, step, operands, used)
        else:
            results = super()._step(step, operands, used, captured)
        results = list(results)
        for index, name in self.tags.get(step, {}).items():
            results[index] = mark(results[index], name)
        return results

"""Sources: which layers' outputs a layer's own output is computed from, directly."""

from collections.abc import Iterable, Sequence
from typing import Any

from jaxviz.program._compat import Literal
from jaxviz.program.dependence import through_loop
from jaxviz.program.marks import INPUT
from jaxviz.program.trace import INLINE, Node, Program, Step

INPUTS = ""  # stands for the model's inputs among the sources
Sources = frozenset[str]
_NONE: Sources = frozenset()


def sources_of(program: Program, inputs: int) -> dict[str, tuple[str, ...]]:
    """For each layer, the layers whose outputs its output is computed from with no other layer's output between.

    A residual connection shows itself: a block that adds what enters it to what its last layer gives has both as sources.

    Args:
        program: the traced model.
        inputs: how many of the program's arguments, the last ones, are the model's inputs; the others are parameters.

    Returns:
        Layer -> its sources in order of execution; the model's inputs are `INPUTS`, and come first.

    Example:
        >>> import jax
        >>> from jaxviz.program import tag, trace
        >>> traced = trace(lambda x: tag(tag(2 * x, "twice") + x, "sum"), jax.ShapeDtypeStruct((3,), "float32"))
        >>> sources_of(traced, 1)
        {'twice': ('',), 'sum': ('', 'twice')}
    """
    walk = _Walk()
    first = len(program.root.jaxpr.invars) - inputs
    walk.node(program.root, [_NONE] * first + [frozenset({INPUTS})] * inputs)
    order = {INPUTS: -1} | {key.layer: number for number, key in enumerate(program.sites)}
    return {layer: tuple(sorted(found, key=order.__getitem__)) for layer, found in walk.found.items()}


class _Walk:
    """Follows the values from the arguments on, each with the layers that it comes from."""

    def __init__(self) -> None:
        self.found: dict[str, Sources] = {}

    def node(self, node: Node, entering: Sequence[Sources]) -> list[Sources]:
        """The sources of a program's results."""
        known: dict[Any, Sources] = dict(zip(node.jaxpr.invars, entering, strict=True))

        def read(atoms: Iterable[Any]) -> list[Sources]:
            return [_NONE if isinstance(atom, Literal) else known.get(atom, _NONE) for atom in atoms]

        for step in node.steps:
            operands = read(atom for equation in step.equations for atom in equation.invars)
            results = [var for equation in step.equations for var in equation.outvars]
            if step.site is not None and step.site.key.side == INPUT:
                values: Sequence[Sources] = operands
            elif step.site is not None:
                layer = step.site.key.layer
                self.found[layer] = self.found.get(layer, _NONE) | _union(operands) - {layer}
                values = [frozenset({layer})] * len(results)
            elif step.nodes:
                values = self._call(step, operands)
            else:
                values = [_union(operands)] * len(results)
            known.update(zip(results, values, strict=True))
        return read(node.jaxpr.outvars)

    def _call(self, step: Step, operands: list[Sources]) -> Sequence[Sources]:
        equation = step.equations[0]
        name = equation.primitive.name
        if name in INLINE:
            return self.node(step.nodes[0], operands)
        if name == "cond":  # its first operand says which branch is taken
            branches = [self.node(branch, operands[1:]) for branch in step.nodes]
            return [_union([operands[0], *results]) for results in zip(*branches, strict=True)]
        return through_loop(equation, operands, lambda place, entering: self.node(step.nodes[place], entering))


def _union(parts: Iterable[Sources]) -> Sources:
    return frozenset().union(*parts)

"""The traced program: what a function does, as equations, and where in it each layer's value stands."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from jaxviz.program import cost, marks
from jaxviz.program._compat import ClosedJaxpr, Jaxpr, JaxprEqn, closed, subprograms

# Call primitives: functions that are merely called, that have a derivative of their own, that are computed again for it.
PLAIN_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call"})
OWN_DERIVATIVE = frozenset({"custom_jvp_call", "custom_vjp_call"})
REMAT = frozenset({"remat2", "checkpoint"})
# Those whose operands and results are, one by one, those of the program inside; and loops and branches, where they are not.
INLINE = PLAIN_CALLS | OWN_DERIVATIVE | REMAT
CONTROL = frozenset({"scan", "while", "cond"})
# All that the evaluator goes into; see `evaluate`.
CALLS = INLINE | CONTROL


class Key(NamedTuple):
    """Names one value in the program: a layer (its path, with `#k` at its k-th further call) and a side of it."""

    layer: str
    side: str = marks.OUTPUT


class Where(NamedTuple):
    """Where in the model an equation stands: the innermost layer that runs there (`path`, or `path#k` in its k-th further call)
    and its kind (the module's class). Outside of all layers both are empty.
    """

    layer: str = ""
    kind: str = ""

    def __str__(self) -> str:
        return f"layer {self.layer!r} ({self.kind})" if self.layer else "the model itself, outside of its layers"


OUTSIDE = Where()


@dataclass(frozen=True, eq=False)
class Site:
    """Where a layer's value stands in the program.

    Attributes:
        key: the layer and its side.
        path: the path of the layer, without the number of the call.
        structure: the pytree of the value, and the layer's kind.
        leaves: shape and dtype of each array. Inside a scan, each has the scan's length as an additional first axis.
        flops: floating-point operations of the layer's call, its inner layers' included; None where they cannot be told.
        looped: whether it stands inside a while loop, which keeps no values of its steps.
    """

    key: Key
    path: str
    structure: marks.Structure
    leaves: tuple[jax.ShapeDtypeStruct, ...]
    flops: int | None = None
    looped: bool = False

    def unflatten(self, leaves: Any) -> Any:
        """The value as the layer's own pytree."""
        return self.structure.treedef.unflatten(leaves)


@dataclass(frozen=True, eq=False)
class Step:
    """One equation of the program, or the equations that together mark one layer's value.

    Attributes:
        equations: the equations.
        site: which layer's value they mark, if they do.
        nodes: the programs inside of the equation, if it is a call that the evaluator goes into.
        where: the layer that it runs in.
    """

    equations: tuple[JaxprEqn, ...]
    site: Site | None = None
    nodes: tuple["Node", ...] = ()
    where: Where = OUTSIDE

    def touches(self, keys: frozenset[Key]) -> bool:
        """Whether one of the named values stands in this step."""
        return (self.site is not None and self.site.key in keys) or any(
            not node.keys.isdisjoint(keys) for node in self.nodes
        )


@dataclass(frozen=True, eq=False)
class Node:
    """A program or an inner program: its steps, and the keys of all values that stand in it."""

    jaxpr: Jaxpr
    consts: list[Any]
    steps: tuple[Step, ...]
    keys: frozenset[Key]


@dataclass(frozen=True, eq=False)
class Program:
    """A traced function.

    Attributes:
        root: its equations.
        sites: its layers' values by key, in order of execution: a module stands after the modules that it calls.
        outputs: the pytree of outputs, as shapes and dtypes.
        flops: floating-point operations of one execution.
    """

    root: Node
    sites: dict[Key, Site]
    outputs: Any
    flops: int


@dataclass
class _Open:
    """A layer that runs."""

    path: str
    where: Where
    flops: int = 0


@dataclass
class _Indexer:
    """Walks the equations in order of execution and finds the marks."""

    sites: dict[Key, Site] = field(default_factory=dict)
    calls: dict[tuple[str, str], int] = field(default_factory=dict)

    def node(
        self, jaxpr: ClosedJaxpr | Jaxpr, lengths: tuple[int, ...], open_layers: list[_Open], looped: bool
    ) -> Node:
        jaxpr, consts = closed(jaxpr)
        steps: list[Step] = []
        group: list[JaxprEqn] = []
        for equation in jaxpr.eqns:
            mark = marks.parse(equation.params["name"]) if equation.primitive.name == "name" else None
            if mark is None or mark.leaf != len(group):  # what was begun is not the whole of a layer's value
                steps.extend(Step((begun,)) for begun in group)
                group = []
            if mark is None:
                steps.append(self._step(equation, lengths, open_layers, looped))
            elif mark.leaf != len(group):
                steps.append(Step((equation,)))
            else:
                group.append(equation)
                if len(group) == mark.structure.treedef.num_leaves:
                    steps.append(self._site(mark, tuple(group), lengths, open_layers, looped))
                    group = []
        steps.extend(Step((begun,)) for begun in group)
        keys = {step.site.key for step in steps if step.site is not None}
        keys.update(*(node.keys for step in steps for node in step.nodes))
        return Node(jaxpr, consts, tuple(steps), frozenset(keys))

    def _site(
        self,
        mark: marks.Mark,
        equations: tuple[JaxprEqn, ...],
        lengths: tuple[int, ...],
        open_layers: list[_Open],
        looped: bool,
    ) -> Step:
        call = self.calls.get((mark.path, mark.side), 0)
        self.calls[mark.path, mark.side] = call + 1
        key = Key(f"{mark.path}#{call}" if call else mark.path, mark.side)
        avals: list[Any] = [equation.outvars[0].aval for equation in equations]
        leaves = tuple(jax.ShapeDtypeStruct((*lengths, *aval.shape), aval.dtype) for aval in avals)
        flops = None
        if mark.side == marks.INPUT:
            open_layers.append(_Open(mark.path, Where(key.layer, mark.structure.kind)))
        elif any(layer.path == mark.path for layer in open_layers):
            while open_layers[-1].path != mark.path:  # a layer that was left without a value
                open_layers.pop()
            flops = open_layers.pop().flops
        site = Site(key, mark.path, mark.structure, leaves, flops, looped)
        self.sites[key] = site
        return Step(equations, site)

    def _step(self, equation: JaxprEqn, lengths: tuple[int, ...], open_layers: list[_Open], looped: bool) -> Step:
        name, where = equation.primitive.name, open_layers[-1].where
        inner = subprograms(equation)
        if name not in CALLS:  # its operations count; layers in it cannot be reached
            self._count(cost.flops(equation) * math.prod(lengths), open_layers)
            return Step((equation,), where=where)
        if name == "scan":
            lengths = (*lengths, equation.params["length"])
        looped = looped or name == "while"
        if name == "cond":  # one branch is taken: the most expensive counts
            before = [layer.flops for layer in open_layers]
            most, nodes = before, []
            for branch in inner:
                for layer, count in zip(open_layers, before, strict=True):
                    layer.flops = count
                nodes.append(self.node(branch, lengths, open_layers, looped))
                del open_layers[len(before) :]  # a layer that was left without a value
                most = [max(count, layer.flops) for count, layer in zip(most, open_layers, strict=True)]
            for layer, count in zip(open_layers, most, strict=True):
                layer.flops = count
            return Step((equation,), None, tuple(nodes), where)
        nodes = [self.node(program, lengths, open_layers, looped) for program in inner]
        return Step((equation,), None, tuple(nodes), where)

    def _count(self, flops: int, open_layers: list[_Open]) -> None:
        for layer in open_layers:
            layer.flops += flops


def trace(function: Callable[..., Any], *args: Any) -> Program:
    """Traces a function at the shapes and dtypes of its arguments.

    A jitted function is traced once for all calls with the same shapes, since JAX keeps its program.

    Args:
        function: a function of pytrees of arrays.
        args: arrays, or `jax.ShapeDtypeStruct` in their place.
    """
    jaxpr, outputs = jax.make_jaxpr(function, return_shape=True)(*args)
    indexer = _Indexer()
    whole = _Open("", OUTSIDE)
    root = indexer.node(jaxpr, (), [whole], False)
    return Program(root, indexer.sites, outputs, whole.flops)

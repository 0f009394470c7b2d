"""Where the values of a traced program come from, seen through the calls in it."""

from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from jaxviz.program._compat import JaxprEqn, Literal, scan_groups
from jaxviz.program.trace import INLINE, Key, Node, Program, Step


class Value(NamedTuple):
    """A value: an atom (a variable or a literal) of the program in which it stands."""

    node: Node
    atom: Any


class Place(NamedTuple):
    """Where a value is made: which result of which step."""

    step: Step
    result: int


class Scan(NamedTuple):
    """A scan that a step stands in: how many steps it has, and whether the last is executed first."""

    length: int
    reverse: bool


class Position(NamedTuple):
    """Where a step stands on one level of the program: the number of the call that it is in, and which inner program of it."""

    number: int
    branch: int
    scan: Scan | None = None


class Flow:
    """A program's values, each with the step that makes it.

    Attributes:
        steps: all steps in order of execution, each with the program that it stands in. A call stands before what it calls.
        positions: where each layer's value stands.
    """

    def __init__(self, program: Program) -> None:
        self.root = program.root
        self.steps: list[tuple[Node, Step]] = []
        self.positions: dict[Key, tuple[Position, ...]] = {}
        self._made: dict[tuple[Node, Any], Place] = {}
        self._outer: dict[Node, tuple[Node, Step]] = {}
        self._walk(program.root, ())

    def _walk(self, node: Node, trail: tuple[Position, ...]) -> None:
        for number, step in enumerate(node.steps):
            self.steps.append((node, step))
            if step.site is not None:
                self.positions[step.site.key] = (*trail, Position(number, 0))
            variables = [var for equation in step.equations for var in equation.outvars]
            for index, var in enumerate(variables):
                self._made[node, var] = Place(step, index)
            equation = step.equations[0]
            scan = None
            if equation.primitive.name == "scan":
                scan = Scan(equation.params["length"], bool(equation.params["reverse"]))
            for branch, inner in enumerate(step.nodes):
                self._outer[inner] = node, step
                self._walk(inner, (*trail, Position(number, branch, scan)))

    def source(self, value: Value) -> Value:
        """The value itself; of one that enters a call, the value outside of the call."""
        node, atom = value
        while not isinstance(atom, Literal) and (node, atom) not in self._made and node in self._outer:
            outer, step = self._outer[node]
            if step.equations[0].primitive.name not in INLINE or atom not in node.jaxpr.invars:
                break
            node, atom = outer, operands(step)[node.jaxpr.invars.index(atom)]
        return Value(node, atom)

    def place(self, value: Value) -> Place | None:
        """Where a value is made; None of what the program is given, and of what a loop or a branch is."""
        node, atom = self.source(value)
        return None if isinstance(atom, Literal) else self._made.get((node, atom))

    def entrance(self, value: Value) -> Value | None:
        """The value outside of a scan or a branch that is, or whose slices are, one that enters it.

        None where there is no such: what a scan carries, and all that enters a while loop, changes from step to step.
        """
        node, atom = self.source(value)
        outer, step = self._outer[node]
        equation, index = step.equations[0], node.jaxpr.invars.index(atom)
        if equation.primitive.name == "cond":  # its first operand says which branch is taken
            return Value(outer, equation.invars[index + 1])
        if equation.primitive.name != "scan":
            return None
        constants, carried = scan_groups(equation.params)
        return None if constants <= index < constants + carried else Value(outer, equation.invars[index])

    def equation(self, place: Place) -> JaxprEqn:
        """The equation of a step that makes a value."""
        if len(place.step.equations) == 1:
            return place.step.equations[0]
        return place.step.equations[place.result]

    def variable(self, place: Place) -> Any:
        """The variable that holds a value."""
        return [var for equation in place.step.equations for var in equation.outvars][place.result]


def operands(step: Step) -> list[Any]:
    """The atoms that a step takes."""
    return [atom for equation in step.equations for atom in equation.invars]


def inner(place: Place) -> Value | None:
    """The value inside a call that is its result; None where the step is no call, or its results are made otherwise."""
    if not place.step.nodes or place.step.equations[0].primitive.name not in INLINE:
        return None
    node = place.step.nodes[0]
    return Value(node, node.jaxpr.outvars[place.result])


def ancestors(flow: Flow, value: Value, ends: Container[Place] = frozenset()) -> Iterator[tuple[Value, Place | None]]:
    """All values that a value is computed from, itself included, inside the scan or branch that it stands in.

    What those are computed from that are made at `ends` is left out.
    """
    pending, seen = [value], set()
    while pending:
        current = flow.source(pending.pop())
        if isinstance(current.atom, Literal) or current in seen:
            continue
        seen.add(current)
        place = flow.place(current)
        yield current, place
        if place is None or place in ends:
            continue
        result = inner(place)
        if result is not None:
            pending.append(result)
        elif place.step.site is not None:  # each array of a layer's value is marked by itself
            pending.append(Value(current.node, flow.equation(place).invars[0]))
        else:
            pending.extend(Value(current.node, atom) for atom in operands(place.step))

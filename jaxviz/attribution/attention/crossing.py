"""Cross-attention: whether queries and keys are computed from different tokens."""

from typing import Any

from jaxviz.attribution.attention.products import Attention
from jaxviz.attribution.attention.search import PLAIN, passed, search, shape
from jaxviz.program._compat import JaxprEqn, Literal
from jaxviz.program.flow import Flow, Place, Value, ancestors

# What queries times keys go through before a softmax: scales, masks, biases, caps.
_BEFORE_SOFTMAX = frozenset(["add", "broadcast_in_dim", "max", "min", "reshape", "sub", "tanh", "transpose"]) | PLAIN


class Crossing:
    """Tells cross-attention by what queries depend on and keys do not, or the other way round.

    In self-attention both are computed from the same tokens: what lies between is parameters alone. In cross-attention one of
    them has inputs, or attention on the way from them, that the other has not. Shapes do not tell: sequences may be as long.

    Args:
        flow: the values of the program.
        inputs: how many of its last arguments are the inputs of the model.
        found: the attention in it.
    """

    def __init__(self, flow: Flow, inputs: int, found: list[Attention]) -> None:
        self.flow = flow
        arguments = flow.root.jaxpr.invars
        self.inputs = tuple(Value(flow.root, atom) for atom in arguments[len(arguments) - inputs :])
        self.places = frozenset(attention.place for attention in found)

    def of(self, attention: Attention) -> bool:
        """Whether the weights are of cross-attention; False where queries and keys are not found."""
        operands = self.operands(attention)
        if operands is None:
            return False
        queries, keys = map(self._origins, operands)
        return queries != keys

    def operands(self, attention: Attention) -> tuple[Value, Value] | None:
        """The queries and the keys, if they are found."""
        return search(self.flow, attention.exponent, attention.normalized, self._product)[1]

    def _product(
        self, flow: Flow, node: Any, equation: JaxprEqn, index: int, axis: int | None
    ) -> tuple[tuple[Value, Value] | None, Any]:
        """Looks for the product of queries and keys: these. The axis is that of the keys, None where it is one with others."""
        name = equation.primitive.name
        if name == "dot_general":
            one, other = (flow.source(Value(node, atom)) for atom in equation.invars)
            # A product with a parameter as it is makes a bias.
            if self._is_parameter(one) or self._is_parameter(other):
                return None, ()
            return ((other, one) if _is_of_first(equation, axis) else (one, other)), ()
        if name not in _BEFORE_SOFTMAX:
            return None, ()
        moved = {id(atom): before for atom, before, _ in passed(equation, index)}
        onward = []
        for atom in equation.invars[1:] if name == "select_n" else equation.invars:
            before = moved.get(id(atom), lambda axis: axis)
            onward.append((atom, None if axis is None else before(axis)))
        return None, onward

    def _is_parameter(self, value: Value) -> bool:
        return self.flow.place(value) is None and not self.varies(value)

    def _origins(self, value: Value) -> frozenset[Value | Place]:
        """The inputs, and the attention between them and here, that a value depends on."""
        origins: set[Any] = set()
        for current, place in ancestors(self.flow, value):
            if place in self.places:
                origins.add(place)
            elif place is None and self.varies(current):
                origins.add(current)
        return frozenset(origins)

    def varies(self, value: Value) -> bool:
        """Whether what a program or the inside of a loop is given depends on the inputs of the model."""
        node, atom = value
        if node is self.flow.root:
            return not isinstance(atom, Literal) and value in self.inputs
        if isinstance(atom, Literal) or atom not in node.jaxpr.invars:
            return False  # a constant
        outside = self.flow.entrance(value)
        if outside is None:
            return True
        return any(place is None and self.varies(current) for current, place in ancestors(self.flow, outside))


def _is_of_first(equation: JaxprEqn, axis: int | None) -> bool:
    """Whether an axis of a product is one of its first operand, behind those that both have."""
    (contracted, _), (shared, _) = equation.params["dimension_numbers"]
    free = len(shape(equation.invars[0])) - len(contracted) - len(shared)
    return axis is not None and len(shared) <= axis < len(shared) + free

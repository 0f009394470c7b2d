"""Cross-attention: whether queries and keys are computed from different tokens."""

from typing import Any

from jaxviz.attribution.attention.products import Attention
from jaxviz.attribution.attention.search import PLAIN, search
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
        self.inputs = frozenset(arguments[len(arguments) - inputs :])
        self.places = frozenset(attention.place for attention in found)

    def of(self, attention: Attention) -> bool:
        """Whether the weights are of cross-attention; False where queries and keys are not found."""
        operands = search(self.flow, attention.exponent, None, self._product)[1]
        if operands is None:
            return False
        queries, keys = map(self._origins, operands)
        return queries != keys

    def _product(
        self, flow: Flow, node: Any, equation: JaxprEqn, index: int, state: Any
    ) -> tuple[tuple[Value, Value] | None, Any]:
        """Looks for the product of queries and keys: its operands."""
        name = equation.primitive.name
        if name == "dot_general":
            one, other = (flow.source(Value(node, atom)) for atom in equation.invars)
            # A product with a parameter as it is makes a bias.
            return (None if self._is_parameter(one) or self._is_parameter(other) else (one, other)), ()
        if name not in _BEFORE_SOFTMAX:
            return None, ()
        return None, [(atom, state) for atom in (equation.invars[1:] if name == "select_n" else equation.invars)]

    def _is_parameter(self, value: Value) -> bool:
        return self.flow.place(value) is None and not self._varies(value)

    def _origins(self, value: Value) -> frozenset[Value | Place]:
        """The inputs, and the attention between them and here, that a value depends on."""
        origins: set[Any] = set()
        for current, place in ancestors(self.flow, value):
            if place in self.places:
                origins.add(place)
            elif place is None and self._varies(current):
                origins.add(current)
        return frozenset(origins)

    def _varies(self, value: Value) -> bool:
        """Whether what a program or the inside of a loop is given depends on the inputs of the model."""
        node, atom = value
        if node is self.flow.root:
            return not isinstance(atom, Literal) and atom in self.inputs
        if isinstance(atom, Literal) or atom not in node.jaxpr.invars:
            return False  # a constant
        outside = self.flow.entrance(value)
        if outside is None:
            return True
        return any(place is None and self._varies(current) for current, place in ancestors(self.flow, outside))

"""Cross-attention: whether queries and keys are computed from different tokens."""

from typing import Any

from jaxviz.attribution.attention.products import Attention, attentions
from jaxviz.program.flow import Flow, Place, Value, ancestors


class Crossing:
    """Tells cross-attention by what queries depend on and keys do not, or the other way round.

    In self-attention both are computed from the same tokens: what lies between is parameters alone. In cross-attention one of
    them has inputs, or attention on the way from them, that the other has not. Shapes do not tell: sequences may be as long.

    Args:
        flow: the values of the program.
        inputs: how many of its last arguments are the inputs of the model.
    """

    def __init__(self, flow: Flow, inputs: int) -> None:
        self.flow = flow
        arguments = flow.root.jaxpr.invars
        self.inputs = frozenset(arguments[len(arguments) - inputs :])
        self.places = frozenset(attention.place for attention in attentions(flow))

    def of(self, attention: Attention) -> bool:
        """Whether the weights are of cross-attention; False where queries and keys are not found."""
        if attention.logits is None:
            return False
        queries, keys = map(self._origins, attention.logits)
        return queries != keys

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
            return atom in self.inputs
        if atom not in node.jaxpr.invars:
            return False  # a constant
        outside = self.flow.entrance(value)
        if outside is None:
            return True
        return any(place is None and self._varies(current) for current, place in ancestors(self.flow, outside))

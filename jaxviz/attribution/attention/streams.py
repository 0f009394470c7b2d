"""Sequences of tokens: which of them the queries and the keys of each attention are of."""

from collections.abc import Hashable, Iterable

from jaxviz.attribution.attention.crossing import Crossing
from jaxviz.attribution.attention.products import Attention
from jaxviz.program import Key
from jaxviz.program.flow import Place, Value, ancestors

# The sequences of the queries and of the keys, numbered in the order of the inputs that they are made of.
Streams = tuple[int, int]


def streams(crossing: Crossing, found: list[Attention]) -> dict[Key, Streams]:
    """The sequences of all attention whose queries and keys are found, outside of loops and branches.

    What queries (or keys) are computed from is of one sequence: inputs, and the results of the attention before them, which
    are of the sequence of its queries. So an encoder's tokens are one sequence, the decoder's another.
    """
    ends = frozenset(result for attention in found for result in attention.results)
    sets = _Sets()
    sides = []
    for attention in found:
        operands = crossing.operands(attention)
        if operands is None:
            continue
        queries, keys = (_origins(crossing, value, ends) for value in operands)
        if not all(one in ends or one in crossing.inputs for one in queries | keys):
            continue
        sets.join([attention.place, *attention.results, *queries])
        sets.join(keys)
        # Learned queries come from nowhere: they are a sequence of their own.
        sides.append((attention.key, attention.place, next(iter(keys), attention.place)))
    members = [*crossing.inputs, *(query for _, query, _ in sides)]
    order = {first: number for number, first in enumerate(dict.fromkeys(map(sets.first, members)))}
    return {key: (order[sets.first(query)], order[sets.first(other)]) for key, query, other in sides if key is not None}


def _origins(crossing: Crossing, value: Value, ends: frozenset[Place]) -> set[Value | Place]:
    """What a value is computed from: what is given to the program and depends on the inputs, and the nearest of the ends."""
    origins: set[Value | Place] = set()
    for current, place in ancestors(crossing.flow, value, ends):
        if place in ends:
            origins.add(place)
        elif place is None and crossing.varies(current):
            origins.add(current)
    return origins


class _Sets:
    """Disjoint sets of values, joined one after the other."""

    def __init__(self) -> None:
        self._of: dict[Hashable, set[Hashable]] = {}

    def join(self, values: Iterable[Hashable]) -> None:
        """Makes one set of those that the values are in."""
        joined: set[Hashable] = set()
        for value in values:
            joined |= self._of.get(value, {value})
        self._of.update(dict.fromkeys(joined, joined))

    def first(self, value: Hashable) -> Hashable:
        """A member of the set of a value, the same for all members."""
        return next(iter(self._of.get(value, {value})))

"""Attention in a traced program: a softmax over the axis that a product contracts with values."""

from typing import Any, NamedTuple

from jaxviz.attribution.attention.search import passed, search, shape
from jaxviz.attribution.attention.softmax import softmax
from jaxviz.program import OUTPUT, Key
from jaxviz.program._compat import JaxprEqn
from jaxviz.program.flow import Flow, Place, Value


class Attention(NamedTuple):
    """Weights that a product contracts with values.

    Attributes:
        place: where the weights are made, as the product takes them.
        results: where the products with values are made.
        key: the tag by which they are a layer, or None.
        layer: the path of the layer in which the product stands; empty outside of all layers.
        keys: the axis over which they are a softmax.
        shared: the axes that they share with the values: the batch, and most often the heads.
        free: the axes that the values do not have: the queries among them.
        loose: axes of length 1 that are squeezed out before the product, as `jnp.matmul` does: the batch, if it is one example.
        exponent: what the softmax takes the exponential of.
        normalized: the axis of the exponent over which it is a softmax.
    """

    place: Place
    results: tuple[Place, ...]
    key: Key | None
    layer: str
    keys: int
    shared: tuple[int, ...]
    free: tuple[int, ...]
    loose: tuple[int, ...]
    exponent: Value
    normalized: int


def attentions(flow: Flow) -> list[Attention]:
    """All attention of a program, in the order of the products."""
    found: list[Attention] = []
    known: list[list[Place]] = []  # for each, the places at which its weights have the form that they are found in
    for node, step in flow.steps:
        if step.equations[0].primitive.name != "dot_general":
            continue
        for attention, places in _of_product(flow, node, step.equations[0], step.where.layer.partition("#")[0]):
            twice = next((number for number, others in enumerate(known) if not set(places).isdisjoint(others)), None)
            if twice is None:
                found.append(attention)
                known.append(places)
            else:  # weights of two products are marked where both take them from
                known[twice] = [place for place in known[twice] if place in places]
                results = found[twice].results + attention.results
                found[twice] = found[twice]._replace(place=known[twice][0], results=results, key=_tag(known[twice]))
    return found


def _of_product(flow: Flow, node: Any, equation: JaxprEqn, layer: str) -> list[tuple[Attention, list[Place]]]:
    """The attention of one product, and the places at which its weights have the form that they are found in."""
    found = []
    for side, atom in enumerate(equation.invars):
        contracted, shared = (axes[side] for axes in equation.params["dimension_numbers"])
        axes = tuple(range(len(shape(atom))))
        free = [axis for axis in axes if axis not in {*contracted, *shared}]
        for axis in contracted if free else ():  # every query has weights of its own
            path, exponent = search(flow, Value(node, atom), (axis, axes, True), _weights)
            if exponent is None:
                continue
            _, now, _ = path[-1][1]
            normalized = now[axis]
            squeezes = [number for number, (place, _) in enumerate(path) if _squeezes(flow, place)]
            path = path[squeezes[-1] + 1 :] if squeezes else path
            place, (_, now, _) = path[0]
            lengths = shape(flow.variable(place))
            loose = tuple(axis for axis in range(len(lengths)) if axis not in now and lengths[axis] == 1)
            if not (shared or loose):  # every example has values of its own
                continue
            places = [place for place, (_, _, plain) in path if plain]
            there = lambda axes, now=now: tuple(now[axis] for axis in axes if now[axis] is not None)
            axes_there = now[axis], there(shared), there(free), loose
            results = tuple(filter(None, [flow.place(Value(node, equation.outvars[0]))]))
            found.append((Attention(place, results, _tag(places), layer, *axes_there, exponent, normalized), places))
    return found


def _tag(places: list[Place]) -> Key | None:
    for place in places:
        site = place.step.site
        if site is not None and site.structure.kind == "tag" and site.key.side == OUTPUT and len(site.leaves) == 1:
            return site.key
    return None


def _squeezes(flow: Flow, place: Place) -> bool:
    return flow.equation(place).primitive.name == "squeeze"


def _weights(flow: Flow, node: Any, equation: JaxprEqn, index: int, state: Any) -> tuple[Value | None, Any]:
    """Looks for a softmax over an axis: its exponent.

    The state: which axis of the product it is, where each axis of the product is here, and whether all numbers are where they
    were at the last squeeze.
    """
    axis, axes, plain = state
    exponent = softmax(flow, node, equation, axes[axis])
    if exponent is not None:
        return exponent, ()
    onward = []
    for atom, before, same in passed(equation, index):
        moved = tuple(None if now is None else before(now) for now in axes)
        if moved[axis] is not None:
            onward.append((atom, (axis, moved, equation.primitive.name == "squeeze" or (plain and same))))
    return None, onward

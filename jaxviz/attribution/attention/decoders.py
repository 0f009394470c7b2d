"""Encoders and decoders: what tokens of one sequence are to those of another, by the rules for cross-attention."""

import jax
import jax.numpy as jnp

from jaxviz.attribution.attention.layered import identity, product
from jaxviz.attribution.attention.streams import Streams
from jaxviz.attribution.attention.weights import Weights


def crossed(found: list[Weights], passed: list[jax.Array]) -> list[Streams] | None:
    """The sequences of layers of which some attend to others, and these to themselves alone; None where it is not so.

    Args:
        found: the layers, in order of execution.
        passed: of each what it passes on, `(batch, queries, keys)`.
    """
    streams = [each.streams for each in found if each.streams is not None and not each.several]
    if len(streams) < len(found) or not any(each.crossed for each in found):
        return None
    if any(each.crossed != (queries != keys) for each, (queries, keys) in zip(found, streams, strict=True)):
        return None
    lengths = {
        pair for both, layer in zip(streams, passed, strict=True) for pair in zip(both, layer.shape[1:], strict=True)
    }
    if len(lengths) > len(dict(lengths)):  # tokens that are left out or joined on the way
        return None
    readers, memories = zip(*[both for both in streams if both[0] != both[1]], strict=True)
    return streams if set(readers).isdisjoint(memories) else None


def passed_on(layers: list[Streams], passed: list[jax.Array]) -> tuple[jax.Array, ...]:
    """What each sequence's tokens are to those of the sequence of the last layer's queries.

    Args:
        layers: their sequences, as `crossed` gives them.
        passed: of each layer what it passes on, at least 0, `(batch, queries, keys)`.

    Returns:
        For each sequence a matrix `(batch, queries of the last layer, tokens)`, in the order of the inputs.
    """
    lengths: dict[int, int] = {}
    for both, layer in zip(layers, passed, strict=True):
        lengths |= zip(both, layer.shape[1:], strict=True)
    streams = sorted(lengths)
    none = lambda one, other: jnp.zeros((len(passed[0]), lengths[one], lengths[other]), passed[0].dtype)
    # Without the identity, beside which small numbers would lose digits.
    known = {(one, other): none(one, other) for one in streams for other in streams}
    for (reader, memory), layer in zip(layers, passed, strict=True):
        if reader == memory:
            known |= {(reader, one): known[reader, one] + product(layer, known[reader, one]) for one in streams}
            known[reader, reader] += layer
        else:
            own, others = _shares(known[reader, reader]), _shares(known[memory, memory])
            known[reader, memory] += product(own.mT, product(layer, others))
    last = layers[-1][0]
    known[last, last] += identity(known[last, last])
    return tuple(known[last, one] for one in streams)


def _shares(others: jax.Array) -> jax.Array:
    """What tokens of one sequence are to each other, beside what each is to itself, as shares; and the identity."""
    total = others.sum(axis=-1, keepdims=True)
    return others / jnp.where(total == 0, jnp.ones_like(total), total) + identity(others)

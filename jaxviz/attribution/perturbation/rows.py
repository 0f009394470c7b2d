"""Scores of a table's rows without one feature each, of a model that multiplies the rows by a matrix first.

What that product and all that is affine after it give without a feature is what they give for the whole row, less the feature's
share. Where that share is about all there is, little is right of what is left; then each row is multiplied anew.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxviz.attribution import stretches
from jaxviz.attribution.perturbation.game import Game, scores_of
from jaxviz.model import Model
from jaxviz.program import affine
from jaxviz.program.entrances import entrances

LEAST = 1 << 21  # multiply-adds of the product: less takes no longer than to look for shares that are too large
WIDE = 256  # columns of a matrix: where one so wide would make less work than that, none is looked for
# How large a feature's share of a value may be, as a multiple of what is left without it: errors of rounding grow as much.
LARGEST = 8.0
# XLA divides elementwise operations of so many values and more (512 KiB read and written) among the processor's threads. Up to
# some such sizes waking them takes longer than they save; there parts of less than that, each of one thread, are computed side
# by side. Of wider layers the products are worth dividing.
DIVIDED, PARTS, NARROW = 1 << 16, 5, 128


def scores_without(game: Game, anew: Callable[[Game], jax.Array]) -> jax.Array | None:
    """The scores without each feature, and last without none, `(features + 1, batch)`: unchecked and not jitted.

    Args:
        game: rows, and what they are explained by.
        anew: computes the same of rows in which each feature stands at the baseline.

    Returns:
        None where that is the better way: the features are not a table's, are in groups, or do not enter products first.
    """
    rows = game.inputs
    axes = _axes(game)
    if axes is None:
        return None
    end = lambda rows: stretches.in_front(stretches.frontier(game.model, rows), axes)
    units = _units(end, rows)
    if rows.size * sum(unit.size for unit in units) < LEAST:
        return None
    changes = rows - game.baseline

    def onward(values: list[jax.Array]) -> jax.Array:
        return affine.onward(Model.__call__, (game.model,), rows, stretches.in_place(values, axes))

    def taken_away(game: Game) -> jax.Array:
        whole = end(rows)
        # A last feature that no product knows: nothing is taken away.
        change, *added = (jnp.pad(array, [(0, 1)] + [(0, 0)] * (array.ndim - 1)) for array in (changes.T, *units))

        def without(features: slice) -> jax.Array:
            left = [
                values[None] - _wide(change[features], values.ndim + 1) * unit[features, None]
                for values, unit in zip(whole, added, strict=True)
            ]
            return jax.vmap(lambda values: scores_of(onward, values, game.target))(left)

        width = sum(values.size for values in whole) // len(rows)
        return jnp.concatenate(list(map(without, _parts(len(change), len(rows), width))))

    small = functools.reduce(jnp.logical_and, [_is_small(rows, changes, unit) for unit in units])
    return jax.lax.cond(small, taken_away, anew, game)


def _axes(game: Game) -> stretches.Axes | None:
    """Where the values at the end of the first affine stretch have the batch; None where `scores_without` is not for the game."""
    rows = game.inputs
    if game.groups.numbers is not None or type(rows) is tuple or rows.ndim != 2:
        return None
    # To look closer takes longer than most programs of few rows.
    if rows.dtype not in (jnp.float32, jnp.float64) or rows.size * rows.shape[1] * WIDE < LEAST:
        return None
    program = jax.make_jaxpr(Model.__call__)(game.model, rows)
    # What is computed of a row before a product may be exact, and no longer be so as a difference.
    if entrances(program, [*[False] * len(jax.tree.leaves(game.model)), True]) != {"dot_general"}:
        return None
    return stretches.batch_axes(game.model, rows)


def _units(end: Callable[[jax.Array], list[jax.Array]], rows: jax.Array) -> list[jax.Array]:
    """What 1 of each feature adds to the values at the end of the stretch, `(features, ...)`.

    In batches of as many examples as there are rows: what a model computes may depend on their number.
    """
    batch, features = rows.shape
    rounds = -(-features // batch)
    ones = jnp.eye(rounds * batch, features, dtype=rows.dtype).reshape(rounds, batch, features)
    added = jax.vmap(lambda ones: jax.jvp(end, (jnp.zeros_like(ones),), (ones,))[1])(ones)
    return [leaf.reshape(rounds * batch, *leaf.shape[2:])[:features] for leaf in added]


def _parts(count: int, batch: int, width: int) -> list[slice]:
    """All features, in as many parts as are computed the fastest side by side.

    Args:
        count: of features.
        batch: of the examples.
        width: values of an example without a feature, which the rest of the model begins with.
    """
    number = count * batch * width // DIVIDED + 1
    if number > PARTS or width > NARROW or jax.default_backend() != "cpu":
        number = 1
    edges = [count * part // number for part in range(number + 1)]
    return list(map(slice, edges, edges[1:]))


def _is_small(rows: jax.Array, changes: jax.Array, unit: jax.Array) -> jax.Array:
    """Whether no feature's share of a value is much larger than those of the others together: that is sure, if it is so.

    Args:
        rows: `(batch, features)`.
        changes: what is taken away of them.
        unit: what 1 of each feature gives, `(features, ...)`.
    """
    unit = jnp.abs(unit)
    together = jnp.tensordot(jnp.abs(rows), unit, 1)
    greatest = jnp.maximum(jnp.abs(rows), jnp.abs(changes)).max(axis=1)
    largest = _wide(greatest, unit.ndim) * unit.max(axis=0, keepdims=True)
    return (largest <= LARGEST * (together - largest)).all()


def _wide(array: jax.Array, rank: int) -> jax.Array:
    """An array with further axes of length 1."""
    return jnp.expand_dims(array, tuple(range(array.ndim, rank)))

"""Which groups a regression on coalitions keeps: those that least-angle regression takes in first."""

import jax
import jax.numpy as jnp
import numpy as np

_PRECISE = jax.lax.Precision.HIGHEST


def first_in(
    members: jax.Array, weights: jax.Array, gains: jax.Array, present: jax.Array, most: int
) -> tuple[jax.Array, jax.Array]:
    """The groups that KernelSHAP's regression keeps, as its reference selects them.

    Least-angle regression of what coalitions gain on who is there, and of what they lack on who is missing, at once: the first
    weighted by how many groups are missing, the second by how many are there.

    Args:
        members: which groups are there in each coalition, 0 or 1, `(samples, groups)`.
        weights: of the coalitions, `(samples,)`, at least 0.
        gains: the score of each coalition less that of the empty one, and last that of the whole one, `(samples + 1, batch)`.
        present: the groups that examples have, bool `(1 or batch, groups)`.
        most: how many are kept, at least 1, at most groups.

    Returns:
        Their numbers, int32 `(batch, most)`, and which of these count, bool `(batch, most)`: not all where an example has fewer.

    References:
        B. Efron, T. Hastie, I. Johnstone, R. Tibshirani. Least Angle Regression. The Annals of Statistics 32, 2004.
        arXiv:math/0406456.
    """

    def moments(present: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        there = members * present[None]
        missing = present[None] - there
        here, away = weights * missing.sum(axis=1), weights * there.sum(axis=1)
        there_weighted, missing_weighted = there * here[:, None], missing * away[:, None]
        gram = jnp.matmul(there_weighted.T, there, precision=_PRECISE)
        return gram + jnp.matmul(missing_weighted.T, missing, precision=_PRECISE), there_weighted, missing_weighted

    def numbers(grams: tuple[jax.Array, jax.Array, jax.Array], gains: jax.Array, present: jax.Array) -> jax.Array:
        gram, there, missing = grams
        gained, lacked = gains[:-1], gains[-1] - gains[:-1]
        right = jnp.matmul(gained, there, precision=_PRECISE) + jnp.matmul(lacked, missing, precision=_PRECISE)
        return _least_angle(gram, right, present > 0, most)

    batch = gains.shape[1]
    counted = present.astype(members.dtype)
    if len(counted) == 1:
        grams = moments(counted[0])
        chosen = jax.vmap(lambda gains: numbers(grams, gains, counted[0]), in_axes=1)(gains)
    else:  # one example after the other, since each has its own samples x groups
        chosen = jax.lax.map(lambda each: numbers(moments(each[0]), each[1], each[0]), (counted, gains.T))
    return chosen, jnp.take_along_axis(jnp.broadcast_to(present, (batch, present.shape[1])), chosen, axis=1)


def _least_angle(gram: jax.Array, right: jax.Array, present: jax.Array, most: int) -> jax.Array:
    """The columns that least-angle regression takes in first, int32 `(most,)`, of the normal equations `gram x = right`."""
    dtype, count = gram.dtype, len(right)
    places = jnp.arange(most, dtype=jnp.int32)

    def advance(
        number: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        chosen, signs, correlations = state
        taken = jnp.zeros(count, bool).at[jnp.where(places < number, chosen, count)].set(True, mode="drop")
        free = ~taken & present
        # Where an example has no group left, one that it lacks fills the place.
        sizes = jnp.where(
            free, jnp.abs(correlations), jnp.where(taken, jnp.full(count, -2, dtype), jnp.full(count, -1, dtype))
        )
        new = jnp.argmax(sizes).astype(jnp.int32)
        chosen = chosen.at[number].set(new)
        signs = signs.at[number].set(jnp.where(correlations[new] < 0, -1, 1).astype(dtype))
        # All that are in lose as much of their correlations; those that are not yet, are a row and column of the identity.
        within = (places <= number).astype(dtype)
        both = within[:, None] * within[None]
        system = gram[chosen[:, None], chosen[None]] * both + jnp.diag(1 - within)
        direction = jnp.linalg.solve(system, signs * within)
        slopes = jnp.matmul(gram[:, chosen], direction, precision=_PRECISE)
        largest = jnp.abs(correlations[new])
        free = free & (jnp.arange(count, dtype=jnp.int32) != new)

        def until(left: jax.Array, pace: jax.Array) -> jax.Array:
            catches_up = free & (pace > 0)
            infinite = jnp.full(count, jnp.inf, dtype)
            return jnp.where(catches_up, left / jnp.where(catches_up, pace, jnp.ones_like(pace)), infinite).min()

        step = jnp.minimum(until(largest - correlations, 1 - slopes), until(largest + correlations, 1 + slopes))
        step = jnp.where(jnp.isfinite(step), step, largest)
        return chosen, signs, correlations - step * slopes

    start = (jnp.zeros(most, jnp.int32), jnp.zeros(most, dtype), right)
    return jax.lax.fori_loop(np.int32(0), np.int32(most), advance, start)[0]

"""Surrogates: linear models of weighted samples, whose coefficients are the explanation."""

import jax
import jax.numpy as jnp

# Iterations of the lasso; it ends earlier where nothing changes any more.
MOST_ITERATIONS = 2000

# Of the lasso: the number of iterations, the last two solutions, the point ahead of them, and how far ahead it is.
_State = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def ridge(members: jax.Array, scores: jax.Array, weights: jax.Array, strength: jax.Array) -> jax.Array:
    """Least squares with a penalty on the squares of the coefficients.

    `argmin_a,c sum_n weights[n] (scores[n] - c - members[n] . a)^2 + strength |a|_2^2`, as scikit-learn's `Ridge`.

    Args:
        members: which groups are there in each sample, 0 or 1, `(samples, groups)`.
        scores: `(samples,)`.
        weights: `(samples,)`, at least 0.
        strength: of the penalty, more than 0.

    Returns:
        The coefficients `a`, `(groups,)`.
    """
    gram, right, total = _moments(members, scores, weights)
    penalty = strength / total * jnp.eye(len(gram), dtype=gram.dtype)
    return jax.scipy.linalg.solve(gram + penalty, right, assume_a="pos")


def lasso(members: jax.Array, scores: jax.Array, weights: jax.Array, strength: jax.Array) -> jax.Array:
    """Least squares with a penalty on the absolute values of the coefficients, of which many are then 0.

    `argmin_a,c sum_n weights[n] (scores[n] - c - members[n] . a)^2 / (2 sum_n weights[n]) + strength |a|_1`, as scikit-learn's
    `Lasso`. By accelerated proximal gradients with restarts.

    Args:
        members: as for `ridge`.
        scores: as for `ridge`.
        weights: as for `ridge`.
        strength: of the penalty, at least 0.

    Returns:
        The coefficients `a`, `(groups,)`.

    References:
        A. Beck, M. Teboulle. A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems. SIAM Journal on
        Imaging Sciences 2, 2009.
        B. O'Donoghue, E. Candes. Adaptive Restart for Accelerated Gradient Schemes. Foundations of Computational Mathematics 15,
        2015. arXiv:1204.3982.
    """
    gram, right, _ = _moments(members, scores, weights)
    # A bound of the largest eigenvalue; a gram matrix of zeros has no solution but 0, whatever the step.
    steepness = jnp.abs(gram).sum(axis=1).max()
    step = 1 / jnp.where(steepness > 0, steepness, jnp.ones_like(steepness))
    tolerance = jnp.finfo(gram.dtype).eps

    def unfinished(state: _State) -> jax.Array:
        number, solution, last, _, _ = state
        change = jnp.abs(solution - last).max()
        return (number < MOST_ITERATIONS) & ((number < 2) | (change > tolerance * jnp.abs(solution).max()))

    def advance(state: _State) -> _State:
        number, solution, _, point, momentum = state
        moved = point - step * (jnp.matmul(gram, point, precision=jax.lax.Precision.HIGHEST) - right)
        new = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - step * strength, 0)
        uphill = jnp.dot(point - new, new - solution) > 0
        momentum = jnp.where(uphill, jnp.ones_like(momentum), momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        point = new + (momentum - 1) / following * (new - solution)
        return number + 1, new, solution, point, following

    zeros = jnp.zeros_like(right)
    start = (jnp.zeros((), jnp.int32), zeros, zeros, zeros, jnp.ones((), gram.dtype))
    return jax.lax.while_loop(unfinished, advance, start)[1]


def least_strength(members: jax.Array, scores: jax.Array, weights: jax.Array) -> jax.Array:
    """The least strength with which all coefficients of `lasso` are 0: the largest covariance of a group and the scores."""
    return jnp.abs(_moments(members, scores, weights)[1]).max()


def _moments(members: jax.Array, scores: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Weighted covariances of the members with one another and with the scores, and the sum of the weights."""
    total = weights.sum()
    total = jnp.where(total > 0, total, jnp.ones_like(total))
    shares = weights / total
    precise = jax.lax.Precision.HIGHEST
    members = members - jnp.matmul(shares, members, precision=precise)[None]
    scores = scores - jnp.dot(shares, scores, precision=precise)
    weighted = (members * shares[:, None]).T
    return jnp.matmul(weighted, members, precision=precise), jnp.matmul(weighted, scores, precision=precise), total

"""Shapley values: each group's mean contribution over all orders in which groups can join, exact or by sampling orders."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import check_count, check_key
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.perturbation.game import Game, end_coalitions, ends, game, indices, weighted_sum
from jaxviz.checks import check_flag
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import TargetLike

# 2^20 evaluations, a million; each further group doubles them.
MOST_GROUPS = 20

# Groups whose ranks are counted, each beside each, which takes longer than to sort where they are many.
MOST_COMPARED = 64


@cautious
def shapley_values(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    mask: Any = None,
    baseline: Any = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Exact Shapley values: the score's difference from a baseline, shared fairly among groups of features.

    `attribution[i] = sum_{S without g} |S|! (n - |S| - 1)! / n! * (score(S with g) - score(S))`, `g` the group of feature `i`,
    `n` the number of groups, `score(S)` the score where all groups but those in `S` stand at the baseline.

    The shares of an example's groups sum to `score(inputs) - score(baseline)`.

    Args:
        model: the model.
        inputs: as for `feature_ablation`.
        target: as for `gradient`.
        mask: as for `feature_ablation`; at most 20 groups.
        baseline: as for `feature_ablation`.
        chunk_size: most model evaluations (coalitions x examples) in flight, at least one coalition; memory grows with it. None
            chooses by the size of the inputs.
        progress: draw a progress bar.

    Returns:
        The attribution, as for `feature_ablation`: all features of a group have the share of the group. It costs
        `2**n` evaluations.

    Raises:
        TypeError, ValueError: as for `feature_ablation`, and if there are more than 20 groups.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs.prod(axis=1), ())
        >>> shapley_values(model, jnp.array([[2.0, 3.0]]))  # score 6, to which neither gives anything alone
        Array([[3., 3.]], dtype=float32)

    Note:
        Captum's `ShapleyValues` goes through all orders, `n * n!` evaluations, where this goes through all coalitions: 64 against
        4320 for 6 groups.

    References:
        L. S. Shapley. A Value for n-Person Games. Contributions to the Theory of Games II, 1953.
        E. Strumbelj, I. Kononenko. An Efficient Explanation of Individual Classifications using Game Theory. JMLR 11, 2010.
    """
    name = "shapley_values"
    ours = game(name, model, inputs, target, mask, baseline, chunk_size)
    count = ours.groups.count
    if count > MOST_GROUPS:
        raise ValueError(
            f"{name}: exact values of {count} groups take 2**{count} evaluations; at most {MOST_GROUPS} groups are taken: give "
            "a mask with fewer groups, or use shapley_sampling or kernel_shap"
        )
    worth = ends(ours)
    total = chunks.fold(
        functools.partial(_add_coalitions, game=ours, worth=worth, factors=_factors(count)),
        np.zeros((count, worth.shape[1]), worth.dtype),
        indices(1 << count),
        ours.sizes(1 << count, chunk_size),
        progress=progress,
        label="Shapley values",
    )
    return _attribution(ours, total)


@cautious
def shapley_sampling(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    mask: Any = None,
    baseline: Any = None,
    samples: int = 25,
    antithetic: bool = True,
    key: jax.Array | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Shapley values by sampling: each group's contribution when groups join in random order, one after the other.

    `attribution[i] = mean_s score(groups before g in order s, with g) - score(groups before g in order s)`, `g` the group of
    feature `i`.

    Whatever the samples, the shares of an example's groups sum to `score(inputs) - score(baseline)`. All examples have the same
    orders, so that an example's attribution does not depend on the batch it is in.

    Args:
        model: the model.
        inputs: as for `feature_ablation`.
        target: as for `gradient`.
        mask: as for `feature_ablation`.
        baseline: as for `feature_ablation`.
        samples: number of orders, at least 1. Each costs `n - 1` evaluations for `n` groups.
        antithetic: whether every second order is the one before it backwards. It costs nothing, and with even samples takes all
            errors away that come of groups interacting in pairs; with odd samples those of the last order stay.
        key: a `jax.random.key`; the same key draws the same orders, whatever chunk_size.
        chunk_size: most model evaluations (coalitions x examples) in flight, at least one coalition.
        progress: draw a progress bar.

    Returns:
        The attribution, as for `shapley_values`, of which it is an unbiased estimate.

    Raises:
        TypeError, ValueError: as for `feature_ablation`, and if key is missing or samples is less than 1.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs.prod(axis=1), ())
        >>> shapley_sampling(model, jnp.array([[2.0, 3.0]]), samples=2, key=jax.random.key(0))
        Array([[3., 3.]], dtype=float32)

    Note:
        As Captum's `ShapleyValueSampling` with `antithetic=False`; the whole inputs are evaluated once there for each order, here
        once. SHAP's `PermutationExplainer` has every order backwards, too; a masker with several rows is the mean of what this
        gives with each as the baseline, and its `error_bounds` are the square root of what
        `smooth(shapley_sampling, samples=n, noise=0, reduce="variance")` gives of one order each.

    References:
        J. Castro, D. Gomez, J. Tejada. Polynomial Calculation of the Shapley Value Based on Sampling. Computers & Operations
        Research 36, 2009.
        R. Mitchell, J. Cooper, E. Frank, G. Holmes. Sampling Permutations for Shapley Value Estimation (antithetic orders).
        JMLR 23, 2022. arXiv:2104.12199.
    """
    name = "shapley_sampling"
    ours = game(name, model, inputs, target, mask, baseline, chunk_size)
    key = check_key(name, key)
    check_count(name, "samples", samples)
    samples, antithetic = int(samples), check_flag(name, "antithetic", antithetic)
    count = ours.groups.count
    sizes = ours.sizes(samples * (count - 1), chunk_size)
    if len(sizes) == 1 and not check_flag(name, "progress", progress):
        return _sampled_at_once(ours, key, samples, antithetic)  # a small network's time is that of the calls
    worth, ranks = _begin(ours, key, samples, antithetic)
    total = chunks.fold(
        functools.partial(_add_joined, game=ours, worth=worth, ranks=ranks),
        np.zeros((count, worth.shape[1]), worth.dtype),
        _joined(samples, count),
        sizes,
        progress=progress,
        label="Shapley sampling",
    )
    return _sampled(ours, total, worth, ranks)


def _joined(samples: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The coalitions of orders, of neither no group nor all: each one's order, and how many groups have joined."""
    sample, length = np.divmod(indices(samples * (count - 1)), max(count - 1, 1))
    return sample, length + 1


@functools.partial(jit, static_argnums=(2, 3))
def _sampled_at_once(game: Game, key: jax.Array, samples: int, antithetic: bool) -> Any:
    count = game.groups.count
    ranks = orders(key, samples, count, antithetic)
    joined = ranks[:, None] < jnp.arange(1, count, dtype=jnp.int32)[None, :, None]
    scores = game.scores(jnp.concatenate([joined.reshape(-1, count), end_coalitions(game)]))
    nobody, everybody = (jnp.broadcast_to(worth, (samples, 1, len(worth))) for worth in scores[-2:])
    worth = jnp.concatenate([nobody, scores[:-2].reshape(samples, count - 1, -1), everybody], axis=1)
    # By rank, what the group adds that joins then; and of each group, by its own ranks.
    added = jnp.take_along_axis(worth[:, 1:] - worth[:, :-1], ranks[:, :, None], axis=1)
    return _attribution(game, added.mean(axis=0))


@functools.partial(jit, static_argnums=(2, 3))
def _begin(game: Game, key: jax.Array, samples: int, antithetic: bool) -> tuple[jax.Array, jax.Array]:
    """The worth of no group and of all, and the orders."""
    return ends(game), orders(key, samples, game.groups.count, antithetic)


@functools.partial(jit, static_argnums=(1, 2, 3))
def orders(key: jax.Array, samples: int, count: int, antithetic: bool) -> jax.Array:
    """Random orders of so many groups: the rank of each group in each, int32 `(samples, count)`."""
    drawn = -(-samples // 2) if antithetic else samples
    # As good as jax.random.permutation for counts that are far from 2^32, and compiled in half the time.
    ranks = ranked(jax.random.bits(key, (drawn, count), jnp.uint32), compared=count <= MOST_COMPARED)
    if antithetic:
        ranks = jnp.stack([ranks, count - 1 - ranks], axis=1).reshape(-1, count)[:samples]
    return ranks


def ranked(bits: jax.Array, compared: bool) -> jax.Array:
    """The orders that random numbers give, `(orders, groups)`, each compared with each or sorted, not jitted."""
    if not compared:
        return jnp.argsort(bits).astype(jnp.int32)  # an order is as evenly drawn as the ranks that it gives
    ahead = jnp.tri(bits.shape[1], k=-1, dtype=bool)[None]  # of two that have drawn the same
    mine, others = bits[:, :, None], bits[:, None]
    return ((others < mine) | ((others == mine) & ahead)).sum(axis=2, dtype=jnp.int32)


def _factors(count: int) -> np.ndarray:
    """By the size of a coalition, how much its worth counts for its members, and for the others: `(2, count + 1)`."""
    binomials = [math.comb(count, size) for size in range(count + 1)]
    inside = [1 / (size * binomial) if size else 0.0 for size, binomial in enumerate(binomials)]
    outside = [-1 / ((count - size) * binomial) if size < count else 0.0 for size, binomial in enumerate(binomials)]
    return np.array([inside, outside])


@jit
def _add_coalitions(
    total: jax.Array, numbers: jax.Array, game: Game, worth: jax.Array, factors: jax.Array
) -> jax.Array:
    """Adds what coalitions are worth; the members of each are the bits of its number."""
    coalitions = (numbers[:, None] >> jnp.arange(game.groups.count, dtype=jnp.int32)[None]) & 1 == 1
    inside, outside = factors.astype(total.dtype)[:, coalitions.sum(axis=1)]
    weights = jnp.where(coalitions, inside[:, None], outside[:, None])
    return total + weighted_sum(weights, game.scores(coalitions) - worth[:1])


@jit
def _add_joined(
    total: jax.Array, variations: tuple[jax.Array, jax.Array], game: Game, worth: jax.Array, ranks: jax.Array
) -> jax.Array:
    """Adds what the first groups of an order are worth: to the last of them, and taken from the next."""
    sample, length = variations
    rank = ranks[sample]
    shares = _shares(rank, length, total.dtype)
    return total + weighted_sum(shares, game.scores(rank < length[:, None]) - worth[:1])


def _shares(rank: jax.Array, length: Any, dtype: Any) -> jax.Array:
    """How much the worth of the first groups of an order counts for each group: for the last of them, and against the next."""
    return (rank == length[:, None] - 1).astype(dtype) - (rank == length[:, None]).astype(dtype)


@jit
def _sampled(game: Game, total: jax.Array, worth: jax.Array, ranks: jax.Array) -> Any:
    is_last = (ranks == game.groups.count - 1).astype(total.dtype)
    total = total + is_last.sum(axis=0)[:, None] * (worth[1:] - worth[:1])
    return game.groups.attribution(total.T / len(ranks), game.inputs)


@jit
def _attribution(game: Game, shares: jax.Array) -> Any:
    return game.groups.attribution(shares.T, game.inputs)

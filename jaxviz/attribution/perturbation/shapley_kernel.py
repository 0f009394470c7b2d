"""KernelSHAP: Shapley values as the solution of a weighted least-squares problem over coalitions of groups."""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.arguments import check_count, check_key
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.perturbation.game import (
    Game,
    check_regression,
    collect,
    ends,
    game,
    indices,
    scores_in,
    weighted_sum,
)
from jaxviz.attribution.perturbation.selection import first_in
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import TargetLike


@cautious
def kernel_shap(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    mask: Any = None,
    baseline: Any = None,
    samples: int | None = None,
    nonzero: int | None = None,
    key: jax.Array | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """KernelSHAP: Shapley values by regression of the score on which groups of features are there.

    `attribution = argmin_a sum_S w(S) (score(S) - score(baseline) - sum_{g in S} a_g)^2`, subject to
    `sum_g a_g = score(inputs) - score(baseline)`, with the Shapley kernel `w(S) = (n - 1) / (C(n, |S|) |S| (n - |S|))`, `n` the
    number of groups, `score(S)` the score where all groups but those in `S` stand at the baseline.

    Over all coalitions this is the exact Shapley value. Where samples do not reach for all, the coalitions of the sizes that
    weigh most (one group, all but one, and so on) are taken whole, as far as samples reach; the rest is drawn by the kernel's
    weights, each coalition with its complement. The constraint always holds. All examples have the same coalitions, so that an
    example's attribution does not depend on the batch it is in.

    Args:
        model: the model.
        inputs: as for `feature_ablation`.
        target: as for `gradient`.
        mask: as for `feature_ablation`; at most 4096 groups.
        baseline: as for `feature_ablation`.
        samples: most coalitions, at least 1, beside the empty and the whole one. None: `2 * n + 2048`. All coalitions are
            taken, and the result is exact, where `2**n - 2` are no more than that. With fewer than about `2 * n` the regression
            is underdetermined, and the most even solution is given; `shapley_sampling` is the better one there.
        nonzero: most groups of each example that have a share, at least 1: those that least-angle regression takes in first; the
            others have 0, and the shares still sum to the difference of scores. Meant for tens, since the selection takes about
            `nonzero**4` operations per example. None: all.
        key: a `jax.random.key`; the same key draws the same coalitions, whatever chunk_size.
        chunk_size: most model evaluations (coalitions x examples) in flight, at least one coalition; memory grows with it, and
            beside it by a score per sample and example and by the coalitions themselves, samples x groups.
        progress: draw a progress bar.

    Returns:
        The attribution, as for `shapley_values`. It costs an evaluation per sample, and two.

    Raises:
        TypeError, ValueError: as for `feature_ablation`, and if key is missing, samples or nonzero is less than 1, or there are
            more than 4096 groups.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs.prod(axis=1), ())
        >>> kernel_shap(model, jnp.array([[2.0, 3.0]]), key=jax.random.key(0)).round()
        Array([[3., 3.]], dtype=float32)

    Note:
        Captum's `KernelShap` draws all coalitions, alone, 50 of them by default, and approximates the constraint by a weight of
        a million for the empty and the whole coalition. The default number of samples here is that of the paper's own
        implementation. Its `link` is a target here, such as `lambda outputs: jax.scipy.special.logit(outputs[:, 0])` (where it
        has several data, it averages over them before); its data are the mean of what this gives for each as the baseline. By
        default it selects ten features before the regression, `l1_reg="num_features(10)"`, which is `nonzero=10` here. What it
        selects by a penalty instead (`"aic"`, `"bic"`, a number) can be had by `lime` with a surrogate of one's own.

    References:
        S. Lundberg, S.-I. Lee. A Unified Approach to Interpreting Model Predictions. NeurIPS 2017. arXiv:1705.07874.
        I. Covert, S.-I. Lee. Improving KernelSHAP: Practical Shapley Value Estimation Using Linear Regression (coalitions with
        their complements). AISTATS 2021. arXiv:2012.01536.
    """
    name = "kernel_shap"
    ours = game(name, model, inputs, target, mask, baseline, chunk_size)
    key = check_key(name, key)
    count = ours.groups.count
    check_regression(name, count)
    if samples is None:
        samples = 2 * count + 2048
    check_count(name, "samples", samples)
    kept = count if nonzero is None else min(check_count(name, "nonzero", nonzero), count)
    plan = _plan(count, int(samples))
    coalitions, weights = _coalitions(plan.whole, plan.weights, plan.chances, key, plan.drawn)
    parts = collect(
        functools.partial(scores_in, coalitions=coalitions, game=ours),
        indices(len(weights)),
        ours.sizes(len(weights), chunk_size),
        progress=progress,
        label="KernelSHAP",
    )
    return _solution(kept, ours, coalitions, weights, parts, ends(ours))


class _Plan(NamedTuple):
    """Which coalitions are taken.

    Attributes:
        whole: those of the sizes that are taken whole, bool `(m, groups)`.
        weights: their weights, `(m,)`; those of all coalitions sum to 1.
        chances: the probability of each size, 0 to groups, among those that are drawn, `(groups + 1,)`.
        drawn: how many are drawn.
    """

    whole: np.ndarray
    weights: np.ndarray
    chances: np.ndarray
    drawn: int


@functools.lru_cache(maxsize=16)
def _plan(count: int, samples: int) -> _Plan:
    sizes = np.arange(1, count)
    mass = np.zeros(count + 1)
    mass[1:count] = 1 / (sizes * (count - sizes))
    mass /= max(mass.sum(), 1e-30)
    everything = samples >= 2**count - 2
    left, chances, weights = samples, mass.copy(), list[float]()
    whole = [np.zeros((0, count), bool)]
    for size in range(1, count // 2 + 1):
        pair = {size, count - size}
        number = len(pair) * math.comb(count, size)
        share = chances[list(pair)].sum() / chances.sum()
        if not everything and left * share < number:
            break  # fewer draws would fall on these sizes than they have coalitions
        members = np.array(list(itertools.combinations(range(count), size)))
        rows = np.zeros((len(members), count), bool)
        np.put_along_axis(rows, members, True, axis=1)
        whole += [rows] if len(pair) == 1 else [rows, ~rows]
        weights += [mass[list(pair)].sum() / number] * number
        chances[list(pair)] = 0
        left -= number
    drawn = left if chances.sum() > 0 else 0
    return _Plan(np.concatenate(whole), np.array(weights, np.float64), chances, drawn)


@functools.partial(jit, static_argnums=4)
def _coalitions(
    whole: jax.Array, weights: jax.Array, chances: jax.Array, key: jax.Array, drawn: int
) -> tuple[jax.Array, jax.Array]:
    """All coalitions, bool `(samples, groups)`, and their weights."""
    if not drawn:
        return whole, weights
    count, pairs = whole.shape[1], -(-drawn // 2)

    def draw(number: jax.Array) -> jax.Array:
        # One call for both, since it takes long to compile.
        uniform = jax.random.uniform(jax.random.fold_in(key, number), (count + 1,))
        size = (uniform[0] >= jnp.cumsum(chances / chances.sum())).sum()
        return jnp.argsort(uniform[1:]) < jnp.minimum(size, count - 1)

    ones = jax.vmap(draw)(jnp.arange(pairs, dtype=jnp.int32))
    random = jnp.stack([ones, ~ones], axis=1).reshape(-1, count)[:drawn]
    # They stand for all the coalitions of their sizes, in the proportions of the kernel.
    each = jnp.full(drawn, chances.sum() / drawn, weights.dtype)
    return jnp.concatenate([whole, random]), jnp.concatenate([weights, each])


@functools.partial(jit, static_argnums=0)
def _solution(
    kept: int, game: Game, coalitions: jax.Array, weights: jax.Array, parts: list[jax.Array], worth: jax.Array
) -> Any:
    dtype = worth.dtype
    gain = worth[1] - worth[0]
    present = game.groups.present.astype(dtype)
    chosen = None
    if kept < coalitions.shape[1]:
        gains = jnp.concatenate([*parts, worth[1:]]) - worth[:1]
        chosen, counts = first_in(coalitions.astype(dtype), weights.astype(dtype), gains, game.groups.present, kept)
        counts = counts.astype(dtype)
        present = jnp.put_along_axis(
            jnp.zeros((len(gain), coalitions.shape[1]), dtype), chosen, counts, 1, inplace=False
        )
    even = (gain[:, None] / present.sum(axis=1, keepdims=True)) * present
    if not parts:  # one group: it has all
        return game.groups.attribution(even, game.inputs)
    members = coalitions.astype(dtype)
    weighted = members * weights.astype(dtype)[:, None]
    gram = weighted_sum(weighted, members)
    # The constraint is met by the even shares; what is looked for is how far the shares are from even, which sums to zero.
    beyond_even = jnp.concatenate(parts) - worth[:1] - weighted_sum(members.T, even.T)
    right = _centered(weighted_sum(beyond_even, weighted), present)
    if chosen is None:
        deviations = _deviations(gram[None], right, present)
    else:  # a small system for each example
        few = _deviations(gram[chosen[:, :, None], chosen[:, None]], jnp.take_along_axis(right, chosen, 1), counts)
        deviations = jnp.put_along_axis(jnp.zeros_like(right), chosen, few, 1, inplace=False)
    return game.groups.attribution(even + deviations, game.inputs)


def _deviations(gram: jax.Array, right: jax.Array, present: jax.Array) -> jax.Array:
    """How far the shares of groups are from even, `(batch, groups)`: gram `(1 or batch, groups, groups)`, the rest as it is."""
    system = _centered(jnp.swapaxes(_centered(gram, present[:, None]), 1, 2), present[:, None])
    return _centered(_least_squares(system, right), present)


def _centered(values: jax.Array, present: jax.Array) -> jax.Array:
    """The values of the groups that are present, less their mean; 0 for the others. Groups are the last axis."""
    mean = (values * present).sum(axis=-1, keepdims=True) / present.sum(axis=-1, keepdims=True)
    return (values - mean) * present


def _least_squares(system: jax.Array, right: jax.Array) -> jax.Array:
    """Solutions `(batch, n)` of least norm of `system[b] x[b] = right[b]`; system `(1 or batch, n, n)`, positive semidefinite.

    By regularization, which refinement then takes away again: of what is well determined its fifth power is left, 1e-10, and
    what is not determined stays 0.
    """
    size = system.shape[1]
    scale = jnp.trace(system, axis1=1, axis2=2)[:, None, None] / size
    scale = jnp.where(scale > 0, scale, jnp.ones_like(scale))
    factor = jnp.linalg.cholesky(system + 0.01 * scale * jnp.eye(size, dtype=system.dtype)[None])

    def apply(function: Any, matrices: jax.Array, vectors: jax.Array) -> jax.Array:
        if len(matrices) == 1:
            return function(matrices[0], vectors.T).T
        return jax.vmap(function)(matrices, vectors)

    solve = functools.partial(apply, lambda lower, vector: jax.scipy.linalg.cho_solve((lower, True), vector), factor)
    product = functools.partial(apply, functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST), system)
    solution = solve(right)
    for _ in range(4):
        solution = solution + solve(right - product(solution))
    return solution

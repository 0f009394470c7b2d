"""LIME: a linear model of the score around the inputs, fitted to samples that lack some of the features."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.arguments import check_choice, check_count, check_key
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.perturbation import surrogates
from jaxviz.attribution.perturbation.game import Game, check_regression, collect, game, indices, scores_of
from jaxviz.checks import given, is_traced
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.static import Static
from jaxviz.targets import TargetLike

SURROGATES = {"lasso": surrogates.lasso, "ridge": surrogates.ridge}
STRENGTHS = {"lasso": 0.01, "ridge": 1.0}
KERNELS = ("cosine", "euclidean")


@cautious
def lime(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    mask: Any = None,
    baseline: Any = None,
    samples: int = 1000,
    surrogate: str | Callable[..., jax.Array] = "lasso",
    strength: float | jax.Array | None = None,
    kernel: str | Callable[..., jax.Array] = "cosine",
    kernel_width: float | jax.Array = 1.0,
    sampler: Callable[..., jax.Array] | None = None,
    key: jax.Array | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """LIME: the coefficients of a linear model of the score, fitted around the inputs.

    `attribution = argmin_a min_c sum_s weight_s (score(inputs_s) - c - sum_{g in S_s} a_g)^2 + penalty(a)`, where `inputs_s` are
    the inputs with all groups but those in the random coalition `S_s` at the baseline, and
    `weight_s = exp(-distance(inputs, inputs_s)^2 / (2 kernel_width^2))`.

    All examples have the same coalitions, so that an example's attribution does not depend on the batch it is in.

    Args:
        model: the model.
        inputs: as for `feature_ablation`.
        target: as for `gradient`.
        mask: as for `feature_ablation`; at most 4096 groups. For images, superpixels are usual (`superpixels`).
        baseline: as for `feature_ablation`.
        samples: number of coalitions, at least 1; more than there are groups.
        surrogate: `"lasso"`, `"ridge"`, or a callable `(members, scores, weights) -> coefficients` for one example: of floating
            point `(samples, groups)` (1 where a group is there, else 0), `(samples,)` and `(samples,)` to `(groups,)`.
        strength: of the surrogate's penalty, as scikit-learn's `alpha`; None: 0.01 for lasso, 1 for ridge.
        kernel: `"cosine"` or `"euclidean"`: the distance between inputs and sample, over all their features (of integer inputs
            each feature counts 1 where it is there, else 0); or a callable `(inputs, sample, coalition) -> weights`, of two
            batches and a bool array `(groups,)` to `(batch,)`.
        kernel_width: the distance at which the weight is 0.61, more than 0.
        sampler: what draws the coalitions: a callable `(key, samples, groups) -> bool array (samples, groups)`; None: each group
            is there with probability 1/2.
        key: a `jax.random.key`; the same key draws the same coalitions, whatever chunk_size.
        chunk_size: most model evaluations (coalitions x examples) in flight, at least one coalition; memory grows with it, and
            beside it by a score and a weight per sample and example and by the coalitions themselves, samples x groups.
        progress: draw a progress bar.

    Returns:
        The attribution, as for `feature_ablation`: all features of a group have the coefficient of the group. It costs an
        evaluation per sample. Callables (surrogate, kernel, sampler) are JAX functions; give the same one each time, since a new
        lambda is a new program.

    Raises:
        TypeError, ValueError: as for `feature_ablation`, and if key is missing, a setting is unknown or out of its range, or
            there are more than 4096 groups.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ jnp.array([2.0, -3.0]), ())
        >>> lime(model, jnp.array([[1.0, 1.0]]), surrogate="ridge", strength=1e-3, key=jax.random.key(0)).round(2)
        Array([[ 2., -3.]], dtype=float32)

    Note:
        Surrogate, penalty, kernel and sampler are by default those of Captum's `Lime`; samples are 50 there, and 1000 as here in
        the paper's implementation for images, which fits a ridge model of strength 1 with a kernel of width 0.25 (width^2 in
        place of 2 width^2) on the cosine distance of coalitions. The paper selects few features first; lasso does so by itself.

    References:
        M. T. Ribeiro, S. Singh, C. Guestrin. "Why Should I Trust You?": Explaining the Predictions of Any Classifier. KDD 2016.
        arXiv:1602.04938.
    """
    name = "lime"
    ours = game(name, model, inputs, target, mask, baseline, chunk_size)
    key = check_key(name, key)
    check_count(name, "samples", samples)
    check_regression(name, ours.groups.count)
    if not callable(surrogate):
        check_choice(name, "surrogate", surrogate, SURROGATES)
        strength = STRENGTHS[surrogate] if strength is None else strength
        penalty = _number(name, "strength", strength, at_least_0=surrogate == "lasso")
    elif strength is None:
        penalty = np.float32(0)
    else:
        raise ValueError(f"{name}: strength belongs to the surrogates 'lasso' and 'ridge'; a callable has its own")
    if not callable(kernel):
        check_choice(name, "kernel", kernel, KERNELS)
    width = _number(name, "kernel_width", kernel_width)
    if sampler is not None and not callable(sampler):
        raise TypeError(f"{name}: sampler must be None or callable, got {type(sampler).__name__}")
    coalitions = _coalitions(Static(sampler), int(samples), ours.groups.count, key)
    if coalitions.shape != (samples, ours.groups.count):
        raise ValueError(
            f"{name}: sampler must give an array of shape (samples, groups) = {samples, ours.groups.count}, "
            f"got {coalitions.shape}"
        )
    parts = collect(
        functools.partial(_weighted_scores, Static(kernel), coalitions=coalitions, game=ours, width=width),
        indices(samples),
        ours.sizes(samples, chunk_size),
        progress=progress,
        label="LIME",
    )
    return _coefficients(Static(surrogate), ours, coalitions, parts, penalty)


def _number(function: str, name: str, value: Any, *, at_least_0: bool = False) -> Any:
    """A setting as an argument of jitted functions; raises if it is out of range."""
    if is_traced(value) and not value.shape:
        return value
    value = value.item() if isinstance(value, jax.Array) and not value.shape else value
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{function}: {name} must be a number, got {value!r}")
    if not (math.isfinite(value) and (value > 0 or (at_least_0 and value == 0))):
        raise ValueError(
            f"{function}: {name} must be finite and {'at least' if at_least_0 else 'more than'} 0, got {value!r}"
        )
    return np.float32(value)


@functools.partial(jit, static_argnums=(0, 1, 2))
def _coalitions(sampler: Static, samples: int, count: int, key: jax.Array) -> jax.Array:
    if sampler.value is not None:
        drawn = sampler.value(key, samples, count)
        if not hasattr(drawn, "shape"):
            raise ValueError(f"lime: sampler must give an array of shape {samples, count}, got {given(drawn)}")
        return jnp.asarray(drawn).astype(bool)
    return jax.vmap(lambda number: jax.random.bernoulli(jax.random.fold_in(key, number), shape=(count,)))(
        jnp.arange(samples, dtype=jnp.int32)
    )


@functools.partial(jit, static_argnums=0)
def _weighted_scores(
    kernel: Static, numbers: jax.Array, coalitions: jax.Array, game: Game, width: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The scores and the weights of those coalitions that have these numbers, `(n, batch)` each."""

    def weighted_score(coalition: jax.Array) -> tuple[jax.Array, jax.Array]:
        sample = game.perturbed(coalition)
        score = scores_of(game.model, sample, game.target)
        if callable(kernel.value):
            weight = kernel.value(game.inputs, sample, coalition)
            if getattr(weight, "shape", None) != score.shape:
                raise ValueError(
                    f"lime: kernel must give one weight per example, an array of shape {score.shape}, got "
                    f"{getattr(weight, 'shape', given(weight))}"
                )
        else:
            distance = _distance(kernel.value, game, sample, coalition)
            weight = jnp.exp(-jnp.square(distance / width.astype(distance.dtype)) / 2)
        return score, weight.astype(score.dtype)

    return jax.vmap(weighted_score)(coalitions[numbers])


def _distance(kind: str, game: Game, sample: Any, coalition: jax.Array) -> jax.Array:
    """The distance between each of the inputs and its sample, float32 `(batch,)`."""

    def features(whole: bool) -> jax.Array:
        there = game.groups.lay(coalition | whole, game.inputs)
        columns = []
        leaves = zip(jax.tree.leaves(game.inputs), jax.tree.leaves(sample), jax.tree.leaves(there), strict=True)
        for original, perturbed, present in leaves:
            values = original if whole else perturbed
            if not jnp.issubdtype(original.dtype, jnp.floating):
                values = jnp.broadcast_to(present, original.shape)
            columns.append(values.reshape(len(values), -1).astype(jnp.float32))
        return jnp.concatenate(columns, axis=1)

    one, other = features(True), features(False)
    if kind == "euclidean":
        return jnp.sqrt(jnp.square(one - other).sum(axis=1))
    norms = jnp.sqrt(jnp.square(one).sum(axis=1)) * jnp.sqrt(jnp.square(other).sum(axis=1))
    return 1 - (one * other).sum(axis=1) / jnp.maximum(norms, 1e-8)


@functools.partial(jit, static_argnums=0)
def _coefficients(
    surrogate: Static, game: Game, coalitions: jax.Array, parts: list[tuple[jax.Array, jax.Array]], strength: jax.Array
) -> Any:
    scores, weights = (jnp.concatenate(part).T for part in zip(*parts, strict=True))
    members = coalitions.astype(scores.dtype)

    def fit(scores: jax.Array, weights: jax.Array, present: jax.Array) -> jax.Array:
        chosen = members * present.astype(members.dtype)[None]  # a group that an example lacks says nothing
        if callable(surrogate.value):
            found = surrogate.value(chosen, scores, weights)
            if getattr(found, "shape", None) != present.shape:
                raise ValueError(
                    f"lime: surrogate must give one coefficient per group, an array of shape {present.shape}, got "
                    f"{getattr(found, 'shape', given(found))}"
                )
            return jnp.asarray(found)
        return SURROGATES[surrogate.value](chosen, scores, weights, strength.astype(scores.dtype))

    present = jnp.broadcast_to(game.groups.present, (len(scores), game.groups.count))
    return game.groups.attribution(jax.vmap(fit)(scores, weights, present), game.inputs)

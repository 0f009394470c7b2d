"""LIME: a linear model of the score around the inputs, fitted to samples that lack some of the features."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.arguments import check_choice, check_count, check_key
from jaxviz.attribution.caution import cautious, if_zero
from jaxviz.attribution.perturbation import surrogates
from jaxviz.attribution.perturbation.game import Game, check_regression, collect, game, indices, scores_of
from jaxviz.attribution.perturbation.interpretable import Space, space
from jaxviz.checks import check_number, given, is_traced
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
    sampler: Callable[..., Any] | None = None,
    to_inputs: Callable[..., Any] | None = None,
    to_features: Callable[..., jax.Array] | None = None,
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
        strength: of the surrogate's penalty, as scikit-learn's `alpha`; None: 0.01 for lasso, 1 for ridge. The lasso's is in
            units of the score: where that changes by little, it may leave nothing. A warning then says what would leave some.
        kernel: `"cosine"` or `"euclidean"`: the distance between inputs and sample, over all their features (of integer inputs
            each feature counts 1 where it is there, else 0); or a callable `(inputs, sample, coalition) -> weights`, of two
            batches and a bool array `(groups,)` (the features of the sample, where they are no groups) to `(batch,)`.
        kernel_width: the distance at which the weight is 0.61, more than 0.
        sampler: what draws the coalitions: a callable `(key, samples, groups) -> bool array (samples, groups)`; None: each group
            is there with probability 1/2.
        to_inputs: for features of your own in place of groups: a callable `(sample, inputs) -> inputs`, from what the sampler
            draws, a row of numbers `(features,)`, to inputs. The sampler gives an array `(samples, features)` then.
        to_features: for samples of the inputs in place of groups: a callable `(sample, inputs) -> array (batch, features)`, from
            perturbed inputs to what the surrogate is a model of. The sampler is a callable `(key, inputs) -> inputs` then, that
            draws one sample.
        key: a `jax.random.key`; the same key draws the same coalitions, whatever chunk_size.
        chunk_size: most model evaluations (coalitions x examples) in flight, at least one coalition; memory grows with it, and
            beside it by a score and a weight per sample and example and by the coalitions themselves, samples x groups.
        progress: draw a progress bar.

    Returns:
        The attribution, as for `feature_ablation`: all features of a group have the coefficient of the group. With to_inputs or
        to_features the coefficients, `(batch, features)`. It costs an evaluation per sample. Callables are JAX functions; give
        the same one each time, since a new lambda is a new program.

    Raises:
        TypeError, ValueError: as for `feature_ablation`, and if key is missing, a setting is unknown or out of its range, there
            are more than 4096 groups, or a callable gives something else.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ jnp.array([2.0, -3.0]), ())
        >>> lime(model, jnp.array([[1.0, 1.0]]), surrogate="ridge", strength=1e-3, key=jax.random.key(0)).round(2)
        Array([[ 2., -3.]], dtype=float32)
        >>> def nearby(key, inputs):  # as for tables: how the score changes with the features' values
        ...     return inputs + 0.1 * jax.random.normal(key, inputs.shape, inputs.dtype)
        >>> def values(sample, inputs):
        ...     return sample
        >>> own = {"sampler": nearby, "to_features": values, "surrogate": "ridge", "strength": 1e-4}
        >>> lime(model, jnp.array([[5.0, 7.0]]), key=jax.random.key(0), **own).round(2)
        Array([[ 2., -3.]], dtype=float32)

    Note:
        Surrogate, penalty, kernel and sampler are by default those of Captum's `Lime`; samples are 50 there, and 1000 as here in
        the paper's implementation for images, which fits a ridge model of strength 1 with a kernel of width 0.25 (width^2 in
        place of 2 width^2) on the cosine distance of coalitions. The paper selects few features first; lasso does so by itself.
        `to_inputs` and `to_features` are `from_interp_rep_transform` and `to_interp_rep_transform` of Captum's `LimeBase`.

    References:
        M. T. Ribeiro, S. Singh, C. Guestrin. "Why Should I Trust You?": Explaining the Predictions of Any Classifier. KDD 2016.
        arXiv:1602.04938.
    """
    name = "lime"
    kind = space(name, sampler, to_inputs, to_features, mask, baseline)
    ours = game(name, model, inputs, target, mask, baseline, chunk_size)
    key = check_key(name, key)
    check_count(name, "samples", samples)
    if kind.is_of_groups:
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
    drawn = _drawn(kind, int(samples), ours.groups.count, key)
    parts = collect(
        functools.partial(_weighted_scores, Static(kernel), kind, drawn=drawn, game=ours, width=width),
        indices(samples),
        ours.sizes(samples, chunk_size),
        progress=progress,
        label="LIME",
    )
    check_regression(name, (parts[0][2] if parts[0][2] is not None else drawn).shape[-1])
    if surrogate == "lasso" and not is_traced(penalty):
        if_zero(functools.partial(_taken, float(penalty), kind, ours, drawn, parts))
    return _coefficients(Static(surrogate), kind, ours, drawn, parts, penalty)


def _taken(
    strength: float, kind: Space, game: Game, drawn: jax.Array, parts: list[Any], zero: np.ndarray
) -> tuple[str, str] | None:
    """Says where it is the lasso's penalty that has left nothing of an example; see `caution.if_zero`."""
    least, sizes = (np.asarray(values, np.float64) for values in _least_strengths(kind, game, drawn, parts))
    # What is left of a score that stays the same is rounding.
    changing = zero & (least > 16 * float(jnp.finfo(parts[0][0].dtype).eps) * sizes)
    if not changing.any():
        return None
    text = "the score does change with the groups, but by so little that the lasso's penalty takes it all"
    advice = "strength is in units of the score; surrogate='ridge' leaves something at any"
    most = 0.95 * least[changing].min()  # two digits of it are less than the least strength, too
    below = f"strength={strength:g} was used; up to {most:.2g} some would be left of each example"
    return f"{text}. {below}. {advice}", text


@functools.partial(jit, static_argnums=0)
def _least_strengths(kind: Space, game: Game, drawn: jax.Array, parts: list[Any]) -> tuple[jax.Array, jax.Array]:
    """The least strength at which the lasso leaves nothing of an example, and its largest score, `(batch,)` each."""
    scores = jnp.concatenate([scores for scores, *_ in parts])
    return _of_each(surrogates.least_strength, kind, game, drawn, parts), jnp.abs(scores).max(axis=0)


def _number(function: str, name: str, value: Any, *, at_least_0: bool = False) -> Any:
    """A setting as an argument of jitted functions; raises if it is out of range."""
    value = check_number(function, name, value, 0)
    if is_traced(value):
        return value
    if value == 0 and not at_least_0:
        raise ValueError(f"{function}: {name} must be more than 0, got {value!r}")
    return np.float32(value)


@functools.partial(jit, static_argnums=(0, 1, 2))
def _drawn(kind: Space, samples: int, count: int, key: jax.Array) -> jax.Array:
    return kind.draw(samples, count, key)


@functools.partial(jit, static_argnums=(0, 1))
def _weighted_scores(
    kernel: Static, kind: Space, numbers: jax.Array, drawn: jax.Array, game: Game, width: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """The scores and the weights of those samples that have these numbers, `(n, batch)` each.

    And their features `(n, batch, features)`, where these are not known from what was drawn.
    """

    def weighted_score(drawn: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        sample, features = kind.at(drawn, game)
        score = scores_of(game.model, sample, game.target)
        if callable(kernel.value):
            weight = kernel.value(game.inputs, sample, features)
            if getattr(weight, "shape", None) != score.shape:
                raise ValueError(
                    f"lime: kernel must give one weight per example, an array of shape {score.shape}, got "
                    f"{getattr(weight, 'shape', given(weight))}"
                )
        else:
            distance = _distance(kernel.value, kind, game, sample, features)
            weight = jnp.exp(-jnp.square(distance / width.astype(distance.dtype)) / 2)
        kept = None if kind.to_features.value is None else features.astype(score.dtype)
        return score, weight.astype(score.dtype), kept

    return jax.vmap(weighted_score)(drawn[numbers])


def _distance(name: str, kind: Space, game: Game, sample: Any, features: jax.Array) -> jax.Array:
    """The distance between each of the inputs and its sample, float32 `(batch,)`."""
    one: list[jax.Array] = []
    other: list[jax.Array] = []
    there = jax.tree.leaves(kind.is_there(sample, features, game))
    for original, perturbed, present in zip(jax.tree.leaves(game.inputs), jax.tree.leaves(sample), there, strict=True):
        pair = original, perturbed
        if not jnp.issubdtype(original.dtype, jnp.floating):
            pair = jnp.ones_like(original), jnp.broadcast_to(present, original.shape)
        for columns, values in zip((one, other), pair, strict=True):
            columns.append(values.reshape(len(values), -1).astype(jnp.float32))
    first, second = (jnp.concatenate(columns, axis=1) for columns in (one, other))
    if name == "euclidean":
        return jnp.sqrt(jnp.square(first - second).sum(axis=1))
    norms = jnp.sqrt(jnp.square(first).sum(axis=1)) * jnp.sqrt(jnp.square(second).sum(axis=1))
    return 1 - (first * second).sum(axis=1) / jnp.maximum(norms, 1e-8)


@functools.partial(jit, static_argnums=(0, 1))
def _coefficients(
    surrogate: Static,
    kind: Space,
    game: Game,
    drawn: jax.Array,
    parts: list[tuple[jax.Array, jax.Array, jax.Array | None]],
    strength: jax.Array,
) -> Any:
    def fit(members: jax.Array, scores: jax.Array, weights: jax.Array) -> jax.Array:
        if callable(surrogate.value):
            found = surrogate.value(members, scores, weights)
            if getattr(found, "shape", None) != members.shape[1:]:
                raise ValueError(
                    f"lime: surrogate must give one coefficient per group, an array of shape {members.shape[1:]}, got "
                    f"{getattr(found, 'shape', given(found))}"
                )
            return jnp.asarray(found)
        return SURROGATES[surrogate.value](members, scores, weights, strength.astype(scores.dtype))

    found = _of_each(fit, kind, game, drawn, parts)
    return game.groups.attribution(found, game.inputs) if kind.is_of_groups else found


def _of_each(
    function: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    kind: Space,
    game: Game,
    drawn: jax.Array,
    parts: list[tuple[jax.Array, jax.Array, jax.Array | None]],
) -> jax.Array:
    """What a function of members, scores and weights gives for each example."""
    scores, weights = (jnp.concatenate(part).T for part in list(zip(*parts, strict=True))[:2])
    if kind.to_features.value is None:
        members = drawn.astype(scores.dtype)[None]  # of one example, as all have the same
    else:
        members = jnp.moveaxis(jnp.concatenate([features for *_, features in parts if features is not None]), 1, 0)
    if not kind.is_of_groups:
        same = len(members) == 1
        return jax.vmap(function, (None if same else 0, 0, 0))(members[0] if same else members, scores, weights)
    present = jnp.broadcast_to(game.groups.present, (len(scores), game.groups.count)).astype(members.dtype)
    # A group that an example lacks says nothing.
    of_present = lambda scores, weights, present: function(members[0] * present[None], scores, weights)
    return jax.vmap(of_present)(scores, weights, present)

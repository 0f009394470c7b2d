"""Integrated gradients: the gradient summed up on the straight path from a baseline to the inputs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution import completeness
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.baselines import baseline_like, baseline_set
from jaxviz.attribution.caution import cautious, is_looked_at, warn_unless_finite
from jaxviz.attribution.paths import line, quadratures
from jaxviz.checks import check_flag
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import affine
from jaxviz.targets import Target, TargetLike, select


@cautious
def integrated_gradients(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    baseline: Any = None,
    steps: int = 50,
    quadrature: str = "gauss_legendre",
    multiply_by_inputs: bool = True,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Integrated gradients: a share of the score's difference from a baseline for each input.

    `attribution = (inputs - baseline) * sum_k weight_k * gradient(baseline + node_k * (inputs - baseline))`

    The attributions of an example sum to `score(inputs) - score(baseline)`, up to the error of the quadrature
    (`completeness_gap` tells it). Where that is more than 5 % of the difference, a warning says so (on CPU, as all warnings of
    attributions): the scores at both ends are two evaluations beside the steps.

    Args:
        model: the model.
        inputs: as for `gradient`.
        target: as for `gradient`.
        baseline: the point of no information: None (zeros), a number, an array that broadcasts to inputs, or a tuple of these
            for several inputs.
        steps: number of points on the path, at least 1. Each costs one gradient.
        quadrature: how they are placed and weighted: `"gauss_legendre"`, `"riemann_left"`, `"riemann_right"`,
            `"riemann_middle"` or `"trapezoid"`; their weights all sum to 1.
        multiply_by_inputs: False leaves out the factor `inputs - baseline`: the mean gradient on the path (local attribution).
        chunk_size: most model evaluations (points x examples) in flight, at least one point; memory grows with it, and not with
            steps. None chooses by the size of the inputs.
        progress: draw a progress bar.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError, ValueError: as for `gradient`, and if baseline does not broadcast to inputs, quadrature is unknown, or steps
            or chunk_size is less than 1.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: (inputs**2).sum(axis=1), ())
        >>> integrated_gradients(model, jnp.array([[1.0, 3.0]]), steps=2)  # score 10, shared as 1 and 9
        Array([[1., 9.]], dtype=float32)

    Note:
        As Captum's `IntegratedGradients`, but for the trapezoid, whose weights sum to `(steps - 1) / steps` there.

    References:
        M. Sundararajan, A. Taly, Q. Yan. Axiomatic Attribution for Deep Networks. ICML 2017. arXiv:1703.01365.
    """
    name = "integrated_gradients"
    inputs, prepared = prepare(name, model, inputs, target)
    baseline = baseline_like(name, baseline, inputs)
    quadratures.check(name, steps, quadrature, chunk_size)
    multiplied = check_flag(name, "multiply_by_inputs", multiply_by_inputs)
    whole = Model.__call__, (model,), inputs
    scores = None
    if multiplied and is_looked_at(inputs):
        start, way, scores = line.scored_ends(*whole, baseline, prepared)
    else:
        start, way = line.ends(*whole, baseline)

    def step(total: list[jax.Array], part: tuple[np.ndarray, np.ndarray]) -> list[jax.Array]:
        nodes, weights = part
        return quadratures.add(total, weights, _gradients(nodes, model, inputs, start, way, prepared))

    total = chunks.fold(
        step,
        jax.tree.map(jnp.zeros_like, start),
        quadratures.quadrature(quadrature, int(steps)),
        quadratures.sizes(steps, inputs, chunk_size),
        progress=progress,
        label="integrated gradients",
    )
    attribution = line.back(*whole, total, baseline if multiplied else None)
    if scores is not None:
        completeness.warn_later(attribution, scores, int(steps), quadrature)
    return attribution


def completeness_gap(
    model: Model,
    inputs: Any,
    attribution: Any,
    *,
    target: TargetLike = None,
    baseline: Any = None,
    baselines: Any = None,
) -> jax.Array:
    """By how much an attribution misses what it should sum to.

    `gap = sum(attribution) - (score(inputs) - score(baseline))`, per example

    Args:
        model: the model.
        inputs: as for `gradient`, or integers (token ids).
        attribution: what a method gave for them: of the structure and shapes of inputs, or of a layer through which the whole
            score passes (or of several together, a dict), whose arrays have the batch as axis 0.
        target: as the method was given.
        baseline: as the method was given.
        baselines: in place of baseline, the set that the method was given; the mean of its scores is meant.

    Returns:
        The gap of each example, `(batch,)`, in units of the score: 0 for a complete attribution. Where one is NaN, a warning says
        whether parameters, the attribution or the score are.

    Raises:
        TypeError, ValueError: as for `integrated_gradients`, and if the attribution has an array whose axis 0 is not the batch,
            or both baseline and baselines are given.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: (inputs**2).sum(axis=1), ())
        >>> inputs = jnp.array([[1.0, 3.0]])
        >>> completeness_gap(model, inputs, jv.input_x_gradient(model, inputs))  # 20 is said of a score of 10
        Array([10.], dtype=float32)

    Note:
        Captum's `return_convergence_delta`. For methods with a set of baselines it gives a gap for each sample there.
    """
    name = "completeness_gap"
    inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
    batch = jax.tree.leaves(inputs)[0].shape[0]
    leaves = jax.tree.leaves(attribution)
    like_inputs = jax.tree.map(jnp.shape, attribution) == jax.tree.map(jnp.shape, inputs)
    of_layers = leaves and all(jnp.ndim(leaf) > 1 and jnp.shape(leaf)[0] == batch for leaf in leaves)
    if not (like_inputs or of_layers):
        raise ValueError(
            f"{name}: attribution must have the structure and shapes of inputs, {jax.tree.map(jnp.shape, inputs)}, or arrays of "
            f"a layer with the batch of {batch} as axis 0, got {jax.tree.map(jnp.shape, attribution)}"
        )
    if baselines is not None and baseline is not None:
        raise TypeError(f"{name}: baseline and baselines are both given; give what the method was given")
    if baselines is None:
        reference = _scores(model, baseline_like(name, baseline, inputs), prepared)
    else:
        points = baseline_set(name, baselines, inputs)
        count = jax.tree.leaves(points)[0].shape[0]
        reference = chunks.fold(
            functools.partial(_add_scores, model=model, inputs=inputs, target=prepared),
            jnp.zeros_like(_scores(model, inputs, prepared)),
            points,
            quadratures.sizes(count, inputs, None),
        )
        reference = reference / count
    gap = _gap(model, inputs, leaves, prepared, reference)
    warn_unless_finite(name, "the gap", gap, model, leaves)
    return gap


@jit
def _gradients(
    nodes: jax.Array, model: Model, inputs: Any, start: list[jax.Array], way: list[jax.Array], target: Target
) -> list[jax.Array]:
    """The gradients at points of the path, `(points, *shape)` for each value at the end of the stretch."""

    def score(values: list[jax.Array]) -> jax.Array:
        return select(affine.onward(Model.__call__, (model,), inputs, values), target).sum()

    return jax.vmap(lambda node: jax.grad(score)(line.at(node, start, way)))(nodes)


@jit
def _scores(model: Model, inputs: Any, target: Target) -> jax.Array:
    return select(model(inputs), target)


@jit(donate_argnums=0)
def _add_scores(total: jax.Array, points: Any, model: Model, inputs: Any, target: Target) -> jax.Array:
    """Adds the scores that each example would have at some baselines."""

    def one(point: Any) -> jax.Array:
        everywhere = jax.tree.map(lambda leaf, like: jnp.broadcast_to(leaf, like.shape), point, inputs)
        return select(model(everywhere), target)

    return total + jax.vmap(one)(points).sum(axis=0)


@jit
def _gap(model: Model, inputs: Any, leaves: list[Any], target: Target, reference: jax.Array) -> jax.Array:
    difference = select(model(inputs), target) - reference
    sums = [leaf.reshape(leaf.shape[0], -1).sum(axis=1).astype(difference.dtype) for leaf in leaves]
    return functools.reduce(jnp.add, sums) - difference

"""Integrated gradients: the gradient summed up on the straight path from a baseline to the inputs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import baseline_like, prepare
from jaxviz.attribution.caution import cautious
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
    (`completeness_gap` tells it).

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
    start, way = line.ends(Model.__call__, (model,), inputs, baseline)

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
    return line.back(Model.__call__, (model,), inputs, total, baseline if multiplied else None)


def completeness_gap(
    model: Model, inputs: Any, attribution: Any, *, target: TargetLike = None, baseline: Any = None
) -> jax.Array:
    """By how much an attribution misses what it should sum to.

    `gap = sum(attribution) - (score(inputs) - score(baseline))`, per example

    Args:
        model: the model.
        inputs: as for `gradient`.
        attribution: what a method gave for them: of the structure and shapes of inputs.
        target: as the method was given.
        baseline: as the method was given.

    Returns:
        The gap of each example, `(batch,)`, in units of the score: 0 for a complete attribution.

    Raises:
        TypeError, ValueError: as for `integrated_gradients`, and if the attribution has other shapes than inputs.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: (inputs**2).sum(axis=1), ())
        >>> inputs = jnp.array([[1.0, 3.0]])
        >>> completeness_gap(model, inputs, jv.input_x_gradient(model, inputs))  # 20 is said of a score of 10
        Array([10.], dtype=float32)
    """
    name = "completeness_gap"
    inputs, prepared = prepare(name, model, inputs, target)
    baseline = baseline_like(name, baseline, inputs)
    if jax.tree.map(jnp.shape, attribution) != jax.tree.map(jnp.shape, inputs):
        raise ValueError(
            f"{name}: attribution must have the structure and shapes of inputs, {jax.tree.map(jnp.shape, inputs)}, "
            f"got {jax.tree.map(jnp.shape, attribution)}"
        )
    return _gap(model, inputs, attribution, prepared, baseline)


@jit
def _gradients(
    nodes: jax.Array, model: Model, inputs: Any, start: list[jax.Array], way: list[jax.Array], target: Target
) -> list[jax.Array]:
    """The gradients at points of the path, `(points, *shape)` for each value at the end of the stretch."""

    def score(values: list[jax.Array]) -> jax.Array:
        return select(affine.onward(Model.__call__, (model,), inputs, values), target).sum()

    return jax.vmap(lambda node: jax.grad(score)(line.at(node, start, way)))(nodes)


@jit
def _gap(model: Model, inputs: Any, attribution: Any, target: Target, baseline: Any) -> jax.Array:
    difference = select(model(inputs), target) - select(model(baseline), target)
    sums = [
        leaf.reshape(leaf.shape[0], -1).sum(axis=1).astype(difference.dtype) for leaf in jax.tree.leaves(attribution)
    ]
    return functools.reduce(jnp.add, sums) - difference

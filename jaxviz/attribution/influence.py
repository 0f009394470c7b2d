"""Conductance: the flow of an integrated-gradients path through the units of a layer, and internal influence."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import check_choice, prepare
from jaxviz.attribution.baselines import baseline_like
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.cuts import named
from jaxviz.attribution.heads import Head
from jaxviz.attribution.paths import line, quadratures
from jaxviz.compilation import jit
from jaxviz.inputs import check_layer
from jaxviz.model import Model
from jaxviz.program import OUTPUT, affine
from jaxviz.targets import Target, TargetLike

CHANGES = ("derivative", "difference")


@cautious
def conductance(
    model: Model,
    inputs: Any,
    *,
    layer: str | tuple[str, ...],
    target: TargetLike = None,
    baseline: Any = None,
    steps: int = 50,
    quadrature: str = "gauss_legendre",
    change: str = "derivative",
    side: str = OUTPUT,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Conductance: what of the score's difference from a baseline flows through each unit of a layer.

    `attribution[j] = sum_k weight_k * (d score / d y_j) * (d y_j / d alpha)` at
    `x = baseline + node_k * (inputs - baseline)`: the integral of the score's derivative along the path that the layer's
    activation `y` takes while the inputs go straight

    Where the whole score passes through the layer, the attributions of an example sum to `score(inputs) - score(baseline)`, up to
    the error of the quadrature.

    Args:
        model: the model.
        inputs: as for `gradient`.
        layer: the path of a layer, or a tuple of paths and patterns for several, each by itself.
        target: as for `gradient`.
        baseline: of the inputs: None (zeros), a number, an array that broadcasts to them, or a tuple of these for several inputs.
        steps: number of points on the path, at least 1. Each costs one gradient of the rest of the model, and one evaluation and
            one derivative forward of what is before the layer.
        quadrature: as for `integrated_gradients`.
        change: how the layer's activation changes along the path: `"derivative"`, exactly; or `"difference"`, by differences
            between `steps + 1` points, each times the gradient at the first of its two points, as Captum does.
        side: `"output"` or `"input"` of the layer.
        chunk_size: as for `integrated_gradients`.
        progress: draw a progress bar.

    Returns:
        The attribution, of the structure, shapes and dtypes of the layer's activation; for a tuple of layers a dict,
        path -> attribution, in the order of execution.

    Raises:
        TypeError, ValueError: as for `integrated_gradients`, and if the layer is not found, or change is unknown.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> def apply(params, inputs):
        ...     hidden = jv.tag(inputs @ params, "hidden")
        ...     return (hidden**2).sum(axis=1)
        >>> model = jv.Model.from_function(apply, jnp.array([[1.0, 0.0], [1.0, 2.0]]))
        >>> conductance(model, jnp.array([[1.0, 1.0]]), layer="hidden")  # of a score of 2 * 2 + 2 * 2
        Array([[4., 4.]], dtype=float32)

    Note:
        Captum's `LayerConductance` is `change="difference"`: of first order in `1 / steps`, and, as its points are those of the
        quadrature, with `"gauss_legendre"` it leaves out both ends of the path. With the derivative the sum comes out as exactly
        as that of integrated gradients.

    References:
        K. Dhamdhere, M. Sundararajan, Q. Yan. How Important Is a Neuron? ICLR 2019. arXiv:1805.12233.
        A. Shrikumar, J. Su, A. Kundaje. Computationally Efficient Measures of Internal Neuron Importance (that conductance is the
        path integral on the layer). 2018. arXiv:1807.09946.
    """
    check_choice("conductance", "change", change, CHANGES)
    return _path(
        "conductance", model, inputs, layer, target, baseline, steps, quadrature, change, side, chunk_size, progress
    )


@cautious
def internal_influence(
    model: Model,
    inputs: Any,
    *,
    layer: str | tuple[str, ...],
    target: TargetLike = None,
    baseline: Any = None,
    steps: int = 50,
    quadrature: str = "gauss_legendre",
    side: str = OUTPUT,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Internal influence: the mean gradient of the score with respect to a layer's activation, on a path of the inputs.

    `attribution = sum_k weight_k * d score / d y` at `x = baseline + node_k * (inputs - baseline)`

    Args:
        model: the model.
        inputs: as for `gradient`.
        layer: the path of a layer, or a tuple of paths and patterns for several, each by itself.
        target: as for `gradient`.
        baseline: of the inputs: None (zeros), a number, an array that broadcasts to them, or a tuple of these for several inputs.
        steps: number of points on the path, at least 1. Each costs about one gradient.
        quadrature: as for `integrated_gradients`.
        side: `"output"` or `"input"` of the layer.
        chunk_size: as for `integrated_gradients`.
        progress: draw a progress bar.

    Returns:
        The attribution, of the structure, shapes and dtypes of the layer's activation; for a tuple of layers a dict,
        path -> attribution, in the order of execution.

    Raises:
        TypeError, ValueError: as for `integrated_gradients`, and if the layer is not found.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> def apply(params, inputs):
        ...     hidden = jv.tag(inputs @ params, "hidden")
        ...     return (hidden**2).sum(axis=1)
        >>> model = jv.Model.from_function(apply, jnp.array([[1.0, 0.0], [1.0, 2.0]]))
        >>> internal_influence(model, jnp.array([[1.0, 1.0]]), layer="hidden")  # 2 * hidden, from 0 to 4
        Array([[2., 2.]], dtype=float32)

    Note:
        As Captum's `InternalInfluence`, but for the trapezoid, whose weights do not sum to 1 there.

    References:
        K. Leino, S. Sen, A. Datta, M. Fredrikson, L. Li. Influence-Directed Explanations for Deep Convolutional Networks.
        ITC 2018. arXiv:1802.03788.
    """
    return _path(
        "internal_influence",
        model,
        inputs,
        layer,
        target,
        baseline,
        steps,
        quadrature,
        "none",
        side,
        chunk_size,
        progress,
    )


def _path(
    name: str,
    model: Model,
    inputs: Any,
    layer: Any,
    target: TargetLike,
    baseline: Any,
    steps: int,
    quadrature: str,
    change: str,
    side: str,
    chunk_size: int | None,
    progress: bool,
) -> Any:
    several = isinstance(layer, tuple | list)
    if several and not layer:
        raise TypeError(f"{name}: layer must be the path of a layer, or a tuple of paths, got {layer!r}")
    for path in layer if several else (layer,):
        check_layer(name, path, side)
    inputs, prepared = prepare(name, model, inputs, target)
    baseline = baseline_like(name, baseline, inputs)
    quadratures.check(name, steps, quadrature, chunk_size)
    if several:
        one = lambda path: _path(
            name, model, inputs, path, prepared, baseline, steps, quadrature, change, side, chunk_size, progress
        )
        return {path: one(path) for path in named(name, model, inputs, layer, side)}
    nodes, weights = quadratures.quadrature(quadrature, int(steps) + (change == "difference"))
    following = nodes
    if change == "difference":
        nodes, following, weights = nodes[:-1], nodes[1:], np.ones(len(nodes) - 1)
    head = Head(name, layer, side)
    shapes = head.shapes(model, inputs)
    start, way = line.ends(head, (model,), inputs, baseline)

    def step(total: Any, part: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Any:
        nodes, following, weights = part
        shares = _shares(nodes, following, model, inputs, start, way, prepared, head, change)
        return quadratures.add(total, weights, shares)

    total = chunks.fold(
        step,
        jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes.activation),
        (nodes, following, weights),
        quadratures.sizes(steps, inputs, chunk_size),
        progress=progress,
        label=name.replace("_", " "),
    )
    return shapes.form.restore(total)


@functools.partial(jit, static_argnames=("head", "change"))
def _shares(
    nodes: jax.Array,
    following: jax.Array,
    model: Model,
    inputs: Any,
    start: list[jax.Array],
    way: list[jax.Array],
    target: Target,
    head: Head,
    change: str,
) -> Any:
    """What each point of the path adds, before it is weighted: `(points, *shape)` for each array of the layer."""

    def reached(node: jax.Array) -> tuple[Any, Any]:
        return affine.onward(head, (model,), inputs, line.at(node, start, way))

    def at(node: jax.Array, following: jax.Array) -> Any:
        if change == "derivative":
            try:
                (params, activation), (_, rate) = jax.jvp(reached, (node,), (jnp.ones_like(node),))
            except TypeError as error:
                if "custom_vjp" not in str(error):
                    raise
                raise TypeError(
                    f"{head.function}: there is a jax.custom_vjp function before layer {head.layer!r}, which has no derivative "
                    "forward; give change='difference'"
                ) from error
        else:
            params, activation = reached(node)
        slope = head.slope(model, inputs, params, activation, target)
        if change == "none":
            return slope
        if change == "difference":
            rate = jax.tree.map(jnp.subtract, reached(following)[1], activation)
        return jax.tree.map(jnp.multiply, slope, rate)

    return jax.vmap(at)(nodes, following)

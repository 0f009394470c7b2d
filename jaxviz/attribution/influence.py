"""Conductance: the flow of an integrated-gradients path through the units of a layer, and internal influence."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import baseline_like, check_choice, check_count, prepare
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.cuts import cut
from jaxviz.attribution.paths import quadratures
from jaxviz.attribution.units import Unit
from jaxviz.attribution.units import unit as as_unit
from jaxviz.checks import check_flag
from jaxviz.compilation import jit
from jaxviz.inputs import check_layer
from jaxviz.model import Model
from jaxviz.program import OUTPUT, affine
from jaxviz.targets import Target, TargetLike, select

CHANGES = ("derivative", "difference")


@cautious
def conductance(
    model: Model,
    inputs: Any,
    *,
    layer: str,
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
        layer: the path of a layer.
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
        The attribution, of the structure, shapes and dtypes of the layer's activation.

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
    layer: str,
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
        layer: the path of a layer.
        target: as for `gradient`.
        baseline: of the inputs: None (zeros), a number, an array that broadcasts to them, or a tuple of these for several inputs.
        steps: number of points on the path, at least 1. Each costs about one gradient.
        quadrature: as for `integrated_gradients`.
        side: `"output"` or `"input"` of the layer.
        chunk_size: as for `integrated_gradients`.
        progress: draw a progress bar.

    Returns:
        The attribution, of the structure, shapes and dtypes of the layer's activation.

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


@cautious
def neuron_conductance(
    model: Model,
    inputs: Any,
    *,
    layer: str,
    unit: int | slice | tuple[int | slice, ...] | Unit,
    target: TargetLike = None,
    baseline: Any = None,
    steps: int = 50,
    quadrature: str = "gauss_legendre",
    multiply_by_inputs: bool = True,
    side: str = OUTPUT,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Neuron conductance: what of integrated gradients flows through a unit of a layer, for each input.

    `attribution[i] = (inputs - baseline)[i] * sum_k weight_k * (d score / d y_j) * (d y_j / d x_i)`, summed over the units `j`

    Summed over the inputs it is the unit's conductance; summed over all units of a layer, where the whole score passes through
    it, it is integrated gradients.

    Args:
        model: the model.
        inputs: as for `gradient`.
        layer: the path of a layer whose activation is one array.
        unit: which unit, by its index in the activation's axes behind the batch: an int, a slice, a tuple of these, or a
            `jaxviz.unit`.
        target: as for `gradient`.
        baseline: of the inputs: None (zeros), a number, an array that broadcasts to them, or a tuple of these for several inputs.
        steps: number of points on the path, at least 1. Each costs about two gradients.
        quadrature: as for `integrated_gradients`.
        multiply_by_inputs: False leaves out the factor `inputs - baseline`.
        side: `"output"` or `"input"` of the layer.
        chunk_size: as for `integrated_gradients`.
        progress: draw a progress bar.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError, ValueError: as for `integrated_gradients`, and if the layer or the unit is not found.

    Example:
        >>> import jax.numpy as jnp, jaxviz as jv
        >>> def apply(params, inputs):
        ...     hidden = jv.tag(inputs @ params, "hidden")
        ...     return (hidden**2).sum(axis=1)
        >>> model = jv.Model.from_function(apply, jnp.array([[1.0, 0.0], [1.0, 2.0]]))
        >>> neuron_conductance(model, jnp.array([[1.0, 1.0]]), layer="hidden", unit=0)
        Array([[2., 2.]], dtype=float32)

    Note:
        As Captum's `NeuronConductance` for one unit. For several, Captum multiplies the sum of their derivatives by the sum of
        their gradients; here each unit has its own product.

    References:
        K. Dhamdhere, M. Sundararajan, Q. Yan. How Important Is a Neuron? ICLR 2019. arXiv:1805.12233.
    """
    name = "neuron_conductance"
    check_layer(name, layer, side)
    multiplied = check_flag(name, "multiply_by_inputs", multiply_by_inputs)
    inputs, prepared = prepare(name, model, inputs, target)
    baseline = baseline_like(name, baseline, inputs)
    nodes = _nodes(name, steps, quadrature, chunk_size)
    chosen = unit if isinstance(unit, Unit) else as_unit(*(unit if isinstance(unit, tuple) else (unit,)))
    how = _How(name, layer, side, "none")
    activation = cut.eval_shape(model, inputs, function=name, layers=(layer,), side=side).activation
    if not hasattr(activation, "shape"):
        raise ValueError(f"{name}: layer {layer!r} has {len(activation)} arrays as its activation, not one")
    try:
        jax.eval_shape(chosen.select, activation)
    except ValueError:
        raise ValueError(
            f"{name}: there is no {chosen!r} in layer {layer!r}, whose activation has the shape {tuple(activation.shape)}"
        ) from None
    start, way = _ends(model, inputs, baseline, how)

    def step(total: list[jax.Array], part: tuple[np.ndarray, np.ndarray]) -> list[jax.Array]:
        nodes, weights = part
        return quadratures.add(total, weights, _neuron_shares(nodes, model, inputs, start, way, prepared, how, chosen))

    total = chunks.fold(
        step,
        jax.tree.map(jnp.zeros_like, start),
        nodes,
        _sizes(steps, inputs, chunk_size),
        progress=progress,
        label="neuron conductance",
    )
    gradient = _at_inputs(model, inputs, total, how)
    if not multiplied:
        return gradient
    return jax.tree.map(lambda sum_, end, start: sum_ * (end - start), gradient, inputs, baseline)


def _path(
    name: str,
    model: Model,
    inputs: Any,
    layer: str,
    target: TargetLike,
    baseline: Any,
    steps: int,
    quadrature: str,
    change: str,
    side: str,
    chunk_size: int | None,
    progress: bool,
) -> Any:
    check_layer(name, layer, side)
    inputs, prepared = prepare(name, model, inputs, target)
    baseline = baseline_like(name, baseline, inputs)
    nodes, weights = _nodes(name, steps, quadrature, chunk_size, more=change == "difference")
    following = nodes
    if change == "difference":
        nodes, following, weights = nodes[:-1], nodes[1:], np.ones(len(nodes) - 1)
    how = _How(name, layer, side, change)
    shapes = cut.eval_shape(model, inputs, function=name, layers=(layer,), side=side)
    start, way = _ends(model, inputs, baseline, how)

    def step(total: Any, part: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Any:
        nodes, following, weights = part
        return quadratures.add(total, weights, _shares(nodes, following, model, inputs, start, way, prepared, how))

    total = chunks.fold(
        step,
        jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes.activation),
        (nodes, following, weights),
        _sizes(steps, inputs, chunk_size),
        progress=progress,
        label=name.replace("_", " "),
    )
    return shapes.form.restore(total)


def _nodes(name: str, steps: int, quadrature: str, chunk_size: int | None, more: bool = False) -> Any:
    check_count(name, "steps", steps)
    check_choice(name, "quadrature", quadrature, quadratures.QUADRATURES)
    chunks.check_chunk_size(name, chunk_size)
    return quadratures.quadrature(quadrature, int(steps) + more)


def _sizes(steps: int, inputs: Any, chunk_size: int | None) -> tuple[int, ...]:
    leaves = jax.tree.leaves(inputs)
    return chunks.sizes(
        int(steps), leaves[0].shape[0], chunk_size, values=sum(leaf.size // leaf.shape[0] for leaf in leaves)
    )


class _How(NamedTuple):
    """The static part: the method's name, the layer, and how its change along the path is computed."""

    name: str
    layer: str
    side: str
    change: str

    def head(self, model: Model, inputs: Any) -> tuple[Any, Any]:
        """What is before the layer: what the rest needs beside the layer's activation, and the activation."""
        # Not the compiled function: it has computed convolutions in other ways, which are not known to be affine.
        found = cut.__wrapped__(model, inputs, function=self.name, layers=(self.layer,), side=self.side)
        return found.tail.params, found.activation

    def slope(self, model: Model, inputs: Any, params: Any, activation: Any, target: Target) -> Any:
        """The gradient of the score with respect to the activation."""
        found = cut.eval_shape(model, inputs, function=self.name, layers=(self.layer,), side=self.side)
        tail = found.tail.with_params(params)
        return jax.grad(lambda activation: select(tail(activation), target).sum())(activation)


# As for integrated gradients, the path is followed from the end of the program's first affine stretch on.


@functools.partial(jit, static_argnames="how")
def _ends(model: Model, inputs: Any, baseline: Any, how: _How) -> tuple[list[jax.Array], list[jax.Array]]:
    start, end = (affine.frontier(how.head, (model,), point) for point in (baseline, inputs))
    return start, jax.tree.map(jnp.subtract, end, start)


@functools.partial(jit, static_argnames="how")
def _shares(
    nodes: jax.Array,
    following: jax.Array,
    model: Model,
    inputs: Any,
    start: list[jax.Array],
    way: list[jax.Array],
    target: Target,
    how: _How,
) -> Any:
    """What each point of the path adds, before it is weighted: `(points, *shape)` for each array of the layer."""

    def head(node: jax.Array) -> tuple[Any, Any]:
        values = [low + node.astype(low.dtype) * step for low, step in zip(start, way, strict=True)]
        return affine.onward(how.head, (model,), inputs, values)

    def at(node: jax.Array, following: jax.Array) -> Any:
        if how.change == "derivative":
            try:
                (params, activation), (_, rate) = jax.jvp(head, (node,), (jnp.ones_like(node),))
            except TypeError as error:
                if "custom_vjp" not in str(error):
                    raise
                raise TypeError(
                    f"{how.name}: there is a jax.custom_vjp function before layer {how.layer!r}, which has no derivative "
                    "forward; give change='difference'"
                ) from error
        else:
            params, activation = head(node)
        slope = how.slope(model, inputs, params, activation, target)
        if how.change == "none":
            return slope
        if how.change == "difference":
            rate = jax.tree.map(jnp.subtract, head(following)[1], activation)
        return jax.tree.map(jnp.multiply, slope, rate)

    return jax.vmap(at)(nodes, following)


@functools.partial(jit, static_argnames=("how", "unit"))
def _neuron_shares(
    nodes: jax.Array,
    model: Model,
    inputs: Any,
    start: list[jax.Array],
    way: list[jax.Array],
    target: Target,
    how: _How,
    unit: Unit,
) -> list[jax.Array]:
    def at(node: jax.Array) -> list[jax.Array]:
        values = [low + node.astype(low.dtype) * step for low, step in zip(start, way, strict=True)]
        head = lambda values: affine.onward(how.head, (model,), inputs, values)[::-1]
        activation, back, params = jax.vjp(head, values, has_aux=True)
        slope = how.slope(model, inputs, params, activation, target)
        chosen = jax.grad(lambda activation: unit.select(activation).sum())(activation)
        return back(slope * chosen)[0]

    return jax.vmap(at)(nodes)


@functools.partial(jit, static_argnames="how")
def _at_inputs(model: Model, inputs: Any, total: list[jax.Array], how: _How) -> Any:
    """The sum of the gradients at the end of the stretch, as one at the inputs."""
    return jax.vjp(lambda inputs: affine.frontier(how.head, (model,), inputs), inputs)[1](total)[0]

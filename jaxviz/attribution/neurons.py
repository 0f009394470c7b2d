"""Neuron conductance: the part of integrated gradients that flows through a unit of a layer."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.baselines import baseline_like
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.heads import Head
from jaxviz.attribution.paths import line, quadratures
from jaxviz.attribution.units import Unit
from jaxviz.attribution.units import unit as as_unit
from jaxviz.checks import check_flag
from jaxviz.compilation import jit
from jaxviz.inputs import check_layer
from jaxviz.model import Model
from jaxviz.program import OUTPUT, affine
from jaxviz.static import Static
from jaxviz.targets import Target, TargetLike


@cautious
def neuron_conductance(
    model: Model,
    inputs: Any,
    *,
    layer: str,
    unit: int | slice | tuple[int | slice, ...] | Unit | Callable[[Any], jax.Array],
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
        layer: the path of a layer.
        unit: which unit, by its index in the activation's axes behind the batch: an int, a slice, a tuple of these, or a
            `jaxviz.unit`; its activation is one array then. Or a callable `activation -> units`, of the layer's array, or the
            tuple of its arrays, with the batch as axis 0, to an array of those that are chosen; give the same one each time.
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
    quadratures.check(name, steps, quadrature, chunk_size)
    head = Head(name, layer, side)
    chosen = _chosen(name, layer, unit, head.shapes(model, inputs).activation)
    start, way = line.ends(head, (model,), inputs, baseline)

    def step(total: list[jax.Array], part: tuple[np.ndarray, np.ndarray]) -> list[jax.Array]:
        nodes, weights = part
        return quadratures.add(total, weights, _shares(nodes, model, inputs, start, way, prepared, head, chosen))

    total = chunks.fold(
        step,
        jax.tree.map(jnp.zeros_like, start),
        quadratures.quadrature(quadrature, int(steps)),
        quadratures.sizes(steps, inputs, chunk_size),
        progress=progress,
        label="neuron conductance",
    )
    return line.back(head, (model,), inputs, total, baseline if multiplied else None)


def _chosen(function: str, layer: str, unit: Any, activation: Any) -> Static:
    """What chooses the units, tried on the activation's shapes."""
    if callable(unit) and not isinstance(unit, Unit):
        try:
            units = jax.eval_shape(unit, activation)
        except Exception as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            shapes = jax.tree.map(jnp.shape, activation)
            raise kind(
                f"{function}: unit, a callable, cannot be applied to the activation, {shapes}: {error}"
            ) from error
        if not hasattr(units, "shape") or not jnp.issubdtype(units.dtype, jnp.floating):
            raise TypeError(
                f"{function}: unit, a callable, must map the activation to an array of the units that are chosen, got "
                f"{units.dtype if hasattr(units, 'dtype') else type(units).__name__}"
            )
        return Static(unit)
    chosen = unit if isinstance(unit, Unit) else as_unit(*(unit if isinstance(unit, tuple) else (unit,)))
    if not hasattr(activation, "shape"):
        raise ValueError(
            f"{function}: layer {layer!r} has {len(activation)} arrays as its activation, not one; give a callable as unit"
        )
    try:
        jax.eval_shape(chosen.select, activation)
    except ValueError:
        raise ValueError(
            f"{function}: there is no {chosen!r} in layer {layer!r}, whose activation has the shape {tuple(activation.shape)}"
        ) from None
    return Static(chosen.select)


@functools.partial(jit, static_argnames=("head", "unit"))
def _shares(
    nodes: jax.Array,
    model: Model,
    inputs: Any,
    start: list[jax.Array],
    way: list[jax.Array],
    target: Target,
    head: Head,
    unit: Static,
) -> list[jax.Array]:
    """The gradients through the unit at points of the path, `(points, *shape)` for each value at the end of the stretch."""

    def reached(values: list[jax.Array]) -> tuple[Any, Any]:
        params, activation = affine.onward(head, (model,), inputs, values)
        return activation, params

    def at(node: jax.Array) -> list[jax.Array]:
        activation, back, params = jax.vjp(reached, line.at(node, start, way), has_aux=True)
        slope = head.slope(model, inputs, params, activation, target)
        chosen = jax.grad(lambda activation: unit.value(activation).sum())(activation)
        return back(jax.tree.map(jnp.multiply, slope, chosen))[0]

    return jax.vmap(at)(nodes)

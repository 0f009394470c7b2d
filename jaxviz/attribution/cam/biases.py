"""The full gradient of a score: what the inputs and what each bias of the program contribute to it."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import views
from jaxviz.model import Model
from jaxviz.program import INPUT, Active, Program, Rules, Where, evaluate
from jaxviz.program._compat import JaxprEqn, bind, scan_groups
from jaxviz.program.trace import CALLS, PLAIN_CALLS
from jaxviz.targets import Target, select


class FullGradient(NamedTuple):
    """The parts of a score, which sum to it: of the inputs, and of biases.

    Each bias has the layer that it is of; None is in its place where axis 0 are the steps of a scan.
    """

    inputs: Any
    biases: list[tuple[str | None, jax.Array]]


def full_gradient(model: Model, inputs: Any, target: Target) -> FullGradient:
    """The parts of each example's score, unchecked and not jitted.

    `score = sum(inputs * d score / d inputs) + sum_biases(sum(bias * d score / d bias))`, the biases at every position

    A bias is what the derivative does not account for: `y - J x` for an operation `y` of `x` with the derivative `J`. Of a layer
    with weights it is its bias, of batch normalization `bias - mean * scale / deviation`, of what is added itself; ReLU,
    maximum and mean have none; of another activation function, a product of two values that depend on the inputs, and so on, it
    is what makes the sum complete. A layer that has no layers in it has one bias for all of its operations, at its output;
    elsewhere elementwise operations that follow each other have one. Scans, conditionals, checkpoints and functions with a
    derivative of their own are one operation.
    """
    program = views.program(model, inputs, lambda outputs: select(outputs, target))
    fixed = jax.tree.leaves((model.params, model.keywords))
    innermost = _innermost(program)
    leaves, structure = jax.tree.flatten(inputs)

    def score(leaves: list[jax.Array], probes: list[jax.Array] | None) -> tuple[jax.Array, list[jax.Array]]:
        run = _Run(innermost, probes)
        scores, _ = evaluate(program, [*fixed, *map(_Biased, leaves)], rules=run.rules)
        names[:] = run.layers
        return scores.value.sum() if isinstance(scores, Active) else scores.sum(), run.biases

    names: list[str | None] = []
    _, shapes = jax.eval_shape(lambda leaves: score(leaves, None), leaves)
    probes = [jnp.zeros(shape.shape, shape.dtype) for shape in shapes]
    (slopes, gradients), biases = jax.grad(score, argnums=(0, 1), has_aux=True)(leaves, probes)
    parts = [(name, bias * slope) for name, bias, slope in zip(names, biases, gradients, strict=True)]
    return FullGradient(jax.tree.unflatten(structure, list(map(jnp.multiply, leaves, slopes))), parts)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Biased(Active):
    """A value with the bias that it has got since it was linear, if any, and the layer that it got it in.

    Its number is its identity: a value that is used twice has one bias. Marks of layers make new objects of one value.
    """

    bias: Any = None
    layer: str | None = field(default="", metadata={"static": True})
    number: int = field(default=-1, metadata={"static": True})


def _innermost(program: Program) -> frozenset[str]:
    """The layers that have no layers in them."""
    opened: list[str] = []
    containing = set()
    for key in program.sites:
        if key.side == INPUT:
            containing.update(opened)
            opened.append(key.layer)
        elif key.layer in opened:
            del opened[opened.index(key.layer) :]  # with layers that were left without a value
    return frozenset(key.layer for key in program.sites if key.side == INPUT) - containing


class _Run:
    """One evaluation, in which biases are gathered; each has a probe, by which the score's derivative at its place is found."""

    def __init__(self, innermost: frozenset[str], probes: list[jax.Array] | None) -> None:
        self.innermost = innermost
        self.probes = probes
        self.biases: list[jax.Array] = []
        self.layers: list[str | None] = []
        self.met: dict[int, Any] = {}
        self.numbers = itertools.count()
        self.rules = Rules("full_grad", self._table(), settle=self.settle)

    def settle(self, value: Any) -> Any:
        """The value, with its bias taken down."""
        if value.bias is None:
            return value
        if value.number not in self.met:
            probed = value.value if self.probes is None else value.value + self.probes[len(self.biases)]
            self.biases.append(value.bias)
            self.layers.append(value.layer)
            self.met[value.number] = _Biased(probed)
        return self.met[value.number]

    def _waits(self, operand: Any, layer: str | None) -> bool:
        """Whether an operand's bias is to be gathered with those of the same layer that follow."""
        return operand.layer == layer and layer is not None and operand.number not in self.met

    def _table(self) -> dict[str, Any]:
        table = dict.fromkeys(("*", *_WHOLE), _beyond)
        for names, rule in ((_TOGETHER, _together), (_PRODUCTS, _product), (_LINEAR, _linear)):
            table |= dict.fromkeys(names.split(), rule)
        return {name: functools.partial(self._apply, rule) for name, rule in table.items()}

    def _apply(self, rule: Callable[..., Any], equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        keeps = where.layer if where.layer in self.innermost or not _mixes(equation) else None
        operands = [
            operand if _is_plain(operand) or self._waits(operand, keeps) else self.settle(operand)
            for operand in operands
        ]
        results = bind(equation, [operand if _is_plain(operand) else operand.value for operand in operands])
        fixed = [operand if _is_plain(operand) else jax.lax.stop_gradient(operand) for operand in operands]
        biases = rule(equation, fixed, jax.lax.stop_gradient(results))
        stacked = scan_groups(equation.params)[1] if equation.primitive.name == "scan" else len(results)
        found = []
        for index, (result, bias) in enumerate(zip(results, biases or [None] * len(results), strict=True)):
            if jnp.issubdtype(result.dtype, jnp.floating):
                found.append(_Biased(result, bias, where.layer if index < stacked else None, next(self.numbers)))
            else:
                found.append(result)
        return found


def _is_plain(operand: Any) -> bool:
    return not isinstance(operand, _Biased)


def _mixes(equation: JaxprEqn) -> bool:
    """Whether an equation may bring values to other places."""
    name = equation.primitive.name
    avals: list[Any] = [atom.aval for atom in (*equation.invars, *equation.outvars)]
    shapes = {aval.shape for aval in avals} - {()}
    return name in _WHOLE or name in _MIXING.split() or len(shapes) > 1


# Rules: the biases of the results (None for none at all), of an equation, its operands and its results.


def _derivative(equation: JaxprEqn, operands: list[Any], tangents: list[Any]) -> list[Any]:
    """The directional derivatives of the results; a tangent of None is 0."""
    moving = [index for index, tangent in enumerate(tangents) if tangent is not None]
    values = [operand.value if isinstance(operand, _Biased) else operand for operand in operands]

    def call(*moved: Any) -> list[Any]:
        every = list(values)
        for index, value in zip(moving, moved, strict=True):
            every[index] = value
        return [result for result in bind(equation, every) if jnp.issubdtype(result.dtype, jnp.floating)]

    arguments = [jnp.asarray(values[index]) for index in moving]
    directions = [jnp.asarray(tangents[index], arguments[number].dtype) for number, index in enumerate(moving)]
    if equation.primitive.name in _WHOLE:
        # Of a function with a derivative of its own there may be no forward one: the transpose of the backward one then.
        results, back = jax.vjp(call, *arguments)
        _, forward = jax.vjp(back, list(map(jnp.zeros_like, results)))
        (derivatives,) = forward(tuple(directions))
        return derivatives
    return jax.jvp(call, arguments, directions)[1]


def _spread(equation: JaxprEqn, derivatives: list[Any]) -> list[Any]:
    """One bias per result, also of those that are no floats."""
    remaining = iter(derivatives)
    avals: list[Any] = [var.aval for var in equation.outvars]
    return [next(remaining) if jnp.issubdtype(aval.dtype, jnp.floating) else None for aval in avals]


def _linear(equation: JaxprEqn, operands: list[Any], results: list[Any]) -> list[Any] | None:
    biases = [operand.bias if isinstance(operand, _Biased) else None for operand in operands]
    if all(bias is None for bias in biases):
        return None
    return _spread(equation, _derivative(equation, operands, biases))


def _together(equation: JaxprEqn, operands: list[Any], results: list[Any]) -> list[Any] | None:
    """Of what scales with all operands together: constants among them are biases."""
    tangents = [operand.bias if isinstance(operand, _Biased) else _constant(operand) for operand in operands]
    if all(tangent is None for tangent in tangents):
        return None
    return _spread(equation, _derivative(equation, operands, tangents))


def _constant(operand: Any) -> Any:
    if not jnp.issubdtype(jnp.result_type(operand), jnp.floating):
        return None
    # A number in the program itself: of what is computed the value is not known.
    is_number = not isinstance(operand, jax.Array) and np.ndim(operand) == 0
    if is_number:
        return operand if np.isfinite(operand) and operand else None
    return jnp.where(jnp.isfinite(operand), operand, jnp.zeros_like(operand))  # a masked logit has no weight


def _product(equation: JaxprEqn, operands: list[Any], results: list[Any]) -> list[Any] | None:
    active = [isinstance(operand, _Biased) for operand in operands]
    is_linear = sum(active) == 1 and (equation.primitive.name != "div" or active[0])
    return (_linear if is_linear else _beyond)(equation, operands, results)


def _beyond(equation: JaxprEqn, operands: list[Any], results: list[Any]) -> list[Any] | None:
    """What the results are beyond the derivative in the direction of the operands, each without its own bias."""
    if not any(jnp.issubdtype(result.dtype, jnp.floating) for result in results):
        return None
    tangents: list[Any] = [None] * len(operands)
    for index, operand in enumerate(operands):
        if isinstance(operand, _Biased):
            tangents[index] = operand.value if operand.bias is None else operand.value - operand.bias
    derivatives = _spread(equation, _derivative(equation, operands, tangents))
    return [
        None if derivative is None else _difference(result, derivative)
        for result, derivative in zip(results, derivatives, strict=True)
    ]


def _difference(result: jax.Array, derivative: jax.Array) -> jax.Array:
    difference = result - derivative
    # Rounding is no bias: the map of a bias does not show how large it is.
    rounding = 4 * jnp.finfo(result.dtype).eps * jnp.maximum(jnp.abs(result), jnp.abs(derivative))
    return jnp.where(jnp.abs(difference) <= rounding, jnp.zeros_like(difference), difference)


_WHOLE = CALLS - PLAIN_CALLS
# What may bring values to other places where shapes do not tell.
_MIXING = "conv_general_dilated cumlogsumexp cummax cummin cumprod cumsum dot_general gather reshape rev sort transpose"
_TOGETHER = (
    "add add_any clamp concatenate copy dynamic_update_slice max min name neg pad scatter scatter-add select_and_gather_add "
    "select_n sub"
)
_PRODUCTS = "conv_general_dilated div dot_general mul"
# A ReLU is `relu()`, a function that is called.
_LINEAR = (
    "abs broadcast_in_dim convert_element_type copy_p cummax cummin cumsum dynamic_slice expand_dims gather reduce_max "
    "reduce_min reduce_sum reduce_window_max reduce_window_min reduce_window_sum relu() reshape rev slice sort split squeeze "
    "transpose"
)

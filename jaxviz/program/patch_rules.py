"""How each kind of equation is computed on patches of its operands; see `local`."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.program import cost
from jaxviz.program._compat import JaxprEqn, bind, called
from jaxviz.program.patches import Local, Pass, Plan, Rule, raw, sizes
from jaxviz.program.spans import Slide, Spans, partial, union


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(atom.aval.shape)


def _changed(equation: JaxprEqn, operands: list[Any], **params: Any) -> list[Any]:
    """The results of an equation with other parameters."""
    return bind(equation.replace(params={**equation.params, **params}), operands)


def _slid(
    local: Local, slides: Mapping[int, Slide], passing: Pass, fill: Any = 0, full: Iterable[int] = ()
) -> tuple[Spans, Callable[[], Any]]:
    """Per axis of the operand the span of the results, and what computes the region that these see.

    On axes without a span, the region is all of the operand, without padding; likewise on those that must be had in full.
    """
    after = list(local.spans)
    wanted: list[Any] = [None] * len(after)
    for axis, span in enumerate(local.spans):
        if span is None:
            continue
        if axis in full:
            wanted[axis], after[axis] = (np.zeros_like(span.lows), span.length), None
            continue
        slide = slides.get(axis, Slide(0, 1, 0, span.length))
        passed = slide.over(span)
        wanted[axis] = (
            passed.starts * slide.stride - slide.low,
            (passed.size - 1) * slide.stride + slide.reach + 1,
        )
        after[axis] = partial(passed)
    return tuple(after), lambda: passing.region(local, wanted, fill)


def _elementwise(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    where = union(operand.spans for operand in operands if isinstance(operand, Local))
    if where is None:
        return None
    return Plan(
        [where] * len(equation.outvars),
        lambda: bind(equation, [passing.within(operand, where) for operand in operands]),
    )


# Functions with a derivative of their own that are as well called on a patch.
_ACTIVATIONS = {"relu": jax.nn.relu, "relu6": jax.nn.relu6}


def _activation(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    function = _ACTIVATIONS.get(called(equation))
    if function is None or len(operands) != 1 or not _is(equation, function):
        return None
    (operand,) = operands
    return Plan([operand.spans], lambda: [function(operand.patch)])


def _is(equation: JaxprEqn, function: Callable[[Any], Any]) -> bool:
    """Whether an equation is a call of that function, not of another of its name: by the program of value and derivative."""
    aval: Any = equation.invars[0].aval
    shape = jax.ShapeDtypeStruct(aval.shape, aval.dtype)

    def derivative(call: JaxprEqn) -> str:
        along = lambda x, tangent: jax.jvp(lambda x: bind(call, [x]), (x,), (tangent,))
        return str(jax.make_jaxpr(along)(shape, shape))

    return derivative(equation) == derivative(jax.make_jaxpr(function)(shape).eqns[0])


def _convolution(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    operand, kernel = operands
    params = equation.params
    numbers = params["dimension_numbers"]
    if not isinstance(operand, Local) or isinstance(kernel, Local) or params["batch_group_count"] != 1:
        return None
    result, slides, padding = _shape(equation.outvars[0]), {}, list(params["padding"])
    for number, axis in enumerate(numbers.lhs_spec[2:]):
        if operand.spans[axis] is None:
            continue
        width = raw(kernel).shape[numbers.rhs_spec[2 + number]]
        if params["lhs_dilation"][number] != 1 or width == 0:
            return None
        reach, stride = (width - 1) * params["rhs_dilation"][number], params["window_strides"][number]
        slides[axis] = Slide(reach, stride, padding[number][0], result[numbers.out_spec[2 + number]])
        padding[number] = (0, 0)
    spans, region = _slid(operand, slides, passing, full=numbers.lhs_spec[:2])
    after: list[Any] = [None] * len(spans)
    for before, axis in zip(numbers.lhs_spec, numbers.out_spec, strict=True):
        after[axis] = spans[before]
    return Plan([tuple(after)], lambda: _changed(equation, [region(), raw(kernel)], padding=tuple(padding)))


def _lowest(dtype: Any) -> Any:
    return -np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    return np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).max


def _pooling(fill: Callable[[Any], Any]) -> Rule:
    """A reduction of windows, with that value in the padding."""

    def rule(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
        (operand,), params = operands, equation.params
        padding, slides = list(params["padding"]), {}
        for axis, span in enumerate(operand.spans):
            if span is None:
                continue
            if params["base_dilation"][axis] != 1:
                return None
            reach = (params["window_dimensions"][axis] - 1) * params["window_dilation"][axis]
            slides[axis] = Slide(
                reach, params["window_strides"][axis], padding[axis][0], _shape(equation.outvars[0])[axis]
            )
            padding[axis] = (0, 0)
        spans, region = _slid(operand, slides, passing, fill(operand.patch.dtype))
        return Plan([spans], lambda: _changed(equation, [region()], padding=tuple(padding)))

    return rule


def _slice(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    (operand,), params = operands, equation.params
    starts, limits = list(params["start_indices"]), list(params["limit_indices"])
    strides = params["strides"] or [1] * len(starts)
    slides = {
        axis: Slide(0, strides[axis], -starts[axis], count) for axis, count in enumerate(_shape(equation.outvars[0]))
    }
    spans, region = _slid(operand, slides, passing)

    def patches() -> list[Any]:
        value = region()
        for axis, span in enumerate(operand.spans):
            if span is not None:
                starts[axis], limits[axis] = 0, value.shape[axis]
        return _changed(equation, [value], start_indices=tuple(starts), limit_indices=tuple(limits))

    return Plan([spans], patches)


def _pad(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    operand, fill = operands
    config = list(equation.params["padding_config"])
    if not isinstance(operand, Local) or isinstance(fill, Local):
        return None
    slides = {}
    for axis, span in enumerate(operand.spans):
        low, _, between = config[axis]
        if span is None:
            continue
        if between:
            return None
        slides[axis] = Slide(0, 1, low, _shape(equation.outvars[0])[axis])
        config[axis] = (0, 0, 0)
    spans, region = _slid(operand, slides, passing, raw(fill))
    return Plan([spans], lambda: _changed(equation, [region(), raw(fill)], padding_config=tuple(config)))


def _broadcast(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    (operand,), dims, shape = operands, equation.params["broadcast_dimensions"], _shape(equation.outvars[0])
    spans: list[Any] = [None] * len(shape)
    for span, axis in zip(operand.spans, dims, strict=True):
        spans[axis] = span
    return Plan([tuple(spans)], lambda: _changed(equation, [operand.patch], shape=sizes(shape, tuple(spans))))


def _reshape(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    """Where each axis with a span is kept or split."""
    (operand,), shape = operands, _shape(equation.outvars[0])
    parts = _split(_shape(equation.invars[0]), shape)
    if equation.params["dimensions"] is not None or parts is None:
        return None
    slides: dict[int, Slide] = {}
    first: dict[int, int] = {}  # of an operand's axis, the result's
    for before, after in parts:
        if not any(operand.spans[axis] for axis in before):
            continue
        lengths = [axis for axis in before if _shape(equation.invars[0])[axis] != 1]
        if len(lengths) > 1:
            return None
        (axis,) = lengths
        first[axis] = next(new for new in after if shape[new] != 1)
        rest = _shape(equation.invars[0])[axis] // shape[first[axis]]
        slides[axis] = Slide(rest - 1, rest, 0, shape[first[axis]])
    passed, region = _slid(operand, slides, passing)
    spans: list[Any] = [None] * len(shape)
    for axis, new in first.items():
        spans[new] = passed[axis]
    where = tuple(spans)
    return Plan([where], lambda: _changed(equation, [region()], new_sizes=sizes(shape, where)))


def _split(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]] | None:
    """The smallest groups of consecutive axes that have the same product in both shapes."""
    if 0 in before:
        return None
    parts, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        one, other = [], []
        if i < len(before):
            one, i = [i], i + 1
        if j < len(after):
            other, j = [j], j + 1
        while True:
            sides = math.prod(before[axis] for axis in one), math.prod(after[axis] for axis in other)
            if sides[0] == sides[1]:
                break
            if sides[0] < sides[1]:
                one, i = [*one, i], i + 1
            else:
                other, j = [*other, j], j + 1
        parts.append((one, other))
    return parts


def _transpose(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    (operand,) = operands
    spans = tuple(operand.spans[axis] for axis in equation.params["permutation"])
    return Plan([spans], lambda: bind(equation, [operand.patch]))


def _along(params: str, drop: bool) -> Rule:
    """What goes along axes, which are then gone or not; their numbers are in that parameter."""

    def rule(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
        axes = equation.params[params]
        axes = tuple(axes) if isinstance(axes, Iterable) else (axes,)
        if len(operands) != 1:
            return None
        spans, region = _slid(operands[0], {}, passing, full=axes)
        spans = tuple(span for axis, span in enumerate(spans) if not (drop and axis in axes))
        return Plan([spans] * len(equation.outvars), lambda: bind(equation, [region()]))

    return rule


def _concatenate(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    where = union(operand.spans for operand in operands if isinstance(operand, Local))
    if where is None:
        return None
    dimension = equation.params["dimension"]
    where = (*where[:dimension], None, *where[dimension + 1 :])
    return Plan([where], lambda: bind(equation, [passing.within(operand, where) for operand in operands]))


def _product(equation: JaxprEqn, operands: list[Any], passing: Pass) -> Plan | None:
    """With a matrix."""
    contracted, batched = equation.params["dimension_numbers"]
    sides = [isinstance(operand, Local) for operand in operands]
    if all(sides) or any(map(len, batched)):
        return None
    which = sides.index(True)
    spans, region = _slid(operands[which], {}, passing, full=contracted[which])
    free = [span for axis, span in enumerate(spans) if axis not in contracted[which]]
    others: list[Any] = [None] * (len(_shape(equation.outvars[0])) - len(free))
    return Plan(
        [tuple(others + free if which else free + others)],
        lambda: bind(equation, [region() if local else raw(each) for local, each in zip(sides, operands, strict=True)]),
    )


RULES: dict[str, Rule] = {
    **dict.fromkeys([*cost.ELEMENTWISE, "convert_element_type", "copy", "name", "reduce_precision"], _elementwise),
    **dict.fromkeys(
        [f"reduce_{name}" for name in ("and", "max", "min", "or", "prod", "sum", "xor")] + ["argmax", "argmin"],
        _along("axes", drop=True),
    ),
    "custom_jvp_call": _activation,
    "squeeze": _along("dimensions", drop=True),
    "rev": _along("dimensions", drop=False),
    **dict.fromkeys(["cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "split"], _along("axis", drop=False)),
    "conv_general_dilated": _convolution,
    "reduce_window_max": _pooling(_lowest),
    "reduce_window_min": _pooling(_highest),
    "reduce_window_sum": _pooling(lambda dtype: 0),
    "slice": _slice,
    "pad": _pad,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "concatenate": _concatenate,
    "dot_general": _product,
}

"""How relevance goes through a program, equation by equation: relevance takes the place of the cotangent.

Every equation that does more than move values is wrapped, so that its derivative is a rule of LRP. What is affine is gathered
first: a convolution or matrix product with constants and all that scales and shifts its outputs is one `Affine` map, whose rule
is applied where its value is used for something else. Elementwise functions of one value are gathered likewise (a GELU written
out, say), and pass relevance unchanged. A value that is used more than once gets the sum of what comes from its uses.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.rules.affine import Affine
from jaxviz.attribution.rules.composites import CENTERING, CONVOLUTION, DENSE, NORMALIZATION, POOLING, Composite, Rule
from jaxviz.attribution.rules.pending import (
    Detached,
    Gauge,
    Pointwise,
    Raw,
    Statistic,
    Stretch,
    bare,
    common_source,
    computed,
    is_active,
    passing,
    plain,
    relevant,
    settle,
    sources,
    with_rule,
)
from jaxviz.attribution.rules.relevance import Pass
from jaxviz.attribution.rules.stabilizers import share
from jaxviz.program import Active, Rules, Where
from jaxviz.program._compat import JaxprEqn, bind


def _floating(value: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(value), jnp.inexact)


class Propagation:
    """The rules of one evaluation.

    Args:
        composite: which rule is for which layer.
        probe: what gives the probe of an operation: `probe(where, operation, rule)`, or None.
    """

    def __init__(self, composite: Composite, probe: Callable[[Where, str, Any], Any] | None = None) -> None:
        self.composite = composite
        self.probe = probe or (lambda where, operation, rule: None)
        self.first: set[int] = set()  # which equations are first linear layers; some are evaluated more than once
        table: dict[str, Any] = {}
        for names, rule in self._table():
            table.update(dict.fromkeys(names.split(), functools.partial(self._beside_detached, rule)))
        table.update({key: functools.partial(self._own, rule) for key, rule in composite.primitives.items()})
        self.rules = Rules("lrp", table, settle=settle)

    def _table(self) -> Any:
        yield _ELEMENTWISE, self._elementwise
        yield _FUNCTIONS, self._function
        yield _MOVES, self._move
        yield _SELECTIONS, self._select
        yield "add sub add_any", self._sum
        yield "mul", self._product
        yield "div", self._quotient
        yield "neg", self._negative
        yield "dot_general conv_general_dilated", self._contraction
        yield "reduce_sum reduce_window_sum cumsum scatter-add scatter_add", self._pooling
        yield "*", self._unknown
        yield "stop_gradient", lambda equation, operands, where: [Detached(bare(operands[0]))]

    def _beside_detached(self, rule: Rule, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        """What a rule makes of operands of which some may be detached."""
        detached = [isinstance(operand, Detached) for operand in operands]
        if not any(detached):
            return rule(equation, operands, where)
        if not any(is_active(operand) and not isinstance(operand, Detached) for operand in operands):
            values = bind(equation, list(map(bare, operands)))
            return [Detached(value) if _floating(value) else value for value in values]
        if equation.primitive.name in ("add", "sub", "add_any"):
            (value,) = bind(equation, list(map(bare, operands)))
            (active,) = (operand for operand, is_detached in zip(operands, detached, strict=True) if not is_detached)
            if detached[0] and equation.primitive.name == "sub":
                (active,) = self._affine(-active.value, active, where, factor=jnp.array(-1, value.dtype))
            active = self._spread(active, value.shape)
            unshifted = getattr(active, "unshifted", None)
            return [Pointwise(value, sources(active)[0], bare(active) if unshifted is None else unshifted)]
        return rule(
            equation, [bare(operand) if isinstance(operand, Detached) else operand for operand in operands], where
        )

    # Elementwise functions

    def _elementwise(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        (value,) = computed(equation, operands)
        if not _floating(value):
            return [value]
        operands = [self._spread(operand, value.shape) for operand in operands]
        source = self._source(equation, operands, where)
        name = equation.primitive.name
        if name == "exp" and len(operands) == 1:
            (operand,) = operands
            unshifted = operand.unshifted if isinstance(operand, Pointwise) else None
            return [Pointwise(value, source, logits=bare(operand) if unshifted is None else unshifted)]
        if name == "rsqrt" or (name == "integer_pow" and equation.params["y"] < 0):
            return [Statistic(passing(value, with_rule(source).value))]
        return [Pointwise(value, source)]

    def _function(self, equation: JaxprEqn, operands: list[Any], where: Where) -> Any:
        """An activation function as a whole."""
        result: Any = equation.outvars[0].aval
        if len(operands) > 1 or operands[0].value.shape != result.shape:
            return NotImplemented  # another function of that name
        return self._elementwise(equation, operands, where)

    def _missing(self, equation: JaxprEqn, where: Where, what: str) -> ValueError:
        name = equation.primitive.name
        return ValueError(
            f"lrp: no rule for the primitive {name!r}{what}, in {where}; give one: "
            f"composite=Composite(primitives={{{name!r}: rule}}), where rule(layer, x, relevance) returns the relevance of x, "
            "the operand that depends on the inputs, or a tuple of these"
        )

    def _unknown(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        values = computed(equation, operands)
        if any(map(_floating, values)):
            raise self._missing(equation, where, ", through which the score depends on the inputs")
        return values

    def _source(self, equation: JaxprEqn, operands: list[Any], where: Where) -> Active:
        source = common_source(operands)
        if source is None:
            raise self._missing(equation, where, " of several values that depend on the inputs")
        return source

    def _spread(self, operand: Any, shape: tuple[int, ...]) -> Any:
        """An active operand in the shape of the result."""
        if not is_active(operand) or operand.value.shape == shape:
            return operand
        spread = lambda value: jnp.broadcast_to(value, shape)
        if isinstance(operand, Stretch):
            return operand.moved(spread)
        settled = with_rule(operand)
        return type(settled)(spread(settled.value))

    def _affine(self, value: Any, operand: Any, where: Where, factor: Any = None, constant: Any = None) -> list[Any]:
        """An active value, times a constant or plus one."""
        operand = self._spread(operand, value.shape)
        if not isinstance(operand, Stretch):
            base = with_rule(operand)
            rule = self.composite.find(NORMALIZATION, where, first=False)
            if isinstance(operand, Statistic) and constant is None:
                return [Statistic(passing(value, operand.value))]
            if isinstance(rule, Pass):
                unshifted = None
                if constant is not None:
                    unshifted = getattr(operand, "unshifted", None)
                    unshifted = bare(operand) if unshifted is None else unshifted
                return [Pointwise(value, sources(operand)[0], unshifted)]
            affine = Affine(lambda x, weights: x, kind="ones")
            operand = Stretch(base.value, base, affine, rule, self.probe(where, NORMALIZATION, rule))
        return [operand.scaled(value, factor) if constant is None else operand.shifted(value, constant)]

    # Sums, products and quotients

    def _sum(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        (value,) = bind(equation, list(map(bare, operands)))
        one, other = operands
        if isinstance(other, Gauge):
            return [self._gauged(value, one, other)]
        minus = equation.primitive.name == "sub"
        if not is_active(other):
            return self._affine(value, one, where, constant=-other if minus else other)
        if not is_active(one):
            if minus:
                other = self._affine(-other.value, other, where, factor=jnp.array(-1, value.dtype))[0]
            return self._affine(value, other, where, constant=one)
        one, other = (self._spread(operand, value.shape) for operand in operands)
        source = common_source([one, other])
        if source is not None:
            return [Pointwise(value, source)]
        if (
            minus
            and isinstance(other, Stretch)
            and other.affine.kind == "ones"
            and other.base is with_rule(operands[0])
        ):
            return [self._centered(value, other, where)]
        return [self._shared(equation, [one, other], value, where, "sum")]

    def _gauged(self, value: Any, operand: Any, gauge: Gauge) -> Active:
        both = lambda operands, constants, relevance: (relevance,) * len(operands)
        operands = (plain(operand), gauge.value) if is_active(operand) else (gauge.value,)
        return Active(relevant(both, value, operands, None, None))

    def _centered(self, value: Any, mean: Stretch, where: Where) -> Stretch:
        """A value minus its mean, as one map."""
        affine = Affine(
            lambda x, mean: x - mean.linear(x),
            weights=mean.affine,
            bias=None if mean.affine.bias is None else -mean.affine.bias,
        )
        rule = self.composite.find(CENTERING, where, first=False)
        return Stretch(value, mean.base, affine, rule, self.probe(where, CENTERING, rule))

    def _product(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        (value,) = bind(equation, list(map(bare, operands)))
        one, other = operands
        if not (is_active(one) and is_active(other)):
            active, constant = (one, other) if is_active(one) else (other, one)
            return self._affine(value, active, where, factor=constant)
        if isinstance(one, Statistic) != isinstance(other, Statistic):
            active, statistic = (other, one) if isinstance(one, Statistic) else (one, other)
            return self._affine(value, active, where, factor=bare(statistic))
        one, other = (self._spread(operand, value.shape) for operand in operands)
        source = common_source([one, other])
        if source is not None:
            return [Pointwise(value, source)]
        halves = lambda pair, constants, relevance: (relevance / 2, relevance / 2)
        return [Active(relevant(halves, value, (plain(one), plain(other)), None, None))]

    def _quotient(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        (value,) = bind(equation, list(map(bare, operands)))
        one, other = operands
        if not is_active(one):
            other = with_rule(self._spread(other, value.shape))
            return [Statistic(passing(value, other.value))]
        if is_active(other):
            if _is_softmax(one, other):
                return [self._softmax(value, one, other.affine, where)]
            source = common_source([self._spread(operand, value.shape) for operand in operands])
            if source is not None:
                return [Pointwise(value, source)]
        return self._affine(value, one, where, factor=1 / bare(other))

    def _softmax(self, value: Any, exponential: Pointwise, total: Affine, where: Where) -> Active:
        """The Taylor rule of AttnLRP: `R_i = x_i (R_i - s_i sum_j R_j)` for logits x and softmax s."""

        def backward(x: Any, constants: Any, relevance: Any) -> Any:
            softmax, logits, total = constants
            logits = jnp.where(jnp.isfinite(logits), logits, jnp.zeros_like(logits))  # a masked logit has no weight
            return logits * (relevance - softmax * total.linear(relevance))

        constants = value, exponential.logits, total
        probe = self.probe(where, "softmax", "AttnLRP")
        return Active(relevant(backward, value, with_rule(exponential.source).value, constants, probe))

    def _negative(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        value = -operands[0].value
        return self._affine(value, operands[0], where, factor=jnp.array(-1, value.dtype))

    def _shared(
        self, equation: JaxprEqn, operands: list[Any], value: Any, where: Where, operation: str, part: float = 1.0
    ) -> Active:
        """Operands of which each gets its share of the value, `x_i dvalue/dx_i / (value ± stabilizer) * part`."""
        active = [index for index, operand in enumerate(operands) if is_active(operand)]
        constants = [None if is_active(operand) else operand for operand in operands]

        def backward(x: Any, constants: Any, relevance: Any) -> Any:
            others, stabilizer = constants

            def call(*x: Any) -> Any:
                every = list(others)
                for index, leaf in zip(active, x, strict=True):
                    every[index] = leaf
                return bind(equation, every)[0]

            z, back = jax.vjp(call, *x)
            return tuple(map(operator.mul, x, back(share(relevance * jnp.asarray(part, z.dtype), z, stabilizer))))

        x = tuple(plain(operands[index]) for index in active)
        probe = self.probe(where, operation, "shares")
        return Active(relevant(backward, value, x, (constants, self.composite.stabilizer), probe))

    # Linear layers

    def _contraction(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        one, other = operands
        is_convolution = equation.primitive.name == "conv_general_dilated"
        if is_active(one) and is_active(other):
            (value,) = bind(equation, list(map(bare, operands)))
            return [self._shared(equation, operands, value, where, "product", part=0.5)]
        on_left = is_active(one)
        base, weights = (with_rule(one), other) if on_left else (with_rule(other), one)
        both = lambda x, weights: [x, weights] if on_left else [weights, x]
        core = lambda x, weights: bind(equation, both(x, weights))[0]
        operation = CONVOLUTION if is_convolution else DENSE
        rule = self.composite.find(operation, where, self._is_first(equation, base))
        feature = functools.partial(_as_factor, equation) if on_left else None
        value = core(bare(base), weights)
        affine = Affine(core, weights, kind="array")
        return [Stretch(value, base, affine, rule, self.probe(where, operation, rule), feature)]

    def _is_first(self, equation: JaxprEqn, base: Active) -> bool:
        if isinstance(base, Raw) or not self.first:
            self.first.add(id(equation))
        return id(equation) in self.first

    def _pooling(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        (value,) = bind(equation, list(map(bare, operands)))
        if not _floating(value):
            return [value]
        if sum(map(is_active, operands)) > 1 or len(operands) > 1:
            return [self._shared(equation, operands, value, where, "sum")]
        rule = self.composite.find(POOLING, where, first=False)
        affine = Affine(lambda x, weights: bind(equation, [x])[0], kind="ones")
        return [Stretch(value, with_rule(operands[0]), affine, rule, self.probe(where, POOLING, rule))]

    # What moves and selects values: relevance goes the way of the derivative

    def _move(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        if len(operands) == 1 and equation.primitive.name in _LIGHT:
            (operand,) = operands
            if isinstance(operand, Stretch):
                return [operand.moved(lambda value: bind(equation, [value])[0])]
            settled = with_rule(operand)
            return [type(settled)(*bind(equation, [settled.value]))]
        return self._select(equation, operands, where)

    def _select(self, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        name = equation.primitive.name
        if name in ("max", "min") and not all(map(is_active, operands)):
            return self._elementwise(equation, operands, where)
        if name in ("max", "min", "select_n"):
            cases = operands[1:] if name == "select_n" else operands
            aval: Any = equation.outvars[0].aval
            cases = [self._spread(case, aval.shape) for case in cases]
            source = common_source(cases) if all(map(is_active, cases)) else None
            if source is not None:
                return [Pointwise(bind(equation, list(map(bare, operands)))[0], source)]
        results = bind(equation, list(map(plain, operands)))
        is_raw = all(isinstance(operand, Raw) for operand in operands if is_active(operand))
        return [(Raw if is_raw else Active)(value) if _floating(value) else value for value in results]

    # Rules of one's own for primitives

    def _own(self, rule: Rule, equation: JaxprEqn, operands: list[Any], where: Where) -> list[Any]:
        value, *more = computed(equation, operands)
        if more:
            raise ValueError(f"lrp: a rule for {equation.primitive.name!r}, which has several results, cannot be given")
        active = [index for index, operand in enumerate(operands) if is_active(operand)]
        constants = [None if is_active(operand) else operand for operand in operands]
        several = len(active) > 1

        def core(x: Any, constants: Any) -> Any:
            every = list(constants)
            for index, leaf in zip(active, x if several else (x,), strict=True):
                every[index] = leaf
            return bind(equation, every)[0]

        def backward(x: Any, constants: Any, relevance: Any) -> Any:
            others, rule = constants
            return rule(Affine(core, others), x, relevance)

        x = tuple(plain(operands[index]) for index in active)
        probe = self.probe(where, equation.primitive.name, rule)
        return [Active(relevant(backward, value, x if several else x[0], (constants, rule), probe))]


def _is_softmax(one: Any, other: Any) -> bool:
    """Whether of two operands one is an exponential, and the other the sum of the same."""
    is_sum = isinstance(other, Stretch) and other.affine.kind == "ones" and other.affine.bias is None
    return is_sum and isinstance(one, Pointwise) and one.logits is not None and other.base is one.settled


def _as_factor(equation: JaxprEqn, scale: Any) -> Any:
    """A scale of a linear layer's outputs as a factor of its weights; None if it has another value for each example, say."""
    scale = jnp.asarray(scale)
    kernel: Any = equation.invars[1].aval
    if scale.ndim == 0:
        return scale
    if equation.primitive.name == "conv_general_dilated":
        numbers = equation.params["dimension_numbers"]
        if scale.size != scale.shape[numbers.out_spec[1]]:
            return None
        shape = [1] * kernel.ndim
        shape[numbers.rhs_spec[0]] = scale.size
        return scale.reshape(shape)
    (_, contracted), (_, batched) = equation.params["dimension_numbers"]
    free = [axis for axis in range(kernel.ndim) if axis not in (*contracted, *batched)]
    features = scale.shape[scale.ndim - len(free) :]
    if any(size != 1 for size in scale.shape[: scale.ndim - len(free)]):
        return None
    shape = [1] * kernel.ndim
    for axis, size in zip(free, features, strict=True):
        shape[axis] = size
    return scale.reshape(shape)


# Functions of one value each, or of one and constants: relevance passes. Results that are no floats are constants.
_ELEMENTWISE = (
    "abs acos acosh asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp cos cosh digamma eq erf erf_inv erfc exp "
    "exp2 expm1 floor ge gt integer_pow is_finite le lgamma log log1p logistic lt ne nextafter pow reduce_precision rem round "
    "rsqrt sign sin sinh sqrt square tan tanh"
)
# Activation functions of `jax.nn` that are taken as a whole: one by one, their operations would not pass all relevance. What they
# add to their operand, or its sign, would belong to the linear layer before them, or they choose a constant.
_FUNCTIONS = "hard_sigmoid() hard_tanh() log_sigmoid() sparse_sigmoid()"
_LIGHT = frozenset(
    {"broadcast_in_dim", "convert_element_type", "copy", "expand_dims", "reshape", "squeeze", "transpose"}
)
_MOVES = " ".join(sorted(_LIGHT)) + (
    " concatenate copy_p device_put dynamic_slice dynamic_update_slice gather optimization_barrier pad rev scatter "
    "sharding_constraint slice sort split"
)
# The derivative of these chooses: the winner takes all.
_SELECTIONS = (
    "argmax argmin cummax cummin max min reduce_and reduce_max reduce_min reduce_or reduce_window_max reduce_window_min select_n "
    "top_k"
)

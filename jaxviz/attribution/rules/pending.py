"""Values on their way through a program, of which some have no rule yet: what is affine or elementwise is gathered first."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero, custom_vjp_primal_tree_values

from jaxviz.attribution.rules.affine import Affine
from jaxviz.attribution.rules.composites import Rule
from jaxviz.attribution.rules.held import held
from jaxviz.program import Active, Where
from jaxviz.program._compat import JaxprEqn, bind

# Gives the relevance of the operands, from operands, constants and the relevance of the result.
Backward = Callable[[Any, Any, Any], Any]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def relevant(backward: Backward, value: Any, operands: Any, constants: Any, probe: Any) -> Any:
    """The value; backwards, relevance goes to the operands by a rule, which the probe, a `usage.Probe` or None, is told."""
    return value


def _forward(backward: Backward, *args: Any) -> Any:
    value, *residuals = custom_vjp_primal_tree_values(args)
    return value, tuple(residuals)


def _backward(backward: Backward, residuals: Any, relevance: Any) -> Any:
    operands, constants, probe = residuals
    if type(relevance) is SymbolicZero:  # of what only a statistic is made: its rule need not fit it
        return None, None, None, None
    found = backward(operands, constants, relevance)
    found = jax.tree.map(lambda part, operand: part.astype(operand.dtype), found, operands)
    if probe is not None:
        probe = probe.applied(relevance, jax.tree.leaves(found))
    return None, found, None, probe


relevant.defvjp(_forward, _backward, symbolic_zeros=True)


def passing(value: Any, operand: Any) -> Any:
    """The value, whose relevance goes to the operand, of the same shape, as it is."""
    return relevant(lambda operand, constants, relevance: relevance, value, operand, None, None)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Raw(Active):
    """An input of the model, or what only moves inputs or passes their relevance."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Statistic(Active):
    """What a value is multiplied with to be normalized, such as the reciprocal of a standard deviation.

    In a product it counts as a constant: the identity rule of AttnLRP for normalizations.
    """


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Detached(Active):
    """What the program keeps from the derivative (`stop_gradient`), and what is made of that alone.

    It gets no relevance. It is no bias either: the maximum that softmax takes off its logits leaves the largest at 0, where a
    bias would absorb more than there is.
    """


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gauge(Active):
    """Zeros that are added to a layer's value, to which all relevance at that layer goes, beside its own way."""


class Pending(Active):
    """A value whose rule is not applied yet; a boundary of a scan, a branch or a checkpoint applies it."""

    @property
    def settled(self) -> Active:
        """The value with its rule."""
        raise NotImplementedError  # each kind of pending value, below, has its own


@dataclass(frozen=True, eq=False)
class Pointwise(Pending):
    """An elementwise function of another value.

    Attributes:
        source: what it is a function of; not a `Pointwise` itself.
        unshifted: the value before a constant was added or subtracted, if that is the last that was done.
        logits: where the value is an exponential, of what; before a constant was added.
    """

    source: Active
    unshifted: Any = None
    logits: Any = None

    @functools.cached_property
    def settled(self) -> Active:
        """The value with its rule: relevance passes."""
        source = with_rule(self.source)
        return type(source)(passing(self.value, source.value))


@dataclass(frozen=True, eq=False)
class Stretch(Pending):
    """An affine map of the settled value `base`.

    Attributes:
        base: what it is a map of.
        affine: the map.
        rule: its rule.
        where: the layer that it stands in.
        operation: its kind, one of `composites.OPERATIONS`.
        probe: see `relevant`.
        feature: turns a scale of the map's outputs into a factor of its weights, where it can; None if nothing does.
        parent: what this is an elementwise function of, too: the same without what scaled or shifted it last.
    """

    base: Active
    affine: Affine
    rule: Rule
    where: Where
    operation: str
    probe: Any = None
    feature: Callable[[Any], Any] | None = None
    parent: "Stretch | None" = None

    @functools.cached_property
    def settled(self) -> Active:
        """The value with its rule."""
        value, affine, rule = self.value, self.folded.affine, self.rule
        backward = lambda x, constants, relevance: constants[1](constants[0], x, relevance)
        return Active(relevant(backward, value, self.base.value, (replace(affine, value=value), rule), self.probe))

    @functools.cached_property
    def folded(self) -> "Stretch":
        """The same with the scale in the weights, if it has one for each feature, as batch normalization has."""
        affine = self.affine
        factor = None if self.feature is None or affine.scale is None else self.feature(affine.scale)
        if factor is None:
            return self
        return replace(self, affine=replace(affine, weights=affine.weights * factor, scale=None))

    def scaled(self, value: Any, factor: Any) -> "Stretch":
        """This times a constant."""
        multiplied = lambda old: factor if old is None else old * factor
        bias = None if self.affine.bias is None else self.affine.bias * factor
        affine = replace(self.affine, scale=multiplied(self.affine.scale), bias=bias)
        return replace(self, value=value, affine=affine, parent=self)

    def shifted(self, value: Any, constant: Any) -> "Stretch":
        """This plus a constant."""
        bias = constant if self.affine.bias is None else self.affine.bias + constant
        return replace(self, value=value, affine=replace(self.affine, bias=bias), parent=self)

    def moved(self, move: Callable[[Any], Any]) -> "Stretch":
        """This in another shape."""
        old = self.folded
        core, shape = old.affine.core, old.value.shape
        moved = lambda part: None if part is None else move(jnp.broadcast_to(part, shape).astype(old.value.dtype))
        affine = replace(
            old.affine,
            core=lambda x, weights: move(core(x, weights)),
            scale=moved(old.affine.scale),
            bias=moved(old.affine.bias),
        )
        return replace(old, value=move(old.value), affine=affine, feature=None, parent=None)


def settle(active: Active) -> Active:
    """The value with its rule, without its history."""
    return active if isinstance(active, Gauge) else Active(with_rule(active).value)


def with_rule(active: Active) -> Active:
    """An active value with its rule."""
    return active.settled if isinstance(active, Pending) else active


def sources(active: Any) -> list[Any]:
    """What an active value is an elementwise function of, the nearest first."""
    if isinstance(active, Pointwise):
        return sources(active.source)
    parent = active.parent if isinstance(active, Stretch) else None
    return [active, *(sources(parent) if parent is not None else [])]


def common_source(operands: list[Any]) -> Any:
    """The nearest of which all active operands are elementwise functions, or None."""
    first, *more = [sources(operand) for operand in operands if is_active(operand)]
    return next((source for source in first if all(any(source is one for one in other) for other in more)), None)


def plain(operand: Any) -> Any:
    """The value of an operand, with its rule."""
    return with_rule(operand).value if isinstance(operand, Active) else operand


def bare(operand: Any) -> Any:
    """The value of an operand, without any rule."""
    return held(operand.value) if isinstance(operand, Active) else operand


def computed(equation: JaxprEqn, operands: list[Any]) -> list[Any]:
    """What an equation makes of the values of its operands, without any rule."""
    values = list(map(bare, operands))
    try:
        return bind(equation, values)
    except Exception:  # JAX has no derivative of it, and then the attribution has none
        return bind(equation, jax.lax.stop_gradient(values))


def is_active(value: Any) -> bool:
    """Whether a value depends on the inputs."""
    return isinstance(value, Active)


def is_inexact(value: Any) -> bool:
    """Whether a value is of floating-point or complex numbers, so that it may have relevance."""
    return jnp.issubdtype(jnp.result_type(value), jnp.inexact)


def _flatten(pending: Any) -> tuple[Any, None]:
    return (pending.settled.value,), None


def _unflatten(_: None, leaves: Any) -> Any:
    return Active(*leaves)


jax.tree_util.register_pytree_node(Pointwise, _flatten, _unflatten)
jax.tree_util.register_pytree_node(Stretch, _flatten, _unflatten)

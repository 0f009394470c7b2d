"""Pairs: a value at the inputs and at the baseline, and how the difference between the two is shared among operands."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.rules.held import held
from jaxviz.program import Active
from jaxviz.program._compat import JaxprEqn, bind


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pair(Active):
    """What the program computes at the inputs, and at the baseline.

    Attributes:
        value: at the inputs. Its derivatives are the multipliers.
        reference: at the baseline. It has no derivative.
        carrier: for integers and booleans, which have no derivative: the value as a float array that has. None for floats, and
            for what is a constant to what follows.
        power: 1 of a deviation, the square root of something, -1 of the inverse of one, 0 of all else.
    """

    reference: Any
    carrier: Any = None
    power: int = field(default=0, metadata={"static": True})

    @property
    def has_flow(self) -> bool:
        """Whether multipliers flow through it."""
        return self.carrier is not None or is_float(self.value)

    @property
    def flow(self) -> jax.Array:
        """The value as a float array, which the multipliers flow through."""
        if self.carrier is not None:
            return self.carrier
        return self.value if is_float(self.value) else floating(self.value)

    @property
    def difference(self) -> jax.Array:
        """The value less the reference, as a float array without multipliers."""
        return floating(held(self.value)) - floating(self.reference)


def is_float(array: Any) -> bool:
    """Whether an array, or what has its dtype, is of floats."""
    return bool(jnp.issubdtype(array.dtype, jnp.inexact))


def floating(array: Any) -> jax.Array:
    """An array as floats."""
    array = jnp.asarray(array)
    return array if is_float(array) else array.astype(jnp.result_type(float))


def pair(value: Any, reference: Any, flow: Any = None) -> Pair:
    """The pair of two results; the flow, where it is given, is the value as floats that have a derivative."""
    if is_float(value):
        return Pair(value if flow is None else flow, reference)
    return Pair(value, reference, flow)


def lift(value: Any) -> Pair:
    """A plain array as a pair: it is the same at the inputs and at the baseline."""
    value = jnp.asarray(value)
    return settle(Pair(value, value))


def settle(active: Any) -> Pair:
    """A pair whose parts are told by its dtype: integers and booleans have a carrier, and none has a power."""
    return Pair(active.value, active.reference, None if is_float(active.value) else active.flow)


def values(operands: list[Any]) -> list[Any]:
    """The operands at the inputs, as constants."""
    return [held(operand.value) if isinstance(operand, Pair) else operand for operand in operands]


def references(operands: list[Any]) -> list[Any]:
    """The operands at the baseline."""
    return [operand.reference if isinstance(operand, Pair) else operand for operand in operands]


def means(operands: list[Any]) -> list[Any]:
    """The operands halfway from the baseline to the inputs."""
    return [(one + other) / 2 for one, other in zip(values(operands), references(operands), strict=True)]


def both(equation: JaxprEqn, operands: list[Any]) -> tuple[list[Any], list[Any]]:
    """The results of an equation at the inputs and at the baseline, as constants."""
    return bind(equation, values(operands)), bind(equation, references(operands))


def shared(linear: Callable[..., Any], equation: JaxprEqn, value: Any, constants: Any, flows: list[Any]) -> Any:
    """A value (a pytree) whose derivative is given: `linear(equation, constants, directions)`, linear in the flows."""
    return _shared(functools.partial(linear, equation), value, constants, flows)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _shared(linear: Callable[..., Any], value: Any, constants: Any, flows: list[Any]) -> Any:
    return value


@_shared.defjvp
def _shared_jvp(linear: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    value, constants, _ = primals
    return value, jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), linear(constants, tangents[2]), value)


def weighted(equation: JaxprEqn, weights: list[Any], directions: list[Any]) -> Any:
    """Each direction times its weight, added up."""
    return functools.reduce(jnp.add, (weight * each for weight, each in zip(weights, directions, strict=True)))


def finite_or_0(weights: Any) -> jax.Array:
    """Weights, and 0 where they are not finite.

    Outside of a function's domain (a root of what is negative, a quotient by 0) there are none. A choice that guards against that
    hands nothing back, and 0 times NaN would be NaN all the same.
    """
    return jnp.where(jnp.isfinite(weights), weights, jnp.zeros_like(weights))


def ratio(difference: Any, divisor: Any, otherwise: Any) -> jax.Array:
    """`difference / divisor`, and `otherwise` where the divisor is 0 or the ratio not finite."""
    zero = divisor == 0
    quotient = difference / jnp.where(zero, jnp.ones_like(divisor), divisor)
    return finite_or_0(jnp.where(zero, otherwise, quotient))

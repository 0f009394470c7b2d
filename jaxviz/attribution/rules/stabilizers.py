"""Stabilizers: what keeps the denominators of LRP's rules away from 0."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.checks import check_flag, check_number, given
from jaxviz.static import Static

KNOWN = int | float | np.number  # in contrast to what may be traced


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stabilizer:
    """What a denominator z becomes: `z ± epsilon`, the sign being that of z (plus for 0); in place of a rule's number.

    `relative`: `z ± epsilon sqrt(mean(z^2))`; `clip`: `± max(|z|, epsilon)`; both: `± max(|z|, epsilon sqrt(mean(z^2)))`

    Attributes:
        epsilon: at least 0. A number as a rule's stabilizer or epsilon is `Stabilizer(number)`.
        clip: whether only what is smaller is changed, so that large denominators absorb nothing.
        relative: whether epsilon is a share of z's root mean square, so that it means the same for layers of any scale.
        axes: the axes of that mean, those of the layer's outputs with channels last, without axis 0, the batch; None: all others.

    Note:
        As Zennit's `Stabilizer` (`norm_scale` is `relative`, and `dim` `axes`), whose axes have channels first, and may be the
        batch.
    """

    epsilon: Any = 1e-6
    clip: bool = field(default=False, metadata={"static": True})
    relative: bool = field(default=False, metadata={"static": True})
    axes: tuple[int, ...] | None = field(default=None, metadata={"static": True})

    def __post_init__(self) -> None:
        if callable(self.epsilon) or isinstance(self.epsilon, KNOWN | str | bool | list | None):
            check_number("Stabilizer", "epsilon", self.epsilon, 0)
        for name in ("clip", "relative"):
            check_flag("Stabilizer", name, getattr(self, name))
        axes = self.axes
        if axes is not None:
            is_tuple = isinstance(axes, tuple) and all(hasattr(axis, "__index__") for axis in axes)
            if not is_tuple or any(isinstance(axis, bool | np.bool_) for axis in axes):
                raise TypeError(f"Stabilizer: axes must be None or a tuple of ints, got {given(axes)}")
            if 0 in axes:
                raise ValueError(
                    f"Stabilizer: axes must be without 0, the batch, since examples stay apart, got {given(axes)}"
                )
            if not self.relative:
                raise ValueError("Stabilizer: axes are those of the mean that relative=True takes; it is False")

    def __call__(self, z: Any) -> Any:
        """The denominator in place of z."""
        epsilon = jnp.asarray(self.epsilon, z.dtype)
        if self.relative:
            axes = tuple(range(1, z.ndim)) if self.axes is None else self._places(z)
            epsilon = epsilon * jnp.sqrt(jnp.square(z).mean(axis=axes, keepdims=True))
        if self.clip:
            largest = jnp.maximum(jnp.abs(z), epsilon)
            return jnp.where(z < 0, -largest, largest)
        return z + jnp.where(z < 0, -epsilon, epsilon)

    def _places(self, z: Any) -> tuple[int, ...]:
        """The axes of a denominator."""
        given_axes = self.axes or ()
        places = [axis + z.ndim if axis < 0 else axis for axis in given_axes]
        if not all(0 < place < z.ndim for place in places) or len(set(places)) < len(places):
            raise ValueError(
                "Stabilizer: axes must be different axes of the layer's outputs, other than the batch, got "
                f"{given(given_axes)} where these have the shape {z.shape}"
            )
        return tuple(places)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OwnStabilizer:
    """A function as a stabilizer."""

    function: Static = field(metadata={"static": True})

    def __call__(self, z: Any) -> Any:
        """The denominator in place of z."""
        found = self.function.value(z)
        if getattr(found, "shape", None) != z.shape:
            name = getattr(self.function.value, "__name__", "a function")
            raise ValueError(
                f"{name}: a stabilizer must give an array of the shape of its argument, {z.shape}, got "
                f"{getattr(found, 'shape', given(found))}"
            )
        return found.astype(z.dtype)


def check_stabilizer(function: str, name: str, value: Any) -> Any:
    """The value, a function as a stabilizer that JAX takes for static; raises unless it is a number or a stabilizer."""
    if isinstance(value, Stabilizer | OwnStabilizer):
        return value
    if callable(value) and not isinstance(value, type):
        return OwnStabilizer(Static(value))
    if isinstance(value, str | bool | list | None | type):
        raise TypeError(f"{function}: {name} must be a number, a Stabilizer or a function, got {given(value)}")
    if isinstance(value, KNOWN) and not value >= 0:
        raise ValueError(f"{function}: {name} must be at least 0, got {given(value)}")
    return value


def stabilized(z: Any, stabilizer: Any) -> Any:
    """What a number, a `Stabilizer` or a function makes of a denominator."""
    return stabilizer(z) if callable(stabilizer) else Stabilizer(stabilizer)(z)


def share(relevance: Any, z: Any, stabilizer: Any) -> Any:
    """`relevance / stabilized(z)`; 0 where that would divide by 0, which a stabilizer of 0 leaves possible."""
    z = stabilized(z, stabilizer)
    zero = z == 0
    return jnp.where(zero, jnp.zeros_like(z), relevance / jnp.where(zero, jnp.ones_like(z), z))

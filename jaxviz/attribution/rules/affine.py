"""An affine map as a rule of LRP sees it: its values, and those of the same map with other weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp

# What the weights of a map are: an array; ones, of which it makes sums; or not to be had one by one.
Weights = Literal["array", "ones", "unknown"]


class WithoutWeights(ValueError):
    """A rule asks for the weights of a map that has none of its own."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Affine:
    """The map `z = scale * core(x, weights) + bias`: a linear layer with all that scales and shifts its outputs.

    Attributes:
        core: linear in its first argument and, where the weights are an array, in its second.
        weights: the weights as an array, or else what the core needs.
        scale: None (1) or an array that broadcasts to z.
        bias: None (0) or an array that broadcasts to z.
        kind: what the weights are.
        value: z for the inputs of the program, where it is known.
    """

    core: Callable[[Any, Any], Any] = field(metadata={"static": True})
    weights: Any = None
    scale: Any = None
    bias: Any = None
    kind: Weights = field(default="unknown", metadata={"static": True})
    value: Any = None

    def __call__(self, x: Any) -> Any:
        """`z`, the value of the map."""
        z = self.linear(x)
        return z if self.bias is None else z + self.bias

    def output(self, x: Any) -> Any:
        """`z` for the inputs x of the program."""
        return self(x) if self.value is None else self.value

    def linear(self, x: Any) -> Any:
        """The map without its bias."""
        return self._scaled(self.core(x, self.weights), self.scale)

    def positive(self, x: Any) -> Any:
        """The linear map of the positive weights alone."""
        return self._part(x, 1)

    def negative(self, x: Any) -> Any:
        """The linear map of the negative weights alone."""
        return self._part(x, -1)

    def squared(self, x: Any) -> Any:
        """The linear map of the squared weights."""
        scale = None if self.scale is None else self.scale**2
        return self._scaled(self._with(x, jnp.square), scale)

    def flat(self, x: Any) -> Any:
        """The linear map of ones in place of the weights."""
        return self._with(x, jnp.ones_like)

    def bias_part(self, sign: int) -> Any:
        """The positive part of the bias, for a sign of 1, or its negative part, for -1; 0 where there is no bias."""
        return 0.0 if self.bias is None else _clip(self.bias, sign)

    def _scaled(self, z: Any, scale: Any) -> Any:
        return z if scale is None else z * scale

    def _part(self, x: Any, sign: int) -> Any:
        part = self._with(x, lambda weights: _clip(weights, sign))
        if self.scale is None:
            return part
        # Where the scale is negative, it is the other weights that come out with this sign.
        other = self._with(x, lambda weights: _clip(weights, -sign))
        return jnp.where(self.scale > 0, part, other) * self.scale

    def _with(self, x: Any, change: Callable[[Any], Any]) -> Any:
        if self.kind == "array":
            return self.core(x, change(self.weights))
        if self.kind == "unknown":
            raise WithoutWeights(
                "Affine: a rule asks for the weights of a map that has none of its own (a normalization, or a primitive that is "
                "not linear); such a map has `layer(x)`, `layer.linear(x)` and `layer.bias` only, which the rules Epsilon, "
                "Norm and Pass do with"
            )
        return self.core(x, self.weights) * change(jnp.ones((), x.dtype))


def _clip(array: Any, sign: int) -> Any:
    zero = jnp.zeros((), jnp.result_type(array))
    return jnp.maximum(array, zero) if sign > 0 else jnp.minimum(array, zero)

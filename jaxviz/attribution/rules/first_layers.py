"""The rules of LRP that are for first layers: by what their inputs can be, or by weights alone."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.rules.affine import Affine
from jaxviz.attribution.rules.rule_settings import bias_setting, check_settings, register
from jaxviz.attribution.rules.stabilizers import KNOWN, share
from jaxviz.checks import given, is_traced


@register
@dataclass(frozen=True)
class ZBox:
    """The z-box rule, for the first layer where inputs have a lowest and a highest possible value.

    `R_i = sum_j (x_i w_ij - low_i w_ij+ - high_i w_ij-) / (the same summed over i) R_j`

    Attributes:
        low: the lowest possible value of the inputs (after what normalizes them), a number or an array that broadcasts to them;
            channels being the last axis, an array `(channels,)` does.
        high: the highest.
        stabilizer: at least 0; added to the denominator with its sign.

    Shares have the sign of the relevance that they are of, for inputs in the box; `lrp` and `relevance_report` warn of others.

    References:
        G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller. Explaining Nonlinear Classification Decisions with Deep
        Taylor Decomposition. Pattern Recognition 65, 2017. arXiv:1512.02479.
    """

    low: Any
    high: Any
    stabilizer: Any = 1e-6

    def __post_init__(self) -> None:
        check_settings(self, signed=("low", "high"))
        bounds = self.low, self.high
        # Others are JAX's own, such as those of a tracer, while rules are data.
        if all(isinstance(bound, KNOWN | np.ndarray | jax.Array) and not is_traced(bound) for bound in bounds):
            low, high = map(np.asarray, bounds)
            if not (low <= high).all():
                raise ValueError(f"ZBox: low must be at most high, got {given(self.low)} and {given(self.high)}")

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        low, high = self._bounds(x)
        z, back = jax.vjp(
            lambda x, low, high: layer.linear(x) - layer.positive(low) - layer.negative(high), x, low, high
        )
        return sum(map(jnp.multiply, (x, low, high), back(share(relevance, z, self.stabilizer))))

    def _bounds(self, x: Any) -> list[Any]:
        """Both bounds in the shape of the inputs."""
        return [jnp.broadcast_to(jnp.asarray(bound).astype(x.dtype), x.shape) for bound in (self.low, self.high)]

    def outside(self, x: Any) -> Any:
        """How many inputs are outside of the box by more than rounding, as a float."""
        low, high = self._bounds(x)
        slack = 32 * jnp.finfo(x.dtype).eps * jnp.maximum(jnp.maximum(jnp.abs(low), jnp.abs(high)), high - low)
        return jnp.sum((x < low - slack) | (x > high + slack), dtype=jnp.float32)


@register
@dataclass(frozen=True)
class WSquare:
    """The w-square rule, for the first layer where inputs are not bounded: by weights, whatever the inputs.

    `R_i = sum_j w_ij^2 / (sum_i w_ij^2 + bias^2) R_j`

    Attributes:
        stabilizer: at least 0; added to the denominator.
        bias: False leaves the bias out of the denominator.

    References:
        G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller. Explaining Nonlinear Classification Decisions with Deep
        Taylor Decomposition. Pattern Recognition 65, 2017. arXiv:1512.02479.
    """

    stabilizer: Any = 1e-6
    bias: bool = bias_setting()

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        z, back = jax.vjp(layer.squared, jnp.ones_like(x))
        z = z + layer.bias**2 if self.bias and layer.bias is not None else z
        return back(share(relevance, z, self.stabilizer))[0]


@register
@dataclass(frozen=True)
class Flat:
    """The flat rule, for the first layers: to all inputs of an output alike.

    `R_i = sum_j 1 / (number of inputs of j) R_j`

    References:
        S. Lapuschkin, S. Wäldchen, A. Binder, G. Montavon, W. Samek, K.-R. Müller. Unmasking Clever Hans Predictors and
        Assessing What Machines Really Learn. Nature Communications 10, 2019. arXiv:1902.10178.
    """

    stabilizer: Any = 1e-6

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        z, back = jax.vjp(layer.flat, jnp.ones_like(x))
        return back(share(relevance, z, self.stabilizer))[0]

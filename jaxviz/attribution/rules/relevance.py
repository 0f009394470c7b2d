"""The rules of LRP: how the relevance of a layer's outputs is shared among its inputs.

A rule is any `rule(layer, x, relevance) -> relevance of x`, where `layer` is an `Affine`. Where a rule has a stabilizer, a number
is added to the denominator with its sign; a `Stabilizer`, or a function of the denominator, may stand in its place. Those for the
first layers are in `first_layers.py`.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.rules.affine import Affine
from jaxviz.attribution.rules.rule_settings import bias_setting, check_settings, register
from jaxviz.attribution.rules.stabilizers import KNOWN, share
from jaxviz.static import Static


@register
@dataclass(frozen=True)
class Epsilon:
    """The epsilon rule: each input's share of z, of which epsilon absorbs some where z is small.

    `R_i = sum_j x_i w_ij / (z_j ± epsilon) R_j`, and the bias absorbs its share likewise

    With epsilon=0 this is LRP-0.

    Attributes:
        epsilon: at least 0; added to z with the sign of z. A `Stabilizer` or a function may be given.
        bias: False leaves the bias out of z, so that it absorbs nothing.

    References:
        S. Bach et al. On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation.
        PLOS ONE 10(7), 2015.
    """

    epsilon: Any = 1e-6
    bias: bool = bias_setting()

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        z, back = jax.vjp(layer.linear, x)
        z = layer.output(x) if self.bias else z
        return jax.tree.map(jnp.multiply, x, back(share(relevance, z, self.epsilon))[0])


@register
@dataclass(frozen=True)
class Norm:
    """The epsilon rule for what has no weights of its own (sums, means, average pooling), epsilon being a stabilizer only."""

    stabilizer: Any = 1e-6

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        return Epsilon(self.stabilizer)(layer, x, relevance)


@register
@dataclass(frozen=True)
class Pass:
    """The relevance passes unchanged; for elementwise layers."""

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        if jnp.shape(x) != relevance.shape:
            raise ValueError(
                f"Pass: this rule is for elementwise layers; the layer has inputs {jnp.shape(x)} and outputs {relevance.shape}"
            )
        return relevance


@register
@dataclass(frozen=True)
class Gamma:
    """The gamma rule: as epsilon, with the contributions that have the sign of z favored.

    For z > 0, where `w+` and `w-` are the positive and negative parts:
    `R_i = sum_j (x_i+ (w_ij + gamma w_ij+) + x_i- (w_ij + gamma w_ij-)) / (their sum over i, and bias + gamma bias+) R_j`;
    for z < 0 with the parts exchanged.

    Attributes:
        gamma: at least 0; 0 is the epsilon rule.
        stabilizer: at least 0; added to the denominator with its sign.
        bias: False leaves the bias out of the denominator (not out of z, whose sign counts).

    References:
        G. Montavon, A. Binder, S. Lapuschkin, W. Samek, K.-R. Müller. Layer-Wise Relevance Propagation: An Overview.
        Explainable AI, LNCS 11700, 2019. For inputs of both signs: L. Andéol, Y. Kawakami, Y. Wada, T. Kanamori, K.-R. Müller,
        G. Montavon. Learning Domain Invariant Representations by Joint Wasserstein Distance Minimization. 2021.
        arXiv:2106.04923.
    """

    gamma: Any = 0.25
    stabilizer: Any = 1e-6
    bias: bool = bias_setting()

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        gamma = jnp.asarray(self.gamma, relevance.dtype)
        z = layer.output(x)

        def favoring(sign: int) -> Any:
            bias = 0.0
            if self.bias and layer.bias is not None:
                bias = layer.bias + gamma * layer.bias_part(sign)
            same, other = (layer.positive, layer.negative)[::sign]
            gate = jnp.where(z > 0 if sign > 0 else z < 0, relevance, jnp.zeros_like(relevance))
            return _signed(
                lambda part: layer.linear(part) + gamma * same(part),
                lambda part: layer.linear(part) + gamma * other(part),
                bias,
                x,
                gate,
                self.stabilizer,
            )

        return favoring(1) + favoring(-1)


@register
@dataclass(frozen=True)
class AlphaBeta:
    """The alpha-beta rule: positive and negative contributions are shared apart.

    `R_i = sum_j (alpha z_ij+ / sum_i z_ij+  -  beta z_ij- / sum_i z_ij-) R_j` where `z_ij = x_i w_ij`, the sums with the
    positive and negative parts of the bias

    Attributes:
        alpha: weight of the positive contributions, at least 1.
        beta: alpha - 1.
        stabilizer: at least 0; added to the denominators with their signs.
        bias: False leaves the bias out of the sums.

    References:
        S. Bach et al. On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation.
        PLOS ONE 10(7), 2015.
    """

    alpha: Any = 2.0
    beta: Any = 1.0
    stabilizer: Any = 1e-6
    bias: bool = bias_setting()

    def __post_init__(self) -> None:
        check_settings(self)
        known = isinstance(self.alpha, KNOWN) and isinstance(self.beta, KNOWN)
        # To the rounding of float32: in float64, too, 2.2 - 1.2 is not 1.
        if known and not math.isclose(self.alpha, self.beta + 1, rel_tol=1e-6):
            raise ValueError(f"AlphaBeta: alpha - beta must be 1, got alpha={self.alpha}, beta={self.beta}")

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        alpha, beta = (jnp.asarray(value, relevance.dtype) for value in (self.alpha, self.beta))
        up, down = (layer.bias_part(sign) if self.bias else 0.0 for sign in (1, -1))
        first = _signed(layer.positive, layer.negative, up, x, relevance, self.stabilizer)
        second = _signed(layer.negative, layer.positive, down, x, relevance, self.stabilizer)
        return alpha * first - beta * second


@register
@dataclass(frozen=True)
class ZPlus:
    """The z-plus rule: positive contributions only; alpha-beta with alpha=1 and beta=0.

    `R_i = sum_j z_ij+ / sum_i z_ij+ R_j`, the sum with the positive part of the bias

    Attributes:
        stabilizer: at least 0; added to the denominator with its sign.
        bias: False leaves the bias out of the sum.

    References:
        G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller. Explaining Nonlinear Classification Decisions with Deep
        Taylor Decomposition. Pattern Recognition 65, 2017. arXiv:1512.02479. There inputs are positive; here, as in Zennit,
        negative inputs with negative weights count, too.
    """

    stabilizer: Any = 1e-6
    bias: bool = bias_setting()

    def __post_init__(self) -> None:
        check_settings(self)

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        bias = layer.bias_part(1) if self.bias else 0.0
        return _signed(layer.positive, layer.negative, bias, x, relevance, self.stabilizer)


@register
@dataclass(frozen=True)
class OwnRule:
    """A function as a rule."""

    function: Static = field(metadata={"static": True})

    def __call__(self, layer: Affine, x: Any, relevance: Any) -> Any:
        """The relevance of x."""
        found = self.function.value(layer, x, relevance)
        shapes = jax.tree.map(jnp.shape, x)
        if jax.tree.map(jnp.shape, found) != shapes:
            name = getattr(self.function.value, "__name__", "a function")
            what = type(found).__name__ if found is None else jax.tree.map(jnp.shape, found)
            raise ValueError(f"{name}: a rule must return the relevance of x, of shape {shapes}, got {what}")
        return found


def _signed(same: Any, other: Any, bias: Any, x: Any, relevance: Any, stabilizer: Any) -> Any:
    """The relevance by what one map makes of the positive inputs and another of the negative."""
    zero = jnp.zeros((), x.dtype)
    parts = jnp.maximum(x, zero), jnp.minimum(x, zero)
    z, back = jax.vjp(lambda up, down: same(up) + other(down), *parts)
    return sum(map(jnp.multiply, parts, back(share(relevance, z + bias, stabilizer))))

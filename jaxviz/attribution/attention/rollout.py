"""Attention rollout: the weights of all layers multiplied, as if tokens were passed on and nothing else were done to them."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.arguments import check_choice, prepare
from jaxviz.attribution.attention.layered import check_chain, identity, product
from jaxviz.attribution.attention.maps import check_layers
from jaxviz.attribution.attention.rows import Size, Token, check_reading, read
from jaxviz.attribution.attention.weights import captured, traced, weights
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.kinds import without_score
from jaxviz.checks import check_number, is_traced
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.precision import at_least_float32
from jaxviz.program import evaluate
from jaxviz.targets import Target, TargetLike

_FUSED: dict[str, Callable[..., jax.Array]] = {"mean": jnp.mean, "min": jnp.min, "max": jnp.max}


@cautious
@without_score
def attention_rollout(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    layers: str | Iterable[str] | None = None,
    residual: float = 0.5,
    heads: str = "mean",
    discard: float = 0.0,
    token: Token = None,
    upsample: Size = None,
) -> jax.Array:
    """Attention rollout: how much of each input token reaches each token through all layers, whatever the target.

    `R = A_n ... A_2 A_1`, `A_l = normalized(residual * I + (1 - residual) * heads(weights_l))`, rows normalized to the sum 1

    Args:
        model: the model, of self-attention over one sequence of tokens; see `attention_maps`.
        inputs: as for `attention_maps`.
        target: taken so that the method is called as the others are; rollout does not depend on it.
        layers: as for `attention_maps`; the product is over those named. With None it is over all, of which none may be
            cross-attention; those that are named are taken for self-attention where queries are as many as keys.
        residual: share of the residual connection in each layer, 0 to 1: how much of a token stays where it is.
        heads: `"mean"`, `"min"` or `"max"` over the heads.
        discard: share of the smallest weights of each example and layer, after the heads are one, that count as 0: 0 to 1.
        token: None for the matrix; or whose row is wanted: an int (0 for a class token that stands first, -1 for the last
            token), or an int array `(batch,)` with one index per example.
        upsample: with a token, for images and volumes: False lays out its row as the grid of patches, without up to 8
            others, as for `grad_cam`; True resizes that (linearly) to the spatial axes of the inputs; a tuple of ints is another
            size.

    Returns:
        `R`, `(batch, queries, keys)`, of the weights' dtype: row q has the shares of the input tokens in token q, which sum to 1.
        With a token its row `(batch, keys)`; with upsample `(batch, *spatial)`. NaN if a layer stands in a branch that is not
        taken.

    Raises:
        TypeError: as for `attention_maps`, or if a setting is of another type.
        ValueError: as for `attention_maps`; if a setting is out of range; if layers are cross-attention, or have not all the same
            tokens; if upsample is given and the tokens make no grid.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, jaxviz as jv
        >>> attention = nn.MultiHeadDotProductAttention(num_heads=2)
        >>> module = nn.Sequential([nn.Conv(8, (4, 4), (4, 4)), lambda x: x.reshape(x.shape[0], -1, 8), attention])
        >>> images = jax.random.normal(jax.random.key(0), (1, 16, 8, 3))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(1), images))
        >>> attention_rollout(model, images).shape  # 4 x 2 patches
        (1, 8, 8)
        >>> attention_rollout(model, images, token=0, upsample=True).shape
        (1, 16, 8)

    Note:
        The paper takes the mean over heads, half the residual connection, and keeps all weights. `heads` and `discard` are of
        the vit-explain implementation, which discards in the first example of a batch alone, and never the very first weight;
        here all examples and weights are treated alike. It also scales each map to a maximum of 1. A row of which nothing is
        left (`residual=0`) is 0.

    References:
        S. Abnar, W. Zuidema. Quantifying Attention Flow in Transformers. ACL 2020. arXiv:2005.00928. J. Gildenblat. Exploring
        Explainability for Vision Transformers. 2020. https://github.com/jacobgil/vit-explain.
    """
    name = "attention_rollout"
    wanted = check_layers(name, layers)
    check_choice(name, "heads", heads, _FUSED)
    residual = _share(name, "residual", residual)
    discard = _share(name, "discard", discard)
    check_reading(name, token, upsample)
    inputs, _ = prepare(name, model, inputs, Target() if target is None else target, differentiable=False)
    none = not is_traced(discard) and discard == 0  # nothing is sorted then
    matrix = _attention_rollout(model, inputs, residual, None if none else discard, layers=wanted, heads=heads)
    return read(name, matrix, model, inputs, token, upsample)


def _share(function: str, name: str, value: Any) -> Any:
    value = check_number(function, name, value, 0, 1)
    return value if is_traced(value) else float(value)


@functools.partial(jit, static_argnames=("layers", "heads"))
def _attention_rollout(
    model: Model, inputs: Any, residual: Any, discard: Any, *, layers: tuple[str, ...] | None, heads: str
) -> jax.Array:
    program = traced(model, inputs)
    found = weights("attention_rollout", model, inputs, program, layers)
    leaves = jax.tree.leaves((model.params, model.keywords, inputs))
    _, values = evaluate(program, leaves, capture=[each.key for each in found], outputs=False)
    matrices = captured(found, values)
    check_chain("attention_rollout", found, matrices, chosen=layers is not None)
    result = identity(at_least_float32(matrices[0][:, 0]))
    for matrix in matrices:
        fused = _FUSED[heads](at_least_float32(matrix), axis=1)
        if discard is not None:
            fused = _without_smallest(fused, discard)
        share = jnp.asarray(residual).astype(fused.dtype)
        layer = share * identity(fused) + (1 - share) * fused
        total = layer.sum(axis=-1, keepdims=True)
        result = product(layer / jnp.where(total == 0, jnp.ones_like(total), total), result)
    return result.astype(matrices[0].dtype)


def _without_smallest(matrix: jax.Array, share: Any) -> jax.Array:
    """A share of the entries of each matrix, the smallest, set to 0; of equal ones those that stand first."""
    flat = matrix.reshape(matrix.shape[0], -1)
    rank = jnp.argsort(jnp.argsort(flat, axis=1), axis=1)
    count = flat.shape[1]
    # A share of float32 may miss a whole number of entries by its last digit.
    fewest = jnp.asarray(share).astype(jnp.float32) * count + 1e-7 * count
    kept = (rank + 1).astype(jnp.float32) > fewest
    return jnp.where(kept, flat, jnp.zeros((), flat.dtype)).reshape(matrix.shape)

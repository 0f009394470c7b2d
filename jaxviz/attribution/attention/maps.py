"""Attention maps: the weights that every layer of attention uses."""

import functools
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import jax

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.attention.weights import captured, traced, weights
from jaxviz.checks import check_strings
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import evaluate
from jaxviz.targets import Target


def attention_maps(model: Model, inputs: Any, *, layers: str | Iterable[str] | None = None) -> dict[str, jax.Array]:
    """The attention weights of every layer: how much each query takes of the value of each key.

    `weights[b, h, q, k] = softmax_k(query[b, h, q] . key[b, h, k] / sqrt(size) + mask)`, as the values are multiplied with them

    Args:
        model: the model. Its attention may be `nn.MultiHeadDotProductAttention`, `nnx.MultiHeadAttention`,
            `jax.nn.dot_product_attention` or a function of one's own: it is found in the traced program; see `tag_attention`.
        inputs: an array whose axis 0 is the batch, or a tuple of such arrays; integers (token ids) may be given.
        layers: paths and patterns of the modules that attend (`"encoder/**"`), of their weights, or of values that the model
            tags, of shape `(batch, heads, queries, keys)` or `(batch, queries, keys)`. None for all weights that are found.

    Returns:
        Path -> weights `(batch, heads, queries, keys)`, of the model's dtype, in order of execution. The path is that of the
        module with `/attention_weights` behind it; further calls of a module have `#1`, `#2`, ...; in a scan (`nn.scan`) each
        step has its own entry, with `@0`, `@1`, ... Without heads there is one; all further axes (groups of heads, windows) are
        counted as heads, in their order. In a branch of a conditional that is not taken, weights are NaN.

    Raises:
        TypeError: if model is not a `Model`, inputs are not arrays, or layers not strings.
        ValueError: if inputs are empty, or have NaN or infinite values; if no weights are found, or a layer is not; if weights
            have no axis that is the batch, or have it as one axis with others.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, jaxviz as jv
        >>> class Block(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, x):
        ...         return x + nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(x))
        >>> module, inputs = nn.Sequential([Block(), Block()]), jax.random.normal(jax.random.key(0), (1, 5, 8))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(1), inputs))
        >>> maps = attention_maps(model, inputs)
        >>> for path, weights in maps.items():
        ...     print(path, weights.shape)
        layers_0/MultiHeadDotProductAttention_0/attention_weights (1, 2, 5, 5)
        layers_1/MultiHeadDotProductAttention_0/attention_weights (1, 2, 5, 5)
        >>> picture = jv.figures.heatmaps(weights[0], titles=["head 0", "head 1"], sign="positive")

    Note:
        Weights say where a layer looks, not what its answer depends on (Jain and Wallace 2019): values may be small, and later
        layers may not use what was taken.

    References:
        A. Vaswani, N. Shazeer, N. Parmar, J. Uszkoreit, L. Jones, A. N. Gomez, L. Kaiser, I. Polosukhin. Attention Is All You
        Need. NeurIPS 2017. arXiv:1706.03762. S. Jain, B. C. Wallace. Attention is not Explanation. NAACL 2019. arXiv:1902.10186.
    """
    name = "attention_maps"
    wanted = check_layers(name, layers)
    inputs, _ = prepare(name, model, inputs, Target(), differentiable=False)
    return dict(_attention_maps(model, inputs, wanted))


def check_layers(function: str, layers: Any) -> tuple[str, ...] | None:
    """The layers asked for as a tuple; raises unless they are strings."""
    if layers is None:
        return None
    wanted = check_strings(function, "layers", layers, "path or pattern")
    if not wanted:
        raise ValueError(f"{function}: layers must name at least one layer, or be None for all; got {layers!r}")
    return wanted


@functools.partial(jit, static_argnames="layers")
def _attention_maps(model: Model, inputs: Any, layers: tuple[str, ...] | None) -> OrderedDict[str, jax.Array]:
    program = traced(model, inputs)
    found = weights("attention_maps", model, inputs, program, layers)
    leaves = jax.tree.leaves((model.params, model.keywords, inputs))
    _, values = evaluate(program, leaves, capture=[each.key for each in found], outputs=False)
    # Ordered, since JAX sorts the keys of a plain dict.
    return OrderedDict(zip([each.path for each in found], captured(found, values), strict=True))

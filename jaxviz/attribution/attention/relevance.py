"""Attention times gradient: what the weights that speak for the target pass on from layer to layer."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz import views
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.attention.layered import check_chain, identity, precise, product
from jaxviz.attribution.attention.maps import check_layers
from jaxviz.attribution.attention.rows import Size, Token, check_reading, read
from jaxviz.attribution.attention.view import tag_attention
from jaxviz.attribution.attention.weights import Weights, captured, weights
from jaxviz.attribution.caution import cautious
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.program import Edit, Program, evaluate
from jaxviz.targets import Target, TargetLike, select


@cautious
def attention_x_gradient(
    model: Model,
    inputs: Any,
    *,
    target: TargetLike = None,
    layers: str | Iterable[str] | None = None,
    token: Token = None,
    upsample: Size = None,
) -> jax.Array:
    """Attention times gradient (Chefer et al.): which input tokens reach each token by weights that speak for the target.

    `R = I`, and in each layer `R <- R + A R`, `A = mean_heads(relu(weights * d score / d weights))`

    Args:
        model: the model, of self-attention over one sequence of tokens; see `attention_maps`.
        inputs: as for `attention_maps`. Token ids may be given: nothing is differentiated with respect to inputs.
        target: as for `gradient`.
        layers: as for `attention_rollout`.
        token: as for `attention_rollout`: the token that the score is read from, such as a class token.
        upsample: as for `attention_rollout`.

    Returns:
        `R`, `(batch, queries, keys)`, at least 0, of the weights' dtype: row q has what the input tokens are to token q, itself
        included (the `I`). With a token its row `(batch, keys)`; with upsample `(batch, *spatial)`.

    Raises:
        TypeError, ValueError: as for `attention_rollout`; if target does not fit the outputs.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, jaxviz as jv
        >>> class Reader(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, tokens):
        ...         x = nn.Embed(10, 8)(tokens)
        ...         mask = (tokens > 0)[:, None, None, :]  # token 0 is padding
        ...         return nn.Dense(2)(x + nn.MultiHeadDotProductAttention(num_heads=2)(x, mask=mask))[:, 0]
        >>> tokens = jnp.array([[1, 5, 3, 0]])
        >>> model = jv.Model.from_linen(Reader(), Reader().init(jax.random.key(0), tokens))
        >>> row = attention_x_gradient(model, tokens, target=1, token=0)
        >>> row.shape, float(row[0, 3])
        ((1, 4), 0.0)

    Note:
        The rule for self-attention of the paper. Of its rules for two modalities and for encoders with decoders none is applied:
        cross-attention is an error, unless `layers` leave it out. The encoder's layers alone are explained with the whole
        model as it is: the gradient is that of the decoder's score.

        One layer's product by itself, with its sign and its heads, is
        `at_layer(input_x_gradient, path)(tag_attention(model), inputs, target=...)`.

    References:
        H. Chefer, S. Gur, L. Wolf. Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
        Transformers. ICCV 2021. arXiv:2103.15679.
    """
    name = "attention_x_gradient"
    wanted = check_layers(name, layers)
    check_reading(name, token, upsample)
    inputs, prepared = prepare(name, model, inputs, target, differentiable=False)
    return read(name, _attention_x_gradient(model, inputs, prepared, layers=wanted), inputs, token, upsample)


@functools.partial(jit, static_argnames="layers")
def _attention_x_gradient(model: Model, inputs: Any, target: Target, *, layers: tuple[str, ...] | None) -> jax.Array:
    name = "attention_x_gradient"
    program = views.program(tag_attention(model), inputs, lambda outputs: select(outputs, target))
    found = weights(name, model, inputs, program, layers)
    leaves = jax.tree.leaves((model.params, model.keywords, inputs))
    matrices, gradients = _with_gradients(program, leaves, found)
    check_chain(name, found, matrices, chosen=layers is not None)
    result = identity(precise(matrices[0][:, 0]))
    for matrix, gradient in zip(matrices, gradients, strict=True):
        passed = jax.nn.relu(precise(matrix) * precise(gradient)).mean(axis=1)
        result = result + product(passed, result)
    return result.astype(matrices[0].dtype)


def _with_gradients(
    program: Program, leaves: list[Any], found: list[Weights]
) -> tuple[list[jax.Array], list[jax.Array]]:
    """The weights of each layer, and the score's derivatives by them."""
    sites = {each.key: program.sites[each.key] for each in found}

    def score(shifts: list[jax.Array]) -> tuple[jax.Array, Any]:
        # By a shift that is added, not by the weights themselves: each layer is then seen through those after it.
        edits = {key: Edit("attention_x_gradient", jnp.add, (shift,)) for key, shift in zip(sites, shifts, strict=True)}
        scores, values = evaluate(program, leaves, capture=list(sites), edits=edits)
        return scores.sum(), values

    shifts = [jnp.zeros(site.leaves[0].shape, site.leaves[0].dtype) for site in sites.values()]
    gradients, values = jax.grad(score, has_aux=True)(shifts)
    return captured(found, values), captured(found, dict(zip(sites, gradients, strict=True)))

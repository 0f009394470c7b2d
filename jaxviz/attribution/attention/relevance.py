"""Attention times gradient: what the weights that speak for the target pass on from layer to layer."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz import views
from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.attention.decoders import crossed, passed_on
from jaxviz.attribution.attention.layered import check_chain, identity, product
from jaxviz.attribution.attention.maps import check_layers
from jaxviz.attribution.attention.rows import Size, Token, check_reading, read
from jaxviz.attribution.attention.view import tag_attention
from jaxviz.attribution.attention.weights import Weights, captured, weights
from jaxviz.attribution.caution import cautious
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.precision import at_least_float32
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
) -> Any:
    """Attention times gradient (Chefer et al.): which input tokens reach each token by weights that speak for the target.

    `R = I`, and in each layer `R <- R + A R`, `A = mean_heads(relu(weights * d score / d weights))`

    Of an encoder e and a decoder d: `R_dd` and `R_ee` as above; where the decoder attends to itself `R_de <- R_de + A R_de`;
    where it attends to the encoder `R_de <- R_de + N(R_dd)^T A N(R_ee)`; N divides the rows of `R - I` by their sums and adds I.

    Args:
        model: the model, of self-attention over one sequence of tokens, or over several of which some attend to others (encoder
            and decoder), these to themselves alone; see `attention_maps`.
        inputs: as for `attention_maps`. Token ids may be given: nothing is differentiated with respect to inputs.
        target: as for `gradient`.
        layers: as for `attention_rollout`.
        token: as for `attention_rollout`: the token that the score is read from, such as a class token.
        upsample: as for `attention_rollout`.

    Returns:
        `R`, `(batch, queries, keys)`, at least 0, of the weights' dtype: row q has what the input tokens are to token q, itself
        included (the `I`). With a token its row `(batch, keys)`; with upsample `(batch, *spatial)`. Of an encoder and a decoder
        a tuple: for each sequence, in the order of the inputs that they are made of, what its tokens are to the decoder's,
        `(batch, queries of the decoder, tokens of the sequence)`.

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
        The paper's rules 5 to 10. Its rule 11 is for two modalities that attend to each other: that is an error, and so is
        cross-attention inside of a scan or a branch, unless `layers` leave it out. The encoder's layers alone are explained with
        the whole model as it is: the gradient is that of the decoder's score. Where a row of `R - I` is 0, so is its share; the
        authors' code has 0 in all of the product then.

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
    result = _attention_x_gradient(model, inputs, prepared, layers=wanted)
    if isinstance(result, tuple) and upsample is not None:
        raise ValueError(
            f"{name}: upsample lays out the tokens of one sequence, but there are {len(result)}; leave it out, for a row of each"
        )
    return jax.tree.map(lambda matrix: read(name, matrix, model, inputs, token, upsample), result)


@functools.partial(jit, static_argnames="layers")
def _attention_x_gradient(model: Model, inputs: Any, target: Target, *, layers: tuple[str, ...] | None) -> Any:
    name = "attention_x_gradient"
    program = views.program(tag_attention(model), inputs, lambda outputs: select(outputs, target))
    found = weights(name, model, inputs, program, layers)
    leaves = jax.tree.leaves((model.params, model.keywords, inputs))
    matrices, gradients = _with_gradients(program, leaves, found)
    passed = [
        jax.nn.relu(at_least_float32(matrix) * at_least_float32(gradient)).mean(axis=1)
        for matrix, gradient in zip(matrices, gradients, strict=True)
    ]
    streams = crossed(found, passed)
    if streams is not None:
        return tuple(matrix.astype(matrices[0].dtype) for matrix in passed_on(streams, passed))
    check_chain(name, found, matrices, chosen=layers is not None)
    result = identity(passed[0])
    for layer in passed:
        result = result + product(layer, result)
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

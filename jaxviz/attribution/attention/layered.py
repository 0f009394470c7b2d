"""Layers of self-attention as matrices over one sequence of tokens, which are multiplied from layer to layer."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.attribution.attention.weights import Weights

_PATHS = 6  # of a message, at the most


def check_chain(function: str, found: list[Weights], matrices: list[jax.Array], *, chosen: bool) -> None:
    """Raises unless all weights are self-attention over the same tokens.

    Args:
        function: the name of the caller.
        found: the layers.
        matrices: their weights.
        chosen: whether the caller has named the layers. Then they are taken for self-attention, where their shapes allow it.
    """
    sizes: list[tuple[int, ...]] = [matrix.shape[-2:] for matrix in matrices]
    several = [each.path for each in found if each.several]
    if several:
        raise ValueError(
            f"{function}: {_listed(several)} have further axes beside batch, heads, queries and keys (windows, or rows that "
            "attend by themselves), so that their tokens are not those of the other layers; attention_maps gives their weights"
        )
    crossed = [
        each.path
        for each, (queries, keys) in zip(found, sizes, strict=True)
        if queries != keys or (each.crossed and not chosen)
    ]
    if crossed:
        own = [each.path for each in found if each.path not in crossed]
        raise ValueError(
            f"{function}: {_listed(crossed)} are of cross-attention (queries and keys are not the same tokens), which has no "
            "place in a product over layers of self-attention; give the layers of one sequence, layers='encoder/**' for instance"
            + (f". Self-attention: {_listed(own)}" if own else "")
        )
    towers = {each.streams: each.path for each in reversed(found) if each.streams is not None}
    if len(towers) > 1 and not chosen:
        raise ValueError(
            f"{function}: {_listed(list(towers.values())[::-1])} are of different sequences of tokens, of which none attends to "
            "the other; give the layers of one, layers='encoder/**' for instance"
        )
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{each.path} {size[0]}" for each, size in zip(found, sizes, strict=True))
        raise ValueError(
            f"{function}: the layers do not have the same number of tokens ({listed}); give those of one sequence, "
            "layers='encoder/**' for instance"
        )


def product(one: jax.Array, other: jax.Array) -> jax.Array:
    """Products of matrices `(batch, tokens, tokens)`."""
    return jnp.matmul(one, other, precision=jax.lax.Precision.HIGHEST)


def identity(like: jax.Array) -> Any:
    """The identity, of the shape of matrices `(batch, tokens, tokens)`."""
    return jnp.broadcast_to(jnp.eye(like.shape[-1], dtype=like.dtype)[None], like.shape)


def _listed(names: list[str]) -> str:
    rest = len(names) - _PATHS
    return ", ".join(names[:_PATHS]) + (f" and {rest} more" if rest > 0 else "")

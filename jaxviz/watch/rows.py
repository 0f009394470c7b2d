"""Tensors of all sizes as the rows of one matrix, so that one small program measures them all.

On CPU, XLA compiles each reduction of each tensor on its own, and makes a temporary array of what two reductions share, whose fresh
memory pages cost more than the arithmetic. Here the tensors are cut into rows of one width, each row belonging to one tensor,
and taken a few rows at a time, which stay in the cache: compilation no longer grows with the number of tensors, and
nothing large is made. Accelerators fuse reductions by themselves, and there each tensor is taken whole, in its own
shape, so that sharded tensors stay where they are.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

WIDTH = 1024  # elements of a row; the last row of a tensor is padded
TILE = 16  # rows taken at a time: 64 KiB of float32


class Rows(NamedTuple):
    """Tensors as rows.

    Attributes:
        values: float `(n, WIDTH)`; n is a multiple of `TILE`.
        lengths: how many elements of each row are the tensor's, int32 `(n,)`.
        owners: the index of the tensor that each row belongs to, int32 `(n,)`.
        real: how many rows are of tensors; the others fill the last tile.
    """

    values: jax.Array
    lengths: np.ndarray
    owners: np.ndarray
    real: int


def as_rows(tensors: Sequence[jax.Array]) -> Rows:
    """Cuts tensors of one dtype into rows. A single tensor whose size fits is not copied."""
    padded, lengths, owners = [], [], []
    for index, tensor in enumerate(tensors):
        count = -(-tensor.size // WIDTH)
        padded.append(jnp.pad(tensor.reshape(-1), (0, count * WIDTH - tensor.size)))
        lengths.append(np.minimum(tensor.size - WIDTH * np.arange(count), WIDTH))
        owners.append(np.full(count, index))
    rest = -sum(map(len, owners)) % TILE or (0 if any(map(len, owners)) else TILE)
    padded.append(jnp.zeros(rest * WIDTH, tensors[0].dtype))
    lengths.append(np.zeros(rest, int))
    owners.append(np.zeros(rest, int))
    parts = [part for part in padded if part.size]
    flat = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
    table = np.concatenate(lengths), np.concatenate(owners)
    return Rows(flat.reshape(-1, WIDTH), *(column.astype(np.int32) for column in table), len(table[0]) - rest)


def fold(rows: Rows, step: Callable[[Any, jax.Array, jax.Array, jax.Array, jax.Array], Any], carry: Any) -> Any:
    """Folds over the rows, a tile at a time: `carry = step(carry, first, values, valid, owners)`.

    Args:
        rows: the rows.
        step: pure; `first` is the number of the first row, `values` `(TILE, WIDTH)`, `valid` a bool array of the same shape, False
            at padding, `owners` int32 `(TILE,)`.
        carry: the first carry.
    """
    lengths, owners = jnp.asarray(rows.lengths), jnp.asarray(rows.owners)
    columns = jnp.arange(WIDTH, dtype=jnp.int32)[None]

    def body(index: jax.Array, carry: Any) -> Any:
        first = index * TILE
        values = jax.lax.dynamic_slice(rows.values, (first, jnp.zeros_like(first)), (TILE, WIDTH))
        valid = columns < jax.lax.dynamic_slice(lengths, (first,), (TILE,))[:, None]
        return step(carry, first, values, valid, jax.lax.dynamic_slice(owners, (first,), (TILE,)))

    return jax.lax.fori_loop(0, rows.values.shape[0] // TILE, body, carry)

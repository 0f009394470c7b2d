"""Tensors of all sizes as the rows of one matrix, so that one small program measures them all.

On CPU, XLA compiles each reduction of each tensor on its own, and makes a temporary array of what two reductions share, whose
fresh memory pages cost more than the arithmetic. Here the tensors are cut into rows of one width, each row belonging to one
tensor, and taken a row at a time, which stays in the cache: compilation no longer grows with the number of tensors, and nothing
large is made. Accelerators fuse reductions by themselves, and there each tensor is taken whole, in its own shape, so that
sharded tensors stay where they are.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

WIDTH = 16384  # elements of a row, 32 KiB of float32; the last row of a tensor is padded


class Rows(NamedTuple):
    """Tensors as rows.

    Attributes:
        values: float `(n, WIDTH)`, n at least 1.
        lengths: how many elements of each row are the tensor's, int32 `(n,)`.
        owners: the index of the tensor that each row belongs to, int32 `(n,)`, not decreasing.
    """

    values: jax.Array
    lengths: np.ndarray
    owners: np.ndarray


def as_rows(tensors: Sequence[jax.Array]) -> Rows:
    """Cuts tensors of one dtype into rows. A single tensor whose size fits is not copied; an empty one has one empty row."""
    padded, lengths, owners = [], [], []
    for index, tensor in enumerate(tensors):
        count = max(-(-tensor.size // WIDTH), 1)
        padded.append(jnp.pad(tensor.reshape(-1), (0, count * WIDTH - tensor.size)))
        lengths.append(np.minimum(tensor.size - WIDTH * np.arange(count), WIDTH))
        owners.append(np.full(count, index))
    flat = padded[0] if len(padded) == 1 else jnp.concatenate(padded)
    return Rows(flat.reshape(-1, WIDTH), *(np.concatenate(column).astype(np.int32) for column in (lengths, owners)))


def fold(rows: Rows, step: Callable[..., Any], carry: Any, *columns: jax.Array) -> Any:
    """Folds over the rows: `carry = step(carry, index, values, valid, *columns)`.

    Args:
        rows: the rows.
        step: pure; `values` is `(WIDTH,)`, `valid` a bool array of the same shape, False at padding.
        carry: the first carry.
        *columns: what else the step needs of each row, `(n,)`; it gets one scalar of each. Only scalars: a value per element that
            is looked up keeps the compiler from vectorizing the step.
    """
    columns = (jnp.asarray(rows.lengths), *columns)
    numbers = jnp.arange(WIDTH, dtype=jnp.int32)

    def body(index: jax.Array, carry: Any) -> Any:
        row = lambda array: jax.lax.dynamic_index_in_dim(array, index, 0, keepdims=False)  # noqa: E731
        length, *of_row = map(row, columns)
        return step(carry, index, row(rows.values), numbers < length, *of_row)

    return jax.lax.fori_loop(0, rows.values.shape[0], body, carry)

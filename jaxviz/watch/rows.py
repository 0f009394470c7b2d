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

WIDTH = 16384  # elements of a row, 64 KiB of float32
LEAST_WIDTH = 1024  # of a row where the tensors are small, which would else be mostly padding


class Rows(NamedTuple):
    """Tensors as rows of one width in a row of memory.

    Attributes:
        width: elements of a row.
        flat: the elements, float `(m,)`, m at least the width.
        starts: where in them each row begins, int32 `(n,)`, n at least 1.
        firsts: the first element of each row that is its own, int32 `(n,)`: the last row of a tensor may reach back.
        ends: the end of its own elements, int32 `(n,)`: after it there is padding.
        owners: the index of the tensor that each row belongs to, int32 `(n,)`, not decreasing.
    """

    width: int
    flat: jax.Array
    starts: np.ndarray
    firsts: np.ndarray
    ends: np.ndarray
    owners: np.ndarray


def as_rows(tensors: Sequence[jax.Array]) -> Rows:
    """Cuts tensors of one dtype into rows. A single large tensor is not copied; an empty one has one empty row."""
    if len(tensors) == 1 and tensors[0].size >= WIDTH:
        size = tensors[0].size
        wanted = np.arange(0, size, WIDTH, dtype=np.int32)
        starts = np.minimum(wanted, size - WIDTH)
        lengths = np.full_like(starts, WIDTH)
        return Rows(WIDTH, tensors[0].reshape(-1), starts, wanted - starts, lengths, np.zeros_like(starts))
    width = _width(tensors)
    padded, ends, owners = [], [], []
    for index, tensor in enumerate(tensors):
        count = max(-(-tensor.size // width), 1)
        padded.append(jnp.pad(tensor.reshape(-1), (0, count * width - tensor.size)))
        ends.append(np.minimum(tensor.size - width * np.arange(count), width))
        owners.append(np.full(count, index))
    owned, ended = (np.concatenate(column).astype(np.int32) for column in (owners, ends))
    starts = width * np.arange(len(owned), dtype=np.int32)
    flat = padded[0] if len(padded) == 1 else jnp.concatenate(padded)
    return Rows(width, flat, starts, np.zeros_like(starts), ended, owned)


def _width(tensors: Sequence[jax.Array]) -> int:
    """The power of two next to the tensors' mean size."""
    mean = sum(tensor.size for tensor in tensors) // max(len(tensors), 1)
    return min(max(1 << mean.bit_length(), LEAST_WIDTH), WIDTH)


def fold(rows: Rows, step: Callable[..., Any], carry: Any, *columns: jax.Array) -> Any:
    """Folds over the rows: `carry = step(carry, index, values, valid, *columns)`.

    Args:
        rows: the rows.
        step: pure; `values` is `(width,)`, `valid` a bool array of the same shape, False at what is not the row's own.
        carry: the first carry.
        *columns: what else the step needs of each row, `(n,)`; it gets one scalar of each. Only scalars: a value per element that
            is looked up keeps the compiler from vectorizing the step.
    """
    columns = (*map(jnp.asarray, (rows.starts, rows.firsts, rows.ends)), *columns)
    numbers = jnp.arange(rows.width, dtype=jnp.int32)

    def body(index: jax.Array, carry: Any) -> Any:
        start, first, end, *of_row = (
            jax.lax.dynamic_index_in_dim(column, index, 0, keepdims=False) for column in columns
        )
        values = jax.lax.dynamic_slice_in_dim(rows.flat, start, rows.width)
        return step(carry, index, values, (numbers >= first) & (numbers < end), *of_row)

    return jax.lax.fori_loop(0, len(rows.starts), body, carry)

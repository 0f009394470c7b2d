"""A pytree of many small arrays as few arrays, one per dtype: each array that crosses to the host costs a transfer."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Packed:
    """A pytree, packed. Its arrays may have leading axes added (by `jax.lax.scan` or `jax.vmap`); `unpack` is of one step.

    Attributes:
        arrays: one flat array per dtype.
        structure: of the pytree.
        shapes: the shape of each leaf and the index of its array.
    """

    arrays: tuple[Any, ...]
    structure: Any = field(metadata={"static": True})
    shapes: tuple[tuple[tuple[int, ...], int], ...] = field(metadata={"static": True})

    @staticmethod
    def of(tree: Any) -> "Packed":
        """Packs a pytree of arrays."""
        leaves, structure = jax.tree.flatten(tree)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        dtypes = list(dict.fromkeys(leaf.dtype for leaf in leaves))
        arrays = tuple(
            jnp.concatenate([leaf.reshape(-1) for leaf in leaves if leaf.dtype == dtype]) for dtype in dtypes
        )
        return Packed(arrays, structure, tuple((leaf.shape, dtypes.index(leaf.dtype)) for leaf in leaves))

    def unpack(self, arrays: tuple[np.ndarray, ...]) -> Any:
        """The pytree of numpy arrays, from the packed arrays on the host."""
        leaves, offsets = [], [0] * len(arrays)
        for shape, index in self.shapes:
            start = offsets[index]
            offsets[index] = start + math.prod(shape)
            leaves.append(arrays[index][start : offsets[index]].reshape(shape))
        return jax.tree.unflatten(self.structure, leaves)

"""Groups of features, which are there or not there together: read from a mask, laid over inputs, and read back."""

import functools
import itertools
import math
import operator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.program import is_top_level


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Groups:
    """Groups of the features of some inputs, numbered from 0.

    Attributes:
        numbers: per input, the group of each feature, int32, of a shape that broadcasts to the input's; or None, where every
            feature is a group of its own.
        present: whether an example has a group at all, bool `(1 or batch, groups)`.
    """

    numbers: tuple[jax.Array, ...] | None
    present: Any

    @property
    def count(self) -> int:
        """The number of groups."""
        return self.present.shape[1]

    def boxes(self, leaf: jax.Array) -> tuple[tuple[int, ...], np.ndarray] | None:
        """Boxes around the groups of one input, which all have the same sides.

        Sides that differ from group to group, as those of superpixels do, are rounded up to eighths of the input's, so that other
        groups of this kind do not make another program.

        Returns:
            The sides and where each group's box starts, int32 `(groups, axes)`, on the axes after the batch; None where the
            groups are traced.
        """
        shape = leaf.shape[1:]
        if self.numbers is None:
            return (1,) * len(shape), np.stack(np.unravel_index(np.arange(self.count), shape), 1).astype(np.int32)
        if isinstance(self.numbers[0], jax.core.Tracer):
            return None
        numbers = np.asarray(self.numbers[0])
        sides, starts = [], []
        for axis, length in enumerate(shape, 1):
            if numbers.shape[axis] == 1:
                sides.append(length)
                starts.append(np.zeros(self.count, np.int32))
                continue
            position = np.broadcast_to(
                np.arange(length).reshape([-1 if other == axis else 1 for other in range(numbers.ndim)]), numbers.shape
            )
            lows, highs = np.full(self.count, length), np.zeros(self.count, int)
            np.minimum.at(lows, numbers, position)
            np.maximum.at(highs, numbers, position + 1)
            side = int((highs - lows).max())
            if ((highs - lows < side) & (highs < length)).any():
                unit = -(-length // 8)
                side = min(-(-side // unit) * unit, length)
            sides.append(side)
            starts.append(np.minimum(lows, length - side).astype(np.int32))
        return tuple(sides), np.stack(starts, 1)

    def lay(self, coalition: jax.Array, inputs: Any) -> Any:
        """What each group has, at each of its features.

        Args:
            coalition: `(groups,)`.
            inputs: an array or a tuple of arrays, whose structure and ranks the result has; its shapes broadcast to theirs.
        """
        leaves, structure = jax.tree.flatten(inputs)
        if self.numbers is None:
            laid = [
                coalition[part].reshape(1, *leaf.shape[1:]) for part, leaf in zip(_parts(leaves), leaves, strict=True)
            ]
        else:
            laid = [coalition[numbers] for numbers in self.numbers]
        return jax.tree.unflatten(structure, laid)

    def attribution(self, shares: jax.Array, inputs: Any) -> Any:
        """The share of each example's groups, `(batch, groups)`, at each of their features, in the shapes of inputs."""
        leaves, structure = jax.tree.flatten(inputs)
        if self.numbers is None:
            laid = [shares[:, part].reshape(leaf.shape) for part, leaf in zip(_parts(leaves), leaves, strict=True)]
        else:
            laid = [
                # What is the same for all examples is looked up for all of them at once.
                shares[:, numbers[0]] if len(numbers) == 1 else jax.vmap(operator.getitem)(shares, numbers)
                for numbers in self.numbers
            ]
        return jax.tree.unflatten(
            structure,
            [
                jnp.broadcast_to(share, leaf.shape).astype(attribution_dtype(leaf, shares))
                for leaf, share in zip(leaves, laid, strict=True)
            ],
        )


def _parts(leaves: list[jax.Array]) -> list[slice]:
    """Where the features of each input are among all features, the first input's first."""
    sizes = [feature_count(leaf) for leaf in leaves]
    return [slice(end - size, end) for end, size in zip(itertools.accumulate(sizes), sizes, strict=True)]


def feature_count(*leaves: jax.Array) -> int:
    """How many features an example has."""
    return sum(math.prod(leaf.shape[1:]) for leaf in leaves)


def attribution_dtype(leaf: jax.Array, scores: jax.Array) -> Any:
    """The dtype of an attribution: that of the input, or of the scores where the input has integers."""
    return leaf.dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else scores.dtype


def groups(function: str, mask: Any, inputs: Any) -> Groups:
    """Reads a mask.

    Args:
        function: the name of the caller, for error messages.
        mask: None (every feature is a group of its own); an integer array that broadcasts to one example or to all of inputs;
            or, for several inputs, a tuple of these, in which features of the same number are one group, whatever their input.
            The numbers need not be consecutive.
        inputs: an array or a tuple of arrays.

    Raises:
        TypeError: if the mask is of another type, or traced.
        ValueError: if it does not broadcast to inputs.
    """
    leaves = jax.tree.leaves(inputs)
    if mask is None:
        return _each_by_itself(feature_count(*leaves), is_top_level())
    several = type(inputs) is tuple
    if several and not (isinstance(mask, tuple | list) and len(mask) == len(leaves)):
        given = f"{len(mask)} entries" if isinstance(mask, tuple | list) else f"a {type(mask).__name__}"
        raise ValueError(f"{function}: there are {len(leaves)} inputs; give a tuple of one mask for each, got {given}")
    arrays = [
        _numbers(function, f"mask[{i}]" if several else "mask", *pair)
        for i, pair in enumerate(zip(mask if several else (mask,), leaves, strict=True))
    ]
    used, numbers = np.unique(np.concatenate([array.ravel() for array in arrays]), return_inverse=True)
    parts = np.split(numbers.astype(np.int32), np.cumsum([array.size for array in arrays])[:-1])
    parts = [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
    batch = max(len(part) for part in parts)
    present = np.zeros((batch, used.size), bool)
    for part in parts:
        for example in range(batch):
            present[example, part[example % len(part)].ravel()] = True
    return Groups(tuple(map(jnp.asarray, parts)), present)


# Made once, and brought to the device once: a small network's time is that of the calls.
@functools.lru_cache(maxsize=64)
def _each_by_itself(count: int, is_top_level: bool) -> Groups:
    present = np.ones((1, count), bool)
    return Groups(None, jnp.asarray(present) if is_top_level else present)


def _numbers(function: str, name: str, mask: Any, leaf: jax.Array) -> np.ndarray:
    """A mask with the rank of its input; its sides are 1 where it is the same all along."""
    if isinstance(mask, jax.core.Tracer):
        raise TypeError(f"{function}: {name} is traced, but its values make the groups; give a concrete array")
    if not isinstance(mask, np.ndarray | jax.Array | list | int | np.integer) or isinstance(mask, bool):
        raise TypeError(f"{function}: {name} must be None or an integer array, got {type(mask).__name__}")
    try:
        array = np.asarray(mask)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{function}: {name} must have integers, one group's number per feature, got {array.dtype}")
    array = array.reshape((1,) * (leaf.ndim - array.ndim) + array.shape)
    sides = zip(array.shape, leaf.shape, strict=False)
    if array.ndim != leaf.ndim or any(side not in (1, whole) for side, whole in sides):
        raise ValueError(
            f"{function}: {name} of shape {np.shape(mask)} broadcasts neither to one example, {leaf.shape[1:]}, nor to the "
            f"inputs, {leaf.shape}"
        )
    return array

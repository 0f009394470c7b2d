"""Which axis of a value is the batch: the one that is one longer where there is one example more."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Shape = tuple[int, ...]
Found = TypeVar("Found")


def larger(tree: Any, batch: int) -> Any:
    """Shapes and dtypes with one example more, of those arrays whose axis 0 is the batch; the others as they are."""

    def more(leaf: Any) -> jax.ShapeDtypeStruct:
        shape = jnp.shape(leaf)
        shape = (batch + 1, *shape[1:]) if shape[:1] == (batch,) else shape
        return jax.ShapeDtypeStruct(shape, leaf.dtype if hasattr(leaf, "dtype") else jnp.asarray(leaf).dtype)

    return jax.tree.map(more, tree)


def of_one_more(look: Callable[[Any], Found], inputs: Any) -> Found | None:
    """What is found for the shapes of inputs with one example more; None where the model is for this batch alone.

    Such a model holds masks of its size, or is itself cut from another.
    """
    try:
        return look(larger(inputs, jax.tree.leaves(inputs)[0].shape[0]))
    except Exception:
        return None


def changed(shape: Shape, other: Shape) -> list[int]:
    """The axes whose length depends on the batch: the batch, what it is one axis with, and what is as many as it."""
    return [axis for axis, (size, twin) in enumerate(zip(shape, other, strict=True)) if size != twin]


def axis(shape: Shape, other: Shape | None, batch: int, among: Iterable[int] = (0, 1)) -> int | None:
    """The axis that is the batch; None if there is none, or it cannot be told from another.

    Args:
        shape: of the value.
        other: its shape with one example more. None where that is not known: the model is for this batch alone, since it holds
            masks of its size, or is itself cut from another. Then the first axis of the batch's length is taken for the batch.
            Who can do without the axis should not rely on that.
        batch: how many examples there are.
        among: where the batch may be if it is told by its length.
    """
    if other is None:
        return next((place for place in among if place < len(shape) and shape[place] == batch), None)
    if len(other) != len(shape):
        return None
    found = [place for place in changed(shape, other) if (shape[place], other[place]) == (batch, batch + 1)]
    return found[0] if len(found) == 1 else None

"""Units: single neurons, or groups of them, as targets."""

from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import jax

from jaxviz.attribution.arguments import check_choice

_REDUCTIONS = ("sum", "mean", "max")


def unit(*index: int | slice | EllipsisType, reduce: str = "sum") -> "Unit":
    """A target that is one unit of the outputs, or a group of them: by index in each axis behind the batch.

    `score[b] = reduce(outputs[b, *index])`

    With `model.until(layer)` as the model, it is a unit of the layer, and any method is its neuron form; with the model itself, a
    place of a sequence or a region of a segmentation. A layer in a scan has its steps as axis 0 and the batch behind: there,
    give a function, `lambda outputs: outputs[step, :, unit]`.

    Args:
        index: an int, a slice or `...` for each axis behind the batch, as in numpy; axes that are left out are taken whole.
        reduce: what is made of several: their `"sum"`, `"mean"` or `"max"`.

    Returns:
        A callable, `outputs -> (batch,)`, equal to another of the same index: given as `target`, it is not compiled again.
        (Another index is another program: where the outputs are `(batch, n)`, an int as target is not.)

    Raises:
        TypeError: if index has anything else in it.
        ValueError: if there is no index, or reduce is unknown; when called, if the outputs have no such unit.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> module = jv.models.CNN(classes=3, channels=(4, 8))
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), images))
        >>> jv.gradient(model.until("relu_0"), images, target=unit(2, 2, 0)).shape  # of channel 0 at row 2, column 2
        (2, 8, 8, 1)
        >>> def at_places(params, inputs):  # another place in each example: the places are data then, and compile nothing anew
        ...     model, places = params
        ...     return model(inputs)[jnp.arange(len(places)), places]
        >>> sums = jv.Model.from_function(lambda params, inputs: jnp.cumsum(inputs, axis=1), ())  # (batch, time, channels)
        >>> there = jv.Model.from_function(at_places, (sums, jnp.array([0, 2])))
        >>> jv.gradient(there, jnp.ones((2, 3, 2)), target=1)[:, :, 1]
        Array([[1., 0., 0.],
               [1., 1., 1.]], dtype=float32)

    Note:
        Captum's targets that are tuples, and its neuron selectors; a list of tuples, one for each example, is as above.
    """
    if not index:
        raise ValueError("unit: give an index: unit(3), or unit(row, column, channel)")
    check_choice("unit", "reduce", reduce, _REDUCTIONS)
    return Unit(tuple(map(_item, index)), reduce)


@dataclass(frozen=True)
class Unit:
    """One unit of the outputs, or a group; see `unit`. Slices are kept as tuples, since they have no hash."""

    index: tuple[Any, ...]
    reduce: str

    def select(self, outputs: Any) -> jax.Array:
        """The units, with the batch as axis 0."""
        if not hasattr(outputs, "shape"):
            raise ValueError(
                f"unit: the outputs are {type(outputs).__name__}, not one array; give a function of them as the target"
            )
        items = tuple(slice(*item) if isinstance(item, tuple) else item for item in self.index)
        axes = list(outputs.shape[1:])
        given = [item for item in items if item is not Ellipsis]
        fits = len(given) <= len(axes)
        if fits:
            ends = items.index(Ellipsis) if Ellipsis in items else len(items)
            after = len(items) - ends - 1
            sizes = [*axes[:ends], *(axes[len(axes) - after :] if after > 0 else [])]
            fits = all(
                len(range(*item.indices(size))) > 0 if isinstance(item, slice) else -size <= item < size
                for item, size in zip(given, sizes, strict=True)
            )
        if not fits:
            raise ValueError(f"unit: there is no unit {self!r} in outputs of shape {tuple(outputs.shape)}")
        return outputs[(slice(None), *items)]

    def __call__(self, outputs: Any) -> jax.Array:
        """The score of each example, `(batch,)`."""
        units = self.select(outputs)
        return getattr(units.reshape(units.shape[0], -1), self.reduce)(axis=1)

    def __repr__(self) -> str:
        ends = lambda item: ":".join("" if end is None else str(end) for end in item)
        items = [ends(item) if isinstance(item, tuple) else str(item) for item in self.index]
        return f"unit({', '.join(items).replace('Ellipsis', '...')})"


def _item(item: Any) -> Any:
    if item is Ellipsis:
        return item
    if isinstance(item, slice):
        return item.start, item.stop, item.step
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise TypeError(f"unit: index must have an int, a slice or ... for each axis, got {item!r}")
    return int(item)

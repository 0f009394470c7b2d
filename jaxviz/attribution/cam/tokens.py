"""Token grids: the tokens of a vision transformer laid out as the grid of patches that they are of."""

import math
from collections.abc import Iterator
from typing import Any

import jax

from jaxviz.attribution.cam.joins import first_patch
from jaxviz.program import Key, Program

# Tokens beside the patches' (class, distillation, registers): how many at the most, and how many patches each takes.
MOST_EXTRA = 8
PATCHES_EACH = 4
# By how much a grid's aspect ratio may miss that of the inputs, where no grid has it exactly: patches overlap or are cut off.
TOLERANCE = 0.15
# How many times as much as another an axis of a convolution's grid may be reduced: strides differ, and edges are cut off.
UNEVEN = 2


def spatial_shapes(inputs: Any) -> list[tuple[int, ...]]:
    """The spatial axes of inputs with channels last, each shape once."""
    return list(dict.fromkeys(leaf.shape[1:-1] for leaf in jax.tree.leaves(inputs) if leaf.ndim >= 3))


def are_tokens(shape: tuple[int, ...], inputs: Any) -> bool:
    """Whether an activation of this shape is a row of tokens, `(batch, tokens, channels)`, of inputs with 2 or 3 spatial axes."""
    axes = {len(spatial) for spatial in spatial_shapes(inputs)}
    return len(shape) == 3 and 1 not in axes and bool(axes & {2, 3})


def are_alike(grid: tuple[int, ...], spatial: tuple[int, ...]) -> bool:
    """Whether a grid is about of the aspect ratio of spatial axes, as a convolution's is.

    Tokens by heads, say, have as many axes.
    """
    scales = [side / whole for side, whole in zip(grid, spatial, strict=True)]
    return max(scales) <= UNEVEN * min(scales)


def have_place(shape: tuple[int, ...], inputs: Any) -> bool:
    """Whether an activation of this shape is known to be a grid of the inputs, or a row of their patches."""
    shapes = [spatial for spatial in spatial_shapes(inputs) if len(spatial) in (2, 3)]
    if are_tokens(shape, inputs):
        return any(fitting(shape[1], spatial) for spatial in shapes)
    return any(len(spatial) == len(shape) - 2 and are_alike(shape[1:-1], spatial) for spatial in spatial_shapes(inputs))


def to_grid(function: str, key: Key, values: jax.Array, inputs: Any, program: Program) -> jax.Array:
    """The activation of a layer, or what has its shape, as `(batch, *grid, channels)`.

    An activation with spatial axes is returned as it is. Of a row of tokens, those that are no patch's are left out.
    """
    if not are_tokens(values.shape, inputs):
        return values
    batch, tokens, channels = values.shape
    shapes = [spatial for spatial in spatial_shapes(inputs) if len(spatial) in (2, 3)]
    grids = {grid for spatial in shapes if (grid := fitting(tokens, spatial)) is not None}
    if len(grids) != 1:
        sizes = " and ".join(map(str, shapes))
        raise ValueError(
            f"{function}: layer {key.layer!r} has an activation of shape {values.shape}, whose {tokens} tokens (without up to "
            f"{MOST_EXTRA} others: class tokens, registers) make {'several grids' if grids else 'no grid'} of the aspect ratio "
            f"of the inputs' spatial axes {sizes}; give a layer with spatial axes, or tag one: "
            "jaxviz.tag(tokens.reshape(...), 'grid')"
        )
    (grid,) = grids
    patches = math.prod(grid)
    first = first_patch(program, tokens, patches, before=key)
    return values[:, first : first + patches].reshape(batch, *grid, channels)


def fitting(tokens: int, spatial: tuple[int, ...]) -> tuple[int, ...] | None:
    """The grid that a row of tokens is of: of the aspect ratio of the inputs, with the fewest other tokens beside it."""
    found = []
    for extra in range(MOST_EXTRA + 1):
        patches = tokens - extra
        if patches < max(PATCHES_EACH * extra, 1):
            break
        for grid in _factors(patches, len(spatial)):
            scales = [math.log(side / whole) for side, whole in zip(grid, spatial, strict=True)]
            off = max(scales) - min(scales)
            if off < math.log1p(TOLERANCE) and max(scales) <= 0:
                found.append((off > 1e-9, extra, off, grid))
    return min(found)[-1] if found else None


def _factors(number: int, count: int) -> Iterator[tuple[int, ...]]:
    """All ordered ways to write a number as a product of so many factors."""
    if count == 1:
        yield (number,)
        return
    for factor in range(1, number + 1):
        if number % factor == 0:
            for rest in _factors(number // factor, count - 1):
                yield (factor, *rest)

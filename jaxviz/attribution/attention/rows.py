"""What a matrix over tokens is read for: the row of one token, and the grid of patches that it is of."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import views
from jaxviz.attribution.cam.joins import first_patch
from jaxviz.attribution.cam.maps import resized
from jaxviz.attribution.cam.tokens import MOST_EXTRA, fitting, spatial_shapes
from jaxviz.checks import check_count, given
from jaxviz.compilation import jit
from jaxviz.model import Model

Token = int | jax.Array | np.ndarray | None
Size = bool | tuple[int, ...] | None


def check_reading(function: str, token: Any, upsample: Any) -> None:
    """Raises unless token and upsample are of the types that `read` takes."""
    if upsample is not None and not isinstance(upsample, bool | tuple | list):
        raise TypeError(
            f"{function}: upsample must be None, True, False or the size wanted as a tuple of ints, got {given(upsample)}"
        )
    if token is None:
        if upsample is not None:
            raise ValueError(
                f"{function}: upsample={given(upsample)} lays out the row of one token as a grid; give that token, token=0 for a "
                "class token"
            )
    elif type(token) is not int and not jnp.issubdtype(getattr(token, "dtype", bool), jnp.integer):
        raise TypeError(
            f"{function}: token must be None, an int, or an int array with one index per example, got {given(token)}"
        )


def read(function: str, matrix: jax.Array, model: Model, inputs: Any, token: Token, upsample: Size) -> jax.Array:
    """The matrix `(batch, tokens, tokens)` itself, or the row of a token, as tokens or as a grid.

    Args:
        function: the name of the caller, for error messages.
        matrix: what each token, the second axis, has of each token of the inputs.
        model: what it is of.
        inputs: the model's inputs.
        token: None for the matrix, the index of a token (from the end where it is negative), or one for each example.
        upsample: None for the row, False for the grid of patches, True for the spatial axes of the inputs, or a size.
    """
    if token is None:
        return matrix
    batch, tokens, _ = matrix.shape
    if np.shape(token) not in ((), (batch,)):
        raise ValueError(
            f"{function}: token has shape {np.shape(token)}; give one int, or an int array of shape ({batch},) (the batch)"
        )
    if not isinstance(token, jax.core.Tracer):
        for index in np.asarray(token).ravel():
            if not -tokens <= index < tokens:
                raise ValueError(f"{function}: token must be {-tokens} to {tokens - 1}, one of {tokens}, got {index}")
        token = np.broadcast_to(np.asarray(token, np.int32), (batch,))
    if upsample is None:
        return _row(matrix, token)
    grid, size = _sizes(function, tokens, inputs, upsample)
    return _grid(matrix, token, model, inputs, grid, size)


def _sizes(
    function: str, tokens: int, inputs: Any, upsample: bool | tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The grid of the tokens, and the size that it is resized to."""
    shapes = [shape for shape in spatial_shapes(inputs) if len(shape) in (2, 3)]
    found = {grid: shape for shape in shapes if (grid := fitting(tokens, shape)) is not None}
    if not shapes:
        which = " and ".join(str(leaf.shape) for leaf in jax.tree.leaves(inputs))
        raise ValueError(
            f"{function}: upsample lays out tokens as a grid of patches, but the inputs, of shape {which}, have no two or three "
            "spatial axes; leave it out, for the row as it is"
        )
    if len(found) != 1:
        sizes = " and ".join(map(str, shapes))
        raise ValueError(
            f"{function}: the {tokens} tokens (without up to {MOST_EXTRA} others: class tokens, registers) make "
            f"{'several grids' if found else 'no grid'} of the aspect ratio of the inputs' spatial axes {sizes}; leave out "
            "upsample, for the row as it is"
        )
    ((grid, shape),) = found.items()
    if isinstance(upsample, bool):
        return grid, shape if upsample else None
    if len(upsample) != len(grid):
        raise ValueError(
            f"{function}: upsample must be one positive int for each of the grid's {len(grid)} axes, got {tuple(upsample)}"
        )
    return grid, tuple(check_count(function, "upsample", side) for side in upsample)


@jit
def _row(matrix: jax.Array, token: Any) -> jax.Array:
    batch, tokens, _ = matrix.shape
    index = jnp.broadcast_to(token % tokens, (batch,))
    return jnp.take_along_axis(matrix, index[:, None, None], axis=1)[:, 0]


@functools.partial(jit, static_argnames=("grid", "size"))
def _grid(
    matrix: jax.Array, token: Any, model: Model, inputs: Any, grid: tuple[int, ...], size: tuple[int, ...] | None
) -> jax.Array:
    patches = math.prod(grid)
    first = first_patch(views.program(model, inputs), matrix.shape[-1], patches)
    return resized(_row(matrix, token)[:, first : first + patches].reshape(len(matrix), *grid), size)

"""How a layer's channels, once they are weighted, make one map: their sum, or what most of them share; or stay."""

import jax
import jax.numpy as jnp

from jaxviz.attribution.cam.maps import Wanted
from jaxviz.precision import at_least_float32


def channel_map(wanted: Wanted, values: jax.Array) -> jax.Array:
    """The map `(batch, *grid)` of weighted channels `(batch, *grid, channels)`, or these where they are wanted."""
    if wanted.channels:
        return values
    return component(values) if wanted.eigen_smooth else values.sum(axis=-1)


def positions(values: jax.Array) -> tuple[int, ...]:
    """The axes of the grid, of `(batch, *grid, channels)`."""
    return tuple(range(1, values.ndim - 1))


def stretched(values: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Absolute values, their range over axes being from 0 to 1; 0 where they are the same everywhere."""
    values = jnp.abs(values)
    values = values - values.min(axis=axes, keepdims=True)
    largest = values.max(axis=axes, keepdims=True)
    return values / jnp.where(largest == 0, jnp.ones_like(largest), largest)


def component(values: jax.Array) -> jax.Array:
    """The first principal component over positions of `(batch, *grid, channels)`, `(batch, *grid)`."""
    batch, *grid, channels = values.shape
    matrix, largest = centered(values)
    highest = jax.lax.Precision.HIGHEST
    # An eigenvector of the smaller of the two Gram matrices.
    if matrix.shape[1] <= channels:
        found = kernel_component(jnp.einsum("bpc,bqc->bpq", matrix, matrix, precision=highest), matrix)
    else:
        _, vectors = jnp.linalg.eigh(jnp.einsum("bpc,bpd->bcd", matrix, matrix, precision=highest))
        found = _turned(jnp.einsum("bpc,bc->bp", matrix, vectors[:, :, -1], precision=highest), matrix)
    return (found * largest[:, :, 0]).reshape(batch, *grid).astype(values.dtype)


def centered(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`(batch, *grid, channels)` less its mean over positions, as shares of each example's largest magnitude, and this.

    Shares, since products of what is small or large are beyond what float32 holds.

    Returns:
        The matrix `(batch, positions, channels)`, and the magnitudes `(batch, 1, 1)`; in float32 at least, since half precision
        has no decomposition.
    """
    given = at_least_float32(values.reshape(values.shape[0], -1, values.shape[-1]))
    matrix = given - given[:, :1]  # what is constant is 0 then; less its mean alone it would be the mean's rounding
    matrix = matrix - matrix.mean(axis=1, keepdims=True)
    size, change = (jnp.abs(array).max(axis=1, keepdims=True) for array in (given, matrix))
    is_constant = change <= 2 * jnp.finfo(matrix.dtype).eps * size  # of products XLA may have rounded one alone
    matrix = jnp.where(is_constant, jnp.zeros_like(matrix), matrix)
    largest = jax.lax.stop_gradient(jnp.abs(matrix).max(axis=(1, 2), keepdims=True))
    return matrix / jnp.where(largest == 0, jnp.ones_like(largest), largest), largest


def kernel_component(kernel: jax.Array, matrix: jax.Array) -> jax.Array:
    """The first component, `(batch, positions)`, of a kernel of all pairs of positions of `(batch, positions, channels)`."""
    squared, vectors = jnp.linalg.eigh(kernel)
    return _turned(vectors[:, :, -1] * jnp.sqrt(jax.nn.relu(squared[:, -1:])), matrix)


def _turned(projected: jax.Array, matrix: jax.Array) -> jax.Array:
    """A component `(batch, positions)` of `(batch, positions, channels)`, with the sign that the sum of the channels has."""
    against = (projected * matrix.sum(axis=2)).sum(axis=1, keepdims=True) < 0
    return jnp.where(against, -projected, projected)

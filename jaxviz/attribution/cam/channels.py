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


def component(values: jax.Array) -> jax.Array:
    """The first principal component over positions of `(batch, *grid, channels)`, `(batch, *grid)`."""
    batch, *grid, channels = values.shape
    # An eigenvector of the smaller of the two Gram matrices, in float32 at least: half precision has no decomposition.
    matrix = at_least_float32(values.reshape(batch, -1, channels))
    matrix = matrix - matrix.mean(axis=1, keepdims=True)
    highest = jax.lax.Precision.HIGHEST
    if matrix.shape[1] <= channels:
        squared, vectors = jnp.linalg.eigh(jnp.einsum("bpc,bqc->bpq", matrix, matrix, precision=highest))
        projected = vectors[:, :, -1] * jnp.sqrt(jax.nn.relu(squared[:, -1:]))
    else:
        _, vectors = jnp.linalg.eigh(jnp.einsum("bpc,bpd->bcd", matrix, matrix, precision=highest))
        projected = jnp.einsum("bpc,bc->bp", matrix, vectors[:, :, -1], precision=highest)
    return turned(projected, matrix).reshape(batch, *grid).astype(values.dtype)


def turned(projected: jax.Array, matrix: jax.Array) -> jax.Array:
    """A component `(batch, positions)` of `(batch, positions, channels)`, with the sign that the sum of the channels has."""
    against = (projected * matrix.sum(axis=2)).sum(axis=1, keepdims=True) < 0
    return jnp.where(against, -projected, projected)

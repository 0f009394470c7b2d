"""Precision: floating-point values in float32 at least, where half precision would keep few digits, or has no such operation."""

import jax
import jax.numpy as jnp


def at_least_float32(values: jax.Array) -> jax.Array:
    """Floating-point or complex values: those of less than 32 bits in float32, all others as they are.

    Raises:
        ValueError: for values of another kind, integers say, which no score and no activation is.
    """
    return values.astype(jnp.float32) if jnp.finfo(values.dtype).bits < 32 else values

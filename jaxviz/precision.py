"""Precision: floating-point values in float32 at least, where half precision would keep few digits, or has no such operation."""

import jax
import jax.numpy as jnp


def at_least_float32(values: jax.Array) -> jax.Array:
    """Floating-point values of less than 32 bits in float32, all others as they are."""
    return values.astype(jnp.float32) if jnp.finfo(values.dtype).bits < 32 else values

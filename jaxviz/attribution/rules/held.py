"""Values that a rule takes for constants, in the derivative that it is of: not in a derivative of the attribution."""

from typing import Any

import jax
import jax.numpy as jnp


def held(tree: Any) -> Any:
    """Arrays that depend on the inputs, to which nothing goes back of the derivative that makes the attribution.

    `jax.lax.stop_gradient` would keep them from every derivative, also from that of the attribution itself. What does not depend
    on the inputs (parameters) must not be given: this would keep it from the derivative of the attribution.
    """
    return jax.tree.map(lambda leaf: _held(leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf, tree)


@jax.custom_vjp
def _held(leaf: jax.Array) -> jax.Array:
    return leaf


_held.defvjp(lambda leaf: (leaf, None), lambda _, above: (None,))

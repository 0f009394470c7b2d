"""Quadratures: where on the path from 0 to 1 an integrand is evaluated, and with which weights."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import check_choice, check_count
from jaxviz.compilation import jit

QUADRATURES = ("gauss_legendre", "riemann_left", "riemann_right", "riemann_middle", "trapezoid")


@functools.lru_cache(maxsize=64)
def quadrature(name: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights with which `sum(weights * f(nodes))` approximates the integral of `f` over [0, 1].

    Args:
        name: `"gauss_legendre"` (exact for polynomials up to degree `2 * steps - 1`), `"riemann_left"`, `"riemann_right"`,
            `"riemann_middle"` or `"trapezoid"` (which has both ends among its nodes; with one step it is the middle).
        steps: number of nodes, at least 1.

    Returns:
        Nodes in [0, 1] and weights, both float64 `(steps,)`. The weights sum to 1 in every quadrature.

    Note:
        Captum's trapezoid divides by `steps` where there are `steps - 1` intervals, so that its weights sum to
        `(steps - 1) / steps`, and its attributions with them. Here they sum to 1.

    Example:
        >>> nodes, weights = quadrature("trapezoid", 3)
        >>> nodes.tolist(), weights.tolist()
        ([0.0, 0.5, 1.0], [0.25, 0.5, 0.25])
    """
    edges, equal = np.arange(steps, dtype=np.float64) / steps, np.full(steps, 1.0 / steps)
    match name:
        case "gauss_legendre":
            import scipy.special  # only where it is used; numpy's way takes memory for the square of the steps

            nodes, weights = scipy.special.roots_legendre(steps)
            nodes, weights = (1 + nodes) / 2, weights / 2
        case "riemann_left":
            nodes, weights = edges, equal
        case "riemann_right":
            nodes, weights = edges + 1 / steps, equal
        case "riemann_middle":
            nodes, weights = edges + 0.5 / steps, equal
        case "trapezoid" if steps == 1:
            nodes, weights = np.array([0.5]), np.array([1.0])
        case "trapezoid":
            nodes, weights = np.linspace(0.0, 1.0, steps), np.full(steps, 1.0 / (steps - 1))
            weights[[0, -1]] /= 2
        case _:
            raise ValueError(f"quadrature must be one of {', '.join(map(repr, QUADRATURES))}, got {name!r}")
    nodes.setflags(write=False)  # the cache hands out the same arrays again
    weights.setflags(write=False)
    return nodes, weights


def check(function: str, steps: Any, name: Any, chunk_size: Any) -> None:
    """Checks what a public function was given: steps, quadrature and chunk_size."""
    check_count(function, "steps", steps)
    check_choice(function, "quadrature", name, QUADRATURES)
    chunks.check_chunk_size(function, chunk_size)


def sizes(steps: int, inputs: Any, chunk_size: int | None) -> tuple[int, ...]:
    """How many nodes each chunk has."""
    leaves = jax.tree.leaves(inputs)
    values = sum(leaf.size // leaf.shape[0] for leaf in leaves)
    return chunks.sizes(int(steps), leaves[0].shape[0], chunk_size, values=values)


# A program of its own, and a product: within the one that makes the values, or as a sum, XLA was up to 80 times slower at it on
# CPU (jax 0.10).
@functools.partial(jit, donate_argnums=0)
def add(total: Any, weights: jax.Array, values: Any) -> Any:
    """Adds the integrand's values at some nodes, `(nodes, *shape)` for each array, to a sum that is given away."""
    return jax.tree.map(
        lambda sum_, leaf: sum_ + jnp.tensordot(weights.astype(leaf.dtype), leaf, axes=1), total, values
    )

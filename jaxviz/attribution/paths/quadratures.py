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
            nodes, weights = _gauss_legendre(steps)
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


def _gauss_legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1], by Newton's method at the zeros of the Legendre polynomial.

    Its memory grows with the steps; that of `numpy.polynomial.legendre.leggauss`, with their square.
    """
    x = -np.cos(np.pi * (np.arange(steps) + 0.75) / (steps + 0.5))
    for _ in range(5):  # from this start the fourth changes the last digit only
        slope, value = _legendre(steps, x)
        x = x - value / slope
    x = (x - x[::-1]) / 2
    slope, _ = _legendre(steps, x)
    weights = 1 / ((1 - x * x) * slope * slope)
    return (1 + x) / 2, weights / weights.sum()


def _legendre(degree: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and value of the Legendre polynomial at x, by the recurrence of three terms."""
    before, value = np.ones_like(x), x
    for n in range(2, degree + 1):
        before, value = value, ((2 * n - 1) * x * value - (n - 1) * before) / n
    return degree * (x * value - before) / (x * x - 1), value


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

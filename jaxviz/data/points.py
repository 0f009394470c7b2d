"""Points in the plane, made by code: problems whose answer can be seen in one picture."""

import jax
import numpy as np

from jaxviz.checks import check_count, check_number
from jaxviz.data.checks import generator

Points = tuple[np.ndarray, np.ndarray]


def xor() -> Points:
    """Returns the four rows of the exclusive or: the smallest problem that no network without a hidden layer solves.

    Returns:
        Points float32 `(4, 2)` and labels int32 `(4,)`; for a network with one output `(4, 1)` use `labels[:, None]`.

    Example:
        >>> points, labels = xor()
        >>> points.tolist(), labels.tolist()
        ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return points, np.array([0, 1, 1, 0], np.int32)


def moons(n: int = 200, *, key: jax.Array, noise: float = 0.1) -> Points:
    """Returns two half circles of radius 1 that reach into each other.

    Args:
        n: number of points, half of each class (the odd one belongs to class 0), in random order.
        key: random key; the same key gives the same points.
        noise: standard deviation of Gaussian noise on both coordinates.

    Returns:
        Points float32 `(n, 2)`, about within [-1, 2] x [-0.5, 1], and labels int32 `(n,)`.

    Raises:
        ValueError: n below 2, or noise below 0.
        TypeError: the key is not a random key, or a setting is of another type.

    Example:
        >>> import jax
        >>> points, labels = moons(100, key=jax.random.key(0))
        >>> points.shape, int(labels.sum())
        ((100, 2), 50)
    """
    check_count("moons", "n", n, at_least=2)
    rng = generator("moons", key)
    labels = np.arange(n) % 2
    angle = rng.uniform(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(labels[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
    return _finished("moons", rng, points, labels, noise)


def spirals(n: int = 300, *, key: jax.Array, noise: float = 0.02, classes: int = 2, turns: float = 1.0) -> Points:
    """Returns spirals that wind around the origin, one per class.

    Args:
        n: number of points, the same for each class up to one, in random order.
        key: random key; the same key gives the same points.
        noise: standard deviation of Gaussian noise on both coordinates.
        classes: number of arms, at least two.
        turns: how often each arm goes around.

    Returns:
        Points float32 `(n, 2)`, without noise in the unit disk, and labels int32 `(n,)`.

    Raises:
        ValueError: fewer than two classes, fewer points than classes, or turns or noise below 0.
        TypeError: the key is not a random key, or a setting is of another type.

    Example:
        >>> import jax
        >>> points, labels = spirals(90, key=jax.random.key(0), classes=3)
        >>> points.shape, sorted(set(labels.tolist()))
        ((90, 2), [0, 1, 2])
    """
    check_count("spirals", "classes", classes, at_least=2)
    check_count("spirals", "n", n, at_least=classes)
    check_number("spirals", "turns", turns, 0.0)
    rng = generator("spirals", key)
    labels = np.arange(n) % classes
    # The root spreads the points evenly along an arm, whose length grows with the square of the radius.
    radius = np.sqrt(rng.uniform(0.01, 1, n))
    angle = 2 * np.pi * (turns * radius + labels / classes)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _finished("spirals", rng, points, labels, noise)


def _finished(where: str, rng: np.random.Generator, points: np.ndarray, labels: np.ndarray, noise: float) -> Points:
    """Returns noisy points and their labels in random order."""
    check_number(where, "noise", noise, 0.0)
    points = points + noise * rng.standard_normal(points.shape)
    order = rng.permutation(len(points))
    return points[order].astype(np.float32), labels[order].astype(np.int32)

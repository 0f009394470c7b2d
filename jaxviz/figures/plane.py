"""The plane of a network with two inputs: its places, what the network answers there, and its hidden units' lines."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jaxviz.figures import checks

Predict: TypeAlias = Callable[[np.ndarray], Any]
Hidden: TypeAlias = tuple[npt.ArrayLike, npt.ArrayLike]
Bounds: TypeAlias = tuple[float, float, float, float]


def line_in_box(weight: np.ndarray, bias: float, bounds: Bounds) -> np.ndarray | None:
    """The part of the line `weight[0] x + weight[1] y + bias = 0` inside a box.

    Args:
        weight: `(2,)`.
        bias: a number.
        bounds: x from, x to, y from, y to.

    Returns:
        The two ends, `(2, 2)` (rows are points); None where the line misses the box, or where there is no line (no weights).

    Example:
        >>> line_in_box(np.array([1.0, 1.0]), -1.0, (0, 2, 0, 2)).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    x0, x1, y0, y1 = bounds
    a, b = (float(value) for value in weight)
    if not np.isfinite([a, b, bias]).all():
        return None
    ends = [(x, -(a * x + bias) / b) for x in (x0, x1) if b != 0] + [
        (-(b * y + bias) / a, y) for y in (y0, y1) if a != 0
    ]
    slack = 1e-9 * max(x1 - x0, y1 - y0)
    inside = sorted(
        {(x + 0.0, y + 0.0) for x, y in ends if x0 - slack <= x <= x1 + slack and y0 - slack <= y <= y1 + slack}
    )
    if len(inside) < 2 or np.hypot(*np.subtract(inside[-1], inside[0])) <= 10 * slack:
        return None
    return np.array([inside[0], inside[-1]])


def as_points(where: str, points: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """The points `(n, 2)` and their classes `(n,)`; floats that are whole numbers pass as classes."""
    spot = checks.as_numbers(where, "points", points)
    if spot.ndim != 2 or spot.shape[1] != 2 or not len(spot):
        raise ValueError(
            f"{where}: points must have shape (n, 2), n at least 1, got {spot.shape}; only networks with two inputs can be drawn"
        )
    if not np.isfinite(spot).all():
        raise ValueError(f"{where}: points must be finite, {int((~np.isfinite(spot)).sum())} values are not")
    raw = np.asarray(labels)
    if raw.dtype.kind == "f" and raw.ndim >= 1 and np.array_equal(raw, np.rint(raw)):
        raw = raw.astype(np.int64)  # targets of a binary loss are often 0.0 and 1.0
    truth = checks.as_integers(where, "labels", raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw)
    if len(truth) != len(spot):
        raise ValueError(f"{where}: labels must have one entry per point, {len(spot)} in all, got {len(truth)}")
    return spot, truth


def as_bounds(where: str, spot: np.ndarray, bounds: Bounds | None) -> Bounds:
    """The box that is drawn: as given, or the points and a margin of a quarter of their extent."""
    if bounds is None:
        low, high = spot.min(axis=0), spot.max(axis=0)
        margin = 0.25 * np.maximum(high - low, (high - low).max() or 1.0).max()
        return tuple(np.stack([low - margin, high + margin], axis=1).ravel().tolist())
    box = checks.as_numbers(where, "bounds", bounds)
    if box.shape != (4,) or not np.isfinite(box).all() or box[0] >= box[1] or box[2] >= box[3]:
        raise ValueError(f"{where}: bounds must be (x from, x to, y from, y to), increasing and finite, got {bounds!r}")
    return tuple(box.tolist())


def as_resolution(where: str, resolution: int) -> int:
    """The resolution as an int; raises unless it is 2 to 2000."""
    resolution = checks.check_count(where, "resolution", resolution, at_least=2)
    if resolution > 2000:
        raise ValueError(f"{where}: resolution must be at most 2000, got {resolution}")
    return resolution


def places(box: Bounds, resolution: int) -> np.ndarray:
    """Centers of the pixels, the bottom row first, `(resolution ** 2, 2)`."""
    middle = (np.arange(resolution) + 0.5) / resolution
    x, y = np.meshgrid(box[0] + middle * (box[1] - box[0]), box[2] + middle * (box[3] - box[2]))
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def probabilities(where: str, name: str, predict: Predict, places: np.ndarray) -> np.ndarray:
    """Probabilities of all classes, `(n, classes)`."""
    if not callable(predict):
        raise TypeError(f"{where}: {name} must be a function of points (n, 2), got {type(predict).__name__}")
    answer = checks.as_numbers(where, f"what {name} returns", predict(places.astype(np.float32)))
    n = len(places)
    if answer.shape == (n,):
        answer = answer[:, None]
    if answer.ndim != 2 or len(answer) != n or answer.shape[1] == 0:
        raise ValueError(
            f"{where}: {name} must return shape ({n},) or ({n}, classes) for {n} points, got {answer.shape}"
        )
    with np.errstate(invalid="ignore"):
        sums = answer.sum(axis=1)
        if (
            (answer < -1e-4).any()
            or (answer > 1 + 1e-4).any()
            or (answer.shape[1] > 1 and (abs(sums - 1) > 1e-2).any())
        ):
            raise ValueError(
                f"{where}: {name} must return probabilities, got values from {np.nanmin(answer):.3g} to {np.nanmax(answer):.3g}; "
                "apply a sigmoid (one output) or a softmax (several) to logits"
            )
    return np.concatenate([1 - answer, answer], axis=1) if answer.shape[1] == 1 else answer


def names_of(where: str, names: Sequence[str] | None, field: np.ndarray, truth: np.ndarray) -> list[str]:
    """The names of the classes: as given, or class 0, class 1, ..."""
    classes = field.shape[1]
    if truth.max() >= classes:
        raise ValueError(f"{where}: labels hold class {truth.max()}, but predict returns {classes} classes")
    return checks.check_names(where, "class_names", names, classes, "class") or [f"class {i}" for i in range(classes)]


def as_hidden(where: str, hidden: Hidden | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The hidden units' weights `(2, units)` and biases `(units,)`."""
    if hidden is None:
        return None
    if not isinstance(hidden, tuple | list) or len(hidden) != 2:
        raise TypeError(f"{where}: hidden must be (weights (2, units), biases (units,)), got {type(hidden).__name__}")
    weights, biases = (checks.as_numbers(where, f"hidden[{i}]", part) for i, part in enumerate(hidden))
    if weights.ndim != 2 or weights.shape[0] != 2 or biases.shape != weights.shape[1:]:
        raise ValueError(
            f"{where}: hidden must be (weights (2, units), biases (units,)), got shapes {weights.shape} and {biases.shape}"
        )
    return weights, biases

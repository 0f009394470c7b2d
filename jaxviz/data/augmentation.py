"""Augmentation: pure functions of a key and a batch, to be called inside the jitted step.

A batch is an array of inputs, or a tuple of which the first entry is the inputs, such as `(inputs, labels)`; `mixup`
mixes the labels too, the others leave them as they are. `chain` makes one function of several.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.checks import check_count, check_number, given, is_traced
from jaxviz.data.checks import as_array, check_key

Batch = Any  # inputs, or a tuple (inputs, ...)
Augmentation = Callable[[jax.Array, Batch], Batch]


def flip(key: jax.Array, batch: Batch, *, axis: int = 2, probability: float = 0.5) -> Batch:
    """Mirrors each example, or leaves it, by chance.

    Args:
        key: random key; the same key gives the same result.
        batch: inputs `(batch, ...)`, or a tuple that begins with them.
        axis: which axis to mirror: of images `(batch, height, width, channels)`, 2 is left-right and 1 is up-down.
        probability: in [0, 1], of an example being mirrored.

    Returns:
        A batch like `batch`.

    Raises:
        TypeError: the key is not a random key, inputs are no numbers, or a setting is of another type.
        ValueError: probability or axis out of range.
    """
    inputs, rest = _parts("flip", key, batch)
    check_number("flip", "probability", probability, 0.0, 1.0)
    if inputs.ndim < 2:
        raise ValueError(f"flip: inputs must have an axis to mirror beside the batch, got shape {inputs.shape}")
    axis = check_count("flip", "axis", axis, at_most=inputs.ndim - 1)
    mirrored = jax.random.bernoulli(key, probability, _per_example(inputs))
    return _joined(jnp.where(mirrored, jnp.flip(inputs, axis), inputs), rest)


def shift(key: jax.Array, batch: Batch, *, pixels: int = 2) -> Batch:
    """Moves each image by a random whole number of pixels in each direction; what enters is zero, what leaves is lost.

    Args:
        key: random key; the same key gives the same result.
        batch: images `(batch, height, width, channels)`, or a tuple that begins with them.
        pixels: the largest move; each in [-pixels, pixels] is equally likely, for height and width independently.

    Returns:
        A batch like `batch`.

    Raises:
        TypeError: the key is not a random key, inputs are no numbers, or pixels is not an int.
        ValueError: inputs are not images of four axes, or pixels is below 0.
    """
    inputs, rest = _parts("shift", key, batch)
    pixels = check_count("shift", "pixels", pixels, at_least=0)
    if inputs.ndim != 4:
        raise ValueError(f"shift: images must be (batch, height, width, channels), got shape {inputs.shape}")
    padded = jnp.pad(inputs, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
    corners = jax.random.randint(key, (inputs.shape[0], 2), 0, 2 * pixels + 1)
    crop = jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), inputs.shape[1:]))
    return _joined(crop(padded, corners), rest)


def noise(key: jax.Array, batch: Batch, *, scale: float = 0.1) -> Batch:
    """Adds Gaussian noise of mean zero to the inputs; nothing is clipped.

    Args:
        key: random key; the same key gives the same result.
        batch: float inputs, or a tuple that begins with them.
        scale: standard deviation, in the unit of the inputs, at least zero.

    Returns:
        A batch like `batch`.

    Raises:
        TypeError: the key is not a random key, or inputs are not floats.
        ValueError: scale is below 0 or not finite.
    """
    inputs, rest = _parts("noise", key, batch)
    check_number("noise", "scale", scale, 0.0)
    _check_float("noise", inputs)
    drawn = jax.random.normal(key, inputs.shape, inputs.dtype)
    return _joined(inputs + jnp.asarray(scale, inputs.dtype) * drawn, rest)


def mixup(key: jax.Array, batch: Batch, *, alpha: float = 0.2, classes: int | None = None) -> Batch:
    """Mixes each example, and its target, with another of the batch: `w x_i + (1 - w) x_j`, `w ~ Beta(alpha, alpha)`.

    Args:
        key: random key; the same key gives the same result.
        batch: a tuple `(inputs, targets)`; inputs are floats, targets are floats (one-hot rows, soft targets, numbers)
            or, with `classes`, integer labels `(batch,)`.
        alpha: above zero; small values mix little.
        classes: the number of classes, which turns integer labels into one-hot rows before the mixing.

    Returns:
        `(inputs, targets)`; targets are soft: `(batch, classes)` where labels were given.

    Raises:
        TypeError: the key is not a random key, batch is no tuple of two, or inputs or targets are not floats.
        ValueError: counts of examples that differ, integer labels without classes or out of their range, or alpha out of range.

    Note:
        The weight is drawn for each example; the authors' program draws one for the whole batch.

    References:
        H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz: mixup: Beyond empirical risk minimization. ICLR 2018,
        arXiv:1710.09412.
    """
    if not isinstance(batch, tuple) or len(batch) != 2:
        raise TypeError(f"mixup: batch must be a tuple (inputs, targets), got {type(batch).__name__}")
    inputs, _ = _parts("mixup", key, batch)
    targets = as_array("mixup", "targets", batch[1])
    if targets.shape[:1] != inputs.shape[:1]:
        raise ValueError(
            f"mixup: inputs and targets must have the same examples on axis 0, got {inputs.shape} and {targets.shape}"
        )
    check_number("mixup", "alpha", alpha, 1e-6)
    _check_float("mixup", inputs)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        if classes is None:
            raise ValueError("mixup: integer labels cannot be mixed; give classes=, or one-hot targets")
        check_count("mixup", "classes", classes, at_least=2)
        if targets.ndim != 1:
            raise ValueError(f"mixup: integer labels must have shape (batch,), got {targets.shape}")
        _check_labels(targets, classes)
        targets = jax.nn.one_hot(targets, classes, dtype=inputs.dtype)
    _check_float("mixup", targets)
    weight_key, partner_key = jax.random.split(key)
    # A ratio of two gamma variables has the beta distribution; jax.random.beta compiles their sampler twice.
    first, second = jax.random.loggamma(weight_key, alpha, (2, inputs.shape[0]), inputs.dtype)
    weight = jax.nn.sigmoid(first - second)
    partner = jax.random.permutation(partner_key, inputs.shape[0])

    def mix(x: jax.Array) -> jax.Array:
        w = weight.astype(x.dtype).reshape(_per_example(x))
        return w * x + (1 - w) * x[partner]

    return mix(inputs), mix(targets)


def chain(*augmentations: Augmentation) -> Augmentation:
    """Returns one augmentation that applies several in order, each with a key of its own.

    Chains of the same functions and `functools.partial` settings are equal, so that a jitted function which has one as
    static argument compiles once.

    Args:
        *augmentations: functions of `(key, batch)`; settings are given by `functools.partial`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> augment = chain(partial(shift, pixels=1), partial(noise, scale=0.05))
        >>> images, labels = augment(jax.random.key(0), (jnp.zeros((4, 8, 8, 1)), jnp.zeros(4, int)))
        >>> images.shape
        (4, 8, 8, 1)
    """
    for augmentation in augmentations:
        if not callable(augmentation):
            raise TypeError(f"chain: expected functions of (key, batch), got {given(augmentation)}")
    return _Chain(augmentations)


@dataclass(frozen=True, eq=False)
class _Chain:
    steps: tuple[Augmentation, ...]

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        for i, step in enumerate(self.steps):
            batch = step(jax.random.fold_in(key, i), batch)
        return batch

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Chain) and self._value() == other._value()

    def __hash__(self) -> int:
        return hash(self._value())

    def _value(self) -> tuple[Hashable, ...]:
        # functools.partial itself is equal by identity only
        return tuple(
            (s.func, s.args, frozenset(s.keywords.items())) if isinstance(s, partial) else s for s in self.steps
        )


def _parts(where: str, key: Any, batch: Batch) -> tuple[jax.Array, tuple[Any, ...] | None]:
    """Returns the inputs, and what follows them in a tuple; None where the batch is the inputs alone. Checks them and the key."""
    check_key(where, key)
    if isinstance(batch, tuple) and not batch:
        raise ValueError(f"{where}: batch is an empty tuple; give inputs, or a tuple that begins with them")
    inputs = as_array(where, "inputs", batch[0] if isinstance(batch, tuple) else batch)
    if inputs.ndim == 0:
        raise ValueError(f"{where}: inputs must have the batch as axis 0, got a scalar")
    return inputs, batch[1:] if isinstance(batch, tuple) else None


def _joined(inputs: jax.Array, rest: tuple[Any, ...] | None) -> Batch:
    return inputs if rest is None else (inputs, *rest)


def _per_example(x: jax.Array) -> tuple[int, ...]:
    """Returns the shape of one number per example, ready to be broadcast against `x`."""
    return (x.shape[0],) + (1,) * (x.ndim - 1)


def _check_labels(labels: jax.Array, classes: int) -> None:
    """Raises where a label is out of range, for it would become a row of zeros; traced ones are not known yet."""
    if not is_traced(labels) and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise ValueError(f"mixup: labels must be in [0, {classes}), got values from {low} to {high}")


def _check_float(where: str, x: jax.Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{where}: expected floats, got {x.dtype}; scale them first, as by jaxviz.data.normalize")

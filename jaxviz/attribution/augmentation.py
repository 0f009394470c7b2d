"""Test-time augmentation: any method on flipped and scaled copies of the inputs, and the mean of what it gives."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.arguments import prepare
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.kinds import check_has_mean, target_for
from jaxviz.checks import check_count, check_number, given
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import TargetLike


def augmented(
    method: Callable[..., Any],
    *,
    flips: tuple[int | None, ...] = (None, 2),
    factors: tuple[float, ...] = (0.9, 1.0, 1.1),
) -> "Augmented":
    """Test-time augmentation around any method: what it gives on flipped and scaled copies of the inputs, flipped back.

    `attribution = mean_{flip, factor} flip(method(factor * flip(inputs)))`

    Made for class activation maps, which lie better around the objects then.

    Args:
        method: any attribution method of this package, or a function called as they are, whose result has the shapes of inputs,
            or is a map `(batch, *spatial)` of them.
        flips: the axes of the inputs along which they are flipped, one at a time, axis 0 being the batch; None is not to flip.
            Axis 2 of images `(batch, height, width, channels)` changes left and right. Of several inputs, those are flipped that
            have the axis and another one, for channels, behind it.
        factors: what floating-point inputs are multiplied with.

    Returns:
        A method, called as the method is, `found(model, inputs, *, target=None, ...)`. It costs the method's evaluations for each
        flip with each factor, one after the other. Target and settings (a baseline, a key) go to the method as they are: what is
        laid out as the inputs are is not flipped with them.

    Raises:
        TypeError, ValueError: if method cannot be called or its results have no mean (`feature_factorization`), flips has other
            than None and axes of at least 1, or factors has other than finite numbers; when called, as the method, and if an
            axis is not there in the inputs or in the result.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> module = jv.models.CNN(classes=3, channels=(4, 8))
        >>> images = jnp.ones((2, 8, 8, 1))
        >>> model = jv.Model.from_linen(module, module.init(jax.random.key(0), images))
        >>> augmented(jv.grad_cam)(model, images, target=0, layer="relu_1").shape
        (2, 8, 8)

    Note:
        The flips and factors are those of pytorch-grad-cam's `aug_smooth`, which stretches each map to the range from 0 to 1
        before it takes the mean; here maps keep their scale, and a method that stretches its maps gives the same. Flips along
        two axes at once are `augmented(augmented(method, flips=(None, 1), factors=(1.0,)), flips=(None, 2))`.

    References:
        J. Gildenblat and contributors. PyTorch library for CAM methods. 2021. https://github.com/jacobgil/pytorch-grad-cam.
    """
    name = "augmented"
    if not callable(method):
        raise TypeError(
            f"{name}: method must be an attribution method such as jaxviz.grad_cam, got {type(method).__name__}"
        )
    check_has_mean(name, method)
    for setting, values in (("flips", flips), ("factors", factors)):
        if not isinstance(values, tuple) or not values:
            raise TypeError(f"{name}: {setting} must be a tuple of at least one entry, got {given(values)}")
    axes = tuple(None if axis is None else check_count(name, "an axis of flips", axis) for axis in flips)
    return Augmented(method, axes, tuple(float(check_number(name, "a factor", factor)) for factor in factors))


@dataclass(frozen=True)
class Augmented:
    """A method with test-time augmentation; see `augmented`. Equal to another by value."""

    method: Callable[..., Any]
    flips: tuple[int | None, ...]
    factors: tuple[float, ...]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"augmented({getattr(self.method, '__name__', type(self.method).__name__)})"

    @cautious
    def __call__(self, model: Model, inputs: Any, *, target: TargetLike = None, **settings: Any) -> Any:
        """The mean attribution; see `augmented`."""
        chosen_target = target_for(self.method, target)
        inputs, prepared = prepare(self.name, model, inputs, chosen_target, differentiable=False)
        shapes = jax.tree.map(jnp.shape, inputs)
        total = None
        for axis, factor in itertools.product(self.flips, self.factors):
            chosen = _with_axis(self.name, axis, jax.tree.leaves(inputs))
            changed = _changed(axis, chosen, inputs, np.float32(factor))
            attribution = self.method(model, changed, target=prepared, **settings)
            # A map has the axes of the inputs but for the channels.
            if jax.tree.map(jnp.shape, attribution) != shapes:
                chosen = _in_maps(self.name, axis, jax.tree.leaves(attribution))
            total = _added(axis, chosen, total, attribution)
        return _mean(total, np.float32(len(self.flips) * len(self.factors)))


def _with_axis(function: str, axis: int | None, leaves: list[jax.Array]) -> tuple[bool, ...]:
    """Which inputs are flipped."""
    chosen = tuple(axis is not None and leaf.ndim > axis + 1 for leaf in leaves)
    if axis is not None and not any(chosen):
        raise ValueError(
            f"{function}: flips has axis {axis}, but no input of shapes {[leaf.shape for leaf in leaves]} has it, with channels "
            "behind it"
        )
    return chosen


def _in_maps(function: str, axis: int | None, leaves: list[jax.Array]) -> tuple[bool, ...]:
    """Which maps are flipped back: all."""
    if axis is not None and any(leaf.ndim <= axis for leaf in leaves):
        raise ValueError(
            f"{function}: the method's result of shape {[leaf.shape for leaf in leaves]} has no axis {axis} to be flipped back"
        )
    return (axis is not None,) * len(leaves)


def _flipped(axis: int | None, chosen: tuple[bool, ...], tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    flipped = [jnp.flip(leaf, axis) if is_chosen else leaf for leaf, is_chosen in zip(leaves, chosen, strict=True)]
    return jax.tree.unflatten(structure, flipped)


@functools.partial(jit, static_argnums=(0, 1))
def _changed(axis: int | None, chosen: tuple[bool, ...], inputs: Any, factor: jax.Array) -> Any:
    def scaled(leaf: jax.Array) -> jax.Array:
        return leaf * factor.astype(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(scaled, _flipped(axis, chosen, inputs))


@functools.partial(jit, static_argnums=(0, 1))
def _added(axis: int | None, chosen: tuple[bool, ...], total: Any, attribution: Any) -> Any:
    attribution = _flipped(axis, chosen, attribution)
    return attribution if total is None else jax.tree.map(jnp.add, total, attribution)


@jit
def _mean(total: Any, count: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf / count.astype(leaf.dtype), total)

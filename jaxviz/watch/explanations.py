"""Hooks that explain the model while it trains: saliency of chosen images, and norms of the input gradient."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.attribution.gradients import saliency as _saliency
from jaxviz.checks import applying, check_function, check_text, given
from jaxviz.targets import TargetLike, prepare, select
from jaxviz.watch.hook import Hook, StepView, check_probe, needed


def top_score(outputs: jax.Array) -> jax.Array:
    """The score of the class that the model answers: the greatest output of each example."""
    return outputs.reshape(outputs.shape[0], -1).max(axis=1)


def saliency(
    images: Any,
    *,
    target: TargetLike = None,
    every: int = 500,
    method: Callable[..., Any] = _saliency,
    name: str = "saliency",
) -> Hook:
    """Attributions of chosen images, drawn over them; tag `saliency`, one image per chosen image.

    The colors of each overlay have a scale of their own: compare where, not how much.

    Args:
        images: float or uint8 `(batch, height, width, channels)`; a few. The model gets
            uint8 images as float32 in [0, 1].
        target: what is explained: an int, an int array `(batch,)`, or a callable `outputs -> (batch,)`; None for the class
            that the model answers at the time.
        every: measured at the steps that this divides.
        method: `method(model, inputs, target=...) -> attribution` of the shape of inputs, such as `jaxviz.integrated_gradients`.
        name: of the hook, and the tag.

    Raises:
        TypeError: if images are neither floats nor uint8, or method is not a function.
        ValueError: if images are not `(batch, height, width, channels)`, or not finite; when measured, if the model cannot be
            applied to them, or method gives another shape.
    """
    try:
        images = np.asarray(images)
    except (TypeError, ValueError):  # traced, or of different sizes
        raise TypeError(f"watch.{name}: images must be an array, got {given(images)}") from None
    if images.dtype != np.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"watch.{name}: images must be of floats or uint8, got dtype {images.dtype}")
    check_function(f"watch.{name}", "method", method, "model and inputs")
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.shape[0] == 0:
        raise ValueError(f"watch.{name}: images must be (batch, height, width, 1 or 3), got shape {images.shape}")
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    if not np.isfinite(images).all():
        raise ValueError(f"watch.{name}: images must be finite, but they have NaN or infinite values")
    explained = top_score if target is None else target

    def measure(view: StepView) -> Any:
        model = needed(name, view, "model")
        with applying(f"watch.{name}", "images", model, images):
            attribution = method(model, jnp.asarray(images), target=explained)
        if attribution.shape != images.shape:
            raise ValueError(
                f"watch.{name}: method must give an attribution of the images' shape {images.shape}, got {attribution.shape}"
            )
        return attribution.sum(axis=-1)  # what the overlay does with channels, before they cross to the host

    def write(writer: Any, step: int, values: Any) -> None:
        from jaxviz.figures import overlay_rgb  # a ring above: matplotlib stays out of what is only measured

        sign: Literal["all", "absolute"] = "all" if values.min() < 0 else "absolute"
        writer.image(name, np.stack([overlay_rgb(*pair, sign=sign) for pair in zip(images, values, strict=True)]), step)

    return Hook(name, measure, write, every, probe=True)


def input_gradients(
    probe: Any,
    *,
    target: TargetLike = None,
    loss: Callable[[Any], jax.Array] | None = None,
    every: int = 100,
    name: str = "input_gradients",
) -> Hook:
    """The norm of the gradient with respect to the input, per example: how much a small change of the input can do.

    `norm[b] = |d score[b] / d inputs[b]|`. Tags: `input_gradients/mean` and `input_gradients/max`, over the probe.

    Args:
        probe: a batch of inputs, as for a model's call.
        target: the score to differentiate: as for `saliency`.
        loss: `outputs -> (batch,)`, losses of the probe's examples, to differentiate in place of a score.
        every: measured at the steps that this divides.
        name: of the hook, and the first part of its tags.

    Raises:
        TypeError: if probe is not of floats, or loss not a function.
        ValueError: if probe is no batch, or both target and loss are given; when measured, if the model cannot be applied to
            probe, or target cannot choose among its outputs.
    """
    check_probe(name, probe, differentiable=True)
    if loss is not None:
        check_function(f"watch.{name}", "loss", loss, "outputs")
    if loss is not None and target is not None:
        raise ValueError(f"watch.{name}: give target or loss, not both")
    explained = loss or (top_score if target is None else target)

    def measure(view: StepView) -> Any:
        model = needed(name, view, "model")

        def score(inputs: Any) -> jax.Array:
            outputs = model(inputs)
            return select(outputs, prepare(f"watch.{name}", outputs, explained)).sum()

        with applying(f"watch.{name}", "probe", model, probe):
            slopes = jax.grad(score)(probe)
        squares = [
            (leaf * leaf).reshape(leaf.shape[0], -1).sum(axis=1).astype(jnp.float32) for leaf in jax.tree.leaves(slopes)
        ]
        norms = jnp.sqrt(jnp.stack(squares).sum(axis=0))
        return {"mean": norms.mean(), "max": norms.max()}

    def write(writer: Any, step: int, values: Any) -> None:
        writer.scalars({f"{name}/{kind}": float(values[kind]) for kind in ("mean", "max")}, step)

    return Hook(name, measure, write, every, probe=True)


def scalars(functions: dict[str, Callable[[StepView], Any]], *, every: int = 1, name: str = "scalars") -> Hook:
    """Scalars of the user's own, such as the loss or the learning rate.

    Args:
        functions: tag -> a pure function of the `StepView` that returns a scalar, such as `{"loss": lambda view: view.loss,
            "learning_rate": lambda view: schedule(view.step)}`.
        every: measured at the steps that this divides.
        name: of the hook.

    Raises:
        TypeError: if functions is not a mapping of tags to functions; when measured, if one returns something else than a number.
        ValueError: when measured, if one returns several numbers.
    """
    if not isinstance(functions, Mapping) or not functions:
        raise TypeError(
            f"watch.{name}: functions must be a mapping of tags to functions, not empty, got {given(functions)}"
        )
    for tag, function in functions.items():
        check_text(f"watch.{name}", "a tag in functions", tag)
        check_function(f"watch.{name}", repr(tag), function, "a StepView")

    def measure(view: StepView) -> Any:
        found = {}
        for tag, function in functions.items():
            value = function(view)
            try:
                value = found[tag] = jnp.asarray(value)
            except (TypeError, ValueError):
                raise TypeError(f"watch.{name}: {tag!r} must be a number, got {given(value)}") from None
            if value.shape != ():
                raise ValueError(f"watch.{name}: {tag!r} must be a scalar, got shape {value.shape}")
        return found

    def write(writer: Any, step: int, values: Any) -> None:
        writer.scalars({tag: float(values[tag]) for tag in functions}, step)

    return Hook(name, measure, write, every)

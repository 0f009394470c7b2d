"""Optimizers by name, and schedules; made once for the same settings, so that a second training is not compiled again."""

import functools
import inspect
from collections.abc import Callable, Hashable
from typing import Any

import optax

from jaxviz.checks import check_count, check_number, given
from jaxviz.train.losses import named

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": functools.partial(optax.sgd, momentum=0.9),
    "nesterov": functools.partial(optax.sgd, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop,
    "adagrad": optax.adagrad,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
}

_DECAYS_ITSELF = ("adamw", "lion")


class Optimizer(optax.GradientTransformationExtraArgs):
    """An optax optimizer that tells its learning rate, a number or a schedule, so that it can be logged."""

    learning_rate: Any


def optimizer(
    name: str,
    learning_rate: float | optax.Schedule,
    *,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    **settings: Any,
) -> Optimizer:
    """An optax optimizer by name. The same settings give the same object.

    Any other optax optimizer can be given to `create_state` as it is; this one tells its learning rate to the log.

    Args:
        name: "sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw" or "lion".
        learning_rate: a number, or a schedule: a function of the step, such as `train.cosine(...)` or optax's.
        weight_decay: how much each step takes away from each weight, in units of the learning rate ("decoupled"); 0 for none.
        clip_norm: the greatest norm of all gradients together; what is beyond is scaled down to it.
        **settings: more settings of the optax optimizer, such as `b1`.

    Raises:
        TypeError: a setting of another type, or one that the optimizer does not have.
        ValueError: an unknown name, or a setting out of its range.

    Example:
        >>> optimizer("adamw", 1e-3, weight_decay=0.01) is optimizer("adamw", 1e-3, weight_decay=0.01)
        True
    """
    named("optimizer", "name", name, OPTIMIZERS)
    if not callable(learning_rate):
        check_number("optimizer", "learning_rate", learning_rate, 0)
    check_number("optimizer", "weight_decay", weight_decay, 0)
    if clip_norm is not None and not check_number("optimizer", "clip_norm", clip_norm, 0) > 0:
        raise ValueError(f"optimizer: clip_norm must be above 0, got {clip_norm}")
    taken = [setting for setting in inspect.signature(OPTIMIZERS[name]).parameters if setting != "learning_rate"]
    for setting, value in settings.items():
        if setting not in taken:
            raise TypeError(f"optimizer: {name!r} has no setting {setting!r}; it has {', '.join(taken)}")
        if not isinstance(value, Hashable):
            raise TypeError(f"optimizer: {setting} must be a number, a bool, a function or None, got {given(value)}")
    return _optimizer(name, learning_rate, float(weight_decay), clip_norm, tuple(sorted(settings.items())))


@functools.lru_cache(maxsize=256)
def _optimizer(
    name: str,
    learning_rate: float | optax.Schedule,
    weight_decay: float,
    clip_norm: float | None,
    settings: tuple[tuple[str, Any], ...],
) -> Optimizer:
    make, keywords = OPTIMIZERS[name], dict(settings)
    if name in _DECAYS_ITSELF:
        parts = [make(learning_rate, weight_decay=weight_decay, **keywords)]
    else:
        parts = [make(learning_rate, **keywords)]
        if weight_decay:
            # Decoupled: added after the gradient's scaling, itself scaled by the learning rate.
            rate = learning_rate if callable(learning_rate) else optax.constant_schedule(learning_rate)
            parts.append(_decay(rate, weight_decay))
    if clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(clip_norm))
    made = Optimizer(*optax.with_extra_args_support(optax.chain(*parts)))
    made.learning_rate = learning_rate
    return made


def _decay(rate: optax.Schedule, weight_decay: float) -> optax.GradientTransformation:
    """Takes `rate(step) * weight_decay * parameter` from each update."""
    # Applied to an update of zero by optax's own transformations, and added to what the optimizer gave.
    decay = optax.chain(optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(rate))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        taken, state = decay.update(optax.tree.zeros_like(updates), state, params)
        return optax.tree.add(updates, taken), state

    return optax.GradientTransformation(decay.init, update)


def cosine(peak: float, steps: int, *, warmup: int = 0, end: float = 0.0) -> optax.Schedule:
    """A learning rate that rises linearly from 0 for `warmup` steps, then falls along half a cosine, to `end` at `steps`.

    Args:
        peak: the highest learning rate.
        steps: of the whole training: epochs times batches per epoch.
        warmup: steps of the rise, fewer than `steps`.
        end: the last learning rate.

    Returns:
        A function of the step; the same one for the same settings.

    Raises:
        TypeError, ValueError: a setting of another type, or out of its range.

    References:
        I. Loshchilov, F. Hutter. SGDR: Stochastic gradient descent with warm restarts. ICLR 2017, arXiv:1608.03983.

    Example:
        >>> [round(float(cosine(0.1, 100, warmup=10)(step)), 3) for step in (0, 5, 10, 55, 100)]
        [0.0, 0.05, 0.1, 0.05, 0.0]
    """
    steps = check_count("cosine", "steps", steps)
    warmup = check_count("cosine", "warmup", warmup, at_least=0)
    check_number("cosine", "peak", peak)
    check_number("cosine", "end", end)
    if not 0 <= warmup < steps:
        raise ValueError(f"cosine: warmup must be at least 0 and fewer than steps={steps}, got {warmup}")
    if not 0 <= end <= peak or not peak > 0:
        raise ValueError(f"cosine: peak must be above 0 and end in [0, peak], got peak={peak}, end={end}")
    return _cosine(float(peak), steps, warmup, float(end))


@functools.lru_cache(maxsize=256)
def _cosine(peak: float, steps: int, warmup: int, end: float) -> optax.Schedule:
    if not warmup:
        return optax.cosine_decay_schedule(peak, steps, alpha=end / peak)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps, end)

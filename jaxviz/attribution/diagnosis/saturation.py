"""Findings of outputs that are saturated: probabilities near 0 or 1, hyperbolic tangents near -1 or 1."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxviz import views
from jaxviz.attribution.diagnosis.case import Case, in_short
from jaxviz.attribution.diagnosis.functions import of_outputs
from jaxviz.model import Model
from jaxviz.program.flow import Flow
from jaxviz.targets import TargetLike, select

# The derivative of an output with respect to what enters the softmax (p (1 - p)), sigmoid or tanh is less than this.
_SATURATED = 1e-3

Squash = Callable[[np.ndarray], np.ndarray]


def softmax(values: np.ndarray) -> np.ndarray:
    """The softmax over the last axis, in double precision whatever JAX is set to."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """The logistic function."""
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))  # beyond, the power is infinite


SQUASHES: dict[str, Squash] = {"softmax": softmax, "sigmoid": sigmoid, "tanh": np.tanh}


def look(case: Case) -> None:
    """Notes which examples have outputs that are saturated."""
    if case.forward.values is None or not jnp.issubdtype(case.forward.values.dtype, jnp.floating):
        return
    outputs = np.asarray(case.forward.values, np.float64)
    kind = of_outputs(case.flow)
    if kind not in SQUASHES or (kind == "softmax" and outputs.ndim == 1):
        return
    logits = _logits(case, kind, outputs)
    if kind == "softmax":
        # All but the largest, added up: in floating point this is told where 1 minus the largest is not.
        rest = outputs.sum(axis=1, where=np.arange(outputs.shape[1]) != outputs.argmax(axis=1)[:, None])
        derivative, measured = rest * (1 - rest), {"largest": outputs.max(axis=1)}
    else:
        # With an index as target the score is one of the outputs; a callable may use all of them.
        single = case.target.function is None
        explained = np.asarray(case.forward.scores, np.float64)[:, None] if single else outputs.reshape(case.batch, -1)
        derivative, measured = _slopes(kind, explained).max(axis=1), {"score": case.forward.scores}
    saturated = np.isfinite(derivative) & (derivative < _SATURATED)
    if not saturated.any():
        return
    bound = in_short(derivative[saturated].max())
    if kind == "softmax":
        most = rest[saturated].max()
        largest = f"at least 1 - {most:.2g}" if most else "1 to rounding"
        told = (
            f"The outputs are those of a softmax. The largest is {largest}, so that "
            f"no output's derivative with respect to a logit exceeds {bound}"
        )
    else:
        told = f"The outputs are those of a {kind}, whose derivative is at most {bound}"
    case.note(
        f"{kind}_saturated",
        saturated,
        f"{told}: gradients nearly vanish, and attributions made of them are of rounding and of what little is left.",
        _instead(kind, logits),
        **measured,
        derivative=derivative,
        logits=logits,
    )


def of_score(model: Model, inputs: Any, target: TargetLike) -> tuple[str, np.ndarray, np.ndarray] | None:
    """Whether a score that is one of the outputs of a softmax, sigmoid or tanh is saturated.

    That costs an evaluation if the outputs are such, and nothing if they are known not to be.

    Returns:
        What they are the result of, which examples are saturated, and the derivative of their scores, `(batch,)` both; or None.
    """
    if callable(target):
        return None
    kind = model._known.get(_KIND)
    if kind is None:
        kind = model._known[_KIND] = of_outputs(Flow(views.program(model, inputs)))
    outputs: Any = model(inputs) if kind in SQUASHES else None
    if not hasattr(outputs, "ndim") or outputs.ndim not in (1, 2) or (kind == "softmax" and outputs.ndim == 1):
        return None
    slopes = _slopes(kind, np.asarray(select(outputs, target), np.float64))
    return kind, slopes < _SATURATED, slopes


_KIND = "what the outputs are the result of"


def _slopes(kind: str, values: np.ndarray) -> np.ndarray:
    """The derivatives of results of a softmax, sigmoid or tanh, each by what it was made of."""
    return 1 - values**2 if kind == "tanh" else values * (1 - values)


def _instead(kind: str, logits: str | None) -> str:
    what = "logit" if kind == "softmax" else f"value before the {kind}"
    if logits is None:
        return (
            f"Explain the {what} instead: name what enters the {kind} in the model, jaxviz.tag(logits, 'logits'), and explain "
            "model.until('logits')."
        )
    return f"Explain the {what} instead: model.until({logits}), with the same target."


def _logits(case: Case, kind: str, outputs: np.ndarray) -> str | None:
    """The arguments of `until` for the layer that the outputs are computed from, if there is one."""
    single = np.asarray(case.forward.values)
    tolerance = max(1e-5, 4 * float(jnp.finfo(single.dtype).eps) * (single.shape[-1] if single.ndim == 2 else 1))
    for index in sorted(case.forward.alike, reverse=True):
        values = np.asarray(case.forward.alike[index], np.float64)
        # Where all are near 0, the identity is near the tanh.
        if np.allclose(SQUASHES[kind](values), outputs, rtol=0, atol=tolerance) and not np.allclose(values, outputs):
            return _until(case, index)
    return None


def _until(case: Case, index: int) -> str:
    key = case.places[index].key
    return repr(key.layer) if key.side == "output" else f"{key.layer!r}, side={key.side!r}"


def between(kind: str, before: np.ndarray, after: np.ndarray) -> str:
    """What stops a derivative from one value to the next, in words; empty where none is known.

    Args:
        kind: the function that the later value is the result of, as `functions.of_value` tells it.
        before: the earlier value.
        after: the later value.
    """
    if before.shape != after.shape:
        return ""
    if kind == "relu" and (before <= 0).all() and not after.any():
        return (
            f"all {after.shape[-1] if after.ndim == 1 else after[0].size} units are off: before the ReLU none is above "
            f"{in_short(before.max())}, after it all are 0"
        )
    ends = lambda values: f"{in_short(values.min())} to {in_short(values.max())}"
    if kind in SQUASHES and np.allclose(SQUASHES[kind](before), after, rtol=1e-3, atol=1e-6):
        return f"the {kind} is saturated: before it are values from {ends(before)}, after it from {ends(after)}"
    return ""

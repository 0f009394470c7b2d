"""The hook on activations: histograms, statistics, and the shares of dead units and saturated values."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxviz.checks import applying, check_flag, check_number, check_text, given
from jaxviz.program import paths
from jaxviz.watch.histogram import BINS, check_bins
from jaxviz.watch.hook import Hook, StepView, check_probe, needed
from jaxviz.watch.parameters import Patterns, as_patterns
from jaxviz.watch.tensors import check_statistics, described, write_described

Bounds = tuple[float | None, float | None]

# The ranges of activation functions that are layers of their own, by the names they commonly have.
BOUNDS: Mapping[str, Bounds] = {
    "**/tanh*": (-1.0, 1.0),
    "**/sigmoid*": (0.0, 1.0),
    "**/hard_sigmoid*": (0.0, 1.0),
    "**/hard_tanh*": (-1.0, 1.0),
    "**/relu6*": (0.0, 6.0),
    "**/relu*": (0.0, None),
}
MARGIN = 0.01  # tanh above 0.99 in magnitude, a sigmoid below 0.01 or above 0.99


def activations(
    probe: Any,
    *,
    layers: Patterns | None = None,
    every: int = 100,
    bounds: Mapping[str, Bounds] = BOUNDS,
    statistics: Iterable[str] = ("mean", "std", "zeros"),
    histograms: bool = True,
    bins: int = BINS,
    name: str = "activations",
) -> Hook:
    """Histograms and statistics of layers' activations on a probe batch, with the shares of dead units and saturated values.

    A unit is an entry of the last axis (a channel, a feature). It is *dead* where its activation, clipped to the layer's bounds,
    is the same at every example and position of the probe: a ReLU that never fires, a sigmoid stuck at 1. For a layer without
    known bounds that is a unit that never changes; give the bounds `(0, None)` to a layer that a functional ReLU follows.
    A value is *saturated* within 0.01 of a bound of a layer bounded on both sides. Not-a-number compares unequal: such a
    unit is neither.

    Tags: `activations/<layer>`, `activations_mean/<layer>`, ..., `activations_dead/<layer>`, `activations_saturated/<layer>`.

    Args:
        probe: a batch of inputs, as for a model's call.
        layers: paths or patterns of layers; None for all.
        every: measured at the steps that this divides.
        bounds: pattern -> (low, high) of the activation function, either None; the first that fits a layer holds. By default
            layers named relu..., tanh..., sigmoid... have theirs.
        statistics: as for `weights`.
        histograms: as for `weights`.
        bins: as for `weights`.
        name: as for `weights`.

    Raises:
        TypeError, ValueError: if probe is no batch, or a setting is of another type or out of its range; when measured, if a
            layer is not found, or the model cannot be applied to probe.
    """
    check_probe(name, probe)
    wanted = None if layers is None else as_patterns(name, layers)
    statistics = check_statistics(name, statistics)
    check_bins(f"watch.{name}", bins)
    check_flag(f"watch.{name}", "histograms", histograms)
    _check_bounds(f"watch.{name}", bounds)

    def measure(view: StepView) -> Any:
        model = needed(name, view, "model")
        with applying(f"watch.{name}", "probe", model, probe):
            captured = model.capture(probe, wanted)
        values = {
            path: leaf
            for path, leaf in paths.flatten(dict(captured)).items()
            if jnp.issubdtype(leaf.dtype, jnp.floating)
        }
        return described(values, bins, statistics), {
            path: _shares(leaf, *_bounds(path, bounds)) for path, leaf in values.items()
        }

    def write(writer: Any, step: int, values: Any) -> None:
        found, shares = values
        write_described(writer, step, name, found, statistics, histograms)
        scalars = {
            f"{name}_{kind}/{path}": float(share) for path, kinds in shares.items() for kind, share in kinds.items()
        }
        if scalars:
            writer.scalars(scalars, step)

    return Hook(name, measure, write, every, probe=True)


def _check_bounds(function: str, bounds: Any) -> None:
    if not isinstance(bounds, Mapping):
        raise TypeError(f"{function}: bounds must be a mapping of patterns to (low, high), got {given(bounds)}")
    for pattern, bound in bounds.items():
        check_text(function, "a pattern in bounds", pattern)
        low, high = bound if isinstance(bound, tuple | list) and len(bound) == 2 else (0.0, 0.0)
        for end in (low, high):
            if end is not None:
                check_number(function, f"an end of the bounds of {pattern!r}", end)
        if low is not None and high is not None and not low < high:
            raise ValueError(
                f"{function}: bounds must be (low, high) with low < high, either None; {pattern!r} has {given(bound)}"
            )


def _bounds(path: str, bounds: Mapping[str, Bounds]) -> Bounds:
    return next((bound for pattern, bound in bounds.items() if paths.match(path.split("#")[0], pattern)), (None, None))


def _shares(values: jax.Array, low: float | None, high: float | None) -> dict[str, jax.Array]:
    if values.size == 0:
        return {}
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    shares = {}
    if rows.shape[0] > 1:  # a single value is always the same
        clipped = rows if low is None and high is None else jnp.clip(rows, low, high)
        shares["dead"] = (clipped.max(axis=0) == clipped.min(axis=0)).astype(jnp.float32).mean()
    if low is not None and high is not None:
        near = (rows < low + MARGIN) | (rows > high - MARGIN)
        shares["saturated"] = near.astype(jnp.float32).mean()
    return shares

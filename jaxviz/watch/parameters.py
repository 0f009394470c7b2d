"""Hooks on the parameters: weights, their gradients, and the optimizer's updates.

Tags, for a hook named `weights` and the parameter `Conv_0/kernel`: the histogram `weights/Conv_0/kernel`, and scalars such as
`weights_norm/Conv_0/kernel`: TensorBoard groups by what stands before the first slash. Counts of NaN and inf
(`weights_nan/...`, `weights_inf/...`) are written only where they are not 0.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxviz.checks import check_flag, check_strings
from jaxviz.program import paths
from jaxviz.watch.histogram import BINS, check_bins
from jaxviz.watch.hook import Hook, StepView, needed
from jaxviz.watch.tensors import check_statistics, described, write_described

Patterns = str | Iterable[str]


def weights(
    *,
    every: int = 100,
    layers: Patterns = "**",
    statistics: Iterable[str] = ("norm",),
    histograms: bool = True,
    bins: int = BINS,
    name: str = "weights",
) -> Hook:
    """Histograms and statistics of the parameters (`StepView.params`).

    Args:
        every: measured at the steps that this divides.
        layers: pattern or patterns of parameter paths: `"**/kernel"`, `"Conv_*/bias"`.
        statistics: which scalars to write, of "mean", "std", "norm", "zeros" (share of exact zeros), "low" and "high"; of the
            finite values. Counts of NaN and inf are written whenever they are not 0.
        histograms: whether to write histograms.
        bins: of a histogram.
        name: of the hook and the first part of its tags.

    Raises:
        TypeError, ValueError: if a setting is of another type or out of its range; when measured, if the StepView has no
            params or a pattern fits none.
    """
    return _parameters(name, "params", every, layers, statistics, histograms, bins)


def gradients(
    *,
    every: int = 100,
    layers: Patterns = "**",
    statistics: Iterable[str] = ("norm", "zeros"),
    histograms: bool = True,
    bins: int = BINS,
    name: str = "gradients",
) -> Hook:
    """Histograms and statistics of the gradients (`StepView.grads`); settings and errors as for `weights`."""
    return _parameters(name, "grads", every, layers, statistics, histograms, bins)


def updates(
    *,
    every: int = 100,
    layers: Patterns = "**",
    statistics: Iterable[str] = (),
    histograms: bool = True,
    bins: int = BINS,
    ratio: bool = True,
    name: str = "updates",
) -> Hook:
    """Histograms and statistics of the optimizer's updates (`StepView.updates`), and the update-to-weight ratio.

    `ratio = norm(update) / norm(weight)`, per tensor, as `updates_ratio/...`; about 1e-3 is usual, far more or less says that the
    learning rate does not suit the tensor. Where the weights are all 0 it is not written.

    Args:
        every: as for `weights`.
        layers: as for `weights`.
        statistics: as for `weights`.
        histograms: as for `weights`.
        bins: as for `weights`.
        name: as for `weights`.
        ratio: whether to write the ratio; needs `StepView.params` too.

    Raises:
        TypeError, ValueError: as for `weights`.
    """
    plain = _parameters(name, "updates", every, layers, statistics, histograms, bins)
    layers = as_patterns(name, layers)
    check_flag(f"watch.{name}", "ratio", ratio)

    def measure(view: StepView) -> Any:
        found = plain.measure(view)
        if not ratio:
            return found, {}
        changed = chosen(name, needed(name, view, "updates"), layers)
        weights = chosen(name, needed(name, view, "params"), ("**",))
        return found, {
            path: jnp.stack([_norm(changed[path]), _norm(weights[path])]) for path in changed if path in weights
        }

    def write(writer: Any, step: int, values: Any) -> None:
        found, norms = values
        plain.write(writer, step, found)
        scalars = {
            f"{name}_ratio/{path}": float(update / weight) for path, (update, weight) in norms.items() if weight > 0
        }
        if scalars:
            writer.scalars(scalars, step)

    return Hook(name, measure, write, every)


def _parameters(
    name: str, field: str, every: int, layers: Patterns, statistics: Iterable[str], histograms: bool, bins: int
) -> Hook:
    layers, statistics = as_patterns(name, layers), check_statistics(name, statistics)
    check_bins(f"watch.{name}", bins)
    check_flag(f"watch.{name}", "histograms", histograms)

    def measure(view: StepView) -> Any:
        return described(chosen(name, needed(name, view, field), layers), bins, statistics)

    def write(writer: Any, step: int, values: Any) -> None:
        write_described(writer, step, name, values, statistics, histograms)

    return Hook(name, measure, write, every)


def _norm(values: jax.Array) -> jax.Array:
    values = values.astype(jnp.float32)
    return jnp.sqrt((values * values).sum())


def as_patterns(name: str, layers: Any) -> tuple[str, ...]:
    """The patterns as a tuple, checked."""
    patterns = check_strings(f"watch.{name}", "layers", layers, "path or pattern")
    if not patterns:
        raise ValueError(f"watch.{name}: layers must name at least one layer, got {layers!r}; left out, it means all")
    return patterns


def chosen(name: str, tree: Any, layers: tuple[str, ...]) -> dict[str, jax.Array]:
    """The floating-point tensors of a tree of parameters whose paths fit the patterns."""
    if isinstance(tree, nnx.Module):
        tree = nnx.state(tree, nnx.Param)
    elif isinstance(tree, Mapping) and "params" in tree:
        tree = tree["params"]  # of all collections of a Linen module; the others are not trained
    leaves = {
        path: jnp.asarray(leaf)
        for path, leaf in paths.flatten(tree).items()
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
    return {path: leaves[path] for path in paths.choose(f"watch.{name}", layers, leaves)}

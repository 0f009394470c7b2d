"""Completeness: whether attributions sum to what the score differs by, up to what is allowed."""

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import host
from jaxviz.attribution.caution import if_well

TOLERANCE = 0.05  # the share of what the score differs by that a gap may be


class Gap(NamedTuple):
    """What attributions miss of what the score differs by, `(batch,)` each, in float64.

    Attributes:
        found: whether an example misses more than is allowed, and more than rounding may have made.
        sums: what its attributions sum to.
        difference: by how much its score differs.
        share: the gap, as a share of that.
    """

    found: np.ndarray
    sums: np.ndarray
    difference: np.ndarray
    share: np.ndarray


def gap(leaves: Sequence[Any], now: Any, start: Any, tolerance: float = TOLERANCE) -> Gap:
    """The gap of attributions on the host.

    Args:
        leaves: the arrays of the attribution, with the examples as axis 0.
        now: the scores of the inputs, `(batch,)`.
        start: the scores of the baseline, `(batch,)`.
        tolerance: which share of the difference is allowed.
    """
    eps = float(jnp.finfo(now.dtype).eps)
    now, start = np.asarray(now, np.float64), np.asarray(start, np.float64)
    rows = [np.asarray(leaf, np.float64).reshape(len(now), -1) for leaf in leaves]
    sums, sizes = (sum(values.sum(axis=1) for values in parts) for parts in (rows, map(np.abs, rows)))
    difference = now - start
    missed = np.abs(sums - difference)
    rounding = 16 * eps * (sizes + np.abs(now) + np.abs(start))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = missed / np.abs(difference)
    found = np.isfinite(missed) & (missed > tolerance * np.abs(difference) + rounding)
    return Gap(found, sums, difference, share)


def warn_later(attribution: Any, scores: jax.Array, steps: int, quadrature: str) -> None:
    """Lets the method that runs warn, if its attributions miss more than is allowed.

    Args:
        attribution: what it gives, an array or a tuple of arrays.
        scores: those of the baseline and of the inputs, `(2, batch)`.
        steps: how many points the method has looked at.
        quadrature: how they were placed.
    """
    if_well(functools.partial(_told, attribution, scores, steps, quadrature))


def _told(attribution: Any, scores: jax.Array, steps: int, quadrature: str) -> tuple[str, str] | None:
    leaves = [attribution] if isinstance(attribution, jax.Array) else jax.tree.leaves(attribution)
    if not all(map(host.sees, (scores, *leaves))):
        return None
    start, now = host.fetch(scores)
    if _is_well(leaves, start, now):
        return None
    missed = gap(leaves, now, start)
    if not missed.found.any():
        return None
    most = missed.share[missed.found].max()
    largest = f"up to {100 * most:.3g}% of that" if most < np.inf else "not 0 where the score does not differ"
    other = "" if quadrature == "gauss_legendre" else ", or quadrature='gauss_legendre'"
    return (
        f"the attributions of {missed.found.sum()} of {len(missed.found)} examples do not sum to what the score differs by from "
        f"the baseline: the gap is {largest}, and {100 * TOLERANCE:g}% are allowed. Take more steps than {steps}{other}; "
        "jaxviz.completeness_gap tells each example's gap",
        "incomplete",
    )


def _is_well(leaves: list[Any], start: np.ndarray, now: np.ndarray) -> bool:
    """Whether a few microseconds tell that nothing is missed."""
    sums = [0.0] * len(now)
    for leaf in leaves:
        rows = np.asarray(leaf).reshape(len(now), -1)
        parts = np.add.reduce(rows, axis=1, dtype=np.float64 if rows.itemsize < 4 else None)
        sums = list(map(operator.add, sums, parts.tolist()))
    for total, high, low in zip(sums, now.tolist(), start.tolist(), strict=True):
        difference = high - low
        if not abs(total - difference) <= TOLERANCE * abs(difference):
            return False
    return True

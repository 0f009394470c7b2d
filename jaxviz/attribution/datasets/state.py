"""The state of a pass over a data set: all that is known after some of its batches."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxviz.attribution.datasets.examples import Batch
from jaxviz.attribution.datasets.moments import Moments
from jaxviz.attribution.glance import largest_values


@dataclass(frozen=True, eq=False)
class State:
    """What is known after some batches.

    Attributes:
        batches: how many there were.
        examples: how many examples they had.
        left_out: how many of these are not in the statistics, since their attributions were NaN or infinite.
        all_zero: how many of these have attributions that are 0 everywhere.
        data: what identifies their inputs, labels and targets.
        structure: the pytree of an attribution; see `outlines.outline`.
        leaves: dtype and shape of each of its arrays, without the examples.
        whole: the statistics of each of its arrays.
        classes: the same by class.
    """

    batches: int = 0
    examples: int = 0
    left_out: int = 0
    all_zero: int = 0
    data: dict[str, str] = field(default_factory=dict)
    structure: Any = None
    leaves: tuple[tuple[str, tuple[int, ...]], ...] = ()
    whole: tuple[Moments, ...] = ()
    classes: dict[Any, tuple[Moments, ...]] = field(default_factory=dict)


def added(state: State, batch: Batch, data: dict[str, str], structure: Any, leaves: list[np.ndarray]) -> State:
    """The state with one more batch."""
    kinds = tuple((str(leaf.dtype), leaf.shape[1:]) for leaf in leaves)
    if state.batches and (structure, kinds) != (state.structure, state.leaves):
        raise ValueError(
            f"explain_dataset: the method gave {state.leaves} (dtype, shape of an example) before, and {kinds} for batch "
            f"{batch.number}"
        )
    largest = largest_values(leaves)
    finite = np.isfinite(largest)
    whole, classes = state.whole, dict(state.classes)
    groups = [(None, finite)]
    if batch.labels is not None:
        groups = [(label, finite & (batch.labels == label)) for label in np.unique(batch.labels)]
    for label, chosen in groups:
        if not chosen.any():
            continue
        moments = tuple(Moments.of(leaf[chosen]) for leaf in leaves)
        whole = _merged(whole, moments)
        if label is not None:
            classes[label.item()] = _merged(classes.get(label.item(), ()), moments)
    return State(
        state.batches + 1,
        state.examples + batch.size,
        state.left_out + int((~finite).sum()),
        state.all_zero + int((largest == 0).sum()),
        data,
        structure,
        kinds,
        whole,
        classes,
    )


def _merged(one: tuple[Moments, ...], other: tuple[Moments, ...]) -> tuple[Moments, ...]:
    return tuple(a.merge(b) for a, b in zip(one, other, strict=True)) if one else other

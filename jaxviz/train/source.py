"""Where the batches of a training run come from: arrays, kept on the device, or an iterable of batches."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxviz import data as jdata
from jaxviz.train.devices import Placement
from jaxviz.train.examples import check_batch, check_batches, length

# Larger data stay on the host, and are sent batch by batch.
RESIDENT_BYTES = 2**30


class Row(NamedTuple):
    """One step to be done: where it stands in the run, how many examples it has, and they, or their indices."""

    step: int
    epoch: int
    batch: int
    last: bool
    size: int
    payload: Any


class Arrays:
    """Data in arrays, cut into batches in an order that depends on the key and on the step at which the epoch begins.

    Where it is resident, a payload is the examples' indices, or None for all; else it is the batch.
    """

    def __init__(
        self,
        data: Any,
        *,
        batch_size: int | None,
        key: jax.Array,
        shuffle: bool,
        drop_remainder: bool,
        place: Placement,
    ) -> None:
        self.examples = length(data)
        self.batch_size = self.examples if batch_size is None else min(batch_size, self.examples)
        self.whole = self.batch_size == self.examples
        self.per_epoch: int | None = (
            self.examples // self.batch_size if drop_remainder else -(-self.examples // self.batch_size)
        )
        self.resident = sum(leaf.nbytes for leaf in jax.tree.leaves(data)) <= RESIDENT_BYTES
        self.data = place.replicated(data) if self.resident else jax.tree.map(np.asarray, data)
        self._shuffle, self._place = shuffle and not self.whole, place
        self._seed = np.asarray(jax.random.key_data(key)).ravel().tolist()

    def epoch(self, begin: int, skip: int) -> Iterator[tuple[int, Any]]:
        """Sizes and payloads of the epoch that begins at step `begin`, from batch number `skip` on."""
        assert self.per_epoch is not None
        if self.whole and self.resident:
            return iter([(self.examples, None)][skip:])
        # NumPy's generator, so that the host neither compiles nor waits for the device.
        order = (
            np.random.default_rng([*self._seed, begin]).permutation(self.examples)
            if self._shuffle
            else np.arange(self.examples)
        )
        starts = range(skip * self.batch_size, self.per_epoch * self.batch_size, self.batch_size)
        indices = (order[start : start + self.batch_size].astype(np.int32) for start in starts)
        if self.resident:
            return ((len(chosen), chosen) for chosen in indices)
        cut = (jax.tree.map(lambda leaf, i=chosen: leaf[i], self.data) for chosen in indices)
        return ((length(batch), batch) for batch in jdata.prefetch(map(self._place.split, cut)))

    def batch(self, payload: Any) -> Any:
        """The batch of a payload."""
        if not self.resident:
            return payload
        return self.data if payload is None else jax.tree.map(lambda leaf: leaf[payload], self.data)


class Stream:
    """Batches made by the user: by a function of the epoch's key (or of nothing), or an iterable that can be begun anew."""

    per_epoch: int | None = None
    resident = whole = False

    def __init__(self, batches: Any, *, key: jax.Array, place: Placement) -> None:
        if isinstance(batches, Iterator):
            raise TypeError(
                "fit: train_data is an iterator, which ends after one epoch; give a function that returns it"
            )
        self._batches, self._key, self._place = batches, key, place
        self._keyed = callable(batches) and _takes_an_argument(batches)
        if not callable(batches) and hasattr(batches, "__len__"):
            self.per_epoch = len(batches)

    def epoch(self, begin: int, skip: int) -> Iterator[tuple[int, Any]]:
        """Sizes and batches of the epoch that begins at step `begin`, from batch number `skip` on."""
        batches: Iterable[Any]
        if self._keyed:
            batches = self._batches(jax.random.fold_in(jax.random.fold_in(self._key, 1), begin))
        else:
            batches = self._batches() if callable(self._batches) else self._batches
        check_batches("fit", "what train_data returns" if callable(self._batches) else "train_data", batches)
        rest = (
            check_batch("fit", "train_data's batch", batch) for number, batch in enumerate(batches) if number >= skip
        )
        return ((length(batch), batch) for batch in jdata.prefetch(map(self._place.split, rest)))

    def batch(self, payload: Any) -> Any:
        """The payload, which is the batch."""
        return payload


Source = Arrays | Stream


def rows(source: Source, *, step: int, epoch: int, batch: int, epochs: int) -> Iterator[Row]:
    """The steps of a run from a position on, to the end of its last epoch."""
    for number in range(epoch, epochs):
        items = source.epoch(step - batch, batch)
        item = next(items, None)
        if item is None and not batch:
            raise ValueError(f"fit: train_data gave no batch in epoch {number + 1}")
        while item is not None:
            following = next(items, None)
            yield Row(step, number, batch, following is None, *item)
            item, step, batch = following, step + 1, batch + 1
        batch = 0


def _takes_an_argument(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)

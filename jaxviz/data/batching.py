"""Splitting data, cutting it into shuffled batches, and sending these to the device ahead of their use."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from jaxviz.checks import check_count, given, is_traced
from jaxviz.data.checks import Data, generator, length

T = TypeVar("T")


class PaddedBatch(NamedTuple):
    """A batch of fixed size: the last one of an epoch is filled up by repeating its own examples.

    Args:
        data: arrays whose axis 0 is `batch_size`, in the structure of the whole data.
        valid: bool `(batch_size,)`, False at the examples that only fill up: give them weight zero.
    """

    data: Any
    valid: np.ndarray


def split(
    data: Data, parts: float | Sequence[float], *, key: jax.Array, stratify: np.ndarray | jax.Array | None = None
) -> tuple[Data, ...]:
    """Splits data at random into parts that together hold every example once.

    Args:
        data: an array, or a pytree of arrays with the same number of examples along axis 0.
        parts: fractions that sum to 1, such as `(0.8, 0.1, 0.1)`, or counts that sum to the number of examples. One
            number alone is the first of two parts: `0.8` is `(0.8, 0.2)`.
        key: random key; the same key gives the same parts.
        stratify: labels `(examples,)`; each part then has each label in its share of the whole, to about one example.

    Returns:
        One pytree like `data` for each part, of NumPy arrays.

    Raises:
        ValueError: parts that do not sum to the whole or leave one empty, arrays of unequal lengths, empty data.

    Example:
        >>> import jax, numpy as np
        >>> data = (np.arange(10.0), np.arange(10) % 2)
        >>> train, test = split(data, 0.8, key=jax.random.key(0), stratify=data[1])
        >>> train[0].shape, sorted(test[1].tolist())
        ((8,), [0, 1])
    """
    n = length("split", data)
    counts = _counts(parts, n)
    rng = generator("split", key)
    order = rng.permutation(n)
    if stratify is not None:
        labels = np.asarray(stratify)
        if labels.shape != (n,):
            raise ValueError(f"split: stratify must be labels of shape ({n},), got shape {labels.shape}")
        order = _interleaved(order, labels)
    indices = np.split(order, np.cumsum(counts)[:-1])
    if stratify is not None:
        indices = [rng.permutation(part) for part in indices]
    return tuple(jax.tree.map(lambda leaf, i=i: np.take(np.asarray(leaf), i, axis=0), data) for i in indices)


def batches(
    data: Data, batch_size: int, *, key: jax.Array | None = None, drop_remainder: bool = False
) -> Iterator[Any]:
    """Yields one epoch of batches.

    A last batch of another size makes a jitted step compile a second time: drop it, or use `padded_batches`.

    Args:
        data: an array, or a pytree of arrays with the same number of examples along axis 0.
        batch_size: examples per batch.
        key: shuffles; the same key gives the same batches. For each epoch another: `jax.random.fold_in(key, epoch)`.
            None keeps the order.
        drop_remainder: leave out the last batch if it is smaller; after shuffling that is another remainder each epoch.

    Returns:
        An iterator over pytrees like `data`: NumPy arrays; arrays on an accelerator are gathered there.

    Raises:
        ValueError: arrays of unequal lengths, empty data, batch_size below one, or above the number of examples where
            the remainder is dropped.

    Example:
        >>> import jax, numpy as np
        >>> data = {"x": np.zeros((10, 3)), "y": np.arange(10)}
        >>> [batch["x"].shape for batch in batches(data, 4, key=jax.random.key(0))]
        [(4, 3), (4, 3), (2, 3)]
    """
    n = length("batches", data)
    check_count("batches", "batch_size", batch_size)
    if drop_remainder and batch_size > n:
        raise ValueError(f"batches: batch_size={batch_size} with drop_remainder=True leaves no batch of {n} examples")
    order = None if key is None else generator("batches", key).permutation(n)
    stop = n - n % batch_size if drop_remainder else n
    cut = _cutter(data)
    cuts = (slice(start, min(start + batch_size, n)) for start in range(0, stop, batch_size))
    return (cut(part if order is None else order[part]) for part in cuts)


def padded_batches(data: Data, batch_size: int, *, key: jax.Array | None = None) -> Iterator[PaddedBatch]:
    """Yields one epoch of batches of one size, each with a mask of its valid examples; no example is lost.

    Args:
        data: an array, or a pytree of arrays with the same number of examples along axis 0.
        batch_size: examples per batch.
        key: shuffles; the same key gives the same batches. None keeps the order.

    Returns:
        An iterator over `PaddedBatch(data, valid)`.

    Raises:
        ValueError: arrays of unequal lengths, empty data, or batch_size below one.

    Example:
        >>> import numpy as np
        >>> *_, last = padded_batches(np.arange(5), 3)
        >>> last.data.tolist(), last.valid.tolist()
        ([3, 4, 3], [True, True, False])
    """
    n = length("padded_batches", data)
    check_count("padded_batches", "batch_size", batch_size)
    order = np.arange(n) if key is None else generator("padded_batches", key).permutation(n)
    remainder = n % batch_size
    if remainder:
        order = np.concatenate([order, np.resize(order[-remainder:], batch_size - remainder)])
    cut = _cutter(data)
    return (
        PaddedBatch(cut(order[start : start + batch_size]), np.arange(start, start + batch_size) < n)
        for start in range(0, len(order), batch_size)
    )


def prefetch(iterator: Iterable[T], size: int = 2, *, device: Any = None) -> Iterator[T]:
    """Yields what `iterator` yields, on the device, `size` batches ahead of their use.

    Transfers are asynchronous: the next batches travel while the device computes with this one. An error in the
    iterator is raised in its turn, after the batches before it.

    Args:
        iterator: yields pytrees of arrays.
        size: how many batches are on the device or on their way, at least one.
        device: a `jax.Device` or a `jax.sharding.Sharding`; None takes JAX's default device.

    Raises:
        ValueError: size below one.

    Example:
        >>> import numpy as np
        >>> [type(batch).__name__ for batch in prefetch([np.zeros(2)])]
        ['ArrayImpl']
    """
    check_count("prefetch", "size", size)
    if isinstance(iterator, str) or not isinstance(iterator, Iterable):
        raise TypeError(f"prefetch: iterator must yield pytrees of arrays, got {given(iterator)}")
    return _prefetched(iter(iterator), size, device)


def _prefetched(iterator: Iterator[T], size: int, device: Any) -> Iterator[T]:
    ahead: deque[T] = deque()
    error = None
    while True:
        while error is None and len(ahead) < size:
            try:
                ahead.append(jax.device_put(jax.tree.map(_own, next(iterator)), device))
            except Exception as e:
                error = e
        if not ahead:
            if isinstance(error, StopIteration):
                return
            assert error is not None
            raise error
        yield ahead.popleft()


def _own(leaf: Any) -> Any:
    """Returns a copy of NumPy's arrays: a transfer reads later, or on CPU shares the memory, which a loader may reuse."""
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _cutter(data: Data) -> Callable[[slice | np.ndarray], Data]:
    """Returns the function from a slice or from indices to these examples; all that can be is done once, not per batch."""
    leaves, structure = jax.tree.flatten(data)
    if any(map(is_traced, leaves)):
        raise TypeError("batches: data is traced; batches are cut on the host, outside of jax.jit")
    leaves = [leaf if _on_accelerator(leaf) else np.asarray(leaf) for leaf in leaves]
    return lambda chosen: jax.tree.unflatten(structure, [_rows(leaf, chosen) for leaf in leaves])


def _on_accelerator(leaf: np.ndarray | jax.Array) -> bool:
    return isinstance(leaf, jax.Array) and any(device.platform != "cpu" for device in leaf.devices())


def _rows(leaf: np.ndarray | jax.Array, chosen: slice | np.ndarray) -> np.ndarray | jax.Array:
    if isinstance(chosen, slice):
        return leaf[chosen]
    return leaf.take(chosen, axis=0) if isinstance(leaf, np.ndarray) else _gather(leaf, chosen)


@jax.jit
def _gather(leaf: jax.Array, chosen: jax.Array) -> jax.Array:
    return leaf.at[chosen].get(mode="promise_in_bounds")


def _counts(parts: float | Sequence[float], n: int) -> list[int]:
    """Returns the number of examples of each part."""
    whole = n if isinstance(parts, int) else 1.0
    sizes = [parts, whole - parts] if isinstance(parts, (int, float)) else list(parts) if np.ndim(parts) == 1 else []
    if not sizes or isinstance(parts, bool) or np.asarray(sizes).dtype.kind not in "iuf":
        raise TypeError(f"split: parts must be a number, or a sequence of fractions or counts, got {given(parts)}")
    if all(isinstance(size, (int, np.integer)) for size in sizes) and sizes:
        counts = [int(size) for size in sizes]
        if sum(counts) != n:
            raise ValueError(f"split: the counts {tuple(counts)} sum to {sum(counts)}, but data has {n} examples")
    else:
        if not math.isclose(sum(sizes), 1.0, abs_tol=1e-6) or min(sizes, default=0) < 0:
            raise ValueError(f"split: parts must be counts, or fractions in (0, 1) that sum to 1, got {parts!r}")
        edges = [round(edge * n) for edge in np.cumsum([0.0, *sizes])]
        counts = [int(b - a) for a, b in itertools.pairwise(edges)]
    if min(counts) < 1:
        raise ValueError(f"split: parts={parts!r} of {n} examples leave an empty part (counts {tuple(counts)})")
    return counts


def _interleaved(order: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns `order` rearranged so that any stretch of it holds every label in about its share of the whole."""
    place = np.empty(len(order))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(place[order], kind="stable")]

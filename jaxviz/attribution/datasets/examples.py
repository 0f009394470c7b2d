"""The examples of a data set, in batches of inputs with their labels and targets, checked at the public edge."""

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import data as jdata
from jaxviz.checks import check_count, given, is_traced

_BATCH_SIZE = 64
LABELS = "labels"  # the target that is each example's label


class Batch(NamedTuple):
    """Some examples.

    Args:
        number: of the batch in the data set.
        start: of its first example.
        size: how many it has.
        inputs: an array or a tuple of arrays.
        labels: one per example, or None.
        target: as a method takes it.
        baseline: likewise.
    """

    number: int
    start: int
    size: int
    inputs: Any
    labels: np.ndarray | None
    target: Any
    baseline: Any


def batches(
    function: str, dataset: Any, labels: Any, target: Any, batch_size: int | None, baseline: Any = None
) -> tuple[Iterator[Batch], int | None]:
    """The batches of a data set, and how many there are, if that is known.

    Args:
        function: the name of the caller, for error messages.
        dataset: arrays, or an iterable of batches or a function that returns one; see `explain_dataset`.
        labels: one per example, or None.
        target: a target, one index per example, or `"labels"`.
        batch_size: examples per batch, for arrays.
        baseline: one for all examples, or an array with one for each, or a tuple of these for several inputs.
    """
    labels = None if labels is None else _Column(function, "labels", _labels(function, labels))
    if isinstance(dataset, tuple) and len(dataset) == 2 and _is_input(dataset[0]) and isinstance(dataset[1], list):
        dataset = (dataset[0], _labels(function, dataset[1]))
    wants_labels = isinstance(target, str)
    if wants_labels and target != LABELS:
        raise ValueError(f"{function}: target must be a target as methods take it, or {LABELS!r}, got {target!r}")
    indices = None
    if not wants_labels and not callable(target) and np.ndim(target):
        indices = _Column(function, "target", _indices(function, target))
    if _are_arrays(dataset):
        pair = dataset if isinstance(dataset, tuple) else (dataset, None)
        examples = _length(function, pair)
        size = _BATCH_SIZE if batch_size is None else check_count(function, "batch_size", batch_size)
        for column in (labels, indices):
            if column is not None:
                column.check(examples)
        raw: Iterable[Any] = jdata.batches(pair, min(size, examples))
        total: int | None = -(-examples // size)
        baseline = _baselines(function, baseline, pair[0])
        for column in _columns(baseline):
            column.check(examples)
    else:
        if batch_size is not None:
            raise TypeError(f"{function}: batch_size is for arrays; the batches of dataset have their sizes already")
        raw = dataset() if callable(dataset) else dataset
        if isinstance(raw, Mapping | str | bytes) or not isinstance(raw, Iterable):
            raise TypeError(
                f"{function}: dataset must be an array, (inputs, labels), or an iterable of such batches, or a function that "
                f"returns one, got {type(raw).__name__}"
            )
        total = len(raw) if isinstance(raw, Sized) else None
    return _batches(function, raw, labels, indices, target if indices is None else None, baseline), total


def _batches(
    function: str, raw: Iterable[Any], labels: "_Column | None", indices: "_Column | None", target: Any, baseline: Any
) -> Iterator[Batch]:
    start, kind = 0, None
    for number, item in enumerate(raw):
        where = f"dataset's batch {number}"
        inputs, own = _pair(function, where, item)
        size = _length(function, (inputs, own), where)
        found = [(leaf.shape[1:], leaf.dtype) for leaf in jax.tree.leaves(inputs)], jax.tree.structure(inputs)
        if kind is None:
            kind = found
            baseline = _baselines(function, baseline, inputs)
        elif found != kind:
            told = [" and ".join(f"{dtype}{['examples', *shape]}" for shape, dtype in one[0]) for one in (kind, found)]
            raise ValueError(
                f"{function}: the batches of dataset must be alike, but batch 0 is {told[0]}, batch {number} {told[1]}"
            )
        _check_finite(function, inputs, start)
        if own is not None and labels is not None:
            raise ValueError(f"{function}: labels are given twice, as labels and in dataset")
        if own is not None:
            own = _labels(function, own)
        elif labels is not None:
            own = labels.take(start, size)
        chosen = target if indices is None else indices.take(start, size)
        if isinstance(target, str):
            if own is None or own.dtype.kind not in "iu":
                raise ValueError(
                    f"{function}: target={target!r} needs labels that are integers, the indices of outputs"
                )
            chosen = own
        points = jax.tree.map(
            lambda part, start=start, size=size: part.take(start, size) if isinstance(part, _Column) else part, baseline
        )
        yield Batch(number, start, size, inputs, own, chosen, points)
        start += size
    for column in (labels, indices, *_columns(baseline)):
        if column is not None:
            column.check(start)


def _baselines(function: str, baseline: Any, inputs: Any) -> Any:
    """A baseline with a column in place of each array that has one entry for each example: an axis 0 as the inputs."""
    several = isinstance(inputs, tuple)
    if several != isinstance(baseline, tuple) or (several and len(baseline) != len(inputs)):
        return baseline
    parts = []
    for part, leaf in zip(baseline if several else (baseline,), inputs if several else (inputs,), strict=True):
        is_each = hasattr(part, "shape") and len(part.shape) == len(leaf.shape) and part.shape[0] != 1
        parts.append(_Column(function, "baseline", np.asarray(part)) if is_each else part)
    return tuple(parts) if several else parts[0]


def _columns(baseline: Any) -> list["_Column"]:
    return [part for part in jax.tree.leaves(baseline) if isinstance(part, _Column)]


class _Column:
    """Something that each example of the data set has one of."""

    def __init__(self, function: str, name: str, values: np.ndarray) -> None:
        self._function, self._name, self._values = function, name, values

    def take(self, start: int, size: int) -> np.ndarray:
        """Those of some examples."""
        if start + size > len(self._values):
            raise ValueError(
                f"{self._function}: {self._name} has {len(self._values)} entries, but dataset has more examples, at least "
                f"{start + size}"
            )
        return self._values[start : start + size]

    def check(self, examples: int) -> None:
        """Raises unless there is one for each example."""
        if len(self._values) != examples:
            raise ValueError(
                f"{self._function}: {self._name} has {len(self._values)} entries, but dataset has {examples} examples"
            )


def _are_arrays(dataset: Any) -> bool:
    return hasattr(dataset, "shape") or (
        isinstance(dataset, tuple) and len(dataset) > 0 and all(_is_input(part) or part is None for part in dataset)
    )


def _is_input(value: Any) -> bool:
    return hasattr(value, "shape") or (isinstance(value, tuple) and all(hasattr(leaf, "shape") for leaf in value))


def _pair(function: str, where: str, item: Any) -> tuple[Any, Any]:
    """Inputs and labels of a batch."""
    if isinstance(item, jdata.PaddedBatch):  # what fills it up is no example
        item = jax.tree.map(lambda leaf: np.asarray(leaf)[np.asarray(item.valid)], item.data)
    pair = tuple(item) if isinstance(item, tuple | list) else (item, None)
    if len(pair) != 2 or not _is_input(pair[0]):
        raise TypeError(
            f"{function}: {where} must be an array, or (inputs, labels); several inputs are ((a, b), labels) or ((a, b), None); "
            f"got {given(item)}"
        )
    return pair


def _length(function: str, pair: Any, where: str = "dataset") -> int:
    """The number of examples; raises unless all arrays have the same, at least one."""
    if len(pair) != 2:
        raise TypeError(
            f"{function}: {where} must be an array, or (inputs, labels); several inputs are ((a, b), labels) or ((a, b), None); "
            f"got a tuple of {len(pair)}"
        )
    sizes = {}
    for part, name in zip(pair, ("inputs", "labels"), strict=True):
        for path, leaf in jax.tree_util.tree_flatten_with_path(part)[0]:
            name_of_leaf = name + jax.tree_util.keystr(path)
            if not hasattr(leaf, "shape"):
                raise TypeError(f"{function}: {where} must be arrays, but its {name_of_leaf} are {given(leaf)}")
            if is_traced(leaf):
                raise TypeError(
                    f"{function}: {where} is traced; this is a loop on the host, so call it outside of jax.jit"
                )
            if not leaf.shape:
                raise ValueError(
                    f"{function}: {where} must have the examples as axis 0, but its {name_of_leaf} are a scalar"
                )
            sizes[name_of_leaf] = leaf.shape[0]
    if not sizes:
        raise TypeError(f"{function}: {where} has no inputs, got {given(pair)}")
    if min(sizes.values()) == 0:
        raise ValueError(f"{function}: {where} is empty, it has no examples")
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"its {name} {size}" for name, size in sizes.items())
        raise ValueError(f"{function}: {where} must have one number of examples, but {told}")
    return next(iter(sizes.values()))


def _labels(function: str, labels: Any) -> np.ndarray:
    found = np.asarray(labels)
    if found.ndim != 1 or found.dtype.kind not in "iubU":
        raise ValueError(
            f"{function}: labels must be integers or strings, one per example, got {found.dtype}{list(found.shape)}; "
            "several inputs are given as ((a, b), labels) or ((a, b), None)"
        )
    return found


def _indices(function: str, target: Any) -> np.ndarray:
    found = np.asarray(target)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(
            f"{function}: an array as target must be integers, one per example of the data set, got "
            f"{found.dtype}{list(found.shape)}"
        )
    return found


def _check_finite(function: str, inputs: Any, start: int) -> None:
    for leaf in jax.tree.leaves(inputs):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            finite = np.isfinite(np.asarray(leaf)).reshape(leaf.shape[0], -1).all(axis=1)
            if not finite.all():
                raise ValueError(
                    f"{function}: inputs must be finite, but {(~finite).sum()} examples have NaN or infinite values; "
                    f"the first is example {start + int(np.argmin(finite))}"
                )

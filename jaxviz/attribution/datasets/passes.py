"""Whole data sets: any method over all examples in batches, with running statistics, resumable."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.caution import unwatched, warn
from jaxviz.attribution.datasets.calls import Call, check_takes_key
from jaxviz.attribution.datasets.examples import Batch, batches
from jaxviz.attribution.datasets.identity import Digest
from jaxviz.attribution.datasets.kept import Kept
from jaxviz.attribution.datasets.moments import Moments
from jaxviz.attribution.datasets.outlines import filled, flattened, outline
from jaxviz.attribution.datasets.record import Record
from jaxviz.attribution.datasets.state import State, added
from jaxviz.attribution.datasets.statistics import DatasetAttribution, Statistics
from jaxviz.attribution.kinds import check_has_mean
from jaxviz.checks import check_flag, check_key
from jaxviz.model import Model, check_model

_NAME = "explain_dataset"


def explain_dataset(
    method: Callable[..., Any],
    model: Model,
    dataset: Any,
    *,
    target: Any = None,
    batch_size: int | None = None,
    key: jax.Array | None = None,
    labels: Any = None,
    path: Any = None,
    keep: bool = False,
    progress: bool = True,
    **settings: Any,
) -> DatasetAttribution:
    """Any method over a whole data set: mean, variance, extremes and mean absolute value of each feature, per class too.

    `mean = sum_n attribution_n / count`, `variance = sum_n (attribution_n - mean)^2 / count`

    Statistics are merged batch by batch in float64 on the host, by the formula of Chan, Golub and LeVeque, in which nothing
    cancels; memory does not grow with the data set.

    Args:
        method: any attribution method, `jv.smooth(...)`, `jv.at_layer(...)`, or a function `method(model, inputs, *, target,
            **settings)` of one's own, whose result has the examples as axis 0.
        model: the model.
        dataset: the inputs, an array; or `(inputs, labels)`; several inputs are `((a, b), labels)` or `((a, b), None)`. Or an
            iterable of such batches, or a function that returns one; they may be of several sizes.
        target: as for the method; an int array has one index per example of the data set; `"labels"` explains each example's
            label.
        batch_size: examples per batch, 64 if None; only for arrays. A last batch that is smaller is compiled by itself.
        key: a `jax.random.key`, for methods that take one: batch number i gets `jax.random.fold_in(key, i)`.
        labels: one class per example, integers or strings, if dataset has none: statistics are told by class, too.
        path: a file that the state is written to as it goes, whole at any moment. A run that was killed goes on from there when
            it is started again, and gives the same bits. A function is known by its code, not by what it calls.
        keep: keep all attributions: in memory, or with a path in `.npy` files beside it.
        progress: draw a progress bar.
        **settings: further settings of the method. Of `baseline`, an array with as many axes as the inputs has one entry per
            example of the data set (or axis 0 of length 1, for all); others are for all examples.

    Returns:
        A `DatasetAttribution`, with NumPy arrays of the shape of one example's attribution.

    Raises:
        TypeError: if an argument is of another type, or the results of the method have no mean (`feature_factorization`).
        ValueError: if the data set is empty, batches differ in shape, inputs are not finite, labels, target or baseline are not
            as many as the examples, no attribution was finite, or the file is that of another method, model, setting or data set
            (the error names what differs).
        OSError: if path cannot be written.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ params, jnp.array([2.0, -1.0]))
        >>> data = np.arange(12, dtype=np.float32).reshape(6, 2), np.array([0, 0, 0, 1, 1, 1])
        >>> found = explain_dataset(jv.input_x_gradient, model, data, batch_size=4, progress=False)
        >>> found.mean.tolist(), found.classes[1].max.tolist()
        ([10.0, -6.0], [20.0, -7.0])
        >>> print(found)
        Class   Examples   Mean   Deviation   Min   Max   Mean absolute
        ───────────────────────────────────────────────────────────────
        all            6      2       9.652   -11    20               8
        0              3    0.5       4.349    -5     8             3.5
        1              3    3.5       12.76   -11    20            12.5
        <BLANKLINE>
        Over all features; the arrays have each.

    References:
        T. F. Chan, G. H. Golub, R. J. LeVeque. Algorithms for Computing the Sample Variance: Analysis and Recommendations. The
        American Statistician 37, 1983.
    """
    check_model(_NAME, model)
    if not callable(method):
        raise TypeError(
            f"{_NAME}: method must be an attribution method such as jaxviz.gradient, got {type(method).__name__}"
        )
    check_has_mean(_NAME, method)
    if key is not None:
        check_key(_NAME, key)
        check_takes_key(method)
    check_flag(_NAME, "keep", keep)
    check_flag(_NAME, "progress", progress)
    parts, total = batches(_NAME, dataset, labels, target, batch_size, settings.get("baseline"))
    first = next(parts, None)
    if first is None:
        raise ValueError(f"{_NAME}: dataset is empty, it has no batch")
    call = Call(method, model, key, settings)
    record = Record(path, call.identity(first, total, target, keep) if path is not None else {})
    state = before = record.read()
    kept = Kept(path, state) if keep else None
    if kept is not None and not state.batches:
        kept.begin()

    def write(state: State) -> None:
        if kept is not None:
            kept.sync(state)
        record.write(state)

    bar = chunks.bar("batches", total) if progress else contextlib.nullcontext(lambda count: None)
    with bar as advance, unwatched():
        advance(state.batches)
        try:
            every = itertools.chain([first], parts)
            for batch, data, attribution in _one_ahead(_attributions(call, every, state, path)):
                structure, leaves = _on_host(attribution, batch.size)
                if kept is not None:
                    kept.add(leaves)
                state = added(state, batch, data, structure, leaves)
                if record.due():
                    write(state)
                advance(1)
        finally:
            # Also where it is interrupted, so that nothing that was computed is lost.
            if path is not None and state is not before:
                write(state)
    return _result(state, kept)


def _attributions(
    call: Call, parts: Iterable[Batch], state: State, path: Any
) -> Iterator[tuple[Batch, dict[str, str], Any]]:
    """Batches that are not in the state yet, with what identifies the data up to there, and with their attributions."""
    digests = {name: Digest() for name in ("inputs", "labels", "target")}
    seen = 0
    for batch in parts:
        data: dict[str, str] = {}
        if path is not None:
            for name, digest in digests.items():
                part = getattr(batch, name)
                digest.add(part if name == "inputs" or isinstance(part, np.ndarray) else ())
                data[name] = digest.text()
        seen += 1
        if seen > state.batches:
            yield batch, data, call(batch)
        elif seen == state.batches and data != state.data:
            different = [f"its {name}" for name in data if data[name] != state.data[name]]
            raise _another(path, f"{' and '.join(different)} were others")
    if seen < state.batches:
        raise _another(path, f"it had at least {state.batches} batches, and has {seen}")


def _another(path: Any, what: str) -> ValueError:
    return ValueError(
        f"{_NAME}: path {path} holds another data set: {what}. Give another path, or delete the file to begin anew"
    )


def _one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """Yields each item when the next one has been made: the device computes while the host does with what is done."""
    waiting: list[Any] = []
    for item in items:
        yield from waiting
        waiting = [item]
    yield from waiting


def _on_host(attribution: Any, size: int) -> tuple[Any, list[np.ndarray]]:
    """The structure of an attribution, and its arrays."""
    structure = outline(attribution)
    leaves = [np.asarray(leaf) for leaf in flattened(attribution)]
    for leaf in leaves:
        if leaf.shape[:1] != (size,):
            raise ValueError(
                f"{_NAME}: the method must give arrays with the {size} examples of the batch as axis 0, got shape {leaf.shape}"
            )
        if not any(jnp.issubdtype(leaf.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
            raise TypeError(f"{_NAME}: the method must give arrays of real numbers, got dtype {leaf.dtype}")
    return structure, leaves


def _result(state: State, kept: Kept | None) -> DatasetAttribution:
    if not state.whole:
        raise ValueError(f"{_NAME}: the attributions of all {state.examples} examples have NaN or infinite values")
    if state.left_out:
        warn(
            _NAME,
            f"the attributions of {state.left_out} of {state.examples} examples have NaN or infinite values, and are not in the "
            "statistics",
        )
    if state.all_zero:
        warn(
            _NAME,
            f"the attributions of {state.all_zero} of {state.examples} examples are all zero; jaxviz.diagnose tells why, of a "
            "batch of them",
        )
    statistics = {label: _statistics(state, moments) for label, moments in sorted(state.classes.items())}
    whole = _statistics(state, state.whole)
    return DatasetAttribution(
        **vars(whole),
        classes=statistics,
        left_out=state.left_out,
        attributions=None if kept is None else filled(state.structure, kept.arrays(state)),
    )


def _statistics(state: State, moments: tuple[Moments, ...]) -> Statistics:
    fill = lambda name: filled(state.structure, [getattr(one, name) for one in moments])
    return Statistics(moments[0].count, *map(fill, ("mean", "variance", "min", "max", "mean_absolute")))

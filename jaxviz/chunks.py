"""Chunks: many variations of an input (steps of a path, noisy samples) evaluated a few at a time, in bounded memory."""

import contextlib
import operator
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np

from jaxviz.checks import check_flag

Carry = TypeVar("Carry")

# Without a chunk_size, as many evaluations are in flight as hold this many input values (at least one variation).
DEFAULT_VALUES = 1 << 17


def sizes(count: int, batch: int, chunk_size: int | None, values: int = 1) -> tuple[int, ...]:
    """How many variations each chunk has.

    The chunks are balanced, so that none is padded: `count` variations cost `count` evaluations of the batch. All are equal
    where the count allows it, since each size is compiled on its own; else there are two sizes.

    Args:
        count: number of variations.
        batch: number of examples in the batch; each variation evaluates the model on all of them.
        chunk_size: most model evaluations (variations x examples) in flight, at least one variation; None for the default.
        values: number of input values of one example, by which the default is chosen.

    Example:
        >>> sizes(50, batch=1, chunk_size=16)
        (10, 10, 10, 10, 10)
        >>> sizes(7, batch=2, chunk_size=8)
        (4, 3)
    """
    in_flight = max(DEFAULT_VALUES // max(values, 1), 1) if chunk_size is None else chunk_size
    most = min(max(in_flight // max(batch, 1), 1), count)
    fewest = -(-count // most)
    # One size for all costs one compilation instead of two: worth chunks that are up to a third smaller.
    for number in range(fewest, min(count, fewest + max(fewest // 3, 1)) + 1):
        if count % number == 0:
            return (count // number,) * number
    small, larger = divmod(count, fewest)
    return (small + 1,) * larger + (small,) * (fewest - larger)


def fold(
    step: Callable[[Carry, Any], Carry],
    carry: Carry,
    variations: Any,
    chunks: tuple[int, ...],
    *,
    progress: bool = False,
    label: str = "",
) -> Carry:
    """Calls `carry = step(carry, part)` for consecutive parts of the variations.

    A Python loop around a jitted step, not `jax.lax.scan`: inside an XLA loop, convolutions run on one CPU thread.

    Args:
        step: jitted at module level, with its carry donated, so that memory is that of one chunk.
        carry: the first carry; it is donated.
        variations: a pytree of numpy arrays whose axis 0 has one entry per variation.
        chunks: their sizes, as `sizes` gives them.
        progress: whether to draw a bar. It waits for each chunk.
        label: what the bar says.

    Raises:
        TypeError: if progress is neither True nor False.
    """
    if not check_flag(label or "fold", "progress", progress):
        for part in _parts(variations, chunks):
            carry = step(carry, part)
        return carry
    with bar(label, sum(chunks)) as advance:
        for part, size in zip(_parts(variations, chunks), chunks, strict=True):
            carry = jax.block_until_ready(step(carry, part))
            advance(size)
    return carry


@contextlib.contextmanager
def bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar, as the function that moves it on; a total of None is one that is not known."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(label, total=total)
        yield lambda count: progress.advance(task, count)


def _parts(variations: Any, chunks: tuple[int, ...]) -> list[Any]:
    ends = np.cumsum(chunks)
    slices = [slice(end - size, end) for end, size in zip(ends, chunks, strict=True)]
    return [jax.tree.map(operator.itemgetter(part), variations) for part in slices]


def check_chunk_size(function: str, chunk_size: Any) -> None:
    """Raises unless chunk_size is None or a positive int."""
    if chunk_size is None:
        return
    if isinstance(chunk_size, bool) or not hasattr(chunk_size, "__index__"):
        raise TypeError(f"{function}: chunk_size must be a positive int or None, got {chunk_size!r}")
    if chunk_size < 1:
        raise ValueError(f"{function}: chunk_size must be at least 1 model evaluation in flight, got {chunk_size}")

"""Values that are known up to a patch, and the passes through a program in which patches are cut out and pasted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

from jaxviz.program._compat import JaxprEqn
from jaxviz.program.spans import Span, Spans


class Local(NamedTuple):
    """A value that is known up to a patch.

    Attributes:
        base: the value at the unperturbed inputs, in the first pass; None in the second.
        patch: the values that are computed again.
        spans: where the patch lies.
    """

    base: Any
    patch: Any
    spans: Spans


class Whole(NamedTuple):
    """A value that is computed again in whole; None in the first pass."""

    value: Any


class Spread(NamedTuple):
    """A value that does not depend on the inputs: `broadcast_in_dim` of the operand."""

    value: Any
    operand: Any
    axes: tuple[int, ...]


class Plan(NamedTuple):
    """How an equation is computed in part.

    Attributes:
        spans: of each result.
        patches: computes the patch of each.
    """

    spans: list[Spans]
    patches: Callable[[], list[Any]]


# Takes an equation, its operands (`Local`, `Spread` or arrays, at least one of them local) and the pass.
Rule = Callable[[JaxprEqn, list[Any], "Pass"], Plan | None]


def sizes(shape: Sequence[int], where: Spans) -> tuple[int, ...]:
    """The shape of a patch of a value of that shape."""
    return tuple(length if span is None else span.size for length, span in zip(shape, where, strict=True))


def raw(operand: Any) -> Any:
    """A value that does not depend on the inputs, as an array."""
    return operand.value if isinstance(operand, Spread) else operand


class Pass:
    """One way through a program: the first keeps what is needed of the values at the unperturbed inputs, the second has it.

    Attributes:
        kept: these values, in the order in which they are needed.
    """

    def __init__(self, places: Sequence[Any], given: Iterable[jax.Array] | None = None) -> None:
        """`places` has the number of the window's place for each axis of the inputs; `given` is what the first pass kept."""
        self.kept: list[jax.Array] = []
        self._places = places
        self._given: Iterator[jax.Array] | None = None if given is None else iter(given)
        self._entries: dict[tuple[int, bytes], Any] = {}
        self._pasted: dict[int, tuple[Local, Whole]] = {}  # a value that is used twice is pasted once

    @property
    def first(self) -> bool:
        """Whether this is the first pass."""
        return self._given is None

    def region(self, local: Local, wanted: Sequence[tuple[np.ndarray, int] | None], fill: Any = 0) -> Any:
        """A region of a value, with the patch in it.

        Args:
            local: the value.
            wanted: per axis, where the region starts at each place of the window, and its size; None on axes without a span,
                which it has in full. It may stand over the ends.
            fill: what is there.
        """
        shape = local.patch.shape
        start: list[Any] = [np.int32(0)] * len(shape)
        paste, first, size = list(start), [0] * len(shape), list(shape)
        padding, cut = [(0, 0, 0)] * len(shape), list(shape)
        for axis, (span, part) in enumerate(zip(local.spans, wanted, strict=True)):
            if span is None or part is None:
                continue
            starts, size[axis] = part
            # As much more on both sides as the patch takes where it hangs out of the region.
            before = max(int((starts - span.starts).max()), 0)
            after = max(int((span.starts + span.size - starts).max()) - size[axis], 0)
            low = max(before - int(starts.min()), 0)
            high = max(int(starts.max()) + size[axis] + after - span.length, 0)
            start[axis], paste[axis] = (
                self._at(span, starts - before + low),
                self._at(span, span.starts - starts + before),
            )
            padding[axis], first[axis], cut[axis] = (low, high, 0), before, size[axis] + before + after
        if tuple(size) == shape and _zero(paste) and _zero(first):
            return local.patch
        value = lax.dynamic_slice(self._known(lambda: _padded(local.base, padding, fill)), start, cut)
        value = lax.dynamic_update_slice(value, local.patch, paste)
        return lax.slice(value, first, [low + count for low, count in zip(first, size, strict=True)])

    def within(self, operand: Any, where: Spans) -> Any:
        """What of a value is at some spans; they hold its own."""
        if isinstance(operand, Local):
            wanted = [
                None
                if own is None
                else (np.zeros_like(own.lows), own.length)
                if span is None
                else (span.starts, span.size)
                for own, span in zip(operand.spans, where, strict=True)
            ]
            return self.region(operand, wanted)
        value = raw(operand)
        if not np.shape(value):
            return value
        if isinstance(operand, Spread):
            # Cut before it is spread, so that it is never spread over all of the map.
            shape = [1] * value.ndim
            for axis, length in zip(operand.axes, np.shape(operand.operand), strict=True):
                shape[axis] = length
            narrow = self._cut(lax.broadcast_in_dim(operand.operand, shape, operand.axes), where)
            return lax.broadcast_in_dim(narrow, sizes(value.shape, where), range(value.ndim))
        return self._cut(value, where)

    def whole(self, local: Local) -> Whole:
        """All of a value, with the patch in it."""
        if id(local) not in self._pasted:
            value = local.patch
            if any(local.spans):
                start = [np.int32(0) if span is None else self._at(span, span.starts) for span in local.spans]
                value = lax.dynamic_update_slice(self._known(lambda: local.base), local.patch, start)
            self._pasted[id(local)] = local, Whole(None if self.first else value)
        return self._pasted[id(local)][1]

    def _at(self, span: Span, table: np.ndarray) -> Any:
        """The entry of a table for the window's place, int32."""
        if (table == table[0]).all():
            return np.int32(table[0])
        key = (span.axis, table.tobytes())
        if key not in self._entries:
            entries = table.astype(np.int32)
            self._entries[key] = lax.dynamic_index_in_dim(entries, self._places[span.axis], keepdims=False)
        return self._entries[key]

    def _known(self, value: Callable[[], Any]) -> Any:
        """A value at the unperturbed inputs."""
        if self._given is not None:
            return next(self._given)
        self.kept.append(value())
        return self.kept[-1]

    def _cut(self, value: Any, where: Spans) -> Any:
        where = tuple(None if length == 1 else span for length, span in zip(value.shape, where, strict=True))
        if not any(where):
            return value
        start = [np.int32(0) if span is None else self._at(span, span.starts) for span in where]
        return lax.dynamic_slice(value, start, sizes(value.shape, where))


def _zero(starts: Sequence[Any]) -> bool:
    """Whether all are zero, and known to be."""
    return not any(isinstance(start, jax.Array) or start for start in starts)


def _padded(value: Any, padding: list[tuple[int, int, int]], fill: Any) -> Any:
    return lax.pad(value, lax.convert_element_type(fill, value.dtype), padding) if any(map(any, padding)) else value

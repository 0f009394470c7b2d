"""Spans: where along an axis the values may differ from those of the unperturbed inputs, for each place of a window.

The places are known when a program is traced, so this is arithmetic of small NumPy tables: exact for each place, also at borders.
What a program needs at run time is only the number of the place, by which it looks up a start in such a table.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Span(NamedTuple):
    """A part of an axis, shorter than the axis; where all of it may differ there is None in place of a span.

    Attributes:
        axis: the axis of the inputs along which the window lies; its places are those of this span.
        length: of the axis of the value.
        lows: per place, the first position that may differ, int `(places,)`.
        highs: per place, the position after the last.
    """

    axis: int
    length: int
    lows: np.ndarray
    highs: np.ndarray

    @property
    def size(self) -> int:
        """How many positions are recomputed, the same at all places."""
        return max(int((self.highs - self.lows).max()), 1)

    @property
    def starts(self) -> np.ndarray:
        """Per place, the first position that is recomputed: within the axis, and so that the span is covered."""
        return np.clip(self.lows, 0, self.length - self.size)

    def same(self, other: "Span | None") -> bool:
        """Whether the same positions are recomputed."""
        return (
            other is not None
            and (self.axis, self.length, self.size) == (other.axis, other.length, other.size)
            and np.array_equal(self.starts, other.starts)
        )


Spans = tuple[Span | None, ...]  # one for each axis of a value


class Slide(NamedTuple):
    """How a window of an operation passes along an axis: the result at q sees `q * stride - low` to `q * stride - low + reach`.

    Attributes:
        reach: width of the window, less one.
        stride: of the results.
        low: how many positions of padding are before the axis; less than 0 where its first ones are left out.
        results: how many there are.
    """

    reach: int
    stride: int
    low: int
    results: int

    def over(self, span: Span) -> Span:
        """The results that see a span; perhaps all of them, see `partial`."""
        lows = np.clip(-((self.reach - self.low - span.lows) // self.stride), 0, self.results)
        highs = np.clip((span.highs - 1 + self.low) // self.stride + 1, lows, self.results)
        return Span(span.axis, self.results, lows, highs)


def partial(span: Span | None) -> Span | None:
    """None in place of a span that has all of its axis."""
    return None if span is None or span.size >= span.length else span


def window_span(axis: int, length: int, side: int, starts: Iterable[int]) -> Span | None:
    """The span of a window of the inputs, of one width at all its places; what stands over an end is cut off."""
    lows = np.clip(np.asarray(list(starts), np.int64), 0, length)
    return partial(Span(axis, length, lows, np.clip(lows + side, 0, length)))


def union(some: Iterable[Spans]) -> Spans | None:
    """What is in any of the spans of several values of one shape; None where they lie along different axes of the inputs."""
    result: list[Span | None] = []
    for spans in zip(*some, strict=True):
        present = [span for span in spans if span is not None]
        if len({span.axis for span in present}) > 1:
            return None
        if len(present) < len(spans):
            result.append(None)
            continue
        lows = np.min([span.lows for span in present], axis=0)
        highs = np.max([span.highs for span in present], axis=0)
        result.append(partial(present[0]._replace(lows=lows, highs=highs)))
    return tuple(result)


def share(spans: Spans) -> float:
    """The part of a value that is recomputed."""
    return float(np.prod([1.0 if span is None else span.size / span.length for span in spans]))

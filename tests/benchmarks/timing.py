"""Timings in turns, and the figures made of them. Standard library only.

A machine's speed drifts (other load, heat, clocks), so nothing is timed in a block of its own: in every round each side is timed
once, and what is reported is the median over the rounds of the pair's figure, not the quotient of two totals.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FIGURES = {"speedup": "peer / jaxviz", "overhead": "jaxviz / peer - 1", "difference": "jaxviz - peer, in seconds"}


def interleave(
    calls: Mapping[str, Callable[[], float]], rounds: int, *, warmup: int = 1, pause: float = 0.02
) -> dict[str, list[float]]:
    """Times all sides in turns.

    Args:
        calls: by name, what runs once and returns its own seconds.
        rounds: how often each is timed; the order turns round from one round to the next (A B, B A, ...), so that a drift
            and the memory that a neighbor leaves hot or cold fall on both sides alike.
        warmup: rounds before the first that counts.
        pause: seconds between two calls, in which the waiting threads of the last one go to sleep.

    Returns:
        By name the seconds of each round.
    """
    if rounds < 1:
        raise ValueError(f"interleave: rounds must be at least 1, got {rounds}")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-warmup, rounds):
        for name in list(calls) if turn % 2 == 0 else reversed(calls):
            taken = calls[name]()
            if turn >= 0:
                seconds[name].append(taken)
            time.sleep(pause)
    return seconds


def seconds_of(call: Callable[[], Any]) -> float:
    """Returns the wall time of one call; what it returns is waited for where it is a pytree of jax arrays' kind."""
    start = time.perf_counter()
    result = call()
    wait = getattr(result, "block_until_ready", None)
    if wait is not None:
        wait()
    return time.perf_counter() - start


def seconds_of_each(call: Callable[[], Any], count: int) -> float:
    """Returns the mean wall time of some calls in a row, after one that wakes what has slept while others were timed.

    A call of less than some milliseconds takes up to four times as long after a rest as in a row.
    """
    seconds_of(call)
    return sum(seconds_of(call) for _ in range(count)) / count


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns median, least and greatest of some figures, and the quartiles where there are enough of them."""
    if not values:
        raise ValueError("spread: no values")
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    if len(values) >= 4:
        figures["lower_quartile"], _, figures["upper_quartile"] = statistics.quantiles(values, method="inclusive")
    return figures


@dataclass(frozen=True)
class Comparison:
    """One line of the table.

    Attributes:
        section: the section it belongs to.
        what: what was timed.
        peer: who was timed beside jaxviz.
        ours: jaxviz's seconds, one per round.
        theirs: the peer's seconds in the same rounds.
        figure: "speedup" (peer / jaxviz), "overhead" (jaxviz / peer - 1) or "difference" (jaxviz - peer, in seconds).
        bound: what must be shown: the least speedup, or the greatest overhead or difference; None where nothing must.
        work: the amount of work of one timing, for a rate: (amount, unit), such as (2000, "scalars") or (3e9, "FLOP").
        scale: what the seconds are multiplied by for display and JSON, with a word for it: (10, "per 1000 epochs").
        note: anything that a reader of the line must know.
    """

    section: str
    what: str
    peer: str
    ours: Sequence[float]
    theirs: Sequence[float]
    figure: str = "speedup"
    bound: float | None = None
    work: tuple[float, str] | None = None
    scale: tuple[float, str] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            raise ValueError(f"Comparison: figure must be one of {', '.join(FIGURES)}, got {self.figure!r}")
        if len(self.ours) != len(self.theirs) or not self.ours:
            counts = f"{len(self.ours)} and {len(self.theirs)}"
            raise ValueError(f"Comparison: both sides need the same number of rounds, at least one; got {counts}")

    @property
    def pairs(self) -> list[float]:
        """The figure of each round."""
        if self.figure == "speedup":
            return [b / a for a, b in zip(self.ours, self.theirs, strict=True)]
        if self.figure == "overhead":
            return [a / b - 1 for a, b in zip(self.ours, self.theirs, strict=True)]
        return [a - b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def value(self) -> float:
        """The median of the rounds' figures."""
        return statistics.median(self.pairs)

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None without a bound."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.figure == "speedup" else self.value <= self.bound

    def record(self) -> dict[str, Any]:
        """Returns all of it for the JSON file."""
        scale = self.scale[0] if self.scale else 1.0
        record: dict[str, Any] = {
            "section": self.section,
            "what": self.what,
            "peer": self.peer,
            "figure": self.figure,
            "means": FIGURES[self.figure],
            self.figure: spread(self.pairs),
            "of_the_fastest": self._fastest(),
            "bound": self.bound,
            "met": self.met,
            "rounds": len(self.ours),
            "seconds_are": self.scale[1] if self.scale else "per call",
            "jaxviz_seconds": spread([scale * s for s in self.ours]),
            "peer_seconds": spread([scale * s for s in self.theirs]),
            "note": self.note,
        }
        if self.work:
            amount, unit = self.work
            record["rate_unit"] = f"{unit}/s"
            record["jaxviz_rate"] = amount / statistics.median(self.ours)
            record["peer_rate"] = amount / statistics.median(self.theirs)
        return record

    def _fastest(self) -> float:
        """The figure of the two fastest timings: what the code can do when nothing disturbs it."""
        fastest = Comparison(self.section, self.what, self.peer, [min(self.ours)], [min(self.theirs)], self.figure)
        return fastest.value


def rounded(value: float, digits: int = 3) -> str:
    """Returns a number with so many significant digits, without an exponent."""
    if not math.isfinite(value) or value == 0:
        return str(value)
    value = float(f"{value:.{digits}g}")
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(places, 0)}f}"

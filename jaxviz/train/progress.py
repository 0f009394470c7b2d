"""How a training run shows itself: a bar and a line per epoch in a terminal, lines alone in a notebook or a file."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from jaxviz.train.source import Row

_REFRESH = 0.2  # seconds; drawing takes the interpreter from the loop that feeds the device
_LINES = 20  # printed of a run of more than _MANY epochs
_MANY = 100


class Progress:
    """Shows the progress of a run.

    Args:
        epochs: how many there are.
        per_epoch: steps of an epoch, None if not known.
        shown: False for silence.
        console: where to; None for the standard output.
    """

    def __init__(self, epochs: int, per_epoch: int | None, *, shown: bool, console: Console | None) -> None:
        self._epochs, self._per_epoch, self._shown = epochs, per_epoch, shown
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._drawn = self._begin = time.perf_counter()
        self._last: tuple[Row, Mapping[str, float], float] | None = None

    def update(self, row: "Row", values: Mapping[str, float]) -> None:
        """Shows a step, if the last one shown is some time ago."""
        now = time.perf_counter()
        if not self._shown or not self._console.is_terminal or self._console.is_jupyter or now - self._drawn < _REFRESH:
            return
        self._drawn = now
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        done = row.batch + 1
        if self._epochs > _MANY and self._per_epoch:
            bar = ProgressBar(total=self._epochs, completed=row.epoch + done / self._per_epoch, width=24)
        else:
            bar = ProgressBar(total=self._per_epoch, completed=done, width=24, pulse=self._per_epoch is None)
        line = Table.grid(padding=(0, 1))
        count = f"{done}/{self._per_epoch}" if self._per_epoch else f"{done}"
        line.add_row(self._epoch_text(row), bar, Text(count), Text(_told(values), "bold"))
        self._live.update(line, refresh=True)

    def epoch(self, row: "Row", values: Mapping[str, float], seconds: float) -> None:
        """Shows an epoch that has ended; of a great many epochs, some."""
        if not self._shown:
            return
        self._last = (row, values, seconds)
        if self._epochs <= _MANY or (row.epoch + 1) % -(-self._epochs // _LINES) == 0 or row.epoch + 1 == self._epochs:
            self._print()
        else:
            self.update(row, values)

    def close(self, note: str = "") -> None:
        """Ends the display, with the last epoch if it was not shown, and a note."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._last is not None:
            self._print()
        if note and self._shown:
            self._console.print(Text(note))

    def _print(self) -> None:
        assert self._last is not None
        row, values, seconds = self._last
        self._last = None
        line = Text.assemble(self._epoch_text(row), "  ")
        if self._epochs <= _MANY:
            line.append(f"{row.batch + 1} steps  {_duration(seconds)}  ", "dim")
        line.append(_told(values))
        self._console.print(line, soft_wrap=True)

    def _epoch_text(self, row: "Row") -> Text:
        width = len(str(self._epochs))
        return Text(f"epoch {row.epoch + 1:{width}}/{self._epochs}", "cyan")


def _told(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {_number(value)}" for name, value in values.items())


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"

"""What a training run recorded, and how it is collected without waiting for the device."""

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxviz.train.progress import Progress
from jaxviz.train.source import Row
from jaxviz.train.step import StepReport

_NOT_AVERAGED = ("gradient_norm", "learning_rate")  # of a step, not of an example


@dataclass(frozen=True)
class History:
    """What a training run recorded.

    Attributes:
        steps: name -> value of each step, float32 `(steps,)`: "loss" and metrics of the step's batch before its update,
            "gradient_norm", and "learning_rate" where the optimizer tells it.
        step_numbers: the number of each step, int `(steps,)`: how many updates were done before it.
        epochs: name -> value of each epoch `(epochs,)`: "loss" and metrics, the mean over the epoch's examples, each as seen
            during training; with "val_" before the name, on the validation data at the epoch's end.
        epoch_ends: how many updates were done at each epoch's end, int `(epochs,)`.
        seconds: wall time of each epoch `(epochs,)`.
        best_epoch: with early stopping, the number of the best epoch, counted from 0; else None.
        stopped: whether early stopping ended the run.
    """

    steps: dict[str, np.ndarray]
    step_numbers: np.ndarray
    epochs: dict[str, np.ndarray]
    epoch_ends: np.ndarray
    seconds: np.ndarray
    best_epoch: int | None = None
    stopped: bool = False


class Fault(Exception):
    """A step that was not finite."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.row = row


class Recorder:
    """Takes the reports of the steps, later, in order; tells the progress bar and the writer.

    Args:
        writer: a `jaxviz.tensorboard.Writer` or None.
        log_every: every how many steps the values of a step are logged; epochs that are shorter, as well.
        progress: what shows them.
        held: whether an epoch is finished by `finish_epoch`, with validation, rather than by its last step.
        lag: how many reports may be on their way.
    """

    def __init__(self, writer: Any, log_every: int, progress: Progress, *, held: bool, lag: int) -> None:
        self._writer, self._log_every, self._progress, self._held, self._lag = writer, log_every, progress, held, lag
        self._pending: deque[tuple[Sequence[Row], StepReport]] = deque()
        self.names: tuple[str, ...] = ()
        self._first = 0
        self._blocks: list[np.ndarray] = []
        self.epochs: list[dict[str, float]] = []
        self._epoch_ends: list[int] = []
        self._seconds: list[float] = []
        self._sums: list[float] = []
        self._examples, self._begin, self._logged = 0, time.perf_counter(), -1

    def add(self, rows: Sequence[Row], report: StepReport) -> None:
        """Takes the report of a dispatch, and reads those that are due."""
        report.values.copy_to_host_async()
        self._pending.append((rows, report))
        while len(self._pending) > self._lag:
            self._read(*self._pending.popleft())

    def drain(self) -> None:
        """Reads all reports."""
        while self._pending:
            self._read(*self._pending.popleft())

    def _read(self, rows: Sequence[Row], report: StepReport) -> None:
        values = np.asarray(report.values).reshape(-1, len(report.names) + 1)[: len(rows)]
        if not self.names:
            self.names, self._sums = report.names, [0.0] * self._averaged(report.names)
        if not self._blocks and not self.epochs:
            self._first = rows[0].step
        finite = values[:, -1] > 0
        count = len(rows) if finite.all() else int(finite.argmin()) + 1
        self._blocks.append(values[:count, :-1])
        whole = count == len(rows) and bool(finite[-1])
        for row, step_values in zip(rows[:count], values.tolist(), strict=False):
            self._sums = [total + value * row.size for total, value in zip(self._sums, step_values, strict=False)]
            self._examples += row.size
            if self._writer is not None and row.step % self._log_every == 0:
                self._log("train", dict(zip(self.names, step_values, strict=False)), row.step)
            if row.last and not self._held and whole:
                self.finish_epoch(row, {})
        if not whole:
            self._pending.clear()
            raise Fault(rows[count - 1])
        if not rows[-1].last or self._held:
            self._progress.update(rows[-1], self._means())

    def _averaged(self, names: Sequence[str]) -> int:
        return sum(name not in _NOT_AVERAGED for name in names)

    def _means(self) -> dict[str, float]:
        means = [total / max(self._examples, 1) for total in self._sums]
        return dict(zip(self.names, means, strict=False))

    def finish_epoch(self, row: Row, validation: Mapping[str, float]) -> None:
        """Ends the epoch of a row."""
        now = time.perf_counter()
        values = {**self._means(), **{f"val_{name}": value for name, value in validation.items()}}
        seconds = now - self._begin
        self.epochs.append(values)
        self._epoch_ends.append(row.step + 1)
        self._seconds.append(seconds)
        self._sums, self._examples, self._begin = [0.0] * len(self._sums), 0, now
        if self._writer is not None and (row.step // self._log_every > self._logged // self._log_every or validation):
            # Logged at its last step, so that a run resumed at the step after it supersedes none of it.
            self._log("epoch", {**values, "seconds": seconds}, row.step)
            self._logged = row.step
        self._progress.epoch(row, values, seconds)

    def _log(self, group: str, values: Mapping[str, float], step: int) -> None:
        self._writer.scalars({f"{group}/{name}": value for name, value in values.items()}, step)

    def history(self, **found: Any) -> History:
        """What was recorded so far."""
        steps = np.concatenate(self._blocks) if self._blocks else np.zeros((0, len(self.names)), np.float32)
        names = list(dict.fromkeys(name for values in self.epochs for name in values))
        return History(
            {name: steps[:, column] for column, name in enumerate(self.names)},
            np.arange(self._first, self._first + len(steps)),
            {name: np.array([values.get(name, math.nan) for values in self.epochs]) for name in names},
            np.array(self._epoch_ends, int),
            np.array(self._seconds),
            **found,
        )

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save(self) -> tuple[dict[str, Any], np.ndarray]:
        """All that was recorded, as something for JSON and an array."""
        record = {
            "names": list(self.names),
            "first": self._first,
            "epochs": self.epochs,
            "epoch_ends": self._epoch_ends,
            "seconds": self._seconds,
            "sums": self._sums,
            "examples": self._examples,
            "elapsed": time.perf_counter() - self._begin,
            "logged": self._logged,
        }
        return record, np.concatenate(self._blocks) if self._blocks else np.zeros((0, len(self.names)), np.float32)

    def load(self, record: Mapping[str, Any], steps: np.ndarray) -> None:
        """Goes on from what `save` returned."""
        self.names, self._first, self._blocks = tuple(record["names"]), record["first"], [np.asarray(steps)]
        self.epochs, self._epoch_ends, self._seconds = (
            list(record["epochs"]),
            list(record["epoch_ends"]),
            list(record["seconds"]),
        )
        self._sums, self._examples = list(record["sums"]), record["examples"]
        self._begin, self._logged = time.perf_counter() - record["elapsed"], record["logged"]


def host(tree: Any) -> Any:
    """A copy on the host; random keys as their numbers."""

    def fetch(leaf: Any) -> np.ndarray:
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.array(leaf)  # a copy: on CPU, an array's memory is the device's

    return jax.tree.map(fetch, tree)

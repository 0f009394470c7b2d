"""A run: what changes while a network is trained, step by step, and how it is saved and taken up again."""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.checks import applying
from jaxviz.train import evaluation
from jaxviz.train.checkpoint import Checkpoints
from jaxviz.train.devices import Placement
from jaxviz.train.history import History, Recorder
from jaxviz.train.source import Arrays, Row, Source, rows
from jaxviz.train.state import State, copied
from jaxviz.train.step import Recipe, StepReport, gathered, many, one
from jaxviz.train.stopping import EarlyStopping, Patience
from jaxviz.watch import Watcher

_CHECKPOINT_SECONDS = 5.0


class Run:
    """What changes while a network is trained."""

    def __init__(self, state: State, source: Source, recipe: Recipe, epochs: int, place: Placement) -> None:
        self.state: State = place.replicated(state)
        self.source, self.recipe, self.epochs, self.place = source, recipe, epochs, place
        self.unwatched = replace(recipe, hooks=())  # where no hook is due, a program without them costs the least
        self.epoch = self.batch = 0  # where in the data the next step is
        self.patience, self.best, self.stopped = Patience(), None, False
        self.recorder: Recorder
        self._saved_at = time.perf_counter()
        self.watcher: Watcher | None = None

    @property
    def ended(self) -> bool:
        """Whether no step is left, as in a run that is taken up again after its last one."""
        return self.stopped or self.epoch >= self.epochs

    def train(
        self,
        watcher: Watcher | None,
        most: int,
        validation_data: Any,
        measured: Any,
        early_stopping: EarlyStopping | None,
        checkpoints: Checkpoints | None,
        checkpoint_every: int | None,
    ) -> None:
        """Does the steps that are left."""
        self.watcher = watcher
        held = validation_data is not None or early_stopping is not None
        validated = validation_data and jax.tree.map(np.asarray, validation_data)

        def ends(row: Row) -> bool:
            """Whether the host has something to do before the step after this one."""
            due = watcher is not None and watcher.due(row.step + 1)
            return (row.last and held) or due or bool(checkpoint_every and (row.step + 1) % checkpoint_every == 0)

        first = int(self.state.step)
        todo = rows(
            self.source, step=first, epoch=self.epoch, batch=self.batch, epochs=0 if self.stopped else self.epochs
        )
        for chunk in _chunks(todo, most, ends):
            last = chunk[-1]
            if watcher is not None and watcher.due(chunk[0].step):
                watcher.probe(chunk[0].step, self.state.model)
            try:
                self.state, report = self._dispatch(chunk, most)
            except Exception:
                self._explain(last)
                raise
            self.epoch, self.batch = (last.epoch + 1, 0) if last.last else (last.epoch, last.batch + 1)
            self.recorder.add(chunk, report)
            if watcher is not None and most > 1 and self.source.resident:
                watcher.record_many(chunk[0].step, report.measured, len(chunk))
            elif watcher is not None:
                watcher.record(last.step, report.measured)
            if last.last and held:
                self.recorder.drain()
                self._end_epoch(last, validated, measured, early_stopping)
            if checkpoints is not None and self._due(last, checkpoint_every):
                self.save(checkpoints)
            if self.stopped:
                break
        self.recorder.drain()
        if checkpoints is not None:
            self.save(checkpoints)

    def _dispatch(self, chunk: Sequence[Row], most: int) -> tuple[State, StepReport]:
        source = self.source
        if not isinstance(source, Arrays) or not source.resident:
            return one(self.state, chunk[0].payload, self._recipe(chunk[0].step))
        if most == 1:
            recipe = self._recipe(chunk[0].step)
            if source.whole:
                return one(self.state, source.data, recipe)
            return gathered(self.state, source.data, self.place.split(chunk[0].payload), recipe)
        indices = None
        if not source.whole:
            indices = np.zeros((most, chunk[0].size), np.int32)
            indices[: len(chunk)] = [row.payload for row in chunk]
            indices = self.place.split(indices, axis=1)
        return many(self.state, source.data, indices, np.int32(len(chunk)), self.recipe, most)

    def _recipe(self, step: int) -> Recipe:
        """What is done at a step: with the hooks, if one of them is due."""
        due = any(step % hook.every == 0 for hook in self.recipe.hooks if not hook.probe)
        return self.recipe if due else self.unwatched

    def _explain(self, row: Row) -> None:
        """Raises an error that says so, where a step failed because the network cannot be applied to the data."""
        if self.recipe.augment is not None or self._is_gone():
            return
        inputs, _ = self.source.batch(row.payload)
        with applying("fit", "train_data", self.state.training_outputs, inputs):
            raise

    def _is_gone(self) -> bool:
        """Whether the state was given away to a step that did not return another."""
        return any(leaf.is_deleted() for leaf in jax.tree.leaves(self.state))

    def _end_epoch(self, row: Row, validation_data: Any, measured: Any, early_stopping: EarlyStopping | None) -> None:
        values = {}
        if validation_data is not None:
            values = evaluation.means(
                "fit", "validation_data", self.state.model, evaluation.slices("fit", validation_data, None), measured
            )
        self.recorder.finish_epoch(row, values)
        if early_stopping is None:
            return
        value = self.recorder.epochs[-1][early_stopping.monitor]
        self.patience = self.patience.after(early_stopping, row.epoch, value)
        if not self.patience.waited and early_stopping.restore_best:
            self.best = copied(self.state)
        self.stopped = self.patience.waited >= early_stopping.patience

    def _due(self, row: Row, every: int | None) -> bool:
        if every is not None:
            return (row.step + 1) % every == 0
        return time.perf_counter() - self._saved_at > _CHECKPOINT_SECONDS

    def history(self) -> History:
        """What was recorded so far."""
        best = None if math.isnan(self.patience.best) else self.patience.epoch
        return self.recorder.history(best_epoch=best, stopped=self.stopped)

    def before(self, step: int) -> State:
        """The state before a step that was not finite: it has stood still since, but for the number of the step."""
        return replace(self.state, step=jnp.asarray(step, jnp.int32), finite=jnp.asarray(True))

    def interrupted(self, interrupt: KeyboardInterrupt, checkpoints: Checkpoints | None) -> None:
        """Saves what there is, and hangs it on the error."""
        if self._is_gone():
            return  # within the few instructions in which the old state is gone and the new one not yet here
        self.recorder.drain()
        if checkpoints is not None:
            self.save(checkpoints)
        vars(interrupt).update(state=self.state, history=self.history())

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save(self, checkpoints: Checkpoints) -> None:
        """Saves the run, all reports read and all that was watched written: a resumed log has no hole."""
        self.recorder.drain()
        if self.watcher is not None:
            self.watcher.drain()
        recorded, steps = self.recorder.save()
        record = {
            "run": self._told(),
            "epoch": self.epoch,
            "batch": self.batch,
            "stopped": self.stopped,
            "patience": [self.patience.best, self.patience.epoch, self.patience.waited],
            "recorded": recorded,
        }
        tree = {"state": self.state, "steps": steps}
        checkpoints.save(
            int(self.state.step), tree if self.best is None else {**tree, "best": self.best}, record=record
        )
        self._saved_at = time.perf_counter()

    def _told(self) -> dict[str, Any]:
        """What must be the same when a run is resumed."""
        return {
            "metrics": [name for name, _ in self.recipe.metrics],
            "batches per epoch": self.source.per_epoch,
            "batch_size": getattr(self.source, "batch_size", None),
        }

    def restore(self, checkpoints: Checkpoints, early_stopping: EarlyStopping | None) -> tuple[Any, np.ndarray]:
        """Goes on from the newest checkpoint; returns what had been recorded."""
        tree, record = checkpoints.restore(None)
        if not isinstance(record, dict) or "run" not in record:
            raise ValueError(
                f"fit: the checkpoint in {checkpoints.directory} was not saved by fit; choose another checkpoint_dir"
            )
        for name, now in self._told().items():
            if record["run"][name] != now:
                raise ValueError(
                    f"fit: the checkpoint in {checkpoints.directory} is of a run with {name} {record['run'][name]!r}, "
                    f"this one has {now!r}; give the same arguments and data, or another checkpoint_dir"
                )
        steps = tree.get("steps", np.zeros((0, len(record["recorded"]["names"])), np.float32))
        like = {"state": self.state, "steps": steps} | ({"best": self.state} if "best" in tree else {})
        tree, _ = checkpoints.restore(like)
        self.state, self.best = tree["state"], tree.get("best")
        self.epoch, self.batch = record["epoch"], record["batch"]
        self.patience = Patience(*record["patience"])
        self.stopped = record["stopped"] and early_stopping is not None
        return record["recorded"], steps


def _chunks(todo: Iterator[Row], most: int, ends: Any) -> Iterator[list[Row]]:
    """Steps that can be done in one dispatch: at most so many, of batches of one size."""
    for _, group in itertools.groupby(todo, key=lambda row: row.size):
        chunk: list[Row] = []
        for row in group:
            chunk.append(row)
            if len(chunk) == most or ends(row):
                yield chunk
                chunk = []
        if chunk:
            yield chunk

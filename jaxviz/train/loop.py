"""`fit`: the training loop."""

import itertools
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from jaxviz.train import evaluation
from jaxviz.train.checkpoint import Checkpoints
from jaxviz.train.devices import Placement
from jaxviz.train.faults import NonFiniteError, find_fault
from jaxviz.train.history import Fault, History, Recorder
from jaxviz.train.losses import Loss
from jaxviz.train.metrics import Metrics
from jaxviz.train.progress import Progress
from jaxviz.train.source import Arrays, Row, Source, Stream, check_arrays, check_batch_size, rows
from jaxviz.train.state import State, check_key, copied
from jaxviz.train.step import Augmentation, Recipe, StepReport, gathered, make_recipe, many, one
from jaxviz.train.stopping import EarlyStopping, Patience
from jaxviz.watch import Hook, Watcher

_CHECKPOINT_SECONDS = 5.0
# Reports on their way: the host reads far behind the device, so that it never waits for a busy one; batches that were sent
# are held until their report is read, so there are fewer of these.
_LAG, _LAG_SENT = 32, 8


def fit(
    state: State,
    train_data: Any,
    *,
    loss: str | Loss,
    metrics: Metrics = (),
    epochs: int = 1,
    batch_size: int | None = 32,
    validation_data: Any = None,
    key: jax.Array | None = None,
    shuffle: bool = True,
    drop_remainder: bool = False,
    augment: Augmentation | None = None,
    hooks: Iterable[Hook] = (),
    writer: Any = None,
    logdir: str | os.PathLike[str] | None = None,
    log_every: int = 10,
    early_stopping: EarlyStopping | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = True,
    steps_per_dispatch: int | str = "auto",
    check_finite: bool = True,
    devices: Sequence[jax.Device] | None = None,
    progress: bool = True,
    console: Console | None = None,
) -> tuple[State, History]:
    """Trains a network.

    The same arguments give the same bits on the same machine. A second call with data of the same shapes compiles nothing,
    provided that module, optimizer, loss, metrics, augment and hooks are the same objects (or names).

    Args:
        state: made by `create_state`, or returned by an earlier call, to be trained further. It is copied, not used up.
        train_data: `(inputs, targets)`, arrays with the examples along axis 0 (several inputs are a tuple of arrays). They are
            kept on the device up to 1 GiB. Or an iterable of batches `(inputs, targets)`, such as a list; or a function that
            returns one for each epoch, called with a random key if it has an argument: it must give the same batches for the
            same key if runs are to be resumed.
        loss: a name in `LOSSES`, or a callable `(outputs, targets) -> (batch,)` or scalar.
        metrics: names in `METRICS`, "top_5_accuracy" or any other k, or callables as for the loss; or a dict of name -> metric.
        epochs: passes through the data.
        batch_size: examples per step; None, or more than there are, for all at once. Without meaning for batches given.
        validation_data: `(inputs, targets)`, evaluated at the end of each epoch; its values have "val_" before their names.
        key: takes the place of `state.key`: the order of the data, dropout and augmentation come from it.
        shuffle: whether each epoch has an order of its own; False for that of the arrays.
        drop_remainder: leave out a smaller last batch. Otherwise it is compiled as a second step of its own size, so that
            no example is lost and none counts more than once.
        augment: `(key, batch) -> batch`, such as those of `jaxviz.data`, compiled into the step.
        hooks: `jaxviz.watch` hooks; they need a writer or logdir.
        writer: a `jaxviz.tensorboard.Writer`, which stays open. For a resumed run, make it with the `start_step` that it
            is resumed at, or give `logdir` instead.
        logdir: a folder to log to, by a writer that is opened at the right step and closed at the end. A run that begins anew in
            the folder of an older one supersedes its curves. Logged: "train/..." (loss,
            metrics, gradient norm, learning rate of single steps) and "epoch/..." (means, validation, seconds).
        log_every: every how many steps "train/..." is logged, and "epoch/..." where epochs are shorter and have no validation.
        early_stopping: when to stop before the last epoch.
        checkpoint_dir: a folder to save the whole run to: state, position in the data, history, early stopping.
        checkpoint_every: in steps; None for about every 5 seconds. A run that ends or is interrupted is saved as well.
        resume: whether to go on from the newest checkpoint there, if any, to the same bits as if never interrupted. Give the same
            arguments as before (more epochs are allowed). False raises an error if there is a checkpoint.
        steps_per_dispatch: how many steps one call of the device does at the most. "auto": 1 for networks with convolutions (any
            parameter with more than 2 axes) on CPU, where XLA runs these 3 times slower inside a loop; else as many as are
            about 1e9 floating-point operations, up to 1024: small networks then train up to 30 times faster.
            Batches of an iterable are always done one by one.
        check_finite: stop with an error at the first loss or gradient that is NaN or infinite.
        devices: for data-parallel training: each batch is split over them. None for JAX's default device.
        progress: whether to show a bar, or one line per epoch where there is no terminal.
        console: a rich console to show it on.

    Returns:
        The state after the last step (with early stopping that restores, after the best epoch), and the history.

    Raises:
        NonFiniteError: a loss or gradient was not finite; the error names the step and the first layer, and
            holds the state before it and the history.
        ValueError, TypeError: an argument, or shapes that do not fit.
        KeyboardInterrupt: on Ctrl-C, after saving a checkpoint (with checkpoint_dir) and writing all that was logged; the state
            and the history are attributes of the error, for a notebook to go on with.

    Example:
        >>> import jax, optax, jaxviz as jv
        >>> inputs, labels = jv.data.moons(200, key=jax.random.key(0))
        >>> module = jv.models.MLP(features=(16, 2))
        >>> state = jv.train.create_state(module, inputs[:1], optimizer=optax.adam(0.03), key=jax.random.key(1))
        >>> state, history = jv.train.fit(
        ...     state, (inputs, labels), loss="softmax_cross_entropy", metrics=("accuracy",), epochs=20, progress=False
        ... )
        >>> history.epochs["accuracy"].shape, bool(history.epochs["accuracy"][-1] > 0.9)
        ((20,), True)
    """
    if isinstance(hooks, Hook):
        raise TypeError("fit: hooks must be several hooks, got one Hook; write [hook]")
    _check(state, epochs, log_every, checkpoint_every, steps_per_dispatch, early_stopping, writer, logdir)
    hooks = tuple(hooks)
    if hooks and writer is None and logdir is None:
        raise ValueError("fit: hooks need a writer or a logdir to write to")
    recipe = make_recipe("fit", loss, metrics, augment, hooks, check_finite)
    measured = evaluation.resolve("fit", loss, metrics)
    if key is not None:
        check_key("fit", key)
        state = replace(state, key=key)
    place = Placement(devices)
    source = _source(train_data, batch_size, state.key, shuffle, drop_remainder, place)
    if validation_data is not None:
        check_arrays("fit", "validation_data", validation_data)
    if early_stopping is not None:
        names = [name for name, _ in measured]
        early_stopping.check(dict.fromkeys(names + [f"val_{name}" for name in names if validation_data is not None]))
    with ExitStack() as stack:
        checkpoints = None if checkpoint_dir is None else stack.enter_context(Checkpoints(checkpoint_dir))
        state = copied(state)
        run = Run(state, source, recipe, epochs, place)
        saved = None
        if checkpoints is not None and checkpoints.latest_step is not None:
            if not resume:
                raise ValueError(
                    f"fit: resume=False, but {checkpoints.directory} has a checkpoint; delete it, or choose another folder"
                )
            saved = run.restore(checkpoints, early_stopping)
        if logdir is not None:
            from jaxviz.tensorboard import Writer  # only here, since it loads TensorBoard's protocol buffers

            writer = stack.enter_context(Writer(logdir, start_step=int(run.state.step)))
        most = _steps_per_dispatch(steps_per_dispatch, run.state, source, hooks)
        bar = Progress(epochs, source.per_epoch, shown=progress, console=console)
        held = validation_data is not None or early_stopping is not None
        run.recorder = Recorder(
            writer, log_every, bar, held=held, lag=1 if most > 1 else _LAG if source.resident else _LAG_SENT
        )
        if saved is not None:
            run.recorder.load(*saved)
        watcher = stack.enter_context(Watcher(writer, hooks)) if hooks else None
        note = "" if saved is None else f"resumed at step {int(run.state.step)}"
        try:
            run.train(watcher, most, validation_data, measured, early_stopping, checkpoints, checkpoint_every)
        except Fault as fault:
            row, before = fault.row, run.before(fault.row.step)
            layer, reason = find_fault(before, source.batch(row.payload), recipe)
            note = f"stopped: not finite at step {row.step}, first in {layer}"
            raise NonFiniteError(row.step, layer, reason, copied(before), run.history()) from None
        except KeyboardInterrupt as interrupt:
            note = "interrupted"
            run.interrupted(interrupt, checkpoints)
            raise
        finally:
            bar.close(note)
    if early_stopping is not None and early_stopping.restore_best and run.best is not None:
        return run.best, run.history()
    return run.state, run.history()


class Run:
    """What changes while a network is trained."""

    def __init__(self, state: State, source: Source, recipe: Recipe, epochs: int, place: Placement) -> None:
        self.state: State = place.replicated(state)
        self.source, self.recipe, self.epochs, self.place = source, recipe, epochs, place
        self.epoch = self.batch = 0  # where in the data the next step is
        self.patience, self.best, self.stopped = Patience(), None, False
        self.recorder: Recorder
        self._saved_at = time.perf_counter()
        self.watcher: Watcher | None = None

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
            self.state, report = self._dispatch(chunk, most)
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
        if not self.source.resident:
            return one(self.state, chunk[0].payload, self.recipe)
        data = self.source.data  # type: ignore[union-attr]
        if most == 1:
            if self.source.whole:
                return one(self.state, data, self.recipe)
            return gathered(self.state, data, self.place.split(chunk[0].payload), self.recipe)
        indices = None
        if not self.source.whole:
            indices = np.zeros((most, chunk[0].size), np.int32)
            indices[: len(chunk)] = [row.payload for row in chunk]
            indices = self.place.split(indices, axis=1)
        return many(self.state, data, indices, np.int32(len(chunk)), self.recipe, most)

    def _end_epoch(self, row: Row, validation_data: Any, measured: Any, early_stopping: EarlyStopping | None) -> None:
        values = {}
        if validation_data is not None:
            values = evaluation.means(self.state.model, evaluation.slices("fit", validation_data, None), measured)
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
        if any(leaf.is_deleted() for leaf in jax.tree.leaves(self.state)):
            return  # within the few instructions in which the old state is gone and the new one not yet here
        self.recorder.drain()
        if checkpoints is not None:
            self.save(checkpoints)
        interrupt.state, interrupt.history = self.state, self.history()  # type: ignore[attr-defined]

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


def _source(
    train_data: Any, batch_size: int | None, key: jax.Array, shuffle: bool, drop_remainder: bool, place: Placement
) -> Source:
    if isinstance(train_data, tuple):
        return Arrays(
            train_data, batch_size=batch_size, key=key, shuffle=shuffle, drop_remainder=drop_remainder, place=place
        )
    check_batch_size("fit", batch_size)
    if callable(train_data) or isinstance(train_data, Iterable):
        return Stream(train_data, key=key, place=place)
    raise TypeError(
        f"fit: train_data must be (inputs, targets), an iterable of such batches, or a function, got {type(train_data).__name__}"
    )


def _steps_per_dispatch(wanted: int | str, state: State, source: Source, hooks: Sequence[Hook]) -> int:
    if not source.resident:
        return 1
    if wanted != "auto":
        return int(wanted)
    leaves = jax.tree.leaves(state.params)
    if jax.default_backend() == "cpu" and any(leaf.ndim > 2 for leaf in leaves):
        return 1
    # A multiplication and an addition, forward and twice backward, per parameter and example; powers of 2, so that runs of
    # other lengths are the same program.
    work = 6 * sum(leaf.size for leaf in leaves) * source.batch_size  # type: ignore[union-attr]
    most = min(1e9 / max(work, 1), 128 if hooks else 1024)  # with hooks, the measurements of all steps are kept
    return 2 ** max(int(math.log2(max(most, 1))), 0)


def _check(
    state: Any,
    epochs: Any,
    log_every: Any,
    checkpoint_every: Any,
    steps_per_dispatch: Any,
    early_stopping: Any,
    writer: Any,
    logdir: Any,
) -> None:
    if not isinstance(state, State):
        raise TypeError(f"fit: state must be a train.State, as create_state returns it, got {type(state).__name__}")
    counts = {
        "epochs": epochs,
        "log_every": log_every,
        "checkpoint_every": checkpoint_every,
        "steps_per_dispatch": steps_per_dispatch,
    }
    for name, count in counts.items():
        if (count is None and name == "checkpoint_every") or (name == "steps_per_dispatch" and count == "auto"):
            continue
        if isinstance(count, bool) or not isinstance(count, int):
            also = " or 'auto'" if name == "steps_per_dispatch" else ""
            raise TypeError(f"fit: {name} must be an int{also}, got {count!r}")
        if count < 1:
            raise ValueError(f"fit: {name} must be at least 1, got {count}")
    if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
        raise TypeError(f"fit: early_stopping must be a train.EarlyStopping, got {type(early_stopping).__name__}")
    if writer is not None and logdir is not None:
        raise ValueError("fit: give a writer or a logdir, not both")
    if writer is not None and not hasattr(writer, "scalars"):
        raise TypeError(
            f"fit: writer must be a jaxviz.tensorboard.Writer, got {type(writer).__name__}; a folder is logdir"
        )

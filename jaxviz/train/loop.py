"""`fit`: the training loop."""

import math
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import jax
from rich.console import Console

from jaxviz.checks import check_count, check_flag, check_key, check_path, is_traced
from jaxviz.train import evaluation
from jaxviz.train.checkpoint import Checkpoints, check_folder
from jaxviz.train.devices import Placement
from jaxviz.train.examples import check_batch_size, check_batches, check_pair
from jaxviz.train.faults import NonFiniteError, find_fault
from jaxviz.train.history import Fault, History, Recorder
from jaxviz.train.losses import Loss
from jaxviz.train.metrics import Metrics
from jaxviz.train.progress import Progress
from jaxviz.train.run import Run
from jaxviz.train.source import Arrays, Source, Stream
from jaxviz.train.state import State, copied
from jaxviz.train.step import Augmentation, make_recipe
from jaxviz.train.stopping import EarlyStopping
from jaxviz.watch import Hook, Watcher
from jaxviz.watch.measurement import check_hooks

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
    _check_kinds(state, early_stopping, writer, logdir, console)
    for name, count in (("epochs", epochs), ("log_every", log_every), ("checkpoint_every", checkpoint_every)):
        if count is not None or name != "checkpoint_every":
            check_count("fit", name, count)
    if checkpoint_every is not None and checkpoint_dir is None:
        raise ValueError("fit: checkpoint_every is given, but no checkpoint_dir to save to")
    if isinstance(steps_per_dispatch, str) and steps_per_dispatch != "auto":
        raise TypeError(f"fit: steps_per_dispatch must be an int or 'auto', got {steps_per_dispatch!r}")
    if steps_per_dispatch != "auto":
        check_count("fit", "steps_per_dispatch", steps_per_dispatch)
    flags = {"shuffle": shuffle, "drop_remainder": drop_remainder, "resume": resume, "progress": progress}
    for name, flag in flags.items():
        check_flag("fit", name, flag)
    hooks = check_hooks("fit", hooks)
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
        check_pair("fit", "validation_data", validation_data)
        evaluation.check("fit", "validation_data", state.model, validation_data, measured)
    if early_stopping is not None:
        names = [name for name, _ in measured]
        early_stopping.check(dict.fromkeys(names + [f"val_{name}" for name in names if validation_data is not None]))
    with ExitStack() as stack:
        checkpoints = None
        if checkpoint_dir is not None:
            checkpoints = stack.enter_context(Checkpoints(check_folder("fit", "checkpoint_dir", checkpoint_dir)))
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
        watcher = stack.enter_context(Watcher(writer, hooks)) if hooks and not run.ended else None
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


def _source(
    train_data: Any, batch_size: int | None, key: jax.Array, shuffle: bool, drop_remainder: bool, place: Placement
) -> Source:
    check_batch_size("fit", batch_size)
    if isinstance(train_data, tuple):
        check_pair("fit", "train_data", train_data)
        return Arrays(
            train_data, batch_size=batch_size, key=key, shuffle=shuffle, drop_remainder=drop_remainder, place=place
        )
    check_batches("fit", "train_data", train_data)
    return Stream(train_data, key=key, place=place)


def _steps_per_dispatch(wanted: int | str, state: State, source: Source, hooks: Sequence[Hook]) -> int:
    if not isinstance(source, Arrays) or not source.resident:
        return 1
    if wanted != "auto":
        return int(wanted)
    leaves = jax.tree.leaves(state.params)
    if jax.default_backend() == "cpu" and any(leaf.ndim > 2 for leaf in leaves):
        return 1
    # A multiplication and an addition, forward and twice backward, per parameter and example; powers of 2, so that runs of
    # other lengths are the same program.
    work = 6 * sum(leaf.size for leaf in leaves) * source.batch_size
    most = min(1e9 / max(work, 1), 128 if hooks else 1024)  # with hooks, the measurements of all steps are kept
    return 2 ** max(int(math.log2(max(most, 1))), 0)


def _check_kinds(state: Any, early_stopping: Any, writer: Any, logdir: Any, console: Any) -> None:
    if not isinstance(state, State):
        raise TypeError(f"fit: state must be a train.State, as create_state returns it, got {type(state).__name__}")
    if any(map(is_traced, jax.tree.leaves(state))):
        raise TypeError(
            "fit: state is traced; fit is a loop on the host, so call it outside of jax.jit "
            "(train.make_step and a Model itself may be called inside)"
        )
    if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
        raise TypeError(f"fit: early_stopping must be a train.EarlyStopping, got {type(early_stopping).__name__}")
    if writer is not None and logdir is not None:
        raise ValueError("fit: give a writer or a logdir, not both")
    if writer is not None and not hasattr(writer, "scalars"):
        raise TypeError(
            f"fit: writer must be a jaxviz.tensorboard.Writer, got {type(writer).__name__}; a folder is logdir"
        )
    if logdir is not None:
        check_path("fit", "logdir", logdir)
    if console is not None and not isinstance(console, Console):
        raise TypeError(f"fit: console must be a rich.console.Console, got {type(console).__name__}")

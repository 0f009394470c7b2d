"""Reading a log directory back."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.hparams import api_pb2

from jaxviz.checks import check_path
from jaxviz.tensorboard import hparams, layout, projector
from jaxviz.tensorboard.log import Log, Run, Series
from jaxviz.tensorboard.record import records

_KINDS = {"scalars": "scalar", "histograms": "histogram", "images": "image", "pr_curves": "pr_curve"}
_STATUS = {api_pb2.STATUS_SUCCESS: "success", api_pb2.STATUS_FAILURE: "failure"}


def read(logdir: str | os.PathLike[str]) -> Log:
    """Reads what was logged under a directory, as arrays.

    Every directory with event files, or with points of the projector, is a run, named by its path below `logdir` (the directory
    itself is "."), as TensorBoard names it. The event files of a run are merged: what a resumed run logged again supersedes what
    stood there before. A record cut short (by a killed process) ends its file silently; a damaged one with a warning.
    Logs of other writers (Keras, PyTorch, tensorboardX) are read too.

    Args:
        logdir: a run's directory, or one above several.

    Returns:
        A mapping of run names to runs, each a mapping of tags to `Series` with `steps`, `wall_times` and `values`. Where there is
        one run only, the log itself can be asked for its tags. A run has `hparams`, `status`, `embeddings` and `layout`
        besides.

    Raises:
        TypeError, ValueError: `logdir` is no path.
        FileNotFoundError: there is no directory `logdir`, or no log in it.

    Example:
        >>> import tempfile
        >>> from jaxviz.tensorboard import Writer, read
        >>> logdir = tempfile.mkdtemp()
        >>> with Writer(logdir) as writer:
        ...     for step in range(3):
        ...         writer.scalar("loss", 1 / (step + 1), step)
        >>> read(logdir)["loss"].values
        array([1.        , 0.5       , 0.33333334], dtype=float32)
        >>> read(logdir)["."]["loss"].steps
        array([0, 1, 2])
    """
    root = check_path("read", "logdir", logdir)
    if not root.is_dir():
        raise FileNotFoundError(f"read: there is no directory {root}")
    runs = {}
    for folder, _, names in sorted(os.walk(root, followlinks=True)):
        files = sorted(Path(folder, name) for name in names if "tfevents" in name)
        if files or projector.CONFIG in names:
            name = Path(folder).relative_to(root).as_posix()
            runs[name] = _run(name, Path(folder), files)
    if not runs:
        raise FileNotFoundError(f"read: {root} holds no log: no event files (events.out.tfevents...) in it or below it")
    return Log(runs)


_Point = tuple[int, float, TensorProto]


def _run(name: str, folder: Path, files: list[Path]) -> Run:
    points: dict[str, list[_Point]] = {}
    plugins: dict[str, str] = {}
    run = Run(name, {}, embeddings=projector.read(folder))
    status = None
    for event in _events(files):
        if event.session_log.status == SessionLog.START:
            points = {tag: [point for point in found if point[0] < event.step] for tag, found in points.items()}
        for value in event.summary.value:
            plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
            if value.tag == hparams.START_TAG:
                started = hparams.parse(value.metadata.plugin_data.content).session_start_info
                run.hparams.update(
                    {key: getattr(each, each.WhichOneof("kind")) for key, each in started.hparams.items()}
                )
                status = None
            elif value.tag == hparams.END_TAG:
                status = _STATUS.get(hparams.parse(value.metadata.plugin_data.content).session_end_info.status)
            elif plugin == "hparams":
                continue
            elif plugin == "custom_scalars":
                run.layout.update(layout.parse(value.tensor.string_val[0]))
            elif value.HasField("tensor"):
                points.setdefault(value.tag, []).append((event.step, event.wall_time, value.tensor))
    run.series.update({tag: _series(plugins[tag], found) for tag, found in points.items() if found})
    return Run(name, run.series, run.hparams, status, run.embeddings, run.layout)


def _series(plugin: str, points: list[_Point]) -> Series:
    steps, wall_times, tensors = zip(*points, strict=True)
    return Series(_KINDS.get(plugin, plugin), np.array(steps, np.int64), np.array(wall_times), list(tensors))


def _events(files: list[Path]) -> Iterator[Event]:
    for path in files:
        for data in records(path):
            event = Event.FromString(data)
            values = [_modern(value) for value in event.summary.value]
            if any(new is not old for new, old in zip(values, event.summary.value, strict=True)):
                event = Event(wall_time=event.wall_time, step=event.step, summary=Summary(value=values))
            yield event


def _modern(value: Summary.Value) -> Summary.Value:
    """Returns a value in the form of today; PyTorch and tensorboardX write that of TensorFlow 1."""
    if value.WhichOneof("value") in ("simple_value", "histo", "image", "audio"):
        from tensorboard import data_compat  # here, since it takes longer to import than all the rest

        return data_compat.migrate_value(value)
    return value

"""The writer of a run's log."""

import os
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from jaxviz.checks import check_path, check_text, given
from jaxviz.tensorboard import checks, hparams, layout, pictures, projector, summaries
from jaxviz.tensorboard.event_file import EventFile
from jaxviz.tensorboard.summaries import Entry


class Writer:
    """Writes one run's log for TensorBoard, without TensorFlow.

    Every call appends one record with one system call: what was logged can be read at once, and stays when the process is killed.
    Calls may come from several threads. A tag holds one kind of value. Values are NumPy's, JAX's (any device, bfloat16 too) or
    Python's. Use one writer per run directory: of several hosts, let one write, or give each a directory.

    Args:
        logdir: the run's directory on a local or mounted disk; made if it does not exist. TensorBoard, opened one directory
            above, shows runs side by side.
        start_step: the first step that this writer will log. Steps from here on that earlier writers logged in the same directory
            are superseded, so that a resumed run continues its curves without a zigzag: pass the step that it resumes at. The
            default, 0, starts anew. None supersedes nothing, to add to a run that has ended.

    Raises:
        TypeError, ValueError: a bad `logdir` or `start_step`.
        OSError: the directory cannot be made or written. Every method that logs raises it too where the disk is full; what was
            logged before stays readable, and logging goes on once there is room.

    Example:
        >>> import tempfile, numpy as np
        >>> with Writer(tempfile.mkdtemp()) as writer:
        ...     for step in range(100):
        ...         writer.scalar("loss", 1 / (step + 1), step)
        ...     writer.histogram("weights", np.linspace(-1, 1, 1000), step)
    """

    def __init__(self, logdir: str | os.PathLike[str], *, start_step: int | None = 0) -> None:
        self.logdir = check_path("Writer", "logdir", logdir)
        first = None if start_step is None else checks.check_step("Writer", start_step, "start_step")
        self._step = first or 0
        self._file = EventFile(self.logdir, start_step=first)
        self._plugins: dict[str, str] = {}  # of the tags whose metadata are in the file
        self._finalizer = weakref.finalize(self, self._file.close)  # a writer that nobody closed: at the program's exit

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Logs one number, a point of a curve. NaN and inf are logged as they are.

        Args:
            tag: the curve's name; tags that agree up to a "/" stand together.
            value: a number, or an array of shape ().
            step: an integer of at least 0.
        """
        self._log([summaries.scalar("Writer.scalar", tag, value)], step, "Writer.scalar")

    def scalars(self, values: Mapping[str, Any], step: int) -> None:
        """Logs several numbers of one step, each under its own tag, as one record: all of them or none.

        Args:
            values: tag -> number.
            step: an integer of at least 0.
        """
        self._log(summaries.scalars("Writer.scalars", values), step, "Writer.scalars")

    def histogram(self, tag: str, values: Any, step: int, *, bins: int = 64) -> None:
        """Logs the distribution of values: their counts in bins of equal width from the least to the greatest.

        Only finite values (of float32) are binned; where there are others, the scalars `tag/nan` and `tag/inf` count them.

        Args:
            tag: the name.
            values: an array of any shape, not empty.
            step: an integer of at least 0.
            bins: the number of bins; TensorBoard shows about 50.
        """
        self._log(summaries.histogram("Writer.histogram", tag, values, bins), step, "Writer.histogram")

    def histogram_counts(self, tag: str, counts: Any, edges: Any, step: int) -> None:
        """Logs a distribution that was counted elsewhere, such as on the device.

        Args:
            tag: the name.
            counts: `(k,)`, at least 0.
            edges: `(k + 1,)`, finite and not decreasing; bin i reaches from `edges[i]` to `edges[i + 1]`. If all are equal, the
                range is widened a little.
            step: an integer of at least 0.
        """
        where = "Writer.histogram_counts"
        self._log([summaries.histogram_counts(where, tag, counts, edges)], step, where)

    def histograms(self, tables: Mapping[str, tuple[Any, Any]], step: int) -> None:
        """Logs several histograms that were counted already, in one event.

        Args:
            tables: tag -> counts and edges, as for `histogram_counts`.
            step: an integer of at least 0.
        """
        self._log(summaries.histograms("Writer.histograms", tables), step, "Writer.histograms")

    def image(self, tag: str, image: Any, step: int) -> None:
        """Logs one image, or several of one size side by side.

        Pixels that are NaN or inf are yellow, and the scalars `tag/nan` and `tag/inf` count the values. TensorBoard keeps 10
        random steps of a tag: `jaxviz tensorboard` (or `--samples_per_plugin images=1000`) shows all.

        Args:
            tag: the name.
            image: `(H, W)`, `(H, W, C)` or `(N, H, W, C)`, with C 1 (gray), 3 (RGB) or 4 (RGBA); uint8, bool, or float in [0, 1].
            step: an integer of at least 0.
        """
        self._log(summaries.image("Writer.image", tag, image), step, "Writer.image")

    def figure(self, tag: str, figure: Any, step: int, *, close: bool = True) -> None:
        """Logs a matplotlib figure as an image.

        Args:
            tag: the name.
            figure: a `matplotlib.figure.Figure`.
            step: an integer of at least 0.
            close: whether to close the figure, so that figures do not pile up in memory.
        """
        checks.check_tag("Writer.figure", tag)
        step = checks.check_step("Writer.figure", step)
        self._log([summaries.pngs(tag, [pictures.render("Writer.figure", figure)])], step, "Writer.figure")
        if close and "matplotlib.pyplot" in sys.modules:  # pyplot alone keeps figures
            sys.modules["matplotlib.pyplot"].close(figure)

    def text(self, tag: str, markdown: str | Sequence[str], step: int) -> None:
        """Logs text.

        Args:
            tag: the name.
            markdown: markdown (tables and code are shown as such), or several such texts.
            step: an integer of at least 0.
        """
        self._log([summaries.text("Writer.text", tag, markdown)], step, "Writer.text")

    def audio(self, tag: str, samples: Any, step: int, *, sample_rate: int) -> None:
        """Logs one sound, or several of one length.

        Args:
            tag: the name.
            samples: `(frames,)`, `(frames, channels)` or `(clips, frames, channels)`; float in [-1, 1] or int16.
            step: an integer of at least 0.
            sample_rate: frames per second.
        """
        self._log([summaries.audio("Writer.audio", tag, samples, sample_rate)], step, "Writer.audio")

    def pr_curve(self, tag: str, labels: Any, scores: Any, step: int, *, thresholds: int = 127) -> None:
        """Logs the precision-recall curve of a binary classifier.

        An example is predicted positive at a threshold t where its score is at least t. Where nothing is, precision is 0.

        Args:
            tag: the name.
            labels: any shape; bool, or 0 and 1.
            scores: of the same size; probabilities in [0, 1].
            step: an integer of at least 0.
            thresholds: how many, at equal distances from 0 to 1.
        """
        self._log([summaries.pr_curve("Writer.pr_curve", tag, labels, scores, thresholds)], step, "Writer.pr_curve")

    def hparams(
        self,
        values: Mapping[str, Any],
        metrics: Mapping[str, Any] | Sequence[str] = (),
        *,
        step: int | None = None,
        group: str = "",
    ) -> None:
        """Logs the run's hyperparameters, once, best at its start: the HParams dashboard compares runs by them.

        The run's end, and whether it failed, is logged by `close`, or when the `with` block ends.
        Of a run that is resumed in its directory, TensorBoard shows the hyperparameters and the end that were logged first there;
        `read` gives the last ones.

        Args:
            values: name -> bool, number, string, None, list or tuple.
            metrics: the tags of the scalars whose last values the dashboard shall show as results, the same in all runs; or a
                mapping of tags to numbers, which are logged too, for a run without curves. By default all scalars are shown.
            step: the step of numbers in `metrics`; by default the writer's first.
            group: runs of the same group (such as seeds) are shown as one.
        """
        where = "Writer.hparams"
        if hparams.START_TAG in self._plugins:
            raise ValueError(
                f"{where}: the hyperparameters of {self.logdir} were logged already; another run wants its own Writer"
            )
        check_text(where, "group", group)
        start = hparams.start(where, values, group)
        if isinstance(metrics, str) or not isinstance(metrics, (Mapping, Sequence)):
            raise TypeError(
                f"{where}: metrics must be a list of tags or a mapping of tags to numbers, got {given(metrics)}"
            )
        for tag in metrics:
            checks.check_tag(where, tag)
        found = summaries.scalars(where, metrics) if isinstance(metrics, Mapping) else []
        at = self._step if step is None else checks.check_step(where, step)
        self._log([start, hparams.experiment(start, metrics)] if metrics else [start], self._step, where)
        if found:
            self._log(found, at, where)

    def embedding(self, tag: str, vectors: Any, *, metadata: Any = None, images: Any = None) -> None:
        """Writes points for the Projector dashboard, which shows them by PCA, t-SNE or UMAP.

        The projector knows no steps: a tag's points replace the earlier ones.

        Args:
            tag: the name.
            vectors: `(n, dimensions)`, finite.
            metadata: n labels, or a mapping of column names to n labels each.
            images: `(n, H, W)` or `(n, H, W, C)`, as in `image`: the picture of each point, best 64 pixels or smaller.
        """
        self._file.check_open()
        projector.write("Writer.embedding", self.logdir, tag, vectors, metadata, images)

    def layout(self, categories: Mapping[str, Mapping[str, Any]]) -> None:
        """Logs which curves share a chart in the Custom Scalars dashboard.

        Args:
            categories: category -> chart -> tags. The tags of a chart are a list of strings, exact tags, or of compiled regular
                expressions; or a mapping of "value", "lower" and "upper" to one tag each, for a curve with a margin.

        Example:
            >>> import tempfile
            >>> with Writer(tempfile.mkdtemp()) as writer:
            ...     writer.layout({"training": {"losses": ["train/loss", "validation/loss"]}})
        """
        self._log([layout.entry("Writer.layout", categories)], self._step, "Writer.layout")

    def flush(self) -> None:
        """Waits until all that was logged is on the disk, safe from a crash of the machine too."""
        self._file.flush()

    def close(self) -> None:
        """Logs the end of the run where it has hyperparameters, flushes and closes. Closing again does nothing."""
        self._close(success=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(success=kind is None)

    def __repr__(self) -> str:
        return f"Writer({os.fspath(self.logdir)!r}{', closed' if self._file.closed else ''})"

    def _close(self, *, success: bool) -> None:
        try:
            if hparams.START_TAG in self._plugins and self._file.writable:
                self._log([hparams.end(success=success)], self._step, "Writer.close")
        finally:
            self._finalizer()  # closes the file, once

    def _log(self, entries: list[Entry], step: Any, where: str) -> None:
        number = checks.check_step(where, step)
        summary = Summary()
        new = {}
        for tag, tensor, metadata in entries:
            plugin = metadata.plugin_data.plugin_name
            known = self._plugins.get(tag)
            if known is None:
                summary.value.add(tag=tag, tensor=tensor, metadata=metadata)
                new[tag] = plugin
            elif known == plugin:
                summary.value.add(tag=tag, tensor=tensor)
            else:
                raise ValueError(
                    f"{where}: tag {tag!r} holds {known} already; a tag holds one kind of value, choose another"
                )
        self._file.append(Event(wall_time=time.time(), step=number, summary=summary))
        self._plugins.update(new)  # after the write: a thread that sees the tag here finds its metadata in the file

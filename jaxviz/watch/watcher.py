"""The watcher: measures inside the user's compiled step, and writes on the host, later."""

import functools
import operator
import os
import warnings
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.checks import check_count, given
from jaxviz.model import Model, check_model
from jaxviz.watch.hook import Hook, StepView
from jaxviz.watch.measurement import check_hooks, measure
from jaxviz.watch.packed import Packed

_WAITING = 8  # reports; more than these are not kept on the device, the oldest is waited for


class _Report(NamedTuple):
    step: int
    packed: Packed
    part: int | None  # among the steps of one dispatch


class Watcher:
    """Hooks and the writer that they write to. A context manager; `close` writes what is left.

    Three lines in a training loop of any kind:

        def train_step(state, batch):                                  # jitted by the user
            ...
            measured = watcher.measure(StepView(state.step, params=state.params, grads=grads, updates=updates))
            return new_state, measured

        with Watcher(writer, [weights(every=100), gradients(every=100)]) as watcher:
            for step, batch in enumerate(batches):
                state, measured = train_step(state, batch)
                watcher.record(step, measured)

    Hooks that look at the model itself (activations, saliency, input gradients) are best measured by `probe`, before the
    step: `watcher.probe(step, model)`. They can also be measured inside the step, where the StepView has a `model`; but on
    CPU, XLA runs a convolution inside a conditional up to ten times slower.

    Args:
        writer: a `jaxviz.tensorboard.Writer`, or any object with the methods that the hooks call. It is flushed, and stays
            open, when the watcher is closed.
        hooks: the hooks; their names must differ.

    Raises:
        TypeError: if a hook is not a `Hook`, or writer is none.
        ValueError: if two hooks have one name.
    """

    def __init__(self, writer: Any, hooks: Iterable[Hook]) -> None:
        if isinstance(writer, str | os.PathLike) or not hasattr(writer, "flush"):
            hint = "; open one with tensorboard.Writer(folder)" if isinstance(writer, str | os.PathLike) else ""
            raise TypeError(f"Watcher: writer must be a jaxviz.tensorboard.Writer, got {given(writer)}{hint}")
        self.writer = writer
        self.hooks = check_hooks("Watcher", hooks)
        self._by_name = {hook.name: hook for hook in self.hooks}
        self._unseen = set(self._by_name)
        self._met: set[str] | None = None  # the hooks that were due at a recorded step; None before there is one
        self._waiting: deque[_Report] = deque()
        self._failed = self._closed = False

    # -- on the device -------------------------------------------------------------------------------------------------

    def measure(self, view: StepView) -> dict[str, Packed]:
        """Measures what is due at the view's step. Pure: for use inside the user's jitted step.

        Each hook is computed under `jax.lax.cond`, only at the steps that its `every` divides; at other
        steps its result is zeros.

        Args:
            view: the step's values. Hooks on the model are left out where it has no `model`; they are for `probe`.

        Returns:
            Small arrays, to be returned from the step and given to `record`.

        Raises:
            TypeError: if view is not a `StepView`, or its step not an int.
            ValueError: if a hook needs what the view does not have.
        """
        return measure(self.hooks, view, function="Watcher.measure")

    def due(self, step: int, *, steps: int = 1) -> bool:
        """Whether `probe` has something to measure in the steps from `step` to `step + steps - 1`."""
        return bool(self._due(self._step("Watcher.due", step), check_count("Watcher.due", "steps", steps)))

    def probe(self, step: int, model: Model, *, steps: int = 1) -> None:
        """Measures the hooks on the model, where they are due, in a compiled call of their own. Does not wait for it.

        To be called before the step, while the model's parameters are still there to be read.

        Args:
            step: how many updates the model has seen.
            model: the model, in evaluation mode.
            steps: where the loop does several steps per dispatch, how many: a hook that is due at any of them is measured now.
        """
        step = self._step("Watcher.probe", step)
        hooks = self._due(step, check_count("Watcher.probe", "steps", steps))
        if not hooks:
            return
        check_model("Watcher.probe", model)
        self._enqueue(step, _probed(jnp.asarray(step, jnp.int32), model, hooks), None)

    def _due(self, step: int, steps: int) -> tuple[Hook, ...]:
        return tuple(hook for hook in self.hooks if hook.probe and -(-step // hook.every) * hook.every < step + steps)

    # -- on the host ---------------------------------------------------------------------------------------------------

    def record(self, step: int, measured: dict[str, Packed]) -> None:
        """Takes what `measure` returned at a step, starts its way to the host, and writes earlier reports that have arrived.

        Never waits for the step in progress.

        Args:
            step: the step, counted by the loop: a Python int. (Reading it from the device would wait for the device.)
            measured: what `measure` returned at it.

        Raises:
            TypeError: if step is not a Python int.
            ValueError: if measured is of another step; after `close`.
            Exception: what the writer or a computation raised, once; later reports are still tried, in silence.
        """
        self._record("Watcher.record", step, measured, None)

    def record_many(self, first_step: int, measured: dict[str, Packed], n: int) -> None:
        """Takes what `measure` returned at n steps of one dispatch, stacked along axis 0 as `jax.lax.scan` does; see `record`."""
        for index in range(check_count("Watcher.record_many", "n", n)):
            self._record("Watcher.record_many", first_step + index, measured, index)

    def _record(self, function: str, step: int, measured: dict[str, Packed], index: int | None) -> None:
        step = self._step(function, step)
        if not isinstance(measured, dict) or not all(isinstance(packed, Packed) for packed in measured.values()):
            raise TypeError(
                f"{function}: measured must be what Watcher.measure returned, got {type(measured).__name__}"
            )
        self._met = self._met or set()
        self._met.update(hook.name for hook in self.hooks if step % hook.every == 0)
        for key, packed in measured.items():
            if step % int(key.removeprefix("every_")) == 0:
                self._enqueue(step, packed, index)
        self._write_arrived()

    def _step(self, function: str, step: Any) -> int:
        if self._closed:
            raise ValueError(f"{function}: the watcher is closed")
        if isinstance(step, bool | jax.Array):
            raise TypeError(f"{function}: step must be a Python int counted by the loop, got {type(step).__name__}")
        try:
            return operator.index(step)
        except TypeError:
            raise TypeError(f"{function}: step must be a Python int, got {type(step).__name__}") from None

    def _enqueue(self, step: int, packed: Packed, index: int | None) -> None:
        if any(isinstance(array, jax.core.Tracer) for array in packed.arrays):
            raise TypeError(
                "Watcher.record: measured is traced; call record outside of jax.jit, with what the step returned"
            )
        for array in packed.arrays:
            array.copy_to_host_async()
        self._waiting.append(_Report(step, packed, index))

    def _write_arrived(self) -> None:
        """Writes, from the oldest on, the reports that are there, but not those of the newest step."""
        newest = self._waiting[-1].step if self._waiting else 0
        while self._waiting and self._waiting[0].step != newest:
            ready = all(array.is_ready() for array in self._waiting[0].packed.arrays)
            if not ready and len({report.step for report in self._waiting}) <= _WAITING:
                return
            self._write(self._waiting.popleft())

    def _write(self, report: _Report) -> None:
        try:
            arrays = tuple(np.asarray(array) for array in report.packed.arrays)
            if report.part is not None:
                arrays = tuple(array[report.part] for array in arrays)
            count, values = report.packed.unpack(arrays)
            if int(count) - 1 != report.step:
                other = f"step {int(count) - 1}" if count else "a step that is not due"
                raise ValueError(
                    f"Watcher.record: step is {report.step}, but what is recorded was measured at {other}; "
                    "record must be given the step that the StepView was given"
                )
            for name, value in values.items():
                self._unseen.discard(name)
                self._by_name[name].write(self.writer, report.step, value)
        except Exception:
            if not self._failed:
                self._failed = True
                raise

    def drain(self) -> None:
        """Waits for all that was measured, and writes it: before a checkpoint, so that a resumed log has no hole."""
        while self._waiting:
            self._write(self._waiting.popleft())

    def close(self) -> None:
        """Writes all that is left and flushes the writer. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        error: Exception | None = None
        while self._waiting:
            try:
                self._write(self._waiting.popleft())
            except Exception as raised:
                error = raised
        try:
            self.writer.flush()
        except Exception as raised:
            if not self._failed:
                self._failed, error = True, raised
        if error is not None:
            raise error

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception as raised:
            if error is None:
                raise
            error.add_note(f"While the watcher wrote what was left: {type(raised).__name__}: {raised}")
        missed = self._unseen if self._met is None else self._unseen & self._met
        if error is None and missed:
            warnings.warn(
                f"Watcher: nothing was measured by {', '.join(sorted(missed))}; hooks on the model need "
                "Watcher.probe(step, model) or a StepView with model=",
                stacklevel=2,
            )


@functools.partial(jax.jit, static_argnames="hooks")  # here, so that another watcher of the same hooks compiles nothing
def _probed(step: jax.Array, model: Model, hooks: tuple[Hook, ...]) -> Packed:
    view = StepView(step, model=model)
    return Packed.of((step + 1, {hook.name: hook.measure(view) for hook in hooks}))

"""What `read` returns: runs, each with its series."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from tensorboard.compat.proto.tensor_pb2 import TensorProto

from jaxviz.tensorboard import pictures, sounds
from jaxviz.tensorboard.projector import Embedding
from jaxviz.tensorboard.tensors import as_array


class Audio(NamedTuple):
    """Sounds of one step: `samples` `(clips, frames, channels)` float32 in [-1, 1], and the `sample_rate` in Hz."""

    samples: np.ndarray
    sample_rate: int


@dataclass(frozen=True, eq=False)
class Series:
    """All that was logged under one tag of a run, in the order of writing.

    Attributes:
        kind: "scalar", "histogram", "image", "text", "audio", "pr_curve", or the name of another plugin.
        steps: `(n,)` int64.
        wall_times: `(n,)` float64, seconds since 1970.
        values: one value per step. Of scalars an array `(n,)` float32; of the others a list, decoded when first asked for:

            - histogram: `(k, 3)` float32: left edge, right edge, count
            - image: `(N, H, W, C)` uint8
            - text: a string, or a list of strings where several were logged
            - audio: `Audio`
            - pr_curve: `(6, n)` float32: true and false positives, true and false negatives, precision, recall
    """

    kind: str
    steps: np.ndarray
    wall_times: np.ndarray
    _tensors: list[TensorProto] = field(repr=False)

    @cached_property
    def values(self) -> Any:  # an array or a list, see the class
        """What was logged, one value per step."""
        if self.kind == "scalar":
            return np.array([as_array(tensor) for tensor in self._tensors], np.float32).reshape(len(self))
        decode = {"image": _images, "text": _text, "audio": _audio}.get(self.kind, as_array)
        return [decode(tensor) for tensor in self._tensors]

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        last = f", last step {self.steps[-1]}" if len(self) else ""
        return f"Series({self.kind}, {len(self)} {'step' if len(self) == 1 else 'steps'}{last})"


@dataclass(frozen=True, eq=False)
class Run(Mapping[str, Series]):
    """One run: a mapping of tags to series.

    Attributes:
        name: the run's directory relative to the log's, "." for the log directory itself.
        series: tag -> series.
        hparams: the run's hyperparameters.
        status: how the run ended: "success", "failure", or None where it said nothing (no hparams, or killed, or still running).
        embeddings: tag -> points of the projector.
        layout: the layout of the custom scalars, category -> chart -> tags.
    """

    name: str
    series: dict[str, Series]
    hparams: dict[str, bool | float | str] = field(default_factory=dict)
    status: str | None = None
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    layout: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __getitem__(self, tag: str) -> Series:
        if tag not in self.series:
            raise KeyError(f"run {self.name!r} has no tag {tag!r}; {_nearest(tag, self.series)}")
        return self.series[tag]

    def __iter__(self) -> Iterator[str]:
        return iter(self.series)

    def __len__(self) -> int:
        return len(self.series)

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.series!r})"


class Log(Mapping[str, Any]):
    """A log directory: a mapping of run names to runs. Where there is one run only, its tags can be asked for directly.

    Args:
        runs: run name -> `Run`, as `read` finds them.
    """

    def __init__(self, runs: Mapping[str, Run]) -> None:
        self._runs = dict(runs)

    def __getitem__(self, name: str) -> Any:  # a Run, or with one run a Series
        if name in self._runs:
            return self._runs[name]
        if len(self._runs) == 1:
            return next(iter(self._runs.values()))[name]
        raise KeyError(f"the log has no run {name!r}; {_nearest(name, self._runs)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __contains__(self, name: object) -> bool:
        return name in self._runs or (len(self._runs) == 1 and name in next(iter(self._runs.values())))

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        lines = [f"  {name}: {len(run)} {'tag' if len(run) == 1 else 'tags'}" for name, run in self._runs.items()]
        return "\n".join([f"Log of {len(self)} {'run' if len(self) == 1 else 'runs'}", *lines])


def _nearest(name: object, names: Mapping[str, Any]) -> str:
    if not names:
        return "it is empty"
    near = difflib.get_close_matches(str(name), names, n=5, cutoff=0.5) or list(names)[:8]
    return f"nearest of {len(names)}: {', '.join(map(repr, near))}"


def _images(tensor: TensorProto) -> np.ndarray:
    return np.stack([pictures.decode(encoded) for encoded in tensor.string_val[2:]])


def _text(tensor: TensorProto) -> str | list[str]:
    parts = [part.decode() for part in tensor.string_val]
    return parts[0] if len(parts) == 1 else parts


def _audio(tensor: TensorProto) -> Audio:
    width = 2 if len(tensor.tensor_shape.dim) > 1 else 1  # other writers put a label beside each clip
    clips, rates = zip(*(sounds.decode(clip) for clip in tensor.string_val[::width]), strict=True)
    return Audio(np.stack(clips), rates[0])

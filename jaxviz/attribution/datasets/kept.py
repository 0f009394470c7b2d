"""The attributions of all examples, where they are kept: in memory, or in files beside the record of the pass."""

import glob
import io
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxviz.attribution.datasets.disk import writing
from jaxviz.attribution.datasets.state import State


class Kept:
    """All attributions, in memory, or in `.npy` files beside the record, which are then shown as arrays without being read.

    Args:
        path: the record's file, or None.
        state: where the pass goes on from. What the files have beyond it is cut off.
    """

    def __init__(self, path: Any, state: State) -> None:
        self._path = None if path is None else Path(path).absolute()
        self._parts: list[list[np.ndarray]] = []
        if self._path is not None and state.batches:
            for number, (dtype, shape) in enumerate(state.leaves):
                self._cut(self._file(number), dtype, (state.examples, *shape))

    def add(self, leaves: list[np.ndarray]) -> None:
        """Adds the attributions of a batch; on the disk they are behind the end until `State.examples` says so."""
        if self._path is None:
            self._parts.append(leaves)
            return
        for number, leaf in enumerate(leaves):
            file = self._file(number)
            with writing(file):
                if not file.exists():
                    file.write_bytes(_header(leaf.dtype, (0, *leaf.shape[1:])))
                with file.open("ab") as end:
                    end.write(np.ascontiguousarray(leaf).tobytes())

    def sync(self, state: State) -> None:
        """Makes sure that the attributions of a state are on the disk, before it is itself."""
        for number, (dtype, shape) in enumerate(state.leaves if self._path is not None else ()):
            with writing(self._file(number)), self._file(number).open("r+b") as file:
                file.write(_header(np.dtype(dtype), (state.examples, *shape)))
                file.flush()
                os.fsync(file.fileno())

    def arrays(self, state: State) -> list[np.ndarray]:
        """The attributions of all examples of a state."""
        if self._path is None:
            return [np.concatenate(parts) for parts in zip(*self._parts, strict=True)]
        found: list[np.ndarray] = []
        for number, (name, shape) in enumerate(state.leaves):
            dtype, whole = np.dtype(name), (state.examples, *shape)
            offset = len(_header(dtype, whole))
            found.append(np.memmap(self._file(number), dtype, mode="r", offset=offset, shape=whole))
        return found

    def begin(self) -> None:
        """Takes away what another pass left there."""
        if self._path is not None:
            for file in self._path.parent.glob(f"{glob.escape(self._path.name)}.*.npy"):
                # A data set's `run.train.npy` beside the record `run` is not of the pass.
                if re.fullmatch("[0-9]+", file.name[len(self._path.name) + 1 : -len(".npy")]):
                    file.unlink()

    def _file(self, number: int) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.name}.{number}.npy")

    @staticmethod
    def _cut(file: Path, name: str, shape: tuple[int, ...]) -> None:
        dtype = np.dtype(name)
        size = len(_header(dtype, shape)) + math.prod(shape) * dtype.itemsize
        there = file.stat().st_size if file.exists() else 0
        if there < size:
            raise ValueError(
                f"explain_dataset: {file}, the attributions kept so far, has {there} bytes in place of {size}; delete the file "
                "given as path to begin anew"
            )
        os.truncate(file, size)


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """The beginning of a `.npy` file: of one length, however long axis 0 is."""
    text = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(text, header)
    return text.getvalue()

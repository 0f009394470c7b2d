"""The file that a pass over a data set goes on from after its process was killed: whole at any moment."""

import errno
import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxviz.attribution.datasets.disk import sync_folder, writing
from jaxviz.attribution.datasets.moments import Moments
from jaxviz.attribution.datasets.state import State
from jaxviz.checks import check_path

_FORMAT = "jaxviz.explain_dataset 3"
# Of the time of a pass, the share that writing may take.
_SHARE = 0.05


class Record:
    """The file of a pass. Without a path nothing is written.

    Args:
        path: the file, or None.
        identity: what the pass is, by names that messages can use.
    """

    def __init__(self, path: Any, identity: dict[str, str]) -> None:
        self._path = None if path is None else check_path("explain_dataset", "path", path).absolute()
        self._identity, self._written, self._took = identity, -float("inf"), 0.0

    def read(self) -> State:
        """The state to go on from; raises if the file is of another pass, or cannot be written."""
        if self._path is None:
            return State()
        if not self._is_there():
            self._try()
            return State()
        try:
            with np.load(self._path, allow_pickle=False) as file:
                arrays = dict(file)
            meta = json.loads(bytes(arrays.pop("meta")).decode())
            if meta["format"] != _FORMAT:
                raise ValueError(meta["format"])
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            raise ValueError(
                f"explain_dataset: path {self._path} is a file that this version of explain_dataset did not write; give another "
                "path"
            ) from None
        self._compare(meta["identity"])
        return _unpacked(meta, arrays)

    def due(self) -> bool:
        """Whether it is time to write: so seldom that it costs a small share of the time of the pass."""
        return self._path is not None and time.perf_counter() - self._written > self._took / _SHARE

    def write(self, state: State) -> None:
        """Replaces the file. The old one stays until the new one is on the disk."""
        assert self._path is not None
        begin = time.perf_counter()
        meta, arrays = _packed(state, self._identity)
        temporary = self._temporary()
        try:
            with writing(self._path):
                with temporary.open("wb") as file:
                    np.savez(
                        file, allow_pickle=False, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays
                    )
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self._path.parent)
        self._written = time.perf_counter()
        self._took = self._written - begin

    def _is_there(self) -> bool:
        assert self._path is not None
        try:
            return self._path.is_file()
        except OSError:  # a name that no file can have
            return False

    def _temporary(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f".{self._path.name}.part")

    def _try(self) -> None:
        """Raises now, and not after the first batch, if the file cannot be written."""
        assert self._path is not None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            self._temporary().touch()
            self._temporary().unlink()
        except OSError as error:
            raise OSError(
                error.errno, f"explain_dataset: path {self._path} cannot be written: {error.strerror}"
            ) from None

    def _compare(self, before: dict[str, str]) -> None:
        problems = []
        for name in (*self._identity, *(name for name in before if name not in self._identity)):
            old, new = before.get(name, "not given"), self._identity.get(name, "not given")
            if old != new:
                short = max(len(old), len(new)) <= 60
                problems.append(f"{name} was {old}, and is {new}" if short else f"{name} changed")
        if problems:
            raise ValueError(
                f"explain_dataset: path {self._path} holds another pass: {'; '.join(problems)}. Give another path, or delete the "
                "file to begin anew"
            )


def _packed(state: State, identity: dict[str, str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    meta = {
        "format": _FORMAT,
        "identity": identity,
        "batches": state.batches,
        "examples": state.examples,
        "left_out": state.left_out,
        "all_zero": state.all_zero,
        "data": state.data,
        "structure": state.structure,
        "leaves": state.leaves,
        "classes": list(state.classes),
    }
    arrays: dict[str, np.ndarray] = {}
    for group, moments in enumerate((state.whole, *state.classes.values())):
        for number, one in enumerate(moments):
            arrays |= {f"{group}/{number}/{name}": array for name, array in one.arrays().items()}
    return meta, arrays


def _unpacked(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> State:
    groups: dict[int, dict[int, dict[str, np.ndarray]]] = {}
    for path, array in arrays.items():
        group, number, name = path.split("/")
        groups.setdefault(int(group), {}).setdefault(int(number), {})[name] = array
    moments = {
        group: tuple(Moments.from_arrays(found[number]) for number in sorted(found)) for group, found in groups.items()
    }
    return State(
        meta["batches"],
        meta["examples"],
        meta["left_out"],
        meta["all_zero"],
        meta["data"],
        meta["structure"],
        tuple((dtype, tuple(shape)) for dtype, shape in meta["leaves"]),
        moments.get(0, ()),
        {name: moments[number] for number, name in enumerate(meta["classes"], 1)},
    )

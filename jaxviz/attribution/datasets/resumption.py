"""The file that a pass over a data set goes on from after its process was killed: whole at any moment."""

import contextlib
import errno
import glob
import io
import json
import math
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxviz.attribution.datasets.moments import Moments
from jaxviz.checks import check_path

_FORMAT = "jaxviz.explain_dataset 2"
# Of the time of a pass, the share that writing may take.
_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class State:
    """What is known after some batches.

    Attributes:
        batches: how many there were.
        examples: how many examples they had.
        left_out: how many of these are not in the statistics, since their attributions were NaN or infinite.
        all_zero: how many of these have attributions that are 0 everywhere.
        data: what identifies their inputs, labels and targets.
        structure: the pytree of an attribution; see `outline`.
        leaves: dtype and shape of each of its arrays, without the examples.
        whole: the statistics of each of its arrays.
        classes: the same by class.
    """

    batches: int = 0
    examples: int = 0
    left_out: int = 0
    all_zero: int = 0
    data: dict[str, str] = field(default_factory=dict)
    structure: Any = None
    leaves: tuple[tuple[str, tuple[int, ...]], ...] = ()
    whole: tuple[Moments, ...] = ()
    classes: dict[Any, tuple[Moments, ...]] = field(default_factory=dict)


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
                f"explain_dataset: path {self._path} is a file that explain_dataset did not write; give another path"
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
            with _writing(self._path):
                with temporary.open("wb") as file:
                    np.savez(
                        file, allow_pickle=False, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays
                    )
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(self._path.parent)
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
                problems.append(f"{name} was {old}, and is {new}" if short else f"{name} is another one")
        if problems:
            raise ValueError(
                f"explain_dataset: path {self._path} holds another pass: {'; '.join(problems)}. Give another path, or delete the "
                "file to begin anew"
            )


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
            with _writing(file):
                if not file.exists():
                    file.write_bytes(_header(leaf.dtype, (0, *leaf.shape[1:])))
                with file.open("ab") as end:
                    end.write(np.ascontiguousarray(leaf).tobytes())

    def sync(self, state: State) -> None:
        """Makes sure that the attributions of a state are on the disk, before it is itself."""
        for number, (dtype, shape) in enumerate(state.leaves if self._path is not None else ()):
            with _writing(self._file(number)), self._file(number).open("r+b") as file:
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


def outline(tree: Any) -> Any:
    """A pytree of arrays, tuples, lists and dicts as JSON can hold it; `filled` is the inverse."""
    if hasattr(tree, "shape"):
        return None
    if type(tree) in (tuple, list):
        return [type(tree).__name__, [outline(item) for item in tree]]
    if isinstance(tree, dict) and all(isinstance(name, str) for name in tree):
        return ["dict", [[name, outline(item)] for name, item in tree.items()]]
    raise TypeError(
        "explain_dataset: the method must give an array, or a tuple, list or dict (with names as keys) of arrays, got "
        f"{type(tree).__name__}"
    )


def filled(form: Any, leaves: Any) -> Any:
    """The pytree of an outline, with these leaves."""
    leaves = iter(leaves)

    def fill(form: Any) -> Any:
        if form is None:
            return next(leaves)
        kind, items = form
        if kind == "dict":
            return {name: fill(item) for name, item in items}
        return {"tuple": tuple, "list": list}[kind](fill(item) for item in items)

    return fill(form)


def flattened(tree: Any) -> list[Any]:
    """The arrays of a pytree, in the order of its outline."""
    if hasattr(tree, "shape"):
        return [tree]
    return [leaf for item in (tree.values() if isinstance(tree, dict) else tree) for leaf in flattened(item)]


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """The beginning of a `.npy` file: of one length, however long axis 0 is."""
    text = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(text, header)
    return text.getvalue()


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


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Says of an error of the disk what was being written, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"explain_dataset: {file} cannot be written: {error.strerror}; the file given as path holds what was written before, "
            "and the same call goes on from there",
        ) from error


def _sync_folder(folder: Path) -> None:
    """Makes a file's new name outlive a loss of power, where folders can be opened."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

"""Checkpoints by orbax: written beside the training, whole or not at all."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from jaxviz.checks import check_count, check_path, given
from jaxviz.train.history import host


class Checkpoints:
    """A folder of checkpoints of a pytree, such as a `State`. A context manager; `close` waits for the last write.

    A checkpoint becomes visible once it is complete, so that the folder can be read after a process was killed at any moment.
    The files are orbax's: `item/step`, arrays by the names of the pytree's fields.

    Args:
        directory: made if it does not exist.
        max_to_keep: older checkpoints are deleted; None keeps all.

    Raises:
        TypeError, ValueError: directory is no path, or max_to_keep no count.
        OSError: the directory is a file, or cannot be made.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> with Checkpoints(tempfile.mkdtemp()) as checkpoints:
        ...     checkpoints.save(100, {"w": jnp.arange(3.0)})
        ...     tree, _ = checkpoints.restore({"w": jnp.zeros(3)})
        >>> tree["w"].tolist(), checkpoints.latest_step
        ([0.0, 1.0, 2.0], 100)
    """

    def __init__(self, directory: str | os.PathLike[str], *, max_to_keep: int | None = 2) -> None:
        if max_to_keep is not None:
            check_count("Checkpoints", "max_to_keep", max_to_keep)
        self.directory = check_folder("Checkpoints", "directory", directory)
        import orbax.checkpoint as ocp  # slow to import

        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(max_to_keep=max_to_keep, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    @property
    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, tree: Any, *, record: Any = None) -> None:
        """Saves a pytree of arrays; the writing goes on in the background.

        Args:
            step: the number of the checkpoint; one that exists is kept.
            tree: the pytree; it is copied to the host first, so that the next step may write over it.
            record: anything that JSON can hold.

        Raises:
            TypeError, ValueError: step is no count, tree has no values or something that is no array, or JSON cannot hold record.
        """
        step = check_count("Checkpoints.save", "step", step, at_least=0)
        for path, leaf in _names(tree):
            if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
                name = "/".join(path) or "tree"
                raise TypeError(f"Checkpoints.save: {name} must be an array, got {given(leaf)}")
        if not any(leaf.size for _, leaf in _names(tree)):
            raise ValueError(f"Checkpoints.save: tree has no values, got {given(tree)}")
        try:
            json.dumps(record)
        except (TypeError, ValueError) as error:
            raise TypeError(f"Checkpoints.save: record must be something that JSON can hold: {error}") from None
        args = self._ocp.args
        if step not in self._manager.all_steps():
            content = args.Composite(
                tree=args.StandardSave(_nested(host(tree))), record=args.JsonSave({"record": record})
            )
            self._manager.save(step, args=content)

    def restore(self, like: Any, *, step: int | None = None) -> tuple[Any, Any]:
        """Reads a checkpoint.

        Args:
            like: a pytree of the same structure, shapes and dtypes; None gives nested dicts as they were saved.
            step: which; None for the newest.

        Returns:
            The pytree, on the devices of `like`, and the record.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it does not fit `like`, and the error names every difference; or its files are damaged.
        """
        self._manager.wait_until_finished()
        step = self.latest_step if step is None else step
        if step is None or step not in self._manager.all_steps():
            steps = ", ".join(map(str, self._manager.all_steps())) or "none"
            raise FileNotFoundError(
                f"Checkpoints.restore: no checkpoint {'' if step is None else step} in {self.directory}; there are: {steps}"
            )
        args = self._ocp.args
        try:
            content = self._manager.restore(
                step, args=args.Composite(tree=args.StandardRestore(), record=args.JsonRestore())
            )
        except Exception as error:  # of many kinds, by what is damaged
            others = [str(other) for other in self._manager.all_steps() if other != step]
            raise ValueError(
                f"Checkpoints.restore: the checkpoint {self.directory / str(step)} cannot be read, its files are damaged or "
                f"missing; delete that folder to {f'go on from step {others[-1]}' if others else 'begin anew'}. Orbax: {error}"
            ) from error
        tree = content["tree"]
        return tree if like is None else _fitted(tree, like, self.directory / str(step)), content["record"]["record"]

    def close(self) -> None:
        """Waits until all is written. A second call does nothing."""
        self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def check_folder(function: str, name: str, value: Any) -> Path:
    """The value as an absolute path of a folder, which is made; raises unless it can be one."""
    folder = check_path(function, name, value).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise OSError(error.errno, f"{function}: {name} {folder} cannot be made a folder: {reason}") from None
    return folder


def _names(tree: Any) -> list[tuple[tuple[str, ...], Any]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(tuple(jax.tree_util.keystr((key,), simple=True) for key in path), leaf) for path, leaf in leaves]


def _nested(tree: Any) -> dict[str, Any]:
    """The pytree as nested dicts, which need no code of ours to be read."""
    nested: dict[str, Any] = {}
    for path, leaf in _names(tree):
        if not leaf.size:
            continue  # orbax refuses what has no values; `_fitted` takes it from elsewhere
        node = nested
        for segment in path[:-1]:
            node = node.setdefault(segment, {})
        node[path[-1]] = leaf
    return nested


def _fitted(tree: Any, like: Any, where: Path) -> Any:
    """The saved arrays in the structure of `like`."""
    saved: dict[tuple[str, ...], Any] = {path: np.asarray(leaf) for path, leaf in _names(tree)}
    leaves, problems = [], []
    for path, leaf in _names(like):
        name = "/".join(path)
        key = jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        expected = jax.eval_shape(jax.random.key_data, leaf) if key else leaf
        value = saved.pop(path, None)
        if not leaf.size:
            leaves.append(leaf)
        elif value is None:
            problems.append(f"{name} is missing")
        elif (value.shape, value.dtype) != (expected.shape, expected.dtype):
            problems.append(f"{name} is {value.dtype}{list(value.shape)}, not {expected.dtype}{list(expected.shape)}")
        else:
            if key:
                value = jax.random.wrap_key_data(jax.numpy.asarray(value), impl=jax.random.key_impl(leaf))
            leaves.append(_placed(value, leaf))
    problems += [f"{'/'.join(path)} is too much" for path in saved]
    if problems:
        more = f", and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ValueError(
            f"the checkpoint {where} is of another network, optimizer or setting: {'; '.join(problems[:8])}{more}"
        )
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _placed(value: Any, like: Any) -> Any:
    return jax.device_put(value, like.sharding) if isinstance(like, jax.Array) else value

"""Targets: which number per example is explained, the score."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import finite, meanwhile
from jaxviz.static import Static


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Target:
    """A checked target in the form that jitted functions take: another index is new data, not a new program.

    Attributes:
        index: int32 `(batch,)`, or None.
        function: the callable, static and compared by value, or None. With both None the outputs are the score themselves.
    """

    _is_explicit: ClassVar[bool] = False  # which an index is not

    index: jax.Array | np.ndarray | None = None
    function: Static | None = field(default=None, metadata={"static": True})


def prepare(function: str, outputs: Any, target: Any, batch: int | None = None) -> Target:
    """Checks a target against the outputs' shape, and brings it into the form that jitted functions take.

    Args:
        function: the name of the caller, for error messages.
        outputs: the model's outputs, or their shapes and dtypes (`jax.eval_shape`).
        target: None, an int, an int array `(batch,)`, a callable `outputs -> (batch,)`, or a `Target`, which is
            returned as it is.
        batch: how many examples there are; None: as many as the outputs have on axis 0.

    Raises:
        TypeError: if target is of another type.
        ValueError: if target is out of range, has another shape, or cannot choose among these outputs.
    """
    if isinstance(target, Target):
        return target
    if callable(target):
        static = Static(target)
        _check_callable(function, static, outputs, batch)
        return Target(function=static)
    shape = _score_shape(function, outputs)
    if batch is not None and shape[0] != batch:
        raise ValueError(
            f"{function}: the outputs have shape {shape}, whose axis 0 is not the batch of {batch}; "
            "give a callable outputs -> (batch,), such as lambda outputs: outputs[step, :, unit]"
        )
    _floating(function, outputs)
    if target is None:
        if len(shape) == 1 or shape[1:] == (1,):
            return Target()
        raise ValueError(
            f"{function}: target is None, which asks for one output per example, but the outputs have shape {shape}; "
            + (
                f"give the index of an output, 0 to {shape[1] - 1}, or a callable outputs -> (batch,)"
                if len(shape) == 2
                else _unit(shape)
            )
        )
    index = _index(function, target)
    if len(shape) == 1:
        raise ValueError(
            f"{function}: an integer target asks for outputs of shape (batch, n), but they have shape {shape}, one number per "
            "example: target=None explains that"
        )
    if len(shape) != 2:
        raise ValueError(
            f"{function}: an integer target asks for outputs of shape (batch, n), but they have shape {shape}; {_unit(shape)}"
        )
    if index.shape not in ((), shape[:1]):
        raise ValueError(
            f"{function}: target has shape {index.shape}; give one int, or an int array of shape {shape[:1]} (the batch)"
        )
    if not isinstance(index, jax.core.Tracer):
        meanwhile.put_off(functools.partial(check_range, function, index, shape[1]))
        if (
            isinstance(index, jax.Array)
            and index.dtype == np.int32
            and index.shape
            and not (index.weak_type or index.committed)
        ):
            return Target(index)
        # Filled on the host: an int and an array are then the same program.
        index = np.asarray(index).astype(np.int32)
        return Target(index if index.shape else np.full(shape[:1], index))
    return Target(jnp.broadcast_to(index.astype(jnp.int32), shape[:1]))


def check_range(function: str, index: Any, count: int) -> None:
    """Raises if one of some indices is none of so many outputs."""
    values = np.asarray(index).ravel().tolist()  # there are few: NumPy's calls take longer than what they do
    if min(values) < 0 or max(values) >= count:
        wrong = next(value for value in values if not 0 <= value < count)
        raise ValueError(f"{function}: target {wrong} is out of range; the model has {count} outputs, 0 to {count - 1}")


def select(outputs: Any, target: Any) -> jax.Array:
    """The score of each example: the number that is explained.

    `score[b] = outputs[b, target[b]]`, or `target(outputs)[b]`, or `outputs[b]`.

    Works under `jax.jit`. Where a traced index is out of range the score is NaN, and so is its gradient.

    Args:
        outputs: the model's outputs: an array `(batch, n)`, `(batch, 1)` or `(batch,)`; for a callable target any pytree.
        target: None (outputs are the scores), an int, an int array `(batch,)`, or a callable `outputs -> (batch,)`.

    Returns:
        Scores, `(batch,)`, of the outputs' dtype.

    Raises:
        TypeError: if target is of another type, or the scores are not floating point.
        ValueError: if target is out of range, has another shape, or cannot choose among these outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> select(jnp.array([[1.0, 2.0], [3.0, 4.0]]), 1)
        Array([2., 4.], dtype=float32)
    """
    checked = isinstance(target, Target)
    target = prepare("targets.select", outputs, target)
    if target.function is not None:
        scores = target.function.value(outputs)
        if not checked:
            _check_scores("targets.select", scores, outputs, None)
        scores = jnp.asarray(scores)
    elif target.index is None:
        scores = outputs.reshape(outputs.shape[:1])
    else:
        # A masked sum, not a gather: its derivative is a select, which fuses; a gather's is a scatter.
        in_range = (target.index >= 0) & (target.index < outputs.shape[1])
        # Out of range all are chosen, so that the NaN below reaches the derivative with respect to each.
        chosen = (jax.lax.broadcasted_iota(jnp.int32, outputs.shape, 1) == target.index[:, None]) | ~in_range[:, None]
        scores = jnp.where(chosen, outputs, jnp.zeros((), outputs.dtype)).sum(axis=1)
        scores = scores * jnp.where(in_range, 1, jnp.nan).astype(scores.dtype)
    return _floating("targets.select", scores)


def _check_callable(function: str, target: Static, outputs: Any, batch: int | None) -> None:
    """Raises unless a callable gives one score per example of outputs, or of what has their shapes."""
    leaves, structure = jax.tree.flatten(outputs)
    if all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves):
        kinds = tuple((tuple(leaf.shape), leaf.dtype) for leaf in leaves)
        _check_callable_at(function, target, structure, kinds, jnp.result_type(float), batch)


@functools.lru_cache(maxsize=256)  # what has passed once is not traced again
def _check_callable_at(
    function: str, target: Static, structure: Any, kinds: Any, precision: Any, batch: int | None
) -> None:
    outputs = structure.unflatten([jax.ShapeDtypeStruct(*kind) for kind in kinds])

    def checked(outputs: Any) -> jax.Array:
        try:
            scores = target.value(outputs)
        except Exception as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"{function}: target, a callable, cannot be applied to the model's outputs, {_describe(outputs)}: {error}"
            ) from error
        _check_scores(function, scores, outputs, batch)
        return _floating(function, jnp.asarray(scores))

    jax.eval_shape(checked, outputs)


def _check_scores(function: str, scores: Any, outputs: Any, batch: int | None) -> None:
    # The outputs' axis 0 is not the batch where they are those of a layer in a scan, which has the steps there.
    shapes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(outputs)} if batch is None else {(batch,)}
    if not hasattr(scores, "shape") or scores.ndim != 1 or (len(shapes) == 1 and {scores.shape} != shapes):
        raise ValueError(
            f"{function}: target, a callable, must map outputs to one score per example, an array of shape "
            f"{'(batch,)' if batch is None else f'(batch,) = ({batch},)'}; it returned {_describe(scores)} for outputs "
            f"{_describe(outputs)}"
        )


def _floating(function: str, scores: jax.Array) -> jax.Array:
    if not finite.is_floating(scores.dtype):
        raise TypeError(
            f"{function}: the score must be floating point to be explained, got {scores.dtype}; give a callable target that "
            "makes such of the outputs"
        )
    return scores


def _unit(shape: tuple[int, ...]) -> str:
    """What to give for outputs of more than two axes."""
    first, last = (", ".join(map(str, index)) for index in ([0] * (len(shape) - 1), [size - 1 for size in shape[1:]]))
    return f"give one of jaxviz.unit({first}) to jaxviz.unit({last}), or another callable outputs -> (batch,), instead"


def _score_shape(function: str, outputs: Any) -> tuple[int, ...]:
    if not hasattr(outputs, "shape"):
        raise ValueError(
            f"{function}: the model's outputs are {_describe(outputs)}, not one array; give a callable target outputs -> (batch,)"
        )
    if not outputs.shape:
        raise ValueError(f"{function}: the model's output is a scalar; it must have the batch as its axis 0")
    return tuple(outputs.shape)


def _index(function: str, target: Any) -> Any:
    try:
        index = target if hasattr(target, "dtype") and hasattr(target, "shape") else np.asarray(target)
    except ValueError:  # lists of different lengths
        index = np.empty(0, object)
    if not _is_integer(index.dtype):
        given = f"an array of {index.dtype}" if index.shape else repr(target)
        raise TypeError(
            f"{function}: target must be None, an int, an int array of shape (batch,) or a callable "
            f"outputs -> (batch,), got {given}"
        )
    return index


@functools.cache  # JAX's own takes longer than much of what small networks do
def _is_integer(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.integer))


def _describe(tree: Any) -> str:
    if hasattr(tree, "shape"):
        return f"an array of shape {tuple(tree.shape)}"
    return (
        f"{type(tree).__name__} of shapes {jax.tree.map(jnp.shape, tree)}"
        if jax.tree.leaves(tree)
        else type(tree).__name__
    )


TargetLike = None | int | jax.Array | np.ndarray | Callable[[Any], jax.Array] | Target

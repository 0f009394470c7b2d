"""The warning of this folder, and what makes its methods look at their own results."""

import contextlib
import functools
import inspect
import itertools
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import jax
import numpy as np

from jaxviz import finite, host, meanwhile
from jaxviz.attribution.baselines import baseline_like

_SMALL = 1 << 12  # values, up to which NumPy's calls take longer than what they do

_TARGET = {"target"}

Method = TypeVar("Method", bound=Callable[..., Any])

# Of which examples are all zero, `(batch,)`, or `(1,)` for all of them together: why they are, and the same without figures; or
# None, if that is not why.
Zero = Callable[[np.ndarray], tuple[str, str] | None]


class AttributionWarning(UserWarning):
    """An attribution was computed as asked, but does not say what it seems to; `jaxviz.diagnose` says more.

    Methods give it for results on the CPU alone, and wait for these to look at them. On accelerators they never warn, so that
    nothing waits: there, `jaxviz.diagnose` is to be asked.
    """


def cautious(method: Method) -> Method:
    """A public method of attribution that warns where its result is all zero, or not finite, for an example.

    Where it is NaN because parameters of the model are, that is an error.

    Python shows a warning once for each line that it comes from; figures in its text do not make it another one. Results
    are looked at where NumPy sees them without a copy, on CPU, and not while they are traced; only where one is NaN is something
    computed, to tell why. To
    look at a result is to wait for it: on CPU a method returns when its result is there, and JAX's asynchronous dispatch ends
    with it. On accelerators nothing waits, and methods never warn. What a method calls inside of itself is not looked at, only
    what it gives in the end.

    Args:
        method: called `method(model, inputs, ...)`; the method of a class, `__call__(self, model, inputs, ...)`, which has a
            `name` for the warnings then.
    """

    @functools.wraps(method)
    def looked_at(*args: Any, **settings: Any) -> Any:
        if _running.up:
            return _inside(method, args, settings)
        reasons = _Reasons([], [])
        try:
            _running.up, _running.reasons = True, reasons
            meanwhile.begin(may=not settings or settings.keys() == _TARGET)
            attribution = method(*args, **settings)
            meanwhile.catch_up()
            largest = _suspicious(attribution)
            meanwhile.keep()
        except Exception:
            meanwhile.catch_up()  # what was to be checked may be why
            raise
        finally:
            _running.up, _running.reasons = False, None
            meanwhile.end()
        if largest is not None:
            _warn(method, args, settings, largest, reasons)
        return attribution

    return cast(Method, looked_at)


def _inside(method: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """What a method gives that another one calls, which may do anything with it."""
    before, passed_on = _running.reasons, _running.passed_on
    try:
        _running.reasons, _running.passed_on = before if passed_on else None, False
        return method(*args, **settings)
    finally:
        _running.reasons, _running.passed_on = before, passed_on


def if_nan(reason: Callable[[], None]) -> None:
    """Calls what raises if it knows why an attribution is NaN: if that which is looked at is, or now if another one is."""
    if _running.reasons is None:
        reason()
    else:
        _running.reasons.of_nan.append(reason)


def if_zero(reason: "Zero") -> None:
    """Calls what may say why the attribution that is looked at is all zero, if it is for an example; no other one's."""
    if _running.reasons is not None:
        _running.reasons.of_zero.append(reason)


@contextlib.contextmanager
def passed_on() -> Iterator[None]:
    """What the method that is called inside gives is what the caller gives, example by example: what it knows of it counts."""
    _running.passed_on = True
    try:
        yield
    finally:
        _running.passed_on = False


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Methods that are called inside give no warnings: the caller looks at what they give."""
    before = _running.up, _running.reasons
    _running.up, _running.reasons = True, None
    try:
        yield
    finally:
        _running.up, _running.reasons = before


class _Text(str):
    """A warning's text, equal to any other of its kind: Python then shows one of them for each line, whatever the figures."""

    kind: str

    def __new__(cls, text: str, kind: str) -> "_Text":
        """The text, and what stands for it where warnings are compared."""
        made = super().__new__(cls, text)
        made.kind = kind
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and self.kind == other.kind

    def __hash__(self) -> int:
        return hash(self.kind)


def warn(function: str, text: str, kind: str | None = None) -> None:
    """Warns of an attribution, at the line outside of this package that called it.

    Args:
        function: the name of the method.
        text: the warning.
        kind: what is said, without figures: warnings of a kind are one. None: the text.
    """
    frame = sys._getframe(1)
    level = 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "jaxviz":
        frame = frame.f_back
        level += 1
    # Python 3.11 to 3.14 compare the very object that they are given.
    warnings.warn(_Text(f"{function}: {text}", f"{function}: {kind or text}"), AttributionWarning, stacklevel=level)


def largest_values(leaves: list[np.ndarray]) -> np.ndarray:
    """The largest absolute value of each example, NaN where it has one; of all together where axis 0 is not theirs alone."""
    if len({leaf.shape[:1] for leaf in leaves}) > 1:
        leaves = [leaf[None] for leaf in leaves]
    parts = [np.maximum.reduce(np.abs(leaf.reshape(len(leaf), -1)), axis=1) for leaf in leaves]
    return parts[0] if len(parts) == 1 else np.maximum.reduce([part.astype(np.float64) for part in parts])


class _Reasons(NamedTuple):
    """What knows more of the result that is looked at: see `if_nan` and `if_zero`."""

    of_nan: list[Callable[[], None]]
    of_zero: list[Zero]


class _Running(threading.local):
    """What runs in this thread.

    Attributes:
        up: whether a method does.
        passed_on: see `passed_on`.
        reasons: what knows more of its result; None where another result is looked at.
    """

    up = False
    passed_on = False
    reasons: _Reasons | None = None


_running = _Running()


def _suspicious(attribution: Any) -> np.ndarray | None:
    """The largest values of the examples, if one of them is 0 or not finite; else None."""
    arrays, is_well = [], True
    for leaf in (attribution,) if isinstance(attribution, jax.Array) else jax.tree.leaves(attribution):
        if not host.sees(leaf) or not leaf.ndim:
            return None
        array = host.fetch(leaf)
        arrays.append(array)
        is_well = is_well and _is_well(array)
    if is_well:
        return None
    largest = largest_values(arrays)
    return None if np.minimum.reduce(largest) > 0 and np.maximum.reduce(largest) < np.inf else largest


def _is_well(array: np.ndarray) -> bool:
    """Whether a few microseconds tell that all values are finite, and some of each example not 0, as most often they do."""
    if not 0 < array.size <= _SMALL or array.dtype not in finite.WITH_PRODUCTS:
        return False
    flat = array.ravel()
    # With finite squares the sums below are finite, too; they are 0 where all values are, and hardly ever where some are not.
    if not np.vdot(flat, flat) < math.inf:
        return False
    rows = array.reshape(len(array), -1)
    return 0.0 not in np.dot(rows, _weights(rows.shape[1], rows.dtype)).tolist()


@functools.lru_cache(maxsize=256)
def _weights(count: int, dtype: np.dtype) -> np.ndarray:
    """Weights with which a sum is hardly ever 0 by chance."""
    return np.sqrt(np.arange(2, count + 2)).astype(dtype)


def _warn(method: Any, args: tuple[Any, ...], settings: dict[str, Any], largest: np.ndarray, reasons: _Reasons) -> None:
    name = method.__name__ if method.__name__ != "__call__" else args[0].name
    given = inspect.signature(method).bind(*args, **settings).arguments
    given |= given.pop("settings", {})
    if np.isnan(largest).any():
        for raises in reasons.of_nan:
            raises()
        _check_parameters(name, given["model"])
    accepted = inspect.signature(args[0] if method.__name__ == "__call__" else method).parameters
    of_baseline = ", baseline=..." if "baseline" in accepted else ""
    diagnose = f"jaxviz.diagnose(model, inputs, attribution, target=...{of_baseline})"
    if not np.isfinite(largest).all():
        warn(
            name,
            f"the attribution of {_which(~np.isfinite(largest))} is NaN or infinite; {diagnose} tells where that arises",
        )
    zero = largest == 0
    if not zero.any():
        return
    if "baseline" in accepted and _at_baseline(name, given, zero):
        warn(
            name,
            f"{_which(zero)} equals the baseline, so that its attribution is all zero; choose another baseline, one that has "
            "nothing of what is to be explained",
        )
        return
    for explains in reasons.of_zero:
        if (reason := explains(zero)) is not None:
            warn(name, f"the attribution of {_which(zero)} is all zero: {reason[0]}", reason[1])
            return
    possible = [
        "the score does not depend on the inputs there",
        "all units of a layer are off",
        "a softmax, sigmoid or tanh is saturated (explain what enters it instead)",
    ]
    if "relu" in accepted and given.get("relu", True):
        possible.append("relu=True took away a map that is negative everywhere")
    warn(
        name,
        f"the attribution of {_which(zero)} is all zero. It may be that {', '.join(possible[:-1])}, or {possible[-1]}; "
        f"{diagnose} tells which",
    )


def _check_parameters(function: str, model: Any) -> None:
    """Raises where NaN among the model's parameters is why an attribution is NaN."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(model.params)[0]:
        if host.sees(leaf) and finite.counts(leaf)[0]:
            raise ValueError(
                f"{function}: the attribution is NaN, since the model's parameters are: "
                f"{finite.told(f'params{jax.tree_util.keystr(path)}', leaf)}"
            )


def _which(examples: np.ndarray) -> str:
    return "every example" if examples.all() else "some example"


def _at_baseline(name: str, given: dict[str, Any], zero: np.ndarray) -> bool:
    """Whether the inputs of these examples are the baseline."""
    if given.get("layer_baseline") is not None:
        return False
    inputs = jax.tree.map(np.asarray, given["inputs"])
    leaves = jax.tree.leaves(inputs)
    baseline = jax.tree.leaves(baseline_like(name, given.get("baseline"), jax.tree.map(jax.numpy.asarray, inputs)))
    if zero.shape != leaves[0].shape[:1]:
        return False
    pairs = itertools.starmap(np.equal, zip(leaves, map(np.asarray, baseline), strict=True))
    return all(bool(equal[zero].all()) for equal in pairs)

"""The warning of this folder, and what makes its methods look at their own results."""

import contextlib
import functools
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import jax
import numpy as np

from jaxviz import finite, host, meanwhile
from jaxviz.attribution.glance import Seen, suspicious
from jaxviz.attribution.reasons import Call, Reason, Zero, not_finite, of_one_input, of_tiny, of_zero, told_which
from jaxviz.attribution.underived import check_derivatives
from jaxviz.program import is_top_level

_TARGET = {"target"}

Method = TypeVar("Method", bound=Callable[..., Any])

Well = Callable[[], Reason | None]  # what is wrong with a result that is finite and not zero


class AttributionWarning(UserWarning):
    """An attribution was computed as asked, but does not say what it seems to; `jaxviz.diagnose` says more.

    Methods give it for results on the CPU alone, and wait for these to look at them. On accelerators they never warn, so that
    nothing waits: there, `jaxviz.diagnose` is to be asked.
    """


def cautious(method: Method) -> Method:
    """A public method of attribution that warns where its result is all zero, or not finite, for an example or an input.

    It warns, too, where the score is saturated and the result tiny, and of what the method itself knows of it (`if_well`).
    Where it is NaN because parameters of the model are, that is an error.

    Python shows a warning once for each line that it comes from; figures in its text do not make it another one. Results
    are looked at where NumPy sees them without a copy, on CPU, and not while they are traced; only where one is NaN, zero or tiny
    is something computed, to tell why. To look at a result is to wait for it: on CPU a method returns when its result is there,
    and JAX's asynchronous dispatch ends with it. On accelerators nothing waits, and methods never warn. What a method
    calls inside of itself is not looked at, only what it gives in the end.

    Args:
        method: called `method(model, inputs, ...)`; the method of a class, `__call__(self, model, inputs, ...)`, which has a
            `name` for the warnings then.
    """

    @functools.wraps(method)
    def looked_at(*args: Any, **settings: Any) -> Any:
        if _running.up:
            return _inside(method, args, settings)
        reasons = _Reasons([], [], [])
        try:
            _running.up, _running.reasons = True, reasons
            meanwhile.begin(may=not settings or settings.keys() == _TARGET)
            attribution = method(*args, **settings)
            meanwhile.catch_up()
            seen = suspicious(attribution)
            meanwhile.keep()
        except Exception as error:
            meanwhile.catch_up()  # what was to be checked may be why
            check_derivatives(error, method, args, settings)
            raise
        finally:
            _running.up, _running.reasons = False, None
            meanwhile.end()
        if seen is not None:
            _warn(method, args, settings, seen, reasons)
        elif reasons.of_well:
            _warn_of_well(_name(method, args), reasons)
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


def if_zero(reason: Zero) -> None:
    """Calls what may say why the attribution that is looked at is all zero, if it is for an example; no other one's."""
    if _running.reasons is not None:
        _running.reasons.of_zero.append(reason)


def if_well(reason: Well) -> None:
    """Calls what may say what else is wrong with the attribution that is looked at, if it is finite and not zero."""
    if _running.reasons is not None:
        _running.reasons.of_well.append(reason)


def is_looked_at(inputs: Any) -> bool:
    """Whether the attribution of the method that runs, of these inputs, will be looked at: what tells more of it is of use."""
    if _running.reasons is None or not is_top_level():
        return False
    return host.is_alone() or all(map(host.sees, jax.tree.leaves(inputs)))


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


def warn_unless_finite(function: str, what: str, value: Any, model: Any, attribution: Any = ()) -> None:
    """Warns of a result that is no attribution, and is NaN or infinite; as of attributions, on the CPU alone.

    Args:
        function: the function that gives it.
        what: the result, as in "the gap".
        value: the result, an array.
        model: the model.
        attribution: what it was made of, where that was given.
    """
    if not host.sees(value) or finite.is_finite(host.fetch(value)):
        return
    if (found := not_finite(model)) is not None:
        why = f"since the model's parameters are: {found}"
    elif any(host.sees(leaf) and any(finite.counts(leaf)) for leaf in attribution):
        why = (
            "since the attribution is; jaxviz.diagnose(model, inputs, attribution, target=...) tells where that arises"
        )
    else:
        why = "since the score is, or overflows; jaxviz.diagnose(model, inputs, target=...) tells where that arises"
    warn(function, f"{what} is NaN or infinite, {why}", f"{what} is NaN or infinite")


class _Reasons(NamedTuple):
    """What knows more of the result that is looked at: see `if_nan`, `if_zero` and `if_well`."""

    of_nan: list[Callable[[], None]]
    of_zero: list[Zero]
    of_well: list[Well]


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


def _warn(method: Any, args: tuple[Any, ...], settings: dict[str, Any], seen: Seen, reasons: _Reasons) -> None:
    name = _name(method, args)
    given = inspect.signature(method).bind(*args, **settings).arguments
    given |= given.pop("settings", {})
    accepted = inspect.signature(args[0] if method.__name__ == "__call__" else method).parameters
    call = Call(name, given, frozenset(accepted), "relu" in accepted and given.get("relu", True))
    if np.isnan(seen.largest).any():
        for raises in reasons.of_nan:
            raises()
        _check_parameters(name, given["model"])
    if not np.isfinite(seen.largest).all():
        which = told_which(~np.isfinite(seen.largest))
        warn(name, f"the attribution of {which} is NaN or infinite; {call.diagnose} tells where that arises")
    zero = seen.largest == 0
    if zero.any():
        warn(name, *of_zero(call, zero, reasons.of_zero))
    elif (reason := of_tiny(call, seen) or of_one_input(call, seen)) is not None:
        warn(name, *reason)
    elif np.isfinite(seen.largest).all():
        _warn_of_well(name, reasons)


def _warn_of_well(name: str, reasons: _Reasons) -> None:
    for explains in reasons.of_well:
        if (reason := explains()) is not None:
            warn(name, *reason)
            return


def _name(method: Any, args: tuple[Any, ...]) -> str:
    return method.__name__ if method.__name__ != "__call__" else args[0].name


def _check_parameters(function: str, model: Any) -> None:
    """Raises where NaN among the model's parameters is why an attribution is NaN."""
    if (found := not_finite(model)) is not None:
        raise ValueError(f"{function}: the attribution is NaN, since the model's parameters are: {found}")

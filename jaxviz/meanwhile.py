"""What the host looks at while the CPU's threads compute: checks of values, put off until the first program is on its way.

For a small network, checking the values that a method is given takes as long as what it computes. So the checks are made while
its first program runs, not before. If one fails, the method raises as it would have, and what the program gives is dropped.

What a refused call computes in vain should be little, so checks are put off only in calls without settings (but the target), of
methods that took less than `QUICK` in an earlier call on the same model, with inputs of the same shapes and dtypes. It is more
only if a program has to be compiled first: the forms of a method at several layers count as one method, and the call may be the
first at its layer. While JAX traces, nothing is put off: what is checked then is checked once for many calls, and before them.
"""

import threading
import time
from collections.abc import Callable

from jaxviz import host
from jaxviz.program import is_top_level

QUICK = 2e-3  # seconds: in a longer call, the time of the checks does not count


class _Call(threading.local):
    """The call of a method in this thread.

    Attributes:
        may: whether one runs that may put off checks.
        began: when.
        checks: what is to be looked at; None where nothing is put off.
        records: where it is to be kept that the call was quick, if it was.
    """

    may = False
    began = 0.0
    checks: list[Callable[[], None]] | None = None
    records: list[tuple[set[str], str]]


_call = _Call()


def begin(may: bool) -> None:
    """A method is called, which may put off checks or may not."""
    _call.may, _call.began, _call.checks, _call.records = may, time.perf_counter(), None, []


def may_put_off(quick: set[str] | None, function: str) -> None:
    """Lets the checks that come now be put off where the function is among the quick ones; else it may become one of them.

    With None, none are put off.
    """
    if quick is not None and _call.may and is_top_level():
        if function in quick:
            _call.checks = _call.checks or []
            return
        _call.records.append((quick, function))
    catch_up()
    _call.checks = None


def put_off(check: Callable[[], None]) -> None:
    """Calls a check that may raise: once the next program is on its way where that may be, else now."""
    if _call.checks is None or not is_top_level():
        check()
    else:
        _call.checks.append(check)


def catch_up() -> None:
    """Calls what was put off."""
    checks = _call.checks
    if checks:
        _call.checks = []
        for check in checks:
            check()


def keep() -> None:
    """The method's result is there: if that was quick, it is kept in mind."""
    # Where there is another device, nothing has waited for it.
    if _call.records and host.is_alone() and time.perf_counter() - _call.began < QUICK:
        for quick, function in _call.records:
            quick.add(function)


def end() -> None:
    """No method runs any longer; what was put off and not called is left out."""
    _call.may, _call.checks = False, None

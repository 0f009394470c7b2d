"""What the host looks at while the device computes: checks of values, put off until the first program is on its way.

A small network takes as long as the checks of what it is given. These come beside its program then, and no longer before it; an
error comes all the same, and nothing of the program's result is used. Only calls that are known to take no longer than `QUICK`
do so, since what is wrong is computed in vain, and nothing that is traced: a check that is made once for many calls must come
before.
"""

import threading
import time
from collections.abc import Callable

from jaxviz import host
from jaxviz.program import is_top_level

QUICK = 2e-3  # seconds


class _Call(threading.local):
    """The call of a method that runs in this thread.

    Attributes:
        began: when; None where none runs.
        checks: what is to be looked at; None where nothing is put off.
        records: where it is to be kept that the call was quick, if it was.
    """

    began: float | None = None
    checks: list[Callable[[], None]] | None = None
    records: list[tuple[set[str], str]]


_call = _Call()


def begin() -> None:
    """A method is called."""
    _call.began, _call.checks, _call.records = time.perf_counter(), None, []


def may_put_off(quick: set[str], function: str) -> None:
    """Lets the checks that come now be put off, if that function is among the quick ones; else it may become one of them."""
    if _call.began is None or not is_top_level():
        return
    if function in quick:
        _call.checks = _call.checks or []
    else:
        _call.records.append((quick, function))


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


def end() -> None:
    """The method's result is there: what was quick is kept in mind."""
    # Where there is another device, nothing has waited for it.
    began = _call.began or 0.0
    if _call.records and host.is_alone() and time.perf_counter() - began < QUICK:
        for quick, function in _call.records:
            quick.add(function)
    forget()


def forget() -> None:
    """No method runs any longer; what was put off is left out."""
    _call.began = _call.checks = None

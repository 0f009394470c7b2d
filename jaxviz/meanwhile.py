"""What the host looks at while the device computes: checks of values, put off until the first program is on its way.

A small network takes as long as the checks of what it is given. Where a method runs that asks for it, these do not come before
its first program but beside it; an error comes all the same, and nothing of the program's result is used.
"""

import threading
from collections.abc import Callable


class _Queue(threading.local):
    """Attributes: `checks`, what this thread is to look at; None where nothing is put off."""

    checks: list[Callable[[], None]] | None = None


_queue = _Queue()


def put_off(check: Callable[[], None]) -> None:
    """Calls a check that may raise: once the next program is on its way where a method has asked for that, else now."""
    if _queue.checks is None:
        check()
    else:
        _queue.checks.append(check)


def catch_up() -> None:
    """Calls what was put off."""
    checks = _queue.checks
    if checks:
        _queue.checks = []
        for check in checks:
            check()


def begin() -> None:
    """From here on checks are put off, in this thread, until `end`."""
    _queue.checks = []


def end() -> None:
    """Calls what was put off, and puts nothing off any longer."""
    checks, _queue.checks = _queue.checks, None
    for check in checks or ():
        check()


def forget() -> None:
    """Puts nothing off any longer, and leaves out what was: after an interruption."""
    _queue.checks = None

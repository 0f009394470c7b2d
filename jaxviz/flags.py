"""A flag that stands while something is done, in the thread that does it."""

import threading
from types import TracebackType


class Flag(threading.local):
    """Attributes: `up`, whether it stands in this thread."""

    up = False

    def raised(self) -> "_Raised":
        """A context: while in it the flag stands; afterwards it is as before."""
        return _Raised(self)


class _Raised:
    # A class, since a generator as a context takes a microsecond more.
    __slots__ = ("before", "flag")

    def __init__(self, flag: Flag) -> None:
        self.flag = flag

    def __enter__(self) -> None:
        self.before, self.flag.up = self.flag.up, True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flag.up = self.before

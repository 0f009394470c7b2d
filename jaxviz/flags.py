"""A flag that stands while something is done, in the thread that does it."""

import contextlib
import threading
from collections.abc import Iterator


class Flag(threading.local):
    """Attributes: `up`, whether it stands in this thread."""

    up = False

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """While in it the flag stands; afterwards it is as before."""
        before, self.up = self.up, True
        try:
            yield
        finally:
            self.up = before

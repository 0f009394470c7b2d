"""One event file: created once, appended to record by record, readable at every moment."""

import itertools
import os
import socket
import threading
import time
from pathlib import Path
from typing import NoReturn

from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from jaxviz.tensorboard.record import frame

_counter = itertools.count()


class EventFile:
    """An event file open for appending.

    Every record is one unbuffered write, so that all records outlive a killed process; `flush` makes them outlive the machine.

    Args:
        logdir: the directory; made if it does not exist.
        start_step: the steps from here on that earlier files of the directory hold are superseded; None supersedes none.

    Raises:
        OSError: the directory or the file cannot be made or written.
    """

    def __init__(self, logdir: Path, *, start_step: int | None) -> None:
        try:
            logdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _explain(error, f"cannot make the log directory {logdir}")
        # Readers take the files of a directory in the order of their names: nanoseconds keep a quick resume after its origin.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        name = f"{seconds:010d}.{nanoseconds:09d}.{socket.gethostname()}.{os.getpid()}.{next(_counter)}"
        self.path = logdir / f"events.out.tfevents.{name}"
        try:
            self._file = self.path.open("xb", buffering=0)
        except OSError as error:
            _explain(error, f"cannot write in the log directory {logdir}")
        self._lock = threading.Lock()
        self._synced = True  # whether all that was appended outlives the machine
        self._pid = os.getpid()
        try:
            self.append(Event(wall_time=time.time(), file_version="brain.Event:2"))
            if start_step is not None:
                session = SessionLog(status=SessionLog.START)
                self.append(Event(wall_time=time.time(), step=start_step, session_log=session))
        except OSError:
            self._file.close()
            raise

    def append(self, event: Event) -> None:
        """Appends one event as one record; after an error (a full disk) the file is as it was before."""
        record = memoryview(frame(event.SerializeToString()))
        self._check_process()  # before the lock: a thread of the parent may have held it at the fork, for ever
        with self._lock:
            self.check_open()
            written, self._synced = 0, False
            try:
                while written < len(record):
                    written += self._file.write(record[written:])
            except OSError as error:
                if written:  # a torn record would hide all that follow
                    self._file.truncate(self._file.tell() - written)
                    self._file.seek(0, os.SEEK_END)
                _explain(error, f"cannot write to {self.path}; everything logged before is kept")

    def flush(self) -> None:
        """Waits until all records are on the disk."""
        self._check_process()
        with self._lock:
            if not self._file.closed:
                self._sync()

    def close(self) -> None:
        """Closes the file; closing it again does nothing. In a forked child it leaves the parent's file alone."""
        if self._pid != os.getpid():
            self._file.close()  # without the lock, as in `append`
            return
        with self._lock:
            if not self._file.closed:
                try:
                    self._sync()
                finally:
                    self._file.close()

    def _sync(self) -> None:
        if not self._synced:
            os.fsync(self._file.fileno())
            self._synced = True

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    @property
    def writable(self) -> bool:
        """Whether this process may still append."""
        return not self.closed and self._pid == os.getpid()

    def check_open(self) -> None:
        """Raises unless this process may still append."""
        self._check_process()
        if self.closed:
            raise ValueError(f"Writer: the writer of {self.path.parent} is closed; open a new Writer to log more")

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise RuntimeError(
                f"Writer: the writer of {self.path.parent} belongs to process {self._pid} and this is its fork {os.getpid()}; "
                "open a Writer of its own here, with a run directory of its own"
            )


def _explain(error: OSError, what: str) -> NoReturn:
    raise OSError(error.errno, f"Writer: {what}: {error.strerror}") from error  # becomes PermissionError etc. by errno

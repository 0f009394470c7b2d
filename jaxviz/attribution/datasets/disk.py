"""Writing to a disk: errors that say what is lost, and names that outlive a loss of power."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def writing(file: Path) -> Iterator[None]:
    """Says of an error of the disk what was being written, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"explain_dataset: {file} cannot be written: {error.strerror}; the file given as path holds what was written before, "
            "and the same call goes on from there",
        ) from error


def sync_folder(folder: Path) -> None:
    """Makes a file's new name outlive a loss of power, where folders can be opened."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

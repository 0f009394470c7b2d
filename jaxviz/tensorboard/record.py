"""Framing of the records of an event file: length, checksum of the length, data, checksum of the data."""

import functools
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

from jaxviz.tensorboard.crc import masked_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


@functools.lru_cache(maxsize=4096)  # most events of a run have one of a few lengths
def _header(length: int) -> bytes:
    return _HEADER.pack(length, masked_crc32c(struct.pack("<Q", length)))


def frame(data: bytes) -> bytes:
    """Returns `data` as one record, ready to be appended to an event file."""
    return b"".join((_header(len(data)), data, _FOOTER.pack(masked_crc32c(data))))


def records(path: Path) -> Iterator[bytes]:
    """Yields the data of every whole record of the event file at `path`, in order.

    A record that ends before its length says (its writer was killed, or is writing it just now) is the end of the file. At a
    record with a wrong checksum reading stops with a warning, since nothing says where the next one begins.
    """
    with path.open("rb") as file:
        while True:
            start = file.tell()
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            length = _HEADER.unpack(header)[0]
            if header != _header(length):
                break
            data = file.read(length)
            footer = file.read(_FOOTER.size)
            if len(footer) < _FOOTER.size:
                return
            if _FOOTER.unpack(footer)[0] != masked_crc32c(data):
                break
            yield data
    lost = path.stat().st_size - start
    warnings.warn(f"{path}: damaged at byte {start}; the last {lost} bytes cannot be read", stacklevel=2)

"""CRC-32C (Castagnoli), the checksum of event files, in NumPy.

`zlib.crc32` is of another polynomial.

The register after a block is linear over GF(2) in the block's bytes: it is the xor of one table entry per byte, looked up by
the byte's value and its distance from the block's end. The register before the block is absorbed into its first four bytes.
"""

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected
_BLOCK = 1024  # the table takes 1 kB per byte of a block: 1 MB, which stays in the cache
_SHORT = 48  # below so many bytes a plain loop is faster than NumPy's overhead


def _byte_table() -> np.ndarray:
    register = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        register = (register >> np.uint32(1)) ^ np.where(register & np.uint32(1), np.uint32(_POLYNOMIAL), np.uint32(0))
    return register


_BYTE = _byte_table()
_BYTE_LIST: list[int] = _BYTE.tolist()


@functools.cache
def _table() -> np.ndarray:
    """`(_BLOCK * 256,)` uint32: what a byte of value v at position p of a full block adds, at index 256 p + v."""
    rows = np.empty((_BLOCK, 256), np.uint32)
    rows[-1] = _BYTE
    for position in range(_BLOCK - 2, -1, -1):  # one zero byte further from the end
        later = rows[position + 1]
        rows[position] = (later >> np.uint32(8)) ^ _BYTE[later & np.uint32(0xFF)]
    return rows.reshape(-1)


_OFFSETS = np.arange(_BLOCK, dtype=np.intp) * 256


def _crc32c(data: bytes) -> int:
    register = 0xFFFFFFFF
    size = len(data)
    if size < _SHORT:
        for byte in data:
            register = (register >> 8) ^ _BYTE_LIST[(register ^ byte) & 0xFF]
        return register ^ 0xFFFFFFFF
    values = np.frombuffer(data, np.uint8)
    for start in range(0, size, _BLOCK):
        tail = size - start
        if tail < 4:  # too short to absorb the register
            for byte in data[start:]:
                register = (register >> 8) ^ _BYTE_LIST[(register ^ byte) & 0xFF]
            break
        block = values[start : start + _BLOCK].astype(np.intp)
        block[:4] ^= np.frombuffer(register.to_bytes(4, "little"), np.uint8)
        block += _OFFSETS[_BLOCK - len(block) :]  # a shorter block is the end of a full one
        register = int(np.bitwise_xor.reduce(_table()[block]))
    return register ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """The checksum of `data` as event files store it: rotated and shifted, so that a stored checksum can be summed again.

    Args:
        data: any bytes.

    Returns:
        An integer of 32 bits.

    Example:
        >>> hex(masked_crc32c(b"123456789"))
        '0xc78ab0e5'
    """
    crc = _crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

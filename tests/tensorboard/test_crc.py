import numpy as np
import pytest

from jaxviz.tensorboard.crc import _crc32c, masked_crc32c


def bitwise(data: bytes) -> int:
    """The definition, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_published_check_value():
    assert _crc32c(b"123456789") == 0xE3069283  # the catalogue's check value of CRC-32C
    assert _crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert _crc32c(b"\xff" * 32) == 0x62A8AB43
    assert _crc32c(bytes(range(32))) == 0x46DD794E


@pytest.mark.parametrize("size", [0, 1, 3, 4, 47, 48, 49, 1023, 1024, 1025, 1027, 1028, 2048, 2051, 5000])
def test_every_way_to_cut_into_blocks_agrees_with_the_definition(size):
    data = np.random.default_rng(size).bytes(size)
    assert _crc32c(data) == bitwise(data)


def test_mask_is_the_one_of_tensorboard():
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as reference

    data = np.random.default_rng(0).bytes(3000)
    assert masked_crc32c(data) == reference(data)

"""The checksum is the one of the standard, and no single error passes it."""

from __future__ import annotations

import pytest

from chunkstore.codecs.crc32c import Crc32cCodec
from chunkstore.errors import ChecksumError, CodecError

CODEC = Crc32cCodec()


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_vectors_of_the_standard(data: bytes, checksum: int) -> None:
    """The examples of RFC 3720 give their checksums, stored least significant byte first."""
    assert bytes(CODEC.encode(data)) == data + checksum.to_bytes(4, "little")


def test_every_flipped_bit_is_found() -> None:
    """Each single bit, of the content or of the checksum itself, is missed by a checksum error."""
    value = bytes(CODEC.encode(b"chunk"))
    for bit in range(8 * len(value)):
        broken = bytearray(value)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChecksumError, match=r"stored 0x[0-9a-f]{8}, computed 0x[0-9a-f]{8}"):
            CODEC.decode(broken)


@pytest.mark.parametrize("n_bytes", range(4))
def test_too_short(n_bytes: int) -> None:
    """Less than a checksum is refused with both lengths."""
    with pytest.raises(CodecError, match=f"at least 4 bytes, got {n_bytes}"):
        CODEC.decode(bytes(n_bytes))


def test_decoding_does_not_copy() -> None:
    """The content comes as a view, so checking costs no memory."""
    value = bytearray(CODEC.encode(b"chunk"))
    content = CODEC.decode(value)
    assert bytes(content) == b"chunk"
    value[0:1] = b"C"
    assert bytes(content) == b"Chunk"

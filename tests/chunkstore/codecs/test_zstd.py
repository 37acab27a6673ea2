"""Zstandard values of every form are read, and none of them can fill the memory."""

from __future__ import annotations

import numpy as np
import pytest
from numcodecs import zstd

from chunkstore.codecs.zstd import ZstdCodec, content_nbytes
from chunkstore.errors import CodecError
from tests.contracts.codecs import peak_bytes

CODEC = ZstdCodec()
SKIPPED = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def streamed(*lengths: int) -> bytes:
    """Write a frame as a stream is written: it declares no length; each block repeats one byte."""
    window = bytes([(17 - 10) << 3])
    frame = b"\x28\xb5\x2f\xfd\x00" + window
    for i, length in enumerate(lengths):
        header = (i == len(lengths) - 1) | 1 << 1 | length << 3
        frame += header.to_bytes(3, "little") + b"A"
    return frame


@pytest.mark.parametrize("n_bytes", [0, 1, 255, 256, 257, 65_791, 65_792, 300_000])
@pytest.mark.parametrize("checksum", [False, True])
def test_declared_length_is_read(n_bytes: int, checksum: bool) -> None:
    """The length that a frame declares is read right in each of the widths it is written in."""
    for data in (bytes(n_bytes), np.random.default_rng(0).bytes(n_bytes)):
        value = bytes(ZstdCodec(1, checksum).encode(data))
        assert content_nbytes(value) == (n_bytes, n_bytes)


@pytest.mark.parametrize("level", [-131072, -1, 0, 1, 22])
def test_others_read_what_we_write(level: int) -> None:
    """The library itself reads what every level writes."""
    data = bytes(range(256)) * 40
    assert zstd.decompress(bytes(ZstdCodec(level).encode(data))) == data


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (zstd.compress(b"abc") + zstd.compress(b"defg"), b"abcdefg"),
        (SKIPPED + zstd.compress(b"abc"), b"abc"),
        (zstd.compress(b"abc") + SKIPPED, b"abc"),
        (zstd.compress(b"abc") + zstd.compress(b""), b"abc"),
        (streamed(100), b"A" * 100),
        (streamed(131_072, 1000, 5), b"A" * 132_077),
        (zstd.compress(b"abc") + streamed(3), b"abcAAA"),
    ],
    ids=["two", "skipped-first", "skipped-last", "empty-last", "stream", "blocks", "mixed"],
)
def test_frames_of_every_kind(value: bytes, expected: bytes) -> None:
    """Several frames, skippable ones and frames without a length decode, into memory or not."""
    try:
        # Older versions of the library lack streams and several frames; then ours lacks them too.
        assert zstd.decompress(value) == expected
    except (RuntimeError, AssertionError):
        pytest.skip("this version of numcodecs does not decode such frames")
    limit = len(expected)
    assert bytes(CODEC.decode(value)) == expected
    assert bytes(CODEC.decode(value, limit=limit)) == expected
    out = np.zeros(limit, np.uint8)
    assert bytes(CODEC.decode(value, limit=limit, out=out)) == expected
    for too_small in (None, np.zeros(limit - 1, np.uint8)):
        with pytest.raises(CodecError):
            CODEC.decode(value, limit=limit - 1, out=too_small)


@pytest.mark.parametrize(
    "bomb",
    [
        streamed(*[131_072] * 4000),
        zstd.compress(b"abc") + zstd.compress(bytes(1 << 28)),
        zstd.compress(b"abc") + streamed(*[131_072] * 4000),
        streamed(3, *[131_072] * 4000),
    ],
    ids=["stream", "second-frame", "second-stream", "small-first-block"],
)
def test_no_form_of_bomb_explodes(bomb: bytes) -> None:
    """However a frame hides how much it holds, it is refused before it takes the memory."""
    assert len(bomb) < 50_000

    def explode() -> None:
        for out in (None, np.empty(3, np.uint8)):
            with pytest.raises(CodecError):
                CODEC.decode(bomb, limit=3, out=out)

    assert peak_bytes(explode) < 1 << 22


def test_absurd_length_is_a_codec_error() -> None:
    """A frame that declares more than any memory holds is refused even without a limit."""
    frame = b"\x28\xb5\x2f\xfd\xe0" + (1 << 62).to_bytes(8, "little") + b"\x23\x03\x00A"
    assert content_nbytes(frame).exact == 1 << 62
    with pytest.raises(CodecError):
        CODEC.decode(frame)


def test_checksum_finds_damage() -> None:
    """A frame with a checksum is refused when its content has changed."""
    value = bytearray(ZstdCodec(1, checksum=True).encode(np.random.default_rng(0).bytes(500)))
    value[100] ^= 1
    with pytest.raises(CodecError, match="zstd cannot decode"):
        CODEC.decode(value)


@pytest.mark.parametrize("value", [b"", b"\x28\xb5\x2f", b"gzip or what", SKIPPED[:-1]])
def test_no_frames(value: bytes) -> None:
    """Bytes that are no frames are refused, none among them."""
    with pytest.raises(CodecError, match="zstd"):
        CODEC.decode(value)


def test_equal_chunks_give_equal_bytes() -> None:
    """Nothing but the data and the configuration decides what is stored."""
    data = bytes(range(256)) * 100
    assert bytes(CODEC.encode(data)) == bytes(ZstdCodec(0, checksum=False).encode(bytearray(data)))

"""Our gzip is everyone's gzip, and the same chunk is always the same bytes."""

from __future__ import annotations

import gzip
import io

import pytest

from chunkstore.codecs.gzip import GzipCodec
from chunkstore.errors import CodecError

DATA = b"chunk by chunk " * 100


@pytest.mark.parametrize("level", range(10))
def test_others_read_what_we_write(level: int) -> None:
    """The standard library reads what every level writes."""
    assert gzip.decompress(bytes(GzipCodec(level).encode(DATA))) == DATA


@pytest.mark.parametrize("level", range(10))
def test_we_read_what_others_write(level: int) -> None:
    """What the standard library writes is read."""
    assert GzipCodec().decode(gzip.compress(DATA, level), limit=len(DATA)) == DATA


def test_header_with_name_and_time() -> None:
    """The optional fields of a header do not disturb."""
    file = io.BytesIO()
    with gzip.GzipFile("name.txt", "wb", fileobj=file, mtime=12345) as stream:
        stream.write(DATA)
    assert GzipCodec().decode(file.getvalue()) == DATA


def test_no_time_is_stored() -> None:
    """Equal chunks give equal bytes: the header's time is zero."""
    assert bytes(GzipCodec().encode(DATA))[4:8] == bytes(4)


def test_members_follow_one_another() -> None:
    """A stream of several members decodes to all of them, within one limit."""
    stream = b"".join(bytes(GzipCodec(1).encode(part)) for part in (DATA, b"", b"end"))
    expected = DATA + b"end"
    assert GzipCodec().decode(stream) == expected
    assert GzipCodec().decode(stream, limit=len(expected)) == expected
    with pytest.raises(CodecError, match=f"more than the {len(expected) - 1} expected"):
        GzipCodec().decode(stream, limit=len(expected) - 1)


def test_wrong_checksum_is_found() -> None:
    """A value whose content does not match its own checksum is refused."""
    value = bytearray(GzipCodec(0).encode(DATA))
    value[20] ^= 1
    with pytest.raises(CodecError, match="gzip cannot decode"):
        GzipCodec().decode(value)


@pytest.mark.parametrize("value", [b"", b"\x1f", b"\x1f\x8b\x08", b"not gzip at all"])
def test_no_gzip(value: bytes) -> None:
    """Bytes that are no gzip stream are refused, none among them."""
    with pytest.raises(CodecError, match="gzip"):
        GzipCodec().decode(value)


def test_rubbish_behind_the_stream() -> None:
    """Bytes behind the last member are damage, not padding."""
    with pytest.raises(CodecError, match="gzip"):
        GzipCodec().decode(bytes(GzipCodec().encode(DATA)) + bytes(8))

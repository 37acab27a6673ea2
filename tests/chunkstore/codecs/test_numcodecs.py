"""Hostile and damaged bytes of the compressors under the names of numcodecs are refused."""

from __future__ import annotations

import bz2
import json
import lzma
import time
import zlib
from contextlib import suppress
from typing import Any

import numcodecs
import numpy as np
import pytest

from chunkstore.codecs import table
from chunkstore.codecs.base import ArrayBytesCodec, BytesBytesCodec, ChunkSpec
from chunkstore.codecs.gzip import GzipCodec
from chunkstore.codecs.numcodecs import NumcodecsBytesCodec
from chunkstore.codecs.pcodec import PcodecCodec
from chunkstore.codecs.zfpy import ZfpyCodec
from chunkstore.errors import ChecksumError, CodecError, MissingExtraError
from chunkstore.metadata.model import CodecSpec
from tests.contracts.codecs import peak_bytes, spec_for

DATA = (np.arange(3000) // 7).astype("i4").tobytes()


def make(codec_id: str, **configuration: Any) -> BytesBytesCodec:
    """Make a codec from bytes to bytes."""
    made = table.make(CodecSpec(f"numcodecs.{codec_id}", configuration), spec_for((3000,), "i4"))
    assert isinstance(made, BytesBytesCodec)
    return made


@pytest.mark.parametrize(
    "configuration",
    [
        {"id": "zlib", "level": 9},
        {"id": "bz2", "level": 3},
        {"id": "lzma"},
        {"id": "lzma", "format": 2, "preset": 1},
        {"id": "lzma", "format": 3, "filters": [{"id": 33, "preset": 1}]},
        {"id": "lz4", "acceleration": 2},
        {"id": "shuffle", "elementsize": 4},
        {"id": "crc32"},
        {"id": "crc32", "location": "end"},
        {"id": "crc32c"},
        {"id": "crc32c", "location": "start"},
        {"id": "adler32"},
        {"id": "fletcher32"},
        {"id": "jenkins_lookup3", "initval": 3},
        {"id": "base64"},
        {"id": "gzip", "level": 2},
        {"id": "zstd", "level": 2},
        {"id": "blosc", "cname": "zstd"},
    ],
    ids=json.dumps,
)
def test_numcodecs_and_we_read_each_other(configuration: dict[str, Any]) -> None:
    """What one encodes the other decodes, for every codec of the library from bytes to bytes."""
    theirs = numcodecs.get_codec(dict(configuration))
    settings = {key: value for key, value in configuration.items() if key != "id"}
    ours = make(configuration["id"], **settings)
    assert bytes(ours.decode(bytes(theirs.encode(np.frombuffer(DATA, "i4"))))) == DATA
    assert bytes(theirs.decode(bytes(ours.encode(DATA)))) == DATA


@pytest.mark.parametrize(
    ("codec", "compress"),
    [
        (GzipCodec(1), lambda data: zlib.compress(data, wbits=31)),
        (make("bz2"), bz2.compress),
        (make("lzma"), lzma.compress),
    ],
    ids=["gzip", "bz2", "lzma"],
)
def test_streams_that_follow_one_another(codec: BytesBytesCodec, compress: Any) -> None:
    """Several streams in a row are one value, within one limit; many empty ones cost no ages."""
    streams = b"".join(compress(part) for part in (DATA[:100], b"", DATA[100:5000], DATA[5000:]))
    assert bytes(codec.decode(streams, limit=len(DATA))) == DATA
    with pytest.raises(CodecError, match="more than the 11999 expected"):
        codec.decode(streams, limit=len(DATA) - 1)
    with pytest.raises(CodecError, match=r"ends before|cannot decode"):
        codec.decode(streams[:-1], limit=len(DATA))
    start = time.monotonic()
    empty = compress(b"") * 20_000
    assert bytes(codec.decode(empty, limit=10)) == b""
    # Copying the rest for each of them would take minutes.
    assert time.monotonic() - start < 20


def test_zlib_takes_one_stream() -> None:
    """Bytes behind the stream are none that zlib wrote."""
    with pytest.raises(CodecError, match="followed by 3 other bytes"):
        make("zlib").decode(zlib.compress(DATA) + b"abc")


def test_lzma_dictionary_is_bounded() -> None:
    """A stream that asks for gigabytes of memory before its first byte is refused."""
    header = b"\x5d" + (3 << 30).to_bytes(4, "little") + b"\xff" * 8 + bytes(20)

    def decode() -> None:
        with pytest.raises(CodecError, match="lzma cannot decode"):
            make("lzma", format=2).decode(header, limit=100)

    assert peak_bytes(decode) < 1 << 22


@pytest.mark.parametrize("declared", [12_001, 2**31 - 1, -1, -(2**31)])
def test_lz4_length_is_checked(declared: int) -> None:
    """The length that an LZ4 block declares is checked before memory is taken."""
    codec = make("lz4")
    value = declared.to_bytes(4, "little", signed=True) + bytes(codec.encode(DATA))[4:]

    def decode() -> None:
        with pytest.raises(CodecError, match=r"declares|more than"):
            codec.decode(value, limit=len(DATA))

    assert peak_bytes(decode) < 1 << 20


@pytest.mark.parametrize(
    "codec_id", ["crc32", "adler32", "crc32c", "fletcher32", "jenkins_lookup3"]
)
def test_checksums_say_so(codec_id: str) -> None:
    """Damage that a checksum finds is a `ChecksumError`."""
    codec = make(codec_id) if codec_id != "crc32c" else make(codec_id, location="start")
    value = bytearray(codec.encode(DATA))
    value[100] ^= 1
    with pytest.raises(ChecksumError):
        codec.decode(bytes(value), limit=len(DATA))


@pytest.mark.parametrize(
    ("codec_id", "configuration", "what"),
    [
        ("lz4", {"speed": 3}, "numcodecs refuses 'lz4'"),
        ("base64", {"level": 3}, "numcodecs refuses 'base64'"),
        ("jenkins_lookup3", {"prefix": "abc"}, "numcodecs refuses"),
        ("gzip", {"speed": 1}, "does not know 'speed'"),
        ("zstd", {"level": 99}, "from -131072 to 22"),
        ("blosc", {"shuffle": 3}, "takes for 'shuffle'"),
        ("blosc", {"level": 3}, "does not know 'level'"),
        ("unheard-of", {}, "is not known here"),
    ],
)
def test_bad_configurations(codec_id: str, configuration: dict[str, Any], what: str) -> None:
    """A configuration that the codec cannot take is refused in words."""
    with pytest.raises(CodecError, match=what):
        make(codec_id, **configuration)


def test_registered_with_numcodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec that another package registered with numcodecs works under its id."""

    class Doubled(numcodecs.abc.Codec):  # type: ignore[misc]
        codec_id = "test-doubled"

        def encode(self, buf: Any) -> bytes:
            return bytes(buf) * 2

        def decode(self, buf: Any, out: Any = None) -> bytes:
            return bytes(buf)[: len(buf) // 2]

    monkeypatch.setitem(numcodecs.registry.codec_registry, "test-doubled", Doubled)
    codec = make("test-doubled")
    assert isinstance(codec, NumcodecsBytesCodec)
    assert codec.encoded_bound(10) is None
    assert bytes(codec.decode(codec.encode(b"abc"))) == b"abc"
    with pytest.raises(CodecError, match="more than the 2 expected"):
        codec.decode(b"abcabc", limit=2)


# --- compressors of numbers, which are libraries of their own -----------------------------------


def floats(n: int) -> tuple[np.ndarray, ChunkSpec]:
    """Give numbers, and their spec."""
    return np.linspace(0, 1, n, dtype="f4"), spec_for((n,), "f4")


def test_pcodec_counts_elements() -> None:
    """A value of fewer or more elements than the chunk's is refused, not half believed."""
    pytest.importorskip("pcodec")
    codec = PcodecCodec()
    values, spec = floats(1000)
    value = codec.encode(values, spec)
    assert codec.decode(value, spec).tobytes() == values.tobytes()
    for n in (1, 999, 1001, 5000):
        with pytest.raises(CodecError, match=r"1000 elements, expected|more than"):
            codec.decode(value, spec_for((n,), "f4"))
    with pytest.raises(CodecError, match="cannot decode"):
        codec.decode(value, spec_for((1000,), "i4"))


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"level": 0, "mode_spec": "classic"},
        {"delta_spec": "none"},
        {"delta_spec": "no_op"},
        {"delta_spec": "try_lookback"},
        {"delta_spec": "try_consecutive", "delta_encoding_order": 2},
        {"delta_encoding_order": 1},
        {"equal_pages_up_to": 100},
    ],
    ids=json.dumps,
)
def test_pcodec_settings(configuration: dict[str, Any]) -> None:
    """Every setting of numcodecs gives values that both of us read."""
    pytest.importorskip("pcodec")
    values, spec = floats(1000)
    codec = table.make(CodecSpec("numcodecs.pcodec", configuration), spec)
    assert isinstance(codec, ArrayBytesCodec)
    value = bytes(codec.encode(values, spec))
    assert len(value) <= (codec.encoded_bound(spec) or 0)
    theirs = numcodecs.get_codec({"id": "pcodec"})
    np.testing.assert_array_equal(theirs.decode(value), values)
    np.testing.assert_array_equal(codec.decode(theirs.encode(values), spec), values)


@pytest.mark.parametrize("shape", [(1,), (100,), (7, 9), (5, 6, 7), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", ["i4", "i8", "f4", "f8"])
def test_zfpy_is_never_cut_short(shape: tuple[int, ...], dtype: str) -> None:
    """A stream without its end is refused, where the library reads memory that is not its own."""
    pytest.importorskip("zfpy")
    rng = np.random.default_rng(0)
    values = (rng.normal(size=shape) * 1000).astype(dtype)
    spec = spec_for(shape, dtype)
    for codec in (ZfpyCodec(), ZfpyCodec(mode=2, rate=16), ZfpyCodec(mode=3, precision=20)):
        value = bytes(codec.encode(values, spec))
        decoded = codec.decode(value, spec)
        assert decoded.shape == shape
        if codec.mode == 4:
            assert decoded.tobytes() == values.tobytes()
        for n_bytes in (0, 3, 11, 12):
            with pytest.raises(CodecError):
                codec.decode(value[:n_bytes], spec)
        for n_bytes in range(16, len(value), 8):
            # The last bytes may be no more than padding.
            with suppress(CodecError):
                assert codec.decode(value[:n_bytes], spec).tobytes() == decoded.tobytes()


def test_zfpy_header_is_checked() -> None:
    """A stream of another shape or type is refused before it takes memory."""
    pytest.importorskip("zfpy")
    codec = ZfpyCodec()
    values, spec = floats(64)
    value = bytes(codec.encode(values, spec))
    for other in (spec_for((65,), "f4"), spec_for((64,), "i4"), spec_for((64,), "f8")):
        with pytest.raises(CodecError, match="zfpy holds"):
            codec.decode(value, other)
    # The same elements along other axes are taken, as bytes would be.
    assert codec.decode(value, spec_for((8, 8), "f4")).shape == (8, 8)
    huge = bytearray(value)
    huge[4:10] = b"\xff" * 6

    def decode() -> None:
        with pytest.raises(CodecError, match="zfpy holds"):
            codec.decode(bytes(huge), spec)

    assert peak_bytes(decode) < 1 << 20


@pytest.mark.parametrize(("codec_id", "dtype", "shape"), [
    ("zfpy", "f2", (4,)), ("zfpy", "f4", ()), ("zfpy", "f4", (1,) * 5), ("pcodec", "?", (4,)),
    ("pcodec", "c8", (4,)),
])  # fmt: skip
def test_types_that_are_refused(codec_id: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Types and numbers of axes that the library does not take are refused at once."""
    with pytest.raises(CodecError, match=f"{codec_id} (cannot )?compress"):
        table.make(CodecSpec(f"numcodecs.{codec_id}", {}), spec_for(shape, dtype))


@pytest.mark.parametrize("codec_id", ["pcodec", "zfpy"])
def test_missing_library(codec_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names the command that installs it."""

    def fail(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(f"chunkstore.codecs.{codec_id}.import_module", fail)
    with pytest.raises(MissingExtraError, match=f"pip install {codec_id}"):
        table.make(CodecSpec(f"numcodecs.{codec_id}", {}), spec_for((4,), "f4"))

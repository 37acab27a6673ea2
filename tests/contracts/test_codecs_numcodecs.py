"""The codecs under the names of numcodecs keep the contract of their kind."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from chunkstore.codecs.base import ArrayBytesCodec
from chunkstore.codecs.bz2 import Bz2Codec
from chunkstore.codecs.crc32c import NumcodecsCrc32cCodec
from chunkstore.codecs.lzma import LzmaCodec
from chunkstore.codecs.numcodecs import NumcodecsBytesCodec
from chunkstore.codecs.pcodec import PcodecCodec
from chunkstore.codecs.shuffle import ShuffleCodec
from chunkstore.codecs.zfpy import ZfpyCodec
from chunkstore.codecs.zlib import Adler32Codec, Crc32Codec, ZlibCodec
from chunkstore.errors import CodecError
from tests.contracts.codecs import (
    ArrayBytesContract,
    BytesBytesContract,
    damaged,
    spec_for,
    values_of,
)

NO_INTEGERS: tuple[Any, ...] = (True, "1", 1.0, [1], 2**70)


class _OneOfSeveral:
    """For a codec that shares its module: tests/chunkstore/codecs/test_table reads the examples."""

    test_documented_example = None


class _OfNumcodecs(_OneOfSeveral, BytesBytesContract):
    """A codec that the library does, made by its id."""

    def remake(self, codec: Any, spec: Any) -> Any:
        """Make a codec again from what it says of itself."""
        return NumcodecsBytesCodec.from_id(codec.codec.codec_id, codec.configuration())

    test_refuses_unknown_keys = None
    test_refuses_bad_configurations = None


class _Expanding:
    """A codec that makes nothing shorter, so that no short value can fill the memory."""

    def test_bomb_takes_no_memory(self: Any) -> None:
        """Nothing is compressed, so nothing can expand."""
        assert len(self.encoded(bytes(1000))) >= 1000


class TestZlib(BytesBytesContract):
    """DEFLATE with a checksum of the content."""

    codec = ZlibCodec(1)
    detects_damage = True
    bad_configurations = ({"level": 10}, {"level": -2}, *({"level": v} for v in NO_INTEGERS))


class TestZlibStored(_Expanding, BytesBytesContract):
    """The level that does not compress, where the bound is tight."""

    codec = ZlibCodec(0)
    detects_damage = True


class TestBz2(BytesBytesContract):
    """Blocks with checksums."""

    codec = Bz2Codec(1)
    detects_damage = True
    bad_configurations = ({"level": 0}, {"level": 10}, *({"level": v} for v in NO_INTEGERS))


class TestLzma(BytesBytesContract):
    """The xz container, with its checksum."""

    codec = LzmaCodec(preset=0)
    detects_damage = True
    bad_configurations = (
        {"format": 0},
        {"format": 4},
        {"format": 3},
        {"check": 3},
        {"preset": 10},
        {"preset": 1, "filters": [{"id": 33}]},
        {"filters": [{"id": 3}]},
        {"filters": "lzma"},
        {"filters": [{"id": "lzma"}]},
        *({"preset": v} for v in NO_INTEGERS),
        *({"format": v} for v in NO_INTEGERS),
    )


class TestLzmaRaw(BytesBytesContract):
    """No container, and filters that say what a container would."""

    codec = LzmaCodec(format=3, filters_json='[{"id": 3, "dist": 4}, {"id": 33, "preset": 1}]')


class TestLz4(_OfNumcodecs):
    """The block format behind a length of four bytes."""

    codec = NumcodecsBytesCodec.from_id("lz4", {"acceleration": 1})


class TestBase64(_Expanding, _OfNumcodecs):
    """Text of bytes."""

    codec = NumcodecsBytesCodec.from_id("base64", {})

    test_damage_is_a_codec_error = None
    test_every_truncation_is_refused = None


class TestShuffle(BytesBytesContract):
    """Bytes of equal weight side by side."""

    codec = ShuffleCodec(4)
    can_expand = False
    payloads = tuple(payload[: len(payload) // 4 * 4] for payload in BytesBytesContract.payloads)
    bad_configurations = ({"elementsize": -1}, *({"elementsize": v} for v in NO_INTEGERS))

    test_damage_is_a_codec_error = None
    test_every_truncation_is_refused = None

    def test_bound_holds(self) -> None:
        """The length stays."""
        assert len(self.encoded(bytes(4096))) == self.codec.encoded_bound(4096) == 4096


class TestShuffleNothing(TestShuffle):
    """Elements of a byte have nothing to shuffle."""

    codec = ShuffleCodec(1)


class _Checksum(_OneOfSeveral, BytesBytesContract):
    """Four bytes beside the others."""

    detects_damage = True
    can_expand = False
    bad_configurations: ClassVar[tuple[dict[str, Any], ...]] = (
        {"location": "middle"},
        {"location": None},
        {"location": ["end"]},
    )


class TestCrc32(_Checksum):
    """Before the bytes, as numcodecs puts it."""

    codec = Crc32Codec("start")


class TestCrc32AtTheEnd(_Checksum):
    """After the bytes."""

    codec = Crc32Codec("end")


class TestAdler32(_Checksum):
    """The checksum of zlib's container."""

    codec = Adler32Codec("start")


class TestCrc32cAtTheStart(_Checksum):
    """The place that version 3 has no name of its own for."""

    codec = NumcodecsCrc32cCodec("start")


class TestFletcher32(_OfNumcodecs):
    """The checksum of HDF5's chunks."""

    codec = NumcodecsBytesCodec.from_id("fletcher32", {})
    can_expand = False


class TestJenkinsLookup3(_OfNumcodecs):
    """The checksum of HDF5's metadata."""

    codec = NumcodecsBytesCodec.from_id("jenkins_lookup3", {"initval": 0})
    detects_damage = True
    can_expand = False


class _OfNumbers(ArrayBytesContract):
    """A library that compresses numbers, and is not required."""

    codec: ArrayBytesCodec
    shapes = ((1,), (7,), (3, 4), (2, 1, 5), (4, 3, 2, 2))
    spec = spec_for((6,), "f4")

    def test_damage_is_a_codec_error(self) -> None:
        """Damaged bytes are refused or give a chunk of its shape, and nothing ever crashes."""
        for dtype in self.dtypes:
            spec = spec_for((30, 40), dtype)
            value = bytes(self.codec.encode(values_of((30, 40), dtype), spec))
            n_refused = 0
            for broken in damaged(value, n=40):
                try:
                    decoded = self.codec.decode(broken, spec)
                except CodecError:
                    n_refused += 1
                    continue
                assert decoded.shape == spec.shape
                assert decoded.dtype == spec.data_type.dtype
            assert n_refused > 40


class TestPcodec(_OfNumbers):
    """pco, which keeps every bit."""

    pytest.importorskip("pcodec")
    codec = PcodecCodec(4)
    dtypes = ("i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
    bad_configurations = (
        {"level": 13},
        {"mode_spec": "try"},
        {"delta_spec": "lookback"},
        {"delta_spec": "no_op", "delta_encoding_order": 1},
        {"delta_encoding_order": 8},
        {"paging_spec": "exact"},
        {"equal_pages_up_to": 0},
        *({"level": v} for v in NO_INTEGERS),
    )


class TestZfpy(_OfNumbers):
    """zfp without loss."""

    pytest.importorskip("zfpy")
    codec = ZfpyCodec()
    dtypes = ("i4", "i8", "f4", "f8")
    bad_configurations = (
        {"mode": 1},
        {"mode": 5},
        {"tolerance": "small"},
        {"rate": None},
        {"precision": True},
    )

"""The codecs of the formats' core, and zstd, keep the contract of their kind."""

from __future__ import annotations

from typing import Any

import pytest

from chunkstore.codecs.blosc import BloscCodec
from chunkstore.codecs.bytes import BytesCodec
from chunkstore.codecs.crc32c import Crc32cCodec
from chunkstore.codecs.gzip import GzipCodec
from chunkstore.codecs.transpose import TransposeCodec
from chunkstore.codecs.zstd import ZstdCodec
from tests.contracts.codecs import (
    ArrayArrayContract,
    ArrayBytesContract,
    BytesBytesContract,
    spec_for,
)

NO_INTEGERS: tuple[Any, ...] = (None, True, "1", 1.0, [1], 2**70)


class TestTransposeReversed(ArrayArrayContract):
    """All axes the other way round, as ``order="F"`` does."""

    codec = TransposeCodec((2, 1, 0))
    shapes = ((2, 3, 4), (1, 5, 1), (2, 0, 3))
    spec = spec_for((2, 3, 4), "i4")
    bad_configurations = (
        {},
        {"order": "F"},
        {"order": None},
        {"order": [0, 1]},
        {"order": [0, 1, 1]},
        {"order": [1, 2, 3]},
        {"order": [0, 1, 2, 3]},
        {"order": [-1, 0, 1]},
        {"order": [0.0, 1.0, 2.0]},
        {"order": [False, True, 2]},
        {"order": {"0": 1}},
    )


class TestTransposeCycle(ArrayArrayContract):
    """A permutation that is not its own inverse."""

    codec = TransposeCodec((3, 0, 1, 2))
    shapes = ((2, 3, 4, 5),)
    spec = spec_for((2, 3, 4, 5), "i4")


class TestTransposeOneAxis(ArrayArrayContract):
    """Nothing to permute."""

    codec = TransposeCodec((0,))
    shapes = ((5,),)


class TestTransposeNoAxes(ArrayArrayContract):
    """Nothing at all."""

    codec = TransposeCodec(())
    shapes = ((),)
    spec = spec_for((), "i4")


class TestBytesLittle(ArrayBytesContract):
    """Least significant byte first."""

    codec = BytesCodec("little")
    bad_configurations = (
        {},
        {"endian": None},
        {"endian": "native"},
        {"endian": "<"},
        {"endian": 1},
        {"endian": ["little"]},
    )


class TestBytesBig(ArrayBytesContract):
    """Most significant byte first."""

    codec = BytesCodec("big")


class TestBytesOfOne(ArrayBytesContract):
    """Elements of one byte need no order."""

    codec = BytesCodec(None)
    dtypes = ("?", "i1", "u1")
    spec = spec_for((6,), "u1")

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
    def test_takes_any_bytes(self, wrap: Any) -> None:
        """Stored bytes may come in any bytes-like form."""
        spec = spec_for((3,), "u1")
        assert self.codec.decode(wrap(b"\x01\x02\x03"), spec).tolist() == [1, 2, 3]


class TestGzip(BytesBytesContract):
    """DEFLATE with a checksum of the content."""

    codec = GzipCodec(5)
    detects_damage = True
    bad_configurations = (
        {},
        {"level": -1},
        {"level": 10},
        *({"level": value} for value in NO_INTEGERS),
    )


class TestGzipStored(BytesBytesContract):
    """The level that does not compress, where the bound is tight."""

    codec = GzipCodec(0)
    detects_damage = True

    def test_bomb_takes_no_memory(self) -> None:
        """Nothing is compressed, so nothing can expand."""
        assert len(self.encoded(bytes(1000))) > 1000


class TestZstd(BytesBytesContract):
    """Zstandard as zarr-python writes it."""

    codec = ZstdCodec(0, checksum=False)
    bad_configurations = (
        {},
        {"level": 23},
        {"level": -131073},
        {"level": 1, "checksum": 1},
        {"level": 1, "checksum": "false"},
        {"level": 1, "checksum": None},
        *({"level": value} for value in NO_INTEGERS),
    )


class TestZstdChecksum(BytesBytesContract):
    """With the checksum, damage is found."""

    codec = ZstdCodec(-3, checksum=True)
    detects_damage = True


class TestCrc32c(BytesBytesContract):
    """The checksum alone."""

    codec = Crc32cCodec()
    detects_damage = True
    can_expand = False
    bad_configurations = ({"location": "end"},)


class BloscContract(BytesBytesContract):
    """What all of blosc's compressors share."""

    bad_configurations = (
        {},
        {"cname": "lz4", "clevel": 5},
        {"cname": "lz5", "clevel": 5, "shuffle": "shuffle"},
        {"cname": None, "clevel": 5, "shuffle": "shuffle"},
        {"cname": ["lz4"], "clevel": 5, "shuffle": "shuffle"},
        {"cname": "lz4", "clevel": 5, "shuffle": 1},
        {"cname": "lz4", "clevel": 5, "shuffle": {}},
        {"cname": "lz4", "clevel": 10, "shuffle": "shuffle"},
        {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 0},
        {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": "4"},
        {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": -1},
        *({"cname": "lz4", "clevel": value, "shuffle": "shuffle"} for value in NO_INTEGERS),
    )


class TestBloscLz4(BloscContract):
    """The fastest, with bytes shuffled."""

    codec = BloscCodec("lz4", 5, "shuffle", 4, 0)


class TestBloscLz4hc(BloscContract):
    """Its slower brother, with bits shuffled."""

    codec = BloscCodec("lz4hc", 9, "bitshuffle", 8, 0)


class TestBloscLz(BloscContract):
    """Blosc's own compressor, nothing shuffled, a block size of the caller's."""

    codec = BloscCodec("blosclz", 5, "noshuffle", None, 4096)


class TestBloscZstd(BloscContract):
    """The default of zarr-python for version 3."""

    codec = BloscCodec("zstd", 3, "bitshuffle", 2, 0)


class TestBloscZlib(BloscContract):
    """DEFLATE in blosc's container."""

    codec = BloscCodec("zlib", 1, "shuffle", 1, 0)


class TestBloscStored(BloscContract):
    """The level that does not compress, where the bound is tight."""

    codec = BloscCodec("lz4", 0, "noshuffle", 1, 0)

    def test_bomb_takes_no_memory(self) -> None:
        """Nothing is compressed, so nothing can expand."""
        assert len(self.encoded(bytes(1000))) > 1000

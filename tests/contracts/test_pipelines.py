"""Lists of codecs, of each kind and in the orders that occur, keep the contract."""

from __future__ import annotations

from typing import Any, ClassVar

from chunkstore.codecs.blosc import BloscCodec
from chunkstore.codecs.bytes import BytesCodec
from chunkstore.codecs.crc32c import Crc32cCodec
from chunkstore.codecs.gzip import GzipCodec
from chunkstore.codecs.zstd import ZstdCodec
from tests.contracts.pipelines import PipelineContract

ZSTD = ZstdCodec(1, checksum=False)
CRC32C = Crc32cCodec()


def transpose(*order: int) -> dict[str, Any]:
    """Write the codec as a document does."""
    return {"name": "transpose", "configuration": {"order": list(order)}}


class TestDefault(PipelineContract):
    """What is written when nothing is asked for."""

    layout: ClassVar[dict[str, Any]] = {}


class TestPlain(PipelineContract):
    """Elements as they are."""

    layout: ClassVar[dict[str, Any]] = {"compressors": None}


class TestBigEndian(PipelineContract):
    """Elements in the order that is not most machines'."""

    layout: ClassVar[dict[str, Any]] = {"compressors": None, "serializer": BytesCodec("big")}


class TestFortran(PipelineContract):
    """Axes the other way round, then compressed."""

    layout: ClassVar[dict[str, Any]] = {"order": "F", "compressors": ZSTD}


class TestTransposeTwice(PipelineContract):
    """Permutations that are not their own inverse, one after the other."""

    layout: ClassVar[dict[str, Any]] = {
        "filters": [transpose(1, 2, 0), transpose(0, 2, 1)],
        "serializer": BytesCodec("big"),
        "compressors": None,
    }
    shapes = ((2, 3, 4),)
    usual_shape = (4, 3, 10)


class TestGzip(PipelineContract):
    """One compressor with a checksum of its own."""

    layout: ClassVar[dict[str, Any]] = {"compressors": GzipCodec(1)}
    detects_damage = True


class TestZstd(PipelineContract):
    """One compressor."""

    layout: ClassVar[dict[str, Any]] = {"compressors": ZSTD}


class TestBlosc(PipelineContract):
    """A compressor that shuffles."""

    layout: ClassVar[dict[str, Any]] = {"compressors": BloscCodec("lz4", 5, "shuffle", 4, 0)}


class TestChecksumLast(PipelineContract):
    """A checksum of what is stored."""

    layout: ClassVar[dict[str, Any]] = {"compressors": [ZSTD, CRC32C]}
    detects_damage = True


class TestChecksumFirst(PipelineContract):
    """A checksum of the elements, compressed with them."""

    layout: ClassVar[dict[str, Any]] = {"compressors": [CRC32C, ZSTD]}
    detects_damage = True


class TestChecksumsOnly(PipelineContract):
    """Two checksums, nothing compressed."""

    layout: ClassVar[dict[str, Any]] = {"compressors": [CRC32C, CRC32C]}
    detects_damage = True


class TestCompressorsInARow(PipelineContract):
    """What one compressor made, given to the next ones."""

    layout: ClassVar[dict[str, Any]] = {
        "compressors": [GzipCodec(0), BloscCodec("zstd", 1, "noshuffle", None, 0), ZSTD]
    }


class TestFormat2(PipelineContract):
    """Version 2: Fortran order, big-endian, one compressor."""

    layout: ClassVar[dict[str, Any]] = {"zarr_format": 2, "order": "F", "compressors": GzipCodec(1)}
    dtypes = ("?", "u1", ">i2", ">f4", "u8")
    detects_damage = True

"""``numcodecs.zlib``: DEFLATE in the zlib container; and the checksums that zlib brings along.

Floor 2. Bytes to bytes. Names in v3, unregistered: ``numcodecs.zlib``, ``numcodecs.crc32``,
``numcodecs.adler32``; in v2: ``{"id": "zlib"}``, ``{"id": "crc32"}``, ``{"id": "adler32"}``.
zarr-python reads all three, zarrs ``numcodecs.zlib``, TensorStore ``{"id": "zlib"}`` in v2.

.. code-block:: json

    {"name": "numcodecs.zlib", "configuration": {"level": 1}}

.. code-block:: json

    {"name": "numcodecs.crc32", "configuration": {"location": "end"}}

.. code-block:: json

    {"name": "numcodecs.adler32"}

Source: numcodecs documentation, "Zlib", "CRC32", "Adler32"; RFC 1950.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from chunkstore.codecs.base import BytesBytesCodec, Checksum32, ChunkSpec, check_limit
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["Adler32Codec", "Crc32Codec", "ZlibCodec"]


@dataclass(frozen=True, slots=True)
class ZlibCodec(BytesBytesCodec):
    """Compress with zlib.

    Parameters
    ----------
    level : int
        From 0, stored, to 9, smallest; -1 leaves it to the library.
    """

    name = "numcodecs.zlib"
    level: int = 1

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, optional=("level",))
        level = settings.integer("level", -1, 9, default=1)
        settings.check()
        return cls(level)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"level": self.level}

    def encoded_bound(self, n_bytes: int) -> int:
        """Add the container and, for stored blocks, 5 bytes each 16 KiB."""
        return n_bytes + 5 * (n_bytes // 16383 + 1) + 6

    def encode(self, data: Buffer) -> Buffer:
        """Compress into one stream."""
        return zlib.compress(data, self.level)

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer:
        """Decompress the one stream."""
        stream = zlib.decompressobj()
        try:
            decoded = stream.decompress(data, 0 if limit is None else limit + 1)
        except zlib.error as error:
            raise CodecError(f"zlib cannot decode {len(data)} bytes: {error}") from error
        if limit is not None and len(decoded) > limit:
            check_limit("zlib", f"{len(decoded)} or more", limit)
        if not stream.eof:
            raise CodecError(f"zlib stream of {len(data)} bytes ends before its end mark")
        if stream.unused_data:
            raise CodecError(f"zlib stream is followed by {len(stream.unused_data)} other bytes")
        return decoded


@dataclass(frozen=True, slots=True)
class Crc32Codec(Checksum32):
    """Store a CRC-32, the one of zlib and PNG.

    Examples
    --------
    >>> bytes(Crc32Codec("end").encode(b"123456789"))[-4:].hex()
    '2639f4cb'
    """

    name = "numcodecs.crc32"

    def checksum(self, content: NDArray) -> int:
        """Compute the checksum of bytes."""
        return zlib.crc32(content.data)


@dataclass(frozen=True, slots=True)
class Adler32Codec(Checksum32):
    """Store an Adler-32."""

    name = "numcodecs.adler32"

    def checksum(self, content: NDArray) -> int:
        """Compute the checksum of bytes."""
        return zlib.adler32(content.data)

"""``gzip``: DEFLATE compression in the gzip container.

Floor 2. Bytes to bytes. Name in v3: ``gzip``; in v2: ``{"id": "gzip"}``.

.. code-block:: json

    {"name": "gzip", "configuration": {"level": 5}}

Uses zlib of the standard library. The header carries no time, so equal chunks give equal bytes.
Source: Zarr v3 core codecs, "gzip"; RFC 1952.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from chunkstore.codecs.base import BytesBytesCodec, ChunkSpec, decode_members
from chunkstore.codecs.settings import Settings
from chunkstore.types import Buffer, NDArray

__all__ = ["GzipCodec"]

_GZIP_CONTAINER = 31
_CONTAINER_BYTES = 18


@dataclass(frozen=True, slots=True)
class GzipCodec(BytesBytesCodec):
    """Compress with gzip.

    Parameters
    ----------
    level : int
        From 0, stored, to 9, smallest.
    """

    name = "gzip"
    level: int = 5

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, required=("level",))
        level = settings.integer("level", 0, 9)
        settings.check()
        return cls(level)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"level": self.level}

    def encoded_bound(self, n_bytes: int) -> int:
        """Add the container and, for stored blocks, 5 bytes each 16 KiB."""
        return n_bytes + 5 * (n_bytes // 16383 + 1) + _CONTAINER_BYTES

    def encode(self, data: Buffer) -> Buffer:
        """Compress into one gzip member."""
        compressor = zlib.compressobj(self.level, zlib.DEFLATED, _GZIP_CONTAINER)
        return compressor.compress(data) + compressor.flush()

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer:
        """Decompress every member of the stream."""
        return decode_members("gzip", _start, data, limit=limit, unlimited=0)


def _start() -> Any:
    return zlib.decompressobj(_GZIP_CONTAINER)

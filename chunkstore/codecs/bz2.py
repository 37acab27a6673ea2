"""``numcodecs.bz2``: bzip2 compression.

Floor 2. Bytes to bytes. Name in v3, unregistered: ``numcodecs.bz2``; in v2: ``{"id": "bz2"}``.
zarr-python and zarrs read it; TensorStore in v2.

.. code-block:: json

    {"name": "numcodecs.bz2", "configuration": {"level": 1}}

Source: numcodecs documentation, "BZ2".
"""

from __future__ import annotations

import bz2
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from chunkstore.codecs.base import BytesBytesCodec, ChunkSpec, decode_members
from chunkstore.codecs.settings import Settings
from chunkstore.types import Buffer, NDArray

__all__ = ["Bz2Codec"]


@dataclass(frozen=True, slots=True)
class Bz2Codec(BytesBytesCodec):
    """Compress with bzip2.

    Parameters
    ----------
    level : int
        From 1, fastest, to 9, smallest.
    """

    name = "numcodecs.bz2"
    level: int = 1

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, optional=("level",))
        level = settings.integer("level", 1, 9, default=1)
        settings.check()
        return cls(level)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"level": self.level}

    def encoded_bound(self, n_bytes: int) -> int:
        """Add one percent and 600 bytes, the bound that the library states."""
        return n_bytes + n_bytes // 100 + 601

    def encode(self, data: Buffer) -> Buffer:
        """Compress into one stream."""
        return bz2.compress(data, self.level)

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer:
        """Decompress every stream."""
        return decode_members("bz2", bz2.BZ2Decompressor, data, limit=limit)

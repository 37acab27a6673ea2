"""``numcodecs.lzma``: LZMA compression, in the xz container or without one.

Floor 2. Bytes to bytes. Name in v3, unregistered: ``numcodecs.lzma``; in v2: ``{"id": "lzma"}``.
zarr-python reads it.

.. code-block:: json

    {"name": "numcodecs.lzma", "configuration": {"format": 1, "check": -1, "preset": 1,
                                                 "filters": null}}

The numbers are those of Python's module ``lzma``. Source: numcodecs documentation, "LZMA".
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from chunkstore.codecs.base import BytesBytesCodec, ChunkSpec, decode_members
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["LzmaCodec"]

_FORMATS = (lzma.FORMAT_XZ, lzma.FORMAT_ALONE, lzma.FORMAT_RAW)
_MEMORY_BYTES = 1 << 30
"""What a stream may make the decoder allocate for its dictionary; preset 9 takes 65 MiB."""


@dataclass(frozen=True, slots=True)
class LzmaCodec(BytesBytesCodec):
    """Compress with LZMA.

    Parameters
    ----------
    format : {1, 2, 3}
        The container: xz, the older one without checksums, or none.
    check : int
        The checksum of an xz stream; -1 is the library's choice, CRC-64.
    preset : int, optional
        From 0, fastest, to 9, smallest; None where there are filters, and for the default, 6.
    filters_json : str
        The chain of filters as JSON, ``"null"`` for the default one. Filters are required without
        a container.
    """

    name = "numcodecs.lzma"
    format: int = lzma.FORMAT_XZ
    check: int = -1
    preset: int | None = None
    filters_json: str = "null"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        keys = ("format", "check", "preset", "filters")
        settings = Settings(cls.name, configuration, optional=keys)
        preset, filters = settings.get("preset"), settings.get("filters")
        if preset is not None:
            # The highest bit asks for more effort at the same level.
            preset = settings.integer("preset", 0, 9 | lzma.PRESET_EXTREME)
            if preset & ~lzma.PRESET_EXTREME > 9:
                settings.note("preset", "a level from 0 to 9")
            if filters is not None:
                settings.problem("preset", f"{cls.name} takes a preset or filters, not both")
        form = settings.integer("format", min(_FORMATS), max(_FORMATS), default=lzma.FORMAT_XZ)
        check = settings.integer("check", -1, 15, default=-1)
        settings.check()
        made = cls(form, check, preset, json.dumps(filters))
        try:
            # The lowest preset stands for any of them; the highest takes 700 MB.
            lzma.LZMACompressor(made.format, made.check, 0 if filters is None else None, filters)
            made._start()
        except (lzma.LZMAError, ValueError, TypeError, OverflowError) as error:
            raise CodecError(f"{cls.name} cannot take {dict(configuration)!r}: {error}") from error
        return made

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {
            "format": self.format,
            "check": self.check,
            "preset": self.preset,
            "filters": self._filters,
        }

    @property
    def _filters(self) -> Any:
        return json.loads(self.filters_json)

    def encoded_bound(self, n_bytes: int) -> int:
        """Allow for what cannot be compressed, which grows where there is no container."""
        return 2 * n_bytes + 512

    def encode(self, data: Buffer) -> Buffer:
        """Compress into one stream."""
        return lzma.compress(data, self.format, self.check, self.preset, self._filters)

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer:
        """Decompress every stream."""
        return decode_members("lzma", self._start, data, limit=limit)

    def _start(self) -> lzma.LZMADecompressor:
        if self.format == lzma.FORMAT_RAW:
            return lzma.LZMADecompressor(self.format, filters=self._filters)
        return lzma.LZMADecompressor(self.format, memlimit=_MEMORY_BYTES)

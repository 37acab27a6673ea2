"""``vlen-utf8``: text of any length, each element with its length in front.

Floor 2. Array to bytes. Name in v3: ``vlen-utf8`` (registered extension); in v2: a filter
``{"id": "vlen-utf8"}`` on the type ``|O``.

.. code-block:: json

    {"name": "vlen-utf8"}

A 4-byte count, then for each element 4 bytes of length and its UTF-8; all numbers little-endian.
Uses numcodecs. Source: zarr-extensions, "vlen-utf8".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numcodecs.vlen import VLenUTF8

from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec, as_bytes, check_count
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["VLenUTF8Codec"]

_CODEC = VLenUTF8()


@dataclass(frozen=True, slots=True)
class VLenUTF8Codec(ArrayBytesCodec):
    """Store text elements one after another, each with its length."""

    name = "vlen-utf8"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        Settings(cls.name, configuration).check()
        if spec.data_type.dtype.kind != "T":
            raise CodecError(f"vlen-utf8 holds the data type string, not {spec.data_type.name}")
        return cls()

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode the elements in C order."""
        encoded: bytearray = _CODEC.encode(array.reshape(-1).astype(object))
        return bytes(encoded)

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decode, after checking the count against the chunk's shape."""
        view = as_bytes(data)
        check_count(self.name, view, spec)
        try:
            decoded = _CODEC.decode(view)
        except (ValueError, UnicodeDecodeError) as error:
            raise CodecError(f"vlen-utf8 cannot decode {view.nbytes} bytes: {error}") from error
        return np.asarray(decoded, object).astype(spec.data_type.dtype).reshape(spec.shape)

"""``vlen-bytes`` and ``vlen-array``: elements of any length, each with its length in front.

Floor 2. Array to bytes. Name in v3: ``vlen-bytes`` (registered extension), and none for the other;
in v2: filters ``{"id": "vlen-bytes"}`` and ``{"id": "vlen-array", "dtype": "<i4"}`` on the type
``|O``.

.. code-block:: json

    {"name": "vlen-bytes"}

A 4-byte count, then for each element 4 bytes of length and its bytes; all numbers little-endian.
Uses numcodecs. Source: zarr-extensions, "vlen-bytes"; numcodecs, "vlen-array".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numcodecs.vlen import VLenArray, VLenBytes

from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec, as_bytes, check_count
from chunkstore.codecs.settings import Settings
from chunkstore.dtypes import from_v2
from chunkstore.errors import CodecError, InvalidArgumentError
from chunkstore.types import Buffer, NDArray

__all__ = ["VLenArrayCodec", "VLenBytesCodec"]

_BYTES = VLenBytes()


@dataclass(frozen=True, slots=True)
class VLenBytesCodec(ArrayBytesCodec):
    """Store byte strings one after another, each with its length."""

    name = "vlen-bytes"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        Settings(cls.name, configuration).check()
        if spec.data_type.name not in ("bytes", "variable_length_bytes"):
            raise CodecError(
                f"vlen-bytes holds the data type bytes, not {spec.data_type.name}; create the "
                f"array with dtype='bytes'"
            )
        return cls()

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode the elements in C order."""
        return _encode(self.name, _BYTES, array, spec)

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decode, after checking the count against the chunk's shape."""
        return _decode(self.name, _BYTES, data, spec)


@dataclass(frozen=True, slots=True)
class VLenArrayCodec(ArrayBytesCodec):
    """Store arrays of one axis one after another, each with its length.

    Parameters
    ----------
    dtype : str
        Type string of what the arrays hold, byte order included.
    """

    name = "numcodecs.vlen-array"
    dtype: str

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        Settings(cls.name, configuration, required=("dtype",)).check()
        try:
            item, _ = from_v2(configuration["dtype"])
        except InvalidArgumentError as error:
            raise CodecError(f"vlen-array: {error}", key="dtype") from error
        if spec.data_type.name != f"array:{item.name}":
            raise CodecError(
                f"vlen-array of {item.name} does not hold {spec.data_type.name}; create the array "
                f"with dtype='array:{item.name}'",
                key="dtype",
            )
        return cls(configuration["dtype"])

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"dtype": self.dtype}

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode the elements in C order."""
        return _encode(self.name, VLenArray(self.dtype), array, spec)

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decode, after checking the count against the chunk's shape."""
        decoded = _decode(self.name, VLenArray(self.dtype), data, spec)
        if np.dtype(self.dtype).isnative:
            return decoded
        swapped = np.empty(decoded.size, object)
        for i, items in enumerate(decoded.flat):
            swapped[i] = items.astype(items.dtype.newbyteorder("="))
        return swapped.reshape(spec.shape)


def _encode(name: str, codec: Any, array: NDArray, spec: ChunkSpec) -> Buffer:
    try:
        # Numcodecs alone would store None as nothing, and cut what does not fit.
        return bytes(codec.encode(spec.data_type.cast(array.reshape(-1))))
    except (TypeError, ValueError) as error:
        raise CodecError(f"{name} cannot encode an element: {error}") from error


def _decode(name: str, codec: Any, data: Buffer, spec: ChunkSpec) -> NDArray:
    view = as_bytes(data)
    check_count(name, view, spec)
    try:
        return np.asarray(codec.decode(view), object).reshape(spec.shape)
    except ValueError as error:
        raise CodecError(f"{name} cannot decode {view.nbytes} bytes: {error}") from error

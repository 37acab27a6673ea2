"""``bytes``: elements one after another in C order, in a declared byte order.

Floor 2. Array to bytes. Name in v3: ``bytes``; in v2: the first character of the type string.

.. code-block:: json

    {"name": "bytes", "configuration": {"endian": "little"}}

Source: Zarr v3 core codecs, "bytes".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec, as_bytes, check_keys
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["BytesCodec"]


@dataclass(frozen=True, slots=True)
class BytesCodec(ArrayBytesCodec):
    r"""Lay elements out one after another.

    Parameters
    ----------
    endian : {"little", "big"}, optional
        Byte order of elements longer than a byte; None only where there are none.

    Examples
    --------
    >>> from chunkstore.dtypes import from_numpy
    >>> spec = ChunkSpec((2,), from_numpy("int16"), 0)
    >>> bytes(BytesCodec("big").encode(np.array([1, 2], "i2"), spec))
    b'\x00\x01\x00\x02'
    """

    name = "bytes"
    endian: Literal["little", "big"] | None = "little"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        check_keys(cls.name, configuration, optional=("endian",))
        endian = configuration.get("endian")
        if endian not in ("little", "big", None):
            raise CodecError(f'bytes takes for "endian" "little" or "big", got {endian!r}')
        if not spec.data_type.is_fixed_size:
            raise CodecError(
                f"bytes cannot hold {spec.data_type.name}: its elements vary in length"
            )
        if endian is None and spec.data_type.needs_byte_order:
            raise CodecError(
                f'bytes needs "endian" for {spec.data_type.name}: its elements are longer than '
                f"a byte"
            )
        return cls(endian)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {} if self.endian is None else {"endian": self.endian}

    def encoded_nbytes(self, spec: ChunkSpec) -> int:
        """Give the length: elements times bytes per element."""
        return spec.n_elements * spec.data_type.dtype.itemsize

    def is_plain(self, spec: ChunkSpec) -> bool:
        """Whether the declared byte order is this machine's."""
        return self.endian in (None, sys.byteorder) or not spec.data_type.needs_byte_order

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Give the elements' bytes: a view of a C-contiguous array in this byte order."""
        stored = array if self.is_plain(spec) else array.astype(self._stored(spec))
        return as_bytes(np.ascontiguousarray(stored)).data

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """View the bytes as elements; a copy only where the byte order is not this machine's."""
        array = as_bytes(data)
        if array.nbytes != self.encoded_nbytes(spec):
            raise CodecError(
                f"expected {self.encoded_nbytes(spec)} bytes for shape {spec.shape} of "
                f"{spec.data_type.name}, got {array.nbytes}"
            )
        stored = array.view(self._stored(spec)).reshape(spec.shape)
        return stored if self.is_plain(spec) else stored.astype(spec.data_type.dtype)

    def _stored(self, spec: ChunkSpec) -> np.dtype[Any]:
        dtype = spec.data_type.dtype
        return dtype if self.is_plain(spec) else dtype.newbyteorder("S")

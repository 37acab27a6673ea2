"""``bytes``: elements one after another in C order, in a declared byte order.

Floor 2. Array to bytes. Name in v3: ``bytes``; in v2: the first character of the type string.

.. code-block:: json

    {"name": "bytes", "configuration": {"endian": "little"}}

Which bytes an element has, and which of its bits mean nothing, is the data type's business.

Source: Zarr v3 core codecs, "bytes".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec, as_bytes
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["BytesCodec"]


@dataclass(frozen=True, slots=True)
class BytesCodec(ArrayBytesCodec):
    r"""Lay elements out one after another.

    Parameters
    ----------
    endian : {"little", "big"}, optional
        Byte order of elements longer than a byte. None where there are none, and where old writers
        left it out, who meant little-endian.

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
        settings = Settings(cls.name, configuration, optional=("endian",))
        endian = settings.get("endian")
        if endian not in ("little", "big", None):
            settings.note("endian", '"little" or "big"')
        settings.check()
        if not spec.data_type.is_fixed_size:
            raise CodecError(
                f"bytes cannot hold {spec.data_type.name}: its elements vary in length"
            )
        if endian is None and not spec.data_type.may_omit_byte_order:
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
        return spec.n_elements * spec.data_type.stored_nbytes

    def is_plain(self, spec: ChunkSpec) -> bool:
        """Whether the declared byte order is this machine's, and every bit has a meaning."""
        return spec.data_type.is_stored_plain(self._order)

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Give the elements' bytes: a view of a C-contiguous array in this byte order."""
        stored = spec.data_type.to_stored(array, self._order)
        return as_bytes(np.ascontiguousarray(stored)).data

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """View the bytes as elements; a copy only where the byte order is not this machine's."""
        array = as_bytes(data)
        if array.nbytes != self.encoded_nbytes(spec):
            raise CodecError(
                f"expected {self.encoded_nbytes(spec)} bytes for shape {spec.shape} of "
                f"{spec.data_type.name}, got {array.nbytes}"
            )
        return spec.data_type.from_stored(array, spec.shape, self._order)

    @property
    def _order(self) -> str:
        return ">" if self.endian == "big" else "<"

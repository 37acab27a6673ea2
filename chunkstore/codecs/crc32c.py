"""``crc32c``: a checksum after the bytes, so that damage is found and never read as data.

Floor 2. Bytes to bytes. Name in v3: ``crc32c``, and unregistered ``numcodecs.crc32c``, which may
also come before the bytes; in v2: ``{"id": "crc32c"}``. zarr-python reads both, TensorStore and
zarrs the first.

.. code-block:: json

    {"name": "crc32c"}

.. code-block:: json

    {"name": "numcodecs.crc32c", "configuration": {"location": "start"}}

Four bytes, little-endian, CRC-32C (Castagnoli). Source: Zarr v3 core codecs, "crc32c"; RFC 3720,
appendix B.4.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import ClassVar, Literal

import google_crc32c
import numpy as np

from chunkstore.codecs.base import BytesBytesCodec, Checksum32, as_bytes, check_limit
from chunkstore.errors import ChecksumError, CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["Crc32cCodec", "NumcodecsCrc32cCodec"]

LIBRARY: str | None = getattr(sys.modules.get("google_crc32c._crc32c"), "__file__", None)
"""The shared library whose C functions the compiled kernel borrows; None for the pure one."""

_N_BYTES = 4


@dataclass(frozen=True, slots=True)
class Crc32cCodec(BytesBytesCodec):
    """Append a CRC-32C.

    Examples
    --------
    >>> bytes(Crc32cCodec().encode(b"123456789"))[-4:].hex()
    '839206e3'
    """

    name = "crc32c"

    def encoded_bound(self, n_bytes: int) -> int:
        """Add four bytes."""
        return n_bytes + _N_BYTES

    def encoded_nbytes(self, n_bytes: int) -> int:
        """Add four bytes."""
        return n_bytes + _N_BYTES

    def encode(self, data: Buffer) -> Buffer:
        """Give the bytes and their checksum."""
        return b"".join((data, _checksum(as_bytes(data)).to_bytes(_N_BYTES, "little")))

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer | NDArray:
        """Check the bytes and give a view of them without the checksum."""
        if len(data) < _N_BYTES:
            raise CodecError(f"crc32c needs at least {_N_BYTES} bytes, got {len(data)}")
        view = as_bytes(data)
        content, stored = view[:-_N_BYTES], int.from_bytes(view[-_N_BYTES:].tobytes(), "little")
        check_limit(self.name, content.nbytes, limit)
        computed = _checksum(content)
        if computed != stored:
            raise ChecksumError(
                f"checksum does not match: stored {stored:#010x}, computed {computed:#010x}"
            )
        return content.data


@dataclass(frozen=True, slots=True)
class NumcodecsCrc32cCodec(Checksum32):
    """Store a CRC-32C before the bytes or after them."""

    name = "numcodecs.crc32c"

    default_location: ClassVar[Literal["start", "end"]] = "end"

    def checksum(self, content: NDArray) -> int:
        """Compute the checksum of bytes."""
        return _checksum(content)


def _checksum(content: NDArray) -> int:
    # The C extension takes only read-only memory; a view costs nothing and claims no more.
    content = content.view()
    content.flags.writeable = False
    checksum: int = google_crc32c.value(np.ascontiguousarray(content))
    return checksum

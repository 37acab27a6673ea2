"""``crc32c``: a checksum after the bytes, so that damage is found and never read as data.

Floor 2. Bytes to bytes. Name in v3: ``crc32c``; in v2: ``{"id": "crc32c"}``.

.. code-block:: json

    {"name": "crc32c"}

Four bytes, little-endian, CRC-32C (Castagnoli). Source: Zarr v3 core codecs, "crc32c"; RFC 3720,
appendix B.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import google_crc32c
import numpy as np

from chunkstore.codecs.base import BytesBytesCodec, as_bytes
from chunkstore.errors import ChecksumError, CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["Crc32cCodec"]

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
        computed = _checksum(content)
        if computed != stored:
            raise ChecksumError(
                f"checksum does not match: stored {stored:#010x}, computed {computed:#010x}"
            )
        return content.data


def _checksum(content: NDArray) -> int:
    # The C extension takes only read-only memory; a view costs nothing and claims no more.
    content = content.view()
    content.flags.writeable = False
    checksum: int = google_crc32c.value(np.ascontiguousarray(content))
    return checksum

"""``zstd``: Zstandard compression.

Floor 2. Bytes to bytes. Name in v3: ``zstd`` (registered extension); in v2: ``{"id": "zstd"}``.

.. code-block:: json

    {"name": "zstd", "configuration": {"level": 0, "checksum": false}}

Uses numcodecs. Both keys are always written, since other readers require one or the other.
Source: zarr-extensions, "zstd"; RFC 8878 for the frame header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from numcodecs import zstd

from chunkstore.codecs.base import BytesBytesCodec, ChunkSpec, check_keys, integer
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["ZstdCodec"]

_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class ZstdCodec(BytesBytesCodec):
    """Compress with Zstandard.

    Parameters
    ----------
    level : int
        From -131072, fastest, to 22, smallest; 0 is the library's default, 3.
    checksum : bool
        Whether the frame ends in a checksum of the content.
    """

    name = "zstd"
    level: int = 0
    checksum: bool = False

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        check_keys(cls.name, configuration, required=("level",), optional=("checksum",))
        checksum = configuration.get("checksum", False)
        if not isinstance(checksum, bool):
            raise CodecError(f'zstd takes for "checksum" true or false, got {checksum!r}')
        return cls(integer(cls.name, configuration, "level", -131072, 22), checksum)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"level": self.level, "checksum": self.checksum}

    def encoded_bound(self, n_bytes: int) -> int:
        """Raw blocks add 3 bytes for each 128 KiB; header and checksum are below 32."""
        return n_bytes + n_bytes // 256 + 64

    def encode(self, data: Buffer) -> Buffer:
        """Compress into one frame that declares its content's length."""
        encoded: bytes = zstd.compress(data, self.level, self.checksum)
        return encoded

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer | NDArray:
        """Decompress, into `out` where the frame declares exactly its length."""
        declared = frame_content_nbytes(data)
        if declared is not None and limit is not None and declared > limit:
            raise CodecError(
                f"zstd frame declares {declared} bytes, more than the {limit} expected"
            )
        into = out if out is not None and declared == out.nbytes else None
        try:
            decoded: Buffer | NDArray = zstd.decompress(data, into)
        except RuntimeError as error:
            raise CodecError(f"zstd cannot decode {len(data)} bytes: {error}") from error
        return decoded


def frame_content_nbytes(data: Buffer) -> int | None:
    """Read the content length that a Zstandard frame declares; None where it declares none.

    Raises
    ------
    CodecError
        If the bytes are no Zstandard frame.

    Examples
    --------
    >>> frame_content_nbytes(zstd.compress(b"seven 7"))
    7
    """
    head = bytes(data[:18])
    if head[:4] != _MAGIC or len(head) < 6:
        raise CodecError(f"not a zstd frame: starts with {head[:4].hex() or 'nothing'}")
    descriptor = head[4]
    size_flag, single_segment, id_flag = descriptor >> 6, descriptor >> 5 & 1, descriptor & 3
    at = 5 + (not single_segment) + (0, 1, 2, 4)[id_flag]
    n_bytes = (1 if single_segment else 0, 2, 4, 8)[size_flag]
    if n_bytes == 0:
        return None
    value = int.from_bytes(head[at : at + n_bytes], "little")
    return value + 256 if n_bytes == 2 else value

"""``blosc``: shuffle and compress in blocks.

Floor 2. Bytes to bytes. Name in v3: ``blosc``; in v2: ``{"id": "blosc"}`` with numbers for the
shuffle. The container is that of c-blosc 1.

.. code-block:: json

    {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 5, "shuffle": "bitshuffle",
                                        "typesize": 4, "blocksize": 0}}

Uses numcodecs. Source: Zarr v3 core codecs, "blosc".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from numcodecs import blosc

from chunkstore.codecs.base import BytesBytesCodec, ChunkSpec, check_limit
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["BloscCodec"]

LIBRARY: str | None = blosc.__file__
"""The shared library whose C functions the compiled kernel borrows."""

_CNAMES = ("lz4", "lz4hc", "blosclz", "zstd", "snappy", "zlib")
SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
"""What the library calls the ways to shuffle."""
_HEADER_BYTES = 16
_MAX_TYPESIZE = 255


@dataclass(frozen=True, slots=True)
class BloscCodec(BytesBytesCodec):
    """Shuffle and compress with blosc.

    Parameters
    ----------
    cname : {"lz4", "lz4hc", "blosclz", "zstd", "snappy", "zlib"}
        The compressor of the blocks.
    clevel : int
        From 0, stored, to 9, smallest.
    shuffle : {"noshuffle", "shuffle", "bitshuffle"}
        Rearrange bytes or bits of equal weight side by side first.
    typesize : int, optional
        Bytes of an element, for the shuffle; None only without one.
    blocksize : int
        Bytes of a block; 0 leaves it to the library.
    """

    name = "blosc"
    cname: str = "zstd"
    clevel: int = 5
    shuffle: str = "shuffle"
    typesize: int | None = 1
    blocksize: int = 0

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`.

        A missing ``typesize`` is taken from the data type, as zarr-python does for the arrays it
        wrote so before the specification asked for it.
        """
        settings = Settings(
            cls.name,
            configuration,
            required=("cname", "clevel", "shuffle"),
            optional=("typesize", "blocksize"),
        )
        cname = settings.choice("cname", _CNAMES)
        clevel = settings.integer("clevel", 0, 9)
        shuffle = settings.choice("shuffle", tuple(SHUFFLES))
        blocksize = settings.integer("blocksize", 0, 2**31 - 1, default=0)
        typesize = None
        if settings.get("typesize") is not None:
            typesize = settings.integer("typesize", 1, 2**31 - 1)
        elif shuffle != "noshuffle":
            typesize = spec.data_type.dtype.itemsize if spec.data_type.is_fixed_size else 1
        settings.check()
        return cls(cname, clevel, shuffle, typesize, blocksize)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        configuration: dict[str, Any] = {
            "cname": self.cname,
            "clevel": self.clevel,
            "shuffle": self.shuffle,
            "blocksize": self.blocksize,
        }
        if self.typesize is not None:
            configuration["typesize"] = self.typesize
        return configuration

    @property
    def element_nbytes(self) -> int:
        """Bytes of an element as the library takes them: larger ones are shuffled as bytes."""
        return self.typesize if self.typesize and self.typesize <= _MAX_TYPESIZE else 1

    def encoded_bound(self, n_bytes: int) -> int:
        """Add the 16 bytes that the container takes where nothing can be compressed."""
        return n_bytes + _HEADER_BYTES

    def encode(self, data: Buffer) -> Buffer:
        """Compress into one blosc buffer."""
        if memoryview(data).nbytes > blosc.MAX_BUFFERSIZE:
            raise CodecError(
                f"blosc holds at most {blosc.MAX_BUFFERSIZE} bytes, got {memoryview(data).nbytes}; "
                f"choose smaller chunks or another codec"
            )
        if self.cname not in blosc.list_compressors():
            raise CodecError(
                f"blosc was built without {self.cname!r}; it has {blosc.list_compressors()}"
            )
        encoded: bytes = blosc.compress(
            data,
            self.cname.encode(),
            self.clevel,
            SHUFFLES[self.shuffle],
            self.blocksize,
            self.element_nbytes,
        )
        return encoded

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer | NDArray:
        """Decompress, into `out` where the header declares exactly its length."""
        if len(data) < _HEADER_BYTES:
            raise CodecError(f"blosc buffer has {len(data)} bytes, less than its header")
        n_bytes, n_stored, _ = blosc._cbuffer_sizes(data)
        if n_stored != len(data):
            raise CodecError(f"blosc header declares {n_stored} bytes stored, found {len(data)}")
        check_limit("blosc", n_bytes, limit)
        if n_bytes == 0:
            # numcodecs takes a buffer of nothing for damage.
            return b""
        into = out if out is not None and n_bytes == out.nbytes else None
        try:
            decoded: Buffer | NDArray = blosc.decompress(data, into)
        except RuntimeError as error:
            raise CodecError(f"blosc cannot decode {len(data)} bytes: {error}") from error
        return decoded

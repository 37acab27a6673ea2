"""``zstd``: Zstandard compression.

Floor 2. Bytes to bytes. Name in v3: ``zstd`` (registered extension); in v2: ``{"id": "zstd"}``.

.. code-block:: json

    {"name": "zstd", "configuration": {"level": 0, "checksum": false}}

Uses numcodecs. Both keys are always written, since other readers require one or the other.
Before anything is allocated the frames' headers are read, so that a small value cannot be made
to fill the memory.
Source: zarr-extensions, "zstd"; RFC 8878 for the frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from numcodecs import zstd

from chunkstore.codecs.base import BytesBytesCodec, ChunkSpec, check_limit
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["ZstdCodec"]

LIBRARY: str | None = zstd.__file__
"""The shared library whose C functions the compiled kernel borrows."""

_MAGIC = 0xFD2FB528
_SKIPPABLE_MAGIC = 0x184D2A50
_CHECKSUM_FLAG, _CHECKSUM_BYTES = 4, 4
_RAW, _REPEATED = 0, 1
_MAX_BLOCK_BYTES = 1 << 17


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
        settings = Settings(cls.name, configuration, required=("level",), optional=("checksum",))
        level = settings.integer("level", -131072, 22)
        checksum = settings.boolean("checksum", default=False)
        settings.check()
        return cls(level, checksum)

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
        """Decompress every frame, into `out` where they hold exactly its length."""
        if out is not None and out.nbytes and _first_declares(data, out.nbytes):
            # Frames after it cannot write past `out`, so there is nothing to add up.
            return _decompress(data, out)
        content = content_nbytes(data)
        if limit is not None and (
            content.exact > limit if content.exact is not None else content.bound > _room(limit)
        ):
            size = f"up to {content.bound}" if content.exact is None else str(content.exact)
            check_limit("zstd", size, limit)
        if content.exact == 0:
            # numcodecs takes a frame of nothing for damage.
            return b""
        fits = out is not None and content.exact in (None, out.nbytes)
        decoded = _decompress(data, out if fits else None)
        check_limit("zstd", len(decoded), limit)
        return decoded


def _decompress(data: Buffer, out: NDArray | None) -> Buffer | NDArray:
    try:
        decoded: Buffer | NDArray = zstd.decompress(data, out)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise CodecError(f"zstd cannot decode {len(data)} bytes: {error}") from error
    return decoded


class ContentLength(NamedTuple):
    """Length of what Zstandard frames hold: exactly, where all declare it, and at the most."""

    exact: int | None
    bound: int


def content_nbytes(data: Buffer) -> ContentLength:
    """Read how many bytes all frames of a value decode to, without decoding them.

    Frames may follow one another, and frames for other programs may stand between them. A frame
    that was written as a stream declares no length; its blocks still bound it.

    Raises
    ------
    CodecError
        If the bytes are no Zstandard frames, or are cut short.

    Examples
    --------
    >>> content_nbytes(zstd.compress(b"seven 7"))
    ContentLength(exact=7, bound=7)
    """
    view = memoryview(data).cast("B")
    exact: int | None = 0
    bound = at = 0
    while at < view.nbytes or at == 0:
        if _number(view, at, 4) & ~0xF == _SKIPPABLE_MAGIC:
            at += 8 + _number(view, at + 4, 4)
        else:
            declared, at, has_checksum = _frame_header(view, at)
            blocks_bound, at = _skip_blocks(view, at)
            at += _CHECKSUM_BYTES * has_checksum
            exact = None if declared is None or exact is None else exact + declared
            bound += blocks_bound if declared is None else declared
    if at > view.nbytes:
        raise CodecError(f"zstd frame is cut short: it has {view.nbytes} bytes of {at}")
    return ContentLength(exact, bound)


def _frame_header(view: memoryview, at: int) -> tuple[int | None, int, bool]:
    """Give the content length that a frame declares, where its blocks start, and its checksum."""
    if _number(view, at, 4) != _MAGIC:
        raise CodecError(f"not a zstd frame: starts with {bytes(view[at : at + 4]).hex()}")
    descriptor = _number(view, at + 4, 1)
    size_flag, single_segment, id_flag = descriptor >> 6, descriptor >> 5 & 1, descriptor & 3
    at += 5 + (not single_segment) + (0, 1, 2, 4)[id_flag]
    n_bytes = (1 if single_segment else 0, 2, 4, 8)[size_flag]
    declared = _number(view, at, n_bytes) + (256 if n_bytes == 2 else 0) if n_bytes else None
    return declared, at + n_bytes, bool(descriptor & _CHECKSUM_FLAG)


def _first_declares(data: Buffer, n_bytes: int) -> bool:
    view = memoryview(data).cast("B")
    if bytes(view[:4]) != _MAGIC.to_bytes(4, "little"):
        return False
    return _frame_header(view, 0)[0] == n_bytes


def _skip_blocks(view: memoryview, at: int) -> tuple[int, int]:
    """Give the most bytes that the blocks from here decode to, and where they end."""
    bound = 0
    is_last = False
    while not is_last:
        header = _number(view, at, 3)
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        bound += size if kind in (_RAW, _REPEATED) else _MAX_BLOCK_BYTES
        at += 3 + (1 if kind == _REPEATED else size)
    return bound, at


def _number(view: memoryview, at: int, n_bytes: int) -> int:
    if at + n_bytes > view.nbytes:
        raise CodecError(f"zstd frame is cut short: it has {view.nbytes} bytes")
    return int.from_bytes(view[at : at + n_bytes], "little")


def _room(limit: int) -> int:
    """Give the bound of blocks up to which frames without a length are decoded to see theirs.

    A compressed block counts for the most that one may hold, so honest frames of flushed blocks
    come out above their length. What is decoded in vain stays in proportion to the limit.
    """
    return 2 * limit + 8 * _MAX_BLOCK_BYTES

"""The compiled kernel as the engine sees it: which arrays it can serve, and what it is told.

Floor 4.1. The kernel is optional and optimistic: what it cannot do, or finds not as expected, the
engine does in Python. It serves elements of fixed size in native byte order, in chunks of one
shape that may be transposed, and in shards of such chunks; uncompressed or compressed by blosc,
zstd, lz4, gzip or zlib, with CRC-32C checksums or without.

Its codecs are the C functions inside the shared libraries of numcodecs and google-crc32c, which
are installed anyway and are the very code that the Python path calls. Judged against the others:

- The blosc2 wheel exports the same functions and reads what numcodecs wrote, but is one more
  dependency of 5 MB for code that is already there, and another version of it.
- Linking to libraries of the system, or building them, would ship a second copy of each, needs
  headers where it is built, and leaves security updates to us.
- A process that finds the functions at run time may find a numcodecs without them: then the steps
  that it cannot run are missing from the table, and Python serves those arrays as before.

zlib comes out of numcodecs' library too, since Python may have its own linked in, where nobody
can find it. It is used to decode alone: its output differs between versions, and what is written
must not depend on who wrote it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chunkstore.codecs import blosc, crc32c, table, zstd
from chunkstore.codecs.base import BytesBytesCodec
from chunkstore.codecs.bytes import BytesCodec
from chunkstore.codecs.numcodecs import NumcodecsBytesCodec
from chunkstore.codecs.transpose import TransposeCodec
from chunkstore.display import Facts
from chunkstore.options import Options
from chunkstore.pipeline import Pipeline
from chunkstore.requests import Pick
from chunkstore.sharding import ShardingCodec
from chunkstore.types import Buffer, NDArray, Shape
from chunkstore.workers import run_in_threads

try:
    from chunkstore import _kernel
except ImportError:  # No compiler when it was installed: Python does all the work.
    _kernel = None  # type: ignore[assignment]

__all__ = ["Kernel", "engine_facts", "is_available", "kernel_for"]

_VERSION = 3
"""What the kernel must say it is; one built from other sources may take other arguments."""

_found: object = None if _kernel is None else getattr(_kernel, "VERSION", "none")
_STEPS = ""
if _found == _VERSION and sys.byteorder == "little":
    _STEPS = _kernel.connect(blosc.LIBRARY, zstd.LIBRARY, crc32c.LIBRARY)

_NAMES = {"c": "crc32c", "b": "blosc", "z": "zstd", "l": "lz4", "g": "gzip", "d": "zlib"}
_INFLATED = {"gzip": "g", "numcodecs.zlib": "d"}
_ENCODED = frozenset("cbzl")


def is_available() -> bool:
    """Whether there is a compiled kernel, and built from the sources beside this file."""
    return _found == _VERSION


def engine_facts() -> Facts:
    """Say what reads and writes chunks in this process, for people."""
    if is_available():
        kernel = "compiled"
    elif _found is not None:
        kernel = "compiled from other sources and not used: install chunkstore again"
    else:
        kernel = "not compiled: chunks are read and written by Python"
    return [
        ("kernel", kernel),
        ("codecs in it", ", ".join(_NAMES[step] for step in _STEPS) or "none"),
        ("threads", Options().threads),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """The kernel's view of one array.

    Parameters
    ----------
    chunks
        What it knows of the chunks.
    dtype : numpy.dtype
        Type of the elements.
    memory_dtype : numpy.dtype or None
        Plain bytes of the same size, for types that do not show their memory to C.
    reads_files, writes_files : bool
        Whether values are files, and whether it can make such values.
    """

    chunks: _kernel.Chunks
    dtype: np.dtype[Any]
    memory_dtype: np.dtype[Any] | None = field(repr=False)
    reads_files: bool
    writes_files: bool

    def read(
        self, out: NDArray, runs: tuple[Pick, ...], *, keep_missing: bool, n_threads: int
    ) -> list[int]:
        """Read elements from files; gives the numbers of the units that are left to Python.

        Units - chunks, or shards - count from 0 in C order of those that the runs touch.
        """
        job = self.chunks.reading(self._memory(out), runs, keep_missing, n_threads)
        _run(job, n_threads)
        return job.left()

    def decode(
        self,
        out: NDArray,
        runs: tuple[Pick, ...],
        *,
        value: Buffer,
        ranges: NDArray,
        numbers: NDArray,
    ) -> list[int]:
        """Decode chunks that are ranges of one value; gives the rows that are left to Python.

        `ranges`, int64 of shape (n, 2), holds offset and length of each, offset -1 for an empty
        one; `numbers`, int64 of shape (n,), says which of the touched chunks it is.
        """
        job = self.chunks.decoding(self._memory(out), runs, value, ranges, numbers)
        _run(job, 1)
        return job.left()

    def write(
        self,
        values: NDArray,
        runs: tuple[Pick, ...],
        *,
        extents: Shape,
        temporary: str,
        keep_empty: bool,
        n_threads: int,
    ) -> list[int]:
        """Write the units that are covered; gives the numbers of those left to Python.

        `temporary` starts the names of files that are half written.
        """
        salt = int.from_bytes(os.urandom(6))
        job = self.chunks.writing(
            self._memory(values), runs, extents, temporary, salt, keep_empty, n_threads
        )
        _run(job, n_threads)
        return job.left()

    def _memory(self, array: NDArray) -> NDArray:
        return array if self.memory_dtype is None else array.view(self.memory_dtype)


def _run(job: _kernel.Job, n_threads: int) -> None:
    """Run a job by so many threads; an interrupt ends it after the units in hand."""

    def help_out(number: int) -> None:
        try:
            while job.run(number):
                pass
        except BaseException:
            job.stop()
            raise

    n_threads = min(n_threads, job.n_units)
    if n_threads > 1:
        run_in_threads(help_out, range(n_threads), n_threads=n_threads)
    else:
        while job.run(0):
            pass


def kernel_for(
    pipeline: Pipeline,
    sharding: ShardingCodec | None = None,
    *,
    prefix: str | None = None,
    separator: str = "/",
) -> Kernel | None:
    """Tell the kernel of an array, or give None if it cannot serve it.

    Parameters
    ----------
    pipeline : Pipeline
        Of a chunk; of an inner chunk where there are shards.
    sharding : ShardingCodec, optional
        The shards around the chunks.
    prefix : str, optional
        What the files of all values start with; None where values are no files.
    separator : str
        Between the coordinates in a file's name.
    """
    spec = pipeline.spec
    dtype = spec.data_type.dtype
    if not _STEPS or not spec.data_type.is_fixed_size or dtype.kind not in "biufcmMSUV":
        return None
    strides = _strides(pipeline)
    if strides is None or dtype.hasobject or not dtype.itemsize:
        return None
    codec = _codec(pipeline)
    index = None if sharding is None else _index(sharding)
    if codec is None or (sharding is not None and index is None):
        return None
    if not any(spec.shape):
        return None
    file_prefix = None if prefix is None else os.fsencode(prefix)
    per_unit = (1,) * len(spec.shape) if sharding is None else sharding.grid.grid_shape
    try:
        chunks = _kernel.Chunks(
            dtype.itemsize,
            spec.shape,
            strides,
            per_unit,
            np.asarray(spec.fill_value, dtype).tobytes(),
            codec,
            index,
            file_prefix or b"",
            separator,
        )
    except (ValueError, OverflowError):  # More axes than it takes, or too large for any memory.
        return None
    # Padding between fields means nothing, so that bytes do not tell whether elements are equal.
    encodes = not pipeline.skipped and dtype.names is None and _ENCODED.issuperset(codec[0])
    plain = None if dtype.kind in "biufc" else np.dtype((np.void, dtype.itemsize))
    reads_files = file_prefix is not None
    return Kernel(chunks, dtype, plain, reads_files, reads_files and encodes)


def _strides(pipeline: Pipeline) -> Shape | None:
    """Give the strides in bytes of a decoded chunk; None if it is more than transposed."""
    spec = pipeline.spec
    if not pipeline.serializer.is_plain(pipeline.stored_spec):
        return None
    axes = list(range(len(spec.shape)))
    for array_codec, _ in pipeline.array_codecs:
        if not isinstance(array_codec, TransposeCodec):
            return None
        axes = [axes[i] for i in array_codec.order]
    strides = [0] * len(axes)
    stride = spec.data_type.dtype.itemsize
    for axis in reversed(axes):
        strides[axis] = stride
        stride *= spec.shape[axis]
    return tuple(strides)


_Codec = tuple[str, int, str, int, int, int, int, bool]


def _codec(pipeline: Pipeline) -> _Codec | None:
    """Say the codecs in the kernel's terms; None if it does not know one, or their order."""
    steps = ""
    settings: tuple[str, int, int, int, int, bool] = ("", 0, 0, 1, 0, False)
    for codec, _, _ in pipeline.bytes_decoding:
        found = _step(codec)
        if found is None or found[0] not in _STEPS or steps.lstrip("c"):
            return None
        steps += found[0]
        if found[1] is not None:
            settings = found[1]
    bound = pipeline.serializer.encoded_bound(pipeline.stored_spec)
    for codec in pipeline.bytes_codecs:
        bound = None if bound is None else codec.encoded_bound(bound)
    return None if bound is None else (steps, bound, *settings)


def _step(codec: BytesBytesCodec) -> tuple[str, tuple[str, int, int, int, int, bool] | None] | None:
    """Give the letter of a codec and its settings: name, level, shuffle, type, block, checksum."""
    if type(codec) is crc32c.Crc32cCodec:
        return "c", None
    if type(codec) is blosc.BloscCodec:
        shuffle = blosc.SHUFFLES[codec.shuffle]
        size = codec.element_nbytes
        return "b", (codec.cname, codec.clevel, shuffle, size, codec.blocksize, False)
    if type(codec) is zstd.ZstdCodec:
        return "z", ("", codec.level, 0, 1, 0, codec.checksum)
    if codec.name in _INFLATED and table.is_ours(type(codec)):
        return _INFLATED[codec.name], None
    if type(codec) is NumcodecsBytesCodec and codec.name == "numcodecs.lz4":
        return "l", ("", codec.configuration().get("acceleration", 1), 0, 1, 0, False)
    return None


def _index(sharding: ShardingCodec) -> tuple[bool, bool] | None:
    """Say how a shard's index is encoded: whether first, whether checked; None if otherwise."""
    index = sharding.index
    steps = [type(codec) for codec in index.bytes_codecs]
    plain = isinstance(index.serializer, BytesCodec) and index.decodes_in_place
    if not plain or steps not in ([], [crc32c.Crc32cCodec]) or "c" not in _STEPS:
        return None
    return sharding.index_first, bool(steps)

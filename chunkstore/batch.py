"""Batches of chunks for the compiled kernel: which arrays it can serve, and what it is told.

Floor 4. The kernel is optional and optimistic: what it cannot do, or finds not as expected, the
engine does in Python. It serves elements of fixed size in native byte order, in chunks that may be
transposed, uncompressed or compressed by blosc or zstd, with a checksum or without.

Its decompressors are the C functions inside the shared libraries of numcodecs and google-crc32c,
which are installed anyway and are the very code that the Python path calls. Linking them anew
would ship a second copy of each; the blosc2 wheel has them too, but is one more dependency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chunkstore.codecs import blosc, crc32c, zstd
from chunkstore.codecs.transpose import TransposeCodec
from chunkstore.display import Facts
from chunkstore.options import Options
from chunkstore.pipeline import Pipeline
from chunkstore.requests import Grid, Projection, Request
from chunkstore.types import Buffer, NDArray, Shape

try:
    from chunkstore import _kernel
except ImportError:  # No compiler when it was installed: Python does all the work.
    _kernel = None  # type: ignore[assignment]

__all__ = [
    "BatchLayout",
    "ChunkList",
    "Chunks",
    "Output",
    "Target",
    "engine_facts",
    "is_available",
    "layout_for",
]

_STEPS = (
    "" if _kernel is None else _kernel.connect(blosc.LIBRARY, zstd.LIBRARY, None, crc32c.LIBRARY)
)

_CODEC_STEPS: dict[type, str] = {
    crc32c.Crc32cCodec: "c",
    blosc.BloscCodec: "b",
    zstd.ZstdCodec: "z",
}


def is_available() -> bool:
    """Whether the compiled kernel is there."""
    return _kernel is not None


def engine_facts() -> Facts:
    """Say what reads chunks in this process, for people."""
    names = {"c": "crc32c", "b": "blosc", "z": "zstd", "l": "lz4"}
    codecs = ", ".join(names[step] for step in _STEPS) or "none"
    return [
        ("kernel", "compiled" if is_available() else "not compiled: chunks are read by Python"),
        ("codecs in it", codecs),
        ("threads", Options().threads),
    ]


class Target(NamedTuple):
    """Where elements go: memory, as bytes, and how the axes lie in it."""

    memory: NDArray
    origin: int
    strides: tuple[int, ...]

    @classmethod
    def of(cls, memory: NDArray, view: NDArray) -> Target:
        """Say where a view lies in the memory that holds it."""
        return cls(memory, _address(view) - _address(memory), view.strides)


class Output(NamedTuple):
    """Where what is read goes: an array, and the contiguous memory it lies in if there is one."""

    view: NDArray
    memory: NDArray | None

    @classmethod
    def of(cls, request: Request, out: NDArray) -> Output:
        """Give the output of a request, in the order in which its projections count upwards."""
        memory = None
        if out.flags.c_contiguous and out.size and not out.dtype.hasobject:
            memory = out.reshape(-1).view(np.uint8)
        return cls(request.buffer_view(out), memory)

    def target(self) -> Target:
        """Say it in the kernel's terms."""
        assert self.memory is not None
        return Target.of(self.memory, self.view)


class Chunks(NamedTuple):
    """Some chunks of a request, an entry each in every array.

    ``coords`` has shape (n, axes); ``regions`` (n, axes, 3) holds first element, number and step
    in the chunk; ``places`` (n,) the byte offset of the first element in the target; ``starts``
    (n, axes) its place in the output.
    """

    coords: NDArray
    regions: NDArray
    places: NDArray
    starts: NDArray

    def of(self, rows: NDArray) -> Chunks:
        """Give some of the chunks."""
        return Chunks(*(array[rows] for array in self))

    def projection(self, row: int) -> Projection:
        """Say of one chunk what the engine's Python path needs to know."""
        inside, outside = [], []
        pairs = zip(self.regions[row].tolist(), self.starts[row].tolist(), strict=True)
        for (first, n, step), start in pairs:
            inside.append(slice(first, first + (n - 1) * step + 1, step))
            outside.append(slice(start, start + n))
        coords = tuple(self.coords[row].tolist())
        return Projection(coords, tuple(inside), tuple(outside), False)


@dataclass(frozen=True, slots=True)
class BatchLayout:
    """What the kernel must know of the chunks of one pipeline."""

    itemsize: int
    chunk_shape: Shape
    chunk_strides: tuple[int, ...]
    steps: bytes
    fill: bytes

    def read_files(
        self, prefix: str, separator: str, chunks: Chunks, target: Target, *, keep_missing: bool
    ) -> NDArray:
        """Read chunks that are files each; gives the entries that are left to Python."""
        status = np.empty(len(chunks.places), np.uint8)
        n_done = _kernel.read_files(
            self._layout(target, keep_missing), prefix.encode(), separator, chunks.coords,
            chunks.regions, chunks.places, target.memory, target.origin, status, 0, len(status),
        )  # fmt: skip
        return _left(status, n_done)

    def decode_parts(
        self, value: Buffer, ranges: NDArray, chunks: Chunks, target: Target
    ) -> NDArray:
        """Decode chunks that are ranges of one value; gives the entries that are left to Python.

        `ranges` (n, 2) holds offset and length of each; offset -1 stands for an empty chunk.
        """
        status = np.empty(len(chunks.places), np.uint8)
        n_done = _kernel.decode_parts(
            self._layout(target, False), value, ranges, chunks.regions, chunks.places,
            target.memory, target.origin, status, 0, len(status),
        )  # fmt: skip
        return _left(status, n_done)

    def _layout(self, target: Target, keep_missing: bool) -> Any:
        fill = None if keep_missing else self.fill
        return (
            self.itemsize, self.chunk_shape, self.chunk_strides, target.strides, self.steps, fill
        )  # fmt: skip


def layout_for(pipeline: Pipeline) -> BatchLayout | None:
    """Give what the kernel must know of a pipeline, or None if it cannot serve it."""
    spec = pipeline.spec
    dtype = spec.data_type.dtype
    if _kernel is None or not spec.data_type.is_fixed_size or dtype.kind not in "biufcmMSUV":
        return None
    if (
        dtype.hasobject
        or dtype.itemsize == 0
        or not pipeline.serializer.is_plain(pipeline.stored_spec)
    ):
        return None
    axes = list(range(len(spec.shape)))
    for array_codec, _ in pipeline.array_codecs:
        if not isinstance(array_codec, TransposeCodec):
            return None
        axes = [axes[i] for i in array_codec.order]
    steps = "".join(_CODEC_STEPS.get(type(step[0]), "?") for step in pipeline.bytes_decoding)
    compressors = steps.lstrip("c")
    if len(compressors) > 1 or any(step not in _STEPS for step in steps):
        return None
    strides = [0] * len(axes)
    stride = dtype.itemsize
    for axis in reversed(axes):
        strides[axis] = stride
        stride *= spec.shape[axis]
    fill = np.asarray(spec.fill_value, dtype).tobytes()
    return BatchLayout(dtype.itemsize, spec.shape, tuple(strides), steps.encode(), fill)


class ChunkList:
    """All chunks of a request, known axis by axis; a part of them is laid out when it is taken."""

    __slots__ = ("_counts", "_parts", "n")

    def __init__(self, request: Request, grid: Grid, strides: Sequence[int]) -> None:
        self._parts: list[NDArray] = []
        for pick, stride in zip(request.picks, strides, strict=True):
            rows = [
                (p.coords[0], cut.start, p.out_selection.stop - p.out_selection.start, cut.step,
                 p.out_selection.start * stride, p.out_selection.start)
                for p in pick.parts(grid)
                for cut in p.chunk_selection
            ]  # fmt: skip
            self._parts.append(np.array(rows, np.int64).reshape(-1, 6))
        self._counts = tuple(len(rows) for rows in self._parts)
        self.n = int(np.prod(self._counts, dtype=np.int64))

    def take(self, low: int, high: int) -> Chunks:
        """Lay out the chunks from `low` to `high`, in C order of the grid."""
        flat = np.arange(low, high)
        n_axes = len(self._parts)
        coords = np.empty((high - low, n_axes), np.int64)
        regions = np.empty((high - low, n_axes, 3), np.int64)
        starts = np.empty((high - low, n_axes), np.int64)
        places = np.zeros(high - low, np.int64)
        if n_axes:
            for axis, index in enumerate(np.unravel_index(flat, self._counts)):
                rows = self._parts[axis][index]
                coords[:, axis] = rows[:, 0]
                regions[:, axis] = rows[:, 1:4]
                places += rows[:, 4]
                starts[:, axis] = rows[:, 5]
        return Chunks(coords, regions, places, starts)


def _left(status: NDArray, n_done: int) -> NDArray:
    return np.empty(0, np.intp) if n_done == len(status) else np.flatnonzero(status)


def _address(array: NDArray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address

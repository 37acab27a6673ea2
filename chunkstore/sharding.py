"""Sharding: many chunks in one stored value, with an index that says where each of them is.

Floor 4. A whole shard is a codec from array to bytes, like any other. A part of a shard is a small
mapping from inner chunk coordinates to byte ranges of the value, which the engine uses to read
and replace inner chunks without touching the others::

    value    | inner chunk | inner chunk | … | index |        index_location "end"
    index    for each inner chunk, in C order: offset and length in bytes, both 2^64 - 1 if empty

Bytes between inner chunks are allowed and ignored; inner chunks may come in any order, and are
written here in C order. Nothing here reads a store.

Source: Zarr v3 core codecs, "sharding_indexed" (ZEP 2).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore import pipeline as pipelines
from chunkstore.chunk_grid import RegularGrid
from chunkstore.codecs import table
from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec, Codec
from chunkstore.codecs.probing import Probed, stand_ins
from chunkstore.codecs.settings import Settings, located
from chunkstore.dtypes import DataType, from_numpy
from chunkstore.empty import is_all_fill
from chunkstore.errors import CodecError
from chunkstore.metadata.model import UNREAD, ArrayMetadata, CodecSpec, Problems, is_count
from chunkstore.metadata.v3 import parse_codecs
from chunkstore.options import Options
from chunkstore.pipeline import Pipeline
from chunkstore.types import Buffer, ByteRange, ChunkCoords, NDArray, Shape

__all__ = ["ShardIndex", "ShardingCodec", "certain_problems", "pipeline_of", "pipeline_problems"]

_EMPTY = 2**64 - 1
_UINT64 = from_numpy("uint64")


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """Where each inner chunk of one stored shard is.

    Parameters
    ----------
    entries : numpy.ndarray of uint64, shape (*grid, 2)
        Offset and length in bytes.
    """

    entries: NDArray

    def ranges_of(self, coords: NDArray) -> NDArray:
        """Give offset and length of many inner chunks, for coordinates of shape (n, axes).

        Returns int64 of shape (n, 2), a copy; both are -1 for an empty one.
        """
        found: NDArray = self.entries.view(np.int64)[tuple(coords.T)]
        # Without axes there is one inner chunk, and numpy gives its row rather than a table.
        return found.reshape(len(coords), 2)

    def range_of(self, coords: ChunkCoords) -> ByteRange | None:
        """Give the byte range of an inner chunk, or None if it is empty."""
        offset, n_bytes = self.entries[coords].tolist()
        return None if offset == _EMPTY and n_bytes == _EMPTY else ByteRange(offset, n_bytes)


@dataclass(frozen=True, slots=True)
class ShardingCodec(ArrayBytesCodec):
    """Encode a shard: its inner chunks one after another, and their index.

    Parameters
    ----------
    chunk_shape : tuple of int
        Shape of an inner chunk; divides the shard's.
    grid : RegularGrid
        The inner chunks over the shard.
    inner : Pipeline
        How an inner chunk is encoded.
    index : Pipeline
        How the index is encoded.
    index_nbytes : int
        Length of the encoded index.
    index_first : bool
        Whether the index is at the start of the value rather than at its end.
    """

    name = "sharding_indexed"
    chunk_shape: Shape
    grid: RegularGrid
    inner: Pipeline
    index: Pipeline
    index_nbytes: int
    index_first: bool
    _configuration: Mapping[str, Any]

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = _settings(configuration)
        location = settings.choice("index_location", ("end", "start"), "end")
        chunk_shape = _inner_shape(settings, spec.shape)
        if chunk_shape is None:
            _note_problems(settings, (spec,))
            settings.check()
        assert chunk_shape is not None
        grid = RegularGrid(spec.shape, chunk_shape)
        index_spec = ChunkSpec((*grid.grid_shape, 2), _UINT64, np.uint64(_EMPTY))
        try:
            inner = _nested(settings, "codecs", [spec.replace(shape=chunk_shape)])
        except RecursionError as error:
            raise CodecError("sharding_indexed is nested too deeply", key="codecs") from error
        index = _nested(settings, "index_codecs", [index_spec])
        index_nbytes = None if index is None else index.encoded_nbytes()
        if index is not None and index_nbytes is None:
            settings.problem("index_codecs", _NOT_FIXED)
        settings.check()
        assert inner is not None and index is not None and index_nbytes is not None
        return cls(
            chunk_shape, grid, inner, index, index_nbytes, location == "start", configuration
        )

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return dict(self._configuration)

    # -- a whole shard --------------------------------------------------------------------------

    def encoded_bound(self, spec: ChunkSpec) -> int | None:
        """Give twice what all inner chunks take at most: bytes between them are allowed."""
        most = self.inner.encoded_bound()
        if most is None:
            return None
        return 2 * math.prod(self.grid.grid_shape) * most + self.index_nbytes

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode every inner chunk that is not empty, and the index."""
        parts = {
            coords: self.encode_inner(array[self.region_of(coords)])
            for coords in np.ndindex(self.grid.grid_shape)
        }
        return self.assemble(parts)

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decode every inner chunk."""
        shard = np.empty(spec.shape, spec.data_type.dtype)
        index = self.index_of(data)
        for coords in np.ndindex(self.grid.grid_shape):
            place = index.range_of(coords)
            target = shard[self.region_of(coords)]
            if place is None:
                target[...] = spec.fill_value
            else:
                self.inner.decode(cut(data, place), target)
        return shard

    # -- parts of a shard -----------------------------------------------------------------------

    def region_of(self, coords: ChunkCoords) -> tuple[slice, ...]:
        """Give the region of the shard that an inner chunk covers."""
        return tuple(
            slice(i * size, (i + 1) * size)
            for i, size in zip(coords, self.chunk_shape, strict=True)
        )

    def encode_inner(self, chunk: NDArray, *, keep_empty: bool = False) -> Buffer | None:
        """Encode one inner chunk; None if it is empty and need not be stored."""
        if not keep_empty and is_all_fill(chunk, self.inner.spec.fill_value):
            return None
        return self.inner.encode(chunk)

    def parts_of(self, value: Buffer) -> dict[ChunkCoords, Buffer | None]:
        """Give the encoded inner chunks of a whole stored shard, as views; empty ones left out."""
        index = self.index_of(value)
        parts: dict[ChunkCoords, Buffer | None] = {}
        for coords in np.ndindex(self.grid.grid_shape):
            place = index.range_of(coords)
            if place is not None:
                parts[coords] = cut(value, place)
        return parts

    @property
    def index_range(self) -> ByteRange:
        """Where the encoded index is in a value."""
        if self.index_first:
            return ByteRange(0, self.index_nbytes)
        return ByteRange(-self.index_nbytes, self.index_nbytes)

    def index_of(self, value: Buffer) -> ShardIndex:
        """Read the index of a whole stored shard."""
        view = memoryview(value)
        part = view[: self.index_nbytes] if self.index_first else view[-self.index_nbytes :]
        return self.decode_index(part, len(view))

    def decode_index(self, encoded: Buffer, value_nbytes: int) -> ShardIndex:
        """Read an encoded index and check it against the length of the stored value.

        Raises
        ------
        CodecError
            If it is damaged, or if inner chunks overlap or lie outside the value.
        """
        if len(encoded) != self.index_nbytes:
            raise CodecError(
                f"shard of {value_nbytes} bytes is shorter than its index of {self.index_nbytes}"
            )
        try:
            entries = self.index.decode(encoded)
        except CodecError as error:
            raise type(error)(f"shard index: {error}") from error
        self._check_ranges(entries.reshape(-1, 2), value_nbytes)
        return ShardIndex(entries)

    def assemble(self, parts: Mapping[ChunkCoords, Buffer | None]) -> bytes:
        """Join encoded inner chunks and their index to the value of a shard; None is empty."""
        entries = np.full((*self.grid.grid_shape, 2), _EMPTY, np.uint64)
        pieces: list[Buffer] = []
        offset = self.index_nbytes if self.index_first else 0
        for coords in np.ndindex(self.grid.grid_shape):
            part = parts.get(coords)
            if part is not None:
                n_bytes = memoryview(part).nbytes
                entries[coords] = offset, n_bytes
                offset += n_bytes
                pieces.append(part)
        index = self.index.encode(entries)
        return b"".join([index, *pieces] if self.index_first else [*pieces, index])

    def _check_ranges(self, entries: NDArray, value_nbytes: int) -> None:
        offsets, lengths = entries[:, 0], entries[:, 1]
        stored = ~((offsets == _EMPTY) & (lengths == _EMPTY))
        offsets, lengths = offsets[stored], lengths[stored]
        if not offsets.size:
            return
        # Compared so that the sum of two large numbers cannot wrap around.
        size = np.uint64(value_nbytes)
        outside = (offsets > size) | (lengths > size - np.minimum(offsets, size))
        order = np.argsort(offsets, kind="stable")
        starts, stops = offsets[order], (offsets + lengths)[order]
        bad = None
        if outside.any():
            bad = f"lies outside the value of {value_nbytes} bytes"
            place = int(np.flatnonzero(outside)[0])
        elif (starts[1:] < stops[:-1]).any():
            bad = "overlaps another one"
            place = int(order[1:][starts[1:] < stops[:-1]][0])
        elif self._meets_index(starts, stops, value_nbytes):
            bad = "overlaps the index"
            place = 0 if self.index_first else int(order[-1])
        if bad is not None:
            flat = int(np.flatnonzero(stored)[place])
            coords = tuple(map(int, np.unravel_index(flat, self.grid.grid_shape)))
            offset, n_bytes = entries[flat].tolist()
            raise CodecError(
                f"shard index: inner chunk {coords}, {n_bytes} bytes at {offset}, {bad}"
            )

    def _meets_index(self, starts: NDArray, stops: NDArray, value_nbytes: int) -> bool:
        if self.index_first:
            return bool(starts[0] < self.index_nbytes)
        return bool(stops.max() > value_nbytes - self.index_nbytes)


def pipeline_problems(
    metadata: ArrayMetadata, options: Options | None = None
) -> Pipeline | list[tuple[str, str]]:
    """Make the pipeline of an array's chunks, or list why it cannot be made, with JSON paths.

    Where chunks differ in shape it is the pipeline of the largest, but the problems are those of
    any: the codecs are tried on every edge, each axis by itself, up to a thousand.
    """
    grid = metadata.grid
    largest = grid.largest_chunk
    made = pipeline_of(metadata, largest, options)
    if isinstance(made, list) or grid.uniform_shape is not None:
        return made
    for axis, edge in _other_edges(metadata):
        shape = (*largest[:axis], edge, *largest[axis + 1 :])
        found = pipeline_of(metadata, shape, options)
        if isinstance(found, list):
            return [(path, f"{what} (for chunks of shape {shape})") for path, what in found]
    return made


def pipeline_of(
    metadata: ArrayMetadata, chunk_shape: Shape, options: Options | None = None
) -> Pipeline | list[tuple[str, str]]:
    """Make the pipeline of an array's chunks of one shape, or list why it cannot be made."""
    fill = metadata.fill_value
    if fill is None:
        fill = metadata.data_type.default_fill()
    spec = ChunkSpec(chunk_shape, metadata.data_type, fill, options or Options())
    return pipelines.build(metadata.codecs, spec, path="codecs", make=make, probe=probe)


def make(entry: CodecSpec, spec: ChunkSpec) -> Codec | None:
    """Make the codec of one entry of a document; as `codecs.table.make`, and sharding too."""
    if entry.name == ShardingCodec.name:
        return ShardingCodec.from_configuration(entry.configuration, spec)
    return table.make(entry, spec)


def probe(entry: CodecSpec, specs: Sequence[ChunkSpec]) -> Probed:
    """Find what is wrong with an entry whatever it is given of `specs`; see `codecs.probing`."""
    if entry.name != ShardingCodec.name:
        return table.probe(entry, specs)
    settings = _settings(entry.configuration)
    settings.choice("index_location", ("end", "start"), "end")
    shapes = {spec.shape for spec in specs}
    _inner_shape(settings, next(iter(shapes)) if len(shapes) == 1 else None)
    _note_problems(settings, specs)
    try:
        settings.check()
    except CodecError as error:
        return Probed(located(error, ""), tuple(specs))
    return Probed([], tuple(specs))


def certain_problems(
    entries: Sequence[CodecSpec],
    options: Options | None = None,
    *,
    data_type: DataType | None = None,
    chunk_shape: Shape | None = None,
) -> list[tuple[str, str]]:
    """List what is wrong with an array's codecs, though not all is known of its chunks.

    Parameters
    ----------
    entries : sequence of CodecSpec
        As in `ArrayMetadata`; those that could not be read are passed over.
    options : Options, optional
        Of the handle to be.
    data_type, chunk_shape
        What is known.
    """
    specs = stand_ins(
        options or Options(),
        data_types=None if data_type is None else [data_type],
        shapes=None if chunk_shape is None else [chunk_shape],
    )
    return pipelines.certain_problems(entries, specs, path="codecs", probe=probe)


def _other_edges(metadata: ArrayMetadata) -> Iterator[tuple[int, int]]:
    """Iterate over the edges of a grid that are not the longest of their axis: (axis, edge)."""
    every = (
        (i, edge) for i, axis in enumerate(metadata.grid.axes) for edge in sorted(axis.edges)[:-1]
    )
    return itertools.islice(every, 1000)


def cut(data: Buffer, place: ByteRange) -> memoryview:
    """Give a view of one checked byte range of a whole value."""
    assert place.length is not None
    return memoryview(data)[place.start : place.start + place.length]


_DEFAULT_INDEX_CODECS: Sequence[Mapping[str, Any]] = (
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
)


_NOT_FIXED = 'sharding_indexed takes for "index_codecs" only codecs of a fixed encoded length'


def _settings(configuration: Mapping[str, Any]) -> Settings:
    return Settings(
        ShardingCodec.name,
        configuration,
        required=("chunk_shape", "codecs"),
        optional=("index_codecs", "index_location"),
    )


def _note_problems(settings: Settings, specs: Sequence[ChunkSpec]) -> None:
    """Note what is wrong with the codecs inside, whatever the shape of an inner chunk."""
    _nested(settings, "codecs", _unknown_shape(specs))
    _nested(settings, "index_codecs", stand_ins(specs[0].options, data_types=[_UINT64]))


def _inner_shape(settings: Settings, shard_shape: Shape | None) -> Shape | None:
    """Read the shape of an inner chunk; None, with the problem noted, if it cannot be one."""
    value = settings.get("chunk_shape")
    if not isinstance(value, (list, tuple)) or not all(is_count(n, least=1) for n in value):
        settings.note("chunk_shape", "integers of at least 1")
        return None
    if shard_shape is not None and (
        len(value) != len(shard_shape)
        or any(shard % n for shard, n in zip(shard_shape, value, strict=True))
    ):
        settings.note("chunk_shape", f"a shape that divides the shard's {shard_shape}")
        return None
    return tuple(value)


def _nested(settings: Settings, key: str, specs: Sequence[ChunkSpec]) -> Pipeline | None:
    """Make one of the two pipelines inside; None, with its problems noted, if it cannot be made.

    Parameters
    ----------
    settings : Settings
        Configuration of the sharding codec.
    key : {"codecs", "index_codecs"}
        Which of them.
    specs : sequence of ChunkSpec
        What it may be given; of several, none is made.
    """
    problems = Problems()
    value = settings.get(key, _DEFAULT_INDEX_CODECS if key == "index_codecs" else ())
    entries = parse_codecs(value, key, problems)
    made: Pipeline | list[tuple[str, str]] = []
    if len(specs) > 1 or UNREAD in entries:
        made = pipelines.certain_problems(entries, specs, path=key, probe=probe)
    elif not problems.found and (value or key in settings):
        made = pipelines.build(entries, specs[0], path=key, make=make, probe=probe)
    if isinstance(made, Pipeline):
        return made
    for path, what in (*problems.found, *made):
        settings.problem(path, what)
    return None


def _unknown_shape(specs: Sequence[ChunkSpec]) -> tuple[ChunkSpec, ...]:
    """Give chunks of the same types and any shape."""
    return stand_ins(specs[0].options, data_types=[spec.data_type for spec in specs])

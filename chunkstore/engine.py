"""The engine: where stored values become chunks and chunks become stored values.

Floor 5. The only place where stores meet codecs::

    read    fetch ─▶ decode ─▶ place in the buffer
    write   take from the buffer (merge with what is stored) ─▶ encode ─▶ store

What does not change from request to request is prepared once, in an `Engine` for each array. One
stored value is one unit of work: a chunk, or a shard, of which only the inner chunks that a
request touches are fetched, and only those that it covers in part are decoded to be written.

Units are shared by the calling thread and a bounded number of helpers (``workers``); each holds one
unit at a time. Where the compiled kernel can serve, it is given batches of chunks (``batch``), and
what it leaves is done here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from chunkstore.batch import BatchLayout, ChunkList, Output, layout_for
from chunkstore.cache import ChunkCache, mark_changed, state_of
from chunkstore.empty import is_all_fill
from chunkstore.errors import (
    ChunkError,
    ChunkStoreError,
    CodecError,
    ConflictError,
    MissingChunkError,
)
from chunkstore.fetching import Fetch, fetched, fetches_of
from chunkstore.keys import join, prefix_of
from chunkstore.metadata.model import ArrayMetadata
from chunkstore.options import Options
from chunkstore.pipeline import Pipeline
from chunkstore.requests import Projection, Request, inner_request
from chunkstore.sharding import ShardingCodec, cut, pipeline_of
from chunkstore.stores.base import OpenValue, Store
from chunkstore.types import Buffer, ByteRange, ChunkCoords, NDArray, Shape
from chunkstore.workers import run_in_threads

__all__ = ["Engine"]

_SERIAL_BYTES = 1 << 17
"""Decoded bytes below which starting a helper thread costs more than it saves."""

_BATCH_BYTES = 1 << 22
"""Decoded bytes of one call of the kernel: long against its overhead, short against a pause."""

_BATCH_CHUNKS = 1024
"""Most chunks of one call of the kernel."""

_MOST_VERSIONS = 10
"""How often a shard is opened again because it was replaced while its parts were read."""

_MOST_VARIANTS = 4096
"""Pipelines kept for chunks of different shapes; each takes some kilobytes."""


class Unit(NamedTuple):
    """One stored value and what a request wants of it."""

    projection: Projection
    key: str
    n_threads: int
    state: Hashable = None
    """Where there is a cache, what tells whether the value has changed since the request."""


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """All that reading and writing the chunks of one array needs.

    Parameters
    ----------
    store : Store
        Where the values are.
    path : str
        The array's path in it.
    metadata : ArrayMetadata
        Grid, key encoding and fill value.
    pipeline : Pipeline
        The codecs; of the largest chunk where chunks differ in shape.
    options : Options
        Threads and the policy for empty and missing chunks.
    """

    store: Store
    path: str
    metadata: ArrayMetadata
    pipeline: Pipeline
    options: Options
    sharding: ShardingCodec | None = field(init=False)
    batch: BatchLayout | None = field(init=False, repr=False)
    _variants: dict[Shape, Engine] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Codecs around a sharding codec hide the places of inner chunks: then a shard is a chunk.
        codec = self.pipeline.serializer
        bare = not self.pipeline.array_codecs and not self.pipeline.bytes_codecs
        is_sharded = isinstance(codec, ShardingCodec) and bare
        object.__setattr__(self, "sharding", codec if is_sharded else None)
        uniform = self.metadata.grid.uniform_shape is not None
        object.__setattr__(self, "batch", layout_for(self.chunk_pipeline) if uniform else None)
        object.__setattr__(self, "_variants", None if uniform else {})

    @property
    def chunk_pipeline(self) -> Pipeline:
        """The codecs of the unit of reading: of an inner chunk where there are shards."""
        return self.pipeline if self.sharding is None else self.sharding.inner

    def chunk_key(self, coords: ChunkCoords) -> str:
        """Give the key under which a chunk, or a shard, is stored."""
        return join(self.path, self.metadata.key_encoding.encode(coords))

    # -- requests -------------------------------------------------------------------------------

    def read(self, request: Request, out: NDArray) -> None:
        """Fill `out`, of the request's buffer shape, with the selected elements."""
        output = Output.of(request, out)
        prefix = None
        is_plain = self.sharding is None and self.metadata.shape
        if is_plain and self._can_batch(request, output):
            prefix = self.store.file_prefix(self._chunk_prefix)
        if prefix is not None:
            self._read_files(prefix, request, output)
            return
        read = Engine._read_chunk if self.sharding is None else Engine._read_shard
        if self._variants is None:
            self._run(lambda unit: read(self, unit, output), request, out.nbytes)
        else:
            self._run(lambda unit: read(self._variant(unit), unit, output), request, out.nbytes)

    def write(self, request: Request, values: NDArray) -> None:
        """Store `values`, of the request's buffer shape, as the selected elements."""
        view = request.buffer_view(values)
        fields = request.fields
        write = Engine._write_chunk if self.sharding is None else Engine._write_shard

        def work(unit: Unit) -> None:
            engine = self if self._variants is None else self._variant(unit)
            mark_changed((self.store, unit.key))
            try:
                write(engine, unit, view, fields)
            finally:
                mark_changed((self.store, unit.key))

        self._run(work, request, values.nbytes)

    def _run(self, work: Callable[[Unit], None], request: Request, n_bytes: int) -> None:
        grid = self.metadata.grid
        n_threads = self._n_threads(n_bytes)
        n_units = min(n_threads, request.n_projections(grid))
        # Threads that have no shard of their own help inside the shards.
        inner = n_threads // max(1, n_units)
        units = (
            Unit(projection, self.chunk_key(projection.coords), inner)
            for projection in request.projections(grid)
        )
        if self._cache is not None:
            units = (u._replace(state=state_of((self.store, u.key))) for u in units)
        run_in_threads(work, units, n_threads=n_units)

    def _n_threads(self, n_bytes: int) -> int:
        """Choose how many threads a request of so many decoded bytes may use."""
        if self.store.concurrency > 1:
            # Requests mostly wait, so that more of them than processors pay even for few bytes,
            # and one thread decodes while others wait.
            return self.options.threads_for(self.store.concurrency)
        if n_bytes > _SERIAL_BYTES or not self.metadata.data_type.is_fixed_size:
            return self.options.threads
        return 1

    def _variant(self, unit: Unit) -> Engine:
        """Give the engine for chunks of a unit's shape, where shapes differ."""
        assert self._variants is not None
        shape = self.metadata.grid.shape_of(unit.projection.coords)
        found = self._variants.get(shape)
        if found is None:
            made = pipeline_of(self.metadata, shape, self.options)
            if isinstance(made, list):
                path, what = made[0]
                self._fail("read", unit, CodecError(f"{path}: {what}"))
            found = replace(self, pipeline=made)
            if len(self._variants) >= _MOST_VARIANTS:
                self._variants.clear()
            self._variants[shape] = found
        return found

    # -- chunks as files, by the kernel ---------------------------------------------------------

    def _read_files(self, prefix: str, request: Request, output: Output) -> None:
        """Read chunks that are files each, in batches of about `_BATCH_BYTES` a thread."""
        assert self.batch is not None and output.memory is not None
        batch, target = self.batch, output.target()
        chunks = ChunkList(request, self.metadata.grid, target.strides)
        separator = self.metadata.key_encoding.separator
        keep_missing = self.options.missing_chunks == "error"
        n_threads = self.options.threads if output.view.nbytes > _SERIAL_BYTES else 1
        size = self._batch_size(chunks.n, n_threads)

        def read_some(low: int) -> None:
            some = chunks.take(low, min(low + size, chunks.n))
            left = batch.read_files(prefix, separator, some, target, keep_missing=keep_missing)
            for i in left:
                projection = some.projection(i)
                self._read_chunk(Unit(projection, self.chunk_key(projection.coords), 1), output)

        lows = range(0, chunks.n, size)
        run_in_threads(read_some, lows, n_threads=min(n_threads, len(lows)))

    def _can_batch(self, request: Request, output: Output) -> bool:
        """Whether the kernel can carry out a request."""
        if self.batch is None or output.memory is None or not request.is_runs:
            return False
        if self._cache is not None:
            return False  # The kernel keeps no decoded chunks.
        # One chunk is read sooner without the arrays that a batch is described by.
        return math.prod(pick.n for pick in request.picks) > self.chunk_pipeline.spec.n_elements

    @property
    def _chunk_prefix(self) -> str:
        """What the keys of all chunks start with, before the first coordinate."""
        encoding = self.metadata.key_encoding
        return prefix_of(self.path) + (
            f"c{encoding.separator}" if encoding.name == "default" else ""
        )

    def _batch_size(self, n_chunks: int, n_threads: int) -> int:
        """Choose how many chunks one call of the kernel takes: enough work, and some for all."""
        spec = self.chunk_pipeline.spec
        by_bytes = _BATCH_BYTES // max(1, spec.n_elements * spec.data_type.dtype.itemsize)
        return max(1, min(by_bytes, -(-n_chunks // (4 * n_threads)), _BATCH_CHUNKS))

    # -- a chunk as one value -------------------------------------------------------------------

    def _read_chunk(self, unit: Unit, output: Output) -> None:
        if self._read_kept(unit, self.pipeline, unit.projection, output):
            return
        value = self.store.get_buffer(unit.key)
        if value is None:
            self._fill(unit, output.view)
            return
        try:
            self._decode(unit, self.pipeline, value, unit.projection, output)
        except CodecError as error:
            self._fail("read", unit, error)

    # -- decoded chunks that are kept -----------------------------------------------------------

    @property
    def _cache(self) -> ChunkCache | None:
        # Of elements without a fixed size an array does not know how much memory they take.
        return self.options.cache if self.metadata.data_type.is_fixed_size else None

    def _cache_key(self, unit: Unit, pipeline: Pipeline, coords: ChunkCoords) -> Hashable:
        spec = pipeline.spec
        return self.store, unit.key, coords, spec.shape, spec.data_type.dtype.str

    def _read_kept(
        self, unit: Unit, pipeline: Pipeline, projection: Projection, output: Output
    ) -> bool:
        """Place a chunk from the cache; False if it is not there."""
        if self._cache is None:
            return False
        key = self._cache_key(unit, pipeline, projection.coords)
        chunk = self._cache.get(key, unit.state)
        if chunk is None:
            return False
        output.view[projection.out_selection] = chunk[projection.chunk_selection]
        return True

    def _decode(
        self,
        unit: Unit,
        pipeline: Pipeline,
        value: Buffer,
        projection: Projection,
        output: Output,
    ) -> None:
        """Decode a chunk, keep it where there is a cache, and place what is selected of it."""
        if self._cache is None:
            _place(pipeline, value, projection, output.view)
            return
        chunk: NDArray = np.empty(pipeline.spec.shape, pipeline.spec.data_type.dtype)
        pipeline.decode(value, chunk)
        output.view[projection.out_selection] = chunk[projection.chunk_selection]
        key = self._cache_key(unit, pipeline, projection.coords)
        self._cache.put(key, unit.state, chunk)

    def _write_chunk(self, unit: Unit, values: NDArray, fields: str | list[str] | None) -> None:
        _, selection, out_selection, whole = unit.projection
        part = values[out_selection] if out_selection else values
        pipeline = self.pipeline

        def encode(chunk: NDArray) -> Buffer | None:
            if not self.options.write_empty_chunks and is_all_fill(chunk, pipeline.spec.fill_value):
                return None
            return pipeline.encode(chunk)

        def merge(stored: bytes | None) -> Buffer | None:
            chunk = pipeline.full_chunk()
            if stored is not None:
                pipeline.decode(stored, chunk)
            _assign(chunk, selection, part, fields)
            if stored is not None and not self.store.can_forget:
                return pipeline.encode(chunk)
            return encode(chunk)

        try:
            if not whole or fields:
                self.store.update(unit.key, merge)
                return
            encoded = encode(_padded(pipeline, selection, part))
        except CodecError as error:
            self._fail("write", unit, error)
        self._put(unit.key, encoded)

    # -- a shard as one value -------------------------------------------------------------------

    def _read_shard(self, unit: Unit, output: Output) -> None:
        request = inner_request(unit.projection.chunk_selection)
        if request is None:
            self._read_chunk(unit, output)
            return
        if self._cache is not None and self._read_all_kept(unit, request, output):
            return
        for _ in range(_MOST_VERSIONS):
            try:
                self._read_version(unit, request, output)
            except ConflictError as error:
                conflict = error
            else:
                return
        raise conflict

    def _read_all_kept(self, unit: Unit, request: Request, output: Output) -> bool:
        """Read from the cache alone; False if any inner chunk is missing there."""
        codec, selection = self.sharding, unit.projection.out_selection
        assert codec is not None
        part = output._replace(view=output.view[selection])
        for projection in request.projections(codec.grid):
            if not self._read_kept(unit, codec.inner, projection, part):
                return False
        if _is_copy(selection):
            output.view[selection] = part.view
        return True

    def _read_version(self, unit: Unit, request: Request, output: Output) -> None:
        """Read from a shard as it is stored now; `ConflictError` if it is replaced meanwhile."""
        codec = self.sharding
        assert codec is not None
        _, _, out_selection, whole = unit.projection
        if whole:
            value = self.store.get_buffer(unit.key)
            opened = None if value is None else OpenValue(value)
        else:
            opened = self.store.open_value(unit.key, codec.index_range)
        if opened is None:
            self._fill(unit, output.view)
            return
        part = output.view[out_selection]
        is_copy = _is_copy(out_selection)
        read = self._read_inner
        if self._can_batch(request, output) and not is_copy:
            read = self._decode_inner
        try:
            with opened:
                read(unit, opened, request, output._replace(view=part))
        except CodecError as error:
            self._fail("read", unit, error)
        if is_copy:
            output.view[out_selection] = part

    def _read_inner(self, unit: Unit, opened: OpenValue, request: Request, output: Output) -> None:
        """Read the inner chunks that a request touches, from one version of a shard."""
        codec = self.sharding
        assert codec is not None
        index = codec.decode_index(opened.read(codec.index_range), opened.n_bytes)
        projections = list(request.projections(codec.grid))
        coords = np.array([p.coords for p in projections], np.intp).reshape(len(projections), -1)
        ranges = index.ranges_of(coords)

        def read_some(fetch: Fetch) -> None:
            data = fetched(opened, fetch)
            for row in fetch.rows.tolist():
                self._read_inner_chunk(
                    unit,
                    projections[row],
                    data=data,
                    place=ranges[row],
                    start=fetch.start,
                    output=output,
                )

        fetches = list(fetches_of(ranges, gap=self.store.gap_bytes, n_threads=unit.n_threads))
        run_in_threads(read_some, fetches, n_threads=min(unit.n_threads, len(fetches)))

    def _decode_inner(
        self, unit: Unit, opened: OpenValue, request: Request, output: Output
    ) -> None:
        """Do what `_read_inner` does by the kernel."""
        codec, batch = self.sharding, self.batch
        assert codec is not None and batch is not None
        index = codec.decode_index(opened.read(codec.index_range), opened.n_bytes)
        target = output.target()
        listed = ChunkList(request, codec.grid, target.strides)
        chunks = listed.take(0, listed.n)
        ranges = index.ranges_of(chunks.coords)

        def read_some(fetch: Fetch) -> None:
            data = fetched(opened, fetch)
            some, within = chunks.of(fetch.rows), ranges[fetch.rows]
            within[:, 0] -= np.where(within[:, 0] < 0, 0, fetch.start)
            for i in batch.decode_parts(data, within, some, target).tolist():
                self._read_inner_chunk(
                    unit, some.projection(i), data=data, place=within[i], start=0, output=output
                )

        fetches = list(fetches_of(ranges, gap=self.store.gap_bytes, n_threads=unit.n_threads))
        run_in_threads(read_some, fetches, n_threads=min(unit.n_threads, len(fetches)))

    def _read_inner_chunk(
        self,
        unit: Unit,
        projection: Projection,
        *,
        data: Buffer,
        place: NDArray,
        start: int,
        output: Output,
    ) -> None:
        """Decode one inner chunk from fetched bytes, of which the first is byte `start`."""
        inner = self.chunk_pipeline
        offset, n_bytes = place.tolist()
        if offset < 0:
            output.view[projection.out_selection] = inner.spec.fill_value
            return
        try:
            part = cut(data, ByteRange(offset - start, n_bytes))
            self._decode(unit, inner, part, projection, output)
        except CodecError as error:
            raise type(error)(f"inner chunk {projection.coords}: {error}") from error

    def _write_shard(self, unit: Unit, values: NDArray, fields: str | list[str] | None) -> None:
        codec = self.sharding
        assert codec is not None
        _, selection, out_selection, whole = unit.projection
        part = values[out_selection] if out_selection else values
        request = inner_request(selection)
        if request is None:
            self._write_chunk(unit, values, fields)
            return

        def merge(stored: bytes | None) -> Buffer | None:
            parts: dict[ChunkCoords, Buffer | None] = {}
            if stored is not None:
                parts.update(codec.parts_of(stored))

            def write_one(projection: Projection) -> None:
                old = parts.get(projection.coords)
                parts[projection.coords] = self._merged_inner(projection, part, fields, old)

            projections = request.projections(codec.grid)
            run_in_threads(write_one, projections, n_threads=unit.n_threads)
            is_empty = all(piece is None for piece in parts.values())
            if is_empty and (stored is None or self.store.can_forget):
                return None
            return codec.assemble(parts)

        try:
            if not whole or fields:
                self.store.update(unit.key, merge)
                return
            encoded = merge(None)
        except CodecError as error:
            self._fail("write", unit, error)
        self._put(unit.key, encoded)

    def _merged_inner(
        self,
        projection: Projection,
        values: NDArray,
        fields: str | list[str] | None,
        old: Buffer | None,
    ) -> Buffer | None:
        """Encode one inner chunk with its new values; the old ones are decoded only if needed."""
        assert self.sharding is not None
        inner = self.sharding.inner
        _, selection, out_selection, whole = projection
        part = values[out_selection]
        if whole and not fields:
            chunk = _padded(inner, selection, part)
        else:
            chunk = inner.full_chunk()
            if old is not None:
                inner.decode(old, chunk)
            _assign(chunk, selection, part, fields)
        return self.sharding.encode_inner(chunk, keep_empty=self.options.write_empty_chunks)

    # -- what both have in common ---------------------------------------------------------------

    def _put(self, key: str, encoded: Buffer | None) -> None:
        """Store a value; None stands for an empty one, which is deleted if it was stored."""
        if encoded is None:
            self.store.delete(key)
        else:
            self.store.set(key, encoded)

    def _fill(self, unit: Unit, out: NDArray) -> None:
        """Read a chunk that is not stored."""
        if self.options.missing_chunks == "error":
            raise MissingChunkError(
                f"chunk {unit.projection.coords} of {self.path or '/'!r} in {self.store!r} is not "
                f"stored (key {unit.key!r}), and the handle was opened with missing_chunks='error'",
                store=self.store,
                path=self.path,
                key=unit.key,
                chunk_coords=unit.projection.coords,
            )
        out[unit.projection.out_selection] = self.pipeline.spec.fill_value

    def _fail(self, verb: str, unit: Unit, error: ChunkStoreError) -> NoReturn:
        coords = unit.projection.coords
        hint = "The value is damaged, or was written under other metadata."
        if verb == "write":
            hint = _padding_hint(self.chunk_pipeline)
        raise ChunkError(
            f"cannot {verb} chunk {coords} of array {self.path or '/'!r} in {self.store!r} (key "
            f"{unit.key!r}): {error}. {hint}".rstrip(),
            store=self.store,
            path=self.path,
            key=unit.key,
            chunk_coords=coords,
        ) from error


def _padding_hint(pipeline: Pipeline) -> str:
    """Say so where a chunk may have failed for its padding, and not for the values given."""
    if not pipeline.spec.data_type.is_fixed_size:
        return ""
    try:
        pipeline.lay_out(pipeline.full_chunk())
    except CodecError:
        return (
            f"The fill value {pipeline.spec.fill_value!s}, which fills up chunks that are written "
            f"in part or reach beyond the array, cannot be encoded: create it with another one."
        )
    return ""


def _place(pipeline: Pipeline, value: Buffer, projection: Projection, out: NDArray) -> None:
    """Decode a value and put what is selected of it where it belongs."""
    _, selection, out_selection, whole = projection
    if whole:
        # Only slices make a projection whole, so this is a view of `out`.
        target = out[out_selection] if out_selection else out
        if target.shape == pipeline.spec.shape:
            pipeline.decode(value, target)
            return
    out[out_selection] = pipeline.decode(value)[selection]


def _is_copy(selection: tuple[Any, ...]) -> bool:
    """Whether numpy makes a copy for a selection rather than a view."""
    return any(isinstance(entry, np.ndarray) for entry in selection)


def _padded(pipeline: Pipeline, selection: tuple[Any, ...], part: NDArray) -> NDArray:
    """Give a chunk in the stored type; what reaches beyond the array is fill value."""
    spec = pipeline.spec
    if part.shape == spec.shape:
        return part.astype(spec.data_type.dtype, copy=False)
    chunk = pipeline.full_chunk()
    chunk[selection] = part
    return chunk


def _assign(
    chunk: NDArray, selection: tuple[Any, ...], part: NDArray, fields: str | list[str] | None
) -> None:
    target = chunk[fields] if fields else chunk
    target[selection] = part

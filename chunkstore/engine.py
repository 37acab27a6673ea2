"""The engine: where stored values become chunks and chunks become stored values.

Floor 5. The only place with threads, and the only one where stores meet codecs::

    read    fetch ─▶ decode ─▶ place in the buffer
    write   take from the buffer (merge with what is stored) ─▶ encode ─▶ store

What does not change from request to request is prepared once, in an `Engine` for each array. One
stored value is one unit of work: a chunk, or a shard, of which only the inner chunks that a
request touches are fetched, and only those that it covers in part are decoded to be written.

Units are shared by the calling thread and a bounded number of helpers that live as long as the
request: nothing outlives a call, so there is nothing to close, and a forked child inherits
nothing. Each thread holds one unit at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from chunkstore.empty import is_all_fill
from chunkstore.errors import ChunkError, ChunkStoreError, CodecError, MissingChunkError
from chunkstore.indexing import Projection, Request, inner_request
from chunkstore.keys import join
from chunkstore.metadata.model import ArrayMetadata
from chunkstore.options import Options
from chunkstore.pipeline import Pipeline
from chunkstore.sharding import ShardingCodec, cut, pipeline_of
from chunkstore.stores.base import OpenValue, Store
from chunkstore.types import Buffer, ByteRange, ChunkCoords, NDArray, Shape

__all__ = ["Engine", "run_in_threads"]

_T = TypeVar("_T")

_SERIAL_BYTES = 1 << 17
"""Decoded bytes below which starting a helper thread costs more than it saves."""

_GAP_BYTES = 1 << 15
"""Inner chunks no further apart than this are fetched together: skipping costs more."""

_FETCH_BYTES = 1 << 24
"""Most bytes of one fetch of several inner chunks, so that memory stays bounded."""


_MOST_VARIANTS = 4096
"""Pipelines kept for chunks of different shapes; each takes some kilobytes."""


class Unit(NamedTuple):
    """One stored value and what a request wants of it."""

    projection: Projection
    key: str
    n_threads: int


class Fetch(NamedTuple):
    """Inner chunks that lie close together: the bytes to read, and where each is in them."""

    start: int
    stop: int
    wanted: list[tuple[Projection, ByteRange]]


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
    _variants: dict[Shape, Engine] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Codecs around a sharding codec hide the places of inner chunks: then a shard is a chunk.
        codec = self.pipeline.serializer
        bare = not self.pipeline.array_codecs and not self.pipeline.bytes_codecs
        is_sharded = isinstance(codec, ShardingCodec) and bare
        object.__setattr__(self, "sharding", codec if is_sharded else None)
        uniform = self.metadata.grid.uniform_shape is not None
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
        view = request.buffer_view(out)
        read = Engine._read_chunk if self.sharding is None else Engine._read_shard
        if self._variants is None:
            self._run(lambda unit: read(self, unit, view), request, out.nbytes)
        else:
            self._run(lambda unit: read(self._variant(unit), unit, view), request, out.nbytes)

    def write(self, request: Request, values: NDArray) -> None:
        """Store `values`, of the request's buffer shape, as the selected elements."""
        view = request.buffer_view(values)
        fields = request.fields
        write = Engine._write_chunk if self.sharding is None else Engine._write_shard
        if self._variants is None:
            self._run(lambda unit: write(self, unit, view, fields), request, values.nbytes)
        else:
            self._run(
                lambda unit: write(self._variant(unit), unit, view, fields), request, values.nbytes
            )

    def _run(self, work: Callable[[Unit], None], request: Request, n_bytes: int) -> None:
        grid = self.metadata.grid
        n_threads = 1
        if n_bytes > _SERIAL_BYTES or not self.metadata.data_type.is_fixed_size:
            n_threads = self.options.threads
        n_units = min(n_threads, request.n_projections(grid))
        # Threads that have no shard of their own help inside the shards.
        inner = n_threads // max(1, n_units)
        units = (
            Unit(projection, self.chunk_key(projection.coords), inner)
            for projection in request.projections(grid)
        )
        run_in_threads(work, units, n_threads=n_units)

    def _variant(self, unit: Unit) -> Engine:
        """Give the engine for chunks of a unit's shape, where shapes differ."""
        assert self._variants is not None
        shape = self.metadata.grid.shape_of(unit.projection.coords)
        found = self._variants.get(shape)
        if found is None:
            made = pipeline_of(self.metadata, shape)
            if isinstance(made, list):
                path, what = made[0]
                self._fail("read", unit, CodecError(f"{path}: {what}"))
            found = replace(self, pipeline=made)
            if len(self._variants) >= _MOST_VARIANTS:
                self._variants.clear()
            self._variants[shape] = found
        return found

    # -- a chunk as one value -------------------------------------------------------------------

    def _read_chunk(self, unit: Unit, out: NDArray) -> None:
        value = self.store.get(unit.key)
        if value is None:
            self._fill(unit, out)
            return
        try:
            _place(self.pipeline, value, unit.projection, out)
        except CodecError as error:
            self._fail("read", unit, error)

    def _write_chunk(self, unit: Unit, values: NDArray, fields: str | list[str] | None) -> None:
        _, selection, out_selection, whole = unit.projection
        part = values[out_selection] if out_selection else values
        pipeline = self.pipeline

        def encode(chunk: NDArray) -> Buffer | None:
            if not self.options.write_empty_chunks and is_all_fill(chunk, pipeline.spec.fill_value):
                return None
            return pipeline.encode(chunk)

        def merge(stored: bytes | None) -> Buffer | None:
            chunk = _full(pipeline)
            if stored is not None:
                pipeline.decode(stored, chunk)
            _assign(chunk, selection, part, fields)
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

    def _read_shard(self, unit: Unit, out: NDArray) -> None:
        codec = self.sharding
        assert codec is not None
        _, selection, out_selection, whole = unit.projection
        request = inner_request(selection)
        if request is None:
            self._read_chunk(unit, out)
            return
        if whole:
            value = self.store.get(unit.key)
            opened = None if value is None else OpenValue(value)
        else:
            opened = self.store.open_value(unit.key)
        if opened is None:
            self._fill(unit, out)
            return
        target = out[out_selection]
        with opened:
            self._read_inner(unit, opened, request, target)
        if _is_copy(out_selection):
            out[out_selection] = target

    def _read_inner(self, unit: Unit, opened: OpenValue, request: Request, target: NDArray) -> None:
        """Read the inner chunks that a request touches, from one version of a shard."""
        codec = self.sharding
        assert codec is not None
        inner = codec.inner

        def read_one(fetch: Fetch) -> None:
            data = opened.read(ByteRange(fetch.start, fetch.stop - fetch.start))
            if len(data) != fetch.stop - fetch.start:
                raise CodecError(f"the value ends before byte {fetch.stop}")
            for projection, place in fetch.wanted:
                part = cut(data, ByteRange(place.start - fetch.start, place.length))
                try:
                    _place(inner, part, projection, target)
                except CodecError as error:
                    raise CodecError(f"inner chunk {projection.coords}: {error}") from error

        try:
            index = codec.decode_index(opened.read(codec.index_range), opened.n_bytes)
            wanted: list[tuple[Projection, ByteRange]] = []
            for projection in request.projections(codec.grid):
                place = index.range_of(projection.coords)
                if place is None:
                    target[projection.out_selection] = inner.spec.fill_value
                else:
                    wanted.append((projection, place))
            n_threads = min(unit.n_threads, len(wanted))
            run_in_threads(read_one, _fetches(wanted, n_threads), n_threads=n_threads)
        except CodecError as error:
            self._fail("read", unit, error)

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
            if all(piece is None for piece in parts.values()):
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
            chunk = _full(inner)
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
        hint = (
            "The value is damaged, or was written under other metadata." if verb == "read" else ""
        )
        raise ChunkError(
            f"cannot {verb} chunk {coords} of array {self.path or '/'!r} in {self.store!r} (key "
            f"{unit.key!r}): {error}. {hint}".rstrip(),
            store=self.store,
            path=self.path,
            key=unit.key,
            chunk_coords=coords,
        ) from error


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


def _full(pipeline: Pipeline) -> NDArray:
    """Make a chunk of nothing but fill value."""
    spec = pipeline.spec
    return np.full(spec.shape, spec.fill_value, spec.data_type.dtype)


def _padded(pipeline: Pipeline, selection: tuple[Any, ...], part: NDArray) -> NDArray:
    """Give a chunk in the stored type; what reaches beyond the array is fill value."""
    spec = pipeline.spec
    if part.shape == spec.shape:
        return part.astype(spec.data_type.dtype, copy=False)
    chunk = _full(pipeline)
    chunk[selection] = part
    return chunk


def _assign(
    chunk: NDArray, selection: tuple[Any, ...], part: NDArray, fields: str | list[str] | None
) -> None:
    target = chunk[fields] if fields else chunk
    target[selection] = part


def _fetches(wanted: list[tuple[Projection, ByteRange]], n_threads: int) -> Iterator[Fetch]:
    """Join the byte ranges of inner chunks that lie close together into single fetches.

    Where several threads share one shard, each fetch is kept to its part of the whole.
    """
    wanted = sorted(wanted, key=lambda item: item[1].start)
    total = sum(place.length or 0 for _, place in wanted)
    most = min(_FETCH_BYTES, max(_GAP_BYTES, -(-total // max(1, n_threads))))
    group: list[tuple[Projection, ByteRange]] = []
    start = stop = 0
    for projection, place in wanted:
        end = place.start + (place.length or 0)
        if group and (place.start - stop > _GAP_BYTES or end - start > most):
            yield Fetch(start, stop, group)
            group = []
        if not group:
            start = place.start
        group.append((projection, place))
        stop = end
    if group:
        yield Fetch(start, stop, group)


def run_in_threads(work: Callable[[_T], None], items: Iterable[_T], *, n_threads: int) -> None:
    """Call `work` on each item, by the calling thread and up to ``n_threads - 1`` helpers.

    Items are taken one at a time as threads become free. The first exception stops all threads
    after the item in hand and is raised here; so is an interrupt of the calling thread.
    """
    if n_threads <= 1:
        for item in items:
            work(item)
        return
    queue = _Shared(iter(items))
    failures: list[BaseException] = []

    def help_out() -> None:
        try:
            for item in queue:
                work(item)
        except BaseException as error:
            queue.stop()
            failures.append(error)

    helpers = [
        threading.Thread(target=help_out, name=f"chunkstore-engine-{i}", daemon=True)
        for i in range(n_threads - 1)
    ]
    for helper in helpers:
        helper.start()
    try:
        for item in queue:
            work(item)
    finally:
        queue.stop()
        for helper in helpers:
            helper.join()
    if failures:
        raise failures[0]


class _Shared(Iterator[_T]):
    """An iterator that several threads may draw from, and any of them may end."""

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._lock = threading.Lock()
        self._stopped = False

    def __next__(self) -> _T:
        with self._lock:
            if self._stopped:
                raise StopIteration
            return next(self._items)

    def stop(self) -> None:
        self._stopped = True

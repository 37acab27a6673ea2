"""Reading one stored value: fetch, decode, place in the buffer.

Floor 4.2. A chunk is fetched whole. Of a shard only the inner chunks that a request touches are
fetched, those that lie close together at once, all of them from one version of the value. In
Python, but for what the compiled kernel decodes of a shard.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from chunkstore.compiled import Kernel
from chunkstore.errors import CodecError, ConflictError
from chunkstore.fetching import Fetch, fetched, fetches_of
from chunkstore.pipeline import Pipeline
from chunkstore.requests import Projection, Request, inner_request
from chunkstore.sharding import cut
from chunkstore.stores.base import OpenValue
from chunkstore.types import Buffer, ByteRange, ChunkCoords, NDArray
from chunkstore.values import StoredValues, Unit, is_copy
from chunkstore.workers import run_in_threads

__all__ = ["read_chunk", "read_shard"]

_MOST_VERSIONS = 10
"""How often a shard is opened again because it was replaced while its parts were read."""


def read_chunk(values: StoredValues, unit: Unit, out: NDArray) -> None:
    """Read a chunk, or what is decoded as one, to its places in `out`."""
    if _read_kept(values, unit, unit.projection, values.pipeline, out):
        return
    value = values.store.get_buffer(unit.key)
    if value is None:
        values.fill(unit, out)
        return
    try:
        _decode(values, unit, unit.projection, values.pipeline, value, out)
    except CodecError as error:
        values.fail("read", unit, error)


def read_shard(values: StoredValues, unit: Unit, out: NDArray, kernel: Kernel | None) -> None:
    """Read the inner chunks of a shard that are selected to their places in `out`.

    The kernel decodes them where one is given.
    """
    request = inner_request(unit.projection.chunk_selection)
    if request is None:
        read_chunk(values, unit, out)
        return
    if values.cache is not None and _read_all_kept(values, unit, request, out):
        return
    for _ in range(_MOST_VERSIONS):
        try:
            _read_version(values, unit, request, out, kernel)
        except ConflictError as error:
            conflict = error
        else:
            return
    raise conflict


# -- decoded chunks that are kept -----------------------------------------------------------------


def _cache_key(
    values: StoredValues, unit: Unit, pipeline: Pipeline, coords: ChunkCoords
) -> Hashable:
    spec = pipeline.spec
    return values.store, unit.key, coords, spec.shape, spec.data_type.dtype.str


def _read_kept(
    values: StoredValues, unit: Unit, projection: Projection, pipeline: Pipeline, out: NDArray
) -> bool:
    """Place a chunk from the cache; False if it is not there."""
    if values.cache is None:
        return False
    key = _cache_key(values, unit, pipeline, projection.coords)
    chunk = values.cache.get(key, unit.state)
    if chunk is None:
        return False
    out[projection.out_selection] = chunk[projection.chunk_selection]
    return True


def _read_all_kept(values: StoredValues, unit: Unit, request: Request, out: NDArray) -> bool:
    """Read from the cache alone; False if any inner chunk is missing there."""
    codec, selection = values.sharding, unit.projection.out_selection
    assert codec is not None
    part = out[selection]
    for projection in request.projections(codec.grid):
        if not _read_kept(values, unit, projection, codec.inner, part):
            return False
    if is_copy(selection):
        out[selection] = part
    return True


def _decode(
    values: StoredValues,
    unit: Unit,
    projection: Projection,
    pipeline: Pipeline,
    value: Buffer,
    out: NDArray,
) -> None:
    """Decode a chunk, keep it where there is a cache, and place what is selected of it."""
    if values.cache is None:
        _place(pipeline, value, projection, out)
        return
    chunk: NDArray = np.empty(pipeline.spec.shape, pipeline.spec.data_type.dtype)
    pipeline.decode(value, chunk)
    out[projection.out_selection] = chunk[projection.chunk_selection]
    key = _cache_key(values, unit, pipeline, projection.coords)
    values.cache.put(key, unit.state, chunk)


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


# -- parts of a shard -----------------------------------------------------------------------------


def _read_version(
    values: StoredValues, unit: Unit, request: Request, out: NDArray, kernel: Kernel | None
) -> None:
    """Read from a shard as it is stored now; `ConflictError` if it is replaced meanwhile."""
    codec = values.sharding
    assert codec is not None
    _, _, out_selection, whole = unit.projection
    if whole:
        value = values.store.get_buffer(unit.key)
        opened = None if value is None else OpenValue(value)
    else:
        opened = values.store.open_value(unit.key, codec.index_range)
    if opened is None:
        values.fill(unit, out)
        return
    part = out[out_selection]
    can_decode = kernel is not None and request.is_runs and not is_copy(out_selection)
    try:
        with opened:
            _read_inner(values, unit, opened, request, part, kernel if can_decode else None)
    except CodecError as error:
        values.fail("read", unit, error)
    if is_copy(out_selection):
        out[out_selection] = part


def _read_inner(
    values: StoredValues,
    unit: Unit,
    opened: OpenValue,
    request: Request,
    out: NDArray,
    kernel: Kernel | None,
) -> None:
    """Read the inner chunks that a request touches, from one version of a shard."""
    codec = values.sharding
    assert codec is not None
    index = codec.decode_index(opened.read(codec.index_range), opened.n_bytes)
    if kernel is None:
        projections = list(request.projections(codec.grid))
        places = [projection.coords for projection in projections]
    else:
        places = list(request.chunk_coords(codec.grid))
    coords = np.array(places, np.intp).reshape(len(places), -1)
    ranges = index.ranges_of(coords)

    def read_some(fetch: Fetch) -> None:
        data = fetched(opened, fetch)
        within = ranges[fetch.rows]
        within[:, 0] -= np.where(within[:, 0] < 0, 0, fetch.start)
        rows: list[int] = fetch.rows.tolist()
        some = [projections[row] for row in rows] if kernel is None else []
        if kernel is not None:
            left = kernel.decode(
                out, request.picks, value=data, ranges=within, numbers=fetch.rows.astype(np.int64)
            )
            within = within[left]
            if left:
                some = list(request.numbered(codec.grid, [rows[i] for i in left]))
        for projection, place in zip(some, within.tolist(), strict=True):
            _read_inner_chunk(values, unit, projection, data, place, out)

    fetches = list(fetches_of(ranges, gap=values.store.gap_bytes, n_threads=unit.n_threads))
    run_in_threads(read_some, fetches, n_threads=min(unit.n_threads, len(fetches)))


def _read_inner_chunk(
    values: StoredValues,
    unit: Unit,
    projection: Projection,
    data: Buffer,
    place: list[int],
    out: NDArray,
) -> None:
    """Decode one inner chunk, at offset and length in fetched bytes; offset -1 is an empty one."""
    inner = values.chunk_pipeline
    offset, n_bytes = place
    if offset < 0:
        out[projection.out_selection] = inner.spec.fill_value
        return
    try:
        part = cut(data, ByteRange(offset, n_bytes))
        _decode(values, unit, projection, inner, part, out)
    except CodecError as error:
        raise type(error)(f"inner chunk {projection.coords}: {error}") from error

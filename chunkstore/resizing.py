"""Changing the extent of an array without ever showing what was not written.

Floor 5, on top of the engine and the documents. The order of steps is the safety:

- growing: first everything stored beyond the old extent goes, the padding of chunks at the old
  edge and stray chunks of earlier writers, then the documents grow;
- appending: padding first, then the new data, then the documents grow, so that a reader finds all
  of an append or nothing;
- shrinking: first the documents shrink, then the data beyond them goes.

A process killed in between leaves bytes that no reader sees and that the next change removes.

Codecs that round make of the fill value what they make of any number: so read the elements that
come in where a stored chunk holds them. What is within the array is encoded anew only where its
chunk's padding must change.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from chunkstore import documents
from chunkstore.cache import mark_changed
from chunkstore.chunk_grid import ChunkGrid, RegularGrid
from chunkstore.empty import is_all_fill
from chunkstore.engine import Engine
from chunkstore.errors import CodecError, ConflictError, InvalidArgumentError
from chunkstore.keys import prefix_of
from chunkstore.metadata.model import ArrayMetadata
from chunkstore.requests import Grid, Projection, Request, Run
from chunkstore.types import NDArray, Shape

__all__ = ["append", "prepared", "publish", "resize", "stored_keys"]


def resize(engine: Engine, shape: Shape) -> ArrayMetadata:
    """Change the shape; elements that come in read as the fill value. Gives the new metadata."""
    old = engine.metadata.shape
    if len(shape) != len(old):
        raise InvalidArgumentError(
            f"cannot resize {engine.path or '/'!r} from shape {old} to {shape}: the number of "
            f"axes is fixed"
        )
    _check_current(engine, shape)
    metadata = engine.metadata
    smaller = tuple(map(min, old, shape))
    if smaller != old:
        _check_padding(engine, smaller)
        metadata = publish(engine, smaller)
        engine = _with_metadata(engine, metadata)
        _clear_padding(engine)
        _delete_strays(engine)
    if smaller != shape:
        _clear_padding(engine)
        _delete_strays(engine)
        metadata = publish(engine, shape)
    return metadata


def append(engine: Engine, data: NDArray, axis: int) -> ArrayMetadata:
    """Write data behind the end of one axis and grow the array. Gives the new metadata."""
    old = engine.metadata.shape
    expected = old[:axis] + data.shape[axis : axis + 1] + old[axis + 1 :]
    if data.shape != expected:
        raise InvalidArgumentError(
            f"cannot append shape {data.shape} along axis {axis} to {engine.path or '/'!r} of "
            f"shape {old}: the other axes must be equal"
        )
    shape = (*old[:axis], old[axis] + data.shape[axis], *old[axis + 1 :])
    _clear_padding(engine)
    grown = _with_shape(engine, shape)
    starts = tuple(old[i] if i == axis else 0 for i in range(len(old)))
    grown.write(_box(starts, data.shape), data)
    return publish(engine, shape)


def prepared(engine: Engine, shape: Shape, *, keep: bool) -> Engine:
    """Make room for what comes in when an array grows; gives the engine to write it with."""
    old = engine.metadata.shape
    if len(shape) != len(old) or any(map(operator.lt, shape, old)):
        raise InvalidArgumentError(
            f"cannot grow {engine.path or '/'!r} from shape {old} to {shape}: an array keeps its "
            f"number of axes, and none of them gets shorter"
        )
    _check_current(engine, shape)
    if not keep:
        _clear_padding(engine)
        _delete_strays(engine)
    return _with_shape(engine, shape)


def stored_keys(engine: Engine) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Iterate over the keys of stored chunks, or shards, with their coordinates; one listing."""
    prefix = prefix_of(engine.path)
    encoding = engine.metadata.key_encoding
    for key in engine.store.list_prefix(prefix):
        coords = encoding.decode(key.removeprefix(prefix), len(engine.metadata.shape))
        if coords is not None:
            yield key, coords


def publish(engine: Engine, shape: Shape) -> ArrayMetadata:
    """Write the new shape, unless another writer has changed it since we read it."""
    was_tried = False

    def change(stored: ArrayMetadata) -> ArrayMetadata:
        nonlocal was_tried
        if was_tried and stored.shape == shape:
            # By us, who hold the lock: the answer was lost, and since then another writer has
            # changed the attributes.
            return stored
        _refuse_stale(engine, shape, stored.shape)
        was_tried = True
        return stored.replace(grid=stored.grid.resized(shape))

    return documents.update_node(engine.store, engine.path, engine.metadata, change)


def _refuse_stale(engine: Engine, shape: Shape, stored: Shape) -> None:
    if stored != engine.metadata.shape:
        raise ConflictError(
            f"cannot change the shape of {engine.path or '/'!r} in {engine.store!r} from "
            f"{engine.metadata.shape} to {shape}: another writer has made it {stored}. Open it "
            f"again",
            store=engine.store,
            path=engine.path,
        )


def _check_current(engine: Engine, shape: Shape) -> None:
    """Refuse a stale handle before anything is cleared that another writer may have put there."""
    stored = documents.read_node(
        engine.store, engine.path, zarr_format=engine.metadata.zarr_format, options=engine.options
    )
    if stored is None:
        raise documents.not_found(engine.store, engine.path)
    found = documents.require_array(stored, engine.store, engine.path)
    _refuse_stale(engine, shape, found.shape)


def _clear_padding(engine: Engine) -> None:
    """Make what chunks at the far edges hold beyond the array the fill value again.

    The formats leave padding open, so what is there may be anything: old values of a larger
    array, or another writer's choice. Only chunks where it is neither the fill value nor what the
    codecs make of it are rewritten.
    """
    shape, grid = engine.metadata.shape, engine.metadata.grid
    reach = grid.reach
    wide = _with_shape(engine, reach)
    fill = engine.pipeline.spec.fill_value
    for axis, extent in enumerate(shape):
        if reach[axis] == extent:
            continue
        starts = tuple(extent if i == axis else 0 for i in range(len(shape)))
        extents = tuple(reach[i] - starts[i] for i in range(len(shape)))
        for projection in _box(starts, extents).projections(wide.metadata.grid):
            part = _box_of(projection, grid)
            values = np.empty(part.buffer_shape, engine.metadata.dtype)
            wide.read(part, values)
            if not is_all_fill(values, fill) and not is_all_fill(values, _encoded_fill(engine)):
                wide.write(part, np.broadcast_to(np.asarray(fill, values.dtype), values.shape))


def _encoded_fill(engine: Engine) -> Any:
    """Give what the fill value reads as when it was stored: another one where codecs round."""
    pipeline = engine.chunk_pipeline
    try:
        decoded = pipeline.decode(pipeline.encode(pipeline.full_chunk()))
    except CodecError:
        # It is stored nowhere, and needs not be where inner chunks are left out as a whole.
        return pipeline.spec.fill_value
    return decoded[(0,) * decoded.ndim]


def _check_padding(engine: Engine, shape: Shape) -> None:
    """Refuse a shape that cuts chunks in two, if their codecs cannot hold the fill value."""
    pipeline = engine.chunk_pipeline
    grid: ChunkGrid = engine.metadata.grid.resized(shape)
    if engine.sharding is not None:
        grid = RegularGrid(shape, pipeline.spec.shape)
    if grid.reach == shape:
        return
    try:
        pipeline.encode(pipeline.full_chunk())
    except CodecError as error:
        raise InvalidArgumentError(
            f"cannot resize {engine.path or '/'!r} in {engine.store!r} to {shape}: what is cut off "
            f"within a chunk becomes the fill value, which the codecs cannot hold: {error}. Choose "
            f"multiples of the chunks {pipeline.spec.shape}"
        ) from error


def _delete_strays(engine: Engine) -> None:
    """Delete stored chunks that lie beyond the array."""
    grid_shape = engine.metadata.grid.grid_shape
    for key, coords in list(stored_keys(engine)):
        if any(i >= n for i, n in zip(coords, grid_shape, strict=True)):
            engine.store.delete(key)
            mark_changed(engine.store.place(key))


def _box(starts: Shape, extents: Shape) -> Request:
    runs = tuple(
        Run(axis, start, n) for axis, (start, n) in enumerate(zip(starts, extents, strict=True))
    )
    return Request(runs, (False,) * len(runs), extents)


def _box_of(projection: Projection, grid: Grid) -> Request:
    """Give the request for one chunk's share of another request, in the array's coordinates."""
    starts = tuple(
        axis.start_of(chunk) + cut.start
        for axis, chunk, cut in zip(
            grid.axes, projection.coords, projection.chunk_selection, strict=True
        )
    )
    extents = tuple(cut.stop - cut.start for cut in projection.chunk_selection)
    return _box(starts, extents)


def _with_shape(engine: Engine, shape: Shape) -> Engine:
    metadata = engine.metadata
    return _with_metadata(engine, metadata.replace(grid=metadata.grid.resized(shape)))


def _with_metadata(engine: Engine, metadata: ArrayMetadata) -> Engine:
    return replace(engine, metadata=metadata)

"""Writing one stored value: take from the buffer, merge with what is stored, encode, store.

Floor 4.2. A value that is covered is replaced. One that is covered in part is read, merged and
replaced in one step; of a shard only the inner chunks that are covered in part are decoded, and
the others are carried over as they are. A value at the edge that reaches beyond the array counts
as covered in part where another writer may be appending there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chunkstore.empty import is_all_fill
from chunkstore.errors import CodecError
from chunkstore.pipeline import Pipeline
from chunkstore.requests import Projection, inner_request
from chunkstore.types import Buffer, ChunkCoords, NDArray
from chunkstore.values import StoredValues, Unit
from chunkstore.workers import run_in_threads

__all__ = ["Fields", "write_chunk", "write_shard"]

Fields = str | list[str] | None
"""Fields of a structured type that are written; None for all."""


def write_chunk(values: StoredValues, unit: Unit, data: NDArray, fields: Fields) -> None:
    """Write a chunk, or what is encoded as one."""
    _, selection, out_selection, whole = unit.projection
    part = data[out_selection] if out_selection else data
    is_covered = whole and not fields
    pipeline, store = values.pipeline, values.store

    def encode(chunk: NDArray) -> Buffer | None:
        keep_empty = values.options.write_empty_chunks
        if not keep_empty and is_all_fill(chunk, pipeline.spec.fill_value):
            return None
        return pipeline.encode(chunk)

    def merge(stored: bytes | None) -> Buffer | None:
        chunk = pipeline.full_chunk()
        if stored is not None:
            with _reading_stored(replaced=is_covered):
                pipeline.decode(stored, chunk)
        _assign(chunk, selection, part, fields)
        if stored is not None and not store.can_forget:
            return pipeline.encode(chunk)
        return encode(chunk)

    try:
        if not is_covered or unit.keeps_beyond:
            store.update(unit.key, merge)
            return
        encoded = encode(_padded(pipeline, selection, part))
    except CodecError as error:
        values.fail("write", unit, error)
    _put(values, unit.key, encoded)


def write_shard(values: StoredValues, unit: Unit, data: NDArray, fields: Fields) -> None:
    """Write the inner chunks of a shard that are selected."""
    codec, store = values.sharding, values.store
    assert codec is not None
    _, selection, out_selection, whole = unit.projection
    part = data[out_selection] if out_selection else data
    is_covered = whole and not fields
    request = inner_request(selection)
    if request is None:
        write_chunk(values, unit, data, fields)
        return

    def merge(stored: bytes | None) -> Buffer | None:
        parts: dict[ChunkCoords, Buffer | None] = {}
        if stored is not None:
            with _reading_stored(replaced=is_covered):
                parts.update(codec.parts_of(stored))

        def write_one(projection: Projection) -> None:
            old = parts.get(projection.coords)
            parts[projection.coords] = _merged_inner(
                values, projection, part, fields, old, replaced=is_covered
            )

        projections = request.projections(codec.grid)
        run_in_threads(write_one, projections, n_threads=unit.n_threads)
        is_empty = all(piece is None for piece in parts.values())
        if is_empty and (stored is None or store.can_forget):
            return None
        return codec.assemble(parts)

    try:
        if not is_covered or unit.keeps_beyond:
            store.update(unit.key, merge)
            return
        encoded = merge(None)
    except CodecError as error:
        values.fail("write", unit, error)
    _put(values, unit.key, encoded)


def _merged_inner(
    values: StoredValues, projection: Projection, data: NDArray, fields: Fields,
    old: Buffer | None, *, replaced: bool,
) -> Buffer | None:  # fmt: skip
    """Encode one inner chunk with its new values; the old ones are decoded only if needed."""
    assert values.sharding is not None
    inner = values.sharding.inner
    _, selection, out_selection, whole = projection
    part = data[out_selection]
    if whole and not fields:
        chunk = _padded(inner, selection, part)
    else:
        chunk = inner.full_chunk()
        if old is not None:
            with _reading_stored(replaced=replaced):
                inner.decode(old, chunk)
        _assign(chunk, selection, part, fields)
    return values.sharding.encode_inner(chunk, keep_empty=values.options.write_empty_chunks)


@contextmanager
def _reading_stored(*, replaced: bool = False) -> Iterator[None]:
    """Say of a failure that it is of what was stored before, and how to be rid of that.

    Where all that the array shows is `replaced`, what cannot be read is given up.
    """
    try:
        yield
    except CodecError as error:
        if replaced:
            return
        raise type(error)(
            f"what is stored there cannot be read: {error}. Write the whole chunk to replace it",
            is_advice=True,
        ) from error


def _put(values: StoredValues, key: str, encoded: Buffer | None) -> None:
    """Store a value; None stands for an empty one, which is deleted if it was stored."""
    if encoded is None:
        values.store.delete(key)
    else:
        values.store.set(key, encoded)


def _padded(pipeline: Pipeline, selection: tuple[Any, ...], part: NDArray) -> NDArray:
    """Give a chunk in the stored type; what reaches beyond the array is fill value."""
    spec = pipeline.spec
    if part.shape == spec.shape:
        return part.astype(spec.data_type.dtype, copy=False)
    chunk = pipeline.full_chunk()
    chunk[selection] = part
    return chunk


def _assign(chunk: NDArray, selection: tuple[Any, ...], part: NDArray, fields: Fields) -> None:
    target = chunk[fields] if fields else chunk
    target[selection] = part

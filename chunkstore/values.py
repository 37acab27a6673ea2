"""The stored values of one array: their keys, what is not there, and what to say of a bad one.

Floor 4.1. What reading and writing have in common. One stored value is one unit of work: a chunk,
or a shard.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np

from chunkstore.cache import ChunkCache
from chunkstore.errors import ChunkError, ChunkStoreError, CodecError, MissingChunkError
from chunkstore.keys import join
from chunkstore.metadata.model import ArrayMetadata
from chunkstore.options import Options
from chunkstore.pipeline import Pipeline
from chunkstore.requests import Projection
from chunkstore.sharding import ShardingCodec
from chunkstore.stores.base import Store
from chunkstore.types import ChunkCoords, NDArray

__all__ = ["StoredValues", "Unit", "is_copy"]


class Unit(NamedTuple):
    """One stored value and what a request wants of it."""

    projection: Projection
    key: str
    n_threads: int
    state: Hashable = None
    """Where there is a cache, what tells whether the value has changed since the request."""
    keeps_beyond: bool = False
    """Of a write, whether to keep what the value holds beyond the array."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredValues:
    """The values of one array and what they are made of.

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

    def __post_init__(self) -> None:
        # Codecs around a sharding codec hide the places of inner chunks: then a shard is a chunk.
        codec = self.pipeline.serializer
        bare = not self.pipeline.array_codecs and not self.pipeline.bytes_codecs
        is_sharded = isinstance(codec, ShardingCodec) and bare
        object.__setattr__(self, "sharding", codec if is_sharded else None)

    @property
    def chunk_pipeline(self) -> Pipeline:
        """The codecs of the unit of reading: of an inner chunk where there are shards."""
        return self.pipeline if self.sharding is None else self.sharding.inner

    def chunk_key(self, coords: ChunkCoords) -> str:
        """Give the key under which a chunk, or a shard, is stored."""
        return join(self.path, self.metadata.key_encoding.encode(coords))

    @property
    def cache(self) -> ChunkCache | None:
        """Where decoded chunks are kept, if anywhere."""
        # Of elements without a fixed size an array does not know how much memory they take.
        return self.options.cache if self.metadata.data_type.is_fixed_size else None

    def fill(self, unit: Unit, out: NDArray) -> None:
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

    def fail(self, verb: str, unit: Unit, error: ChunkStoreError) -> NoReturn:
        """Say which chunk could not be read or written, and why."""
        coords = unit.projection.coords
        hint = "The value is damaged, or was written under other metadata."
        if _is_advice(error):
            hint = ""
        elif verb == "write":
            hint = _padding_hint(self.chunk_pipeline)
        raise ChunkError(
            f"cannot {verb} chunk {coords} of array {self.path or '/'!r} in {self.store!r} (key "
            f"{unit.key!r}): {error}. {hint}".rstrip(),
            store=self.store,
            path=self.path,
            key=unit.key,
            chunk_coords=coords,
        ) from error


def _is_advice(error: BaseException | None) -> bool:
    """Whether an error, or one that it comes from, says itself what to do next."""
    while error is not None:
        if getattr(error, "is_advice", False):
            return True
        error = error.__cause__
    return False


def _padding_hint(pipeline: Pipeline) -> str:
    """Say so where a chunk may have failed for its padding, and not for the values given."""
    if not pipeline.spec.data_type.is_fixed_size:
        return ""
    try:
        pipeline.lay_out(pipeline.full_chunk())
    except CodecError:
        return (
            f"The fill value {pipeline.spec.fill_value!s}, which fills up chunks that are written "
            f"in part or reach beyond the array, cannot be encoded either: it may need another one."
        )
    return ""


def is_copy(selection: tuple[Any, ...]) -> bool:
    """Whether numpy makes a copy for a selection rather than a view."""
    return any(isinstance(entry, np.ndarray) for entry in selection)

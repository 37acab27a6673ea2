"""Checking an archive: every document is parsed, and every stored chunk read and decoded.

Floor 8. What is found is collected rather than raised, so that one call tells of all damage. Left
out: repairing, for which there is nothing to repair from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chunkstore import documents
from chunkstore.array import Array, open_array_node
from chunkstore.errors import ChunkError, ChunkStoreError, MetadataError
from chunkstore.keys import join
from chunkstore.metadata.model import ArrayMetadata
from chunkstore.options import Options
from chunkstore.resizing import stored_keys
from chunkstore.stores.base import Store
from chunkstore.types import ChunkCoords
from chunkstore.workers import run_in_threads

__all__ = ["Verification", "verify_node"]

_CHECKSUMS = frozenset(
    {"adler32", "bz2", "crc32", "crc32c", "fletcher32", "gzip", "jenkins_lookup3", "zlib"}
)
"""Codecs whose encoded form tells whether it was changed."""


@dataclass(frozen=True)
class Verification:
    """What was found in an archive; true if there is no damage."""

    n_groups: int = 0
    n_arrays: int = 0
    n_chunks: int = 0
    """Stored chunks, or shards, that were read, damaged ones included."""
    n_missing: int = 0
    """Chunks, or shards, that are not stored and so read as the fill value."""
    value_bytes: int = 0
    """Bytes of the elements that were read, decoded."""
    damage: Sequence[ChunkStoreError] = field(default_factory=tuple)
    """One error for each document that cannot be understood and each chunk that cannot be read."""
    unchecked: Sequence[str] = field(default_factory=tuple)
    """Paths of arrays without a checksum, where changed bytes may decode to other values."""

    def __bool__(self) -> bool:
        return not self.damage

    def __add__(self, other: Verification) -> Verification:
        return Verification(
            self.n_groups + other.n_groups,
            self.n_arrays + other.n_arrays,
            self.n_chunks + other.n_chunks,
            self.n_missing + other.n_missing,
            self.value_bytes + other.value_bytes,
            (*self.damage, *other.damage),
            (*self.unchecked, *other.unchecked),
        )


def verify_node(store: Store, path: str, *, options: Options) -> Verification:
    """Check the array or group at a path, with all below it; see `chunkstore.verify`."""
    found = Verification()
    for metadata, where in _nodes(store, path, None, options):
        if isinstance(metadata, ChunkStoreError):
            found += Verification(damage=(metadata,))
        elif isinstance(metadata, ArrayMetadata):
            found += _verify_array(store, where, metadata, options)
        else:
            found += Verification(n_groups=1)
    return found


def _nodes(
    store: Store, path: str, zarr_format: int | None, options: Options
) -> Iterator[tuple[documents.NodeMetadata | MetadataError, str]]:
    """Iterate over a node and all below it; a document that makes no sense is given as its error.

    The real documents are read, not consolidated copies.
    """
    try:
        metadata = documents.read_node(store, path, zarr_format=zarr_format, options=options)
    except MetadataError as error:
        yield error, path
        return
    if metadata is None:
        if zarr_format is None:
            raise documents.not_found(store, path)
        return
    yield metadata, path
    if not isinstance(metadata, ArrayMetadata):
        for name in documents.child_names(store, path, metadata.zarr_format):
            yield from _nodes(store, join(path, name), metadata.zarr_format, options)


def _verify_array(
    store: Store, path: str, metadata: ArrayMetadata, options: Options
) -> Verification:
    try:
        # Chunks in memory would say nothing of those in the store.
        settings = replace(options, cache=None, n_threads=1)
        array = open_array_node(store, path, metadata, options=settings, read_only=True)
    except MetadataError as error:
        return Verification(n_arrays=1, damage=(error,))
    damage: list[ChunkError] = []
    sizes: list[int] = []

    def read(coords: ChunkCoords) -> None:
        try:
            sizes.append(int(array.read(_region_of(array, coords)).nbytes))
        except ChunkError as error:
            damage.append(error)

    cells = metadata.grid.grid_shape
    inside = (
        coords
        for _, coords in stored_keys(array.engine)
        if all(i < n for i, n in zip(coords, cells, strict=True))
    )
    run_in_threads(read, inside, n_threads=options.threads_for(store.concurrency))
    n_read = len(sizes) + len(damage)
    return Verification(
        n_arrays=1,
        n_chunks=n_read,
        n_missing=max(0, math.prod(cells) - n_read),
        value_bytes=sum(sizes),
        damage=tuple(sorted(damage, key=str)),
        unchecked=() if _has_checksum(array) else (array.name,),
    )


def _region_of(array: Array, coords: ChunkCoords) -> tuple[Any, ...]:
    """Give the part of the array that a stored chunk, or shard, holds."""
    region = []
    for axis, i in zip(array.metadata.grid.axes, coords, strict=True):
        start = axis.start_of(i)
        region.append(slice(start, min(start + axis.size_of(i), axis.extent)))
    return tuple(region) or (...,)


def _has_checksum(array: Array) -> bool:
    """Whether the codecs of a chunk notice that bytes were changed."""
    for codec in array.engine.chunk_pipeline.bytes_codecs:
        name = codec.name.removeprefix("numcodecs.")
        if name in _CHECKSUMS or codec.configuration().get("checksum") is True:
            return True
    return False

"""Where a job writes: the arrays of a job, checked and aligned before anything is touched.

Floor 3. A `Target` is one array with the blocks that go into it. All targets of a job are planned
first, which asks stores and changes nothing; only then are they opened for writing::

    plan_target   what was asked ─▶ Target    layout, region and alignment proved, or refused
    Target.open   Target ─▶ Array             a new array is made, held back from readers

Left out: the tasks and what is known of finished ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, cast

import dask.array as da
import numpy as np

import chunkstore as cs
from chunkstore.errors import (
    AlignmentError,
    InvalidArgumentError,
    MetadataError,
    NodeNotFoundError,
    ReadOnlyError,
)
from dask_integration.align import (
    aligned_blocks,
    alignment,
    chunks_for_blocks,
    require_aligned,
)
from dask_integration.chunks import BlockGrid, Blocks, largest_block, region_spans, regular_blocks
from dask_integration.layers import literals_of, refuse_memory_elsewhere, task_array
from dask_integration.places import is_within, node_place

__all__ = [
    "Align",
    "Target",
    "existing_node",
    "holds",
    "is_untouched",
    "plan_append",
    "plan_target",
    "refuse_shared_places",
    "refuse_sources",
]

Align = Literal["auto", "error"]

_INNER_CHUNK_BYTES = 2**20
"""Size that chunks within shards aim at: the least that a reader has to decode."""


@dataclass(frozen=True)
class Target:
    """One array of a job.

    Parameters
    ----------
    x : dask.array.Array
        What is written; no two of its blocks share a write unit.
    source : dask.array.Array
        The same as it was given, before its blocks were merged.
    array : chunkstore.Array
        The array that exists, or a draft of the new one in memory.
    starts : tuple of int
        Where in the array the first block begins.
    store : Store
        Where the array is, or is to be made.
    layout : mapping
        Arguments of `chunkstore.create_array` for the new array.
    attributes : mapping, optional
        Of the new array.
    overwrite : bool
        Whether the new array replaces what is there; or an append one that was interrupted.
    grows_to : tuple of int, optional
        Shape of the existing array once `x` is appended.
    """

    x: da.Array
    source: da.Array
    array: cs.Array
    starts: tuple[int, ...]
    store: cs.Store
    layout: Mapping[str, Any] | None = None
    attributes: Mapping[str, Any] | None = None
    overwrite: bool = False
    grows_to: tuple[int, ...] | None = None

    @property
    def is_new(self) -> bool:
        """Whether the array is made by the job."""
        return self.layout is not None

    @property
    def where(self) -> str:
        """The array in the reader's terms, such as ``'temp' in LocalStore('/d')``."""
        return _where(self.array.path, self.store)

    def open(self, *, pending: str | None = None, overwrite: bool = False) -> cs.Array:
        """Give the array open for writing; a new one is made, or the pending one gone on with.

        It has no attributes yet: tasks carry the handle, and need none.
        """
        if self.layout is None:
            return self.array
        overwrite = (overwrite or self.overwrite) and pending is None
        held_back = True if pending is None else pending
        return cs.create_array(self.store, overwrite=overwrite, pending=held_back, **self.layout)

    def existing(self) -> cs.Array | cs.Group | None:
        """Give what is at the place now; None if nothing opens there."""
        return existing_node(self.store, self.array.path)

    def is_untouched(self) -> bool:
        """Whether there is nothing at the place but marks of jobs."""
        return is_untouched(self.store, self.array.path)


def plan_target(
    x: da.Array,
    store: Any,
    *,
    path: str | None,
    region: Any,
    align: Align,
    max_bytes: int,
    **layout: Any,
) -> Target:
    """Check everything that can be known before a job starts; touches nothing.

    Parameters
    ----------
    x, store, path, region, align
        As in `to_store`.
    max_bytes : int
        Size that blocks may be merged up to.
    **layout
        Arguments of `to_store` that describe a new array, with their defaults where not given.

    Raises
    ------
    AlignmentError
        If two blocks would share a write unit and `align` does not mend that.
    InvalidArgumentError
        If arguments do not fit together, or the values do not fit the array.
    """
    x = task_array(x, "write")
    BlockGrid.of(x.chunks)
    if align not in ("auto", "error"):
        raise InvalidArgumentError(f'align must be "auto" or "error", got {align!r}')
    if isinstance(store, cs.Array) or region is not None:
        array = _existing(store, path, layout)
        return _existing_target(x, array, region=region, align=align, max_bytes=max_bytes)
    return _new_target(x, store, name=path, align=align, max_bytes=max_bytes, **layout)


def plan_append(
    x: da.Array, array: cs.Array, *, axis: int, start: int, align: Align, max_bytes: int
) -> Target:
    """Check, as `plan_target`, that an array can be appended to another from a position on."""
    x = task_array(x, "append")
    BlockGrid.of(x.chunks)
    where = _where(array.path, array.store)
    if x.ndim != array.ndim or not -array.ndim <= axis < array.ndim:
        raise InvalidArgumentError(
            f"cannot append along axis {axis} to {where} of {array.ndim} axes an array of {x.ndim}"
        )
    axis %= array.ndim
    final = tuple(
        start + int(x.shape[axis]) if number == axis else extent
        for number, extent in enumerate(array.shape)
    )
    if array.shape[axis] not in (start, final[axis]):
        raise InvalidArgumentError(
            f"cannot go on with the append to {where}: it began at {start} on axis {axis}, and "
            f"another writer has made the array {array.shape} since. Append anew, with "
            f"overwrite=True"
        )
    region = tuple(slice(start if n == axis else 0, end) for n, end in enumerate(final))
    target = _existing_target(
        x, array, shape=final, region=region, align=align, max_bytes=max_bytes
    )
    return replace(target, grows_to=final)


# --- new arrays --------------------------------------------------------------------------------


def _new_target(
    x: da.Array,
    store: Any,
    *,
    chunks: Any,
    shards: Any,
    attributes: Mapping[str, Any] | None,
    overwrite: bool,
    align: Align,
    max_bytes: int,
    **layout: Any,
) -> Target:
    if store is None or (isinstance(store, str) and store.startswith("memory:")):
        raise InvalidArgumentError(
            f"cannot write to the store {store!r}: nothing could find it afterwards. Make a "
            f"chunkstore.MemoryStore() and pass that"
        )
    found = cs.open_store(store, storage_options=layout.pop("storage_options", None))
    # Where blocks may be merged, the largest stands for all.
    blocks = regular_blocks(x.shape, _at_least_one(x.chunks)) if align == "auto" else x.chunks
    chunks, shards = _units(blocks, x.dtype.itemsize, chunks, shards)
    layout |= {"shape": x.shape, "dtype": x.dtype, "chunks": chunks, "shards": shards}
    # A draft in memory tells whether the layout can be had, and which write unit it has.
    draft = cs.create_array(None, attributes=attributes, **layout)
    starts = (0,) * x.ndim
    where = _where(draft.path, found)
    aligned = _aligned(
        x, draft, starts, shape=x.shape, align=align, max_bytes=max_bytes, where=where
    )
    refuse_memory_elsewhere(found, x)
    return Target(
        x=aligned,
        source=x,
        array=draft,
        starts=starts,
        store=found,
        layout=layout,
        attributes=attributes,
        overwrite=overwrite,
    )


def _at_least_one(blocks: Blocks) -> tuple[int, ...]:
    return tuple(max(1, size) for size in largest_block(blocks))


def _units(blocks: Blocks, item_bytes: int, chunks: Any, shards: Any) -> tuple[Any, Any]:
    """Give the chunks and shards of a new array, chosen where they were not given."""
    if chunks is not None and shards != "auto":
        return chunks, shards
    if shards is None:
        return chunks_for_blocks(blocks, item_bytes=item_bytes), None
    if shards == "auto":
        shards = chunks_for_blocks(blocks, item_bytes=item_bytes)
    if chunks is None:
        shape = (shards,) * len(blocks) if isinstance(shards, int | np.integer) else shards
        # Two shards in a row: what divides both edges divides the shard.
        doubled = tuple((int(size), int(size)) for size in shape)
        chunks = chunks_for_blocks(doubled, item_bytes=item_bytes, max_bytes=_INNER_CHUNK_BYTES)
    return chunks, shards


# --- arrays that exist -------------------------------------------------------------------------


def _existing(store: Any, path: str | None, layout: Mapping[str, Any]) -> cs.Array:
    """Give the array to write to; refuse arguments that would lay it out anew."""
    options = {name: layout[name] for name in layout if name == "storage_options"}
    asked = [
        name
        for name, value in layout.items()
        if name not in options and value != _NOT_ASKED.get(name)
    ]
    if isinstance(store, cs.Array):
        asked += [] if path is None else ["path"]
        array = store
    else:
        array = cs.open_array(store, path=path, mode="r+", **options)
    if asked:
        raise InvalidArgumentError(
            f"cannot lay out {array!r} anew: it exists, and {asked[0]!r} was given. Leave it out, "
            f"or give a store and a path without a region"
        )
    return array


_NOT_ASKED: Mapping[str, Any] = {"overwrite": False, "zarr_format": 3, "compressors": "auto"}
"""What these arguments are where they were not given; all others are None."""


def _existing_target(
    x: da.Array,
    array: cs.Array,
    *,
    region: Any,
    align: Align,
    max_bytes: int,
    shape: tuple[int, ...] | None = None,
) -> Target:
    """Plan a write to an array that exists, of its `shape` now or the one it is growing to."""
    where = _where(array.path, array.store)
    if array.read_only:
        raise ReadOnlyError(
            f"cannot write to {where}: it was opened read-only. Open it with mode='r+'"
        )
    shape = array.shape if shape is None else shape
    starts = _starts(region, x.shape, shape, where)
    if not _fits(x.dtype, array.dtype):
        raise InvalidArgumentError(
            f"cannot write values of {x.dtype} to {where}, which holds {array.dtype}: the cast "
            f"could lose more than precision. Convert them first, with "
            f".astype({array.dtype.name!r})"
        )
    aligned = _aligned(x, array, starts, shape=shape, align=align, max_bytes=max_bytes, where=where)
    _refuse_unguarded_edges(aligned, array, starts, where)
    refuse_memory_elsewhere(array.store, x)
    return Target(x=aligned, source=x, array=array, starts=starts, store=array.store)


def _starts(
    region: Any, extents: Sequence[int], shape: Sequence[int], where: str
) -> tuple[int, ...]:
    """Give where a region begins along each axis; it must be of the extents to be written."""
    if region is None:
        if tuple(extents) != tuple(shape):
            raise InvalidArgumentError(
                f"cannot write to {where}: expected an array of its shape {tuple(shape)}, got "
                f"{tuple(extents)}. To write a part of it, pass `region`"
            )
        return (0,) * len(shape)
    spans = region_spans(region, shape, where=f"write to {where}")
    found = tuple(map(len, spans))
    if found != tuple(extents):
        raise InvalidArgumentError(
            f"cannot write to {where}: the region {region!r} has the shape {found}, the values "
            f"have {tuple(extents)}"
        )
    return tuple(span.start for span in spans)


def _fits(given: np.dtype[Any], stored: np.dtype[Any]) -> bool:
    if given.kind in "iub" and stored.kind in "iub":
        return bool(np.can_cast(given, stored))
    if stored.kind in "OT":
        # Text of any length; whether objects are text shows when they are written.
        return given.kind in "OTU"
    return given == stored or bool(np.can_cast(given, stored, "same_kind"))


def _refuse_unguarded_edges(
    x: da.Array, array: cs.Array, starts: tuple[int, ...], where: str
) -> None:
    """Refuse a region that ends within a write unit where other processes are not kept out."""
    for verdict in alignment(x.chunks, array.write_unit, shape=array.shape, starts=starts):
        edge = verdict.start if verdict.partial_start else verdict.stop
        if (verdict.partial_start or verdict.partial_stop) and not array.store.guards_updates:
            raise AlignmentError(
                f"cannot write a region of {where}: its edge {edge} on axis {verdict.axis} is not "
                f"a multiple of the write unit {verdict.unit}, and this store cannot keep out "
                f"another process that writes the rest of the unit. Give a region of whole units, "
                f"or open the store with single_writer=True if no other process writes there",
                axis=verdict.axis,
                edge=edge,
                unit=verdict.unit,
            )


# --- alignment ---------------------------------------------------------------------------------


def _aligned(
    x: da.Array,
    array: cs.Array,
    starts: tuple[int, ...],
    *,
    shape: tuple[int, ...],
    align: Align,
    max_bytes: int,
    where: str,
) -> da.Array:
    """Give `x` in blocks that share no write unit, or raise an error that names the edge."""
    unit, unit_name = array.write_unit, "chunk" if array.shards is None else "shard"
    if align == "auto":
        blocks = aligned_blocks(
            x.chunks,
            unit,
            item_bytes=x.dtype.itemsize,
            max_bytes=max_bytes,
            shape=shape,
            starts=starts,
        )
        if blocks is not None:
            # Not through p2p: its tasks cannot run again one by one, nor without a cluster.
            return x if blocks == x.chunks else cast(da.Array, x.rechunk(blocks, method="tasks"))
        n_bytes = math.prod(unit) * x.dtype.itemsize
        raise AlignmentError(
            f"cannot align the blocks {x.chunksize} with {where}: a single {unit_name} {unit} "
            f"takes {n_bytes:,} bytes, and merged blocks may take {max_bytes:,}. Choose smaller "
            f"{unit_name}s, or raise `memory`",
            unit=unit,
        )
    require_aligned(x.chunks, unit, target=where, unit_name=unit_name, shape=shape, starts=starts)
    return x


# --- what must not meet ------------------------------------------------------------------------


def refuse_shared_places(targets: Iterable[Target]) -> None:
    """Raise an error if one target lies at or below another."""
    places = [(node_place(target.store, target.array.path), target) for target in targets]
    places.sort(key=lambda found: tuple(map(str, found[0])))
    for (outer, first), (inner, second) in pairwise(places):
        if is_within(inner, outer):
            raise InvalidArgumentError(
                f"cannot write {first.where} and {second.where} in one job: they are the same "
                f"place, or one lies in the other"
            )


def refuse_sources(targets: Sequence[Target]) -> None:
    """Raise an error if values are computed from what the job replaces or changes."""
    sources = [source for target in targets for source in literals_of(target.source)]
    for target in targets:
        if target.is_new and not target.overwrite:
            continue
        changed = target.array if target.layout is None else target.existing()
        if changed is None or not any(holds(changed, source) for source in sources):
            continue
        if target.is_new:
            raise InvalidArgumentError(
                f"cannot overwrite {target.where}: values are computed from it, and it would be "
                f"deleted before it is read. Write to another path"
            )
        raise InvalidArgumentError(
            f"cannot write to {target.where}: the values are computed from it, and a task that "
            f"runs again, as after the loss of a worker, would read what it wrote. Write to "
            f"another path"
        )


def existing_node(store: cs.Store, path: str) -> cs.Array | cs.Group | None:
    """Give what is at a place now; None if nothing opens there."""
    try:
        return cs.open(store, path=path, mode="r+")
    except (NodeNotFoundError, MetadataError):
        return None


def is_untouched(store: cs.Store, path: str) -> bool:
    """Whether there is nothing at a place but marks of jobs."""
    prefix = f"{path}/" if path else ""
    found = store.list_dir(prefix)
    return all(key.removeprefix(prefix).startswith("__") for key in (*found.keys, *found.prefixes))


def holds(node: cs.Array | cs.Group, source: Any) -> bool:
    """Whether an object is an array at or below the place of a node."""
    if not isinstance(source, cs.Array):
        return False
    return is_within(node_place(source.store, source.path), node_place(node.store, node.path))


def _where(path: str, store: Any) -> str:
    return f"{path or '/'!r} in {store!r}"

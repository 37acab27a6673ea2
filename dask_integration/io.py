"""From a store to a dask array and back: `from_store` and `to_store`.

Floor 4. Blocks are whole write units in both directions, so no chunk is read twice and none is
written by two tasks. A job that reads, computes and writes is one task a block::

    from_store ─▶ block-wise functions ─▶ to_store        n blocks, n tasks
      a handle and a region a task         a receipt a task, merged into one report

A new array cannot be opened until every block is written: its metadata document is stored last.
Left out: regions, resuming, and rechunking of what is not aligned.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import dask.array as da
import numpy as np
from dask.utils import parse_bytes

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.align import (
    blocks_of_bytes,
    blocks_of_shape,
    chunks_for_blocks,
    require_aligned,
)
from dask_integration.attempts import attempt
from dask_integration.chunks import Block, BlockGrid, Blocks, n_blocks
from dask_integration.layers import (
    FusingDelayed,
    literals_of,
    need_task_array,
    other_processes,
    read_layer,
    tree_reduce,
    unique_token,
    write_layer,
)
from dask_integration.receipts import Receipt, StoreReport, Tally, checksum, merge_receipts

__all__ = ["from_store", "to_store"]

_INNER_CHUNK_BYTES = 2**20
"""Size that chunks within shards aim at: the least that a reader has to decode."""


# --- reading -----------------------------------------------------------------------------------


def from_store(
    store: Any,
    path: str | None = None,
    *,
    chunks: str | int | Sequence[int | None] = "auto",
) -> da.Array:
    """Make a dask array of a stored array, one task a block of whole write units.

    Parameters
    ----------
    store : Store, str, Path or chunkstore.Array
        Where the array is, or the array itself.
    path : str, optional
        Path in the store; the root by default.
    chunks : {"auto", "storage"}, str, int or tuple of int
        Blocks of the dask array. "auto" merges small write units (shards, or chunks) to blocks of
        up to 64 MiB, counting narrow elements as four bytes; "storage" takes each unit as a
        block; a size such as "128MiB" merges up to that size. A tuple is the shape of a block,
        multiples of the write unit; -1 and None stand for a whole axis.

    Returns
    -------
    dask.array.Array
        Lazy; of the array's shape and dtype.

    Raises
    ------
    NodeNotFoundError
        If nothing is stored at `path`.
    AlignmentError
        If blocks of the shape that was asked for would split write units.
    InvalidArgumentError
        If `chunks` is not understood, or the array is in memory and a cluster would read it.

    Notes
    -----
    Costs one request for metadata. The graph's size does not depend on the number of blocks; each
    task carries the array's handle, some hundred bytes. A task reads with one thread, for dask
    runs a task on every thread already, and holds its block and one decoded chunk.

    Every call gives new graph keys: the stored values may have changed since the last one, and a
    scheduler gives back what it holds under a known key.

    Slicing the result reads whole blocks, but only those that are needed.

    Examples
    --------
    >>> import chunkstore as cs
    >>> import numpy as np
    >>> array = cs.create_array(None, data=np.arange(12).reshape(3, 4), chunks=(1, 2))
    >>> from_store(array, chunks=(1, 4)).sum(axis=1).compute()
    array([ 6, 22, 38])
    """
    array = _opened(store, path).with_options(n_threads=1)
    x = read_layer(
        _read_block,
        array,
        chunks=_read_blocks(array, chunks),
        dtype=array.dtype,
        name_token=unique_token(),
    )
    _refuse_memory_elsewhere(array.store, x)
    return x


def _opened(store: Any, path: str | None) -> cs.Array:
    if not isinstance(store, cs.Array):
        return cs.open_array(store, path=path, mode="r")
    if path is not None:
        raise InvalidArgumentError(
            f"path {path!r} was given beside the array {store!r}; give a store and a path, or an "
            f"array alone"
        )
    return store


def _read_blocks(array: cs.Array, chunks: Any) -> Blocks:
    merged = partial(
        blocks_of_bytes, array.shape, array.write_unit, item_bytes=array.dtype.itemsize
    )
    if chunks == "auto":
        return merged()
    if chunks == "storage":
        return blocks_of_shape(array.shape, array.write_unit, array.write_unit)
    if isinstance(chunks, str):
        try:
            n_bytes = parse_bytes(chunks)
        except ValueError:
            n_bytes = 0
        if n_bytes > 0:
            return merged(target_bytes=n_bytes)
    elif isinstance(chunks, int) and not isinstance(chunks, bool):
        return blocks_of_shape(array.shape, array.write_unit, (chunks,) * array.ndim)
    elif isinstance(chunks, Sequence) and all(
        size is None or isinstance(size, int | np.integer) for size in chunks
    ):
        return blocks_of_shape(array.shape, array.write_unit, chunks)
    raise InvalidArgumentError(
        f'chunks {chunks!r} is not understood: expected "auto", "storage", a size such as '
        f'"128MiB", or the shape of a block, such as {array.write_unit}'
    )


def _read_block(array: cs.Array, block: Block) -> np.ndarray[Any, Any]:
    return np.asarray(array.read(block.region))


# --- writing -----------------------------------------------------------------------------------


def to_store(
    x: da.Array,
    store: Any,
    *,
    path: str | None = None,
    chunks: int | Sequence[int] | None = None,
    shards: int | Sequence[int] | Literal["auto"] | None = None,
    compressors: Any = "auto",
    fill_value: Any = None,
    attributes: Mapping[str, Any] | None = None,
    dimension_names: Sequence[str | None] | None = None,
    zarr_format: Literal[2, 3] = 3,
    overwrite: bool = False,
    compute: bool = True,
    retries: int = 3,
) -> StoreReport | FusingDelayed:
    """Write a dask array to a store, one task a block, safely in any order and number at once.

    Parameters
    ----------
    x : dask.array.Array
        What to write. Every edge between its blocks must be an edge of write units.
    store : Store, str, Path or chunkstore.Array
        Where to make the array; or an array that is open for writing, of the shape of `x`.
    path : str, optional
        Path of the new array in the store; the root by default.
    chunks : tuple of int or int, optional
        Chunks of the new array. The default makes each block of `x` a chunk, or divides blocks
        that are larger than 64 MiB; within shards it divides the shard to about 1 MiB.
    shards : tuple of int, int or "auto", optional
        Shards of the new array: one stored value each, of several chunks. "auto" makes each block
        of `x` a shard, or divides blocks that are larger than 64 MiB. The default has no shards.
    compressors, fill_value, attributes, dimension_names, zarr_format
        Of the new array, as in `chunkstore.create_array`.
    overwrite : bool
        Replace what is at `path`. It is deleted when everything has been checked and before
        anything is computed; with ``compute=False`` that is during this call.
    compute : bool
        Run the job. False gives it as a Delayed.
    retries : int
        How often a block is written again after the store failed. Only failures that may pass
        are tried again (not a full disk or a missing permission), after waits that double.

    Returns
    -------
    StoreReport or dask.delayed.Delayed
        With ``compute=False`` a Delayed that writes, makes the array exist and gives the report.

    Raises
    ------
    AlignmentError
        If two blocks would share a write unit; raised before anything is touched.
    NodeExistsError
        If something is at `path` and `overwrite` is false.
    InvalidArgumentError
        If arguments do not fit together, `x` is computed from what it would replace, or the
        values turn out not to be what `x` declares.

    Notes
    -----
    A new array appears when all its blocks are written. A job that is interrupted, in whatever
    way, leaves chunks and a mark that no reader opens; run it again with ``overwrite=True``.
    Blocks written to an array that exists are seen at once.

    A block is written by one task with one thread, which fuses with the tasks that compute it: a
    block is held only by the thread that works on it. Tasks may run more than once, as they do
    when a worker is lost: they write the same values again.

    Each block is checked against the shape that `x` declares for it, and cast to the stored data
    type if that loses no more than precision.

    Examples
    --------
    >>> import chunkstore as cs
    >>> import dask.array as da
    >>> store = cs.MemoryStore()
    >>> report = to_store(da.ones((4, 6), chunks=(2, 6)), store, path="a")
    >>> report.n_blocks, cs.open_array(store, path="a", mode="r").chunks
    (2, (2, 6))
    """
    need_task_array(x, "write")
    BlockGrid.of(x.chunks)
    if retries < 0:
        raise InvalidArgumentError(f"retries must not be negative, got {retries!r}")
    if isinstance(store, cs.Array):
        given = (path, chunks, shards, fill_value, attributes, dimension_names)
        plain = overwrite is False and zarr_format == 3 and compressors == "auto"
        if not plain or any(value is not None for value in given):
            raise InvalidArgumentError(
                f"cannot lay out {store!r} anew: it exists. Give only `compute` and `retries` "
                f"beside an array, or give a store and a path"
            )
        array = _existing_target(x, store)
    else:
        array = _new_target(
            x,
            store,
            name=path,
            chunks=chunks,
            shards=shards,
            compressors=compressors,
            fill_value=fill_value,
            attributes=attributes,
            dimension_names=dimension_names,
            zarr_format=zarr_format,
            overwrite=overwrite,
        )
    is_new = not isinstance(store, cs.Array)
    # Taken before the attributes are set: every task carries the handle.
    handle = array.with_options(n_threads=1)
    if attributes:
        array.update_attributes(attributes)
    job = _job(x, array, handle, publish=is_new and not compute, retries=retries)
    return _run(job, array, publish=is_new) if compute else job


def _new_target(
    x: da.Array,
    store: Any,
    *,
    chunks: Any,
    shards: Any,
    attributes: Mapping[str, Any] | None,
    overwrite: bool,
    **layout: Any,
) -> cs.Array:
    """Check everything, then make the new array, held back from readers."""
    if store is None or (isinstance(store, str) and store.startswith("memory:")):
        raise InvalidArgumentError(
            f"cannot write to the store {store!r}: nothing could find it afterwards. Make a "
            f"chunkstore.MemoryStore() and pass that"
        )
    chunks, shards = _units(x, chunks, shards)
    layout |= {"shape": x.shape, "dtype": x.dtype, "chunks": chunks, "shards": shards}
    # A draft in memory tells whether the layout can be had, and which write unit it has.
    draft = cs.create_array(None, attributes=attributes, **layout)
    target = f"{draft.path or '/'!r} in {store!r}"
    _require_aligned(x, draft, target)
    _refuse_memory_elsewhere(store, x)
    if overwrite:
        _refuse_replaced_sources(x, store, draft.path)
    return cs.create_array(store, overwrite=overwrite, pending=True, **layout)


def _units(x: da.Array, chunks: Any, shards: Any) -> tuple[Any, Any]:
    """Give the chunks and shards of a new array, chosen where they were not given."""
    if chunks is not None and shards != "auto":
        return chunks, shards
    item_bytes = x.dtype.itemsize
    if shards is None:
        return chunks_for_blocks(x.chunks, item_bytes=item_bytes), None
    if shards == "auto":
        shards = chunks_for_blocks(x.chunks, item_bytes=item_bytes)
    if chunks is None:
        shape = (shards,) * x.ndim if isinstance(shards, int | np.integer) else shards
        # Two shards in a row: what divides both edges divides the shard.
        doubled = tuple((size, size) for size in shape)
        chunks = chunks_for_blocks(doubled, item_bytes=item_bytes, max_bytes=_INNER_CHUNK_BYTES)
    return chunks, shards


def _existing_target(x: da.Array, array: cs.Array) -> cs.Array:
    target = f"{array.path or '/'!r} in {array.store!r}"
    if array.read_only:
        raise cs.errors.ReadOnlyError(
            f"cannot write to {target}: it was opened read-only. Open it with mode='r+'"
        )
    if x.shape != array.shape:
        raise InvalidArgumentError(
            f"cannot write to {target}: expected an array of its shape {array.shape}, got {x.shape}"
        )
    if not _fits(x.dtype, array.dtype):
        raise InvalidArgumentError(
            f"cannot write values of {x.dtype} to {target}, which holds {array.dtype}: the cast "
            f"could lose more than precision. Convert them first, with "
            f".astype({array.dtype.name!r})"
        )
    _require_aligned(x, array, target)
    _refuse_memory_elsewhere(array.store, x)
    if any(_holds(array, source) for source in literals_of(x)):
        raise InvalidArgumentError(
            f"cannot write to {target}: the values are computed from it, and a task that runs "
            f"again, as after the loss of a worker, would read what it wrote. Write to another path"
        )
    return array


def _fits(given: np.dtype[Any], stored: np.dtype[Any]) -> bool:
    if given.kind in "iub" and stored.kind in "iub":
        return bool(np.can_cast(given, stored))
    if stored.kind in "OT":
        # Text of any length; whether objects are text shows when they are written.
        return given.kind in "OTU"
    return given == stored or bool(np.can_cast(given, stored, "same_kind"))


def _require_aligned(x: da.Array, array: cs.Array, target: str) -> None:
    unit_name = "chunk" if array.shards is None else "shard"
    require_aligned(x.chunks, array.write_unit, target=target, unit_name=unit_name)


def _refuse_memory_elsewhere(store: Any, x: da.Array) -> None:
    elsewhere = other_processes(x) if isinstance(store, cs.MemoryStore) else None
    if elsewhere is not None:
        raise InvalidArgumentError(
            f"cannot use {store!r} with {elsewhere}: it lives in this process, and tasks run in "
            f"others. Use a LocalStore on a folder that all workers see, or compute with "
            f"dask.config.set(scheduler='threads')"
        )


def _refuse_replaced_sources(x: da.Array, store: Any, path: str) -> None:
    try:
        replaced = cs.open(store, path=path, mode="r")
    except (cs.errors.NodeNotFoundError, cs.errors.MetadataError):
        return
    for source in literals_of(x):
        if _holds(replaced, source):
            raise InvalidArgumentError(
                f"cannot overwrite {path or '/'!r} in {store!r}: the values are computed from "
                f"{source!r}, which would be deleted before it is read. Write to another path"
            )


def _holds(node: cs.Array | cs.Group, source: Any) -> bool:
    """Whether an object is an array at or below the place of a node."""
    if not isinstance(source, cs.Array):
        return False
    inner, outer = _place(source), _place(node)
    return inner[: len(outer)] == outer


def _place(node: cs.Array | cs.Group) -> tuple[Any, ...]:
    """Give the parts of where a node is, the same for all ways to name the place."""
    parts = tuple(node.path.split("/")) if node.path else ()
    if isinstance(node.store, cs.LocalStore):
        return Path(node.store.root, *parts).resolve().parts
    return (node.store, *parts)


def _job(
    x: da.Array, array: cs.Array, handle: cs.Array, *, publish: bool, retries: int
) -> FusingDelayed:
    """Make the graph that writes `x` and reports."""
    receipts = write_layer(partial(_write_block, retries=retries), x, handle)
    finish = partial(_finish, array=array, n_blocks=n_blocks(x.chunks), publish=publish)
    return tree_reduce(receipts, merge_receipts, finalize=finish, label="store")


def _run(job: FusingDelayed, array: cs.Array, *, publish: bool) -> StoreReport:
    try:
        report = cast(Any, job).compute()
        if publish:
            array.publish()
    except BaseException as error:
        left = "is unfinished and cannot be opened; run again with overwrite=True"
        error.add_note(f"{array!r} {left if publish else 'was written in part'}")
        raise
    return cast(StoreReport, report)


def _write_block(array: cs.Array, block: Block, values: Any, *, retries: int) -> Receipt:
    values = _checked(values, block)
    started_s, start = time.time(), time.perf_counter()
    attempt(lambda: array.write(block.region, values), retries=retries)
    write_s = time.perf_counter() - start
    return Receipt(block.id, values.nbytes, checksum(values), started_s, write_s)


def _checked(values: Any, block: Block) -> np.ndarray[Any, Any]:
    """Give the values of a block as a numpy array; refuse what would be stored wrong."""
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidArgumentError(
            f"cannot write block {block.id}: its values are masked, and a store holds no masks. "
            f"Fill them first, with dask.array.ma.filled(x, fill_value)"
        )
    array: np.ndarray[Any, Any] = np.asarray(values)
    if array.shape != block.shape:
        raise InvalidArgumentError(
            f"cannot write block {block.id}: expected values of shape {block.shape}, as the dask "
            f"array declares, got {array.shape}. Its `chunks` are wrong: check the function that "
            f"made it"
        )
    return array


def _finish(tally: Tally, *, array: cs.Array, n_blocks: int, publish: bool) -> StoreReport:
    assert tally.n_blocks == n_blocks, f"{tally.n_blocks} receipts for {n_blocks} blocks"
    if publish:
        array.publish()
    return StoreReport(
        target=f"{array.name} in {array.store!r}",
        shape=array.shape,
        dtype=str(array.dtype),
        n_blocks=n_blocks,
        value_bytes=tally.value_bytes,
        checksum=f"{tally.checksum:016x}",
        write_s=tally.write_s,
        elapsed_s=max(0.0, tally.ended_s - tally.started_s),
    )

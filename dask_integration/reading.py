"""From a store to a dask array: `from_store`.

Floor 3. Blocks are whole write units, so no chunk is read twice, and each is one task::

    write units     |. . .|. . .|. . .|. .|
    blocks          |           |         |     units merged, none split
    region          |   [. . . . . . .]   |
    its blocks      |   [       |     ]   |     the first and last are what is left of theirs

Names of the blocks tell what is in them: a scheduler that knows a name gives back what it holds,
so a name must change when the content does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.utils import parse_bytes

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.align import blocks_of_bytes, blocks_of_shape
from dask_integration.chunks import Block, Blocks, region_spans
from dask_integration.layers import phases, read_expression, read_layer, refuse_memory_elsewhere

__all__ = ["from_store"]


def from_store(
    store: Any,
    path: str | None = None,
    *,
    chunks: str | int | Sequence[int | None] = "auto",
    region: Any = None,
    token: str | None = None,
    library: Literal["dask.array", "dask_array"] = "dask.array",
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
    region : tuple of slice, optional
        The part of the array to take, a slice without a step for each axis. Unlike a slice of the
        result, it reads no more than it gives.
    token : str, optional
        Your word that a path with this token always stands for the same content: blocks that a
        scheduler holds under it are given back unread. By default the store is asked whether
        anything has changed.
    library : {"dask.array", "dask_array"}
        Whose array to make: dask's own, or one of the separate package ``dask_array``.

    Returns
    -------
    dask.array.Array or dask_array.Array
        Lazy; of the shape of the array, or of the region, and its dtype.

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

    Names of the blocks never outlive the content. Where a folder on a disk of this machine proves
    that nothing was written, by one listing, two calls give the same names, in other processes
    too, so that `to_store` can resume. Elsewhere, and above 10,000 stored values, each call gives
    new names; `token` makes them last. Object stores can prove it too, at the cost of a request or
    a few: pass ``token=array.content_stamp()``.

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
    where = f"{array.path or '/'!r} in {array.store!r}"
    spans = region_spans(region, array.shape, where=f"read from {where}")
    blocks = _read_blocks(array, chunks, spans)
    name: Any = array.__dask_tokenize__() if token is None else (token, array.path)
    starts = tuple(span.start for span in spans)
    if library not in ("dask.array", "dask_array"):
        raise InvalidArgumentError(f'library must be "dask.array" or "dask_array", got {library!r}')
    read = read_layer if library == "dask.array" else read_expression
    x = read(
        _read_block,
        (array, starts),
        chunks=blocks,
        dtype=array.dtype,
        name_token=tokenize(name, starts, blocks),
    )
    refuse_memory_elsewhere(array.store, x)
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


def _read_blocks(array: cs.Array, chunks: Any, spans: Sequence[range]) -> Blocks:
    """Cut what is read into blocks, as if it began at the edge of a write unit."""
    unit = array.write_unit
    before = tuple(span.start % size for span, size in zip(spans, unit, strict=True))
    shape = tuple(len(span) + n if len(span) else 0 for span, n in zip(spans, before, strict=True))
    blocks = _blocks(array, chunks, shape)
    return tuple(
        (axis[0] - n, *axis[1:]) if len(span) else axis
        for axis, n, span in zip(blocks, before, spans, strict=True)
    )


def _blocks(array: cs.Array, chunks: Any, shape: tuple[int, ...]) -> Blocks:
    merged = partial(blocks_of_bytes, shape, array.write_unit, item_bytes=array.dtype.itemsize)
    if chunks == "auto":
        return merged()
    if chunks == "storage":
        return blocks_of_shape(shape, array.write_unit, array.write_unit)
    if isinstance(chunks, str):
        try:
            n_bytes = parse_bytes(chunks)
        except ValueError:
            n_bytes = 0
        if n_bytes > 0:
            return merged(target_bytes=n_bytes)
    elif isinstance(chunks, int) and not isinstance(chunks, bool):
        return blocks_of_shape(shape, array.write_unit, (chunks,) * array.ndim)
    elif isinstance(chunks, Sequence) and all(
        size is None or isinstance(size, int | np.integer) for size in chunks
    ):
        return blocks_of_shape(shape, array.write_unit, chunks)
    raise InvalidArgumentError(
        f'chunks {chunks!r} is not understood: expected "auto", "storage", a size such as '
        f'"128MiB", or the shape of a block, such as {array.write_unit}'
    )


def _read_block(handle: tuple[cs.Array, tuple[int, ...]], block: Block) -> np.ndarray[Any, Any]:
    array, starts = handle
    with phases("read", "decode"):
        return np.asarray(array.read(block.at(starts)))

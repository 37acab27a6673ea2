"""Layers of one task a block: sources, maps and sinks.

Floor 2, member of `layers`. A chain of them fuses into one task a block, which carries nothing but
the function, the handle and the block's id and region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, TaskRef
from dask.base import is_dask_collection, tokenize
from dask.blockwise import Blockwise
from dask.blockwise import blockwise as untyped_blockwise
from dask.delayed import delayed
from dask.highlevelgraph import HighLevelGraph
from dask.layers import ArrayBlockwiseDep

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Block, BlockGrid, Blocks
from dask_integration.layers.base import (
    make_array,
    need_task_array,
    note_block,
    refuse_query_planning,
    run_with_handle,
    single_elements,
    unique_token,
)

__all__ = ["map_block", "map_partials", "read_layer", "write_layer"]

_EMBED_BYTES = 65_536
"""Operands up to this size travel inside every task; larger ones are one task of their own."""

_blockwise: Callable[..., Blockwise] = untyped_blockwise


def read_layer(
    read: Callable[[Any, Block], Any],
    handle: Any,
    *,
    chunks: Blocks,
    dtype: Any,
    name_token: str,
    label: str = "read",
) -> da.Array:
    """Make an array whose blocks are read by one task each.

    Parameters
    ----------
    read : callable
        ``read(handle, block)`` gives the values of a `Block`; importable by name on the workers.
    handle : object
        What to read from; small when pickled, because every task carries it.
    chunks : tuple of tuples of int
        Sizes of the blocks along each axis.
    dtype : numpy.dtype
        Data type of the blocks.
    name_token : str
        Part of the graph keys. It must differ when the content may differ: a scheduler that knows
        a key gives back what it holds. See `unique_token`.
    label : str
        First part of the graph keys, shown on the dashboard.

    Returns
    -------
    dask.array.Array
        Fuses with the block-wise functions applied to it.

    Notes
    -----
    Building costs no read and no work per block. The tasks are marked as producers of data, so
    that the distributed scheduler hands them out as memory allows, fused or not.

    Examples
    --------
    >>> def read(handle, block):
    ...     return np.arange(*handle)[block.region]
    >>> x = read_layer(read, (0, 10), chunks=((4, 4, 2),), dtype="int64", name_token="doc")
    >>> (x * 2).compute(scheduler="synchronous")
    array([ 0,  2,  4,  6,  8, 10, 12, 14, 16, 18])
    """
    refuse_query_planning()
    name = f"{label}-{name_token}"
    axes = tuple(range(len(chunks)))
    layer = _blockwise(
        partial(run_with_handle, read, handle),
        name,
        axes,
        _BlockDep(BlockGrid.of(chunks)),
        axes,
        numblocks={},
        _data_producer=True,
    )
    graph = HighLevelGraph.from_collections(name, layer, dependencies=())
    return make_array(graph, name, chunks=chunks, dtype=dtype)


def write_layer(
    write: Callable[[Any, Block, np.ndarray[Any, Any]], Any], x: da.Array, handle: Any
) -> da.Array:
    """Write each block of an array in one task that gives back a receipt.

    Parameters
    ----------
    write : callable
        ``write(handle, block, values)`` stores the values of a `Block` and returns a small object.
    x : dask.array.Array
        What to write. The caller has proved that no two blocks share a write unit.
    handle : object
        Where to write; small when pickled.

    Returns
    -------
    dask.array.Array
        The grid of receipts, for `tree_reduce`. Computing it as an array means nothing.

    Notes
    -----
    The key of a write is unique: writing the same values again is done again.
    """
    return _map(
        partial(run_with_handle, write, handle),
        x,
        name=f"write-{unique_token()}",
        chunks=single_elements(x),
        dtype=object,
    )


def map_block(
    func: Callable[..., Any],
    x: da.Array,
    *whole: Any,
    aligned: Sequence[da.Array] = (),
    dtype: Any,
    chunks: Blocks | None = None,
    label: str = "map",
    pass_block: bool = False,
) -> da.Array:
    """Apply a function to each block, with small operands beside it.

    It calls ``func(block, *aligned_blocks, *whole_values)``.

    Parameters
    ----------
    func : callable
        Gives the new block, an ndarray with as many axes as `x`.
    x : dask.array.Array
        The array whose blocks are mapped.
    *whole : object
        Handed to every block in full: scalars, ndarrays, dask arrays (computed and put together
        first) and Delayed values. Keep them small, each worker receives them.
    aligned : sequence of dask.array.Array
        Handed over block by block: as many axes as `x`, and along each axis the same blocks as
        `x` or a single block, which then stays beside every block of `x` on that axis.
    dtype : numpy.dtype
        Data type of the new blocks.
    chunks : tuple of tuples of int, optional
        Sizes of the new blocks, as many along each axis as `x` has. The default says that `func`
        keeps shapes.
    label : str
        First part of the graph keys, shown on the dashboard.
    pass_block : bool
        Call ``func(block_info, block, ...)`` with the `Block` of `x` first.

    Returns
    -------
    dask.array.Array
        One task a block; fuses with what `x` is made of and with what follows.

    Raises
    ------
    InvalidArgumentError
        If blocks do not fit together.

    Examples
    --------
    >>> x = da.arange(6, chunks=3)
    >>> y = map_block(np.subtract, x, x.mean(), dtype="float64")
    >>> y.compute(scheduler="synchronous")
    array([-2.5, -1.5, -0.5,  0.5,  1.5,  2.5])
    """
    need_task_array(x, "map over")
    new = x.chunks if chunks is None else tuple(tuple(axis) for axis in chunks)
    if tuple(map(len, new)) != x.numblocks:
        raise InvalidArgumentError(
            f"cannot map {x.name!r}: `chunks` must keep its grid of {x.numblocks} blocks, "
            f"got {tuple(map(len, new))}"
        )
    names = [array.name for array in (x, *aligned)]
    token = tokenize(func, names, whole, pass_block, new, dtype)
    return _map(
        partial(_run_with_block if pass_block else _run, func),
        x,
        name=f"{label}-{token}",
        chunks=new,
        dtype=dtype,
        aligned=aligned,
        whole=whole,
    )


def map_partials(
    func: Callable[..., Any],
    x: da.Array,
    *whole: Any,
    aligned: Sequence[da.Array] = (),
    label: str = "partial",
    pass_block: bool = False,
) -> da.Array:
    """Apply a function to each block whose result is any picklable object.

    Takes what `map_block` takes. The result is a grid of partials for `tree_reduce` and
    `reduce_blocks`; computing it as an array means nothing.

    Examples
    --------
    >>> from dask_integration.layers import tree_reduce
    >>> x = da.arange(10, chunks=4)
    >>> counts = map_partials(lambda block: {"n": block.size}, x)
    >>> def add(parts):
    ...     return {"n": sum(part["n"] for part in parts)}
    >>> tree_reduce(counts, add).compute(scheduler="synchronous")
    {'n': 10}
    """
    return map_block(
        func,
        x,
        *whole,
        aligned=aligned,
        dtype=object,
        chunks=single_elements(x),
        label=label,
        pass_block=pass_block,
    )


def _map(
    run: Callable[..., Any],
    x: da.Array,
    *,
    name: str,
    chunks: Blocks,
    dtype: Any,
    aligned: Sequence[da.Array] = (),
    whole: Sequence[Any] = (),
) -> da.Array:
    """Lay one block-wise layer over `x`; `run` is called with a `Block` and the operands."""
    need_task_array(x, "map over")
    axes = tuple(range(x.ndim))
    pairs: list[Any] = [_BlockDep(BlockGrid.of(x.chunks)), axes, x.name, axes]
    dependencies: list[Any] = [x]
    for array in aligned:
        _check_aligned(array, x)
        pairs += [array.name, axes]
        dependencies.append(array)
    for value in whole:
        node, collection = _operand(value)
        pairs += [node, None]
        dependencies += [] if collection is None else [collection]
    numblocks = {array.name: array.numblocks for array in (x, *aligned)}
    layer = _blockwise(run, name, axes, *pairs, numblocks=numblocks)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=dependencies)
    return make_array(graph, name, chunks=chunks, dtype=dtype)


def _run(func: Callable[..., Any], block: Block, *values: Any) -> Any:
    try:
        return func(*values)
    except Exception as error:
        note_block(error, block)
        raise


def _run_with_block(func: Callable[..., Any], block: Block, *values: Any) -> Any:
    return _run(partial(func, block), block, *values)


def _operand(value: Any) -> tuple[TaskRef | DataNode, Any]:
    """Give what stands for a whole operand in the layer, and the collection it depends on."""
    if isinstance(value, da.Array):
        # Not through `delayed`: that would optimise the operand alone, and what it shares with
        # the blocks would be computed twice.
        joined = value.rechunk(-1)
        return TaskRef((joined.name, *(0,) * joined.ndim)), joined
    if not is_dask_collection(value) and getattr(value, "nbytes", 0) <= _EMBED_BYTES:
        # A node of its own: dask would search a bare tuple or dict for tasks.
        return DataNode(None, value), None
    # pure=True names an operand by its content, so that equal calls share one task.
    task = delayed(value, pure=True, traverse=False)
    return TaskRef(task.key), task


def _check_aligned(array: da.Array, x: da.Array) -> None:
    need_task_array(array, "map beside")
    fits = array.ndim == x.ndim and all(
        own == other or len(own) == 1 for own, other in zip(array.chunks, x.chunks, strict=True)
    )
    if not fits:
        raise InvalidArgumentError(
            f"cannot map {array.name!r} beside {x.name!r} block by block: expected along each axis "
            f"the same blocks or a single one, got {array.chunks} beside {x.chunks}. Rechunk it, "
            f"or pass it whole"
        )


class _BlockDep(ArrayBlockwiseDep):
    """Hands each task its `Block`, and travels as a few numbers."""

    def __init__(self, grid: BlockGrid) -> None:
        self.grid = grid
        self.numblocks = grid.numblocks
        self.produces_tasks = False

    @property
    def chunks(self) -> Blocks:  # type: ignore[override]
        return self.grid.blocks

    def __getitem__(self, idx: tuple[int, ...]) -> Block:
        return self.grid.block(idx)

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self.grid.extents, self.grid.sizes

    def __reduce__(self) -> tuple[Any, ...]:
        return _BlockDep, (self.grid,)

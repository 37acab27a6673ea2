"""What the tasks of a graph read and write, how large their results are, and in which order.

Floor 2, member of `layers`. A graph is spelled out as it would run: optimised, culled and fused.
Each task is then asked which regions of which arrays it touches; what is behind a function of the
user's is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef
from dask.array.optimization import GETTERS
from dask.blockwise import Blockwise, fuse_roots, optimize_blockwise
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph
from dask.order import order

import chunkstore as cs
from dask_integration.chunks import Block, BlockGrid
from dask_integration.layers.base import Key, read_by_id, run_with_handle

__all__ = ["Access", "GridAccess", "Outline", "SpelledTask", "outlined", "spelled_out"]

Region = tuple[tuple[int, int], ...]
"""First and last-but-one element along each axis."""


class Access(NamedTuple):
    """A region of a stored array that a task reads or writes."""

    array: cs.Array
    region: Region
    is_write: bool

    @property
    def n_elements(self) -> int:
        """Elements in the region."""
        return math.prod(stop - start for start, stop in self.region)


@dataclass(frozen=True)
class SpelledTask:
    """One task as it would run.

    Parameters
    ----------
    key : object
        Its graph key.
    needs : tuple
        Keys of the tasks whose results it takes.
    accesses : tuple of Access
        What it reads and writes.
    result_bytes : int
        Size of its result, as far as it can be told.
    """

    key: Key
    needs: tuple[Key, ...]
    accesses: tuple[Access, ...]
    result_bytes: int


def spelled_out(collection: Any) -> list[SpelledTask]:
    """List the tasks of a dask collection in the order in which dask would run them.

    Parameters
    ----------
    collection : dask.array.Array or Delayed
        What would be computed.

    Notes
    -----
    Costs what computing it costs the scheduler before the first task: some 0.1 ms a task. Nothing
    runs. Sizes come from what the arrays declare; a result of unknown shape counts as its largest
    input, and one that is no array as nothing.
    """
    graph: Any = collection.__dask_graph__()
    layers: Mapping[str, Any] = getattr(graph, "layers", {})
    declared = {name: layer.collection_annotations or {} for name, layer in layers.items()}
    nodes = dict(collection.__dask_optimize__(graph, collection.__dask_keys__()))
    data = {key: node for key, node in nodes.items() if isinstance(node, DataNode)}
    aliases = {key: node.target for key, node in nodes.items() if isinstance(node, Alias)}
    numbers = order(nodes)
    sizes: dict[Key, int] = {}
    elements: dict[Key, int] = {}
    tasks = []
    for key in sorted(nodes, key=numbers.__getitem__):
        node = nodes[key]
        if not isinstance(node, Task):
            continue
        needs = tuple({_target(need, aliases) for need in node.dependencies} - data.keys())
        accesses = tuple(_accesses(node, data))
        inputs = [elements.get(need, 0) for need in needs]
        inputs += [access.n_elements for access in accesses if not access.is_write]
        name = key if _name(key) in declared else _result_key(node)
        elements[key], sizes[key] = _size(name, declared, max(inputs, default=0))
        tasks.append(SpelledTask(key, needs, accesses, sizes[key]))
    return tasks


class GridAccess(NamedTuple):
    """All blocks of a grid that a layer reads or writes, with where the first one begins."""

    array: cs.Array
    grid: BlockGrid
    starts: tuple[int, ...]
    is_write: bool


class Outline(NamedTuple):
    """A graph by its layers: about how many tasks, and which grids of blocks they touch."""

    n_tasks: int
    accesses: tuple[GridAccess, ...]


def outlined(collection: Any) -> Outline:
    """Count the tasks of a dask collection layer by layer, without spelling them out.

    Notes
    -----
    Costs nothing per block of block-wise layers. Counts all blocks of a layer, also where a slice
    needs only some of them, and finds reads and writes in block-wise layers alone.
    """
    graph: Any = collection.__dask_graph__()
    if not isinstance(graph, HighLevelGraph):
        return Outline(len(graph), ())
    keys = list(flatten(collection.__dask_keys__()))
    graph = fuse_roots(optimize_blockwise(graph, keys=keys), keys=keys)
    layers = graph.layers.values()
    found = [a for layer in layers if isinstance(layer, Blockwise) for a in _of_layer(layer)]
    return Outline(sum(map(len, layers)), tuple(found))


def _of_layer(layer: Blockwise) -> Iterator[GridAccess]:
    """Give the grids that a block-wise layer touches: operands stand in its task by number."""
    operands: Mapping[Any, Any] = layer.io_deps
    bound = {
        f"__dask_blockwise__{number}": DataNode(None, operands[name].grid)
        for number, (name, _) in enumerate(layer.indices)
        if hasattr(operands.get(name), "grid")
    }
    for handle, grid, is_write in _store_calls(layer.task, bound):
        placed = _placed(handle)
        if placed is not None and isinstance(grid, BlockGrid):
            array, starts = placed
            yield GridAccess(array, grid, starts or (0,) * array.ndim, is_write)


def _name(key: Key) -> Any:
    return key[0] if isinstance(key, tuple) else key


def _target(key: Key, aliases: Mapping[Key, Key]) -> Key:
    while key in aliases:
        key = aliases[key]
    return key


def _result_key(node: Task) -> Key:
    """Give the key under which the result was declared; fusing gives tasks other keys."""
    inner = _subgraph(node)
    if inner is None:
        return node.key
    last = inner.tasks[inner.output]
    # A graph of one block a layer names its tasks by the layer alone.
    if isinstance(last, Task) and _subgraph(last) is not None:
        return _result_key(last)
    return inner.output if isinstance(inner.output, tuple) else node.key


def _size(key: Key, declared: Mapping[str, Any], n_inputs: int) -> tuple[int, int]:
    """Give the elements and bytes of a result."""
    name, *block_id = key if isinstance(key, tuple) else (key,)
    facts = declared.get(name, {})
    dtype, chunks = facts.get("dtype"), facts.get("chunks")
    if dtype is None or np.dtype(dtype).hasobject:
        # Summaries, receipts and other results that are no arrays.
        return 0, 0
    n_elements = n_inputs
    if chunks is not None and len(chunks) == len(block_id):
        shape = [axis[number] for axis, number in zip(chunks, block_id, strict=True)]
        n_elements = 0 if any(math.isnan(size) for size in shape) else math.prod(shape)
    return n_elements, n_elements * np.dtype(dtype).itemsize


# --- looking into tasks ------------------------------------------------------------------------


class _Subgraph(NamedTuple):
    """A fused task: the tasks in it, the one whose result it gives, and its operands."""

    tasks: Mapping[Key, Any]
    output: Key
    operands: Mapping[Key, Any]


def _subgraph(node: Task) -> _Subgraph | None:
    """Open a fused task, by the shape of its arguments: its function has no public name."""
    arguments = node.args
    if len(arguments) < 3 or not isinstance(arguments[0], dict):
        return None
    tasks, output, names = arguments[:3]
    is_fused = output in tasks and all(isinstance(task, GraphNode) for task in tasks.values())
    return (
        _Subgraph(tasks, output, dict(zip(names, arguments[3:], strict=False)))
        if is_fused
        else None
    )


def _accesses(node: Task, data: Mapping[Key, Any]) -> Iterator[Access]:
    """Give what a task reads and writes."""
    for handle, at, is_write in _store_calls(node, data):
        placed = _placed(handle)
        if placed is None:
            continue
        array, starts = placed
        if isinstance(at, Block):
            parts = at.region if starts is None else at.at(starts)
            yield Access(array, tuple((part.start, part.stop) for part in parts), is_write)
        else:
            yield Access(array, _region(at, array.shape), is_write)


def _store_calls(node: Any, bound: Mapping[Key, Any]) -> Iterator[tuple[Any, Any, bool]]:
    """Give the handles that a task calls with where, and whether to write.

    `bound` has the operands that stand outside of the task.
    """
    if not isinstance(node, Task):
        return
    inner = _subgraph(node)
    if inner is not None:
        within = {key: task for key, task in inner.tasks.items() if isinstance(task, DataNode)}
        outer = {key: _looked_up(value, bound) for key, value in inner.operands.items()}
        for task in inner.tasks.values():
            yield from _store_calls(task, {**bound, **within, **outer})
        return
    operands = [_value(value, bound) for value in node.args]
    func = node.func
    if isinstance(func, partial) and func.func is run_with_handle:
        yield func.args[1], operands[0], len(operands) > 1
    elif func in GETTERS and len(operands) >= 2 and isinstance(operands[0], cs.Array):
        yield operands[0], operands[1], False
    elif operands and isinstance(operands[0], partial) and operands[0].func is read_by_id:
        # As dask_array's map_blocks calls it: with the names and values of what it adds.
        _, handle, grid = operands[0].args
        yield handle, grid.block(operands[2]), False


def _looked_up(value: Any, bound: Mapping[Key, Any]) -> Any:
    return bound.get(value.key, value) if isinstance(value, TaskRef) else value


def _value(value: Any, bound: Mapping[Key, Any]) -> Any:
    found = _looked_up(value, bound)
    return found.value if isinstance(found, DataNode) else found


def _placed(handle: Any) -> tuple[cs.Array, tuple[int, ...] | None] | None:
    """Give the array of a handle, and where in it the first block begins."""
    array, starts = handle, None
    if isinstance(handle, tuple):
        array, starts = handle[:2]
    elif hasattr(handle, "starts"):
        array, starts = handle.array, handle.starts
    return (array, starts) if isinstance(array, cs.Array) else None


def _region(index: Any, shape: tuple[int, ...]) -> Region:
    """Give the region that an index of slices and integers lies in."""
    parts = index if isinstance(index, tuple) else (index,)
    region = []
    for extent, part in zip(shape, (*parts, *[slice(None)] * len(shape)), strict=False):
        if isinstance(part, slice):
            span = range(extent)[part]
            region.append((min(span, default=0), max(span, default=-1) + 1))
        elif isinstance(part, int | np.integer):
            region.append((int(part), int(part) + 1))
        else:
            region.append((0, extent))
    return tuple(region)

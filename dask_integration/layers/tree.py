"""Reductions over a grid of blocks, as a tree with a wide fan-in.

Floor 2, member of `layers`. The tree is one symbolic layer, a few numbers however many blocks it
spans; dask's own reductions spell out every task on the client.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress, islice, product
from typing import Any, cast

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, Layer
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Blocks
from dask_integration.layers.base import Key, RenamableLayer, make_array, need_task_array

__all__ = ["FusingDelayed", "gather", "reduce_blocks", "tree_reduce"]


class FusingDelayed(Delayed):
    """A delayed value at the end of an array graph, optimised as array graphs are.

    A plain Delayed computes a read, a map and a write as three tasks a block. This one fuses
    them, also when it is computed together with dask arrays, with which it then shares tasks.
    """

    __slots__ = ()
    __dask_optimize__ = staticmethod(da.Array.__dask_optimize__)


def tree_reduce(
    partials: da.Array,
    combine: Callable[[list[Any]], Any],
    *,
    split_every: int = 16,
    finalize: Callable[[Any], Any] | None = None,
    only: NDArray[np.bool_] | None = None,
    label: str = "reduce",
) -> FusingDelayed:
    """Reduce a grid of partials to one object, as a tree.

    Parameters
    ----------
    partials : dask.array.Array
        What `map_partials` or `write_layer` gave; an array reduces over its blocks.
    combine : callable
        ``combine(parts)`` merges a list of 1 to `split_every` partials into one. It must be
        associative; the list is in the order of the blocks, last axis fastest.
    split_every : int
        Partials that one task merges. Wide trees suit small partials.
    finalize : callable, optional
        Applied to the last partial, in the task that merged it.
    only : ndarray of bool, shape of the grid, optional
        Which partials to compute and merge; all by default.
    label : str
        First part of the graph keys.

    Returns
    -------
    FusingDelayed
        ``.compute()`` gives the object. It goes into `dask.compute`, `dask.delayed` functions and
        `dask.array.from_delayed` like every Delayed.

    Notes
    -----
    Adds about ``n / (split_every - 1)`` tasks for n blocks, at most `split_every` partials held a
    task. `combine` runs at least once, also for a single block or none.
    """
    wanted = None if only is None else np.packbits(only.reshape(-1)).tobytes()
    name = f"{label}-{tokenize(partials.name, combine, split_every, finalize, wanted)}"
    graph = _tree(
        partials,
        combine,
        name,
        axes=tuple(range(partials.ndim)),
        split_every=split_every,
        finalize=finalize,
        wanted=wanted,
    )
    key = (name, *(0,) * partials.ndim)
    value: Any = FusingDelayed
    return cast(FusingDelayed, value(key, _without_descriptions(graph), layer=name))


def gather(
    values: Sequence[FusingDelayed], func: Callable[[list[Any]], Any], *, label: str = "gather"
) -> FusingDelayed:
    """Apply a function to the list of several reduced values; one graph and one more task.

    Examples
    --------
    >>> from dask_integration.layers import map_partials
    >>> sizes = map_partials(len, da.ones(7, chunks=2))
    >>> gather([tree_reduce(sizes, sum), tree_reduce(sizes, max)], list).compute()
    [7, 2]
    """
    keys = [value.key for value in values]
    name = f"{label}-{tokenize(keys, func)}"
    task = Task(name, func, List(*map(TaskRef, keys)))
    dependencies: list[Any] = list(values)
    graph = HighLevelGraph.from_collections(name, {name: task}, dependencies)
    value: Any = FusingDelayed
    return cast(FusingDelayed, value(name, graph))


def reduce_blocks(
    partials: da.Array,
    combine: Callable[[list[Any]], Any],
    *,
    axes: Sequence[int],
    chunks: Blocks,
    dtype: Any,
    split_every: int = 16,
    finalize: Callable[[Any], Any] | None = None,
    label: str = "reduce",
) -> da.Array:
    """Reduce a grid of partials along some axes to an array.

    Parameters
    ----------
    partials, combine, split_every, label
        As in `tree_reduce`.
    axes : sequence of int
        Axes of the grid to reduce; each has a single block in the result.
    chunks : tuple of tuples of int
        Sizes of the resulting blocks: one along `axes`, as many as before along the others.
    dtype : numpy.dtype
        Data type of the result.
    finalize : callable, optional
        Makes the last partial into the block: an ndarray with as many axes as the grid.

    Examples
    --------
    >>> from dask_integration.layers import map_partials
    >>> x = da.ones((4, 6), chunks=(2, 3))
    >>> sums = map_partials(lambda block: block.sum(axis=1, keepdims=True), x)
    >>> y = reduce_blocks(sums, sum, axes=[1], chunks=((2, 2), (1,)), dtype="float64")
    >>> y.compute(scheduler="synchronous").ravel()
    array([6., 6., 6., 6.])
    """
    reduced = tuple(sorted({axis % partials.ndim for axis in axes}))
    expected = tuple(
        1 if axis in reduced else count for axis, count in enumerate(partials.numblocks)
    )
    if tuple(map(len, chunks)) != expected:
        raise InvalidArgumentError(
            f"cannot reduce {partials.name!r} along axes {reduced}: `chunks` must describe a grid "
            f"of {expected} blocks, got {tuple(map(len, chunks))}"
        )
    token = tokenize(partials.name, combine, split_every, finalize, reduced, chunks, dtype)
    name = f"{label}-{token}"
    graph = _tree(partials, combine, name, axes=reduced, split_every=split_every, finalize=finalize)
    return make_array(_without_descriptions(graph), name, chunks=chunks, dtype=dtype)


def _tree(
    partials: da.Array,
    combine: Callable[[list[Any]], Any],
    name: str,
    *,
    axes: tuple[int, ...],
    split_every: int,
    finalize: Callable[[Any], Any] | None,
    wanted: bytes | None = None,
) -> HighLevelGraph:
    need_task_array(partials, "reduce")
    if split_every < 2:
        raise InvalidArgumentError(f"split_every must be at least 2, got {split_every!r}")
    tree = _Tree(
        name=name,
        source=partials.name,
        numblocks=partials.numblocks,
        axes=axes,
        split_every=split_every,
        combine=combine,
        root=combine if finalize is None else partial(_finish, combine, finalize),
        wanted=wanted,
    )
    dependencies: list[Any] = [partials]
    return HighLevelGraph.from_collections(name, _TreeLayer(tree), dependencies)


def _finish(combine: Callable[[list[Any]], Any], finalize: Callable[[Any], Any], parts: Any) -> Any:
    return finalize(combine(parts))


@dataclass(frozen=True)
class _Tree:
    """Reduction trees over a grid: one for each cell of the axes that are kept.

    ::

        partials   p p p p  p p p p  p p      split_every=4
        level 1       c        c      c
        root                   r
    """

    name: str
    source: str
    numblocks: tuple[int, ...]
    axes: tuple[int, ...]
    split_every: int
    combine: Callable[[list[Any]], Any]
    root: Callable[[list[Any]], Any]
    only_cells: frozenset[tuple[int, ...]] | None = None
    wanted: bytes | None = None
    """A bit for each partial that is to be merged; None for all."""

    def cells(self) -> Iterable[tuple[int, ...]]:
        """Give the block ids of the result."""
        if self.only_cells is not None:
            return self.only_cells
        return product(
            *(range(1 if axis in self.axes else n) for axis, n in enumerate(self.numblocks))
        )

    def leaves(self, cell: tuple[int, ...]) -> Iterator[Key]:
        """Give the keys of the partials of a cell, last axis fastest."""
        spans = (
            range(n) if axis in self.axes else (cell[axis],)
            for axis, n in enumerate(self.numblocks)
        )
        leaves = ((self.source, *block_id) for block_id in product(*spans))
        if self.wanted is None:
            return leaves
        return compress(leaves, np.unpackbits(np.frombuffer(self.wanted, "u1")).tolist())

    def tasks(self, cell: tuple[int, ...]) -> Iterator[Task]:
        """Give the tasks of a cell, those nearest to the partials first."""
        keys, level = list(self.leaves(cell)), 0
        while len(keys) > self.split_every:
            level += 1
            merged = []
            for number, group in enumerate(_groups(keys, self.split_every)):
                merged.append((f"{self.name}-level", *cell, level, number))
                yield Task(merged[-1], self.combine, List(*map(TaskRef, group)))
            keys = merged
        yield Task((self.name, *cell), self.root, List(*map(TaskRef, keys)))


def _groups(keys: list[Key], size: int) -> Iterator[list[Key]]:
    remaining = iter(keys)
    while group := list(islice(remaining, size)):
        yield group


class _TreeLayer(RenamableLayer):
    """A `_Tree` as a layer, spelled out only where it runs; pickles as the tree."""

    def __init__(self, tree: _Tree, annotations: Mapping[str, Any] | None = None) -> None:
        super().__init__(annotations=annotations)
        self.tree = tree
        self._spelled_out: dict[Key, Task] | None = None

    def __repr__(self) -> str:
        tree = self.tree
        return f"_TreeLayer<{tree.source} {tree.numblocks} -> {tree.name} over axes {tree.axes}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _TreeLayer, (self.tree, self.annotations)

    @property
    def _tasks(self) -> dict[Key, Task]:
        if self._spelled_out is None:
            tasks = (task for cell in self.tree.cells() for task in self.tree.tasks(cell))
            self._spelled_out = {task.key: task for task in tasks}
        return self._spelled_out

    def __getitem__(self, key: Key) -> Task:
        return self._tasks[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def is_materialized(self) -> bool:
        return self._spelled_out is not None

    def get_output_keys(self) -> AbstractSet[Key]:
        return {(self.tree.name, *cell) for cell in self.tree.cells()}

    def cull(
        self, keys: set[Key], all_hlg_keys: Collection[Key]
    ) -> tuple[Layer, Mapping[Key, set[Key]]]:
        wanted = self.get_output_keys() & keys
        cells = frozenset(key[1:] for key in wanted)
        layer = _TreeLayer(replace(self.tree, only_cells=cells), self.annotations)
        return layer, {key: set(self.tree.leaves(key[1:])) for key in wanted}

    def key_names(self) -> Iterable[str]:
        return (self.tree.name,)

    def reduced_grid(self) -> tuple[int, ...] | None:
        tree = self.tree
        return tuple(1 if axis in tree.axes else n for axis, n in enumerate(tree.numblocks))

    def renamed(self, rename: Callable[[str], str]) -> _TreeLayer:
        tree = self.tree
        new = replace(tree, name=rename(tree.name), source=rename(tree.source))
        return _TreeLayer(new, self.annotations)


def _without_descriptions(graph: HighLevelGraph) -> HighLevelGraph:
    """Drop what dask notes on layers for display, but for the data type.

    The notes repeat the sizes of all blocks: eight bytes a block that would travel for nothing.
    """
    layers = {}
    for name, layer in graph.layers.items():
        layers[name] = copied = copy(layer)
        dtype = (layer.collection_annotations or {}).get("dtype")
        copied.collection_annotations = None if dtype is None else {"dtype": dtype}
    return HighLevelGraph(layers, graph.dependencies, graph.key_dependencies)

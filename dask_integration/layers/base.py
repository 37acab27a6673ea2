"""What the members of `layers` share: checks, names, and the making of arrays.

Floor 2, base of its folder. It also holds the one contract between members: a layer class of ours
can say which names its keys have, give itself under other names, and say whether it is a
reduction, so that `reread` and `hold_reductions` need not know the classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast
from uuid import uuid4

import dask.array as da
import numpy as np
from dask.array.core import Array as TaskArray
from dask.highlevelgraph import HighLevelGraph, Layer

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Block, BlockGrid, Blocks

__all__ = [
    "Key",
    "RenamableLayer",
    "make_array",
    "need_task_array",
    "note_block",
    "read_by_id",
    "refuse_query_planning",
    "run_with_handle",
    "single_elements",
    "unique_token",
]

Key: TypeAlias = Any
"""A dask graph key: a string, or a tuple that starts with one."""


class RenamableLayer(Layer):
    """A layer that can be had under other names without spelling out its tasks."""

    @abstractmethod
    def key_names(self) -> Iterable[str]:
        """Give the names (keys without block ids) that other layers may refer to."""

    @abstractmethod
    def renamed(self, rename: Callable[[str], str]) -> RenamableLayer:
        """Give the same layer with its own name and its sources' names replaced."""

    def reduced_grid(self) -> tuple[int, ...] | None:
        """Give the number of blocks along each axis if they are results of a reduction."""
        return None


def unique_token() -> str:
    """Give a token that no other call gives, in this process or another."""
    return uuid4().hex


def refuse_query_planning() -> None:
    """Raise an error when ``dask.array`` was imported with query planning.

    Raises
    ------
    InvalidArgumentError
        Says how to turn it off.
    """
    if da.array_expr_enabled():
        raise InvalidArgumentError(
            "cannot build a dask graph over a store: dask.array was imported with "
            '"array.query-planning": True, whose arrays lack block-wise fusion and most of '
            'linear algebra. Set dask.config.set({"array.query-planning": False}) before the '
            "first import of dask.array"
        )


def need_task_array(x: Any, doing: str) -> None:
    """Raise an error unless `x` is a task-based dask array.

    Raises
    ------
    InvalidArgumentError
        Names the type that was given.
    """
    refuse_query_planning()
    if not isinstance(x, TaskArray):
        raise InvalidArgumentError(
            f"cannot {doing} a {type(x).__module__}.{type(x).__qualname__}: expected a "
            f"dask.array.Array. Wrap other arrays with dask.array.from_array"
        )


def make_array(
    graph: HighLevelGraph, name: str, *, chunks: Blocks, dtype: Any = None, meta: Any = None
) -> da.Array:
    """Make a dask array of a graph's top layer; numpy blocks unless `meta` says otherwise."""
    if meta is None:
        meta = np.empty((0,) * len(chunks), dtype=dtype)
    array: Any = da.Array
    return cast(da.Array, array(graph, name, chunks, meta=meta))


def run_with_handle(func: Callable[..., Any], handle: Any, block: Block, *values: Any) -> Any:
    """Read a block, or write the values of one; in every task that touches a store.

    Its arguments stand in the graph as they are, which is how `spelled_out` knows what a task
    reads and writes: values beside the block are written.
    """
    try:
        return func(handle, block, *values)
    except Exception as error:
        note_block(error, block)
        raise


def read_by_id(
    read: Callable[[Any, Block], Any],
    handle: Any,
    grid: BlockGrid,
    block_id: tuple[int, ...] | None = None,
) -> Any:
    """Read a block of a grid, told which one; in tasks that are given an id and no `Block`."""
    return read(handle, grid.block(block_id or ()))


def note_block(error: Exception, block: Block) -> None:
    """Say in an error which block it came from."""
    region = ", ".join(f"{part.start}:{part.stop}" for part in block.region)
    error.add_note(f"in block {block.id}, region [{region}]")


def single_elements(x: da.Array) -> Blocks:
    """Give blocks of one element each on the grid of `x`: the shape of a grid of partials."""
    return tuple((1,) * count for count in x.numblocks)

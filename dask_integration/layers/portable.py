"""Arrays of the separate package ``dask_array``, which xarray can use in place of ``dask.array``.

Floor 2, member of `layers`. Its arrays are expressions that hold no layers of ours. Reading goes by
its own ``map_blocks``, which keeps expressions small and fuses; for writing, an expression is
optimised and its tasks, spelled out, become a task-based array.

Source: dask_array 0.7.1, ``map_blocks`` and ``Array.optimize``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph

from chunkstore.errors import MissingExtraError
from dask_integration.chunks import Block, BlockGrid, Blocks
from dask_integration.layers.base import (
    make_array,
    need_task_array,
    read_by_id,
    refuse_query_planning,
)

__all__ = ["read_expression", "task_array"]


def read_expression(
    read: Callable[[Any, Block], Any], handle: Any, *, chunks: Blocks, dtype: Any, name_token: str
) -> Any:
    """Make a `dask_array.Array` whose blocks are read by one task each; as `read_layer`.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """
    try:
        import dask_array  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingExtraError(
            'library="dask_array" needs the package dask-array, which is not installed. Run: '
            "python -m pip install dask-array"
        ) from error
    return dask_array.map_blocks(
        partial(read_by_id, read, handle, BlockGrid.of(chunks)),
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0,) * len(chunks), dtype=dtype),
        name=f"read-{name_token}",
    )


def task_array(x: Any, doing: str) -> da.Array:
    """Give a task-based dask array of the same values; refuse what is no dask array.

    Notes
    -----
    A `dask.array.Array` is given back as it is. Of a `dask_array.Array` all tasks are spelled out
    here, about 0.1 ms each.
    """
    foreign: Any = sys.modules.get("dask_array")
    if foreign is not None and isinstance(x, foreign.Array):
        refuse_query_planning()
        best = x.optimize()
        graph: Any = dict(best.__dask_graph__())
        layers = HighLevelGraph.from_collections(best.name, graph, dependencies=())
        return make_array(layers, best.name, chunks=best.chunks, dtype=best.dtype)
    need_task_array(x, doing)
    return cast(da.Array, x)

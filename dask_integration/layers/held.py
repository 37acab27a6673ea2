"""What several computations share, kept where they run.

Floor 2, member of `layers`. A job of several passes computes one graph a pass. Small things that
all passes need are computed once, or sent once, and stay on the workers until the job lets go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import dask.array as da
from dask.base import get_scheduler
from dask.base import persist as untyped_persist
from dask.delayed import delayed
from dask.highlevelgraph import HighLevelGraph

from dask_integration.layers.base import RenamableLayer, make_array, need_task_array

__all__ = ["hold_reductions", "share"]

_persist: Callable[..., tuple[da.Array, ...]] = untyped_persist


def hold_reductions(x: da.Array) -> da.Array:
    """Compute the reductions that an array is made of, once, and give the array over them.

    Parameters
    ----------
    x : dask.array.Array
        Made with `reduce_blocks`, such as a standardised array whose blocks do not span the axis.

    Returns
    -------
    dask.array.Array
        The same values. Computing it does not gather the reductions again: where they come from
        a pass over the source, n computations read it n + 1 times and not 2 n.

    Notes
    -----
    Runs one computation if there are such reductions, and holds their results for as long as the
    returned array lives: in this process, or on the workers of a `distributed.Client`. dask's own
    reductions stay as they are, and so does `x` if it is a reduction itself.
    """
    need_task_array(x, "hold the reductions of")
    graph = cast(HighLevelGraph, x.__dask_graph__())
    arrays = {}
    for name, layer in graph.layers.items():
        grid = layer.reduced_grid() if isinstance(layer, RenamableLayer) else None
        if grid is not None and name != x.name:
            chunks = tuple((1,) * count for count in grid)
            arrays[name] = make_array(graph, name, chunks=chunks, dtype=object)
    if not arrays:
        return x
    layers, dependencies = dict(graph.layers), dict(graph.dependencies)
    for name, held in zip(arrays, _persist(*arrays.values()), strict=True):
        layers[name] = cast(HighLevelGraph, held.__dask_graph__()).layers[name]
        dependencies[name] = set()
    return make_array(HighLevelGraph(layers, dependencies), x.name, chunks=x.chunks, meta=x._meta)


def share(value: Any, x: da.Array) -> Any:
    """Send a value to all workers that would compute an array, for use as a whole operand.

    Parameters
    ----------
    value : object
        Such as an ndarray of some megabytes, too large to travel in a graph.
    x : dask.array.Array
        Beside whose blocks the value will be used.

    Returns
    -------
    object
        The value itself where tasks run in this process, else a Delayed that refers to what the
        workers hold.
    """
    client = _client_of(x)
    if client is None:
        return value
    return delayed(client.scatter(value, broadcast=True, hash=False))


def _client_of(x: da.Array) -> Any:
    """Give the `distributed.Client` that would compute an array; None if none would."""
    owner = getattr(get_scheduler(collections=[x]), "__self__", None)
    return owner if type(owner).__module__.partition(".")[0] == "distributed" else None

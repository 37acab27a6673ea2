"""What a graph holds beside its functions, and where dask would run it.

Floor 2, member of `layers`. Both are asked before a job starts: whether it reads what it is about
to replace, and whether its tasks would leave this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import dask
import dask.array as da
import dask.local
import numpy as np
from dask._task_spec import DataNode, NestedContainer, Task
from dask.base import get_scheduler
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph
from dask.system import CPU_COUNT

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError

__all__ = [
    "Runners",
    "content_name",
    "literals_of",
    "other_processes",
    "refuse_memory_elsewhere",
    "runners",
]


def literals_of(x: da.Array) -> Iterator[Any]:
    """Give the objects that the tasks of an array carry: handles, operands, blocks of data.

    Parameters
    ----------
    x : dask.array.Array
        A task-based dask array, optimised or not.

    Notes
    -----
    Block-wise layers are looked at once each, layers that are spelled out task by task.

    Examples
    --------
    >>> [value for value in literals_of(da.zeros(4, chunks=2) + 7) if value == 7]
    [7]
    """
    graph = cast(HighLevelGraph, x.__dask_graph__())
    for layer in graph.layers.values():
        if isinstance(layer, Blockwise):
            yield from _literals(layer.task)
            for value, index in layer.indices:
                if index is None:
                    yield from _literals(value)
        else:
            for value in layer.values():
                yield from _literals(value)


def _literals(value: Any) -> Iterator[Any]:
    if isinstance(value, Task):
        yield from _literals(value.func)
        yield from _literals(value.args)
        yield from _literals(value.kwargs)
    elif isinstance(value, DataNode):
        yield from _literals(value.value)
    elif isinstance(value, NestedContainer):
        yield from _literals(value.args)
    elif isinstance(value, partial):
        yield from _literals(value.args)
        yield from _literals(value.keywords)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _literals(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _literals(part)
    else:
        yield value


def other_processes(collection: Any = None) -> str | None:
    """Name the scheduler that would run a collection in other processes; None if none would.

    A cluster of threads in this process counts as well: it too sends graphs as bytes.
    """
    get = get_scheduler(collections=[] if collection is None else [collection])
    owner = type(getattr(get, "__self__", None))
    if owner.__module__.partition(".")[0] == "distributed":
        return f"the distributed {owner.__name__}"
    if getattr(get, "__module__", "") == "dask.multiprocessing":
        return "the multiprocessing scheduler"
    return None


class Runners(NamedTuple):
    """What would run tasks: so many processes, each with so many threads for them."""

    n_processes: int
    n_threads: int


def runners() -> Runners:
    """Tell where dask would run tasks now: the client there is, or the scheduler that is set.

    Notes
    -----
    Asks a cluster's scheduler once. Of workers that differ the one with most threads counts.
    """
    get = get_scheduler() or da.Array.__dask_scheduler__
    owner: Any = getattr(get, "__self__", None)
    if type(owner).__module__.partition(".")[0] == "distributed":
        threads = list(owner.nthreads().values())
        return Runners(max(1, len(threads)), max(threads, default=1))
    if get is dask.local.get_sync:
        return Runners(1, 1)
    n_workers = dask.config.get("num_workers", None) or CPU_COUNT
    if getattr(get, "__module__", "") == "dask.multiprocessing":
        return Runners(n_workers, 1)
    pool = dask.config.get("pool", None)
    return Runners(1, getattr(pool, "_max_workers", n_workers))


def refuse_memory_elsewhere(store: Any, x: da.Array) -> None:
    """Raise an error if other processes would be sent a store of this one."""
    stays = isinstance(store, cs.Store) and store.spec() is None
    elsewhere = other_processes(x) if stays else None
    if elsewhere is not None:
        raise InvalidArgumentError(
            f"cannot use {store!r} with {elsewhere}: it lives in this process, and tasks run in "
            f"others. Use a LocalStore on a folder that all workers see, or compute with "
            f"dask.config.set(scheduler='threads')"
        )


def content_name(x: da.Array) -> str | None:
    """Give a name that another computation has only if it gives the same values; None if unknown.

    It is dask's own name of the array, which tells how it is made, down to the bytes of arrays in
    memory, and for stored arrays of this project the content. Of handles on data that others
    store, such as those of zarr-python and h5py, dask knows no more than where they point.
    """
    return None if any(map(_is_foreign_handle, literals_of(x))) else x.name


def _is_foreign_handle(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic | np.dtype | cs.Array | type):
        return False
    return hasattr(value, "shape") and hasattr(value, "dtype")

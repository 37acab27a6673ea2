"""Copying a stored array into other chunks, within a memory bound: `rechunk`.

Floor 4. Checks what can be checked before anything is touched, and plans; the job is in
``rechunk_job``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dask.base import is_dask_collection
from dask.utils import parse_bytes

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.layers import other_processes, refuse_query_planning, runners
from dask_integration.rechunk_job import RechunkJob, RechunkReport, begun_with
from dask_integration.rechunk_plan import Method, RechunkPlan, Units, megabytes, plan_rechunk
from dask_integration.targets import existing_node, holds

__all__ = ["rechunk"]


def rechunk(
    source: Any,
    target: Any,
    *,
    chunks: int | Sequence[Any] | str,
    shards: int | Sequence[int] | str | None = None,
    source_path: str | None = None,
    path: str | None = None,
    memory: int | str = "1GB",
    method: Method = "auto",
    temp: Any = None,
    overwrite: bool = False,
    resume: bool = False,
    token: str | None = None,
    compute: bool = True,
    retries: int = 3,
    **layout: Any,
) -> RechunkReport | RechunkJob:
    """Copy a stored array into other chunks or shards, within a memory bound.

    Parameters
    ----------
    source : Store, str, Path or chunkstore.Array
        Where the array is, or the array itself.
    target : Store, str or Path
        Where to make the new array.
    chunks, shards
        Of the new array, as in `chunkstore.create_array`.
    source_path, path : str, optional
        Paths in the two stores; the root by default.
    memory : int or str
        What each process may hold for the job, in bytes or as in ``"1GB"``.
    method : {"auto", "direct", "staged"}
        Whether to go through an array of pieces. "auto" does what costs less; see `RechunkPlan`.
    temp : Store, str or Path, optional
        Where the pieces of a staged copy go for the time of the job. The default puts them beside
        the new array's chunks.
    overwrite : bool
        Replace what is at `path`, when everything has been checked.
    resume : bool
        Go on with a job that was interrupted: only what is not noted as finished is copied.
        Refused unless source and layout are as they were; regions are those it was begun with, as
        long as they fit in `memory`.
    token : str, optional
        Your word that the source has not changed between runs with this token. By default the
        store is asked; not all can tell.
    compute : bool
        Run the job. False gives it, to look at its plan and to run it later.
    retries : int
        How often a request is repeated after a store failed; see `to_store`.
    **layout
        What else shall differ from the source: ``compressors``, ``fill_value``, ``zarr_format``, …
        as in `chunkstore.create_array`. All that is not given stays: attributes, dimension names,
        fill value and codecs.

    Returns
    -------
    RechunkReport or RechunkJob
        What was done, with the new array; or the job.

    Raises
    ------
    InvalidArgumentError
        If nothing fits in `memory` (it says how much would), if elements have no fixed size, or
        if the new array would replace the old one.
    NodeExistsError
        If something is at `path` and `overwrite` is false.

    Notes
    -----
    Runs where dask runs things: threads of this process, or the client there is. In each process
    no more tasks run at a time than fit in `memory`. The bound is for what the job holds: regions,
    chunks, stored and decoded; not for Python and its libraries. The report has the measured peak
    beside it.

    A job that fails or is interrupted leaves chunks and a ledger that no reader opens; run it again
    with ``resume=True``, or with ``overwrite=True``. The pieces of a staged copy are deleted when
    it fails, and made again when it is resumed; a job that was killed goes on with them.

    Examples
    --------
    >>> import chunkstore as cs
    >>> import numpy as np
    >>> rows = cs.create_array(None, data=np.arange(24).reshape(4, 6), chunks=(1, 6))
    >>> report = rechunk(rows, cs.MemoryStore(), chunks=(4, 1))
    >>> report.array.chunks, report.array[:, 1].tolist()
    ((4, 1), [1, 7, 13, 19])
    """
    refuse_query_planning()
    if retries < 0:
        raise InvalidArgumentError(f"retries must not be negative, got {retries!r}")
    array = _source(source, source_path)
    layout |= {"name": path, "chunks": chunks, "shards": shards}
    if resume and overwrite:
        raise InvalidArgumentError(
            "resume=True goes on with what is there and overwrite=True deletes it: give one"
        )
    if target is None or isinstance(target, cs.Array):
        raise InvalidArgumentError(
            f"cannot make the new array in {target!r}: expected a store, a folder or a URL. For "
            f"one in memory pass a chunkstore.MemoryStore()"
        )
    # A draft in memory tells whether the layout can be had, and which write units it has.
    draft = cs.open_like(array, None, **layout)
    store = cs.open_store(target)
    between = None if temp is None else cs.open_store(temp)
    for one in (array.store, store, between):
        _refuse_memory_elsewhere(one)
    if overwrite:
        _refuse_replacing(array, store, draft.path)
    plan = _plan(array, draft, store, memory=_bytes(memory), method=method, resume=resume)
    job = RechunkJob(
        source=array,
        store=store,
        draft=draft,
        plan=plan,
        layout=layout,
        temp=between,
        token=token,
        overwrite=overwrite,
        resume=resume,
        retries=retries,
    )
    return job.compute() if compute else job


def _plan(
    array: cs.Array, draft: cs.Array, store: cs.Store, *, memory: int, method: Method, resume: bool
) -> RechunkPlan:
    """Plan for the processes and threads there are; or as an unfinished job was planned."""
    n_processes, n_threads = runners()
    asked: Mapping[str, Any] = {
        "memory_bytes": memory,
        "n_threads": n_threads,
        "n_processes": n_processes,
        # As many as the slower store wants: threads that wait for it cost memory alone.
        "n_requests": max(array.store.concurrency, store.concurrency),
        "method": method,
    }
    begun = begun_with(store, draft.path) if resume else None
    plan = plan_rechunk(
        _units(array), _units(draft), item_bytes=array.dtype.itemsize, **(begun or asked)
    )
    if begun is not None and plan.peak_bytes > memory:
        raise InvalidArgumentError(
            f"cannot resume within {megabytes(memory)}: the job was planned for "
            f"{megabytes(plan.memory_bytes)} and holds {megabytes(plan.peak_bytes)}. Pass memory "
            f"of as much, or begin anew with overwrite=True",
            needed_bytes=plan.peak_bytes,
        )
    return plan


def _source(source: Any, path: str | None) -> cs.Array:
    if is_dask_collection(source):
        raise InvalidArgumentError(
            "cannot rechunk a dask array between stores: rechunk copies an array that is stored. "
            "Call x.rechunk(...) on the dask array and write it with to_store"
        )
    if isinstance(source, cs.Array):
        if path is not None:
            raise InvalidArgumentError(f"source_path {path!r} was given beside {source!r}")
        array = source
    else:
        array = cs.open_array(source, path=path, mode="r")
    if not array.metadata.data_type.is_fixed_size:
        raise InvalidArgumentError(
            f"cannot bound the memory to rechunk {array!r}: its elements have no fixed size. "
            f"Copy it chunk by chunk, with chunkstore.copy(..., chunks=...)"
        )
    return array


def _units(array: cs.Array) -> Units:
    return Units.of(array.shape, array.chunks, array.shards)


def _bytes(memory: int | str) -> int:
    try:
        n_bytes = parse_bytes(memory)
    except ValueError:
        n_bytes = 0
    if n_bytes <= 0:
        raise InvalidArgumentError(
            f'memory {memory!r} is not understood: expected a number of bytes, or such as "1GB"'
        )
    return int(n_bytes)


def _refuse_memory_elsewhere(store: Any) -> None:
    elsewhere = other_processes() if isinstance(store, cs.MemoryStore) else None
    if elsewhere is not None:
        raise InvalidArgumentError(
            f"cannot use {store!r} with {elsewhere}: it lives in this process, and tasks run in "
            f"others. Use a LocalStore on a folder that all workers see, or compute with "
            f"dask.config.set(scheduler='threads')"
        )


def _refuse_replacing(source: cs.Array, store: cs.Store, path: str) -> None:
    """Refuse to delete the source, or what it lies in, before it is read."""
    replaced = existing_node(store, path)
    if replaced is not None and holds(replaced, source):
        raise InvalidArgumentError(
            f"cannot overwrite {path or '/'!r} in {store!r}: the source {source!r} would be "
            f"deleted before it is read. Write to another path"
        )

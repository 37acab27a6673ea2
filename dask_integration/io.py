"""From dask arrays to a store: `to_store`, `append`, `write_region`, `is_complete`.

Floor 4. Each block is written by one task, whole write units at a time, so no two tasks touch the
same unit. A job that reads, computes and writes is one task a block::

    from_store ─▶ block-wise functions ─▶ to_store        n blocks, n tasks
      a handle and a region a task         a receipt a task, merged into one report

New arrays cannot be opened until every block of the job is written: their metadata documents are
stored last, all together. Left out: what is asked of stores beforehand (``targets``), and what a
task does (``writing``); how a job is begun and ended (``job``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast, overload

import dask.array as da
import numpy as np
from dask.base import is_dask_collection
from dask.utils import parse_bytes

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeNotFoundError
from dask_integration.explain import explain_targets
from dask_integration.job import begin_job
from dask_integration.layers import FusingDelayed, runners
from dask_integration.ledger import APPEND, NEW, Ledger, unfinished_jobs
from dask_integration.reading import from_store
from dask_integration.receipts import StoreReport
from dask_integration.targets import (
    Align,
    Target,
    plan_append,
    plan_target,
    refuse_shared_places,
    refuse_sources,
)

__all__ = ["append", "from_store", "is_complete", "to_store", "write_region"]

_MERGED_BYTES = 2**28
"""Size that blocks may be merged up to where no `memory` is given."""

_HELD_BLOCKS = 4
"""Merged blocks that a thread is taken to hold at once."""


@overload
def to_store(x: da.Array, store: Any, **arguments: Any) -> StoreReport: ...


@overload
def to_store(x: Mapping[str, da.Array], store: Any, **arguments: Any) -> dict[str, StoreReport]: ...


def to_store(
    x: da.Array | Mapping[str, da.Array],
    store: Any,
    *,
    path: str | None = None,
    region: Any = None,
    chunks: int | Sequence[int] | Mapping[str, Any] | None = None,
    shards: int | Sequence[int] | Mapping[str, Any] | Literal["auto"] | None = None,
    compressors: Any = "auto",
    fill_value: Any = None,
    attributes: Mapping[str, Any] | None = None,
    dimension_names: Sequence[str | None] | Mapping[str, Any] | None = None,
    zarr_format: Literal[2, 3] = 3,
    align: Align = "auto",
    resume: bool = False,
    token: str | Mapping[str, str] | None = None,
    overwrite: bool = False,
    compute: bool = True,
    retries: int = 3,
    verify: bool = False,
    memory: str | int | None = None,
    **layout: Any,
) -> StoreReport | dict[str, StoreReport] | FusingDelayed:
    """Write dask arrays to a store, one task a block, safely in any order and number at once.

    Parameters
    ----------
    x : dask.array.Array, or a mapping of names to such
        What to write. Many arrays are written by one job and appear together at its end.
    store : Store, str, Path or chunkstore.Array
        Where to make the array; or an array that is open for writing.
    path : str, optional
        Path of the array in the store; the root by default. Of many, their names are paths below.
    region : tuple of slice, optional
        The part of an existing array to write, a slice without a step for each axis. Other jobs
        may write other regions meanwhile.
    chunks : tuple of int or int, optional
        Chunks of the new array. The default makes each block of `x` a chunk, or divides blocks
        that are larger than 64 MiB; within shards it divides the shard to about 1 MiB.
    shards : tuple of int, int or "auto", optional
        Shards of the new array: one stored value each, of several chunks. "auto" makes each block
        of `x` a shard, or divides blocks that are larger than 64 MiB. The default has no shards.
    compressors, fill_value, attributes, dimension_names, zarr_format
        Of the new array, as in `chunkstore.create_array`.
    align : {"auto", "error"}
        What happens to blocks of which two would share a write unit. "auto" merges neighbours, or
        rechunks, within `memory`; "error" refuses them. Blocks that share none stay as they are.
    resume : bool
        Go on with a job that was interrupted, in whatever way: blocks that the ledger in the store
        says are finished are left out. Refused if the values, the blocks or the layout are not
        those of that job. Where none was begun, begin one.
    token : str, optional
        Your word for the values, in place of dask's name for them: equal tokens say that the
        values are the same. Needed to resume where dask's names differ from run to run, as of
        unseeded random numbers, or of functions if one run has imported ``dask_array`` and the
        other not; or say nothing of the content, as of files that others store.
    overwrite : bool
        Replace what is at `path`. It is deleted when everything has been checked and before
        anything is computed; with ``compute=False`` that is during this call.
    compute : bool
        Run the job. False gives it as a Delayed.
    retries : int
        How often a block is written again after the store failed, within its task. Only failures
        that may pass are tried again (not a full disk or a missing permission), after waits that
        double. On a cluster a task that fails otherwise is also run again as often.
    verify : bool
        Read every block back once it is written and compare it with what was to be written.
    memory : str or int, optional
        Bytes that a process may hold for the job, such as "1GB". Blocks are merged within it, and
        a job that is to hold more, by `explain`, is refused; the report tells what was predicted
        and what was measured. By default nothing is predicted, and blocks are merged up to 256 MiB.
    **layout
        Further arguments of `chunkstore.create_array`: filters, serializer, order,
        chunk_key_encoding, storage_options.

    Returns
    -------
    StoreReport, dict of StoreReport, or dask.delayed.Delayed
        A report for each array. With ``compute=False`` a Delayed that writes, makes the arrays
        exist and gives the same.

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
    Of many arrays, each argument from `store` to `zarr_format` and each of `layout` may be a
    mapping of names to values, for those arrays that it names; `attributes` always is one.

    New arrays appear when all blocks are written. A job that is interrupted, in whatever way,
    leaves chunks, a mark and a ledger that no reader opens; run it again with ``resume=True``, or
    with ``overwrite=True``. Blocks written to an array that exists are seen at once; `is_complete`
    tells whether all are there. A power cut may keep a receipt and lose the values it tells of:
    where that matters, use ``LocalStore(folder, fsync=True)``.

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
    >>> x = da.arange(6, chunks=3)
    >>> reports = to_store({"x": x, "squares": x**2}, store, path="b", chunks={"x": 2})
    >>> list(cs.open_group(store, path="b").keys()), reports["x"].n_blocks
    (['squares', 'x'], 3)
    """
    if retries < 0:
        raise InvalidArgumentError(f"retries must not be negative, got {retries!r}")
    layout |= {
        "chunks": chunks,
        "shards": shards,
        "compressors": compressors,
        "fill_value": fill_value,
        "attributes": attributes,
        "dimension_names": dimension_names,
        "zarr_format": zarr_format,
        "overwrite": overwrite,
    }
    if resume and overwrite is not False:
        raise InvalidArgumentError(
            "resume=True goes on with what is there and overwrite=True deletes it: give one"
        )
    asked = _by_name(x, store, path=path, region=region, token=token, **layout)
    plan = partial(plan_target, align=align, max_bytes=_merged_bytes(memory))
    tokens = {name: arguments.pop("token") for name, arguments in asked.items()}
    targets = {name: plan(**arguments) for name, arguments in asked.items()}
    refuse_shared_places(targets.values())
    refuse_sources(list(targets.values()))
    job = begin_job(
        targets,
        single=not isinstance(x, Mapping),
        resume=resume,
        tokens=tokens,
        retries=retries,
        verify=verify,
        predicted_bytes=_predicted_bytes(targets.values(), memory),
    )
    return job.run() if compute else job.lazily()


def append(
    x: da.Array,
    store: Any,
    *,
    path: str | None = None,
    axis: int = 0,
    align: Align = "auto",
    resume: bool = False,
    token: str | None = None,
    overwrite: bool = False,
    compute: bool = True,
    retries: int = 3,
    verify: bool = False,
    memory: str | int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> StoreReport | FusingDelayed:
    """Write a dask array behind the end of an axis of a stored one, which grows when all is there.

    Parameters
    ----------
    x : dask.array.Array
        Of the stored array's shape but along `axis`.
    store : Store, str, Path or chunkstore.Array
        Where the array is, or the array, open for writing.
    path : str, optional
        Path of the array in the store; the root by default.
    axis : int
        The axis that grows.
    resume : bool
        Go on with an append that was interrupted.
    overwrite : bool
        Begin anew although an append was interrupted, and discard what it wrote.
    align, token, compute, retries, verify, memory
        As in `to_store`.
    storage_options : mapping, optional
        For a URL of a remote store.

    Returns
    -------
    StoreReport or dask.delayed.Delayed

    Raises
    ------
    ConflictError
        If another job is appending, or was interrupted; or if another writer has changed the
        shape meanwhile.

    Notes
    -----
    Readers see all of `x` or nothing of it. Other jobs may write regions of the array meanwhile:
    a chunk that the old end cuts is changed by one task, in one step among all writers.

    Examples
    --------
    >>> import chunkstore as cs
    >>> import dask.array as da
    >>> array = cs.create_array(None, data=[1, 2, 3], chunks=2)
    >>> report = append(da.arange(4, 8, chunks=3), array)
    >>> array.refresh()
    >>> array[:]
    array([1, 2, 3, 4, 5, 6, 7])
    """
    if isinstance(store, cs.Array):
        array = store.with_options()
        array.refresh()
    else:
        array = cs.open_array(store, path=path, mode="r+", storage_options=storage_options)
    start = array.shape[axis] if -array.ndim <= axis < array.ndim else 0
    found = Ledger.find(array.store, array.path, APPEND) if resume else None
    if found is not None:
        start = found[1]["region"][axis]
    max_bytes = _merged_bytes(memory)
    target = plan_append(x, array, axis=axis, start=start, align=align, max_bytes=max_bytes)
    refuse_sources([target])
    job = begin_job(
        {"": replace(target, overwrite=overwrite)},
        single=True,
        resume=resume,
        tokens={"": token},
        retries=retries,
        verify=verify,
        predicted_bytes=_predicted_bytes([target], memory),
    )
    return cast(StoreReport, job.run()) if compute else job.lazily()


def write_region(
    values: Any, store: Any, region: Any, *, path: str | None = None, **settings: Any
) -> StoreReport | FusingDelayed:
    """Write an array to a part of a stored one, while others write to other parts.

    Parameters
    ----------
    values : dask.array.Array or array-like
        Of the region's shape.
    store, region, path
        As in `to_store`.
    **settings
        Of `to_store`: align, resume, token, compute, retries, verify, memory, storage_options.

    Returns
    -------
    StoreReport or dask.delayed.Delayed

    Notes
    -----
    Many processes may fill one array so, each with regions of its own and none with a client. Make
    it with ``chunkstore.create_array(..., pending=True)`` to keep it from readers until it is full.
    A chunk that two regions share is changed in one step by each, where the store can keep others
    out of that; elsewhere such regions are refused.

    Examples
    --------
    >>> import chunkstore as cs
    >>> array = cs.create_array(None, shape=6, chunks=4, dtype="i8")
    >>> report = write_region([7, 8, 9], array, slice(2, 5))
    >>> array[:]
    array([0, 0, 7, 8, 9, 0])
    """
    x = values
    if not is_dask_collection(values):
        x = da.from_array(np.asarray(values), chunks=-1)
    report = to_store(x, store, path=path, region=region, **settings)
    return cast(StoreReport, report)


def _merged_bytes(memory: str | int | None) -> int:
    """Give how large blocks may become where they are merged."""
    if memory is None:
        return _MERGED_BYTES
    # A thread holds the merged block, what it is merged from, and its encoded form.
    return max(1, _bytes(memory) // (_HELD_BLOCKS * runners().n_threads))


def _predicted_bytes(targets: Iterable[Target], memory: str | int | None) -> int:
    """Give what a process is to hold, where somebody asked; refuse more than was allowed."""
    if memory is None:
        return 0
    targets = list(targets)
    told = explain_targets(targets)
    told.require_memory(_bytes(memory), doing=f"write {', '.join(t.where for t in targets)}")
    return max(1, told.peak_bytes)


def _bytes(memory: str | int) -> int:
    try:
        n_bytes = int(parse_bytes(memory))
    except ValueError:
        n_bytes = 0
    if n_bytes < 1:
        raise InvalidArgumentError(f'memory must be a size such as "1GB", got {memory!r}')
    return n_bytes


def _by_name(x: Any, store: Any, *, path: str | None, **common: Any) -> dict[str, dict[str, Any]]:
    """Give the arguments of each array of a job; of a single one, under the name ``""``."""
    if not isinstance(x, Mapping):
        return {"": {"x": x, "store": store, "path": path, **common}}
    arguments: dict[str, dict[str, Any]] = {name: {"x": x[name]} for name in x}
    if not arguments:
        raise InvalidArgumentError("nothing to write: `x` is an empty mapping")
    for argument, value in {"store": store, **common}.items():
        named = value if isinstance(value, Mapping) else dict.fromkeys(x, value)
        unknown = sorted(set(named) - set(x))
        if unknown:
            raise InvalidArgumentError(
                f"{argument!r} names {unknown[0]!r}, which is none of the arrays to be written: "
                f"{', '.join(map(repr, x))}. With many arrays a mapping is read as names to values"
            )
        for name, own in named.items():
            arguments[name][argument] = own
    for name, own in arguments.items():
        own["path"] = None if isinstance(own.get("store"), cs.Array) else f"{path or ''}/{name}"
        for argument, default in _DEFAULTS.items():
            own.setdefault(argument, default)
    return arguments


_DEFAULTS: Mapping[str, Any] = {
    "store": None,
    "region": None,
    "token": None,
    "chunks": None,
    "shards": None,
    "compressors": "auto",
    "fill_value": None,
    "attributes": None,
    "dimension_names": None,
    "zarr_format": 3,
    "overwrite": False,
}
"""What holds for an array that an argument of many does not name."""


def is_complete(
    store: Any, path: str | None = None, *, storage_options: Mapping[str, Any] | None = None
) -> bool:
    """Say whether all that jobs were to write to an array is written.

    Parameters
    ----------
    store, path, storage_options
        Where the array is, or is to be; as in `to_store`.

    Returns
    -------
    bool
        False while a job that makes the array, or that writes a region of it, is under way, and
        after one that was interrupted.

    Raises
    ------
    NodeNotFoundError
        If nothing is there, and no job is making anything there.

    Notes
    -----
    An array that a job makes does not open before it is complete; this also tells of one that
    exists and whose regions are being written. Costs two or three requests.

    Examples
    --------
    >>> import chunkstore as cs
    >>> import dask.array as da
    >>> store = cs.MemoryStore()
    >>> job = to_store(da.ones(6, chunks=3), store, path="a", compute=False)
    >>> is_complete(store, "a")
    False
    >>> report = job.compute()
    >>> is_complete(store, "a")
    True
    """
    found = cs.open_store(store, read_only=True, storage_options=storage_options)
    at = (path or "").strip("/")
    jobs = list(unfinished_jobs(found, at))
    try:
        cs.open_array(found, path=at, mode="r")
    except NodeNotFoundError:
        if jobs:
            return False
        raise
    # One that makes an array that is there had only to clear up.
    return all(job == NEW for job in jobs)

"""Copying a stored array into other chunks, within a memory bound.

Floor 4. A job is a plan (``rechunk_plan``) bound to stores. Each task reads one region and writes
it, whole write units each, so tasks may run in any order, at once, and twice::

    direct    source ─▶ target                      one task a region
    staged    source ─▶ pieces ─▶ target            the pieces in an array of their own, deleted

The new array cannot be opened until all of it is written. The array of pieces lies inside its
place, or in a store of its own; it never becomes readable, and goes when the job ends in whatever
way an exception can tell.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any, NamedTuple, cast

import numpy as np
from dask.base import is_dask_collection
from dask.utils import parse_bytes

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, MetadataError, NodeNotFoundError
from dask_integration.attempts import attempt
from dask_integration.chunks import Block
from dask_integration.layers import (
    other_processes,
    read_layer,
    refuse_query_planning,
    runners,
    tree_reduce,
    unique_token,
)
from dask_integration.memory import PeakMeter
from dask_integration.rechunk_plan import Method, RechunkPlan, Stage, Units, megabytes, plan_rechunk

__all__ = ["RechunkJob", "RechunkReport", "rechunk"]

_PIECES = "rechunk-pieces"
"""Name of the array of pieces inside the place of the new array."""

_FAST = {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 1, "shuffle": "shuffle"}}
"""What compresses pieces: they are written and read once."""


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

    A job that fails or is interrupted leaves chunks and a mark that no reader opens; run it again
    with ``overwrite=True``.

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
    # A draft in memory tells whether the layout can be had, and which write units it has.
    draft = cs.open_like(array, None, **layout)
    if target is None or isinstance(target, cs.Array):
        raise InvalidArgumentError(
            f"cannot make the new array in {target!r}: expected a store, a folder or a URL. For "
            f"one in memory pass a chunkstore.MemoryStore()"
        )
    for store in (array.store, target, temp):
        _refuse_memory_elsewhere(store)
    if overwrite:
        _refuse_replacing(array, target, draft.path)
    n_processes, n_threads = runners()
    plan = plan_rechunk(
        _units(array),
        _units(draft),
        item_bytes=array.dtype.itemsize,
        memory_bytes=_bytes(memory),
        n_threads=n_threads,
        n_processes=n_processes,
        method=method,
    )
    job = RechunkJob(array, target, plan, layout, temp, overwrite, retries)
    return job.compute() if compute else job


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


def _refuse_replacing(source: cs.Array, store: Any, path: str) -> None:
    """Refuse to delete the source, or what it lies in, before it is read."""
    try:
        replaced = cs.open(store, path=path, mode="r")
    except (NodeNotFoundError, MetadataError):
        return
    inner, outer = _place(source), _place(replaced)
    if inner[: len(outer)] == outer:
        raise InvalidArgumentError(
            f"cannot overwrite {path or '/'!r} in {store!r}: the source {source!r} would be "
            f"deleted before it is read. Write to another path"
        )


def _place(node: cs.Array | cs.Group) -> tuple[Any, ...]:
    parts = tuple(node.path.split("/")) if node.path else ()
    if isinstance(node.store, cs.LocalStore):
        return Path(node.store.root, *parts).resolve().parts
    return (node.store, *parts)


# --- the job -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RechunkReport:
    """What a finished job has done.

    Parameters
    ----------
    array : chunkstore.Array
        The new array.
    plan : RechunkPlan
        What was predicted.
    n_tasks : int
        Tasks that have run.
    read_s, write_s : float
        Seconds of reading and writing, summed over the tasks.
    elapsed_s : float
        Seconds the job took.
    peak_bytes : int
        By how much the memory of a process grew at most, the largest of all processes. More than
        the job runs in it: libraries, and what else the process does.
    """

    array: cs.Array
    plan: RechunkPlan
    n_tasks: int
    read_s: float
    write_s: float
    elapsed_s: float
    peak_bytes: int

    def __str__(self) -> str:
        plan, array = self.plan, self.array
        rate = array.nbytes / self.elapsed_s / 1e6 if self.elapsed_s > 0 else 0.0
        return (
            f"rechunked into {array.name} in {array.store!r}\n"
            f"  {array.shape} {array.dtype}, {megabytes(array.nbytes)} in {self.elapsed_s:.2f} s "
            f"({rate:,.0f} MB/s), {plan.method}\n"
            f"  tasks: {plan.n_tasks:,} predicted, {self.n_tasks:,} run\n"
            f"  memory: {megabytes(plan.peak_bytes)} predicted, {megabytes(self.peak_bytes)} "
            f"measured, {megabytes(plan.memory_bytes)} allowed\n"
            f"  reading {self.read_s:.2f} s, writing {self.write_s:.2f} s, over all threads"
        )


@dataclass(frozen=True)
class RechunkJob:
    """A copy into other chunks that can be looked at and run; made by `rechunk`.

    Parameters
    ----------
    source : chunkstore.Array
        What is read.
    store : object
        Where the new array is made.
    plan : RechunkPlan
        The stages, and what they cost.
    layout : mapping
        Arguments of `chunkstore.open_like`.
    temp : object
        Where pieces go; None for the new array's own place.
    overwrite : bool
        Whether the new array replaces what is there.
    retries : int
        How often a request is repeated.
    """

    source: cs.Array
    store: Any
    plan: RechunkPlan
    layout: Mapping[str, Any]
    temp: Any
    overwrite: bool
    retries: int

    @property
    def where(self) -> str:
        """The new array in the reader's terms."""
        return f"/{(self.layout['name'] or '').strip('/')} in {self.store!r}"

    def __str__(self) -> str:
        return f"from {self.source!r}\nto {self.where}\n{self.plan}"

    def compute(self) -> RechunkReport:
        """Run the job with dask, and publish the new array.

        Raises
        ------
        NodeExistsError
            If something is at its place.
        StoreError, ChunkError
            What ended the job; a note says what it left.
        """
        started = time.perf_counter()
        target = cs.open_like(
            self.source, self.store, pending=True, overwrite=self.overwrite, **self.layout
        )
        try:
            tally = self._run(target)
            target.publish()
        except BaseException as error:
            error.add_note(
                f"{target!r} is unfinished and cannot be opened; run again with overwrite=True"
            )
            raise
        return RechunkReport(
            array=target,
            plan=self.plan,
            n_tasks=tally.n_tasks,
            read_s=tally.read_s,
            write_s=tally.write_s,
            elapsed_s=time.perf_counter() - started,
            peak_bytes=tally.peak_bytes,
        )

    def _run(self, target: cs.Array) -> _Copied:
        """Run the stages, and delete the pieces of what was between them."""
        ends = [self.source, target]
        with ExitStack() as stack:
            if self.plan.pieces is not None:
                ends.insert(1, stack.enter_context(self._pieces(target)))
            # An array without elements has no stage.
            pairs = zip(self.plan.stages, pairwise(ends), strict=False)
            return _add([self._run_stage(stage, *pair) for stage, pair in pairs])

    def _run_stage(self, stage: Stage, source: cs.Array, target: cs.Array) -> _Copied:
        n_inner = self.plan.n_inner
        token = unique_token()
        copy = _Copy(
            source.with_options(n_threads=n_inner),
            target.with_options(n_threads=n_inner),
            token=token,
            n_at_once=self.plan.n_at_once,
            retries=self.retries,
        )
        receipts = read_layer(
            _copy_region,
            copy,
            chunks=stage.regions.blocks,
            dtype=object,
            name_token=token,
            label="rechunk",
        )
        job: Any = tree_reduce(receipts, _add, label="rechunked")
        try:
            return cast(_Copied, job.compute())
        except BaseException:
            _room(token, copy.n_at_once).close()
            raise

    @contextmanager
    def _pieces(self, target: cs.Array) -> Iterator[cs.Array]:
        """Give the array of pieces for the time of the job."""
        pieces = self.plan.pieces
        assert pieces is not None
        beside = self.temp is None
        name = f"{target.path}/{_PIECES}" if beside else f"{_PIECES}-{unique_token()}"
        is_plain = not self.source.engine.chunk_pipeline.bytes_codecs
        sizes: list[Any] = [
            list(size) if isinstance(size, tuple) else size for size in pieces.sizes
        ]
        array = cs.create_array(
            target.store if beside else self.temp,
            name=name,
            shape=self.source.shape,
            dtype=self.source.metadata.data_type,
            chunks=sizes,
            compressors=None if is_plain else [_FAST, {"name": "crc32c"}],
            fill_value=self.source.fill_value,
            pending=True,
        )
        try:
            yield array
        finally:
            array.store.delete_prefix(f"{array.path}/")


class _Copy(NamedTuple):
    """What the tasks of a stage have in common."""

    source: cs.Array
    target: cs.Array
    token: str
    n_at_once: int
    retries: int


class _Copied(NamedTuple):
    """What tasks have done, added up."""

    n_tasks: int
    read_s: float
    write_s: float
    peak_bytes: int


def _add(parts: Sequence[_Copied]) -> _Copied:
    return _Copied(
        n_tasks=sum(part.n_tasks for part in parts),
        read_s=sum(part.read_s for part in parts),
        write_s=sum(part.write_s for part in parts),
        peak_bytes=max((part.peak_bytes for part in parts), default=0),
    )


def _copy_region(copy: _Copy, block: Block) -> _Copied:
    """Read a region of the source and write it."""
    room = _room(copy.token, copy.n_at_once)
    with room:
        start = time.perf_counter()
        values = attempt(lambda: np.asarray(copy.source.read(block.region)), retries=copy.retries)
        read = time.perf_counter()
        attempt(lambda: copy.target.write(block.region, values), retries=copy.retries)
        end = time.perf_counter()
        return _Copied(1, read - start, end - read, room.meter.peak_bytes())


class _Room:
    """What the tasks of a stage share in one process: places for so many, and a meter."""

    def __init__(self, n_at_once: int) -> None:
        self.meter = PeakMeter()
        self._n_at_once = n_at_once
        self._places = Semaphore(n_at_once)
        self._closed = False

    def __enter__(self) -> None:
        self._places.acquire()
        if self._closed:
            self._places.release()
            raise RuntimeError("the job that this task belongs to has ended")

    def __exit__(self, *_: object) -> None:
        self._places.release()

    def close(self) -> None:
        """Wait for the tasks that run here, and let no more begin.

        Dask's threads go on with what they have begun when another task has failed.
        """
        self._closed = True
        for _ in range(self._n_at_once):
            self._places.acquire()
        for _ in range(self._n_at_once):
            self._places.release()


_rooms_lock = Lock()


def _room(token: str, n_at_once: int) -> _Room:
    with _rooms_lock:
        return _kept_room(token, n_at_once)


@lru_cache(maxsize=16)
def _kept_room(token: str, n_at_once: int) -> _Room:
    return _Room(n_at_once)

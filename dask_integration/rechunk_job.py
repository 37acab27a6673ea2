"""A copy into other chunks that can be looked at, run, and gone on with.

Floor 3. A job is a plan (``rechunk_plan``) bound to stores. Each task reads one region and writes
it, whole write units each, so tasks may run in any order, at once, and twice::

    direct    source ─▶ target                      one task a region
    staged    source ─▶ pieces ─▶ target            the pieces in an array of their own, deleted

The new array cannot be opened until all of it is written. The array of pieces lies inside its
place, or in a store of its own; it never becomes readable, and goes when the job ends in whatever
way an exception can tell. A job that was killed leaves it, to go on with.

What is finished is noted in ledgers, one for each stage, in the array that the stage writes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock, Semaphore
from typing import Any, NamedTuple, cast

import numpy as np
from dask.base import tokenize

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeExistsError
from dask_integration.attempts import attempt
from dask_integration.chunks import Block
from dask_integration.layers import (
    other_processes,
    phases,
    read_layer,
    spanning,
    tree_reduce,
    unique_token,
)
from dask_integration.ledger import NEW, Finished, Ledger
from dask_integration.memory import PeakMeter
from dask_integration.receipts import Receipt
from dask_integration.rechunk_plan import RechunkPlan, Stage, megabytes
from dask_integration.targets import existing_node, is_untouched

__all__ = ["RechunkJob", "RechunkReport", "begun_with"]

_PIECES = "rechunk-pieces"
"""Name of the array of pieces inside the place of the new array."""

_FAST = {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 1, "shuffle": "shuffle"}}
"""What compresses pieces: they are written and read once."""

_DIFFERENCES = {
    "values": "the source has changed since, or cannot be told to be the same; if you know that "
    "it is, pass the same `token` to every run",
    "layout": "the new array's layout is another",
    "regions": "the regions are others",
}
"""What it means that an entry of two plans differs."""


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
    n_resumed : int
        Tasks that had been run before the job was interrupted.
    read_s, write_s : float
        Seconds of reading and writing, summed over the tasks that have run.
    elapsed_s : float
        Seconds the job took.
    peak_bytes : int
        By how much the memory of a process grew at most, the largest of all processes. More than
        the job runs in it: libraries, and what else the process does.
    """

    array: cs.Array
    plan: RechunkPlan
    n_tasks: int
    n_resumed: int
    read_s: float
    write_s: float
    elapsed_s: float
    peak_bytes: int

    def __str__(self) -> str:
        plan, array = self.plan, self.array
        rate = array.nbytes / self.elapsed_s / 1e6 if self.elapsed_s > 0 else 0.0
        resumed = f", {self.n_resumed:,} had been run before" if self.n_resumed else ""
        return (
            f"rechunked into {array.name} in {array.store!r}\n"
            f"  {array.shape} {array.dtype}, {megabytes(array.nbytes)} in {self.elapsed_s:.2f} s "
            f"({rate:,.0f} MB/s), {plan.method}\n"
            f"  tasks: {plan.n_tasks:,} predicted, {self.n_tasks:,} run{resumed}\n"
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
    store : Store
        Where the new array is made.
    draft : chunkstore.Array
        The new array as it will be, in memory and empty.
    plan : RechunkPlan
        The stages, and what they cost.
    layout : mapping
        Arguments of `chunkstore.open_like`.
    temp : Store or None
        Where pieces go; None for the new array's own place.
    token : str or None
        The user's word for the content of the source.
    overwrite, resume : bool
        What to do with what is there.
    retries : int
        How often a request is repeated.
    """

    source: cs.Array
    store: cs.Store
    draft: cs.Array
    plan: RechunkPlan
    layout: Mapping[str, Any]
    temp: cs.Store | None
    token: str | None
    overwrite: bool
    resume: bool
    retries: int

    @property
    def where(self) -> str:
        """The new array in the reader's terms."""
        return f"{self.draft.name} in {self.store!r}"

    def __str__(self) -> str:
        return f"from {self.source!r}\nto {self.where}\n{self.plan}"

    def compute(self) -> RechunkReport:
        """Run the job with dask, and publish the new array.

        Raises
        ------
        NodeExistsError
            If something is at its place.
        InvalidArgumentError
            If the job is to go on with something that it cannot go on with.
        StoreError, ChunkError
            What ended the job; a note says what it left.
        """
        started = time.perf_counter()
        target, ledger = self._begin()
        try:
            done = self._run(target, ledger)
            target.publish()
            ledger.end()
        except BaseException as error:
            error.add_note(
                f"{target!r} is unfinished and cannot be opened; run again with resume=True, or "
                f"with overwrite=True"
            )
            raise
        return RechunkReport(
            array=target,
            plan=self.plan,
            elapsed_s=time.perf_counter() - started,
            **done._asdict(),
        )

    # -- beginning, or going on ----------------------------------------------------------------

    def _begin(self) -> tuple[cs.Array, Ledger]:
        """Make the new array, held back, or go on with the one that is there."""
        begun = self._plan_document()
        path = self.draft.path
        found = Ledger.find(self.store, path, NEW) if self.resume else None
        overwrite = self.overwrite
        if found is not None:
            self._require_same(found[1], begun)
            return self._open(found[1]["pending"], overwrite=False), found[0]
        if self.resume:
            if existing_node(self.store, path) is not None:
                raise NodeExistsError(
                    f"cannot resume rechunking into {self.where}: it is there, and no job on it is "
                    f"unfinished. Pass overwrite=True to write it anew",
                    store=self.store,
                    path=path,
                )
            if not is_untouched(self.store, path):
                raise InvalidArgumentError(
                    f"cannot resume rechunking into {self.where}: there is something, but no "
                    f"ledger that says what of it is finished. Begin anew with overwrite=True"
                )
            # Of something that was not begun there are nothing but marks.
            overwrite = True
        target = self._open(True, overwrite=overwrite)
        return target, Ledger.begin(target, NEW, {**begun, "pending": target.pending})

    def _open(self, pending: bool | str, *, overwrite: bool) -> cs.Array:
        return cs.open_like(
            self.source, self.store, pending=pending, overwrite=overwrite, **self.layout
        )

    def _plan_document(self) -> dict[str, Any]:
        """Describe the job in JSON; equal only for the same bytes in the end."""
        values = f"token {self.token}" if self.token is not None else None
        if values is None and self.source.content_stamp() is not None:
            values = tokenize(self.source)
        plan = self.plan
        grids = [*(stage.regions for stage in plan.stages), *([plan.pieces] if plan.pieces else [])]
        return {
            "values": values,
            "layout": _digest(repr(self.draft.metadata)),
            "regions": _digest([[grid.extents, grid.sizes] for grid in grids]),
            "planned_for": {
                "memory_bytes": plan.memory_bytes,
                "n_threads": plan.n_threads,
                "n_processes": plan.n_processes,
                "n_requests": plan.n_requests,
                "method": plan.method,
            },
        }

    def _require_same(self, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        differ = [key for key in _DIFFERENCES if begun.get(key) != now[key]]
        if now["values"] is None and "values" not in differ:
            differ.insert(0, "values")
        if differ:
            raise InvalidArgumentError(
                f"cannot resume rechunking into {self.where}: it was begun by a job of which "
                f"{_DIFFERENCES[differ[0]]}. Give the job as it was, or begin anew with "
                f"overwrite=True",
                differs=differ,
            )

    # -- running -------------------------------------------------------------------------------

    def _run(self, target: cs.Array, ledger: Ledger) -> _Copied:
        """Run the stages, and delete the pieces of what was between them."""
        if not self.plan.stages:
            return _add([])
        last = self.plan.stages[-1]
        finished = ledger.finished(last.regions)
        if self.plan.pieces is None or not finished.missing().any():
            return self._run_stage(last, self.source, target, ledger=ledger, finished=finished)
        first = self.plan.stages[0]
        with self._pieces(target) as (pieces, own):
            gathered = self._run_stage(
                first, self.source, pieces, ledger=own, finished=own.finished(first.regions)
            )
            scattered = self._run_stage(last, pieces, target, ledger=ledger, finished=finished)
        return _add([gathered, scattered])

    def _run_stage(
        self,
        stage: Stage,
        source: cs.Array,
        target: cs.Array,
        *,
        ledger: Ledger,
        finished: Finished,
    ) -> _Copied:
        n_inner = self.plan.n_inner
        token = unique_token()
        copy = _Copy(
            source.with_options(n_threads=n_inner),
            target.with_options(n_threads=n_inner),
            ledger=ledger,
            numblocks=stage.regions.numblocks,
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
        only = finished.missing() if len(finished) else None
        job: Any = tree_reduce(receipts, _add, only=only, label="rechunked")
        # No scheduler of this process runs a task again, and some refuse to be asked to.
        settings = {} if other_processes(job) is None else {"retries": self.retries}
        try:
            with spanning("rechunk"):
                copied = cast(_Copied, job.compute(**settings))
        except BaseException:
            _room(token, copy.n_at_once).close()
            raise
        return copied._replace(n_resumed=len(finished))

    @contextmanager
    def _pieces(self, target: cs.Array) -> Iterator[tuple[cs.Array, Ledger]]:
        """Give the array of pieces for the time of the job, with its ledger."""
        pieces = self.plan.pieces
        assert pieces is not None
        store = target.store if self.temp is None else self.temp
        # The new array's token tells the pieces of one job from those of another.
        name = f"{target.path}/{_PIECES}" if self.temp is None else f"{_PIECES}-{target.pending}"
        path = name.strip("/")
        found = Ledger.find(store, path, NEW)
        pending = found[1]["pending"] if found and found[1]["of"] == target.pending else None
        chunks: list[Any] = [list(one) if isinstance(one, tuple) else one for one in pieces.sizes]
        is_plain = not self.source.engine.chunk_pipeline.bytes_codecs
        array = cs.create_array(
            store,
            name=name,
            shape=self.source.shape,
            dtype=self.source.metadata.data_type,
            chunks=chunks,
            compressors=None if is_plain else [_FAST, {"name": "crc32c"}],
            fill_value=self.source.fill_value,
            pending=pending or True,
            overwrite=pending is None,
        )
        ledger = found[0] if found and pending else None
        if ledger is None:
            ledger = Ledger.begin(array, NEW, {"pending": array.pending, "of": target.pending})
        try:
            yield array, ledger
        finally:
            store.delete_prefix(f"{path}/")


def begun_with(store: cs.Store, path: str) -> Mapping[str, Any] | None:
    """Give what the unfinished job on a new array was planned for; None if there is none."""
    found = Ledger.find(store, path, NEW)
    return None if found is None else found[1].get("planned_for")


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


# --- the tasks ---------------------------------------------------------------------------------


class _Copy(NamedTuple):
    """What the tasks of a stage have in common."""

    source: cs.Array
    target: cs.Array
    ledger: Ledger
    numblocks: tuple[int, ...]
    token: str
    n_at_once: int
    retries: int


class _Copied(NamedTuple):
    """What tasks have done, added up."""

    n_tasks: int
    n_resumed: int
    read_s: float
    write_s: float
    peak_bytes: int


def _add(parts: Sequence[_Copied]) -> _Copied:
    return _Copied(
        n_tasks=sum(part.n_tasks for part in parts),
        n_resumed=sum(part.n_resumed for part in parts),
        read_s=sum(part.read_s for part in parts),
        write_s=sum(part.write_s for part in parts),
        peak_bytes=max((part.peak_bytes for part in parts), default=0),
    )


def _copy_region(copy: _Copy, block: Block) -> _Copied:
    """Read a region of the source and write it."""

    def read() -> np.ndarray[Any, Any]:
        with phases("read", "decode"):
            return np.asarray(copy.source.read(block.region))

    def write() -> None:
        with phases("write", "encode", ends=True):
            copy.target.write(block.region, values)

    room = _room(copy.token, copy.n_at_once)
    with room:
        started_s, start = time.time(), time.perf_counter()
        values = attempt(read, retries=copy.retries)
        read_s = time.perf_counter() - start
        attempt(write, retries=copy.retries)
        write_s = time.perf_counter() - start - read_s
        number = int(np.ravel_multi_index(block.id, copy.numblocks)) if block.id else 0
        # No checksum: what is written again is read again from the same source.
        receipt = Receipt(block.id, values.nbytes, 0, started_s, write_s)
        # Only now: what the ledger says is finished will not be written again.
        attempt(lambda: copy.ledger.record(number, receipt), retries=copy.retries)
        return _Copied(1, 0, read_s, write_s, room.meter.peak_bytes())


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

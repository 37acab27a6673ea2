"""A job that writes arrays: begun or gone on with, made into a graph, ended.

Floor 3. What happens to each array, and what a process killed in between leaves::

    begin     mark of the array, plan of the job      nothing that opens
    tasks     chunks, and receipts in the ledger      nothing that opens
    end       all arrays appear, ledgers go           arrays that are whole, ledgers to clear up

Going on takes the plan that is stored and compares it with the job at hand: only if both are about
the same values in the same blocks of the same array are finished blocks left out.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import chunkstore as cs
from chunkstore.errors import ConflictError, InvalidArgumentError, NodeExistsError
from dask_integration.chunks import BlockGrid, n_blocks
from dask_integration.layers import (
    FusingDelayed,
    content_name,
    gather,
    other_processes,
    spanning,
    tree_reduce,
    unique_token,
    write_layer,
)
from dask_integration.ledger import APPEND, NEW, Finished, Ledger
from dask_integration.receipts import StoreReport, Tally, merge_receipts
from dask_integration.targets import Target
from dask_integration.writing import BlockWriter, memory_meter, write_block

__all__ = ["Job", "begin_job"]

Plan = dict[str, Any]

_DIFFERENCES = {
    "values": "the values are others, or cannot be told to be the same; if you know that they "
    "are, pass the same `token` to every run",
    "blocks": "the blocks are others",
    "region": "the region is another",
    "layout": "the array's layout is another",
}
"""What it means that an entry of two plans differs."""


@dataclass(frozen=True)
class _Part:
    """One array of a job: the array is open for writing, its ledger begun.

    `handle` is what tasks write through; only where the array is to grow it is not `array`.
    """

    target: Target
    array: cs.Array
    handle: cs.Array
    ledger: Ledger
    finished: Finished

    @property
    def publishes(self) -> bool:
        """Whether the job makes the array appear at its end."""
        return self.target.is_new


# --- beginning ---------------------------------------------------------------------------------


def begin_job(
    targets: Mapping[str, Target],
    *,
    single: bool,
    resume: bool,
    tokens: Mapping[str, str | None],
    retries: int,
    verify: bool,
    predicted_bytes: int,
) -> Job:
    """Open the arrays of a job for writing; from here on things are touched.

    Parameters
    ----------
    targets : mapping of str to Target
        What is written, by name.
    single : bool
        Whether the job is about one array, that has no name.
    resume : bool
        Go on with an interrupted job.
    tokens : mapping of str to str or None
        The user's word for the values of each array.
    retries, verify
        As in `to_store`.
    predicted_bytes : int
        The most that a process is to hold, to be told beside what it held; 0 if nobody asked.

    Raises
    ------
    InvalidArgumentError
        If there is something that the job cannot go on with.
    NodeExistsError
        If something is in the place of a new array.
    """
    plans = {name: _plan(target, tokens[name]) for name, target in targets.items()}
    # What other arrays of the job were to be, for one that is finished already.
    peers = {name: _digest(plan) for name, plan in plans.items()}
    found: dict[str, _Found | None] = dict.fromkeys(targets)
    if resume:
        found = {name: _find(target, plans[name]) for name, target in targets.items()}
        known = [entry.plan.get("peers", {}) for entry in found.values() if entry is not None]
        for name, target in targets.items():
            is_known = any(others.get(name) == peers[name] for others in known)
            _check_resumable(target, found[name], is_known=is_known)
    parts = {
        name: _opened(target, plans[name] | {"peers": peers}, found[name], resume=resume)
        for name, target in targets.items()
    }
    return Job(
        parts, single=single, retries=retries, verify=verify, predicted_bytes=predicted_bytes
    )


def _plan(target: Target, token: str | None) -> Plan:
    """Describe what is to be written, in JSON; equal only for the same bytes in the end."""
    name = f"token {token}" if token is not None else content_name(target.source)
    grid = BlockGrid.of(target.x.chunks)
    return {
        "values": name,
        "blocks": _digest([grid.extents, grid.sizes]),
        "region": list(target.starts),
        "layout": _digest(repr(_final_metadata(target))),
    }


def _final_metadata(target: Target) -> Any:
    """Give the metadata of an array as it is when the job has ended, without attributes."""
    metadata = target.array.metadata.replace(attributes={})
    if target.grows_to is None:
        return metadata
    return metadata.replace(grid=metadata.grid.resized(target.grows_to))


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


def _job_name(target: Target) -> str:
    if target.is_new:
        return NEW
    if target.grows_to is not None:
        return APPEND
    return "region-" + _digest([target.starts, target.x.shape])[:12]


@dataclass(frozen=True)
class _Found:
    """An unfinished job that was found."""

    ledger: Ledger
    plan: Plan


def _find(target: Target, plan: Plan) -> _Found | None:
    found = Ledger.find(target.store, target.array.path, _job_name(target))
    if found is None:
        return None
    differ = [key for key in _DIFFERENCES if found[1].get(key) != plan[key]]
    if plan["values"] is None and "values" not in differ:
        differ.insert(0, "values")
    if differ:
        raise InvalidArgumentError(
            f"cannot resume writing {target.where}: it was begun by a job of which "
            f"{_DIFFERENCES[differ[0]]}. Give the job as it was, or begin anew with "
            f"{'overwrite=True' if target.is_new else 'resume=False'}",
            differs=differ,
        )
    return _Found(*found)


def _check_resumable(target: Target, found: _Found | None, *, is_known: bool) -> None:
    """Refuse to go on where it is not known with what.

    `is_known` tells that another array of the same job is unfinished and names this one: so this
    one is finished.
    """
    if not target.is_new or found is not None:
        return
    if target.existing() is not None:
        if not is_known:
            raise NodeExistsError(
                f"cannot resume writing {target.where}: it is there, and no job on it is "
                f"unfinished. Pass overwrite=True to write it anew",
                store=target.store,
                path=target.array.path,
            )
    elif not target.is_untouched():
        raise InvalidArgumentError(
            f"cannot resume writing {target.where}: there is something, but no ledger that says "
            f"what of it is finished. Begin anew with overwrite=True"
        )


def _appending(target: Target, plan: Plan, found: _Found | None) -> _Part:
    """Open an array that is to grow; of jobs that append there is one at a time."""
    grid, array = BlockGrid.of(target.x.chunks), target.array
    assert target.grows_to is not None
    if found is not None:
        ledger, finished = found.ledger, found.ledger.finished(grid)
    else:
        before = Ledger.find(target.store, array.path, APPEND)
        if before is not None and target.overwrite:
            before[0].end()
        try:
            ledger = Ledger.begin(array, APPEND, plan, alone=True)
        except ConflictError as error:
            error.add_note("resume=True goes on with one that was interrupted, overwrite=True not")
            raise
        finished = Finished.none(grid)
    if array.shape == target.grows_to:
        # It has grown: what is not known to be written is written again, the same values.
        return _Part(target, array, array, ledger, finished)
    handle = array.grown(target.grows_to, keep=len(finished) > 0)
    return _Part(target, array, handle, ledger, finished)


def _opened(target: Target, plan: Plan, found: _Found | None, *, resume: bool) -> _Part:
    if target.grows_to is not None:
        return _appending(target, plan, found)
    grid = BlockGrid.of(target.x.chunks)
    existing = target.existing() if resume and target.is_new else None
    try:
        # Resuming something that was not begun, there is nothing but marks.
        pending = None if found is None else found.plan["pending"]
        array = target.open(pending=pending, overwrite=resume and existing is None)
    except (ConflictError, NodeExistsError) as error:
        if isinstance(existing, cs.Array):
            # It has appeared: what is not known to be written is written again, the same values.
            target = replace(target, array=existing, layout=None)
            array = existing
        else:
            if Ledger.find(target.store, target.array.path, NEW) is not None and not resume:
                error.add_note("a job on it was interrupted: resume=True goes on with it")
            raise
    handle = array if target.is_new else _to_unit_edges(target, array)
    if found is not None:
        return _Part(target, array, handle, found.ledger, found.ledger.finished(grid))
    ledger = Ledger.begin(array, _job_name(target), plan | {"pending": array.pending})
    return _Part(target, array, handle, ledger, Finished.none(grid))


def _to_unit_edges(target: Target, array: cs.Array) -> cs.Array:
    """Give a handle that keeps what write units hold beyond the far edges of an array.

    A write up to the edge covers all that the array has of the last unit, and would replace it;
    but another job may be appending, and have put its first rows into the same unit. An array that
    is larger by that is written to in part, in one step among all writers.
    """
    if array.pending is not None or array.is_ahead or not array.store.guards_updates:
        return array
    reach = tuple(
        -(-extent // unit) * unit if start + size == extent else extent
        for start, size, extent, unit in zip(
            target.starts, target.x.shape, array.shape, array.write_unit, strict=True
        )
    )
    if reach == array.shape:
        return array
    stored = array.with_options()
    stored.refresh()
    # What lies beyond the extent that readers see belongs to the one job that makes it grow.
    is_growing = array.shape != stored.shape and all(map(operator.ge, array.shape, stored.shape))
    return array if is_growing else array.grown(reach, keep=True)


# --- running -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """Arrays that are open for writing, with what is to go into them.

    Parameters
    ----------
    parts : mapping of str to _Part
        The arrays, by name.
    single : bool
        Whether the job is about one array, that has no name.
    retries, verify, predicted_bytes
        As in `begin_job`.
    """

    parts: Mapping[str, _Part]
    single: bool
    retries: int
    verify: bool
    predicted_bytes: int

    def run(self) -> StoreReport | dict[str, StoreReport]:
        """Run the job here and now."""
        end, graph = self._end(), self._graph(list, is_lazy=False)
        if self.predicted_bytes:
            for part in self.parts.values():
                # Where tasks run in this process its memory is measured from here on.
                memory_meter(part.ledger.token)
        # No scheduler of this process runs a task again, and some refuse to be asked to.
        settings = {} if other_processes(graph) is None else {"retries": self.retries}
        try:
            with spanning("to_store"):
                return end(cast(Any, graph).compute(**settings))
        except BaseException as error:
            for part in self.parts.values():
                left = "is unfinished and cannot be opened" if part.publishes else "is unfinished"
                error.add_note(
                    f"{part.array!r} {left}; run again with resume=True, or with overwrite=True"
                )
            raise

    def lazily(self) -> FusingDelayed:
        """Give the job as a Delayed."""
        return self._graph(self._end(), is_lazy=True)

    def _graph(self, finish: Any, *, is_lazy: bool) -> FusingDelayed:
        """Make the graph that writes all blocks; `finish` is given a tally for each array."""
        tallies = []
        for part in self.parts.values():
            target = part.target
            writer = BlockWriter(
                # Without its attributes: every task carries the handle.
                part.handle.with_options(n_threads=1),
                target.starts,
                part.ledger,
                target.x.numblocks,
                self.retries,
                self.verify,
                measure=self.predicted_bytes > 0,
                is_lazy=is_lazy,
            )
            tallies.append(
                partial(
                    tree_reduce,
                    write_layer(write_block, target.x, writer),
                    merge_receipts,
                    only=part.finished.missing() if len(part.finished) else None,
                    label="store",
                )
            )
        if self.single:
            return tallies[0](finalize=partial(_alone, finish))
        return gather([tally() for tally in tallies], finish, label="store-all")

    def _end(self) -> _End:
        """Give what is to be done once all blocks are written."""
        parts = {}
        for name, part in self.parts.items():
            # A handle of its own: those in the tasks are to have no attributes.
            array = part.array.with_options()
            if part.target.attributes:
                array.update_attributes(part.target.attributes)
            done = part.finished.tally()
            parts[name] = _Ending(
                array,
                part.ledger,
                n_blocks(part.target.x.chunks),
                done,
                part.publishes,
                part.target.grows_to,
            )
        return _End(parts, self.single, self.predicted_bytes)


def _alone(finish: Any, tally: Tally) -> Any:
    return finish([tally])


# --- ending ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ending:
    """What the end of a job knows of one array."""

    array: cs.Array
    ledger: Ledger
    n_blocks: int
    done: Tally
    publishes: bool
    grows_to: tuple[int, ...] | None

    def show(self) -> None:
        """Let readers see what was written."""
        if self.publishes:
            self.array.publish()
        elif self.grows_to is not None and self.array.shape != self.grows_to:
            self.array.resize(self.grows_to, written=True)


@dataclass(frozen=True)
class _End:
    """What is done once all blocks are written: the arrays appear, and are reported."""

    parts: Mapping[str, _Ending]
    single: bool
    predicted_bytes: int

    def __dask_tokenize__(self) -> str:
        return unique_token()

    def __call__(self, tallies: Sequence[Tally]) -> StoreReport | dict[str, StoreReport]:
        told = dict(zip(self.parts, tallies, strict=True))
        predicted = self.predicted_bytes
        reports = {n: _report(p, told[n], predicted) for n, p in self.parts.items()}
        for part in self.parts.values():
            part.show()
        # Only when all have appeared: each ledger knows what its peers are.
        for part in self.parts.values():
            part.ledger.end()
        return reports[""] if self.single else reports


def _report(part: _Ending, tally: Tally, predicted_bytes: int) -> StoreReport:
    whole = merge_receipts([tally, part.done])
    assert whole.n_blocks == part.n_blocks, f"{whole} for {part.n_blocks} blocks"
    return StoreReport(
        target=f"{part.array.name} in {part.array.store!r}",
        shape=part.grows_to or part.array.shape,
        dtype=str(part.array.dtype),
        n_blocks=whole.n_blocks,
        value_bytes=whole.value_bytes,
        checksum=f"{whole.checksum:016x}",
        write_s=whole.write_s,
        elapsed_s=max(0.0, tally.ended_s - tally.started_s),
        n_resumed=part.done.n_blocks,
        predicted_bytes=predicted_bytes,
        peak_bytes=tally.peak_bytes,
    )

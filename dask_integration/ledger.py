"""What of a job is finished, kept in the store that it writes to, so that another can go on.

Floor 2. Beside the chunks of an array that a job writes lie, under a name that every reader skips::

    x/__ledger__/new/plan              what the job is to write: values, blocks, layout
    x/__ledger__/new/<token>-<process> receipts of finished blocks, up to 4,096 a value

A process that runs write tasks puts the receipts of its blocks in a value of its own, at most once
a second; a block counts as finished when its receipt is stored, which is after its values are.
Whatever is killed, at whatever moment, costs no more than the blocks of the last second. Each plan
has a token and receipts name it: what a task of an earlier job still tells counts for nothing.

The ledger goes when the job has ended. Left out: how a job decides what to go on with (``io``).
"""

from __future__ import annotations

import binascii
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import chunkstore as cs
from chunkstore.errors import ConflictError
from dask_integration.chunks import BlockGrid
from dask_integration.receipts import Receipt, Tally, merge_receipts

__all__ = ["APPEND", "NEW", "Finished", "Ledger", "unfinished_jobs"]

NEW = "new"
"""Name of the ledger of the job that makes an array."""

APPEND = "append"
"""Name of the ledger of the job that appends to one."""

_FOLDER = "__ledger__"
_PLAN = "plan"
_HEADER = b"chunkstore receipts 1\n"

_RECORDS = np.dtype(
    [
        ("block", "<u8"),
        ("value_bytes", "<u8"),
        ("started_s", "<f8"),
        ("write_s", "<f4"),
        ("checksum", "<u4"),
    ]
)
_MOST_RECORDS = 4096
"""Receipts in one value: 128 KiB, stored anew each time some are added."""

_PAUSE_S = 1.0
"""Time between two stores of a process's receipts."""


@dataclass(frozen=True)
class Ledger:
    """Where the receipts of a job on one array are kept; small when pickled.

    Parameters
    ----------
    store : Store
        The array's store.
    path : str
        The array's path.
    job : str
        Name of the job: `NEW`, or one for each region.
    token : str
        Told in the plan and in the names of receipts, other for each time a job is begun.
    """

    store: cs.Store
    path: str
    job: str
    token: str

    @property
    def prefix(self) -> str:
        """Start of the keys of this job's ledger."""
        return f"{_folder(self.path)}{self.job}/"

    @classmethod
    def begin(
        cls, array: cs.Array, job: str, plan: Mapping[str, Any], *, alone: bool = False
    ) -> Ledger:
        """Store the plan of a job that begins, in place of an older one of that name.

        Raises
        ------
        ConflictError
            If the job is to be `alone` under its name and there is one, also one that begins in
            another process at this moment.
        """
        ledger = cls(array.store, array.path, job, secrets.token_hex(8))
        stored = json.dumps({**plan, "token": ledger.token}).encode()

        def take(found: bytes | None) -> bytes:
            # The same plan comes back where only the answer to a request was lost.
            if found not in (None, stored):
                raise ConflictError(
                    f"cannot begin to {job} to {array!r}: another job is at it, or was interrupted",
                    store=array.store,
                    path=array.path,
                )
            return stored

        if alone:
            ledger.store.update(ledger.prefix + _PLAN, take)
        else:
            ledger.store.delete_prefix(ledger.prefix)
            ledger.store.set(ledger.prefix + _PLAN, stored)
        return ledger

    @classmethod
    def find(cls, store: cs.Store, path: str, job: str) -> tuple[Ledger, dict[str, Any]] | None:
        """Give the ledger and the plan of an unfinished job; None if there is none."""
        stored = store.get(f"{_folder(path)}{job}/{_PLAN}")
        if stored is None:
            return None
        plan: dict[str, Any] = json.loads(stored)
        return cls(store, path, job, plan.pop("token")), plan

    def end(self) -> None:
        """Forget the job; it has ended."""
        self.store.delete_prefix(self.prefix)
        _PROCESS.pop(self.token, None)
        folder = _folder(self.path)
        if not any(self.store.list_dir(folder)):
            # Not to leave an empty folder. A job that begins at this moment loses its plan: it
            # cannot be resumed then, and is run anew.
            self.store.delete_prefix(folder)

    def require_current(self, *, may_have_ended: bool) -> None:
        """Raise an error if another job of this name has begun since, or ended; one request.

        Parameters
        ----------
        may_have_ended : bool
            Whether tasks may run after the end of their job. Those of a Delayed do when it is
            computed again, or when the worker that has its result is lost.

        Raises
        ------
        ConflictError
            So that a task that outlived its job, as on a cluster whose client was killed, does not
            write over what the next one has written.
        """
        found = Ledger.find(self.store, self.path, self.job)
        is_current = may_have_ended if found is None else found[0].token == self.token
        if not is_current:
            raise ConflictError(
                f"a block of {self.path or '/'!r} in {self.store!r} was not written: another job "
                f"has begun to write there, or has written, since this one began",
                store=self.store,
                path=self.path,
            )

    def record(self, number: int, receipt: Receipt) -> None:
        """Note that a block is finished; called in the process that wrote it."""
        _segment_of(self).add(self, number, receipt)

    def finished(self, grid: BlockGrid) -> Finished:
        """Read which blocks are finished. One listing, and a request for each 4,096 of them."""
        mine = f"{self.prefix}{self.token}-"
        keys = [key for key in self.store.list_dir(self.prefix).keys if key.startswith(mine)]
        parts = [_decoded(self.store.get(key)) for key in keys]
        records = np.concatenate([np.empty(0, _RECORDS), *parts])
        return Finished(grid, _agreed(records))


def unfinished_jobs(store: cs.Store, path: str) -> Iterator[str]:
    """Iterate over the names of the jobs on an array that have a plan."""
    for prefix in store.list_dir(_folder(path)).prefixes:
        if store.exists(prefix + _PLAN):
            yield prefix[:-1].rpartition("/")[2]


def _folder(path: str) -> str:
    return f"{path}/{_FOLDER}/" if path else f"{_FOLDER}/"


@dataclass(frozen=True)
class Finished:
    """The finished blocks of a job.

    Parameters
    ----------
    grid : BlockGrid
        All blocks of the job.
    records : ndarray
        One record for each finished block.
    """

    grid: BlockGrid
    records: NDArray[Any]

    @classmethod
    def none(cls, grid: BlockGrid) -> Finished:
        """Give what is finished of a job that begins."""
        return cls(grid, np.empty(0, _RECORDS))

    def __len__(self) -> int:
        return len(self.records)

    def missing(self) -> NDArray[np.bool_]:
        """Tell for each block of the grid, last axis fastest, whether it is still to be written."""
        missing = np.ones(self.grid.numblocks, np.bool_)
        missing.reshape(-1)[self.records["block"].astype(np.intp)] = False
        return missing

    def tally(self) -> Tally:
        """Add the receipts up."""
        numbers, counts = self.records["block"].astype(np.intp), self.grid.numblocks
        ids = np.unravel_index(numbers, counts) if counts else ()
        receipts: list[Receipt | Tally] = [
            Receipt(tuple(map(int, block_id)), value_bytes, checksum, started_s, write_s)
            for (_, value_bytes, started_s, write_s, checksum), *block_id in zip(
                self.records.tolist(), *ids, strict=True
            )
        ]
        return merge_receipts(receipts)


def _agreed(records: NDArray[Any]) -> NDArray[Any]:
    """Give one record for each block of which all records tell the same values.

    A block may be written twice, as after the loss of a worker. If its values were not the same
    twice, nobody knows which are stored.
    """
    records = records[np.argsort(records["block"], kind="stable")]
    _, first, counts = np.unique(records["block"], return_index=True, return_counts=True)
    same = records["checksum"] == np.repeat(records["checksum"][first], counts)
    agree = np.logical_and.reduceat(same, first) if len(first) else np.empty(0, np.bool_)
    return records[first][agree]


def _decoded(value: bytes | None) -> NDArray[Any]:
    """Read receipts; of a damaged value none, so that its blocks are written again."""
    body = b"" if value is None else value[len(_HEADER) : -4]
    if value is None or value != _sealed(body) or len(body) % _RECORDS.itemsize:
        return np.empty(0, _RECORDS)
    return np.frombuffer(body, _RECORDS)


def _sealed(body: bytes) -> bytes:
    return _HEADER + body + binascii.crc32(body).to_bytes(4, "little")


@dataclass
class _Segment:
    """Receipts of this process that share a value."""

    process: int
    name: str
    records: list[tuple[int, int, float, float, int]] = field(default_factory=list)
    stored_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, ledger: Ledger, number: int, receipt: Receipt) -> None:
        """Add a receipt, and store all if that has not been done for a while."""
        with self.lock:
            self.records.append(
                (
                    number,
                    receipt.value_bytes,
                    receipt.started_s,
                    receipt.write_s,
                    receipt.checksum,
                )
            )
            is_full = len(self.records) >= _MOST_RECORDS
            if not is_full and time.monotonic() - self.stored_s < _PAUSE_S:
                return
            body = np.array(self.records, _RECORDS).tobytes()
            ledger.store.set(f"{ledger.prefix}{ledger.token}-{self.name}", _sealed(body))
            self.stored_s = time.monotonic()
            if is_full:
                self.name, self.records = secrets.token_hex(6), []


_PROCESS: dict[str, _Segment] = {}
"""What this process has told of each job, by the job's token; of the latest few jobs."""

_MOST_JOBS = 64
_PROCESS_LOCK = threading.Lock()


def _segment_of(ledger: Ledger) -> _Segment:
    with _PROCESS_LOCK:
        found = _PROCESS.get(ledger.token)
        # After a fork the parent's receipts are the parent's to tell.
        if found is None or found.process != os.getpid():
            found = _PROCESS[ledger.token] = _Segment(os.getpid(), secrets.token_hex(6))
            while len(_PROCESS) > _MOST_JOBS:
                # Receipts that were not stored yet are lost: their blocks are written again.
                _PROCESS.pop(next(iter(_PROCESS)))
        return found

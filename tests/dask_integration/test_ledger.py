"""The ledger: receipts that are stored count, damaged and contradicting ones do not."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from dask_integration import ledger
from dask_integration.chunks import BlockGrid
from dask_integration.ledger import Ledger, unfinished_jobs
from dask_integration.receipts import Receipt, merge_receipts

GRID = BlockGrid.of(((2, 2, 2), (3, 3)))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_PAUSE_S", 0.0)


@pytest.fixture
def array(tmp_path: Path) -> cs.Array:
    return cs.create_array(tmp_path, name="x", shape=(6, 6), chunks=(2, 3), dtype="f8")


def receipt(number: int, checksum: int = 7) -> Receipt:
    return Receipt(divmod(number, 2), 48, checksum, 1.0, 0.5)


def test_what_is_recorded_is_finished(array: cs.Array) -> None:
    """Other processes see the blocks that were told, and the same receipts."""
    book = Ledger.begin(array, "new", {"values": "v"})
    for number in (4, 1):
        book.record(number, receipt(number))
    found = Ledger.find(array.store, "x", "new")
    assert found == (book, {"values": "v"})
    finished = found[0].finished(GRID)
    assert finished.missing().tolist() == [[True, False], [True, True], [False, True]]
    assert finished.tally() == merge_receipts([receipt(1), receipt(4)])


def test_few_values_hold_many_receipts(array: cs.Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process keeps one value, and begins another when it is full."""
    monkeypatch.setattr(ledger, "_MOST_RECORDS", 100)
    book = Ledger.begin(array, "new", {})
    for number in range(250):
        book.record(number, receipt(number))
    assert len(array.store.list_dir(book.prefix).keys) == 3 + 1
    assert len(book.finished(BlockGrid.of(((1,) * 250, (1,))))) == 250


def test_receipts_wait_for_each_other(array: cs.Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second of the last store nothing is stored; what is not stored does not count."""
    book = Ledger.begin(array, "new", {})
    book.record(0, receipt(0))
    monkeypatch.setattr(ledger, "_PAUSE_S", 60.0)
    book.record(1, receipt(1))
    assert len(book.finished(GRID)) == 1
    monkeypatch.setattr(ledger, "_PAUSE_S", 0.0)
    book.record(2, receipt(2))
    assert len(book.finished(GRID)) == 3


def test_damage_and_contradictions_count_for_nothing(array: cs.Array) -> None:
    """A flipped bit, a cut, and two receipts that differ leave their blocks to be written."""
    book = Ledger.begin(array, "new", {})
    book.record(0, receipt(0))
    book.record(0, receipt(0))
    book.record(1, receipt(1, checksum=1))
    book.record(1, receipt(1, checksum=2))
    assert book.finished(GRID).records["block"].tolist() == [0]
    [key] = [key for key in array.store.list_dir(book.prefix).keys if not key.endswith("plan")]
    whole = array.store.get(key)
    assert whole is not None
    for position in range(0, len(whole), 11):
        array.store.set(
            key, whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
        )
        assert len(book.finished(GRID)) == 0
        array.store.set(key, whole[:position])
        assert len(book.finished(GRID)) == 0


def test_a_forked_process_tells_its_own(array: cs.Array) -> None:
    """Receipts of parent and child do not replace each other."""
    book = Ledger.begin(array, "new", {})
    book.record(0, receipt(0))
    child = multiprocessing.get_context("spawn").Process(target=book.record, args=(1, receipt(1)))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    segment = ledger._PROCESS[book.token]
    segment.process = os.getpid() - 1
    book.record(2, receipt(2))
    assert np.flatnonzero(~book.finished(GRID).missing()).tolist() == [0, 1, 2]


def test_the_end_leaves_nothing(array: cs.Array, tmp_path: Path) -> None:
    """Each job has a ledger of its own; with the last one the folder goes."""
    one, two = Ledger.begin(array, "new", {}), Ledger.begin(array, "region-1", {})
    one.record(0, receipt(0))
    assert sorted(unfinished_jobs(array.store, "x")) == ["new", "region-1"]
    one.end()
    assert list(unfinished_jobs(array.store, "x")) == ["region-1"]
    two.end()
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["zarr.json"]


def test_jobs_that_were_forgotten_are_written_again(
    array: cs.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process keeps in mind a few jobs only; of others it loses what was not stored."""
    monkeypatch.setattr(ledger, "_MOST_JOBS", 2)
    books = [Ledger.begin(array, f"region-{n}", {}) for n in range(3)]
    for book in books:
        book.record(0, receipt(0))
    assert len(ledger._PROCESS) == 2
    assert all(len(book.finished(GRID)) == 1 for book in books)

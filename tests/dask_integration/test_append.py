"""Appending through dask: all or nothing for readers, one job at a time, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import AlignmentError, ConflictError, InvalidArgumentError
from dask_integration import ledger
from dask_integration.io import append, is_complete, to_store
from dask_integration.reading import from_store
from tests.dask_integration.arrays import VALUES, Counting, n_tasks, read_back, stored

MORE = np.arange(1000.0, 1000 + 9 * 14).reshape(9, 14)


@given(
    old=st.integers(0, 9), new=st.integers(1, 9), unit=st.integers(1, 5),
    block=st.integers(1, 6), axis=st.sampled_from([0, 1, -1]), sharded=st.booleans(),
)  # fmt: skip
def test_what_is_appended_comes_behind_what_was(
    old: int, new: int, unit: int, block: int, axis: int, sharded: bool
) -> None:
    """Any extents, units and blocks, along any axis: the old values, then the new ones."""
    whole = np.moveaxis(np.arange(1.0, 1 + (old + new) * 3).reshape(old + new, 3), 0, axis)
    first, second = np.split(whole, [old], axis=axis)
    units = np.ones(2, int)
    units[axis] = unit
    layout = {"chunks": (1, 1), "shards": tuple(units)} if sharded else {"chunks": tuple(units)}
    array = cs.create_array(None, data=first, **layout)
    blocks = [2, 2]
    blocks[axis] = block
    report = append(da.from_array(second, chunks=tuple(blocks)), array, axis=axis)
    assert report.shape == whole.shape
    array.refresh()
    np.testing.assert_array_equal(array[...], whole)


def test_readers_see_all_of_it_or_nothing(scheduler: str, tmp_path: Path) -> None:
    """The array grows when the job ends, in one step; blocks fuse with what computes them."""
    array = stored(tmp_path)
    source = stored(tmp_path, "more", values=MORE)
    job: Any = append(from_store(source, chunks="storage") + 1, tmp_path, path="x", compute=False)
    assert n_tasks(job) == 6 + 1
    assert not is_complete(tmp_path, "x")
    np.testing.assert_array_equal(read_back(tmp_path, "x"), VALUES)
    report = job.compute()
    np.testing.assert_array_equal(read_back(tmp_path, "x"), np.concatenate([VALUES, MORE + 1]))
    assert (report.n_blocks, report.shape) == (6, (29, 14))
    assert is_complete(tmp_path, "x")
    assert array.shape == (20, 14)


def test_one_job_appends_at_a_time(tmp_path: Path) -> None:
    """A second one is refused, at its begin or where the array has grown under it."""
    stored(tmp_path)
    x = da.from_array(MORE, chunks=(4, 14))
    job: Any = append(x, tmp_path, path="x", compute=False)
    with pytest.raises(ConflictError, match="another job is at it") as caught:
        append(x + 1, tmp_path, path="x")
    assert any("overwrite=True" in note for note in caught.value.__notes__)
    cs.open_array(tmp_path, path="x").append(np.zeros((1, 14)))
    with pytest.raises(ConflictError, match="another writer has made it"):
        job.compute()
    append(x, tmp_path, path="x", overwrite=True)
    assert read_back(tmp_path, "x").shape == (30, 14)


def test_regions_are_written_while_a_job_appends(tmp_path: Path) -> None:
    """The chunk that the old end cuts takes the changes of both."""
    array = stored(tmp_path, values=VALUES[:18])
    grow: Any = append(da.from_array(MORE, chunks=(4, 14)), array, compute=False)
    edit: Any = to_store(
        da.zeros((4, 14), chunks=(4, 14)), array, region=(slice(14, 18),), compute=False
    )
    with dask.config.set(scheduler="threads"):
        dask.compute(grow, edit)
    expected = np.concatenate([VALUES[:14], np.zeros((4, 14)), MORE])
    np.testing.assert_array_equal(read_back(tmp_path, "x"), expected)


class Died(BaseException):
    """Stands for the end of a process."""


class Mortal(cs.Store):
    """A store in memory whose process dies before its n-th change."""

    guards_updates = True

    def __init__(self, inner: cs.Store, n_changes: int) -> None:
        super().__init__()
        self.inner = inner
        self.n_changes = n_changes

    def _change(self) -> None:
        self.n_changes -= 1
        if self.n_changes < 0:
            raise Died

    def get(self, key: str) -> bytes | None:
        return self.inner.get(key)

    def set(self, key: str, value: Any) -> None:
        self._change()
        self.inner.set(key, value)

    def delete(self, key: str) -> None:
        self._change()
        self.inner.delete(key)

    def list_dir(self, prefix: str) -> Any:
        return self.inner.list_dir(prefix)


@pytest.mark.parametrize("pause_s", [0.0, 60.0])
def test_an_append_that_dies_anywhere_is_finished(
    pause_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each change of the store in turn: resumed, everything is there once."""
    monkeypatch.setattr(ledger, "_PAUSE_S", pause_s)
    x = da.from_array(MORE, chunks=(4, 14))
    expected = np.concatenate([VALUES[:18], MORE])
    n_resumed = []
    with dask.config.set(scheduler="synchronous"):
        for n_changes in range(1000):
            inner = cs.MemoryStore()
            stored(inner, values=VALUES[:18])
            ledger._PROCESS.clear()
            try:
                append(x, Mortal(inner, n_changes), path="x")
            except Died:
                grown = read_back(inner, "x").shape[0] > 18
            else:
                break
            ledger._PROCESS.clear()
            if not is_complete(inner, "x"):
                n_resumed.append(append(x, inner, path="x", resume=True).n_resumed)
            elif not grown:
                append(x, inner, path="x", resume=True)
            np.testing.assert_array_equal(read_back(inner, "x"), expected)
            assert is_complete(inner, "x")
            assert not any("__" in key for key in inner.list_prefix())
    assert max(n_resumed) >= (1 if pause_s else 3)


@pytest.mark.parametrize(
    ("x", "axis", "error", "message"),
    [
        (da.zeros((9, 13)), 0, InvalidArgumentError, "shape"),
        (da.zeros(9), 0, InvalidArgumentError, "2 axes an array of 1"),
        (da.zeros((9, 14)), 2, InvalidArgumentError, "along axis 2"),
        (da.zeros((9, 14), dtype="c8"), 0, InvalidArgumentError, "lose more"),
        (np.zeros((9, 14)), 0, InvalidArgumentError, "expected a dask"),
    ],
)
def test_what_does_not_fit_is_refused(
    x: Any, axis: int, error: type[Exception], message: str
) -> None:
    """Shapes, axes and data types are checked before anything is touched."""
    store = cs.MemoryStore()
    stored(store)
    before = {key: store.get(key) for key in store.list_prefix()}
    with pytest.raises(error, match=message):
        append(x, store, path="x", axis=axis)
    assert {key: store.get(key) for key in store.list_prefix()} == before


def test_blocks_must_meet_the_units_behind_the_old_end() -> None:
    """Edges count from where the array begins; by default blocks are merged to meet them."""
    array = stored(None, values=VALUES[:18])
    x = da.from_array(MORE, chunks=(4, 14))
    with pytest.raises(AlignmentError, match="edge 22 on axis 0"):
        append(x, array, align="error")
    append(x.rechunk(((2, 4, 3), 14)), array, align="error")
    array.refresh()
    np.testing.assert_array_equal(array[18:], MORE)


def test_a_store_without_guards_takes_whole_units_only() -> None:
    """Where other writers cannot be kept out, an append that begins within a unit is refused."""
    store = Counting()
    stored(store, values=VALUES[:18])
    stored(store, "whole", values=VALUES)
    x = da.from_array(MORE, chunks=(9, 14))
    with pytest.raises(AlignmentError, match="cannot keep out"):
        append(x, store, path="x")
    append(x, store, path="whole")
    assert read_back(store, "whole").shape == (29, 14)


def test_an_array_that_is_growing_is_written_to_its_end() -> None:
    """A handle that its maker has grown takes regions up to its own end, beyond the stored one."""
    array = stored(None, values=VALUES[:18])
    grown = array.grown((27, 14))
    to_store(da.from_array(MORE, chunks=(4, 14)), grown, region=(slice(18, 27),))
    assert read_back(array.store, "x").shape == (18, 14)
    array.resize((27, 14), written=True)
    np.testing.assert_array_equal(array[18:], MORE)


def test_a_stale_handle_does_not_reach_over_appended_rows() -> None:
    """A handle of before an append must not take the last chunk for its own."""
    array = stored(None, values=VALUES[:18])
    append(da.from_array(MORE, chunks=(9, 14)), array)
    with pytest.raises(ConflictError, match="another writer has made it"):
        to_store(da.zeros((18, 14), chunks=(18, 14)), array)
    assert read_back(array.store, "x")[18:].tolist() == MORE.tolist()

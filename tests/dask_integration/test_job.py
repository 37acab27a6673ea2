"""Jobs that are interrupted anywhere and gone on with: the same bytes, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import (
    ConflictError,
    InvalidArgumentError,
    NodeExistsError,
    NodeNotFoundError,
)
from dask_integration import ledger
from dask_integration.io import is_complete, to_store
from dask_integration.reading import from_store
from dask_integration.receipts import Receipt
from tests.dask_integration.arrays import VALUES, n_tasks, read_back, stored


class Died(BaseException):
    """Stands for the end of a process."""


class Mortal(cs.Store):
    """A store in memory whose process dies before its n-th change, and stays dead."""

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


@pytest.fixture(autouse=True)
def in_order() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(params=[0.0, 60.0], ids=["every receipt", "the first receipt"])
def pause(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Store each receipt at once, or none but the first, which is never durable in time."""
    monkeypatch.setattr(ledger, "_PAUSE_S", request.param)
    return float(request.param)


X = da.from_array(VALUES, chunks=(8, 7))


def one(store: cs.Store, **how: Any) -> Any:
    return to_store(X, store, path="y", chunks=(4, 7), attributes={"a": 1}, **how)


def many(store: cs.Store, **how: Any) -> Any:
    arrays = {"a": X, "b": X[:8] + 1}
    return to_store(arrays, store, path="g", attributes={"b": {"a": 1}}, **how)


def region(store: cs.Store, **how: Any) -> Any:
    return to_store(X[:16], store, path="y", region=(slice(2, 18),), align="auto", **how)


def contents(store: cs.Store) -> dict[str, bytes | None]:
    return {key: store.get(key) for key in store.list_prefix()}


def prepared(job: Any) -> cs.MemoryStore:
    store = cs.MemoryStore()
    if job is region:
        cs.create_array(store, name="y", data=np.ones_like(VALUES), chunks=(4, 7))
    return store


@pytest.mark.parametrize("job", [one, many, region])
def test_a_job_that_dies_anywhere_is_finished_by_the_next(job: Any, pause: float) -> None:
    """Before each change of the store in turn: resumed, it ends as an undisturbed job does."""
    undisturbed = prepared(job)
    report = job(undisturbed)
    expected = contents(undisturbed)
    assert not any("__" in key for key in expected)
    n_resumed = []
    for n_changes in range(1000):
        inner = prepared(job)
        try:
            job(Mortal(inner, n_changes))
        except Died:
            pass
        else:
            break
        ledger._PROCESS.clear()
        try:
            again = job(inner, resume=True)
        except NodeExistsError:
            # The very last step was left: clearing up.
            assert job is not region
        else:
            assert _checksums(again) == _checksums(report)
            n_resumed.append(sum(part.n_resumed for part in _reports(again)))
        left = {key for key in contents(inner) if "__" in key}
        assert {key: v for key, v in contents(inner).items() if key not in left} == expected
        assert all(is_complete(inner, path) for path in (["g/a", "g/b"] if job is many else ["y"]))
        assert not left
    assert n_changes > 10
    assert max(n_resumed) >= (1 if pause else 5)


def _reports(report: Any) -> list[Any]:
    return list(report.values()) if isinstance(report, dict) else [report]


def _checksums(report: Any) -> list[str]:
    return [part.checksum for part in _reports(report)]


@pytest.mark.parametrize("job", [one, many])
def test_a_resumed_job_that_dies_too_is_resumed(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dying every few changes, with a new process each time, the job still comes to its end."""
    monkeypatch.setattr(ledger, "_PAUSE_S", 0.0)
    undisturbed = prepared(job)
    job(undisturbed)
    inner, n_runs = prepared(job), 0
    while True:
        n_runs += 1
        ledger._PROCESS.clear()  # A new process knows nothing of the last one.
        try:
            job(Mortal(inner, 8), resume=True)
            break
        except Died:
            assert n_runs < 100
    assert n_runs > 2
    assert contents(inner) == contents(undisturbed)


def test_only_what_is_missing_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished blocks are neither read nor computed again, and the job says how many there were."""
    monkeypatch.setattr(ledger, "_PAUSE_S", 0.0)
    SEEN.clear()
    x = from_store(stored(tmp_path), chunks="storage").map_blocks(spy, dtype="f8", meta=np.empty(0))
    with pytest.raises(RuntimeError, match="the sixth block") as caught:
        to_store(x, tmp_path, path="y", token="mine")
    assert any("resume=True" in note for note in caught.value.__notes__)
    assert not is_complete(tmp_path, "y")
    job: Any = to_store(x, tmp_path, path="y", token="mine", resume=True, compute=False)
    assert n_tasks(job) == 5 + 1
    report = job.compute()
    assert len(SEEN) == 6 + 5
    assert (report.n_blocks, report.n_resumed) == (10, 5)
    assert "5 of the blocks had been written before" in str(report)
    np.testing.assert_array_equal(read_back(tmp_path), VALUES)
    assert list((tmp_path / "y").glob("__*")) == []
    with pytest.raises(NodeExistsError, match="no job on it is unfinished"):
        to_store(x, tmp_path, path="y", token="mine", resume=True)


SEEN: list[Any] = []


def spy(block: Any) -> Any:
    SEEN.append(block.shape)
    if len(SEEN) == 6:
        raise RuntimeError("the sixth block")
    return block


def interrupted(store: Any, x: da.Array = X, **arguments: Any) -> None:
    """Begin a job and leave it."""
    to_store(x, store, path="y", compute=False, **arguments)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (X + 1, {}, "the values are others"),
        (X, {"token": "2024"}, "the values are others"),
        (X.rechunk((4, 7)), {"chunks": (4, 7)}, "the values are others"),
        (X, {"chunks": (2, 7)}, "layout is another"),
        (X, {"compressors": None}, "layout is another"),
        (X, {"fill_value": 7}, "layout is another"),
    ],
)
def test_another_job_is_not_gone_on_with(
    x: da.Array, arguments: dict[str, Any], message: str
) -> None:
    """Other values, blocks or layouts are refused, and what there is stays for the right one."""
    store = cs.MemoryStore()
    interrupted(store, chunks=(4, 7))
    before = contents(store)
    with pytest.raises(InvalidArgumentError, match=message):
        to_store(x, store, path="y", **{"chunks": (4, 7), **arguments}, resume=True)
    assert contents(store) == before
    assert to_store(X, store, path="y", chunks=(4, 7), resume=True).n_blocks == 6


def test_equal_tokens_vouch_for_values() -> None:
    """The user's word stands for values whose names differ; blocks must be the same."""
    store = cs.MemoryStore()
    interrupted(store, da.random.random((20, 14), chunks=(8, 7)), token="mine")
    again = da.random.random((20, 14), chunks=(8, 7))
    with pytest.raises(InvalidArgumentError, match="pass the same `token`"):
        to_store(again, store, path="y", resume=True)
    other = again.rechunk((16, 7))
    with pytest.raises(InvalidArgumentError, match="the blocks are others"):
        to_store(other, store, path="y", chunks=(8, 7), token="mine", resume=True)
    assert to_store(again, store, path="y", token="mine", resume=True).n_blocks == 6


class Elsewhere:
    """An array that another library stores; its pickle says only where."""

    shape, dtype, ndim = (20, 14), np.dtype("f8"), 2

    def __getitem__(self, key: Any) -> Any:
        return VALUES[key]


def test_names_that_say_nothing_of_the_content_need_a_token() -> None:
    """A job on another library's array, which may have changed meanwhile, is not resumed."""
    store = cs.MemoryStore()
    x = da.from_array(Elsewhere(), chunks=(8, 7), name="elsewhere", asarray=False)
    interrupted(store, x)
    with pytest.raises(InvalidArgumentError, match="cannot be told to be the same"):
        to_store(x, store, path="y", resume=True)


def test_what_cannot_be_gone_on_with_is_refused(tmp_path: Path) -> None:
    """Chunks without a ledger, a place that was taken, and contradicting arguments."""
    store = cs.LocalStore(tmp_path)
    with pytest.raises(InvalidArgumentError, match="give one"):
        to_store(X, store, path="y", resume=True, overwrite=True)
    array = cs.create_array(store, name="y", shape=(4,), chunks=2, dtype="f8", pending=True)
    array[...] = 1
    with pytest.raises(InvalidArgumentError, match="no ledger"):
        to_store(X, store, path="y", resume=True)
    to_store(X, store, path="y", overwrite=True, compute=False)
    store.set("y/__pending__", b"another")
    with pytest.raises(ConflictError, match="another writer"):
        to_store(X, store, path="y", resume=True)
    with pytest.raises(NodeExistsError) as caught:
        to_store(X, store, path="y")
    assert any("resume=True goes on with it" in note for note in caught.value.__notes__)


def test_an_old_task_tells_the_new_job_nothing() -> None:
    """Receipts of a job that was replaced, told late by a task that lived on, do not count."""
    store = cs.MemoryStore()
    interrupted(store)
    old = ledger.Ledger.find(store, "y", ledger.NEW)
    assert old is not None
    to_store(X, store, path="y", overwrite=True, compute=False)
    old[0].record(0, Receipt((0, 0), 8, 1, 0.0, 0.0))
    assert to_store(X, store, path="y", resume=True).n_resumed == 0
    np.testing.assert_array_equal(read_back(store), VALUES)


@pytest.mark.parametrize("job", [one, many, region])
def test_an_old_task_does_not_write_over_the_new_job(job: Any) -> None:
    """A job whose client is gone may live on in a cluster: begun again, it is refused to write."""
    store = prepared(job)
    old = job(store, compute=False)
    expected = prepared(job)
    job(expected)
    anew = {} if job is region else {"overwrite": True}
    new = job(store, compute=False, **anew)
    before = contents(store)
    with pytest.raises(ConflictError, match="another job "):
        old.compute()
    assert contents(store) == before
    new.compute()
    assert contents(store) == contents(expected)
    new.compute()
    assert contents(store) == contents(expected)


def test_regions_have_ledgers_of_their_own() -> None:
    """Two unfinished jobs on one array are told apart; the array is complete when both are done."""
    store = cs.MemoryStore()
    array = cs.create_array(store, name="y", shape=(20, 14), chunks=(4, 7), dtype="f8")
    assert is_complete(store, "/y/")
    top = to_store(X[:8], array, region=(slice(0, 8),), compute=False)
    below = to_store(X[8:], array, region=(slice(8, 20),), compute=False)
    assert not is_complete(store, "y")
    top.compute()
    assert not is_complete(store, "y")
    below.compute()
    assert is_complete(store, "y")
    np.testing.assert_array_equal(read_back(store), VALUES)
    with pytest.raises(NodeNotFoundError):
        is_complete(store, "z")

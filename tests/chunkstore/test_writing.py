"""A value that a write covers is replaced unread; one that it covers in part is merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.workers import run_in_threads
from tests.chunkstore.recording import RecordingStore, filled


@pytest.fixture
def store() -> RecordingStore:
    """Give a store that keeps a record."""
    return RecordingStore()


def test_whole_chunks_are_written_unread(store: RecordingStore) -> None:
    """Chunks that a write covers are replaced without a look."""
    array = filled(store)
    array[:8, 3:6] = 5
    assert store.record == [("set", key) for key in ["x/c/0/1", "x/c/1/1"]]


def test_new_arrays_are_written_unread(store: RecordingStore) -> None:
    """Of an array that is made with its data no chunk is read, also none that the edge cuts."""
    cs.create_array(store, name="x", data=np.arange(1, 81).reshape(10, 8), chunks=(4, 3))
    assert not [key for key in store.asked("get") if "/c/" in key]


@pytest.mark.parametrize("layout", [{}, {"shards": (8, 3)}, {"zarr_format": 2}], ids=str)
@pytest.mark.parametrize("place", ["memory", "folder"])
def test_a_stale_handle_keeps_what_was_appended(
    tmp_path: Path, layout: dict[str, Any], place: str
) -> None:
    """Covering the last chunk as it was keeps the rows that another handle has appended to it."""
    where = cs.MemoryStore() if place == "memory" else cs.LocalStore(tmp_path)
    cs.create_array(where, data=np.arange(1, 19).reshape(6, 3), chunks=(4, 3), **layout)
    stale = cs.open_array(where)
    cs.open_array(where).append(np.full((4, 3), 99))
    stale[...] = -1
    stale[4:] = 7
    expected = np.vstack([np.full((4, 3), -1), np.full((2, 3), 7), np.full((4, 3), 99)])
    assert np.array_equal(cs.open_array(where)[...], expected)


@pytest.mark.parametrize("layout", [{}, {"shards": (8, 3)}], ids=str)
@pytest.mark.parametrize("keep", [0, 3, -2])
def test_a_damaged_chunk_at_the_edge_can_be_replaced(layout: dict[str, Any], keep: int) -> None:
    """Where the last chunk cannot be read, covering what the array shows of it replaces it."""
    where = cs.MemoryStore()
    array = cs.create_array(where, data=np.arange(1, 19).reshape(6, 3), chunks=(4, 3), **layout)
    last = max(key for key in where.list_prefix("c/"))
    where.set(last, bytes(where.get(last) or b"")[:keep])
    first = 0 if layout else 4
    array[first:] = 7
    assert (array[first:] == 7).all()


def test_parts_of_chunks_are_read_once(store: RecordingStore) -> None:
    """Chunks that a write covers in part are read once and written once."""
    array = filled(store)
    array[:5, 0] = 5
    assert store.record == [
        ("get", "x/c/0/0"),
        ("set", "x/c/0/0"),
        ("get", "x/c/1/0"),
        ("set", "x/c/1/0"),
    ]


def test_empty_chunks_are_not_stored(store: RecordingStore) -> None:
    """A chunk that becomes all fill value is deleted, whether it was covered or merged."""
    array = filled(store)
    array[:4, :3] = 0
    array[4:8, 0] = 0
    array[4:8, 1:3] = 0
    assert store.exists("x/c/0/0") is False
    assert store.exists("x/c/1/0") is False
    assert array[:8, :3].tolist() == np.zeros((8, 3)).tolist()
    array[:4, :3] = 0
    assert "x/c/0/0" not in store.asked("set")


def test_empty_chunks_are_stored_when_asked(store: RecordingStore) -> None:
    """With ``write_empty_chunks`` a chunk of fill value is stored like any other."""
    array = filled(store, write_empty_chunks=True)
    array[:4, :3] = 0
    assert store.asked("set") == ["x/c/0/0"]
    assert store.asked("delete") == []


def test_negative_zero_is_not_empty(store: RecordingStore) -> None:
    """Values that are equal to the fill value but not the same bits are stored."""
    array = cs.create_array(store, shape=6, chunks=2, dtype="f8", fill_value=0.0)
    array[...] = [-0.0, 0.0, 0.0, -0.0, 0.0, 0.0]
    assert np.signbit(array[...]).tolist() == [True, False, False, True, False, False]
    assert store.exists("c/0")
    assert store.exists("c/1")
    assert not store.exists("c/2")


def test_another_nan_is_not_empty(store: RecordingStore) -> None:
    """A NaN with a payload is kept where the fill value is the plain NaN."""
    array = cs.create_array(store, shape=4, chunks=2, dtype="f8", fill_value=np.nan)
    values = np.full(4, np.nan)
    values.view("u8")[1] += 5
    array[...] = values
    assert array[...].tobytes() == values.tobytes()
    assert store.exists("c/0")
    assert not store.exists("c/1")


@pytest.mark.parametrize("handles", [1, 2])
def test_threads_write_parts_of_one_chunk(store: RecordingStore, handles: int) -> None:
    """Parts of one chunk written by several threads, through any handle, are all kept."""
    arrays = [cs.create_array(store, shape=100, chunks=100, dtype="i4")]
    arrays += [cs.open_array(store) for _ in range(handles - 1)]

    def work(i: int) -> None:
        arrays[i % handles][i] = i + 1

    run_in_threads(work, range(100), n_threads=4)
    assert arrays[0][...].tolist() == list(range(1, 101))

"""The engine asks the store in no more threads than it may use, and passes its trouble on."""

from __future__ import annotations

import time

import pytest

import chunkstore as cs
from chunkstore.errors import StoreError
from tests.chunkstore.recording import RecordingStore, filled


@pytest.fixture
def store() -> RecordingStore:
    """Give a store that keeps a record."""
    return RecordingStore()


def test_threads_are_bounded(store: RecordingStore) -> None:
    """No more requests are under way at once than there may be threads, and not fewer."""
    array = cs.create_array(store, shape=(1 << 18,), chunks=(1 << 14,), dtype="i4")
    store.pause = lambda: time.sleep(0.005)
    for n_threads in (1, 3):
        handle = array.with_options(n_threads=n_threads)
        store.most_at_once = 0
        handle[...] = 1
        assert store.most_at_once == n_threads
        store.most_at_once = 0
        assert (handle[...] == 1).all()
        assert store.most_at_once == n_threads


def test_small_requests_stay_in_the_caller(store: RecordingStore) -> None:
    """A request for little data starts no thread."""
    array = filled(store, n_threads=8)
    store.pause = lambda: time.sleep(0.002)
    store.most_at_once = 0
    array[...]
    assert store.most_at_once == 1


@pytest.mark.parametrize("what", ["get", "set"])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_failing_store_fails_the_request(
    store: RecordingStore, what: str, n_threads: int
) -> None:
    """Trouble of the store comes out of the array as it is, and is never read as fill value."""
    array = cs.create_array(
        store, shape=(1 << 18,), chunks=(1 << 14,), dtype="i4",
        options=cs.Options(n_threads=n_threads),
    )  # fmt: skip
    array[...] = 7
    store.fails = lambda kind, key: kind == what and key == "c/9"
    if what == "get":
        with pytest.raises(StoreError, match="'c/9'"):
            array[...]
        with pytest.raises(StoreError, match="'c/9'"):
            array[: 9 * (1 << 14) + 1] = 8
    else:
        with pytest.raises(StoreError, match="'c/9'"):
            array[...] = 8
    store.fails = lambda kind, key: False
    assert array[9 << 14] == 7

"""The engine asks the store for no more than it needs, in no more threads than it may use."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import ChunkError, MissingChunkError, StoreError
from chunkstore.workers import run_in_threads
from tests.chunkstore.recording import RecordingStore

# --- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [0, 1, 2, 7, 50])
def test_each_item_once(n_threads: int) -> None:
    """Every item is worked on exactly once, with more or fewer threads than items."""
    done: list[int] = []
    run_in_threads(done.append, iter(range(20)), n_threads=n_threads)
    assert sorted(done) == list(range(20))
    run_in_threads(done.append, [], n_threads=n_threads)
    assert len(done) == 20


def test_one_thread_is_the_caller() -> None:
    """With one thread everything happens in the calling one, in order."""
    seen: list[tuple[int, threading.Thread]] = []
    run_in_threads(lambda i: seen.append((i, threading.current_thread())), range(5), n_threads=1)
    assert seen == [(i, threading.current_thread()) for i in range(5)]


def test_several_threads_work_at_once() -> None:
    """So many items are in work at once as there are threads, the calling one among them."""
    meeting = threading.Barrier(3, timeout=20)
    workers: set[str] = set()

    def work(_: int) -> None:
        workers.add(threading.current_thread().name)
        meeting.wait()

    run_in_threads(work, range(6), n_threads=3)
    assert len(workers) == 3
    assert threading.current_thread().name in workers


@pytest.mark.parametrize("n_threads", [1, 4])
def test_an_exception_stops_the_work(n_threads: int) -> None:
    """The first exception comes out as it is, and few items are begun after it."""
    begun: list[int] = []

    def work(i: int) -> None:
        begun.append(i)
        time.sleep(0.001)
        if i == 5:
            raise ZeroDivisionError("five")

    with pytest.raises(ZeroDivisionError, match="five"):
        run_in_threads(work, range(10_000), n_threads=n_threads)
    assert len(begun) < 100


@pytest.mark.parametrize("n_threads", [1, 4])
def test_an_exception_of_the_items_comes_out(n_threads: int) -> None:
    """What goes wrong while the items are made is raised too, and nothing hangs."""

    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_in_threads(lambda _: time.sleep(0.01), items(), n_threads=n_threads)


def test_an_interrupt_of_the_caller_stops_the_helpers() -> None:
    """Ctrl-C while threads work is raised in the caller, after the items in hand are finished."""
    begun, finished = [], []

    def work(i: int) -> None:
        begun.append(i)
        if len(begun) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)
        finished.append(i)

    with pytest.raises(KeyboardInterrupt):
        run_in_threads(work, range(10_000), n_threads=3)
    assert len(begun) < 100
    # The one that the caller had in hand was cut short; the helpers' were not.
    assert len(begun) - len(finished) <= 1


def test_an_interrupt_while_threads_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while helpers are being started leaves none of them at work."""
    begun, finished = [], []
    start = threading.Thread.start

    def work(i: int) -> None:
        begun.append(i)
        time.sleep(0.2)
        finished.append(i)

    def two_have_begun(thread: threading.Thread) -> None:
        start(thread)
        while len(begun) < 2 and thread.name.endswith("-1"):
            time.sleep(0.001)
        if thread.name.endswith("-1"):
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", two_have_begun)
    with pytest.raises(KeyboardInterrupt):
        run_in_threads(work, range(8), n_threads=4)
    assert sorted(begun) == sorted(finished)


def test_an_interrupt_while_waiting_for_the_last() -> None:
    """Ctrl-C while the caller waits for the helpers' last items still waits for them."""
    begun, finished = [], []
    caller = threading.current_thread()

    def work(i: int) -> None:
        begun.append(i)
        if threading.current_thread() is not caller:
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)
        else:
            while len(begun) < 2:
                time.sleep(0.001)
        finished.append(i)

    with pytest.raises(KeyboardInterrupt):
        run_in_threads(work, range(2), n_threads=2)
    assert sorted(begun) == sorted(finished)


# --- requests ------------------------------------------------------------------------------------


@pytest.fixture
def store() -> RecordingStore:
    """Give a store that keeps a record."""
    return RecordingStore()


def filled(store: RecordingStore, **options: object) -> cs.Array:
    """Make an array of 3 × 3 chunks, the last ones cut by the edge, and forget the making."""
    array = cs.create_array(
        store, name="x", shape=(10, 8), chunks=(4, 3), dtype="i4", options=cs.Options(**options)
    )
    array[...] = np.arange(1, 81).reshape(10, 8)
    store.forget()
    return array


@pytest.mark.parametrize(
    ("selection", "keys"),
    [
        ((0, 0), ["x/c/0/0"]),
        ((slice(4, 8), slice(3, 6)), ["x/c/1/1"]),
        ((slice(3, 5), slice(0, 3)), ["x/c/0/0", "x/c/1/0"]),
        ((slice(None, None, 5), 7), ["x/c/0/2", "x/c/1/2"]),
        ((slice(9, None, -9), 0), ["x/c/0/0", "x/c/2/0"]),
        ((slice(None, None, 3), 0), ["x/c/0/0", "x/c/1/0", "x/c/2/0"]),
        ((slice(3, 3), slice(None)), []),
    ],
)
def test_reads_only_what_is_touched(
    store: RecordingStore, selection: object, keys: list[str]
) -> None:
    """A read asks once for each chunk that holds a selected element, and for nothing else."""
    array = filled(store)
    array[selection]
    assert store.record == [("get", key) for key in store.asked("get")]
    assert store.asked("get") == keys


def test_whole_chunks_are_written_unread(store: RecordingStore) -> None:
    """Chunks that a write covers are replaced without a look, also those cut by the edge."""
    array = filled(store)
    array[4:, 3:] = 5
    assert store.record == [("set", key) for key in ["x/c/1/1", "x/c/1/2", "x/c/2/1", "x/c/2/2"]]


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


def test_missing_chunk_may_be_an_error(store: RecordingStore) -> None:
    """With ``missing_chunks="error"`` an absent chunk is named, and present ones are read."""
    array = filled(store).with_options(missing_chunks="error")
    store.delete("x/c/1/2")
    assert array[0, 0] == 1
    with pytest.raises(MissingChunkError, match=r"chunk \(1, 2\) of 'x'.*'x/c/1/2'") as error:
        array[...]
    assert (error.value.key, error.value.chunk_coords) == ("x/c/1/2", (1, 2))
    assert array.with_options(missing_chunks="fill")[5, 7] == 0


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


@pytest.mark.parametrize("handles", [1, 2])
def test_threads_write_parts_of_one_chunk(store: RecordingStore, handles: int) -> None:
    """Parts of one chunk written by several threads, through any handle, are all kept."""
    arrays = [cs.create_array(store, shape=100, chunks=100, dtype="i4")]
    arrays += [cs.open_array(store) for _ in range(handles - 1)]

    def work(i: int) -> None:
        arrays[i % handles][i] = i + 1

    run_in_threads(work, range(100), n_threads=4)
    assert arrays[0][...].tolist() == list(range(1, 101))


# --- failures ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("value", [b"", b"short", bytes(1000)])
def test_a_damaged_chunk_is_named(store: RecordingStore, value: bytes) -> None:
    """A value that is no chunk fails reading and merging with its key, coordinates and array."""
    array = filled(store)
    store.set("x/c/1/2", value)
    for use in (lambda: array[...], lambda: array.write((5, 7), 1)):
        with pytest.raises(ChunkError, match=r"chunk \(1, 2\) of array 'x'.*'x/c/1/2'") as error:
            use()
        assert error.value.key == "x/c/1/2"
        assert error.value.path == "x"
        assert error.value.chunk_coords == (1, 2)
        assert error.value.store is store
    assert store.get("x/c/1/2") == value
    array[4:8, 6:] = 1
    assert array[5, 7] == 1

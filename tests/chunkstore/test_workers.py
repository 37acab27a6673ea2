"""Work is shared among a bounded number of threads, and whatever ends one ends them all."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from chunkstore.workers import run_in_threads


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

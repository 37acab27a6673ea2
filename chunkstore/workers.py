"""Sharing work among a bounded number of threads. The only file that starts any.

Floor 3. Helpers live as long as the call: nothing outlives it, so there is nothing to close, and a
forked child inherits nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["run_in_threads"]

_T = TypeVar("_T")


def run_in_threads(work: Callable[[_T], None], items: Iterable[_T], *, n_threads: int) -> None:
    """Call `work` on each item, by the calling thread and up to ``n_threads - 1`` helpers.

    Items are taken one at a time as threads become free. The first exception stops all threads
    after the item in hand and is raised here; so is an interrupt of the calling thread.
    """
    if n_threads <= 1:
        for item in items:
            work(item)
        return
    queue = _Shared(iter(items))
    failures: list[BaseException] = []

    def help_out(ended: threading.Event) -> None:
        try:
            for item in queue:
                work(item)
        except BaseException as error:
            queue.stop()
            failures.append(error)
        finally:
            ended.set()

    ends = [threading.Event() for _ in range(n_threads - 1)]
    helpers = [
        threading.Thread(target=help_out, args=(ended,), name=f"chunkstore-engine-{i}", daemon=True)
        for i, ended in enumerate(ends)
    ]
    try:
        for helper in helpers:
            helper.start()
        for item in queue:
            work(item)
    finally:
        # A helper whose start was cut short finds nothing left to draw.
        queue.stop()
        _wait_for(helpers, ends)
    if failures:
        raise failures[0]


def _wait_for(helpers: Iterable[threading.Thread], ends: Iterable[threading.Event]) -> None:
    """Wait until every helper has ended; an interrupt meanwhile is raised when they have.

    By an event each: before Python 3.13 an interrupted `join` takes a running thread for ended.
    """
    interrupt: KeyboardInterrupt | None = None
    for helper, ended in zip(helpers, ends, strict=True):
        while helper.ident is not None and not ended.is_set():
            try:
                ended.wait()
            except KeyboardInterrupt as error:
                interrupt = error
        if helper.ident is not None:
            helper.join()
    if interrupt is not None:
        raise interrupt


class _Shared(Iterator[_T]):
    """An iterator that several threads may draw from, and any of them may end."""

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._lock = threading.Lock()
        self._stopped = False

    def __next__(self) -> _T:
        with self._lock:
            if self._stopped:
                raise StopIteration
            return next(self._items)

    def stop(self) -> None:
        self._stopped = True

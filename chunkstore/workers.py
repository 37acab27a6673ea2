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

    def help_out() -> None:
        try:
            for item in queue:
                work(item)
        except BaseException as error:
            queue.stop()
            failures.append(error)

    helpers = [
        threading.Thread(target=help_out, name=f"chunkstore-engine-{i}", daemon=True)
        for i in range(n_threads - 1)
    ]
    for helper in helpers:
        helper.start()
    try:
        for item in queue:
            work(item)
    finally:
        queue.stop()
        for helper in helpers:
            helper.join()
    if failures:
        raise failures[0]


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

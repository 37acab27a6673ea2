"""Stored arrays, and stores that count, for tests of reading and writing through dask."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from dask._task_spec import Alias

import chunkstore as cs

VALUES = np.arange(20 * 14, dtype="f8").reshape(20, 14)


def stored(store: Any, path: str = "x", *, values: Any = VALUES, **layout: Any) -> cs.Array:
    """Store some values, by default in chunks of (4, 7)."""
    return cs.create_array(store, name=path, data=values, **{"chunks": (4, 7), **layout})


def read_back(store: Any, path: str = "y") -> np.ndarray[Any, Any]:
    return np.asarray(cs.open_array(store, path=path, mode="r")[...])


def n_tasks(collection: Any) -> int:
    """Count the tasks that would run, after dask's optimisation."""
    graph = collection.__dask_optimize__(collection.__dask_graph__(), collection.__dask_keys__())
    return sum(not isinstance(task, Alias) for task in dict(graph).values())


class Counting(cs.Store):
    """A memory store that counts gets by key, and fails as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = cs.MemoryStore()
        self.gets: list[str] = []
        self.sets: list[str] = []
        self.failures: list[Exception] = []
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        self.gets.append(key)
        return self.inner.get(key)

    def set(self, key: str, value: Any) -> None:
        with self._lock:
            self.sets.append(key)
            failure = self.failures.pop() if "c/" in key and self.failures else None
        if failure is not None:
            raise failure
        self.inner.set(key, value)

    def delete(self, key: str) -> None:
        self.inner.delete(key)

    def list_dir(self, prefix: str) -> Any:
        return self.inner.list_dir(prefix)

    def chunk_gets(self) -> list[str]:
        return sorted(key for key in self.gets if "c/" in key)

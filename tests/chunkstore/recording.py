"""A store that notes what is asked of it, and can fail, for tests of those who use stores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

import chunkstore as cs
from chunkstore import MemoryStore
from chunkstore.errors import StoreError
from chunkstore.types import Buffer


class RecordingStore(MemoryStore):
    """A store in memory that keeps a record of its requests, in order: (what, key)."""

    def __init__(self) -> None:
        super().__init__()
        self.record: list[tuple[str, str]] = []
        self.fails: Callable[[str, str], bool] = lambda what, key: False
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.pause: Callable[[], object] = lambda: None

    def _note(self, what: str, key: str) -> None:
        with self._lock:
            self.record.append((what, key))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.pause()
            if self.fails(what, key):
                raise StoreError(f"cannot {what} {key!r}: the test says so", store=self, key=key)
        finally:
            with self._lock:
                self._at_once -= 1

    def forget(self) -> None:
        """Begin a new record."""
        self.record.clear()

    def asked(self, *what: str) -> list[str]:
        """List the keys that were asked for in one of some ways, sorted."""
        return sorted(key for kind, key in self.record if kind in what)

    def get(self, key: str) -> bytes | None:
        """Give a value."""
        self._note("get", key)
        return super().get(key)

    def set(self, key: str, value: Buffer) -> None:
        """Store a value."""
        self._note("set", key)
        super().set(key, value)

    def delete(self, key: str) -> None:
        """Forget a value."""
        self._note("delete", key)
        super().delete(key)

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Iterate over keys from the last to the first: no order is promised, and none is lucky."""
        yield from sorted(super().list_prefix(prefix), reverse=True)


def filled(store: RecordingStore, **options: object) -> cs.Array:
    """Make an array of 3 × 3 chunks, the last ones cut by the edge, and forget the making."""
    array = cs.create_array(
        store, name="x", shape=(10, 8), chunks=(4, 3), dtype="i4", options=cs.Options(**options)
    )
    array[...] = np.arange(1, 81).reshape(10, 8)
    store.forget()
    return array

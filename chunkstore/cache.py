"""`ChunkCache`: decoded chunks kept in memory, for handles that read the same ones again.

Floor 0. A cache is given to handles by their `Options`; several may share one. What this process
writes is never shown as it was before: every write marks the chunk as changed, in a table that all
caches look at, also where the writing handle has no cache. What another process writes is not
seen while a chunk is kept: cache what does not change, or call `ChunkCache.clear`.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chunkstore.errors import InvalidArgumentError

__all__ = [
    "CacheInfo",
    "ChunkCache",
    "mark_all_changed",
    "mark_changed",
    "mark_many_changed",
    "state_of",
]

_N_MARKS = 4096
_KNOWN_CACHES = 16

_serial = itertools.count(1)
_marks = [0] * _N_MARKS
_all_mark = [0]


class CacheInfo(NamedTuple):
    """What a cache has done so far, and what it holds."""

    hits: int
    misses: int
    n_chunks: int
    n_bytes: int
    max_bytes: int


class ChunkCache:
    """Decoded chunks up to a number of bytes; the one not used for longest goes first.

    Parameters
    ----------
    max_bytes : int
        Most bytes of decoded chunks to keep. A chunk longer than that is never kept.

    Notes
    -----
    Threads may share a cache. In another process an unpickled handle has a cache of its own, of
    the same size, shared there by all handles that shared it here.

    Examples
    --------
    >>> import chunkstore as cs
    >>> import numpy as np
    >>> cache = ChunkCache(max_bytes=1_000_000)
    >>> a = cs.create_array(None, data=np.arange(10), options=cs.Options(cache=cache))
    >>> a[3], a[4]
    (np.int64(3), np.int64(4))
    >>> cache.info().hits, cache.info().misses
    (1, 1)
    """

    def __init__(self, max_bytes: int) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
            raise InvalidArgumentError(f"max_bytes must be a positive integer, got {max_bytes!r}")
        self.max_bytes = max_bytes
        self._token = os.urandom(8).hex()
        self._lock = threading.Lock()
        self._chunks: OrderedDict[Hashable, tuple[Hashable, npt.NDArray[np.generic]]]
        self._chunks = OrderedDict()
        self._n_bytes = self._hits = self._misses = 0
        _living.add(self)

    def __repr__(self) -> str:
        return f"ChunkCache(max_bytes={self.max_bytes})"

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self._token, self.max_bytes)

    def get(self, key: Hashable, state: Hashable) -> npt.NDArray[np.generic] | None:
        """Give a chunk, read-only, if it is kept and nothing has changed since `state`."""
        with self._lock:
            found = self._chunks.get(key)
            if found is not None and found[0] == state:
                self._chunks.move_to_end(key)
                self._hits += 1
                return found[1]
            if found is not None:
                self._forget(key)
            self._misses += 1
            return None

    def put(self, key: Hashable, state: Hashable, chunk: npt.NDArray[np.generic]) -> None:
        """Keep a chunk that was read when `state` held; it must not be changed any more."""
        if chunk.nbytes > self.max_bytes:
            return
        chunk.flags.writeable = False
        with self._lock:
            if key in self._chunks:
                self._forget(key)
            self._chunks[key] = state, chunk
            self._n_bytes += chunk.nbytes
            while self._n_bytes > self.max_bytes:
                self._forget(next(iter(self._chunks)))

    def clear(self) -> None:
        """Forget all chunks; the counts of hits and misses stay."""
        with self._lock:
            self._chunks.clear()
            self._n_bytes = 0

    def info(self) -> CacheInfo:
        """Say how often a chunk was found, and what is kept."""
        with self._lock:
            return CacheInfo(
                self._hits, self._misses, len(self._chunks), self._n_bytes, self.max_bytes
            )

    def _forget(self, key: Hashable) -> None:
        self._n_bytes -= self._chunks.pop(key)[1].nbytes


_living: weakref.WeakSet[ChunkCache] = weakref.WeakSet()
_fork_lock = threading.Lock()
_held: list[threading.Lock] = []


def _hold_all() -> None:
    """Let every cache be at rest while the process forks: no other thread comes along."""
    _fork_lock.acquire()
    for lock in (_restored_lock, *(cache._lock for cache in _living)):
        lock.acquire()
        _held.append(lock)


def _let_go() -> None:
    while _held:
        _held.pop().release()
    _fork_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_all, after_in_parent=_let_go, after_in_child=_let_go)


_restored: OrderedDict[str, ChunkCache] = OrderedDict()
_restored_lock = threading.Lock()


def _restore(token: str, max_bytes: int) -> ChunkCache:
    with _restored_lock:
        found = _restored.pop(token, None)
        if found is None:
            found = ChunkCache(max_bytes)
            found._token = token
            while len(_restored) >= _KNOWN_CACHES:
                _restored.popitem(last=False)
        _restored[token] = found
        return found


def state_of(place: Hashable) -> Hashable:
    """Give a value that differs from an earlier one if the place was changed in between."""
    return _all_mark[0], _marks[hash(place) % _N_MARKS]


def mark_changed(place: Hashable) -> None:
    """Say that a place is about to change, or has just changed; to be said at both times.

    Both, since a reader in between may have found the value of before or after.
    """
    _marks[hash(place) % _N_MARKS] = next(_serial)


def mark_many_changed(places: Iterable[Hashable]) -> None:
    """Say `mark_changed` of many places; of more than there are marks, simply of all."""
    some = list(itertools.islice(places, _N_MARKS + 1))
    if len(some) > _N_MARKS:
        mark_all_changed()
        return
    for place in some:
        mark_changed(place)


def mark_all_changed() -> None:
    """Say that any place may have changed, as when nodes are deleted or moved."""
    _all_mark[0] = next(_serial)

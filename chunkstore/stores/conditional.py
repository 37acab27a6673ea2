"""`ConditionalStore`: updates and locks on a service that writes under a condition.

Floor 2. Object stores have no locks, but many can write a value only if it is still the version
that was read, or still absent. Two things are built on that, for a backend that gives
`ConditionalStore.read_version` and `ConditionalStore.write_if`:

- an update compares and swaps: read, modify, write if unchanged, or start again;
- a lock is a `Lease` on an object.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from chunkstore.errors import ConflictError, StoreError
from chunkstore.keys import check_key, prefix_of
from chunkstore.stores.base import LockKind, Store, thread_lock
from chunkstore.stores.leases import Lease, Version, Versioned, pause
from chunkstore.types import Buffer

__all__ = ["ConditionalStore"]

_MOST_CONFLICTS = 1000
_MOST_FAILURES = 5


class ConditionalStore(Store):
    """Base of stores on services that write under a condition.

    Parameters
    ----------
    read_only : bool
        Refuse every change through this handle.
    single_writer : bool
        Promise that no other process changes what this one does. Then the locks of this process
        are enough, and updates and appends need no help of the service.
    """

    __slots__ = ("_leases", "single_writer")

    can_forget = False

    def __init__(self, *, read_only: bool = False, single_writer: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.single_writer = single_writer
        self._leases: dict[str, Lease] = {}

    def read_version(self, key: str) -> Versioned | None:
        """Read a value and what version it is; None if the key is not stored."""
        raise NotImplementedError

    def write_if(self, key: str, value: Buffer, version: Version | None) -> bool:
        """Store a value if the stored one is still a version, or with None still absent.

        Must try once only, and raise a `StoreError` with the fact ``is_unsure=True`` where it
        cannot know whether the value was stored. Is called for locks too, whose keys are the
        store's own: `check_key` would refuse them.
        """
        raise NotImplementedError

    def has_conditions(self) -> bool:
        """Whether the service heeds conditions; some take them and write all the same."""
        raise NotImplementedError

    @property
    def guards_updates(self) -> bool:
        """Whether the service heeds conditions, or no other process is said to write."""
        return self.single_writer or self.has_conditions()

    def update(self, key: str, modify: Callable[[bytes | None], Buffer | None]) -> None:
        """Replace a value by what `modify` makes of it, with no other update in between.

        Between processes this needs a service that heeds conditions. On others it holds within
        this process alone, as with ``single_writer=True``.
        """
        self.check_writable()
        check_key(key)
        with thread_lock(self, "value", key):
            if self.single_writer or not self.has_conditions():
                value = modify(self.get(key))
                if value is None:
                    self.delete(key)
                else:
                    self.set(key, value)
            else:
                self._compare_and_swap(key, modify)

    def _compare_and_swap(self, key: str, modify: Callable[[bytes | None], Buffer | None]) -> None:
        n_conflicts = n_failures = 0
        unsure: bytes | None = None
        while True:
            found = self.read_version(key)
            stored = None if found is None else found.value
            if unsure is not None and stored == unsure:
                return  # It was stored; only the answer was lost.
            unsure = None
            value = modify(stored)
            if value is None:
                if stored is None:
                    return
                raise StoreError(
                    f"cannot delete {key!r} within an update in {self!r}: the service has no "
                    f"delete under a condition. Use delete, or store an empty value",
                    store=self,
                    key=key,
                )
            self.keep_lease(key)
            try:
                if self.write_if(key, value, None if found is None else found.version):
                    return
                n_conflicts += 1
            except StoreError as error:
                n_failures += 1
                if not getattr(error, "is_unsure", False) or n_failures > _MOST_FAILURES:
                    raise
                unsure = bytes(value)
            if n_conflicts >= _MOST_CONFLICTS:
                raise ConflictError(
                    f"cannot update {key!r} in {self!r}: other writers were faster "
                    f"{n_conflicts} times",
                    store=self,
                    key=key,
                )
            pause(n_conflicts + 2 * n_failures)

    @contextlib.contextmanager
    def lock(self, kind: LockKind, name: str) -> Iterator[None]:
        """Hold a lock that other processes respect too: an object that is created and renewed.

        Raises
        ------
        StoreError
            If the service does not heed conditions, so that no lock can be had.
        """
        self.check_writable()
        with thread_lock(self, kind, name):
            if self.single_writer:
                yield
                return
            if not self.has_conditions():
                raise StoreError(
                    f"cannot lock {name or '/'!r} in {self!r}: the service has no writes under a "
                    f"condition, so other processes cannot be kept out, and what two of them "
                    f"append at once would be lost. If no other process writes there, open the "
                    f"store with single_writer=True",
                    store=self,
                )
            lease = Lease(self, kind, name)
            lease.acquire()
            prefix = prefix_of(name) if kind == "node" else name
            self._leases[prefix] = lease
            try:
                yield
            finally:
                del self._leases[prefix]
                lease.release()

    def keep_lease(self, key: str) -> None:
        """Keep a lock that this handle holds over a key; to be called before each request.

        Raises
        ------
        ConflictError
            If another process may hold it by now.
        """
        if self._leases:
            for prefix, lease in tuple(self._leases.items()):
                if key.startswith(prefix) and key != lease.key:
                    lease.keep()

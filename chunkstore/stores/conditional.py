"""`ConditionalStore`: updates and locks on a service that writes under a condition.

Floor 2. Object stores have no locks, but many can write a value only if it is still the version
that was read, or still absent. Two things are built on that, for a backend that gives
`ConditionalStore.read_version` and `ConditionalStore.write_if`:

- an update compares and swaps: read, modify, write if unchanged, or start again;
- a lock is an object that its holder creates and renews. It is a lease: who sees it unrenewed for
  `LEASE_S` by its own clock takes it over, so that a killed holder stops nobody for ever, and no
  two clocks need agree.

Requests of the holder below what it has locked renew the lease when that is due; no thread is
needed. A holder that was suspended could go on writing after its lease ran out. So half of the
lease before that, early enough that no request of it can still be under way when another takes
over, a store makes sure that the lock is still its own, or refuses.

Given back, a lock stays as an object that says "free": deleting it could delete another holder's,
since these services have no delete under a condition.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from chunkstore.errors import ConflictError, StoreError
from chunkstore.keys import RESERVED_PREFIX, join, prefix_of
from chunkstore.stores.base import LockKind, Store, thread_lock
from chunkstore.types import Buffer

__all__ = [
    "LEASE_S",
    "TEMPORARY",
    "ConditionalStore",
    "Version",
    "Versioned",
    "is_hidden",
    "redacted",
]

TEMPORARY = f"{RESERVED_PREFIX}chunkstore-"
"""Start of the names that are never listed as keys."""

LEASE_S = 120.0
"""How long a lock holds without a sign of life of its holder."""

_N_RENEWALS = 6
"""Renewals in the time of one lease."""

_SECRET = re.compile(r"key|secret|token|password|signature|credential|sas|authorization", re.I)
_IN_URL = re.compile(r"(?<=://)[^/\s@]+@|(?<=\?)[^\s\"'<>)]+")

_MOST_CONFLICTS = 1000
_MOST_FAILURES = 5

Version: TypeAlias = dict[str, str]
"""What a service knows a version of a value by, such as its ETag."""


class Versioned(NamedTuple):
    """A value and the version that it is."""

    value: bytes
    version: Version


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
        self._leases: dict[str, _Lease] = {}

    def read_version(self, key: str) -> Versioned | None:
        """Read a value and what version it is; None if the key is not stored."""
        raise NotImplementedError

    def write_if(self, key: str, value: Buffer, version: Version | None) -> bool:
        """Store a value if the stored one is still a version, or with None still absent.

        Must try once only, and raise a `StoreError` with the fact ``is_unsure=True`` where it
        cannot know whether the value was stored.
        """
        raise NotImplementedError

    def has_conditions(self) -> bool:
        """Whether the service heeds conditions; some take them and write all the same."""
        raise NotImplementedError

    def update(self, key: str, modify: Callable[[bytes | None], Buffer | None]) -> None:
        """Replace a value by what `modify` makes of it, with no other update in between.

        Between processes this needs a service that heeds conditions. On others it holds within
        this process alone, as with ``single_writer=True``.
        """
        self.check_writable()
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
            _pause(n_conflicts + 2 * n_failures)

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
            lease = _Lease(self, _lock_key(kind, name))
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


class _Lease:
    """One lock while it is held."""

    def __init__(self, store: ConditionalStore, key: str) -> None:
        self.key = key
        self._store = store
        self._owner = secrets.token_hex(8)
        self._n = 0
        self._renewed = 0.0
        self._lock = threading.Lock()

    def acquire(self) -> None:
        n_tries = 0
        seen: Version | None = None
        since = 0.0
        while True:
            found = self._store.read_version(self.key)
            now = time.monotonic()
            holder = None if found is None else _owner(found.value)
            if found is not None and found.version != seen:
                seen, since = found.version, now
            is_ours = holder == self._owner  # The answer to the write was lost.
            if holder is None or is_ours or now - since >= LEASE_S:
                version = None if found is None else found.version
                if self._write(version):
                    self._renewed = now
                    return
            n_tries += 1
            _pause(n_tries)

    def keep(self) -> None:
        """Renew the lease if that is due; raise `ConflictError` if the lock is another's."""
        if time.monotonic() - self._renewed < LEASE_S / _N_RENEWALS:
            return
        with self._lock:
            now = time.monotonic()
            if now - self._renewed < LEASE_S / _N_RENEWALS:
                return
            found = self._store.read_version(self.key)
            if found is not None and _owner(found.value) == self._owner:
                if self._write(found.version):
                    self._renewed = now
                    return
                if now - self._renewed < LEASE_S / 2:
                    return  # The service was in trouble; there is time to try again.
        raise ConflictError(
            f"the lock {self.key!r} in {self._store!r} was not renewed in time, and another "
            f"process may hold it now. Nothing more is written; open the node again and repeat "
            f"the change",
            store=self._store,
            key=self.key,
        )

    def release(self) -> None:
        """Say that the lock is free, unless another holds it by now."""
        # Left alone it runs out by itself.
        with contextlib.suppress(StoreError):
            found = self._store.read_version(self.key)
            if found is not None and _owner(found.value) == self._owner:
                self._store.write_if(self.key, b"{}", found.version)

    def _write(self, version: Version | None) -> bool:
        """Say that we hold the lock; False if another was faster, or if nobody knows."""
        self._n += 1
        value = json.dumps({"owner": self._owner, "n": self._n}).encode()
        try:
            return self._store.write_if(self.key, value, version)
        except StoreError as error:
            if getattr(error, "is_unsure", False):
                return False
            raise


def is_hidden(key: str) -> bool:
    """Whether a key is one of our own marks, which are never listed."""
    return key.rpartition("/")[2].startswith(TEMPORARY)


def _lock_key(kind: LockKind, name: str) -> str:
    # A node's lies below it, so that it goes with it; a value's beside it.
    if kind == "node":
        return join(name, f"{TEMPORARY}lock")
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return join(name.rpartition("/")[0], f"{TEMPORARY}lock-{digest}")


def _owner(value: bytes) -> str | None:
    """Give the owner that a lock's object names; None if it is free, or nothing of ours."""
    try:
        owner = json.loads(value).get("owner")
    except (ValueError, AttributeError):
        return None
    return owner if isinstance(owner, str) else None


def _pause(n: int) -> None:
    """Wait longer from try to try, and never as long as the others."""
    time.sleep(random.uniform(0.2, 1.0) * min(1.0, 0.01 * 1.6 ** min(n, 12)))


def redacted(text: str, options: Mapping[str, Any]) -> str:
    """Hide the credentials that options and URLs hold."""
    for secret in sorted(_secrets(options), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _IN_URL.sub(lambda found: "***@" if found[0].endswith("@") else "***", text)


def _secrets(options: Mapping[str, Any]) -> Sequence[str]:
    found: list[str] = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            found += _secrets(value)
        elif _SECRET.search(name) and isinstance(value, str) and len(value) > 3:
            found.append(value)
    return found

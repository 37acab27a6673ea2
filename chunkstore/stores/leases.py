"""`Lease`: a lock that several machines respect, made of one object and writes under a condition.

Floor 2. A lock is an object that its holder creates and renews. Who sees it unrenewed for
`LEASE_S` by its own clock takes it over, so that a killed holder stops nobody for ever, and no two
clocks need agree.

Requests of the holder below what it has locked renew the lease when that is due; no thread is
needed. A holder that was suspended could go on writing after its lease ran out. So half of the
lease before that, early enough that no request of it can still be under way when another takes
over, a store makes sure that the lock is still its own, or refuses.

Given back, a lock stays as an object that says "free": deleting it could delete another holder's,
since these services have no delete under a condition.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
from typing import NamedTuple, Protocol, TypeAlias

from chunkstore.errors import ConflictError, StoreError
from chunkstore.keys import TEMPORARY, join
from chunkstore.stores.base import LockKind
from chunkstore.types import Buffer

__all__ = ["LEASE_S", "Lease", "Version", "Versioned", "pause"]

LEASE_S = 120.0
"""How long a lock holds without a sign of life of its holder."""

_N_RENEWALS = 6
"""Renewals in the time of one lease."""

Version: TypeAlias = dict[str, str]
"""What a service knows a version of a value by, such as its ETag."""


class Versioned(NamedTuple):
    """A value and the version that it is."""

    value: bytes
    version: Version


class _Service(Protocol):
    """What a lease needs of the store that it is kept in."""

    def read_version(self, key: str) -> Versioned | None: ...

    def write_if(self, key: str, value: Buffer, version: Version | None) -> bool: ...


class Lease:
    """One lock while it is held.

    Parameters
    ----------
    store : ConditionalStore
        Where it is kept.
    kind, name
        What is locked; see `Store.lock`.
    """

    def __init__(self, store: _Service, kind: LockKind, name: str) -> None:
        self.key = _lock_key(kind, name)
        self._store = store
        self._owner = os.urandom(8).hex()
        self._n = 0
        self._renewed = 0.0
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Wait until the lock is free, or its holder is taken for dead, and take it."""
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
            pause(n_tries)

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


def pause(n: int) -> None:
    """Wait longer from try to try, and never as long as the others."""
    time.sleep(random.uniform(0.2, 1.0) * min(1.0, 0.01 * 1.6 ** min(n, 12)))


def _lock_key(kind: LockKind, name: str) -> str:
    # A node's lies below it, so that it goes with it; a value's beside it.
    if kind == "node":
        return join(name, f"{TEMPORARY}lock")
    import hashlib  # Loads a library for cryptography, which a mere reader does without.

    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return join(name.rpartition("/")[0], f"{TEMPORARY}lock-{digest}")


def _owner(value: bytes) -> str | None:
    """Give the owner that a lock's object names; None if it is free, or nothing of ours."""
    try:
        owner = json.loads(value).get("owner")
    except (ValueError, AttributeError):
        return None
    return owner if isinstance(owner, str) else None

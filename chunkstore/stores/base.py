"""The contract of a store: a mapping from keys to bytes, and nothing that knows Zarr.

Floor 2. A backend subclasses `Store` and writes ``get``, ``set``, ``delete`` and ``list_dir``, and
``spec`` if it can be sent to other processes; everything else has a fallback here, to be replaced
where the backend can do better. All that one is written with is in ``stores.backend``, and
``tests/contracts/sqlite.py`` is a whole one in about a hundred lines. On a service that writes
under a condition, subclass `ConditionalStore`: updates and locks between processes come with it.

What every store promises:

- A value is whole or absent: a reader sees the old value or the new one, never a mixture, also
  when the writer dies in between.
- ``get`` returns None only for a key that is not stored. Any other trouble, a permission or a
  network failure, is a `StoreError`.
- Every method may be called from many threads at once.
- A store is a value: two handles on the same place are equal, and unpickling one does no I/O.

Whether a store keeps this, the suite in ``tests/contracts/stores.py`` says. It needs chunkstore
and pytest alone: copy the file beside tests of your own, subclass ``StoreContract``, tell it how to
make an empty store, and run pytest.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Self, get_args

from chunkstore.errors import InvalidArgumentError, ReadOnlyError
from chunkstore.keys import check_prefix
from chunkstore.types import Buffer, ByteRange

__all__ = [
    "Listing",
    "LockKind",
    "OpenValue",
    "Store",
    "first_and_last",
    "listing_of",
    "slice_range",
    "thread_lock",
]

LockKind = Literal["node", "value"]


class Listing(NamedTuple):
    """What is directly under a prefix: keys of values, and longer prefixes."""

    keys: tuple[str, ...]
    prefixes: tuple[str, ...]


class OpenValue:
    """One version of one stored value, open for reading parts; a context manager.

    This one holds the whole value. A backend that can read parts subclasses it.
    """

    __slots__ = ("_value", "n_bytes")

    def __init__(self, value: Buffer) -> None:
        self._value = value
        self.n_bytes = len(value)

    def read(self, part: ByteRange) -> Buffer:
        """Read one part, here as a view; what lies beyond the end is cut, as in slicing."""
        return slice_range(self._value, part)

    def close(self) -> None:
        """Let go of the value."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Store:
    """Base of all stores.

    Parameters
    ----------
    read_only : bool
        Refuse every change through this handle.
    """

    __slots__ = ("read_only",)

    deletes_at_once: bool = False
    """Whether `delete_prefix` forgets all keys of a prefix other than the root's in one step."""

    can_list: bool = True
    """Whether `list_dir` works. Where it does not, as on a plain web server, groups know their
    members from consolidated metadata alone."""

    can_forget: bool = True
    """Whether `update` can delete. Where the service has no delete under a condition, it cannot
    without the risk of deleting what another process has just written."""

    concurrency: int = 1
    """Requests to have under way at once where each is mostly waiting; 1 where the processors are
    the bound. Used where a handle's options name no number of threads."""

    gap_bytes: int = 1 << 15
    """Parts of a value no further apart than this are read together: skipping costs more."""

    def __init__(self, *, read_only: bool = False) -> None:
        self.read_only = read_only

    @property
    def guards_updates(self) -> bool:
        """Whether `update` keeps out every other writer, those of other processes too."""
        return False

    # -- what a backend must write ------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """Give the value of a key, or None if it is not stored."""
        raise NotImplementedError

    def set(self, key: str, value: Buffer) -> None:
        """Store a value, replacing the one before as a whole."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Forget a key; nothing happens if it is not stored."""
        raise NotImplementedError

    def list_dir(self, prefix: str) -> Listing:
        """Give what is directly under a prefix (``""`` or ending in ``/``), sorted."""
        raise NotImplementedError

    # -- what a backend may do better ---------------------------------------------------------

    def place(self, key: str) -> Hashable:
        """Give what stands for the place of a key, or of a node, among all stores.

        Here the store and the key. Where a store can be opened on a folder within another, the
        same place has two keys; then it is the whole name, so that locks and caches know it.
        """
        return self, key

    def spec(self) -> tuple[Any, dict[str, Any]] | None:
        """Give what another handle like this one is made of; None if it cannot be made.

        The place, hashable, which is the first argument of the class, and the keyword arguments.
        A store that has a spec is a value: handles with equal specs are equal, and a pickle holds
        the spec alone. Without one a store is equal to itself alone and stays in its process.
        """
        return None

    def __repr__(self) -> str:
        spec = self.spec()
        return type(self).__name__ + ("()" if spec is None else f"({spec[0]!r})")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        spec = self.spec() if type(other) is type(self) else None
        return spec is not None and isinstance(other, Store) and spec == other.spec()

    def __hash__(self) -> int:
        # Not the mode: handles of either mode on one place must share the locks of `update`.
        spec = self.spec()
        return object.__hash__(self) if spec is None else hash(spec[0])

    def __reduce__(self) -> tuple[object, ...]:
        spec = self.spec()
        if spec is None:
            raise InvalidArgumentError(
                f"{self!r} lives in one process and cannot be sent to another: a copy would drift "
                f"apart. Use a LocalStore on a folder that all workers see, or threads"
            )
        return _made_of, (type(self), *spec)

    def enclosing(self) -> Store | None:
        """Give the store of the folder above, where that costs next to nothing; else None.

        A hierarchy may reach beyond the store's root: an array that was opened by its own path
        may lie in a group.
        """
        return None

    def get_buffer(self, key: str) -> Buffer | None:
        """Give a value in the memory it came in, not to be changed; here the same as `get`.

        A backend whose library hands out other bytes-like objects saves a copy here.
        """
        return self.get(key)

    def open_value(self, key: str, first: ByteRange | None = None) -> OpenValue | None:
        """Open one value to read parts of it; None if the key is not stored.

        All parts come from one version of the value. Where a backend cannot keep a version that
        was replaced meanwhile, reading from it raises `ConflictError`: open it again.

        Parameters
        ----------
        key : str
            The key.
        first : ByteRange, optional
            What will be read first; a backend may fetch it with the same request.
        """
        value = self.get(key)
        return None if value is None else OpenValue(value)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes] | None:
        """Give parts of one value, in the order asked; None if the key is not stored.

        A range beyond the end is cut, as in slicing.
        """
        opened = self.open_value(key, ranges[0] if ranges else None)
        if opened is None:
            return None
        with opened:
            return [bytes(opened.read(part)) for part in ranges]

    def exists(self, key: str) -> bool:
        """Whether a key is stored."""
        return self.get(key) is not None

    def size(self, key: str) -> int | None:
        """Give the length of a value in bytes, or None if the key is not stored."""
        value = self.get(key)
        return None if value is None else len(value)

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Iterate over every key under a prefix, at any depth."""
        found = self.list_dir(prefix)
        yield from found.keys
        for longer in found.prefixes:
            yield from self.list_prefix(longer)

    def content_stamp(self, prefix: str) -> str | None:
        """Give a text that differs whenever a value under a prefix has changed; None if unknown.

        Two equal stamps, taken at any two times by any two processes, prove that the values were
        the same. Reserved names (``__``) do not count. It costs one listing; a store that
        cannot tell versions of values from a listing gives None.
        """
        return None

    def delete_many(self, keys: Iterable[str]) -> None:
        """Forget keys, in any order; those that are not stored do not matter."""
        for key in keys:
            self.delete(key)

    def delete_prefix(self, prefix: str) -> None:
        """Forget every key under a prefix."""
        self.delete_many(tuple(self.list_prefix(prefix)))

    def file_prefix(self, prefix: str) -> str | None:
        """Give what the file names of all keys with a prefix start with.

        None where a value is not simply the content of a file that can be read at any time.
        """
        return None

    def temporary_prefix(self) -> str | None:
        """Give what the names of half-written files start with.

        Where it is not None, a key of `file_prefix` is stored as a whole by renaming a new file
        of such a name, in the same folder, to its place; there is nothing else to be done.
        """
        return None

    def move_prefix(self, old: str, new: str) -> bool:
        """Give every key under one prefix another, in one step; False if the backend cannot."""
        return False

    def update(self, key: str, modify: Callable[[bytes | None], Buffer | None]) -> None:
        """Replace a value by what `modify` makes of it, with no other update in between.

        Parameters
        ----------
        key : str
            The key.
        modify : callable
            Called with the stored value, or None; returns the new value, or None to forget the
            key where the backend can (`can_forget`). May be called more than once: after another
            process was faster, or after the answer to a request was lost.
        """
        self.check_writable()
        with self.lock("value", key):
            value = modify(self.get(key))
            if value is None:
                self.delete(key)
            else:
                self.set(key, value)

    def lock(self, kind: LockKind, name: str) -> AbstractContextManager[object]:
        """Give a context in which no other writer that asks for the same lock works.

        Parameters
        ----------
        kind : {"node", "value"}
            ``"value"`` guards one update of a key, ``"node"`` a change of several keys of a node.
            Within a node's lock a value's may be taken, never the reverse and never two of one
            kind, so that no two writers can wait for each other.
        name : str
            The key, or the path of the node.

        Notes
        -----
        Here it holds among the threads of this process; a backend may do better.
        """
        return thread_lock(self, kind, name)

    def check_writable(self) -> None:
        """Raise `ReadOnlyError` if the handle is read-only."""
        if self.read_only:
            raise ReadOnlyError(
                f"{self!r} was opened read-only; open it with read_only=False to write", store=self
            )


def _made_of(make: Callable[..., Store], place: Any, arguments: dict[str, Any]) -> Store:
    return make(place, **arguments)


_N_LOCKS = 64
_LOCKS: dict[LockKind, list[threading.Lock]] = {}


def _renew_locks() -> None:
    for kind in get_args(LockKind):
        _LOCKS[kind] = [threading.Lock() for _ in range(_N_LOCKS)]


_renew_locks()
if hasattr(os, "register_at_fork"):
    # A lock that another thread held during the fork would stay locked in the child for ever.
    os.register_at_fork(after_in_child=_renew_locks)


def thread_lock(store: Store, kind: LockKind, name: str) -> threading.Lock:
    """Give the lock of a name among the threads of this process.

    The locks are few and shared by all stores, so none is ever made or forgotten; two names that
    share one wait for each other, which is rare and harmless.
    """
    return _LOCKS[kind][hash(store.place(name)) % _N_LOCKS]


def slice_range(value: Buffer, part: ByteRange) -> memoryview:
    """Give a view of one range of a whole value.

    Examples
    --------
    >>> bytes(slice_range(b"abcdef", ByteRange(1, 2))), bytes(slice_range(b"abcdef", ByteRange(-2)))
    (b'bc', b'ef')
    """
    start, stop = first_and_last(part, len(value))
    return memoryview(value)[start:stop]


def first_and_last(part: ByteRange, n_bytes: int) -> tuple[int, int]:
    """Give where a range starts and where it stops in a value of so many bytes.

    Examples
    --------
    >>> first_and_last(ByteRange(-3), 10), first_and_last(ByteRange(8, 100), 10)
    ((7, 10), (8, 10))
    """
    start = min(n_bytes, part.start if part.start >= 0 else max(0, n_bytes + part.start))
    stop = n_bytes if part.length is None else min(n_bytes, start + part.length)
    return start, stop


def listing_of(keys: Iterable[str], prefix: str) -> Listing:
    """Give what is directly under a prefix, from all keys of a store.

    Examples
    --------
    >>> listing_of(["a/b", "a/c/d", "e"], "a/")
    Listing(keys=('a/b',), prefixes=('a/c/',))
    """
    check_prefix(prefix)
    direct: set[str] = set()
    longer: set[str] = set()
    for key in keys:
        if key.startswith(prefix):
            head, slash, _ = key[len(prefix) :].partition("/")
            (longer if slash else direct).add(prefix + head + slash)
    return Listing(tuple(sorted(direct)), tuple(sorted(longer)))

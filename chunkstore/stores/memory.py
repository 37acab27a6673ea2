"""`MemoryStore`: values in a dict of this process.

Floor 2. For tests and for data that need not outlive the process. It cannot be sent to another
process: a copy would quietly drift apart, so pickling is refused.
"""

from __future__ import annotations

from chunkstore.keys import check_key
from chunkstore.stores.base import Listing, Store, listing_of
from chunkstore.types import Buffer

__all__ = ["MemoryStore"]


class MemoryStore(Store):
    """A store in this process's memory.

    Examples
    --------
    >>> store = MemoryStore()
    >>> store.set("a/b", b"1")
    >>> store.list_dir("")
    Listing(keys=(), prefixes=('a/',))

    Notes
    -----
    Threads may use it at once: each operation is one step of a dict. Two stores are equal only
    if they are the same object.
    """

    __slots__ = ("_values",)

    guards_updates = True

    def __init__(self, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self._values: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._values)} keys)"

    def get(self, key: str) -> bytes | None:
        """Give the value; the bytes themselves, not a copy."""
        return self._values.get(key)

    def set(self, key: str, value: Buffer) -> None:
        """Store a copy of the value."""
        self.check_writable()
        self._values[check_key(key)] = bytes(value)

    def delete(self, key: str) -> None:
        """Forget a key."""
        self.check_writable()
        self._values.pop(key, None)

    def list_dir(self, prefix: str) -> Listing:
        """Give what is directly under a prefix; looks at every key of the store."""
        return listing_of(tuple(self._values), prefix)

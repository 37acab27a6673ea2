"""`MappingStore`: values in any mapping of text to bytes that Python code offers.

Floor 2. For what other libraries keep behind a ``MutableMapping``: a dict, a shelf, a cache, a
client of a database. What the mapping promises is all that the store can: that one item is set in
one step, and that several threads may use it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NoReturn

from chunkstore.errors import ChunkStoreError, InvalidArgumentError, StoreError
from chunkstore.keys import check_key
from chunkstore.stores.base import Listing, Store, listing_of
from chunkstore.types import Buffer

__all__ = ["MappingStore"]


class MappingStore(Store):
    """A store in a mutable mapping from keys to bytes.

    Parameters
    ----------
    mapping : MutableMapping
        From text to bytes. It is used as it is, and whoever else has it sees the same values.
    read_only : bool
        Refuse every change through this handle.
    shared : bool
        Whether the mapping, pickled and sent to another process, is the same place there, as the
        client of a database is. Of a dict it would be a copy that drifts apart, so by default
        such a store refuses to be sent.

    Notes
    -----
    A key that is not there is one for which the mapping raises KeyError; any other exception is a
    `StoreError`. Updates wait for each other within this process alone. Listing looks at every
    key of the mapping.

    Examples
    --------
    >>> values = {}
    >>> MappingStore(values).set("a/b", b"1")
    >>> values
    {'a/b': b'1'}
    """

    __slots__ = ("_mapping", "_shared")

    def __init__(
        self, mapping: MutableMapping[str, Any], *, read_only: bool = False, shared: bool = False
    ) -> None:
        super().__init__(read_only=read_only)
        if not isinstance(mapping, MutableMapping):
            raise InvalidArgumentError(
                f"a MappingStore needs a MutableMapping, got {type(mapping).__name__}"
            )
        self._mapping = mapping
        self._shared = shared

    def __repr__(self) -> str:
        return f"MappingStore({type(self._mapping).__name__})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MappingStore) or self.read_only != other.read_only:
            return False
        is_same = self._mapping is other._mapping
        return is_same or (self._shared and other._shared and self._mapping == other._mapping)

    def __hash__(self) -> int:
        # Equal shared mappings may be two objects, and mappings are rarely hashable.
        return hash(type(self._mapping)) if self._shared else id(self._mapping)

    def __reduce__(self) -> tuple[object, ...]:
        if not self._shared:
            raise InvalidArgumentError(
                f"{self!r} lives in one process and cannot be sent to another. If the mapping is "
                f"the same place there, make the store with shared=True"
            )
        return _restore, (self._mapping, self.read_only)

    @property
    def guards_updates(self) -> bool:
        """Whether no other process can have the mapping."""
        return not self._shared

    def get(self, key: str) -> bytes | None:
        """Give the item of a key."""
        try:
            return bytes(self._mapping[check_key(key)])
        except KeyError:
            return None
        except Exception as error:
            self._fail("read", key, error)

    def set(self, key: str, value: Buffer) -> None:
        """Set an item to a copy of the value."""
        self.check_writable()
        try:
            self._mapping[check_key(key)] = bytes(value)
        except Exception as error:
            self._fail("write", key, error)

    def delete(self, key: str) -> None:
        """Delete the item of a key."""
        self.check_writable()
        try:
            del self._mapping[check_key(key)]
        except KeyError:
            return
        except Exception as error:
            self._fail("delete", key, error)

    def list_dir(self, prefix: str) -> Listing:
        """Give what is directly under a prefix; looks at every key of the mapping."""
        try:
            return listing_of(list(self._mapping), prefix)
        except Exception as error:
            self._fail("list", prefix, error)

    def _fail(self, verb: str, key: str, error: Exception) -> NoReturn:
        if isinstance(error, ChunkStoreError):
            raise error
        raise StoreError(
            f"cannot {verb} {key!r} in {self!r}: {type(error).__name__}: {error}",
            store=self,
            key=key,
        ) from error


def _restore(mapping: MutableMapping[str, Any], read_only: bool) -> MappingStore:
    return MappingStore(mapping, read_only=read_only, shared=True)

"""From what a user gives for a store, an object, a path or a URL, to a store.

Floor 2; the one file that sees every store.
"""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from chunkstore.errors import InvalidArgumentError
from chunkstore.stores.base import Store
from chunkstore.stores.local import LocalStore
from chunkstore.stores.memory import MemoryStore

__all__ = ["resolve"]


def resolve(store: object, *, read_only: bool = False) -> Store:
    """Give the store that is meant.

    Parameters
    ----------
    store : Store, str, Path or None
        A store is taken as it is. A string or path is a folder, ``file://`` too. None and
        ``"memory://"`` make a new `MemoryStore`.
    read_only : bool
        Mode of a store that is made here.

    Raises
    ------
    InvalidArgumentError
        If it is none of these.

    Examples
    --------
    >>> resolve("memory://")
    MemoryStore(0 keys)
    """
    if isinstance(store, Store):
        return store
    if store is None:
        return MemoryStore(read_only=read_only)
    if isinstance(store, os.PathLike):
        return LocalStore(store, read_only=read_only)
    if isinstance(store, str):
        scheme, colon, _ = store.partition("://")
        if not colon:
            return LocalStore(store, read_only=read_only)
        if scheme == "memory":
            return MemoryStore(read_only=read_only)
        if scheme == "file":
            return LocalStore(unquote(urlsplit(store).path), read_only=read_only)
        raise InvalidArgumentError(f"no store for {scheme}:// is built in, asked for {store!r}")
    raise InvalidArgumentError(
        f"{store!r} is no store: give a Store, a path, or a URL such as file:///data/x.zarr"
    )

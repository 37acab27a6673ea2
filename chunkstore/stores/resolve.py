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
        A store is taken as it is. A string or path is a folder, ``file:///folder`` too. None and
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
        scheme, colon, rest = store.partition("://")
        if not colon:
            return LocalStore(store, read_only=read_only)
        if scheme == "memory":
            if rest:
                raise InvalidArgumentError(
                    f"{store!r}: memory stores have no names; make a MemoryStore and pass it on"
                )
            return MemoryStore(read_only=read_only)
        if scheme == "file":
            return LocalStore(_file_path(store), read_only=read_only)
        raise InvalidArgumentError(f"no store for {scheme}:// is built in, asked for {store!r}")
    raise InvalidArgumentError(
        f"{store!r} is no store: give a Store, a path, or a URL such as file:///data/x.zarr"
    )


def _file_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path or parts.query or parts.fragment:
        raise InvalidArgumentError(
            f"{url!r} names no folder of this machine: expected file:///folder, with '?' and '#' "
            f"written as %3F and %23"
        )
    return unquote(parts.path)

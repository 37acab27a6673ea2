"""From what a user gives for a store, an object, a path or a URL, to a store.

Floor 2; the one file that sees every store.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, MutableMapping
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from chunkstore.errors import InvalidArgumentError, MissingExtraError
from chunkstore.stores.base import Store
from chunkstore.stores.local import LocalStore
from chunkstore.stores.mapping import MappingStore
from chunkstore.stores.memory import MemoryStore
from chunkstore.stores.zip import ZipStore

__all__ = ["resolve"]

_OBJECT_STORES = frozenset(
    ("s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss", "http", "https")
)
"""Schemes for which obstore is preferred where it is installed: it is faster."""


def resolve(
    store: object,
    *,
    read_only: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Store:
    """Give the store that is meant.

    Parameters
    ----------
    store : Store, str, Path, mapping or None
        A store is taken as it is. A string or path is a folder, ``file:///folder`` too, or a zip
        file to read if its name ends so and it is no folder. URLs of object stores and web servers
        go to obstore or else to fsspec, all others (``sftp://``, ``github://``, chained ones) to
        fsspec. A mutable mapping is used as it is. None and ``"memory://"`` make a new
        `MemoryStore`.
    read_only : bool
        Mode of a store that is made here.
    storage_options : mapping, optional
        For URLs alone: what the backend needs, such as credentials and endpoints.

    Raises
    ------
    InvalidArgumentError
        If it is none of these.
    MissingExtraError
        If the library that a URL needs is not installed.

    Examples
    --------
    >>> resolve("memory://")
    MemoryStore(0 keys)
    """
    if isinstance(store, str) and _is_remote(store):
        return _remote(store, read_only=read_only, options=storage_options)
    if storage_options:
        raise InvalidArgumentError(
            f"storage_options are for URLs of remote stores, got them with {store!r}"
        )
    if isinstance(store, Store):
        return store
    if store is None:
        return MemoryStore(read_only=read_only)
    if isinstance(store, os.PathLike):
        return _local(os.fsdecode(store), read_only=read_only)
    if isinstance(store, str):
        return _from_text(store, read_only=read_only)
    if isinstance(store, MutableMapping):
        return MappingStore(store, read_only=read_only)
    raise InvalidArgumentError(
        f"{store!r} is no store: give a Store, a path, or a URL such as file:///data/x.zarr"
    )


def _from_text(store: str, *, read_only: bool) -> Store:
    scheme, colon, rest = store.partition("://")
    if not colon:
        return _local(store, read_only=read_only)
    if scheme == "memory":
        if rest:
            raise InvalidArgumentError(
                f"{store!r}: memory stores have no names; make a MemoryStore and pass it on"
            )
        return MemoryStore(read_only=read_only)
    return _local(_file_path(store), read_only=read_only)


def _local(path: str, *, read_only: bool) -> Store:
    if not path.endswith(".zip") or os.path.isdir(path):
        return LocalStore(path, read_only=read_only)
    if not os.path.exists(os.path.expanduser(path)):
        raise InvalidArgumentError(
            f"there is no zip file {path!r}. To write one, use ZipStore(path, mode='w') as the "
            f"store and close it"
        )
    return ZipStore(path)


def _is_remote(store: str) -> bool:
    scheme, colon, _ = store.partition("://")
    return bool(colon) and scheme not in ("file", "memory")


def _remote(url: str, *, read_only: bool, options: Mapping[str, Any] | None) -> Store:
    """Make a store of a library that is loaded for the first URL that needs it."""
    scheme = url.partition("://")[0]
    is_object_store = scheme in _OBJECT_STORES
    name, module = "ObjectStore", _optional("obstore") if is_object_store else None
    if module is None:
        name, module = "FsspecStore", _optional("fsspec")
    if module is None:
        extra = "obstore" if is_object_store else "fsspec"
        raise MissingExtraError(
            f"{scheme}:// needs a library that is not installed: pip install 'chunkstore[{extra}]'",
            extra=extra,
        )
    made: Store = getattr(module, name)(url, read_only=read_only, storage_options=options)
    return made


def _optional(library: str) -> ModuleType | None:
    """Import our module for a library; None if the library is not installed."""
    try:
        return importlib.import_module(f"chunkstore.stores.{library}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == library:
            return None
        raise


def _file_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path or parts.query or parts.fragment:
        raise InvalidArgumentError(
            f"{url!r} names no folder of this machine: expected file:///folder, with '?' and '#' "
            f"written as %3F and %23"
        )
    return unquote(parts.path)

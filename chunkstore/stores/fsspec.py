"""`FsspecStore`: any file system or URL that fsspec knows.

Floor 2; the one file that imports fsspec. For places that nothing else here reaches: SFTP, SMB,
HDFS, archives, caches in front of others. For S3, Google Cloud Storage, Azure and web servers
`ObjectStore` is faster and safer: fsspec offers no version of a value to hold on to and no write
under a condition.

Source: fsspec's `AbstractFileSystem`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from functools import lru_cache
from typing import Any, NoReturn, cast

from fsspec.core import url_to_fs

from chunkstore.errors import InvalidArgumentError, MissingExtraError, StoreError
from chunkstore.keys import check_key, check_prefix, is_temporary
from chunkstore.stores.address import Address, fail
from chunkstore.stores.base import Listing, LockKind, Store, thread_lock
from chunkstore.stores.temporary import temporary_name
from chunkstore.types import Buffer

__all__ = ["FsspecStore"]

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

_RENAMES = frozenset(("file", "local", "sftp", "ssh", "smb", "hdfs", "webhdfs", "arrow_hdfs"))
"""File systems that show a file while it is written, and rename in one step."""

_OF_THIS_PROCESS = frozenset(("memory",))
_CANNOT_LIST = frozenset(("http", "https"))


class FsspecStore(Store):
    """A store in a file system of fsspec.

    Parameters
    ----------
    url : str
        Such as ``sftp://host/folder`` or ``simplecache::s3://bucket/prefix``.
    storage_options : mapping, optional
        Arguments of the file system: credentials, endpoints and so on.
    read_only : bool
        Refuse every change through this handle.
    single_writer : bool
        Promise that no other process changes what this one does. Needed to append and to resize:
        fsspec has no locks, and what two processes append at once would be lost.

    Notes
    -----
    Replacing a value is as whole as the file system makes it: object stores do by themselves,
    on file systems with names a temporary file is renamed. Updates wait for each other within
    this process alone. A pickle holds the URL and the options as they were given; the text of a
    store and its errors name no credentials.

    Examples
    --------
    >>> store = FsspecStore("memory://example")
    >>> store.set("a/b", b"1")
    >>> store.get("a/b")
    b'1'
    """

    __slots__ = ("_address", "_protocol", "can_list", "concurrency", "single_writer")

    gap_bytes = 1 << 20

    def __init__(
        self,
        url: str,
        *,
        storage_options: Mapping[str, Any] | None = None,
        read_only: bool = False,
        single_writer: bool = False,
    ) -> None:
        super().__init__(read_only=read_only)
        self._address = Address(url, storage_options or {})
        self.single_writer = single_writer
        self._protocol = url.partition("://")[0].partition("::")[0]
        self.can_list = self._protocol not in _CANNOT_LIST
        self.concurrency = 1 if self._protocol in ("file", "local", "memory") else 16

    def place(self, key: str) -> str:
        """Give the URL of a key."""
        return f"{self._address.url}/{key}" if key else self._address.url

    def spec(self) -> tuple[str, dict[str, Any]]:
        """Give the URL, and the options as they were given, credentials included."""
        return self._address.url, {
            "storage_options": self._address.options,
            "read_only": self.read_only,
            "single_writer": self.single_writer,
        }

    def __repr__(self) -> str:
        return f"FsspecStore({self._address!r})"

    @property
    def guards_updates(self) -> bool:
        """Whether no other process can write there, or is said to."""
        return self.single_writer or self._protocol in _OF_THIS_PROCESS

    def get(self, key: str) -> bytes | None:
        """Read a file."""
        return self._read(key, None, None)

    def _read(self, key: str, start: int | None, stop: int | None) -> bytes | None:
        system, path = self._place(check_key(key))
        try:
            return bytes(system.cat_file(path, start=start, end=stop))
        except _ABSENT:
            return None
        except Exception as error:
            self._fail("read", key, error)

    def set(self, key: str, value: Buffer) -> None:
        """Write a file; under another name first where it would be seen half written."""
        self.check_writable()
        system, path = self._place(check_key(key))
        data = bytes(value)
        try:
            if self._protocol not in _RENAMES:
                system.pipe_file(path, data)
                return
            folder = path.rpartition("/")[0]
            system.makedirs(folder, exist_ok=True)
            temporary = f"{folder}/{temporary_name()}"
            try:
                system.pipe_file(temporary, data)
                system.mv(temporary, path)
            except BaseException:
                with suppress(Exception):
                    system.rm_file(temporary)
                raise
        except Exception as error:
            self._fail("write", key, error)

    def delete(self, key: str) -> None:
        """Remove a file."""
        self.check_writable()
        system, path = self._place(check_key(key))
        try:
            if system.isfile(path):
                system.rm_file(path)
        except _ABSENT:
            return
        except Exception as error:
            self._fail("delete", key, error)

    def size(self, key: str) -> int | None:
        """Give the length of a file."""
        info = self._info(key)
        return None if info is None or info["type"] != "file" else int(info["size"])

    def exists(self, key: str) -> bool:
        """Whether there is a file of that name."""
        info = self._info(key)
        return info is not None and info["type"] == "file"

    def _info(self, key: str) -> dict[str, Any] | None:
        system, path = self._place(check_key(key))
        try:
            return cast("dict[str, Any]", system.info(path))
        except _ABSENT:
            return None
        except Exception as error:
            self._fail("read", key, error)

    def list_dir(self, prefix: str) -> Listing:
        """List a folder, as it is now."""
        check_prefix(prefix)
        if not self.can_list:
            raise StoreError(
                f"cannot list {prefix!r} in {self!r}: a web server does not say what it holds",
                store=self,
                key=prefix,
            )
        system, path = self._place(prefix)
        path = path.rstrip("/")
        keys: list[str] = []
        prefixes: list[str] = []
        try:
            system.invalidate_cache(path)
            for entry in system.ls(path or "/", detail=True):
                whole = str(entry["name"]).rstrip("/")
                name = whole.rpartition("/")[2]
                # Some list the folder itself, or the file that has the name of the folder.
                if whole.strip("/") == path.strip("/") or not name:
                    continue
                if entry["type"] == "directory":
                    prefixes.append(f"{prefix}{name}/")
                else:
                    keys.append(f"{prefix}{name}")
        except _ABSENT:
            pass
        except Exception as error:
            self._fail("list", prefix, error)
        visible = sorted(key for key in keys if not is_temporary(key))
        return Listing(tuple(visible), tuple(sorted(set(prefixes))))

    def lock(self, kind: LockKind, name: str) -> AbstractContextManager[object]:
        """Hold a lock of this process, if that is enough to keep all writers out.

        Raises
        ------
        StoreError
            If other processes may write there too.
        """
        if kind == "value" or self.guards_updates:
            return thread_lock(self, kind, name)
        raise StoreError(
            f"cannot lock {name or '/'!r} in {self!r}: fsspec has no locks, so other processes "
            f"cannot be kept out, and what two of them append at once would be lost. If no other "
            f"process writes there, open the store with single_writer=True",
            store=self,
        )

    def _place(self, key: str) -> tuple[Any, str]:
        system, root = _opened(self._address, os.getpid())
        return system, f"{root.rstrip('/')}/{key}" if key else root

    def _fail(self, verb: str, key: str, error: Exception) -> NoReturn:
        fail(self, self._address, (verb, key), error, text=f"{type(error).__name__}: {error}")


@lru_cache(maxsize=64)
def _opened(address: Address, process: int) -> tuple[Any, str]:
    """Make the file system of a place, once a process: a forked one needs its own."""
    try:
        system, root = url_to_fs(address.url, **address.options)
    except ImportError as error:
        raise MissingExtraError(
            f"fsspec cannot open {address!r}: {error}. Install what it names, with pip"
        ) from error
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError(
            f"fsspec cannot open {address!r}: {address.hide(str(error))}"
        ) from None
    except Exception as error:
        # Such as a server that cannot be reached: some connect when they are made.
        text = address.hide(f"{type(error).__name__}: {error}")
        raise StoreError(f"fsspec cannot open {address!r}: {text}") from None
    return system, str(root)

"""`ObjectStore`: S3, Google Cloud Storage, Azure Blob Storage and web servers, through obstore.

Floor 2; the one file that imports obstore. What obstore does: signing, pooled connections, retries
with growing pauses where a service is throttling or failing, uploads in parts. What is done here:
one version of a value from its first byte to its last, writes under conditions, one client a place
and process, and errors that name no credentials.

Source: RFC 9110 (ETag, If-Match, If-None-Match, Range), and the services' own interfaces.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple, NoReturn

import obstore
from obstore import exceptions

from chunkstore.errors import ConflictError, ReadOnlyError, StoreError
from chunkstore.keys import RESERVED_PREFIX, TEMPORARY, check_key, check_prefix, is_temporary
from chunkstore.stores.address import fail
from chunkstore.stores.base import Listing, OpenValue, first_and_last
from chunkstore.stores.conditional import ConditionalStore
from chunkstore.stores.leases import Version, Versioned
from chunkstore.stores.obstore_client import (
    AZURE,
    WEB,
    Service,
    address_of,
    scheme_of,
    service_of,
    text_of,
)
from chunkstore.types import Buffer, ByteRange

__all__ = ["ObjectStore"]

_NO_PLACE = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_NO_RANGE = re.compile(r"\b416\b|NotPartial|non-partial|Range request not supported|CONTENT_RANGE")
_NO_CONDITIONS = re.compile(r"\b501\b|NotImplemented")

_PART_BYTES = 1 << 24
_WHOLE_BYTES = 1 << 26
"""Longer values are uploaded in parts, several at a time."""

_PAGE = 1000
"""Keys that services list, or delete, with one request."""

_N_READS = 4
"""Tries to read a value whose transfer is cut off; before that, obstore retries by itself."""

_SETTLED_S = 60.0
"""From this age on a time of last modification names one version (RFC 9110, 8.8.2.2)."""


class _Fetched(NamedTuple):
    """A value, or a part of one, as a service gave it."""

    data: memoryview
    meta: Any
    start: int


class ObjectStore(ConditionalStore):
    """A store in a bucket or container of an object store, or on a web server.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix`` (also
        ``abfs://container@account.dfs.core.windows.net/prefix``), ``http(s)://host/path``.
    storage_options : mapping, optional
        Configuration of obstore's store of that kind: `region`, `endpoint`, `access_key_id`,
        `account_name`, `skip_signature` for anonymous access, and so on; `client_options` and
        `retry_config` as there. The names `anon`, and for S3 `key`, `secret`, `token` and
        `endpoint_url`, are understood too. What is not given comes from the environment.
    read_only : bool
        Refuse every change through this handle. A web server is always read-only.
    single_writer : bool
        Promise that no other process changes what this one does. Needed to append where the
        service has no writes under a condition.

    Raises
    ------
    InvalidArgumentError
        If the URL or an option cannot be meant.

    Notes
    -----
    Threads may share a store; those of a process share one client for each place. Making,
    comparing and unpickling a store makes no request. A pickle holds the URL and the options as
    they were given, so keep credentials in the environment of each worker if pickles can be seen.
    Errors and the text of a store name none. A process that was forked from one that had used an
    object store must not use one (the client's threads are gone): start workers by spawn.

    Examples
    --------
    >>> ObjectStore("s3://bucket/data.zarr", storage_options={"anon": True})
    ObjectStore('s3://bucket/data.zarr')
    """

    __slots__ = ("_address", "_scheme", "can_list")

    # What fsspec takes too. Of a service 20 ms away 1.4 times as fast as 10, where 32 are 1.3 times
    # faster still; of one in Python on the same 2 processors 2 to 9 % slower than 10.
    concurrency = 16
    gap_bytes = 1 << 20

    def __init__(
        self,
        url: str,
        *,
        storage_options: Mapping[str, Any] | None = None,
        read_only: bool = False,
        single_writer: bool = False,
    ) -> None:
        self._address = address_of(url, storage_options or {})
        self._scheme = scheme_of(self._address.url)
        is_web = self._scheme in WEB
        super().__init__(read_only=read_only or is_web, single_writer=single_writer)
        self.can_list = not is_web

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
        return f"ObjectStore({self._address!r})"

    def check_writable(self) -> None:
        """Raise `ReadOnlyError` if the handle is read-only, or the place is a web server."""
        if self._scheme in WEB:
            raise ReadOnlyError(f"{self!r} is read-only: it is a web server", store=self)
        super().check_writable()

    # -- reading --------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """Read a value; one request."""
        found = self._fetch(check_key(key))
        return None if found is None else bytes(found.data)

    def get_buffer(self, key: str) -> Buffer | None:
        """Read a value without copying it; one request."""
        found = self._fetch(check_key(key))
        return None if found is None else found.data

    def read_version(self, key: str) -> Versioned | None:
        """Read a value and what version it is; one request."""
        found = self._fetch(key)
        if found is None:
            return None
        names = ("e_tag", "version")
        version = {name: found.meta[name] for name in names if found.meta[name] is not None}
        return Versioned(bytes(found.data), version)

    def open_value(self, key: str, first: ByteRange | None = None) -> OpenValue | None:
        """Open one version of a value; one request, which also reads `first`.

        Later reads name the version, and raise `ConflictError` if it has been replaced.
        """
        check_key(key)
        if first is None or (first.start < 0 and self._scheme in AZURE):
            # Azure has no ranges that count from the end.
            meta = self._head(key)
            return None if meta is None else self._opened(key, meta, None)
        if first.start < 0:
            span: Any = {"suffix": -first.start}
        elif first.length is None:
            span = {"offset": first.start}
        else:
            span = (first.start, first.start + max(1, first.length))
        found = self._fetch(key, span)
        if found is None:
            return None
        if found.start == 0 and len(found.data) == found.meta["size"]:
            return OpenValue(found.data)
        return self._opened(key, found.meta, found)

    def _opened(self, key: str, meta: Any, held: _Fetched | None) -> OpenValue | None:
        is_settled = time.time() - meta["last_modified"].timestamp() > _SETTLED_S
        if meta["e_tag"] is None and not is_settled:
            # Nothing tells this version from the next one: read it all at once.
            value = self.get(key)
            return None if value is None else OpenValue(value)
        return _OpenObject(self, key, meta, held)

    def exists(self, key: str) -> bool:
        """Whether a key is stored; one request."""
        return self._head(check_key(key)) is not None

    def size(self, key: str) -> int | None:
        """Give the length of a value; one request."""
        meta = self._head(check_key(key))
        return None if meta is None else int(meta["size"])

    def _head(self, key: str) -> Any:
        try:
            return obstore.head(self._service().client, key)
        except FileNotFoundError:
            return None
        except exceptions.BaseError as error:
            self._fail("read", key, error)

    def _fetch(
        self, key: str, span: Any = None, conditions: Mapping[str, Any] | None = None
    ) -> _Fetched | None:
        """Read a value, or a range of it; None if it is not stored."""
        self.keep_lease(key)
        for n_failed in range(_N_READS):
            # obstore retries up to the first byte of an answer, and we from there on.
            result = self._ask(key, span, conditions or {})
            if result is None:
                return None
            start, stop = result.range
            try:
                data = result.bytes()
            except exceptions.BaseError as error:
                if n_failed == _N_READS - 1:
                    self._fail("read", key, error)
            else:
                if len(data) == stop - start:
                    return _Fetched(memoryview(data), result.meta, start)
            time.sleep(0.1 * 2**n_failed)
        raise StoreError(
            f"cannot read {key!r} in {self!r}: the transfer was cut off {_N_READS} times",
            store=self,
            key=key,
        )

    def _ask(self, key: str, span: Any, conditions: Mapping[str, Any]) -> Any:
        """Ask for a value up to the first byte of the answer; None if it is not stored."""
        options: Any = conditions if span is None else {"range": span, **conditions}
        try:
            return obstore.get(self._service().client, key, options=options)
        except FileNotFoundError as error:
            if _NO_PLACE.search(str(error)):
                self._fail("read", key, error)
            return None
        except exceptions.PreconditionError as error:
            self._replaced(key, error)
        except exceptions.BaseError as error:
            if span is not None and _NO_RANGE.search(str(error)):
                # An empty value has no ranges, and some servers know none at all.
                return self._ask(key, None, conditions)
            self._fail("read", key, error)

    def _replaced(self, key: str, error: Exception | None = None) -> NoReturn:
        raise ConflictError(
            f"{key!r} in {self!r} was replaced while it was being read", store=self, key=key
        ) from error

    # -- writing --------------------------------------------------------------------------------

    def set(self, key: str, value: Buffer) -> None:
        """Upload a value; one request, or several for more than 64 MiB."""
        self._check_change(check_key(key))
        data = memoryview(value).cast("B")
        try:
            obstore.put(
                self._service().client,
                key,
                data,
                use_multipart=data.nbytes > _WHOLE_BYTES,
                chunk_size=_PART_BYTES,
            )
        except (FileNotFoundError, exceptions.BaseError) as error:
            self._fail("write", key, error)

    def write_if(self, key: str, value: Buffer, version: Version | None) -> bool:
        """Store a value under a condition; one try."""
        self._check_change(key)
        mode: Any = "create" if version is None else version
        try:
            data = memoryview(value).cast("B")
            obstore.put(self._service().client_of_one_try, key, data, mode=mode)
        except (exceptions.PreconditionError, exceptions.AlreadyExistsError):
            return False
        except exceptions.GenericError as error:
            self._fail("write", key, error, is_unsure=True)
        except (FileNotFoundError, exceptions.BaseError) as error:
            is_gone = isinstance(error, FileNotFoundError) and not _NO_PLACE.search(str(error))
            if version is not None and is_gone:
                return False  # Deleted meanwhile.
            self._fail("write", key, error)
        return True

    def delete(self, key: str) -> None:
        """Delete a value; one request."""
        self._check_change(check_key(key))
        self._delete(key)

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete values, a thousand with one request where the service can, as S3 does."""
        self.check_writable()
        remaining = map(check_key, keys)
        while page := list(islice(remaining, _PAGE)):
            self.keep_lease(page[0])
            self._delete(page)

    def delete_prefix(self, prefix: str) -> None:
        """Delete every value under a prefix, as `delete_many` does, and what is never listed."""
        self.check_writable()
        for page in self._pages(prefix):
            self._delete(page)

    def _delete(self, keys: str | list[str]) -> None:
        first = keys if isinstance(keys, str) else keys[0]
        try:
            obstore.delete(self._service().client, keys)
        except FileNotFoundError as error:
            if _NO_PLACE.search(str(error)):
                self._fail("delete", first, error)
            # One of them is not stored; how far this request came is not known.
            for key in [] if isinstance(keys, str) else keys:
                self._delete(key)
        except exceptions.BaseError as error:
            self._fail("delete", first, error)

    def has_conditions(self) -> bool:
        """Whether the service heeds conditions; four requests, once a process and place."""
        service = self._service()
        with service.lock:
            if service.has_conditions is None:
                service.has_conditions = self._probe(service.client)
            return service.has_conditions

    def _probe(self, client: Any) -> bool:
        # Of its own name, since two processes may do this at once.
        key = f"{TEMPORARY}probe-{secrets.token_hex(8)}"
        try:
            version = obstore.put(client, key, b"1", mode="create")
            try:
                refused = 0
                for mode in ("create", {"e_tag": '"0"', "version": "1"}):
                    with suppress(exceptions.PreconditionError, exceptions.AlreadyExistsError):
                        obstore.put(client, key, b"2", mode=mode)  # type: ignore[arg-type]
                        continue
                    refused += 1
                return refused == 2 and version["e_tag"] is not None
            finally:
                obstore.delete(client, key)
        except (NotImplementedError, exceptions.NotSupportedError):
            return False
        except (FileNotFoundError, exceptions.BaseError) as error:
            if _NO_CONDITIONS.search(str(error)):
                return False
            self._fail("write", key, error)

    def _check_change(self, key: str) -> None:
        self.check_writable()
        if self._scheme in AZURE and "\\" in key:
            raise StoreError(
                f"cannot write {key!r} in {self!r}: Azure takes a backslash for a slash",
                store=self,
                key=key,
            )
        self.keep_lease(key)

    # -- listing --------------------------------------------------------------------------------

    def list_dir(self, prefix: str) -> Listing:
        """Give what is directly under a prefix; one request for each thousand."""
        check_prefix(prefix)
        self._check_list(prefix)
        try:
            found = obstore.list_with_delimiter(self._service().client, prefix or None)
        except (FileNotFoundError, exceptions.BaseError) as error:
            self._fail("list", prefix, error)
        keys = sorted(item["path"] for item in found["objects"])
        return Listing(
            tuple(key for key in keys if not is_temporary(key)),
            tuple(sorted(f"{longer}/" for longer in found["common_prefixes"])),
        )

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Iterate over every key under a prefix; one request for each thousand."""
        for keys in self._pages(prefix):
            yield from (key for key in keys if not is_temporary(key))

    def _pages(self, prefix: str) -> Iterator[list[str]]:
        for page in self._listed(prefix):
            yield [item["path"] for item in page]

    def _listed(self, prefix: str) -> Iterator[Any]:
        check_prefix(prefix)
        self._check_list(prefix)
        try:
            yield from obstore.list(self._service().client, prefix or None, chunk_size=_PAGE)
        except (FileNotFoundError, exceptions.BaseError) as error:
            self._fail("list", prefix, error)

    def content_stamp(self, prefix: str) -> str | None:
        """Give a digest of the ETags of all values under a prefix; None where some have none.

        Object stores give a new one to each version of a value. One request for each thousand.
        """
        if not self.can_list:
            return None
        digest = hashlib.blake2b(digest_size=16)
        for page in self._listed(prefix):
            for item in page:
                if f"/{RESERVED_PREFIX}" in f"/{item['path'].removeprefix(prefix)}":
                    continue
                if item["e_tag"] is None:
                    return None
                facts = (item["path"], item["size"], item["e_tag"], item["version"])
                digest.update(repr(facts).encode())
        return digest.hexdigest()

    def _check_list(self, prefix: str) -> None:
        if not self.can_list:
            raise StoreError(
                f"cannot list {prefix!r} in {self!r}: a web server does not say what it holds. "
                f"Give the paths of arrays, or consolidate the metadata before publishing",
                store=self,
                key=prefix,
            )

    # -- the client -----------------------------------------------------------------------------

    def _service(self) -> Service:
        return service_of(self._address)

    def _fail(self, verb: str, key: str, error: Exception, **facts: object) -> NoReturn:
        text = text_of(error)
        if isinstance(error, exceptions.PermissionDeniedError):
            text = f"permission denied; {text}"
        elif isinstance(error, exceptions.UnauthenticatedError):
            text = f"credentials are missing or wrong; {text}"
        fail(self, self._address, (verb, key), error, text=text, **facts)


class _OpenObject(OpenValue):
    """One version of a value, read in parts by requests that name it."""

    __slots__ = ("_held", "_key", "_meta", "_store")

    def __init__(self, store: ObjectStore, key: str, meta: Any, held: _Fetched | None) -> None:
        self._store = store
        self._key = key
        self._meta = meta
        self._held = held
        self.n_bytes = meta["size"]

    def read(self, part: ByteRange) -> Buffer:
        start, stop = first_and_last(part, self.n_bytes)
        if start == stop:
            return b""
        found = self._held
        if found is None or not found.start <= start <= stop <= found.start + len(found.data):
            found = self._read_again(start, stop)
        return found.data[start - found.start : stop - found.start]

    def _read_again(self, start: int, stop: int) -> _Fetched:
        name = "last_modified" if self._meta["e_tag"] is None else "e_tag"
        condition = {"e_tag": "if_match", "last_modified": "if_unmodified_since"}[name]
        found = self._store._fetch(self._key, (start, stop), {condition: self._meta[name]})
        # Some servers take a condition and answer all the same.
        if found is None or any(found.meta[fact] != self._meta[fact] for fact in (name, "size")):
            self._store._replaced(self._key)
        return found

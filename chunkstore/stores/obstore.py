"""`ObjectStore`: S3, Google Cloud Storage, Azure Blob Storage and web servers, through obstore.

Floor 2; the one file that imports obstore. What obstore does: signing, pooled connections, retries
with growing pauses where a service is throttling or failing, uploads in parts. What is done here:
one version of a value from its first byte to its last, writes under conditions, one client a place
and process, and errors that name no credentials.

Source: RFC 9110 (ETag, If-Match, If-None-Match, Range), and the services' own interfaces.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import urlsplit

import obstore
from obstore import exceptions
from obstore.store import HTTPStore, from_url

from chunkstore.errors import ConflictError, InvalidArgumentError, ReadOnlyError, StoreError
from chunkstore.keys import RESERVED_PREFIX, check_key, check_prefix
from chunkstore.stores.base import Listing, OpenValue, first_and_last
from chunkstore.stores.conditional import (
    ConditionalStore,
    Version,
    Versioned,
    is_hidden,
    redacted,
)
from chunkstore.types import Buffer, ByteRange

__all__ = ["ObjectStore"]

_AZURE = frozenset(("az", "adl", "azure", "abfs", "abfss"))
_WEB = frozenset(("http", "https"))
_SCHEMES = frozenset(("s3", "s3a", "gs")) | _AZURE | _WEB

_S3_NAMES = {
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "anon": "skip_signature",
    "endpoint_url": "endpoint",
}
_ANONYMOUS = {"anon": "skip_signature"}
"""Names that fsspec's users know, and obstore's for them."""

_NO_PLACE = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_NO_RANGE = re.compile(r"\b416\b|NotPartial|non-partial|Range request not supported")

_PART_BYTES = 1 << 24
_WHOLE_BYTES = 1 << 26
"""Longer values are uploaded in parts, several at a time."""

_N_READS = 4
"""Tries to read a value whose transfer is cut off; before that, obstore retries by itself."""

_SETTLED_S = 60.0
"""From this age on a time of last modification names one version (RFC 9110, 8.8.2.2)."""

_RETRIES = {
    "max_retries": 8,
    "retry_timeout": dt.timedelta(seconds=60),
    "backoff": {
        "init_backoff": dt.timedelta(milliseconds=100),
        "max_backoff": dt.timedelta(seconds=8),
        "base": 2,
    },
}


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

    __slots__ = ("_options", "_scheme", "_url", "can_list")

    # As many as the other libraries take. A far service gains from more (`Options.n_threads`), a
    # local one has enough with fewer.
    concurrency = 10
    gap_bytes = 1 << 20

    def __init__(
        self,
        url: str,
        *,
        storage_options: Mapping[str, Any] | None = None,
        read_only: bool = False,
        single_writer: bool = False,
    ) -> None:
        if url.startswith("gcs://"):
            url = "gs" + url[3:]
        self._scheme = urlsplit(url).scheme
        if self._scheme not in _SCHEMES or not urlsplit(url).netloc:
            raise InvalidArgumentError(
                f"{redacted(url, {})!r} is no URL of an object store: expected "
                f"scheme://place/prefix with one of the schemes {', '.join(sorted(_SCHEMES))}"
            )
        is_web = self._scheme in _WEB
        super().__init__(read_only=read_only or is_web, single_writer=single_writer)
        self.can_list = not is_web
        self._url = url if "?" in url else url.rstrip("/")
        self._options = _normal_options(self._scheme, storage_options or {})
        _frozen(self._options)

    @property
    def url(self) -> str:
        """Where the store is, without credentials."""
        return redacted(self._url, {})

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStore) and self._spec() == other._spec()

    def __hash__(self) -> int:
        # Not the mode: handles of either mode on one place must share the locks of `update`.
        return hash(self._url)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, self._spec()

    def _spec(self) -> tuple[str, dict[str, Any], bool, bool]:
        return self._url, self._options, self.read_only, self.single_writer

    def check_writable(self) -> None:
        """Raise `ReadOnlyError` if the handle is read-only, or the place is a web server."""
        if self._scheme in _WEB:
            raise ReadOnlyError(f"{self!r} is read-only: it is a web server", store=self)
        super().check_writable()

    # -- reading --------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """Read a value; one request."""
        found = self._fetch(key)
        return None if found is None else bytes(found[0])

    def get_buffer(self, key: str) -> Buffer | None:
        """Read a value without copying it; one request."""
        found = self._fetch(key)
        return None if found is None else memoryview(found[0])

    def read_version(self, key: str) -> Versioned | None:
        """Read a value and what version it is; one request."""
        found = self._fetch(key)
        return None if found is None else Versioned(bytes(found[0]), _version(found[1]))

    def open_value(self, key: str, first: ByteRange | None = None) -> OpenValue | None:
        """Open one version of a value; one request, which also reads `first`.

        Later reads name the version, and raise `ConflictError` if it has been replaced.
        """
        if first is None or (first.start < 0 and self._scheme in _AZURE):
            # Azure has no ranges that count from the end.
            meta = self._head(key)
            return None if meta is None else self._opened(key, meta, None)
        if first.start < 0:
            span: Any = {"suffix": -first.start}
        elif first.length is None:
            span = {"offset": first.start}
        else:
            span = (first.start, first.start + max(1, first.length))
        found = self._fetch(key, {"range": span})
        if found is None:
            return None
        data, meta, start = found
        if start == 0 and len(data) == meta["size"]:
            return OpenValue(memoryview(data))
        return self._opened(key, meta, (start, memoryview(data)))

    def _opened(self, key: str, meta: Any, held: tuple[int, memoryview] | None) -> OpenValue | None:
        conditions: dict[str, Any] = {}
        if meta["e_tag"] is not None:
            conditions["if_match"] = meta["e_tag"]
        elif time.time() - meta["last_modified"].timestamp() > _SETTLED_S:
            conditions["if_unmodified_since"] = meta["last_modified"]
        else:
            # Nothing tells this version from the next one: read it all at once.
            value = self.get(key)
            return None if value is None else OpenValue(value)
        return _OpenObject(self, key, n_bytes=meta["size"], conditions=conditions, held=held)

    def exists(self, key: str) -> bool:
        """Whether a key is stored; one request."""
        return self._head(key) is not None

    def size(self, key: str) -> int | None:
        """Give the length of a value; one request."""
        meta = self._head(key)
        return None if meta is None else int(meta["size"])

    def _head(self, key: str) -> Any:
        check_key(key)
        try:
            return obstore.head(self._client(), key)
        except FileNotFoundError:
            return None
        except exceptions.BaseError as error:
            self._fail("read", key, error)

    def _fetch(
        self, key: str, options: dict[str, Any] | None = None
    ) -> tuple[obstore.Bytes, Any, int] | None:
        """Read a value, or a range: bytes, description, first byte; None if it is not stored."""
        self.keep_lease(check_key(key))
        client = self._client()
        for n_failed in range(_N_READS):
            try:
                result = obstore.get(client, key, options=options or {})  # type: ignore[arg-type]
            except FileNotFoundError as error:
                if _NO_PLACE.search(str(error)):
                    self._fail("read", key, error)
                return None
            except exceptions.PreconditionError as error:
                self._replaced(key, error)
            except exceptions.BaseError as error:
                if options and "range" in options and _NO_RANGE.search(str(error)):
                    # An empty value has no ranges, and some web servers know none at all.
                    rest = {name: v for name, v in options.items() if name != "range"}
                    return self._fetch(key, rest)
                self._fail("read", key, error)
            # obstore retries up to the first byte of an answer, and we from there on.
            start, stop = result.range
            try:
                data = result.bytes()
            except exceptions.BaseError as error:
                if n_failed == _N_READS - 1:
                    self._fail("read", key, error)
            else:
                if len(data) == stop - start:
                    return data, result.meta, start
            time.sleep(0.1 * 2**n_failed)
        raise StoreError(
            f"cannot read {key!r} in {self!r}: the transfer was cut off {_N_READS} times",
            store=self,
            key=key,
        )

    def _replaced(self, key: str, error: Exception | None = None) -> NoReturn:
        raise ConflictError(
            f"{key!r} in {self!r} was replaced while it was being read", store=self, key=key
        ) from error

    # -- writing --------------------------------------------------------------------------------

    def set(self, key: str, value: Buffer) -> None:
        """Upload a value; one request, or several for more than 64 MiB."""
        self._check_change(key)
        data = memoryview(value).cast("B")
        try:
            obstore.put(
                self._client(),
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
            obstore.put(self._client(retries=False), key, data, mode=mode)
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
        self._check_change(key)
        try:
            obstore.delete(self._client(), key)
        except FileNotFoundError as error:
            if _NO_PLACE.search(str(error)):
                self._fail("delete", key, error)
        except exceptions.BaseError as error:
            self._fail("delete", key, error)

    def delete_prefix(self, prefix: str) -> None:
        """Delete every value under a prefix, many with one request where the service can."""
        self.check_writable()
        for keys in self._pages(prefix):
            try:
                obstore.delete(self._client(), keys)
            except FileNotFoundError:
                # Somebody else deletes there too; how far this request came is not known.
                for key in keys:
                    self.delete(key)
            except exceptions.BaseError as error:
                self._fail("delete", prefix, error)

    def has_conditions(self) -> bool:
        """Whether the service heeds conditions; four requests, once a process and place."""
        service = _service(_frozen((self._url, self._options)))
        with service.lock:
            if service.has_conditions is None:
                service.has_conditions = self._probe()
            return service.has_conditions

    def _probe(self) -> bool:
        client = self._client()
        # Of its own name, since two processes may do this at once.
        key = f"{RESERVED_PREFIX}chunkstore-probe-{os.urandom(8).hex()}"
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
            if re.search(r"\b501\b|NotImplemented", str(error)):
                return False
            self._fail("write", key, error)

    def _check_change(self, key: str) -> None:
        self.check_writable()
        check_key(key)
        if self._scheme in _AZURE and "\\" in key:
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
            found = obstore.list_with_delimiter(self._client(), prefix or None)
        except (FileNotFoundError, exceptions.BaseError) as error:
            self._fail("list", prefix, error)
        keys = sorted(item["path"] for item in found["objects"])
        return Listing(
            tuple(key for key in keys if not is_hidden(key)),
            tuple(sorted(f"{longer}/" for longer in found["common_prefixes"])),
        )

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        """Iterate over every key under a prefix; one request for each thousand."""
        for keys in self._pages(prefix):
            yield from (key for key in keys if not is_hidden(key))

    def _pages(self, prefix: str) -> Iterator[list[str]]:
        check_prefix(prefix)
        self._check_list(prefix)
        try:
            for page in obstore.list(self._client(), prefix or None, chunk_size=1000):
                yield [item["path"] for item in page]
        except (FileNotFoundError, exceptions.BaseError) as error:
            self._fail("list", prefix, error)

    def _check_list(self, prefix: str) -> None:
        if not self.can_list:
            raise StoreError(
                f"cannot list {prefix!r} in {self!r}: a web server does not say what it holds. "
                f"Give the paths of arrays, or consolidate the metadata before publishing",
                store=self,
                key=prefix,
            )

    # -- the client -----------------------------------------------------------------------------

    def _client(self, *, retries: bool = True) -> Any:
        service = _service(_frozen((self._url, self._options)))
        if _PROCESSES[0] != os.getpid():
            raise StoreError(
                f"cannot use {self!r} in this process: it was forked from one that had used it, "
                f"and the client's threads did not come along. Start workers by spawn or "
                f"forkserver",
                store=self,
            )
        return service.client(retries=retries)

    def _fail(self, verb: str, key: str, error: Exception, **facts: object) -> NoReturn:
        shown = str(error).partition("\n\nDebug source")[0]
        text = redacted(shown, self._options)
        if isinstance(error, exceptions.PermissionDeniedError):
            text = f"permission denied; {text}"
        elif isinstance(error, exceptions.UnauthenticatedError):
            text = f"credentials are missing or wrong; {text}"
        text = re.sub(r"\s+", " ", text)
        what = f"{key!r} in {self!r}" if key else repr(self)
        made = StoreError(f"cannot {verb} {what}: {text:.600}", store=self, key=key, **facts)
        # The cause is shown with the error, so it must not tell what the error does not.
        raise made from (error if text == re.sub(r"\s+", " ", shown) else None)


class _OpenObject(OpenValue):
    """One version of a value, read in parts by requests that name it."""

    __slots__ = ("_conditions", "_held", "_key", "_store")

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        *,
        n_bytes: int,
        conditions: dict[str, Any],
        held: tuple[int, memoryview] | None,
    ) -> None:
        self._store = store
        self._key = key
        self._conditions = conditions
        self._held = held
        self.n_bytes = n_bytes

    def read(self, part: ByteRange) -> Buffer:
        start, stop = first_and_last(part, self.n_bytes)
        if start == stop:
            return b""
        if self._held is not None:
            at, data = self._held
            if at <= start and stop <= at + len(data):
                return data[start - at : stop - at]
        found = self._store._fetch(self._key, {"range": (start, stop), **self._conditions})
        if found is None or found[1]["size"] != self.n_bytes:
            self._store._replaced(self._key)
        data = memoryview(found[0])
        return data[start - found[2] : stop - found[2]]


class _Service:
    """The clients of one place in one process."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.lock = threading.Lock()
        self.has_conditions: bool | None = None
        config = dict(options)
        client_options = dict(config.pop("client_options", {}))
        retry_config = config.pop("retry_config", _RETRIES)
        if any(str(v).startswith("http://") for v in (url, config.get("endpoint"))):
            client_options.setdefault("allow_http", True)
        make: Any = HTTPStore.from_url if urlsplit(url).scheme in _WEB else from_url
        common = {"client_options": client_options, **config}
        self._with = make(url, retry_config=retry_config, **common)
        self._without = make(url, retry_config={"max_retries": 0}, **common)

    def client(self, *, retries: bool) -> Any:
        return self._with if retries else self._without


_PROCESSES: list[int] = []
"""The process that made the first client: all clients share threads, which no fork takes along."""


@lru_cache(maxsize=64)
def _service(spec: Any) -> _Service:
    url, options = _thawed(spec)
    if not _PROCESSES:
        _PROCESSES.append(os.getpid())
    try:
        return _Service(url, options)
    except (exceptions.BaseError, TypeError, ValueError) as error:
        text = redacted(str(error).partition("\n\nDebug source")[0], options)
        raise InvalidArgumentError(
            f"cannot make a client for {redacted(url, {})!r}: {text}. See obstore's manual for "
            f"the options of this kind of store"
        ) from None


def _restore(
    url: str, options: dict[str, Any], read_only: bool, single_writer: bool
) -> ObjectStore:
    return ObjectStore(
        url, storage_options=options, read_only=read_only, single_writer=single_writer
    )


def _version(meta: Any) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}


def _normal_options(scheme: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Give options in obstore's names."""
    names = _S3_NAMES if scheme in ("s3", "s3a") else _ANONYMOUS
    made: dict[str, Any] = {}
    for given, value in options.items():
        name = names.get(given, given)
        if name in made:
            raise InvalidArgumentError(f"the storage option {name!r} is given twice")
        made[name] = value
    return made


def _frozen(value: Any) -> Any:
    """Make options hashable; `_thawed` gives them back."""
    if isinstance(value, Mapping):
        return "mapping", tuple((k, _frozen(v)) for k, v in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return "sequence", tuple(map(_frozen, value))
    try:
        hash(value)
    except TypeError:
        raise InvalidArgumentError(
            f"a storage option of type {type(value).__name__} cannot be compared; give text, "
            f"numbers, and mappings of these"
        ) from None
    return "value", value


def _thawed(value: Any) -> Any:
    kind, content = value
    if kind == "mapping":
        return {k: _thawed(v) for k, v in content}
    if kind == "sequence":
        return [_thawed(v) for v in content]
    return content

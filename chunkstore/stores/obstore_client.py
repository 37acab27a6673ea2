"""From a URL and options to obstore's clients, once a place and process.

Floor 2. What the schemes of URLs mean, the names that users of fsspec give to options, how often a
client tries again, and why a forked process has none.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from obstore import exceptions
from obstore.store import HTTPStore, from_url

from chunkstore.errors import InvalidArgumentError, StoreError
from chunkstore.stores.address import Address

__all__ = ["AZURE", "WEB", "Service", "address_of", "scheme_of", "service_of", "text_of"]

AZURE = frozenset(("az", "adl", "azure", "abfs", "abfss"))
WEB = frozenset(("http", "https"))
_S3 = frozenset(("s3", "s3a"))
_SCHEMES = _S3 | {"gs"} | AZURE | WEB

_ANONYMOUS = {"anon": "skip_signature"}
_S3_NAMES = {
    **_ANONYMOUS,
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "endpoint_url": "endpoint",
}
"""Names that fsspec's users know, and obstore's for them."""

_RETRIES = {
    "max_retries": 8,
    "retry_timeout": dt.timedelta(seconds=60),
    "backoff": {
        "init_backoff": dt.timedelta(milliseconds=100),
        "max_backoff": dt.timedelta(seconds=8),
        "base": 2,
    },
}


def scheme_of(url: str) -> str:
    """Give the scheme of a URL."""
    return urlsplit(url).scheme


def address_of(url: str, options: Mapping[str, Any]) -> Address:
    """Check a URL, and give its place with options in obstore's names.

    Raises
    ------
    InvalidArgumentError
        If it is no URL of an object store, or an option is given under two names.
    """
    if url.startswith("gcs://"):
        url = "gs" + url[3:]
    scheme = scheme_of(url)
    if scheme not in _SCHEMES or not urlsplit(url).netloc:
        raise InvalidArgumentError(
            f"{Address(url, {})!r} is no URL of an object store: expected scheme://place/prefix "
            f"with one of the schemes {', '.join(sorted(_SCHEMES))}"
        )
    names = _S3_NAMES if scheme in _S3 else _ANONYMOUS
    made: dict[str, Any] = {}
    for given, value in options.items():
        name = names.get(given, given)
        if name in made:
            raise InvalidArgumentError(f"the storage option {name!r} is given twice")
        made[name] = value
    return Address(url if "?" in url else url.rstrip("/"), made)


class Service:
    """The clients of one place in one process, and what is known of the service."""

    def __init__(self, address: Address) -> None:
        self.lock = threading.Lock()
        self.has_conditions: bool | None = None
        config = dict(address.options)
        client_options = dict(config.pop("client_options", {}))
        retry_config = config.pop("retry_config", _RETRIES)
        if any(str(v).startswith("http://") for v in (address.url, *config.values())):
            client_options.setdefault("allow_http", True)
        is_web = scheme_of(address.url) in WEB
        make: Any = HTTPStore.from_url if is_web else from_url
        common = {"client_options": client_options, **config}
        self.client = make(address.url, retry_config=retry_config, **common)
        self.client_of_one_try = make(address.url, retry_config={"max_retries": 0}, **common)


_PROCESSES: list[int] = []
"""The process that made the first client: all clients share threads, which no fork takes along."""


def service_of(address: Address) -> Service:
    """Give the clients of a place, made when they are first asked for.

    Raises
    ------
    InvalidArgumentError
        If obstore cannot make a client of the options.
    StoreError
        In a process that was forked from one that had made clients.
    """
    if not _PROCESSES:
        _PROCESSES.append(os.getpid())
    elif _PROCESSES[0] != os.getpid():
        raise StoreError(
            f"cannot use {address!r} in this process: it was forked from one that had used an "
            f"object store, and the client's threads did not come along. Start workers by spawn "
            f"or forkserver"
        )
    return _service(address)


@lru_cache(maxsize=64)
def _service(address: Address) -> Service:
    try:
        return Service(address)
    except (exceptions.BaseError, TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"cannot make a client for {address!r}: {address.hide(text_of(error))}. See obstore's "
            f"manual for the options of this kind of store"
        ) from None


def text_of(error: Exception) -> str:
    """Give what an error of obstore says, and of how it looks in memory the reason alone."""
    text, _, inside = str(error).partition("\n\nDebug source")
    reasons = re.findall(r'\bmessage: "([^"]+)"', inside)
    return f"{text.strip()}: {reasons[-1]}" if reasons else text

"""`Address`: where a remote store is and how it is reached, with its credentials kept out of sight.

Floor 2. A URL and options, as the user gave them: together they are what makes a client, and what
a pickle of a store carries. Nothing here makes a request or knows a library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from chunkstore.errors import ChunkStoreError, StoreError
from chunkstore.stores.base import Store

__all__ = ["Address", "fail"]

_SECRET = re.compile(
    r"key|secret|token|pass|pwd|signature|credential|sas|auth|connection|cookie|certificate", re.I
)
_IN_URL = re.compile(r"(?<!abfs://)(?<!abfss://)(?<=://)[^/\s@]+@|(?<=\?)[^\s\"'<>)]+")
"""Users and passwords, but not Azure's containers, which stand in their place; and queries."""
_MOST_TEXT = 600


@dataclass(frozen=True, repr=False)
class Address:
    """A URL and options; a value, whose text shows no credentials.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/prefix``.
    options : mapping
        What the library that reaches it asks for; copied, so that it stays as it is.

    Examples
    --------
    >>> place = Address("https://me:1234@host/data?sig=abcd", {"token": "tell-nobody"})
    >>> place
    'https://***@host/data?***'
    >>> place.hide("refused with tell-nobody")
    'refused with ***'
    """

    url: str
    options: Mapping[str, Any] = field(hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _copied(self.options))

    def __repr__(self) -> str:
        return repr(self.hide(self.url))

    def hide(self, text: str) -> str:
        """Hide in a text what the options, and URLs in the text, hold of credentials."""
        for secret in sorted(_secrets(self.options), key=len, reverse=True):
            text = text.replace(secret, "***")
        return _IN_URL.sub(lambda found: "***@" if found[0].endswith("@") else "***", text)


def fail(
    store: Store,
    address: Address,
    request: tuple[str, str],
    error: Exception,
    *,
    text: str | None = None,
    **facts: object,
) -> NoReturn:
    """Raise a `StoreError` for what a library raised, without the credentials that it names.

    Parameters
    ----------
    request : tuple of str
        What was to be done, such as ``"read"``, and the key or prefix.
    error : Exception
        The library's. Becomes the cause, unless it tells what must not be told.
    text : str, optional
        What to say; by default the error's text.
    """
    if isinstance(error, ChunkStoreError):
        raise error
    verb, key = request
    what = f"{key!r} in {store!r}" if key else repr(store)
    shown = re.sub(r"\s+", " ", address.hide(str(error) if text is None else text))
    is_open = address.hide(str(error)) == str(error)
    made = StoreError(f"cannot {verb} {what}: {shown:.{_MOST_TEXT}}", store=store, key=key, **facts)
    raise made from (error if is_open else None)


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif _SECRET.search(name):
            values = value if isinstance(value, (list, tuple)) else [value]
            yield from (v for v in values if isinstance(v, str) and len(v) > 3)


def _copied(value: Any) -> Any:
    """Copy what options are nested in; what they hold otherwise is the library's business."""
    if isinstance(value, Mapping):
        return {name: _copied(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_copied(entry) for entry in value]
    return value

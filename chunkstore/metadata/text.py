"""The text of a metadata document: JSON in UTF-8 to Python values and back.

Floor 1. Strict where reading on would mean guessing: an object with a key twice has two meanings,
and readers disagree on which one holds. Lenient where the meaning is plain: a byte order mark is
skipped, and ``NaN`` and ``Infinity``, which are no JSON but which Python programs write into
attributes, are read and written back.

Source: RFC 8259, sections 4 and 8.1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chunkstore.errors import MetadataError
from chunkstore.metadata.model import Problems, metadata_error, step
from chunkstore.types import Buffer

__all__ = ["dump", "load"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Ambiguous(dict[str, Any]):
    """An object of which some keys came twice; only made to find its place in the document."""

    __slots__ = ("doubled",)
    doubled: list[str]


class _AmbiguousError(Exception):
    """Some keys came twice: the document is read again to say which."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _AmbiguousError
    return made


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = _Ambiguous(pairs)
    keys = [key for key, _ in pairs]
    made.doubled = [key for key in made if keys.count(key) > 1]
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
"""Made once: making one takes as long as reading a document."""


def load(value: Buffer, where: str) -> dict[str, Any]:
    """Read the text of a document, which must be one object.

    Parameters
    ----------
    value : bytes-like
        As stored.
    where : str
        What to call the document in an error.

    Raises
    ------
    MetadataError
        If the bytes are not UTF-8, the text is not JSON or not an object, or keys come twice.

    Examples
    --------
    >>> load(b'{"a": 1}', "a document")
    {'a': 1}
    """
    raw = bytes(value).removeprefix(_BYTE_ORDER_MARK)
    try:
        document = _DECODER.decode(raw.decode())
    except _AmbiguousError:
        document = json.loads(raw.decode(), object_pairs_hook=_marked)
        problems = Problems()
        _find(document, problems)
        problems.raise_if_any(where)
    except UnicodeDecodeError as error:
        what = f"is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x}"
        raise _broken(where, what) from error
    except json.JSONDecodeError as error:
        raise _broken(where, f"is not JSON: {error}") from error
    except RecursionError as error:
        raise _broken(where, "is nested too deeply to be read") from error
    except ValueError as error:
        # Python's own guard: the time to read an integer grows with the square of its length.
        raise _broken(where, "holds an integer with more digits than can be read") from error
    if not isinstance(document, dict):
        raise metadata_error(where, [("", f"must be an object, got {type(document).__name__}")])
    return document


def dump(document: Mapping[str, Any]) -> bytes:
    """Write the text of a document."""
    return json.dumps(document, indent=2).encode()


def _broken(where: str, what: str) -> MetadataError:
    return MetadataError(
        f"{where} {what}. The document is damaged or was cut short",
        document=where,
        problems=[("", what)],
    )


def _find(document: Any, problems: Problems) -> None:
    """Note every ambiguous object with its JSON path; without recursion, for it may be deep."""
    pending: list[tuple[str, Any]] = [("", document)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, _Ambiguous):
            for key in value.doubled:
                problems.add(step(path, key), "comes twice, and which one holds is open")
        if isinstance(value, dict):
            pending.extend((step(path, key), item) for key, item in value.items())
        elif isinstance(value, list):
            pending.extend((f"{path}[{i}]", item) for i, item in enumerate(value))

"""Names inside a store: paths of nodes, keys of values, and where each chunk is stored.

Floor 1. A path has no leading or trailing ``/`` here; the root is ``""``. A key names one stored
value; a prefix is the start of keys and ends in ``/`` (the root prefix is ``""``). This module
only computes names; it never asks a store.

Source: Zarr v3 core, "Node names", "Chunk key encodings"; Zarr v2, "Hierarchies".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chunkstore.errors import InvalidArgumentError
from chunkstore.types import ChunkCoords

__all__ = [
    "RESERVED_PREFIX",
    "TEMPORARY",
    "ChunkKeyEncoding",
    "check_key",
    "check_prefix",
    "is_reserved",
    "is_temporary",
    "join",
    "node_name_problem",
    "normalize_path",
    "prefix_of",
]

RESERVED_PREFIX = "__"
"""Names that start so belong to no node: the specification reserves them."""

TEMPORARY = f"{RESERVED_PREFIX}chunkstore-"
"""Start of the names that stores keep for themselves, half-written values and locks: no key may
have such a part, and no listing shows one."""

_XARRAY_NAMES = frozenset(("__values__", "__xarray_dataarray_variable__"))
"""The reserved names that arrays have all the same: xarray's, for what has no name."""

_NEVER_A_PART = frozenset(("", ".", ".."))
_INTEGER = re.compile(r"0|[1-9][0-9]*")


def normalize_path(path: str | None) -> str:
    r"""Bring a user's path to the form used inside: no slash at either end, no empty part.

    Parameters
    ----------
    path : str or None
        Such as ``"/a/b"``, ``"a//b/"`` or ``r"a\b"``. None and ``""`` are the root.

    Raises
    ------
    InvalidArgumentError
        If a part is ``"."`` or ``".."``, which would leave the hierarchy, or if the path holds
        NUL or half of a surrogate pair.

    Examples
    --------
    >>> normalize_path("/a//b/")
    'a/b'
    """
    if path is None:
        return ""
    if not isinstance(path, str):
        raise InvalidArgumentError(f"a path must be a string, got {type(path).__name__}")
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    for part in parts:
        if set(part) == {"."}:
            raise InvalidArgumentError(
                f"path {path!r} has the part {part!r}: names of dots only are not allowed"
            )
    if not _is_storable(path):
        raise InvalidArgumentError(f"path {path!r} holds a character that no store can hold")
    return "/".join(parts)


def is_reserved(name: str) -> bool:
    """Whether a name is kept free for marks and the like, so that no node has it."""
    return name.startswith(RESERVED_PREFIX) and name not in _XARRAY_NAMES


def node_name_problem(name: str, *, zarr_format: int) -> str | None:
    """Say in words why a node may not be created under this name; None if it may.

    Names that start with ``__`` are reserved by version 3, and kept free in version 2 too, where
    they are as good a place for marks; the names of the metadata documents by each version.
    Reading is more tolerant: a node that another program made under such a name opens.

    Examples
    --------
    >>> node_name_problem("__x", zarr_format=3)
    'names that start with "__" are reserved'
    """
    if not name:
        return "a name must not be empty"
    if set(name) == {"."}:
        return "a name must not be made of dots only"
    if is_reserved(name):
        return 'names that start with "__" are reserved'
    documents = (".zarray", ".zgroup", ".zattrs", ".zmetadata") if zarr_format == 2 else ()
    if name in ("zarr.json", *documents):
        return f"{name!r} is the name of a metadata document"
    return None


def check_key(key: str) -> str:
    """Return `key` if it may name a stored value; refuse what could leave the store.

    Raises
    ------
    InvalidArgumentError
        If the key is empty, starts or ends with ``/``, or has an empty, ``.`` or ``..`` part, or
        holds NUL or half of a surrogate pair, or has a part that starts as `TEMPORARY` does.
    """
    parts = key.split("/")
    if not _NEVER_A_PART.intersection(parts) and _is_storable(key):
        if TEMPORARY not in key or not any(part.startswith(TEMPORARY) for part in parts):
            return key
        raise InvalidArgumentError(
            f"{key!r} cannot be a key: names that start with {TEMPORARY!r} are the store's own"
        )
    raise InvalidArgumentError(
        f"{key!r} cannot be a key: expected parts joined by '/', none empty, '.' or '..'"
    )


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is ``""`` or a key and a slash; else refuse it, as `check_key` does.

    Without the slash a store of files and a store of names would answer differently.
    """
    if not prefix:
        return prefix
    if not prefix.endswith("/"):
        raise InvalidArgumentError(f"{prefix!r} cannot be a prefix: it must end in '/'")
    check_key(prefix[:-1])
    return prefix


def is_temporary(key: str) -> bool:
    """Whether a key's last part is one of a store's own names."""
    return key.rpartition("/")[2].startswith(TEMPORARY)


def join(*parts: str) -> str:
    """Join paths or names, leaving empty ones out."""
    return "/".join(part for part in parts if part)


def prefix_of(path: str) -> str:
    """Give the prefix under which everything of the node at `path` is stored."""
    return f"{path}/" if path else ""


@dataclass(frozen=True, slots=True)
class ChunkKeyEncoding:
    """Rule from chunk coordinates to the chunk's key below the array's prefix.

    Parameters
    ----------
    name : {"default", "v2"}
        ``default`` starts with ``c``; ``v2`` does not.
    separator : {"/", "."}
        Between the coordinates.

    Examples
    --------
    >>> ChunkKeyEncoding("default", "/").encode((1, 23))
    'c/1/23'
    >>> ChunkKeyEncoding("v2", ".").encode(())
    '0'
    """

    name: Literal["default", "v2"] = "default"
    separator: Literal["/", "."] = "/"

    def encode(self, coords: ChunkCoords) -> str:
        """Give the key of the chunk at `coords`, relative to the array."""
        joined = self.separator.join(map(str, coords))
        if self.name == "v2":
            return joined or "0"
        return f"c{self.separator}{joined}" if coords else "c"

    def decode(self, key: str, ndim: int) -> ChunkCoords | None:
        """Give the chunk coordinates of a key relative to the array, or None if it is no chunk."""
        if ndim == 0:
            return () if key == self.encode(()) else None
        if self.name == "default":
            if not key.startswith("c" + self.separator):
                return None
            key = key[2:]
        return _integers(key.split(self.separator), ndim)


def _is_storable(name: str) -> bool:
    """Whether every file system and every request could spell the name."""
    if name.isascii():
        return "\x00" not in name
    try:
        return b"\x00" not in name.encode()
    except UnicodeEncodeError:
        return False


def _integers(parts: Sequence[str], ndim: int) -> ChunkCoords | None:
    if len(parts) != ndim or not all(_INTEGER.fullmatch(part) for part in parts):
        return None
    return tuple(map(int, parts))

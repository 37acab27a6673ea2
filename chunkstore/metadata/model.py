"""Arrays and groups as values: what a metadata document says, whichever format it is in.

Floor 1. Both formats parse to these classes, and above this floor only serialising asks which it
was. No behaviour: nothing here encodes a chunk or knows a store.

Source: Zarr v3 core, "Array metadata" and "Group metadata"; Zarr v2, "Metadata".
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from chunkstore.chunk_grid import ChunkGrid
from chunkstore.dtypes import DataType
from chunkstore.errors import InvalidArgumentError, MetadataError
from chunkstore.keys import ChunkKeyEncoding
from chunkstore.types import Shape

__all__ = [
    "MAX_EXTENT",
    "UNREAD",
    "ArrayMetadata",
    "Check",
    "CodecSpec",
    "GroupMetadata",
    "Problems",
    "check_chunk_bytes",
    "count_problem",
    "counts",
    "extension_name_problem",
    "is_count",
    "metadata_error",
    "plain_attributes",
    "step",
]

MAX_EXTENT = 2**63 - 1
"""No axis of an array is longer, and no chunk has more bytes: indices are signed 64-bit."""

_MOST_LETTERS = 1000
_MOST_LINES = 50
"""Problems that the message of one error lists; the error itself keeps all of them."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*")
_EXTENSION_NAME = re.compile(r"[a-z][a-z0-9._-]+")
_URI_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:.")


class CodecSpec(NamedTuple):
    """One entry of a codec list: a name and its configuration, not yet checked by the codec."""

    name: str
    configuration: Mapping[str, Any]
    must_understand: bool = True


_MAX_AXES = 64
"""Of an array in memory."""

UNREAD = CodecSpec("", {})
"""Stands for an entry that cannot be read, so that the others keep their places."""


@dataclass(frozen=True, slots=True, eq=False)
class ArrayMetadata:
    """What is known of an array before any chunk is read.

    Parameters
    ----------
    zarr_format : {2, 3}
        The format of the document; only serialising depends on it.
    data_type : DataType
        Type of the elements.
    grid : RegularGrid or RectilinearGrid
        The array's shape and the cells over it; for sharded arrays a cell is a shard.
    key_encoding : ChunkKeyEncoding
        Where each cell is stored.
    fill_value : scalar or None
        What elements read as that were never written. None only in version 2, where a document
        may leave it undefined; such elements read as zero.
    codecs : tuple of CodecSpec
        In the order of encoding.
    attributes : dict
        The user's part of the document.
    dimension_names : tuple of str or None, optional
        One a dimension.
    extra : dict
        Fields of the document that this version does not know and need not understand; they are
        written back as they were.
    """

    zarr_format: int
    data_type: DataType
    grid: ChunkGrid
    key_encoding: ChunkKeyEncoding
    fill_value: Any
    codecs: tuple[CodecSpec, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    dimension_names: tuple[str | None, ...] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """Extent along each axis, in elements."""
        return self.grid.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of the elements in memory."""
        return self.data_type.dtype

    def replace(self, **changes: Any) -> ArrayMetadata:
        """Give the same metadata with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True, eq=False)
class GroupMetadata:
    """What a group's document says; the fields mean what they mean in `ArrayMetadata`."""

    zarr_format: int
    attributes: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def replace(self, **changes: Any) -> GroupMetadata:
        """Give the same metadata with some fields changed."""
        return dataclasses.replace(self, **changes)


class Check(Protocol):
    """Finds what is wrong with an array's codecs, of which a document alone does not tell."""

    def __call__(self, metadata: ArrayMetadata, /) -> Sequence[tuple[str, str]]:
        """Give the problems of an array's codecs, each with its JSON path."""

    def certain(
        self,
        codecs: Sequence[CodecSpec],
        /,
        *,
        zarr_format: int,
        data_type: DataType | None,
        grid: ChunkGrid | None,
    ) -> Sequence[tuple[str, str]]:
        """Give those problems that there are in any case, where not all of a document is read."""


class Problems:
    """Everything that is wrong with one document, gathered so that it is reported at once.

    Parameters
    ----------
    below : str
        JSON path of the document where it is part of a larger one.
    """

    def __init__(self, below: str = "") -> None:
        self.found: list[tuple[str, str]] = []
        self._below = below

    def add(self, path: str, what: str) -> None:
        """Note one problem at a JSON path such as ``codecs[1].configuration.level``."""
        joint = "." if self._below and path and not path.startswith("[") else ""
        self.found.append((f"{self._below}{joint}{path}", what))

    def extend(self, found: Iterable[tuple[str, str]]) -> None:
        """Note problems that were found elsewhere."""
        for path, what in found:
            self.add(path, what)

    def raise_if_any(self, document: str) -> None:
        """Raise one `MetadataError` that lists all problems of the named document."""
        if self.found:
            raise metadata_error(document, self.found)


def metadata_error(document: str, problems: Sequence[tuple[str, str]]) -> MetadataError:
    """Make the error that lists the problems of a document, each with its JSON path."""
    shown = problems[:_MOST_LINES]
    lines = "".join(f"\n  {path or '(document)'}: {_shortened(what)}" for path, what in shown)
    if len(problems) > len(shown):
        lines += f"\n  and {len(problems) - len(shown)} more"
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return MetadataError(
        f"{document} is not valid, {count}:{lines}", document=document, problems=list(problems)
    )


def _shortened(what: str) -> str:
    """Cut a text that shows a large part of a document."""
    return what if len(what) <= _MOST_LETTERS else f"{what[:_MOST_LETTERS]} …"


def step(path: str, key: str) -> str:
    """Give the JSON path of a member of the object at `path`.

    Examples
    --------
    >>> step("codecs[0]", "name"), step("metadata", "a/x")
    ('codecs[0].name', 'metadata["a/x"]')
    """
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key


def extension_name_problem(name: str) -> str | None:
    """Say in words why an extension of version 3 may not have this name; None if it may.

    Examples
    --------
    >>> print(extension_name_problem("numcodecs.delta"), extension_name_problem("Delta"), sep="; ")
    None; must start with a-z and go on with a-z, 0-9, "-", "_" and ".", got 'Delta'
    """
    # Names were URIs before they were registered, and such documents stay valid.
    if _EXTENSION_NAME.fullmatch(name) or _URI_SCHEME.match(name):
        return None
    return f'must start with a-z and go on with a-z, 0-9, "-", "_" and ".", got {name!r}'


def is_count(value: Any, *, least: int = 0) -> bool:
    """Whether a JSON value is an integer of at least `least`; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_EXTENT


def counts(value: Any, path: str, problems: Problems, *, least: int = 0) -> Shape | None:
    """Read a list of integers of at least `least`; None, with each problem noted, if it is none.

    Examples
    --------
    >>> problems = Problems()
    >>> counts([4, 2.0], "shape", problems), problems.found
    (None, [('shape[1]', 'must be an integer of at least 0, got 2.0')])
    """
    if not isinstance(value, list):
        problems.add(path, f"must be a list of integers, got {value!r}")
        return None
    wrong = [i for i, entry in enumerate(value) if not is_count(entry, least=least)]
    for i in wrong:
        problems.add(f"{path}[{i}]", count_problem(value[i], least))
    return None if wrong else tuple(value)


def count_problem(value: Any, least: int) -> str:
    """Say what is wrong with a value that `is_count` refuses."""
    if isinstance(value, int) and value > MAX_EXTENT:
        return f"must be at most 2**63 - 1, got {value}"
    return f"must be an integer of at least {least}, got {value!r}"


def check_chunk_bytes(
    chunk_shape: Shape, data_type: DataType, path: str, problems: Problems
) -> None:
    """Note a problem if no machine, or no array of numpy, could hold one decoded chunk."""
    if len(chunk_shape) > _MAX_AXES:
        problems.add(path, f"has {len(chunk_shape)} axes, more than the {_MAX_AXES} of numpy")
    n_bytes = math.prod(chunk_shape) * data_type.dtype.itemsize
    if n_bytes > MAX_EXTENT:
        problems.add(path, f"makes chunks of {n_bytes} bytes, more than can be addressed")


def plain_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Turn a user's attributes into plain JSON values.

    Numpy scalars and arrays become numbers and lists. Values that JSON cannot hold, NaN and the
    infinities among them, are refused: other readers would fail on the whole document.

    Raises
    ------
    InvalidArgumentError
        Naming the attribute.

    Examples
    --------
    >>> plain_attributes({"levels": np.arange(3)})
    {'levels': [0, 1, 2]}
    """
    plain: dict[str, Any] = {}
    for name, value in (attributes or {}).items():
        if not isinstance(name, str):
            raise InvalidArgumentError(f"attribute names must be strings, got {name!r}")
        try:
            plain[name] = json.loads(json.dumps(value, default=_plain, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(
                f"attribute {name!r} cannot be written as JSON: {error}. "
                f"Give strings, finite numbers, booleans, None, lists and dicts of them"
            ) from error
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        item = value.item()
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError("NaN and infinities are not JSON")
        return item
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON")

"""Metadata documents of both formats, and the model they share.

Floor 1. This file picks the format: it knows which documents a node may have and hands them to
the module of their version.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chunkstore.errors import InvalidArgumentError
from chunkstore.keys import join
from chunkstore.metadata import consolidated, text, v2, v3
from chunkstore.metadata.consolidated import Entry
from chunkstore.metadata.model import (
    ArrayMetadata,
    Check,
    CodecSpec,
    GroupMetadata,
    Problems,
)
from chunkstore.types import Buffer

__all__ = [
    "ConsolidatedCopy",
    "attributes_key",
    "consolidated_key",
    "decode",
    "document_keys",
    "encode",
    "encode_consolidated",
    "may_hold_copy",
    "primary_key",
    "problem_path",
    "read_consolidated",
    "with_consolidated",
    "without_consolidated",
]

NodeMetadata = ArrayMetadata | GroupMetadata


def check_format(zarr_format: object) -> None:
    """Raise `InvalidArgumentError` for a format that is neither 2 nor 3."""
    if isinstance(zarr_format, bool) or zarr_format not in (2, 3):
        raise InvalidArgumentError(f"zarr_format must be 2 or 3, got {zarr_format!r}")


def document_keys(path: str, *, zarr_format: int | None = None) -> tuple[str, ...]:
    """Give the keys of all documents that may say what the node at `path` is.

    In the order to ask for them: version 3 first. `zarr_format` leaves the other format out.
    """
    if zarr_format is not None:
        check_format(zarr_format)
    names: tuple[str, ...] = ()
    if zarr_format != 2:
        names += (v3.DOCUMENT,)
    if zarr_format != 3:
        names += (v2.ARRAY_DOCUMENT, v2.GROUP_DOCUMENT)
    return tuple(join(path, name) for name in names)


def attributes_key(document_key: str) -> str | None:
    """Give the key of the document that keeps the attributes apart, if the format has one."""
    folder, _, name = document_key.rpartition("/")
    return None if name == v3.DOCUMENT else join(folder, v2.ATTRIBUTES_DOCUMENT)


def primary_key(path: str, metadata: NodeMetadata) -> str:
    """Give the key of the document whose presence makes the node exist."""
    return join(path, _primary_name(metadata))


def decode(
    key: str,
    value: Buffer,
    attributes: Buffer | None = None,
    *,
    store: str,
    check: Check | None = None,
) -> NodeMetadata:
    """Turn stored documents into metadata.

    Parameters
    ----------
    key : str
        Key of the node's document; its last part tells the format.
    value : bytes
        The document as stored.
    attributes : bytes, optional
        The ``.zattrs`` of a version 2 node, where one is stored.
    store : str
        What to call the store in an error.
    check : callable, optional
        Finds further problems of an array, to be reported with those of its document.

    Raises
    ------
    MetadataError
        If a document is not JSON, not of the format its name promises, or not valid.
    """
    where = f"{key!r} in {store}"
    document = text.load(value, where)
    plain: dict[str, Any] = {}
    if attributes is not None:
        plain = text.load(attributes, f"{attributes_key(key)!r} in {store}")
    entry = Entry(key.rpartition("/")[2], document, plain)
    return _parse(entry, where, Problems(), check)


def encode(path: str, metadata: NodeMetadata) -> dict[str, bytes]:
    """Turn metadata into documents, by key; the one that makes the node exist comes last."""
    documents = {primary_key(path, metadata): text.dump(_document(metadata))}
    if metadata.zarr_format == 2:
        attributes = join(path, v2.ATTRIBUTES_DOCUMENT)
        documents = {attributes: text.dump(metadata.attributes), **documents}
    return documents


def problem_path(path: str, *, zarr_format: int, codecs: Sequence[CodecSpec]) -> str:
    """Say where in the array's own document a problem at ``codecs[…]`` lies."""
    return path if zarr_format == 3 else v2.problem_path(codecs, path)


# -- consolidated metadata ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ConsolidatedCopy:
    """The documents of all nodes below a group, as its consolidated metadata repeats them.

    Parameters
    ----------
    entries : mapping of str to Entry
        By path below the group; each is parsed when it is asked for.
    where : str
        What to call the document in an error.
    base : str
        Path of the group that this view is of, below the one that was consolidated.
    alike : dict
        Metadata of arrays that were parsed, by their documents without the attributes: those of
        a dataset are often the same, and their metadata then shares all but the attributes.
    """

    entries: Mapping[str, Entry]
    where: str
    base: str = ""
    alike: dict[bytes, ArrayMetadata] = field(default_factory=dict)

    def get(self, path: str, check: Check | None = None) -> NodeMetadata | None:
        """Give the metadata of the node at a path below the group, if the copy names it.

        Raises
        ------
        MetadataError
            If what the copy says of it is not valid.
        """
        entry = self.entries.get(join(self.base, path))
        if entry is None:
            return None
        key, attributes = _told_apart(entry)
        twin = self.alike.get(key)
        if twin is not None and isinstance(attributes, Mapping):
            return twin.replace(attributes=dict(attributes))
        problems = Problems(entry.below)
        metadata = _parse(entry, self.where, problems, check)
        if check is not None and isinstance(metadata, ArrayMetadata):
            # Found later, they would be laid to the array's own document.
            problems.extend(check(metadata))
            problems.raise_if_any(self.where)
            self.alike[key] = metadata
        return metadata

    def paths(self) -> list[str]:
        """List the paths of all nodes below the group, at any depth, in sorted order."""
        prefix = f"{self.base}/" if self.base else ""
        below = (path.removeprefix(prefix) for path in self.entries if path.startswith(prefix))
        return sorted({path for path in below if path})

    def names(self) -> Iterator[str]:
        """Iterate over the names directly below the group, in sorted order."""
        return (path for path in self.paths() if "/" not in path)

    def below(self, path: str) -> ConsolidatedCopy:
        """Give the view of a group inside."""
        return ConsolidatedCopy(self.entries, self.where, join(self.base, path), self.alike)


def _told_apart(entry: Entry) -> tuple[bytes, Any]:
    """Give the bytes of a node's document without its attributes, and these."""
    rest: Any = dict(entry.document)
    attributes: Any = entry.attributes
    if entry.name == v3.DOCUMENT:
        attributes = rest.pop("attributes", {})
    return marshal.dumps((entry.name, rest), 2), attributes


def consolidated_key(path: str, zarr_format: int) -> str:
    """Give the key of the document that holds a group's consolidated metadata."""
    return join(path, v3.DOCUMENT if zarr_format == 3 else consolidated.DOCUMENT)


def read_consolidated(
    path: str, metadata: GroupMetadata, value: Buffer | None, *, store: str
) -> ConsolidatedCopy | None:
    """Read a group's consolidated metadata; None where it has none.

    Parameters
    ----------
    path, metadata
        The group.
    value : bytes or None
        The document at `consolidated_key` of a version 2 group; version 3 needs none.
    store : str
        What to call the store in an error.

    Raises
    ------
    MetadataError
        If the structure of the copy is not valid. Its nodes are looked at when asked for.
    """
    where = f"{consolidated_key(path, metadata.zarr_format)!r} in {store}"
    problems = Problems()
    if metadata.zarr_format == 3:
        entries = consolidated.inline_entries(
            metadata.extra.get(v3.CONSOLIDATED), v3.CONSOLIDATED, problems
        )
    else:
        entries = None
        if value is not None:
            entries = consolidated.separate_entries(text.load(value, where), problems)
    problems.raise_if_any(where)
    return None if entries is None else ConsolidatedCopy(entries, where)


def may_hold_copy(value: Buffer | None) -> bool:
    """Whether a version 3 document may hold consolidated metadata; quick, and never wrongly no."""
    return value is not None and v3.CONSOLIDATED.encode() in bytes(value)


def with_consolidated(
    metadata: GroupMetadata, members: Mapping[str, NodeMetadata]
) -> GroupMetadata:
    """Give the metadata of a version 3 group with a copy of its members', by path below it."""
    documents = {path: _document(without_consolidated(node)) for path, node in members.items()}
    copy = consolidated.inline(documents)
    return metadata.replace(extra={**metadata.extra, v3.CONSOLIDATED: copy})


def without_consolidated(metadata: NodeMetadata) -> NodeMetadata:
    """Give the metadata of a node without its copy of others'."""
    if v3.CONSOLIDATED not in metadata.extra:
        return metadata
    kept = {name: item for name, item in metadata.extra.items() if name != v3.CONSOLIDATED}
    return metadata.replace(extra=kept)


def encode_consolidated(metadata: GroupMetadata, members: Mapping[str, NodeMetadata]) -> bytes:
    """Turn a version 2 group and its members into the document at `consolidated_key`."""
    documents: dict[str, Mapping[str, Any]] = {}
    for path, node in {"": metadata, **members}.items():
        documents[join(path, _primary_name(node))] = _document(node)
        documents[join(path, v2.ATTRIBUTES_DOCUMENT)] = node.attributes
    return text.dump(consolidated.separate(documents))


# -- one document ---------------------------------------------------------------------------------


def _primary_name(metadata: NodeMetadata) -> str:
    if metadata.zarr_format == 3:
        return v3.DOCUMENT
    return v2.ARRAY_DOCUMENT if isinstance(metadata, ArrayMetadata) else v2.GROUP_DOCUMENT


def _document(metadata: NodeMetadata) -> dict[str, Any]:
    if isinstance(metadata, ArrayMetadata):
        version = v3.array_document if metadata.zarr_format == 3 else v2.array_document
        return version(metadata)
    group_version = v3.group_document if metadata.zarr_format == 3 else v2.group_document
    return group_version(metadata)


def _parse(entry: Entry, where: str, problems: Problems, check: Check | None) -> NodeMetadata:
    document = entry.document
    expected = 3 if entry.name == v3.DOCUMENT else 2
    if "zarr_format" not in document:
        problems.add("zarr_format", "is missing, but required")
    else:
        _check_format(document["zarr_format"], expected, where, problems)
    if expected == 2:
        if entry.name == v2.ARRAY_DOCUMENT:
            return v2.parse_array(
                document, entry.attributes, where=where, problems=problems, check=check
            )
        return v2.parse_group(document, entry.attributes, where=where, problems=problems)
    node_type = document.get("node_type")
    if node_type == "array":
        return v3.parse_array(document, where=where, problems=problems, check=check)
    if node_type == "group":
        return v3.parse_group(document, where=where, problems=problems)
    problems.add("node_type", f'must be "array" or "group", got {node_type!r}')
    problems.raise_if_any(where)
    raise AssertionError("a problem was noted")


def _check_format(found: object, expected: int, where: str, problems: Problems) -> None:
    if isinstance(found, bool) or not isinstance(found, int):
        problems.add("zarr_format", f"must be the integer {expected}, got {found!r}")
    elif found != expected:
        # In another format the other fields mean something else, so they are not looked at.
        what = f"must be {expected} in a document of this name, got {found}"
        if found > 3:
            what = f"is {found}, newer than this version of chunkstore reads (2 and 3)"
        problems.add("zarr_format", what)
        problems.raise_if_any(where)

"""Metadata documents of both formats, and the model they share.

Floor 1. This file picks the format: it knows which documents a node may have and hands them to
the module of their version. JSON is decoded and encoded here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chunkstore.errors import MetadataError
from chunkstore.keys import join
from chunkstore.metadata import v2, v3
from chunkstore.metadata.model import ArrayMetadata, GroupMetadata, metadata_error
from chunkstore.types import Buffer

__all__ = ["attributes_key", "decode", "document_keys", "encode", "primary_key"]

NodeMetadata = ArrayMetadata | GroupMetadata


def document_keys(path: str, *, zarr_format: int | None = None) -> tuple[str, ...]:
    """Give the keys of all documents that may say what the node at `path` is.

    In the order to ask for them: version 3 first. `zarr_format` leaves the other format out.
    """
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
    if metadata.zarr_format == 3:
        return join(path, v3.DOCUMENT)
    is_array = isinstance(metadata, ArrayMetadata)
    return join(path, v2.ARRAY_DOCUMENT if is_array else v2.GROUP_DOCUMENT)


def decode(
    key: str, value: Buffer, attributes: Buffer | None = None, *, store: str
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

    Raises
    ------
    MetadataError
        If a document is not JSON, not of the format its name promises, or not valid.
    """
    where = f"{key!r} in {store}"
    document = _object(value, where)
    name = key.rpartition("/")[2]
    expected = 3 if name == v3.DOCUMENT else 2
    found = document.get("zarr_format")
    if isinstance(found, bool) or not isinstance(found, int) or found != expected:
        raise metadata_error(where, [("zarr_format", _format_problem(found, expected))])
    if name == v3.DOCUMENT:
        node_type = document.get("node_type")
        if node_type == "array":
            return v3.parse_array(document, where=where)
        if node_type == "group":
            return v3.parse_group(document, where=where)
        problem = f'must be "array" or "group", got {node_type!r}'
        raise metadata_error(where, [("node_type", problem)])
    attributes_where = f"{attributes_key(key)!r} in {store}"
    plain = {} if attributes is None else _object(attributes, attributes_where)
    if name == v2.ARRAY_DOCUMENT:
        return v2.parse_array(document, plain, where=where)
    return v2.parse_group(document, plain, where=where)


def encode(path: str, metadata: NodeMetadata) -> dict[str, bytes]:
    """Turn metadata into documents, by key; the one that makes the node exist comes last."""
    if metadata.zarr_format == 3:
        document = (
            v3.array_document(metadata)
            if isinstance(metadata, ArrayMetadata)
            else v3.group_document(metadata)
        )
        return {primary_key(path, metadata): _dump(document)}
    document = (
        v2.array_document(metadata)
        if isinstance(metadata, ArrayMetadata)
        else v2.group_document(metadata)
    )
    return {
        join(path, v2.ATTRIBUTES_DOCUMENT): _dump(metadata.attributes),
        primary_key(path, metadata): _dump(document),
    }


def _object(value: Buffer, where: str) -> dict[str, Any]:
    try:
        document = json.loads(bytes(value))
    except (ValueError, RecursionError) as error:
        raise MetadataError(
            f"{where} is not JSON: {error}. The document is damaged or was cut short",
            document=where,
            problems=[("", str(error))],
        ) from error
    if not isinstance(document, dict):
        raise metadata_error(where, [("", f"must be an object, got {type(document).__name__}")])
    return document


def _format_problem(found: object, expected: int) -> str:
    if isinstance(found, int) and not isinstance(found, bool) and found > 3:
        return f"is {found}, newer than this version of chunkstore reads (2 and 3)"
    return f"must be {expected} in a document of this name, got {found!r}"


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode()

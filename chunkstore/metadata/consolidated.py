"""Consolidated metadata: one document that repeats those of all nodes below a group.

Floor 1. Two forms. Version 3 keeps the copy in a field of the group's own document, with flat
paths and groups that carry an empty copy of their own, as zarr-python writes it. Version 2 keeps
it in a document beside, ``.zmetadata``, by the keys of the documents it repeats::

    {"consolidated_metadata": {"kind": "inline", "must_understand": false,
                               "metadata": {"a": {…}, "a/x": {…}}}}
    {"zarr_consolidated_format": 1, "metadata": {".zgroup": {…}, "a/x/.zarray": {…}, …}}

Only the form is looked at here; what is said of a node is a document like any other.

Source: Zarr v3 core, "Consolidated metadata"; zarr-python, "Consolidated metadata" (version 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from chunkstore.metadata.model import Problems, step

__all__ = ["DOCUMENT", "Entry", "inline", "inline_entries", "separate", "separate_entries"]

DOCUMENT = ".zmetadata"

_NODE = "zarr.json"
_ARRAY, _GROUP, _ATTRIBUTES = ".zarray", ".zgroup", ".zattrs"


class Entry(NamedTuple):
    """What is said of one node.

    Parameters
    ----------
    name : str
        Name of the document that says what the node is, such as ``"zarr.json"``.
    document, attributes : mapping
        That document, and the attributes where they are kept apart.
    below : str
        JSON path of the document, where it is part of another one.
    """

    name: str
    document: Mapping[str, Any]
    attributes: Mapping[str, Any]
    below: str = ""


def inline_entries(copy: Any, path: str, problems: Problems) -> dict[str, Entry] | None:
    """Take a version 3 copy apart, by the path of each node below the group.

    Returns None where there is none: no field, null, or of a kind that is not known and need not
    be understood.
    """
    if not isinstance(copy, Mapping) or copy.get("kind") != "inline":
        return None
    path = step(path, "metadata")
    members = copy.get("metadata")
    if not isinstance(members, Mapping):
        problems.add(path, f"must be an object, got {members!r}")
        return None
    entries = {}
    for name, document in members.items():
        below = step(path, name)
        _check_path(name, below, problems)
        if isinstance(document, Mapping):
            entries[name] = Entry(_NODE, document, {}, below)
        else:
            problems.add(below, f"must be an object, got {document!r}")
    return entries


def separate_entries(document: Mapping[str, Any], problems: Problems) -> dict[str, Entry] | None:
    """Take a ``.zmetadata`` apart, by the path of each node below the group.

    Keys that name no document of version 2 are left out: other programs add theirs.
    """
    version = document.get("zarr_consolidated_format")
    if version != 1 or isinstance(version, bool):
        problems.add("zarr_consolidated_format", f"must be 1, got {version!r}")
    members = document.get("metadata")
    if not isinstance(members, Mapping):
        problems.add("metadata", f"must be an object, got {members!r}")
        return None
    entries = {}
    attributes: dict[str, Mapping[str, Any]] = {}
    for key, value in members.items():
        path, _, name = key.rpartition("/")
        if name not in (_ARRAY, _GROUP, _ATTRIBUTES):
            continue
        below = step("metadata", key)
        if path:
            _check_path(path, below, problems)
        if not isinstance(value, Mapping):
            problems.add(below, f"must be an object, got {value!r}")
        elif name == _ATTRIBUTES:
            attributes[path] = value
        elif path and (path not in entries or name == _ARRAY):
            entries[path] = Entry(name, value, {}, below)
    return {
        path: entry._replace(attributes=attributes.get(path, {})) for path, entry in entries.items()
    }


def inline(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put the documents of version 3 nodes together, by path below the group.

    Examples
    --------
    >>> copy = inline({"a/x": {"node_type": "array"}, "a": {"node_type": "group"}})
    >>> list(copy["metadata"]), copy["metadata"]["a"]["consolidated_metadata"]["metadata"]
    (['a', 'a/x'], {})
    """
    metadata = {}
    for path in sorted(documents, key=lambda path: (path.count("/"), path)):
        document = dict(documents[path])
        if document["node_type"] == "group":
            # Says that the members of this group are in the list as well.
            document["consolidated_metadata"] = _field({})
        metadata[path] = document
    return _field(metadata)


def separate(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put the documents of version 2 nodes together, by key below the group."""
    ordered = {key: documents[key] for key in sorted(documents)}
    return {"zarr_consolidated_format": 1, "metadata": ordered}


def _field(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": metadata}


def _check_path(path: str, where: str, problems: Problems) -> None:
    if any(not part or set(part) == {"."} for part in path.split("/")):
        problems.add(where, "is no path of a node below the group")

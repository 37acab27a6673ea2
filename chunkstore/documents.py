"""Nodes in a store: reading, making, changing and deleting their metadata documents.

Floor 5. A node exists when its document does, so the order of steps is what keeps data safe: to
make a node the document is written last, to delete one it goes first, and a change is one atomic
update. A process killed in between leaves bytes that nothing reads, never a node that reads wrong.

An array whose chunks are still being written by a job has no document yet but a mark, the key
``__pending__``, which holds a token of that job, so that no other job's array is published in its
place. Readers skip names that start with ``__``.

A group may hold a copy of all documents below it, its consolidated metadata, which other programs
read instead of the documents. So that they never read a stale one, every change made here drops
the copies that hold what is about to change, before it changes.

Source: Zarr v3 core, "Hierarchy", "Storage"; Zarr v2, "Hierarchies".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from chunkstore import metadata as formats
from chunkstore.cache import mark_all_changed
from chunkstore.checks import CodecCheck
from chunkstore.errors import (
    ConflictError,
    InvalidArgumentError,
    NodeExistsError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
    StoreError,
)
from chunkstore.keys import RESERVED_PREFIX, is_reserved, join, node_name_problem, prefix_of
from chunkstore.metadata import ConsolidatedCopy
from chunkstore.metadata.model import ArrayMetadata, GroupMetadata
from chunkstore.options import Options
from chunkstore.stores.base import Store
from chunkstore.types import Buffer

__all__ = [
    "PENDING",
    "child_names",
    "consolidate",
    "delete_node",
    "foreign_key",
    "has_document",
    "make_node",
    "members_below",
    "move_node",
    "open_copy",
    "publish",
    "read_node",
    "update_node",
]

PENDING = "__pending__"
"""Name of the mark of an array that a job is still writing."""

NodeMetadata = ArrayMetadata | GroupMetadata
_N = TypeVar("_N", ArrayMetadata, GroupMetadata)


def read_node(
    store: Store, path: str, *, zarr_format: int | None = None, options: Options | None = None
) -> NodeMetadata | None:
    """Read the metadata of the node at a path; None if there is none.

    Version 3 is looked for first. One request for a version 3 node; up to four for version 2.
    `options` are those of the handle to be, which may know more codecs.
    """
    check = CodecCheck(options)
    for key in formats.document_keys(path, zarr_format=zarr_format):
        value = store.get(key)
        if value is not None:
            beside = formats.attributes_key(key)
            attributes = None if beside is None else store.get(beside)
            return formats.decode(key, value, attributes, store=repr(store), check=check)
    return None


def has_document(store: Store, path: str) -> bool:
    """Whether a node's document is at a path, readable or not."""
    return any(store.exists(key) for key in formats.document_keys(path))


def not_found(store: Store, path: str) -> NodeNotFoundError:
    """Make the error for a path without a node, saying what is there instead."""
    what = f"no array or group at {path or '/'!r} in {store!r}"
    if store.exists(join(path, PENDING)):
        hint = "a job is writing an array there, or was interrupted; run it again to finish"
    elif not store.can_list:
        hint = "neither zarr.json, nor .zarray or .zgroup is stored there"
    else:
        found = store.list_dir(prefix_of(path))
        n = len(found.keys) + len(found.prefixes)
        hint = (
            f"{n} other entries are there, but no zarr.json, .zarray or .zgroup"
            if n
            else "nothing is stored there"
        )
    return NodeNotFoundError(f"{what}: {hint}", store=store, path=path)


def make_node(
    store: Store, path: str, metadata: NodeMetadata, *, overwrite: bool, pending: bool | str = False
) -> str | None:
    """Make a node, and the groups above it where they are missing.

    Parameters
    ----------
    store, path, metadata
        Where and what.
    overwrite : bool
        Delete what is there, if it is a node or the remains of one.
    pending : bool or str
        Only mark the place; `publish` makes the node. A token goes on with the node it marks.

    Returns
    -------
    str or None
        The token that `publish` asks for, of a pending node.

    Raises
    ------
    NodeExistsError
        If something is there and `overwrite` is false, or if it is not Zarr's.
    ConflictError
        If the node that was to be gone on with is not there any more.
    """
    store.check_writable()
    formats.check_format(metadata.zarr_format)
    _encoded(store, path, metadata)
    _check_place(store, path, metadata.zarr_format)
    if isinstance(pending, str):
        if store.get(join(path, PENDING)) != pending.encode():
            raise _place_taken("go on with", store, path)
        return pending
    _clear_place(store, path, is_array=isinstance(metadata, ArrayMetadata), overwrite=overwrite)
    if pending:
        token = os.urandom(16).hex()
        store.set(join(path, PENDING), token.encode())
        return token
    _write_documents(store, path, metadata)
    return None


def _encoded(store: Store, path: str, metadata: NodeMetadata) -> dict[str, bytes]:
    """Turn metadata into documents, by key, that are sure to open again.

    What we would refuse to read must not be stored, least of all over a document that opens.
    """
    documents = formats.encode(path, metadata)
    key = formats.primary_key(path, metadata)
    beside = formats.attributes_key(key)
    attributes = None if beside is None else documents[beside]
    formats.decode(key, documents[key], attributes, store=f"{store!r}, not stored,")
    return documents


def publish(store: Store, path: str, metadata: ArrayMetadata, token: str) -> None:
    """Make a pending array exist: its document, then the end of its mark.

    A job that runs twice may publish twice.

    Raises
    ------
    ConflictError
        If another job has taken the place meanwhile.
    """
    mark, primary = join(path, PENDING), formats.primary_key(path, metadata)
    with store.lock("node", path):
        stored = store.get(mark)
        if stored is None and store.get(primary) == formats.encode(path, metadata)[primary]:
            return
        if stored != token.encode():
            raise _place_taken("publish", store, path)
        _write_documents(store, path, metadata)
        store.delete(mark)


def _place_taken(verb: str, store: Store, path: str) -> ConflictError:
    what = f"cannot {verb} {path or '/'!r} in {store!r}: another writer has taken its place since"
    return ConflictError(f"{what} it was created. Write it to another path", store=store, path=path)


def delete_node(store: Store, path: str) -> None:
    """Delete a node and all below it; it stops existing before anything of it is deleted.

    In one step where the store can. Elsewhere a mark is set first and goes last, so that what an
    interrupted deletion leaves is known for what it is; in between the documents go before the
    chunks.
    """
    store.check_writable()
    for zarr_format in (2, 3):
        _drop_copies(store, path, zarr_format)
    prefix = prefix_of(path)
    if path and store.deletes_at_once:
        store.delete_prefix(prefix)
        mark_all_changed()
        return
    mark = join(path, PENDING)
    store.set(mark, b"{}")
    store.delete_many(formats.document_keys(path))
    store.delete_many([key for key in store.list_prefix(prefix) if key != mark])
    store.delete_prefix(prefix)
    mark_all_changed()


def move_node(store: Store, old: str, new: str) -> None:
    """Give a node, and all below it, another path; refused where something is already.

    One rename where the store can. Elsewhere the values are copied, documents last, and then the
    old node is deleted, documents first: an interrupted move leaves the old node whole.
    """
    store.check_writable()
    metadata = read_node(store, old)
    if metadata is None:
        raise not_found(store, old)
    if new == old or new.startswith(prefix_of(old)):
        raise InvalidArgumentError(f"cannot move {old or '/'!r} into itself, to {new!r}")
    _check_place(store, new, metadata.zarr_format)
    _clear_place(store, new, is_array=True, overwrite=False)
    _make_ancestors(store, new, metadata.zarr_format)
    for place in (old, new):
        _drop_copies(store, place, metadata.zarr_format)
    if store.move_prefix(prefix_of(old), prefix_of(new)):
        mark_all_changed()
        return

    def order(key: str) -> tuple[bool, int]:
        # Chunks, then documents from the deepest: a node appears when all below it is there.
        return key.rpartition("/")[2] in _DOCUMENT_NAMES, -key.count("/")

    for key in sorted(store.list_prefix(prefix_of(old)), key=order):
        value = store.get(key)
        if value is not None:
            store.set(join(new, key.removeprefix(prefix_of(old))), value)
    delete_node(store, old)


def update_node(store: Store, path: str, metadata: _N, change: Callable[[_N], _N]) -> _N:
    """Change a node's documents as they are stored now, in one atomic step a document.

    Parameters
    ----------
    metadata
        What is known of the node; tells which documents it has.
    change : callable
        From the stored metadata to the new one. May be called more than once.

    Returns
    -------
    metadata
        As it was written.
    """
    _drop_copies(store, path, metadata.zarr_format)
    primary = formats.primary_key(path, metadata)
    beside = formats.attributes_key(primary)
    result = metadata

    def changed(document: bytes | None, attributes: bytes | None) -> dict[str, bytes]:
        """Give the new documents; of several, those alone that differ from what is stored."""
        nonlocal result
        if document is None:
            raise not_found(store, path)
        current = formats.decode(primary, document, attributes, store=repr(store))
        if type(current) is not type(metadata):
            raise NodeTypeError(f"{path or '/'!r} in {store!r} has changed its kind", path=path)
        result = change(current)
        after = _encoded(store, path, result)
        if beside is None:
            return after
        before = formats.encode(path, current)
        return {k: v for k, v in after.items() if v != before[k]}

    def modify(key: str, stored: bytes | None) -> Buffer | None:
        if beside is None:
            return changed(stored, None).get(key, stored)
        if key == primary:
            return changed(stored, store.get(beside)).get(key, stored)
        return changed(store.get(primary), stored).get(key, stored)

    keys = [primary] if beside is None else changed(store.get(primary), store.get(beside))
    for key in keys:
        store.update(key, partial(modify, key))
    return result


def child_names(store: Store, path: str, zarr_format: int) -> Iterator[str]:
    """Iterate over names below a path that may be nodes, in sorted order; one listing."""
    for prefix in store.list_dir(prefix_of(path)).prefixes:
        name = prefix[:-1].rpartition("/")[2]
        # Version 2 reserves nothing, so that there such names may be members.
        if zarr_format == 2 or not is_reserved(name):
            yield name


# -- consolidated metadata ------------------------------------------------------------------------


def open_copy(
    store: Store, path: str, metadata: GroupMetadata, *, use: bool | None
) -> ConsolidatedCopy | None:
    """Give a group's consolidated metadata where it is to be used.

    Parameters
    ----------
    use : bool or None
        True if there must be one. None uses it only where the store cannot list what it holds,
        so that there is no other way to know a group's members.

    Raises
    ------
    InvalidArgumentError
        If there must be one and there is none.
    """
    if use not in (True, False, None):
        raise InvalidArgumentError(f"use_consolidated must be True, False or None, got {use!r}")
    if use is False or (use is None and store.can_list):
        return None
    value = None
    if metadata.zarr_format == 2:
        value = store.get(formats.consolidated_key(path, 2))
    copy = formats.read_consolidated(path, metadata, value, store=repr(store))
    if copy is None and use:
        raise InvalidArgumentError(
            f"group {path or '/'!r} in {store!r} has no consolidated metadata. Make it with "
            f"consolidate_metadata, or open the group without use_consolidated=True",
            store=store,
            path=path,
        )
    return copy


def consolidate(store: Store, path: str, metadata: GroupMetadata) -> GroupMetadata:
    """Store a copy of all documents below a group with it; gives the group's new metadata."""
    store.check_writable()
    members = dict(members_below(store, path, metadata.zarr_format))
    if metadata.zarr_format == 3:
        return update_node(
            store, path, metadata, lambda stored: formats.with_consolidated(stored, members)
        )
    current = read_node(store, path, zarr_format=2)
    if not isinstance(current, GroupMetadata):
        raise not_found(store, path)
    value = formats.encode_consolidated(current, members)
    store.set(formats.consolidated_key(path, 2), value)
    return current


def members_below(store: Store, path: str, zarr_format: int) -> Iterator[tuple[str, NodeMetadata]]:
    """Iterate over all nodes of a format below a group: path below it, metadata."""
    for name in child_names(store, path, zarr_format):
        metadata = read_node(store, join(path, name), zarr_format=zarr_format)
        if metadata is None:
            continue
        yield name, metadata
        if isinstance(metadata, GroupMetadata):
            for below, member in members_below(store, join(path, name), zarr_format):
                yield join(name, below), member


def _drop_copies(store: Store, path: str, zarr_format: int) -> None:
    """Drop every consolidated copy that holds a node's documents, which are about to change.

    Dropped, not mended: two writers that mend one copy at once can undo each other's change, and
    one that is killed between the two writes leaves it stale. A copy that is gone costs a reader
    time; a stale one shows wrong shapes.
    """
    parts = path.split("/") if path else []
    for depth in range(len(parts)):
        _drop_copy(store, "/".join(parts[:depth]), zarr_format)
    if zarr_format == 2:
        _drop_copy(store, path, zarr_format)
    # The store may have been opened on a folder within a hierarchy.
    outer = store.enclosing()
    while outer is not None and _is_group(outer, zarr_format):
        _drop_copy(outer, "", zarr_format)
        outer = outer.enclosing()


def _drop_copy(store: Store, path: str, zarr_format: int) -> None:
    """Drop the copy that one group holds, if it holds one."""
    key = formats.consolidated_key(path, zarr_format)
    if zarr_format == 2:
        if store.exists(key):
            store.delete(key)
    elif formats.may_hold_copy(store.get(key)):
        store.update(key, partial(_without_copy, store, path, key))


def _is_group(store: Store, zarr_format: int) -> bool:
    """Whether a folder above a store is a group; one that cannot be read is none of ours."""
    key = formats.primary_key("", GroupMetadata(zarr_format))
    try:
        return store.exists(key)
    except StoreError:
        return False


def _without_copy(store: Store, path: str, key: str, stored: bytes | None) -> Buffer | None:
    if stored is None:
        return None
    metadata = formats.decode(key, stored, store=repr(store))
    return formats.encode(path, formats.without_consolidated(metadata))[key]


def check_open_for_writing(read_only: bool, what: str) -> None:
    """Raise `ReadOnlyError` for a handle that was opened for reading."""
    if read_only:
        raise ReadOnlyError(f"{what} was opened read-only; open it with mode='r+' to write")


def _make_ancestors(store: Store, path: str, zarr_format: int) -> None:
    """Make the groups above a path that are missing."""
    parts = path.split("/") if path else []
    for depth in range(len(parts)):
        above = "/".join(parts[:depth])
        if read_node(store, above, zarr_format=zarr_format) is None:
            for key, value in formats.encode(above, GroupMetadata(zarr_format)).items():
                store.set(key, value)


def _write_documents(store: Store, path: str, metadata: NodeMetadata) -> None:
    _drop_copies(store, path, metadata.zarr_format)
    _make_ancestors(store, path, metadata.zarr_format)
    for key, value in formats.encode(path, metadata).items():
        store.set(key, value)


def _check_place(store: Store, path: str, zarr_format: int) -> None:
    parts = path.split("/") if path else []
    for name in parts:
        problem = node_name_problem(name, zarr_format=zarr_format)
        if problem is not None:
            raise InvalidArgumentError(f"cannot create a node at {path!r}: {problem}", path=path)
    found = {p: read_node(store, p) for p in ("/".join(parts[:i]) for i in range(len(parts)))}
    for place, node in found.items():
        if isinstance(node, ArrayMetadata):
            raise NodeExistsError(
                f"cannot create {path!r} in {store!r}: {place or '/'!r} is an array, and an array "
                f"has no children",
                store=store,
                path=path,
            )
    for place, node in found.items():
        if node is not None and node.zarr_format != zarr_format:
            raise InvalidArgumentError(
                f"cannot create {path!r} of version {zarr_format} in {store!r}: {place or '/'!r} "
                f"is of version {node.zarr_format}, and one would hide the other. Pass "
                f"zarr_format={node.zarr_format}"
            )


def _clear_place(store: Store, path: str, *, is_array: bool, overwrite: bool) -> None:
    """Leave nothing at a path that the new node could mistake for its own."""
    found = store.list_dir(prefix_of(path))
    if not found.keys and not found.prefixes:
        return
    names = {key.rpartition("/")[2] for key in found.keys}
    is_node = bool(names & _NODE_DOCUMENTS)
    if not overwrite:
        if not is_node and not is_array and PENDING not in names:
            return  # A group may be made over members whose own group was never written.
        what = "a node" if is_node else "an unfinished write" if PENDING in names else "other data"
        raise NodeExistsError(
            f"cannot create {path or '/'!r} in {store!r}: {what} is there already. "
            f"Pass overwrite=True to replace it, or choose another path",
            store=store,
            path=path,
        )
    foreign = foreign_key(store, path)
    if foreign is not None:
        raise NodeExistsError(
            f"refused to overwrite {path or '/'!r} in {store!r}: {foreign!r} is no Zarr data. "
            f"Delete it yourself if it can go, or choose another path",
            store=store,
            path=path,
        )
    delete_node(store, path)


_NODE_DOCUMENTS = frozenset(("zarr.json", ".zarray", ".zgroup"))
_DOCUMENT_NAMES = _NODE_DOCUMENTS | {".zattrs", ".zmetadata"}


_CHUNK_NAME = re.compile(r"c|(c\.)?\d+(\.\d+)*")
"""What a chunk, or a folder of chunks, may be called directly below its array."""


def foreign_key(store: Store, path: str) -> str | None:
    """Give a key below a path that belongs to no node, nor to a job that did not finish.

    Folders of chunks are not looked into: their names say what they are.
    """
    found = store.list_dir(prefix_of(path))
    names = {key.rpartition("/")[2] for key in found.keys}
    is_ours = bool(names & (_DOCUMENT_NAMES | {PENDING}))
    for name in sorted(names - _DOCUMENT_NAMES):
        if not name.startswith(RESERVED_PREFIX) and not (is_ours and _CHUNK_NAME.fullmatch(name)):
            return join(path, name)
    for prefix in found.prefixes:
        name = prefix[:-1].rpartition("/")[2]
        if name.startswith(RESERVED_PREFIX) or (is_ours and _CHUNK_NAME.fullmatch(name)):
            continue
        foreign = foreign_key(store, prefix[:-1])
        if foreign is not None:
            return foreign
    return None


def require_array(metadata: NodeMetadata, store: Store, path: str) -> ArrayMetadata:
    """Give the metadata if it is an array's; else raise `NodeTypeError`."""
    if isinstance(metadata, ArrayMetadata):
        return metadata
    raise NodeTypeError(
        f"{path or '/'!r} in {store!r} is a group, not an array", store=store, path=path
    )


def require_group(metadata: NodeMetadata, store: Store, path: str) -> GroupMetadata:
    """Give the metadata if it is a group's; else raise `NodeTypeError`."""
    if isinstance(metadata, GroupMetadata):
        return metadata
    raise NodeTypeError(
        f"{path or '/'!r} in {store!r} is an array, not a group", store=store, path=path
    )

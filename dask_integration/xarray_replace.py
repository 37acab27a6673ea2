"""Replacing a dataset in a folder: the old one stays whole until the new one is.

Floor 5. A group in a local store is a folder, so a new one is written beside it and takes its name
when it is complete (``staging``). The price is disk space for both. Other stores cannot rename:
there the old dataset goes when all has been checked, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import chunkstore as cs
from chunkstore.errors import NodeExistsError
from dask_integration.staging import staged

__all__ = ["can_stage", "replacing"]

_MARK = "__pending__"
"""What marks the place of an array that a job is writing."""

_DOCUMENTS = frozenset(("zarr.json", ".zgroup", ".zattrs", ".zmetadata"))


def can_stage(found: cs.Array | cs.Group | None) -> bool:
    """Whether what a write replaces is a group in a folder."""
    return isinstance(found, cs.Group) and isinstance(found.store, cs.LocalStore)


@contextmanager
def replacing(old: cs.Group) -> Iterator[cs.LocalStore]:
    """Give a store for a new group, which takes the place of an old one if the block ends well.

    Parameters
    ----------
    old : chunkstore.Group
        A group in a local store, open for writing.

    Raises
    ------
    NodeExistsError
        If something lies there that is no Zarr data, and would be deleted with the group.
    """
    store = old.store
    assert isinstance(store, cs.LocalStore)
    folder = Path(store.root, old.path)
    members = _checked_members(old, folder)
    with staged(folder, overwrite=True, members=members) as place:
        yield cs.LocalStore(place, fsync=store.fsync)
        # A change of the group's document drops the copies of it in consolidated metadata above.
        old.update_attributes({})


def _checked_members(group: cs.Group, folder: Path) -> set[str]:
    """Give what a group's folder holds; raise if any of it, at any depth, is no Zarr data."""
    members = dict(group.members())
    entries = {entry.name for entry in folder.iterdir()}
    foreign = sorted(
        entry
        for entry in entries - _DOCUMENTS - set(members)
        # Marks and ledgers, and the arrays of a job that did not end.
        if not entry.startswith("__") and not (folder / entry / _MARK).is_file()
    )
    if foreign:
        raise NodeExistsError(
            f"refused to overwrite {group!r}: {foreign[0]!r} in its folder is no Zarr data. Delete "
            f"it yourself if it can go, or choose another path",
            store=group.store,
            path=group.path,
        )
    for name, member in members.items():
        if isinstance(member, cs.Group):
            _checked_members(member, folder / name)
    return entries

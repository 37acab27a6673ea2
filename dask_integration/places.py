"""Places: where nodes are, what a user types for one on disk, and what has to be there.

Floor 1. A node of a hierarchy in a folder is a folder itself and opens on its own, so a place is
just a path; only when a node is made must the folders above it become groups. Left out: other
stores, whose URLs are refused here until jobs can write to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeExistsError, NodeNotFoundError, StoreError

__all__ = [
    "check_parents",
    "hierarchy_root",
    "is_within",
    "local_place",
    "make_parent_groups",
    "node_place",
]

_SUFFIX = ".zarr"


def node_place(store: cs.Store, path: str) -> tuple[Any, ...]:
    """Give the parts of where a node is, the same for all ways to name the place."""
    parts = tuple(path.split("/")) if path else ()
    if isinstance(store, cs.LocalStore):
        return Path(store.root, *parts).resolve().parts
    return (store, *parts)


def is_within(inner: tuple[Any, ...], outer: tuple[Any, ...]) -> bool:
    """Whether one place is another, or lies in it.

    Examples
    --------
    >>> is_within(("data", "a", "b"), ("data", "a")), is_within(("data", "ab"), ("data", "a"))
    (True, False)
    """
    return inner[: len(outer)] == outer


def local_place(text: str) -> Path:
    """Give the path that is meant by an argument of a command.

    Raises
    ------
    InvalidArgumentError
        For URLs of other stores, and for an empty argument.

    Examples
    --------
    >>> local_place("file:///data/x.zarr/genotypes").as_posix()
    '/data/x.zarr/genotypes'
    """
    scheme, colon, rest = text.partition("://")
    if colon and scheme != "file":
        raise InvalidArgumentError(
            f"cannot run a job on {text}: jobs work on folders, not on {scheme}:// so far"
        )
    if not text:
        raise InvalidArgumentError("cannot run a job on an empty path")
    return Path(rest if colon else text).expanduser()


def check_parents(place: Path) -> None:
    """Raise `NodeExistsError` if a node cannot be made at `place`: an array has no members."""
    for above in _folders_to_root(place):
        if isinstance(_node(above), cs.Array):
            raise NodeExistsError(
                f"cannot write to {place}: {above} is an array, and an array has no members. "
                "Choose a place beside it.",
                path=str(place),
            )


def hierarchy_root(place: Path) -> Path:
    """Give the root of the hierarchy that a node at `place` belongs to.

    From the nearest folder above that is a node, or whose name ends in ``.zarr``, it goes up as
    far as the folders are such. Without one, or if the name of `place` itself ends in ``.zarr``,
    `place` is a root.

    Examples
    --------
    >>> hierarchy_root(Path("/no/study.zarr/chr1/pca")).as_posix()
    '/no/study.zarr'
    >>> hierarchy_root(Path("/no/pca.zarr")).as_posix(), hierarchy_root(Path("/no/pca")).as_posix()
    ('/no/pca.zarr', '/no/pca')
    """
    depth = len(_folders_to_root(place))
    if depth == 0:
        return place
    # As the user wrote it, where that goes up far enough.
    written = place.parents
    return written[depth - 1] if depth < len(written) else place.absolute().parents[depth - 1]


def make_parent_groups(place: Path) -> None:
    """Make groups of the folders from the root of its hierarchy down to a new node."""
    for above in reversed(_folders_to_root(place)):
        if _node(above) is None:
            cs.create_group(str(above))


def _folders_to_root(place: Path) -> list[Path]:
    """List the folders above `place`, innermost first, up to the root of the hierarchy."""
    depth = 0
    if place.suffix != _SUFFIX:
        for number, above in enumerate(place.absolute().parents, start=1):
            if above.suffix == _SUFFIX or _node(above) is not None:
                depth = number
            elif depth:
                break
    return list(place.absolute().parents)[:depth]


def _node(folder: Path) -> cs.Array | cs.Group | None:
    """Open what is at a folder; None for nothing, and for what may not be looked into."""
    try:
        return cs.open(str(folder), mode="r")
    except (NodeNotFoundError, StoreError):
        return None

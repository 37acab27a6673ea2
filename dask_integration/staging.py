"""Results of a job on a local disk: all of them at once, or nothing.

Floor 0. A job writes into a hidden directory beside its destination; only when everything is
written does that directory take the destination's name. Whatever ends the job before, nothing
stands at the destination that was not there before.

Replacing an older result keeps it whole until the new one is whole::

    1  the new result is written to   __chunkstore-partial-3fa9-out.zarr
    2  the old result is renamed to   __chunkstore-replaced-3fa9-out.zarr
    3  the new result is renamed to   out.zarr
    4  the old result is deleted

An interrupt between 2 and 3 is undone; a power cut there leaves both results whole, under these
names. They begin as a `LocalStore`'s temporary names do, so that no listing of a hierarchy shows
them. The price is disk space for both. Left out: stores that cannot rename, such as S3.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from chunkstore.errors import InvalidArgumentError, NodeExistsError, StoreError

__all__ = [
    "check_destination",
    "check_file",
    "checkpoint_place",
    "keep_apart",
    "leftovers",
    "staged",
    "staged_file",
]

_TEMPORARY = "__chunkstore-"
_GROUP_DOCUMENTS = ("zarr.json", ".zgroup")
_DOCUMENTS = frozenset((*_GROUP_DOCUMENTS, ".zattrs", ".zmetadata"))


def check_destination(path: Path, *, overwrite: bool, members: Collection[str]) -> None:
    """Raise if a result may not be put at `path`; touches nothing.

    Parameters
    ----------
    path : Path
        Where the result will stand.
    overwrite : bool
        Whether an older result there may be replaced.
    members : collection of str
        Names of all nodes that a result of this kind can have. A group that holds anything else
        is not replaced: it is not just an older result.

    Raises
    ------
    NodeExistsError
        If something is there that may not be replaced.
    StoreError
        If a directory on the way is a file.
    """
    for parent in path.absolute().parents:
        if parent.exists() and not parent.is_dir():
            raise StoreError(f"cannot write to {path}: {parent} is a file", path=str(path))
    if not _occupied(path):
        return
    if not overwrite:
        raise NodeExistsError(
            f"cannot write to {path}: it exists. Choose another name, or pass --overwrite to "
            "replace it once the new result is complete.",
            path=str(path),
        )
    entries = set(os.listdir(path)) if path.is_dir() else set()
    if not entries.intersection(_GROUP_DOCUMENTS):
        raise NodeExistsError(
            f"cannot overwrite {path}: it is not a Zarr group, so not an older result. "
            "Choose another name, or delete it yourself.",
            path=str(path),
        )
    foreign = sorted(entries.difference(members, _DOCUMENTS))
    if foreign:
        raise NodeExistsError(
            f"cannot overwrite {path}: beside an older result it would delete "
            f"{', '.join(foreign[:5])}{' and more' if len(foreign) > 5 else ''}. "
            "Choose another name, or delete it yourself.",
            path=str(path),
        )


def check_file(path: Path, *, overwrite: bool) -> None:
    """Raise if a single file may not be put at `path`: it exists, or its folder does not."""
    if not path.absolute().parent.is_dir():
        raise StoreError(f"cannot write {path}: there is no folder {path.parent}", path=str(path))
    if path.is_dir() or (path.exists() and not overwrite):
        raise NodeExistsError(
            f"cannot write {path}: it exists. Choose another name, or pass --overwrite.",
            path=str(path),
        )


def keep_apart(source: Path, destination: Path) -> None:
    """Raise if writing `destination` would damage `source`, an array or group that is read.

    Raises
    ------
    InvalidArgumentError
        If one is the other, or the source lies inside the destination.
    """
    origin, target = source.resolve(), destination.resolve()
    if target == origin or target in origin.parents:
        raise InvalidArgumentError(
            f"cannot write the result to {destination}: the input {source} is "
            f"{'that place' if target == origin else 'inside it'}, and would be replaced. "
            "Choose another destination."
        )


def checkpoint_place(path: Path) -> Path:
    """Give the place beside a result where a job keeps what it knows until the result is there.

    Examples
    --------
    >>> checkpoint_place(Path("/data/out.zarr")).name
    '__chunkstore-passes-out.zarr'
    """
    target = path.resolve()
    return target.with_name(f"{_TEMPORARY}passes-{target.name}")


def leftovers(path: Path) -> list[Path]:
    """List what runs that were killed left beside `path`; it may be in use by one still running.

    Examples
    --------
    >>> leftovers(Path("no-such-directory/out.zarr"))
    []
    """
    target = path.resolve()
    found = target.parent.glob(f"{_TEMPORARY}partial-*-*")
    return sorted(place for place in found if place.name.split("-", 3)[3] == target.name)


@contextmanager
def staged(path: Path, *, overwrite: bool, members: Collection[str]) -> Iterator[Path]:
    """Give a new directory that takes the name `path` if the block ends without an error.

    Parameters
    ----------
    path, overwrite, members
        As for `check_destination`, which is called first.

    Yields
    ------
    Path
        An empty directory on the same file system. No task may write to it after the block.

    Raises
    ------
    NodeExistsError, StoreError
        As `check_destination`; also if another process took the name meanwhile.
    """
    check_destination(path, overwrite=overwrite, members=members)
    # A link stays a link: what it points to is replaced.
    target = path.resolve()
    token = secrets.token_hex(4)
    staging = target.with_name(f"{_TEMPORARY}partial-{token}-{target.name}")
    replaced = target.with_name(f"{_TEMPORARY}replaced-{token}-{target.name}")
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"cannot write to {path}: {error.strerror}", path=str(path)) from error
    try:
        yield staging
        check_destination(path, overwrite=overwrite, members=members)
        _take_place(staging, target, replaced)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Give the name of a new file that replaces `path` if the block ends without an error."""
    target = path.resolve()
    staging = target.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{target.name}")
    try:
        yield staging
        staging.replace(target)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}", path=str(path)) from error
    finally:
        staging.unlink(missing_ok=True)


def _occupied(path: Path) -> bool:
    """Whether something is at `path` that could be lost; an empty directory is not."""
    if path.is_dir():
        return bool(os.listdir(path))
    return os.path.lexists(path)


def _take_place(staging: Path, target: Path, replaced: Path) -> None:
    """Give `staging` the name of `target`, whose content moves to `replaced`."""
    if not _occupied(target):
        os.rename(staging, target)
        return
    os.rename(target, replaced)
    try:
        os.rename(staging, target)
    except BaseException:
        if not target.exists():
            os.rename(replaced, target)
        raise

"""Finding and removing what killed processes left in a folder.

Floor 6. Nothing of it is ever read or listed: it takes space, and nothing else. What may still be
somebody's work is left alone: a half-written value goes when the process that was writing it is
known to be gone, or, if that was on another machine, when nothing was written for long; a lock
goes when nobody holds it; an array that no job has finished goes only if that is asked for, since
the job may be run again to finish it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from chunkstore.documents import PENDING, delete_node, foreign_key, has_document
from chunkstore.errors import InvalidArgumentError, StoreError
from chunkstore.keys import TEMPORARY
from chunkstore.stores.local import LocalStore
from chunkstore.stores.resolve import resolve
from chunkstore.stores.temporary import LOCK, writer_of

__all__ = ["Leftover", "clean"]


class Leftover(NamedTuple):
    """One thing that a process left behind, or is at work on.

    Examples
    --------
    >>> Leftover("lock", "__chunkstore-lock-value-00", 0, 5.0, True, "nobody holds it").can_go
    True
    """

    kind: str
    """A "half-written value", "deleted folder", "lock", "unfinished array", "mark" or "other"."""
    path: str
    """Below the root of the store."""
    n_bytes: int
    age_s: float
    """Seconds since anything of it was written."""
    can_go: bool
    why: str
    """Why it can go, or cannot."""


def clean(
    store: Any,
    *,
    older_than_s: float = 86_400.0,
    pending: bool = False,
    dry_run: bool = True,
) -> list[Leftover]:
    """Find what killed processes left in a folder, and remove it if that is wanted.

    Parameters
    ----------
    store : LocalStore, str or Path
        A folder.
    older_than_s : float
        What a process of another machine made, and an array that a job has not finished, counts
        as left behind when nothing was written to it for so many seconds; a day by default.
    pending : bool
        Whether arrays that no job has finished may go too.
    dry_run : bool
        Only look. By default nothing is removed.

    Returns
    -------
    list of Leftover
        All that was found, in order of paths; with ``dry_run=False`` what was removed.

    Raises
    ------
    InvalidArgumentError
        If the store is no folder, or the folder is not there: other stores leave nothing half
        written behind.

    Notes
    -----
    Walks through all folders. May run while others work with the store.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     LocalStore(folder).set("a", b"1")
    ...     clean(folder)
    []
    """
    where = resolve(store)
    if not isinstance(where, LocalStore):
        raise InvalidArgumentError(
            f"there is nothing to clean in {where!r}: only folders can hold half-written values "
            f"and stale locks. An unfinished array is replaced with overwrite=True"
        )
    if not os.path.isdir(where.root):
        raise InvalidArgumentError(f"there is no folder {where.root!r} to clean")
    if not dry_run:
        where.check_writable()
    rules = _Rules(where, older_than_s, pending)
    try:
        found = list(rules.leftovers(""))
        if dry_run:
            return found
        return [leftover for leftover in found if leftover.can_go and rules.remove(leftover)]
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"cannot clean {where!r}: {error.strerror or error} ({error.filename!r})", store=where
        ) from error


class _Rules(NamedTuple):
    """What counts as left behind in one folder."""

    store: LocalStore
    older_than_s: float
    pending: bool

    def leftovers(self, prefix: str) -> Iterator[Leftover]:
        """Iterate over all that is not finished below a prefix, in order."""
        try:
            names = sorted(os.listdir(f"{self.store.root}/{prefix}"))
        except (FileNotFoundError, NotADirectoryError):
            return
        if PENDING in names:
            yield self.unfinished(prefix[:-1])
        for name in names:
            path = prefix + name
            if name.startswith(TEMPORARY):
                found = self.temporary(path)
                if found is not None:
                    yield found
            elif os.path.isdir(self.file(path)) and not os.path.islink(self.file(path)):
                yield from self.leftovers(f"{path}/")

    def temporary(self, path: str) -> Leftover | None:
        """Describe what has a temporary name; None if it has just gone."""
        name = path.rpartition("/")[2]
        file = self.file(path)
        try:
            n_bytes, age_s = _extent(file)
        except FileNotFoundError:
            return None  # Its writer was alive and has finished.
        if name.startswith(LOCK):
            is_free = _is_free(file)
            return Leftover(
                "lock", path, n_bytes, age_s, is_free,
                "nobody holds it" if is_free else "somebody holds it, or that cannot be told",
            )  # fmt: skip
        writer = writer_of(name)
        kind = "deleted folder" if os.path.isdir(file) else "half-written value"
        if writer is None:
            return Leftover(
                "other", path, n_bytes, age_s, False,
                "of a job, or of another program; delete it yourself if that has ended",
            )  # fmt: skip
        if writer == "elsewhere":
            can_go = age_s >= self.older_than_s
            why = f"of another machine, or before a restart; last written {_ago(age_s)}"
        else:
            can_go = writer == "gone"
            why = f"the process that made it is {writer}"
        return Leftover(kind, path, n_bytes, age_s, can_go, why)

    def unfinished(self, path: str) -> Leftover:
        """Describe what has the mark of an array that a job is writing."""
        is_old = _extent(self.file(f"{path}/{PENDING}"))[1] >= self.older_than_s
        if has_document(self.store, path):
            # Killed between the last two steps: the array is there, and its mark means nothing.
            mark = f"{path}/{PENDING}".lstrip("/")
            n_bytes, age_s = _extent(self.file(mark))
            return Leftover("mark", mark, n_bytes, age_s, is_old, "the array is finished")
        n_bytes, age_s = _extent(self.file(path))
        foreign = foreign_key(self.store, path)
        if foreign is not None:
            can_go, why = False, f"other data is there too: {foreign!r}"
        elif age_s < self.older_than_s:
            can_go, why = False, f"last written {_ago(age_s)}, so a job may be at work"
        else:
            can_go, why = self.pending, f"last written {_ago(age_s)}; its job may be run again"
        return Leftover("unfinished array", path, n_bytes, age_s, can_go, why)

    def remove(self, leftover: Leftover) -> bool:
        """Remove one, if it still can go; False if it has gone already."""
        file = self.file(leftover.path)
        if leftover.kind == "lock":
            return _is_free(file, unlink=True)
        if leftover.kind == "unfinished array":
            if not self.unfinished(leftover.path).can_go:
                return False
            delete_node(self.store, leftover.path)
            return True
        try:
            shutil.rmtree(file) if os.path.isdir(file) else os.unlink(file)
        except FileNotFoundError:
            return False
        return True

    def file(self, path: str) -> str:
        """Give the name of a file or folder of the store."""
        return f"{self.store.root}/{path}"


def _extent(file: str) -> tuple[int, float]:
    """Give the bytes of a file, or of all below a folder, and the seconds since the last write."""
    status = os.lstat(file)
    n_bytes = 0 if os.path.isdir(file) else status.st_size
    latest = _changed(status)
    for folder, _, names in os.walk(file):
        for name in ("", *names):
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(folder, name))
                n_bytes += status.st_size if name else 0
                latest = max(latest, _changed(status))
    return n_bytes, max(0.0, time.time() - latest)


def _changed(status: os.stat_result) -> float:
    """Give the time of the last write, or of the renaming that made a folder a leftover."""
    return max(status.st_mtime, status.st_ctime)


def _is_free(file: str, *, unlink: bool = False) -> bool:
    """Whether nobody holds a lock; removes its file, as its holder would have, if that is asked."""
    try:
        handle = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), os.stat(file)):
            return False
        if unlink:
            os.unlink(file)
    except OSError:
        # It is held, or has just gone, or cannot be told.
        return False
    finally:
        os.close(handle)
    return True


def _ago(age_s: float) -> str:
    """Say how long ago something was, in the unit that fits.

    Examples
    --------
    >>> _ago(30), _ago(7300), _ago(86400 * 3)
    ('30 seconds ago', '2 hours ago', '3 days ago')
    """
    for unit_s, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if age_s >= 2 * unit_s:
            return f"{age_s // unit_s:.0f} {unit} ago"
    return f"{age_s:.0f} seconds ago"

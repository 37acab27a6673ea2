"""`LocalStore`: each value a file in a folder.

Floor 2. A key ``a/b/c`` is the file ``a/b/c`` below the root. A value is written to a temporary
file beside its place and renamed over it, so that it is there as a whole or not at all, also when
the process is killed. Temporary names start with ``__``, which no key of a node does; listings
skip them.

A prefix is forgotten by renaming its folder to such a name first: it disappears in one step, and
a kill in between leaves rubbish under a reserved name but nothing half deleted. Temporary names
say which process made them, so that what a dead one left behind can be told from work in hand.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import shutil
import stat
from collections.abc import Iterator
from typing import Any, NoReturn

from chunkstore.errors import InvalidArgumentError, StoreError
from chunkstore.keys import TEMPORARY, check_key, check_prefix
from chunkstore.stores.base import Listing, LockKind, OpenValue, Store, thread_lock
from chunkstore.stores.stamps import files_stamp
from chunkstore.stores.temporary import LOCK, digest, temporary_name, temporary_prefix
from chunkstore.types import Buffer, ByteRange

__all__ = ["LocalStore"]

_MOST_SYNCED = 4096
"""Folders remembered as being on the disk for good, which are not synchronised again."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore(Store):
    """A store in a folder of a file system.

    Parameters
    ----------
    root : str or Path
        The folder; made with the first write. Kept as an absolute path.
    read_only : bool
        Refuse every change through this handle.
    fsync : bool
        Return from a change only when it is on the disk, so that it outlives a power cut: each
        file is synchronised before it gets its name, and its folder after. By default the
        operating system writes when it sees fit; a crash of the process loses nothing either way.
    single_writer : bool
        Promise that no other process changes what this one does. Then no files are locked, for
        file systems that have no locks, as Lustre is often mounted.

    Notes
    -----
    Threads and processes may use the same folder at once: each sees a value before or after a
    replacement, never in between. Updates lock a file (see `lock`) rather than compare and swap,
    which no file system offers.

    What `fsync` costs, measured by one thread on a virtual disk (ext4), with and without in turns:
    replacing a value of 4 KiB takes 60 to 80 times as long, about 16 ms; one of 1 MiB 4 to 5 times;
    one of 16 MiB 1.1 to 1.7 times. Large chunks, or shards, and several threads hide most of it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = LocalStore(folder)
    ...     store.set("a/b", b"1")
    ...     store.get("a/b")
    b'1'
    """

    __slots__ = ("_synced", "fsync", "root", "single_writer")

    deletes_at_once = True
    guards_updates = True

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        read_only: bool = False,
        fsync: bool = False,
        single_writer: bool = False,
    ) -> None:
        super().__init__(read_only=read_only)
        given = os.fsdecode(root)
        if not given:
            raise InvalidArgumentError("'' names no folder; for the current one give '.'")
        path = os.path.abspath(os.path.expanduser(given))
        if not os.path.isdir(path) and os.path.exists(path):
            raise InvalidArgumentError(
                f"{given!r} is a file; a LocalStore needs a folder, or a path where it "
                f"can make one",
                path=path,
            )
        self.root = path
        self.fsync = fsync
        self.single_writer = single_writer
        self._synced: set[str] = set()

    def spec(self) -> tuple[str, dict[str, Any]]:
        """Give the folder, and how it is used."""
        return self.root, {
            "read_only": self.read_only,
            "fsync": self.fsync,
            "single_writer": self.single_writer,
        }

    def __hash__(self) -> int:
        # As the base has it, but without a spec: asked for with every chunk that is written.
        return hash(self.root)

    __eq__ = Store.__eq__

    def place(self, key: str) -> str:
        """Give the name of the file or folder."""
        return f"{self.root}/{key}" if key else self.root

    def enclosing(self) -> LocalStore | None:
        """Give the store of the folder above the root."""
        above = os.path.dirname(self.root)
        if above == self.root:
            return None
        return LocalStore(above, fsync=self.fsync, single_writer=self.single_writer)

    def get(self, key: str) -> bytes | None:
        """Read the file of a key."""
        try:
            # A file object would ask the system for twice as much.
            handle = os.open(self._file(key), os.O_RDONLY)
            try:
                return _read_all(handle)
            finally:
                os.close(handle)
        except _ABSENT:
            return None
        except OSError as error:
            self._fail("read", key, error)

    def open_value(self, key: str, first: ByteRange | None = None) -> OpenValue | None:
        """Open the file of a key; it stays this version even if it is replaced meanwhile."""
        try:
            handle = os.open(self._file(key), os.O_RDONLY)
        except _ABSENT:
            return None
        except OSError as error:
            self._fail("read", key, error)
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            os.close(handle)
            return None
        return _OpenFile(self, key, handle, status.st_size)

    def set(self, key: str, value: Buffer) -> None:
        """Write a temporary file and rename it into place."""
        self.check_writable()
        file = self._file(key)
        folder = os.path.dirname(file)
        temporary = f"{folder}/{temporary_name()}"
        try:
            try:
                # Made inside, so that an interrupt just after it leaves no file behind.
                with self._new_file(temporary) as raw:
                    _write_all(raw.fileno(), value)
                    if self.fsync:
                        os.fsync(raw.fileno())
                os.replace(temporary, file)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            self._sync(folder)
        except OSError as error:
            self._fail("write", key, error)

    def _new_file(self, file: str) -> io.FileIO:
        try:
            return open(file, "xb", buffering=0)
        except FileNotFoundError:
            folder = os.path.dirname(file)
            os.makedirs(folder, exist_ok=True)
            self._synced.discard(folder)
            return open(file, "xb", buffering=0)

    def _sync(self, folder: str) -> None:
        """Bring the names in a folder to the disk, and the folder's own if that may be new."""
        if not self.fsync:
            return
        _sync_folder(folder)
        # Another process may have made the folders above and not have come to its own sync yet.
        while folder not in self._synced and folder != "/":
            if len(self._synced) >= _MOST_SYNCED:
                self._synced.clear()
            above = os.path.dirname(folder)
            # Nobody who may not look into a folder has just made one in it.
            with contextlib.suppress(PermissionError):
                _sync_folder(above)
            self._synced.add(folder)
            folder = above

    def delete(self, key: str) -> None:
        """Remove the file of a key."""
        self.check_writable()
        file = self._file(key)
        try:
            os.unlink(file)
            self._sync(os.path.dirname(file))
        except _ABSENT:
            return
        except OSError as error:
            # A folder is no value; not every system says so with IsADirectoryError.
            if not os.path.isdir(file):
                self._fail("delete", key, error)

    def delete_prefix(self, prefix: str) -> None:
        """Remove the folder of a prefix; it disappears in one step."""
        self.check_writable()
        folder = self._folder(prefix)
        doomed = f"{os.path.dirname(folder)}/{temporary_name()}"
        try:
            if not prefix:
                # The root itself may be a mount point or the caller's temporary folder.
                for entry in os.listdir(folder):
                    _remove(f"{folder}/{entry}")
                self._sync(folder)
                return
            # A file of this name is a value of its own, not one under the prefix.
            if os.path.isdir(folder):
                os.rename(folder, doomed)
                self._sync(os.path.dirname(folder))
                _remove(doomed)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._fail("delete", prefix, error)

    def file_prefix(self, prefix: str) -> str | None:
        """Give the path that the files of all keys with a prefix start with."""
        # A class that reads in its own way is asked to.
        return f"{self.root}/{prefix}" if type(self).get is LocalStore.get else None

    def temporary_prefix(self) -> str | None:
        """Give the start of temporary names, where files need not be synchronised."""
        # A class that writes in its own way is asked to.
        plain = type(self).set is LocalStore.set and type(self).delete is LocalStore.delete
        return temporary_prefix() if plain and not self.fsync and not self.read_only else None

    def move_prefix(self, old: str, new: str) -> bool:
        """Rename the folder of a prefix; all its keys change in one step."""
        self.check_writable()
        if not old or not new:
            return False
        source = self._file(check_key(old.rstrip("/")))
        target = self._file(check_key(new.rstrip("/")))
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(source, target)
            self._sync(os.path.dirname(target))
            self._sync(os.path.dirname(source))
        except OSError as error:
            self._fail("move", old, error)
        return True

    @contextlib.contextmanager
    def lock(self, kind: LockKind, name: str) -> Iterator[None]:
        """Hold a lock that other processes respect too, on any machine that shares the folder.

        It is a file that the operating system locks (``flock``), so it ends with the process that
        holds it, however that dies. A node's lies in its folder and a value's beside it, so that
        it is the same one for every store that the place is in. The file is removed by its holder;
        whoever waited for the removed file sees that it is no longer the one in the folder and
        starts again.

        On a network file system the lock holds as far as that passes ``flock`` on, as NFS does
        between Linux machines; one that has no locks is an error here, and one that is mounted
        with locks of the one machine only (``local_lock``, ``localflock``) cannot be told.
        """
        with thread_lock(self, kind, name):
            if self.single_writer:
                yield
                return
            file = self._lock_file(kind, name)
            handle = self._locked_file(file, name)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    # Not another's, who found none: ours may have been moved away, with the node.
                    if _is_file(handle, file):
                        os.unlink(file)
                # Closing alone would not do: a process forked meanwhile has the handle too, and
                # would hold the lock against everyone, itself included.
                fcntl.flock(handle, fcntl.LOCK_UN)
                os.close(handle)

    def _lock_file(self, kind: LockKind, name: str) -> str:
        if kind == "node":
            return f"{self._file(name) if name else self.root}/{LOCK}node"
        folder, _, last = self._file(name).rpartition("/")
        return f"{folder}/{LOCK}{digest(last, 8)}"

    def _locked_file(self, file: str, name: str) -> int:
        try:
            while True:
                try:
                    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
                except FileNotFoundError:
                    os.makedirs(os.path.dirname(file), exist_ok=True)
                    continue
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    if _is_file(handle, file):
                        return handle
                except BaseException:
                    os.close(handle)
                    raise
                os.close(handle)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                with contextlib.suppress(OSError):
                    os.unlink(file)
                raise StoreError(
                    f"cannot lock {name or '/'!r} in {self!r}: the file system has no locks "
                    f"({error.strerror}), so other processes cannot be kept out, and what two of "
                    f"them update at once would be lost. If no other process writes there, open "
                    f"the store with single_writer=True",
                    store=self,
                    key=name,
                    errno=error.errno,
                ) from error
            self._fail("lock", name, error)

    def exists(self, key: str) -> bool:
        """Whether the file of a key is there."""
        return self.size(key) is not None

    def size(self, key: str) -> int | None:
        """Give the length of the file of a key."""
        try:
            status = os.stat(self._file(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._fail("read", key, error)
        return None if stat.S_ISDIR(status.st_mode) else status.st_size

    def list_dir(self, prefix: str) -> Listing:
        """List a folder; temporary names are left out."""
        keys: list[str] = []
        prefixes: list[str] = []
        try:
            with os.scandir(self._folder(prefix)) as entries:
                for entry in entries:
                    if entry.name.startswith(TEMPORARY):
                        continue
                    if entry.is_dir():
                        prefixes.append(f"{prefix}{entry.name}/")
                    else:
                        keys.append(prefix + entry.name)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            self._fail("list", prefix, error)
        return Listing(tuple(sorted(keys)), tuple(sorted(prefixes)))

    def content_stamp(self, prefix: str) -> str | None:
        """Give a stamp made of what the file system notes of each file; see `files_stamp`."""
        try:
            return files_stamp(self._folder(prefix))
        except OSError as error:
            self._fail("list", prefix, error)

    def _file(self, key: str) -> str:
        # Checked for reading too: no key leads out of the root.
        return f"{self.root}/{check_key(key)}"

    def _folder(self, prefix: str) -> str:
        return f"{self.root}/{check_prefix(prefix)[:-1]}" if prefix else self.root

    def _fail(self, verb: str, key: str, error: OSError) -> NoReturn:
        raise StoreError(
            f"cannot {verb} {key!r} in {self!r}: {error.strerror or error}",
            store=self,
            key=key,
            errno=error.errno,
        ) from error


class _OpenFile(OpenValue):
    """A file of the store, read in parts at given offsets, by any number of threads."""

    __slots__ = ("_handle", "_key", "_store")

    def __init__(self, store: LocalStore, key: str, handle: int, n_bytes: int) -> None:
        self._store = store
        self._key = key
        self._handle = handle
        self.n_bytes = n_bytes

    def read(self, part: ByteRange) -> bytes:
        start = part.start if part.start >= 0 else max(0, self.n_bytes + part.start)
        length = self.n_bytes - start if part.length is None else part.length
        pieces: list[bytes] = []
        try:
            while length > 0:
                piece = os.pread(self._handle, length, start)
                if not piece:
                    break
                pieces.append(piece)
                start, length = start + len(piece), length - len(piece)
        except OSError as error:
            self._store._fail("read", self._key, error)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_file(handle: int, file: str) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        status = os.fstat(handle)
        # A network file system may know by the handle alone that the file is gone.
        return status.st_nlink > 0 and os.path.samestat(status, os.stat(file))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            return False
        raise


def _read_all(handle: int) -> bytes:
    """Read a file to its end, wherever that is by then."""
    size = os.fstat(handle).st_size
    value = os.read(handle, size + 1)
    if len(value) == size:
        return value
    # It changes meanwhile, or is longer than the system reads at once.
    pieces = [value]
    while pieces[-1]:
        pieces.append(os.read(handle, 1 << 24))
    return b"".join(pieces)


def _write_all(handle: int, value: Buffer) -> None:
    rest = memoryview(value).cast("B")
    while rest.nbytes:
        rest = rest[os.write(handle, rest) :]

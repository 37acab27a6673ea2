"""`ZipStore`: all values in one zip file, to be read, or to be written once.

Floor 2. Reading takes a path or a file object, also one on a remote file; entries that are stored
without compression are read in parts and by many threads at once. Writing goes to a temporary file
that gets its name when the store is closed, so the zip file is there as a whole or not at all.

A zip file cannot be changed safely in place: its directory is at the end, and a process killed
while it writes a new one leaves a file that nobody can read. So there is no mode to append.

Source: PKWARE APPNOTE 6.3.9, sections 4.3.7 (local file header) and 4.4 (fields).
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import threading
import warnings
import weakref
import zipfile
import zlib
from typing import IO, BinaryIO, Literal, NoReturn, Self

from chunkstore.errors import ChunkStoreError, InvalidArgumentError, ReadOnlyError, StoreError
from chunkstore.keys import check_key
from chunkstore.stores.base import Listing, OpenValue, Store, first_and_last, listing_of
from chunkstore.stores.temporary import temporary_name
from chunkstore.types import Buffer, ByteRange

__all__ = ["ZipStore"]

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1
_OLDEST = (1980, 1, 1, 0, 0, 0)


class ZipStore(Store):
    """A store in a zip file.

    Parameters
    ----------
    file : str, Path or binary file object
        The zip file. A file object must be able to seek, is used under a lock and stays open.
    mode : {"r", "w", "x"}
        ``"r"`` reads. ``"w"`` writes a new file, which replaces one of that name when the store
        is closed; ``"x"`` refuses to replace. Values can be read back while it is written.

    Notes
    -----
    Close the store, or use it in a ``with`` statement: a written file appears then, synchronised
    to the disk. If the statement ends in an exception, or the store is never closed, nothing
    appears. Values are stored as they are, since chunks are compressed already. Replacing a value
    leaves the bytes of the old one behind in the file, without an entry.

    Only a store that reads a path can be sent to another process.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with ZipStore(f"{folder}/x.zip", mode="w") as store:
    ...         store.set("a/b", b"1")
    ...     with ZipStore(f"{folder}/x.zip") as store:
    ...         store.get("a/b")
    b'1'
    """

    __slots__ = ("_archive", "_lock", "_target", "file", "mode")

    guards_updates = True

    def __init__(
        self, file: str | os.PathLike[str] | BinaryIO, mode: Literal["r", "w", "x"] = "r"
    ) -> None:
        super().__init__(read_only=mode == "r")
        if mode not in ("r", "w", "x"):
            raise InvalidArgumentError(
                f'mode of a ZipStore must be "r", "w" or "x", got {mode!r}. A zip file cannot be '
                f"changed safely; to add to one, copy it into a new one with chunkstore.copy"
            )
        self.mode: Literal["r", "w", "x", "closed"] = mode
        self._lock = threading.Lock()
        self._archive: _Archive | None = None
        self._target: _Target | None = None
        if isinstance(file, (str, os.PathLike)):
            self.file: str | BinaryIO = os.path.abspath(os.path.expanduser(os.fsdecode(file)))
        elif mode == "r":
            self.file = file
        else:
            raise InvalidArgumentError(
                "a ZipStore is written to a path: it gets its name when it is whole, and a file "
                "object has no name to get"
            )
        if mode == "r":
            self._reader()
        else:
            self._start_writing()

    def __repr__(self) -> str:
        return f"ZipStore({self.file!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ZipStore):
            return False
        is_same = self.mode == other.mode == "r" and self.file == other.file
        return self is other or is_same

    def __hash__(self) -> int:
        return hash(self.file)

    def __reduce__(self) -> tuple[object, ...]:
        if self.mode != "r" or not isinstance(self.file, str):
            raise InvalidArgumentError(
                f"{self!r} cannot be sent to another process: only a ZipStore that reads a path can"
            )
        return _restore, (self.file,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def __del__(self) -> None:
        if getattr(self, "_target", None) is not None:
            self._discard()
            warnings.warn(
                f"{self!r} was never closed: the zip file was not written",
                ResourceWarning,
                stacklevel=2,
            )

    def close(self) -> None:
        """End the use of the file; a written one appears under its name now.

        Raises
        ------
        StoreError
            If the file cannot be written, or in mode ``"x"`` if one of that name is there.
        """
        target, self._target = self._target, None
        self._archive = None
        self.mode = "closed"
        if target is not None:
            try:
                target.publish()
            except OSError as error:
                self._fail("write", "", error)

    def check_writable(self) -> None:
        """Raise `ReadOnlyError` if the zip file is open for reading."""
        if self.mode == "r":
            raise ReadOnlyError(
                f"{self!r} is read-only: a zip file cannot be changed. To write a new one, use "
                f"ZipStore(path, mode='w') and close it",
                store=self,
            )
        super().check_writable()

    def get(self, key: str) -> bytes | None:
        """Read an entry as a whole and check it against its checksum."""
        try:
            return self._reader().get(check_key(key))
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            self._fail("read", key, error)

    def open_value(self, key: str, first: ByteRange | None = None) -> OpenValue | None:
        """Open an entry; parts are read alone where it is stored without compression."""
        try:
            archive = self._reader()
            entry = archive.entries.get(check_key(key))
            if entry is not None and archive.is_plain(entry):
                return _OpenEntry(self, archive, entry)
        except (OSError, zipfile.BadZipFile) as error:
            self._fail("read", key, error)
        return super().open_value(key)

    def size(self, key: str) -> int | None:
        """Give the length of a value."""
        entry = self._reader().entries.get(key)
        return None if entry is None else entry.file_size

    def exists(self, key: str) -> bool:
        """Whether there is an entry for a key."""
        return key in self._reader().entries

    def set(self, key: str, value: Buffer) -> None:
        """Add an entry to the file that is being written."""
        self.check_writable()
        check_key(key)
        try:
            with self._lock:
                self._writer().add(key, value)
        except (OSError, zipfile.LargeZipFile) as error:
            self._fail("write", key, error)

    def delete(self, key: str) -> None:
        """Take an entry out of the directory of the file that is being written."""
        self.check_writable()
        with self._lock:
            self._writer().forget(key)

    def list_dir(self, prefix: str) -> Listing:
        """Give what is directly under a prefix; looks at every entry."""
        return listing_of(tuple(self._reader().entries), prefix)

    def _reader(self) -> _Archive:
        if self._archive is not None:
            return self._archive
        if self.mode != "r":
            raise StoreError(f"{self!r} is closed", store=self)
        try:
            self._archive = (
                _shared_archive(self.file)
                if isinstance(self.file, str)
                else _Archive(_ObjectSource(self.file))
            )
        except (OSError, zipfile.BadZipFile, RuntimeError) as error:
            self._fail("open", "", error)
        return self._archive

    def _start_writing(self) -> None:
        assert isinstance(self.file, str)
        try:
            self._target = _Target(self.file, replace=self.mode == "w")
        except OSError as error:
            self._fail("write", "", error)
        self._archive = _Archive(self._target.source, self._target.entries)

    def _writer(self) -> _Target:
        if self._target is None:
            raise StoreError(f"{self!r} is closed", store=self)
        return self._target

    def _discard(self) -> None:
        target, self._target = self._target, None
        self._archive = None
        self.mode = "closed"
        if target is not None:
            target.discard()

    def _fail(self, verb: str, key: str, error: Exception) -> NoReturn:
        if isinstance(error, ChunkStoreError):
            raise error
        what = f"{key!r} in {self!r}" if key else repr(self)
        text = getattr(error, "strerror", None) or error
        raise StoreError(
            f"cannot {verb} {what}: {text}",
            store=self,
            key=key,
            errno=getattr(error, "errno", None),
        ) from error


def _restore(file: str) -> ZipStore:
    store = ZipStore.__new__(ZipStore)
    Store.__init__(store, read_only=True)
    store.file, store.mode = file, "r"
    store._lock, store._archive, store._target = threading.Lock(), None, None
    return store


# -- where the bytes are --------------------------------------------------------------------------


class _LocalSource:
    """A file of this machine, read at any place by any number of threads."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __del__(self) -> None:
        os.close(self._handle)

    def file(self) -> IO[bytes]:
        return open(self._handle, "rb", closefd=False)

    def read(self, start: int, n_bytes: int) -> bytes:
        pieces: list[bytes] = []
        while n_bytes > 0 and (piece := os.pread(self._handle, n_bytes, start)):
            pieces.append(piece)
            start, n_bytes = start + len(piece), n_bytes - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _ObjectSource:
    """A file object, which has one place to read at and so serves one thread after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._process = os.getpid()

    def file(self) -> IO[bytes]:
        return self._file

    def read(self, start: int, n_bytes: int) -> bytes:
        if os.getpid() != self._process:
            # Its place in the file is shared with the parent: each would read what the other seeks.
            raise OSError(
                errno.EBADF,
                "the file object belongs to the process that this one was forked from; open the "
                "file again here",
            )
        with self._lock:
            self._file.seek(start)
            pieces: list[bytes] = []
            while n_bytes > 0 and (piece := self._file.read(n_bytes)):
                pieces.append(piece)
                n_bytes -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


_Source = _LocalSource | _ObjectSource


class _Archive:
    """The entries of one zip file, and how to read them."""

    def __init__(self, source: _Source, entries: dict[str, zipfile.ZipInfo] | None = None) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._starts: dict[int, int] = {}
        if entries is None:
            with zipfile.ZipFile(source.file()) as archive:
                entries = {i.filename: i for i in archive.infolist() if _is_key(i.filename)}
        self.entries = entries

    def is_plain(self, entry: zipfile.ZipInfo) -> bool:
        return entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & _ENCRYPTED

    def get(self, key: str) -> bytes | None:
        entry = self.entries.get(key)
        if entry is None:
            return None
        is_deflated = entry.compress_type == zipfile.ZIP_DEFLATED
        if entry.flag_bits & _ENCRYPTED or not (is_deflated or self.is_plain(entry)):
            with self._lock, zipfile.ZipFile(self.source.file()) as archive:
                return archive.read(entry)
        value = self.source.read(self.start_of(entry), entry.compress_size)
        if is_deflated:
            # No more than was announced, however much the bytes may expand to.
            value = zlib.decompressobj(-zlib.MAX_WBITS).decompress(value, entry.file_size + 1)
        if len(value) != entry.file_size or zlib.crc32(value) != entry.CRC:
            raise zipfile.BadZipFile("the entry is damaged: its length or checksum is wrong")
        return value

    def start_of(self, entry: zipfile.ZipInfo) -> int:
        """Find the first byte of an entry's data, behind a header of its own length."""
        start = self._starts.get(entry.header_offset)
        if start is None:
            header = self.source.read(entry.header_offset, _LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
                raise zipfile.BadZipFile(f"no entry starts at byte {entry.header_offset}")
            _, n_name, n_extra = _LOCAL_HEADER.unpack(header)
            start = entry.header_offset + _LOCAL_HEADER.size + n_name + n_extra
            self._starts[entry.header_offset] = start
        return start


class _OpenEntry(OpenValue):
    """An entry that is stored as it is, read in parts."""

    __slots__ = ("_archive", "_entry", "_store")

    def __init__(self, store: ZipStore, archive: _Archive, entry: zipfile.ZipInfo) -> None:
        self._store = store
        self._archive = archive
        self._entry = entry
        self.n_bytes = entry.file_size

    def read(self, part: ByteRange) -> bytes:
        start, stop = first_and_last(part, self.n_bytes)
        try:
            return self._archive.source.read(
                self._archive.start_of(self._entry) + start, stop - start
            )
        except (OSError, zipfile.BadZipFile) as error:
            self._store._fail("read", self._entry.filename, error)


_ARCHIVES: weakref.WeakValueDictionary[tuple[object, ...], _Archive] = weakref.WeakValueDictionary()


def _shared_archive(path: str) -> _Archive:
    """Open a zip file, or find it open already: its directory is read once for all handles."""
    handle = os.open(path, os.O_RDONLY)
    source = _LocalSource(handle)
    status = os.fstat(handle)
    key = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    found = _ARCHIVES.get(key)
    if found is None:
        found = _ARCHIVES[key] = _Archive(source)
    return found


def _is_key(name: str) -> bool:
    """Whether an entry is a value: folders have entries too, and names may lead anywhere."""
    try:
        check_key(name)
    except InvalidArgumentError:
        return False
    return True


# -- writing --------------------------------------------------------------------------------------


class _Target:
    """A zip file that is being written, under a name that it will not keep."""

    def __init__(self, path: str, *, replace: bool) -> None:
        self._path = path
        self._replace = replace
        if not replace and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "a file of that name is there", path)
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        self._temporary = f"{folder}/{temporary_name()}"
        handle = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self.source = _LocalSource(handle)
        self._file = open(handle, "w+b", closefd=False)  # noqa: SIM115  (closed at the end)
        self._archive = zipfile.ZipFile(self._file, "w")
        self._is_broken = False
        self.entries: dict[str, zipfile.ZipInfo] = {}

    def add(self, key: str, value: Buffer) -> None:
        data = bytes(value)
        entry = zipfile.ZipInfo(key, _OLDEST)
        entry.external_attr = 0o644 << 16
        try:
            self._unlist(key)
            self._archive.writestr(entry, data)
            self._file.flush()
        except BaseException:
            self._is_broken = True
            raise
        # Only now, so that readers find the value before or this one.
        self.entries[key] = entry

    def forget(self, key: str) -> None:
        self.entries.pop(key, None)
        self._unlist(key)

    def _unlist(self, key: str) -> None:
        entry = self._archive.NameToInfo.pop(key, None)
        if entry is not None:
            self._archive.filelist.remove(entry)

    def publish(self) -> None:
        try:
            if self._is_broken:
                raise OSError("a value could not be written, so the file is not whole")
            self._archive.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            if self._replace:
                os.replace(self._temporary, self._path)
            else:
                os.link(self._temporary, self._path)
        finally:
            self.discard()

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)
        # Closing a broken archive writes a directory to a file that has no name any more.
        with contextlib.suppress(OSError, ValueError):
            self._archive.close()
        with contextlib.suppress(OSError):
            self._file.close()

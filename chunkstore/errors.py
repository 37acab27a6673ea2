"""Every exception that chunkstore raises on purpose.

Floor 0. Each class also derives from the builtin a caller would expect to catch, and keeps the
facts of the failure as attributes, so that a program can act on them without parsing the text.

::

    ChunkStoreError
    ├── InvalidArgumentError   (ValueError)       an argument that cannot be meant
    │   └── AlignmentError                        blocks that would share a write unit
    ├── MetadataError          (ValueError)       a metadata document that breaks its format
    ├── CodecError             (ValueError)       bytes or values a codec cannot encode or decode
    │   └── ChecksumError                         bytes that do not match their checksum
    ├── ChunkError             (ValueError)       a stored chunk that cannot be read; names its key
    ├── SelectionError         (IndexError)       a selection outside the array, or not understood
    ├── NodeNotFoundError      (FileNotFoundError, KeyError)   no array or group at a path
    ├── NodeTypeError          (TypeError)        an array where a group was asked for, or reverse
    ├── NodeExistsError        (FileExistsError, ValueError)   refused: something is there already
    ├── ConflictError          (RuntimeError)     another writer changed what this one started from
    ├── MissingChunkError      (KeyError)         a chunk that is not stored, under ``"error"``
    ├── StoreError             (OSError)          the store failed: network, disk, permission
    ├── ReadOnlyError          (PermissionError)  a write through a read-only handle
    └── MissingExtraError      (ImportError)      an optional dependency is not installed

Source: architecture page, section 7.
"""

from __future__ import annotations

__all__ = [
    "AlignmentError",
    "ChecksumError",
    "ChunkError",
    "ChunkStoreError",
    "CodecError",
    "ConflictError",
    "InvalidArgumentError",
    "MetadataError",
    "MissingChunkError",
    "MissingExtraError",
    "NodeExistsError",
    "NodeNotFoundError",
    "NodeTypeError",
    "ReadOnlyError",
    "SelectionError",
    "StoreError",
]


class ChunkStoreError(Exception):
    """Base of all errors raised on purpose by chunkstore and dask_integration.

    Parameters
    ----------
    message : str
        What failed, on which object, expected, got, and what to do next.
    **facts : object
        The same facts for programs; each becomes an attribute and survives pickling.

    Examples
    --------
    >>> error = ChunkStoreError("cannot read chunk (0, 1)", chunk_coords=(0, 1))
    >>> error.chunk_coords
    (0, 1)
    """

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message = message
        # In the dict they survive pickling; as attributes they also reach the builtin's own slots,
        # such as the errno of OSError.
        self.__dict__.update(facts)
        for name, value in facts.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> object:
        # Facts are set per instance; this only gives type checkers and readers a clear failure.
        raise AttributeError(f"{type(self).__name__} keeps no fact named {name!r}")

    def __str__(self) -> str:
        # KeyError would show the repr of the message, OSError its errno: always show the words.
        return self.message


class InvalidArgumentError(ChunkStoreError, ValueError):
    """An argument cannot be meant, alone or beside another one."""


class AlignmentError(InvalidArgumentError):
    """Blocks of a write would share a write unit, and concurrent tasks would lose data."""


class MetadataError(ChunkStoreError, ValueError):
    """A metadata document breaks its format; ``problems`` lists (JSON path, what is wrong)."""


class CodecError(ChunkStoreError, ValueError):
    """A codec was given bytes, values or a configuration it cannot work with."""


class ChecksumError(CodecError):
    """Stored bytes do not match the checksum stored beside them."""


class ChunkError(ChunkStoreError, ValueError):
    """A stored chunk cannot be read; has ``store``, ``path``, ``key`` and ``chunk_coords``."""


class SelectionError(ChunkStoreError, IndexError):
    """A selection lies outside the array or is not of a form the array understands."""


class NodeNotFoundError(ChunkStoreError, FileNotFoundError, KeyError):
    """No array or group is stored at the path."""


class NodeTypeError(ChunkStoreError, TypeError):
    """The node at the path is an array where a group was asked for, or the reverse."""


class NodeExistsError(ChunkStoreError, FileExistsError, ValueError):
    """Something is stored at the path already, and overwriting was not asked for."""


class ConflictError(ChunkStoreError, RuntimeError):
    """Another writer has changed what a change started from; nothing was published."""


class MissingChunkError(ChunkStoreError, KeyError):
    """A chunk is not stored, and the handle's options say that this is an error."""


class StoreError(ChunkStoreError, OSError):
    """The store could not carry out a request; never raised for a key that is just absent."""


class ReadOnlyError(ChunkStoreError, PermissionError):
    """A write was asked of a handle or store opened for reading."""


class MissingExtraError(ChunkStoreError, ImportError):
    """An optional dependency is not installed; the message names the pip command."""

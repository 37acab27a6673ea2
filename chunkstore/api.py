"""The door: opening and creating arrays and groups.

Floor 8. Resolves the store, reads the mode and hands over; what the arguments mean is decided
below. The names and parameters are zarr-python's where it has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from chunkstore import documents
from chunkstore import group as groups
from chunkstore.array import Array, make_array, open_array_node
from chunkstore.errors import InvalidArgumentError
from chunkstore.group import Group
from chunkstore.keys import normalize_path
from chunkstore.metadata.model import GroupMetadata
from chunkstore.options import Options
from chunkstore.stores.base import Store
from chunkstore.stores.resolve import resolve

__all__ = [
    "consolidate_metadata",
    "create_array",
    "create_group",
    "open",
    "open_array",
    "open_consolidated",
    "open_group",
    "open_store",
    "renamed",
]

Mode = Literal["r", "r+", "a", "w", "w-"]
_MODES = ("r", "r+", "a", "w", "w-")


def open(
    store: Any,
    *,
    path: str | None = None,
    mode: Mode | None = None,
    zarr_format: Literal[2, 3] | None = None,
    use_consolidated: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
    options: Options | None = None,
    **arguments: Any,
) -> Array | Group:
    """Open whatever is at a path, an array or a group.

    Parameters
    ----------
    store : Store, str, Path, mapping
        A store, a folder, a zip file to read, a URL, or a mapping from keys to bytes.
    path : str, optional
        Path in the store; the root by default.
    mode : {"r", "r+", "a", "w", "w-"}, optional
        ``"r"`` reads only, ``"r+"`` (the default) reads and writes what exists, ``"a"`` makes a
        group where nothing is, ``"w"`` replaces what is there by an empty group, ``"w-"`` makes a
        group and refuses to replace.
    zarr_format : {2, 3}, optional
        Look for, or make, this format only. By default version 3 is looked for first, and made.
    use_consolidated : bool, optional
        Of a group; see `open_group`.
    storage_options : mapping, optional
        For a URL of a remote store alone: credentials, endpoint and so on, as its backend names
        them; see `ObjectStore` and `FsspecStore`.
    options : Options, optional
        Run settings of the handle.
    **arguments
        Of `create_array`. With any, an array is opened or made as by `open_array`, where it is
        missing too unless `mode` says otherwise.

    Returns
    -------
    Array or Group

    Raises
    ------
    NodeNotFoundError
        If nothing is there.
    MetadataError
        If the document is damaged, or of a format that is not known.

    Notes
    -----
    One request for a version 3 node.
    """
    if arguments:
        return open_array(
            store, path=path, mode=mode or "a", zarr_format=zarr_format,
            storage_options=storage_options, options=options, **arguments,
        )  # fmt: skip
    where, at, mode = _place(store, path, "r+" if mode is None else mode, storage_options)
    if mode in ("w", "w-"):
        return _create_group(where, at, mode, zarr_format, None, options)
    metadata = documents.read_node(where, at, zarr_format=zarr_format, options=options)
    if metadata is None:
        if mode == "a":
            return _create_group(where, at, mode, zarr_format, None, options)
        raise documents.not_found(where, at)
    copy = None
    if isinstance(metadata, GroupMetadata):
        copy = documents.open_copy(where, at, metadata, use=use_consolidated)
    return groups.open_node(
        where, at, metadata, options=options or Options(), read_only=mode == "r", copy=copy
    )


def open_array(
    store: Any,
    *,
    path: str | None = None,
    mode: Mode = "a",
    zarr_format: Literal[2, 3] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    options: Options | None = None,
    **arguments: Any,
) -> Array:
    """Open an array, or make one where the mode says so.

    Parameters
    ----------
    store, path, zarr_format, storage_options, options
        As in `open`.
    mode : {"r", "r+", "a", "w", "w-"}
        As in `open`, for an array: with ``"a"``, ``"w"`` and ``"w-"`` an array that is made takes
        its shape and dtype from `arguments`.
    **arguments
        Of `create_array`; used only if an array is made.

    Raises
    ------
    NodeNotFoundError
        If nothing is there and none was to be made.
    NodeTypeError
        If a group is there.
    """
    where, at, mode = _place(store, path, mode, storage_options)
    metadata = None if mode in ("w", "w-") else documents.read_node(
        where, at, zarr_format=zarr_format, options=options
    )  # fmt: skip
    if metadata is not None:
        found = documents.require_array(metadata, where, at)
        return open_array_node(
            where, at, found, options=options or Options(), read_only=mode == "r"
        )
    if mode in ("r", "r+") or (mode == "a" and not arguments):
        raise documents.not_found(where, at)
    return make_array(
        where,
        at,
        overwrite=mode == "w",
        options=options or Options(),
        zarr_format=zarr_format or 3,
        **renamed(arguments),
    )


def open_consolidated(store: Any, **arguments: Any) -> Group:
    """Open a group from its consolidated metadata, which must be there; see `open_group`."""
    return open_group(store, **{"mode": "r", **arguments, "use_consolidated": True})


def open_group(
    store: Any,
    *,
    path: str | None = None,
    mode: Mode = "a",
    zarr_format: Literal[2, 3] | None = None,
    attributes: Mapping[str, Any] | None = None,
    use_consolidated: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> Group:
    """Open a group, or make one where the mode says so.

    Parameters
    ----------
    store, path, mode, zarr_format, storage_options, options
        As in `open`.
    attributes : mapping, optional
        Of a group that is made.
    use_consolidated : bool, optional
        Whether to open members from the group's consolidated metadata, without a request for
        each. With True it must be there: members that it names are shown as they were when it was
        made; others are looked for in the store, so that none is hidden. By default it is used
        only where the store cannot list what it holds. A handle that may write never uses it.

    Raises
    ------
    NodeNotFoundError
        If nothing is there and none was to be made.
    NodeTypeError
        If an array is there.
    InvalidArgumentError
        If consolidated metadata must be there and is not.
    """
    where, at, mode = _place(store, path, mode, storage_options)
    if mode in ("w", "w-"):
        return _create_group(where, at, mode, zarr_format, attributes, options)
    metadata = documents.read_node(where, at, zarr_format=zarr_format, options=options)
    if metadata is None:
        if mode == "a":
            return _create_group(where, at, mode, zarr_format, attributes, options)
        raise documents.not_found(where, at)
    found = documents.require_group(metadata, where, at)
    copy = documents.open_copy(where, at, found, use=use_consolidated)
    return Group(where, at, found, options=options or Options(), read_only=mode == "r", copy=copy)


def open_store(
    store: Any, *, read_only: bool = False, storage_options: Mapping[str, Any] | None = None
) -> Store:
    """Give the store that a path, a URL or a mapping names; asks it for nothing.

    Parameters
    ----------
    store, storage_options
        As in `open`. A store is given back as it is; None makes a new `MemoryStore`.
    read_only : bool
        Refuse every change through a store that is made here.

    Examples
    --------
    >>> open_store("data.zarr", read_only=True).read_only
    True
    """
    return resolve(store, read_only=read_only, storage_options=storage_options)


def consolidate_metadata(
    store: Any,
    path: str | None = None,
    zarr_format: Literal[2, 3] | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Group:
    """Copy the documents of all nodes below a group into one, to be read with one request.

    Parameters
    ----------
    store, zarr_format, storage_options
        As in `open`.
    path : str, optional
        Path of the group; the root by default.

    Returns
    -------
    Group
        Open for writing.

    Raises
    ------
    NodeNotFoundError
        If no group is there.
    MetadataError
        If a document below it is not valid.

    Notes
    -----
    Reads every document below the group. The copy holds until something below the group changes:
    a change made with chunkstore drops it, so that no program reads a stale one; consolidate
    again when the changes are done. Programs other than chunkstore may leave it stale.

    Examples
    --------
    >>> root = create_group(None)
    >>> x = root.create_array("a/x", shape=3, dtype="f8")
    >>> made = consolidate_metadata(root.store)
    >>> list(made.metadata.extra["consolidated_metadata"]["metadata"])
    ['a', 'a/x']
    """
    where, at, _ = _place(store, path, "r+", storage_options)
    metadata = documents.read_node(where, at, zarr_format=zarr_format)
    if metadata is None:
        raise documents.not_found(where, at)
    found = documents.require_group(metadata, where, at)
    made = documents.consolidate(where, at, found)
    return Group(where, at, made, options=Options())


def create_array(
    store: Any,
    *,
    name: str | None = None,
    shape: int | Sequence[int] | None = None,
    dtype: Any = None,
    data: Any = None,
    chunks: int | Sequence[int] | str = "auto",
    shards: int | Sequence[int] | str | None = None,
    filters: Any = "auto",
    compressors: Any = "auto",
    serializer: Any = "auto",
    fill_value: Any = None,
    order: Literal["C", "F"] | None = None,
    zarr_format: Literal[2, 3] = 3,
    attributes: Mapping[str, Any] | None = None,
    chunk_key_encoding: Any = None,
    dimension_names: Sequence[str | None] | None = None,
    overwrite: bool = False,
    pending: bool | str = False,
    storage_options: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> Array:
    """Make an array.

    Parameters
    ----------
    store : Store, str, Path
        A store, a folder, or a URL.
    name : str, optional
        Path in the store; the root by default. Groups above it are made where missing.
    shape : int or tuple of int
        Extent along each axis; may be left out with `data`.
    dtype : dtype-like
        Type of the elements; may be left out with `data`. ``str`` stores text of any length.
    data : array-like, optional
        Values to write at once; the array exists for readers only when they are written.
    chunks : tuple of int, int, "auto" or str
        Shape of a chunk; -1 or None stands for a whole axis. "auto" aims at about 1 MiB, a size
        such as ``"64MB"`` at that. For a
        rectilinear grid (version 3), for each axis a size or the sizes of all chunks, as in
        ``[[3, 2, 4], 5]``.
    shards : tuple of int, int, "auto" or None
        Shape of a shard, a multiple of `chunks`: so many chunks are stored as one value, and can
        still be read one by one. "auto" aims at about 64 MiB, a size such as ``"1GB"`` at that.
    filters, compressors : codec, sequence of codecs, None or "auto"
        Codecs before and after the elements are laid out as bytes, in the order of encoding, as
        objects of chunkstore, numcodecs or zarr-python, or dicts. "auto" compresses with
        Zstandard after a bit shuffle (blosc) and, in version 3, adds a checksum (crc32c); None
        leaves the bytes as they are.
    serializer : codec or "auto"
        The codec that lays elements out as bytes (version 3).
    fill_value : scalar, optional
        What unwritten elements read as; zero, false or empty text by default. ``...`` leaves it
        open, as version 2 can: such elements read as zero, and no zero stands for a missing value.
    order : {"C", "F"}, optional
        Layout of a stored chunk. The array reads the same either way.
    zarr_format : {2, 3}
        Format to write.
    attributes : mapping, optional
        JSON values to keep with the array.
    chunk_key_encoding : dict or str, optional
        Such as ``{"name": "v2", "separator": "."}``.
    dimension_names : sequence of str or None, optional
        One for each axis (version 3).
    overwrite : bool
        Replace what is at the path. Only Zarr data is ever deleted.
    pending : bool or str
        Hold the array back from readers until `Array.publish` is called. The token of an array
        that is held back (`Array.pending`) goes on with it, with the chunks that are there; its
        layout must be given as it was.
    storage_options : mapping, optional
        For a URL of a remote store alone; see `open`.
    options : Options, optional
        Run settings of the handle.

    Returns
    -------
    Array

    Raises
    ------
    NodeExistsError
        If something is at the path and `overwrite` is false.
    InvalidArgumentError
        If an argument cannot be meant.

    Examples
    --------
    >>> a = create_array(None, shape=(3, 4), dtype="f4", fill_value=float("nan"))
    >>> a[0, 0]
    np.float32(nan)
    """
    return make_array(
        resolve(store, storage_options=storage_options),
        normalize_path(name),
        shape=shape,
        dtype=dtype,
        data=data,
        chunks=chunks,
        shards=shards,
        filters=filters,
        compressors=compressors,
        serializer=serializer,
        fill_value=fill_value,
        order=order,
        zarr_format=zarr_format,
        attributes=attributes,
        chunk_key_encoding=chunk_key_encoding,
        dimension_names=dimension_names,
        overwrite=overwrite,
        pending=pending,
        options=options or Options(),
    )


def create_group(
    store: Any,
    *,
    path: str | None = None,
    zarr_format: Literal[2, 3] = 3,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> Group:
    """Make a group; parameters and errors as in `create_array`.

    Examples
    --------
    >>> create_group(None, attributes={"title": "winds"}).attrs["title"]
    'winds'
    """
    return groups.create_group(
        resolve(store, storage_options=storage_options),
        normalize_path(path),
        attributes=attributes,
        overwrite=overwrite,
        zarr_format=zarr_format,
        options=options or Options(),
    )


def renamed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give arguments of `create_array` by its names, where zarr-python 2 had others.

    Examples
    --------
    >>> renamed({"compressor": None, "dimension_separator": "/", "zarr_format": 2})
    {'zarr_format': 2, 'compressors': None, 'chunk_key_encoding': {'separator': '/'}}
    """
    given = dict(arguments)
    for old, new in (("compressor", "compressors"), ("path", "name")):
        if old in given:
            given[new] = given.pop(old)
    separator = given.pop("dimension_separator", None)
    if separator is not None:
        given["chunk_key_encoding"] = {"separator": separator}
    return given


def _place(
    store: Any, path: str | None, mode: Mode, storage_options: Mapping[str, Any] | None = None
) -> tuple[Store, str, Mode]:
    if mode not in _MODES:
        raise InvalidArgumentError(f"mode must be one of {_MODES}, got {mode!r}")
    where = resolve(store, read_only=mode == "r", storage_options=storage_options)
    return where, normalize_path(path), mode


def _create_group(
    store: Store,
    path: str,
    mode: Mode,
    zarr_format: int | None,
    attributes: Mapping[str, Any] | None,
    options: Options | None,
) -> Group:
    return groups.create_group(
        store,
        path,
        attributes=attributes,
        overwrite=mode == "w",
        zarr_format=zarr_format or 3,
        options=options or Options(),
    )

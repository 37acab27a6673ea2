"""Short ways to what the door offers: arrays of one value, arrays like others, copies, files.

Floor 9. Each function is a few lines on top of ``api``, ``copying`` and ``verifying``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chunkstore.api import create_array, create_group, open, renamed
from chunkstore.array import Array
from chunkstore.copying import copy_node
from chunkstore.errors import InvalidArgumentError
from chunkstore.group import Group
from chunkstore.keys import normalize_path
from chunkstore.options import Options
from chunkstore.stores.resolve import resolve
from chunkstore.translating import layout_like
from chunkstore.verifying import Verification, verify_node

__all__ = [
    "array",
    "copy",
    "create",
    "empty",
    "empty_like",
    "from_array",
    "full",
    "full_like",
    "load",
    "ones",
    "ones_like",
    "open_like",
    "save",
    "verify",
    "zeros",
    "zeros_like",
]


def array(data: Any, store: Any = None, **arguments: Any) -> Array:
    """Make an array from values; further arguments as in `create_array`.

    Examples
    --------
    >>> array([1, 2, 3])[1:]
    array([2, 3])
    """
    return create_array(store, data=np.asarray(data), **renamed(arguments))


def full(shape: Any, fill_value: Any, *, store: Any = None, **arguments: Any) -> Array:
    """Make an array in which every element reads as one value; no chunk is stored.

    The dtype is that of the value by default. Further arguments as in `create_array`.
    """
    arguments.setdefault("dtype", np.asarray(fill_value).dtype)
    return create_array(store, shape=shape, fill_value=fill_value, **renamed(arguments))


def zeros(shape: Any, *, dtype: Any = "float64", store: Any = None, **arguments: Any) -> Array:
    """Make an array of zeros; no chunk is stored. Further arguments as in `create_array`."""
    return empty(shape, dtype=dtype, store=store, fill_value=0, **arguments)


def ones(shape: Any, *, dtype: Any = "float64", store: Any = None, **arguments: Any) -> Array:
    """Make an array of ones; no chunk is stored. Further arguments as in `create_array`."""
    return empty(shape, dtype=dtype, store=store, fill_value=1, **arguments)


def empty(shape: Any, *, dtype: Any = "float64", store: Any = None, **arguments: Any) -> Array:
    """Make an array that reads as the fill value until it is written.

    Further arguments as in `create_array`; the older names of some are taken too, as everywhere
    in this family of functions: ``path``, ``compressor`` and ``dimension_separator``.
    """
    return create_array(store, shape=shape, dtype=dtype, **renamed(arguments))


create = empty
"""The name of `empty` in zarr-python 2."""


def from_array(store: Any, *, data: Any, name: str | None = None, **layout: Any) -> Array:
    """Copy an array, stored or in memory, to a store; `layout` as in `copy`.

    Examples
    --------
    >>> from_array(None, data=[1, 2, 3, 4], chunks=2).chunks
    (2,)
    """
    if isinstance(data, Array):
        copied = copy(data, store, path=name, **layout)
        assert isinstance(copied, Array)
        return copied
    return create_array(store, name=name, data=np.asarray(data), **layout)


def open_like(source: Any, store: Any = None, **arguments: Any) -> Array:
    """Make an empty array laid out like another; arguments change what they name.

    `source` may also be an array of numpy, or what becomes one; then shape and dtype are its.
    """
    return create_array(store, **layout_like(source, **renamed(arguments)))


def zeros_like(source: Any, store: Any = None, **arguments: Any) -> Array:
    """Make an array of zeros laid out like another."""
    return open_like(source, store, fill_value=0, **arguments)


def ones_like(source: Any, store: Any = None, **arguments: Any) -> Array:
    """Make an array of ones laid out like another."""
    return open_like(source, store, fill_value=1, **arguments)


def full_like(source: Any, fill_value: Any, store: Any = None, **arguments: Any) -> Array:
    """Make an array of one value laid out like another."""
    return open_like(source, store, fill_value=fill_value, **arguments)


def empty_like(source: Any, store: Any = None, **arguments: Any) -> Array:
    """Make an array laid out like another, with its fill value."""
    return open_like(source, store, **arguments)


def copy(
    source: Any,
    store: Any,
    *,
    path: str | None = None,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    source_storage_options: Mapping[str, Any] | None = None,
    options: Options | None = None,
    **layout: Any,
) -> Array | Group:
    """Copy an array, or a group with all below it, to any store, format and layout.

    Parameters
    ----------
    source : Array, Group, Store, str or Path
        What to copy; a store, folder or URL stands for what is at its root.
    store : Store, str or Path
        Where to.
    path : str, optional
        Path in `store`; the root by default.
    overwrite : bool
        Replace what is there.
    storage_options, source_storage_options : mapping, optional
        For `store`, and for `source`, where they are URLs of remote stores; see `open`.
    options : Options, optional
        Run settings.
    **layout
        Arguments of `create_array` that the copies shall have: ``zarr_format``, ``chunks``,
        ``shards``, ``compressors``, … Everything else stays as it is. Codecs are said again in
        the words of another format: filters of version 2 under the names of version 3 that other
        readers know, and the reverse. What has no such name is left out or replaced by the
        default; what is read stays the same.

    Returns
    -------
    Array or Group

    Raises
    ------
    InvalidArgumentError
        If the new layout cannot hold the array.

    Notes
    -----
    Holds one write unit of the copy a thread. Copies stored bytes as they are where the layout
    stays the same; elsewhere chunks are encoded anew. The codec zfpy, which would round values
    once more, is then left out unless it is lossless; give it as ``serializer`` to keep it.

    Examples
    --------
    >>> import numpy as np
    >>> old = array(np.arange(6), chunks=4, zarr_format=2)
    >>> new = copy(old, None, zarr_format=3, chunks=2)
    >>> new.metadata.zarr_format, new.chunks, new[...].tolist()
    (3, (2,), [0, 1, 2, 3, 4, 5])
    """
    if not isinstance(source, (Array, Group)):
        source = open(source, mode="r", storage_options=source_storage_options)
    elif source_storage_options:
        raise InvalidArgumentError(
            f"source_storage_options are for the URL of a remote store, got them with {source!r}"
        )
    return copy_node(
        source,
        resolve(store, storage_options=storage_options),
        normalize_path(path),
        overwrite=overwrite,
        options=options or Options(),
        **layout,
    )


def verify(
    store: Any,
    *,
    path: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> Verification:
    """Check an archive: parse every document, read and decode every stored chunk.

    Parameters
    ----------
    store : Array, Group, Store, str or Path
        What to check; a store, folder or URL stands for what is at its root.
    path : str, optional
        Path of the array or group in the store.
    storage_options : mapping, optional
        For `store`, if it is the URL of a remote store; see `open`.
    options : Options, optional
        Run settings.

    Returns
    -------
    Verification
        What was found; false if anything is damaged. ``damage`` holds an error for each chunk
        and document, with the store, the key and the chunk coordinates.

    Raises
    ------
    NodeNotFoundError
        If nothing is stored there.
    StoreError
        If the store fails: that is no damage.

    Notes
    -----
    Reads all there is, once: a listing and a request for each stored chunk. Holds one decoded
    chunk, or shard, a thread. Of a shard with several damaged chunks the first is named.

    A chunk that is not stored reads as the fill value and cannot be told from one that was lost;
    ``n_missing`` counts them.

    Examples
    --------
    >>> import numpy as np
    >>> store = {}
    >>> _ = array(np.arange(6), store, chunks=3)
    >>> bool(verify(store))
    True
    >>> store["c/1"] = store["c/1"][:-1]
    >>> [error.key for error in verify(store).damage]
    ['c/1']
    """
    if isinstance(store, (Array, Group)):
        if path is not None or storage_options:
            raise InvalidArgumentError(
                f"give `path` and `storage_options` with a store, not with {store!r}"
            )
        return verify_node(store.store, store.path, options=options or Options())
    where = resolve(store, storage_options=storage_options)
    return verify_node(where, normalize_path(path), options=options or Options())


def save(
    store: Any,
    *values: Any,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **named: Any,
) -> None:
    """Write values to a store: one as an array, several as a group of arrays.

    Parameters
    ----------
    store : Store, str or Path
        Where to.
    *values : array-like
        Members of a group are called ``arr_0``, ``arr_1``, … as in `numpy.savez`.
    overwrite : bool
        Replace what is there.
    storage_options : mapping, optional
        For a URL of a remote store alone; see `open`.
    **named : array-like
        Members of a group by name.
    """
    members: Mapping[str, Any] = {**{f"arr_{i}": v for i, v in enumerate(values)}, **named}
    if not members:
        raise InvalidArgumentError("save needs at least one array")
    where = resolve(store, storage_options=storage_options)
    if len(members) == 1 and not named:
        create_array(where, data=np.asarray(values[0]), overwrite=overwrite)
        return
    group = create_group(where, overwrite=overwrite)
    for name, value in members.items():
        group.create_array(name, data=np.asarray(value))


def load(
    store: Any, *, path: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> Any:
    """Read an array into memory, or all arrays of a group as a dict; parameters as in `open`.

    Examples
    --------
    >>> import numpy as np
    >>> from chunkstore import MemoryStore
    >>> store = MemoryStore()
    >>> save(store, np.arange(3))
    >>> load(store)
    array([0, 1, 2])
    """
    node = open(store, path=path, mode="r", storage_options=storage_options)
    if isinstance(node, Array):
        return node[...]
    return {name: member[...] for name, member in node.arrays()}

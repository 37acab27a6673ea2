"""``xr.open_dataset(…, engine="chunkstore")``: Zarr groups as datasets, read lazily.

Floor 2: no dask. Takes every parameter of xarray's own Zarr backend, and gives the same datasets::

    group ─▶ arrays ─▶ lazy variables ─▶ xarray's CF decoding ─▶ dataset

With consolidated metadata, opening is one request for version 3, however many variables there are.
The engine is used where it is asked for by name: it guesses at no file, so that stores named
``.zarr`` stay with xarray's own backend.

Source: xarray, "How to add a new backend".
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from typing import Any, Literal

import numpy as np
import xarray as xr
from xarray.backends import AbstractDataStore, BackendArray, BackendEntrypoint
from xarray.backends.common import datatree_from_dict_with_io_cleanup
from xarray.backends.store import StoreBackendEntrypoint
from xarray.core import indexing

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeNotFoundError, NodeTypeError
from dask_integration.xarray_encoding import (
    decode_attributes,
    dimensions_of,
    encoding_of,
)

__all__ = ["ChunkstoreBackendEntrypoint", "GroupStore", "LazyArray", "decoded", "open_stores"]

_MODES = ("r", "r+", "a")


class LazyArray(BackendArray):
    """A stored array as xarray's lazy indexing reads it; pickles as the array does.

    Parameters
    ----------
    stored : chunkstore.Array
        What to read. All of numpy's selections are left to it, so that xarray loads no more than
        was selected.
    """

    __slots__ = ("dtype", "shape", "stored")

    def __init__(self, stored: cs.Array) -> None:
        self.stored = stored
        self.shape = stored.shape
        self.dtype = stored.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.VECTORIZED, self._reader(key)
        )

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        """Read in a thread of the event loop's pool."""
        read = self._reader(key)

        async def read_apart(selection: tuple[Any, ...]) -> Any:
            return await asyncio.to_thread(read, selection)

        return await indexing.async_explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.VECTORIZED, read_apart
        )

    def _reader(self, key: indexing.ExplicitIndexer) -> Callable[[tuple[Any, ...]], Any]:
        selector: Any = self.stored
        if isinstance(key, indexing.VectorizedIndexer):
            selector = self.stored.vindex
        elif isinstance(key, indexing.OuterIndexer):
            selector = self.stored.oindex
        return lambda selection: np.asarray(selector[selection], dtype=self.dtype)


class GroupStore(AbstractDataStore):
    """The arrays of one group, as xarray takes variables from a file.

    Parameters
    ----------
    group : chunkstore.Group
        The group.
    arrays : mapping of str to chunkstore.Array
        Its arrays, by name.
    mask_fill : bool, optional
        Whether fill values stand for missing values. The default is that of the format: true in
        version 2, false in version 3.
    owns_store : bool
        Whether to close the group's store with the dataset.
    """

    __slots__ = ("arrays", "group", "mask_fill", "owns_store")

    def __init__(
        self,
        group: cs.Group,
        arrays: Mapping[str, cs.Array],
        *,
        mask_fill: bool | None = None,
        owns_store: bool = False,
    ) -> None:
        self.group = group
        self.arrays = arrays
        self.owns_store = owns_store
        self.mask_fill = group.metadata.zarr_format == 2 if mask_fill is None else mask_fill

    def close(self) -> None:
        """Close the store that was opened for the dataset: a zip file, for one."""
        close = getattr(self.group.store, "close", None)
        if self.owns_store and close is not None:
            close()

    def get_variables(self) -> dict[str, xr.Variable]:
        """Give a variable for each array, not decoded."""
        return {name: self.variable(array) for name, array in self.arrays.items()}

    def variable(self, array: cs.Array) -> xr.Variable:
        """Give the variable of one array, not decoded."""
        dimensions = dimensions_of(array)
        return xr.Variable(
            dimensions,
            self.data_of(array),
            decode_attributes(array, mask_fill=self.mask_fill),
            encoding_of(array, dimensions, mask_fill=self.mask_fill),
            fastpath=True,
        )

    def data_of(self, array: cs.Array) -> Any:
        """Give what a variable holds in place of the array's values."""
        return indexing.LazilyIndexedArray(LazyArray(array))

    def get_attrs(self) -> dict[str, Any]:
        """Give the dataset's attributes."""
        attributes = self.group.metadata.attributes
        return {name: v for name, v in attributes.items() if not name.lower().startswith("_nc")}

    def get_dimensions(self) -> dict[str, int]:
        """Give the sizes of all dimensions.

        Raises
        ------
        ValueError
            If two arrays disagree.
        """
        sizes: dict[str, int] = {}
        for name, array in self.arrays.items():
            for dimension, size in zip(dimensions_of(array), array.shape, strict=True):
                if sizes.setdefault(dimension, size) != size:
                    raise ValueError(
                        f"found conflicting lengths for dimension {dimension!r} in {self.group!r}: "
                        f"{size} in {name!r}, {sizes[dimension]} before. Leave one of the "
                        f"variables out with drop_variables"
                    )
        return sizes


def open_stores(
    store: Any,
    *,
    group: str | None = None,
    mode: str = "r",
    consolidated: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: Literal[2, 3] | None = None,
    mask_fill: bool | None = None,
    drop_variables: str | Iterable[str] | None = None,
    recursive: bool = False,
    make: Callable[..., GroupStore] = GroupStore,
) -> dict[str, GroupStore]:
    """Open a group, and with `recursive` the groups below it, as data stores.

    Parameters
    ----------
    store, group, mode, storage_options, zarr_format
        As in `chunkstore.open_group`; `group` is the path. Mode "r", "r+" or "a": nothing is made
        in reading.
    consolidated : bool, optional
        True reads the metadata of all members from the root's, or the group's, consolidated
        metadata, and nothing else; False lists the store and reads each document. None prefers
        the first, and falls back to the second with a warning.
    mask_fill, make
        Of the stores that are made.
    drop_variables : str or iterable of str, optional
        Arrays to leave out: these need not be what xarray understands.
    recursive : bool
        Whether to go down to all groups.

    Returns
    -------
    dict of str to GroupStore
        By path below the group; the group itself is ``""``.

    Raises
    ------
    NodeNotFoundError
        If no group is there.
    ValueError
        If there is no consolidated metadata and `consolidated` is true.

    Notes
    -----
    One request where version 3 has consolidated metadata; else one listing of each group and the
    requests to open each member.
    """
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {_MODES} to read a dataset, got {mode!r}")
    if not getattr(store, "supports_consolidated_metadata", True):
        consolidated = False
    place = cs.open_store(store, read_only=True, storage_options=storage_options)
    path = (group or "").strip("/")
    found = _open_group(place, path, consolidated=consolidated, zarr_format=zarr_format)
    walk = _consolidated_tree if found.is_consolidated else _listed_tree
    left_out = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
    stores = {}
    for path, (node, arrays) in walk(found, recursive=recursive).items():
        kept = {name: array for name, array in arrays.items() if name not in left_out}
        stores[path] = make(
            node, kept, mask_fill=mask_fill, owns_store=not isinstance(store, cs.Store)
        )
    return stores


def _open_group(
    store: Any,
    path: str,
    *,
    consolidated: bool | None,
    **how: Any,
) -> cs.Group:
    """Open the group at a path by the consolidated metadata above it, or without."""
    # The root holds the copy for the whole hierarchy; a group may have one of its own.
    places = ("", path) if path and consolidated is not False else (path,)
    missing: Exception | None = None
    for place in dict.fromkeys(places):
        try:
            found = cs.open_group(
                store, path=place, mode="r", use_consolidated=consolidated is not False, **how
            )
        except NodeNotFoundError as error:
            missing = error
            continue
        except InvalidArgumentError as error:
            # No consolidated metadata here. Other bad arguments fail again below.
            missing = error
            continue
        below = path[len(place) :].strip("/")
        member = found.get(below) if below else found
        if member is None:
            raise _not_found(store, path)
        if isinstance(member, cs.Array):
            raise NodeTypeError(
                f"{member!r} is an array, and a dataset is a group: give the group that holds it"
            )
        return member
    if consolidated:
        assert missing is not None
        raise missing
    return _open_plain(store, path, warn=consolidated is None, **how)


def _open_plain(store: Any, path: str, *, warn: bool, **how: Any) -> cs.Group:
    try:
        found = cs.open_group(store, path=path, mode="r", use_consolidated=False, **how)
    except NodeNotFoundError as error:
        raise _not_found(store, path, error) from error
    if warn:
        warnings.warn(
            "Failed to open Zarr store with consolidated metadata, and read each array's own "
            "document instead, which takes at least a request for each. Make it once with "
            "chunkstore.consolidate_metadata(store), or pass consolidated=False",
            RuntimeWarning,
            stacklevel=2,
        )
    return found


def _not_found(store: Any, path: str, error: Exception | None = None) -> NodeNotFoundError:
    why = "" if error is None else f": {error}"
    return NodeNotFoundError(
        f"No group found in store {store!r} at path {path or '/'!r}{why}", path=path
    )


_Tree = dict[str, tuple[cs.Group, dict[str, cs.Array]]]
"""Groups with their arrays, by path."""


def _consolidated_tree(group: cs.Group, *, recursive: bool) -> _Tree:
    """Give a group's arrays, and with `recursive` the groups below, without a request."""
    tree: _Tree = {"": (group, {})}
    for path, member in group.consolidated_members(recursive=recursive):
        if isinstance(member, cs.Array):
            above, _, name = path.rpartition("/")
            tree[above][1][name] = member
        elif recursive:
            # Paths are in order, so a group comes before its members.
            tree[path] = (member, {})
    return tree


def _listed_tree(group: cs.Group, *, recursive: bool) -> _Tree:
    """Give the same by listing each group and reading each member's document."""
    tree: _Tree = {}
    waiting = [("", group)]
    while waiting:
        path, node = waiting.pop()
        members = dict(node.members())
        arrays = {name: m for name, m in members.items() if isinstance(m, cs.Array)}
        tree[path] = (node, arrays)
        if recursive:
            below = [
                (f"{path}/{name}".strip("/"), member)
                for name, member in members.items()
                if isinstance(member, cs.Group)
            ]
            waiting += reversed(below)
    return tree


class ChunkstoreBackendEntrypoint(BackendEntrypoint):
    """What ``engine="chunkstore"`` names.

    Parameters of `open_dataset`, `open_datatree` and `open_groups_as_dict` are those of xarray's
    Zarr backend, with these differences:

    use_zarr_fill_value_as_mask : bool, optional
        Is honoured: whether elements that equal the array's fill value are missing. The default
        is true in version 2 and false in version 3.
    mode : {"r", "r+", "a"}
        Nothing is made or deleted in reading.
    cache_members : bool
        A dataset reads its group once, either way.

    Examples
    --------
    >>> store = cs.MemoryStore()
    >>> x = cs.create_array(store, name="x", data=np.arange(3), dimension_names=["t"])
    >>> ds = xr.open_dataset(store, engine=ChunkstoreBackendEntrypoint, consolidated=False)
    >>> ds["x"].sum().item()
    3
    """

    description = "Open Zarr groups, version 2 and 3, with chunkstore"
    url = ""
    supports_groups = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether to open something without being named: no, that is for xarray's own backend."""
        return False

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: Any = True,
        decode_times: Any = True,
        concat_characters: Any = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | None = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        mode: str = "r",
        consolidated: bool | None = None,
        storage_options: Mapping[str, Any] | None = None,
        zarr_format: Literal[2, 3] | None = None,
        store: AbstractDataStore | None = None,
        engine: str | None = None,
        use_zarr_fill_value_as_mask: bool | None = None,
        cache_members: bool = True,
    ) -> xr.Dataset:
        """Open one group; see `xarray.open_dataset`."""
        if store is None:
            store = open_stores(
                _local_path(filename_or_obj),
                group=group,
                mode=mode,
                consolidated=consolidated,
                storage_options=storage_options,
                zarr_format=zarr_format,
                mask_fill=use_zarr_fill_value_as_mask,
                drop_variables=drop_variables,
            )[""]
        return decoded(
            store,
            mask_and_scale=mask_and_scale,
            decode_times=decode_times,
            concat_characters=concat_characters,
            decode_coords=decode_coords,
            drop_variables=drop_variables,
            use_cftime=use_cftime,
            decode_timedelta=decode_timedelta,
        )

    def open_datatree(self, filename_or_obj: Any, **how: Any) -> xr.DataTree:
        """Open a group and all below it; see `xarray.open_datatree`."""
        groups = self.open_groups_as_dict(filename_or_obj, **how)
        tree: xr.DataTree = datatree_from_dict_with_io_cleanup(groups)
        return tree

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: Any = True,
        decode_times: Any = True,
        concat_characters: Any = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | None = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        mode: str = "r",
        consolidated: bool | None = None,
        storage_options: Mapping[str, Any] | None = None,
        zarr_format: Literal[2, 3] | None = None,
        use_zarr_fill_value_as_mask: bool | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open a group and all below it, each as a dataset; see `xarray.open_groups`."""
        stores = open_stores(
            _local_path(filename_or_obj),
            group=group,
            mode=mode,
            consolidated=consolidated,
            storage_options=storage_options,
            zarr_format=zarr_format,
            mask_fill=use_zarr_fill_value_as_mask,
            drop_variables=drop_variables,
            recursive=True,
        )
        # Below a group that was asked for, paths are its own; without one they start at the root.
        root = "" if group else "/"
        return {
            (f"{root}{path}" or "."): decoded(
                store,
                mask_and_scale=mask_and_scale,
                decode_times=decode_times,
                concat_characters=concat_characters,
                decode_coords=decode_coords,
                drop_variables=drop_variables,
                use_cftime=use_cftime,
                decode_timedelta=decode_timedelta,
            )
            for path, store in stores.items()
        }

    # xarray fills these in for engines that it finds by name, and not for a class that is passed.
    open_dataset_parameters = tuple(signature(open_dataset).parameters)[1:]


def _local_path(store: Any) -> Any:
    """Give a path as text, as xarray does for its own backends; other stores as they are."""
    return os.fspath(store) if isinstance(store, os.PathLike) else store


def decoded(store: AbstractDataStore, **how: Any) -> xr.Dataset:
    """Decode what a store holds by CF conventions; no index is made, and no value is read."""
    return StoreBackendEntrypoint().open_dataset(store, **how)

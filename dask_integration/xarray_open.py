"""Datasets whose variables are dask arrays of one task a block: `open_dataset`, `open_datatree`.

Floor 6. ``xr.open_dataset(…, engine="chunkstore", chunks=…)`` works too, by xarray's own way to
dask, with a graph that lists every block. Here each variable is a `from_store` array, of whole
write units, whose graph does not grow with the number of blocks::

    stored units ─▶ from_store ─▶ CF decoding ─▶ what is computed      one task a block
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import xarray as xr
from dask.utils import parse_bytes

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.align import blocks_of_bytes
from dask_integration.chunks import largest_block
from dask_integration.io import from_store
from dask_integration.xarray_encoding import dimensions_of
from dask_integration.xarray_engine import GroupStore, decoded, open_stores

__all__ = ["open_dataset", "open_datatree"]

_DECODERS = (
    "concat_characters", "decode_coords", "decode_timedelta", "decode_times", "mask_and_scale",
    "use_cftime",
)  # fmt: skip

Chunks = str | Mapping[str, int | None]


def open_dataset(
    store: Any,
    *,
    group: str | None = None,
    chunks: Chunks = "auto",
    consolidated: bool | None = None,
    drop_variables: str | Sequence[str] | None = None,
    use_zarr_fill_value_as_mask: bool | None = None,
    create_default_indexes: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: Literal[2, 3] | None = None,
    decode_cf: bool = True,
    **decoders: Any,
) -> xr.Dataset:
    """Open a group as a dataset of dask arrays, one task a block of whole write units.

    Parameters
    ----------
    store : Store, str, Path or mapping
        As in `chunkstore.open`.
    group : str, optional
        Path of the group; the root by default.
    chunks : {"auto", "storage"}, str or mapping of str to int
        Blocks of the arrays. "auto" merges small write units (shards, or chunks) to blocks of up
        to 64 MiB, the same along a dimension for all variables where their units allow; a size
        such as "128MiB" merges up to that. "storage" takes each unit as a block. A mapping gives
        the extent of blocks along dimensions, multiples of the write unit; -1 and None stand for
        the whole; dimensions that are not named keep their units.
    consolidated, drop_variables, use_zarr_fill_value_as_mask, storage_options, zarr_format
        As in ``xr.open_dataset(…, engine="chunkstore")``.
    create_default_indexes : bool
        Whether to read dimension coordinates and make indexes of them.
    decode_cf : bool
        Whether to decode at all.
    **decoders
        ``mask_and_scale``, ``decode_times``, ``decode_timedelta``, ``use_cftime``,
        ``concat_characters`` and ``decode_coords``, as in `xarray.open_dataset`.

    Returns
    -------
    xarray.Dataset
        Lazy; dimension coordinates alone are in memory.

    Raises
    ------
    NodeNotFoundError
        If no group is there.
    AlignmentError
        If blocks that were asked for would split write units.

    Notes
    -----
    Decoding runs in the task that reads. Costs as many requests as the engine: one for version 3
    with consolidated metadata, and the reading of dimension coordinates.

    Examples
    --------
    >>> import chunkstore as cs
    >>> store = cs.MemoryStore()
    >>> layout = {"shape": (6, 4), "chunks": (2, 4), "dimension_names": ["time", "x"]}
    >>> temp = cs.create_array(store, name="temp", dtype="f4", **layout)
    >>> dict(open_dataset(store, chunks={"time": 4}, consolidated=False).chunks)
    {'time': (4, 2), 'x': (4,)}
    """
    (found,) = _open_stores(
        store,
        chunks=chunks,
        group=group,
        consolidated=consolidated,
        drop_variables=drop_variables,
        mask_fill=use_zarr_fill_value_as_mask,
        storage_options=storage_options,
        zarr_format=zarr_format,
    ).values()
    return _dataset(found, _decoding(decode_cf, decoders), indexes=create_default_indexes)


def open_datatree(
    store: Any,
    *,
    group: str | None = None,
    chunks: Chunks = "auto",
    consolidated: bool | None = None,
    drop_variables: str | Sequence[str] | None = None,
    use_zarr_fill_value_as_mask: bool | None = None,
    create_default_indexes: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: Literal[2, 3] | None = None,
    decode_cf: bool = True,
    **decoders: Any,
) -> xr.DataTree:
    """Open a group and all groups below it as a tree of datasets; parameters as `open_dataset`."""
    stores = _open_stores(
        store,
        chunks=chunks,
        group=group,
        consolidated=consolidated,
        drop_variables=drop_variables,
        mask_fill=use_zarr_fill_value_as_mask,
        storage_options=storage_options,
        zarr_format=zarr_format,
        recursive=True,
    )
    how = _decoding(decode_cf, decoders)
    return xr.DataTree.from_dict(
        {
            f"/{path}": _dataset(found, how, indexes=create_default_indexes)
            for path, found in stores.items()
        }
    )


def _open_stores(store: Any, *, chunks: Chunks, **how: Any) -> dict[str, GroupStore]:
    known = isinstance(chunks, str | Mapping)
    if isinstance(chunks, str) and chunks not in ("auto", "storage"):
        try:
            known = parse_bytes(chunks) > 0
        except ValueError:
            known = False
    if not known:
        raise InvalidArgumentError(
            f'chunks {chunks!r} is not understood: expected "auto", "storage", a size such as '
            f'"128MiB", or a mapping such as {{"time": 24}}. For a dataset without dask, use '
            f'xarray.open_dataset(store, engine="chunkstore")'
        )
    return open_stores(store, make=partial(_DaskStore, chunks=chunks), **how)


def _decoding(decode_cf: bool, decoders: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(decoders) - set(_DECODERS))
    if unknown:
        raise TypeError(
            f"open_dataset got an unexpected argument {unknown[0]!r}; decoders are "
            f"{', '.join(_DECODERS)}"
        )
    return dict(decoders) if decode_cf else dict.fromkeys(_DECODERS, False)


def _dataset(store: GroupStore, decoding: Mapping[str, Any], *, indexes: bool) -> xr.Dataset:
    ds = decoded(store, **decoding)
    if not indexes:
        return ds
    # Reads the dimension coordinates.
    coordinates = {name: c.variable for name, c in ds.coords.items() if c.dims == (name,)}
    return ds.assign_coords(xr.Coordinates(coordinates))


class _DaskStore(GroupStore):
    """A group whose arrays are dask arrays, but for dimension coordinates."""

    __slots__ = ("blocks",)

    def __init__(
        self, group: cs.Group, arrays: Mapping[str, cs.Array], *, chunks: Chunks, **how: Any
    ) -> None:
        super().__init__(group, arrays, **how)
        self.blocks = _block_shapes(arrays, chunks)

    def data_of(self, array: cs.Array) -> Any:
        block_shape = self.blocks.get(array.basename)
        if block_shape is None:
            return super().data_of(array)
        return from_store(array, chunks=block_shape)


def _block_shapes(arrays: Mapping[str, cs.Array], chunks: Chunks) -> dict[str, tuple[int, ...]]:
    """Choose the shape of blocks of each array that is to be a dask array.

    The largest array chooses first, and the others follow it along the dimensions they share.
    """
    shapes = {}
    sizes: dict[str, int] = {}
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].nbytes):
        dimensions = dimensions_of(array)
        # Rectilinear grids have no one shape of blocks: they are read lazily, without dask.
        if dimensions == (name,) or array.metadata.grid.uniform_shape is None:
            continue
        shapes[name] = _block_shape(array, dimensions, chunks, sizes)
        for dimension, size in zip(dimensions, shapes[name], strict=True):
            sizes.setdefault(dimension, size)
    return shapes


def _block_shape(
    array: cs.Array, dimensions: tuple[str, ...], chunks: Chunks, sizes: Mapping[str, int]
) -> tuple[int, ...]:
    unit = array.write_unit
    if chunks == "storage":
        return unit
    if isinstance(chunks, Mapping):
        asked = (
            chunks.get(dimension, size) for dimension, size in zip(dimensions, unit, strict=True)
        )
        return tuple(
            max(extent, 1) if size in (None, -1) else int(size)
            for size, extent in zip(asked, array.shape, strict=True)
        )
    target = None if chunks == "auto" else parse_bytes(chunks)
    own = largest_block(
        blocks_of_bytes(array.shape, unit, item_bytes=array.dtype.itemsize, target_bytes=target)
    )
    return tuple(
        max(1, size if shared is None or shared % unit[axis] else shared)
        for axis, (size, shared) in enumerate(zip(own, map(sizes.get, dimensions), strict=True))
    )

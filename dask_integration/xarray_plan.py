"""What a write of a dataset will do: every variable checked before anything is touched.

Floor 5. The plan of a group says for each variable which array it goes to, laid out how, and into
which part of it::

    dataset ─▶ region ─▶ CF encoding ─▶ new variable:      a layout that is proved to work
                                     └▶ stored variable:   its own encoding, dimensions, sizes

A write that is refused has changed nothing: the store reads as before.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr
from xarray import conventions

import chunkstore as cs
from chunkstore.errors import AlignmentError, NodeNotFoundError
from dask_integration.align import alignment
from dask_integration.xarray_encoding import encode_variable, trusted
from dask_integration.xarray_engine import GroupStore
from dask_integration.xarray_layout import array_layout, check_blocks, checked_attributes
from dask_integration.xarray_regions import fitted, region_of, selection_of

__all__ = ["GroupPlan", "VariablePlan", "Write", "plan_group"]


@dataclass(frozen=True)
class Write:
    """What a write was asked for; the fields mean what they mean in `to_store`."""

    store: cs.Store
    mode: str
    region: Any = None
    append_dim: Hashable | None = None
    align: Literal["auto", "error"] = "error"
    zarr_format: Literal[2, 3] | None = None
    write_empty_chunks: bool | None = None


@dataclass(frozen=True)
class VariablePlan:
    """One variable of a write.

    Parameters
    ----------
    name : str
        Name of the array in its group.
    variable : xarray.Variable
        What is written, encoded.
    region : tuple of slice
        Where it goes in the array.
    layout : mapping, optional
        Arguments that create the array, if it is new.
    array : chunkstore.Array, optional
        The array that is stored, open for writing.
    shape : tuple of int
        The array's shape when all is written.
    """

    name: str
    variable: xr.Variable
    region: tuple[slice, ...]
    shape: tuple[int, ...]
    layout: Mapping[str, Any] | None = None
    array: cs.Array | None = None

    @property
    def in_blocks(self) -> bool:
        """Whether the values are a dask array; one without elements is written at once."""
        return self.variable.chunks is not None and self.variable.size > 0

    @property
    def grows(self) -> bool:
        """Whether the stored array gets larger."""
        return self.array is not None and self.array.shape != self.shape


@dataclass(frozen=True)
class GroupPlan:
    """One group of a write.

    Parameters
    ----------
    path : str
        Where the group is in the store.
    zarr_format : {2, 3}
        Its format.
    attributes : mapping, optional
        What its attributes become; None leaves them.
    variables : tuple of VariablePlan
        What is written.
    group : chunkstore.Group, optional
        The group that is stored, open for writing.
    """

    path: str
    zarr_format: Literal[2, 3]
    attributes: Mapping[str, Any] | None
    variables: tuple[VariablePlan, ...]
    group: cs.Group | None

    def path_of(self, variable: VariablePlan) -> str:
        """Give the path of a variable's array in the store."""
        return f"{self.path}/{variable.name}".strip("/")


def plan_group(
    ds: xr.Dataset, write: Write, *, path: str, encoding: Mapping[Hashable, Mapping[str, Any]]
) -> GroupPlan:
    """Check all that can be known of a write to one group; touches nothing.

    Parameters
    ----------
    ds : xarray.Dataset
        What is to be written.
    write : Write
        How.
    path : str
        Path of the group.
    encoding : mapping of str to mapping
        By variable.

    Raises
    ------
    ValueError, TypeError, KeyError
        In xarray's words, saying what to change.
    """
    _check_names(ds)
    group = _existing(write, path)
    stored = _Stored.of(group, ds, listed=write.mode != "r+")
    zarr_format: Literal[2, 3] = write.zarr_format or 3
    if group is not None:
        zarr_format = 2 if group.metadata.zarr_format == 2 else 3
    region: Mapping[Hashable, slice] = {}
    if write.region is not None:
        region = region_of(
            ds,
            write.region,
            mode=write.mode,
            append_dim=write.append_dim,
            stored_values=stored.values,
        )
        # Coordinates that have an index are what the region was found by.
        ds = ds.drop_vars(list(ds.indexes))
    _check_encoding(ds, encoding, stored)
    stored.check_append(ds, write.append_dim)
    variables, attributes = conventions.encode_dataset_coordinates(ds)
    new_names = [name for name in variables if name not in stored.arrays]
    if new_names and (write.mode == "r+" or region):
        why = "``mode='r+'``" if write.mode == "r+" else "a `region`"
        raise ValueError(
            f"dataset contains non-pre-existing variables {new_names!r}, which is not allowed "
            f"with {why}. To allow writing new variables, set ``mode='a'`` and no region"
        )
    plan = partial(_planned, stored=stored, write=write, region=region, zarr_format=zarr_format)
    plans = tuple(plan(name, v, given=encoding.get(name)) for name, v in variables.items())
    plans = tuple(p for p in plans if not _is_left(p, write))
    stored.check_sizes(plans)
    return GroupPlan(
        path=path,
        zarr_format=zarr_format,
        attributes=None if write.mode == "r+" else checked_attributes(attributes, "the dataset"),
        variables=plans,
        group=group,
    )


def _check_names(ds: xr.Dataset) -> None:
    for name in ds.variables:
        if name is not None and not isinstance(name, str):
            raise TypeError(
                f"Invalid name {name!r} for a variable: names must be either a string or None for "
                f"serialization"
            )
        if name == "":
            raise ValueError(
                f"Invalid name {name!r} for a variable: string must be length 1 or greater for "
                f"serialization"
            )


def _stored_name(name: Hashable) -> str:
    """Give the name of the array that a variable is stored as: xarray's, for one without a name."""
    return "__values__" if name is None else str(name)


def _check_encoding(
    ds: xr.Dataset, encoding: Mapping[Hashable, Mapping[str, Any]], stored: _Stored
) -> None:
    for name, entries in encoding.items():
        if not isinstance(entries, Mapping):
            raise ValueError(
                f"the encoding of {name!r} must be castable to a dict, of entries such as "
                f"'chunks' or 'dtype' to values; got {entries!r}"
            )
        if name in stored.arrays:
            raise ValueError(
                f"variable {name!r} already exists, but encoding was provided: what is stored "
                f"keeps its encoding. Leave it out of `encoding`, or write with mode='w'"
            )
        if name not in ds.variables:
            raise KeyError(
                f"encoding names {name!r}, which is no variable of the dataset: "
                f"{', '.join(map(repr, ds.variables))}"
            )


def _existing(write: Write, path: str) -> cs.Group | None:
    """Open the group that is written to, where the mode does not replace it."""
    if write.mode in ("w", "w-"):
        return None
    try:
        return cs.open_group(
            write.store,
            path=path,
            mode="r+",
            zarr_format=write.zarr_format,
            use_consolidated=False,
        )
    except NodeNotFoundError:
        if write.mode == "r+" or write.append_dim is not None or write.region is not None:
            raise
        return None


@dataclass(frozen=True)
class _Stored:
    """What is stored in the group that is written to."""

    store: GroupStore | None
    arrays: Mapping[Hashable, cs.Array]
    all_arrays: Mapping[str, cs.Array]

    @classmethod
    def of(cls, group: cs.Group | None, ds: xr.Dataset, *, listed: bool) -> _Stored:
        """Open the arrays of the dataset's names, and with `listed` all others too."""
        if group is None:
            return cls(None, {}, {})
        if listed:
            found = dict(group.arrays())
        else:
            members = {_stored_name(name): group.get(_stored_name(name)) for name in ds.variables}
            found = {name: m for name, m in members.items() if isinstance(m, cs.Array)}
        names: dict[Hashable, str] = {name: _stored_name(name) for name in ds.variables}
        arrays = {name: found[stored] for name, stored in names.items() if stored in found}
        return cls(GroupStore(group, found), arrays, found)

    def variable(self, name: Hashable) -> xr.Variable:
        """Give a stored variable, decoded and not read."""
        assert self.store is not None
        raw = {name: self.store.variable(self.arrays[name])}
        decoded: xr.Variable = conventions.decode_cf_variables(raw, {})[0][name]
        return decoded

    def values(self, dim: Hashable) -> np.ndarray[Any, Any]:
        """Read the stored coordinate of a dimension.

        Raises
        ------
        KeyError
            If none is stored.
        """
        if dim not in self.arrays:
            raise KeyError(
                f"region='auto' looks coordinate {dim!r} up in the original store, which has no "
                f"such variable. Give the region of {dim!r} as a slice"
            )
        values: np.ndarray[Any, Any] = self.variable(dim).values
        return values

    def sizes(self) -> Mapping[str, int]:
        """Give the sizes of all stored dimensions."""
        return {} if self.store is None else self.store.get_dimensions()

    def check_append(self, ds: xr.Dataset, append_dim: Hashable | None) -> None:
        """Refuse to append along what is not stored, or to leave a variable behind."""
        if append_dim is None:
            return
        sizes = self.sizes()
        if append_dim not in sizes or append_dim not in ds.dims:
            raise ValueError(
                f"append_dim={append_dim!r} does not match any existing dataset dimensions "
                f"{sizes}, or is no dimension of the dataset to append {dict(ds.sizes)}"
            )
        assert self.store is not None
        behind = [
            name
            for name, array in self.all_arrays.items()
            if append_dim in self.store.variable(array).dims
            and name not in map(_stored_name, ds.variables)
        ]
        if behind:
            raise ValueError(
                f"cannot append along {append_dim!r}: the stored variables {behind!r} have this "
                f"dimension and the dataset does not have them, so that they would be left shorter "
                f"and the store could not be opened. Append them too"
            )

    def check_sizes(self, plans: tuple[VariablePlan, ...]) -> None:
        """Refuse variables that disagree with each other, or with what is stored, on a size."""
        sizes: dict[Hashable, tuple[int, str]] = {}
        changed = {plan.name: plan.shape for plan in plans}
        for name, array in self.all_arrays.items():
            assert self.store is not None
            for dim, size in zip(
                self.store.variable(array).dims, changed.get(name, array.shape), strict=True
            ):
                sizes.setdefault(dim, (size, name))
        for plan in plans:
            for dim, size in zip(plan.variable.dims, plan.shape, strict=True):
                known, other = sizes.setdefault(dim, (size, plan.name))
                if size != known:
                    raise ValueError(
                        f"variable {plan.name!r} has size {size} along dimension {dim!r}, but "
                        f"{other!r} in the store has {known}: the dataset could not be opened. "
                        f"Rename the dimension, or write the variable in full"
                    )


def _planned(
    name: Hashable,
    variable: xr.Variable,
    *,
    given: Mapping[str, Any] | None,
    stored: _Stored,
    write: Write,
    region: Mapping[Hashable, slice],
    zarr_format: int,
) -> VariablePlan:
    if name in stored.arrays:
        return _planned_part(name, variable, stored=stored, write=write, region=region)
    if given is None:
        variable = trusted(variable)
    else:
        variable = variable.copy(deep=False)
        variable.encoding = dict(given)
    encoded = encode_variable(variable, name, zarr_format)
    layout = array_layout(
        encoded, name, zarr_format=zarr_format, explicit=given is not None, align=write.align
    )
    options = _options(encoded, write, name)
    if options is not None:
        layout["options"] = options
    plan = VariablePlan(
        name=_stored_name(name),
        variable=encoded,
        region=(slice(None),) * encoded.ndim,
        shape=encoded.shape,
        layout=layout,
    )
    if plan.in_blocks and write.align == "error":
        unit = layout.get("shards", layout["chunks"])
        check_blocks(encoded, name, unit, unit_name="shard" if "shards" in layout else "chunk")
    return plan


def _options(variable: xr.Variable, write: Write, name: Hashable) -> cs.Options | None:
    own, asked = variable.encoding.get("write_empty_chunks"), write.write_empty_chunks
    if own is not None and asked is not None and own != asked:
        raise ValueError(
            f"Differing write_empty_chunks for variable {name!r}: {own} in its encoding, {asked} "
            f"as the parameter. Leave one of them out"
        )
    value = own if asked is None else asked
    return None if value is None else cs.Options(write_empty_chunks=value)


def _planned_part(
    name: Hashable,
    variable: xr.Variable,
    *,
    stored: _Stored,
    write: Write,
    region: Mapping[Hashable, slice],
) -> VariablePlan:
    """Plan the write to a variable that is stored: encoded as it is, and fitted to its part."""
    array, old = stored.arrays[name], stored.variable(name)
    _check_type(name, variable, old)
    new = variable.copy(deep=False)
    new.encoding = old.encoding
    encoded = encode_variable(new, name, array.metadata.zarr_format)
    encoded = fitted(name, encoded, old, region=region, append_dim=write.append_dim)
    append_dim = write.append_dim
    append = encoded.sizes[append_dim] if append_dim in old.dims else 0
    selection, shape = selection_of(old, region=region, append=append, append_dim=append_dim)
    if not array.store.guards_updates:
        _check_edges(name, array, selection, shape)
    if write.write_empty_chunks is not None:
        array = array.with_options(write_empty_chunks=write.write_empty_chunks)
    if encoded.chunks is not None and write.align == "error":
        check_blocks(
            encoded,
            name,
            array.write_unit,
            unit_name="shard" if array.shards else "chunk",
            shape=shape,
            starts=tuple(part.start for part in selection),
        )
    return VariablePlan(
        name=_stored_name(name), variable=encoded, region=selection, shape=shape, array=array
    )


def _check_edges(
    name: Hashable, array: cs.Array, selection: tuple[slice, ...], shape: tuple[int, ...]
) -> None:
    """Refuse a part that ends within a write unit, on a store that keeps no other writer out."""
    blocks = tuple((part.stop - part.start,) for part in selection)
    starts = tuple(part.start for part in selection)
    for axis in alignment(blocks, array.write_unit, shape=shape, starts=starts):
        if axis.partial_start or axis.partial_stop:
            raise AlignmentError(
                f"cannot write a region of variable {name!r}: on axis {axis.axis} it goes from "
                f"{axis.start} to {axis.stop}, and write units are {axis.unit} long. This store "
                f"cannot keep out another process that writes the rest of a unit. Give a region "
                f"of whole units, or open the store with single_writer=True if no other process "
                f"writes there",
                axis=axis.axis,
                unit=axis.unit,
            )


def _check_type(name: Hashable, new: xr.Variable, old: xr.Variable) -> None:
    """Refuse text and raw bytes of another length than the stored ones, which would be cut."""
    if new.dtype.kind in "SUV" and old.dtype.kind in "SUV" and new.dtype != old.dtype:
        raise ValueError(
            f"Mismatched dtypes for variable {name} between Zarr store on disk and dataset to "
            f"append. Store has dtype {old.dtype} but dataset to append has dtype {new.dtype}. "
            f"Convert it with .astype({old.dtype.str!r}) if nothing is cut, or store text of any "
            f"length (numpy's StringDType)"
        )


def _is_left(plan: VariablePlan, write: Write) -> bool:
    """Whether mode 'a-' leaves a stored variable as it is: it does not have the dimension."""
    return (
        write.mode == "a-"
        and write.append_dim is not None
        and plan.array is not None
        and write.append_dim not in plan.variable.dims
    )

"""``ds.chunkstore.to_store(…)``: datasets, arrays and trees written to Zarr by one job.

Floor 6. Everything is planned before anything is touched (``xarray_plan``); then

    groups ─▶ values in memory, and a job of one task a block for dask arrays
           ─▶ new arrays appear, grown ones get their new shape ─▶ attributes ─▶ consolidation

so that a reader finds the old dataset or the new one, variable by variable, and with consolidated
metadata the one or the other as a whole. Files are ordinary Zarr, which ``xr.open_zarr`` reads.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, cast

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed

import chunkstore as cs
from chunkstore.errors import MetadataError, NodeNotFoundError, NodeTypeError
from dask_integration.io import to_store as dask_to_store
from dask_integration.layers import gather
from dask_integration.ledger import NEW, Ledger
from dask_integration.receipts import Receipt, StoreReport, checksum, merge_receipts
from dask_integration.xarray_plan import GroupPlan, VariablePlan, Write, plan_group
from dask_integration.xarray_regions import resolved_mode
from dask_integration.xarray_replace import can_stage, replacing
from dask_integration.xarray_sources import refuse_replaced, refuse_rewritten

__all__ = ["ChunkstoreAccessor", "to_store", "write_region"]

_NAME_KEY = "__xarray_dataarray_name__"
_NO_NAME = "__xarray_dataarray_variable__"

Reports = dict[str, StoreReport]


def to_store(
    data: xr.Dataset | xr.DataArray | xr.DataTree,
    store: Any,
    mode: Literal["w", "w-", "a", "a-", "r+"] | None = None,
    *,
    group: str | None = None,
    encoding: Mapping[Hashable, Mapping[Any, Any]] | None = None,
    region: Mapping[Hashable, slice | Literal["auto"]] | Literal["auto"] | None = None,
    append_dim: Hashable | None = None,
    compute: bool = True,
    resume: bool = False,
    consolidated: bool | None = None,
    align: Literal["auto", "error"] = "error",
    zarr_format: Literal[2, 3] | None = None,
    write_empty_chunks: bool | None = None,
    write_inherited_coords: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **job: Any,
) -> Reports | Delayed:
    """Write a dataset, a data array or a tree to a store, all its variables in one job.

    Parameters
    ----------
    data : Dataset, DataArray or DataTree
        What to write. Variables that are dask arrays are written block by block, one task each;
        others at once.
    store : Store, str, Path or mapping
        As in `chunkstore.open`.
    mode : {"w", "w-", "a", "a-", "r+"}, optional
        "w" replaces what is there, "w-" refuses to; "a" adds variables and overwrites those of
        the same name; "a-" overwrites only those that have `append_dim`; "r+" changes values of
        variables that exist, and nothing else. The default is "a" with `append_dim`, "r+" with
        `region`, else "w-".
    group : str, optional
        Path of the group; the root by default.
    encoding : mapping of str to mapping
        By variable, of a tree by the path of the node and variable; replaces a variable's own
        encoding. Entries of CF conventions, and chunks, shards, filters, serializer, compressors,
        chunk_key_encoding, write_empty_chunks, and in version 3 fill_value.
    region : "auto" or mapping of str to slice or "auto"
        The part of the stored dataset to write, along some dimensions. "auto" finds it by the
        dataset's coordinates; variables that have an index are not written.
    append_dim : str, optional
        Dimension along which to append to what is stored.
    compute : bool
        Run the job. False makes arrays, writes metadata and what is in memory, and gives the rest
        as a Delayed; until it has run, and with regions written on their own if it never does,
        elements read as the fill value.
    resume : bool
        Go on with a write of the same dataset that was interrupted, in whatever way: blocks that
        the ledgers in the store say are finished are left out. Where none was begun, begin one.
        All variables are written block by block then. See `dask_integration.to_store`.
    consolidated : bool, optional
        Whether to consolidate the store's metadata at the end; by default in all modes but "r+".
    align : {"error", "auto"}
        What happens to dask blocks of which two would share a write unit: an error, or they are
        merged.
    zarr_format : {2, 3}, optional
        Of a new store; 3 by default.
    write_empty_chunks : bool, optional
        Store chunks that hold only the fill value.
    write_inherited_coords : bool
        Of a tree: write coordinates that nodes inherit to each of them.
    storage_options : mapping, optional
        For a URL of a remote store alone.
    **job
        Of the job: `retries`, `verify`, `memory`, `token`, as in `dask_integration.to_store`.

    Returns
    -------
    dict of str to StoreReport, or dask.delayed.Delayed
        What was written, by the path of each variable below the store's root.

    Raises
    ------
    AlignmentError
        If two blocks would share a write unit.
    ValueError, TypeError, KeyError
        If something does not fit: each says what to change. Nothing has been touched then.
    NodeExistsError
        If something is there that the mode does not replace.

    Notes
    -----
    Encoding that a variable brought along from where it was read is followed where it still fits,
    and left where it does not: chunks after slicing or rechunking, codecs of the other format.

    An append grows the arrays when all data is written. One job at a time may append; regions may
    be written by many at once, on stores that keep updates apart whatever the chunks.

    Mode "w" replaces a dataset in a folder when the new one is complete, which takes disk space for
    both; in other stores, with ``compute=False`` and with `resume`, the old one goes when all has
    been checked and before anything is computed.

    With ``compute=False`` arrays that are appended to grow at once.

    Examples
    --------
    >>> import chunkstore as cs
    >>> import xarray as xr
    >>> store = cs.MemoryStore()
    >>> ds = xr.Dataset({"temp": ("time", [280.0, 281.5])}, coords={"time": [0, 1]})
    >>> reports = to_store(ds, store)
    >>> reports = to_store(ds.assign_coords(time=[2, 3]), store, append_dim="time")
    >>> sorted(reports), cs.open_array(store, path="temp", mode="r").shape
    (['temp', 'time'], (4,))
    """
    consolidates = getattr(store, "supports_consolidated_metadata", True)
    write = Write(
        store=cs.open_store(store, storage_options=storage_options),
        mode=resolved_mode(mode, append_dim=append_dim, region=region),
        region=region,
        append_dim=append_dim,
        align=align,
        zarr_format=zarr_format,
        write_empty_chunks=write_empty_chunks,
    )
    if resume and (append_dim is not None or not compute):
        raise ValueError(
            "cannot resume an append, of which an interrupted one leaves nothing, nor with "
            "compute=False. Leave `resume` out"
        )
    datasets = _datasets(data, write_inherited_coords)
    encodings = _encodings(data, encoding or {}, datasets)
    root = (group or "").strip("/")
    paths = {node: f"{root}/{node}".strip("/") for node in datasets}
    plans = [
        plan_group(ds, write, path=paths[node], encoding=encodings.get(node, {}))
        for node, ds in datasets.items()
    ]
    for plan in plans:
        for part in plan.variables:
            if part.array is not None and part.in_blocks:
                refuse_rewritten(part.variable, part.array)
    goes_on = resume and any(_is_unfinished(write.store, name) for name in _new_names(plans))
    old = None
    if write.mode == "w" and not goes_on:
        refuse_replaced(datasets.values(), write.store, root)
        old = _group_at(write.store, root)
    # Mode "r+" changes no document.
    consolidate = consolidated is not False and write.mode != "r+" and consolidates
    run = _Run(write, plans, consolidate, {**job, "resume": resume}, goes_on=goes_on)
    if old is None or not (can_stage(old) and compute and not resume):
        return run.run(compute=compute)
    return run.replace(old)


def write_region(
    data: xr.Dataset | xr.DataArray,
    store: Any,
    region: Mapping[Hashable, slice | Literal["auto"]] | Literal["auto"] = "auto",
    *,
    group: str | None = None,
    **how: Any,
) -> Reports:
    """Write a part of a dataset whose arrays exist, in this process and at once.

    To be called by many workers, each with its own part, after one of them has made the arrays
    with ``to_store(template, store, compute=False)``. Needs no client and changes no metadata.

    Parameters
    ----------
    data : Dataset or DataArray
        The part.
    store, region, group
        As in `to_store`.
    **how
        Further arguments of `to_store`.

    Examples
    --------
    >>> import dask.array as da
    >>> import chunkstore as cs
    >>> import xarray as xr
    >>> store = cs.MemoryStore()
    >>> template = xr.Dataset({"a": ("x", da.zeros(6, chunks=3))}, coords={"x": range(6)})
    >>> job = to_store(template, store, compute=False)
    >>> part = xr.Dataset({"a": ("x", [1.0, 2.0, 3.0])}, coords={"x": [3, 4, 5]})
    >>> write_region(part, store)["a"].shape
    (6,)
    >>> cs.open_array(store, path="a", mode="r")[:]
    array([nan, nan, nan,  1.,  2.,  3.])
    """
    return cast(Reports, to_store(data, store, "r+", region=region, group=group, **how))


# --- what is written -----------------------------------------------------------------------------


def _datasets(
    data: xr.Dataset | xr.DataArray | xr.DataTree, inherited: bool
) -> dict[str, xr.Dataset]:
    """Give the datasets to write, by path; of an array, as xarray names them."""
    if isinstance(data, xr.DataTree):
        nodes = {node.path: node for node in data.subtree}
        top = data.path.rstrip("/")
        return {
            path[len(top) :].strip("/"): node.to_dataset(inherit=inherited or node is data)
            for path, node in nodes.items()
        }
    if isinstance(data, xr.Dataset):
        return {"": data}
    if not isinstance(data, xr.DataArray):
        raise TypeError(f"to_store writes a Dataset, DataArray or DataTree, got {type(data)}")
    if data.name is None:
        return {"": data.to_dataset(name=_NO_NAME)}
    if data.name in data.coords or data.name in data.dims:
        # A variable of its own name could not stand beside the coordinate.
        ds = data.to_dataset(name=_NO_NAME)
        ds.attrs[_NAME_KEY] = data.name
        return {"": ds}
    return {"": data.to_dataset()}


def _encodings(
    data: Any, encoding: Mapping[Any, Mapping[Any, Any]], datasets: Mapping[str, xr.Dataset]
) -> dict[str, Mapping[Any, Any]]:
    """Give the encoding of each dataset, by path."""
    if not isinstance(data, xr.DataTree):
        return {"": encoding}
    by_path = {str(path).strip("/"): own for path, own in encoding.items()}
    unknown = sorted(set(by_path) - set(datasets))
    if unknown:
        raise ValueError(
            f"unexpected encoding group name(s) provided: {unknown}. Of a tree, `encoding` is by "
            f"the path of each node: {', '.join(map(repr, datasets))}"
        )
    return by_path


def _new_names(plans: list[GroupPlan]) -> list[str]:
    """Give the paths of all arrays that are to be made."""
    return [
        plan.path_of(part) for plan in plans for part in plan.variables if part.layout is not None
    ]


def _is_unfinished(store: cs.Store, path: str) -> bool:
    """Whether a job that was to make an array was interrupted."""
    return Ledger.find(store, path, NEW) is not None


# --- writing it ----------------------------------------------------------------------------------


@dataclass
class _Run:
    """A write under way: what was planned, and what is to be done at its end."""

    write: Write
    plans: list[GroupPlan]
    consolidate: bool
    job: Mapping[str, Any]
    goes_on: bool = False
    reports: Reports = field(default_factory=dict)
    new: list[cs.Array] = field(default_factory=list)
    grown: list[tuple[cs.Array, tuple[int, ...]]] = field(default_factory=list)

    def run(self, *, compute: bool) -> Reports | Delayed:
        groups = self._groups()
        blocks: dict[str, tuple[VariablePlan, cs.Array | None]] = {}
        for plan, group in zip(self.plans, groups, strict=True):
            for part in plan.variables:
                name = plan.path_of(part)
                # What is to be resumed is in the job's ledger, and so part of the job.
                in_job = part.in_blocks or (self.job["resume"] and part.variable.size > 0)
                # The job makes its own new arrays, unless they are to exist before it runs.
                own = in_job and compute and part.layout is not None
                array = None if own else self._array(part, group, pending=compute)
                if in_job:
                    blocks[name] = (part, array)
                elif array is not None:
                    self.reports[name] = _write(array, part)
        store = groups[0].store
        written = self._job(blocks, store, compute=compute)
        if compute:
            self.reports |= written or {}
        self._finish(groups)
        if self.consolidate:
            cs.consolidate_metadata(store, zarr_format=self.plans[0].zarr_format)
        if compute:
            return self.reports
        end = partial(_merged, self.reports)
        return delayed(end)([]) if written is None else gather([written], end, label="store-all")

    def replace(self, old: cs.Group) -> Reports:
        """Write beside an old group in a folder, and put the new one in its place at the end."""
        store, root = self.write.store, old.path
        try:
            with replacing(old) as place:
                apart = _Run(
                    replace(self.write, store=place),
                    [replace(plan, path=plan.path[len(root) :].strip("/")) for plan in self.plans],
                    self.consolidate and not root,
                    self.job,
                )
                written = cast(Reports, apart.run(compute=True))
        finally:
            # Within a hierarchy any change drops the copies of its groups, also one that fails.
            if self.consolidate and root:
                cs.consolidate_metadata(store, zarr_format=self.plans[0].zarr_format)
        names = {name: f"{root}/{name}".strip("/") for name in written}
        return {
            full: replace(written[name], target=f"/{full} in {store!r}")
            for name, full in names.items()
        }

    def _groups(self) -> list[cs.Group]:
        """Open the groups, or make them; from here on things are touched."""
        found: list[cs.Group] = []
        for plan in self.plans:
            group = plan.group
            if group is None and self.goes_on:
                group = _group_at(self.write.store, plan.path)
            if group is None:
                group = cs.create_group(
                    self.write.store,
                    path=plan.path,
                    zarr_format=plan.zarr_format,
                    attributes=plan.attributes,
                    # The first one holds all others: with it everything is replaced.
                    overwrite=self.write.mode == "w" and not found and not self.goes_on,
                )
            found.append(group)
        return found

    def _array(self, part: VariablePlan, group: cs.Group, *, pending: bool) -> cs.Array:
        """Give the array of a variable open for writing."""
        if part.array is None:
            array = group.create_array(
                part.name, pending=pending, overwrite=self.goes_on, **(part.layout or {})
            )
            self.new.append(array)
            return array
        if not part.grows:
            return part.array
        if pending:
            self.grown.append((part.array, part.shape))
            return part.array.grown(part.shape)
        part.array.resize(part.shape)
        return part.array

    def _job(
        self,
        blocks: Mapping[str, tuple[VariablePlan, cs.Array | None]],
        store: cs.Store,
        *,
        compute: bool,
    ) -> Any:
        """Write all dask arrays by one job."""
        if not blocks:
            return None
        arguments: dict[str, dict[str, Any]] = {"store": {}, "region": {}}
        for name, (part, array) in blocks.items():
            arguments["store"][name] = store if array is None else array
            if array is not None:
                arguments["region"][name] = part.region
                continue
            for argument, value in (part.layout or {}).items():
                if argument not in ("shape", "dtype"):
                    arguments.setdefault(argument, {})[name] = value
        arrays = {name: _as_blocks(part.variable) for name, (part, _) in blocks.items()}
        return dask_to_store(
            arrays, compute=compute, align=self.write.align, **arguments, **self.job
        )

    def _finish(self, groups: list[cs.Group]) -> None:
        """Let readers see it: new arrays, new shapes, attributes."""
        for array in self.new:
            array.publish()
        for array, shape in self.grown:
            array.resize(shape, written=True)
        for plan, group in zip(self.plans, groups, strict=True):
            new = plan.attributes
            if new is not None and group.attrs.asdict() != dict(new):
                group.attrs.put(new)


def _group_at(store: cs.Store, path: str) -> cs.Group | None:
    """Open the group at a path, if one is there."""
    try:
        return cs.open_group(store, path=path, mode="r+", use_consolidated=False)
    except (MetadataError, NodeNotFoundError, NodeTypeError):
        return None


def _as_blocks(variable: xr.Variable) -> da.Array:
    """Give a variable as a dask array; one in memory as a single block."""
    return cast(da.Array, variable.data if variable.chunks else da.from_array(variable.values, -1))


def _write(array: cs.Array, part: VariablePlan) -> StoreReport:
    """Write a variable that is in memory, or can be loaded, at once."""
    values = np.asarray(part.variable.values)
    started_s, start = time.time(), time.perf_counter()
    array.write(part.region, values)
    write_s = time.perf_counter() - start
    block = (0,) * values.ndim
    tally = merge_receipts([Receipt(block, values.nbytes, checksum(values), started_s, write_s)])
    return StoreReport(
        target=f"{array.name} in {array.store!r}",
        shape=array.shape,
        dtype=str(array.dtype),
        n_blocks=1,
        value_bytes=values.nbytes,
        checksum=f"{tally.checksum:016x}",
        write_s=write_s,
        elapsed_s=write_s,
    )


def _merged(reports: Reports, written: list[Reports]) -> Reports:
    return {name: report for part in (reports, *written) for name, report in part.items()}


class ChunkstoreAccessor:
    """``.chunkstore`` of a Dataset, DataArray or DataTree.

    Parameters
    ----------
    data : Dataset, DataArray or DataTree
        What the accessor is of.
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    def to_store(self, store: Any, mode: Any = None, **how: Any) -> Reports | Delayed:
        """Write it to a store; parameters as in `dask_integration.xarray.to_store`."""
        return to_store(self._data, store, mode, **how)

    def write_region(self, store: Any, region: Any = "auto", **how: Any) -> Reports:
        """Write it as a part of a stored dataset; see `dask_integration.xarray.write_region`."""
        return write_region(self._data, store, region, **how)


xr.register_dataset_accessor("chunkstore")(ChunkstoreAccessor)
xr.register_dataarray_accessor("chunkstore")(ChunkstoreAccessor)
xr.register_datatree_accessor("chunkstore")(ChunkstoreAccessor)

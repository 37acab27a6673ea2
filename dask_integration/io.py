"""From dask arrays to a store: `to_store`, `write_region`, `is_complete`.

Floor 4. Each block is written by one task, whole write units at a time, so no two tasks touch the
same unit. A job that reads, computes and writes is one task a block::

    from_store ─▶ block-wise functions ─▶ to_store        n blocks, n tasks
      a handle and a region a task         a receipt a task, merged into one report

New arrays cannot be opened until every block of the job is written: their metadata documents are
stored last, all together. Left out: what is asked of stores beforehand (``targets``), and what a
task does (``writing``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, overload

import dask.array as da
from dask.utils import parse_bytes

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import n_blocks
from dask_integration.layers import FusingDelayed, gather, tree_reduce, write_layer
from dask_integration.reading import from_store
from dask_integration.receipts import StoreReport, Tally, merge_receipts
from dask_integration.targets import (
    Align,
    Target,
    plan_target,
    refuse_shared_places,
    refuse_sources,
)
from dask_integration.writing import BlockWriter, write_block

__all__ = ["from_store", "to_store"]

_MERGED_BYTES = 2**28
"""Size that blocks may be merged up to where no `memory` is given."""


@overload
def to_store(x: da.Array, store: Any, **arguments: Any) -> StoreReport: ...


@overload
def to_store(x: Mapping[str, da.Array], store: Any, **arguments: Any) -> dict[str, StoreReport]: ...


def to_store(
    x: da.Array | Mapping[str, da.Array],
    store: Any,
    *,
    path: str | None = None,
    region: Any = None,
    chunks: int | Sequence[int] | Mapping[str, Any] | None = None,
    shards: int | Sequence[int] | Mapping[str, Any] | Literal["auto"] | None = None,
    compressors: Any = "auto",
    fill_value: Any = None,
    attributes: Mapping[str, Any] | None = None,
    dimension_names: Sequence[str | None] | Mapping[str, Any] | None = None,
    zarr_format: Literal[2, 3] = 3,
    align: Align = "auto",
    overwrite: bool = False,
    compute: bool = True,
    retries: int = 3,
    verify: bool = False,
    memory: str | int | None = None,
    **layout: Any,
) -> StoreReport | dict[str, StoreReport] | FusingDelayed:
    """Write dask arrays to a store, one task a block, safely in any order and number at once.

    Parameters
    ----------
    x : dask.array.Array, or a mapping of names to such
        What to write. Many arrays are written by one job and appear together at its end.
    store : Store, str, Path or chunkstore.Array
        Where to make the array; or an array that is open for writing.
    path : str, optional
        Path of the array in the store; the root by default. Of many, their names are paths below.
    region : tuple of slice, optional
        The part of an existing array to write, a slice without a step for each axis. Other jobs
        may write other regions meanwhile.
    chunks : tuple of int or int, optional
        Chunks of the new array. The default makes each block of `x` a chunk, or divides blocks
        that are larger than 64 MiB; within shards it divides the shard to about 1 MiB.
    shards : tuple of int, int or "auto", optional
        Shards of the new array: one stored value each, of several chunks. "auto" makes each block
        of `x` a shard, or divides blocks that are larger than 64 MiB. The default has no shards.
    compressors, fill_value, attributes, dimension_names, zarr_format
        Of the new array, as in `chunkstore.create_array`.
    align : {"auto", "error"}
        What happens to blocks of which two would share a write unit. "auto" merges neighbours, or
        rechunks, within `memory`; "error" refuses them. Blocks that share none stay as they are.
    overwrite : bool
        Replace what is at `path`. It is deleted when everything has been checked and before
        anything is computed; with ``compute=False`` that is during this call.
    compute : bool
        Run the job. False gives it as a Delayed.
    retries : int
        How often a block is written again after the store failed, within its task. Only failures
        that may pass are tried again (not a full disk or a missing permission), after waits that
        double. On a cluster a task that fails otherwise is also run again as often.
    verify : bool
        Read every block back once it is written and compare it with what was to be written.
    memory : str or int, optional
        Bytes that the merged blocks of ``align="auto"`` may take each, such as "1GB"; 256 MiB by
        default.
    **layout
        Further arguments of `chunkstore.create_array`: filters, serializer, order,
        chunk_key_encoding, storage_options.

    Returns
    -------
    StoreReport, dict of StoreReport, or dask.delayed.Delayed
        A report for each array. With ``compute=False`` a Delayed that writes, makes the arrays
        exist and gives the same.

    Raises
    ------
    AlignmentError
        If two blocks would share a write unit; raised before anything is touched.
    NodeExistsError
        If something is at `path` and `overwrite` is false.
    InvalidArgumentError
        If arguments do not fit together, `x` is computed from what it would replace, or the
        values turn out not to be what `x` declares.

    Notes
    -----
    Of many arrays, each argument from `store` to `zarr_format` and each of `layout` may be a
    mapping of names to values, for those arrays that it names; `attributes` always is one.

    New arrays appear when all blocks are written. A job that is interrupted, in whatever way,
    leaves chunks and a mark that no reader opens; run it again with ``overwrite=True``. Blocks
    written to an array that exists are seen at once.

    A block is written by one task with one thread, which fuses with the tasks that compute it: a
    block is held only by the thread that works on it. Tasks may run more than once, as they do
    when a worker is lost: they write the same values again.

    Each block is checked against the shape that `x` declares for it, and cast to the stored data
    type if that loses no more than precision.

    Examples
    --------
    >>> import chunkstore as cs
    >>> import dask.array as da
    >>> store = cs.MemoryStore()
    >>> report = to_store(da.ones((4, 6), chunks=(2, 6)), store, path="a")
    >>> report.n_blocks, cs.open_array(store, path="a", mode="r").chunks
    (2, (2, 6))
    >>> x = da.arange(6, chunks=3)
    >>> reports = to_store({"x": x, "squares": x**2}, store, path="b", chunks={"x": 2})
    >>> list(cs.open_group(store, path="b").keys()), reports["x"].n_blocks
    (['squares', 'x'], 3)
    """
    if retries < 0:
        raise InvalidArgumentError(f"retries must not be negative, got {retries!r}")
    layout |= {
        "chunks": chunks,
        "shards": shards,
        "compressors": compressors,
        "fill_value": fill_value,
        "attributes": attributes,
        "dimension_names": dimension_names,
        "zarr_format": zarr_format,
        "overwrite": overwrite,
    }
    asked = _by_name(x, store, path=path, region=region, **layout)
    plan = partial(plan_target, align=align, max_bytes=_bytes(memory))
    targets = {name: plan(**arguments) for name, arguments in asked.items()}
    refuse_shared_places(targets.values())
    refuse_sources(list(targets.values()))
    job = _Job.open(targets, single=not isinstance(x, Mapping), retries=retries, verify=verify)
    return job.run() if compute else job.lazily()


def _bytes(memory: str | int | None) -> int:
    if memory is None:
        return _MERGED_BYTES
    try:
        n_bytes = int(parse_bytes(memory))
    except ValueError:
        n_bytes = 0
    if n_bytes < 1:
        raise InvalidArgumentError(f'memory must be a size such as "1GB", got {memory!r}')
    return n_bytes


def _by_name(x: Any, store: Any, *, path: str | None, **common: Any) -> dict[str, dict[str, Any]]:
    """Give the arguments of each array of a job; of a single one, under the name ``""``."""
    if not isinstance(x, Mapping):
        return {"": {"x": x, "store": store, "path": path, **common}}
    arguments: dict[str, dict[str, Any]] = {name: {"x": x[name]} for name in x}
    if not arguments:
        raise InvalidArgumentError("nothing to write: `x` is an empty mapping")
    for argument, value in {"store": store, **common}.items():
        named = value if isinstance(value, Mapping) else dict.fromkeys(x, value)
        unknown = sorted(set(named) - set(x))
        if unknown:
            raise InvalidArgumentError(
                f"{argument!r} names {unknown[0]!r}, which is none of the arrays to be written: "
                f"{', '.join(map(repr, x))}. With many arrays a mapping is read as names to values"
            )
        for name, own in named.items():
            arguments[name][argument] = own
    for name, own in arguments.items():
        own["path"] = None if isinstance(own.get("store"), cs.Array) else f"{path or ''}/{name}"
        for argument, default in _DEFAULTS.items():
            own.setdefault(argument, default)
    return arguments


_DEFAULTS: Mapping[str, Any] = {
    "store": None,
    "region": None,
    "chunks": None,
    "shards": None,
    "compressors": "auto",
    "fill_value": None,
    "attributes": None,
    "dimension_names": None,
    "zarr_format": 3,
    "overwrite": False,
}
"""What holds for an array that an argument of many does not name."""


@dataclass(frozen=True)
class _Job:
    """A job whose arrays are open for writing.

    Parameters
    ----------
    targets : mapping of str to Target
        What is written, by name.
    arrays : mapping of str to chunkstore.Array
        Where, by name.
    single : bool
        Whether the job is about one array that has no name.
    retries, verify
        As in `to_store`.
    """

    targets: Mapping[str, Target]
    arrays: Mapping[str, cs.Array]
    single: bool
    retries: int
    verify: bool

    @classmethod
    def open(cls, targets: Mapping[str, Target], **settings: Any) -> _Job:
        """Open the arrays for writing; from here on things are touched."""
        return cls(targets, {name: target.open() for name, target in targets.items()}, **settings)

    def graph(self, finish: Any) -> FusingDelayed:
        """Make the graph that writes all blocks; `finish` is given a tally for each array."""
        receipts = []
        for name, target in self.targets.items():
            # Without its attributes: every task carries the handle.
            handle = self.arrays[name].with_options(n_threads=1)
            writer = BlockWriter(handle, target.starts, self.retries, self.verify)
            receipts.append(write_layer(write_block, target.x, writer))
        if self.single:
            return tree_reduce(
                receipts[0], merge_receipts, finalize=partial(_alone, finish), label="store"
            )
        tallies = [tree_reduce(grid, merge_receipts, label="store") for grid in receipts]
        return gather(tallies, finish, label="store-all")

    def end(self) -> _End:
        """Give what is to be done once all blocks are written."""
        arrays = {}
        for name, target in self.targets.items():
            # A handle of its own: those in the tasks are to have no attributes.
            array = self.arrays[name].with_options()
            if target.attributes:
                array.update_attributes(target.attributes)
            arrays[name] = (array, target.is_new, n_blocks(target.x.chunks))
        return _End(arrays, self.single)

    def run(self) -> StoreReport | dict[str, StoreReport]:
        """Run the job here and now."""
        end, job = self.end(), self.graph(list)
        try:
            return end(cast(Any, job).compute())
        except BaseException as error:
            for name, target in self.targets.items():
                left = "is unfinished and cannot be opened; run again with overwrite=True"
                error.add_note(
                    f"{self.arrays[name]!r} {left if target.is_new else 'was written in part'}"
                )
            raise

    def lazily(self) -> FusingDelayed:
        """Give the job as a Delayed."""
        return self.graph(self.end())


def _alone(finish: Any, tally: Tally) -> Any:
    return finish([tally])


@dataclass(frozen=True)
class _End:
    """What is done once all blocks are written: the arrays appear, and are reported."""

    arrays: Mapping[str, tuple[cs.Array, bool, int]]
    single: bool

    def __call__(self, tallies: Sequence[Tally]) -> StoreReport | dict[str, StoreReport]:
        reports = {}
        for (name, (array, _, n)), tally in zip(self.arrays.items(), tallies, strict=True):
            assert tally.n_blocks == n, f"{tally.n_blocks} receipts for {n} blocks"
            reports[name] = _report(array, tally)
        for array, is_new, _ in self.arrays.values():
            if is_new:
                array.publish()
        return reports[""] if self.single else reports


def _report(array: cs.Array, tally: Tally) -> StoreReport:
    return StoreReport(
        target=f"{array.name} in {array.store!r}",
        shape=array.shape,
        dtype=str(array.dtype),
        n_blocks=tally.n_blocks,
        value_bytes=tally.value_bytes,
        checksum=f"{tally.checksum:016x}",
        write_s=tally.write_s,
        elapsed_s=max(0.0, tally.ended_s - tally.started_s),
    )

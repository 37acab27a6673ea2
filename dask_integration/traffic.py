"""What a job moves between memory and one stored array: counted from regions and chunks.

Floor 2: no dask. A job touches an array by regions, one for each time a task reads or writes a
block. Laid over the array's chunks they tell how often each chunk is read, which chunks are made,
and whether block edges cut chunks::

    chunks of 4       |. . . .|. . . .|. . . .|
    blocks 4, 6, 2    |       |           |   |      the edge at 10 cuts a chunk: it is read twice
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_integration.chunks import BlockGrid
from dask_integration.cuts import Edges, clipped_edges, touched, unit_edges
from dask_integration.rechunk_plan import Units, megabytes

__all__ = ["AxisVerdict", "Region", "Traffic", "count_grid_traffic", "count_traffic"]

Region: TypeAlias = tuple[tuple[int, int], ...]
"""First element along each axis, and the one after the last."""

_MOST_CELLS = 50_000_000
"""Chunks up to which it is noted of each whether it was touched: a byte each."""


class AxisVerdict(NamedTuple):
    """How block edges lie over the units of one axis.

    Parameters
    ----------
    axis : int
        The axis.
    unit : int or None
        Extent of a unit; None where they differ.
    unit_name : {"chunk", "shard"}
        What the unit is: of writing for what is written, of reading for what is read.
    block : int
        Extent of the largest block.
    n_edges : int
        Edges of blocks inside the array.
    n_cuts : int
        How many of them cut a unit.
    first_cut : int or None
        Where the first one does.
    """

    axis: int
    unit: int | None
    unit_name: str
    block: int
    n_edges: int
    n_cuts: int
    first_cut: int | None

    def __str__(self) -> str:
        units = f"{self.unit_name}s " + (
            "that differ" if self.unit is None else f"of {self.unit:,}"
        )
        verdict = "aligned"
        if self.n_cuts:
            verdict = (
                f"{self.n_cuts:,} of {self.n_edges:,} edges cut a {self.unit_name}, the first at "
                f"{self.first_cut:,}"
            )
        return f"axis {self.axis}: blocks of up to {self.block:,} over {units}: {verdict}"


@dataclass(frozen=True)
class Traffic:
    """What a job reads from an array, or writes to it.

    Parameters
    ----------
    name : str
        The array in the reader's terms.
    is_write : bool
        Whether it is written.
    shape : tuple of int
        Its shape.
    dtype : str
        Its data type.
    units : Units
        Its chunks and shards.
    edges : tuple of tuples of int
        Where blocks begin and end along each axis.
    n_blocks : int
        Different regions.
    n_times : int
        How often the region that is touched most is touched; 1 is best.
    n_values : int
        Stored values (chunks or shards) that are opened, over all tasks, or made.
    n_bytes : int
        Bytes of the chunks that are decoded, in full and each time; or of the elements written.
    amplification : float
        How often a chunk (a write unit) is read (written), on average; 1.0 is best.
    verdicts : tuple of AxisVerdict
        One an axis.
    """

    name: str
    is_write: bool
    shape: tuple[int, ...]
    dtype: str
    units: Units
    edges: tuple[tuple[int, ...], ...]
    n_blocks: int
    n_times: int
    n_values: int
    n_bytes: int
    amplification: float
    verdicts: tuple[AxisVerdict, ...]

    def __str__(self) -> str:
        verb, done = ("writes", "made") if self.is_write else ("reads", "opened")
        times = f", {self.n_times} times" if self.n_times > 1 else ""
        lines = [
            f"{verb} {self.name}: {self.shape} {self.dtype}",
            f"  {megabytes(self.n_bytes)} in {self.n_blocks:,} blocks{times}, {self.n_values:,} "
            f"objects {done}, each chunk {self.amplification:.2f} times",
        ]
        lines += [f"  {verdict}" for verdict in self.verdicts]
        return "\n".join(lines)


def count_traffic(
    name: str,
    regions: Mapping[Region, int],
    *,
    shape: Sequence[int],
    dtype: str,
    item_bytes: int,
    units: Units,
    is_write: bool,
) -> Traffic:
    """Count what regions touch of an array.

    Parameters
    ----------
    name, shape, dtype, units, is_write
        As in `Traffic`.
    regions : mapping of Region to int
        How often each is touched.
    item_bytes : int
        Bytes of an element.

    Notes
    -----
    Costs some microseconds a region.

    Examples
    --------
    >>> units = Units.of((12,), (4,))
    >>> found = count_traffic(
    ...     "x",
    ...     {((0, 4),): 1, ((4, 10),): 1, ((10, 12),): 1},
    ...     shape=(12,),
    ...     dtype="int8",
    ...     item_bytes=1,
    ...     units=units,
    ...     is_write=False,
    ... )
    >>> found.n_values, found.n_bytes, round(found.amplification, 2)
    (4, 16, 1.33)
    >>> str(found.verdicts[0])
    'axis 0: blocks of up to 6 over chunks of 4: 1 of 2 edges cut a chunk, the first at 10'
    """
    spans = np.array(list(regions), np.int64).reshape(len(regions), len(shape), 2)
    times = np.array(list(regions.values()), np.int64)
    counted = units.write if is_write else units.read
    read = _boxes(spans, unit_edges(counted))
    values = read if is_write else _boxes(spans, unit_edges(units.write))
    n_read = int(times @ _volumes(read))
    n_touched = _n_touched(read, counted.numblocks) or n_read
    n_bytes = _volumes(spans) if is_write else _elements(read, unit_edges(counted))
    edges = tuple(tuple(np.unique(spans[:, axis]).tolist()) for axis in range(len(shape)))
    return Traffic(
        name=name,
        is_write=is_write,
        shape=tuple(shape),
        dtype=dtype,
        units=units,
        edges=edges,
        n_blocks=len(regions),
        n_times=int(times.max(initial=0)),
        n_values=n_touched if is_write else int(times @ _volumes(values)),
        n_bytes=item_bytes * int(times @ n_bytes),
        amplification=n_read / n_touched if n_touched else 0.0,
        verdicts=tuple(
            _verdict(axis, np.unique(spans[:, axis]), units, is_write) for axis in range(len(shape))
        ),
    )


def count_grid_traffic(
    name: str,
    grid: BlockGrid,
    *,
    shape: Sequence[int],
    dtype: str,
    item_bytes: int,
    units: Units,
    is_write: bool,
    starts: Sequence[int] | None = None,
) -> Traffic:
    """Count what all blocks of a grid touch of an array, each once.

    Parameters
    ----------
    name, shape, dtype, item_bytes, units, is_write
        As in `count_traffic`.
    grid : BlockGrid
        The blocks.
    starts : sequence of int, optional
        Where in the array the first block begins; its origin by default.

    Notes
    -----
    The same as `count_traffic` of all regions, axis by axis: a grid of a million blocks costs no
    more than its edges.
    """
    begin = [0] * len(shape) if starts is None else starts
    edges = [cut + start for cut, start in zip(clipped_edges(grid), begin, strict=True)]
    counted = units.write if is_write else units.read
    read = [touched(cut, unit) for cut, unit in zip(edges, unit_edges(counted), strict=True)]
    values = [touched(cut, unit) for cut, unit in zip(edges, unit_edges(units.write), strict=True)]
    whole = [touched(cut[[0, -1]], u) for cut, u in zip(edges, unit_edges(counted), strict=True)]
    n_touched = math.prod(one.n_units for one in whole)
    n_values = math.prod(one.n_units for one in values)
    n_elements = math.prod(one.n_elements for one in read)
    return Traffic(
        name=name,
        is_write=is_write,
        shape=tuple(shape),
        dtype=dtype,
        units=units,
        edges=tuple(tuple(cut.tolist()) for cut in edges),
        n_blocks=math.prod(grid.numblocks),
        n_times=1,
        n_values=n_touched if is_write else n_values,
        n_bytes=item_bytes * (math.prod(grid.extents) if is_write else n_elements),
        amplification=math.prod(one.n_units for one in read) / n_touched if n_touched else 0.0,
        verdicts=tuple(_verdict(axis, cut, units, is_write) for axis, cut in enumerate(edges)),
    )


def _boxes(spans: NDArray[np.int64], edges: Sequence[Edges]) -> NDArray[np.int64]:
    """Give the first unit and the one after the last that each region touches, per axis."""
    boxes = np.zeros_like(spans)
    for axis, cut in enumerate(edges):
        boxes[:, axis, 0] = np.searchsorted(cut, spans[:, axis, 0], side="right") - 1
        boxes[:, axis, 1] = np.searchsorted(cut, spans[:, axis, 1], side="left")
    boxes[(spans[..., 0] == spans[..., 1]).any(axis=1)] = 0
    return boxes


def _volumes(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    volumes: NDArray[np.int64] = np.prod(boxes[..., 1] - boxes[..., 0], axis=1, dtype=np.int64)
    return volumes


def _elements(boxes: NDArray[np.int64], edges: Sequence[Edges]) -> NDArray[np.int64]:
    """Give the elements of the units that each region touches."""
    elements = np.ones(len(boxes), np.int64)
    for axis, cut in enumerate(edges):
        elements *= cut[boxes[:, axis, 1]] - cut[boxes[:, axis, 0]]
    return elements


def _n_touched(boxes: NDArray[np.int64], numblocks: Sequence[int]) -> int:
    """Count the units that are touched at all; 0 if there are too many to tell."""
    if math.prod(numblocks) > _MOST_CELLS:
        return 0
    touched = np.zeros(numblocks, bool)
    for box in np.unique(boxes, axis=0).tolist():
        touched[tuple(slice(*span) for span in box)] = True
    return int(np.count_nonzero(touched))


def _verdict(axis: int, edges: Edges, units: Units, is_write: bool) -> AxisVerdict:
    grid = units.write if is_write else units.read
    extent, size = grid.extents[axis], grid.sizes[axis]
    inside = edges[(edges > 0) & (edges < extent)]
    cuts = inside[~np.isin(inside, clipped_edges(grid)[axis])]
    return AxisVerdict(
        axis=axis,
        unit=size if isinstance(size, int) else None,
        unit_name="shard" if is_write and units.is_sharded else "chunk",
        block=int(np.diff(edges).max(initial=0)),
        n_edges=len(inside),
        n_cuts=len(cuts),
        first_cut=int(cuts[0]) if len(cuts) else None,
    )

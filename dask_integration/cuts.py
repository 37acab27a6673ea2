"""Cuts along the axes of an array: what regions touch of chunks, and which regions to weigh.

Floor 1. Cuts are edges, an array of integers for each axis, so that a grid of a million cells is
counted at the speed of numpy::

    chunks of 4   |0 1 2 3|4 5 6 7|8 9 . .|     unit edges 0 4 8 12, clipped edges 0 4 8 10
    regions       |0 1 2 3 4 5|6 7 8 9|         touch 2 + 2 chunks

Used by the planner of rechunking, which multiplies what it finds along each axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_integration.chunks import BlockGrid

__all__ = [
    "Edges",
    "Table",
    "Touched",
    "choices_per_axis",
    "clipped_edges",
    "cuts",
    "edges_of",
    "grid_of",
    "largest_piece",
    "largest_region",
    "least",
    "n_pieces_of",
    "outer",
    "touched",
    "unit_edges",
    "unit_shape",
]

Edges: TypeAlias = NDArray[np.int64]
"""Where pieces of an axis begin and end, from 0 on, in rising order."""

Table: TypeAlias = NDArray[np.float64]
"""A number for each combination of choices, one dimension an axis: floats, so that products of many
extents do not overflow."""


class Touched(NamedTuple):
    """What regions touch of units along an axis, over all regions."""

    n_units: int
    n_elements: int


def edges_of(extent: int, size: int | tuple[int, ...]) -> Edges:
    """Give the edges of pieces, from 0 to the extent."""
    if isinstance(size, tuple):
        return np.cumsum([0, *(part for part in size if part)], dtype=np.int64)
    return np.append(np.arange(0, max(extent, 1), size, dtype=np.int64), extent)


def unit_edges(grid: BlockGrid) -> list[Edges]:
    """Give the edges of units along each axis as they are stored: the last may reach beyond."""
    edges = list(map(edges_of, grid.extents, grid.sizes))
    for cut, size in zip(edges, grid.sizes, strict=True):
        if isinstance(size, int):
            cut[-1] = cut[-2] + size
    return edges


def clipped_edges(grid: BlockGrid) -> list[Edges]:
    """Give the edges of cells along each axis, within the array."""
    return list(map(edges_of, grid.extents, grid.sizes))


def unit_shape(grid: BlockGrid) -> tuple[int, ...]:
    """Give the shape that no stored unit exceeds."""
    return tuple(max(size) if isinstance(size, tuple) else size for size in grid.sizes)


def touched(cut: Edges, units: Edges) -> Touched:
    """Count the units that regions touch, and the elements of these units.

    Examples
    --------
    >>> touched(np.array([0, 6, 10]), np.array([0, 4, 8, 12]))
    Touched(n_units=4, n_elements=16)
    """
    first = np.searchsorted(units, cut[:-1], side="right") - 1
    last = np.searchsorted(units, cut[1:], side="left")
    return Touched(int((last - first).sum()), int((units[last] - units[first]).sum()))


def cuts(edges: Edges, *, like: Edges, n_most: int) -> list[Edges]:
    """Give ways to merge the units of an axis to regions, from one unit each to all in one.

    Regions are as even as whole units allow. Where the edges of `like` can be met, that is among
    the ways.
    """
    n_units = len(edges) - 1
    counts = {-(-n_units // n_pieces) for n_pieces in range(1, math.isqrt(n_units) + 1)}
    counts |= set(range(1, math.isqrt(n_units) + 1))
    chosen = _thinned(sorted(counts), n_most)
    unit, other = int(edges[1]), int(like[1])
    meeting = math.lcm(unit, other) // unit if unit and other else 1
    if 1 < meeting <= n_units:
        chosen = sorted({*chosen, *(-(-count // meeting) * meeting for count in chosen)})
        chosen = _thinned(chosen, n_most)
    return [np.append(edges[:-1:count], edges[-1]) for count in chosen]


def _thinned(values: list[int], n_most: int) -> list[int]:
    """Keep at most so many values, spread evenly over the list, with both ends."""
    if len(values) <= n_most:
        return values
    if n_most == 1:
        return values[:1]
    return [values[round(i * (len(values) - 1) / (n_most - 1))] for i in range(n_most)]


def choices_per_axis(n_combinations: int, axes: Sequence[Edges]) -> int:
    """Give how many ways to try along each axis, so that not too many have to be combined."""
    n_cut = sum(1 for edges in axes if len(edges) > 2)
    return int(n_combinations ** (1 / max(1, n_cut)))


def largest_piece(cut: Edges) -> int:
    """Give the extent of the largest piece."""
    return int(np.diff(cut).max())


def n_pieces_of(cut: Edges) -> int:
    """Count the pieces."""
    return len(cut) - 1


def outer(axes: Sequence[Sequence[int]]) -> Table:
    """Multiply one number of each axis, in all combinations."""
    table: Table = np.ones((), np.float64)
    for numbers in axes:
        table = np.multiply.outer(table, np.array(numbers, np.float64))
    return table


def least(cost: Table, *, fits: NDArray[np.bool_]) -> tuple[int, ...] | None:
    """Give the place of the smallest number that is allowed."""
    allowed = np.where(fits, cost, np.inf)
    best = np.unravel_index(int(np.argmin(allowed)), allowed.shape)
    return None if np.isinf(allowed[best]) else tuple(map(int, best))


def grid_of(cuts: Sequence[Edges]) -> BlockGrid:
    """Describe cuts along each axis as a grid of blocks."""
    return BlockGrid.of(tuple(tuple(np.diff(cut).tolist()) for cut in cuts))


def largest_region(grid: BlockGrid) -> tuple[int, ...]:
    """Give the shape that no cell exceeds, within the array."""
    return tuple(
        max(size) if isinstance(size, tuple) else min(size, extent)
        for size, extent in zip(grid.sizes, grid.extents, strict=True)
    )

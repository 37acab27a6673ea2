"""The chunk grid: how the cells of a grid lie over an array.

Floor 1. A grid is a product of axes, so everything is said of one axis at a time. An axis is
regular, cut into cells of one size, or rectilinear, where each cell has a length of its own, its
edge::

    regular        extent 10, chunk 4            |0 1 2 3|4 5 6 7|8 9 . .|
    rectilinear    extent 10, edges 3, 2, 7      |0 1 2|3 4|5 6 7 8 9 . .|
                                                    0     1        2

Chunks keep their declared size in storage; what lies beyond the array is padding. A rectilinear
axis may even have whole cells beyond the array, which hold no element and are never stored; an
array that was made smaller has them.

Source: Zarr v3 core, "Chunk grids"; Zarr v2, "Chunks"; zarr-extensions, "Rectilinear chunk grid".
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, overload

import numpy as np

from chunkstore.errors import InvalidArgumentError
from chunkstore.types import ChunkCoords, NDArray, Shape

__all__ = [
    "Axis",
    "ChunkGrid",
    "RectilinearAxis",
    "RectilinearGrid",
    "RegularAxis",
    "RegularGrid",
    "grid_from_edges",
]

EdgeRun: TypeAlias = tuple[int, int]
"""So many neighbouring cells of one length: (edge, count)."""


@dataclass(frozen=True, slots=True)
class RegularAxis:
    """One axis cut into cells of equal size; all numbers in elements."""

    extent: int
    size: int

    @property
    def n_chunks(self) -> int:
        """Number of cells that hold at least one element."""
        return -(-self.extent // self.size)

    @overload
    def chunk_of(self, index: int) -> int: ...
    @overload
    def chunk_of(self, index: NDArray) -> NDArray: ...
    def chunk_of(self, index: int | NDArray) -> int | NDArray:
        """Give the cell that holds the element `index`; for an array of indices, all cells."""
        return index // self.size

    def start_of(self, chunk: int) -> int:
        """Give the first element of a cell."""
        return chunk * self.size

    def size_of(self, chunk: int) -> int:
        """Give the stored size of a cell, padding included."""
        return self.size

    @property
    def edges(self) -> tuple[int, ...]:
        """The different lengths of cells."""
        return (self.size,)

    def resized(self, extent: int) -> RegularAxis:
        """Give the axis of the same cells over another extent."""
        return RegularAxis(extent, self.size)


@dataclass(frozen=True, slots=True)
class RectilinearAxis:
    """One axis cut into cells that each have their own length; all numbers in elements.

    Cells of one length side by side are kept as a run, so a million equal ones cost as much as
    one, and finding a cell takes a binary search over the runs.

    Parameters
    ----------
    extent : int
        Length of the array along the axis, at most the sum of the edges.
    runs : tuple of (int, int)
        Edge and count of each run, both at least 1. Neighbours of one length are joined.

    Examples
    --------
    >>> axis = RectilinearAxis(10, ((3, 2), (7, 1)))
    >>> axis.n_chunks, axis.chunk_of(6), axis.start_of(2), axis.size_of(2)
    (3, 2, 6, 7)
    """

    extent: int
    runs: tuple[EdgeRun, ...]
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _firsts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        runs = tuple(_joined(self.runs))
        starts = itertools.accumulate((edge * count for edge, count in runs), initial=0)
        firsts = itertools.accumulate((count for _, count in runs), initial=0)
        object.__setattr__(self, "runs", runs)
        object.__setattr__(self, "_starts", tuple(starts))
        object.__setattr__(self, "_firsts", tuple(firsts))
        assert self.extent <= self.reach

    @classmethod
    def from_edges(cls, extent: int, edges: Iterable[int]) -> RectilinearAxis:
        """Make the axis from the length of every cell, in order."""
        return cls(extent, tuple((edge, 1) for edge in edges))

    @property
    def reach(self) -> int:
        """Sum of all edges."""
        return self._starts[-1]

    @property
    def n_chunks(self) -> int:
        """Number of cells that hold at least one element."""
        return 0 if self.extent == 0 else self.chunk_of(self.extent - 1) + 1

    @overload
    def chunk_of(self, index: int) -> int: ...
    @overload
    def chunk_of(self, index: NDArray) -> NDArray: ...
    def chunk_of(self, index: int | NDArray) -> int | NDArray:
        """Give the cell that holds the element `index`; for an array of indices, all cells."""
        if isinstance(index, np.ndarray):
            runs = np.searchsorted(self._starts, index, side="right") - 1
            edges = np.array([edge for edge, _ in self.runs] or [1])
            found: NDArray = np.take(self._firsts, runs) + (
                index - np.take(self._starts, runs)
            ) // np.take(edges, runs, mode="clip")
            return found
        run = bisect_right(self._starts, index) - 1
        return self._firsts[run] + (index - self._starts[run]) // self.runs[run][0]

    def start_of(self, chunk: int) -> int:
        """Give the first element of a cell."""
        run = self._run_of(chunk)
        return self._starts[run] + (chunk - self._firsts[run]) * self.runs[run][0]

    def size_of(self, chunk: int) -> int:
        """Give the stored size of a cell, padding included."""
        return self.runs[self._run_of(chunk)][0]

    @property
    def edges(self) -> tuple[int, ...]:
        """The different lengths of cells."""
        return tuple(dict.fromkeys(edge for edge, _ in self.runs))

    def resized(self, extent: int) -> RectilinearAxis:
        """Give the axis over another extent.

        Made smaller, it keeps all its cells; made longer than they reach, it gets one more, so
        what is appended in one step is one chunk.
        """
        runs = self.runs
        if extent > self.reach:
            runs = (*runs, (extent - self.reach, 1))
        return RectilinearAxis(extent, runs)

    def _run_of(self, chunk: int) -> int:
        return bisect_right(self._firsts, chunk) - 1


Axis: TypeAlias = RegularAxis | RectilinearAxis
"""One axis of a chunk grid."""


class _Grid:
    """What both kinds of grid can say, given their axes."""

    __slots__ = ()

    axes: tuple[Axis, ...]

    @property
    def grid_shape(self) -> Shape:
        """Number of cells along each axis, those that hold at least one element."""
        return tuple(axis.n_chunks for axis in self.axes)

    @property
    def n_chunks(self) -> int:
        """Number of cells in all."""
        return math.prod(self.grid_shape)

    @property
    def reach(self) -> Shape:
        """Where the last chunk ends along each axis, padding included."""
        return tuple(
            axis.start_of(axis.n_chunks - 1) + axis.size_of(axis.n_chunks - 1) if axis.extent else 0
            for axis in self.axes
        )

    @property
    def chunk_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Number of elements of each cell that lie in the array, along each axis.

        These are chunks as dask writes them. Built anew at each call.
        """
        return tuple(
            tuple(
                min(axis.size_of(chunk), axis.extent - axis.start_of(chunk))
                for chunk in range(axis.n_chunks)
            )
            for axis in self.axes
        )

    @property
    def largest_chunk(self) -> Shape:
        """The longest edge along each axis: no chunk is larger."""
        return tuple(max(axis.edges, default=1) for axis in self.axes)


@dataclass(frozen=True, slots=True)
class RegularGrid(_Grid):
    """Cells of one shape over an array.

    Parameters
    ----------
    shape : tuple of int
        The array's shape, elements per axis; zeros allowed.
    chunk_shape : tuple of int
        Shape of every cell, at least 1 along each axis.

    Examples
    --------
    >>> RegularGrid((10, 3), (4, 3)).grid_shape
    (3, 1)
    """

    shape: Shape
    chunk_shape: Shape
    axes: tuple[RegularAxis, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        axes = tuple(map(RegularAxis, self.shape, self.chunk_shape))
        object.__setattr__(self, "axes", axes)

    @property
    def uniform_shape(self) -> Shape | None:
        """The shape that all chunks have."""
        return self.chunk_shape

    def shape_of(self, coords: ChunkCoords) -> Shape:
        """Give the stored shape of one chunk, padding included."""
        return self.chunk_shape

    def resized(self, shape: Shape) -> RegularGrid:
        """Give the grid of the same cells over another array shape."""
        return RegularGrid(shape, self.chunk_shape)


@dataclass(frozen=True, slots=True)
class RectilinearGrid(_Grid):
    """Cells whose sizes differ, over an array.

    Parameters
    ----------
    axes : tuple of RegularAxis or RectilinearAxis
        Each axis is cut on its own.

    Examples
    --------
    >>> grid = RectilinearGrid((RectilinearAxis.from_edges(10, (3, 2, 5)), RegularAxis(7, 4)))
    >>> grid.shape, grid.grid_shape, grid.shape_of((1, 1)), grid.chunk_sizes
    ((10, 7), (3, 2), (2, 4), ((3, 2, 5), (4, 3)))
    """

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> Shape:
        """The array's shape, elements per axis."""
        return tuple(axis.extent for axis in self.axes)

    @property
    def uniform_shape(self) -> Shape | None:
        """The shape that all chunks have; None if they differ."""
        sizes = tuple(axis.size for axis in self.axes if isinstance(axis, RegularAxis))
        return sizes if len(sizes) == len(self.axes) else None

    def shape_of(self, coords: ChunkCoords) -> Shape:
        """Give the stored shape of one chunk, padding included."""
        return tuple(axis.size_of(chunk) for axis, chunk in zip(self.axes, coords, strict=True))

    def resized(self, shape: Shape) -> RectilinearGrid:
        """Give the grid over another array shape; see `RectilinearAxis.resized`."""
        return RectilinearGrid(
            tuple(axis.resized(extent) for axis, extent in zip(self.axes, shape, strict=True))
        )


ChunkGrid: TypeAlias = RegularGrid | RectilinearGrid
"""A chunk grid of either kind."""


def grid_from_edges(name: str, given: Sequence[Any], shape: Shape, *, unit: Shape) -> ChunkGrid:
    """Make the grid that a creator asks for axis by axis: one size, or the edge of every chunk.

    An axis whose edges are equal, but for a shorter last one, is regular, and a grid of such axes
    is a regular grid, which every reader knows.

    Parameters
    ----------
    name : str
        Of the argument, for errors.
    given : sequence of int or sequence of int
        For each axis a chunk size or all edges. Their sum must be the extent, rounded up to a
        multiple of the unit.
    shape : tuple of int
        The array's shape.
    unit : tuple of int
        What every edge must be a multiple of along each axis.

    Raises
    ------
    InvalidArgumentError
        If it is none of these.

    Examples
    --------
    >>> grid_from_edges("chunks", [(4, 4, 2), 3], (10, 9), unit=(1, 1))
    RegularGrid(shape=(10, 9), chunk_shape=(4, 3))
    >>> grid_from_edges("chunks", [(4, 2, 4), 3], (10, 9), unit=(1, 1)).chunk_sizes
    ((4, 2, 4), (3, 3, 3))
    """
    if len(given) != len(shape):
        raise InvalidArgumentError(
            f"{name} {given!r} has {len(given)} axes, but shape {shape} has {len(shape)}"
        )
    axes = tuple(
        _axis_from_edges(f"{name}[{i}]", entry, extent, step)
        for i, (entry, extent, step) in enumerate(zip(given, shape, unit, strict=True))
    )
    sizes = tuple(axis.size for axis in axes if isinstance(axis, RegularAxis))
    return RegularGrid(shape, sizes) if len(sizes) == len(axes) else RectilinearGrid(axes)


def _axis_from_edges(name: str, given: Any, extent: int, unit: int) -> Axis:
    one_size = not isinstance(given, (Sequence, np.ndarray))
    edges = [given] if one_size else list(given)
    if extent == 0 and not any(edges):
        return RegularAxis(0, unit)  # As dask writes an axis without elements: (0,).
    for edge in edges:
        if isinstance(edge, bool) or not isinstance(edge, (int, np.integer)) or edge < 1:
            raise InvalidArgumentError(
                f"{name} must be a chunk size or a list of them, each an integer of at least 1, "
                f"got {given!r}"
            )
        if edge % unit:
            raise InvalidArgumentError(f"{name} has the edge {edge}, no multiple of chunk {unit}")
    edges = [int(edge) for edge in edges]
    if one_size:
        return RegularAxis(extent, edges[0])
    needed = -(-extent // unit) * unit
    if sum(edges) != needed:
        raise InvalidArgumentError(
            f"{name} has edges that sum to {sum(edges)}, expected {needed} for an axis of {extent}"
        )
    if len(set(edges[:-1])) <= 1 and edges[-1] <= edges[0]:
        return RegularAxis(extent, edges[0])
    return RectilinearAxis.from_edges(extent, edges)


def _joined(runs: Iterable[EdgeRun]) -> Iterator[EdgeRun]:
    """Join neighbouring runs of one edge."""
    for edge, group in itertools.groupby(runs, key=lambda run: run[0]):
        yield edge, sum(count for _, count in group)

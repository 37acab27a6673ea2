"""Requests: what is wanted of an array, brought to one form, and each chunk's share of it.

Floor 2. Pure arithmetic on tuples and index arrays. A `Request` is a list of picks, each of which
takes elements along one axis (or, for points, along several at once) and fills one axis of a
buffer. Its projections say, chunk by chunk, what goes where::

    a[2:9:3], chunks of 4     |0 1 [2] 3|4 [5] 6 7|[8] 9 . .|
                               chunk 0    chunk 1   chunk 2
    chunk selection            2:4:3      1:4:3     0:1:3
    out selection              0:1        1:2       2:3
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from chunkstore.types import ChunkCoords, NDArray, Shape

__all__ = [
    "Axis",
    "Grid",
    "Pick",
    "Points",
    "Projection",
    "Request",
    "Run",
    "inner_request",
    "whole_request",
]


class Axis(Protocol):
    """What indexing needs to know of one axis of a chunk grid."""

    @property
    def extent(self) -> int:
        """Elements of the array along the axis."""

    @property
    def n_chunks(self) -> int:
        """Cells that hold at least one element."""

    def chunk_of(self, index: int) -> int:
        """Give the cell of an element; of each element for an array of indices."""

    def start_of(self, chunk: int) -> int:
        """Give the first element of a cell."""

    def size_of(self, chunk: int) -> int:
        """Give the stored size of a cell."""


class Grid(Protocol):
    """What indexing needs to know of a chunk grid: its axes, one by one."""

    @property
    def axes(self) -> Sequence[Axis]:
        """The axes, in order."""


class Projection(NamedTuple):
    """One chunk's share of a request.

    ``chunk_selection`` cuts the chunk, ``out_selection`` the buffer; both results have the same
    shape. ``whole`` says that every element of the chunk that lies in the array is selected, in
    order.
    """

    coords: ChunkCoords
    chunk_selection: tuple[Any, ...]
    out_selection: tuple[Any, ...]
    whole: bool


class Part(NamedTuple):
    """One cell's share of a pick: for each axis of the pick its cell and the selection in it."""

    coords: ChunkCoords
    chunk_selection: tuple[Any, ...]
    out_selection: Any
    whole: bool


class Run(NamedTuple):
    """Elements ``start, start + step, …``, ``n`` of them, going up along one axis."""

    axis: int
    start: int
    n: int
    step: int = 1

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that the pick takes from."""
        return (self.axis,)

    def n_parts(self, grid: Grid) -> int:
        """Bound the number of cells touched."""
        if self.n == 0:
            return 0
        axis = grid.axes[self.axis]
        last = self.start + (self.n - 1) * self.step
        return min(self.n, axis.chunk_of(last) - axis.chunk_of(self.start) + 1)

    def parts(self, grid: Grid) -> Iterator[Part]:
        """Cut the run at the edges of the cells."""
        axis, start, step = grid.axes[self.axis], self.start, self.step
        done = 0
        while done < self.n:
            first = start + done * step
            chunk = axis.chunk_of(first)
            chunk_start = axis.start_of(chunk)
            chunk_stop = min(chunk_start + axis.size_of(chunk), axis.extent)
            n = min(self.n - done, -(-(chunk_stop - first) // step))
            low = first - chunk_start
            high = low + (n - 1) * step + 1
            whole = n == chunk_stop - chunk_start
            yield Part((chunk,), (slice(low, high, step),), slice(done, done + n), whole)
            done += n


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Elements at given places, along one axis or along several at once.

    Parameters
    ----------
    axes : tuple of int
        The axes of the array.
    indices : tuple of numpy.ndarray of int64, each of shape (n,)
        For each axis where the elements are; not negative, in bounds.
    """

    axes: tuple[int, ...]
    indices: tuple[NDArray, ...]

    @property
    def n(self) -> int:
        """Number of elements."""
        return int(self.indices[0].size)

    def n_parts(self, grid: Grid) -> int:
        """Bound the number of cells touched."""
        return min(self.n, math.prod(grid.axes[axis].n_chunks for axis in self.axes))

    def parts(self, grid: Grid) -> Iterator[Part]:
        """Gather the points by cell; within a cell they keep their order."""
        axes = [grid.axes[axis] for axis in self.axes]
        cells = [_cells(axis, indices) for axis, indices in zip(axes, self.indices, strict=True)]
        flat = np.ravel_multi_index(tuple(cells), tuple(max(1, axis.n_chunks) for axis in axes))
        order = np.argsort(flat, kind="stable")
        edges = np.flatnonzero(np.diff(flat[order], prepend=-1, append=-1))
        for low, high in itertools.pairwise(edges.tolist()):
            where = order[low:high]
            coords = tuple(int(cell[where[0]]) for cell in cells)
            inside = tuple(
                indices[where] - axis.start_of(chunk)
                for axis, indices, chunk in zip(axes, self.indices, coords, strict=True)
            )
            yield Part(coords, inside, where, False)


Pick = Run | Points


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A selection brought to one form.

    Parameters
    ----------
    picks : tuple of Run or Points
        One for each axis of the buffer; together they take from every axis of the array once.
    flipped : tuple of bool
        Axes of the buffer that the user asked for backwards.
    result_shape : tuple of int
        The shape of the selection as the user sees it: without the axes picked by an integer,
        with those added by None, and with the shape of the index arrays.
    fields : str or list of str, optional
        Fields of a structured type that were asked for.
    """

    picks: tuple[Pick, ...]
    flipped: tuple[bool, ...]
    result_shape: Shape
    fields: str | list[str] | None = None

    @property
    def buffer_shape(self) -> Shape:
        """Shape of the buffer that the projections fill."""
        return tuple(pick.n for pick in self.picks)

    @property
    def is_runs(self) -> bool:
        """Whether only runs are selected, no points."""
        return all(isinstance(pick, Run) for pick in self.picks)

    def buffer_view(self, buffer: NDArray) -> NDArray:
        """Give the view of a buffer in the user's order in which projections count upwards."""
        if not any(self.flipped):
            return buffer
        return buffer[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def of_fields(self, fields: str | list[str] | None) -> Request:
        """Give the same request for some fields of a structured type; None changes nothing."""
        return self if fields is None else replace(self, fields=fields)

    def n_projections(self, grid: Grid) -> int:
        """Bound the number of chunks that the request touches, without visiting them."""
        return math.prod(pick.n_parts(grid) for pick in self.picks)

    def projections(self, grid: Grid) -> Iterator[Projection]:
        """Iterate over the chunks that the request touches."""
        if self.is_runs:
            return self._run_projections(grid)
        return self._point_projections(grid)

    def chunk_coords(self, grid: Grid) -> Iterator[ChunkCoords]:
        """Iterate over the coordinates of the chunks that runs touch."""
        parts = [[p.coords[0] for p in pick.parts(grid)] for pick in self.picks]
        return itertools.product(*parts)

    def numbered(self, grid: Grid, numbers: Iterable[int]) -> Iterator[Projection]:
        """Give some of the projections of runs, by their number in the order of `projections`."""
        parts = [list(pick.parts(grid)) for pick in self.picks]
        for number in numbers:
            combination = []
            for line in reversed(parts):
                number, i = divmod(number, len(line))
                combination.append(line[i])
            yield _joined(combination[::-1])

    def _run_projections(self, grid: Grid) -> Iterator[Projection]:
        """Combine the runs; their order is that of the axes."""
        return map(_joined, itertools.product(*(list(pick.parts(grid)) for pick in self.picks)))

    def _point_projections(self, grid: Grid) -> Iterator[Projection]:
        """Combine picks of which some are points, whose axes may be anywhere."""
        n_axes = len(grid.axes)
        parts = [list(pick.parts(grid)) for pick in self.picks]
        for combination in itertools.product(*parts):
            coords = [0] * n_axes
            inside: list[Any] = [None] * n_axes
            for pick, part in zip(self.picks, combination, strict=True):
                for axis, chunk, selection in zip(
                    pick.axes, part.coords, part.chunk_selection, strict=True
                ):
                    coords[axis], inside[axis] = chunk, selection
            yield Projection(
                tuple(coords),
                self._chunk_index(inside),
                _outer_index([part.out_selection for part in combination]),
                False,
            )

    def _chunk_index(self, inside: list[Any]) -> tuple[Any, ...]:
        """Make the index into a chunk whose result has the buffer's axes, in their order.

        Numpy keeps one group of index arrays in its place, so that slices can stay slices; more
        groups, or one that is scattered, must be spread over the buffer's axes by hand.
        """
        groups = [pick for pick in self.picks if isinstance(pick, Points)]
        in_order = [axis for pick in self.picks for axis in pick.axes] == list(range(len(inside)))
        if len(groups) == 1 and in_order:
            return tuple(inside)
        index = list(inside)
        for place, pick in enumerate(self.picks):
            shape = [1] * len(self.picks)
            shape[place] = -1
            for axis in pick.axes:
                index[axis] = _as_indices(inside[axis]).reshape(shape)
        return tuple(index)


def _joined(parts: Sequence[Part]) -> Projection:
    """Make the projection of one run's part on each axis."""
    return Projection(
        tuple(part.coords[0] for part in parts),
        tuple(part.chunk_selection[0] for part in parts),
        tuple(part.out_selection for part in parts),
        all(part.whole for part in parts),
    )


def whole_request(shape: Shape) -> Request:
    """Give the request for every element."""
    runs = tuple(Run(axis, 0, extent) for axis, extent in enumerate(shape))
    return Request(runs, (False,) * len(shape), shape)


def inner_request(chunk_selection: Sequence[Any]) -> Request | None:
    """Give the request for a selection within one chunk, as a projection holds it.

    Returns None for index arrays that were spread over the buffer's axes: they no longer say
    which of them go together.
    """
    picks: list[Pick] = []
    points: list[tuple[int, NDArray]] = []
    for axis, entry in enumerate(chunk_selection):
        if isinstance(entry, slice):
            n = len(range(entry.start, entry.stop, entry.step))
            picks.append(Run(axis, entry.start, n, entry.step))
        elif entry.ndim == 1:
            if not points:
                picks.append(Points((), ()))
            points.append((axis, entry))
        else:
            return None
    if points:
        joint = Points(tuple(axis for axis, _ in points), tuple(entry for _, entry in points))
        picks = [joint if isinstance(pick, Points) else pick for pick in picks]
    shape = tuple(pick.n for pick in picks)
    return Request(tuple(picks), (False,) * len(picks), shape)


def _cells(axis: Axis, indices: NDArray) -> NDArray:
    """Give the cell of each index."""
    many: Any = axis
    return np.asarray(many.chunk_of(indices), np.intp)


def _as_indices(entry: Any) -> NDArray:
    if isinstance(entry, slice):
        return np.arange(entry.start, entry.stop, entry.step or 1)
    indices: NDArray = entry
    return indices


def _outer_index(selections: Sequence[Any]) -> tuple[Any, ...]:
    """Make an index in which each array cuts its own axis; slices stay where numpy allows."""
    if sum(1 for selection in selections if isinstance(selection, np.ndarray)) <= 1:
        return tuple(selections)
    return np.ix_(*(_as_indices(selection) for selection in selections))

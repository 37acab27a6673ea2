"""From a selection to the part of each chunk that it touches.

Floor 2. Pure arithmetic on tuples and index arrays. A selection is first brought to one form, a
`Request`: a list of picks, each of which takes elements along one axis (or, for points, along
several at once) and fills one axis of a buffer. Its projections then say, chunk by chunk, what
goes where::

    a[2:9:3], chunks of 4     |0 1 [2] 3|4 [5] 6 7|[8] 9 . .|
                               chunk 0    chunk 1   chunk 2
    chunk selection            2:4:3      1:4:3     0:1:3
    out selection              0:1        1:2       2:3

Source: numpy's basic and advanced indexing; NEP 21 for orthogonal and vectorised.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from chunkstore.errors import SelectionError
from chunkstore.types import ChunkCoords, NDArray, Selection, Shape

__all__ = [
    "Axis",
    "Grid",
    "Points",
    "Projection",
    "Request",
    "Run",
    "block_request",
    "inner_request",
    "numpy_request",
    "orthogonal_request",
    "points_request",
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

    def _run_projections(self, grid: Grid) -> Iterator[Projection]:
        """Combine the runs; their order is that of the axes."""
        parts = [
            [
                (p.coords[0], p.chunk_selection[0], p.out_selection, p.whole)
                for p in pick.parts(grid)
            ]
            for pick in self.picks
        ]
        for combination in itertools.product(*parts):
            if combination:
                coords, chunk_selection, out_selection, whole = zip(*combination, strict=True)
                yield Projection(coords, chunk_selection, out_selection, all(whole))
            else:
                yield Projection((), (), (), True)

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


def numpy_request(selection: Selection, shape: Shape, *, points_first: bool = False) -> Request:
    """Read a selection by numpy's rules: integers, slices, Ellipsis, None, index arrays, masks.

    Parameters
    ----------
    selection
        What stands between the brackets.
    shape : tuple of int
        The array's shape.
    points_first : bool
        Put the axes of index arrays first in any case. Numpy does so only where the arrays are
        not side by side.

    Raises
    ------
    SelectionError
        If there are too many axes, an index is out of bounds, or an entry is of another kind.

    Examples
    --------
    >>> numpy_request((1, slice(None, None, -2)), (4, 5)).result_shape
    (3,)
    >>> numpy_request(([0, 2], slice(1, 3)), (4, 5)).result_shape
    (2, 2)
    """
    entries, fields = _entries(selection)
    entries = _expanded(entries, shape)
    points = [i for i, entry in enumerate(entries) if isinstance(entry, np.ndarray)]
    if points:
        # Beside an index array an integer is one too: that is how numpy places the axes.
        points = [i for i, e in enumerate(entries) if not isinstance(e, slice) and e is not None]
    builder = _Builder(shape)
    arrays: list[NDArray] = []
    if points:
        arrays = _joint_arrays([entries[i] for i in points])
    adjacent = not points or points == list(range(points[0], points[-1] + 1))
    adjacent = adjacent and not points_first
    joint_axes = [_axis_of(entries, i) for i in points]
    if points and not adjacent:
        builder.add_points(joint_axes, arrays)
    for i, entry in enumerate(entries):
        if i not in points:
            builder.add(entry, _axis_of(entries, i))
        elif adjacent and i == points[0]:
            builder.add_points(joint_axes, arrays)
    return builder.request(fields)


def points_request(selection: Selection, shape: Shape) -> Request:
    """Read a selection of points, whose axes come first in the result wherever they stand.

    Examples
    --------
    >>> points_request((slice(None), [0, 2], [1, 1]), (3, 4, 5)).result_shape
    (2, 3)
    """
    return numpy_request(selection, shape, points_first=True)


def orthogonal_request(selection: Selection, shape: Shape) -> Request:
    """Read a selection in which each index array or mask cuts its own axis.

    Examples
    --------
    >>> orthogonal_request(([0, 2], [True, False, True]), (4, 3)).result_shape
    (2, 2)
    """
    entries, fields = _entries(selection)
    entries = _expanded(entries, shape)
    builder = _Builder(shape)
    for i, entry in enumerate(entries):
        axis = _axis_of(entries, i)
        if isinstance(entry, np.ndarray):
            if entry.ndim != 1:
                raise SelectionError(
                    f"axis {axis}: an orthogonal selection takes one-dimensional arrays, got "
                    f"{entry.ndim} dimensions; for points use vindex"
                )
            builder.add_points([axis], [entry])
        else:
            builder.add(entry, axis)
    return builder.request(fields)


def block_request(selection: Selection, grid: Grid) -> Request:
    """Read a selection of whole chunks: integers and slices of step 1 that count chunks.

    Examples
    --------
    >>> from chunkstore.chunk_grid import RegularGrid
    >>> block_request((1, slice(0, 2)), RegularGrid((10, 10), (4, 3))).result_shape
    (4, 6)
    """
    entries, fields = _entries(selection)
    counts = tuple(axis.n_chunks for axis in grid.axes)
    entries = _expanded(entries, counts)
    builder = _Builder(tuple(axis.extent for axis in grid.axes))
    for i, entry in enumerate(entries):
        number = _axis_of(entries, i)
        builder.add(_elements_of(entry, grid.axes[number], number), number)
    return builder.request(fields)


def _elements_of(entry: Any, axis: Axis, number: int) -> slice:
    """Turn a selection of cells along one axis into the slice of their elements."""
    if entry is None or isinstance(entry, np.ndarray):
        raise SelectionError("a block selection takes integers and slices")
    if not isinstance(entry, slice):
        start = _integer(entry, axis.n_chunks, number)
        stop = start + 1
    else:
        start, stop, step = entry.indices(axis.n_chunks)
        if step != 1:
            raise SelectionError(f"a block selection takes slices of step 1, got {entry!r}")
    if stop <= start:
        return slice(0, 0)
    last = stop - 1
    return slice(axis.start_of(start), min(axis.start_of(last) + axis.size_of(last), axis.extent))


class _Builder:
    """Collects picks and the result's shape, one entry of the selection after the other."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._picks: list[Pick] = []
        self._flipped: list[bool] = []
        self._result_shape: list[int] = []

    def add(self, entry: Any, axis: int) -> None:
        """Add None, a slice or an integer."""
        if entry is None:
            self._result_shape.append(1)
            return
        extent = self._shape[axis]
        flip = False
        if isinstance(entry, slice):
            run, flip = _slice_run(entry, extent, axis)
            self._result_shape.append(run.n)
        else:
            run = Run(axis, _integer(entry, extent, axis), 1)
        self._picks.append(run)
        self._flipped.append(flip)

    def add_points(self, axes: Sequence[int], arrays: Sequence[NDArray]) -> None:
        """Add index arrays that go together and have one shape."""
        self._result_shape.extend(arrays[0].shape)
        indices = tuple(
            _in_bounds(array.reshape(-1), self._shape[axis], axis)
            for axis, array in zip(axes, arrays, strict=True)
        )
        self._picks.append(Points(tuple(axes), indices))
        self._flipped.append(False)

    def request(self, fields: str | list[str] | None) -> Request:
        return Request(tuple(self._picks), tuple(self._flipped), tuple(self._result_shape), fields)


def _entries(selection: Selection) -> tuple[list[Any], str | list[str] | None]:
    """Split a selection into entries and names of fields; lists become arrays."""
    entries = list(selection) if isinstance(selection, tuple) else [selection]
    fields: list[str] = []
    single = False
    kept: list[Any] = []
    for entry in entries:
        if isinstance(entry, str):
            fields.append(entry)
            single = True
        elif isinstance(entry, list) and entry and all(isinstance(item, str) for item in entry):
            fields.extend(entry)
        elif isinstance(entry, (list, range)) or hasattr(entry, "__array__"):
            kept.append(_as_array(entry))
        else:
            kept.append(entry)
    if not fields:
        return kept, None
    return kept or [Ellipsis], fields[0] if single and len(fields) == 1 else fields


def _as_array(entry: Any) -> Any:
    """Give an index array or a mask; a scalar one counts as an integer, as in numpy."""
    array = np.asarray(entry)
    if not array.size and array.dtype.kind == "f" and isinstance(entry, list):
        array = array.astype(np.intp)
    if array.dtype.kind not in "biu":
        raise SelectionError(f"an index array must hold integers or booleans, got {array.dtype}")
    if array.ndim == 0 and array.dtype.kind != "b":
        return int(array)
    return array


def _expanded(entries: list[Any], shape: Shape) -> list[Any]:
    """Write out an Ellipsis, missing trailing axes, and masks as index arrays."""
    spelled: list[Any] = []
    n_axes = sum(_n_axes(entry) for entry in entries)
    if n_axes > len(shape):
        raise SelectionError(
            f"too many indices: the array has {len(shape)} axes, but {n_axes} were indexed"
        )
    if sum(1 for entry in entries if entry is Ellipsis) > 1:
        raise SelectionError("a selection can have only one Ellipsis")
    if not any(entry is Ellipsis for entry in entries):
        entries = [*entries, Ellipsis]
    axis = 0
    for entry in entries:
        if entry is Ellipsis:
            fill = len(shape) - n_axes
            spelled.extend([slice(None)] * fill)
            axis += fill
        elif isinstance(entry, np.ndarray) and entry.dtype.kind == "b":
            spelled.extend(_mask_indices(entry, shape, axis))
            axis += entry.ndim
        else:
            spelled.append(entry)
            axis += _n_axes(entry)
    return spelled


def _n_axes(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    return entry.ndim if isinstance(entry, np.ndarray) and entry.dtype.kind == "b" else 1


def _mask_indices(mask: NDArray, shape: Shape, axis: int) -> tuple[NDArray, ...]:
    if mask.ndim == 0:
        raise SelectionError("a single True or False cannot select; use a mask with axes")
    if mask.shape != shape[axis : axis + mask.ndim]:
        raise SelectionError(
            f"mask of shape {mask.shape} does not fit axes {axis} to {axis + mask.ndim - 1} of "
            f"shape {shape[axis : axis + mask.ndim]}"
        )
    return np.nonzero(mask)


def _axis_of(entries: Sequence[Any], i: int) -> int:
    """Give the axis of the array that the i-th entry of an expanded selection speaks of."""
    return sum(1 for entry in entries[:i] if entry is not None)


def _joint_arrays(entries: Sequence[Any]) -> list[NDArray]:
    try:
        return list(np.broadcast_arrays(*(_as_index_array(entry) for entry in entries)))
    except ValueError as error:
        shapes = ", ".join(str(np.shape(entry)) for entry in entries)
        raise SelectionError(
            f"index arrays of shapes {shapes} cannot be broadcast together"
        ) from error


def _as_index_array(entry: Any) -> NDArray:
    if isinstance(entry, np.ndarray):
        return entry.astype(np.intp, copy=False)
    return np.asarray(_index(entry, "an index array"), np.intp)


def _slice_run(entry: slice, extent: int, axis: int) -> tuple[Run, bool]:
    try:
        start, stop, step = entry.indices(extent)
    except (TypeError, ValueError) as error:
        raise SelectionError(f"slice {entry!r} on axis {axis}: {error}") from error
    n = len(range(start, stop, step))
    if n == 0:
        return Run(axis, 0, 0), False
    if step < 0:
        return Run(axis, start + (n - 1) * step, n, -step), True
    return Run(axis, start, n, step), False


def _integer(entry: Any, extent: int, axis: int) -> int:
    index = _index(entry, f"axis {axis}")
    if not -extent <= index < extent:
        raise SelectionError(
            f"index {index} is out of bounds for axis {axis} with size {extent}", axis=axis
        )
    return index + extent if index < 0 else index


def _index(entry: Any, where: str) -> int:
    if isinstance(entry, (bool, np.bool_)):
        raise SelectionError(f"{where}: {entry!r} is no integer; for a mask use an array")
    try:
        return operator.index(entry)
    except TypeError as error:
        raise SelectionError(
            f"{where}: cannot select by {type(entry).__name__} {entry!r}; expected an integer, "
            f"a slice, Ellipsis, None, or an array of integers or booleans"
        ) from error


def _in_bounds(indices: NDArray, extent: int, axis: int) -> NDArray:
    indices = indices.astype(np.intp, copy=False)
    if indices.size and not (-extent <= indices.min() and indices.max() < extent):
        worst = indices.min() if indices.min() < -extent else indices.max()
        raise SelectionError(
            f"index {worst} is out of bounds for axis {axis} with size {extent}", axis=axis
        )
    return np.where(indices < 0, indices + extent, indices)


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

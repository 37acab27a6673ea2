"""From a selection to the part of each chunk that it touches.

Floor 2. Pure arithmetic on tuples. A selection is first made into a `Request`: for each axis a
run of elements, going up, plus what must be done to the buffer to give numpy's shape (axes
dropped or flipped). Its projections then say, chunk by chunk, what goes where::

    a[2:9:3], chunks of 4     |0 1 [2] 3|4 [5] 6 7|[8] 9 . .|
                               chunk 0    chunk 1   chunk 2
    chunk selection            2:4:3      1:4:3     0:1:3
    out selection              0:1        1:2       2:3

Source: numpy's basic indexing.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from chunkstore.chunk_grid import RegularAxis, RegularGrid
from chunkstore.errors import SelectionError
from chunkstore.types import ChunkCoords, NDArray, Selection, Shape

__all__ = ["AxisRun", "Projection", "Request", "basic_request", "whole_request"]


class Projection(NamedTuple):
    """One chunk's share of a request.

    ``chunk_selection`` cuts the chunk, ``out_selection`` the buffer; both results have the same
    shape. ``whole`` says that every element of the chunk that lies in the array is selected.
    """

    coords: ChunkCoords
    chunk_selection: tuple[Any, ...]
    out_selection: tuple[Any, ...]
    whole: bool


class AxisRun(NamedTuple):
    """Elements ``start, start + step, …``, ``n`` of them, going up along one axis."""

    start: int
    n: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Request:
    """A selection brought to one form.

    Parameters
    ----------
    runs : tuple of AxisRun
        One for each axis of the array; a single integer is a run of one.
    flipped : tuple of bool
        Axes that the user asked for backwards.
    result_shape : tuple of int
        Numpy's shape of the selection: without the axes picked by an integer, and with those
        added by None.
    """

    runs: tuple[AxisRun, ...]
    flipped: tuple[bool, ...]
    result_shape: Shape

    @property
    def buffer_shape(self) -> Shape:
        """Shape of the buffer that the projections fill: every axis is kept."""
        return tuple(run.n for run in self.runs)

    def buffer_view(self, buffer: NDArray) -> NDArray:
        """Give the view of a buffer in the user's order in which projections count upwards."""
        if not any(self.flipped):
            return buffer
        return buffer[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def projections(self, grid: RegularGrid) -> Iterator[Projection]:
        """Iterate over the chunks that the request touches, in C order of the grid."""
        parts = [
            list(_axis_parts(run, axis)) for run, axis in zip(self.runs, grid.axes, strict=True)
        ]
        if len(parts) == 1:
            for part in parts[0]:
                yield Projection((part[0],), (part[1],), (part[2],), part[3])
            return
        for combination in itertools.product(*parts):
            if combination:
                coords, chunk_selection, out_selection, whole = zip(*combination, strict=True)
                yield Projection(coords, chunk_selection, out_selection, all(whole))
            else:
                yield Projection((), (), (), True)

    def n_projections(self, grid: RegularGrid) -> int:
        """Count the chunks that the request touches at the most, without visiting them."""
        n = 1
        for run, axis in zip(self.runs, grid.axes, strict=True):
            if run.n == 0:
                return 0
            last = run.start + (run.n - 1) * run.step
            n *= min(run.n, axis.chunk_of(last) - axis.chunk_of(run.start) + 1)
        return n


def whole_request(shape: Shape) -> Request:
    """Give the request for every element."""
    return Request(tuple(AxisRun(0, extent) for extent in shape), (False,) * len(shape), shape)


def basic_request(selection: Selection, shape: Shape) -> Request:
    """Read a selection of integers, slices, Ellipsis and None.

    Parameters
    ----------
    selection
        What stands between the brackets.
    shape : tuple of int
        The array's shape.

    Raises
    ------
    SelectionError
        If there are too many axes, an integer is out of bounds, or an entry is of another kind.

    Examples
    --------
    >>> basic_request((1, slice(None, None, -2)), (4, 5)).result_shape
    (3,)
    """
    entries = _expanded(selection, shape)
    runs: list[AxisRun] = []
    flipped: list[bool] = []
    result_shape: list[int] = []
    for entry in entries:
        if entry is None:
            result_shape.append(1)
            continue
        axis, extent = len(runs), shape[len(runs)]
        if isinstance(entry, slice):
            run, flip = _slice_run(entry, extent, axis)
            result_shape.append(run.n)
        else:
            run, flip = AxisRun(_integer(entry, extent, axis), 1), False
        runs.append(run)
        flipped.append(flip)
    return Request(tuple(runs), tuple(flipped), tuple(result_shape))


def _expanded(selection: Selection, shape: Shape) -> list[Any]:
    """Write an Ellipsis and missing trailing axes out as full slices."""
    entries = list(selection) if isinstance(selection, tuple) else [selection]
    n_axes = sum(1 for entry in entries if entry is not None and entry is not Ellipsis)
    if n_axes > len(shape):
        raise SelectionError(
            f"selection {selection!r} has {n_axes} axes, but the array has {len(shape)}",
            selection=selection,
        )
    fill = [slice(None)] * (len(shape) - n_axes)
    where = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    if len(where) > 1:
        raise SelectionError(f"selection {selection!r} has more than one Ellipsis")
    if where:
        return entries[: where[0]] + fill + entries[where[0] + 1 :]
    return entries + fill


def _slice_run(entry: slice, extent: int, axis: int) -> tuple[AxisRun, bool]:
    try:
        start, stop, step = entry.indices(extent)
    except (TypeError, ValueError) as error:
        raise SelectionError(f"slice {entry!r} on axis {axis}: {error}") from error
    count = len(range(start, stop, step))
    if count == 0:
        return AxisRun(0, 0), False
    if step < 0:
        return AxisRun(start + (count - 1) * step, count, -step), True
    return AxisRun(start, count, step), False


def _integer(entry: Any, extent: int, axis: int) -> int:
    if isinstance(entry, bool):
        raise SelectionError(f"axis {axis}: {entry!r} is no integer; for a mask use an array")
    try:
        index = operator.index(entry)
    except TypeError as error:
        raise SelectionError(
            f"axis {axis}: cannot select by {type(entry).__name__} {entry!r}; expected an integer, "
            f"a slice, Ellipsis or None"
        ) from error
    if not -extent <= index < extent:
        raise SelectionError(
            f"index {index} is out of bounds for axis {axis} with size {extent}", axis=axis
        )
    return index + extent if index < 0 else index


def _axis_parts(run: AxisRun, axis: RegularAxis) -> Iterator[tuple[int, slice, slice, bool]]:
    """Cut a run at the chunk edges: chunk, its selection, the buffer's, whether it is whole."""
    start, count, step = run
    done = 0
    while done < count:
        first = start + done * step
        chunk = axis.chunk_of(first)
        chunk_start = axis.start_of(chunk)
        chunk_stop = min(chunk_start + axis.size_of(chunk), axis.extent)
        n = min(count - done, -(-(chunk_stop - first) // step))
        low = first - chunk_start
        high = low + (n - 1) * step + 1
        whole = n == chunk_stop - chunk_start
        yield chunk, slice(low, high, step), slice(done, done + n), whole
        done += n

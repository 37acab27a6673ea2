"""From what stands between the brackets to a request.

Floor 3. Each way to select is a function here: numpy's own rules, orthogonal, points, whole blocks.
All of them read the selection entry by entry and give a `Request`, or say what is wrong with it.

Source: numpy's basic and advanced indexing; NEP 21 for orthogonal and vectorised.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from chunkstore.errors import SelectionError
from chunkstore.requests import Axis, Grid, Pick, Points, Request, Run
from chunkstore.types import NDArray, Selection, Shape

__all__ = ["block_request", "numpy_request", "orthogonal_request", "points_request"]


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
    plain = _plain_request(selection, shape)
    if plain is not None:
        return plain
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


def _plain_request(selection: Selection, shape: Shape) -> Request | None:
    """Read the commonest selections, an integer or a slice upwards for each axis, quickly.

    None for any other, also for what is wrong: reading one small chunk takes no longer than the
    general way to read the selection.
    """
    entries = selection if type(selection) is tuple else (selection,)
    if len(entries) != len(shape):
        return None
    runs: list[Run] = []
    result_shape: list[int] = []
    for axis, entry in enumerate(entries):
        extent = shape[axis]
        if type(entry) is slice:
            try:
                start, stop, step = entry.indices(extent)
            except (TypeError, ValueError):
                return None
            if step < 0 or stop <= start:
                return None
            n = (stop - start + step - 1) // step
            runs.append(Run(axis, start, n, step))
            result_shape.append(n)
        elif type(entry) is int and -extent <= entry < extent:
            runs.append(Run(axis, entry % extent, 1))
        else:
            return None
    return Request(tuple(runs), (False,) * len(runs), tuple(result_shape))


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

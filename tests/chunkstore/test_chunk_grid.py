"""The chunk grid: every element lies in exactly one cell, and cells know where they lie."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.chunk_grid import Axis, RectilinearAxis, RegularAxis, RegularGrid

regular_axes = st.builds(RegularAxis, st.integers(0, 60), st.integers(1, 70))


@st.composite
def rectilinear_axes(draw: st.DrawFn) -> RectilinearAxis:
    """Draw an axis whose cells have their own lengths, some of them beyond the array."""
    edges = draw(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    return RectilinearAxis.from_edges(draw(st.integers(0, sum(edges))), edges)


axes = regular_axes | rectilinear_axes()


@given(axes)
def test_cells_partition_an_axis(axis: Axis) -> None:
    """The cells of an axis follow one another without a gap and end at or after the extent."""
    at = 0
    for chunk in range(axis.n_chunks):
        assert axis.start_of(chunk) == at
        assert at < axis.extent
        at += axis.size_of(chunk)
    assert at >= axis.extent


@given(axes)
def test_every_element_is_in_its_cell(axis: Axis) -> None:
    """The cell that is given for an element holds it, one by one and for arrays of elements."""
    elements = np.arange(axis.extent)
    for element in range(axis.extent):
        chunk = axis.chunk_of(element)
        assert 0 <= element - axis.start_of(chunk) < axis.size_of(chunk)
    assert axis.chunk_of(elements).tolist() == [axis.chunk_of(i) for i in range(axis.extent)]


@given(axes)
def test_edges_are_the_lengths_of_cells(axis: Axis) -> None:
    """Every cell has one of the lengths that the axis names."""
    assert {axis.size_of(chunk) for chunk in range(axis.n_chunks)} <= set(axis.edges)


@given(axes, st.integers(0, 80))
def test_resized_axis_keeps_its_cells(axis: Axis, extent: int) -> None:
    """Cells that hold elements before and after a resize lie where they were."""
    resized = axis.resized(extent)
    assert resized.extent == extent
    for chunk in range(min(axis.n_chunks, resized.n_chunks)):
        assert resized.start_of(chunk) == axis.start_of(chunk)
        assert resized.size_of(chunk) == axis.size_of(chunk)


def test_runs_of_equal_cells_are_one() -> None:
    """An axis is the same value whether equal cells are given one by one or as a run."""
    assert RectilinearAxis(9, ((3, 2), (4, 1))) == RectilinearAxis.from_edges(9, [3, 3, 4])


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 10)), max_size=3).map(
        lambda axes: tuple(zip(*axes, strict=True)) or ((), ())
    )
)
def test_regular_grid(sizes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """A grid has the fewest cells that cover the array, all of one shape."""
    shape, chunk_shape = sizes
    grid = RegularGrid(shape, chunk_shape)
    assert grid.grid_shape == tuple(
        math.ceil(extent / size) for extent, size in zip(shape, chunk_shape, strict=True)
    )
    assert grid.n_chunks == math.prod(grid.grid_shape)
    for coords in product(*map(range, grid.grid_shape)):
        assert grid.shape_of(coords) == chunk_shape
    covered = tuple(map(sum, grid.chunk_sizes))
    assert covered == shape


def test_grid_without_axes() -> None:
    """A scalar is one cell; an array with an empty axis has none."""
    assert RegularGrid((), ()).n_chunks == 1
    assert RegularGrid((), ()).grid_shape == ()
    assert RegularGrid((0, 5), (1, 2)).n_chunks == 0


def test_grids_are_values() -> None:
    """Grids compare and hash by shape and cells."""
    grid = RegularGrid((5, 4), (2, 2))
    assert grid == RegularGrid((5, 4), (2, 2))
    assert hash(grid) == hash(RegularGrid((5, 4), (2, 2)))
    assert grid != RegularGrid((5, 4), (2, 4))
    assert grid.resized((1, 9)) == RegularGrid((1, 9), (2, 2))
    with pytest.raises(AttributeError):
        grid.shape = (1,)  # type: ignore[misc]

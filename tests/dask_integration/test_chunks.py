"""Block-tuple arithmetic."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from dask.array.core import slices_from_chunks
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import (
    BlockGrid,
    array_shape,
    interior_edges,
    n_blocks,
    numblocks,
    regular_axis,
    regular_blocks,
    regular_size,
    slice_blocks,
)

axes = st.lists(st.integers(0, 7), min_size=1, max_size=6).map(tuple)
grids = st.lists(axes, max_size=3).map(tuple)


@given(extent=st.integers(0, 60), size=st.integers(1, 20))
def test_regular_axis_covers_the_extent_with_one_size(extent: int, size: int) -> None:
    """The blocks add up, all but the last have the size, and none is empty but the only one."""
    axis = regular_axis(extent, size)
    assert sum(axis) == extent
    assert all(block == size for block in axis[:-1])
    assert axis == (0,) or 0 < axis[-1] <= size


@given(axis=axes)
def test_an_axis_is_regular_exactly_if_one_size_rebuilds_it(axis: tuple[int, ...]) -> None:
    """A regular size is one from which the same blocks come out, and no other axis has one."""
    size = regular_size(axis)
    rebuilt = [s for s in range(1, 50) if regular_axis(sum(axis), s) == axis]
    assert (size is None) == (not rebuilt)
    if size is not None:
        assert regular_axis(sum(axis), max(1, size)) == axis


@given(axis=axes)
def test_interior_edges_are_where_blocks_meet(axis: tuple[int, ...]) -> None:
    """There is one edge between any two neighbours, at the sum of the blocks before it."""
    assert list(interior_edges(axis)) == [sum(axis[:i]) for i in range(1, len(axis))]


@given(blocks=grids)
def test_blocks_lie_where_dask_puts_them(blocks: tuple[tuple[int, ...], ...]) -> None:
    """Ids and regions agree with dask's slices of the same chunks, in the same order."""
    found = list(slice_blocks(blocks))
    assert [block.region for block in found] == [
        tuple(slice(part.start, part.stop) for part in region)
        for region in slices_from_chunks(blocks)
    ]
    assert [block.id for block in found] == list(np.ndindex(*numblocks(blocks)))
    assert len(found) == n_blocks(blocks)


@given(blocks=grids)
def test_a_grid_keeps_its_blocks(blocks: tuple[tuple[int, ...], ...]) -> None:
    """The compact form gives back the block tuples, also after a pickle."""
    grid = pickle.loads(pickle.dumps(BlockGrid.of(blocks)))
    assert grid.blocks == blocks
    assert grid.numblocks == numblocks(blocks)
    assert grid.extents == array_shape(blocks)


def test_a_regular_grid_pickles_to_the_same_size_however_many_blocks() -> None:
    """A million blocks travel as the numbers that describe them."""
    few = BlockGrid.of(regular_blocks((100, 100), (10, 10)))
    many = BlockGrid.of(regular_blocks((10_000, 10_000), (10, 10)))
    many.block((999, 999))
    assert len(many.blocks[0]) == 1_000
    assert len(pickle.dumps(many)) <= len(pickle.dumps(few)) + 8


def test_block_numbers_are_python_integers() -> None:
    """Sizes given as numpy integers become plain ones, which pickle small and print plainly."""
    axis = tuple(np.array([4, 4, 2]))
    block = BlockGrid.of((axis, (np.int64(1), np.int64(3)))).block((2, 1))
    assert all(type(part.start) is int and type(part.stop) is int for part in block.region)
    assert block.shape == (2, 3)


def test_unknown_sizes_are_refused() -> None:
    """A grid with NaN sizes, as after a mask, names the axis and the way out."""
    with pytest.raises(InvalidArgumentError, match=r"axis 1 .*compute_chunk_sizes") as caught:
        BlockGrid.of(((4, 4), (float("nan"), float("nan"))))
    assert caught.value.axis == 1

"""Alignment of blocks with write units, and the choice of blocks and chunks."""

from __future__ import annotations

import math
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import AlignmentError, InvalidArgumentError
from dask_integration.align import (
    AUTO_BLOCK_BYTES,
    aligned_axis,
    alignment,
    blocks_of_bytes,
    blocks_of_shape,
    chunks_for_blocks,
    require_aligned,
)
from dask_integration.chunks import (
    BlockGrid,
    interior_edges,
    n_blocks,
    regular_blocks,
    slice_blocks,
)

axes = st.lists(st.integers(0, 9), min_size=1, max_size=6).map(tuple)


def units_touched(axis: tuple[int, ...], unit: int, start: int) -> Counter[int]:
    """Count for each write unit the blocks that write some element of it."""
    touched: Counter[int] = Counter()
    for block in slice_blocks((axis,)):
        part = block.region[0]
        touched.update({(start + i) // unit for i in range(part.start, part.stop)})
    return touched


@given(axis=axes, unit=st.integers(1, 6), start=st.integers(0, 12), beyond=st.integers(0, 7))
def test_aligned_means_that_no_unit_is_touched_twice(
    axis: tuple[int, ...], unit: int, start: int, beyond: int
) -> None:
    """The verdict agrees with counting, element by element, who writes to which unit."""
    stop = start + sum(axis)
    touched = units_touched(axis, unit, start)
    [verdict] = alignment((axis,), (unit,), shape=(stop + beyond,), starts=(start,))
    assert verdict.aligned == all(count == 1 for count in touched.values())
    assert (verdict.n_bad_edges == 0) == verdict.aligned
    assert verdict.partial_start == (start % unit != 0)
    assert verdict.partial_stop == (stop % unit != 0 and beyond > 0)
    if verdict.bad_edge is not None:
        assert verdict.bad_edge % unit != 0
        assert verdict.bad_block is not None
        assert start + sum(axis[: verdict.bad_block + 1]) == verdict.bad_edge


@given(axis=axes, unit=st.integers(1, 6), start=st.integers(0, 12))
def test_the_proposed_blocks_are_aligned(axis: tuple[int, ...], unit: int, start: int) -> None:
    """What an error tells the user to rechunk to is accepted, and covers the same elements."""
    proposed = aligned_axis(axis, unit, start=start)
    assert sum(proposed) == sum(axis)
    assert alignment((proposed,), (unit,), starts=(start,))[0].aligned
    assert max(proposed) <= max(unit, *axis)


def test_the_error_names_block_axis_edge_unit_and_fix() -> None:
    """A refused write says what is wrong and what to type, and keeps the facts."""
    with pytest.raises(AlignmentError) as caught:
        require_aligned(
            ((512, 488), (900, 100)),
            (256, 256),
            target="'temp' in LocalStore('/d')",
            unit_name="shard",
        )
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == (
        "cannot write block (0, 0) to 'temp' in LocalStore('/d'): edge 900 on axis 1 is not a "
        "multiple of shard 256, so two tasks would write to the same shard and lose data "
        "(1 edge on axis 1). Call .rechunk({1: 768}) first."
    )
    assert (error.axis, error.edge, error.unit, error.block_id) == (1, 900, 256, (0, 0))
    assert error.rechunk == {1: (768, 232)}


def test_the_error_counts_every_bad_axis() -> None:
    """Edges on several axes are all reported, and the fix names all of them."""
    with pytest.raises(AlignmentError, match=r"2 edges on axis 0, 1 edge on axis 1") as caught:
        require_aligned(((3, 2, 3), (5, 5)), (2, 2), target="'a'")
    assert set(caught.value.rechunk) == {0, 1}


@given(
    shape=st.lists(st.integers(0, 40), min_size=0, max_size=3),
    data=st.data(),
    item_bytes=st.sampled_from([1, 2, 4, 8]),
    target_bytes=st.integers(1, 4000),
)
def test_merged_blocks_are_whole_units_within_the_target(
    shape: list[int], data: st.DataObject, item_bytes: int, target_bytes: int
) -> None:
    """No unit is split; a block exceeds the target only if a single unit does."""
    unit = tuple(data.draw(st.integers(1, 9)) for _ in shape)
    blocks = blocks_of_bytes(shape, unit, item_bytes=item_bytes, target_bytes=target_bytes)
    assert BlockGrid.of(blocks).extents == tuple(shape)
    assert all(axis.aligned for axis in alignment(blocks, unit))
    largest = max((math.prod(block.shape) for block in slice_blocks(blocks)), default=0)
    assert largest * item_bytes <= max(target_bytes, math.prod(unit) * item_bytes)


def test_merging_spans_the_last_axis_first() -> None:
    """Blocks become bands of whole rows, so that rows stay together."""
    blocks = blocks_of_bytes((4096, 4096), (64, 64), item_bytes=8)
    assert blocks[1] == (4096,)
    assert AUTO_BLOCK_BYTES // 2 < blocks[0][0] * 4096 * 8 <= AUTO_BLOCK_BYTES


def test_merged_blocks_are_even() -> None:
    """Five units with room for four become three and two, not four and one."""
    assert blocks_of_bytes((50,), (10,), item_bytes=1, target_bytes=40) == ((30, 20),)


def test_narrow_elements_count_as_what_they_are_computed_in() -> None:
    """By default int8 blocks hold as many elements as float32 blocks; a given size is exact."""
    shape, unit = (1 << 28,), (1 << 16,)
    auto = blocks_of_bytes(shape, unit, item_bytes=1)
    assert auto == blocks_of_bytes(shape, unit, item_bytes=4)
    exact = blocks_of_bytes(shape, unit, item_bytes=1, target_bytes=AUTO_BLOCK_BYTES)
    assert exact[0][0] == AUTO_BLOCK_BYTES


@given(extent=st.integers(0, 50), unit=st.integers(1, 12), asked=st.none() | st.integers(-1, 60))
def test_a_block_shape_is_taken_or_refused_but_never_bent(
    extent: int, unit: int, asked: int | None
) -> None:
    """Accepted shapes give exactly those blocks, whole units all; others raise an error."""
    whole = asked in (None, -1)
    size = max(1, extent) if whole else asked
    fits = size > 0 and (size % unit == 0 or size >= extent)
    if not fits:
        kind = InvalidArgumentError if size < 1 else AlignmentError
        with pytest.raises(kind):
            blocks_of_shape((extent,), (unit,), (asked,))
        return
    blocks = blocks_of_shape((extent,), (unit,), (asked,))
    assert blocks == regular_blocks((extent,), (size,))
    assert alignment(blocks, (unit,))[0].aligned


def test_a_block_shape_that_splits_units_is_explained() -> None:
    """The error offers the nearest multiples of the write unit."""
    with pytest.raises(AlignmentError, match=r"blocks of 30 on axis 1 .* units of 8.*24 or 32"):
        blocks_of_shape((100, 100), (10, 8), (20, 30))
    with pytest.raises(AlignmentError, match="Ask for 8,"):
        blocks_of_shape((100,), (8,), (5,))
    with pytest.raises(InvalidArgumentError, match="1 axes, the array has 2"):
        blocks_of_shape((100, 100), (10, 8), (20,))


@given(
    shape=st.lists(st.integers(0, 300), min_size=1, max_size=3),
    data=st.data(),
    max_bytes=st.integers(64, 20_000),
)
def test_chosen_chunks_make_blocks_whole_chunks(
    shape: list[int], data: st.DataObject, max_bytes: int
) -> None:
    """Every regular array of blocks gets chunks that it may be written to."""
    block = tuple(data.draw(st.integers(1, 120)) for _ in shape)
    blocks = regular_blocks(shape, block)
    chunk = chunks_for_blocks(blocks, item_bytes=8, max_bytes=max_bytes)
    assert all(size >= 1 for size in chunk)
    require_aligned(blocks, chunk, target="'a'")
    largest = tuple(max(1, *axis) for axis in blocks)
    if math.prod(largest) * 8 <= max_bytes:
        assert chunk == largest


def test_large_blocks_are_divided_into_chunks_of_a_useful_size() -> None:
    """A block above the bound is cut along its first axis, to no less than an eighth of it."""
    blocks = regular_blocks((100_000, 4_096), (10_000, 4_096))
    chunk = chunks_for_blocks(blocks, item_bytes=8)
    assert 10_000 % chunk[0] == 0
    assert chunk[1] == 4_096
    assert AUTO_BLOCK_BYTES / 8 <= math.prod(chunk) * 8 <= AUTO_BLOCK_BYTES


def test_a_prime_block_is_not_cut_to_slivers() -> None:
    """Where a size has no useful divisor, the next axis is divided instead."""
    blocks = regular_blocks((30_021, 8_192), (10_007, 4_096))
    assert chunks_for_blocks(blocks, item_bytes=4) == (10_007, 1_024)


def test_a_block_alone_on_its_axis_is_cut_anywhere() -> None:
    """Its last chunk ends with the array, so no divisor is needed."""
    chunk = chunks_for_blocks(((10_007,), (4_096,)), item_bytes=4)
    assert chunk == (-(-10_007 // 3), 4_096)
    assert n_blocks(regular_blocks((10_007, 4_096), chunk)) == 3


def test_irregular_blocks_have_no_chunk() -> None:
    """Blocks of different sizes are refused with the call that makes them even."""
    with pytest.raises(AlignmentError, match=r"axis 1 differ .*90, 100, 100.*rechunk\(\{1: 100\}"):
        chunks_for_blocks(((5,), (90, 100, 100)), item_bytes=8)


@given(axis=axes)
def test_interior_edges_alone_decide(axis: tuple[int, ...]) -> None:
    """Blocks are aligned to any unit that divides all interior edges, whatever the last block."""
    unit = math.gcd(*interior_edges(axis))
    if unit:
        assert alignment((axis,), (unit,))[0].aligned

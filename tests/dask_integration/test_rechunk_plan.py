"""Plans of rechunking: complete, safe to run in any order, within the bound, and true."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import BlockGrid, slice_blocks
from dask_integration.rechunk_plan import RechunkPlan, Stage, Units, plan_rechunk


@st.composite
def axis_sizes(draw: st.DrawFn, extent: int) -> int | tuple[int, ...]:
    """Draw the chunks of an axis: one size, or sizes that differ."""
    if extent and draw(st.integers(0, 3)) == 0:
        edges = draw(st.sets(st.integers(1, extent), max_size=5)) | {0, extent}
        return tuple(np.diff(sorted(edges)).tolist())
    return draw(st.integers(1, extent + 3))


@st.composite
def units(draw: st.DrawFn, shape: tuple[int, ...]) -> Units:
    """Draw how an array is cut: plain, sharded or rectilinear."""
    if draw(st.booleans()):
        return Units.of(shape, [draw(axis_sizes(extent)) for extent in shape])
    chunks = [draw(st.integers(1, 4)) for _ in shape]
    return Units.of(shape, chunks, [chunk * draw(st.integers(1, 4)) for chunk in chunks])


@st.composite
def problems(draw: st.DrawFn) -> tuple[Units, Units, dict[str, int]]:
    """Draw a source, a target, and what there is to do it with."""
    shape = tuple(draw(st.lists(st.integers(0, 24), max_size=3)))
    bound = {
        "item_bytes": draw(st.sampled_from([1, 4])),
        "memory_bytes": draw(st.integers(1, 4_000)),
        "n_threads": draw(st.integers(1, 5)),
        "n_processes": draw(st.integers(1, 3)),
        "n_requests": draw(st.integers(1, 9)),
    }
    return draw(units(shape)), draw(units(shape)), bound


def between(plan: RechunkPlan) -> list[tuple[Stage, Units, Units]]:
    """Give each stage of a plan with what it reads and what it writes."""
    if plan.pieces is None:
        return [(stage, plan.source, plan.target) for stage in plan.stages]
    pieces = Units(plan.pieces, plan.pieces)
    first, second = plan.stages
    return [(first, plan.source, pieces), (second, pieces, plan.target)]


def cells(grid: BlockGrid) -> list[tuple[tuple[slice, ...], int]]:
    """Give each stored cell of a grid: its region in the array, and its elements as stored."""
    sizes = [
        [size] * count if isinstance(size, int) else list(size)
        for size, count in zip(grid.sizes, grid.numblocks, strict=True)
    ]
    numbers = product(*(range(len(axis)) for axis in sizes))
    return [
        (
            grid.block(number).region,
            math.prod(axis[i] for axis, i in zip(sizes, number, strict=True)),
        )
        for number in numbers
    ]


def overlap(one: tuple[slice, ...], other: tuple[slice, ...]) -> bool:
    """Whether two regions share an element."""
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("method", ["auto", "direct", "staged"])
@given(problem=problems())
def test_every_plan_is_right(method: str, problem: tuple[Units, Units, dict[str, int]]) -> None:
    """Each element is written once a stage, each write unit by one task, all within the bound."""
    source, target, bound = problem
    try:
        plan = plan_rechunk(source, target, method=method, **bound)
    except InvalidArgumentError:
        return
    shape = source.read.extents
    assert len(plan.stages) == (0 if 0 in shape else 1 if plan.pieces is None else 2)
    for stage, reads, writes in between(plan):
        written = np.zeros(shape, int)
        regions = [block.region for block in slice_blocks(stage.regions.blocks)]
        for region in regions:
            written[region] += 1
        assert (written == 1).all()
        for unit, _ in cells(writes.write):
            assert sum(overlap(unit, region) for region in regions) == 1
        read = [n for cell, n in cells(reads.read) for region in regions if overlap(cell, region)]
        assert stage.read_bytes == bound["item_bytes"] * sum(read)
        opened = [
            1 for cell, _ in cells(reads.write) for region in regions if overlap(cell, region)
        ]
        assert stage.n_values_read == len(opened)
        assert stage.n_tasks == len(regions)
        largest = max(math.prod(part.stop - part.start for part in r) for r in regions)
        scratch = 2 * plan.n_inner * max(n for _, n in cells(reads.read))
        assert stage.task_bytes >= bound["item_bytes"] * (largest + scratch)
    assert plan.peak_bytes <= bound["memory_bytes"]
    assert plan.n_at_once <= bound["n_threads"]
    assert plan.n_at_once * plan.n_inner <= max(bound["n_threads"], bound["n_requests"])


@given(problem=problems())
def test_pieces_are_moved_once(problem: tuple[Units, Units, dict[str, int]]) -> None:
    """A staged copy reads each source chunk once and each piece once."""
    source, target, bound = problem
    assume(0 not in source.read.extents)
    try:
        plan = plan_rechunk(source, target, method="staged", **bound)
    except InvalidArgumentError:
        return
    assert plan.read_amplification == 1
    assert plan.pieces is not None
    assert plan.stages[1].n_values_read == math.prod(plan.pieces.numblocks)


@given(problem=problems())
def test_a_refusal_says_what_would_do(problem: tuple[Units, Units, dict[str, int]]) -> None:
    """With the memory that a refusal asks for there is a plan."""
    source, target, bound = problem
    bound["memory_bytes"] //= 40
    try:
        plan_rechunk(source, target, **bound)
    except InvalidArgumentError as error:
        bound["memory_bytes"] = error.needed_bytes
        plan_rechunk(source, target, **bound)


def test_direct_up_to_three_times() -> None:
    """The direct way is taken while it reads the source three times, and the staged one beyond."""
    columns = Units.of((8192, 16384), (8192, 128))
    rows = Units.of((8192, 16384), (64, 16384))
    three, four = (
        plan_rechunk(columns, rows, item_bytes=4, memory_bytes=memory)
        for memory in (200_000_000, 160_000_000)
    )
    assert (three.method, three.read_amplification) == ("direct", 3.0)
    assert (four.method, four.other and four.other.read_amplification) == ("staged", 4.0)
    assert "not taken, direct" in str(four)
    assert "4.00x the source" in str(four)


def test_shards_are_units_of_writing() -> None:
    """Regions are whole shards of the target; source shards are read in part, chunk by chunk."""
    source = Units.of((64, 64), (8, 8), (64, 64))
    target = Units.of((64, 64), (4, 4), (16, 64))
    plan = plan_rechunk(source, target, item_bytes=1, memory_bytes=7_000, method="direct")
    stage = plan.stages[0]
    assert all(size % 16 == 0 for size in stage.regions.blocks[0])
    # Each chunk once, though each task opens the only shard.
    assert plan.read_amplification == 1
    assert stage.n_values_read == stage.n_tasks > 1


def test_stores_that_wait_get_more_requests() -> None:
    """Where requests wait, tasks use more threads than there are processors, if memory allows."""
    problem = Units.of((64, 1024), (64, 1)), Units.of((64, 1024), (1, 1024))
    how = {"item_bytes": 1, "n_threads": 2, "n_requests": 16}
    plenty, tight = (plan_rechunk(*problem, memory_bytes=m, **how) for m in (10**6, 10_000))
    assert plenty.n_at_once * plenty.n_inner == 16
    assert 1 <= tight.n_at_once * tight.n_inner < 16


def test_large_grids_are_planned_at_once() -> None:
    """A grid of a hundred million chunks is planned without counting them one by one."""
    shape = (10_000_000, 10_000)
    plan = plan_rechunk(
        Units.of(shape, (1_000, 1_000)),
        Units.of(shape, (100_000, 10)),
        item_bytes=4,
        memory_bytes=2**31,
        n_threads=8,
    )
    assert plan.peak_bytes <= 2**31
    assert plan.read_amplification <= 3


def test_shapes_have_to_agree() -> None:
    """Source and target of different shapes are refused."""
    with pytest.raises(InvalidArgumentError, match=r"shape \(4,\) into one of \(5,\)"):
        plan_rechunk(Units.of((4,), (2,)), Units.of((5,), (2,)), item_bytes=1, memory_bytes=100)

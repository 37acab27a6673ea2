"""Traffic is counted as a look at every chunk and region would count it."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_integration import traffic
from dask_integration.chunks import BlockGrid, slice_blocks
from dask_integration.rechunk_plan import Units
from dask_integration.traffic import Region, count_grid_traffic, count_traffic


@st.composite
def cases(draw: st.DrawFn) -> tuple[Units, dict[Region, int]]:
    """Draw an array and regions of it, each with how often it is touched."""
    shape = tuple(draw(st.lists(st.integers(1, 9), max_size=3)))
    chunks = [draw(st.integers(1, 5)) for _ in shape]
    shards = [chunk * draw(st.integers(1, 3)) for chunk in chunks]
    units = Units.of(shape, chunks, draw(st.sampled_from([None, shards])))
    span = [st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted).map(tuple) for n in shape]
    regions = draw(st.lists(st.tuples(*span), min_size=1, max_size=5))
    return units, {region: draw(st.integers(1, 3)) for region in regions}


def touched(grid: BlockGrid, region: Region) -> list[tuple[int, ...]]:
    """List the cells that share an element with a region, one by one."""
    cells = product(*(range(count) for count in grid.numblocks))
    return [
        cell
        for cell in cells
        if all(
            max(cut.start, start) < min(cut.stop, stop)
            for cut, (start, stop) in zip(grid.block(cell).region, region, strict=True)
        )
    ]


@pytest.mark.parametrize("is_write", [False, True])
@given(case=cases())
def test_as_counted_one_by_one(is_write: bool, case: tuple[Units, dict[Region, int]]) -> None:
    """Chunks, bytes and amplification are those of looking at each chunk of each region."""
    units, regions = case
    facts: dict[str, Any] = {"dtype": "int16", "item_bytes": 2, "units": units}
    found = count_traffic("x", regions, shape=units.read.extents, is_write=is_write, **facts)
    counted = units.write if is_write else units.read
    touches = [(cell, n) for region, n in regions.items() for cell in touched(counted, region)]
    different = {cell for cell, _ in touches}
    opened = [n for region, n in regions.items() for _ in touched(units.write, region)]
    sizes = [size for size in units.read.sizes if isinstance(size, int)]
    volumes = [
        n * math.prod(stop - start for start, stop in region) for region, n in regions.items()
    ]
    if is_write:
        assert found.n_values == len(different)
        assert found.n_bytes == 2 * sum(volumes)
    else:
        assert found.n_values == sum(opened)
        assert found.n_bytes == 2 * math.prod(sizes) * sum(n for _, n in touches)
    times = sum(n for _, n in touches) / len(different) if different else 0
    assert found.amplification == pytest.approx(times)
    assert found.n_blocks == len(regions)
    assert found.n_times == max(regions.values())


@pytest.mark.parametrize("is_write", [False, True])
@given(data=st.data())
def test_grids_are_counted_alike(is_write: bool, data: st.DataObject) -> None:
    """A grid counted axis by axis has the numbers of its regions counted one by one."""
    units, _ = data.draw(cases())
    shape = units.read.extents
    grid = BlockGrid(shape, tuple(data.draw(st.integers(1, n)) for n in shape))
    facts: dict[str, Any] = {
        "shape": shape, "dtype": "int8", "item_bytes": 1, "units": units, "is_write": is_write,
    }  # fmt: skip
    regions = {
        tuple((part.start, part.stop) for part in block.region): 1
        for block in slice_blocks(grid.blocks)
    }
    assert count_grid_traffic("x", grid, **facts) == count_traffic("x", regions, **facts)


def test_verdicts_name_the_unit_that_is_cut() -> None:
    """What is read may cut shards but not chunks; what is written may not cut shards."""
    units = Units.of((24, 8), (2, 8), (6, 8))
    regions = {((0, 4), (0, 8)): 1, ((4, 24), (0, 8)): 1}
    facts: dict[str, Any] = {"shape": (24, 8), "dtype": "int8", "item_bytes": 1, "units": units}
    read, written = (count_traffic("x", regions, is_write=w, **facts) for w in (False, True))
    assert str(read.verdicts[0]) == "axis 0: blocks of up to 20 over chunks of 2: aligned"
    assert str(written.verdicts[0]) == (
        "axis 0: blocks of up to 20 over shards of 6: 1 of 1 edges cut a shard, the first at 4"
    )
    assert written.amplification == 1.25


def test_too_many_chunks_to_note_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no note can be kept of each chunk, each counts as different."""
    monkeypatch.setattr(traffic, "_MOST_CELLS", 2)
    units = Units.of((8,), (2,))
    facts: dict[str, Any] = {"shape": (8,), "dtype": "int8", "item_bytes": 1, "units": units}
    found = count_traffic("x", {((0, 3),): 1, ((3, 8),): 1}, is_write=False, **facts)
    assert (found.n_values, found.amplification) == (5, 1.0)

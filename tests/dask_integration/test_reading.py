"""Reading through dask: whole write units, each once, under names that tell the content."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import AlignmentError, InvalidArgumentError, NodeNotFoundError
from dask_integration.align import AUTO_BLOCK_BYTES
from dask_integration.chunks import interior_edges, regular_blocks
from dask_integration.layers import literals_of
from dask_integration.reading import from_store
from tests.dask_integration.arrays import VALUES, Counting, n_tasks, stored


@given(
    shape=st.lists(st.integers(0, 12), min_size=0, max_size=3),
    data=st.data(),
    how=st.sampled_from(["auto", "storage", "bytes", "shape"]),
)
def test_what_is_read_is_what_is_stored(shape: list[int], data: st.DataObject, how: str) -> None:
    """Any shape and chunks, any way to ask for blocks: the values are right, no unit is split."""
    chunk = tuple(data.draw(st.integers(1, 6)) for _ in shape)
    values = np.arange(math.prod(shape), dtype="i4").reshape(shape)
    array = stored(None, "", values=values, chunks=chunk)
    chunks: Any = how
    if how == "bytes":
        chunks = f"{data.draw(st.integers(1, 400))}B"
    elif how == "shape":
        chunks = tuple(
            data.draw(st.sampled_from([-1, None, *(size * n for n in range(1, 4))]))
            for size in chunk
        )
    x = from_store(array, chunks=chunks)
    assert (x.shape, x.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(x.compute(scheduler="synchronous"), values)
    for axis, unit in zip(x.chunks, chunk, strict=True):
        assert not any(edge % unit for edge in interior_edges(axis))
    if how == "storage":
        assert x.chunks == regular_blocks(shape, chunk)


def test_every_chunk_is_read_once() -> None:
    """Blocks of several chunks fetch each key exactly once."""
    store = Counting()
    array = stored(store)
    store.gets.clear()
    x = from_store(array, chunks=(8, -1))
    np.testing.assert_array_equal((x + 1).compute(), VALUES + 1)
    assert store.chunk_gets() == sorted(f"x/c/{i}/{j}" for i in range(5) for j in range(2))


def test_auto_merges_small_chunks_and_keeps_large_ones() -> None:
    """Blocks come near the byte target; a chunk above it stays one block."""
    small = cs.create_array(None, shape=(1 << 14, 1 << 10), chunks=(64, 64), dtype="f8")
    blocks = from_store(small).chunks
    assert AUTO_BLOCK_BYTES / 2 <= blocks[0][0] * blocks[1][0] * 8 <= AUTO_BLOCK_BYTES
    large = cs.create_array(None, shape=(1 << 14, 1 << 11), chunks=(1 << 13, 1 << 11), dtype="f8")
    assert from_store(large).chunks == ((1 << 13,) * 2, (1 << 11,))


def test_blocks_are_whole_shards() -> None:
    """With shards the unit is the shard, not the chunk inside it."""
    array = stored(None, chunks=(2, 7), shards=(8, 7))
    assert from_store(array, chunks="storage").chunks == ((8, 8, 4), (7, 7))
    with pytest.raises(AlignmentError, match="units of 8"):
        from_store(array, chunks=(2, 7))


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        ((5, 7), AlignmentError),
        ((4,), InvalidArgumentError),
        ((4, 0), InvalidArgumentError),
        ("sometimes", InvalidArgumentError),
        ("-5MB", InvalidArgumentError),
        (True, InvalidArgumentError),
        (((4, 4), (7,)), InvalidArgumentError),
    ],
)
def test_blocks_that_cannot_be_had_are_refused(chunks: Any, error: type[Exception]) -> None:
    """What would split write units or means nothing raises an error that says what to give."""
    with pytest.raises(error, match="chunks"):
        from_store(stored(None), chunks=chunks)


def test_a_store_and_path_an_array_or_a_folder_are_accepted(tmp_path: Path) -> None:
    """All ways to name an array give the same values."""
    array = stored(tmp_path, "a/b")
    for x in (
        from_store(array),
        from_store(tmp_path, "a/b"),
        from_store(str(tmp_path / "a" / "b")),
        from_store(cs.LocalStore(tmp_path), "/a/b"),
    ):
        np.testing.assert_array_equal(x.compute(), VALUES)
    with pytest.raises(InvalidArgumentError, match="beside the array"):
        from_store(array, "a/b")
    with pytest.raises(NodeNotFoundError):
        from_store(tmp_path, "a/c")


def test_reading_is_one_task_a_block() -> None:
    """A read and what is done to each block fuse; ten blocks are ten tasks."""
    x = from_store(stored(None), chunks="storage")
    assert n_tasks(x) == n_tasks((x - 1) * 2) == 10


def test_overwritten_data_is_not_served_from_a_cache(tmp_path: Path, cluster: LocalCluster) -> None:
    """A scheduler that still holds the old blocks gives the new ones after an overwrite."""
    stored(tmp_path, "x")
    with Client(cluster):
        old = from_store(tmp_path, "x", chunks="storage").persist()
        np.testing.assert_array_equal(old.compute(), VALUES)
        stored(tmp_path, "x", values=VALUES * 2, overwrite=True)
        new = from_store(tmp_path, "x", chunks="storage")
        np.testing.assert_array_equal(new.compute(), VALUES * 2)
        np.testing.assert_array_equal(old.compute(), VALUES)


def test_tasks_read_with_one_thread() -> None:
    """The handle in the tasks is told to leave parallelism to dask."""
    x = from_store(stored(None).with_options(n_threads=7))
    [handle] = [a for a in literals_of(x) if isinstance(a, cs.Array)]
    assert handle.options.n_threads == 1


def test_from_array_reads_an_array(tmp_path: Path, scheduler: str) -> None:
    """dask's own from_array takes a stored array, with blocks of whole write units."""
    for kwargs in ({"chunks": (4, 7)}, {"chunks": (4, 7), "shards": (8, 7)}):
        array = stored(tmp_path, values=VALUES, overwrite=True, **kwargs)
        x = da.from_array(array)
        for axis, unit in zip(x.chunks, array.write_unit, strict=True):
            assert not any(edge % unit for edge in interior_edges(axis))
        np.testing.assert_array_equal((x + 1).compute(), VALUES + 1)


# --- regions -----------------------------------------------------------------------------------


@given(shape=st.lists(st.integers(0, 12), min_size=1, max_size=3), data=st.data())
def test_a_region_reads_what_it_names_in_whole_units(shape: list[int], data: st.DataObject) -> None:
    """Any region, any way to ask for blocks: right values, and no unit is split."""
    chunk = tuple(data.draw(st.integers(1, 6)) for _ in shape)
    values = np.arange(math.prod(shape), dtype="i4").reshape(shape)
    array = stored(None, "", values=values, chunks=chunk)
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in shape]
    region = tuple(slice(a, b) for a, b in ends)
    how = data.draw(st.sampled_from(["auto", "storage", "60B", tuple(2 * n for n in chunk)]))
    x = from_store(array, chunks=how, region=region)
    np.testing.assert_array_equal(x.compute(scheduler="synchronous"), values[region])
    for axis, unit, part in zip(x.chunks, chunk, region, strict=True):
        assert not any((part.start + edge) % unit for edge in interior_edges(axis))


def test_a_region_reads_no_other_chunks() -> None:
    """Only the chunks that hold something of the region are fetched, each once."""
    store = Counting()
    array = stored(store)
    store.gets.clear()
    x = from_store(array, region=(slice(5, 9), slice(3, 6)), chunks="storage")
    np.testing.assert_array_equal(x.compute(), VALUES[5:9, 3:6])
    assert store.chunk_gets() == ["x/c/1/0", "x/c/2/0"]


@pytest.mark.parametrize(
    "region",
    [
        (slice(0, 21),),
        (slice(0, 4, 2),),
        (3,),
        (slice(0, 4),) * 3,
        (..., ...),
        "all",
        (slice(-21, 4),),
    ],
)
def test_regions_that_cannot_be_meant_are_refused(region: Any) -> None:
    """Steps, integers, too many axes and ends outside the array are no regions."""
    with pytest.raises(InvalidArgumentError, match="region"):
        from_store(stored(None), region=region)


# --- names -------------------------------------------------------------------------------------


def test_names_last_as_long_as_the_content(tmp_path: Path) -> None:
    """Equal calls on unchanged data give equal names; a chunk overwritten in place changes them."""
    array = stored(tmp_path)
    before = from_store(tmp_path, "x")
    assert from_store(array).name == from_store(tmp_path, "x").name == before.name
    assert from_store(tmp_path, "x", chunks="storage").name != before.name
    assert from_store(tmp_path, "x", region=(slice(0, 8),)).name != before.name
    stored(tmp_path, "z")
    assert from_store(tmp_path, "x").name == before.name
    array[0, 0] = VALUES[0, 0]
    assert from_store(tmp_path, "x").name != before.name


def test_names_are_new_where_nothing_proves_the_content() -> None:
    """A store that cannot tell versions apart gives new names, unless the caller vouches."""
    array = stored(None)
    assert from_store(array).name != from_store(array).name
    vouched = from_store(array, token="2024")
    assert from_store(array, token="2024").name == vouched.name
    assert from_store(array, token="2025").name != vouched.name
    assert from_store(array, token="2024", chunks="storage").name != vouched.name


def test_a_chunk_overwritten_in_place_is_read_anew(tmp_path: Path, cluster: LocalCluster) -> None:
    """A scheduler that holds the blocks gives back new values after one chunk was replaced."""
    array = stored(tmp_path)
    with Client(cluster):
        old = from_store(tmp_path, "x").persist()
        assert old.sum().compute() == VALUES.sum()
        array[0, 0] = 1000
        assert from_store(tmp_path, "x").sum().compute() == VALUES.sum() - VALUES[0, 0] + 1000

"""Rectilinear grids: chunks of different shapes, from the document to the stored bytes."""

from __future__ import annotations

import json
import math
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import engine as engines
from chunkstore.chunk_grid import (
    Axis,
    ChunkGrid,
    RectilinearAxis,
    RectilinearGrid,
    RegularAxis,
    RegularGrid,
    grid_from_edges,
)
from chunkstore.errors import ChunkError, InvalidArgumentError
from chunkstore.metadata import v3
from chunkstore.metadata.model import ArrayMetadata


@st.composite
def axes(draw: st.DrawFn, *, longest: int = 12) -> Axis:
    """Draw an axis of either kind, some with cells beyond the array."""
    if draw(st.booleans()):
        return RegularAxis(draw(st.integers(0, longest)), draw(st.integers(1, 5)))
    edges = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    return RectilinearAxis.from_edges(draw(st.integers(0, sum(edges))), edges)


grids = st.lists(axes(), min_size=1, max_size=3).map(lambda drawn: RectilinearGrid(tuple(drawn)))


def array_on(grid: ChunkGrid, **arguments: Any) -> cs.Array:
    """Make an array in memory over a grid."""
    return cs.create_array(None, shape=grid.shape, chunks=grid, dtype="i4", **arguments)


def values_of(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Give values that differ from the fill value and from one another."""
    return np.arange(1, math.prod(shape) + 1, dtype="i4").reshape(shape)


def document_of(array: cs.Array) -> dict[str, Any]:
    """Give an array's document as it is stored."""
    value = array.store.get("zarr.json")
    assert value is not None
    document: dict[str, Any] = json.loads(value)
    return document


# -- the grid itself ------------------------------------------------------------------------------


@given(grids)
def test_grid_tells_the_shape_of_every_chunk(grid: RectilinearGrid) -> None:
    """Stored shapes are the declared edges, and what lies in the array adds up to it."""
    assert grid.n_chunks == math.prod(grid.grid_shape)
    for axis, sizes in zip(grid.axes, grid.chunk_sizes, strict=True):
        assert sum(sizes) == axis.extent
        assert all(sizes)
    for coords in product(*map(range, grid.grid_shape)):
        shape = grid.shape_of(coords)
        inside = tuple(sizes[i] for sizes, i in zip(grid.chunk_sizes, coords, strict=True))
        assert all(part <= whole for part, whole in zip(inside, shape, strict=True))
        assert all(n <= most for n, most in zip(shape, grid.largest_chunk, strict=True))


@given(axes(longest=40))
def test_cells_of_many_indices(axis: Axis) -> None:
    """Asking for the cells of an array of indices gives what asking one by one does."""
    indices = np.arange(axis.extent)
    assert axis.chunk_of(indices).tolist() == [axis.chunk_of(int(i)) for i in indices]


@given(grids, st.data())
def test_resizing_moves_no_chunk(grid: RectilinearGrid, data: st.DataObject) -> None:
    """In a grid of another extent every element that both hold lies in the same cell."""
    shape = tuple(data.draw(st.integers(0, 25)) for _ in grid.axes)
    other = grid.resized(shape)
    assert other.shape == shape
    for before, after in zip(grid.axes, other.axes, strict=True):
        for index in range(min(before.extent, after.extent)):
            assert before.chunk_of(index) == after.chunk_of(index)
            chunk = before.chunk_of(index)
            assert before.start_of(chunk) == after.start_of(chunk)
            assert before.size_of(chunk) == after.size_of(chunk)


def test_growing_adds_one_cell() -> None:
    """An axis that grows beyond its cells gets one for the rest; one that shrinks keeps its own."""
    axis = RectilinearAxis.from_edges(9, (3, 2, 4))
    assert axis.resized(15).runs == ((3, 1), (2, 1), (4, 1), (6, 1))
    assert axis.resized(13).runs == ((3, 1), (2, 1), (4, 2))
    small = axis.resized(4)
    assert small.runs == axis.runs
    assert small.n_chunks == 2
    assert small.resized(9) == axis
    assert small.resized(10).runs[-1] == (1, 1)
    assert small.resized(0).n_chunks == 0


def test_runs_are_never_spelled_out() -> None:
    """A run of very many cells costs no more than one cell."""
    axis = RectilinearAxis(10**18, ((1, 10**17), (9, 10**17)))
    assert axis.n_chunks == 2 * 10**17
    assert axis.chunk_of(10**18 - 1) == 2 * 10**17 - 1
    assert axis.start_of(10**17 + 1) == 10**17 + 9
    assert axis.edges == (1, 9)


def test_neighbouring_runs_are_joined() -> None:
    """Two ways to write the same cells make equal axes."""
    assert RectilinearAxis(6, ((2, 1), (2, 2))) == RectilinearAxis.from_edges(6, (2, 2, 2))
    assert hash(RectilinearAxis(6, ((2, 3),))) == hash(RectilinearAxis.from_edges(6, (2, 2, 2)))


def test_uniform_grids_are_told_apart() -> None:
    """A grid knows whether all its chunks have one shape, whichever class it is of."""
    assert RegularGrid((4, 6), (2, 4)).uniform_shape == (2, 4)
    assert RectilinearGrid((RegularAxis(4, 2), RegularAxis(6, 4))).uniform_shape == (2, 4)
    irregular = RectilinearGrid((RectilinearAxis.from_edges(4, (1, 3)), RegularAxis(6, 4)))
    assert irregular.uniform_shape is None
    assert irregular.largest_chunk == (3, 4)


# -- documents ------------------------------------------------------------------------------------


def parsed(grid: ChunkGrid) -> ArrayMetadata:
    """Give what is read of the document of an array over a grid."""
    document = v3.array_document(array_on(grid).metadata)
    return v3.parse_array(json.loads(json.dumps(document)), where="a document")


@given(grids)
def test_grid_survives_its_document(grid: RectilinearGrid) -> None:
    """What is read of a document that was written is the same grid."""
    assert parsed(grid).grid == grid


@pytest.mark.parametrize(
    ("edges", "written"),
    [
        ([3, 2, 4], [3, 2, 4]),
        ([3, 3, 2, 1], [[3, 2], 2, 1]),
        ([1, 2, 2, 2, 2], [1, [2, 4]]),
        ([5, 1, 1, 5, 5, 5], [5, [1, 2], [5, 3]]),
    ],
)
def test_equal_edges_are_written_as_runs(edges: list[int], written: list[Any]) -> None:
    """A document holds equal neighbours as one run, and an axis of one size as that size."""
    a = cs.create_array(None, shape=(sum(edges), 7), chunks=[edges, 4], dtype="i1")
    assert document_of(a)["chunk_grid"] == {
        "name": "rectilinear",
        "configuration": {"kind": "inline", "chunk_shapes": [written, 4]},
    }


def test_attributes_leave_the_grid_alone() -> None:
    """A document with cells beyond the array keeps them when something else is changed."""
    grid = RectilinearGrid((RectilinearAxis(5, ((2, 2), (3, 1), (7, 2))),))
    a = array_on(grid)
    a.attrs["seen"] = True
    assert document_of(a)["chunk_grid"]["configuration"]["chunk_shapes"] == [[[2, 2], 3, [7, 2]]]
    assert cs.open_array(a.store, mode="r").metadata.grid == grid


# -- creating -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([[3, 2, 4], [5, 5]], ((3, 2, 4), (5, 5))),
        (((3, 2, 4), 5), ((3, 2, 4), (5, 5))),
        ([np.array([3, 2, 4]), np.int64(5)], ((3, 2, 4), (5, 5))),
        ([[1, 8], 10], ((1, 8), (10,))),
        ([[3, 3, 3], [5, 5]], (3, 5)),
        ([(4, 4, 1), (6, 4)], (4, 6)),
        ([(9,), (10,)], (9, 10)),
    ],
)
def test_edges_make_a_grid(chunks: Any, expected: Any) -> None:
    """Edges make a rectilinear grid, and a regular one where a regular one says the same."""
    a = cs.create_array(None, shape=(9, 10), chunks=chunks, dtype="i4")
    assert a.chunks == expected
    assert isinstance(a.metadata.grid, RegularGrid) == isinstance(expected[0], int)
    a[...] = values_of((9, 10))
    assert np.array_equal(a[...], values_of((9, 10)))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"chunks": [[3, 2], 5]}, "sum to 5, expected 9"),
        ({"chunks": [[3, 2, 5], 5]}, "sum to 10, expected 9"),
        ({"chunks": [[3, 2, 4]]}, "1 axes"),
        ({"chunks": [[3, 0, 6], 5]}, "at least 1"),
        ({"chunks": [[3, -2, 8], 5]}, "at least 1"),
        ({"chunks": [[3, 2.0, 4], 5]}, "integer"),
        ({"chunks": [[3, True, 5], 5]}, "integer"),
        ({"chunks": [["3", "6"], 5]}, "integer"),
        ({"chunks": [[], 5]}, "sum to 0"),
        ({"chunks": [[3, 6], 2.5]}, "integer"),
        ({"chunks": [[3, 6], None]}, "integer"),
        ({"chunks": [[3, 2, 4], 5], "zarr_format": 2}, "one shape only"),
        ({"chunks": [[3, 2, 4], 5], "shards": (9, 10)}, "shards instead"),
        ({"chunks": (2, 5), "shards": [[3, 6], 10]}, "no multiple"),
        ({"chunks": (2, 5), "shards": [[4, 4], 10]}, "sum to 8, expected 10"),
        ({"chunks": RegularGrid((9, 9), (3, 3))}, "(9, 9)"),
    ],
    ids=str,
)
def test_edges_that_cannot_be_meant(arguments: dict[str, Any], word: str) -> None:
    """Edges that do not fit the array are refused before anything is stored."""
    store = cs.MemoryStore()
    with pytest.raises(InvalidArgumentError) as caught:
        cs.create_array(store, name="x", shape=(9, 10), dtype="i4", **arguments)
    assert word in str(caught.value)
    assert store.list_dir("") == ((), ())


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_regular_edges_read_the_same(edges: list[int]) -> None:
    """Whether edges were found to be regular or not, the cells hold the same elements."""
    grid = grid_from_edges("chunks", [edges], (sum(edges),), unit=(1,))
    assert grid.chunk_sizes == (tuple(edges),)


def test_axis_without_elements_as_dask_writes_it() -> None:
    """dask writes an axis without elements as one chunk of none."""
    assert grid_from_edges("chunks", [(0,), (3, 1)], (0, 4), unit=(1, 1)).grid_shape == (0, 2)


# -- what the handle says -------------------------------------------------------------------------


def test_handle_of_a_rectilinear_array() -> None:
    """Sizes of chunks are told along each axis where no one shape is right."""
    a = cs.create_array(None, shape=(9, 10), chunks=[[3, 2, 4], 6], dtype="i4", fill_value=0)
    assert a.chunks == a.read_chunk_sizes == a.write_chunk_sizes == ((3, 2, 4), (6, 4))
    assert a.shards is None
    assert a.cdata_shape == (3, 2)
    assert a.nchunks == 6
    assert a.nchunks_initialized == 0
    a[3:5] = 1
    assert a.nchunks_initialized == 2
    assert np.array_equal(a.blocks[1], a[3:5])
    assert np.array_equal(a.blocks[1:, 1], a[3:, 6:])
    assert np.array_equal(np.stack(list(a)), a[...])
    assert "different shapes up to (4, 6)" in a.info
    with pytest.raises(InvalidArgumentError, match="write_chunk_sizes"):
        _ = a.write_unit


def test_handle_of_rectilinear_shards() -> None:
    """Inner chunks have one shape where shards have not."""
    a = cs.create_array(
        None, shape=(11, 10), chunks=(2, 5), shards=[[4, 6, 2], 10], dtype="i4", fill_value=0
    )
    assert a.chunks == (2, 5)
    assert a.shards == a.write_chunk_sizes == ((4, 6, 1), (10,))
    assert a.read_chunk_sizes == ((2, 2, 2, 2, 2, 1), (5, 5))
    assert a.cdata_shape == (6, 2)
    a[5:7] = 1
    assert a.nchunks_initialized == 6
    assert np.array_equal(a.blocks[2:4], a[4:8])
    assert np.array_equal(np.stack(list(a)), a[...])


def test_handle_of_a_regular_array() -> None:
    """Of a regular array all names say what they always did."""
    a = cs.create_array(None, shape=(9, 10), chunks=(4, 6), dtype="i4")
    assert a.chunks == a.write_unit == (4, 6)
    assert a.read_chunk_sizes == a.write_chunk_sizes == ((4, 4, 1), (6, 4))
    assert a.engine._variants is None


def test_rectilinear_document_of_regular_axes() -> None:
    """A grid that is rectilinear by name only is one shape to all who ask."""
    a = array_on(RectilinearGrid((RegularAxis(9, 4), RegularAxis(10, 6))))
    assert document_of(a)["chunk_grid"]["name"] == "rectilinear"
    assert a.chunks == a.write_unit == (4, 6)
    assert a.engine._variants is None


def test_handle_pickles(tmp_path: Path) -> None:
    """A handle travels to another process with its grid."""
    a = cs.create_array(tmp_path, shape=(9, 10), chunks=[[3, 2, 4], 6], dtype="i4")
    a[...] = values_of((9, 10))
    b = pickle.loads(pickle.dumps(a))
    assert b.metadata.grid == a.metadata.grid
    assert np.array_equal(b[...], a[...])


# -- reading and writing --------------------------------------------------------------------------


def slices(extent: int) -> st.SearchStrategy[slice]:
    """Draw a slice with any step."""
    bound = st.none() | st.integers(-extent - 2, extent + 2)
    steps = st.none() | st.integers(-4, 4).filter(bool)
    return st.builds(slice, bound, bound, steps)


@settings(max_examples=20)
@given(grids, st.data())
def test_selections_equal_numpys(grid: RectilinearGrid, data: st.DataObject) -> None:
    """Reading and writing any slices of any grid does what numpy does."""
    a = array_on(grid, fill_value=-1)
    wanted = np.full(grid.shape, -1, "i4")
    for n in range(3):
        key = tuple(data.draw(slices(extent)) for extent in grid.shape)
        values = values_of(wanted[key].shape) + 100 * n
        wanted[key] = values
        a[key] = values
        assert np.array_equal(a[key], wanted[key])
    assert np.array_equal(a[...], wanted)


@given(grids, st.data())
def test_points_equal_numpys(grid: RectilinearGrid, data: st.DataObject) -> None:
    """So do index arrays, together and each along its own axis."""
    if 0 in grid.shape:
        return
    a = array_on(grid)
    values = values_of(grid.shape)
    a[...] = values
    n = data.draw(st.integers(0, 5))
    points = tuple(
        np.array(data.draw(st.lists(st.integers(-e, e - 1), min_size=n, max_size=n)), np.intp)
        for e in grid.shape
    )
    assert np.array_equal(a.vindex[points], values[points])
    assert np.array_equal(a.oindex[points], values[np.ix_(*points)])


@settings(max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_rectilinear_shards_equal_numpys(edges: list[int], data: st.DataObject) -> None:
    """Shards of different shapes read and write as numpy does."""
    shards = [2 * edge for edge in edges]
    shape = (sum(shards) - data.draw(st.integers(0, 1)), 5)
    a = cs.create_array(
        None, shape=shape, chunks=(2, 3), shards=[shards, 6], dtype="i4", fill_value=-1
    )
    wanted = np.full(shape, -1, "i4")
    for n in range(3):
        key = tuple(data.draw(slices(extent)) for extent in shape)
        values = values_of(wanted[key].shape) + 100 * n
        wanted[key] = values
        a[key] = values
    assert np.array_equal(a[...], wanted)


def test_chunks_are_stored_at_their_declared_size() -> None:
    """A chunk has as many bytes as its edges say, also where it reaches beyond the array."""
    grid = RectilinearGrid((RectilinearAxis.from_edges(7, (3, 2, 4, 9)), RegularAxis(5, 4)))
    a = array_on(grid, compressors=None, fill_value=0)
    a[...] = 1
    stored = {key: a.store.size(key) for key in a.store.list_prefix("c/")}
    assert stored == {
        f"c/{i}/{j}": 4 * edge * 4 for i, edge in enumerate((3, 2, 4)) for j in range(2)
    }


def test_codecs_know_the_shape_of_each_chunk() -> None:
    """A codec that depends on the shape is made for each of them."""
    a = cs.create_array(
        None, shape=(6, 5), chunks=[[1, 3, 2], [2, 3]], dtype="i4", order="F", compressors=None
    )
    values = values_of((6, 5))
    a[...] = values
    raw = a.store.get("c/1/1")
    assert raw is not None
    assert np.frombuffer(raw, "<i4").tolist() == values[1:4, 2:].ravel("F").tolist()
    assert np.array_equal(a[...], values)


def test_chunk_of_another_shape_is_refused() -> None:
    """A chunk of the right size for another place of the grid is not read as this one's."""
    a = cs.create_array(None, shape=(6,), chunks=[[1, 3, 2]], dtype="i4", compressors=None)
    a[...] = values_of((6,))
    value = a.store.get("c/1")
    assert value is not None
    a.store.set("c/2", value)
    with pytest.raises(ChunkError, match="expected 8 bytes") as caught:
        a[...]
    assert caught.value.chunk_coords == (2,)  # type: ignore[attr-defined]


def test_few_pipelines_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of very many chunk shapes reads right with few pipelines at a time."""
    monkeypatch.setattr(engines, "_MOST_VARIANTS", 3)
    edges = list(range(1, 9))
    a = cs.create_array(None, shape=(36, 36), chunks=[edges, edges[::-1]], dtype="i4")
    values = values_of((36, 36))
    a[...] = values
    assert np.array_equal(a[...], values)
    assert a.engine._variants is not None
    assert 0 < len(a.engine._variants) <= 3


def test_threads_share_the_pipelines() -> None:
    """Chunks of many shapes decoded by several threads at once come out right."""
    edges = [7, 13, 21, 2, 57]
    a = cs.create_array(
        None, shape=(100, 1000), chunks=[edges, [400, 600]], dtype="f8",
        options=cs.Options(n_threads=8),
    )  # fmt: skip
    values = np.random.default_rng(5).normal(size=(100, 1000))
    a[...] = values
    assert np.array_equal(a[...], values)


# -- changing the shape ---------------------------------------------------------------------------


@settings(max_examples=20)
@given(grids, st.data())
def test_resizing_equals_numpys(grid: RectilinearGrid, data: st.DataObject) -> None:
    """Growing shows the fill value, shrinking forgets, and what is left is what was there."""
    a = array_on(grid, fill_value=-1)
    wanted = values_of(grid.shape)
    a[...] = wanted
    for _ in range(3):
        shape = tuple(data.draw(st.integers(0, 9)) for _ in grid.shape)
        kept = tuple(slice(0, min(n, m)) for n, m in zip(wanted.shape, shape, strict=True))
        grown = np.full(shape, -1, "i4")
        grown[kept] = wanted[kept]
        wanted = grown
        a.resize(shape)
        assert np.array_equal(a[...], wanted)
    again = cs.open_array(a.store, mode="r")
    assert again.metadata.grid == a.metadata.grid
    assert np.array_equal(again[...], wanted)


def test_appending_adds_a_chunk() -> None:
    """What is appended in one step is one chunk."""
    a = cs.create_array(None, shape=(5, 4), chunks=[[2, 3], [1, 3]], dtype="i4")
    a[...] = 1
    a.append(np.full((4, 4), 2, "i4"))
    a.append(np.full((1, 4), 3, "i4"))
    assert a.chunks == ((2, 3, 4, 1), (1, 3))
    assert a[:, 0].tolist() == [1] * 5 + [2] * 4 + [3]


def test_copies_keep_the_grid() -> None:
    """A copy has the same cells, those beyond the array too, also where codecs change."""
    a = cs.create_array(None, shape=(9,), chunks=[[3, 2, 4]], dtype="i4")
    a[...] = values_of((9,))
    a.resize(4)
    for arguments in ({}, {"compressors": None}):
        b = cs.copy(a, cs.MemoryStore(), **arguments)
        assert isinstance(b, cs.Array)
        assert b.metadata.grid == a.metadata.grid
        assert np.array_equal(b[...], a[...])


# -- nothing in it, and no axes -------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(2, 3), [[1, 3], 3], [4, [2, 3]]])
@pytest.mark.parametrize("axis", [0, 1])
def test_array_without_elements(chunks: Any, axis: int) -> None:
    """An axis of no length has no chunk, and comes back when it grows."""
    a = cs.create_array(None, shape=(4, 5), chunks=chunks, dtype="i4", fill_value=7)
    a[...] = 1
    shape = tuple(0 if i == axis else extent for i, extent in enumerate((4, 5)))
    a.resize(shape)
    assert a.shape == shape
    assert a.nchunks == a.nchunks_initialized == 0
    assert a[...].shape == shape
    a[...] = np.zeros(shape)
    assert list(a.store.list_prefix("c/")) == []
    a.resize((4, 5))
    assert np.array_equal(a[...], np.full((4, 5), 7))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_regular_array_without_elements(zarr_format: Any, shape: tuple[int, ...]) -> None:
    """An array may be made without elements and opens again."""
    a = cs.create_array(None, name="x", shape=shape, dtype="f8", zarr_format=zarr_format)
    again = cs.open_array(a.store, path="x", mode="r")
    assert again.shape == shape
    assert again[...].shape == shape
    assert again.nchunks == 0


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_array_without_axes(zarr_format: Any) -> None:
    """An array without axes is one chunk of one element."""
    a = cs.create_array(
        None, name="x", shape=(), dtype="f8", fill_value=2.5, zarr_format=zarr_format
    )
    assert a.chunks == a.write_unit == a.cdata_shape == a.read_chunk_sizes == ()
    assert a.nchunks == 1
    assert a[()] == 2.5
    a[...] = 4.5
    assert a.nchunks_initialized == 1
    assert cs.open_array(a.store, path="x", mode="r")[()] == 4.5
    assert a.store.exists("x/0" if zarr_format == 2 else "x/c")


def test_rectilinear_document_without_axes() -> None:
    """A rectilinear grid may have no axes; it is one chunk then."""
    a = array_on(RectilinearGrid(()))
    a[()] = 3
    assert cs.open_array(a.store, mode="r")[()] == 3
    assert a.chunks == ()

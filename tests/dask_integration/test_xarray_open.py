"""Datasets of dask arrays: one task a block of whole write units, decoding included."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from xarray.testing import assert_identical

import chunkstore as cs
from chunkstore.errors import AlignmentError, InvalidArgumentError
from dask_integration.xarray import open_dataset, open_datatree


@pytest.fixture
def store() -> cs.MemoryStore:
    """A packed variable in shards, one of another type in chunks, and coordinates."""
    store = cs.MemoryStore()
    time = np.arange(12)
    cs.create_array(
        store, name="time", data=time, dimension_names=["time"],
        attributes={"units": "days since 2001-01-01"},
    )  # fmt: skip
    cs.create_array(
        store, name="temp", data=np.arange(96, dtype="i2").reshape(12, 8), chunks=(1, 4),
        shards=(3, 8), dimension_names=["time", "x"],
        attributes={"scale_factor": 0.5, "add_offset": 1.0, "_FillValue": 7},
    )  # fmt: skip
    cs.create_array(
        store, name="rain", data=np.arange(96.0).reshape(12, 8), chunks=(3, 4),
        dimension_names=["time", "x"],
    )  # fmt: skip
    cs.create_array(store, name="below/area", data=np.ones(8), dimension_names=["x"])
    cs.consolidate_metadata(store)
    return store


def n_tasks(*variables: Any) -> int:
    (optimised,) = dask.optimize(*variables)
    return len(dict(optimised.__dask_graph__()))


def test_datasets_are_those_of_the_engine(store: cs.MemoryStore) -> None:
    """Values, coordinates, attributes and indexes are those of the engine without dask."""
    expected = xr.open_dataset(store, engine="chunkstore")
    found = open_dataset(store)
    assert_identical(found.load(), expected.load())
    assert isinstance(found.indexes["time"], type(expected.indexes["time"]))
    raw = open_dataset(store, decode_cf=False, create_default_indexes=False)
    assert raw["temp"].dtype == np.dtype("i2")
    assert not raw.xindexes
    assert_identical(
        raw.load(),
        xr.open_dataset(
            store, engine="chunkstore", decode_cf=False, create_default_indexes=False
        ).load(),
    )


def test_reading_and_decoding_is_one_task_a_block(store: cs.MemoryStore) -> None:
    """Masking, scaling and what is computed from it run in the task that reads the block."""
    temp = open_dataset(store, chunks="storage")["temp"]
    assert temp.chunks == ((3, 3, 3, 3), (8,))
    assert n_tasks((temp * 2 + 1).data) == 4


@pytest.mark.parametrize(
    ("chunks", "blocks"),
    [
        ("auto", ((12,), (8,))),
        ("storage", ((3, 3, 3, 3), (8,))),
        ("384 B", ((6, 6), (8,))),
        ({"time": 6}, ((6, 6), (8,))),
        ({"time": -1}, ((12,), (8,))),
        ({"x": None}, ((3, 3, 3, 3), (8,))),
        ({}, ((3, 3, 3, 3), (8,))),
    ],
)
def test_blocks_follow_the_argument(store: cs.MemoryStore, chunks: Any, blocks: Any) -> None:
    """Blocks are whole units, merged up to a size or to the extents that are given."""
    assert open_dataset(store, chunks=chunks)["temp"].chunks == blocks


def test_blocks_agree_along_dimensions(store: cs.MemoryStore) -> None:
    """Variables of different types and units get the same blocks where their units allow."""
    ds = open_dataset(store, chunks="384 B")
    assert ds["rain"].chunks == ds["temp"].chunks == ((6, 6), (8,))
    assert ds.chunks == {"time": (6, 6), "x": (8,)}


def test_every_opening_has_its_own_keys(store: cs.MemoryStore) -> None:
    """Two openings of one store never share graph keys: its content may have changed between."""
    assert open_dataset(store)["temp"].data.name != open_dataset(store)["temp"].data.name


def test_trees_open_at_any_depth(store: cs.MemoryStore) -> None:
    """Every group below the root is a dataset of dask arrays."""
    tree = open_datatree(store)
    assert_identical(tree.load(), xr.open_datatree(store, engine="chunkstore").load())
    assert open_datatree(store)["below/area"].chunks == ((8,),)
    assert open_dataset(store, group="below")["area"].chunks == ((8,),)


def test_blocks_that_split_units_are_refused(store: cs.MemoryStore) -> None:
    """Blocks that would read a shard more than once are an error that names the multiples."""
    with pytest.raises(AlignmentError, match="3 or 6"):
        open_dataset(store, chunks={"time": 4})


@pytest.mark.parametrize("chunks", [None, "much", 0, [1, 2]])
def test_unknown_blocks_are_refused(store: cs.MemoryStore, chunks: Any) -> None:
    """What is no way to say blocks is an error that lists the ways."""
    with pytest.raises(InvalidArgumentError, match='expected "auto"'):
        open_dataset(store, chunks=chunks)


def test_unknown_arguments_are_refused(store: cs.MemoryStore) -> None:
    """A misspelt decoder is an error, not silence."""
    with pytest.raises(TypeError, match="decode_time'"):
        open_dataset(store, decode_time=False)


def test_rectilinear_arrays_are_read_lazily(store: cs.MemoryStore) -> None:
    """A variable whose units have no common shape is left to xarray's lazy reading."""
    cs.create_array(store, name="uneven", data=np.arange(8), chunks=[[1, 7]], dimension_names=["x"])
    ds = open_dataset(store, consolidated=False)
    assert ds["uneven"].chunks is None
    assert np.array_equal(ds["uneven"], np.arange(8))

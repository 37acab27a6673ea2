"""Datasets read with `engine="chunkstore"`: what xarray's own backend gives, and what differs."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from packaging.version import Version
from xarray.testing import assert_identical

import chunkstore as cs
from dask_integration.xarray_engine import ChunkstoreBackendEntrypoint

ROOT = Path(__file__).resolve().parents[2]


def sample() -> xr.Dataset:
    """Make a dataset of numbers, text and flags, with coordinates of all kinds."""
    time = np.datetime64("2001-01-01T00", "ns") + np.arange(6) * np.timedelta64(6, "h")
    values = np.random.default_rng(0).normal(280, 5, (6, 4, 5))
    values[0, 0, 0] = np.nan
    return xr.Dataset(
        {
            "temp": (("time", "y", "x"), values, {"units": "K"}),
            "count": (("y", "x"), np.arange(20, dtype="i2").reshape(4, 5)),
            "name": ("y", np.array(["a", "bc", "déf", ""], dtype=object)),
            "seen": ("x", np.array([True, False, True, True, False])),
            "wave": ("x", np.arange(5) * (1 + 2j)),
            "scalar": ((), 3.5),
        },
        coords={
            "time": time,
            "y": np.linspace(-1, 1, 4),
            "lat": (("y", "x"), np.arange(20.0).reshape(4, 5)),
            "label": ("x", np.array(list("abcde"))),
        },
        attrs={"title": "a sample", "levels": [1, 2]},
    )


@pytest.fixture(scope="module", params=[2, 3], ids=["v2", "v3"])
def zarr_format(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, zarr_format: int) -> str:
    """A store that xarray and zarr-python wrote; tests only read it."""
    place = str(tmp_path_factory.mktemp("sample") / "sample.zarr")
    packed = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample().to_zarr(
            place, zarr_format=zarr_format, encoding={"temp": {**packed, "chunks": (2, 2, 5)}}
        )
    return place


def opened(store: Any, **how: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="chunkstore", **{"consolidated": False, **how})


def dtypes_of(ds: xr.Dataset) -> dict[Any, Any]:
    """Give the dtype of each variable; text is numpy's strings or objects, as xarray likes."""
    return {n: "text" if v.dtype.kind in "OT" else v.dtype for n, v in ds.variables.items()}


# --- the same as xarray's own backend ------------------------------------------------------------


@pytest.mark.parametrize("consolidated", [None, True, False])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"decode_cf": False},
        {"mask_and_scale": False},
        {"decode_times": False, "decode_coords": False},
        {"drop_variables": ["temp", "lat"]},
        {"drop_variables": "name"},
        {"create_default_indexes": False},
        {"chunks": {}},
        {"chunks": {"time": 2}},
    ],
    ids=str,
)
def test_datasets_are_those_of_xarray(
    path: str, how: dict[str, Any], consolidated: bool | None
) -> None:
    """A store that xarray wrote reads the same through both engines, however it is decoded."""
    expected = xr.open_dataset(path, engine="zarr", **how)
    found = opened(path, consolidated=consolidated, **how)
    assert_identical(found, expected)
    assert dtypes_of(found) == dtypes_of(expected)
    assert {n: v.chunks for n, v in found.variables.items()} == {
        n: v.chunks for n, v in expected.variables.items()
    }
    assert found.encoding["source"] == expected.encoding["source"]


def test_encoding_writes_the_same_again(path: str, zarr_format: int, tmp_path: Path) -> None:
    """The encoding that is read makes xarray write packed, chunked and compressed as before."""
    again = str(tmp_path / "again.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened(path)[["temp", "count"]].to_zarr(again, zarr_format=zarr_format)
    old, new = (cs.open_array(place, path="temp", mode="r") for place in (path, again))
    assert (new.dtype, new.chunks) == (old.dtype, old.chunks)
    assert new.compressors == old.compressors
    assert new.attrs.asdict() == old.attrs.asdict()
    assert np.array_equal(new[:], old[:])


@pytest.mark.parametrize("consolidated", [None, False])
def test_trees_are_those_of_xarray(
    tmp_path: Path, zarr_format: int, consolidated: bool | None
) -> None:
    """Groups, a tree and a tree below a group read as through xarray's own backend."""
    place = str(tmp_path / "tree.zarr")
    ds = sample()
    tree = xr.DataTree.from_dict({"/": ds[["scalar"]], "/a/b": ds[["temp"]], "/c": ds[["count"]]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree.to_zarr(place, zarr_format=zarr_format)
    how: Any = {"engine": "chunkstore", "consolidated": consolidated}
    assert_identical(xr.open_datatree(place, **how), tree)
    assert_identical(
        xr.open_datatree(place, group="a", **how),
        xr.open_datatree(place, group="a", engine="zarr"),
    )
    assert list(xr.open_groups(place, **how)) == ["/", "/a", "/a/b", "/c"]
    assert list(xr.open_groups(place, group="a", **how)) == [".", "b"]
    assert_identical(xr.open_dataset(place, group="/a/b/", **how), ds[["temp"]])


def test_several_stores_make_one_dataset(tmp_path: Path) -> None:
    """`open_mfdataset` joins stores along their coordinates."""
    ds = sample()[["temp"]]
    places = [str(tmp_path / f"{number}.zarr") for number in range(3)]
    for number, place in enumerate(places):
        ds.isel(time=slice(2 * number, 2 * number + 2)).to_zarr(
            place, zarr_format=2, consolidated=False
        )
    found = xr.open_mfdataset(places, engine="chunkstore", consolidated=False)
    assert_identical(found.load(), ds)


# --- fill values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, True, False])
def test_fill_values_mask_where_it_is_said(zarr_format: int, mask: bool | None) -> None:
    """`use_zarr_fill_value_as_mask` decides; by default they mask in version 2 and not in 3."""
    store = cs.MemoryStore()
    dims: Any = (
        {"attributes": {"_ARRAY_DIMENSIONS": ["x"]}}
        if zarr_format == 2
        else {"dimension_names": ["x"]}
    )
    data = np.array([1, 7, 3], "i4")
    cs.create_array(store, name="v", data=data, fill_value=7, zarr_format=zarr_format, **dims)
    found = opened(store, use_zarr_fill_value_as_mask=mask)["v"]
    if mask or (mask is None and zarr_format == 2):
        assert np.array_equal(found, [1, np.nan, 3], equal_nan=True)
        assert found.encoding["_FillValue"] == 7
    else:
        assert np.array_equal(found, data)
        assert found.encoding.get("fill_value") == (7 if zarr_format == 3 else None)
    tree = xr.open_datatree(
        store, engine="chunkstore", consolidated=False, use_zarr_fill_value_as_mask=mask
    )
    assert_identical(tree["v"], found)


def test_plain_fill_value_attribute_is_taken() -> None:
    """A `_FillValue` that another writer left as a plain number masks like xarray's base64."""
    store = cs.MemoryStore()
    cs.create_array(
        store, name="v", data=np.array([1.0, -9.0]), dimension_names=["x"],
        attributes={"_FillValue": -9.0},
    )  # fmt: skip
    assert np.array_equal(opened(store)["v"], [1.0, np.nan], equal_nan=True)


def test_fill_value_of_another_type_is_refused() -> None:
    """A `_FillValue` that no element can equal is an error that names the array."""
    store = cs.MemoryStore()
    cs.create_array(
        store, name="v", data=np.array([1, 2]), dimension_names=["x"],
        attributes={"_FillValue": "none"},
    )  # fmt: skip
    with pytest.raises(ValueError, match="_FillValue of <Array /v"):
        opened(store)


# --- what is asked of the store ------------------------------------------------------------------


class Counting(cs.MemoryStore):
    """A store that notes what is asked of it."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str) -> Any:
        self.asked.append(key)
        return super().get(key)

    def list_dir(self, prefix: str) -> Any:
        self.asked.append(f"list {prefix}")
        return super().list_dir(prefix)

    def list_prefix(self, prefix: str) -> Iterator[str]:
        self.asked.append(f"list all {prefix}")
        return super().list_prefix(prefix)


def _counting(*, shards: bool = False) -> Counting:
    store = Counting()
    for number in range(5):
        cs.create_array(
            store, name=f"v{number}", data=np.arange(24.0).reshape(6, 4), chunks=(1, 4),
            shards=(2, 4) if shards else None, dimension_names=["time", "x"],
        )  # fmt: skip
    cs.consolidate_metadata(store)
    store.asked.clear()
    return store


def test_consolidated_metadata_is_one_request() -> None:
    """Opening a dataset without dimension coordinates asks for one document, and nothing else."""
    store = _counting()
    opened(store, consolidated=None)
    assert store.asked == ["zarr.json"]


def test_only_selected_chunks_are_read() -> None:
    """A selection of any kind asks for the chunks that it touches, when it is loaded."""
    store = _counting()
    ds = opened(store, consolidated=True)
    store.asked.clear()
    part = ds["v1"].isel(time=[1, 4], x=slice(None, None, -1))
    points = ds["v2"].isel(time=xr.DataArray([0, 5], dims="p"), x=xr.DataArray([1, 2], dims="p"))
    assert store.asked == []
    values = np.arange(24.0).reshape(6, 4)
    assert np.array_equal(part, values[[1, 4], ::-1])
    assert np.array_equal(points, values[[0, 5], [1, 2]])
    assert sorted(set(store.asked)) == ["v1/c/1/0", "v1/c/4/0", "v2/c/0/0", "v2/c/5/0"]


def test_blocks_are_whole_shards() -> None:
    """The preferred chunks are units of writing, so that what is read can be written back."""
    ds = opened(_counting(shards=True), chunks={})
    assert ds["v0"].encoding["chunks"] == (1, 4)
    assert ds["v0"].encoding["shards"] == (2, 4)
    assert ds.chunks == {"time": (2, 2, 2), "x": (4,)}


def test_rectilinear_chunks_are_preferred_as_they_are() -> None:
    """Chunks that differ in size along an axis become blocks of these sizes."""
    store = cs.MemoryStore()
    cs.create_array(
        store, name="v", data=np.arange(12).reshape(6, 2), chunks=[[1, 2, 3], 2],
        dimension_names=["x", "y"],
    )  # fmt: skip
    ds = opened(store, chunks={})
    assert ds["v"].encoding["chunks"] == ((1, 2, 3), 2)
    assert ds.chunks == {"x": (1, 2, 3), "y": (2,)}
    assert np.array_equal(ds["v"], np.arange(12).reshape(6, 2))


def test_lazy_variables_pickle(path: str) -> None:
    """A dataset that was opened and not read pickles small, and reads the same in the copy."""
    found = opened(path, cache=False)
    pickled = pickle.dumps(found["temp"].variable)
    assert len(pickled) < 5000
    copy = pickle.loads(pickled)
    assert not copy._in_memory
    assert np.array_equal(copy, found["temp"], equal_nan=True)


@pytest.mark.skipif(
    Version(xr.__version__) < Version("2026.9"),
    reason="older versions of xarray load no decoded variables asynchronously",
)
def test_datasets_load_asynchronously(path: str) -> None:
    """`load_async` reads every kind of selection as `load` does."""
    ds = opened(path)
    points = xr.DataArray([0, 2], dims="p")
    parts = [ds, ds.isel(x=[0, 3]), ds.isel(x=points, y=points), ds.isel(time=0)]
    for part in parts:
        expected = part.copy(deep=True).load()
        assert_identical(asyncio.run(part.load_async()), expected)


def test_text_of_any_length_keeps_its_type(zarr_format: int) -> None:
    """Text is numpy's variable-width strings, a single element too."""
    store = cs.MemoryStore()
    dims: Any = (
        {"attributes": {"_ARRAY_DIMENSIONS": ["x"]}}
        if zarr_format == 2
        else {"dimension_names": ["x"]}
    )
    cs.create_array(store, name="v", shape=2, dtype=str, zarr_format=zarr_format, **dims)
    cs.open_array(store, path="v", mode="r+")[:] = np.array(["a", "bcd"], dtype=object)
    found = opened(store)["v"]
    kind = found.dtype.kind
    assert kind in "OT"
    assert found.isel(x=1).item() == "bcd"
    assert found.isel(x=1).load().dtype.kind == found.load().dtype.kind == kind


# --- dimensions ----------------------------------------------------------------------------------


def test_dimensions_of_nczarr_are_read() -> None:
    """Arrays of netCDF's C library name their dimensions in a field of their own, with groups."""
    store = cs.MemoryStore()
    group = cs.create_group(store, zarr_format=2, attributes={"_NCProperties": "version=2"})
    x = group.create_array("x", data=np.arange(3), attributes={"_nczarr_attr": {"a": 1}})
    document = json.loads(store.get("x/.zarray") or b"")
    document["_NCZARR_ARRAY"] = {"dimrefs": ["/group/x"], "storage": "chunked"}
    store.set("x/.zarray", json.dumps(document).encode())
    found = opened(store)
    assert found["x"].dims == ("x",)
    assert found.attrs == {}
    assert found["x"].attrs == {}
    assert x.shape == (3,)


def test_arrays_without_dimensions_can_be_left_out(zarr_format: int) -> None:
    """An array that names no dimensions is an error with the way around it, which works."""
    store = cs.MemoryStore()
    group = cs.create_group(store, zarr_format=zarr_format)
    group.create_array("plain", data=np.arange(3))
    group.create_array("point", data=np.array(1.0))
    with pytest.raises(KeyError, match=r"determine variable dimensions.*drop_variables"):
        opened(store)
    assert opened(store, drop_variables=["plain"])["point"] == 1.0


def test_conflicting_sizes_name_the_dimension() -> None:
    """Two arrays that disagree on a dimension are found out when the sizes are asked for."""
    store = cs.MemoryStore()
    for name, n in (("a", 3), ("b", 4)):
        cs.create_array(store, name=name, data=np.arange(n), dimension_names=["x"])
    with pytest.raises(ValueError, match="conflicting"):
        opened(store)


# --- where it is used, and how it fails -----------------------------------------------------------


def test_engine_is_used_by_name_alone(path: str) -> None:
    """A store named .zarr stays with xarray's own backend where no engine is named."""
    assert "chunkstore" in xr.backends.list_engines()
    assert not ChunkstoreBackendEntrypoint().guess_can_open(path)
    assert xr.backends.plugins.guess_engine(path) == "zarr"


def test_class_can_be_passed(path: str) -> None:
    """The engine's class works where its name does, with xarray's decoding arguments."""
    found = xr.open_dataset(path, engine=ChunkstoreBackendEntrypoint, decode_cf=False)
    assert "scale_factor" in found["temp"].attrs


def test_missing_consolidated_metadata_is_said() -> None:
    """Without consolidated metadata the default warns, True refuses, and False is silent."""
    store = cs.MemoryStore()
    cs.create_array(store, name="v", data=np.arange(3), dimension_names=["x"])
    with pytest.warns(RuntimeWarning, match="Failed to open Zarr store with consolidated"):
        opened(store, consolidated=None)
    with pytest.raises(ValueError, match="no consolidated metadata"):
        opened(store, consolidated=True)
    opened(store, consolidated=False)


@pytest.mark.parametrize("consolidated", [None, True, False])
def test_missing_groups_are_not_found(path: str, consolidated: bool | None) -> None:
    """A store or group that is not there is a FileNotFoundError that says where."""
    with pytest.raises(FileNotFoundError, match="no-such"):
        opened("no-such.zarr", consolidated=consolidated)
    with pytest.raises(FileNotFoundError, match="'no/such'"):
        opened(path, group="no/such", consolidated=consolidated)
    with pytest.raises(TypeError, match="is an array"):
        opened(path, group="temp", consolidated=consolidated)


def test_reading_makes_and_deletes_nothing(path: str) -> None:
    """A mode that would replace the store is refused."""
    with pytest.raises(ValueError, match="mode must be"):
        opened(path, mode="w")
    assert "temp" in opened(path)


def test_zip_file_is_closed_with_the_dataset(path: str, tmp_path: Path) -> None:
    """A zip file that was opened by its name is closed with the dataset."""
    file = tmp_path / "sample.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for folder, _, names in os.walk(path):
            for name in names:
                whole = os.path.join(folder, name)
                archive.write(whole, os.path.relpath(whole, path))
    with opened(str(file)) as found:
        assert_identical(found.load(), opened(path).load())


def test_reader_needs_no_dask(path: str) -> None:
    """Without dask installed a dataset opens and reads."""
    program = f"""
import sys
sys.modules["dask"] = None
import xarray
ds = xarray.open_dataset({path!r}, engine="chunkstore", consolidated=False)
print(float(ds["count"].sum()))
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "190.0\n"

"""Datasets written with `to_store`: read the same by everybody, refused before they do damage."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from xarray.testing import assert_identical

import chunkstore as cs
from chunkstore.errors import AlignmentError, InvalidArgumentError, NodeExistsError
from dask_integration.xarray import open_dataset, to_store, write_region


def sample(*, blocks: bool = False) -> xr.Dataset:
    """Make a dataset of numbers, packed numbers, text, flags and times."""
    rng = np.random.default_rng(0)
    temp = rng.normal(280, 5, (6, 4))
    temp[0, 0] = np.nan
    ds = xr.Dataset(
        {
            "temp": (("time", "x"), temp, {"units": "K", "levels": np.arange(2)}),
            "packed": (("time", "x"), np.round(temp, 2)),
            "count": ("x", np.arange(4, dtype="u2")),
            "name": ("x", np.array(["a", "bc", "déf", ""], dtype=object)),
            "seen": ("x", np.array([True, False, True, True])),
            "scalar": ((), np.float32(3.5)),
        },
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(6) * np.timedelta64(6, "h"),
            "x": np.linspace(0, 1, 4),
            "lat": ("x", np.arange(4.0)),
        },
        attrs={"title": "a sample", "version": np.int64(3)},
    )
    ds["packed"].encoding = {
        "dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768
    }  # fmt: skip
    if blocks:
        for name in ("temp", "packed", "count"):
            ds[name] = ds[name].chunk(2)
    return ds


def quiet_zarr(function: Callable[..., Any], *args: Any, **how: Any) -> Any:
    """Call zarr-python without its warnings about what the format does not have yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **how)


def values_of(store: cs.MemoryStore) -> dict[str, bytes]:
    return {key: bytes(store.get(key) or b"") for key in store.list_prefix("")}


# --- the same dataset for every reader -----------------------------------------------------------


@pytest.mark.parametrize("blocks", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_reader_reads_what_was_written(
    tmp_path: Path, zarr_format: Any, blocks: bool
) -> None:
    """xarray's backend and ours read what `to_store` writes, and it is what xarray writes."""
    ds = sample(blocks=blocks)
    ours, theirs = str(tmp_path / "ours.zarr"), str(tmp_path / "theirs.zarr")
    to_store(ds, ours, zarr_format=zarr_format)
    quiet_zarr(ds.to_zarr, theirs, zarr_format=zarr_format)
    for engine in ("zarr", "chunkstore"):
        assert_identical(quiet_zarr(xr.open_dataset, ours, engine=engine).load(), ds.compute())
    raw: Any = {"engine": "zarr", "decode_cf": False}
    assert_identical(
        quiet_zarr(xr.open_dataset, ours, **raw).load(),
        quiet_zarr(xr.open_dataset, theirs, **raw).load(),
    )
    for name in ds.variables:
        mine, other = (cs.open_array(p, path=str(name), mode="r") for p in (ours, theirs))
        assert (mine.dtype, repr(mine.fill_value)) == (other.dtype, repr(other.fill_value))
    assert cs.open_array(ours, path="packed", mode="r").dtype == np.dtype("i2")


def test_accessors_write(tmp_path: Path) -> None:
    """Datasets, arrays and trees have the accessor, and arrays come back with their names."""
    ds = sample()
    ds.chunkstore.to_store(str(tmp_path / "ds.zarr"))
    assert_identical(xr.load_dataset(str(tmp_path / "ds.zarr"), engine="chunkstore"), ds)
    unnamed = xr.DataArray(np.arange(3), dims="x")
    clashing = xr.DataArray(np.arange(3), dims="x", coords={"x": [1, 2, 3]}, name="x")
    for number, array in enumerate((ds["temp"], unnamed, clashing)):
        place = str(tmp_path / f"{number}.zarr")
        array.chunkstore.to_store(place)
        for how in ({}, {"consolidated": False}):
            assert_identical(xr.load_dataarray(place, engine="chunkstore", **how), array)
    with pytest.raises(TypeError, match="got <class 'numpy"):
        to_store(np.arange(3), cs.MemoryStore())  # type: ignore[arg-type]


@pytest.mark.parametrize("group", [None, "below/it"])
def test_trees_are_written_by_one_call(group: str | None) -> None:
    """All groups of a tree are written, at the root or below a group, with encoding by path."""
    ds = sample(blocks=True)
    tree = xr.DataTree.from_dict(
        {"/": ds[["scalar"]], "/a/b": ds[["temp"]], "/c": ds[["count"]], "/empty": xr.Dataset()}
    )
    store = cs.MemoryStore()
    reports = to_store(tree, store, group=group, encoding={"/a/b": {"temp": {"dtype": "f4"}}})
    at = f"{group}/" if group else ""
    assert {f"{at}scalar", f"{at}a/b/temp", f"{at}c/count"} <= set(reports)
    assert cs.open_array(store, path=f"{at}a/b/temp", mode="r").dtype == np.dtype("f4")
    found = xr.open_datatree(store, engine="chunkstore", group=group)
    xr.testing.assert_allclose(found.load(), tree.load())
    with pytest.raises(ValueError, match="encoding group name"):
        to_store(tree, store, "w", encoding={"/no": {}})


def test_consolidated_metadata_is_complete() -> None:
    """After a write the copy of the metadata names every variable; without it, none is there."""
    store = cs.MemoryStore()
    to_store(sample(), store)
    root = cs.open_group(store, mode="r", use_consolidated=True)
    assert sorted(name for name, _ in root.consolidated_members()) == sorted(sample().variables)
    to_store(sample(), store, "w", consolidated=False)
    with pytest.raises(InvalidArgumentError, match="no consolidated metadata"):
        cs.open_group(store, mode="r", use_consolidated=True)


# --- one job -------------------------------------------------------------------------------------


def test_all_variables_are_one_job() -> None:
    """Every block of every variable is one task that computes and writes it, in one graph."""
    x, y = da.ones((8, 6), chunks=(2, 6)), da.zeros((8, 6), chunks=(2, 6))
    ds = xr.Dataset({"a": (("t", "x"), x), "b": (("t", "x"), y * 2 + 1), "c": ("x", np.arange(6))})
    store = cs.MemoryStore()
    job = to_store(ds, store, compute=False)
    (optimised,) = dask.optimize(job)
    writing = [key for key in optimised.__dask_graph__() if isinstance(key, tuple)]
    # And one to add up the receipts of each variable.
    assert len(writing) == 2 * (4 + 1)
    reports = job.compute()
    assert {name: report.n_blocks for name, report in reports.items()} == {"a": 4, "b": 4, "c": 1}
    assert reports["b"].value_bytes == 8 * 6 * 8
    assert_identical(xr.load_dataset(store, engine="chunkstore"), ds.compute())


def test_writes_run_on_a_cluster(cluster: LocalCluster, tmp_path: Path) -> None:
    """A distributed client runs the job, and the values are what was to be written."""
    ds = sample(blocks=True)
    with Client(cluster):
        to_store(ds, tmp_path / "a.zarr")
    assert_identical(xr.load_dataset(tmp_path / "a.zarr", engine="chunkstore"), ds.compute())


def test_reports_tell_the_values() -> None:
    """Two writes of the same values in the same blocks have the same checksums."""
    first, second = (to_store(sample(blocks=True), cs.MemoryStore()) for _ in range(2))
    assert {n: r.checksum for n, r in first.items()} == {n: r.checksum for n, r in second.items()}


def test_template_and_regions_need_no_client(tmp_path: Path) -> None:
    """Many writers fill a template region by region, also where regions share chunks."""
    values = np.arange(40.0).reshape(20, 2)
    coords = {"time": np.arange(20)}
    template = xr.Dataset({"a": (("time", "x"), da.zeros((20, 2), chunks=(8, 2)))}, coords)
    place = str(tmp_path / "a.zarr")
    to_store(template, place, compute=False)
    before = xr.load_dataset(place, engine="chunkstore")
    assert np.isnan(before["a"]).all()

    def write(start: int) -> None:
        part = slice(start, start + 5)
        ds = xr.Dataset({"a": (("time", "x"), values[part])}, {"time": coords["time"][part]})
        write_region(ds, place, "auto" if start % 2 else {"time": part})

    threads = [threading.Thread(target=write, args=(start,)) for start in range(0, 20, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = xr.load_dataset(place, engine="chunkstore")
    assert np.array_equal(found["a"], values)


def test_regions_and_appends_of_blocks_share_chunks_safely() -> None:
    """A region, or an append, that begins within a chunk keeps what the rest of the chunk holds."""
    store = cs.MemoryStore()
    to_store(xr.Dataset({"a": ("t", np.arange(7))}), store, encoding={"a": {"chunks": 5}})
    more = xr.Dataset({"a": ("t", da.arange(7, 20, chunks=(3, 5, 5)))})
    to_store(more, store, append_dim="t")
    part = xr.Dataset({"a": ("t", da.full(5, -1, chunks=(2, 3)))})
    to_store(part, store, region={"t": slice(3, 8)})
    expected = np.concatenate([np.arange(3), [-1] * 5, np.arange(8, 20)])
    assert np.array_equal(xr.load_dataset(store, engine="chunkstore")["a"], expected)


class Unguarded(cs.MemoryStore):
    """A store that does not keep apart two processes that change a value."""

    __slots__ = ()
    guards_updates = False


@pytest.mark.parametrize("blocks", [False, True])
def test_parts_of_units_need_a_store_that_guards_them(blocks: bool) -> None:
    """Where updates are not kept apart, a region must be of whole write units."""
    store = Unguarded()
    to_store(xr.Dataset({"a": ("t", np.zeros(7))}), store, encoding={"a": {"chunks": 3}})
    part = xr.Dataset({"a": ("t", np.ones(4))})
    part = part.chunk() if blocks else part
    with pytest.raises(AlignmentError, match=r"from 2 to 6.*single_writer"):
        to_store(part, store, region={"t": slice(2, 6)})
    to_store(part, store, region={"t": slice(3, 7)})
    assert xr.load_dataset(store, engine="chunkstore")["a"].values.tolist() == [0] * 3 + [1] * 4


@pytest.mark.parametrize("sizes", [(2, 2, 9), (13,), (1,) * 13])
def test_alignment_is_mended_on_demand(sizes: tuple[int, ...]) -> None:
    """`align="auto"` merges blocks that share chunks, of new variables and of appended ones."""
    ds = xr.Dataset({"a": ("t", da.arange(13, chunks=(sizes,)))})
    store = cs.MemoryStore()
    to_store(ds, store, align="auto", encoding={"a": {"chunks": 5}})
    to_store(ds, store, append_dim="t", align="auto")
    assert np.array_equal(
        xr.load_dataset(store, engine="chunkstore")["a"], [*range(13), *range(13)]
    )


def test_empty_chunks_are_stored_on_demand() -> None:
    """`write_empty_chunks` is heeded as a parameter and in the encoding, with dask and without."""
    for data in (np.full(4, np.nan), da.full(4, np.nan, chunks=2)):
        ds = xr.Dataset({"a": ("x", data)})
        for wanted, how in (
            (0, {}),
            (2, {"write_empty_chunks": True}),
            (2, {"encoding": {"a": {"write_empty_chunks": True, "chunks": 2}}}),
        ):
            store = cs.MemoryStore()
            how = {"encoding": {"a": {"chunks": 2}}, **how}
            to_store(ds, store, **how)
            assert cs.open_array(store, path="a", mode="r").nchunks_initialized == wanted
    with pytest.raises(ValueError, match="Differing write_empty_chunks"):
        to_store(
            ds, cs.MemoryStore(), write_empty_chunks=False,
            encoding={"a": {"write_empty_chunks": True}},
        )  # fmt: skip


# --- encoding that was left from a source --------------------------------------------------------


@pytest.fixture
def source() -> cs.MemoryStore:
    """A store with shards and codecs of its own, and a fill value."""
    store = cs.MemoryStore()
    ds = xr.Dataset({"a": (("t", "x"), np.arange(96, dtype="i4").reshape(12, 8))})
    layout = {
        "chunks": (2, 4),
        "shards": (6, 8),
        "compressors": [{"name": "gzip", "configuration": {"level": 1}}],
    }
    to_store(ds, store, encoding={"a": {**layout, "fill_value": 9}})
    return store


@pytest.mark.parametrize("how", [{"chunks": None}, {"chunks": {}}])
def test_fitting_encoding_is_kept(source: cs.MemoryStore, how: dict[str, Any]) -> None:
    """A dataset that was read and not changed is stored as it was: shards, codecs, fill value."""
    target = cs.MemoryStore()
    to_store(xr.open_dataset(source, engine="chunkstore", **how), target)
    old, new = (cs.open_array(store, path="a", mode="r") for store in (source, target))
    assert (new.chunks, new.shards, new.fill_value) == (old.chunks, old.shards, old.fill_value)
    assert new.compressors == old.compressors
    assert np.array_equal(new[:], old[:])


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.isel(t=0),
        lambda ds: ds.isel(t=slice(3, 8)),
        lambda ds: ds.chunk(t=4, x=3),
        lambda ds: ds.chunk(t=5),
        lambda ds: ds.astype("f4") / 3,
        lambda ds: ds.astype("u1"),
        lambda ds: ds.transpose("x", "t"),
        lambda ds: ds.isel(x=[0, 3]).chunk(t=1),
        lambda ds: ds.expand_dims(z=2).chunk(z=1),
        lambda ds: ds.astype(str),
        lambda ds: ds > 5,
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_stale_encoding_breaks_nothing(
    source: cs.MemoryStore, change: Callable[[xr.Dataset], xr.Dataset], zarr_format: Any
) -> None:
    """Whatever was done to a dataset since it was read, in either format, it can be written."""
    ds = change(xr.open_dataset(source, engine="chunkstore"))
    # xarray drops the encoding in some computations and keeps it in others.
    ds["a"].encoding = xr.open_dataset(source, engine="chunkstore")["a"].encoding
    target = cs.MemoryStore()
    to_store(ds, target, zarr_format=zarr_format)
    assert_identical(xr.load_dataset(target, engine="chunkstore"), ds.compute())


def test_encoding_that_is_asked_for_is_followed_or_refused() -> None:
    """Chunks set by hand, or given with the write, clash with blocks loudly."""
    ds = xr.Dataset({"a": ("x", da.arange(12, chunks=4))})
    by_hand = ds.copy()
    by_hand["a"].encoding["chunks"] = (3,)
    for data, how in ((by_hand, {}), (ds, {"encoding": {"a": {"chunks": 3}}})):
        with pytest.raises(AlignmentError, match=r"'a' would overlap.*\.chunk\(\{'x': ") as caught:
            to_store(data, cs.MemoryStore(), **how)
        assert vars(caught.value)["unit"] == 3
        to_store(data, cs.MemoryStore(), align="auto", **how)


def test_nan_as_missing_value_goes_without_saying() -> None:
    """The attribute missing_value may be NaN, which JSON cannot hold and values say anyway."""
    ds = xr.Dataset({"a": ("x", np.array([1.0, np.nan]), {"missing_value": np.nan})})
    store = cs.MemoryStore()
    to_store(ds, store)
    assert np.array_equal(xr.load_dataset(store, engine="chunkstore")["a"], [1, np.nan], True)


# --- refused before anything is touched ----------------------------------------------------------

SMALL = xr.Dataset({"a": ("x", np.arange(6)), "b": ("x", np.arange(6.0))}, {"x": np.arange(6)})


def blocks_of(sizes: Any) -> xr.Dataset:
    return SMALL.drop_vars("x").chunk(x=sizes)


@pytest.mark.parametrize(
    ("data", "how", "error", "words"),
    [
        (SMALL, {"mode": "w-"}, NodeExistsError, "already"),
        (SMALL, {}, NodeExistsError, "already"),
        (SMALL, {"mode": "x"}, ValueError, "'a-'"),
        (SMALL, {"mode": "w", "append_dim": "x"}, ValueError, "append_dim"),
        (SMALL, {"mode": "w", "region": "auto"}, ValueError, "cannot set region"),
        (SMALL, {"mode": "w", "encoding": {"a": {"chunks": "many"}}}, TypeError, "'a'"),
        (SMALL, {"mode": "w", "encoding": {"a": {"chunk": 3}}}, ValueError, r"\['chunk'\]"),
        (SMALL, {"mode": "w", "encoding": {"c": {}}}, KeyError, "'c'.*'a', 'b'"),
        (SMALL, {"mode": "w", "encoding": {"a": {"compressors": {"name": "no"}}}}, ValueError, "a"),
        (SMALL, {"mode": "w", "encoding": {"a": {"shards": 4, "chunks": 3}}}, ValueError, "of ch"),
        (SMALL * 100, {"mode": "w", "encoding": {"a": {"dtype": "i1"}}}, ValueError, "-128.* 500"),
        (SMALL.assign_attrs(bad=object()), {"mode": "w"}, TypeError, "Dataset.attrs.*'bad'"),
        (SMALL.assign(a=SMALL.a.assign_attrs(bad={1, 2})), {"mode": "w"}, TypeError, "'bad'"),
        (blocks_of((1, 2, 3)), {"mode": "w"}, AlignmentError, "uniform"),
        (SMALL, {"mode": "a", "encoding": {"a": {"chunks": 3}}}, ValueError, "already exists"),
        (SMALL.rename(a="c"), {"mode": "r+"}, ValueError, r"\['c'\].*``mode='a'``"),
        (SMALL.isel(x=slice(3)), {"mode": "a"}, ValueError, "use `region`"),
        (SMALL.rename(x="y"), {"mode": "a"}, ValueError, "'a' already exists with different"),
        (
            xr.Dataset({"c": ("x", np.arange(3))}), {"mode": "a"}, ValueError,
            "'c' has size 3 along dimension 'x', but 'a'.*6",
        ),
        (SMALL, {"append_dim": "t"}, ValueError, "'t' does not match"),
        (SMALL[["a"]], {"append_dim": "x"}, ValueError, r"\['b'\].*Append them too"),
        (SMALL.assign_coords(x=SMALL.x + 3), {"region": "auto"}, KeyError, "append_dim='x'"),
        (SMALL.isel(x=[0, 2]), {"region": "auto"}, ValueError, "non-contiguous"),
        (SMALL, {"region": {"y": slice(3)}}, ValueError, "keys in ``region``"),
        (SMALL, {"region": {"x": 3}}, TypeError, "slice objects"),
        (SMALL, {"region": {"x": slice(0, 6, 2)}}, ValueError, "step"),
        (SMALL, {"region": {"x": slice(0, 3)}}, ValueError, "dimension sizes"),
        (SMALL.assign(s=1), {"region": {"x": slice(6)}}, ValueError, r"\.drop_vars\(\['s'\]\)"),
        (
            blocks_of((2, 4)), {"region": {"x": slice(6)}}, AlignmentError,
            r"\.chunk\(\{'x': \(?3.*align=\"auto\"",
        ),
        (blocks_of((2, 4)), {"append_dim": "x"}, ValueError, r"\['x'\].*Append them too"),
        (SMALL, {"region": "auto", "group": "no"}, FileNotFoundError, "'no'"),
    ],
)  # fmt: skip
def test_refused_writes_touch_nothing(
    data: xr.Dataset, how: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Each bad argument is an error that says what to change, and the store is as it was."""
    store = cs.MemoryStore()
    to_store(SMALL, store, encoding={"a": {"chunks": 3}, "b": {"chunks": 3}})
    before = values_of(store)
    with pytest.raises(error, match=words):
        to_store(data, store, **how)
    assert values_of(store) == before


def test_region_needs_a_stored_coordinate() -> None:
    """`region="auto"` along a dimension whose coordinate is not stored says how to go on."""
    store = cs.MemoryStore()
    to_store(SMALL.drop_vars("x"), store)
    with pytest.raises(KeyError, match=r"coordinate 'x'.*as a slice"):
        to_store(SMALL, store, region="auto")
    doubled = SMALL.assign_coords(x=[0, 0, 1, 1, 2, 2])
    to_store(doubled, store, "w")
    with pytest.raises(ValueError, match="more than once"):
        to_store(doubled, store, region="auto")


def failing(values: Any, block_id: Any = None) -> Any:
    if block_id == (1,):
        raise RuntimeError("the disk of the computer that computes this is on fire")
    return values


def test_failed_append_leaves_the_old_dataset() -> None:
    """A job that fails halfway leaves sizes and values as they were, and can be done again."""
    store = cs.MemoryStore()
    to_store(SMALL, store, encoding={"a": {"chunks": 4}, "b": {"chunks": 4}})
    more = SMALL.assign_coords(x=SMALL.x + 6)
    x = da.arange(6, 12, chunks=(2, 4))
    bad = more.assign(a=("x", x.map_blocks(failing, dtype=x.dtype)), b=("x", x * 1.0))
    with pytest.raises(RuntimeError, match="on fire"):
        to_store(bad, store, append_dim="x")
    for consolidated in (True, False):
        found = xr.load_dataset(store, engine="chunkstore", consolidated=consolidated)
        assert_identical(found, SMALL)
    to_store(more, store, append_dim="x")
    assert_identical(xr.load_dataset(store, engine="chunkstore"), xr.concat([SMALL, more], dim="x"))


def test_failed_write_shows_no_variable() -> None:
    """New variables of a job that failed do not open; the same write replaces what is left."""
    store = cs.MemoryStore()
    x = da.arange(6, chunks=3)
    bad = xr.Dataset({"a": ("x", x.map_blocks(failing, dtype=x.dtype)), "b": ("x", np.arange(6))})
    with pytest.raises(RuntimeError, match="on fire"):
        to_store(bad, store)
    assert len(xr.open_dataset(store, engine="chunkstore", consolidated=False)) == 0
    good = xr.Dataset({"a": ("x", x), "b": ("x", np.arange(6))})
    to_store(good, store, "w")
    assert_identical(xr.load_dataset(store, engine="chunkstore"), good.compute())


@pytest.mark.parametrize("group", [None, "below"])
def test_failed_replacement_leaves_the_old_dataset(tmp_path: Path, group: str | None) -> None:
    """In a folder the old dataset is there until the new one is whole, and nothing else goes."""
    place = tmp_path / "a.zarr"
    to_store(xr.Dataset({"beside": 1}), place)
    how: Any = {"group": group}
    to_store(SMALL, place, "w", **how)
    x = da.arange(6, chunks=3)
    bad = xr.Dataset({"c": ("x", x.map_blocks(failing, dtype=x.dtype)), "n": ("x", np.arange(6))})
    with pytest.raises(RuntimeError, match="on fire"):
        to_store(bad, place, "w", **how)
    for consolidated in (True, False):
        found = xr.load_dataset(place, engine="chunkstore", consolidated=consolidated, **how)
        assert_identical(found, SMALL)
    good = xr.Dataset({"c": ("x", x), "n": ("x", np.arange(6))})
    reports = to_store(good, place, "w", **how)
    for consolidated in (True, False):
        found = xr.load_dataset(place, engine="chunkstore", consolidated=consolidated, **how)
        assert_identical(found, good.compute())
    name = "below/c" if group else "c"
    assert reports[name].target == f"/{name} in {cs.LocalStore(str(place))!r}"
    assert ("beside" in cs.open_group(place, mode="r")) is (group is not None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_what_an_interrupted_write_left_is_replaced(tmp_path: Path) -> None:
    """In a folder, too, the arrays of a job that did not end go with the next write in mode w."""
    place = tmp_path / "a.zarr"
    x = da.arange(6, chunks=3)
    bad = xr.Dataset({"c": ("x", x.map_blocks(failing, dtype=x.dtype)), "n": ("x", np.arange(6))})
    with pytest.raises(RuntimeError, match="on fire"):
        to_store(bad, place)
    to_store(SMALL, place, "w")
    assert_identical(xr.load_dataset(place, engine="chunkstore"), SMALL)
    assert {e.name for e in place.iterdir()} == {"zarr.json", "a", "b", "x"}


def test_only_zarr_data_is_replaced(tmp_path: Path) -> None:
    """A file of another kind beside the arrays, at any depth, stops a replacement."""
    place = tmp_path / "a.zarr"
    below = xr.Dataset({"z": 1})
    to_store(xr.DataTree.from_dict({"/": SMALL, "/below": below}), place)
    (place / "below" / "notes.txt").write_text("mine")
    with pytest.raises(NodeExistsError, match="notes"):
        to_store(SMALL, place, "w")
    assert (place / "below" / "notes.txt").read_text() == "mine"
    assert_identical(xr.load_dataset(place, engine="chunkstore", group="below"), below)


COMPUTED: list[int] = []
"""The first value of each block that was computed."""

BROKEN: set[int] = set()
"""First values of blocks that cannot be computed now."""


def recorded(values: Any) -> Any:
    if values.size and values.dtype != bool:
        if int(values.flat[0]) in BROKEN:
            raise RuntimeError("this part is out of order for a while")
        COMPUTED.append(int(values.flat[0]))
    return values


@pytest.mark.parametrize("mode", ["w", "w-"])
def test_interrupted_writes_go_on(mode: Any) -> None:
    """A resumed write computes what is missing, and nothing again that the ledger has."""
    x = da.arange(24, chunks=4).map_blocks(recorded, meta=np.array((), dtype="i8"))
    ds = xr.Dataset({"a": ("x", x), "n": ("x", np.arange(24.0)), "s": 1}, {"x": np.arange(24)})
    store = cs.MemoryStore()
    if mode == "w":
        to_store(SMALL, store)
    BROKEN.add(16)
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(RuntimeError, match="out of order"):
            to_store(ds, store, mode, resume=True)
        first = set(COMPUTED)
        BROKEN.clear()
        COMPUTED.clear()
        reports = to_store(ds, store, mode, resume=True)
    assert first
    assert first | set(COMPUTED) == {0, 4, 8, 12, 16, 20}
    assert 16 in COMPUTED
    assert sorted(reports) == ["a", "n", "s", "x"]
    COMPUTED.clear()
    assert_identical(xr.load_dataset(store, engine="chunkstore"), ds.compute())
    COMPUTED.clear()


def test_only_what_was_begun_is_resumed() -> None:
    """Where nothing was begun a resumed write begins, and never on top of a whole dataset."""
    store = cs.MemoryStore()
    to_store(SMALL.chunk(x=3), store, resume=True)
    assert_identical(xr.load_dataset(store, engine="chunkstore"), SMALL)
    before = values_of(store)
    with pytest.raises(NodeExistsError):
        to_store(SMALL.chunk(x=3), store, resume=True)
    with pytest.raises(ValueError, match="cannot resume an append"):
        to_store(SMALL, store, append_dim="x", resume=True)
    with pytest.raises(ValueError, match="cannot resume"):
        to_store(SMALL, store, "w", compute=False, resume=True)
    assert values_of(store) == before
    to_store(SMALL.chunk(x=2), store, "w", resume=True)
    assert_identical(xr.load_dataset(store, engine="chunkstore"), SMALL)


@pytest.mark.parametrize(
    "read",
    [
        lambda place: xr.open_dataset(place, engine="chunkstore", cache=False),
        lambda place: xr.open_dataset(place, engine="chunkstore", chunks={}) + 1,
        lambda place: open_dataset(place) * 2,
        lambda place: quiet_zarr(xr.open_dataset, place, engine="zarr"),
    ],
)
def test_what_is_still_to_be_read_is_not_replaced(
    tmp_path: Path, read: Callable[[str], xr.Dataset]
) -> None:
    """Overwriting the store that a dataset is read from is refused; once loaded, it is not."""
    place = str(tmp_path / "a.zarr")
    to_store(SMALL, place)
    ds = read(place)
    with pytest.raises(InvalidArgumentError, match="deleted before it is read"):
        to_store(ds, place, "w")
    assert_identical(xr.load_dataset(place, engine="chunkstore"), SMALL)
    loaded = ds.load()
    to_store(loaded, place, "w")
    assert_identical(xr.load_dataset(place, engine="chunkstore"), loaded)


@pytest.mark.parametrize("opener", [open_dataset, None])
def test_blocks_are_not_written_to_what_they_are_computed_from(opener: Any) -> None:
    """A job that would change its own source in place is refused."""
    store = cs.MemoryStore()
    to_store(SMALL, store)
    ds = opener(store) if opener else xr.open_dataset(store, engine="chunkstore", chunks={})
    with pytest.raises(InvalidArgumentError, match="computed from it"):
        to_store(ds + 1, store, "r+")
    assert_identical(xr.load_dataset(store, engine="chunkstore"), SMALL)

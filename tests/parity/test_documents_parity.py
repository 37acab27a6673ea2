"""Documents of ours and of the peers: zarr-python, TensorStore and zarrs read what we write, and we
what they write; grids, consolidated metadata and all.

zarrs is asked through zarr-python, whose codec pipeline it can be.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import chunkstore as cs
from tests.chunkstore.test_invalid_documents import (
    ARRAY,
    ARRAYS,
    OLD_ARRAY,
    OLD_ARRAYS,
    UNUSUAL,
    UNUSUAL_OLD,
    Row,
    changed,
)

zarr = pytest.importorskip("zarr", reason="zarr-python is not installed")

Format = Literal[2, 3]
FORMATS: tuple[Format, ...] = (2, 3)
ZARRS = "zarrs.ZarrsCodecPipeline"
HAS_RECTILINEAR = "rectilinear_chunks" in zarr.config.get("array")

rectilinear_peer = pytest.mark.skipif(
    not HAS_RECTILINEAR, reason="this zarr-python knows no rectilinear grids (3.2 does)"
)


@contextmanager
def peer(**settings: Any) -> Iterator[None]:
    """Ask zarr-python without its warnings, and with rectilinear grids where it has them."""
    if HAS_RECTILINEAR:
        settings = {"array.rectilinear_chunks": True, **settings}
    with warnings.catch_warnings(), zarr.config.set(settings):
        warnings.simplefilter("ignore")
        yield


def tensorstore_open(folder: Path, zarr_format: Format) -> Any:
    """Open an array with TensorStore."""
    ts = pytest.importorskip("tensorstore", reason="TensorStore is not installed")
    driver = "zarr3" if zarr_format == 3 else "zarr"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{folder}/"}}
    return ts.open(spec, open=True).result()


def values_of(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Give values that differ from one another and from the fill value."""
    return np.arange(1, np.prod(shape, dtype=int) + 1).reshape(shape).astype("i4")


ARGUMENTS: dict[str, dict[str, Any]] = {
    "plain": {"shape": (5, 7), "chunks": (2, 3)},
    "no axes": {"shape": ()},
    "no elements": {"shape": (0, 3), "chunks": (2, 3)},
    "chunk larger than the array": {"shape": (2, 2), "chunks": (5, 5)},
    "column-major": {"shape": (5, 7), "chunks": (2, 3), "order": "F"},
    "raw": {"shape": (5, 7), "chunks": (2, 3), "compressors": None},
    "attributes": {"shape": (3,), "attributes": {"a": [1, {"b": None}], "ü": "数"}},
    "fill value": {"shape": (9,), "chunks": 2, "fill_value": -5},
}
NEW_ARGUMENTS: dict[str, dict[str, Any]] = {
    "names": {"shape": (5, 7), "dimension_names": ("y", None)},
    "no names": {"shape": (5, 7), "dimension_names": (None, None)},
    "keys with dots": {
        "shape": (5, 7),
        "chunks": (2, 3),
        "chunk_key_encoding": {"name": "default", "separator": "."},
    },
    "keys of version 2": {
        "shape": (5, 7),
        "chunks": (2, 3),
        "chunk_key_encoding": {"name": "v2", "separator": "."},
    },
    "shards": {"shape": (5, 7), "chunks": (1, 2), "shards": (2, 4)},
}
OLD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "keys with slashes": {
        "shape": (5, 7),
        "chunks": (2, 3),
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
    },
}
LAYOUTS = [
    pytest.param(zarr_format, arguments, id=f"{name}-{zarr_format}")
    for zarr_format, more in ((3, NEW_ARGUMENTS), (2, OLD_ARGUMENTS))
    for name, arguments in {**ARGUMENTS, **more}.items()
]


def made(folder: Path, zarr_format: Format, arguments: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Write an array with chunkstore; gives its values."""
    array = cs.create_array(
        folder, dtype="i4", **{"zarr_format": zarr_format, "overwrite": True, **arguments}
    )
    values = values_of(array.shape)
    array[...] = values
    return values


# -- what we write --------------------------------------------------------------------------------


@pytest.mark.parametrize(("zarr_format", "arguments"), LAYOUTS)
@pytest.mark.parametrize("pipeline", ["its own", ZARRS])
def test_zarr_python_reads_ours(
    tmp_path: Path, pipeline: str, zarr_format: Format, arguments: dict[str, Any]
) -> None:
    """zarr-python, and zarrs in it, read our documents and chunks to what we wrote."""
    settings = {}
    if pipeline == ZARRS:
        pytest.importorskip("zarrs", reason="zarrs is not installed")
        if zarr_format == 2 and arguments.get("order") == "F":
            pytest.skip("zarr-python asks zarrs for column-major memory, which zarrs refuses")
        settings = {"codec_pipeline.path": ZARRS}
    values = made(tmp_path, zarr_format, arguments)
    ours = cs.open_array(tmp_path, mode="r")
    with peer(**settings):
        theirs = zarr.open_array(tmp_path, mode="r", zarr_format=zarr_format)
        assert np.array_equal(theirs[...], values)
        assert theirs.shape == ours.shape
        assert theirs.chunks == ours.chunks
        assert theirs.shards == ours.shards
        assert theirs.dtype == ours.dtype
        assert theirs.fill_value == ours.fill_value
        assert dict(theirs.attrs) == ours.attrs.asdict()
        if zarr_format == 3:
            assert theirs.metadata.dimension_names == ours.dimension_names


@pytest.mark.parametrize(("zarr_format", "arguments"), LAYOUTS)
def test_tensorstore_reads_ours(
    tmp_path: Path, zarr_format: Format, arguments: dict[str, Any]
) -> None:
    """TensorStore reads our documents and chunks to what we wrote."""
    values = made(tmp_path, zarr_format, arguments)
    theirs = tensorstore_open(tmp_path, zarr_format)
    assert np.array_equal(theirs.read().result(), values)
    names = cs.open_array(tmp_path, mode="r").dimension_names or ("",) * values.ndim
    assert theirs.domain.labels == tuple(name or "" for name in names)


def test_peers_read_what_was_changed(tmp_path: Path) -> None:
    """After attributes and shape have changed the document still is what peers read."""
    for zarr_format in FORMATS:
        folder = tmp_path / str(zarr_format)
        made(folder, zarr_format, ARGUMENTS["plain"])
        ours = cs.open_array(folder, mode="r+")
        ours.attrs["k"] = [1]
        ours.resize((8, 2))
        ours.append(np.ones((1, 2), "i4"))
        with peer():
            theirs = zarr.open_array(folder, mode="r", zarr_format=zarr_format)
            assert np.array_equal(theirs[...], ours[...])
            assert dict(theirs.attrs) == {"k": [1]}
        assert np.array_equal(tensorstore_open(folder, zarr_format).read().result(), ours[...])


# -- what they write ------------------------------------------------------------------------------


@pytest.mark.parametrize(("zarr_format", "arguments"), LAYOUTS)
def test_we_read_zarr_pythons(
    tmp_path: Path, zarr_format: Format, arguments: dict[str, Any]
) -> None:
    """We read what zarr-python writes, and its document is not other after a change of ours."""
    with peer():
        theirs = zarr.create_array(
            tmp_path, dtype="i4", **{"fill_value": 0, "zarr_format": zarr_format, **arguments}
        )
        values = values_of(theirs.shape)
        theirs[...] = values
        facts = (theirs.shape, theirs.chunks, theirs.shards, dict(theirs.attrs))
    ours = cs.open_array(tmp_path, mode="r+")
    assert np.array_equal(ours[...], values)
    assert (ours.shape, ours.chunks, ours.shards, ours.attrs.asdict()) == facts
    name = "zarr.json" if zarr_format == 3 else ".zarray"
    before = json.loads((tmp_path / name).read_text())
    ours.attrs["k"] = 1
    ours.resize(ours.shape)
    after = json.loads((tmp_path / name).read_text())
    assert spelled_out(after) == spelled_out(before)
    with peer():
        assert np.array_equal(zarr.open_array(tmp_path, mode="r")[...], values)


def spelled_out(document: dict[str, Any]) -> Any:
    """Give what a document says but for attributes, whatever it leaves out because it is empty."""
    kept = {key: value for key, value in document.items() if key != "attributes"}
    kept.setdefault("storage_transformers", [])
    kept.setdefault("dimension_separator", ".")
    return _without_empty_configurations(kept)


def _without_empty_configurations(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_empty_configurations(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_empty_configurations(item)
        for key, item in value.items()
        if key != "configuration" or item
    }


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_we_read_tensorstores(tmp_path: Path, zarr_format: Format) -> None:
    """We read what TensorStore writes, whose documents leave out what they can."""
    ts = pytest.importorskip("tensorstore", reason="TensorStore is not installed")
    kvstore = {"driver": "file", "path": f"{tmp_path}/"}
    if zarr_format == 3:
        metadata: dict[str, Any] = {
            "shape": [5, 7],
            "data_type": "int32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
            "codecs": [{"name": "bytes"}, {"name": "crc32c"}],
            "dimension_names": ["y", "x"],
        }
        spec = {"driver": "zarr3", "kvstore": kvstore, "metadata": metadata}
    else:
        metadata = {"shape": [5, 7], "chunks": [2, 3], "dtype": ">i4"}
        spec = {"driver": "zarr", "kvstore": kvstore, "metadata": metadata}
    theirs = ts.open(spec, create=True).result()
    values = values_of((5, 7))
    theirs.write(values).result()
    ours = cs.open_array(tmp_path, mode="r")
    assert np.array_equal(ours[...], values)
    assert ours.chunks == (2, 3)


# -- who opens what -------------------------------------------------------------------------------


def opens(folder: Path, name: str, document: Mapping[str, Any]) -> list[bool]:
    """Say which of zarr-python and TensorStore open a document and read what it says."""
    folder.mkdir()
    (folder / name).write_text(json.dumps(document))
    zarr_format: Format = 3 if name == "zarr.json" else 2
    found = []
    for read in (_zarr_python_reads, _tensorstore_reads):
        try:
            read(folder, zarr_format)
        except Exception:
            found.append(False)
        else:
            found.append(True)
    return found


def _zarr_python_reads(folder: Path, zarr_format: Format) -> None:
    with peer():
        array = zarr.open_array(folder, mode="r", zarr_format=zarr_format)
        if array.size < 1000:
            array[...]


def _tensorstore_reads(folder: Path, zarr_format: Format) -> None:
    array = tensorstore_open(folder, zarr_format)
    if array.size < 1000:
        array.read().result()


SPECIFICATION_SAYS_NO = ({"zarr_format": 3.0}, {"zarr_format": 2.0})
"""What peers open and we do not: a version is an integer. zarr-python agrees since 3.4."""


def test_we_refuse_nothing_that_all_peers_open(tmp_path: Path) -> None:
    """A document that we refuse is one that at least one peer refuses, or the specification."""
    pytest.importorskip("tensorstore", reason="TensorStore is not installed")
    tables: list[tuple[list[Row], dict[str, Any], str]] = [
        (ARRAYS, ARRAY, "zarr.json"),
        (OLD_ARRAYS, OLD_ARRAY, ".zarray"),
    ]
    both = []
    for number, (rows, base, name) in enumerate(tables):
        for i, row in enumerate(rows):
            if "10" * 5 in str(row.changes):
                continue  # An integer of hundreds of digits is no test of a format.
            folder = tmp_path / f"{number}-{i}"
            if all(opens(folder, name, changed(base, row.changes))):
                both.append(row.changes)
    assert [changes for changes in both if changes not in SPECIFICATION_SAYS_NO] == []


def test_what_a_peer_writes_opens(tmp_path: Path) -> None:
    """Most of the unusual documents that we open are opened by a peer too: they are in use."""
    pytest.importorskip("tensorstore", reason="TensorStore is not installed")
    tables: list[tuple[list[Mapping[str, Any]], dict[str, Any], str]] = [
        (UNUSUAL, ARRAY, "zarr.json"),
        (UNUSUAL_OLD, OLD_ARRAY, ".zarray"),
    ]
    found = [
        any(opens(tmp_path / f"{number}-{i}", name, changed(base, changes)))
        for number, (table, base, name) in enumerate(tables)
        for i, changes in enumerate(table)
        if "rectilinear" not in str(changes)
    ]
    assert sum(found) > len(found) * 3 // 4


# -- rectilinear grids ----------------------------------------------------------------------------

EDGES = [
    pytest.param((9, 10), [[3, 2, 4], [4, 6]], id="all differ"),
    pytest.param((9, 10), [[3, 2, 4], 4], id="one axis of one size"),
    pytest.param((12,), [[1, 1, 4, 4, 2]], id="runs"),
    pytest.param((5, 4, 3), [[2, 3], [1, 3], [1, 2]], id="three axes"),
]


@rectilinear_peer
@pytest.mark.parametrize(("shape", "edges"), EDGES)
def test_zarr_python_reads_our_rectilinear_grids(
    tmp_path: Path, shape: tuple[int, ...], edges: Any
) -> None:
    """zarr-python reads a rectilinear grid of ours, and goes on with it."""
    values = made(tmp_path, 3, {"shape": shape, "chunks": edges})
    with peer():
        theirs = zarr.open_array(tmp_path, mode="r+")
        assert np.array_equal(theirs[...], values)
        ours = cs.open_array(tmp_path, mode="r")
        assert theirs.read_chunk_sizes == ours.read_chunk_sizes
        assert theirs.write_chunk_sizes == ours.write_chunk_sizes
        theirs[...] = values + 1
        theirs.resize(tuple(n + 2 for n in shape))
    ours = cs.open_array(tmp_path, mode="r")
    assert np.array_equal(ours[tuple(slice(0, n) for n in shape)], values + 1)
    assert ours.shape == tuple(n + 2 for n in shape)


@rectilinear_peer
@pytest.mark.parametrize(("shape", "edges"), EDGES)
def test_we_read_zarr_pythons_rectilinear_grids(
    tmp_path: Path, shape: tuple[int, ...], edges: Any
) -> None:
    """We read a rectilinear grid of zarr-python's, and write the grid of its document alike."""
    values = values_of(shape)
    with peer():
        theirs = zarr.create_array(tmp_path, shape=shape, chunks=edges, dtype="i4", fill_value=0)
        theirs[...] = values
        sizes = theirs.read_chunk_sizes
    written = json.loads((tmp_path / "zarr.json").read_text())["chunk_grid"]
    ours = cs.open_array(tmp_path, mode="r+")
    assert np.array_equal(ours[...], values)
    assert ours.read_chunk_sizes == sizes
    ours.attrs["k"] = 1
    assert json.loads((tmp_path / "zarr.json").read_text())["chunk_grid"] == written
    ours[...] = values + 1
    ours.append(np.zeros((3, *shape[1:]), "i4"))
    with peer():
        again = zarr.open_array(tmp_path, mode="r")
        assert np.array_equal(again[: shape[0]], values + 1)
        assert again.read_chunk_sizes == ours.read_chunk_sizes


@rectilinear_peer
def test_grids_resize_alike(tmp_path: Path) -> None:
    """Made longer and shorter in the same steps, our grid and zarr-python's stay the same."""
    steps = [(20,), (7,), (11,), (0,), (5,), (30,)]
    values = made(tmp_path / "ours", 3, {"shape": (9,), "chunks": [[3, 2, 4]]})
    ours = cs.open_array(tmp_path / "ours", mode="r+")
    with peer():
        theirs = zarr.create_array(
            tmp_path / "theirs", shape=(9,), chunks=[[3, 2, 4]], dtype="i4", fill_value=0
        )
        theirs[...] = values
        for shape in steps:
            ours.resize(shape)
            theirs.resize(shape)
            grids = [
                json.loads((tmp_path / who / "zarr.json").read_text())["chunk_grid"]
                for who in ("ours", "theirs")
            ]
            assert grids[0] == grids[1]
            assert ours.read_chunk_sizes == theirs.read_chunk_sizes
            by_us = cs.open_array(tmp_path / "theirs", mode="r")
            assert np.array_equal(by_us[...], theirs[...])


@rectilinear_peer
def test_rectilinear_shards_both_ways(tmp_path: Path) -> None:
    """Shards of different shapes, with inner chunks of one, are read by both."""
    arguments = {"shape": (12, 6), "chunks": (2, 3), "shards": [[4, 6, 2], [6]]}
    values = made(tmp_path / "ours", 3, arguments)
    with peer():
        theirs = zarr.open_array(tmp_path / "ours", mode="r")
        assert np.array_equal(theirs[...], values)
        assert np.array_equal(theirs[3:11, 1:4], values[3:11, 1:4])
        assert theirs.chunks == (2, 3)
        written = zarr.create_array(tmp_path / "theirs", dtype="i4", fill_value=0, **arguments)
        written[...] = values
    ours = cs.open_array(tmp_path / "theirs", mode="r")
    assert np.array_equal(ours[...], values)
    assert np.array_equal(ours[3:11, 1:4], values[3:11, 1:4])
    assert ours.chunks == (2, 3)
    assert ours.write_chunk_sizes == ((4, 6, 2), (6,))


def test_dask_takes_rectilinear_chunks() -> None:
    """The sizes that a rectilinear array gives for its chunks are dask's own way to write them."""
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    array = cs.create_array(None, shape=(9, 10), chunks=[[3, 2, 4], 6], dtype="i4")
    values = values_of((9, 10))
    array[...] = values
    x = da.from_array(array, chunks=array.chunks)
    assert x.chunks == array.chunks == ((3, 2, 4), (6, 4))
    assert np.array_equal(x.compute(scheduler="synchronous"), values)
    again = cs.create_array(None, shape=x.shape, chunks=x.chunks, dtype="i4")
    assert again.chunks == array.chunks


# -- consolidated metadata ------------------------------------------------------------------------


def peers_view(group: Any, below: str = "") -> dict[str, Any]:
    """Say what zarr-python's handles, or ours, tell of a hierarchy."""
    found: dict[str, Any] = {}
    for name, member in dict(group.members()).items():
        path = f"{below}{name}"
        found[path] = dict(member.attrs)
        if hasattr(member, "shape"):
            found[path]["shape"] = member.shape
        else:
            found.update(peers_view(member, f"{path}/"))
    return found


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_zarr_python_reads_our_copy(tmp_path: Path, zarr_format: Format) -> None:
    """zarr-python finds in our consolidated metadata what the documents say, at any depth."""
    root = cs.create_group(tmp_path, zarr_format=zarr_format, attributes={"t": 1})
    root.create_array("x", shape=(4,), dtype="i4", attributes={"unit": "m"})
    root.create_array("a/b/y", shape=(3, 2), dtype="f8", fill_value=float("nan"))
    root.create_group("a/empty", attributes={"n": 1})
    cs.consolidate_metadata(tmp_path)
    with peer():
        theirs = zarr.open_group(tmp_path, mode="r", use_consolidated=True)
        assert theirs.metadata.consolidated_metadata is not None
        assert peers_view(theirs) == peers_view(root)
        assert theirs["a/b/y"].shape == (3, 2)
        assert sorted(theirs["a"].keys()) == ["b", "empty"]
        assert dict(theirs.attrs) == {"t": 1}


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_we_read_zarr_pythons_copy(tmp_path: Path, zarr_format: Format) -> None:
    """We find in zarr-python's consolidated metadata what the documents say."""
    with peer():
        theirs = zarr.create_group(tmp_path, zarr_format=zarr_format, attributes={"t": 1})
        theirs.create_array("x", shape=(4,), dtype="i4", attributes={"unit": "m"})
        theirs.create_group("a").create_group("b").create_array("y", shape=(3, 2), dtype="f8")
        theirs["a"].create_group("empty", attributes={"n": 1})
        zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
        expected = peers_view(zarr.open_group(tmp_path, mode="r", use_consolidated=False))
    ours = cs.open_group(tmp_path, mode="r", use_consolidated=True)
    assert peers_view(ours) == expected
    assert peers_view(cs.open_group(tmp_path, mode="r")) == expected
    assert ours["a/b/y"].shape == (3, 2)


@pytest.mark.parametrize("by_whom", ["ours", "theirs"])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_our_changes_show_in_zarr_python(tmp_path: Path, zarr_format: Format, by_whom: str) -> None:
    """After a change of ours zarr-python, which trusts a copy blindly, sees what is there."""
    root = cs.create_group(tmp_path, zarr_format=zarr_format)
    x = root.create_array("g/x", shape=(4,), chunks=2, dtype="i4", fill_value=0)
    with peer():
        if by_whom == "ours":
            cs.consolidate_metadata(tmp_path)
        else:
            zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
    x.append(np.arange(3, dtype="i4"))
    x.attrs["k"] = 1
    root.create_array("g/later", shape=(2,), dtype="i4")
    with peer():
        theirs = zarr.open_group(tmp_path, mode="r")
        assert theirs["g/x"].shape == (7,)
        assert theirs["g/x"][4:].tolist() == [0, 1, 2]
        assert dict(theirs["g/x"].attrs) == {"k": 1}
        assert sorted(theirs["g"].keys()) == ["later", "x"]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_their_changes_show_in_ours(tmp_path: Path, zarr_format: Format) -> None:
    """zarr-python leaves its copy stale and no longer sees its own change; we see it."""
    with peer():
        theirs = zarr.create_group(tmp_path, zarr_format=zarr_format)
        theirs.create_array("x", shape=(4,), chunks=(2,), dtype="i4", fill_value=0)
        zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
        writer = zarr.open_group(tmp_path, mode="r+", use_consolidated=False)
        writer["x"].resize((9,))
        writer.create_array("later", shape=(2,), dtype="i4")
        kept = tmp_path / ("zarr.json" if zarr_format == 3 else ".zmetadata")
        stale = zarr.open_group(tmp_path, mode="r")
        if kept.exists() and stale.metadata.consolidated_metadata is not None:
            assert "later" not in stale
    ours = cs.open_group(tmp_path, mode="r")
    assert ours["x"].shape == (9,)
    assert list(ours) == ["later", "x"]
    if stale.metadata.consolidated_metadata is not None:
        copied = cs.open_group(tmp_path, mode="r", use_consolidated=True)
        assert list(copied) == ["later", "x"]
        assert copied["later"].shape == (2,)

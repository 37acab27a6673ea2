"""Random arrays go both ways between us and three peers: zarr-python, TensorStore and zarrs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import chunkstore as cs
from chunkstore.types import NDArray

zarr = pytest.importorskip("zarr", reason="needs zarr-python, a peer")
tensorstore = pytest.importorskip("tensorstore", reason="needs TensorStore, a peer")

DTYPES = ["bool", "int8", "uint16", "int32", "uint64", "float16", "float32", "float64", "complex64"]
CODECS: list[list[dict[str, Any]]] = [
    [],
    [{"name": "gzip", "configuration": {"level": 1}}],
    [{"name": "zstd", "configuration": {"level": 3, "checksum": False}}],
    [{"name": "crc32c"}],
    [
        {
            "name": "blosc",
            "configuration": {
                "cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 2, "blocksize": 0,
            },
        },
        {"name": "crc32c"},
    ],
]  # fmt: skip
FILLS = {"f": [0.0, -0.0, 1.5, np.nan, np.inf, -np.inf], "c": [0, 1 - 2j], "b": [False, True]}


@st.composite
def _arrays(draw: st.DrawFn) -> tuple[NDArray, dict[str, Any]]:
    """Draw values and the arguments that lay them out."""
    ndim = draw(st.integers(0, 3))
    shape = tuple(draw(st.integers(1, 7)) for _ in range(ndim))
    chunks = tuple(draw(st.integers(1, 4)) for _ in range(ndim))
    shards = None
    if ndim and draw(st.booleans()):
        shards = tuple(size * draw(st.integers(1, 3)) for size in chunks)
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    fill = draw(st.sampled_from(FILLS.get(dtype.kind, [0, 1, 100])))
    seed = draw(st.integers(0, 2**16))
    values = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    if ndim and draw(st.booleans()):
        values[: max(1, shape[0] // 2)] = fill  # chunks that go unstored
    order = draw(st.sampled_from([None, "F"])) if shards is None else None
    return np.asarray(values), {
        "chunks": chunks,
        "shards": shards,
        "fill_value": fill,
        "order": order,
        "compressors": draw(st.sampled_from(CODECS)),
        "chunk_key_encoding": {
            "name": draw(st.sampled_from(["default", "v2"])),
            "separator": draw(st.sampled_from(["/", "."])),
        },
    }


def _read_zarr(folder: Path) -> tuple[NDArray, Any]:
    array = zarr.open_array(folder, mode="r")
    return np.asarray(array[...]), array.fill_value


def _read_zarrs(folder: Path) -> tuple[NDArray, Any]:
    pytest.importorskip("zarrs", reason="needs zarrs, a peer")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return _read_zarr(folder)


def _read_tensorstore(folder: Path) -> tuple[NDArray, Any]:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    array = tensorstore.open(spec, read=True).result()
    fill = array.fill_value
    return array.read().result(), fill if fill is None else fill[()]


@pytest.mark.parametrize("read", [_read_zarr, _read_zarrs, _read_tensorstore])
@settings(max_examples=25)
@given(drawn=_arrays())
def test_peers_read_ours(
    tmp_path_factory: pytest.TempPathFactory,
    read: Callable[[Path], tuple[NDArray, Any]],
    drawn: tuple[NDArray, dict[str, Any]],
) -> None:
    """What we write each peer reads: the values and the fill value, bit for bit."""
    values, layout = drawn
    folder = tmp_path_factory.mktemp("ours")
    cs.create_array(folder, data=values, **layout)
    found, fill = read(folder)
    assert found.tobytes() == values.tobytes()
    if fill is not None:
        expected = np.asarray(layout["fill_value"], values.dtype)
        assert np.asarray(fill, values.dtype).tobytes() == expected.tobytes()


@settings(max_examples=40)
@given(drawn=_arrays(), data=st.data())
def test_we_read_zarr_python(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[NDArray, dict[str, Any]],
    data: st.DataObject,
) -> None:
    """What zarr-python writes we read, and after a write of ours it reads what we meant."""
    values, layout = drawn
    folder = tmp_path_factory.mktemp("theirs")
    made = cs.create_array(folder, shape=values.shape, dtype=values.dtype, **layout)
    theirs = zarr.open_array(folder, mode="r+")
    theirs[...] = values
    np.testing.assert_array_equal(made[...], values)
    if values.ndim:
        start = data.draw(st.integers(0, values.shape[0] - 1))
        values[start:] = made[start:] = values.dtype.type(1)
    else:
        values[...] = made[...] = values.dtype.type(1)
    assert np.asarray(theirs[...]).tobytes() == values.tobytes()


@settings(max_examples=25)
@given(drawn=_arrays())
def test_we_read_zarrs(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[NDArray, dict[str, Any]]
) -> None:
    """What zarrs writes into a layout of ours we read."""
    pytest.importorskip("zarrs", reason="needs zarrs, a peer")
    values, layout = drawn
    folder = tmp_path_factory.mktemp("theirs")
    made = cs.create_array(folder, shape=values.shape, dtype=values.dtype, **layout)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        zarr.open_array(folder, mode="r+")[...] = values
    assert made[...].tobytes() == values.tobytes()


@settings(max_examples=25)
@given(drawn=_arrays())
def test_we_read_tensorstore(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[NDArray, dict[str, Any]]
) -> None:
    """What TensorStore writes into a layout of ours we read."""
    values, layout = drawn
    folder = tmp_path_factory.mktemp("theirs")
    made = cs.create_array(folder, shape=values.shape, dtype=values.dtype, **layout)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    tensorstore.open(spec).result().write(values).result()
    assert made[...].tobytes() == values.tobytes()


FILTERS: list[list[dict[str, Any]]] = [
    [],
    [{"id": "shuffle", "elementsize": 2}],
    [{"id": "crc32"}],
    [{"id": "zlib", "level": 1}, {"id": "fletcher32"}],
]
COMPRESSORS: list[dict[str, Any] | None] = [
    None,
    {"id": "zlib", "level": 1},
    {"id": "bz2", "level": 1},
    {"id": "zstd", "level": 1},
    {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 2, "blocksize": 0},
]


@st.composite
def _old_arrays(draw: st.DrawFn) -> tuple[NDArray, dict[str, Any]]:
    """Draw values and a layout of version 2."""
    values, layout = draw(_arrays())
    dtype = values.dtype.newbyteorder(draw(st.sampled_from("<>")))
    filters = draw(st.sampled_from(FILTERS)) if dtype.itemsize > 1 else []
    if dtype.kind in "iu" and draw(st.booleans()):
        # Of whole numbers, whose sums are exact and keep no sign of zero.
        filters = [{"id": "delta", "dtype": dtype.str}, *filters]
        layout["fill_value"] = 0
    return values.astype(dtype), {
        "chunks": layout["chunks"],
        "fill_value": layout["fill_value"],
        "order": layout["order"],
        "filters": filters or None,
        "compressors": draw(st.sampled_from(COMPRESSORS)),
        "chunk_key_encoding": {"name": "v2", "separator": draw(st.sampled_from("./"))},
        "zarr_format": 2,
    }


@settings(max_examples=60)
@given(drawn=_old_arrays())
def test_version_2(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[NDArray, dict[str, Any]]
) -> None:
    """Version 2 goes both ways with zarr-python, and without filters with TensorStore."""
    values, layout = drawn
    native = values.astype(values.dtype.newbyteorder("="))
    folder = tmp_path_factory.mktemp("ours")
    made = cs.create_array(folder, data=values, **layout)
    theirs = zarr.open_array(folder, mode="r+")
    assert np.asarray(theirs[...]).astype(native.dtype).tobytes() == native.tobytes()
    theirs[...] = values[::-1] if values.ndim else values
    expected = native[::-1] if values.ndim else native
    assert made[...].tobytes() == expected.tobytes()
    if layout["filters"] is not None or layout["order"] == "F":
        return
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    store = tensorstore.open(spec).result()
    assert store.read().result().astype(native.dtype).tobytes() == expected.tobytes()
    store.write(values).result()
    assert made[...].tobytes() == native.tobytes()

"""From what a creator asks for to the metadata: defaults, spellings, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.codecs.blosc import BloscCodec
from chunkstore.codecs.gzip import GzipCodec
from chunkstore.codecs.zstd import ZstdCodec
from chunkstore.errors import InvalidArgumentError
from chunkstore.keys import ChunkKeyEncoding
from chunkstore.layout import array_metadata, automatic_chunks, parse_bytes
from chunkstore.metadata.model import ArrayMetadata


def laid_out(**arguments: Any) -> ArrayMetadata:
    """Lay out an array of 4 × 6 int32 unless asked otherwise."""
    return array_metadata(**{"shape": (4, 6), "dtype": "i4", **arguments})


# --- extents and chunks --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [5, np.int64(5), (5,), [5], np.array([5])])
def test_spellings_of_a_shape(shape: Any) -> None:
    """A shape may be an integer or any sequence of them; it is kept as plain integers."""
    found = laid_out(shape=shape).shape
    assert found == (5,)
    assert type(found[0]) is int


@pytest.mark.parametrize(
    "shape",
    [
        -1,
        (3, -1),
        (3, 2.0),
        (True, 2),
        ("3",),
        "34",
        3.5,
        None,
    ],
)
def test_no_shapes(shape: Any) -> None:
    """A shape of anything but integers of at least zero is refused."""
    with pytest.raises(InvalidArgumentError):
        laid_out(shape=shape)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((2, 3), (2, 3)),
        (2, (2, 2)),
        (np.int64(3), (3, 3)),
        ([4, 6], (4, 6)),
        ((9, 100), (9, 100)),
        (None, (4, 6)),
        (False, (4, 6)),
        ("auto", (4, 6)),
        (True, (4, 6)),
        (-1, (4, 6)),
        ((2, -1), (2, 6)),
        ([None, 3], (4, 3)),
        ("48B", (4, 3)),
    ],
)
def test_spellings_of_chunks(chunks: Any, expected: tuple[int, ...]) -> None:
    """Chunks may be a shape, one number for all axes, a size in bytes, none or automatic."""
    assert laid_out(chunks=chunks).grid.uniform_shape == expected


@pytest.mark.parametrize(
    "chunks", [0, -2, (2,), (2, 3, 4), (2, 0), (-2, 2), (2, 1.5), "many", (True, 2)]
)
def test_no_chunks(chunks: Any) -> None:
    """Chunks that cannot be cells of the array are refused."""
    with pytest.raises(InvalidArgumentError):
        laid_out(chunks=chunks)


def test_chunks_of_empty_axes() -> None:
    """An axis without elements has chunks of one element, so that it may grow."""
    for chunks in ("auto", None):
        assert laid_out(shape=(0, 3), chunks=chunks).grid.uniform_shape == (1, 3)
    assert laid_out(shape=(), chunks="auto").grid.uniform_shape == ()


@given(
    st.lists(st.integers(0, 10_000), max_size=4).map(tuple),
    st.sampled_from([1, 2, 8, 16]),
    st.integers(1, 1 << 22),
)
def test_automatic_chunks(shape: tuple[int, ...], itemsize: int, target: int) -> None:
    """Automatic chunks fit the target, leave no axis longer than the array, and waste little."""
    chunks = automatic_chunks(shape, itemsize, target_bytes=target)
    assert len(chunks) == len(shape)
    assert all(1 <= c <= max(1, extent) for c, extent in zip(chunks, shape, strict=True))
    n_bytes = math.prod(chunks) * itemsize
    assert n_bytes <= target or set(chunks) <= {1}
    if chunks != tuple(max(1, extent) for extent in shape):
        assert 2 * n_bytes * math.prod((c + 1) / c for c in chunks) >= target / 2


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("1", 1),
        ("100B", 100),
        ("64MB", 64_000_000),
        ("64 MiB", 64 << 20),
        ("1.5KiB", 1536),
        ("2g", 2_000_000_000),
        ("2Gi", 2 << 30),
    ],
)
def test_sizes_in_bytes(text: str, n_bytes: int) -> None:
    """Decimal and binary units mean what the standards say."""
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "B", "MB", "-1MB", "1e6", "1 XB", "0", "0.1B", "1MBB", "½MB"])
def test_no_sizes(text: str) -> None:
    """A text that is no size, or less than a byte, is refused."""
    with pytest.raises(InvalidArgumentError):
        parse_bytes(text)


# --- codecs --------------------------------------------------------------------------------------


def codecs(**arguments: Any) -> list[tuple[str, dict[str, Any]]]:
    """List name and configuration of the codecs of a layout."""
    return [(spec.name, dict(spec.configuration)) for spec in laid_out(**arguments).codecs]


GZIP_3 = ("gzip", {"level": 3})


@pytest.mark.parametrize(
    "given",
    [
        GzipCodec(3),
        [GzipCodec(3)],
        {"name": "gzip", "configuration": {"level": 3}},
        ({"name": "gzip", "configuration": {"level": 3}},),
        {"id": "gzip", "level": 3},
        numcodecs.GZip(3),
        [numcodecs.GZip(3)],
    ],
)
def test_spellings_of_a_codec(given: Any) -> None:
    """Our objects, those of numcodecs, and dicts of either format's style mean one codec."""
    assert codecs(compressors=given)[-1] == GZIP_3
    (last,) = codecs(compressors=given, zarr_format=2)[-1:]
    assert last == ("numcodecs.gzip", {"level": 3})


def test_codecs_of_zarr_python() -> None:
    """Objects of zarr-python's codecs are taken too, so that a script runs as it is."""
    theirs = pytest.importorskip("zarr.codecs", reason="needs zarr-python")
    assert codecs(compressors=theirs.GzipCodec(level=3))[-1] == GZIP_3
    given = [theirs.ZstdCodec(level=2), theirs.Crc32cCodec()]
    assert codecs(compressors=given)[-2:] == [
        ("zstd", {"level": 2, "checksum": False}),
        ("crc32c", {}),
    ]
    blosc = theirs.BloscCodec(typesize=4, cname="lz4", clevel=1, shuffle="shuffle")
    name, configuration = codecs(compressors=blosc)[-1]
    assert (name, configuration["cname"], configuration["shuffle"]) == ("blosc", "lz4", "shuffle")


def test_no_compressors() -> None:
    """None leaves the bytes as they are; so does an empty list."""
    for none in (None, [], ()):
        assert codecs(compressors=none) == [("bytes", {"endian": "little"})]


def test_default_compresses() -> None:
    """By default chunks are compressed, and version 3 checks them; other readers have both."""
    names = [name for name, _ in codecs()]
    assert names[0] == "bytes"
    assert len(names) > 1
    assert set(names[1:]) <= {"blosc", "crc32c", "zstd"}
    assert len(codecs(zarr_format=2)) == 2


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_order_f_is_a_transpose(zarr_format: int) -> None:
    """Fortran order is the permutation that turns the axes round, and nothing on one axis."""
    given = {"order": "F", "zarr_format": zarr_format, "compressors": None}
    assert codecs(**given)[0] == ("transpose", {"order": [1, 0]})
    assert [name for name, _ in codecs(shape=5, **given)] == ["bytes"]


def test_byte_order_on_disk() -> None:
    """Version 2 stores the order of the dtype that was asked for; version 3 has little-endian."""
    assert codecs(dtype=">i4", zarr_format=2)[0] == ("bytes", {"endian": "big"})
    assert codecs(dtype=">i4", zarr_format=3)[0] == ("bytes", {"endian": "little"})
    assert laid_out(dtype=">i4", zarr_format=2).dtype == np.dtype("i4")
    assert codecs(dtype=">u1", zarr_format=2)[0] == ("bytes", {})


def test_blosc_between_the_formats() -> None:
    """Blosc's shuffle is a word in version 3 and a number in version 2."""
    given = BloscCodec("lz4", 5, "bitshuffle", 4, 0)
    name, configuration = codecs(compressors=given, zarr_format=2)[-1]
    assert (name, configuration["shuffle"], "typesize" in configuration) == (
        "numcodecs.blosc",
        2,
        False,
    )
    again = codecs(compressors=numcodecs.Blosc("lz4", 5, 2))[-1]
    assert again == ("blosc", given.configuration())


def test_zstd_in_version_2() -> None:
    """Version 2 names the checksum only where there is one: older readers do not know it."""
    (plain,) = codecs(compressors=ZstdCodec(1), zarr_format=2)[-1:]
    assert plain == ("numcodecs.zstd", {"level": 1})


@pytest.mark.parametrize(
    "arguments",
    [
        {"compressors": [GzipCodec(1), ZstdCodec(1)]},
        {"serializer": {"name": "bytes", "configuration": {"endian": "big"}}},
        {"chunk_key_encoding": "default"},
        {"dimension_names": ("x", "y")},
        {"shards": (4, 6), "chunks": (2, 3)},
    ],
)
def test_version_2_cannot_say_it(arguments: dict[str, Any]) -> None:
    """What version 2 has no place for is refused, and the message names the way out."""
    laid_out(**arguments)
    with pytest.raises(InvalidArgumentError, match=r"[Vv]ersion 2|zarr_format"):
        laid_out(zarr_format=2, **arguments)


# --- the rest ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "zarr_format", "expected"),
    [
        (None, 3, ("default", "/")),
        (None, 2, ("v2", ".")),
        ("default", 3, ("default", "/")),
        ("v2", 3, ("v2", ".")),
        ({"name": "default", "separator": "."}, 3, ("default", ".")),
        ({"name": "v2"}, 3, ("v2", ".")),
        ({"name": "v2", "separator": "/"}, 2, ("v2", "/")),
        ({"name": "default", "configuration": {"separator": "."}}, 3, ("default", ".")),
        ({"separator": "/"}, 2, ("v2", "/")),
        (ChunkKeyEncoding("v2", "/"), 3, ("v2", "/")),
    ],
)
def test_spellings_of_key_encodings(
    given: Any, zarr_format: int, expected: tuple[str, str]
) -> None:
    """A chunk key encoding may be a name, a dict in either style, or an object."""
    found = laid_out(chunk_key_encoding=given, zarr_format=zarr_format).key_encoding
    assert (found.name, found.separator) == expected


@pytest.mark.parametrize("given", ["v3", {"name": "v2", "separator": "-"}, 5, {"name": None}])
def test_no_key_encodings(given: Any) -> None:
    """A chunk key encoding that no reader knows is refused."""
    with pytest.raises(InvalidArgumentError, match="chunk_key_encoding"):
        laid_out(chunk_key_encoding=given)


@pytest.mark.parametrize("names", [("x",), "xy", ("x", "y", "z"), ("x", 1), (b"x", "y")])
def test_no_dimension_names(names: Any) -> None:
    """Names that are not one text, or None, for each axis are refused."""
    with pytest.raises(InvalidArgumentError, match="dimension_names"):
        laid_out(dimension_names=names)


def test_dimension_names() -> None:
    """Names are kept as they are, with gaps and repetitions."""
    assert laid_out(dimension_names=["x", None]).dimension_names == ("x", None)
    assert laid_out(dimension_names=("x", "x")).dimension_names == ("x", "x")
    assert laid_out().dimension_names is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"zarr_format": 1},
        {"zarr_format": "3"},
        {"zarr_format": None},
        {"order": "K"},
        {"order": "c"},
        {"dtype": "nonsense"},
        {"dtype": object},
        {"fill_value": 1.5},
        {"fill_value": "x"},
        {"fill_value": float("nan")},
        {"fill_value": 1 << 40},
        {"fill_value": [1, 2]},
        {"attributes": {"a": float("nan")}},
        {"attributes": {"a": object()}},
        {"attributes": {1: "a"}},
    ],
)
def test_what_cannot_be_meant(arguments: dict[str, Any]) -> None:
    """Formats, orders, types, fill values and attributes that cannot be stored are refused."""
    with pytest.raises(InvalidArgumentError):
        laid_out(**arguments)


def test_fill_value_defaults_to_zero() -> None:
    """Without a fill value it is the zero of the type."""
    assert laid_out().fill_value == 0
    assert laid_out(dtype="?").fill_value == np.False_
    assert laid_out(dtype="f4").fill_value.dtype == np.dtype("f4")
    assert math.isnan(laid_out(dtype="f4", fill_value=math.nan).fill_value)


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        ("f2", 0x7E05),
        ("f4", 0xFFC00005),
        ("f8", 0xFFF8000000000005),
    ],
)
def test_fill_value_keeps_the_bits_of_a_nan(dtype: str, bits: int) -> None:
    """A NaN that a creator gives as a numpy scalar keeps its payload and sign."""
    unsigned = f"u{dtype[1]}"
    fill = np.array(bits, unsigned).view(dtype)[()]
    found = laid_out(dtype=dtype, fill_value=fill).fill_value
    assert int(np.asarray(found, dtype).view(unsigned)) == bits


def test_fill_values_can_be_left_open() -> None:
    """`...` writes null in version 2, which reads as zero, stays null in a copy, and is no 3."""
    store = cs.MemoryStore()
    array = cs.create_array(store, name="a", shape=3, dtype="i4", zarr_format=2, fill_value=...)
    assert json.loads(store.get("a/.zarray") or b"")["fill_value"] is None
    assert array[:].tolist() == [0, 0, 0]
    cs.copy(array, store, path="b", chunks=2)
    assert json.loads(store.get("b/.zarray") or b"")["fill_value"] is None
    with pytest.raises(InvalidArgumentError, match="only Zarr version 2"):
        cs.create_array(store, name="c", shape=3, dtype="i4", fill_value=...)

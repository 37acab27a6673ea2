"""Codecs said in the words of another format give other documents and the same values."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError

VALUES = np.arange(30.0).reshape(5, 6) * 1.37 + 100

OF_NUMBERS = [
    {"id": "delta", "dtype": "<f8"},
    {"id": "quantize", "digits": 1, "dtype": "<f8"},
    {"id": "fixedscaleoffset", "offset": 100, "scale": 10, "dtype": "<f8", "astype": "<i2"},
    {"id": "bitround", "keepbits": 8},
    {"id": "astype", "encode_dtype": "<f4", "decode_dtype": "<f8"},
]
OF_BYTES = [
    {"id": "shuffle"},
    {"id": "zlib", "level": 3},
    {"id": "lz4", "acceleration": 1},
    {"id": "crc32"},
    {"id": "fletcher32"},
]
COMPRESSORS: list[Any] = [
    None,
    {"id": "zstd", "level": 3},
    {"id": "gzip", "level": 2},
    {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
    {"id": "lzma"},
]


def old_document(array: cs.Array) -> dict[str, Any]:
    stored = array.store.get(".zarray")
    assert stored is not None
    document: dict[str, Any] = json.loads(stored)
    return document


def ids(array: cs.Array) -> list[str]:
    """Give the ids of the filters and the compressor of a version 2 array."""
    document = old_document(array)
    return [codec["id"] for codec in (*(document["filters"] or []), document["compressor"] or {})
            if codec]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@settings(max_examples=30)
@given(
    of_numbers=st.sampled_from([[], *([codec] for codec in OF_NUMBERS)]),
    of_bytes=st.sampled_from(
        [[], *itertools.combinations(OF_BYTES, 1), *itertools.combinations(OF_BYTES, 2)]
    ),
    compressor=st.sampled_from(COMPRESSORS),
    order=st.sampled_from("CF"),
    dtype=st.sampled_from(["<f8", ">f8"]),
)
def test_filters_of_version_2(
    of_numbers: Any, of_bytes: Any, compressor: Any, order: Any, dtype: str
) -> None:
    """Filters cross to version 3 and back; every copy reads the same, to zarr-python too."""
    if dtype == ">f8" and of_numbers:
        dtype = "<f8"  # Filters that are told little-endian numbers.
    old = cs.create_array(
        None, data=VALUES.astype(dtype), dtype=dtype, chunks=(2, 4), zarr_format=2, order=order,
        filters=[*of_numbers, *of_bytes], compressors=compressor, fill_value=100,
    )  # fmt: skip
    expected = old[...]
    new = cs.copy(old, None, zarr_format=3)
    names = [spec.name.removeprefix("numcodecs.") for spec in new.metadata.codecs]
    wanted = [codec["id"] for codec in (*of_numbers, *of_bytes, *filter(None, [compressor]))]
    assert [name for name in names if name not in ("bytes", "transpose")] == wanted
    back = cs.copy(new, None, zarr_format=2)
    moved = cs.copy(old, None, chunks=(3, 4))
    for array in (new, back, moved, cs.copy(new, None, chunks=(3, 4))):
        np.testing.assert_array_equal(array[...], expected)
    assert old_document(moved)["dtype"] == dtype
    assert ids(moved) == ids(old)
    theirs = zarr.open_array({key: zarr.core.buffer.cpu.Buffer.from_bytes(new.store.get(key))
                              for key in new.store.list_prefix("")}, mode="r")  # fmt: skip
    np.testing.assert_array_equal(theirs[...], expected)


@pytest.mark.parametrize("place", ["filters", "compressors"])
def test_zfpy_and_pcodec(place: str) -> None:
    """Codecs from numbers to bytes cross both ways, but for zfpy that rounds: it is left out."""
    pytest.importorskip("zfpy", reason="an optional codec of numcodecs")
    pytest.importorskip("pcodec", reason="an optional codec of numcodecs")
    lossless, lossy = {"id": "zfpy", "mode": 4}, {"id": "zfpy", "mode": 4, "tolerance": 0.5}
    for codec, crosses in ((lossless, True), ({"id": "pcodec", "level": 3}, True), (lossy, False)):
        arguments = {"compressors": None, place: codec}
        old = cs.create_array(None, data=VALUES, chunks=(2, 4), zarr_format=2, **arguments)
        new = cs.copy(old, None, zarr_format=3)
        assert (new.metadata.codecs[0].name == f"numcodecs.{codec['id']}") is crosses
        again = cs.copy(new, None, zarr_format=2)
        assert (ids(again) == [codec["id"]]) is crosses
        np.testing.assert_array_equal(new[...], old[...])
        np.testing.assert_array_equal(again[...], old[...])


def named(name: str, **configuration: Any) -> dict[str, Any]:
    return {"name": name, "configuration": configuration}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["blosc"]),
        ({"compressors": None}, []),
        ({"compressors": named("crc32c")}, ["crc32c"]),
        ({"compressors": [{"id": "lz4"}, named("gzip", level=1), named("crc32c")]},
         ["lz4", "gzip"]),
        ({"filters": named("bitround", keepbits=20)}, ["bitround", "blosc"]),
        ({"filters": [named("transpose", order=[1, 0]), OF_NUMBERS[1]]}, ["quantize", "blosc"]),
        # Without a word in version 2; rounding alone would round other numbers.
        ({"filters": [named("cast_value", data_type="float32"), named("bitround", keepbits=3)]},
         ["blosc"]),
        ({"filters": named("reshape", shape=[-1])}, ["blosc"]),
        ({"filters": named("scale_offset", offset=1)}, ["blosc"]),
        ({"serializer": named("bytes", endian="big")}, ["blosc"]),
        ({"shards": (4, 8)}, ["blosc"]),
        ({"dtype": str, "compressors": named("zstd", level=1)}, ["vlen-utf8", "zstd"]),
    ],
)  # fmt: skip
def test_codecs_of_version_3(arguments: dict[str, Any], expected: list[str]) -> None:
    """Codecs of version 3 become filters and a compressor where there is a word for them."""
    values = VALUES.astype("U") if arguments.get("dtype") is str else VALUES
    new = cs.create_array(None, data=values, chunks=(2, 4), **arguments)
    old = cs.copy(new, None, zarr_format=2)
    assert ids(old) == expected
    np.testing.assert_array_equal(old[...], new[...])
    if "serializer" in arguments:
        assert old_document(old)["dtype"] == ">f8"
    if "shards" not in arguments:
        moved = cs.copy(new, None, chunks=(3, 3))
        names = {spec.name for spec in new.metadata.codecs}
        assert {spec.name for spec in moved.metadata.codecs} == names
        np.testing.assert_array_equal(moved[...], new[...])


def test_fill_values_that_the_filters_cannot_hold() -> None:
    """Filters that could not encode the padding of a copy are left out of it."""
    codec = {"id": "fixedscaleoffset", "offset": 100, "scale": 1, "dtype": "<f8", "astype": "|u1"}
    old = cs.create_array(None, data=np.full(8, 120.0), chunks=4, zarr_format=2, filters=codec)
    new = cs.copy(old, None, zarr_format=3, chunks=3)
    assert [spec.name for spec in new.metadata.codecs] == ["bytes", "blosc"]
    assert new[...].tolist() == old[...].tolist()


def test_types_without_a_name_in_the_other_format() -> None:
    """What version 3 has no type for is refused in words that name the array."""
    root = cs.create_group(None, zarr_format=2)
    root.create_array("a/ragged", shape=3, dtype="array:int32")
    with pytest.raises(InvalidArgumentError, match=r"cannot copy <Array /a/ragged .*no type"):
        cs.copy(root, None, zarr_format=3)


def test_key_encodings() -> None:
    """Chunks keep the form of their keys in copies of the same format."""
    old = cs.create_array(None, data=VALUES, chunks=(2, 4), zarr_format=2,
                          chunk_key_encoding={"name": "v2", "separator": "/"})  # fmt: skip
    assert "0/1" in list(cs.copy(old, None, chunks=(2, 3)).store.list_prefix(""))
    assert "c/0/1" in list(cs.copy(old, None, zarr_format=3).store.list_prefix(""))


def test_attributes_that_name_no_axes() -> None:
    """An attribute that only looks like the names of axes stays what it is."""
    old = cs.create_array(None, data=VALUES, zarr_format=2,
                          attributes={"_ARRAY_DIMENSIONS": ["x"]})  # fmt: skip
    new = cs.copy(old, None, zarr_format=3)
    assert new.dimension_names is None
    assert new.attrs["_ARRAY_DIMENSIONS"] == ["x"]


def test_fields_without_a_type_in_version_2() -> None:
    """A record with a field that version 2 has no type for is refused before anything is made."""
    pytest.importorskip("ml_dtypes", reason="an optional dependency")
    new = cs.create_array(None, shape=2, dtype=[("a", "bfloat16")])
    store = cs.MemoryStore()
    with pytest.raises(InvalidArgumentError, match="no type for field 'a' of bfloat16"):
        cs.copy(new, store, zarr_format=2)
    assert list(store.list_prefix("")) == []

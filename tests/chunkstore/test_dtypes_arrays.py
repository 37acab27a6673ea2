"""Arrays of the types that numpy has no dtype of its own for behave as their types promise."""

from __future__ import annotations

import json
from typing import Any

import numcodecs
import numpy as np
import pytest

import chunkstore as cs
from chunkstore.dtypes import from_v3
from chunkstore.errors import ChunkError, InvalidArgumentError

TRUSTED = cs.Options(allow_pickle=True)


def objects(*values: Any) -> np.ndarray:
    """Give an array of just these objects."""
    made = np.empty(len(values), object)
    for i, value in enumerate(values):
        made[i] = value
    return made


def document(store: cs.MemoryStore, key: str) -> Any:
    """Read a document."""
    value = store.get(key)
    assert value is not None
    return json.loads(bytes(value))


def test_ragged() -> None:
    """An element that is an array is written by assigning an array, and the fill value is empty."""
    store = cs.MemoryStore()
    made = cs.create_array(store, name="x", shape=5, chunks=2, dtype="array:i4", zarr_format=2)
    made[0] = np.array([1, 2, 3])
    made[1:3] = objects([4], None)
    again = cs.open_array(store, path="x")
    assert [item.tolist() for item in again[...]] == [[1, 2, 3], [4], [], [], []]
    assert again[0].dtype == np.dtype("i4")
    for value in (np.array([1.5]), np.array([[1]]), objects("a")):
        with pytest.raises(InvalidArgumentError, match="cannot write to"):
            made[0] = value
    assert made[0].tolist() == [1, 2, 3]


def test_bytes() -> None:
    """Byte strings are checked before any is written, and keep zeros at their end."""
    for zarr_format in (2, 3):
        made = cs.create_array(
            None, shape=4, chunks=2, dtype="bytes", fill_value=b"x\0", zarr_format=zarr_format
        )
        made[0] = b"a\0"
        assert made[...].tolist() == [b"a\0", b"x\0", b"x\0", b"x\0"]
        with pytest.raises(InvalidArgumentError, match="no bytes"):
            made[...] = [b"a", b"b", b"c", "d"]
        assert made[1] == b"x\0"


def test_text_with_zeros_for_a_fill_value() -> None:
    """The fill value of text keeps zeros at its end in chunks that are written in part."""
    made = cs.create_array(None, shape=4, chunks=2, dtype=str, fill_value="x\0")
    made[0] = "a"
    assert made[...].tolist() == ["a", "x\0", "x\0", "x\0"]


def test_complex_pairs() -> None:
    """Complex numbers of small floats take complex numbers, and read as records of two."""
    made = cs.create_array(None, shape=3, chunks=2, dtype="complex_float8_e4m3", fill_value=1j)
    made[0] = 1 + 2j
    assert made[...].tolist() == [(1, 2), (0, 1), (0, 1)]
    with pytest.raises(InvalidArgumentError, match="complex_float8_e4m3"):
        made[0] = 1000


@pytest.mark.parametrize("fill", [[1, 2], {"a": 1}, "x", None])
def test_objects_for_a_fill_value(fill: Any) -> None:
    """A list or an object is one fill value."""
    store = cs.MemoryStore()
    made = cs.create_array(
        store, name="x", shape=4, chunks=2, dtype=object, zarr_format=2, fill_value=fill,
        filters=[numcodecs.JSON()],
    )  # fmt: skip
    made[0] = "a"
    assert cs.open_array(store, path="x")[...].tolist() == ["a", fill, fill, fill]


def test_with_options_gives_and_takes_leave() -> None:
    """A handle may be given leave to read pickles, and one without it made of that."""
    made = cs.create_array(
        None, shape=2, dtype=object, zarr_format=2, filters=[numcodecs.Pickle()], options=TRUSTED
    )
    made[...] = objects({1}, 2j)
    refused = made.with_options(allow_pickle=False)
    with pytest.raises(ChunkError, match="allow_pickle=True"):
        refused[...]
    assert refused.with_options(allow_pickle=True)[...].tolist() == [{1}, 2j]


def test_document_objects_for_a_dtype() -> None:
    """A data type may be given as a version 3 document says it."""
    data_type = {"name": "numpy.datetime64", "configuration": {"unit": "μs", "scale_factor": 2}}
    store = cs.MemoryStore()
    made = cs.create_array(store, name="x", shape=2, dtype=data_type)
    assert made.dtype == np.dtype("M8[2us]")
    assert document(store, "x/zarr.json")["data_type"] == data_type


def test_version_2_has_one_nan() -> None:
    """Every NaN is the plain one as a version 2 fill value, in the handle as in the document."""
    fill = np.array([0xFFC00001], "u4").view("f4")[0]
    store = cs.MemoryStore()
    made = cs.create_array(store, name="x", shape=2, dtype="f4", fill_value=fill, zarr_format=2)
    assert document(store, "x/.zarray")["fill_value"] == "NaN"
    assert made.fill_value.view("u4") == 0x7FC00000
    made[0] = fill
    assert cs.open_array(store, path="x")[0].view("u4") == 0xFFC00001
    kept = cs.create_array(None, shape=2, dtype="f4", fill_value=fill)
    assert kept.fill_value.view("u4") == 0xFFC00001


@pytest.mark.parametrize(
    ("dtype", "zarr_format"), [([("a", "i4", (2,))], 3), (object, 3), ("uint4", 2)]
)
def test_refused_types_replace_nothing(dtype: Any, zarr_format: Any) -> None:
    """A type that the format does not have is refused while the array to be replaced is there."""
    store = cs.MemoryStore()
    cs.create_array(store, name="x", shape=1, dtype="i4")[...] = 7
    serializer: Any = {"name": "bytes", "configuration": {"endian": "little"}}
    layout = {"serializer": serializer} if zarr_format == 3 else {}
    with pytest.raises(InvalidArgumentError):
        cs.create_array(
            store, name="x", shape=1, dtype=dtype, overwrite=True, zarr_format=zarr_format, **layout
        )
    assert cs.open_array(store, path="x")[0] == 7


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (np.array([300]), "i1"),
        ([1.5], "i4"),
        (["abc"], "U2"),
        (np.array(["abc"]), "S2"),
        ([1], str),
    ],
)
def test_data_that_does_not_fit(data: Any, dtype: Any) -> None:
    """Data for a new array is held to the same rules as values for one that is there."""
    with pytest.raises(InvalidArgumentError, match="cannot write to the new array"):
        cs.create_array(None, data=data, dtype=dtype)


@pytest.mark.parametrize(
    "name", ["bytes", "variable_length_bytes", "string", "complex_float32", "raw"]
)
@pytest.mark.parametrize("chunks", [2, 3])
def test_copies_keep_the_type(name: str, chunks: int) -> None:
    """A copy in another layout has the type of the original, by the same name."""
    raw = {"name": "raw_bytes", "configuration": {"length_bytes": 2}}
    data_type = from_v3(raw if name == "raw" else name)
    made = cs.create_array(None, shape=4, chunks=2, dtype=data_type)
    value: Any = {"string": "é", "complex_float32": 1j, "raw": b"a\0"}.get(name, b"a\0")
    made[:3] = [value] * 3
    copied = cs.copy(made, cs.MemoryStore(), path="y", chunks=chunks)
    assert copied.metadata.data_type == data_type
    assert copied[...].tolist() == made[...].tolist()

"""Version 2 documents: types, fill values and filters are read, and written back as they were."""

from __future__ import annotations

import json
from typing import Any

import numcodecs
import numpy as np
import pytest

import chunkstore as cs
from chunkstore import metadata as formats
from chunkstore.errors import InvalidArgumentError, MetadataError
from chunkstore.metadata import v2
from chunkstore.metadata.model import ArrayMetadata, CodecSpec
from chunkstore.sharding import pipeline_problems

STRING = [{"id": "vlen-utf8"}]


def document(dtype: Any, **fields: Any) -> dict[str, Any]:
    """Write a document of an array of a type."""
    return {
        "zarr_format": 2,
        "shape": [4],
        "chunks": [2],
        "dtype": dtype,
        "fill_value": None,
        "order": "C",
        "filters": None,
        "dimension_separator": ".",
        "compressor": None,
        **fields,
    }


def parse(given: dict[str, Any]) -> ArrayMetadata:
    """Read a document."""
    found = formats.decode("x/.zarray", json.dumps(given).encode(), store="a test")
    assert isinstance(found, ArrayMetadata)
    return found


def rewritten(given: dict[str, Any]) -> dict[str, Any]:
    """Read a document and write it again."""
    found: dict[str, Any] = json.loads(formats.encode("x", parse(given))["x/.zarray"])
    return found


DOCUMENTS = [
    document("|b1", fill_value=True),
    document("|u1", fill_value=7),
    document("<i4", fill_value=-1),
    document(">f8", fill_value="-Infinity"),
    document("<f4", fill_value="0x7fc00001"),
    document(">c8", fill_value=[1.0, "NaN"]),
    document("|S3", fill_value="YWI="),
    document("|V3", fill_value="YWJj"),
    document(">U3", fill_value="é"),
    document("<M8[ns]", fill_value=-9223372036854775808),
    document(">m8[25us]", fill_value=3),
    document("<m8[10generic]", fill_value=0),
    document([["a", "<i2"], ["b", "|u1"]], fill_value="AQID"),
    document([["a", ">i2"], ["b", ">i2", [2]]], fill_value="AAEAAgAD"),
    document([["a", "<i2"], ["b", ">i2"]], fill_value="AQAAAg=="),
    document([["a", "|u1"], ["", "|V3"], ["n", [["b", "<u4"]]]], fill_value="AQAAAAIAAAA="),
    document("bfloat16", fill_value=1.5),
    document("float8_e5m2", fill_value="NaN"),
    document("int4", fill_value=-8),
    document("|O", filters=STRING, fill_value="é"),
    document("|O", filters=STRING),
    document("|O", filters=[{"id": "vlen-bytes"}], fill_value="YQA="),
    document("|O", filters=[{"id": "vlen-array", "dtype": ">i4"}], fill_value=[1, 2]),
    document("|O", filters=[{"id": "json2", "encoding": "utf-8"}], fill_value={"a": [1]}),
    document("|O", filters=[{"id": "json2"}], fill_value=[1, 2]),
    document("|O", filters=[{"id": "msgpack2", "raw": False}], fill_value=0),
    document("|O", filters=[{"id": "pickle", "protocol": 4}], fill_value=None),
    document(
        "|O",
        filters=[{"id": "categorize", "labels": ["a", "b"], "dtype": "|O", "astype": "|u1"}],
        fill_value="b",
    ),
    document("|O", filters=[*STRING, {"id": "zlib", "level": 3}]),
    document("|O", filters=[*STRING, {"id": "shuffle"}], compressor={"id": "zlib", "level": 3}),
    document("|O", filters=STRING, shape=[4, 4], chunks=[2, 2], order="F"),
    document("<i4", filters=[{"id": "json2"}], fill_value=1),
    document("<i4", filters=[{"id": "delta", "dtype": "<i4"}], compressor={"id": "zlib"}),
    document("<i4", shape=[], chunks=[]),
    document("<i4", extra_field={"a": 1}),
]


@pytest.mark.parametrize("given", DOCUMENTS, ids=lambda d: f"{d['dtype']}-{d['filters']}")
def test_rewriting_changes_nothing(given: dict[str, Any]) -> None:
    """A document that is read and written again says the same."""
    assert rewritten(given) == given


@pytest.mark.parametrize("given", DOCUMENTS, ids=lambda d: f"{d['dtype']}-{d['filters']}")
def test_every_document_has_a_pipeline(given: dict[str, Any]) -> None:
    """What the document says of filters and types leads to codecs that fit."""
    assert not isinstance(pipeline_problems(parse(given), cs.Options()), list)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (document("<i1"), document("|i1")),
        (document(">S3"), document("|S3")),
        (document("<V4"), document("|V4")),
        (document("<M8[1D]"), document("<M8[D]")),
        (document("<i4", fill_value=1.0), document("<i4", fill_value=1)),
        (document("|b1", fill_value=0), document("|b1", fill_value=False)),
        (document("|S1", fill_value="\0"), document("|S1", fill_value="")),
        (
            document("|O", filters=STRING, fill_value=0),
            document("|O", filters=STRING, fill_value=""),
        ),
        (
            document("|O", filters=[{"id": "vlen-array", "dtype": "<i4"}], fill_value=0),
            document("|O", filters=[{"id": "vlen-array", "dtype": "<i4"}], fill_value=[0]),
        ),
        # The filter of objects as the compressor, as writers before filters had it.
        (document("|O", compressor={"id": "json2"}), document("|O", filters=[{"id": "json2"}])),
        (
            document("<i4", filters=[{"id": "json2"}], shape=[4, 4], chunks=[2, 2], order="F"),
            document("<i4", filters=[{"id": "json2"}], shape=[4, 4], chunks=[2, 2]),
        ),
    ],
)  # fmt: skip
def test_spellings_of_others(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """What other writers spell in another way is read, and written as the specification has it."""
    assert rewritten(theirs) == ours


@pytest.mark.parametrize(
    ("given", "path", "what"),
    [
        (document("|O"), "dtype", "needs a first filter that turns objects into bytes"),
        (document("|O", filters=[{"id": "zlib"}]), "dtype", "needs a first filter"),
        (document("|O", filters=[{"id": "shuffle"}, *STRING]), "dtype", "first filter"),
        (document("nonsense"), "dtype", "is not known"),
        (document("<i4", fill_value=1.5), "fill_value", "a JSON integer"),
        (document("|S2", fill_value="YWJj"), "fill_value", "at most 2 bytes"),
        (document("|V2", fill_value="YQ=="), "fill_value", "2 integers"),
        (document([["a", "<i2"]], fill_value="AQID"), "fill_value", "base64 of 2 bytes"),
        (document([["a", "<i2"]], fill_value={"b": 1}), "fill_value", "field 'a'"),
        (document("|O", filters=STRING, fill_value=1), "fill_value", "a string"),
        (document("|O", filters=[{"id": "vlen-bytes"}], fill_value="?"), "fill_value", "base64"),
        (document("|O", filters=[{"id": "vlen-array"}]), "dtype", "None is not known"),
        (
            document("|O", filters=[{"id": "vlen-array", "dtype": "<i4"}], fill_value=["a"]),
            "fill_value",
            "JSON integer",
        ),
    ],
)  # fmt: skip
def test_problems(given: dict[str, Any], path: str, what: str) -> None:
    """What cannot be meant is reported at its field."""
    with pytest.raises(MetadataError) as caught:
        parse(given)
    found = [problem for where, problem in caught.value.problems if where == path]  # type: ignore[attr-defined]
    assert found, caught.value
    assert what in found[0]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (document("|O", filters=[{"id": "json2", "nonsense": 1}]), "filters[0].nonsense"),
        (document("|O", filters=[{"id": "categorize", "labels": ["a"]}]), "filters[0].dtype"),
        (document("<c8", filters=[{"id": "json2"}]), "filters[0]"),
        (document("<U2", filters=STRING), "filters[0]"),
    ],
)
def test_problems_of_object_filters(given: dict[str, Any], path: str) -> None:
    """What is wrong with the filter of objects is reported at the filter."""
    store = cs.MemoryStore()
    store.set("x/.zarray", json.dumps(given).encode())
    with pytest.raises(MetadataError) as caught:
        cs.open_array(store, path="x")
    assert [where for where, _ in caught.value.problems] == [path]  # type: ignore[attr-defined]


def test_codecs_of_text() -> None:
    """The filter of text becomes the codec of that name; what follows it sees bytes."""
    given = document("|O", filters=[*STRING, {"id": "zlib"}], compressor={"id": "bz2"})
    codecs = parse(given).codecs
    assert codecs[0].name == v2.FILTER_CHAIN
    assert codecs[0].configuration["serializer"] == CodecSpec("vlen-utf8", {})
    assert [spec.name for spec in codecs[0].configuration["filters"]] == ["numcodecs.zlib"]
    assert codecs[1].name == "numcodecs.bz2"


@pytest.mark.parametrize("filter_id", ["json2", "msgpack2", "pickle"])
def test_order_of_documents_that_keep_the_shape(filter_id: str) -> None:
    """Filters that store the shape store it as numpy sees it, whatever the order says."""
    fields: dict[str, Any] = {"shape": [4, 4], "chunks": [2, 2], "order": "F"}
    given = document("|O", filters=[{"id": filter_id}], **fields)
    assert [spec.name for spec in parse(given).codecs] == [f"numcodecs.{filter_id}"]
    given = document("|O", filters=STRING, **fields)
    assert [spec.name for spec in parse(given).codecs] == ["transpose", "vlen-utf8"]


@pytest.mark.parametrize(
    ("dtype", "filters", "stored"),
    [
        (str, None, ["vlen-utf8"]),
        ("bytes", None, ["vlen-bytes"]),
        ("array:<f4", None, ["vlen-array"]),
        (str, [numcodecs.Zlib()], ["vlen-utf8", "zlib"]),
        (str, [numcodecs.VLenUTF8(), numcodecs.Zlib()], ["vlen-utf8", "zlib"]),
        (str, [numcodecs.Categorize(["a"], dtype=object)], ["categorize"]),
        ("bytes", [numcodecs.VLenBytes()], ["vlen-bytes"]),
        ("array:i4", [numcodecs.VLenArray("<i4")], ["vlen-array"]),
        (object, [numcodecs.JSON()], ["json2"]),
        (object, numcodecs.MsgPack(), ["msgpack2"]),
        ("i4", [numcodecs.JSON()], ["json2"]),
    ],
    ids=str,
)
def test_creating_adds_the_filter(dtype: Any, filters: Any, stored: list[str]) -> None:
    """A new array of objects gets the filter its type needs, unless one is given."""
    store = cs.MemoryStore()
    cs.create_array(store, name="x", shape=2, dtype=dtype, filters=filters, zarr_format=2)
    value = store.get("x/.zarray")
    assert value is not None
    assert [entry["id"] for entry in json.loads(bytes(value))["filters"]] == stored


@pytest.mark.parametrize(
    ("dtype", "filters", "what"),
    [
        (object, None, "can be many things"),
        (object, [numcodecs.Zlib()], "can be many things"),
        (object, [numcodecs.VLenUTF8()], "vlen-utf8 holds the data type string"),
        (object, [numcodecs.VLenBytes()], "dtype='bytes'"),
        (object, [numcodecs.VLenArray("<i4")], "dtype='array:int32'"),
        (str, [numcodecs.VLenBytes()], "dtype='bytes'"),
        (str, [numcodecs.JSON()], "dtype=object"),
        ("uint4", None, "version 2 has no uint4"),
        ("complex_float16", None, "version 2 has no complex_float16"),
    ],
    ids=str,
)
def test_creating_refuses(dtype: Any, filters: Any, what: str) -> None:
    """A type without a filter that turns it into bytes is refused before anything is made."""
    store = cs.MemoryStore()
    with pytest.raises(InvalidArgumentError, match=what):
        cs.create_array(store, name="x", shape=2, dtype=dtype, filters=filters, zarr_format=2)
    assert not store.list_dir("").prefixes


def test_big_endian_records_are_stored_big() -> None:
    """An order that holds for all fields of a new array is that of the document."""
    store = cs.MemoryStore()
    dtype = np.dtype([("a", ">i4"), ("b", "u1")])
    made = cs.create_array(
        store, name="x", shape=2, dtype=dtype, zarr_format=2, compressors=None, fill_value=(1, 2)
    )
    made[0] = (3, 4)
    value = store.get("x/.zarray")
    assert value is not None
    found = json.loads(bytes(value))
    assert found["dtype"] == [["a", ">i4"], ["b", "|u1"]]
    assert found["fill_value"] == "AAAAAQI="
    assert bytes(store.get("x/0") or b"") == b"\0\0\0\3\4\0\0\0\1\2"

"""Documents that break their format, and odd ones that do not.

Every row of the tables is one document. An invalid one is refused with the JSON path of what is
wrong with it; an unusual but valid one, as other programs write them, opens.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import MetadataError

ARRAY: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 6],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0.0,
    "codecs": [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "gzip", "configuration": {"level": 1}},
    ],
    "attributes": {},
}
GROUP: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {}}
OLD_ARRAY: dict[str, Any] = {
    "zarr_format": 2,
    "shape": [4, 6],
    "chunks": [2, 3],
    "dtype": "<f4",
    "compressor": {"id": "gzip", "level": 1},
    "fill_value": 0.0,
    "order": "C",
    "filters": None,
}
INT8 = {"data_type": "int8", "fill_value": 0, "codecs": ["bytes"]}


class _Gone:
    """Stands for a member that is taken out; its name keeps the tests' names the same each run."""

    def __repr__(self) -> str:
        return "GONE"


GONE = _Gone()

CHUNK_SHAPE = "chunk_grid.configuration.chunk_shape"
CHUNK_SHAPES = "chunk_grid.configuration.chunk_shapes"


class Row(NamedTuple):
    """One document: what is changed in a valid one, the JSON path and a word of the problem."""

    changes: Mapping[str, Any]
    path: str
    word: str


def changed(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Give the document with the members at some JSON paths replaced, added or taken out."""
    made = copy.deepcopy(dict(document))
    for path, value in changes.items():
        *above, last = [
            int(i) if i else key for key, i in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path)
        ]
        place: Any = made
        for part in above:
            place = place[part]
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return made


def rectilinear(*shapes: Any, **more: Any) -> dict[str, Any]:
    """Give the change to a rectilinear grid."""
    configuration = {"kind": "inline", "chunk_shapes": list(shapes), **more}
    return {"chunk_grid": {"name": "rectilinear", "configuration": configuration}}


def codec(name: str, must_understand: Any = True, /, **configuration: Any) -> dict[str, Any]:
    """Give the object of a codec."""
    made: dict[str, Any] = {"name": name, "configuration": configuration}
    return made if must_understand is True else {**made, "must_understand": must_understand}


BYTES = codec("bytes", endian="little")


def shards(**changes: Any) -> dict[str, Any]:
    """Give the change to a sharding codec, with changes to its configuration."""
    whole = {
        "chunk_shape": [1, 3],
        "codecs": [BYTES],
        "index_codecs": [BYTES, {"name": "crc32c"}],
        "index_location": "end",
        **changes,
    }
    kept = {key: value for key, value in whole.items() if value is not GONE}
    return {"codecs": [codec("sharding_indexed", **kept)]}


SHARDING = "codecs[0].configuration"

ARRAYS = [
    # What the document is.
    Row({"zarr_format": GONE}, "zarr_format", "missing"),
    Row({"zarr_format": 2}, "zarr_format", "must be 3"),
    Row({"zarr_format": 4}, "zarr_format", "newer"),
    Row({"zarr_format": 3.0}, "zarr_format", "integer"),
    Row({"zarr_format": "3"}, "zarr_format", "integer"),
    Row({"zarr_format": True}, "zarr_format", "integer"),
    Row({"zarr_format": None}, "zarr_format", "integer"),
    Row({"node_type": GONE}, "node_type", "array"),
    Row({"node_type": "Array"}, "node_type", "'Array'"),
    Row({"node_type": 1}, "node_type", "got 1"),
    # Members that must be there.
    Row({"shape": GONE}, "shape", "missing"),
    Row({"data_type": GONE}, "data_type", "missing"),
    Row({"chunk_grid": GONE}, "chunk_grid", "missing"),
    Row({"chunk_key_encoding": GONE}, "chunk_key_encoding", "missing"),
    Row({"fill_value": GONE}, "fill_value", "missing"),
    Row({"codecs": GONE}, "codecs", "missing"),
    # Shape.
    Row({"shape": None}, "shape", "list"),
    Row({"shape": 24}, "shape", "list"),
    Row({"shape": "4x6"}, "shape", "list"),
    Row({"shape": {"0": 4}}, "shape", "list"),
    Row({"shape": [4, -1]}, "shape[1]", "at least 0"),
    Row({"shape": [4.0, 6]}, "shape[0]", "4.0"),
    Row({"shape": [4, "6"]}, "shape[1]", "'6'"),
    Row({"shape": [True, 6]}, "shape[0]", "True"),
    Row({"shape": [None, 6]}, "shape[0]", "None"),
    Row({"shape": [[4], 6]}, "shape[0]", "[4]"),
    Row({"shape": [4, 2**63]}, "shape[1]", "2**63 - 1"),
    Row({"shape": [4, 10**400]}, "shape[1]", "2**63 - 1"),
    Row({"shape": [4]}, CHUNK_SHAPE, "2 entries"),
    Row({"shape": []}, CHUNK_SHAPE, "has 0"),
    # Data type.
    Row({"data_type": "float99"}, "data_type", "float99"),
    Row({"data_type": "Float32"}, "data_type", "a-z"),
    Row({"data_type": "<f4"}, "data_type", "a-z"),
    Row({"data_type": ""}, "data_type", "a-z"),
    Row({"data_type": 32}, "data_type", "32"),
    Row({"data_type": None}, "data_type", "None"),
    Row({"data_type": ["float32"]}, "data_type", "float32"),
    Row({"data_type": {}}, "data_type.name", "string"),
    Row({"data_type": {"name": 5}}, "data_type.name", "string"),
    Row(
        {"data_type": {"name": "float32", "configuration": []}}, "data_type.configuration", "object"
    ),
    Row({"data_type": {"name": "float32", "configuration": {"bits": 9}}}, "data_type", "bits"),
    Row(
        {"data_type": {"name": "float32", "must_understand": False}},
        "data_type.must_understand",
        "must not be false",
    ),
    Row({"data_type": {"name": "float32", "size": 4}}, "data_type.size", "not a field"),
    # Fill value.
    Row({"fill_value": None}, "fill_value", "None"),
    Row({"fill_value": "zero"}, "fill_value", "zero"),
    Row({"fill_value": "0x00"}, "fill_value", "0x00"),
    Row({"fill_value": "nan"}, "fill_value", "nan"),
    Row({"fill_value": True}, "fill_value", "True"),
    Row({"fill_value": [0.0]}, "fill_value", "[0.0]"),
    Row({"fill_value": float("nan")}, "fill_value", "NaN"),
    Row({**INT8, "fill_value": 128}, "fill_value", "128"),
    Row({**INT8, "fill_value": 1.0}, "fill_value", "1.0"),
    Row({**INT8, "fill_value": "1"}, "fill_value", "'1'"),
    Row({**INT8, "data_type": "uint8", "fill_value": -1}, "fill_value", "-1"),
    Row({**INT8, "data_type": "bool", "fill_value": 0}, "fill_value", "true or false"),
    Row({**INT8, "data_type": "bool", "fill_value": "false"}, "fill_value", "true or false"),
    Row({"data_type": "complex64", "fill_value": 1.0}, "fill_value", "list"),
    Row({"data_type": "complex64", "fill_value": [0.0]}, "fill_value", "list"),
    Row({"data_type": "complex64", "fill_value": [0.0, "x"]}, "fill_value", "'x'"),
    Row({"data_type": "string", "fill_value": 0, "codecs": ["vlen-utf8"]}, "fill_value", "string"),
    # Regular grids.
    Row({"chunk_grid": "regular"}, CHUNK_SHAPE, "missing"),
    Row({"chunk_grid": "Regular"}, "chunk_grid", "a-z"),
    Row({"chunk_grid": "hexagonal"}, "chunk_grid.name", "hexagonal"),
    Row({"chunk_grid": [2, 3]}, "chunk_grid", "object"),
    Row({"chunk_grid": None}, "chunk_grid", "None"),
    Row({"chunk_grid.name": 7}, "chunk_grid.name", "string"),
    Row({"chunk_grid.name": GONE}, "chunk_grid.name", "string"),
    Row({"chunk_grid.configuration": [2, 3]}, "chunk_grid.configuration", "object"),
    Row({"chunk_grid.configuration": None}, "chunk_grid.configuration", "object"),
    Row({"chunk_grid.configuration": {}}, CHUNK_SHAPE, "missing"),
    Row({"chunk_grid.must_understand": False}, "chunk_grid.must_understand", "must not be false"),
    Row({"chunk_grid.must_understand": "no"}, "chunk_grid.must_understand", "true or false"),
    Row({"chunk_grid.chunk_shape": [2, 3]}, "chunk_grid.chunk_shape", "not a field"),
    Row({"chunk_grid.configuration.origin": [0]}, "chunk_grid.configuration.origin", "not known"),
    Row({CHUNK_SHAPE: 2}, CHUNK_SHAPE, "list"),
    Row({CHUNK_SHAPE: [2]}, CHUNK_SHAPE, "1 entries"),
    Row({CHUNK_SHAPE: [2, 3, 1]}, CHUNK_SHAPE, "3 entries"),
    Row({CHUNK_SHAPE: [2, 0]}, CHUNK_SHAPE + "[1]", "at least 1"),
    Row({CHUNK_SHAPE: [-2, 3]}, CHUNK_SHAPE + "[0]", "-2"),
    Row({CHUNK_SHAPE: [2.0, 3]}, CHUNK_SHAPE + "[0]", "2.0"),
    Row({CHUNK_SHAPE: [False, 3]}, CHUNK_SHAPE + "[0]", "False"),
    Row({CHUNK_SHAPE: [[2, 2], 3]}, CHUNK_SHAPE + "[0]", "integer"),
    Row({CHUNK_SHAPE: [2**40, 2**40]}, "chunk_grid.configuration", "bytes"),
    # Rectilinear grids.
    Row({"chunk_grid": "rectilinear"}, CHUNK_SHAPES, "missing"),
    Row(rectilinear(2, 3, kind="outline"), "chunk_grid.configuration.kind", "outline"),
    Row(rectilinear(2, 3, kind=None), "chunk_grid.configuration.kind", "inline"),
    Row(rectilinear(2, 3, edges=[1]), "chunk_grid.configuration.edges", "not known"),
    Row(rectilinear(2, 3, chunk_shapes=2), CHUNK_SHAPES, "list"),
    Row(rectilinear(2), CHUNK_SHAPES, "1 entries"),
    Row(rectilinear(0, 3), CHUNK_SHAPES + "[0]", "chunk size"),
    Row(rectilinear("2", 3), CHUNK_SHAPES + "[0]", "chunk size"),
    Row(rectilinear([2, 0, 2], 3), CHUNK_SHAPES + "[0][1]", "at least 1"),
    Row(rectilinear([2, 2.0], 3), CHUNK_SHAPES + "[0][1]", "2.0"),
    Row(rectilinear([4], [[3, 2, 1]]), CHUNK_SHAPES + "[1][0]", "[edge, count]"),
    Row(rectilinear([4], [[3]]), CHUNK_SHAPES + "[1][0]", "[edge, count]"),
    Row(rectilinear([4], [[]]), CHUNK_SHAPES + "[1][0]", "[edge, count]"),
    Row(rectilinear([4], [[0, 2], 6]), CHUNK_SHAPES + "[1][0][0]", "at least 1"),
    Row(rectilinear([4], [[6, 0]]), CHUNK_SHAPES + "[1][0][1]", "at least 1"),
    Row(rectilinear([4], [[6, True]]), CHUNK_SHAPES + "[1][0][1]", "True"),
    Row(rectilinear([4], [[6, 1.5]]), CHUNK_SHAPES + "[1][0][1]", "1.5"),
    Row(rectilinear([1, 2], 3), CHUNK_SHAPES + "[0]", "sum to 3"),
    Row(rectilinear([], 3), CHUNK_SHAPES + "[0]", "sum to 0"),
    Row(rectilinear([4], [6, [2**62, 4]]), CHUNK_SHAPES + "[1]", "2**63 - 1"),
    Row(rectilinear([4], [2**63]), CHUNK_SHAPES + "[1][0]", "2**63 - 1"),
    Row({**rectilinear([4], [6]), "shape": [4]}, CHUNK_SHAPES, "2 entries"),
    # Chunk key encodings.
    Row({"chunk_key_encoding": "fancy"}, "chunk_key_encoding.name", "fancy"),
    Row({"chunk_key_encoding": "Default"}, "chunk_key_encoding", "a-z"),
    Row({"chunk_key_encoding": None}, "chunk_key_encoding", "None"),
    Row({"chunk_key_encoding": []}, "chunk_key_encoding", "object"),
    Row({"chunk_key_encoding.name": None}, "chunk_key_encoding.name", "string"),
    Row(
        {"chunk_key_encoding.must_understand": False},
        "chunk_key_encoding.must_understand",
        "must not be false",
    ),
    Row(
        {"chunk_key_encoding.configuration.separator": "-"},
        "chunk_key_encoding.configuration.separator",
        "'-'",
    ),
    Row(
        {"chunk_key_encoding.configuration.separator": None},
        "chunk_key_encoding.configuration.separator",
        "None",
    ),
    Row(
        {"chunk_key_encoding.configuration.prefix": "x"},
        "chunk_key_encoding.configuration.prefix",
        "not known",
    ),
    Row({"chunk_key_encoding.separator": "/"}, "chunk_key_encoding.separator", "not a field"),
    # The list of codecs.
    Row({"codecs": []}, "codecs", "empty"),
    Row({"codecs": None}, "codecs", "list"),
    Row({"codecs": "bytes"}, "codecs", "list"),
    Row({"codecs": {"name": "bytes"}}, "codecs", "list"),
    Row({"codecs": [5]}, "codecs[0]", "name"),
    Row({"codecs": [None]}, "codecs[0]", "name"),
    Row({"codecs": [{}]}, "codecs[0].name", "string"),
    Row({"codecs": [{"id": "bytes"}]}, "codecs[0].id", "not a field"),
    Row({"codecs": [BYTES, {"name": "GZip"}]}, "codecs[1].name", "a-z"),
    Row({"codecs": [BYTES, "g"]}, "codecs[1]", "a-z"),
    Row({"codecs": [BYTES, "squash"]}, "codecs[1]", "squash"),
    Row({"codecs": [BYTES, "https://example.com/squash"]}, "codecs[1]", "squash"),
    Row({"codecs[1].configuration": "fast"}, "codecs[1].configuration", "object"),
    Row({"codecs[1].must_understand": 0}, "codecs[1].must_understand", "true or false"),
    Row({"codecs[1].level": 1}, "codecs[1].level", "not a field"),
    Row({"codecs": [codec("gzip", level=1)]}, "codecs[0]", "bytes"),
    Row({"codecs": [codec("gzip", level=1), BYTES]}, "codecs[0]", "bytes"),
    Row({"codecs": [BYTES, BYTES]}, "codecs[1]", "takes an array"),
    Row({"codecs": [BYTES, codec("transpose", order=[1, 0])]}, "codecs[1]", "takes an array"),
    Row({"codecs": [codec("transpose", order=[1, 0])]}, "codecs", "array to bytes"),
    Row({"codecs": [codec("squash", False)]}, "codecs", "array to bytes"),
    # What single codecs are given.
    Row({"codecs": ["bytes"]}, "codecs[0]", "endian"),
    Row({"codecs": [codec("bytes", endian="big-ish")]}, "codecs[0]", "big-ish"),
    Row({"codecs": [codec("bytes", endian="big", order="C")]}, "codecs[0]", "order"),
    Row({"data_type": "string", "fill_value": ""}, "codecs[0]", "string"),
    Row({"codecs": ["vlen-utf8"]}, "codecs[0]", "float32"),
    Row({"codecs": [codec("transpose"), BYTES]}, "codecs[0]", "order"),
    Row({"codecs": [codec("transpose", order="F"), BYTES]}, "codecs[0]", "F"),
    Row({"codecs": [codec("transpose", order=[0, 0]), BYTES]}, "codecs[0]", "[0, 0]"),
    Row({"codecs": [codec("transpose", order=[0]), BYTES]}, "codecs[0]", "[0]"),
    Row({"codecs": [BYTES, "gzip"]}, "codecs[1].configuration.level", "level"),
    Row({"codecs[1].configuration.level": 10}, "codecs[1].configuration.level", "10"),
    Row({"codecs[1].configuration.level": "1"}, "codecs[1].configuration.level", "'1'"),
    Row({"codecs[1].configuration.level": True}, "codecs[1].configuration.level", "True"),
    Row({"codecs[1].configuration.speed": 1}, "codecs[1].configuration.speed", "speed"),
    Row({"codecs": [BYTES, codec("zstd", level=40, checksum=False)]}, "codecs[1]", "40"),
    Row({"codecs": [BYTES, codec("crc32c", seed=1)]}, "codecs[1].configuration.seed", "seed"),
    Row({"codecs": [BYTES, codec("numcodecs.nothing")]}, "codecs[1]", "nothing"),
    # Shards.
    Row(shards(chunk_shape=[3, 3]), f"{SHARDING}.chunk_shape", "divides"),
    Row(shards(chunk_shape=[1]), f"{SHARDING}.chunk_shape", "divides"),
    Row(shards(chunk_shape=[0, 3]), f"{SHARDING}.chunk_shape", "at least 1"),
    Row(shards(chunk_shape=GONE), f"{SHARDING}.chunk_shape", "chunk_shape"),
    Row(shards(codecs=GONE), f"{SHARDING}.codecs", "codecs"),
    Row(shards(codecs=[]), f"{SHARDING}.codecs", "array to bytes"),
    Row(shards(codecs="bytes"), f"{SHARDING}.codecs", "list"),
    Row(shards(codecs=[{"name": 1}]), f"{SHARDING}.codecs[0].name", "string"),
    Row(shards(codecs=[BYTES, codec("gzip", level=11)]), f"{SHARDING}.codecs[1]", "11"),
    Row(shards(index_codecs=[BYTES, codec("gzip", level=1)]), f"{SHARDING}.index_codecs", "fixed"),
    Row(shards(index_location="middle"), f"{SHARDING}.index_location", "middle"),
    Row(shards(index="here"), f"{SHARDING}.index", "index"),
    Row(
        {**shards(chunk_shape=[2, 3]), **rectilinear([1, 3], 3)},
        f"{SHARDING}.chunk_shape",
        "divides",
    ),
    Row(
        {**shards(chunk_shape=[1, 2]), **rectilinear([1, 3], [4, 1, 2])},
        f"{SHARDING}.chunk_shape",
        "for chunks of shape (3, 1)",
    ),
    # Optional members.
    Row({"attributes": None}, "attributes", "object"),
    Row({"attributes": [1]}, "attributes", "object"),
    Row({"dimension_names": "xy"}, "dimension_names", "list"),
    Row({"dimension_names": ["x"]}, "dimension_names", "1 entries"),
    Row({"dimension_names": ["x", 2]}, "dimension_names[1]", "string"),
    Row({"storage_transformers": {}, "shape": None}, "shape", "list"),
    Row({"storage_transformers": 3}, "storage_transformers", "list"),
    Row({"storage_transformers": [{"name": "cache"}]}, "storage_transformers[0]", "cache"),
    Row({"storage_transformers": ["cache"]}, "storage_transformers[0]", "cache"),
    Row(
        {"storage_transformers": [{"name": "cache", "must_understand": False}]},
        "storage_transformers[0]",
        "not supported",
    ),
    # Members that are not known.
    Row({"compressor": None}, "compressor", "not known"),
    Row({"extra": {"must_understand": True}}, "extra", "must_understand"),
    Row({"extra": {"must_understand": 0}}, "extra", "must_understand"),
    Row({"extra": {}}, "extra", "must_understand"),
    Row({"very odd": 1}, '["very odd"]', "not known"),
    Row({"consolidated_metadata": None}, "consolidated_metadata", "not known"),
]  # fmt: skip

GROUPS = [
    Row({"zarr_format": GONE}, "zarr_format", "missing"),
    Row({"zarr_format": 5}, "zarr_format", "newer"),
    Row({"node_type": "folder"}, "node_type", "folder"),
    Row({"attributes": "none"}, "attributes", "object"),
    Row({"attributes": None}, "attributes", "object"),
    Row({"shape": [1]}, "shape", "not known"),
    Row({"extra": {"must_understand": True}}, "extra", "must_understand"),
    Row({"consolidated_metadata": []}, "consolidated_metadata", "object"),
    Row({"consolidated_metadata": {}}, "consolidated_metadata.kind", "inline"),
    Row({"consolidated_metadata": {"kind": "link"}}, "consolidated_metadata.kind", "link"),
]

OLD_ARRAYS = [
    Row({"zarr_format": GONE}, "zarr_format", "missing"),
    Row({"zarr_format": 3}, "zarr_format", "must be 2"),
    Row({"zarr_format": 1}, "zarr_format", "must be 2"),
    Row({"zarr_format": 2.0}, "zarr_format", "integer"),
    Row({"shape": GONE}, "shape", "missing"),
    Row({"chunks": GONE}, "chunks", "missing"),
    Row({"dtype": GONE}, "dtype", "missing"),
    Row({"compressor": GONE}, "compressor", "missing"),
    Row({"fill_value": GONE}, "fill_value", "missing"),
    Row({"order": GONE}, "order", "missing"),
    Row({"filters": GONE}, "filters", "missing"),
    Row({"shape": 4}, "shape", "list"),
    Row({"shape": [4, -6]}, "shape[1]", "-6"),
    Row({"shape": [4, 6.0]}, "shape[1]", "6.0"),
    Row({"chunks": [2]}, "chunks", "1 entries"),
    Row({"chunks": None}, "chunks", "list"),
    Row({"chunks": [2, 0]}, "chunks[1]", "at least 1"),
    Row({"chunks": [2, True]}, "chunks[1]", "True"),
    Row({"chunks": [2**40, 2**40]}, "chunks", "bytes"),
    Row({"dtype": "f4"}, "dtype", "f4"),
    Row({"dtype": "<q4"}, "dtype", "q4"),
    Row({"dtype": "<f3"}, "dtype", "f3"),
    Row({"dtype": 4}, "dtype", "4"),
    Row({"dtype": None}, "dtype", "None"),
    Row({"dtype": "|O"}, "dtype", "O"),
    Row({"order": "A"}, "order", "'A'"),
    Row({"order": None}, "order", "None"),
    Row({"dimension_separator": "-"}, "dimension_separator", "'-'"),
    Row({"dimension_separator": None}, "dimension_separator", "None"),
    Row({"fill_value": "none"}, "fill_value", "none"),
    Row({"fill_value": []}, "fill_value", "[]"),
    Row({"dtype": "|u1", "fill_value": 256}, "fill_value", "256"),
    Row({"dtype": "|b1", "fill_value": "yes"}, "fill_value", "yes"),
    Row({"compressor": "gzip"}, "compressor", "gzip"),
    Row({"compressor": {"name": "gzip"}}, "compressor", "id"),
    Row({"compressor": {"id": 5}}, "compressor", "id"),
    Row({"compressor": {"id": "squash"}}, "compressor", "squash"),
    Row({"compressor": {"id": "gzip", "level": 99}}, "compressor.level", "99"),
    Row({"compressor": {"id": "blosc", "cname": "brotli"}}, "compressor.cname", "brotli"),
    Row({"filters": {"id": "delta"}}, "filters", "list"),
    Row({"filters": [{"name": "delta"}]}, "filters[0]", "id"),
    Row({"filters": [{"id": "squash"}]}, "filters[0]", "squash"),
    Row({"order": "F", "filters": [{"id": "squash"}]}, "filters[0]", "squash"),
]

INNER = "consolidated_metadata.metadata"

COPIES: list[tuple[Any, str, str]] = [
    ([], INNER, "object"),
    (None, INNER, "object"),
    ({"x": 5}, f"{INNER}.x", "object"),
    ({"/x": ARRAY}, f'{INNER}["/x"]', "no path"),
    ({"a//x": ARRAY}, f'{INNER}["a//x"]', "no path"),
    ({"../x": ARRAY}, f'{INNER}["../x"]', "no path"),
    ({"": GROUP}, f'{INNER}[""]', "no path"),
    ({"x": {**ARRAY, "shape": [4, -1]}}, f"{INNER}.x.shape[1]", "-1"),
    ({"x": {**ARRAY, "zarr_format": 2}}, f"{INNER}.x.zarr_format", "must be 3"),
    ({"x": changed(ARRAY, {"node_type": GONE})}, f"{INNER}.x.node_type", "array"),
    ({"x": changed(ARRAY, {"codecs": ["bytes", "gzip"]})}, f"{INNER}.x.codecs[0]", "endian"),
]  # fmt: skip

OLD_COPIES: list[tuple[dict[str, Any], str, str]] = [
    ({"metadata": {}}, "zarr_consolidated_format", "None"),
    ({"zarr_consolidated_format": 2, "metadata": {}}, "zarr_consolidated_format", "got 2"),
    ({"zarr_consolidated_format": True, "metadata": {}}, "zarr_consolidated_format", "True"),
    ({"zarr_consolidated_format": 1}, "metadata", "object"),
    (
        {"zarr_consolidated_format": 1, "metadata": {"x/.zarray": 1}},
        'metadata["x/.zarray"]',
        "object",
    ),
    (
        {"zarr_consolidated_format": 1, "metadata": {"x/../.zgroup": {}}},
        'metadata["x/../.zgroup"]',
        "no path",
    ),
    (
        {"zarr_consolidated_format": 1, "metadata": {"x/.zarray": {**OLD_ARRAY, "order": "X"}}},
        'metadata["x/.zarray"].order',
        "'X'",
    ),
]

TEXTS = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"[]", "must be an object"),
    (b"3", "must be an object"),
    (b"null", "must be an object"),
    (b"{} {}", "not JSON"),
    (b'{"zarr_format": 3,}', "not JSON"),
    (b"{'zarr_format': 3}", "not JSON"),
    (b'{"zarr_format": 03}', "not JSON"),
    (b'{"a": "\x00"}', "not JSON"),
    (b'{"a": "\xff"}', "not UTF-8: byte 7 is 0xff"),
    (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    (b'{"a": "\xc3', "not UTF-8"),
    ('{"zarr_format": 3}'.encode("utf-16"), "not UTF-8"),
    ('{"zarr_format": 3}'.encode("utf-32-le"), "not JSON"),
    (b"\x89PNG\r\n", "not UTF-8"),
    (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
    (b'{"shape": [1' + b"0" * 5_000 + b"]}", "digits"),
]


def name_of(row: object) -> str | None:
    """Give a row's changes as the name of its test."""
    if isinstance(row, Row):
        return re.sub(r"\s+", " ", str(dict(row.changes)))[:60]
    return None


def store_of(key: str, document: Mapping[str, Any] | bytes) -> cs.MemoryStore:
    """Give a store with one document, and the group above it where the format has one."""
    store = cs.MemoryStore()
    store.set(key, document if isinstance(document, bytes) else json.dumps(document).encode())
    return store


def assert_refused(read: Callable[[], object], key: str, path: str, word: str) -> MetadataError:
    """Check that reading fails, and that the error names the document, the path and the reason."""
    with pytest.raises(MetadataError) as caught:
        read()
    error = caught.value
    assert key in str(error)
    problems: list[tuple[str, str]] = error.problems  # type: ignore[assignment]
    assert problems, str(error)
    found = [what for at, what in problems if at == path or at.startswith(f"{path}.configuration")]
    assert any(word in what for what in found), str(error)
    assert f"\n  {path or '(document)'}" in str(error)
    return error


def test_there_are_enough_rows() -> None:
    """The tables hold at least a hundred invalid documents, no two of them alike."""
    tables: list[tuple[str, list[Row]]] = [("3", ARRAYS), ("g", GROUPS), ("2", OLD_ARRAYS)]
    rows = {(kind, repr(row.changes)) for kind, table in tables for row in table}
    assert len(rows) == len(ARRAYS) + len(GROUPS) + len(OLD_ARRAYS)
    assert len(rows) + len(COPIES) + len(OLD_COPIES) + len(TEXTS) >= 100


@pytest.mark.parametrize("row", ARRAYS, ids=name_of)
def test_array_is_refused(row: Row) -> None:
    """An invalid array document of version 3 is refused with the path of its problem."""
    store = store_of("x/zarr.json", changed(ARRAY, row.changes))
    assert_refused(
        lambda: cs.open_array(store, path="x", mode="r"), "x/zarr.json", row.path, row.word
    )


@pytest.mark.parametrize("row", GROUPS, ids=name_of)
def test_group_is_refused(row: Row) -> None:
    """An invalid group document of version 3 is refused with the path of its problem."""
    store = store_of("zarr.json", changed(GROUP, row.changes))
    assert_refused(lambda: cs.open_group(store, mode="r"), "zarr.json", row.path, row.word)


@pytest.mark.parametrize("row", OLD_ARRAYS, ids=name_of)
def test_old_array_is_refused(row: Row) -> None:
    """An invalid array document of version 2 is refused with the path in that document."""
    store = store_of("x/.zarray", changed(OLD_ARRAY, row.changes))
    assert_refused(
        lambda: cs.open_array(store, path="x", mode="r"), "x/.zarray", row.path, row.word
    )


@pytest.mark.parametrize(("metadata", "path", "word"), COPIES, ids=lambda x: str(x)[:40])
def test_consolidated_metadata_is_refused(metadata: Any, path: str, word: str) -> None:
    """An invalid copy of the members' documents is refused with the path in the group's."""
    copy = {"kind": "inline", "must_understand": False, "metadata": metadata}
    store = store_of("g/zarr.json", {**GROUP, "consolidated_metadata": copy})

    def read() -> object:
        return cs.open_group(store, path="g", mode="r", use_consolidated=True)["x"]

    assert_refused(read, "g/zarr.json", path, word)


@pytest.mark.parametrize(("document", "path", "word"), OLD_COPIES, ids=lambda x: str(x)[:40])
def test_old_consolidated_metadata_is_refused(
    document: dict[str, Any], path: str, word: str
) -> None:
    """An invalid ``.zmetadata`` is refused with the path in it."""
    store = store_of("g/.zmetadata", document)
    store.set("g/.zgroup", b'{"zarr_format": 2}')

    def read() -> object:
        return cs.open_group(store, path="g", mode="r", use_consolidated=True)["x"]

    assert_refused(read, "g/.zmetadata", path, word)


@pytest.mark.parametrize("key", ["zarr.json", ".zarray", ".zgroup"])
@pytest.mark.parametrize(("text", "word"), TEXTS, ids=lambda x: str(x)[:30])
def test_text_is_refused(key: str, text: bytes, word: str) -> None:
    """What is no JSON object in UTF-8 is refused as what it is, whichever document it is in."""
    store = store_of(key, text)
    with pytest.raises(MetadataError, match=re.escape(word)) as caught:
        cs.open(store, mode="r")
    assert repr(key) in str(caught.value)


def test_attributes_apart_are_refused() -> None:
    """A damaged ``.zattrs`` is refused under its own name."""
    store = store_of("x/.zarray", OLD_ARRAY)
    store.set("x/.zattrs", b'["a"]')
    assert_refused(lambda: cs.open_array(store, path="x", mode="r"), "x/.zattrs", "", "object")


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (b'{"zarr_format": 3, "zarr_format": 3, "node_type": "group"}', ["zarr_format"]),
        (
            b'{"attributes": {"a": 1, "b": [{"c": 1, "c": 2}], "a": 2}}',
            ["attributes.a", "attributes.b[0].c"],
        ),
        (b'{"codecs": [1, {"n a": 1, "n a": 1, "n a": 1}]}', ['codecs[1]["n a"]']),
    ],
)  # fmt: skip
def test_key_twice_is_refused(text: bytes, paths: list[str]) -> None:
    """A key that comes twice in one object is refused with its path, for readers differ on it."""
    store = store_of("zarr.json", text)
    with pytest.raises(MetadataError, match="comes twice") as caught:
        cs.open(store, mode="r")
    assert sorted(path for path, _ in caught.value.problems) == paths  # type: ignore[attr-defined]


def test_all_problems_are_reported_at_once() -> None:
    """Problems of every part of a document, those of its codecs too, come in one error."""
    document = changed(
        ARRAY,
        {
            "zarr_format": "3",
            "fill_value": "zero",
            "chunk_key_encoding.configuration": {"separator": "-", "prefix": "p"},
            "codecs": [codec("transpose", order=[0, 0]), BYTES, codec("gzip", level=12), "squash"],
            "dimension_names": [1, 2],
            "storage_transformers": ["a", "b"],
            "more": 1,
            "attributes": 5,
        },
    )
    store = store_of("zarr.json", document)
    with pytest.raises(MetadataError) as caught:
        cs.open_array(store, mode="r")
    problems: list[tuple[str, str]] = caught.value.problems  # type: ignore[assignment]
    paths = [re.sub(r"(codecs\[\d\]).*", r"\1", path) for path, _ in problems]
    assert paths == [
        "zarr_format",
        "more",
        "fill_value",
        "chunk_key_encoding.configuration.prefix",
        "chunk_key_encoding.configuration.separator",
        "dimension_names[0]",
        "dimension_names[1]",
        "storage_transformers[0]",
        "storage_transformers[1]",
        "attributes",
        "codecs[0]",
        "codecs[2]",
        "codecs[3]",
    ]
    assert "13 problems" in str(caught.value)


def test_all_problems_of_an_old_document_are_reported_at_once() -> None:
    """So they are for version 2, in the words of its document."""
    document = changed(
        OLD_ARRAY,
        {
            "order": "A",
            "dimension_separator": "",
            "fill_value": "zero",
            "compressor": {"id": "gzip", "level": 12},
            "filters": [{"id": "squash"}],
        },
    )
    store = store_of(".zarray", document)
    with pytest.raises(MetadataError) as caught:
        cs.open_array(store, mode="r")
    assert sorted(path for path, _ in caught.value.problems) == [  # type: ignore[attr-defined]
        "compressor.level",
        "dimension_separator",
        "fill_value",
        "filters[0]",
        "order",
    ]


def test_codec_problems_alone_are_reported_together() -> None:
    """A document that is right but for its codecs lists what is wrong with each of them."""
    codecs = [BYTES, codec("gzip", level=12), codec("zstd", level=99, checksum=True), "squash"]
    store = store_of("zarr.json", {**ARRAY, "codecs": codecs})
    with pytest.raises(MetadataError) as caught:
        cs.open_array(store, mode="r")
    assert len(caught.value.problems) == 3  # type: ignore[attr-defined, arg-type]


def test_many_problems_make_a_short_message() -> None:
    """The message lists the first problems and counts the others; the error keeps all."""
    store = store_of("zarr.json", changed(ARRAY, {"shape": [-1] * 1000}))
    with pytest.raises(MetadataError) as caught:
        cs.open_array(store, mode="r")
    assert len(caught.value.problems) == 1000  # type: ignore[attr-defined, arg-type]
    assert str(caught.value).count("\n") < 60
    assert "and 950 more" in str(caught.value)
    store = store_of("zarr.json", changed(ARRAY, {"fill_value": [0] * 100_000}))
    with pytest.raises(MetadataError) as caught:
        cs.open_array(store, mode="r")
    assert len(str(caught.value)) < 2000


def test_more_than_can_be_held() -> None:
    """What no array of numpy could hold is refused as a fault of the document."""
    ones = {"name": "regular", "configuration": {"chunk_shape": [1] * 65}}
    store = store_of("zarr.json", changed(ARRAY, {"shape": [1] * 65, "chunk_grid": ones}))
    with pytest.raises(MetadataError, match="65 axes, more than the 64 of numpy"):
        cs.open_array(store, mode="r")
    codecs: list[Any] = [BYTES]
    for _ in range(300):
        codecs = [codec("sharding_indexed", chunk_shape=[1, 1], codecs=codecs)]
    store = store_of("zarr.json", changed(ARRAY, {"codecs": codecs}))
    with pytest.raises(MetadataError, match="nested too deeply"):
        cs.open_array(store, mode="r")


# -- unusual, but valid ---------------------------------------------------------------------------

UNUSUAL: list[Mapping[str, Any]] = [
    # The short-hand names of 3.1, wherever nothing is to be configured.
    {"data_type": {"name": "float32"}},
    {"data_type": {"name": "float32", "configuration": {}}},
    {"chunk_key_encoding": "default"},
    {"chunk_key_encoding": "v2"},
    {"chunk_key_encoding": {"name": "default"}},
    {"chunk_key_encoding": {"name": "v2", "configuration": {}}},
    {"codecs": [BYTES, "crc32c"]},
    {"codecs": [BYTES, {"name": "crc32c"}]},
    {"codecs": [BYTES, {"name": "crc32c", "configuration": {}, "must_understand": True}]},
    {"data_type": "int8", "fill_value": 0, "codecs": ["bytes"]},
    {"data_type": "string", "fill_value": "", "codecs": ["vlen-utf8"]},
    {"chunk_grid": {**ARRAY["chunk_grid"], "must_understand": True}},
    # Spellings of fill values.
    {"fill_value": 0},
    {"fill_value": -0.0},
    {"fill_value": "NaN"},
    {"fill_value": "-Infinity"},
    {"fill_value": "0x7fc00001"},
    {"fill_value": 1e-60},
    # Members that may be left out, or say that nothing is there.
    {"attributes": GONE},
    {"dimension_names": None},
    {"dimension_names": [None, None]},
    {"dimension_names": ["x", "x"]},
    {"dimension_names": ["", "ⅳ"]},
    {"storage_transformers": []},
    {"storage_transformers": None},
    # What one need not understand.
    {"later": {"must_understand": False}},
    {"later": {"must_understand": False, "name": "whatever", "configuration": [1]}},
    {"codecs": [BYTES, codec("squash", False, level=9), codec("gzip", level=1)]},
    {"codecs": [codec("twist", False), BYTES]},
    # Odd extents.
    {"shape": [], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": []}}},
    {"shape": [0, 6]},
    {"shape": [2**62, 6]},
    {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [400, 600]}}},
    # Rectilinear grids.
    rectilinear(2, 3),
    rectilinear([2, 2], [3, 3]),
    rectilinear([1, 3], [[2, 3]]),
    rectilinear([1, 3], [[2, 1], 4, [9, 2]]),
    rectilinear(4, [[1, 10**12]]),
    {"shape": [0, 6], **rectilinear([], [6])},
    {"shape": [], **rectilinear()},
    # As tensorstore writes an array: no attributes, members sorted.
    {
        "attributes": GONE,
        "codecs": [
            BYTES,
            codec("blosc", cname="lz4", clevel=5, shuffle="shuffle", typesize=4, blocksize=0),
        ],
        "dimension_names": ["y", "x"],
    },
    # As zarrs does: its version in a member of its own, codecs with empty configurations.
    {
        "attributes": {"_zarrs": {"description": "made by zarrs", "version": "0.1"}},
        "codecs": [BYTES, codec("zstd", level=5, checksum=False)],
    },
]  # fmt: skip

UNUSUAL_OLD: list[Mapping[str, Any]] = [
    {"fill_value": None},
    {"fill_value": "NaN"},
    {"fill_value": float("nan")},
    {"fill_value": 0},
    {"filters": []},
    {"compressor": None},
    {"order": "F"},
    {"dimension_separator": "."},
    {"dimension_separator": "/"},
    {"shape": [], "chunks": []},
    {"shape": [0, 6], "chunks": [0, 3]},
    {"shape": [0, 6], "chunks": [1, 3]},
    # One byte has no order, whatever is said of it: netCDF-C, Zarr.jl and jzarr say something.
    {"dtype": "<i1", "fill_value": 0},
    {"dtype": ">u1", "fill_value": 255},
    {"dtype": "<b1", "fill_value": False},
    {"dtype": "|b1", "fill_value": 0},
    {"dtype": ">f8"},
    # As netCDF-C writes an array, and Zarr.jl, which gives blosc its numbers.
    {"_nczarr_array": {"dimension_references": ["/x"], "storage": "chunked"}},
    {"_NCZARR_ARRAY": {"dimrefs": ["/x"], "storage": "chunked"}, "fill_value": 9.96921e36},
    {"compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}},
    {"compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": -1}},
    {"compressor": {"id": "zlib", "level": 4}},
    {"compressor": {"id": "zstd", "level": 0}},
    {"node_type": "array"},
]


@pytest.mark.parametrize("changes", UNUSUAL, ids=lambda x: str(x)[:60])
def test_unusual_array_opens(changes: Mapping[str, Any]) -> None:
    """An unusual but valid document of version 3 opens, and what is written of it opens too."""
    document = changed(ARRAY, changes)
    store = store_of("zarr.json", document)
    array = cs.open_array(store, mode="r+")
    assert array.shape == tuple(document["shape"])
    assert array[(slice(0, 2),) * array.ndim].dtype == array.dtype
    array.attrs["seen"] = True
    again = cs.open_array(store, mode="r")
    assert again.shape == array.shape
    assert again.chunks == array.chunks
    assert again.metadata.codecs == array.metadata.codecs
    assert np.asarray(again.fill_value).tobytes() == np.asarray(array.fill_value).tobytes()


@pytest.mark.parametrize("changes", UNUSUAL_OLD, ids=lambda x: str(x)[:60])
def test_unusual_old_array_opens(changes: Mapping[str, Any]) -> None:
    """An unusual but valid document of version 2 opens, and what is written of it opens too."""
    document = changed(OLD_ARRAY, changes)
    store = store_of("x/.zarray", document)
    array = cs.open_array(store, path="x", mode="r+")
    assert array.shape == tuple(document["shape"])
    assert array[...].shape == array.shape
    if array.ndim:
        array.resize(tuple(extent + 1 for extent in array.shape))
    again = cs.open_array(store, path="x", mode="r")
    assert again.shape == array.shape
    assert again.metadata.codecs == array.metadata.codecs


@pytest.mark.parametrize(
    "text",
    [
        b'\xef\xbb\xbf{"zarr_format": 3, "node_type": "group"}',
        b'\n\t {"node_type":"group","zarr_format":3}\r\n',
        b'{"zarr_format": 3, "node_type": "group", "attributes": {"a": NaN, "b": [-Infinity]}}',
        '{"zarr_format": 3, "node_type": "group", "attributes": {"ü": "\\ud800"}}'.encode(),
        b'{"zarr_format": 3, "node_type": "group", "consolidated_metadata": null}',
        b'{"zarr_format": 3, "node_type": "group", "consolidated_metadata":'
        b' {"kind": "link", "must_understand": false}}',
        b'{"zarr_format": 3, "node_type": "group", "attributes": {"n": 1' + b"0" * 1000 + b"}}",
    ],
    ids=lambda text: str(text)[:60],
)
def test_unusual_text_opens(text: bytes) -> None:
    """A byte order mark, white space, NaN in attributes and such keep no group from opening."""
    store = store_of("zarr.json", text)
    group = cs.open_group(store, mode="r+")
    before = json.dumps(group.attrs.asdict())
    group.attrs["more"] = 1
    after = cs.open_group(store, mode="r").attrs.asdict()
    assert after.pop("more") == 1
    assert json.dumps(after) == before

"""Everything that is wrong with the codecs of a document is said at once, with JSON paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import chunkstore as cs
from chunkstore.errors import MetadataError

ARRAY: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 6],
    "data_type": "int32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 6]}},
    "chunk_key_encoding": "default",
    "fill_value": 0,
    "codecs": [],
}
OLD: dict[str, Any] = {
    "zarr_format": 2, "shape": [4], "chunks": [2], "dtype": "<i4", "fill_value": 0, "order": "C",
    "filters": None, "compressor": None,
}  # fmt: skip
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def codec(name: str, **configuration: Any) -> dict[str, Any]:
    return {"name": name, "configuration": configuration}


def paths(document: Mapping[str, Any], key: str = "zarr.json") -> list[str]:
    """Give the JSON paths of all problems of a document, sorted."""
    store = cs.MemoryStore()
    store.set(key, json.dumps(document).encode())
    with pytest.raises(MetadataError) as caught:
        cs.open_array(store, mode="r")
    problems: list[tuple[str, str]] = caught.value.problems  # type: ignore[attr-defined, assignment]
    return sorted(path for path, _ in problems)


BAD = [
    codec("bytes", endian="middle"),
    codec("gzip", level=12, speed=1),
    codec("zstd", level=99, checksum=1),
    codec("blosc", cname="brotli", clevel=10, shuffle="yes", typesize=0, blocksize=-1),
    "squash",
    codec("numcodecs.zlib", level="high"),
]
PATHS_OF_BAD = [
    "codecs[0].configuration.endian",
    "codecs[1].configuration.level",
    "codecs[1].configuration.speed",
    "codecs[2].configuration.checksum",
    "codecs[2].configuration.level",
    "codecs[3].configuration.blocksize",
    "codecs[3].configuration.clevel",
    "codecs[3].configuration.cname",
    "codecs[3].configuration.shuffle",
    "codecs[3].configuration.typesize",
    "codecs[4]",
    "codecs[5].configuration.level",
]


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, []),
        ({"data_type": "int33"}, ["data_type"]),
        ({"data_type": 5}, ["data_type"]),
        ({"chunk_grid": {"name": "hexagonal"}}, ["chunk_grid.name"]),
        ({"shape": [4, -1]}, ["shape[1]"]),
        (
            {"data_type": "int33", "chunk_grid": "regular"},
            ["chunk_grid.configuration", "data_type"],
        ),
    ],
)
def test_codecs_behind_other_problems(changes: dict[str, Any], more: list[str]) -> None:
    """Codecs that are wrong whatever they are given are reported, whatever else is wrong."""
    found = paths({**ARRAY, **changes, "codecs": BAD})
    assert [path for path in found if path.startswith("codecs")] == PATHS_OF_BAD
    assert [path.removesuffix(".chunk_shape") for path in found if path[:6] != "codecs"] == more


@pytest.mark.parametrize(
    "good",
    [
        [codec("transpose", order=[1, 0]), BYTES],
        [codec("bytes")],
        [codec("vlen-utf8")],
        [codec("vlen-bytes"), codec("zstd", level=1)],
        [codec("cast_value", data_type="uint8"), "bytes"],
        [codec("numcodecs.packbits"), "bytes"],
        [codec("numcodecs.delta", dtype="<f2"), BYTES],
        [codec("numcodecs.zfpy", mode=4)],
        [codec("reshape", shape=[[0, 1], -1]), BYTES],
        [codec("scale_offset", offset=1), BYTES],
        [codec("sharding_indexed", chunk_shape=[1, 2, 3], codecs=[codec("vlen-utf8")])],
        [{"name": "squash", "must_understand": False}, BYTES],
    ],
)
def test_codecs_that_may_be_right(good: list[Any]) -> None:
    """Nothing is said of codecs that some data type and shape would make right."""
    document = {**ARRAY, "data_type": "int33", "chunk_grid": {"name": "hexagonal"}, "codecs": good}
    assert paths(document) == ["chunk_grid.name", "data_type"]


def test_what_the_data_type_alone_shows() -> None:
    """Where only the grid is not known, codecs are checked for the data type, and the reverse."""
    bare = [codec("bytes")]
    document = {**ARRAY, "chunk_grid": {"name": "hexagonal"}, "codecs": bare}
    assert paths(document) == ["chunk_grid.name", "codecs[0]"]
    turned = [codec("transpose", order=[0, 1, 2]), BYTES]
    document = {**ARRAY, "data_type": "int33", "codecs": turned}
    assert paths(document) == ["codecs[0].configuration.order", "data_type"]


def test_entries_that_are_none() -> None:
    """An entry that is no codec at all does not hide what is wrong with the others."""
    found = paths({**ARRAY, "codecs": [{"name": 5}, BYTES, codec("gzip", level=10), 7]})
    assert found == ["codecs[0].name", "codecs[2].configuration.level", "codecs[3]"]


def test_all_problems_of_a_shard() -> None:
    """A sharding codec reports its own settings, and the codecs of chunks and index, at once."""
    inner = [codec("bytes"), codec("gzip", level=10)]
    sharding = codec(
        "sharding_indexed", chunk_shape=[3, 6], codecs=inner, index_codecs=["squash", BYTES],
        index_location="middle", more=1,
    )  # fmt: skip
    at = "codecs[0].configuration"
    expected = [
        f"{at}.chunk_shape",
        f"{at}.codecs[0]",
        f"{at}.codecs[1].configuration.level",
        f"{at}.index_codecs[0]",
        f"{at}.index_location",
        f"{at}.more",
    ]
    assert paths({**ARRAY, "codecs": [sharding, codec("crc32c", x=1)]}) == [
        *expected,
        "codecs[1].configuration.x",
    ]
    # Inside another one, behind a codec that is not known, and of a type that is not known.
    outer = codec("sharding_indexed", chunk_shape=[2, 6], codecs=["squash", sharding])
    found = paths({**ARRAY, "data_type": "int33", "codecs": [outer]})
    nested = [path.replace(at, f"{at}.codecs[1].configuration") for path in expected]
    # Of another shape and type the first two might be right.
    nested = [path for path in nested if not path.endswith((".chunk_shape", ".codecs[0]"))]
    assert found == sorted([f"{at}.codecs[0]", *nested, "data_type"])


def test_many_levels_of_shards() -> None:
    """The codecs of shards in shards are checked in a time that grows with their number alone."""
    codecs: list[Any] = ["squash"]
    for _ in range(40):
        codecs = [codec("sharding_indexed", chunk_shape=[1, 1], codecs=codecs)]
    (found,) = paths({**ARRAY, "codecs": codecs})
    assert found.count("codecs[0]") == 41
    assert paths({**ARRAY, "data_type": "int33", "codecs": codecs}) == [found, "data_type"]


def test_version_2() -> None:
    """Filters and compressor of version 2 are reported at their places, whatever else is wrong."""
    filters = [{"id": "vlen-utf8"}, {"id": "zlib", "level": 11}, 3, {"id": "delta", "x": 1}]
    document = {
        **OLD,
        "dtype": "<q9",
        "filters": filters,
        "compressor": {"id": "zstd", "level": 99},
    }
    assert paths(document, ".zarray") == [
        "compressor.level", "dtype", "filters[1].level", "filters[2]", "filters[3].dtype",
        "filters[3].x",
    ]  # fmt: skip
    document = {**OLD, "dtype": "|O", "filters": filters[:2]}
    assert paths(document, ".zarray") == ["filters[1].level"]

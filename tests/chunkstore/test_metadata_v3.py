"""Version 3 documents: what is written says what was meant, and nothing is lost in between."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import documents
from chunkstore.chunk_grid import RegularGrid
from chunkstore.codecs.base import BytesBytesCodec
from chunkstore.errors import ChunkError, InvalidArgumentError, MetadataError
from chunkstore.metadata import v3
from chunkstore.metadata.model import UNREAD, ArrayMetadata, Problems
from chunkstore.types import Buffer, NDArray

ARRAY: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 6],
    "data_type": "int16",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": -1,
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    "attributes": {"unit": "m"},
    "dimension_names": ["y", None],
}


def stored(store: cs.Store, key: str = "zarr.json") -> dict[str, Any]:
    """Give a document as it is stored."""
    value = store.get(key)
    assert value is not None
    document: dict[str, Any] = json.loads(value)
    return document


def opened(document: Mapping[str, Any]) -> cs.Array:
    """Open an array for writing that has this document."""
    store = cs.MemoryStore()
    store.set("zarr.json", json.dumps(document).encode())
    return cs.open_array(store, mode="r+")


def test_every_field_is_read() -> None:
    """Each field of a document becomes what it means."""
    a = opened(ARRAY)
    assert (a.shape, a.chunks, a.dtype, a.fill_value) == ((4, 6), (2, 3), np.dtype("i2"), -1)
    assert a.dimension_names == ("y", None)
    assert a.attrs.asdict() == {"unit": "m"}
    assert [spec.name for spec in a.metadata.codecs] == ["bytes"]
    assert a.metadata.key_encoding.encode((1, 0)) == "c/1/0"


def test_document_is_written_as_it_was_read() -> None:
    """A document in the usual form comes back as it was, but for what is changed."""
    a = opened(ARRAY)
    a.attrs["unit"] = "km"
    assert stored(a.store) == {**ARRAY, "attributes": {"unit": "km"}}
    a.resize((5, 6))
    assert stored(a.store) == {**ARRAY, "attributes": {"unit": "km"}, "shape": [5, 6]}


@pytest.mark.parametrize(
    ("field", "short", "full"),
    [
        ("data_type", {"name": "int16"}, "int16"),
        (
            "chunk_key_encoding",
            "default",
            {"name": "default", "configuration": {"separator": "/"}},
        ),
        ("chunk_key_encoding", "v2", {"name": "v2", "configuration": {"separator": "."}}),
        (
            "codecs",
            [{"name": "bytes", "configuration": {"endian": "big"}}, "crc32c"],
            [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}],
        ),
    ],
)
def test_short_names_are_read_and_not_written(field: str, short: Any, full: Any) -> None:
    """The short-hand of 3.1 is written out, since readers of 3.0 do not know it."""
    a = opened({**ARRAY, field: short})
    a.attrs["seen"] = True
    assert stored(a.store)[field] == full


def test_short_names_in_shards() -> None:
    """So it is among the codecs inside a shard, which keep their own form."""
    inner = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1, 3],
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, "crc32c"],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "index_location": "start",
        },
    }
    a = opened({**ARRAY, "codecs": [inner]})
    a[...] = 7
    assert (a.chunks, a.shards) == ((1, 3), (2, 3))
    assert (a[...] == 7).all()


def test_what_need_not_be_understood_is_kept() -> None:
    """Unknown fields and codecs that say so are there after every change of the document."""
    later = {"must_understand": False, "name": "later", "configuration": {"deep": [1, {"x": None}]}}
    twist = {"name": "twist", "configuration": {"by": 3}, "must_understand": False}
    document = {**ARRAY, "later": later, "codecs": [*ARRAY["codecs"], twist]}
    a = opened(document)
    a.attrs["k"] = 1
    a.resize((9, 9))
    found = stored(a.store)
    assert found["later"] == later
    assert found["codecs"] == document["codecs"]


def test_skipped_codec_reads_and_does_not_write() -> None:
    """Chunks are read without a codec that may be skipped; none is written without it."""
    twist = {"name": "twist", "must_understand": False}
    a = opened({**ARRAY, "codecs": [*ARRAY["codecs"], twist]})
    value = np.arange(6, dtype="<i2").tobytes()
    a.store.set("c/0/0", value)
    assert a[:2, :3].tolist() == [[0, 1, 2], [3, 4, 5]]
    for selection in (slice(0, 2), (0, 0)):
        with pytest.raises(ChunkError, match="twist"):
            a[selection] = 5
    assert a.store.get("c/0/0") == value


def test_unknown_fields_of_a_group_are_kept() -> None:
    """A group's document keeps them too."""
    store = cs.MemoryStore()
    later = {"must_understand": False, "what": [1]}
    group = {"zarr_format": 3, "node_type": "group", "later": later}
    store.set("zarr.json", json.dumps(group).encode())
    cs.open_group(store, mode="r+").attrs["k"] = 1
    assert stored(store) == {**group, "attributes": {"k": 1}}


def test_fields_of_version_2_are_kept() -> None:
    """Version 2 lets writers add fields; all of them stay where they were."""
    store = cs.MemoryStore()
    array = {
        "zarr_format": 2, "shape": [4], "chunks": [2], "dtype": "<i2", "compressor": None,
        "fill_value": 0, "order": "C", "filters": None, "_nczarr_array": {"storage": "chunked"},
    }  # fmt: skip
    store.set("x/.zarray", json.dumps(array).encode())
    store.set(".zgroup", b'{"zarr_format": 2, "_nczarr_group": {"vars": ["x"]}}')
    x = cs.open_array(store, path="x", mode="r+")
    x.attrs["k"] = 1
    x.resize(6)
    expected = {**array, "shape": [6], "dimension_separator": "."}
    assert stored(store, "x/.zarray") == expected
    assert stored(store, "x/.zattrs") == {"k": 1}
    root = cs.open_group(store, mode="r+")
    root.attrs["k"] = 2
    assert stored(store, ".zgroup") == {"zarr_format": 2, "_nczarr_group": {"vars": ["x"]}}
    assert stored(store, ".zattrs") == {"k": 2}


def test_resizing_version_2_changes_its_document() -> None:
    """The shape of version 2 is in another document than its attributes, and is written there."""
    store = cs.MemoryStore()
    x = cs.create_array(store, name="x", shape=4, chunks=2, dtype="i4", zarr_format=2)
    x.resize(9)
    x.append(np.arange(3))
    again = cs.open_array(store, path="x", mode="r")
    assert again.shape == (12,)
    assert again[9:].tolist() == [0, 1, 2]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_nan_in_attributes_is_kept(zarr_format: int) -> None:
    """NaN in attributes, which other programs write, is read, and written when others change."""
    store = cs.MemoryStore()
    text = '{"a": NaN, "b": [Infinity, {"c": -Infinity}]}'
    if zarr_format == 3:
        document = json.dumps({**ARRAY, "attributes": 0}).replace(
            '"attributes": 0', f'"attributes": {text}'
        )
        store.set("x/zarr.json", document.encode())
    else:
        cs.create_array(store, name="x", shape=4, dtype="i4", zarr_format=2)
        store.set("x/.zattrs", text.encode())
    x = cs.open_array(store, path="x", mode="r+")
    assert np.isnan(x.attrs["a"])
    x.attrs["d"] = 1
    again = cs.open_array(store, path="x", mode="r").attrs
    assert np.isnan(again["a"])
    assert again["b"] == [float("inf"), {"c": float("-inf")}]
    with pytest.raises(InvalidArgumentError, match="finite"):
        x.attrs["e"] = float("nan")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_any_attributes_survive(attributes: dict[str, Any]) -> None:
    """Attributes of any names and values come back as they were."""
    root = cs.create_group(None, attributes=attributes)
    assert cs.open_group(root.store, mode="r").attrs.asdict() == attributes


@pytest.mark.parametrize(
    "name", ["bytes", "numcodecs.json2", "a-b_c.d", "x9", "https://example.com/c", "urn:x:y"]
)
def test_names_of_extensions(name: str) -> None:
    """Registered names and, as before them, URIs may name an extension."""
    problems = Problems()
    assert v3.parse_codecs([name], "codecs", problems)[0].name == name
    assert not problems.found


@pytest.mark.parametrize("name", ["", "b", "Bytes", "9a", "_a", "a/b", "a b", "ä1", ".a", "é:x"])
def test_names_of_no_extension(name: str) -> None:
    """Other names are refused, whether as a short name or in an object."""
    problems = Problems()
    assert v3.parse_codecs([name, {"name": name}], "codecs", problems) == (UNREAD, UNREAD)
    assert [path for path, _ in problems.found] == ["codecs[0]", "codecs[1].name"]


@dataclass(frozen=True, slots=True)
class Inverted(BytesBytesCodec):
    """A codec of somebody's own."""

    name = "inverted"

    def encode(self, data: Buffer) -> Buffer:
        """Turn every bit over."""
        return bytes(byte ^ 255 for byte in memoryview(data).cast("B"))

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer:
        """Turn every bit over."""
        return self.encode(data)


class Misnamed(Inverted):
    """A codec whose name no document may hold."""

    __slots__ = ()
    name = "Inverted"


def test_codec_with_a_name_of_no_extension_is_not_used() -> None:
    """A codec of one's own whose name would make the document invalid is refused on creation."""
    store = cs.MemoryStore()
    with pytest.raises(InvalidArgumentError, match="must start with a-z"):
        cs.create_array(store, shape=3, dtype="i4", compressors=Misnamed())
    assert list(store.list_prefix()) == []
    made = cs.create_array(store, data=np.arange(3), compressors=Inverted())
    assert made[...].tolist() == [0, 1, 2]


def test_own_codecs_are_no_problem_of_a_document() -> None:
    """A codec that the handle knows is not reported beside the problems of a document."""
    codecs = [*ARRAY["codecs"], "inverted"]
    store = cs.MemoryStore()
    store.set("x/zarr.json", json.dumps({**ARRAY, "codecs": codecs, "fill_value": "?"}).encode())
    cs.create_group(store)
    options = cs.Options(codecs=(Inverted,))
    for read in (
        lambda: cs.open_array(store, path="x", mode="r", options=options),
        lambda: cs.open_group(store, mode="r", options=options)["x"],
    ):
        with pytest.raises(MetadataError) as caught:
            read()
        assert [path for path, _ in caught.value.problems] == ["fill_value"]  # type: ignore[attr-defined]


def test_own_codecs_open_from_consolidated_metadata() -> None:
    """So it is where the document is read from a group's copy."""
    store = cs.MemoryStore()
    root = cs.create_group(store)
    root.create_array("x", data=np.arange(3), compressors=Inverted())
    cs.consolidate_metadata(store)
    options = cs.Options(codecs=(Inverted,))
    opened = cs.open_group(store, mode="r", use_consolidated=True, options=options)
    assert opened["x"][...].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["__x", "zarr.json", "...", "a/__x", "a/./b", "..", "x/.."])
def test_names_of_no_node(name: str) -> None:
    """A node is not made under a name that the specification forbids."""
    root = cs.create_group(None)
    for make in (root.create_group, lambda path: root.create_array(path, shape=1, dtype="i1")):
        with pytest.raises(InvalidArgumentError):
            make(name)
    assert list(root) == []


@pytest.mark.parametrize(
    "name", ["a b", "ä", "数", "c", ".zarray", "-", "a.b", "%2F", "~", "A", "_x"]
)
def test_names_of_nodes(name: str) -> None:
    """Any other name will do."""
    root = cs.create_group(None)
    root.create_array(name, shape=1, dtype="i1")
    assert list(cs.open_group(root.store, mode="r")) == [name]
    assert root[name].basename == name


def test_odd_names_of_other_programs_open() -> None:
    """A node that another program made under a forbidden name opens, where it can be named."""
    root = cs.create_group(None)
    for path in ("__x", "zarr.json", "back\\slash"):
        root.store.set(f"{path}/zarr.json", json.dumps(ARRAY).encode())
    assert root["__x"].shape == (4, 6)
    assert root["zarr.json"].shape == (4, 6)
    # A listing shows all but the names that version 3 reserves.
    assert {name for name, _ in root.members()} == {"zarr.json", "back\\slash"}


def test_names_that_version_2_does_not_reserve() -> None:
    """In version 2 a member may be called anything, and is listed."""
    root = cs.create_group(None, zarr_format=2)
    root.store.set("__x/.zgroup", b'{"zarr_format": 2}')
    assert list(root) == ["__x"]


@pytest.mark.parametrize("shape", [-3, (2.5,), True, "5", 2**63, (4, 4), (), None])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_no_document_that_would_not_open(zarr_format: Any, shape: Any) -> None:
    """A change that would leave a document we refuse to read is refused, and nothing is lost."""
    a = cs.create_array(None, name="x", data=np.arange(4), chunks=2, zarr_format=zarr_format)
    with pytest.raises(InvalidArgumentError):
        a.resize(shape)
    assert cs.open_array(a.store, path="x", mode="r")[...].tolist() == [0, 1, 2, 3]


def test_last_check_before_a_document_is_stored() -> None:
    """Whatever makes metadata wrong, its document is read once before it replaces a good one."""
    a = cs.create_array(None, data=np.arange(4))

    def spoil(metadata: ArrayMetadata) -> ArrayMetadata:
        return metadata.replace(grid=RegularGrid((-1,), (2,)))

    with pytest.raises(MetadataError, match="not stored"):
        a.change_metadata(spoil)
    store = cs.MemoryStore()
    with pytest.raises(MetadataError, match="not stored"):
        documents.make_node(store, "x", spoil(a.metadata), overwrite=False)
    assert list(store.list_prefix()) == []
    assert cs.open_array(a.store, mode="r").shape == (4,)


def test_document_of_another_kind() -> None:
    """A group's document is no array's, and is told so."""
    store = cs.MemoryStore()
    cs.create_group(store)
    with pytest.raises(TypeError, match="group"):
        cs.open_array(store, mode="r")


def test_error_keeps_the_facts() -> None:
    """A program finds the document and its problems on the error."""
    with pytest.raises(MetadataError) as caught:
        v3.parse_array({**ARRAY, "shape": [1.5, 2]}, where="the document")
    assert caught.value.document == "the document"  # type: ignore[attr-defined]
    assert caught.value.problems == [  # type: ignore[attr-defined]
        ("shape[0]", "must be an integer of at least 0, got 1.5")
    ]

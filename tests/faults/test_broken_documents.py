"""A document that is damaged, newer or not understood is an error, never an absent node or data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import ChunkStoreError, MetadataError, NodeNotFoundError

DOCUMENTS = {2: ".zarray", 3: "zarr.json"}
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, 2**70, "", "x", "NaN", [], [[]], [-1], ["x"], [None], {},
    {"a": 1}, {"name": 5}, {"name": "nonsense"}, {"name": "bytes", "configuration": 5},
    [{"name": "bytes"}],
    {"id": "nonsense"}, {"id": 5}, [{}],
)  # fmt: skip


def make(store: cs.Store, zarr_format: int) -> tuple[str, dict[str, Any]]:
    """Make an array; gives the key of its document, and the document."""
    cs.create_array(
        store, name="x", data=np.arange(12).reshape(3, 4), chunks=(2, 2), zarr_format=zarr_format,
        order="F", attributes={"a": 1}, fill_value=5,
    )  # fmt: skip
    key = f"x/{DOCUMENTS[zarr_format]}"
    value = store.get(key)
    assert value is not None
    return key, json.loads(value)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of every value inside a JSON value."""
    yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list):
        for i in range(len(value)):
            yield from places(value[i], (*path, i))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Give a copy of a JSON value with another one at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def open_or_refuse(store: cs.Store) -> cs.Array | None:
    """Open the array; what is refused must be refused by an error about the document."""
    try:
        return cs.open_array(store, path="x", mode="r")
    except MetadataError:
        with pytest.raises(MetadataError, match=r"'x/(zarr\.json|\.zarray)'.*") as error:
            cs.open_array(store, path="x", mode="r")
        assert error.value.problems
    return None


@pytest.mark.parametrize("zarr_format", DOCUMENTS)
def test_every_value_replaced(zarr_format: int) -> None:
    """Any value of a document replaced by an odd one is understood or refused by its place."""
    store = cs.MemoryStore()
    key, document = make(store, zarr_format)
    n_refused = 0
    for path in places(document):
        for odd in ODD:
            store.set(key, json.dumps(replaced(document, path, odd)).encode())
            array = open_or_refuse(store)
            if array is None:
                n_refused += 1
                continue
            # What opens can say what it is, and reads or says why it cannot.
            array.info, array.attrs.asdict(), array.nchunks
            if array.size < 1000:
                try:
                    array[...]
                except ChunkStoreError:
                    continue
    assert n_refused > 300


@pytest.mark.parametrize("zarr_format", DOCUMENTS)
def test_every_field_left_out(zarr_format: int) -> None:
    """A document without one of its fields is refused by the field's name, or needs it not."""
    store = cs.MemoryStore()
    key, document = make(store, zarr_format)
    optional = {"attributes", "dimension_separator"}
    for name in document:
        rest = {field: value for field, value in document.items() if field != name}
        store.set(key, json.dumps(rest).encode())
        if name in optional:
            assert cs.open_array(store, path="x").shape == (3, 4)
        else:
            with pytest.raises(MetadataError, match=name):
                cs.open_array(store, path="x")


@pytest.mark.parametrize("zarr_format", DOCUMENTS)
def test_every_length(zarr_format: int) -> None:
    """A document cut short anywhere is refused, and the array is not taken for missing."""
    store = cs.MemoryStore()
    key, _ = make(store, zarr_format)
    value = store.get(key)
    assert value is not None
    for n_bytes in range(len(value)):
        store.set(key, value[:n_bytes])
        for mode in ("r", "a"):
            with pytest.raises(MetadataError, match=r"not JSON|damaged"):
                cs.open_array(store, path="x", mode=mode, shape=3, dtype="i4")
        assert store.get(key) == value[:n_bytes]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from([2, 3]), st.data())
def test_any_values_anywhere(zarr_format: int, data: st.DataObject) -> None:
    """A document with any JSON values in any places is understood or refused as a document."""
    store = cs.MemoryStore()
    key, document = make(store, zarr_format)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(document))))
        document = replaced(document, path, data.draw(json_values))
    store.set(key, json.dumps(document).encode())
    open_or_refuse(store)


@given(st.binary(max_size=40))
def test_any_bytes(value: bytes) -> None:
    """Bytes that are no document are refused, whatever they are."""
    store = cs.MemoryStore()
    for name in ("zarr.json", ".zarray", ".zgroup"):
        store.delete_prefix("")
        store.set(f"x/{name}", value)
        with pytest.raises(MetadataError):
            cs.open(store, path="x")


@pytest.mark.parametrize(
    ("zarr_format", "change", "complaint"),
    [
        (3, {"zarr_format": 4}, "newer"),
        (2, {"zarr_format": 3}, "zarr_format"),
        (3, {"zarr_format": 2}, "zarr_format"),
        (3, {"node_type": "table"}, "node_type"),
        (3, {"encryption": {"key": "secret"}}, r"encryption.*must_understand"),
        (3, {"storage_transformers": [{"name": "x"}]}, "storage_transformers"),
        (3, {"codecs": [{"name": "bytes2"}]}, "bytes2"),
        (3, {"data_type": "int128"}, "int128"),
        (3, {"chunk_grid": {"name": "hexagonal"}}, "hexagonal"),
        (3, {"chunk_key_encoding": {"name": "hashed"}}, "hashed"),
        (2, {"dtype": "<i16"}, "dtype"),
        (2, {"compressor": {"id": "nonsense"}}, "nonsense"),
        (2, {"filters": [{"id": "nonsense"}]}, "nonsense"),
        (2, {"order": "K"}, "order"),
    ],
)
def test_what_is_not_understood(
    zarr_format: int, change: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    """What a newer or other program wrote and we cannot read is named, and left as it is."""
    store = cs.LocalStore(tmp_path)
    key, document = make(store, zarr_format)
    value = json.dumps({**document, **change}).encode()
    store.set(key, value)
    for use in (
        lambda: cs.open(store, path="x"),
        lambda: cs.open_array(store, path="x", mode="r+"),
        lambda: cs.open_array(store, path="x", mode="a", shape=3, dtype="i4"),
    ):
        with pytest.raises(MetadataError, match=complaint):
            use()
    assert store.get(key) == value


@pytest.mark.parametrize("zarr_format", DOCUMENTS)
def test_broken_document_can_be_replaced(zarr_format: int) -> None:
    """An array whose document is damaged goes with ``overwrite``, and its chunks with it."""
    store = cs.MemoryStore()
    key, _ = make(store, zarr_format)
    store.set(key, b"{")
    with pytest.raises(ChunkStoreError):
        cs.create_array(store, name="x", shape=4, dtype="i4", zarr_format=zarr_format)
    array = cs.create_array(
        store, name="x", shape=4, dtype="i4", zarr_format=zarr_format, overwrite=True
    )
    assert array[...].tolist() == [0, 0, 0, 0]


def test_document_that_is_a_folder(tmp_path: Path) -> None:
    """A folder of a document's name is no document."""
    (tmp_path / "x" / "zarr.json").mkdir(parents=True)
    with pytest.raises(NodeNotFoundError):
        cs.open(tmp_path, path="x")

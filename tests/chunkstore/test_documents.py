"""Nodes come and go by their documents, in an order that leaves nothing half there."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import (
    ChunkStoreError,
    InvalidArgumentError,
    MetadataError,
    NodeExistsError,
    NodeNotFoundError,
    NodeTypeError,
    StoreError,
)
from tests.chunkstore.recording import RecordingStore

FORMATS = [2, 3]
DOCUMENT = {2: ".zarray", 3: "zarr.json"}
GROUP = {2: ".zgroup", 3: "zarr.json"}

Make = Callable[..., Any]
MAKERS: dict[str, Make] = {
    "array": lambda store, path, **kw: cs.create_array(
        store, name=path, shape=4, chunks=2, dtype="i4", **kw
    ),
    "array-data": lambda store, path, **kw: cs.create_array(
        store, name=path, data=np.arange(1, 5), chunks=2, **kw
    ),
    "group": lambda store, path, **kw: cs.create_group(store, path=path, **kw),
}


@pytest.fixture
def store() -> RecordingStore:
    """Give a store that keeps a record."""
    return RecordingStore()


def stored(store: cs.Store, key: str) -> Any:
    """Decode a stored document."""
    value = store.get(key)
    assert value is not None
    return json.loads(value)


# --- making --------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_document_comes_after_the_data(store: RecordingStore, zarr_format: int) -> None:
    """An array made with data exists for readers only when all its chunks are stored."""
    MAKERS["array-data"](store, "a/x", zarr_format=zarr_format)
    sets = [key for what, key in store.record if what == "set"]
    assert sets[-1] == f"a/x/{DOCUMENT[zarr_format]}"
    assert len([key for key in sets if key.startswith("a/x/") and key[-1] in "01"]) == 2
    assert not store.exists("a/x/__pending__")


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_groups_above_are_made(store: RecordingStore, zarr_format: int) -> None:
    """The groups above a new node are made where they are missing, and kept where they are."""
    cs.create_group(store, path="a", attributes={"kept": 1}, zarr_format=zarr_format)
    MAKERS["array"](store, "a/b/c/x", zarr_format=zarr_format)
    for path in ("", "a", "a/b", "a/b/c"):
        assert isinstance(cs.open(store, path=path, zarr_format=zarr_format), cs.Group)
    assert cs.open(store, path="a").attrs["kept"] == 1


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("there", MAKERS)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("old_format", FORMATS)
def test_a_node_is_not_replaced_unasked(
    store: RecordingStore, maker: str, there: str, zarr_format: int, old_format: int
) -> None:
    """Where a node is, of whatever kind and format, another is made only with ``overwrite``."""
    # Below a group of one format nothing is made of the other.
    path = "a/x" if zarr_format == old_format else ""
    MAKERS[there](store, path, zarr_format=old_format)
    if there == "group":
        MAKERS["array-data"](store, f"{path}/y", zarr_format=old_format)
    before = {key: store.get(key) for key in store.list_prefix()}
    with pytest.raises(NodeExistsError, match=rf"'{path or '/'}'.*overwrite=True"):
        MAKERS[maker](store, path, zarr_format=zarr_format)
    assert {key: store.get(key) for key in store.list_prefix()} == before
    MAKERS[maker](store, path, zarr_format=zarr_format, overwrite=True)
    node = cs.open(store, path=path)
    assert node.metadata.zarr_format == zarr_format
    if maker == "array":
        assert node[...].tolist() == [0, 0, 0, 0]
    elif maker == "group":
        assert list(node) == []


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("keys", [["a/x/photo.jpg"], ["a/x/c/0"], ["a/x/sub/notes.txt"]])
def test_other_data_is_never_overwritten(
    store: RecordingStore, keys: list[str], overwrite: bool
) -> None:
    """An array is not made over files that are no Zarr data, asked or not."""
    for key in keys:
        store.set(key, b"precious")
    with pytest.raises(NodeExistsError, match="'a/x'"):
        MAKERS["array"](store, "a/x", overwrite=overwrite)
    assert sorted(store.list_prefix("a/x/")) == keys


@pytest.mark.parametrize("key", ["a/notes.txt", "a/x/photo.jpg", "a/sub/data.csv"])
def test_other_data_beside_a_node_survives(store: RecordingStore, key: str) -> None:
    """Files that are no Zarr data survive, or prevent, the overwriting of a node they lie in."""
    MAKERS["array-data"](store, "a/x")
    store.set(key, b"precious")
    with suppress(NodeExistsError):
        MAKERS["group"](store, "a", overwrite=True)
    assert store.get(key) == b"precious"


def test_a_group_may_be_made_over_its_members(store: RecordingStore) -> None:
    """A group whose document was never written can be made, and its members are there."""
    MAKERS["array-data"](store, "a/x")
    store.delete("a/zarr.json")
    group = cs.create_group(store, path="a")
    assert list(group) == ["x"]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_an_array_has_no_children(store: RecordingStore, maker: str, zarr_format: int) -> None:
    """Nothing is made below an array, at any depth and in any format."""
    MAKERS["array-data"](store, "a/x")
    before = sorted(store.list_prefix())
    for path in ("a/x/y", "a/x/y/z"):
        with pytest.raises(NodeExistsError, match="'a/x' is an array"):
            MAKERS[maker](store, path, zarr_format=zarr_format)
    assert sorted(store.list_prefix()) == before


@pytest.mark.parametrize("path", ["__x", "a/__x/y", "zarr.json", "a/zarr.json", "..", "a/../b"])
@pytest.mark.parametrize("maker", MAKERS)
def test_reserved_names(store: RecordingStore, maker: str, path: str) -> None:
    """Nodes are not made under names that the formats reserve."""
    with pytest.raises(InvalidArgumentError):
        MAKERS[maker](store, path)
    assert list(store.list_prefix()) == []


@pytest.mark.parametrize("maker", ["array", "array-data"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"fill_value": 1.5},
        {"compressors": "nonsense"},
        {"attributes": {"a": object()}},
        {"chunks": 0},
    ],
)
def test_a_refused_overwrite_deletes_nothing(
    store: RecordingStore, maker: str, wrong: dict[str, Any]
) -> None:
    """Arguments are checked before anything is deleted: a refused overwrite leaves the old node."""
    MAKERS["array-data"](store, "x")
    before = {key: store.get(key) for key in store.list_prefix()}
    arguments = {"shape": 4, "chunks": 2, "dtype": "i4", **wrong}
    if maker == "array-data":
        arguments["data"] = np.arange(4)
    with pytest.raises(InvalidArgumentError):
        cs.create_array(store, name="x", overwrite=True, **arguments)
    assert {key: store.get(key) for key in store.list_prefix()} == before


def test_data_of_another_shape_deletes_nothing(store: RecordingStore) -> None:
    """Data that does not fit the shape asked for is refused before the old node is deleted."""
    MAKERS["array-data"](store, "x")
    with pytest.raises(ChunkStoreError):
        cs.create_array(store, name="x", data=np.arange(3), shape=4, dtype="i4", overwrite=True)
    assert cs.open_array(store, path="x")[...].tolist() == [1, 2, 3, 4]


# --- pending -------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_pending_array_is_not_there(store: RecordingStore, zarr_format: int) -> None:
    """Until it is published a pending array can be written, but no reader opens or lists it."""
    root = cs.create_group(store, zarr_format=zarr_format)
    array = MAKERS["array"](store, "x", zarr_format=zarr_format, pending=True)
    array[...] = [1, 2, 3, 4]
    assert list(root) == []
    assert "x" not in root
    with pytest.raises(NodeNotFoundError, match="a job is writing an array there, or was interr"):
        cs.open(store, path="x")
    with pytest.raises(NodeNotFoundError):
        cs.open_array(store, path="x", mode="r")
    array.attrs["late"] = 1
    array.publish()
    assert list(root) == ["x"]
    found = cs.open_array(store, path="x", mode="r")
    assert found[...].tolist() == [1, 2, 3, 4]
    assert dict(found.attrs) == {"late": 1}
    assert not any("__pending__" in key for key in store.list_prefix())
    array.publish()


@pytest.mark.parametrize("maker", MAKERS)
def test_pending_place_is_taken(store: RecordingStore, maker: str) -> None:
    """Where a job is writing nothing else is made, unless it is to be overwritten."""
    MAKERS["array"](store, "x", pending=True)[...] = 5
    with pytest.raises(NodeExistsError, match="an unfinished write is there already"):
        MAKERS[maker](store, "x")
    MAKERS[maker](store, "x", overwrite=True)
    node = cs.open(store, path="x")
    if maker == "array":
        assert node[...].tolist() == [0, 0, 0, 0]


def test_job_whose_place_was_taken_cannot_publish(store: RecordingStore) -> None:
    """A pending array that another job has overwritten cannot be published over that job's."""
    first = MAKERS["array"](store, "x", pending=True)
    second = cs.create_array(store, name="x", data=np.arange(6), chunks=3, overwrite=True)
    with pytest.raises(ChunkStoreError):
        first.publish()
    assert cs.open_array(store, path="x")[...].tolist() == second[...].tolist()


@pytest.mark.parametrize("at", range(12))
@pytest.mark.parametrize("maker", ["array-data", "array", "group"])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_making_that_stops_anywhere(maker: str, zarr_format: int, at: int) -> None:
    """However far the making of a node got, it is wholly there or cannot be opened."""
    store = RecordingStore()
    n_changes = 0

    def fails(what: str, key: str) -> bool:
        nonlocal n_changes
        n_changes += what != "get"
        return n_changes > at

    store.fails = fails
    try:
        MAKERS[maker](store, "a/x", zarr_format=zarr_format)
        finished = True
    except StoreError:
        finished = False
    store.fails = lambda what, key: False
    try:
        node = cs.open(store, path="a/x")
    except NodeNotFoundError:
        assert not finished
    else:
        if maker == "array-data":
            assert node[...].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "remains",
    [
        ["x/__pending__"],
        ["x/__pending__", "x/c/0"],
        ["x/zarr.json", "x/c/0"],
        ["x/.zattrs"],
    ],
)
@pytest.mark.parametrize("maker", MAKERS)
def test_remains_of_a_killed_job_can_be_overwritten(
    store: RecordingStore, maker: str, remains: list[str]
) -> None:
    """What a job leaves that was killed while it made an array goes with ``overwrite``."""
    for key in remains:
        store.set(key, b"{}")
    MAKERS[maker](store, "x", overwrite=True)
    if maker != "array-data":
        assert list(store.list_prefix("x/")) == ["x/zarr.json"]


# --- deleting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_document_goes_first(store: RecordingStore, zarr_format: int) -> None:
    """A deleted array stops existing before any of its chunks is deleted."""
    root = cs.create_group(store, zarr_format=zarr_format)
    MAKERS["array-data"](store, "x", zarr_format=zarr_format)
    store.forget()
    del root["x"]
    deleted = [key for what, key in store.record if what == "delete" and key.startswith("x/")]
    chunks = [i for i, key in enumerate(deleted) if key[-1] in "01"]
    assert deleted.index(f"x/{DOCUMENT[zarr_format]}") < min(chunks)
    assert list(store.list_prefix("x/")) == []


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_deleting_that_stops_anywhere(zarr_format: int, at: int) -> None:
    """However far the deleting of an array got, it is wholly there or cannot be opened."""
    store = RecordingStore()
    root = cs.create_group(store, zarr_format=zarr_format)
    MAKERS["array-data"](store, "x", zarr_format=zarr_format)
    n_changes = 0

    def fails(what: str, key: str) -> bool:
        nonlocal n_changes
        n_changes += what != "get"
        return n_changes > at

    store.fails = fails
    with suppress(StoreError):
        del root["x"]
    store.fails = lambda what, key: False
    with suppress(NodeNotFoundError):
        assert cs.open_array(store, path="x", mode="r")[...].tolist() == [1, 2, 3, 4]


def test_remains_of_a_stopped_deletion_can_be_overwritten(store: RecordingStore) -> None:
    """Chunks that an interrupted deletion left go with the next array that is made there."""
    root = cs.create_group(store)
    MAKERS["array-data"](store, "x")
    store.fails = lambda what, key: what == "delete" and key == "x/c/0"
    with pytest.raises(StoreError):
        del root["x"]
    store.fails = lambda what, key: False
    MAKERS["array"](store, "x", overwrite=True)


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "a", "a/b"])
def test_nothing_there(store: RecordingStore, path: str) -> None:
    """The error for an empty place names the path and the store."""
    with pytest.raises(NodeNotFoundError, match="nothing is stored there") as error:
        cs.open(store, path=path)
    assert error.value.path == path
    assert repr(path or "/") in str(error.value)


def test_something_else_there(store: RecordingStore) -> None:
    """The error for a place with other data says that there is some."""
    store.set("a/data.csv", b"")
    store.set("a/more/data.csv", b"")
    with pytest.raises(NodeNotFoundError, match=r"2 other entries are there, but no zarr\.json"):
        cs.open(store, path="a")


def test_version_3_is_one_request(store: RecordingStore) -> None:
    """Opening a version 3 array asks for its document and nothing else."""
    MAKERS["array"](store, "x")
    store.forget()
    cs.open(store, path="x")
    assert store.record == [("get", "x/zarr.json")]


def test_version_3_comes_first(store: RecordingStore) -> None:
    """Where documents of both formats are, version 3 is opened unless the other is asked for."""
    MAKERS["array"](store, "x", zarr_format=2)
    value = json.dumps({"zarr_format": 3, "node_type": "group"}).encode()
    store.set("x/zarr.json", value)
    assert isinstance(cs.open(store, path="x"), cs.Group)
    assert isinstance(cs.open(store, path="x", zarr_format=2), cs.Array)
    with pytest.raises(NodeTypeError, match="is a group, not an array"):
        cs.open_array(store, path="x")


def test_unknown_fields_are_kept(store: RecordingStore) -> None:
    """What another program adds to a document, and says one may ignore, survives a change."""
    MAKERS["array"](store, "x")
    document = {**stored(store, "x/zarr.json"), "ours": {"must_understand": False, "a": [1]}}
    store.set("x/zarr.json", json.dumps(document).encode())
    cs.open_array(store, path="x").attrs["new"] = 1
    assert stored(store, "x/zarr.json")["ours"] == {"must_understand": False, "a": [1]}


def test_attributes_document_that_is_damaged(store: RecordingStore) -> None:
    """A damaged ``.zattrs`` is named as such; the array's own document is not blamed."""
    MAKERS["array"](store, "x", zarr_format=2)
    store.set("x/.zattrs", b"{oops")
    with pytest.raises(MetadataError, match=r"'x/.zattrs'.*not JSON"):
        cs.open(store, path="x")

"""A copy holds what its source holds, in whatever store, format and layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeExistsError, StoreError
from tests.chunkstore.recording import RecordingStore

VALUES = np.arange(60, dtype="f4").reshape(12, 5)
SOURCES: dict[str, dict[str, Any]] = {
    "v2": {"chunks": (4, 2), "zarr_format": 2, "order": "F"},
    "v3": {"chunks": (4, 2), "fill_value": np.nan, "dimension_names": ("t", None)},
    "shards": {"chunks": (2, 2), "shards": (4, 4)},
    "raw": {"chunks": (5, 5), "compressors": None},
}
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "v2": {"zarr_format": 2},
    "v3": {"zarr_format": 3},
    "chunks": {"chunks": (3, 5)},
    "shards": {"zarr_format": 3, "chunks": (3, 5), "shards": (6, 5)},
    "codecs": {"compressors": [{"name": "gzip", "configuration": {"level": 1}}]},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("source", SOURCES)
def test_array(source: str, change: str) -> None:
    """Values, attributes and fill value are the source's; the layout is what was asked."""
    made = cs.create_array(None, data=VALUES, attributes={"units": "m"}, **SOURCES[source])
    changes = {"shards": None, **CHANGES[change]} if change == "chunks" else CHANGES[change]
    copied = cs.copy(made, None, path="a/b", **changes)
    found = cs.open_array(copied.store, path="a/b", mode="r")
    np.testing.assert_array_equal(found[...], VALUES)
    assert found.attrs["units"] == "m"
    np.testing.assert_array_equal(found.fill_value, made.fill_value)
    assert found.metadata.zarr_format == changes.get("zarr_format", made.metadata.zarr_format)
    if "chunks" in changes:
        assert found.chunks == changes["chunks"]


def test_the_same_layout_copies_bytes() -> None:
    """Where nothing about the chunks changes, their stored bytes are the same."""
    made = cs.create_array(None, data=VALUES, chunks=(4, 2))
    copied = cs.copy(made, None)
    for key in made.store.list_prefix("c/"):
        assert copied.store.get(key) == made.store.get(key)


def test_names_of_dimensions_cross_the_formats() -> None:
    """Version 2 keeps dimension names where xarray looks for them, and version 3 gets them back."""
    made = cs.create_array(None, data=VALUES, dimension_names=("t", "x"))
    older = cs.copy(made, None, zarr_format=2)
    assert older.attrs["_ARRAY_DIMENSIONS"] == ["t", "x"]
    newer = cs.copy(older, None, zarr_format=3)
    assert newer.dimension_names == ("t", "x")
    assert dict(newer.attrs) == {}


def test_group() -> None:
    """A group is copied with all below it."""
    root = cs.create_group(None, attributes={"title": "x"})
    root.create_array("a/b", data=VALUES)
    root.create_group("c").attrs["n"] = 1
    copied = cs.copy(root, None, zarr_format=2)
    assert isinstance(copied, cs.Group)
    assert copied.tree() == root.tree()
    assert copied.attrs["title"] == "x"
    assert copied["c"].attrs["n"] == 1
    np.testing.assert_array_equal(copied["a/b"][...], VALUES)


def test_a_copy_that_fails_does_not_open() -> None:
    """A copy that stops half-way leaves nothing that opens as complete."""
    made = cs.create_array(None, data=VALUES, chunks=(4, 2))
    store = RecordingStore()
    store.fails = lambda what, key: key.endswith("c/2/1")
    with pytest.raises(StoreError):
        cs.copy(made, store)
    store.fails = lambda what, key: False
    with pytest.raises(FileNotFoundError):
        cs.open_array(store, mode="r")


def test_refusals() -> None:
    """A copy into itself, over something, or to a format that cannot hold it is refused."""
    root = cs.create_group(None)
    root.create_array("a", data=VALUES)
    with pytest.raises(InvalidArgumentError, match="one lies in the other"):
        cs.copy(root, root.store, path="a")
    with pytest.raises(NodeExistsError):
        cs.copy(cs.array(VALUES), root.store, path="a")
    assert (root["a"][...] == VALUES).all()


def test_move() -> None:
    """A moved node is at its new path with all below it, and not at the old one."""
    for store in (cs.MemoryStore(), RecordingStore()):
        root = cs.create_group(store)
        root.create_array("a/b", data=VALUES)
        root.create_array("taken", data=VALUES)
        with pytest.raises(NodeExistsError):
            root.move("a", "taken")
        root.move("a", "deep/er")
        assert list(root) == ["deep", "taken"]
        np.testing.assert_array_equal(root["deep/er/b"][...], VALUES)

"""Attributes are a mapping whose every change is stored, in one step, and loses no other one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeNotFoundError, ReadOnlyError
from chunkstore.workers import run_in_threads


@pytest.fixture(params=[2, 3])
def node(request: pytest.FixtureRequest) -> cs.Array:
    """Give an array with attributes, of either format."""
    return cs.create_array(
        cs.MemoryStore(),
        name="x",
        shape=4,
        chunks=2,
        dtype="i4",
        zarr_format=request.param,
        attributes={"a": 1, "b": [1, {"c": None}]},
    )


def test_attributes_are_a_mapping(node: cs.Array) -> None:
    """Attributes are read, set, deleted and compared like a dict's items."""
    assert dict(node.attrs) == node.attrs.asdict() == {"a": 1, "b": [1, {"c": None}]}
    node.attrs["d"] = "é"
    del node.attrs["a"]
    node.attrs.update({"e": True}, f=2.5)
    assert list(node.attrs) == ["b", "d", "e", "f"]
    assert len(node.attrs) == 4
    assert "a" not in node.attrs
    with pytest.raises(KeyError):
        node.attrs["a"]
    with pytest.raises(KeyError):
        del node.attrs["a"]
    assert dict(cs.open(node.store, path="x").attrs) == dict(node.attrs)
    node.attrs.put({"only": 1})
    assert dict(cs.open(node.store, path="x").attrs) == {"only": 1}
    assert repr(node.attrs) == "Attributes({'only': 1})"


def test_numpy_attributes_become_json(node: cs.Array) -> None:
    """Scalars and arrays of numpy are stored as numbers and lists, and read as such."""
    node.update_attributes(
        {"n": np.int64(3), "x": np.float32(0.5), "v": np.arange(3), "b": np.True_}
    )
    assert node.attrs.asdict() == {
        "a": 1, "b": True, "n": 3, "x": 0.5, "v": [0, 1, 2],
    }  # fmt: skip
    assert type(node.attrs["n"]) is int


@pytest.mark.parametrize(
    "value", [float("nan"), np.inf, object(), b"x", {1, 2}, np.array([np.nan])]
)
def test_attributes_that_are_no_json(node: cs.Array, value: Any) -> None:
    """A value that other readers could not parse is refused by its name, and none is changed."""
    with pytest.raises(InvalidArgumentError, match="'wrong'"):
        node.attrs.update({"right": 1, "wrong": value})
    assert dict(cs.open(node.store, path="x").attrs) == {"a": 1, "b": [1, {"c": None}]}


def test_two_handles_keep_each_others_attributes(node: cs.Array) -> None:
    """Attributes set through different handles, also in several threads, are all kept."""
    handles = [node, cs.open_array(node.store, path="x")]

    def work(i: int) -> None:
        handles[i % 2].attrs[f"k{i}"] = i

    run_in_threads(work, range(40), n_threads=4)
    found = dict(cs.open(node.store, path="x").attrs)
    assert found == {"a": 1, "b": [1, {"c": None}], **{f"k{i}": i for i in range(40)}}


def test_attributes_of_a_reader(node: cs.Array) -> None:
    """Through a handle for reading attributes cannot be changed."""
    reader = cs.open_array(node.store, path="x", mode="r")
    for change in (
        lambda: reader.attrs.update(a=2),
        lambda: reader.attrs.put({}),
        lambda: reader.attrs.pop("a"),
        lambda: reader.update_attributes({"a": 2}),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    assert reader.attrs["a"] == 1


def test_changed_attributes_keep_the_rest(node: cs.Array) -> None:
    """Setting an attribute changes nothing else of the documents, nor any chunk."""
    node[...] = [1, 2, 3, 4]
    keys = sorted(node.store.list_prefix("x/"))
    before = cs.open_array(node.store, path="x").metadata
    node.attrs["new"] = 1
    after = cs.open_array(node.store, path="x").metadata
    assert sorted(node.store.list_prefix("x/")) == keys
    for field in ("codecs", "grid", "fill_value", "data_type", "key_encoding", "extra"):
        assert getattr(before, field) == getattr(after, field)
    assert node[...].tolist() == [1, 2, 3, 4]


def test_attributes_of_a_deleted_node(node: cs.Array) -> None:
    """Changing an array that was deleted meanwhile fails, and does not bring it back."""
    node.store.delete_prefix("x/")
    with pytest.raises(NodeNotFoundError):
        node.attrs["a"] = 2
    assert list(node.store.list_prefix("x/")) == []

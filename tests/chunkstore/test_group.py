"""A group is a mapping of what is really stored below it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import (
    InvalidArgumentError,
    MetadataError,
    NodeExistsError,
    NodeNotFoundError,
    ReadOnlyError,
)
from tests.chunkstore.recording import RecordingStore


@pytest.fixture(params=[2, 3])
def root(request: pytest.FixtureRequest) -> cs.Group:
    """Give a group of either format with members at several depths."""
    made = cs.create_group(
        RecordingStore(), zarr_format=request.param, attributes={"title": "winds"}
    )
    made.create_array("u", shape=(3, 4), dtype="f4", chunks=(2, 2))
    made.create_array("levels/v", data=np.arange(6), chunks=4)
    made.create_group("levels/high/er", attributes={"km": 9})
    made.create_group("empty")
    return made


def test_is_a_mapping_of_its_members(root: cs.Group) -> None:
    """Names, members, length and membership agree, in order of names."""
    assert list(root) == list(root.keys()) == ["empty", "levels", "u"]
    assert len(root) == 3
    assert [node.name for node in root.values()] == ["/empty", "/levels", "/u"]
    assert [name for name, _ in root.items()] == [name for name, _ in root.members()] == list(root)
    assert "u" in root
    assert "x" not in root
    assert 5 not in root


def test_members_by_kind(root: cs.Group) -> None:
    """Arrays and groups can be had apart."""
    assert [name for name, _ in root.arrays()] == list(root.array_keys()) == ["u"]
    assert [name for name, _ in root.groups()] == list(root.group_keys()) == ["empty", "levels"]
    assert all(isinstance(node, cs.Array) for _, node in root.arrays())
    assert all(isinstance(node, cs.Group) for _, node in root.groups())


def test_members_by_path(root: cs.Group) -> None:
    """A member is found by its path below the group, however that is spelled."""
    assert root["levels/v"][...].tolist() == [0, 1, 2, 3, 4, 5]
    assert root["levels"]["v"].path == root["/levels//v/"].path == "levels/v"
    assert root["levels/high/er"].attrs["km"] == 9
    assert root["levels"]["high/er"].basename == "er"
    assert "levels/v" in root
    assert "levels/w" not in root


def test_absent_members(root: cs.Group) -> None:
    """Asking for what is not there is an error that names the whole path, or gives a default."""
    with pytest.raises(NodeNotFoundError, match="'levels/w'"):
        root["levels"]["w"]
    with pytest.raises(KeyError):
        root["x"]
    assert root.get("x") is None
    assert root.get("x", 5) == 5
    with pytest.raises(NodeNotFoundError):
        del root["x"]


def test_facts(root: cs.Group) -> None:
    """A group says where it is and what it holds."""
    group = root["levels"]
    assert (group.path, group.name, group.basename) == ("levels", "/levels", "levels")
    assert group.store is root.store
    assert not group.read_only
    assert "/levels" in repr(group)
    for text in (root.info, root._repr_html_()):
        assert "empty, levels, u" in text
    assert "none" in root["empty"].info


def test_new_members_are_of_the_groups_format(root: cs.Group) -> None:
    """What is made in a group is of its format, unless asked otherwise, and so are its parents."""
    made = root.create_array("new/er/x", shape=2, dtype="i4")
    assert made.metadata.zarr_format == root.metadata.zarr_format
    assert root["new/er"].metadata.zarr_format == root.metadata.zarr_format
    assert "x" in root["new/er"]


def test_members_inherit_options() -> None:
    """The run settings of a group go on to what is made and opened in it."""
    options = cs.Options(n_threads=1)
    root = cs.create_group(cs.MemoryStore(), options=options)
    assert root.create_array("x", shape=2, dtype="i4").options == options
    assert root["x"].options == options
    assert root.create_group("g").create_array("y", shape=2, dtype="i4").options == options
    assert root.create_array("z", shape=2, dtype="i4", options=cs.Options()).options != options


def test_existing_members_are_not_replaced(root: cs.Group) -> None:
    """A member is made over another only if that is asked for."""
    for make in (
        lambda **kw: root.create_array("u", shape=2, dtype="i4", **kw),
        lambda **kw: root.create_group("levels", **kw),
    ):
        with pytest.raises(NodeExistsError):
            make()
        make(overwrite=True)
    assert root["u"].shape == (2,)
    assert list(root["levels"]) == []


def test_members_of_another_program_are_seen(root: cs.Group) -> None:
    """What is added or deleted by another handle is seen at the next look."""
    other = cs.open_group(root.store, mode="r+")
    other.create_array("new", shape=2, dtype="i4")
    assert "new" in list(root)
    del other["u"]
    assert "u" not in root


def test_deleted_member_is_gone_with_all_below(root: cs.Group) -> None:
    """A deleted group leaves no key below it, and its neighbours stay."""
    root.create_array("levels-too", shape=2, dtype="i4")
    del root["levels"]
    assert list(root.store.list_prefix("levels/")) == []
    assert list(root) == ["empty", "levels-too", "u"]


@pytest.mark.parametrize("path", ["", "/", "//"])
def test_a_group_does_not_delete_itself(root: cs.Group, path: str) -> None:
    """An empty path names no member, so deleting it deletes nothing."""
    with pytest.raises((NodeNotFoundError, InvalidArgumentError)):
        del root[path]
    assert list(root) == ["empty", "levels", "u"]


def test_reader_refuses_changes(root: cs.Group) -> None:
    """Through a group that was opened for reading nothing can be changed, at any depth."""
    reader = cs.open_group(root.store, mode="r")
    assert reader.read_only
    for change in (
        lambda: reader.create_array("x", shape=2, dtype="i4"),
        lambda: reader.create_group("x"),
        lambda: reader.__delitem__("u"),
        lambda: reader.attrs.update(a=1),
        lambda: reader["levels/v"].write(0, 1),
        lambda: reader["levels"].create_group("x"),
        lambda: reader["levels/high/er"].attrs.update(km=1),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    assert reader["levels/v"][0] == 0


def test_what_is_no_member(root: cs.Group) -> None:
    """Reserved names, chunks and other data below a group are not taken for members."""
    store = root.store
    store.set("__hidden/zarr.json", json.dumps({"zarr_format": 3, "node_type": "group"}).encode())
    store.set("data/file.csv", b"")
    store.set("file.csv", b"")
    assert list(root) == ["empty", "levels", "u"]


def test_broken_member_is_an_error(root: cs.Group) -> None:
    """A member whose document is damaged is not passed over in silence."""
    document = {2: "u/.zarray", 3: "u/zarr.json"}[root.metadata.zarr_format]
    root.store.set(document, b"{")
    with pytest.raises(MetadataError, match=document):
        list(root)
    with pytest.raises(MetadataError, match=document):
        root["u"]
    assert root["levels/v"].shape == (6,)


def test_attributes_are_stored(root: cs.Group) -> None:
    """Attributes of a group are written through and kept beside its members."""
    root.update_attributes({"a": [1, 2]}).attrs["b"] = "x"
    again = cs.open_group(root.store, mode="r")
    assert again.attrs.asdict() == {"title": "winds", "a": [1, 2], "b": "x"}
    assert list(again) == list(root)


def test_listing_is_one_request_a_member() -> None:
    """Going through a version 3 group asks once for each name, and reads no chunk."""
    store = RecordingStore()
    root = cs.create_group(store)
    for name in "abc":
        root.create_array(name, data=np.arange(4), chunks=1)
    store.forget()
    assert len(list(root.members())) == 3
    assert store.record == [("get", f"{name}/zarr.json") for name in "abc"]


def test_consolidated_members_ask_the_store_for_nothing() -> None:
    """Members come from the consolidated metadata alone, at any depth, in order of paths."""
    store = RecordingStore()
    root = cs.create_group(store)
    for path in ("b/y", "a", "b/x"):
        root.create_array(path, shape=3, dtype="i4")
    cs.consolidate_metadata(store)
    opened = cs.open_group(store, mode="r", use_consolidated=True)
    store.forget()
    assert opened.is_consolidated
    assert [path for path, _ in opened.consolidated_members()] == ["a", "b"]
    found = dict(opened.consolidated_members(recursive=True))
    assert list(found) == ["a", "b", "b/x", "b/y"]
    assert found["b/x"].path == "b/x"
    assert [path for path, _ in found["b"].consolidated_members()] == ["x", "y"]
    assert store.record == []
    plain = cs.open_group(store, mode="r", use_consolidated=False)
    assert not plain.is_consolidated
    with pytest.raises(InvalidArgumentError, match="use_consolidated=True"):
        list(plain.consolidated_members())


def test_members_at_any_depth(root: cs.Group) -> None:
    """Members can be had down to a depth, each group before what is in it."""
    assert [path for path, _ in root.members(max_depth=None)] == [
        "empty", "levels", "levels/high", "levels/high/er", "levels/v", "u",
    ]  # fmt: skip
    assert [path for path, _ in root.members(1)][2:4] == ["levels/high", "levels/v"]
    assert [root.nmembers(depth) for depth in (0, 1, 2, None)] == [3, 5, 6, 6]
    assert next(node.path for _, node in root["levels"].members(None)) == "levels/high"
    assert [node.name for node in root.array_values()] == ["/u"]
    assert [node.name for node in root.group_values()] == ["/empty", "/levels"]
    for depth in (-1, True, 1.5):
        with pytest.raises(InvalidArgumentError, match="max_depth"):
            root.members(depth)  # type: ignore[arg-type]


def test_tree_of_some_levels(root: cs.Group) -> None:
    """A tree is drawn down to a level, and shown as it reads."""
    lines = root.tree(level=1).splitlines()
    assert [line.split()[-1] for line in lines[:3]] == ["/", "empty", "levels"]
    assert len(lines) == 4
    assert root.tree(level=None) == root.tree()
    assert repr(root.tree()) == root.tree()
    assert repr(root.info) == root.info


def test_arrays_of_one_value(root: cs.Group) -> None:
    """Arrays are made in a group as at the door, and like others, stored or in memory."""
    assert root.zeros("z", shape=3)[...].tolist() == [0, 0, 0]
    assert root.ones("o", shape=(2,), dtype="i2").dtype == "i2"
    assert root.full("f", shape=2, fill_value=7).dtype == np.asarray(7).dtype
    assert root.empty("e", shape=2, chunks=1).chunks == (1,)
    assert root.zeros_like("zl", data=root["u"]).chunks == root["u"].chunks
    like = root.full_like("fl", data=np.zeros((2, 3), "i4"), fill_value=4)
    assert like[...].tolist() == [[4] * 3] * 2
    assert like.metadata.zarr_format == root.metadata.zarr_format
    assert root.ones_like("ol", data=root["u"], dtype="i8").dtype == "i8"
    assert root.empty_like("el", data=root["levels/v"]).shape == (6,)


def test_members_of_a_kind(root: cs.Group) -> None:
    """A member that must be an array or a group is one, or the error says what it is."""
    assert root.get_array("u").shape == (3, 4)
    assert root.get_group("levels").path == "levels"
    with pytest.raises(TypeError):
        root.get_array("levels")
    with pytest.raises(TypeError):
        root.get_group("u")
    with pytest.raises(NodeNotFoundError):
        root.get_array("nothing")
    assert [group.path for group in root.require_groups("empty", "new/er")] == ["empty", "new/er"]


def test_values_are_stored_as_items(root: cs.Group) -> None:
    """Assigning values makes an array or replaces one, and never a group."""
    root["new/x"] = [1, 2]
    root["new/x"] = np.arange(3)
    assert root["new/x"][...].tolist() == [0, 1, 2]
    with pytest.raises(NodeExistsError, match="a group is there"):
        root["levels"] = 5
    assert "levels/v" in root


def test_arrays_that_are_required(root: cs.Group) -> None:
    """An array that is there is given if shape and dtype fit, exactly where that is asked."""
    assert root.require_array("u", shape=[np.int64(3), 4], dtype="f2").dtype == "f4"
    assert root.require_array("levels/v", shape=np.int64(6)).shape == (6,)
    for wrong in ({"dtype": "f2", "exact": True}, {"dtype": "f8"}, {"dtype": str}):
        with pytest.raises(InvalidArgumentError, match="is there already"):
            root.require_array("u", shape=(3, 4), **wrong)
    assert root.require_array("text", shape=2, dtype=str, exact=True).dtype.kind == "T"
    assert root.require_array("text", shape=2, dtype=str, exact=True).path == "text"


def test_members_are_of_the_groups_format(root: cs.Group) -> None:
    """An array of the other format, which the group would not show, is refused."""
    other = 5 - root.metadata.zarr_format
    with pytest.raises(InvalidArgumentError, match=f"Pass zarr_format={5 - other}"):
        root.create_array("x", shape=1, dtype="i1", zarr_format=other)
    with pytest.raises(InvalidArgumentError, match="one would hide the other"):
        cs.create_array(root.store, name="n/m/x", shape=1, dtype="i1", zarr_format=other)
    assert sorted(cs.open_group(root.store)) == ["empty", "levels", "u"]


def test_attributes_are_copies(root: cs.Group) -> None:
    """Changing a list that an attribute gave changes neither the store nor the handle."""
    root.attrs["levels"] = [1, 2]
    root.attrs["levels"].append(3)
    root.attrs.asdict()["levels"].append(3)
    assert root.attrs["levels"] == [1, 2]


def test_arrays_that_are_alike_keep_what_is_their_own(root: cs.Group) -> None:
    """Arrays of the same layout have their own attributes, path and values in consolidated use."""
    for number in range(3):
        root.create_array(f"same/{number}", data=np.full(4, number), attributes={"n": number})
    root.create_array("same/other", data=np.arange(5))
    cs.consolidate_metadata(root.store)
    opened = cs.open_group(root.store, mode="r", use_consolidated=True)
    found = dict(opened.consolidated_members(recursive=True))
    for number in range(3):
        array = found[f"same/{number}"]
        assert isinstance(array, cs.Array)
        assert array.attrs.asdict() == {"n": number}
        assert array.path == f"same/{number}"
        assert array[:].tolist() == [number] * 4
    other = found["same/other"]
    assert isinstance(other, cs.Array)
    assert other[:].tolist() == [0, 1, 2, 3, 4]


def test_damage_of_one_alike_array_is_found() -> None:
    """Attributes that are no object are refused, also of an array like one that was read."""
    store = cs.MemoryStore()
    root = cs.create_group(store)
    for name in "ab":
        root.create_array(name, shape=3, dtype="i4")
    cs.consolidate_metadata(store)
    document = json.loads(store.get("zarr.json") or b"")
    document["consolidated_metadata"]["metadata"]["b"]["attributes"] = [1]
    store.set("zarr.json", json.dumps(document).encode())
    opened = cs.open_group(store, mode="r", use_consolidated=True)
    with pytest.raises(MetadataError, match="attributes"):
        dict(opened.consolidated_members())

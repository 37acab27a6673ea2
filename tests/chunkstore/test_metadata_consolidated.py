"""Consolidated metadata: right when it is read, and gone before it could be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import metadata as formats
from chunkstore.errors import InvalidArgumentError, MetadataError, NodeNotFoundError, NodeTypeError
from chunkstore.metadata import consolidated
from chunkstore.metadata.model import GroupMetadata, Problems
from chunkstore.stores.base import Listing
from tests.chunkstore.recording import RecordingStore

Format = Literal[2, 3]
FORMATS: tuple[Format, ...] = (2, 3)


class WebStore(RecordingStore):
    """A store that, like a plain web server, gives values and cannot list."""

    can_list = False

    def list_dir(self, prefix: str) -> Listing:
        """Fail, as such a server does."""
        raise AssertionError("a store that cannot list was asked to")


def hierarchy(store: cs.Store, zarr_format: Format) -> cs.Group:
    """Make groups and arrays at several depths."""
    root = cs.create_group(store, attributes={"title": "root"}, zarr_format=zarr_format)
    root.create_array("x", shape=(4,), chunks=(2,), dtype="i4", attributes={"unit": "m"})
    root.create_array("a/b/y", shape=(3, 2), dtype="f8", fill_value=float("nan"))
    root.create_group("a/empty", attributes={"n": 1})
    root["x"][...] = [1, 2, 3, 4]
    return root


def described(group: cs.Group, below: str = "") -> dict[str, Any]:
    """Say all that the handles of a hierarchy say."""
    found: dict[str, Any] = {}
    for name, member in group.members():
        path = f"{below}{name}"
        found[path] = (type(member).__name__, member.path, member.attrs.asdict())
        if isinstance(member, cs.Group):
            found.update(described(member, f"{path}/"))
        else:
            found[path] += (member.shape, member.chunks, member.dtype, str(member.fill_value))
    return found


def has_copy(store: cs.Store, path: str = "") -> bool:
    """Say whether a group holds consolidated metadata in either format."""
    prefix = f"{path}/" if path else ""
    new = store.get(f"{prefix}zarr.json")
    found = new is not None and "consolidated_metadata" in json.loads(new)
    return found or store.get(f"{prefix}.zmetadata") is not None


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_copy_says_what_the_documents_say(zarr_format: Format) -> None:
    """A hierarchy opened from consolidated metadata is the one that the documents describe."""
    store = cs.MemoryStore()
    root = hierarchy(store, zarr_format)
    cs.consolidate_metadata(store)
    opened = cs.open_group(store, mode="r", use_consolidated=True)
    assert described(opened) == described(root)
    assert set(described(opened)) == {"x", "a", "a/b", "a/b/y", "a/empty"}
    assert np.array_equal(opened["x"][...], [1, 2, 3, 4])
    assert np.array_equal(opened["a"]["b"]["y"].shape, (3, 2))
    assert opened["a/b"].name == "/a/b"
    assert opened.get("a/nothing") is None


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_copy_saves_requests(zarr_format: Format) -> None:
    """Members that the copy names are opened with one listing a group and nothing else."""
    store = RecordingStore()
    hierarchy(store, zarr_format)
    cs.consolidate_metadata(store)
    store.forget()
    root = cs.open_group(store, mode="r", use_consolidated=True)
    n_opened = len(store.record)
    found = described(root)
    assert len(found) == 5
    assert root["a/b/y"].shape == (3, 2)
    assert store.record[n_opened:] == []
    assert n_opened == (1 if zarr_format == 3 else 5)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_copy_of_a_group_below_the_root(zarr_format: Format) -> None:
    """Consolidating a group copies what is below it, and leaves the others alone."""
    store = cs.MemoryStore()
    hierarchy(store, zarr_format)
    made = cs.consolidate_metadata(store, path="a")
    assert made.path == "a"
    assert has_copy(store, "a")
    assert not has_copy(store)
    opened = cs.open_group(store, path="a", mode="r", use_consolidated=True)
    assert set(described(opened)) == {"b", "b/y", "empty"}
    assert opened["b/y"].path == "a/b/y"


def test_copies_do_not_nest() -> None:
    """A copy repeats the documents of groups without the copies that these hold."""
    store = cs.MemoryStore()
    hierarchy(store, 3)
    cs.consolidate_metadata(store, path="a")
    root = cs.consolidate_metadata(store)
    copy = root.metadata.extra["consolidated_metadata"]["metadata"]
    assert copy["a"]["consolidated_metadata"]["metadata"] == {}
    assert list(copy) == ["a", "x", "a/b", "a/empty", "a/b/y"]
    # The group's own stays, for it is still right.
    assert has_copy(store, "a")


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("use", [None, False])
def test_documents_are_read_by_default(zarr_format: Format, use: bool | None) -> None:
    """Unless it is asked for, the copy is not looked at where the store can list."""
    store = cs.MemoryStore()
    hierarchy(store, zarr_format)
    root = cs.consolidate_metadata(store)
    _go_stale(store, root, zarr_format)
    opened = cs.open_group(store, mode="r", use_consolidated=use)
    assert opened["x"].attrs["unit"] == "changed"
    assert list(opened) == ["a", "later", "x"]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_member_added_later_is_seen(zarr_format: Format) -> None:
    """A member that another program adds or deletes shows, also to who reads the copy."""
    store = cs.MemoryStore()
    hierarchy(store, zarr_format)
    root = cs.consolidate_metadata(store)
    _go_stale(store, root, zarr_format)
    opened = cs.open_group(store, mode="r", use_consolidated=True)
    assert list(opened) == ["a", "later", "x"]
    assert opened["later"].shape == (7,)
    assert opened["a/later"].shape == (7,)
    assert "later" in list(opened["a"])
    assert "empty" not in list(opened["a"])
    # What the copy names is shown as it was: that is what was asked for.
    assert opened["x"].attrs["unit"] == "m"


def _go_stale(store: cs.MemoryStore, root: cs.Group, zarr_format: Format) -> None:
    """Change the hierarchy as a program does that leaves the copy as it is."""
    kept = {key: store.get(key) for key in ("zarr.json", ".zmetadata")}
    for path in ("later", "a/later"):
        root.create_array(path, shape=(7,), dtype="i1")
    root["x"].attrs["unit"] = "changed"
    del root["a/empty"]
    for key, value in kept.items():
        if value is not None:
            store.set(key, value)
    assert has_copy(store)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("use", [None, True])
def test_store_that_cannot_list(zarr_format: Format, use: bool | None) -> None:
    """Where a store cannot list, the copy alone says what the members are."""
    made = cs.MemoryStore()
    root = hierarchy(made, zarr_format)
    cs.consolidate_metadata(made)
    store = WebStore()
    store._values.update(made._values)
    opened = cs.open_group(store, mode="r", use_consolidated=use)
    assert described(opened) == described(root)
    with pytest.raises(KeyError, match="nothing"):
        opened["nothing"]


@pytest.mark.parametrize("mode", ["r+", "a"])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_writing_handle_reads_documents(mode: Any, zarr_format: Format) -> None:
    """A handle that may write never shows the copy, which its own changes would leave stale."""
    store = cs.MemoryStore()
    hierarchy(store, zarr_format)
    root = cs.consolidate_metadata(store)
    _go_stale(store, root, zarr_format)
    opened = cs.open_group(store, mode=mode, use_consolidated=True)
    assert opened["x"].attrs["unit"] == "changed"


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_open_uses_the_copy_too(zarr_format: Format) -> None:
    """``open`` gives the same group as ``open_group``, and takes no other word for its argument."""
    store = RecordingStore()
    hierarchy(store, zarr_format)
    cs.consolidate_metadata(store)
    opened = cs.open(store, mode="r", use_consolidated=True)
    assert isinstance(opened, cs.Group)
    store.forget()
    assert opened["a/b/y"].shape == (3, 2)
    assert store.record == []
    with pytest.raises(InvalidArgumentError, match="use_consolidated"):
        cs.open(store, mode="r", use_consolidated=".zmetadata")  # type: ignore[arg-type]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_copy_that_is_not_there(zarr_format: Format) -> None:
    """Where there must be a copy and there is none, the error says how to make one."""
    store = cs.MemoryStore()
    hierarchy(store, zarr_format)
    with pytest.raises(InvalidArgumentError, match="consolidate_metadata"):
        cs.open_group(store, mode="r", use_consolidated=True)


def test_only_groups_are_consolidated() -> None:
    """An array has nothing below it, and where nothing is there is nothing to consolidate."""
    store = cs.MemoryStore()
    hierarchy(store, 3)
    with pytest.raises(NodeTypeError):
        cs.consolidate_metadata(store, path="x")
    with pytest.raises(NodeNotFoundError):
        cs.consolidate_metadata(store, path="nothing")


def test_broken_member_stops_consolidating() -> None:
    """A document that is not valid is reported, and no copy is made without it."""
    store = cs.MemoryStore()
    hierarchy(store, 3)
    store.set("a/b/y/zarr.json", b"{")
    with pytest.raises(MetadataError, match="a/b/y"):
        cs.consolidate_metadata(store)
    assert not has_copy(store)


def test_pending_array_is_left_out() -> None:
    """An array that a job is still writing is no member yet."""
    store = cs.MemoryStore()
    root = hierarchy(store, 3)
    root.create_array("soon", shape=3, dtype="i4", pending=True)
    made = cs.consolidate_metadata(store)
    assert "soon" not in made.metadata.extra["consolidated_metadata"]["metadata"]


# -- changing -------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[cs.Group], object]] = {
    "array made": lambda root: root.create_array("a/b/z", shape=3, dtype="i4"),
    "array made with data": lambda root: root.create_array("z", data=np.arange(3)),
    "array replaced": lambda root: root.create_array(
        "a/b/y", shape=3, dtype="i4", overwrite=True
    ),
    "array published": lambda root: root.create_array(
        "a/z", shape=3, dtype="i4", pending=True
    ).publish(),
    "group made": lambda root: root.create_group("a/b/c/d"),
    "group required": lambda root: root.require_group("a/new"),
    "array deleted": lambda root: root.__delitem__("a/b/y"),
    "group deleted": lambda root: root.__delitem__("a"),
    "array's attributes": lambda root: root["a/b/y"].attrs.update(k=1),
    "array's attribute deleted": lambda root: root["x"].attrs.__delitem__("unit"),
    "group's attributes": lambda root: root["a/b"].attrs.put({"k": 1}),
    "resized": lambda root: root["x"].resize(9),
    "appended": lambda root: root["x"].append(np.arange(3)),
    "moved": lambda root: root.move("a/b", "c"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_change_drops_the_copies_above(
    zarr_format: Format, change: Callable[[cs.Group], object]
) -> None:
    """A change leaves no copy that holds what was changed, so no program reads a stale one."""
    store = cs.MemoryStore()
    hierarchy(store, zarr_format)
    root = cs.consolidate_metadata(store)
    before = described(root)
    change(root)
    assert not has_copy(store)
    assert described(cs.open_group(store, mode="r")) != before
    # And none that is made now brings the old one back.
    cs.consolidate_metadata(store)
    again = cs.open_group(store, mode="r", use_consolidated=True)
    assert described(again) == described(cs.open_group(store, mode="r"))


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_change_drops_the_copy_first(zarr_format: Format) -> None:
    """A writer that dies in between leaves no copy and the old documents, never a stale copy."""
    store = RecordingStore()
    hierarchy(store, zarr_format)
    root = cs.consolidate_metadata(store)
    document = "a/b/y/zarr.json" if zarr_format == 3 else "a/b/y/.zattrs"
    store.fails = lambda what, key: what == "set" and key == document
    with pytest.raises(OSError, match="the test says so"):
        root["a/b/y"].attrs["k"] = 1
    assert not has_copy(store)
    assert "k" not in cs.open_array(store, path="a/b/y", mode="r").attrs


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_copy_that_cannot_be_dropped_stops_the_change(zarr_format: Format) -> None:
    """Where the copy cannot be dropped nothing is changed."""
    store = RecordingStore()
    hierarchy(store, zarr_format)
    root = cs.consolidate_metadata(store)
    held = "zarr.json" if zarr_format == 3 else ".zmetadata"
    array = root["x"]
    store.fails = lambda what, key: what in ("set", "delete") and key == held
    with pytest.raises(OSError, match="the test says so"):
        array.resize(100)
    assert cs.open_array(store, path="x", mode="r").shape == (4,)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_copy_above_the_store_is_dropped(tmp_path: Path, zarr_format: Format) -> None:
    """An array opened by its own path may lie in a group whose copy holds it; that one goes too."""
    root = tmp_path / "root.zarr"
    hierarchy(cs.LocalStore(root), zarr_format)
    for change in (
        lambda: cs.open_array(root / "a/b/y", mode="r+").resize((9, 9)),
        lambda: cs.open_group(root / "a", mode="r+").attrs.update(k=1),
        lambda: cs.create_array(root / "new", shape=1, dtype="i1", zarr_format=zarr_format),
    ):
        cs.consolidate_metadata(root)
        assert has_copy(cs.LocalStore(root))
        change()
        assert not has_copy(cs.LocalStore(root))
    shape = cs.open_array(root / "a/b/y", mode="r").shape
    assert cs.open_group(root, mode="r")["a/b/y"].shape == shape == (9, 9)


def test_folders_that_are_no_groups_are_left_alone(tmp_path: Path) -> None:
    """What lies above a hierarchy is none of its business, whatever it holds."""
    (tmp_path / ".zmetadata").write_text("notes")
    cs.create_array(tmp_path / "x", shape=1, dtype="i1", zarr_format=2).attrs["k"] = 1
    assert (tmp_path / ".zmetadata").read_text() == "notes"


def test_copies_at_every_depth_are_dropped() -> None:
    """A copy in a group half way holds the node as well."""
    store = cs.MemoryStore()
    hierarchy(store, 3)
    for path in ("a/b", "a", ""):
        cs.consolidate_metadata(store, path=path)
    cs.open_array(store, path="a/b/y", mode="r+").attrs["k"] = 1
    assert [has_copy(store, path) for path in ("a/b", "a", "")] == [False, False, False]


def test_change_beside_keeps_a_copy() -> None:
    """A copy that does not hold the changed node stays, and so do attributes above it."""
    store = cs.MemoryStore()
    hierarchy(store, 3)
    cs.consolidate_metadata(store, path="a")
    root = cs.open_group(store, mode="r+")
    root["x"].attrs["k"] = 1
    root.attrs["title"] = "changed"
    assert has_copy(store, "a")


def test_own_attributes_keep_a_version_3_copy() -> None:
    """A version 3 copy does not repeat the group's own attributes, so it outlives their change."""
    store = cs.MemoryStore()
    hierarchy(store, 3)
    root = cs.consolidate_metadata(store)
    root.attrs["title"] = "changed"
    opened = cs.open_group(store, mode="r", use_consolidated=True)
    assert opened.attrs["title"] == "changed"
    assert len(described(opened)) == 5


def test_own_attributes_drop_a_version_2_copy() -> None:
    """A ``.zmetadata`` repeats the group's own attributes, and goes with their change."""
    store = cs.MemoryStore()
    hierarchy(store, 2)
    root = cs.consolidate_metadata(store)
    root.attrs["title"] = "changed"
    assert not has_copy(store)


def test_writing_chunks_keeps_the_copy() -> None:
    """Values are not metadata."""
    store = cs.MemoryStore()
    hierarchy(store, 3)
    root = cs.consolidate_metadata(store)
    root["x"][...] = 5
    assert has_copy(store)


def test_dropping_keeps_the_rest_of_the_document() -> None:
    """What else a group's document says, known or not, outlives its copy."""
    store = cs.MemoryStore()
    hierarchy(store, 3)
    cs.consolidate_metadata(store)
    value = store.get("zarr.json")
    assert value is not None
    later = {"must_understand": False, "of": "a later version"}
    store.set("zarr.json", json.dumps({**json.loads(value), "later": later}).encode())
    cs.open_group(store, mode="r+").create_group("new")
    value = store.get("zarr.json")
    assert value is not None
    assert json.loads(value) == {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"title": "root"},
        "later": later,
    }


# -- the form -------------------------------------------------------------------------------------


def test_form_of_version_2() -> None:
    """A ``.zmetadata`` holds the documents of all nodes, the group's own too, by their keys."""
    store = cs.MemoryStore()
    hierarchy(store, 2)
    cs.consolidate_metadata(store)
    value = store.get(".zmetadata")
    assert value is not None
    document = json.loads(value)
    assert document["zarr_consolidated_format"] == 1
    for key, repeated in document["metadata"].items():
        stored = store.get(key)
        assert stored is not None
        assert json.loads(stored) == repeated
    documents = {key for key in store.list_prefix() if key.rpartition("/")[2].startswith(".z")}
    assert set(document["metadata"]) == documents - {".zmetadata"}


def test_entries_of_other_programs_are_left_out() -> None:
    """Keys of a ``.zmetadata`` that name no document of version 2 do no harm."""
    problems = Problems()
    found = consolidated.separate_entries(
        {
            "zarr_consolidated_format": 1,
            "metadata": {
                ".nczgroup": {},
                "x/.nczarray": {},
                "x/.zattrs": {"k": 1},
                "x/.zarray": {"shape": []},
                "x/.zgroup": {},
                "only/.zattrs": {},
                ".zgroup": {},
            },
        },
        problems,
    )
    assert not problems.found
    assert found is not None
    assert list(found) == ["x"]
    assert found["x"].name == ".zarray"
    assert found["x"].attributes == {"k": 1}


@pytest.mark.parametrize("copy", [None, {"kind": "link", "must_understand": False}, {}])
def test_no_copy_of_a_known_kind(copy: Any) -> None:
    """A copy of a kind that is not known is as good as none."""
    extra = {} if copy is None else {"consolidated_metadata": copy}
    group = GroupMetadata(3, {}, extra)
    assert formats.read_consolidated("", group, None, store="a store") is None

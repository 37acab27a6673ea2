"""The door: each mode does what it says, for every kind of store and of node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import (
    InvalidArgumentError,
    MetadataError,
    NodeExistsError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
)

NEW = {"shape": 3, "dtype": "i4"}

Open = Callable[..., Any]


def open_array(store: Any, **arguments: Any) -> cs.Array:
    """Open an array with what is needed to make one."""
    return cs.open_array(store, **NEW, **arguments)


OPENERS: dict[str, Open] = {"open": cs.open, "array": open_array, "group": cs.open_group}


@pytest.fixture(params=["path", "text", "url", "local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Give an empty place for a store in each of the forms that a user may give it."""
    folder = tmp_path / "data"
    return {
        "path": folder,
        "text": str(folder),
        "url": folder.as_uri(),
        "local": cs.LocalStore(folder),
        "memory": cs.MemoryStore(),
    }[request.param]


def test_write_and_read_back(place: Any) -> None:
    """What is made through one form of a store is found through it again."""
    made = cs.create_array(place, name="a/x", data=np.arange(5), chunks=2)
    assert cs.open(place, path="/a/x")[...].tolist() == [0, 1, 2, 3, 4]
    assert cs.open_array(place, path="a/x", mode="r")[-1] == 4
    assert list(cs.open_group(place, path="a", mode="r")) == ["x"]
    assert cs.open(place)["a/x"].store == made.store


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_nothing_to_read(opener: str, mode: str, tmp_path: Path) -> None:
    """Where nothing is, modes that only read or change fail, and make nothing."""
    with pytest.raises(NodeNotFoundError):
        OPENERS[opener](tmp_path / "data", path="x", mode=mode)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("mode", ["a", "w", "w-"])
def test_makes_what_is_missing(opener: str, mode: str) -> None:
    """Where nothing is, modes that make something make it, with the groups above."""
    store = cs.MemoryStore()
    node = OPENERS[opener](store, path="a/x", mode=mode)
    assert isinstance(node, cs.Array if opener == "array" else cs.Group)
    assert node.path == "a/x"
    assert isinstance(cs.open(store, path="a"), cs.Group)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_opens_what_is_there(opener: str, mode: str) -> None:
    """Where something is, modes that do not replace open it as it is."""
    store = cs.MemoryStore()
    if opener == "group":
        cs.create_group(store, path="x", attributes={"old": 1})
    else:
        cs.create_array(store, name="x", shape=7, dtype="f8", attributes={"old": 1})
    node = OPENERS[opener](store, path="x", mode=mode)
    assert node.attrs["old"] == 1
    assert node.read_only is (mode == "r")
    if mode == "r":
        with pytest.raises(ReadOnlyError):
            node.attrs["new"] = 1


@pytest.mark.parametrize("opener", OPENERS)
def test_replaces_when_asked(opener: str) -> None:
    """Mode ``w`` replaces what is there, and ``w-`` refuses to."""
    store = cs.MemoryStore()
    cs.create_array(store, name="x", data=np.arange(7), attributes={"old": 1})
    with pytest.raises(NodeExistsError):
        OPENERS[opener](store, path="x", mode="w-")
    assert cs.open_array(store, path="x")[3] == 3
    node = OPENERS[opener](store, path="x", mode="w")
    assert dict(node.attrs) == {}
    assert list(store.list_prefix("x/")) == ["x/zarr.json"]


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("mode", ["rw", "R", "x", 5, ["r"]])
def test_unknown_modes(opener: str, mode: Any) -> None:
    """A mode that is not known is refused before anything is done."""
    with pytest.raises(InvalidArgumentError, match="mode must be one of"):
        OPENERS[opener](cs.MemoryStore(), mode=mode)


def test_node_of_the_other_kind() -> None:
    """A group is not opened as an array, nor the reverse, and neither is replaced."""
    store = cs.MemoryStore()
    cs.create_group(store, path="g")
    cs.create_array(store, name="x", **NEW)
    for mode in ("r", "r+", "a"):
        with pytest.raises(NodeTypeError, match=r"'g'.*is a group, not an array"):
            cs.open_array(store, path="g", mode=mode)
        with pytest.raises(NodeTypeError, match=r"'x'.*is an array, not a group"):
            cs.open_group(store, path="x", mode=mode)


def test_format_that_is_asked_for() -> None:
    """A format that is asked for is the one that is made and looked for."""
    store = cs.MemoryStore()
    assert cs.open_group(store, path="g", zarr_format=2).metadata.zarr_format == 2
    assert cs.open_array(store, path="x", zarr_format=2, **NEW).metadata.zarr_format == 2
    for path in ("g", "x"):
        assert cs.open(store, path=path).metadata.zarr_format == 2
        with pytest.raises(NodeNotFoundError):
            cs.open(store, path=path, zarr_format=3)
    for wrong in (1, 4, "3"):
        with pytest.raises(InvalidArgumentError, match="zarr_format"):
            cs.create_array(store, name="y", zarr_format=wrong, **NEW)


@pytest.mark.parametrize("wrong", [1, 4, "3"])
def test_unknown_format_of_a_group(wrong: Any) -> None:
    """A group is not made, nor anything looked for, in a format that is not known."""
    store = cs.MemoryStore()
    with pytest.raises(InvalidArgumentError, match="zarr_format"):
        cs.create_group(store, path="g", zarr_format=wrong)
    with pytest.raises(InvalidArgumentError, match="zarr_format"):
        cs.open(store, path="g", zarr_format=wrong)


def test_path_that_is_a_file(tmp_path: Path) -> None:
    """A file where a store should be is refused as such."""
    (tmp_path / "data.nc").write_bytes(b"CDF")
    for use in (cs.open, cs.create_group, open_array):
        with pytest.raises(InvalidArgumentError, match="is a file"):
            use(tmp_path / "data.nc")
    assert (tmp_path / "data.nc").read_bytes() == b"CDF"


def test_folder_that_is_no_store(tmp_path: Path) -> None:
    """A folder with other files is no store, is said to be none, and stays as it is."""
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(NodeNotFoundError, match=r"1 other entries are there, but no zarr\.json"):
        cs.open(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(NodeExistsError):
            cs.create_array(tmp_path, overwrite=overwrite, **NEW)
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.jpg"]


def test_read_only_store() -> None:
    """On a store that may not be written nothing is made, whatever the mode."""
    store = cs.MemoryStore(read_only=True)
    for use in (
        lambda: cs.create_array(store, **NEW),
        lambda: cs.create_group(store),
        lambda: cs.open_group(store, mode="a"),
        lambda: cs.open(store, mode="w"),
    ):
        with pytest.raises(ReadOnlyError):
            use()


def test_data_gives_shape_and_type() -> None:
    """An array made from data has its shape and type, and the data as values."""
    for data in (np.arange(6, dtype=">u2").reshape(2, 3), [[1.5, 2], [3, 4]], 5, np.float32(2)):
        array = cs.create_array(None, data=data)
        expected = np.asarray(data)
        assert array.shape == expected.shape
        assert array.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(array[...], expected)
    array = cs.create_array(None, data=[1, 2], dtype="f4")
    assert array.dtype == np.dtype("f4")
    with pytest.raises(InvalidArgumentError, match="shape and dtype, or data"):
        cs.create_array(None)
    with pytest.raises(InvalidArgumentError, match="shape and dtype, or data"):
        cs.create_array(None, shape=3)


def test_options_reach_the_handle() -> None:
    """The run settings given at the door are those of the handle."""
    options = cs.Options(n_threads=1)
    store = cs.MemoryStore()
    assert cs.create_array(store, name="x", options=options, **NEW).options == options
    assert cs.open(store, path="x", options=options).options == options
    assert cs.open_array(store, path="x", options=options).options == options
    assert cs.open(store, path="x").options == cs.Options()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_broken_document(zarr_format: int, tmp_path: Path) -> None:
    """A document that cannot be parsed is an error that names it, never an absent node."""
    cs.create_array(tmp_path, name="x", zarr_format=zarr_format, **NEW)
    name = {2: ".zarray", 3: "zarr.json"}[zarr_format]
    (tmp_path / "x" / name).write_bytes(b'{"zarr_format": ')
    for use in (
        lambda: cs.open(tmp_path, path="x"),
        lambda: cs.open_array(tmp_path, path="x", mode="a", **NEW),
        lambda: cs.create_array(tmp_path, name="x/y", zarr_format=zarr_format, **NEW),
    ):
        with pytest.raises(MetadataError, match=f"'x/{name}' in LocalStore.*not JSON"):
            use()

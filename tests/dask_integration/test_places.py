"""Places on disk: what a user means by a path, and the groups that a new node needs above it."""

from __future__ import annotations

from pathlib import Path

import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeExistsError
from dask_integration.places import check_parents, hierarchy_root, local_place, make_parent_groups


@pytest.mark.parametrize(
    ("text", "path"),
    [("a/b.zarr", "a/b.zarr"), ("file:///a/b", "/a/b"), ("~", str(Path.home()))],
)
def test_paths_are_taken_as_a_shell_does(text: str, path: str) -> None:
    """Relative paths, file URLs and the home folder."""
    assert local_place(text) == Path(path)


@pytest.mark.parametrize("text", ["s3://bucket/x", "https://host/x", "memory://", ""])
def test_other_stores_are_refused(text: str) -> None:
    """No folder named after a URL is ever made."""
    with pytest.raises(InvalidArgumentError, match="cannot run a job"):
        local_place(text)


def test_the_root_is_the_topmost_of_a_chain_of_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name where nothing exists yet, by what is stored where it does."""
    assert hierarchy_root(tmp_path / "x.zarr" / "a" / "b") == tmp_path / "x.zarr"
    assert hierarchy_root(tmp_path / "x" / "a") == tmp_path / "x" / "a"
    assert hierarchy_root(tmp_path / "x" / "y.zarr") == tmp_path / "x" / "y.zarr"
    cs.create_group(tmp_path / "x")
    cs.create_group(tmp_path / "x" / "a")
    assert hierarchy_root(tmp_path / "x" / "a" / "b" / "c") == tmp_path / "x"
    monkeypatch.chdir(tmp_path / "x")
    assert hierarchy_root(Path("a/b")) == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    assert hierarchy_root(Path("x/a/b")) == Path("x")


def test_groups_are_made_from_the_root_down(tmp_path: Path) -> None:
    """Only within a hierarchy, and what exists is left as it is."""
    cs.create_group(tmp_path / "x.zarr", attributes={"kept": 1})
    make_parent_groups(tmp_path / "x.zarr" / "a" / "b" / "c")
    assert cs.open_group(tmp_path / "x.zarr", mode="r").attrs["kept"] == 1
    assert "a/b" in cs.open_group(tmp_path / "x.zarr", mode="r")
    assert not (tmp_path / "x.zarr" / "a" / "b" / "c").exists()
    make_parent_groups(tmp_path / "plain" / "c")
    assert not (tmp_path / "plain").exists()


def test_an_array_has_no_members(tmp_path: Path) -> None:
    """A place at any depth inside an array is refused."""
    cs.create_array(tmp_path / "x.zarr", name="a", data=[1, 2])
    check_parents(tmp_path / "x.zarr" / "b" / "c")
    for place in ("a/c", "a/c/d"):
        with pytest.raises(NodeExistsError, match="a is an array"):
            check_parents(tmp_path / "x.zarr" / place)

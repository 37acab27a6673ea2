"""Paths, keys and chunk keys: what may be a name, and where each chunk is stored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import InvalidArgumentError
from chunkstore.keys import (
    ChunkKeyEncoding,
    check_key,
    check_prefix,
    join,
    node_name_problem,
    normalize_path,
    prefix_of,
)

ENCODINGS = [ChunkKeyEncoding(name, sep) for name in ("default", "v2") for sep in ("/", ".")]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (None, ""),
        ("", ""),
        ("/", ""),
        ("///", ""),
        ("a", "a"),
        ("/a/b", "a/b"),
        ("a//b///", "a/b"),
        ("a\\b", "a/b"),
        ("a.b/..c/.zarray", "a.b/..c/.zarray"),
        ("a b/é", "a b/é"),
    ],
)
def test_normalize_path(given: str | None, path: str) -> None:
    """A path loses outer and doubled slashes and nothing else."""
    assert normalize_path(given) == path


@pytest.mark.parametrize("path", [".", "..", "a/..", "a/./b", "...", "../a", "a\x00b", "\udc80"])
def test_path_that_leaves_or_cannot_be_stored(path: str) -> None:
    """A path with a part of dots, or with characters that no store can spell, is refused."""
    with pytest.raises(InvalidArgumentError):
        normalize_path(path)


@pytest.mark.parametrize("path", [1, b"a", ("a",)])
def test_path_of_another_type(path: Any) -> None:
    """A path that is no text is refused by an error that names its type."""
    with pytest.raises(InvalidArgumentError, match=type(path).__name__):
        normalize_path(path)


@given(st.text(st.sampled_from("ab/\\. é"), max_size=12))
def test_normal_paths_stay(text: str) -> None:
    """A path in normal form is its own normal form, and names a key with whatever is joined."""
    try:
        path = normalize_path(text)
    except InvalidArgumentError:
        return
    assert normalize_path(path) == path
    assert check_key(join(path, "zarr.json")).startswith(prefix_of(path))


@pytest.mark.parametrize(
    ("name", "zarr_format", "fine"),
    [
        ("a", 3, True),
        ("c", 3, True),
        ("0", 2, True),
        ("_a", 3, True),
        ("a__", 3, True),
        ("..a", 3, True),
        (".zarray", 3, True),
        (".zarray", 2, False),
        (".zattrs", 2, False),
        (".zgroup", 2, False),
        (".zmetadata", 2, False),
        ("zarr.json", 2, False),
        ("zarr.json", 3, False),
        ("__a", 3, False),
        ("__a", 2, False),
        ("__xarray_dataarray_variable__", 3, True),
        ("...", 3, False),
        ("", 3, False),
    ],
)
def test_reserved_names(name: str, zarr_format: int, fine: bool) -> None:
    """A node may have any name but those that the format keeps for itself."""
    assert (node_name_problem(name, zarr_format=zarr_format) is None) is fine


@pytest.mark.parametrize("key", ["a", "a/b", "zarr.json", "c/0/1", " ", "a\\b", "a:b", "é", "~"])
def test_keys(key: str) -> None:
    """What can be a key is returned as it is."""
    assert check_key(key) == key
    assert check_prefix(f"{key}/") == f"{key}/"


@pytest.mark.parametrize(
    "key", ["", "/", "a/", "/a", "a//b", ".", "a/../b", "\x00", "é\x00", "\ud800"]
)
def test_no_keys(key: str) -> None:
    """What could leave the store, or what no store can spell, is refused."""
    with pytest.raises(InvalidArgumentError, match="key"):
        check_key(key)


@pytest.mark.parametrize("prefix", ["a", "/", "a//", "./", "../", "a/../", "\x00/"])
def test_no_prefixes(prefix: str) -> None:
    """A prefix is the root or a key with a slash behind it; anything else is refused."""
    with pytest.raises(InvalidArgumentError):
        check_prefix(prefix)


def test_root_prefix() -> None:
    """The root's prefix is empty, and every other node's is its path with a slash."""
    assert prefix_of("") == check_prefix("") == ""
    assert prefix_of("a/b") == "a/b/"


def test_join_leaves_out_what_is_empty() -> None:
    """Joining with the root path gives the name alone."""
    assert join("", "a") == "a"
    assert join("a", "", "b") == "a/b"
    assert join("", "") == ""


@pytest.mark.parametrize(
    ("encoding", "coords", "key"),
    [
        (ChunkKeyEncoding("default", "/"), (), "c"),
        (ChunkKeyEncoding("default", "/"), (0,), "c/0"),
        (ChunkKeyEncoding("default", "/"), (1, 23, 0), "c/1/23/0"),
        (ChunkKeyEncoding("default", "."), (), "c"),
        (ChunkKeyEncoding("default", "."), (1, 23), "c.1.23"),
        (ChunkKeyEncoding("v2", "."), (), "0"),
        (ChunkKeyEncoding("v2", "."), (1, 23), "1.23"),
        (ChunkKeyEncoding("v2", "/"), (), "0"),
        (ChunkKeyEncoding("v2", "/"), (1, 23), "1/23"),
    ],
)
def test_chunk_keys_of_the_specification(
    encoding: ChunkKeyEncoding, coords: tuple[int, ...], key: str
) -> None:
    """Chunk keys are those that the specification writes out."""
    assert encoding.encode(coords) == key
    assert encoding.decode(key, len(coords)) == coords


@given(st.sampled_from(ENCODINGS), st.lists(st.integers(0, 10**12), max_size=5).map(tuple))
def test_chunk_keys_round_trip(encoding: ChunkKeyEncoding, coords: tuple[int, ...]) -> None:
    """The chunk that a key names is the one it was made for, and every chunk key is a key."""
    key = encoding.encode(coords)
    assert check_key(key) == key
    assert encoding.decode(key, len(coords)) == coords


@given(
    st.sampled_from(ENCODINGS),
    st.text(st.sampled_from("c0123456789/.-+ ²"), max_size=8),
    st.integers(0, 3),
)
def test_only_chunk_keys_are_decoded(encoding: ChunkKeyEncoding, key: str, ndim: int) -> None:
    """A key is taken for a chunk's only if that chunk would be stored under exactly this key."""
    coords = encoding.decode(key, ndim)
    assert coords is None or (len(coords) == ndim and encoding.encode(coords) == key)


@pytest.mark.parametrize(
    "key", ["c", "c/", "c/0", "c/0/0/0", "c/0/01", "c/0/-1", "zarr.json", "d/0/0"]
)
def test_other_keys_are_no_chunks(key: str) -> None:
    """Documents, keys with another number of axes and numbers written oddly name no chunk."""
    assert ChunkKeyEncoding("default", "/").decode(key, 2) is None

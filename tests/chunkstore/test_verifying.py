"""Checking an archive finds all damage, and nothing where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.errors import NodeNotFoundError, StoreError


@pytest.fixture
def store() -> cs.MemoryStore:
    """Give a store with plain, sharded, old and empty arrays in groups."""
    store = cs.MemoryStore()
    values = np.arange(60, dtype="i4").reshape(10, 6)
    cs.create_array(store, name="a", data=values + 1, chunks=(4, 3))
    cs.create_array(store, name="g/shards", data=values + 1, chunks=(2, 3), shards=(4, 6))
    cs.create_array(store, name="g/raw", data=values, chunks=(5, 6), compressors=None)
    cs.create_array(store, name="g/empty", shape=(10, 6), chunks=(4, 3), dtype="f8")
    cs.create_array(store, name="g/scalar", data=np.float64(3))
    return store


def damage(store: cs.MemoryStore, key: str, change: Any) -> None:
    """Replace a stored value by what a function makes of it."""
    value = store.get(key)
    assert value is not None
    store.set(key, change(bytes(value)))


def test_whole(store: cs.MemoryStore) -> None:
    """Without damage everything is counted: groups, arrays, chunks, and chunks not stored."""
    found = cs.verify(store)
    assert found
    assert (found.n_groups, found.n_arrays) == (2, 5)
    # Chunks: 6 of a, 3 shards, 2 raw, none of 6, 1 scalar.
    assert (found.n_chunks, found.n_missing) == (12, 6)
    assert found.value_bytes == 3 * 240 + 8
    assert list(found.unchecked) == ["/g/raw"]


@pytest.mark.parametrize("key", ["a/c/1/1", "g/shards/c/0/0", "g/scalar/c"])
def test_flipped_bit(store: cs.MemoryStore, key: str) -> None:
    """A single flipped bit is found, and the error names the key."""
    damage(store, key, lambda value: bytes([value[0] ^ 4]) + value[1:])
    found = cs.verify(store)
    assert not found
    assert [error.key for error in found.damage] == [key]
    assert found.n_chunks == 12


def test_everything_is_found_at_once(store: cs.MemoryStore) -> None:
    """Damage in one place hides none in another; a broken document does not end the search."""
    damage(store, "a/c/0/0", lambda value: value[:-3])
    damage(store, "a/c/2/1", lambda value: b"")
    damage(store, "g/raw/c/1/0", lambda value: value + b"0")
    damage(store, "g/empty/zarr.json", lambda value: value.replace(b"float64", b"float63"))
    damage(store, "g/scalar/zarr.json", lambda value: b"{")
    text = " ".join(str(error) for error in cs.verify(store).damage)
    for key in ("a/c/0/0", "a/c/2/1", "g/raw/c/1/0", "g/empty/zarr.json", "g/scalar/zarr.json"):
        assert key in text
    assert len(cs.verify(store).damage) == 5


def test_what_is_not_the_arrays_is_not_read(store: cs.MemoryStore) -> None:
    """Chunks beyond the extent, and keys that are no chunk's, are no damage."""
    store.set("a/c/7/0", b"left by another program")
    store.set("a/notes.txt", b"mine")
    assert cs.verify(store)


def test_part(store: cs.MemoryStore) -> None:
    """A path, or a handle, stands for what lies below it."""
    damage(store, "a/c/0/0", lambda value: value[:-1])
    assert cs.verify(store, path="g")
    assert cs.verify(cs.open_group(store, path="g", mode="r"))
    assert not cs.verify(store, path="a")


def test_cached_chunks_do_not_count(store: cs.MemoryStore) -> None:
    """A chunk that was kept in memory is read again: the store is what is checked."""
    options = cs.Options(cache=cs.ChunkCache(2**20))
    cs.open_array(store, path="a", options=options)[...]
    damage(store, "a/c/0/0", lambda value: value[:-1])
    assert not cs.verify(store, options=options)


def test_nothing_there() -> None:
    """Where nothing is stored there is nothing to call whole."""
    with pytest.raises(NodeNotFoundError):
        cs.verify(cs.MemoryStore())


class Failing(cs.MemoryStore):
    """A store whose chunks cannot be had."""

    def get(self, key: str, *arguments: Any, **named: Any) -> Any:
        """Fail for chunks."""
        if "/c/" in key:
            raise StoreError(f"cannot read {key!r}: no permission", store=self, key=key)
        return super().get(key, *arguments, **named)


def test_a_failing_store_is_not_damage() -> None:
    """A store that fails says nothing about the values in it: its error is raised."""
    store = Failing()
    cs.create_array(store, name="a", data=np.arange(6), chunks=3)
    with pytest.raises(StoreError, match="no permission"):
        cs.verify(store)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints every damage and a summary, and its exit code tells them apart."""
    cs.create_array(tmp_path, name="a", data=np.arange(1, 7), chunks=2)
    cs.create_array(tmp_path, name="b", data=np.arange(1, 7), chunks=2, compressors=None)
    assert main(["verify", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "no damage found: 2 arrays, 6 chunks" in out
    assert "/b" in out
    file = tmp_path / "a/c/1"
    file.write_bytes(file.read_bytes()[:-2])
    assert main(["verify", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "a/c/1" in out
    assert "1 of 6 chunks" in out

"""Shards: what is stored, how little is read, and what a broken index gives."""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import ChunkError, InvalidArgumentError, MetadataError
from tests.chunkstore.recording import RecordingStore

EMPTY = 2**64 - 1


def _made(**layout: Any) -> cs.Array:
    arguments = {"chunks": 2, "shards": 8, "compressors": None, **layout}
    return cs.create_array(None, data=np.arange(1, 13, dtype="u1"), **arguments)


def test_bytes() -> None:
    """A shard is its inner chunks in C order, then offsets and lengths, then a checksum."""
    value = _made().store.get("c/1")
    assert value is not None
    index = np.array([[0, 2], [2, 2], [EMPTY, EMPTY], [EMPTY, EMPTY]], "<u8").tobytes()
    checksum = google_crc32c.value(index).to_bytes(4, "little")
    assert value == bytes([9, 10, 11, 12]) + index + checksum


def _damaged(entries: list[tuple[int, int]], stored: bytes = bytes(8)) -> cs.Array:
    made = _made()
    index = np.array(entries, "<u8").tobytes()
    made.store.set("c/0", stored + index + google_crc32c.value(index).to_bytes(4, "little"))
    return cs.open_array(made.store)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([(0, 2), (1, 2), (4, 2), (6, 2)], "overlaps another one"),
        ([(0, 2), (2, 2), (4, 2), (400, 2)], "lies outside"),
        ([(0, 2), (2, 2), (4, 2), (EMPTY - 1, 2)], "lies outside"),
        ([(0, 2), (2, 2), (4, 2), (6, EMPTY)], "lies outside"),
        ([(0, 2), (2, 2), (4, 2), (7, 2)], "overlaps the index"),
        ([(0, 2), (2, 2), (4, 2), (6, 1)], r"expected 2 bytes"),
    ],
)
@pytest.mark.parametrize("selection", [slice(None), slice(6, 8), 7])
def test_broken_index(entries: list[tuple[int, int]], words: str, selection: Any) -> None:
    """Inner chunks that overlap, lie outside or have a wrong length are an error with the key."""
    with pytest.raises(ChunkError, match=words) as error:
        _damaged(entries)[selection]
    assert error.value.key == "c/0"
    assert error.value.chunk_coords == (0,)


def test_a_write_to_a_broken_shard_is_refused() -> None:
    """A partial write does not bury damage under a new index."""
    broken = _damaged([(0, 2), (1, 2), (4, 2), (6, 2)])
    before = broken.store.get("c/0")
    with pytest.raises(ChunkError):
        broken[0] = 1
    assert broken.store.get("c/0") == before


def test_any_order_and_gaps_are_read() -> None:
    """Inner chunks may lie in any order, with bytes between that mean nothing."""
    stored = _damaged([(6, 2), (3, 2), (0, 2), (EMPTY, EMPTY)], bytes([5, 6, 9, 3, 4, 9, 1, 2]))
    assert stored[:8].tolist() == [1, 2, 3, 4, 5, 6, 0, 0]


@pytest.mark.parametrize("location", ["start", "end"])
def test_index_at_either_end(location: str) -> None:
    """The index is read where the document says it is, and offsets count from the first byte."""
    codec = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [2],
            "codecs": [{"name": "bytes"}, {"name": "crc32c"}],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "index_location": location,
        },
    }
    values = np.arange(1, 13, dtype="u1")
    made = cs.create_array(None, data=values, chunks=8, serializer=codec, compressors=None)
    stored = cs.open_array(made.store)
    assert (stored.chunks, stored.shards) == ((2,), (8,))
    np.testing.assert_array_equal(stored[...], values)
    stored[3:5] = 0
    values[3:5] = 0
    np.testing.assert_array_equal(stored[::-1], values[::-1])


def test_nested() -> None:
    """A shard of shards reads and writes, whole and in part."""
    inner = {
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": [2, 2], "codecs": [{"name": "bytes"}]},
    }
    outer = {
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": [4, 4], "codecs": [inner]},
    }
    values = np.arange(128, dtype="u1").reshape(16, 8)
    made = cs.create_array(None, data=values, chunks=(8, 8), serializer=outer, compressors=None)
    np.testing.assert_array_equal(made[3:13, 1::3], values[3:13, 1::3])
    made[5, :] = 1
    values[5, :] = 1
    np.testing.assert_array_equal(cs.open_array(made.store)[...], values)


def test_a_part_is_not_the_whole_shard() -> None:
    """One inner chunk is read by its bytes and the index, and written without decoding others."""
    store = RecordingStore()
    stored = cs.create_array(store, data=np.arange(64, dtype="u1"), chunks=2, shards=32)
    value = bytearray(store.get("c/0") or b"")
    value[0] ^= 255  # The first inner chunk is damaged; no other is the worse for it.
    store.set("c/0", bytes(value))
    assert stored[10:12].tolist() == [10, 11]
    stored[10] = 0
    assert stored[10:12].tolist() == [0, 11]
    with pytest.raises(ChunkError, match=r"inner chunk \(0,\)"):
        stored[0]


def test_empty_shards_are_not_stored() -> None:
    """A shard of nothing but fill value has no key, also after it is cleared."""
    stored = _made()
    stored[:8] = 0
    assert list(stored.store.list_prefix("c/")) == ["c/1"]
    assert stored.with_options(write_empty_chunks=True)[:8].tolist() == [0] * 8


@pytest.mark.parametrize(("chunks", "shards"), [(3, 8), (4, 2), (2, (4, 4)), (2, "x")])
def test_shapes_that_do_not_divide(chunks: int, shards: Any) -> None:
    """Shards that are no multiple of the chunks are refused."""
    with pytest.raises(InvalidArgumentError):
        cs.create_array(None, shape=16, dtype="i4", chunks=chunks, shards=shards)
    with pytest.raises(InvalidArgumentError, match="version 2"):
        cs.create_array(None, shape=16, dtype="i4", chunks=2, shards=4, zarr_format=2)


def test_index_codecs_of_no_fixed_length() -> None:
    """An index that could be of any length is refused, with the JSON path."""
    made = _made()
    document = made.store.get("zarr.json")
    assert document is not None
    made.store.set("zarr.json", document.replace(b'"crc32c"', b'"zstd"'))
    with pytest.raises(MetadataError, match="index_codecs"):
        cs.open_array(made.store)

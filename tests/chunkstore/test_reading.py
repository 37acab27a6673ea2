"""A read fetches the values, and the parts of a shard, that hold selected elements."""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests.chunkstore.recording import RecordingStore, filled


@pytest.fixture
def store() -> RecordingStore:
    """Give a store that keeps a record."""
    return RecordingStore()


@pytest.mark.parametrize(
    ("selection", "keys"),
    [
        ((0, 0), ["x/c/0/0"]),
        ((slice(4, 8), slice(3, 6)), ["x/c/1/1"]),
        ((slice(3, 5), slice(0, 3)), ["x/c/0/0", "x/c/1/0"]),
        ((slice(None, None, 5), 7), ["x/c/0/2", "x/c/1/2"]),
        ((slice(9, None, -9), 0), ["x/c/0/0", "x/c/2/0"]),
        ((slice(None, None, 3), 0), ["x/c/0/0", "x/c/1/0", "x/c/2/0"]),
        ((slice(3, 3), slice(None)), []),
    ],
)
def test_reads_only_what_is_touched(
    store: RecordingStore, selection: object, keys: list[str]
) -> None:
    """A read asks once for each chunk that holds a selected element, and for nothing else."""
    array = filled(store)
    array[selection]
    assert store.record == [("get", key) for key in store.asked("get")]
    assert store.asked("get") == keys


def test_reads_only_the_inner_chunks_that_are_touched() -> None:
    """Of a shard the index and the touched inner chunks are read, and nothing in between."""
    values = np.random.default_rng(0).integers(0, 2**31, (64, 64), "i4")
    whole = cs.MemoryStore()
    cs.create_array(whole, data=values, chunks=(32, 32), shards=(64, 64), compressors=None)
    value = whole.get("c/0/0")
    assert value is not None
    cut = bytearray(value)
    cut[4096:8192] = bytes(4096)  # The inner chunk (0, 1), which is not asked for.
    whole.set("c/0/0", cut)
    stored = cs.open_array(whole)
    np.testing.assert_array_equal(stored[:32, :32], values[:32, :32])
    np.testing.assert_array_equal(stored[40:, ::7], values[40:, ::7])
    assert (stored[:32, 32:] == 0).all()

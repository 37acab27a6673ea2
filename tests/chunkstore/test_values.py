"""What is not stored, or cannot be read, is named with its array, key and place."""

from __future__ import annotations

import pytest

from chunkstore.errors import ChunkError, MissingChunkError
from tests.chunkstore.recording import RecordingStore, filled


@pytest.fixture
def store() -> RecordingStore:
    """Give a store that keeps a record."""
    return RecordingStore()


def test_missing_chunk_may_be_an_error(store: RecordingStore) -> None:
    """With ``missing_chunks="error"`` an absent chunk is named, and present ones are read."""
    array = filled(store).with_options(missing_chunks="error")
    store.delete("x/c/1/2")
    assert array[0, 0] == 1
    with pytest.raises(MissingChunkError, match=r"chunk \(1, 2\) of 'x'.*'x/c/1/2'") as error:
        array[...]
    assert (error.value.key, error.value.chunk_coords) == ("x/c/1/2", (1, 2))
    assert array.with_options(missing_chunks="fill")[5, 7] == 0


@pytest.mark.parametrize("value", [b"", b"short", bytes(1000)])
def test_a_damaged_chunk_is_named(store: RecordingStore, value: bytes) -> None:
    """A value that is no chunk fails reading and merging with its key, coordinates and array."""
    array = filled(store)
    store.set("x/c/1/2", value)
    for use in (lambda: array[...], lambda: array.write((5, 7), 1)):
        with pytest.raises(ChunkError, match=r"chunk \(1, 2\) of array 'x'.*'x/c/1/2'") as error:
            use()
        assert error.value.key == "x/c/1/2"
        assert error.value.path == "x"
        assert error.value.chunk_coords == (1, 2)
        assert error.value.store is store
    assert store.get("x/c/1/2") == value
    array[4:8, 6:] = 1
    assert array[5, 7] == 1

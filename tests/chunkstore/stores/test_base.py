"""The base of stores: slices of values, and the locks that handles share."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chunkstore import LocalStore, MemoryStore
from chunkstore.stores.base import slice_range, thread_lock
from chunkstore.types import ByteRange


@given(
    st.binary(max_size=20),
    st.integers(0, 25),
    st.none() | st.integers(0, 25),
)
def test_range_from_the_start(value: bytes, start: int, length: int | None) -> None:
    """A range counted from the start is the slice of the same numbers."""
    stop = None if length is None else start + length
    assert bytes(slice_range(value, ByteRange(start, length))) == value[start:stop]


@given(st.binary(max_size=20), st.integers(1, 25))
def test_range_from_the_end(value: bytes, n_bytes: int) -> None:
    """A range counted from the end has the last bytes, as many as there are."""
    assert bytes(slice_range(value, ByteRange(-n_bytes))) == value[-n_bytes:]
    assert bytes(slice_range(value, ByteRange(-n_bytes, n_bytes))) == value[-n_bytes:]


def test_equal_handles_share_a_lock(tmp_path: Path) -> None:
    """Two handles on one folder guard an update by the same lock."""
    one, two = LocalStore(tmp_path), LocalStore(tmp_path, read_only=True)
    for i in range(100):
        assert thread_lock(one, "value", str(i)) is thread_lock(two, "value", str(i))


def test_keys_spread_over_locks() -> None:
    """Updates of different keys rarely wait for each other."""
    store = MemoryStore()
    assert len({id(thread_lock(store, "value", f"c/{i}/0")) for i in range(1000)}) > 30


def test_kinds_of_locks_are_apart() -> None:
    """A value's lock is never a node's, so one may be taken within the other."""
    store = MemoryStore()
    values = {id(thread_lock(store, "value", str(i))) for i in range(1000)}
    nodes = {id(thread_lock(store, "node", str(i))) for i in range(1000)}
    assert not values & nodes

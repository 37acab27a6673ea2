"""Resizing and appending never show what was not written, whatever stops them."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import chunkstore as cs
from chunkstore.errors import ConflictError, InvalidArgumentError, StoreError
from tests.chunkstore.recording import RecordingStore

SHARDED = [{"chunks": 3}, {"chunks": 2, "shards": 6}, {"chunks": 3, "zarr_format": 2}]


@given(data=st.data())
def test_any_sequence_of_changes(data: st.DataObject) -> None:
    """After any resizes and appends the array holds what numpy's would, newly opened too."""
    ndim = data.draw(st.integers(1, 2))
    shape = tuple(data.draw(st.integers(0, 9)) for _ in range(ndim))
    chunks = tuple(data.draw(st.integers(1, 4)) for _ in range(ndim))
    shards = tuple(2 * size for size in chunks) if data.draw(st.booleans()) else None
    values = np.arange(np.prod(shape, dtype=int), dtype="i4").reshape(shape)
    stored = cs.create_array(None, data=values, chunks=chunks, shards=shards, fill_value=-1)
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            new = tuple(data.draw(st.integers(0, 9)) for _ in range(ndim))
            grown = np.full(new, -1, "i4")
            kept = tuple(slice(0, min(a, b)) for a, b in zip(new, values.shape, strict=True))
            grown[kept] = values[kept]
            values = grown
            stored.resize(new)
        else:
            axis = data.draw(st.integers(0, ndim - 1))
            extent = data.draw(st.integers(0, 5))
            more = np.full((*values.shape[:axis], extent, *values.shape[axis + 1 :]), 50, "i4")
            values = np.concatenate([values, more], axis)
            assert stored.append(more, axis) == values.shape
        np.testing.assert_array_equal(stored[...], values)
        np.testing.assert_array_equal(cs.open_array(stored.store)[...], values)


@pytest.mark.parametrize("layout", SHARDED)
def test_what_was_cut_off_does_not_come_back(layout: dict[str, Any]) -> None:
    """Shrinking deletes chunks and clears edges; growing again shows the fill value."""
    stored = cs.create_array(None, data=np.arange(1, 15), **layout)
    stored.resize(4)
    stored.resize(14)
    assert stored[...].tolist() == [1, 2, 3, 4] + [0] * 10


def test_padding_of_another_writer_is_cleared() -> None:
    """Values that another writer left beyond the edge are not shown by growing."""
    wide = cs.create_array(None, data=np.arange(1, 9), chunks=4)
    document = wide.store.get("zarr.json")
    assert document is not None
    wide.store.set("zarr.json", document.replace(b"8", b"5", 1))
    narrow = cs.open_array(wide.store)
    assert narrow.shape == (5,)
    narrow.resize(8)
    assert narrow[...].tolist() == [1, 2, 3, 4, 5, 0, 0, 0]


@pytest.mark.parametrize("layout", SHARDED)
@pytest.mark.parametrize("at", range(10))
def test_an_append_that_stops_anywhere(layout: dict[str, Any], at: int) -> None:
    """However far an append got, a reader finds all of it or nothing, and the next one is right."""
    store = RecordingStore()
    stored = cs.create_array(store, data=np.arange(1, 8), **layout)
    n_changes = 0

    def fails(what: str, key: str) -> bool:
        nonlocal n_changes
        n_changes += what != "get"
        return n_changes > at

    store.fails = fails
    try:
        stored.append(np.full(6, 9))
        expected = [*range(1, 8), *[9] * 6]
    except StoreError:
        expected = list(range(1, 8))
    store.fails = lambda what, key: False
    found = cs.open_array(store)
    assert found[...].tolist() == expected
    found.append(np.zeros(4, int))
    found.resize(20)
    assert found[...].tolist() == expected + [0] * (20 - len(expected))


def test_a_stale_handle_does_not_resize() -> None:
    """A handle that does not know of another's change refuses, rather than undo it."""
    stored = cs.create_array(None, data=np.arange(5), chunks=2)
    other = cs.open_array(stored.store)
    other.append(np.arange(3))
    with pytest.raises(ConflictError, match="another writer has made it"):
        stored.resize(6)
    stored.refresh()
    stored.resize(6)
    assert stored[...].tolist() == [0, 1, 2, 3, 4, 0]


@pytest.mark.parametrize(("shape", "axis"), [((2, 3), 0), ((4, 4), 1), ((4,), 0)])
def test_unfit_data(shape: tuple[int, ...], axis: int) -> None:
    """Data whose other axes differ is refused, and nothing changes."""
    stored = cs.create_array(None, data=np.ones((2, 5)), chunks=2)
    with pytest.raises(InvalidArgumentError):
        stored.append(np.zeros(shape), axis)
    assert (cs.open_array(stored.store)[...] == np.ones((2, 5))).all()


def test_counts_of_what_is_stored() -> None:
    """Stored chunks and bytes are counted from the listing."""
    stored = cs.create_array(None, shape=10, chunks=2, dtype="i4", compressors=None)
    assert (stored.nchunks_initialized, stored.nbytes_stored()) == (0, 0)
    stored[:3] = 1
    assert (stored.nchunks_initialized, stored.nbytes_stored()) == (2, 16)

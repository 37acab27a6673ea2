"""Index arrays, masks, points, orthogonal and block selections are numpy's, sharded or not."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import chunkstore as cs
from chunkstore.errors import SelectionError
from chunkstore.types import NDArray


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[cs.Array, NDArray]:
    """Draw an array, in chunks or in shards, and what it holds."""
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(0, 9)) for _ in range(ndim))
    chunks = tuple(draw(st.integers(1, 4)) for _ in range(ndim))
    shards = None
    if draw(st.booleans()):
        shards = tuple(size * draw(st.integers(1, 3)) for size in chunks)
    values = np.arange(np.prod(shape, dtype=int), dtype="i4").reshape(shape) + 1
    stored = cs.create_array(None, data=values, chunks=chunks, shards=shards)
    return stored, values


@st.composite
def _entries(draw: st.DrawFn, shape: tuple[int, ...], *, joint: bool) -> tuple[Any, ...]:
    """Draw an entry for each axis; index arrays of one length where they go together."""
    n = draw(st.integers(0, 4))
    entries: list[Any] = []
    for extent in shape:
        kinds = ["slice"] if not extent else ["slice", "integer", "indices", "mask"]
        kind = draw(st.sampled_from(kinds))
        if kind == "integer":
            entries.append(draw(st.integers(-extent, extent - 1)))
        elif kind == "indices":
            size = n if joint else draw(st.integers(0, 5))
            drawn = st.lists(st.integers(-extent, extent - 1), min_size=size, max_size=size)
            entries.append(np.array(draw(drawn), np.intp))
        elif kind == "mask" and not joint:
            entries.append(
                np.array(draw(st.lists(st.booleans(), min_size=extent, max_size=extent)))
            )
        else:
            start, stop = (draw(st.none() | st.integers(-extent - 2, extent + 2)) for _ in "ab")
            entries.append(slice(start, stop, draw(st.sampled_from([None, 1, 2, 3, -1, -2]))))
    return tuple(entries)


def _outer(values: NDArray, entries: tuple[Any, ...]) -> tuple[NDArray, tuple[Any, ...]]:
    """Select orthogonally with numpy: the result, and the index that gives it with all axes."""
    axes = []
    for entry, extent in zip(entries, values.shape, strict=True):
        line = np.arange(extent)
        axes.append(line[[entry]] if isinstance(entry, int) else line[entry])
    index = np.ix_(*axes)
    dropped = tuple(i for i, entry in enumerate(entries) if isinstance(entry, int))
    return values[index].squeeze(dropped), index


@given(data=st.data())
def test_numpy_rules(data: st.DataObject) -> None:
    """Index arrays beside slices and integers select, and place their axes, as in numpy."""
    stored, values = data.draw(_pairs())
    entries = data.draw(_entries(values.shape, joint=True))
    expected = values[entries]
    np.testing.assert_array_equal(stored[entries], expected)
    assert np.shape(stored[entries]) == np.shape(expected)


@given(data=st.data())
def test_orthogonal(data: st.DataObject) -> None:
    """Each index array, mask or slice cuts its own axis; what is read can be written back."""
    stored, values = data.draw(_pairs())
    entries = data.draw(_entries(values.shape, joint=False))
    expected, index = _outer(values, entries)
    np.testing.assert_array_equal(stored.oindex[entries], expected)
    new = -values
    values[index] = new[index]
    stored.oindex[entries] = _outer(new, entries)[0]
    np.testing.assert_array_equal(stored[...], values)


@given(data=st.data())
def test_mask_of_the_whole_shape(data: st.DataObject) -> None:
    """A mask of the array's shape reads, and writes, where it is true."""
    stored, values = data.draw(_pairs())
    flat = data.draw(st.lists(st.booleans(), min_size=values.size, max_size=values.size))
    mask = np.array(flat, bool).reshape(values.shape)
    np.testing.assert_array_equal(stored[mask], values[mask])
    np.testing.assert_array_equal(stored.vindex[mask], values[mask])
    np.testing.assert_array_equal(stored.get_mask_selection(mask), values[mask])
    stored[mask] = -1
    values[mask] = -1
    np.testing.assert_array_equal(stored[...], values)


@given(data=st.data())
def test_points(data: st.DataObject) -> None:
    """Points of any shape read and write; of a point that is given twice the last value stays."""
    stored, values = data.draw(_pairs())
    if not values.size:
        return
    n = data.draw(st.integers(1, 6))
    points = tuple(
        np.array(data.draw(st.lists(st.integers(-e, e - 1), min_size=n, max_size=n)))
        for e in values.shape
    )
    np.testing.assert_array_equal(stored.vindex[points], values[points])
    new = np.arange(n, dtype="i4") - 100
    stored.vindex[points] = new
    values[points] = new
    np.testing.assert_array_equal(stored[...], values)


@given(data=st.data())
def test_blocks(data: st.DataObject) -> None:
    """A block is a chunk of the unit of reading, cut at the array's edge."""
    stored, values = data.draw(_pairs())
    if not values.size:
        return
    block = tuple(data.draw(st.integers(0, n - 1)) for n in stored.cdata_shape)
    region = tuple(
        slice(i * size, (i + 1) * size) for i, size in zip(block, stored.chunks, strict=True)
    )
    np.testing.assert_array_equal(stored.blocks[block], values[region])
    stored.blocks[block] = 0
    values[region] = 0
    np.testing.assert_array_equal(stored[...], values)


@given(data=st.data())
def test_iteration(data: st.DataObject) -> None:
    """Iterating gives what iterating over numpy's array gives."""
    stored, values = data.draw(_pairs())
    assert [part.tolist() for part in stored] == [part.tolist() for part in values]


@pytest.mark.parametrize(
    "selection",
    [[0, 9], [True, False], ([0, 1], [0, 1, 2]), (np.array([0.5]),), (np.zeros((2, 2), bool),)],
)
def test_what_cannot_be_meant(selection: Any) -> None:
    """Index arrays out of bounds, of a wrong shape or type are refused in words."""
    stored = cs.create_array(None, shape=(4, 5), chunks=2, dtype="i4")
    with pytest.raises(SelectionError):
        stored[selection]
    with pytest.raises(SelectionError):
        stored[selection] = 1


def test_fields() -> None:
    """A field of a structured array is read and written by its name."""
    dtype = np.dtype([("x", "f4"), ("n", "i2")])
    values = np.zeros(6, dtype)
    values["x"], values["n"] = np.arange(6), np.arange(6)[::-1]
    stored = cs.create_array(None, data=values, chunks=4)
    np.testing.assert_array_equal(stored["n"], values["n"])
    np.testing.assert_array_equal(stored["x", 1:5:2], values["x"][1:5:2])
    stored["n", 2:] = 7
    values["n"][2:] = 7
    np.testing.assert_array_equal(stored[...], values)

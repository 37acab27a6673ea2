"""Reading and writing by basic selections is what numpy does, for every array and selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import SelectionError
from tests.property.strategies import Twins, basic_selections, numbers, twins, values_for


def assert_same(found: Any, expected: Any) -> None:
    """Check that two results are of one kind, shape, dtype and content."""
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@given(st.data())
def test_read(data: st.DataObject) -> None:
    """Any basic selection gives numpy's values, shape, type and kind of result."""
    stored, plain = data.draw(twins())
    for _ in range(4):
        selection = data.draw(basic_selections(plain.shape))
        assert_same(stored[selection], plain[selection])


@given(st.data())
def test_read_into_memory(data: st.DataObject) -> None:
    """Memory given for a selection's result is filled with exactly the result."""
    stored, plain = data.draw(twins())
    selection = data.draw(basic_selections(plain.shape))
    expected = np.asarray(plain[selection])
    around = np.zeros(tuple(2 * extent + 1 for extent in expected.shape), plain.dtype)
    out = around[(..., *(slice(1, None, 2) for _ in expected.shape))]
    assert stored.read(selection, out=out) is out
    np.testing.assert_array_equal(out, expected)
    out[...] = 0
    assert not around.any()


@given(st.data())
def test_write(data: st.DataObject) -> None:
    """After any writes, of values that broadcast, all elements are what numpy has."""
    stored, plain = data.draw(twins())
    for _ in range(data.draw(st.integers(1, 4))):
        selection = data.draw(basic_selections(plain.shape))
        value = data.draw(values_for(np.shape(plain[selection]), plain.dtype))
        plain[selection] = value
        stored[selection] = value
    assert_same(stored[...], plain[...])


@given(st.data())
def test_write_through_several_handles(data: st.DataObject) -> None:
    """Writes through other handles, with other settings, meet in the same elements."""
    stored, plain = data.draw(twins(filled=False))
    handles = [
        stored,
        cs.open_array(stored.store),
        stored.with_options(n_threads=3, write_empty_chunks=True),
        stored.with_options(write_empty_chunks=False),
    ]
    for _ in range(data.draw(st.integers(1, 5))):
        selection = data.draw(basic_selections(plain.shape))
        value = numbers(np.shape(plain[selection]), plain.dtype)
        if data.draw(st.booleans()):
            value[...] = stored.fill_value
        plain[selection] = value
        data.draw(st.sampled_from(handles))[selection] = value
    for handle in handles:
        np.testing.assert_array_equal(handle[...], plain)


def has_ellipsis(selection: Any) -> bool:
    """Whether an Ellipsis is among the entries."""
    entries = selection if isinstance(selection, tuple) else (selection,)
    return any(entry is Ellipsis for entry in entries)


@given(st.data())
def test_shapes_that_do_not_broadcast(data: st.DataObject) -> None:
    """A value that numpy would not spread over the selection is refused, and nothing changes."""
    stored, plain = data.draw(twins())
    # With an Ellipsis, since numpy takes a list for one element in some versions only.
    selection = data.draw(basic_selections(plain.shape).filter(has_ellipsis))
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=5)))
    value = np.ones(shape, plain.dtype)
    expected = plain.copy()
    try:
        expected[selection] = value
    except ValueError:
        with pytest.raises(SelectionError):
            stored[selection] = value
        expected = plain
    else:
        stored[selection] = value
    np.testing.assert_array_equal(stored[...], expected)


@given(st.data())
def test_selections_outside(data: st.DataObject) -> None:
    """Where numpy finds an integer out of bounds, or too many axes, so do we."""
    stored, plain = data.draw(twins())
    entries = data.draw(
        st.lists(st.integers(-9, 9) | st.just(slice(None)) | st.none(), max_size=6).map(tuple)
    )
    try:
        expected = plain[entries]
    except IndexError:
        with pytest.raises(IndexError):
            stored[entries]
        with pytest.raises(IndexError):
            stored[entries] = 0
        np.testing.assert_array_equal(stored[...], plain)
    else:
        assert_same(stored[entries], expected)


@pytest.mark.parametrize("selection", [1.5, (slice(None), 1.0), slice(0, 1.5), True, ..., {}])
def test_what_selects_nothing(selection: Any) -> None:
    """An entry that selects nothing numpy knows is a selection error, for reading and writing."""
    stored = cs.create_array(None, shape=(3, 4), dtype="i4")
    if selection is Ellipsis:
        selection = (Ellipsis, Ellipsis)
    with pytest.raises(SelectionError):
        stored[selection]
    with pytest.raises(SelectionError):
        stored[selection] = 1


def test_field_of_plain_numbers() -> None:
    """The name of a field selects nothing from an array without fields."""
    stored = cs.create_array(None, shape=(3, 4), dtype="i4")
    with pytest.raises(SelectionError):
        stored["a"]


def test_every_slice_of_a_short_axis() -> None:
    """Every slice there is of a short axis, cut in every way, reads and writes as numpy does."""
    extent = 6
    ends = [None, *range(-extent - 1, extent + 2)]
    steps = [None, -7, -4, -3, -2, -1, 1, 2, 3, 4, 7]
    plain = np.arange(1, extent + 1)
    for chunk in (1, 2, 4, 6, 7):
        stored = cs.create_array(
            None, data=plain, chunks=chunk, compressors=None, options=cs.Options(n_threads=1)
        )
        for start in ends:
            for stop in ends:
                for step in steps:
                    selection = slice(start, stop, step)
                    np.testing.assert_array_equal(stored[selection], plain[selection])


def test_every_write_of_a_short_axis() -> None:
    """Every slice there is of a short axis is written as numpy does, and nothing beside it."""
    extent = 5
    ends = [None, -6, -4, -1, 0, 2, 3, 5, 6]
    for chunk in (2, 3):
        stored = cs.create_array(
            None, shape=extent, dtype="i8", chunks=chunk, compressors=None,
            options=cs.Options(n_threads=1),
        )  # fmt: skip
        plain = np.zeros(extent, "i8")
        for start in ends:
            for stop in ends:
                for step in (None, -3, -2, -1, 2, 3):
                    selection = slice(start, stop, step)
                    values = np.arange(1, 1 + len(plain[selection])) * (plain.max() % 97 + 1)
                    plain[selection] = values
                    stored[selection] = values
                    np.testing.assert_array_equal(stored[...], plain)


@given(twins())
def test_making_it_again_from_itself(pair: Twins) -> None:
    """An array made from what another one reads holds the same."""
    again = cs.create_array(None, data=pair.stored)
    assert_same(again[...], pair.plain)

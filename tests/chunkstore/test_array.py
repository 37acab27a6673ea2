"""An array says what it is, reads and writes as numpy does, and travels as a description."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import (
    InvalidArgumentError,
    NodeNotFoundError,
    ReadOnlyError,
    SelectionError,
)
from tests.chunkstore.recording import RecordingStore

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(params=[2, 3])
def array(request: pytest.FixtureRequest) -> cs.Array:
    """Give an array of 3 × 2 chunks, of either format, with the numbers from 1."""
    made = cs.create_array(
        cs.MemoryStore(), name="a/x", shape=(5, 4), chunks=(2, 3), dtype="i2", fill_value=-1,
        zarr_format=request.param, attributes={"units": "K"},
    )  # fmt: skip
    made[...] = NUMBERS
    return made


NUMBERS = np.arange(1, 21, dtype="i2").reshape(5, 4)

# --- what it says of itself ----------------------------------------------------------------------


def test_facts(array: cs.Array) -> None:
    """Every fact about the array is what it was made with."""
    assert array.shape == (5, 4)
    assert (array.ndim, array.size, array.nbytes, len(array)) == (2, 20, 40, 5)
    assert array.dtype == np.dtype("i2")
    assert (array.chunks, array.shards, array.write_unit) == ((2, 3), None, (2, 3))
    assert (array.cdata_shape, array.nchunks) == ((3, 2), 6)
    assert array.fill_value == -1
    assert array.fill_value.dtype == np.dtype("i2")
    assert (array.path, array.name, array.basename) == ("a/x", "/a/x", "x")
    assert array.attrs["units"] == "K"
    assert array.dimension_names is None
    assert not array.read_only
    assert array.options == cs.Options()


def test_facts_without_axes() -> None:
    """An array without axes has one element, one chunk, and no length."""
    array = cs.create_array(None, shape=(), dtype="f8")
    assert (array.size, array.ndim, array.nchunks, array.chunks) == (1, 0, 1, ())
    for wrong in (len, list):
        with pytest.raises(TypeError, match="without axes"):
            wrong(array)


def test_text_for_people(array: cs.Array) -> None:
    """The texts name the path, the shape, the type, the store and the codecs, and ask nobody."""
    assert repr(array) == "<Array /a/x (5, 4) int16 in MemoryStore(11 keys)>".replace(
        "11", str(len(list(array.store.list_prefix())))
    )
    for text in (array.info, array._repr_html_()):
        for fact in ("/a/x", "(5, 4)", "int16", "(2, 3)", "MemoryStore", "-1", "bytes"):
            assert fact in text


def test_facts_ask_nobody() -> None:
    """No fact of an open array is a request to the store."""
    store = RecordingStore()
    array = cs.create_array(store, shape=(5, 4), dtype="i2")
    store.forget()
    for name in dir(cs.Array):
        if not name.startswith("_") and name not in ("nchunks_initialized",):
            getattr(array, name)
    repr(array), array.info, array._repr_html_(), array.attrs.asdict(), pickle
    assert store.record == []


# --- reading -------------------------------------------------------------------------------------


def test_scalars_and_arrays(array: cs.Array) -> None:
    """Integers pick a scalar of numpy, Ellipsis an array, as with numpy."""
    assert type(array[0, 0]) is np.int16
    assert type(array[0, 0, ...]) is np.ndarray
    assert array[0, 0, ...].shape == ()
    assert type(array[0]) is np.ndarray
    assert type(cs.create_array(None, shape=(), dtype="i2")[()]) is np.int16


def test_result_is_the_callers(array: cs.Array) -> None:
    """What is read is writable memory of its own: changing it changes nothing stored."""
    for selection in (..., (slice(0, 2), slice(0, 3)), 0, (slice(None, None, -1),)):
        found = array[selection]
        found += 1
        assert np.asarray(array).tolist() == NUMBERS.tolist()


@pytest.mark.parametrize(
    "selection",
    [
        ...,
        (slice(0, 2), slice(0, 3)),
        (slice(None, None, -1), slice(None)),
        1,
        (slice(None), -1),
        (None, slice(1, 4), 2),
        (2, 2),
        (slice(5, 5), slice(None)),
    ],
)
@pytest.mark.parametrize("layout", ["C", "F", "strided", "backwards"])
def test_reads_into_given_memory(array: cs.Array, selection: Any, layout: str) -> None:
    """Given memory of any layout is filled and returned, and nothing around it is touched."""
    expected = NUMBERS[selection]
    shape = np.shape(expected)
    if layout in "CF":
        around = out = np.zeros(shape, "i2", layout)
    else:
        around = np.zeros(tuple(2 * extent for extent in shape), "i2")
        step = 2 if layout == "strided" else -2
        out = around[(..., *(slice(None, None, step) for _ in shape))]
    assert array.read(selection, out=out) is out
    np.testing.assert_array_equal(out, expected)
    out[...] = 0
    assert not around.any()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((4, 5), "i2"),
        np.zeros((5, 4), "i4"),
        np.zeros((5, 4), ">i2"),
        np.zeros(20, "i2"),
        np.broadcast_to(np.zeros(4, "i2"), (5, 4)),
    ],
    ids=["shape", "dtype", "byte order", "flat", "read-only"],
)
def test_memory_that_does_not_fit(array: cs.Array, out: np.ndarray) -> None:
    """Memory of another shape or type, or that cannot be written, is refused before reading."""
    with pytest.raises(InvalidArgumentError, match="out must"):
        array.read(out=out)
    assert not out.any()


def test_numpy_takes_it(array: cs.Array) -> None:
    """Numpy's functions take the array for its values; without a copy it cannot be had."""
    np.testing.assert_array_equal(np.asarray(array), NUMBERS)
    assert np.asarray(array, "f4").dtype == np.dtype("f4")
    assert np.mean(array) == NUMBERS.mean()
    with pytest.raises(ValueError, match="copy"):
        np.array(array, copy=False)


def test_iterates_over_the_first_axis(array: cs.Array) -> None:
    """Iterating gives what numpy gives, row by row."""
    rows = list(array)
    assert len(rows) == 5
    np.testing.assert_array_equal(np.stack(rows), NUMBERS)
    assert list(cs.create_array(None, shape=(0, 3), dtype="i2")) == []
    assert [int(x) for x in cs.create_array(None, data=np.arange(5), chunks=2)] == [0, 1, 2, 3, 4]


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("i4", np.array([1, 2, 3], "i2")),
        ("i4", np.array([1, 2, 3], "u2")),
        ("i4", np.array([1, 2, 3], ">i4")),
        ("i4", np.array([1, 2, 3], "i8")),
        ("i4", np.array([True, False, True])),
        ("i8", np.array([1, 2, 3], "u8")),
        ("f4", np.array([1, 2, 3], "i4")),
        ("f4", np.array([1, 2, 3], "f8")),
        ("f8", np.array([1, 2, 3], "f2")),
        ("f8", [1, 2, 3]),
        ("i1", [1, 2, 3]),
        ("f4", range(3)),
        ("c8", [1j, 2.5, 3]),
        ("?", [True, False, True]),
        ("?", np.array([1, 0, 1], "?")),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_casts_that_keep_the_values(dtype: str, value: Any, chunk: int) -> None:
    """Values of another type that fit are stored as the array's type, in whole chunks and parts."""
    array = cs.create_array(None, shape=3, chunks=chunk, dtype=dtype, compressors=None)
    expected = np.zeros(3, dtype)
    expected[...] = value
    array[...] = value
    np.testing.assert_array_equal(array[...], expected)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("u1", [1, 2, 3]),
        ("u1", np.array([1, 2, 255])),
        ("u4", range(3)),
        ("u8", np.array([1, 2, 3], "i1")),
    ],
)
def test_signed_values_that_fit_unsigned(dtype: str, value: Any) -> None:
    """Numbers of a signed type, as Python lists are, go into unsigned arrays where they fit."""
    array = cs.create_array(None, shape=3, dtype=dtype)
    array[...] = value
    assert array[...].tolist() == list(value)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("i4", 1.5),
        ("i4", 1.0),
        ("i4", np.array([1.0, 2.0, 3.0])),
        ("i4", float("nan")),
        ("i4", "x"),
        ("i4", None),
        ("i4", 1j),
        ("i4", 1 << 31),
        ("i4", np.array([0, 0, 1 << 31])),
        ("u1", 256),
        ("u1", -1),
        ("u1", np.array([-1, 0, 0])),
        ("i1", np.array([0, 0, 128], "u1")),
        ("i8", np.array([0, 0, 1 << 63], "u8")),
        ("f8", 1j),
        ("f8", np.array([1j, 0, 0])),
        ("f8", "x"),
        ("?", 2),
        ("?", 0.5),
        ("?", np.array([0, 1, 2])),
        ("i4", [[1], [2, 3]]),
        ("i4", object()),
    ],
)
def test_casts_that_could_lose(dtype: str, value: Any) -> None:
    """A value that the type cannot hold is refused before anything is stored."""
    array = cs.create_array(cs.MemoryStore(), shape=3, dtype=dtype)
    with pytest.raises(InvalidArgumentError, match="cannot write"):
        array[...] = value
    assert list(array.store.list_prefix()) == ["zarr.json"]


@pytest.mark.parametrize(
    ("selection", "value"),
    [
        (..., 7),
        (..., np.int8(7)),
        (..., [7, 8, 9, 10]),
        (..., np.arange(5).reshape(5, 1)),
        (0, np.arange(4)),
        (0, np.arange(4).reshape(1, 1, 4)),
        ((slice(None), 0), np.arange(5)),
        ((slice(None), slice(0, 1)), np.arange(5)[:, None]),
        (np.s_[::-2, ::-1], np.arange(12).reshape(3, 4)),
        (np.s_[None, 1:3], np.arange(8).reshape(1, 2, 4)),
        (np.s_[2:2], 5),
        (np.s_[2:2], np.zeros((0, 4))),
        ((1, 1), 9),
    ],
)
def test_broadcasts_as_numpy(array: cs.Array, selection: Any, value: Any) -> None:
    """What is assigned is spread over the selection by numpy's rules."""
    expected = NUMBERS.copy()
    expected[selection] = value
    array[selection] = value
    np.testing.assert_array_equal(array[...], expected)


@pytest.mark.parametrize(
    ("selection", "value"),
    [
        (..., np.arange(5)),
        (0, np.arange(3)),
        (0, np.zeros((2, 4), "i2")),
        ((0, 0), np.arange(2)),
        (np.s_[2:2], np.zeros((2, 4), "i2")),
        (..., np.zeros((1, 5, 4, 1), "i2")),
    ],
)
def test_shapes_that_do_not_broadcast(array: cs.Array, selection: Any, value: Any) -> None:
    """Values of a shape that does not fit the selection are refused with both shapes."""
    with pytest.raises(SelectionError, match=r"shape \(.*\) into shape \("):
        array[selection] = value
    np.testing.assert_array_equal(array[...], NUMBERS)


def test_big_endian_values_and_views(array: cs.Array) -> None:
    """Values in any byte order and memory layout are stored as the numbers they are."""
    for values in (
        NUMBERS.astype(">i2"),
        np.asfortranarray(NUMBERS),
        np.repeat(NUMBERS, 2, axis=1)[:, ::2],
        NUMBERS[::-1].copy()[::-1],
    ):
        array[...] = 0
        array[...] = values
        np.testing.assert_array_equal(array[...], NUMBERS)
        array[1:, :2] = values[1:, :2]
        np.testing.assert_array_equal(array[...], NUMBERS)


def test_value_is_not_changed_and_not_kept(array: cs.Array) -> None:
    """Writing neither changes the caller's memory nor goes on looking at it."""
    values = NUMBERS.copy()
    array[...] = values
    assert values.tolist() == NUMBERS.tolist()
    values[...] = 0
    np.testing.assert_array_equal(array[...], NUMBERS)


# --- handles -------------------------------------------------------------------------------------


def test_with_options_is_another_handle(array: cs.Array) -> None:
    """Other settings make another handle on the same array, and leave this one as it is."""
    other = array.with_options(n_threads=1, missing_chunks="error")
    assert other is not array
    assert (other.options.n_threads, other.options.missing_chunks) == (1, "error")
    assert array.options == cs.Options()
    other[0, 0] = 99
    assert array[0, 0] == 99
    with pytest.raises(TypeError):
        array.with_options(nonsense=1)
    with pytest.raises(InvalidArgumentError):
        array.with_options(n_threads=0)


def test_reader_refuses_changes(array: cs.Array) -> None:
    """A handle for reading, on a store that may be written, refuses every change."""
    reader = cs.open_array(array.store, path="a/x", mode="r")
    assert reader.read_only
    with pytest.raises(ReadOnlyError, match=r"mode='r\+'"):
        reader[0, 0] = 1
    with pytest.raises(ReadOnlyError):
        reader.with_options(n_threads=1)[0, 0] = 1
    np.testing.assert_array_equal(reader[...], NUMBERS)


@pytest.fixture(params=[2, 3])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> cs.Array:
    """Give an array in a folder, of either format."""
    return cs.create_array(
        tmp_path, name="x", data=NUMBERS, chunks=(2, 3), fill_value=-1, attributes={"units": "K"},
        zarr_format=request.param, options=cs.Options(n_threads=1),
    )  # fmt: skip


@pytest.mark.parametrize("travel", [lambda a: pickle.loads(pickle.dumps(a)), copy.copy])
def test_travels(local: cs.Array, travel: Any) -> None:
    """A handle that travelled has the same facts, settings and values."""
    reader = cs.open_array(local.store, path="x", mode="r", options=cs.Options(n_threads=2))
    for handle in (local, reader):
        found = travel(handle)
        assert (found.path, found.store, found.options) == ("x", handle.store, handle.options)
        assert (found.shape, found.chunks, found.dtype) == ((5, 4), (2, 3), np.dtype("i2"))
        assert (found.fill_value, dict(found.attrs)) == (-1, {"units": "K"})
        assert found.read_only is handle.read_only
        np.testing.assert_array_equal(found[...], NUMBERS)


def test_travels_small_and_silently(local: cs.Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle's pickle is short and has no data, and taking it in asks the store for nothing."""
    big = cs.create_array(
        local.store, name="big", shape=(1 << 30,), chunks=1000, dtype="f8",
        zarr_format=local.metadata.zarr_format,
    )  # fmt: skip
    pickled = pickle.dumps(big)
    assert len(pickled) < 4000
    for name in ("get", "open_value", "list_dir", "exists", "size"):
        monkeypatch.delattr(cs.LocalStore, name)
    found = pickle.loads(pickled)
    assert found.shape == (1 << 30,)
    assert found.chunks == (1000,)


def test_pending_array_travels(tmp_path: Path) -> None:
    """Workers can write an array that is not published, and one of them can publish it."""
    made = cs.create_array(tmp_path, name="x", shape=4, chunks=2, dtype="i4", pending=True)
    worker = pickle.loads(pickle.dumps(made))
    worker[...] = [1, 2, 3, 4]
    with pytest.raises(NodeNotFoundError):
        cs.open_array(tmp_path, path="x", mode="r")
    worker.publish()
    assert cs.open_array(tmp_path, path="x")[...].tolist() == [1, 2, 3, 4]


def test_array_in_memory_does_not_travel(array: cs.Array) -> None:
    """An array in a process's memory refuses to be sent away, and says why."""
    with pytest.raises(InvalidArgumentError, match=r"MemoryStore\(\d+ keys\) lives in one process"):
        pickle.dumps(array)


def test_another_process_reads_the_pickle(local: cs.Array) -> None:
    """A fresh process that is handed the pickle reads the values."""
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)[...].sum())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(local), capture_output=True, check=True, cwd=CHECKOUT, timeout=60,
    )  # fmt: skip
    assert int(done.stdout) == NUMBERS.sum()


def test_attributes_travel_as_they_are_now(local: cs.Array) -> None:
    """A handle sent after a change of attributes has the new ones, also in a warm process."""
    first = pickle.loads(pickle.dumps(local))
    local.attrs["units"] = "C"
    second = pickle.loads(pickle.dumps(local))
    assert (first.attrs["units"], second.attrs["units"]) == ("K", "C")


def test_tokens_last_as_long_as_the_content(local: cs.Array) -> None:
    """Handles share a token for dask while nothing was written, if the store can prove that."""
    other = cs.open_array(local.store, path="x")
    before = local.__dask_tokenize__()
    assert local.__dask_tokenize__() == before
    if local.content_stamp() is not None:
        assert other.__dask_tokenize__() == before
    local[0, 0] = local[0, 0]
    assert other.__dask_tokenize__() != before
    one, two = (cs.create_array(None, shape=3, dtype="i4") for _ in range(2))
    assert one.__dask_tokenize__() == one.__dask_tokenize__() != two.__dask_tokenize__()


def test_many_values_are_not_stamped(local: cs.Array) -> None:
    """An array of so many stored values that listing them would be felt has no stamp."""
    many = cs.create_array(
        local.store, name="x", shape=10_001, chunks=1, dtype="i1", overwrite=True,
        zarr_format=local.metadata.zarr_format,
    )  # fmt: skip
    assert many.content_stamp() is None


@pytest.mark.parametrize("shards", [None, (4, 4)])
def test_iterating_reads_each_value_once_a_row_of_chunks(shards: tuple[int, ...] | None) -> None:
    """Iterating along the first axis asks for each stored chunk once, not once an element."""
    store = RecordingStore()
    values = np.arange(64).reshape(8, 8)
    stored = cs.create_array(store, data=values, chunks=(4, 2), shards=shards)
    store.forget()
    assert [row.tolist() for row in stored] == values.tolist()
    asked = [key for what, key in store.record if what == "get"]
    assert sorted(asked) == sorted(store.list_prefix("c/"))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shards", [None, (4, 4)])
def test_codecs_are_told_as_they_can_be_given(zarr_format: int, shards: Any) -> None:
    """`filters`, `serializer` and `compressors` of an array make another one of the same codecs."""
    if zarr_format == 2 and shards:
        pytest.skip("version 2 has no shards")
    how: Any = {"shape": (8, 4), "dtype": "<i4", "chunks": (2, 4), "shards": shards}
    filters = [{"id": "delta", "dtype": "<i4"}]
    first = cs.create_array(None, filters=filters, zarr_format=zarr_format, **how)
    assert [len(first.filters), len(first.compressors)] == [1, 1 if zarr_format == 2 else 2]
    assert (first.serializer is None) is (zarr_format == 2)
    second = cs.create_array(
        None,
        filters=first.filters,
        serializer=first.serializer or "auto",
        compressors=first.compressors,
        zarr_format=zarr_format,
        **how,
    )
    assert second.metadata.codecs == first.metadata.codecs

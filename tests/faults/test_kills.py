"""A process killed at any moment leaves old or new data, and nothing that reads wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import NodeNotFoundError
from tests.faults.victims import files, kill, moments

WRITE_VALUES = """
store = cs.LocalStore(folder)
values = [bytes([i]) * (8 << 20) for i in range(2)]
store.set("a/b", values[0])
ready()
i = 0
while True:
    i += 1
    store.set("a/b", values[i % 2])
"""


@pytest.mark.parametrize("after_s", moments(3, most_s=0.1))
def test_value_is_old_or_new(after_s: float, tmp_path: Path) -> None:
    """A value that was being replaced is one of the two, whole; no other key is listed."""
    kill(WRITE_VALUES, tmp_path, after_s=after_s)
    store = cs.LocalStore(tmp_path)
    value = store.get("a/b")
    assert value is not None
    assert len(value) == 8 << 20
    assert len(set(value)) == 1
    assert list(store.list_prefix()) == ["a/b"]
    cs.clean(store, dry_run=False)
    assert files(tmp_path) == ["a/b"]
    store.update("a/b", lambda stored: b"again")
    assert store.get("a/b") == b"again"
    store.delete_prefix("a/")
    assert list(store.list_prefix()) == []
    assert list((tmp_path / "a").glob("*")) == []


CREATE_WITH_DATA = """
data = np.arange(1, 1 + (1 << 21), dtype="f8")
ready()
cs.create_array(folder, name="x", data=data, chunks=1 << 12, compressors=None, zarr_format={})
"""


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("after_s", moments(2, most_s=0.15))
def test_array_with_data_is_whole_or_absent(
    after_s: float, zarr_format: int, tmp_path: Path
) -> None:
    """An array whose data was being written opens with all of it, or not at all."""
    kill(CREATE_WITH_DATA.format(zarr_format), tmp_path, after_s=after_s)
    try:
        array = cs.open_array(tmp_path, path="x", mode="r")
    except NodeNotFoundError:
        cs.create_array(tmp_path, name="x", shape=10, dtype="i4", overwrite=True)
        assert cs.open_array(tmp_path, path="x")[...].tolist() == [0] * 10
    else:
        np.testing.assert_array_equal(array[...], np.arange(1, 1 + (1 << 21), dtype="f8"))


PENDING = """
array = cs.create_array(
    folder, name="x", shape=1 << 20, dtype="f8", chunks=1 << 12, compressors=None, pending=True
)
array[: 1 << 12] = 1
ready()
while True:
    array[...] = np.arange(1 << 20)
"""


def test_pending_array_never_opens(tmp_path: Path) -> None:
    """A job that was killed before it published leaves nothing that opens, and says why."""
    kill(PENDING, tmp_path, after_s=0.05)
    with pytest.raises(NodeNotFoundError, match="a job is writing an array there, or was interr"):
        cs.open(tmp_path, path="x")
    with pytest.raises(NodeNotFoundError):
        cs.open_array(tmp_path, path="x", mode="r+")
    assert list(cs.open_group(tmp_path)) == []
    array = cs.create_array(tmp_path, name="x", shape=4, dtype="f8", overwrite=True)
    assert array[...].tolist() == [0, 0, 0, 0]


OVERWRITE = """
data = np.arange(1 << 18, dtype="f8")
def make():
    cs.create_array(
        folder, name="x", data=data, chunks=1 << 10, compressors=None, overwrite=True
    )
make()
ready()
while True:
    make()
"""


@pytest.mark.parametrize("after_s", moments(3, most_s=0.2))
def test_overwritten_array_is_whole_or_absent(after_s: float, tmp_path: Path) -> None:
    """An array that was being overwritten is never half deleted nor half written."""
    kill(OVERWRITE, tmp_path, after_s=after_s)
    try:
        array = cs.open_array(tmp_path, path="x", mode="r")
    except NodeNotFoundError:
        return
    np.testing.assert_array_equal(array[...], np.arange(1 << 18, dtype="f8"))


ATTRIBUTES = """
array = cs.create_array(folder, name="x", shape=4, dtype="i4", zarr_format={})
array.attrs.put({{"first": 0, "filler": "x" * 100_000, "last": 0}})
ready()
i = 0
while True:
    i += 1
    array.attrs.update(first=i, last=i)
"""


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("after_s", [0.07])
def test_attributes_are_of_one_write(after_s: float, zarr_format: int, tmp_path: Path) -> None:
    """Attributes that were being set are all old or all new, and the array still opens."""
    kill(ATTRIBUTES.format(zarr_format), tmp_path, after_s=after_s)
    array = cs.open_array(tmp_path, path="x")
    assert array.attrs["first"] == array.attrs["last"]
    assert array.shape == (4,)
    # The lock that the killed process held is free.
    array.attrs["first"] = -1
    assert cs.open_array(tmp_path, path="x").attrs["first"] == -1


APPEND = """
array = cs.create_array(
    folder, name="x", shape=(0, 64), dtype="i8", chunks=(7, 64), fill_value=-1, compressors=None
)
ready()
n = 0
while True:
    array.append(np.arange(n, n + 5)[:, None] * np.ones(64, "i8"))
    n += 5
"""


@pytest.mark.parametrize("after_s", moments(2, most_s=0.2))
def test_appended_rows_are_all_there(after_s: float, tmp_path: Path) -> None:
    """An array that was being appended to has whole appends only, and no row of fill value."""
    kill(APPEND, tmp_path, after_s=after_s)
    array = cs.open_array(tmp_path, path="x")
    assert array.shape[0] % 5 == 0
    expected = np.arange(array.shape[0])[:, None] * np.ones(64, "i8")
    np.testing.assert_array_equal(array[...], expected)
    n = array.shape[0]
    array.append(np.full((2, 64), 7))
    assert array.shape[0] == n + 2
    assert (array[n:] == 7).all()

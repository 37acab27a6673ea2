"""What a job is refused or aligned to, before it touches anything; many arrays in one job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import (
    AlignmentError,
    ChunkError,
    InvalidArgumentError,
    NodeNotFoundError,
)
from dask_integration.io import to_store, write_region
from dask_integration.reading import from_store
from tests.dask_integration.arrays import VALUES, Counting, n_tasks, read_back, stored

# --- alignment ---------------------------------------------------------------------------------


def test_aligned_blocks_pass_through_as_they_are() -> None:
    """Blocks whose edges coincide with units are not rechunked, however large they are."""
    x = da.zeros((20, 14), chunks=((8, 12), 14))
    job: Any = to_store(x, cs.MemoryStore(), path="y", chunks=(4, 7), compute=False)
    assert n_tasks(job) == 2 + 1


def test_misaligned_blocks_are_merged_with_their_neighbours() -> None:
    """Blocks of 1 become blocks of a unit along the axis that needs it, and no other."""
    x = da.from_array(VALUES, chunks=(1, 7))
    array = cs.create_array(cs.MemoryStore(), shape=VALUES.shape, chunks=(4, 7), dtype="f8")
    report = to_store(x, array)
    assert report.n_blocks == 10
    np.testing.assert_array_equal(array[...], VALUES)


def test_merging_keeps_within_the_memory() -> None:
    """Where merged blocks grow too large, they are cut along other axes; a unit never is."""
    x = da.from_array(VALUES, chunks=(1, 14))
    array = cs.create_array(cs.MemoryStore(), shape=VALUES.shape, chunks=(10, 2), dtype="f8")
    with dask.config.set(scheduler="synchronous"):
        report = to_store(x, array, memory=10 * 4 * 8 * 4)
        assert report.n_blocks == 2 * 4
        np.testing.assert_array_equal(array[...], VALUES)
        with pytest.raises(AlignmentError, match=r"chunk \(10, 2\) takes 160 bytes.*`memory`"):
            to_store(x, array, memory=159 * 4)


def test_irregular_blocks_get_chunks_of_the_largest() -> None:
    """A new array of blocks that differ in size has the largest as its chunk."""
    store = cs.MemoryStore()
    to_store(da.from_array(VALUES, chunks=((3, 7, 10), 14)), store, path="y")
    assert cs.open_array(store, path="y").chunks == (10, 14)
    np.testing.assert_array_equal(read_back(store), VALUES)


def test_a_region_within_units_needs_a_store_that_keeps_others_out() -> None:
    """A unit shared with another region is refused where updates are not guarded."""
    store = Counting()
    array = stored(store)
    x = da.zeros((6, 14), chunks=(6, 14))
    with pytest.raises(AlignmentError, match=r"edge 6 on axis 0.*write unit 4"):
        to_store(x, array, region=(slice(0, 6),))
    to_store(x[:4], array, region=(slice(0, 4),))
    to_store(x[:4], array, region=(slice(16, 20),))
    assert array[...].sum() == VALUES[4:16].sum()


def test_regions_that_share_units_are_written_at_once(tmp_path: Path) -> None:
    """Two jobs on neighbouring regions, run together, lose nothing of the units they share."""
    array = stored(tmp_path, values=np.zeros((60, 40)), chunks=(7, 40))
    parts = [(0, 17), (17, 33), (33, 60)]
    x = da.from_array(np.arange(2400.0).reshape(60, 40), chunks=(7, 40))
    jobs = [
        to_store(x[a:b], array, region=(slice(a, b), ...), compute=False, align="auto")
        for a, b in parts
    ]
    dask.compute(*jobs)
    np.testing.assert_array_equal(array[...], np.arange(2400.0).reshape(60, 40))


def test_a_job_that_would_hold_too_much_is_refused(tmp_path: Path) -> None:
    """What `explain` predicts is checked before anything is made, and told beside the measured."""
    x = from_store(stored(tmp_path, values=np.ones((512, 512)), chunks=(64, 512)), chunks="storage")
    y = x - x.mean(axis=0)
    with pytest.raises(InvalidArgumentError, match=r"cannot write 'y' in .* within 1\.0 MB"):
        to_store(y, tmp_path, path="y", memory="1MB")
    assert not (tmp_path / "y").exists()
    report = to_store(y, tmp_path, path="y", memory="100MB")
    assert 2e6 < report.predicted_bytes < 100e6
    assert report.peak_bytes < 100e6
    assert "MB predicted" in str(report)


# --- many arrays -------------------------------------------------------------------------------


def test_many_arrays_are_one_job_and_appear_together(tmp_path: Path, scheduler: str) -> None:
    """Their shared source is read once a block; none opens before all are written."""
    x = from_store(stored(tmp_path), chunks="storage")
    job: Any = to_store(
        {"one": x + 1, "two": x * 2},
        tmp_path,
        path="g",
        chunks={"two": (2, 7)},
        attributes={"one": {"unit": "m"}},
        compute=False,
    )
    assert n_tasks(job) == 10 + 20 + 2 + 1
    for name in ("one", "two"):
        with pytest.raises(NodeNotFoundError, match="a job is writing"):
            cs.open_array(tmp_path, path=f"g/{name}", mode="r")
    reports = job.compute()
    np.testing.assert_array_equal(read_back(tmp_path, "g/one"), VALUES + 1)
    np.testing.assert_array_equal(read_back(tmp_path, "g/two"), VALUES * 2)
    assert dict(cs.open_array(tmp_path, path="g/one").attrs) == {"unit": "m"}
    assert cs.open_array(tmp_path, path="g/two").chunks == (2, 7)
    assert {name: report.n_blocks for name, report in reports.items()} == {"one": 10, "two": 10}


def test_many_arrays_may_go_to_arrays_and_regions_of_their_own(tmp_path: Path) -> None:
    """Existing arrays, some in part, and new ones are written by the same call."""
    old = stored(tmp_path, "old")
    reports = to_store(
        {"old": da.zeros((4, 14), chunks=(4, 7)), "new": da.ones(6, chunks=2)},
        {"old": old, "new": tmp_path},
        region={"old": (slice(8, 12),)},
    )
    assert reports["new"].value_bytes == 48
    assert read_back(tmp_path, "new").tolist() == [1] * 6
    assert old[...].sum() == VALUES.sum() - VALUES[8:12].sum()


def fail(block: Any) -> Any:
    raise RuntimeError("cannot be computed")


def test_one_failing_array_keeps_all_back(tmp_path: Path) -> None:
    """New arrays of a job that failed do not open, whichever of them was finished."""
    x = da.ones(4, chunks=2)
    with pytest.raises(RuntimeError, match="cannot be computed") as caught:
        to_store({"a": x, "b": x.map_blocks(fail, dtype="f8", meta=np.empty(0))}, tmp_path)
    assert sum("overwrite=True" in note for note in caught.value.__notes__) == 2
    for name in "ab":
        with pytest.raises(NodeNotFoundError):
            cs.open_array(tmp_path, path=name, mode="r")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunks": {"c": 2}}, "'chunks' names 'c'"),
        ({"attributes": {"unit": "m"}}, "'attributes' names 'unit'"),
        ({"align": "perhaps"}, "align must be"),
        ({"memory": "much"}, "memory must be a size"),
        ({"chunks": {"b": 0}}, "chunk"),
        ({"region": {"a": (slice(0, 9),)}}, "no array or group|reaches beyond"),
    ],
)
def test_a_refused_array_stops_all(arguments: dict[str, Any], message: str) -> None:
    """Nothing of a job is made if anything of it cannot be meant."""
    store = cs.MemoryStore()
    x = da.ones(4, chunks=2)
    with pytest.raises((InvalidArgumentError, NodeNotFoundError), match=message):
        to_store({"a": x, "b": x}, store, **arguments)
    assert not list(store.list_prefix())


@pytest.mark.parametrize("names", [("a", "a/b"), ("a", "/a/"), ("a", "")])
def test_arrays_in_one_place_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    """Two arrays of a job must not be the same one, nor lie in each other."""
    x = da.ones(4, chunks=2)
    with pytest.raises(InvalidArgumentError, match="same place"):
        to_store(dict.fromkeys(names, x), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_array_must_not_replace_what_another_reads(tmp_path: Path) -> None:
    """Overwriting is refused if any array of the job is computed from what is there."""
    x = from_store(stored(tmp_path), chunks="storage")
    with pytest.raises(InvalidArgumentError, match="would be deleted before it is read"):
        to_store({"x": da.ones(4), "y": x + 1}, tmp_path, overwrite=True)
    np.testing.assert_array_equal(read_back(tmp_path, "x"), VALUES)


# --- verification ------------------------------------------------------------------------------


class Forgetful(Counting):
    """A store that loses what is written to one key."""

    def set(self, key: str, value: Any) -> None:
        if not key.endswith("c/1/0"):
            super().set(key, value)


def test_what_is_read_back_wrong_fails_the_job() -> None:
    """With verify=True a write that did not take is found; without it is not."""
    x = da.from_array(VALUES, chunks=(4, 7))
    to_store(x, Forgetful(), path="y")
    with pytest.raises(ChunkError, match="not what was written"):
        to_store(x, Forgetful(), path="y", verify=True)
    report = to_store(x.astype("f4"), cs.MemoryStore(), path="y", verify=True)
    assert report.n_blocks == 10


# --- regions -----------------------------------------------------------------------------------


def test_processes_fill_one_array_region_by_region(tmp_path: Path) -> None:
    """Numpy and dask arrays, with edges within chunks; readers see the array when it is full."""
    array = cs.create_array(
        tmp_path, name="y", shape=VALUES.shape, chunks=(4, 7), dtype="f8", pending=True
    )
    write_region(VALUES[:6], array, (slice(0, 6),))
    write_region(VALUES[6:11].tolist(), array, (slice(6, 11), ...))
    write_region(da.from_array(VALUES[11:], chunks=(2, 14)), array, (slice(11, None),))
    with pytest.raises(NodeNotFoundError):
        read_back(tmp_path)
    array.publish()
    np.testing.assert_array_equal(read_back(tmp_path), VALUES)
    with pytest.raises(InvalidArgumentError, match=r"region .* has the shape \(2, 14\)"):
        write_region(VALUES[:3], tmp_path, (slice(0, 2),), path="y")

"""Arrays of the separate package ``dask_array``: read and written like dask's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration import ledger
from dask_integration.io import append, to_store
from dask_integration.reading import from_store
from tests.dask_integration.arrays import VALUES, Counting, n_tasks, read_back, stored

dask_array = pytest.importorskip("dask_array", reason="needs the package dask-array")


def test_reading_is_one_fused_task_a_block() -> None:
    """Blocks are whole write units, each read once; functions on them fuse with the read."""
    store = Counting()
    array = stored(store)
    x: Any = from_store(array, chunks="storage", library="dask_array")
    assert isinstance(x, dask_array.Array)
    store.gets.clear()
    np.testing.assert_array_equal(((x - 1) * 2).compute(), (VALUES - 1) * 2)
    assert len(store.chunk_gets()) == 10
    assert len(dict(((x - 1) * 2).optimize().__dask_graph__())) == 10
    part: Any = from_store(array, region=(slice(3, 9), slice(2, 5)), library="dask_array")
    np.testing.assert_array_equal(part.compute(), VALUES[3:9, 2:5])
    scalar: Any = from_store(stored(None, values=np.array(7.0), chunks=()), library="dask_array")
    assert scalar.compute() == 7


def test_names_tell_the_content(tmp_path: Path) -> None:
    """Equal as long as nothing was written, as those of dask's own arrays."""
    array = stored(tmp_path)
    x: Any = from_store(tmp_path, "x", library="dask_array")
    if array.content_stamp() is not None:
        again: Any = from_store(tmp_path, "x", library="dask_array")
        assert again.name == x.name
    array[0, 0] = VALUES[0, 0]
    after: Any = from_store(tmp_path, "x", library="dask_array")
    assert after.name != x.name


def test_writing_goes_the_way_of_dask_arrays(scheduler: str, tmp_path: Path) -> None:
    """One task a block, aligned, in regions and appended, many in one job with dask's own."""
    stored(tmp_path)
    x: Any = from_store(tmp_path, "x", chunks="storage", library="dask_array")
    job: Any = to_store(x * 2, tmp_path, path="y", compute=False)
    assert n_tasks(job) == 10 + 1
    job.compute()
    append(x + 1, tmp_path, path="y")
    np.testing.assert_array_equal(read_back(tmp_path), np.concatenate([VALUES * 2, VALUES + 1]))
    to_store({"a": x.rechunk((3, 5)), "b": da.ones(4)}, tmp_path, chunks={"a": (4, 7)})
    np.testing.assert_array_equal(read_back(tmp_path, "a"), VALUES)


def test_a_job_must_not_delete_what_it_reads(tmp_path: Path) -> None:
    """The handles within its tasks are found."""
    stored(tmp_path)
    x: Any = from_store(tmp_path, "x", library="dask_array")
    with pytest.raises(InvalidArgumentError, match="would be deleted before it is read"):
        to_store(x + 1, tmp_path, path="x", overwrite=True)


def test_jobs_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of expressions tell whether the values are the same."""
    monkeypatch.setattr(ledger, "_PAUSE_S", 0.0)
    array = stored(tmp_path)
    if array.content_stamp() is None:
        pytest.skip("the folder for temporary files lies on a file system that is not believed")

    def x() -> Any:
        return from_store(tmp_path, "x", chunks="storage", library="dask_array")

    to_store(x() * 2, tmp_path, path="y", compute=False)
    with pytest.raises(InvalidArgumentError, match="the values are others"):
        to_store(x() * 3, tmp_path, path="y", resume=True)
    assert to_store(x() * 2, tmp_path, path="y", resume=True).n_blocks == 10
    np.testing.assert_array_equal(read_back(tmp_path), VALUES * 2)


def test_memory_stays_in_its_process(tmp_path: Path) -> None:
    """An array in memory is read by threads; other libraries are not known."""
    store = cs.MemoryStore()
    x: Any = from_store(stored(store), library="dask_array")
    assert x.sum().compute() == VALUES.sum()
    with pytest.raises(InvalidArgumentError, match="library must be"):
        from_store(stored(store, "z"), library="cubed")  # type: ignore[arg-type]

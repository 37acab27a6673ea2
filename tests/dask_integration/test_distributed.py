"""On a cluster: what the dashboard shows, what fails and is run again, and what is never done."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chunkstore as cs
from dask_integration.io import to_store
from dask_integration.reading import from_store
from tests.dask_integration.arrays import VALUES, read_back, stored


def labels(dask_scheduler: Any) -> set[str]:
    """Give the labels of the seconds that tasks of writing took, as the dashboard has them."""
    metrics = dask_scheduler.cumulative_worker_metrics
    return {key[-2] for key in metrics if key[0] == "execute" and key[-1] == "seconds"}


def spans(dask_scheduler: Any) -> set[tuple[str, ...]]:
    return set(dask_scheduler.extensions["spans"].spans_search_by_name)


def restrictions(dask_scheduler: Any) -> set[str]:
    """Name what keeps the scheduler from queuing tasks, of any task that it knows."""
    found = {"resource_restrictions", "worker_restrictions", "host_restrictions"}
    return {name for task in dask_scheduler.tasks.values() for name in found if getattr(task, name)}


def test_the_dashboard_tells_the_phases_apart(tmp_path: Path, cluster: LocalCluster) -> None:
    """Seconds of reading, decoding, computing, encoding and writing have labels of their own."""
    with Client(cluster) as client:
        values = np.random.default_rng(0).normal(size=(400, 1000))
        x = from_store(stored(tmp_path, values=values, chunks=(100, 1000)), chunks="storage")
        to_store((x * 2).map_blocks(np.sort, dtype="f8"), tmp_path, path="y")
        expected = {"read", "decode", "compute", "encode", "write"}
        end = time.monotonic() + 30
        while not client.run_on_scheduler(labels) >= expected:
            # Workers tell their seconds with each heartbeat.
            assert time.monotonic() < end, client.run_on_scheduler(labels)
            time.sleep(0.1)
        assert ("to_store",) in client.run_on_scheduler(spans)


def test_tasks_can_be_queued(tmp_path: Path, cluster: LocalCluster) -> None:
    """No task asks for resources or workers, which would turn off the scheduler's queue."""
    with Client(cluster) as client:
        x = from_store(stored(tmp_path), chunks="storage")
        futures = client.compute([to_store(x, tmp_path, path="y", compute=False)])
        client.gather(futures)
        assert client.run_on_scheduler(restrictions) == set()


def fail_once(block: Any, folder: str, block_id: tuple[int, ...] | None = None) -> Any:
    marker = Path(folder) / f"failed-{block_id}"
    if not marker.exists():
        marker.touch()
        raise RuntimeError("the first time")
    return block


@pytest.mark.parametrize("lazily", [True, False])
def test_failing_tasks_are_run_again(lazily: bool, tmp_path: Path, cluster: LocalCluster) -> None:
    """What a task computes from may fail too: `retries` and ``compute(retries=)`` both work."""
    stored(tmp_path)
    with Client(cluster):
        x = from_store(tmp_path, "x", chunks=(8, 14)).map_blocks(
            fail_once, str(tmp_path), dtype="f8", meta=np.empty((0, 0))
        )
        if lazily:
            job: Any = to_store(x, tmp_path, path="y", compute=False)
            job.compute(retries=1)
        else:
            to_store(x, tmp_path, path="y", retries=1)
    assert len(list(tmp_path.glob("failed-*"))) == 3
    np.testing.assert_array_equal(read_back(tmp_path), VALUES)


def test_no_client_is_made(tmp_path: Path) -> None:
    """Building and running a job makes neither a client nor a cluster."""
    code = """
        import sys, threading
        import dask.array as da
        import distributed
        from dask_integration import append, from_store, to_store
        folder = sys.argv[1]
        to_store(da.ones((8, 4), chunks=(2, 4)), folder, path="x", memory="1GB")
        to_store(from_store(folder, "x") + 1, folder, path="y")
        append(from_store(folder, "x"), folder, path="y")
        assert distributed.client._get_global_client() is None
        assert not distributed.Scheduler._instances and not distributed.Worker._instances
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0


@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_writes_are_right(data: st.DataObject, tmp_path: Path, client: Client) -> None:
    """Random shapes, blocks, units and regions, by processes: written as expected."""
    shape = tuple(data.draw(st.lists(st.integers(1, 24), min_size=1, max_size=2)))
    blocks = tuple(data.draw(st.integers(1, 9)) for _ in shape)
    unit = tuple(data.draw(st.integers(1, 6)) for _ in shape)
    starts = tuple(data.draw(st.integers(0, 7)) for _ in shape)
    whole = tuple(a + n + data.draw(st.integers(0, 7)) for a, n in zip(starts, shape, strict=True))
    region = tuple(slice(a, a + n) for a, n in zip(starts, shape, strict=True))
    values = np.arange(math.prod(shape), dtype="i4").reshape(shape)
    expected = np.full(whole, -7, "i4")
    array = cs.create_array(tmp_path, name="y", data=expected, chunks=unit, overwrite=True)
    expected[region] = values
    to_store(da.from_array(values, chunks=blocks), array, region=region, verify=True)
    np.testing.assert_array_equal(array[...], expected)
    source = from_store(array, region=region, chunks=tuple(2 * n for n in unit))
    np.testing.assert_array_equal(source.compute(), values)


@pytest.fixture
def client(cluster: LocalCluster) -> Any:
    with Client(cluster) as connected:
        yield connected


def test_dask_store_loses_nothing(tmp_path: Path, client: Client) -> None:
    """dask's own store, without its lock and with blocks that share chunks, by two processes."""
    values = np.arange(60 * 40, dtype="f8").reshape(60, 40)
    for chunks in ((7, 9), (10, 40)):
        array = cs.create_array(
            tmp_path, name="y", shape=(60, 40), chunks=chunks, dtype="f8", overwrite=True
        )
        da.store(da.from_array(values, chunks=(4, 11)), array, lock=False)
        np.testing.assert_array_equal(array[...], values)


def test_dask_store_loses_nothing_by_threads(tmp_path: Path) -> None:
    """The same by threads, into a folder, into memory, and into shards."""
    values = np.arange(60 * 40, dtype="f8").reshape(60, 40)
    with dask.config.set(scheduler="threads", num_workers=8):
        for store in (tmp_path, cs.MemoryStore()):
            for layout in ({"chunks": (7, 9)}, {"chunks": (5, 4), "shards": (15, 20)}):
                array = cs.create_array(
                    store, name="y", shape=(60, 40), dtype="f8", overwrite=True, **layout
                )
                da.store(da.from_array(values, chunks=(4, 11)), array, lock=False)
                np.testing.assert_array_equal(array[...], values)


def test_from_array_takes_whole_write_units(tmp_path: Path) -> None:
    """dask's own from_array finds chunks and shards, and names that last with the content."""
    for layout in ({"chunks": (4, 7)}, {"chunks": (2, 7), "shards": (8, 14)}):
        array = stored(tmp_path, overwrite=True, **layout)
        x = da.from_array(array)
        for axis, unit in zip(x.chunks, array.write_unit, strict=True):
            assert not any(edge % unit for edge in np.cumsum(axis)[:-1])
        again = da.from_array(cs.open_array(tmp_path, path="x"))
        if array.content_stamp() is not None:
            assert again.name == x.name
        array[0, 0] = VALUES[0, 0]
        assert da.from_array(array).name != x.name

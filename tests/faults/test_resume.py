"""Jobs over dask whose processes are killed leave, resumed, the bytes of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import NodeExistsError
from dask_integration import from_store, is_complete, to_store
from tests.faults.victims import CHECKOUT, files, moments

N_BLOCKS = 40
VALUES = np.arange(1.0, 1 + N_BLOCKS * 40).reshape(N_BLOCKS, 40)


def slow(block: Any) -> Any:
    """Compute for a while, so that there is a middle to be killed in."""
    time.sleep(0.03)
    return block * 2


def double(block: Any) -> Any:
    """Compute the same at once."""
    return block * 2


def job(folder: Path, compute: Any = slow, **how: Any) -> Any:
    """Write twice the source, a row a block; in the folder ``out``."""
    x = from_store(folder / "source", chunks="storage").map_blocks(compute, dtype="f8")
    # Not by dask's names: what else a process has imported may change how functions are named.
    vouched = {"token": "twice the source", **how}
    return to_store(x, folder / "out", path="y", shards=(1, 40), chunks=(1, 10), **vouched)


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    """Store the source, and give the files of a job that nobody disturbed."""
    cs.create_array(tmp_path / "source", data=VALUES, chunks=(1, 40))
    job(tmp_path, double)
    written = stored(tmp_path)
    cs.LocalStore(tmp_path / "out").delete_prefix("")
    assert files(tmp_path / "out") == []
    return written


def stored(folder: Path) -> dict[str, bytes]:
    """Give the files of the result; what killed processes left under reserved names is cleaned."""
    cs.clean(folder / "out", dry_run=False)
    return {name: (folder / "out" / name).read_bytes() for name in files(folder / "out")}


def finish(folder: Path) -> int:
    """Resume the job in this process; gives how many blocks were left out."""
    try:
        report = job(folder, resume=True)
    except NodeExistsError:
        return N_BLOCKS
    assert report.n_blocks == N_BLOCKS
    return int(report.n_resumed)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=CHECKOUT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_blocks(folder: Path, n_least: int) -> None:
    """Wait until some blocks are written."""
    end = time.monotonic() + 60
    while len(list((folder / "out" / "y" / "c").glob("*/0"))) < n_least:
        assert time.monotonic() < end, "no block was written"
        time.sleep(0.005)


THREADS = """
import sys, dask
from pathlib import Path
from tests.faults.test_resume import job
with dask.config.set(scheduler="threads", num_workers=2):
    job(Path(sys.argv[1]), resume=True)
"""


@pytest.mark.parametrize("after_s", moments(2, most_s=0.4))
def test_a_killed_process_is_resumed(
    after_s: float, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Killed at any moment of its job, and once more when resumed, a process loses nothing."""
    for n_least in (1, 6):
        with start(THREADS, tmp_path) as process:
            wait_for_blocks(tmp_path, n_least)
            time.sleep(after_s)
            process.kill()
    assert finish(tmp_path) >= 1
    assert stored(tmp_path) == undisturbed
    assert is_complete(tmp_path / "out", "y")


CLUSTER = """
import sys
from pathlib import Path
from distributed import Client, LocalCluster
from tests.faults.test_resume import job
if __name__ == "__main__":
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None,
        local_directory=sys.argv[1] + "/scratch",
    ) as cluster, Client(cluster):
        pids = [str(nanny.pid) for nanny in cluster.workers.values()]
        print(*pids, flush=True)
        job(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("victim", ["worker", "client and scheduler"])
def test_a_killed_cluster_is_resumed(
    victim: str, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """A killed worker is made up for at once; whatever else is killed, the job can be resumed."""
    with start(CLUSTER, tmp_path) as process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        wait_for_blocks(tmp_path, 12)
        if victim == "worker":
            os.kill(workers[0], signal.SIGKILL)
            assert process.wait(60) == 0
        else:
            process.kill()
    if victim == "worker":
        assert is_complete(tmp_path / "out", "y")
    else:
        assert not is_complete(tmp_path / "out", "y")
        assert 1 <= finish(tmp_path) < N_BLOCKS
        # What still lives of the old job may end what it was at.
        wait_for_end(workers)
    assert stored(tmp_path) == undisturbed


def wait_for_end(processes: list[int]) -> None:
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        assert time.monotonic() < end, "a worker outlives its cluster"
        time.sleep(0.05)


SCHEDULER = """
import asyncio, sys
from distributed import Scheduler
async def main():
    async with Scheduler(port=0, dashboard=False, dashboard_address=":0") as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()
asyncio.run(main())
"""
WORKER = """
import asyncio, sys
from distributed import Worker
async def main():
    async with Worker(sys.argv[1], nthreads=1, local_directory=sys.argv[2]) as worker:
        await worker.finished()
asyncio.run(main())
"""
CLIENT = """
import sys
from pathlib import Path
from distributed import Client
from tests.faults.test_resume import job
with Client(sys.argv[1]):
    job(Path(sys.argv[2]))
"""


def test_a_killed_scheduler_is_resumed(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """With the scheduler gone, its workers and the client give up; the job goes on elsewhere."""
    with start(SCHEDULER) as scheduler:
        assert scheduler.stdout is not None
        address = scheduler.stdout.readline().strip()
        with (
            start(WORKER, address, tmp_path / "scratch") as worker,
            start(CLIENT, address, tmp_path) as client,
        ):
            wait_for_blocks(tmp_path, 10)
            scheduler.kill()
            scheduler.wait(30)
            # The worker may be in the middle of a block; the resumed job runs beside it.
            n_resumed = finish(tmp_path)
            worker.kill()
            client.kill()
    assert 1 <= n_resumed < N_BLOCKS
    assert stored(tmp_path) == undisturbed

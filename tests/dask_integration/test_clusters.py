"""Places to run: each gives what was asked, and nothing runs on when the block is left."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import dask
import dask.array as da
import pytest
from dask.delayed import delayed

from chunkstore.errors import InvalidArgumentError, MissingExtraError, StoreError
from dask_integration.clusters import connect, require_visible


def process_and_thread() -> tuple[int, str]:
    """Say where a task runs."""
    return os.getpid(), threading.current_thread().name


def test_none_runs_in_threads_of_this_process() -> None:
    """Without a cluster there is no client, and tasks share this process."""
    with connect("none", n_workers=2) as client:
        assert client is None
        pid, thread = delayed(process_and_thread)().compute()
    assert pid == os.getpid()
    assert thread.startswith("chunkstore-task")


def test_local_runs_in_other_processes() -> None:
    """With a local cluster, tasks run elsewhere and come back right."""
    with connect("local", n_workers=2) as client:
        pid, _ = delayed(process_and_thread)().compute()
        total = da.ones((100, 100), chunks=10).sum().compute()
        n_workers = len(client.scheduler_info()["workers"])
    assert pid != os.getpid()
    assert total == 10_000
    assert n_workers == 2


def test_an_address_joins_and_leaves_a_running_cluster() -> None:
    """A cluster that runs already is used, and still runs afterwards."""
    with connect("local", n_workers=1) as owner:
        address = owner.scheduler.address
        with connect(address) as guest:
            assert guest is not owner
            assert delayed(sum)([1, 2]).compute() == 3
        assert owner.submit(sum, [2, 3]).result() == 5


@pytest.mark.parametrize("where", ["none", "local"])
def test_an_error_in_the_block_ends_what_was_started(where: str) -> None:
    """Whatever is raised inside comes out; the fixture for leaks sees that nothing is left."""
    with pytest.raises(KeyboardInterrupt), connect(where, n_workers=1):
        raise KeyboardInterrupt


def test_no_task_runs_on_after_the_block(tmp_path: Path) -> None:
    """A task that was under way when the block was interrupted has ended when it is left."""
    started = threading.Event()

    def slow() -> None:
        started.set()
        time.sleep(0.3)
        (tmp_path / "written").touch()

    def interrupted() -> None:
        with connect("none", n_workers=1):
            pool = dask.config.get("pool")
            pool.submit(slow)
            pool.submit((tmp_path / "never").touch)
            started.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "written").exists()
    time.sleep(0.1)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("where", ["remote", "tcp://nowhere", "ftp://host:1", "", ":", "a b:1"])
def test_what_is_no_address_is_refused(where: str) -> None:
    """The message lists what would do."""
    with pytest.raises(InvalidArgumentError, match="none, local or the address"), connect(where):
        pass


def test_an_address_where_nothing_answers_is_an_error() -> None:
    """A scheduler that is not there is told by its address."""
    with (
        pytest.raises(StoreError, match=r"cannot reach a dask scheduler at 'tcp://127.0.0.1:9'"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_cluster_without_workers_is_refused() -> None:
    """A job on it would wait for ever."""
    with connect("local", n_workers=1) as owner:
        owner.cluster.scale(0)
        while owner.scheduler_info()["workers"]:
            time.sleep(0.02)
        address = owner.scheduler.address
        with pytest.raises(StoreError, match="has no workers"), connect(address):
            pass


@pytest.mark.parametrize(("where", "n"), [("none", 0), ("local", -1), ("tcp://host:1", 2)])
def test_numbers_of_workers_that_cannot_be_meant(where: str, n: int) -> None:
    """No workers, and workers of somebody else's cluster, are refused."""
    with pytest.raises(InvalidArgumentError, match=r"workers|number"), connect(where, n_workers=n):
        pass


def test_paths_are_checked_on_the_workers(tmp_path: Path) -> None:
    """A path that workers do not see is named before the job starts."""
    require_visible(None, "no/such/path")
    with connect("local", n_workers=1) as client:
        require_visible(client, str(tmp_path))
        with pytest.raises(StoreError, match="1 of 1 workers do not see it"):
            require_visible(client, str(tmp_path / "absent"))


def test_without_distributed_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads still work then."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with connect("none", n_workers=1):
        pass
    with pytest.raises(MissingExtraError, match=r"chunkstore\[dask\]"), connect("local"):
        pass

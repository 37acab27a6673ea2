"""Where the tasks of a job run: threads of this process, processes of this machine, or a cluster.

Floor 6. A job asks for a place by name and gets it for the length of a ``with`` block. What was
started is gone afterwards, also after an error or Ctrl-C, and no task is left running behind it;
so whoever cleans up files that tasks write does it outside this block. A cluster that was running
before may take a moment longer with the tasks that it is at. distributed is imported only where
it is needed: threads do without it.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import dask
from dask.system import CPU_COUNT

from chunkstore.errors import InvalidArgumentError, MissingExtraError, StoreError

__all__ = ["connect", "require_visible"]

_CONNECT_TIMEOUT_S = 10
_ADDRESS = re.compile(r"(\w+://)?[^\s/:][^\s/]*:\d+")
_ANY_LOCAL_PORT = "127.0.0.1:0"
"""For the scheduler's HTTP server: it cannot be left out, and its usual port may be taken."""


@contextmanager
def connect(where: str = "none", *, n_workers: int | None = None) -> Iterator[Any]:
    """Give dask a place to run tasks for the length of a ``with`` block.

    Parameters
    ----------
    where : str
        ``"none"``: threads of this process. ``"local"``: processes of this machine, one thread
        each. Anything else: the address of a running scheduler, such as ``"tcp://host:8786"``.
    n_workers : int, optional
        Threads or processes to start; the default is one for each processor this process may
        use. Refused for an address, where the cluster has its own.

    Yields
    ------
    distributed.Client or None
        None for threads. Inside the block every ``compute`` goes to this place.

    Raises
    ------
    MissingExtraError
        If distributed is needed and not installed.
    InvalidArgumentError
        If `where` is no address, or `n_workers` cannot be meant.
    StoreError
        If no scheduler answers at the address, within 10 seconds, or it has no workers.

    Examples
    --------
    >>> import dask.array as da
    >>> with connect("none", n_workers=2):
    ...     print(da.ones(10, chunks=5).sum().compute())
    10.0
    """
    if n_workers is not None and n_workers < 1:
        raise InvalidArgumentError(f"cannot start {n_workers} workers: expected 1 or more")
    if where == "none":
        with _threads(n_workers or CPU_COUNT):
            yield None
    elif where == "local":
        with _local_processes(n_workers or CPU_COUNT) as client:
            yield client
    else:
        if n_workers is not None:
            raise InvalidArgumentError(
                f"cannot set the number of workers of the cluster at {where!r}: it has its own"
            )
        with _running_cluster(where) as client:
            yield client


def require_visible(client: Any, path: str) -> None:
    """Raise if a worker of a cluster does not see a local path.

    Parameters
    ----------
    client : distributed.Client or None
        What `connect` gave; None passes, as does a cluster whose workers all see the path.
    path : str
        A directory or file that tasks will open.

    Raises
    ------
    StoreError
        Names the workers that do not see it.
    """
    if client is None:
        return
    seen = client.run(os.path.exists, os.path.abspath(path))
    blind = sorted(address for address, found in seen.items() if not found)
    if blind:
        raise StoreError(
            f"cannot use {path} on this cluster: {len(blind)} of {len(seen)} workers do not see "
            f"it, such as {blind[0]}. Put it on a file system that all workers share, "
            "under the same path.",
            path=path,
        )


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Run tasks in a pool that is drained before the block ends.

    dask's own pool lives on after an interrupt with tasks still writing; this one is waited for.
    """
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="chunkstore-task")
    try:
        with dask.config.set(scheduler="threads", pool=pool):
            yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _local_processes(n_workers: int) -> Iterator[Any]:
    """Start worker processes, and end them with the block."""
    distributed = _distributed()
    started: list[Any] = []
    with (
        tempfile.TemporaryDirectory(prefix="chunkstore-cluster-") as scratch,
        _abandoned_requests_hidden(distributed),
    ):
        try:
            with _interrupts_held():
                cluster = distributed.LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": _ANY_LOCAL_PORT},
                    local_directory=scratch,
                    # What goes wrong in a task reaches the caller as an exception.
                    silence_logs=logging.CRITICAL,
                )
                started.append(cluster)
                started.append(distributed.Client(cluster))
            yield started[-1]
        finally:
            with _interrupts_held():
                for part in reversed(started):
                    part.close()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C take effect when the block ends, and never in processes that it starts.

    distributed cannot be interrupted while it starts or stops processes: it fails on assertions of
    its own. And a terminal sends Ctrl-C to worker processes too, where it would end them before
    this process, with a traceback each; they inherit that it is blocked.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # The first process that Python starts brings its tracker along, and that unblocks Ctrl-C.
    resource_tracker.ensure_running()
    held: list[Any] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
    if held:
        raise KeyboardInterrupt


@contextmanager
def _abandoned_requests_hidden(distributed: Any) -> Iterator[None]:
    """Keep asyncio from printing how requests end that an interrupt left unanswered.

    A client ends them with an exception of its own, `AllExit`, and nobody is left to take it.
    """
    logger = logging.getLogger("asyncio")

    def is_news(record: logging.LogRecord) -> bool:
        return not (record.exc_info and record.exc_info[0] is distributed.client.AllExit)

    logger.addFilter(is_news)
    try:
        yield
    finally:
        # They are reported when they are collected, which may need a collection of cycles.
        gc.collect()
        logger.removeFilter(is_news)


@contextmanager
def _running_cluster(address: str) -> Iterator[Any]:
    """Join a cluster that runs already, and leave it running."""
    distributed = _distributed()
    refusal = InvalidArgumentError(
        f"cannot run on cluster {address!r}: expected none, local or the address of a scheduler "
        "such as tcp://host:8786"
    )
    if not _ADDRESS.fullmatch(address):
        raise refusal
    try:
        _knock(address)
        client = distributed.Client(address, timeout=_CONNECT_TIMEOUT_S)
    except ValueError as error:
        raise refusal from error
    except OSError as error:
        raise StoreError(
            f"cannot reach a dask scheduler at {address!r}: {error}. "
            "Is it running, and is the address one that this machine can reach?",
            address=address,
        ) from error
    with _abandoned_requests_hidden(distributed), client:
        if not client.scheduler_info()["workers"]:
            raise StoreError(
                f"the dask scheduler at {address!r} has no workers: nothing would run. "
                f"Start some with: dask worker {address}",
                address=address,
            )
        yield client


def _knock(address: str) -> None:
    """Raise `OSError` if nothing listens at an address.

    A client that cannot connect tries for all its time before it fails, and leaves a thread.
    """
    scheme, _, place = address.rpartition("://")
    if scheme in ("", "tcp", "tls", "ws", "wss"):
        host, _, port = place.rpartition(":")
        where = host.strip("[]"), int(port)
        socket.create_connection(where, timeout=_CONNECT_TIMEOUT_S).close()


def _distributed() -> Any:
    """Import distributed, or say how to get it."""
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError(
            "running on a cluster needs the package distributed, which is not installed: "
            "pip install 'chunkstore[dask]'",
            extra="dask",
        ) from error
    return distributed

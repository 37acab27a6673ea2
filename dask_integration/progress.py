"""Progress of a job's tasks on the terminal, wherever they run.

A phase is a named part of a job. While it lasts, the tasks that dask starts and ends are counted:
through a callback where they run in threads, through a scheduler plugin on a cluster. On a
terminal that makes a moving bar; into a file or pipe, one line when the phase is over. All goes
to standard error, so that standard output holds only the result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol
from uuid import uuid4

from dask.callbacks import Callback

from chunkstore.errors import MissingExtraError

__all__ = ["Count", "PhaseStarter", "counting", "progress"]

_EVENT_INTERVAL_S = 0.2


class PhaseStarter(Protocol):
    """Opens a phase of the given name; it lasts as long as the ``with`` block."""

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """Open a phase."""


class Count:
    """Numbers of tasks started with and finished; safe to update from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.n_total = 0
        self.n_done = 0

    def add(self, *, n_total: int = 0, n_done: int = 0) -> None:
        """Add to the numbers."""
        with self._lock:
            self.n_total += n_total
            self.n_done += n_done

    def reset(self) -> None:
        """Start again at zero."""
        with self._lock:
            self.n_total = self.n_done = 0


@contextmanager
def progress(client: Any, *, quiet: bool = False) -> Iterator[PhaseStarter]:
    """Show the phases of a job on standard error.

    Parameters
    ----------
    client : distributed.Client or None
        Where the tasks run; None means threads of this process.
    quiet : bool
        Show nothing.

    Yields
    ------
    PhaseStarter
        Call it with a name to open a phase.

    Raises
    ------
    MissingExtraError
        If rich is not installed and the job is not quiet.
    """
    if quiet:
        yield lambda name: nullcontext()
        return
    console = _console()
    with counting(client) as count:
        show = _bar if console.is_terminal else _line
        yield lambda name: show(console, name, count)


@contextmanager
def counting(client: Any) -> Iterator[Count]:
    """Count the tasks that dask runs for the length of the block.

    Parameters
    ----------
    client : distributed.Client or None
        As for `progress`. On a shared cluster only this client's tasks are counted.

    Yields
    ------
    Count
        Kept up to date; on a cluster with a delay of about 0.2 seconds.
    """
    count = Count()
    with _counting_threads(count) if client is None else _counting_cluster(client, count):
        yield count


def _counting_threads(count: Count) -> AbstractContextManager[Any]:
    """Count through dask's callbacks, which only its schedulers in this process call."""

    def start_state(graph: Any, state: Any) -> None:
        count.add(n_total=len(state["ready"]) + len(state["waiting"]))

    def posttask(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
        count.add(n_done=1)

    return Callback(start_state=start_state, posttask=posttask)


@contextmanager
def _counting_cluster(client: Any, count: Count) -> Iterator[None]:
    """Count on the scheduler, which tells this client now and then."""
    name = f"chunkstore-progress-{uuid4().hex}"

    def hear(event: tuple[float, Any]) -> None:
        n_total, n_done = event[1]
        count.add(n_total=n_total, n_done=n_done)

    client.subscribe_topic(name, hear)
    client.register_plugin(_plugin(name, client.id), name=name)
    try:
        yield
    finally:
        if client.status == "running":
            client.unregister_scheduler_plugin(name)
            client.unsubscribe_topic(name)


def _plugin(topic: str, client_id: str) -> Any:
    """Make a scheduler plugin that reports the tasks of one client as they start and end.

    The class is made here, not at the top, for two reasons: its base is in distributed, which
    jobs in threads do without; and a local class is pickled whole, so that it also works on a
    scheduler where this package is not installed.
    """
    from distributed.diagnostics.plugin import SchedulerPlugin

    class TaskCounter(SchedulerPlugin):
        def __init__(self) -> None:
            self.pending: set[Any] = set()
            self.unreported = [0, 0]
            self.reported_at = 0.0

        async def start(self, scheduler: Any) -> None:
            self.scheduler = scheduler

        def update_graph(
            self, scheduler: Any, *, client: str, tasks: list[Any], **facts: Any
        ) -> None:
            if client == client_id:
                new = {key for key in tasks if scheduler.tasks[key].state != "memory"}
                new -= self.pending
                self.pending |= new
                self.report(len(new), 0)

        def transition(self, key: Any, start: str, finish: str, *args: Any, **facts: Any) -> None:
            if key in self.pending and finish in ("memory", "erred", "forgotten"):
                self.pending.discard(key)
                self.report(0, int(finish == "memory"))

        def report(self, n_total: int, n_done: int) -> None:
            self.unreported[0] += n_total
            self.unreported[1] += n_done
            now = time.monotonic()
            if not self.pending or now - self.reported_at > _EVENT_INTERVAL_S:
                self.scheduler.log_event(topic, tuple(self.unreported))
                self.unreported, self.reported_at = [0, 0], now

    return TaskCounter()


@contextmanager
def _bar(console: Any, name: str, count: Count) -> Iterator[None]:
    """Show a moving bar, and leave it standing when the phase is over."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    count.reset()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tasks"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(name, total=None)
        over = threading.Event()

        def refresh() -> None:
            while not over.wait(0.1):
                bars.update(bar, total=count.n_total or None, completed=count.n_done)

        watcher = threading.Thread(target=refresh, name="chunkstore-progress")
        watcher.start()
        try:
            yield
            bars.update(bar, total=count.n_total, completed=count.n_total)
        finally:
            over.set()
            watcher.join()


@contextmanager
def _line(console: Any, name: str, count: Count) -> Iterator[None]:
    """Print one line when the phase is over: what a log file can hold."""
    count.reset()
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    console.print(f"{name}: {count.n_total} tasks in {seconds:.1f} s", highlight=False)


def _console() -> Any:
    """Give a rich console on standard error, or say how to get rich."""
    try:
        from rich.console import Console
    except ImportError as error:
        raise MissingExtraError(
            "showing progress needs the package rich, which is not installed: "
            "pip install 'chunkstore[cli]', or pass --quiet",
            extra="cli",
        ) from error
    return Console(stderr=True)

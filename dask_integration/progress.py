"""Progress of a job's tasks on the terminal, wherever they run.

Floor 6. A phase is a named part of a job. While it lasts, the tasks that dask starts and ends are
counted: through a callback where they run in threads, through a scheduler plugin on a cluster. On
a terminal that makes a moving bar; into a file or pipe, one line when the phase is over. All goes
to standard error, so that standard output holds only the result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import uuid4

from dask.callbacks import Callback

from chunkstore.errors import MissingExtraError

__all__ = ["Count", "PhaseStarter", "Tally", "counting", "progress"]

_REFRESH_S = 0.2


class PhaseStarter(Protocol):
    """Opens a phase of the given name; it lasts as long as the ``with`` block."""

    def __call__(
        self, name: str, n_bytes: int = 0
    ) -> AbstractContextManager[Callable[[str], None]]:
        """Open a phase that reads so many bytes, where that is known.

        It gives a function that is told what came out of the phase, to be shown at its end.
        """


class Tally(NamedTuple):
    """Tasks that were started with and tasks that have ended, since counting began."""

    n_total: int
    n_done: int

    def since(self, before: Tally) -> Tally:
        """Give what has come since an earlier tally."""
        return Tally(self.n_total - before.n_total, self.n_done - before.n_done)


Count: TypeAlias = Callable[[], Tally]
"""Gives the tally as it is now."""


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
        yield lambda name, n_bytes=0: nullcontext(lambda text: None)
        return
    console = _console()
    with counting(client) as count:
        show = _bar if console.is_terminal else _line
        yield lambda name, n_bytes=0: show(console, name, count, n_bytes)


@contextmanager
def counting(client: Any) -> Iterator[Count]:
    """Count the tasks that dask runs for the length of the block.

    Parameters
    ----------
    client : distributed.Client or None
        As for `progress`. On a shared cluster only this client's tasks are counted.

    Yields
    ------
    callable
        Gives the `Tally` as it is now; on a cluster that asks the scheduler.
    """
    with _counting_threads() if client is None else _counting_cluster(client) as count:
        yield count


@contextmanager
def _counting_threads() -> Iterator[Count]:
    """Count through dask's callbacks, which only its schedulers in this process call."""
    n_total = n_done = 0

    def start_state(graph: Any, state: Any) -> None:
        nonlocal n_total
        n_total += len(state["ready"]) + len(state["waiting"])

    def posttask(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
        nonlocal n_done
        n_done += 1

    with Callback(start_state=start_state, posttask=posttask):
        yield lambda: Tally(n_total, n_done)


@contextmanager
def _counting_cluster(client: Any) -> Iterator[Count]:
    """Count on the scheduler, and ask it for the tally."""
    name = f"chunkstore-progress-{uuid4().hex}"

    def look(dask_scheduler: Any) -> tuple[int, int]:
        counter = dask_scheduler.plugins[name]
        return counter.n_total, counter.n_done

    client.register_plugin(_task_counter(client.id), name=name)
    try:
        yield lambda: Tally(*client.run_on_scheduler(look))
    finally:
        if client.status == "running":
            client.unregister_scheduler_plugin(name)


def _task_counter(client_id: str) -> Any:
    """Make a scheduler plugin that counts the tasks of one client.

    The class is made here, not at the top, for two reasons: its base is in distributed, which
    jobs in threads do without; and a local class is pickled whole, so that it also works on a
    scheduler where this package is not installed.
    """
    from distributed.diagnostics.plugin import SchedulerPlugin

    class TaskCounter(SchedulerPlugin):
        def __init__(self) -> None:
            self.pending: set[Any] = set()
            self.n_total = self.n_done = 0

        def update_graph(
            self, scheduler: Any, *, client: str, tasks: list[Any], **facts: Any
        ) -> None:
            if client == client_id:
                new = {key for key in tasks if scheduler.tasks[key].state != "memory"}
                new -= self.pending
                self.pending |= new
                self.n_total += len(new)

        def transition(self, key: Any, start: str, finish: str, *args: Any, **facts: Any) -> None:
            if key in self.pending and finish in ("memory", "erred", "forgotten"):
                self.pending.discard(key)
                self.n_done += finish == "memory"

    return TaskCounter()


@contextmanager
def _bar(console: Any, name: str, count: Count, n_bytes: int) -> Iterator[Callable[[str], None]]:
    """Show a moving bar, and leave it standing when the phase is over."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("tasks"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    before, started = count(), time.monotonic()
    note = ""

    def tell(text: str) -> None:
        nonlocal note
        note = text

    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(name, total=None, note="")
        over = threading.Event()

        def refresh() -> None:
            # A cluster that is gone ends the job with an error of its own.
            with suppress(OSError, RuntimeError):
                while not over.wait(_REFRESH_S):
                    now = count().since(before)
                    share = now.n_done / now.n_total if now.n_total else 0
                    bars.update(
                        bar,
                        total=now.n_total or None,
                        completed=now.n_done,
                        note=_rate(n_bytes * share, time.monotonic() - started),
                    )

        watcher = threading.Thread(target=refresh, name="chunkstore-progress")
        watcher.start()
        try:
            yield tell
        finally:
            over.set()
            watcher.join()
        seconds, now = time.monotonic() - started, count().since(before)
        bars.update(
            bar,
            total=now.n_total,
            completed=now.n_total,
            note=", ".join(filter(None, (_rate(n_bytes, seconds), note))),
        )


@contextmanager
def _line(console: Any, name: str, count: Count, n_bytes: int) -> Iterator[Callable[[str], None]]:
    """Print one line when the phase is over: what a log file can hold."""
    before, started = count(), time.monotonic()
    notes: list[str] = []
    yield notes.append
    n_tasks = count().since(before).n_total
    seconds = time.monotonic() - started
    done = f"{name}: {n_tasks} tasks in {seconds:.1f} s"
    parts = filter(None, (done, _rate(n_bytes, seconds), *notes))
    console.print(", ".join(parts), highlight=False, soft_wrap=True)


def _rate(n_bytes: float, seconds: float) -> str:
    """Say how fast bytes come in; nothing if there are none.

    Examples
    --------
    >>> _rate(3e9, 2), _rate(0, 2)
    ('1,500 MB/s', '')
    """
    return f"{n_bytes / seconds / 1e6:,.0f} MB/s" if n_bytes and seconds > 0 else ""


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

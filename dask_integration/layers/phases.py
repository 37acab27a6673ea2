"""Where the time of a task goes, told to distributed's dashboard.

Floor 2, member of `layers`. A worker adds up seconds by label, and its dashboard shows them as
"fine performance metrics". A task that reads, computes and writes is told apart like this::

    |read  decode|  compute  |encode  write|
     wait   work                work   wait

Store and codecs take turns within one call, so they are told apart by who ran: seconds that the
thread itself spent in its own code are the codecs' (decode, encode), the rest is the store's (read,
write), with the time the system worked for it or that it waited.

Without a worker around the task nothing is measured. Needs no import of distributed: where a
worker runs, it is loaded.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

__all__ = ["phases", "spanning"]

_THREAD: int | None = getattr(resource, "RUSAGE_THREAD", None)
"""Only Linux counts by thread."""


class _Spent(threading.local):
    """Seconds of the running task that have a label already."""

    task_began_s: float = -1.0
    seconds: float = 0.0


_spent = _Spent()


def spanning(name: str) -> AbstractContextManager[Any]:
    """Give a context in which what a cluster computes is shown as a span of its own.

    Where distributed is not loaded, nothing happens. A span is a mark on tasks and, unlike
    resources and workers, does not keep the scheduler from queuing them.
    """
    distributed: Any = sys.modules.get("distributed")
    span = getattr(distributed, "span", None)
    return nullcontext() if span is None else cast(AbstractContextManager[Any], span(name))


@contextmanager
def phases(waiting: str, working: str, *, ends: bool = False) -> Iterator[None]:
    """Label the time of a block of code within a task.

    Parameters
    ----------
    waiting, working : str
        Labels of the time for the store and for the codecs.
    ends : bool
        Whether the task is over after the block: what came before it and has no label is then
        labelled "compute".

    Examples
    --------
    >>> with phases("read", "decode"):
    ...     sum(range(100))
    4950
    """
    distributed: Any = sys.modules.get("distributed.worker") and sys.modules["distributed"]
    state = None if distributed is None else distributed.utils.thread_state
    task_began_s: float | None = getattr(state, "start_time", None)
    if task_began_s is None or _THREAD is None:
        yield
        return
    if _spent.task_began_s != task_began_s:
        _spent.task_began_s, _spent.seconds = task_began_s, 0.0
    meter = distributed.metrics.context_meter
    if ends:
        # The worker measures by the wall clock.
        _tell(meter, "compute", time.time() - task_began_s - _spent.seconds)
    began_s, worked_s = time.perf_counter(), _own_seconds()
    try:
        yield
    finally:
        worked_s = _own_seconds() - worked_s
        _tell(meter, working, worked_s)
        _tell(meter, waiting, time.perf_counter() - began_s - worked_s)


def _tell(meter: Any, label: str, seconds: float) -> None:
    seconds = max(0.0, seconds)
    _spent.seconds += seconds
    meter.digest_metric(label, seconds, "seconds")


def _own_seconds() -> float:
    assert _THREAD is not None
    return resource.getrusage(_THREAD).ru_utime

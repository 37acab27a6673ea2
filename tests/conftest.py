"""What all tests share: nothing may leak, hypothesis repeats itself, and where real data lies."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Suites that tests of several folders use: their assertions explain themselves too.
pytest.register_assert_rewrite(
    "tests.contracts.codecs", "tests.contracts.pipelines", "tests.contracts.stores"
)

ROOT = Path(__file__).resolve().parents[1]

TASKS = Path("/proc/self/task")
FILES = Path("/proc/self/fd")

GRACE_S = 5.0
"""How long what a test started may take to end after it."""

LASTING_THREADS = {
    r"zarr_io": "zarr-python keeps one event loop for the whole process",
    r"zarr_pool_\d+": "zarr-python keeps one pool for the whole process",
    r"asyncio_\d+": "the worker threads of zarr-python's and distributed's event loops",
    r"fsspecIO": "fsspec keeps one event loop for the whole process",
    r"Dask-Offload_\d+": "distributed keeps one pool for the whole process",
    r"TCP-Executor-.*": "distributed keeps one pool for the whole process",
    r".*Dask-Default-Threads-.*": "a worker that many tests share starts its threads when needed",
    r"Profile": "a worker or scheduler that many tests share starts it after a while",
}
"""Thread names (patterns) that may outlive a test, each with the reason."""

LASTING_PROCESSES = {
    "multiprocessing.resource_tracker": "Python keeps one for the whole process",
    "multiprocessing.forkserver": "Python keeps one for the whole process",
}
"""Parts of command lines of child processes that may outlive a test, each with the reason."""

# Derandomised: a run says of a change, and not of the dice, whether it broke something.
settings.register_profile(
    "chunkstore",
    derandomize=True,
    deadline=None,
    max_examples=100 if os.environ.get("CI") else 50,
)
settings.load_profile("chunkstore")

# A shell that starts a job in the background lets it ignore interrupts, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test needs a screen, and matplotlib must not look for one.
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real data beside the checkout, or skip."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not beside this checkout")
    return folder


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or an open file behind.

    What a fixture of a wider scope starts is there before the test, if the test or its fixtures
    name it as an argument; asked for in the middle of a test it counts as the test's own.
    """
    before = {kind: set(found()) for kind, found in LEAKS.items()}
    yield
    leaked = _leaked(before)
    if leaked:
        # What only a reference cycle holds is freed late, not lost.
        gc.collect()
        end = time.monotonic() + GRACE_S
        while (leaked := _leaked(before)) and time.monotonic() < end:
            time.sleep(0.02)
    if leaked:
        pytest.fail("left behind: " + "; ".join(leaked), pytrace=False)


def _leaked(before: dict[str, set[Any]]) -> list[str]:
    return [
        f"{kind} {name}"
        for kind, found in LEAKS.items()
        for identity, name in found().items()
        if identity not in before[kind]
    ]


def threads() -> dict[Any, str]:
    """Map the running threads that have to end to their names."""
    lasting = _threads_of_dask()
    pattern = "|".join(LASTING_THREADS)
    return {
        thread: thread.name
        for thread in threading.enumerate()
        if thread not in lasting and not re.fullmatch(pattern, thread.name)
    }


def _threads_of_dask() -> set[threading.Thread]:
    """Give the threads of the pools that dask keeps; they have no name of their own."""
    dask_threaded = sys.modules.get("dask.threaded")
    if dask_threaded is None:
        return set()
    pools = [dask_threaded.default_pool]
    for by_size in dask_threaded.pools.values():
        pools += by_size.values()
    return {thread for pool in pools for thread in getattr(pool, "_threads", ())}


def child_processes() -> dict[Any, str]:
    """Map the running child processes that have to end to their command lines."""
    if not TASKS.is_dir():
        return {child: child.name for child in multiprocessing.active_children()}
    pids: list[str] = []
    for path in TASKS.glob("*/children"):
        # A thread may end between the listing and the reading.
        with suppress(OSError):
            pids += path.read_text().split()
    running = {pid: _command_line(pid) for pid in pids if not _has_ended(pid)}
    return {
        pid: command
        for pid, command in running.items()
        if not any(part in command for part in LASTING_PROCESSES)
    }


def _has_ended(pid: str) -> bool:
    """Say whether a process is gone, or only waits for its parent to ask how it ended."""
    with suppress(OSError):
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _command_line(pid: str) -> str:
    """Give the command line of a process; one that is just starting has none yet."""
    with suppress(OSError):
        raw = Path("/proc", pid, "cmdline").read_bytes()
        return f"{pid} {raw.replace(bytes(1), b' ').decode(errors='replace').strip()}"
    return pid


def open_files() -> dict[Any, str]:
    """Map the open files in the folder for temporary ones to their paths; needs ``/proc``."""
    folder = Path(tempfile.gettempdir()).resolve()
    found = {}
    for link in FILES.glob("*"):
        # The listing itself is open while it runs.
        with suppress(OSError):
            target = os.readlink(link)
            # An environment may lie there too; libraries keep some of their files open.
            if target.startswith(f"{folder}/") and not target.startswith(f"{sys.prefix}/"):
                found[link.name, target] = target
    return found


LEAKS: dict[str, Callable[[], dict[Any, str]]] = {
    "thread": threads,
    "process": child_processes,
    "open file": open_files,
}

"""Local stores lose nothing when processes that write are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import LocalStore

CHECKOUT = Path(__file__).parents[2]
N_PROCESSES = 4

UPDATE = """
import sys
import chunkstore as cs

a = cs.open_array(sys.argv[1], path="x", mode="r+", options=cs.Options(n_threads=1))
sys.stdin.readline()
for i in range(int(sys.argv[2]), a.size, int(sys.argv[3])):
    a[i] = i + 1  # A part of the one chunk that all elements share.
    print(i, flush=True)
"""

APPEND = """
import sys
import chunkstore as cs

me, n = int(sys.argv[2]), int(sys.argv[3])
a = cs.open_array(sys.argv[1], path="x", mode="r+", options=cs.Options(n_threads=1))
sys.stdin.readline()
for i in range(n, 10_000):
    a.append([[me, i]] * 3)
    a.attrs[f"{me}-{i}"] = True
    print(i, flush=True)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that runs some code when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def kill(process: subprocess.Popen[str]) -> list[int]:
    """Kill a process in whatever it is doing; gives what it had reported as done."""
    process.send_signal(signal.SIGKILL)
    return finish(process)


def finish(process: subprocess.Popen[str]) -> list[int]:
    """Wait for the end of a process; gives what it reported as done."""
    assert process.stdin is not None
    assert process.stdout is not None
    lines = process.stdout.read().split("\n")[:-1]
    process.wait()
    process.stdin.close()
    process.stdout.close()
    return [int(line) for line in lines]


def test_thousand_contended_updates(tmp_path: Path) -> None:
    """Of 1,000 updates of parts of one chunk by 4 processes, killed at random, none is lost."""
    n = 1000
    dice = random.Random(4)
    store = LocalStore(tmp_path / "store")
    a = cs.create_array(store, name="x", shape=n, dtype="i4", chunks=n)
    nexts = list(range(N_PROCESSES))
    running = {me: start(UPDATE, store.root, me, N_PROCESSES) for me in range(N_PROCESSES)}
    for _ in range(10):
        time.sleep(dice.uniform(0.1, 0.4))
        me = dice.randrange(N_PROCESSES)
        done = kill(running[me])
        if done:
            # What is still to do: the update it died in was done as a whole or not at all.
            nexts[me] = done[-1] + N_PROCESSES
            assert all(a[i] == i + 1 for i in done)
        running[me] = start(UPDATE, store.root, nexts[me], N_PROCESSES)
    for process in running.values():
        finish(process)
    assert np.array_equal(a[...], np.arange(1, n + 1))
    cs.clean(store, dry_run=False)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["store/x/c/0", "store/x/zarr.json", "store/zarr.json"]


def test_appends_and_attributes_of_killed_processes(tmp_path: Path) -> None:
    """What killed processes said they had appended is there, in full, and so are attributes."""
    dice = random.Random(5)
    store = LocalStore(tmp_path / "store")
    cs.create_array(store, name="x", shape=(0, 2), dtype="i4", chunks=(16, 2), fill_value=-1)
    said: set[tuple[int, int]] = set()
    nexts = [0] * N_PROCESSES
    running = {me: start(APPEND, store.root, me, 0) for me in range(N_PROCESSES)}
    for turn in range(8):
        me = turn % N_PROCESSES
        process = running.pop(me)
        assert process.stdout is not None
        done = [int(process.stdout.readline()) for _ in range(dice.randint(1, 3))]
        time.sleep(dice.uniform(0, 0.03))
        done += kill(process)
        said.update((me, i) for i in done)
        # One more may have been done without being reported.
        nexts[me] = done[-1] + 2
        if turn < 4:
            running[me] = start(APPEND, store.root, me, nexts[me])
    assert said
    a = cs.open_array(store, path="x", mode="r")
    rows = [tuple(row) for row in a[...].tolist()]
    blocks = [rows[i : i + 3] for i in range(0, len(rows), 3)]
    assert all(len(set(block)) == 1 for block in blocks)
    found = [block[0] for block in blocks]
    assert len(found) == len(set(found))
    assert said <= set(found)
    assert (-1, -1) not in found
    assert {f"{me}-{i}" for me, i in said} <= set(a.attrs)


def test_handles_through_different_roots(tmp_path: Path) -> None:
    """An array is the same one, whichever folder above it a process opened: nothing is lost."""
    places = [(tmp_path, "g/x"), (tmp_path / "g", "x"), (tmp_path / "g" / "x", "")]
    made = cs.create_array(tmp_path, name="g/x", shape=(0, 2), dtype="i4", chunks=(50, 2))
    code = APPEND.replace("10_000", "15").replace('path="x"', "path=sys.argv[4]")
    running = [start(code, root, me, 0, path) for me, (root, path) in enumerate(places)]
    assert [finish(process) for process in running] == [list(range(15))] * 3
    made.refresh()
    expected = sorted([me, i] for me in range(3) for i in range(15) for _ in range(3))
    assert sorted(made[...].tolist()) == expected
    assert len(made.attrs) == 45


WRITE = """
import os, signal, sys
import chunkstore.stores.local as local

name = sys.argv[2]
real = getattr(os, name)
def killed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, name, killed)
store = local.LocalStore(sys.argv[1], fsync=True)
change = {
    "delete": lambda: store.delete_prefix("a/"),
    "set": lambda: store.set("a/b", b"new" * 100000),
    "update": lambda: store.update("a/b", lambda old: b"new"),
}[sys.argv[3]]
change()
"""


@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("write", "set"),
        ("fsync", "set"),
        ("replace", "set"),
        ("replace", "update"),
        ("unlink", "update"),
        ("rename", "delete"),
        ("unlink", "delete"),
    ],
)
def test_killed_at_every_step(tmp_path: Path, step: str, change: str) -> None:
    """Killed before any step of a change, the value is the old or the new one; none lists more."""
    store = LocalStore(tmp_path)
    store.set("a/b", b"old")
    store.set("c", b"stays")
    subprocess.run(
        [sys.executable, "-c", WRITE, store.root, step, change], cwd=CHECKOUT, check=False
    )
    new = {"set": b"new" * 100000, "update": b"new", "delete": None}[change]
    value = store.get("a/b")
    assert value in (b"old", new)
    assert sorted(store.list_prefix()) == (["c"] if value is None else ["a/b", "c"])
    store.update("a/b", lambda old: b"again")  # No lock stays behind.
    cs.clean(store, dry_run=False)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["b", "c"]

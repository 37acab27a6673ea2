"""What a benchmark is: rows of contenders that do the same work, and how they are measured.

A row is one piece of work. Each of its contenders runs in a process of its own (`worker`), started
for this row, so that no library's threads, caches or heap touch another's. The processes take
turns: first a round that is not timed, in which the result is checked and the peak of memory is
taken; then rounds that are timed, each beginning with another contender (A B C, B C A, ...). What
else the machine does hits all alike, and ratios hold where seconds do not. Where much else runs,
the ratio of the best rounds and the processor time of each contender say more than the medians.

Memory is the most that the process held at once while it ran the work for the first time, less
what it held before: after each library was imported and the array opened. On Linux the kernel
counts it (``VmHWM``, reset by writing to ``/proc/self/clear_refs``); elsewhere it is the growth of
the process's largest size (``ru_maxrss``).

A contender whose result is wrong fails, and so does the run; one that is not installed, or cannot
do the work, stays in the table and says why.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import importlib
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.benchmarks.processes import Worker, WorkerError

__all__ = ["CannotError", "Contender", "Measure", "Outcome", "Result", "Row", "Scale", "measure"]

OURS = "chunkstore"
FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Scale:
    """How large the work is and where its data lie.

    ``n_bytes`` is the size of the main arrays; ``rounds`` the timed rounds of a row, of which at
    least three are run however long they take, and no more once a row has taken ``row_s``.
    """

    folder: Path
    n_bytes: int = 512 << 20
    rounds: int = 5
    row_s: float = 30.0
    cpus: int = field(default_factory=lambda: len(_cpus()))

    def part(self, of: float) -> int:
        """Give a number that was `of` at full size, smaller as the scale is; at least 1."""
        return max(1, round(of * self.n_bytes / (512 << 20)))

    def to_json(self) -> str:
        """Give it as text for a worker."""
        return json.dumps({**asdict(self), "folder": str(self.folder)})

    @classmethod
    def from_json(cls, text: str) -> Scale:
        """Read what `to_json` gave."""
        values = json.loads(text)
        return cls(**{**values, "folder": Path(values["folder"])})


class CannotError(Exception):
    """Raised by a contender's `prepare`: the library has no way to do this work, and why."""


@dataclass(frozen=True)
class Measure:
    """What `run` returns where the figure is not the time it took: a value in the row's unit."""

    value: float
    result: Any = None


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a row.

    Parameters
    ----------
    name : str
        ``chunkstore`` for ours.
    prepare : function
        Imports the library, opens what is needed, and gives the function that is timed. It runs in
        the contender's own process.
    kind : {"peer", "limit"}
        A limit is no contender but what the machine allows: it counts in no ratio's best peer.
    needs : tuple of str
        Modules without which it is listed as not installed.
    clear : function, optional
        Run before and after each turn, outside the timed part.
    check : function, optional
        In place of the row's.
    note : str
        What a reader must know: another codec, other threads.
    """

    name: str
    prepare: Callable[[], Callable[[], Any]]
    kind: Literal["peer", "limit"] = "peer"
    needs: tuple[str, ...] = ()
    clear: Callable[[], Any] | None = None
    check: Callable[[Any], str | None] | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One piece of work that all contenders do.

    Parameters
    ----------
    name : str
        Unique within the topic.
    what : str
        What is measured, for the reader: sizes, chunks, codec.
    contenders : sequence of Contender
    check : function, optional
        Raises if a result is wrong; run in the contender's process in the first and last round.
        Text that it returns, such as an error, stands beside the figure.
    make : function, optional
        Writes the data that are read, unless they are there; run once, in a process of its own.
    around : function, optional
        Gives a context manager that holds while the row is measured, such as a service.
    operations : int
        How many of the named thing one run does: the time is divided by it.
    threads : int, optional
        Processors that every contender's process may run on; all by default.
    rounds : int, optional
        Timed rounds at most, for work that takes long.
    unit : str
        ``s``, ``B``, or another, of which the figures are.
    goal : float, optional
        Ratio of the best peer's figure to ours that is to be reached.
    against : str, optional
        The contender that the goal is about, if not the best peer.
    at_most : float, optional
        Figure, in the unit, that ours is to stay within.
    memory_at_most : float, optional
        Bytes that ours is to stay within.
    """

    name: str
    what: str
    contenders: Sequence[Contender]
    check: Callable[[Any], str | None] | None = None
    make: Callable[[], Any] | None = None
    around: Callable[[], contextlib.AbstractContextManager[Any]] | None = None
    operations: int = 1
    threads: int | None = None
    rounds: int | None = None
    unit: str = "s"
    goal: float | None = None
    against: str | None = None
    at_most: float | None = None
    memory_at_most: float | None = None


@dataclass
class Result:
    """What one contender measured, or why it did not."""

    name: str
    kind: str = "peer"
    state: str = "measured"
    """``measured``, ``not installed``, ``cannot``, ``wrong`` or ``failed``."""
    note: str = ""
    values: list[float] = field(default_factory=list)
    """The figure of each timed round, in the row's unit for one operation."""
    memory_bytes: int | None = None
    cpu_s: list[float] = field(default_factory=list)
    """Processor seconds of each timed round, for one operation, of the contender's process; 0 where
    the figure is not the run's time."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_measured(self) -> bool:
        return self.state == "measured" and bool(self.values)


@dataclass
class Outcome:
    """The results of one row."""

    topic: str
    name: str
    what: str
    unit: str
    goal: float | None
    at_most: float | None
    memory_at_most: float | None
    results: list[Result]
    against: str | None = None
    noise: list[float] = field(default_factory=list)
    """Seconds of the calibrating loop before and after the row."""

    @property
    def ours(self) -> Result | None:
        return next((r for r in self.results if r.name == OURS and r.is_measured), None)

    @property
    def best_peer(self) -> Result | None:
        """The measured peer with the lowest median, or the one that the goal is about."""
        peers = [r for r in self.results if r.kind == "peer" and r.name != OURS and r.is_measured]
        if self.against is not None:
            return next((r for r in peers if r.name == self.against), None)
        return min(peers, key=lambda r: r.median, default=None)

    def ratio(
        self, other: Result | None, of: Callable[[list[float]], float] = statistics.median
    ) -> float | None:
        """Give another's median, or other statistic, over ours: above 1, ours is better."""
        if other is None or not other.is_measured or self.ours is None or not of(self.ours.values):
            return None
        return of(other.values) / of(self.ours.values)

    def cpu_ratio(self, other: Result | None) -> float | None:
        """Give another's processor time over ours: which does less, however busy the machine."""
        ours = self.ours
        if other is None or not other.is_measured or ours is None:
            return None
        mine = statistics.median(ours.cpu_s)
        return statistics.median(other.cpu_s) / mine if mine else None

    def ratio_range(self, other: Result | None) -> tuple[float, float] | None:
        """Give the smallest and largest ratio of one round, ours and the other's side by side."""
        if other is None or not other.is_measured or self.ours is None:
            return None
        pairs = zip(other.values, self.ours.values, strict=False)
        ratios = [theirs / ours for theirs, ours in pairs if ours]
        return (min(ratios), max(ratios)) if ratios else None

    def shortfalls(self) -> list[str]:
        """Say which of the row's figures are not reached, and by how much; empty if all are."""
        ours, ratio = self.ours, self.ratio(self.best_peer)
        if ours is None:
            return ["ours was not measured"]
        found = []
        if self.goal is not None and ratio is not None and ratio < self.goal:
            found.append(f"ratio {ratio:.2f} < {self.goal:g}")
        if self.at_most is not None and ours.median > self.at_most:
            found.append(f"{ours.median:.3g} {self.unit} > {self.at_most:.3g}")
        held, allowed = ours.memory_bytes, self.memory_at_most
        if allowed is not None and held is not None and held > allowed:
            found.append(f"memory {held / 2**20:.0f} MiB > {allowed / 2**20:.0f}")
        return found

    def failures(self) -> list[str]:
        """Say which contenders failed or gave a wrong result."""
        return [
            f"{self.topic}: {self.name}: {r.name}: {r.state}: {r.note}"
            for r in self.results
            if r.state in ("failed", "wrong")
        ]


def topics() -> list[str]:
    """Give the names of all topics: the files bench_NAME.py beside this one."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def rows_of(topic: str, scale: Scale) -> list[Row]:
    """Give the rows of a topic; one that is no file here is named as a module, with dots."""
    name = topic if "." in topic else f"tests.benchmarks.bench_{topic}"
    rows: list[Row] = importlib.import_module(name).rows(scale)
    return rows


def matches(pattern: str, topic: str, row: Row) -> bool:
    """Say whether a pattern names a row: part of ``topic: name``, ``*`` for anything between."""
    return fnmatch.fnmatch(f"{topic}: {row.name}".lower(), f"*{pattern.lower()}*")


def measure(topic: str, row: Row, scale: Scale) -> Outcome:
    """Measure a row: all contenders, in turns."""
    outcome = Outcome(
        topic, row.name, row.what, row.unit, row.goal, row.at_most, row.memory_at_most, [],
        row.against,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        if row.around is not None:
            stack.enter_context(row.around())
        if row.make is not None:
            made = Result("make")
            with _recorded(made), Worker(topic, row.name, "", scale) as maker:
                maker.ask("make")
            if made.state != "measured":
                outcome.results.append(made)
                return outcome
        outcome.noise.append(calibration_s())
        running = list(_started(topic, row, scale, outcome, stack))
        _take_turns(running, row, scale)
    outcome.noise.append(calibration_s())
    return outcome


def _started(
    topic: str, row: Row, scale: Scale, outcome: Outcome, stack: contextlib.ExitStack
) -> Iterator[tuple[Result, Worker]]:
    """Start the workers of a row together; then let each run once, alone."""
    workers = []
    for contender in row.contenders:
        result = Result(contender.name, contender.kind, note=contender.note)
        outcome.results.append(result)
        missing = [name for name in contender.needs if importlib.util.find_spec(name) is None]
        if missing:
            result.state, result.note = "not installed", ", ".join(missing)
            continue
        worker = Worker(topic, row.name, contender.name, scale, row.threads)
        workers.append((result, stack.enter_context(worker)))
    for result, worker in workers:
        with _recorded(result):
            worker.ask("prepare")
            answer = worker.ask("first")
            result.memory_bytes = answer["memory_bytes"]
            result.note = "; ".join(filter(None, [answer["note"], result.note]))
            yield result, worker


def _take_turns(running: list[tuple[Result, Worker]], row: Row, scale: Scale) -> None:
    start, n_left = time.monotonic(), min(scale.rounds, row.rounds or scale.rounds)
    for turn in range(n_left):
        n_left -= 1
        if turn >= 2 and time.monotonic() - start > scale.row_s:
            n_left = 0
        at = turn % max(1, len(running))
        for result, worker in running[at:] + running[:at]:
            if result.state == "measured":
                with _recorded(result):
                    answer = worker.ask("round" if n_left else "last")
                    result.values.append(answer["value"] / row.operations)
                    result.cpu_s.append(answer["cpu_s"] / row.operations)
        if not n_left:
            break


@contextlib.contextmanager
def _recorded(result: Result) -> Iterator[None]:
    try:
        yield
    except WorkerError as error:
        result.state, result.note = error.state, str(error)


def calibration_s() -> float:
    """Time a fixed piece of work: how fast the machine is just now."""
    block = bytes(1 << 20)
    start = time.perf_counter()
    for _ in range(32):
        hashlib.sha1(block, usedforsecurity=False)
    return time.perf_counter() - start


def _cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))

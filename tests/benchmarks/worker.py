"""A contender's own process: answers the questions of `processes.Worker`.

``prepare`` makes it ready, ``first`` runs it, checks the result and takes the peak of memory,
``round`` times it, ``last`` times and checks it. ``make`` writes the data of the row instead.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import CannotError, Contender, Measure, Row, Scale, rows_of

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


class WrongError(Exception):
    """The result of a contender is not the right one."""


class Answers:
    """What a worker does for each question."""

    def __init__(self, row: Row, contender: Contender | None) -> None:
        self._row, self._contender = row, contender
        self._run: Callable[[], Any] | None = None

    def make(self) -> dict[str, Any]:
        assert self._row.make is not None
        self._row.make()
        return {}

    def prepare(self) -> dict[str, Any]:
        assert self._contender is not None
        self._run = self._contender.prepare()
        return {}

    def first(self) -> dict[str, Any]:
        return self._turn(check=True)

    def round(self) -> dict[str, Any]:
        return self._turn(check=False)

    def last(self) -> dict[str, Any]:
        return self._turn(check=True)

    def _turn(self, *, check: bool) -> dict[str, Any]:
        assert self._run is not None
        assert self._contender is not None
        clear = self._contender.clear or (lambda: None)
        clear()
        gc.collect()
        before = reset_peak()
        start, cpu_start = time.perf_counter(), time.process_time()
        result = self._run()
        value, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        memory_bytes = peak_bytes() - before
        if isinstance(result, Measure):
            # The processor time of the run is not that of the value.
            value, result, cpu_s = result.value, result.result, 0.0
        note = self._check(result) if check else None
        clear()
        return {
            "value": value,
            "cpu_s": cpu_s,
            "memory_bytes": max(0, memory_bytes),
            "note": note,
        }

    def _check(self, result: Any) -> str | None:
        assert self._contender is not None
        check = self._contender.check
        if check is None and self._contender.kind == "peer":
            check = self._row.check
        if check is not None:
            try:
                return check(result)
            except Exception as error:
                raise WrongError(_summary(error)) from error
        return None


def reset_peak() -> int:
    """Begin to count the peak of memory anew; give what is held now, in bytes."""
    with contextlib.suppress(OSError):
        RESET.write_text("5")
        return _status_bytes("VmRSS")
    return peak_bytes()


def peak_bytes() -> int:
    """Give the most bytes that were held at once."""
    if STATUS.exists():
        return _status_bytes("VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status_bytes(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {name}")


def _summary(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {' '.join(text)[:300]}" if text else type(error).__name__


def main() -> None:
    """Answer questions until there are no more."""
    topic, row_name, contender_name, scale, threads, answers = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        # The same processors for all, whatever a library makes of its own settings.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    row = next(r for r in rows_of(topic, Scale.from_json(scale)) if r.name == row_name)
    contender = next((c for c in row.contenders if c.name == contender_name), None)
    known = Answers(row, contender)
    with os.fdopen(int(answers), "w") as out:
        for question in sys.stdin:
            try:
                answer = getattr(known, question.strip())()
            except Exception as error:
                traceback.print_exc()
                states = {CannotError: "cannot", WrongError: "wrong"}
                state = states.get(type(error), "failed")
                text = _summary(error) if state == "failed" else str(error)
                answer = {"state": state, "error": text}
            out.write(json.dumps(answer) + "\n")
            out.flush()


if __name__ == "__main__":
    main()

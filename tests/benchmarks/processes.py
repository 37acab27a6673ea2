"""The parent's side of a contender's process: start it, ask it, end it.

One question at a time goes to its standard input, as a line; the answer is a line of JSON on a
pipe of its own, so that whatever a library prints disturbs nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.benchmarks.harness import Scale

__all__ = ["Worker", "WorkerError"]

ROOT = Path(__file__).resolve().parents[2]
ANSWER_S = 300.0
"""A contender that says nothing for so long is taken for stuck."""


class WorkerError(Exception):
    """A contender did not answer a question; ``state`` is what becomes of it in the table."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


class Worker:
    """A process that runs one contender; a context manager that ends it and its children."""

    def __init__(
        self, topic: str, row: str, contender: str, scale: Scale, threads: int | None = None
    ) -> None:
        threads = threads or scale.cpus
        answers, theirs = os.pipe()
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (see __exit__)
        environment = {
            **os.environ,
            **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")},
            "PYTHONPATH": str(ROOT),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.worker", topic, row, contender,
             scale.to_json(), str(threads), str(theirs)],
            stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, text=True,
            pass_fds=[theirs], cwd=ROOT, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._answers = os.fdopen(answers)

    def __enter__(self) -> Worker:
        return self

    def ask(self, question: str) -> dict[str, Any]:
        """Put a question and wait for the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended: the empty answer below says so.
        if not select.select([self._answers], [], [], ANSWER_S)[0]:
            raise WorkerError("failed", f"no answer to {question!r} within {ANSWER_S:.0f} s")
        line = self._answers.readline()
        if not line:
            raise WorkerError("failed", f"the process ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["state"], answer["error"])
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return lines[-1] if lines else f"exit status {self._process.wait(ANSWER_S)}"

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        # Nothing that it started outlives it; it is in a session of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait()
        self._answers.close()
        self._log.close()

"""Processes to be killed or interrupted in the middle of their work."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

PREAMBLE = """
import sys
import numpy as np
import chunkstore as cs

folder = sys.argv[1]

def ready():
    print("ready", flush=True)
"""


@contextlib.contextmanager
def running(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run code in a process of its own, up to where it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code, str(folder)],
        cwd=CHECKOUT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if line != "ready\n":
                assert process.stderr is not None
                raise AssertionError(line + process.stderr.read())
            yield process
        finally:
            process.kill()


def kill(code: str, folder: Path, *, after_s: float) -> None:
    """Run code and kill the process some time after it is ready, as no handler can prevent."""
    with running(code, folder) as process:
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def moments(n: int, *, most_s: float) -> list[float]:
    """Give times to kill at, the same in every run."""
    dice = random.Random(n)
    return [round(dice.random() * most_s, 4) for _ in range(n)]


def files(folder: Path) -> list[str]:
    """List all files below a folder, temporary ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

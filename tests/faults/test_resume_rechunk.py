"""Jobs of rechunking that are killed leave, resumed, the bytes of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import NodeNotFoundError
from dask_integration import RechunkReport, is_complete, ledger, rechunk
from tests.faults.victims import CHECKOUT, files

VALUES = np.arange(48 * 36, dtype="i4").reshape(48, 36)


def run(folder: Path, method: Any, **how: Any) -> RechunkReport:
    """Rechunk columns to rows, in more tasks than a job of this size would have."""
    report = rechunk(
        folder / "source",
        folder / "out",
        path="y",
        chunks=(2, 36),
        memory=2_500,
        method=method,
        **how,
    )
    assert isinstance(report, RechunkReport)
    return report


def run_and_die(folder: Path, method: Any, n_regions: int) -> None:
    """Run the job, resumed where it can be, and be killed after so many regions."""
    # Every receipt is stored at once, so that it is known what has to be finished.
    ledger._PAUSE_S = 0.0
    plain = cs.Array.write
    n_left = n_regions

    def write_or_die(array: cs.Array, selection: Any, value: Any) -> None:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        plain(array, selection, value)

    cs.Array.write = write_or_die  # type: ignore[method-assign]
    run(folder, method, resume=True)


def kill(folder: Path, method: str, n_regions: int) -> None:
    code = "import sys, pathlib\nfrom tests.faults.test_resume_rechunk import run_and_die\n"
    code += f"run_and_die(pathlib.Path(sys.argv[1]), {method!r}, {n_regions})"
    ended = subprocess.run([sys.executable, "-c", code, folder], cwd=CHECKOUT, check=False)
    assert ended.returncode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    cs.clean(folder / "out", dry_run=False)
    return {name: (folder / "out" / name).read_bytes() for name in files(folder / "out")}


@pytest.mark.parametrize(
    ("method", "kills"), [("direct", [0.5]), ("staged", [0.25]), ("staged", [0.25, 0.5])]
)
def test_a_killed_job_is_resumed(tmp_path: Path, method: Any, kills: list[float]) -> None:
    """Killed at any stage, also when resumed, a job does only what is left, and leaves nothing."""
    cs.create_array(tmp_path / "source", data=VALUES, chunks=(48, 3))
    n_tasks = run(tmp_path, method).n_tasks
    undisturbed = contents(tmp_path)
    cs.LocalStore(tmp_path / "out").delete_prefix("")
    for share in kills:
        kill(tmp_path, method, int(share * n_tasks))
        assert not is_complete(tmp_path / "out", "y")
        with pytest.raises(NodeNotFoundError):
            cs.open_array(tmp_path / "out", path="y", mode="r")
    report = run(tmp_path, method, resume=True)
    # What two threads had begun when they were killed may have to be done again.
    assert report.n_resumed >= sum(int(share * n_tasks) - 2 for share in kills)
    assert report.n_resumed > 0
    assert report.n_tasks + report.n_resumed == report.plan.n_tasks == n_tasks
    assert contents(tmp_path) == undisturbed
    assert is_complete(tmp_path / "out", "y")

"""Decompositions that were interrupted: passes that were complete are not made again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.io import from_store
from dask_integration.passes import Pass
from dask_integration.scaler import StandardScaler
from dask_integration.svd import SVD, svd

VALUES = np.random.default_rng(0).integers(-50, 50, (600, 90)).astype(np.int8)


@pytest.fixture(autouse=True)
def synchronous() -> Iterator[None]:
    """Tests run in one thread."""
    with dask.config.set(scheduler="synchronous"):
        yield


class Interrupted:
    """Counts reads of a block, and watches passes until one too many begins."""

    def __init__(self, values: NDArray[Any] = VALUES) -> None:
        self.reads: Counter[str] = Counter()
        self.told: list[tuple[str, Pass, int | None]] = []
        self.n_left = 99
        x = da.from_array(values, chunks=(100, 90))
        self.x = x.map_blocks(self.read, dtype=x.dtype, meta=values[:0, :0])

    def read(self, block: NDArray[Any]) -> NDArray[Any]:
        self.reads["blocks"] += 1
        return block

    @contextmanager
    def watch(self, name: str, n_bytes: int) -> Iterator[Callable[[Pass, int | None], None]]:
        assert n_bytes == self.x.nbytes
        self.n_left -= 1
        if self.n_left < 0:
            raise KeyboardInterrupt
        yield lambda one, to_go: self.told.append((name, one, to_go))

    def run(self, n_passes: int = 99, **arguments: Any) -> SVD:
        self.n_left = n_passes
        return svd(self.x, 4, progress=self.watch, **arguments)


def assert_equal(first: SVD, second: SVD) -> None:
    for one, other in zip(dask.compute(*first), dask.compute(*second), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.residuals, second.residuals)
    assert first.total == second.total


@pytest.mark.parametrize("n_before", [1, 3])
@pytest.mark.parametrize("scaler", [None, StandardScaler(1), StandardScaler(0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_krylov_goes_on_from_the_last_pass(
    tmp_path: Path, n_before: int, scaler: StandardScaler | None, dtype: str
) -> None:
    """The rest of the passes is made, each block read once in each; the result is the same."""
    arguments = {"method": "krylov", "scaler": scaler, "dtype": dtype}
    whole = Interrupted().run(**arguments)
    job = Interrupted()
    arguments["checkpoint"] = tmp_path / "passes"
    with pytest.raises(KeyboardInterrupt):
        job.run(n_before, **arguments)
    assert job.reads["blocks"] == 6 * n_before
    resumed = job.run(**arguments)
    assert job.reads["blocks"] == 6 * whole.passes
    assert resumed.passes == whole.passes
    assert_equal(whole, resumed)
    assert [one for _, one, _ in job.told] == list(resumed.history)

    job.reads.clear()
    assert_equal(job.run(**arguments), resumed)
    # The tall factor is never kept: it was computed twice here.
    assert job.reads["blocks"] == 12


@pytest.mark.parametrize("scaler", [None, StandardScaler(0)])
def test_gram_is_kept_too(tmp_path: Path, scaler: StandardScaler | None) -> None:
    """After its one pass (two with statistics) only the tall factor is left to compute."""
    job = Interrupted()
    first = job.run(method="gram", scaler=scaler, checkpoint=tmp_path / "passes")
    n_passes = 1 if scaler is None else 2
    assert job.reads["blocks"] == 6 * n_passes
    assert [name for name, _, _ in job.told][-1] == f"pass {n_passes}, gram"
    again = job.run(0, method="gram", scaler=scaler, checkpoint=tmp_path / "passes")
    assert job.reads["blocks"] == 6 * n_passes
    assert_equal(first, again)


def test_a_switch_to_float64_is_kept(tmp_path: Path) -> None:
    """A job that was interrupted after it left float32 does not go back to it."""
    steep = (VALUES // 40 + 100).astype(np.int8)
    whole = Interrupted(steep).run(method="krylov")
    assert [one.dtype for one in whole.history][:2] == ["float32", "float64"]
    job = Interrupted(steep)
    with pytest.raises(KeyboardInterrupt):
        job.run(1, method="krylov", checkpoint=tmp_path / "passes")
    resumed = job.run(method="krylov", checkpoint=tmp_path / "passes")
    assert [one.dtype for one in resumed.history] == [one.dtype for one in whole.history]
    assert_equal(whole, resumed)


def test_data_that_changed_in_between_are_refused(tmp_path: Path) -> None:
    """A checkpoint of other values of the same shape is not gone on with."""
    job = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        job.run(2, method="krylov", checkpoint=tmp_path / "passes")
    with pytest.raises(InvalidArgumentError, match="changed while it was read"):
        Interrupted(VALUES // 2).run(method="krylov", checkpoint=tmp_path / "passes")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "gram"}, "method 'krylov'; this one has method 'gram'"),
        ({"seed": 1}, "seed 0"),
        ({"tol": 1e-3}, "tol 0.0001"),
        ({"scaler": StandardScaler(1)}, "scaling None"),
        ({"n_oversamples": 5}, "width 14"),
    ],
)
def test_a_checkpoint_of_another_job_is_refused(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    """Whatever the state depends on must be the same."""
    job = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        job.run(1, method="krylov", checkpoint=tmp_path / "passes")
    with pytest.raises(InvalidArgumentError, match=words):
        job.run(**({"method": "krylov", "checkpoint": tmp_path / "passes"} | arguments))


SCRIPT = """
import os, signal, sys
from contextlib import contextmanager
from dask_integration import from_store, svd

@contextmanager
def watch(name, n_bytes):
    if name.startswith("pass " + sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    yield lambda one, to_go: None

svd(from_store("x.zarr"), 4, method="krylov", checkpoint="passes", progress=watch)
"""


def test_a_killed_process_loses_one_pass(tmp_path: Path) -> None:
    """After kill -9 in the middle of the job another process goes on from its last pass."""
    cs.create_array(tmp_path / "x.zarr", data=VALUES, chunks=(100, 90))
    root = Path(__file__).resolve().parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, "4"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kept = cs.open_group(tmp_path / "passes", mode="r").attrs["record"]["history"]
    assert [one["number"] for one in kept] == [1, 2, 3]
    x = from_store(tmp_path / "x.zarr")
    resumed = svd(x, 4, method="krylov", checkpoint=tmp_path / "passes")
    # Their seconds tell that they are the same passes.
    assert [one.to_json() for one in resumed.history[:3]] == [
        Pass.from_json(one).to_json() for one in kept
    ]
    whole = svd(x, 4, method="krylov")
    assert resumed.passes == whole.passes > 3
    assert_equal(whole, resumed)

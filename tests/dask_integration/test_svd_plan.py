"""Plans of decompositions: the method that fits, the axis whose bands are small, honest bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Blocks
from dask_integration.svd_plan import LIBRARY_BYTES, SVDPlan, plan_svd


def plan(blocks: Blocks, **arguments: Any) -> SVDPlan:
    return plan_svd(blocks, **({"item_bytes": 1, "k": 20, "n_oversamples": 10} | arguments))


def regular(extent: int, size: int) -> tuple[int, ...]:
    return (size,) * (extent // size)


def test_auto_takes_gram_while_its_matrix_is_small() -> None:
    """Up to 4,096 on the smaller side, whichever that is."""
    for n, method in ((4096, "gram"), (4097, "krylov")):
        for axis, blocks in ((1, (regular(10**6, 1000), (n,))), (0, ((n,), regular(10**6, 1000)))):
            found = plan(blocks)
            assert (found.method, found.contracted) == (method, axis)


def test_the_side_that_blocks_span_is_taken_when_bands_would_be_huge() -> None:
    """Blocks of whole long rows are not merged to one band that holds the whole array."""
    wide = (regular(20_000, 40), (50_000,))
    for method in ("auto", "krylov"):
        found = plan(wide, method=method)
        assert (found.method, found.contracted, found.n) == ("krylov", 1, 50_000)
    assert plan(((1000,), regular(500_000, 20_000))).method == "gram"


@pytest.mark.parametrize("memory", [550, 650, 1000])
def test_a_plan_stays_within_the_memory_that_it_was_given(memory: int) -> None:
    """In MB: fewer mean a smaller basis, never less than one that converges."""
    found = plan((regular(20_000, 40), (50_000,)), n_threads=2, memory=memory * 10**6)
    assert found.held_bytes + LIBRARY_BYTES <= memory * 10**6
    assert found.max_columns >= 80


def test_memory_decides_against_gram() -> None:
    """Where the square matrix does not fit, passes are made."""
    blocks = (regular(10**6, 1000), (4000,))
    assert plan(blocks, n_threads=2).method == "gram"
    assert plan(blocks, n_threads=2, memory=500 * 10**6).method == "krylov"
    with pytest.raises(InvalidArgumentError, match="method 'gram'"):
        plan(blocks, n_threads=2, memory=500 * 10**6, method="gram")


def test_what_never_fits_is_refused_with_what_would() -> None:
    """The message has a number that works."""
    blocks = (regular(10**6, 100_000), (1000,))
    with pytest.raises(InvalidArgumentError, match=r"side by side need (\d+)") as caught:
        plan(blocks, n_threads=4, memory=200 * 10**6)
    needed = int(str(caught.value).split("side by side need ")[1].split()[0])
    assert plan(blocks, n_threads=4, memory=needed).held_bytes + LIBRARY_BYTES <= needed


SCRIPT = """
import sys
import dask
from dask_integration import StandardScaler, from_store, svd

def kilobytes(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

before = kilobytes("VmRSS")
with dask.config.set(scheduler="threads", num_workers=2):
    options = {"method": sys.argv[1], "memory": int(sys.argv[2]), "max_passes": 3}
    svd(from_store("x.zarr"), 5, scaler=StandardScaler(1), **options)
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("method", ["gram", "krylov"])
def test_a_process_takes_no_more_than_it_was_allowed(tmp_path: Path, method: str) -> None:
    """The most that a whole process ever held, beside the libraries, is within the bound."""
    array = cs.create_array(
        tmp_path / "x.zarr", shape=(100_000, 700), dtype="int8", chunks=(5000, 700)
    )
    draw = np.random.default_rng(0)
    for start in range(0, 100_000, 5000):
        array[start : start + 5000] = draw.integers(0, 3, (5000, 700))
    bound = 250 * 10**6
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, method, str(bound)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    # Of what counts as libraries, 60 MB are the buffers of BLAS, which come with the first product.
    assert int(done.stdout) * 1024 <= bound - LIBRARY_BYTES + 60 * 10**6

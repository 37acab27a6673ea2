"""Other libraries do not see the ledgers and marks of unfinished jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

import chunkstore as cs
from dask_integration import to_store

VALUES = np.arange(48.0).reshape(8, 6)


@pytest.fixture(params=[2, 3])
def unfinished(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Leave three jobs: one that writes a region, one that makes an array, one below a group."""
    array = cs.create_array(
        tmp_path, name="there", data=VALUES, chunks=(2, 3), zarr_format=request.param
    )
    half = da.from_array(VALUES[:4], chunks=(2, 6))
    to_store(half, array, region=(slice(0, 4),), compute=False)
    for path in ("new", "g/new"):
        to_store(half, tmp_path, path=path, zarr_format=request.param, compute=False)
    assert len(list(tmp_path.rglob("__ledger__"))) == 3
    return tmp_path


@pytest.mark.filterwarnings("ignore:Object at .* is not recognized")
def test_zarr_python_skips_them(unfinished: Path) -> None:
    """Members, values, counts, writes and consolidated metadata are those of what is there."""
    zarr: Any = pytest.importorskip("zarr", minversion="3.1", reason="needs zarr-python 3")
    format_ = 2 if (unfinished / ".zgroup").exists() else 3
    group = zarr.open_group(str(unfinished), mode="r+", zarr_format=format_)
    assert sorted(name for name, _ in group.members(max_depth=None)) == ["there"]
    np.testing.assert_array_equal(group["there"][...], VALUES)
    assert group["there"].nchunks_initialized == 8
    group["there"][0, 0] = 7
    assert np.asarray(cs.open_array(unfinished, path="there")[0, 0]) == 7


def test_tensorstore_skips_them(unfinished: Path) -> None:
    """An array with a ledger beside its chunks reads and writes as ever."""
    tensorstore: Any = pytest.importorskip("tensorstore", reason="needs tensorstore")
    driver = "zarr" if (unfinished / ".zgroup").exists() else "zarr3"
    kvstore = {"driver": "file", "path": str(unfinished / "there")}
    array = tensorstore.open({"driver": driver, "kvstore": kvstore}, open=True).result()
    np.testing.assert_array_equal(array.read().result(), VALUES)
    array[0, 0].write(7).result()
    assert np.asarray(cs.open_array(unfinished, path="there")[0, 0]) == 7

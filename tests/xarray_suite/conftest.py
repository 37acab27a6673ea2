"""What xarray's own tests expect of the pytest that runs them: their marks and fixtures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MARKS = {
    "asyncio": "a coroutine; the suite here runs it itself",
    "flaky": "xarray's: may fail now and then",
    "network": "xarray's: needs the network",
    "skip_if_param": "xarray's: skip where a parameter has a value; its code is not in the wheel",
    "skip_with_dask_array": "xarray's: skip where the package dask_array is in use",
    "slow": "xarray's: takes long",
}

SKIPPED = {
    "test_cache_members": "looks into xarray's own store class",
    "test_zarr_region_index_write": "looks into xarray's own store class",
}
"""Tests that say nothing of another engine, each with the reason."""

DIFFERENT = {
    ("test_compressor_encoding", 3): "an encoding holds the codecs of the array's document, not "
    "objects of zarr-python, which the engine does not import; xarray writes them all the same",
    ("test_zarr_fill_value_setting", 2): "the test was made for an xarray that does not heed "
    "use_zarr_fill_value_as_mask=False in version 2; here no _FillValue appears then",
    ("test_zarr_safe_chunk_region", None): "mode r+ may write parts of a write unit: updates of "
    "one are kept apart, between processes too, and where a store cannot, they are refused",
}
"""Tests that must fail, because we mean to behave differently: name and format (None is both)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that are skipped or must fail."""
    for item in items:
        name = getattr(item, "originalname", item.name)
        params = getattr(getattr(item, "callspec", None), "params", {})
        if Path(__file__).parent not in item.path.parents:
            continue
        if params.get("tmp_store") == "ZipStore":
            item.add_marker(pytest.mark.skip(reason="a store of zarr-python's is none of ours"))
        if name in SKIPPED:
            item.add_marker(pytest.mark.skip(reason=SKIPPED[name]))
        for zarr_format in (params.get("default_zarr_format"), None):
            if (name, zarr_format) in DIFFERENT:
                item.add_marker(pytest.mark.xfail(reason=DIFFERENT[name, zarr_format]))


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known that xarray's tests use."""
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip where ``skip_if_param(condition=…, reason=…, parameter=value)`` says so."""
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    for mark in item.iter_markers("skip_if_param"):
        wanted = {k: v for k, v in mark.kwargs.items() if k not in ("condition", "reason")}
        if mark.kwargs.get("condition", True) and wanted.items() <= params.items():
            pytest.skip(mark.kwargs["reason"])

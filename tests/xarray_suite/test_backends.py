"""xarray's own tests of its Zarr backend, run against the engine and the writer of this project."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import xarray.tests.test_backends as theirs
import zarr
from xarray import backends
from xarray.backends import plugins
from xarray.backends.common import BACKEND_ENTRYPOINTS
from xarray.tests import conftest as their_fixtures

import chunkstore as cs
from dask_integration.xarray import to_store
from dask_integration.xarray_engine import ChunkstoreBackendEntrypoint, GroupStore

for _name in ("default_zarr_format", "time_unit", "tmp_store", "use_dask"):
    # Which of them there are, and where, differs between versions of xarray.
    for _module in (theirs, their_fixtures):
        if hasattr(_module, _name):
            globals()[_name] = getattr(_module, _name)


class WritableGroup(GroupStore):
    """The store that `Dataset.dump_to_store` writes to."""

    @property
    def ds(self) -> cs.Group:
        return self.group

    def store(self, variables: Any, attributes: Any, *_: Any, **__: Any) -> None:
        ds = xr.Dataset(dict(variables), attrs=attributes)
        to_store(ds, self.group.store, "a", consolidated=False)

    def get_variables(self) -> dict[str, xr.Variable]:
        self.arrays = dict(self.group.arrays())
        return super().get_variables()


def to_zarr(
    self: Any,
    store: Any = None,
    mode: Any = None,
    *,
    safe_chunks: bool = True,
    align_chunks: bool = False,
    chunkmanager_store_kwargs: Any = None,
    **how: Any,
) -> Any:
    """`Dataset.to_zarr` in terms of `to_store`: what xarray leaves unsafe is aligned here."""
    assert chunkmanager_store_kwargs is None
    align = "auto" if align_chunks or not safe_chunks else "error"
    if (isinstance(store, (str, Path)) and not Path(store).exists()) or mode in (None, "w", "w-"):
        how.setdefault("zarr_format", zarr.config.get("default_zarr_format"))
    return to_store(self, store, mode, align=align, **how)


def open_group(target: Any, mode: str, **_: Any) -> WritableGroup:
    group = cs.create_group(
        target, zarr_format=zarr.config.get("default_zarr_format"), overwrite=True
    )
    return WritableGroup(group, {})


class Redirected(ChunkstoreBackendEntrypoint):
    """The engine under the name "zarr", for `xr.open_zarr` of any version.

    Before 2026.9 that also passed what zarr-python 2 had, as None.
    """

    OLD = ("chunk_store", "synchronizer", "zarr_version")
    open_dataset_parameters = (*ChunkstoreBackendEntrypoint.open_dataset_parameters, *OLD)

    def open_dataset(self, filename_or_obj: Any, **how: Any) -> xr.Dataset:
        assert [how.pop(name, None) for name in self.OLD] == [None] * 3
        return super().open_dataset(filename_or_obj, **how)


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put our engine and writer where xarray's tests look for its own."""
    monkeypatch.setitem(BACKEND_ENTRYPOINTS, "zarr", (None, Redirected))
    plugins.refresh_engines()
    for kind in (xr.Dataset, xr.DataArray):
        monkeypatch.setattr(kind, "to_zarr", to_zarr)
    monkeypatch.setattr(backends.ZarrStore, "open_group", open_group)
    yield
    monkeypatch.undo()
    plugins.refresh_engines()


@pytest.mark.usefixtures("default_zarr_format")
class TestZarr(theirs.ZarrBase):
    @contextlib.contextmanager
    def create_zarr_target(self) -> Iterator[str]:
        with theirs.create_tmp_file(suffix=".zarr") as place:
            yield place

    def test_load_async(self) -> None:
        asyncio.run(super().test_load_async())


class TestRegions(theirs.TestZarrRegionAuto):
    pass


@pytest.mark.usefixtures("default_zarr_format")
class TestDataArrays(theirs.TestDataArrayToZarr):
    pass

"""Real reanalysis data, packed in 16 bits: written, read and standardised chunk by chunk."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from xarray.testing import assert_identical

import chunkstore as cs
from dask_integration import standardise
from dask_integration.xarray import open_dataset, to_store

pytestmark = pytest.mark.filterwarnings(
    # Packed without a value for NaN, as the file is; NaN is refused where it comes.
    "ignore:saving variable .* with floating point data as an integer:RuntimeWarning",
)


@pytest.fixture(scope="module")
def era(shared_data: Path) -> Path:
    return shared_data / "era-interim" / "eraint_uvz.nc"


def opened(path: Path, **how: Any) -> xr.Dataset:
    with warnings.catch_warnings():
        # The file's _FillValue is NaN, which no packed integer can be.
        warnings.simplefilter("ignore", xr.SerializationWarning)
        return xr.load_dataset(path, engine="scipy", **how)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_packed_winds_keep_every_bit(era: Path, tmp_path: Path, zarr_format: Any) -> None:
    """From netCDF to Zarr the stored integers, their packing and the coordinates stay the same."""
    ds, place = opened(era), tmp_path / "era.zarr"
    to_store(ds, place, zarr_format=zarr_format)
    assert_identical(xr.load_dataset(place, engine="chunkstore"), ds)
    packed = opened(era, decode_cf=False)
    for name in packed.variables:
        stored = cs.open_array(place, path=str(name), mode="r")
        assert stored.dtype == packed[name].dtype.newbyteorder("=")
        assert np.array_equal(stored[:], packed[name])
    for name in ("z", "u", "v"):
        attributes = cs.open_array(place, path=name, mode="r").attrs
        assert attributes["scale_factor"] == packed[name].attrs["scale_factor"]
        assert attributes["add_offset"] == packed[name].attrs["add_offset"]


def test_climatology_is_standardised_chunk_by_chunk(era: Path, tmp_path: Path) -> None:
    """Reading, unpacking, standardising over the months and writing is one task a chunk."""
    ds = opened(era)
    to_store(ds.chunk(latitude=61, longitude=120), tmp_path / "era.zarr")
    lazy = open_dataset(tmp_path / "era.zarr", chunks="storage")

    def anomalies(v: xr.DataArray) -> xr.DataArray:
        return v.copy(data=standardise(v.data, axis=v.get_axis_num("month")))

    job = to_store(lazy.map(anomalies).drop_encoding(), tmp_path / "anomalies.zarr", compute=False)
    (optimised,) = dask.optimize(job)
    # For each variable one task to add receipts up, and one for all.
    assert len(optimised.__dask_graph__()) == 3 * (4 * 4 + 1) + 1
    job.compute()
    found = xr.load_dataset(tmp_path / "anomalies.zarr", engine="chunkstore")
    for name in ("z", "u", "v"):
        values = ds[name].values
        spread = values.std(0)
        expected = (values - values.mean(0)) / np.where(spread == 0, 1, spread)
        np.testing.assert_allclose(found[name], expected, atol=1e-6)


def test_what_does_not_fit_the_packing_is_refused(era: Path, tmp_path: Path) -> None:
    """Winds in other units do not wrap around in the 16 bits that their packing gives them."""
    ds = opened(era)[["u"]]
    good = ds["u"].data
    ds["u"].data = good * 3.6  # km/h
    with pytest.raises(ValueError, match="cannot store variable 'u' as int16"):
        to_store(ds, tmp_path / "era.zarr")
    blocks = ds.chunk(longitude=120)
    with pytest.raises(ValueError, match="cannot store variable 'u' as int16"):
        to_store(blocks, tmp_path / "era.zarr")
    ds["u"].data = np.where(good == good.max(), np.nan, good)
    for data in (ds, ds.chunk(longitude=120)):
        with pytest.raises(ValueError, match="has NaN, and no _FillValue"):
            to_store(data, tmp_path / "era.zarr", "w")
    to_store(ds.chunk(longitude=120).drop_encoding(), tmp_path / "era.zarr", "w")
    assert_identical(xr.load_dataset(tmp_path / "era.zarr", engine="chunkstore"), ds)

"""Scalers: fitted once, the same in any blocks, after pickling and from a store."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.scaler import StandardScaler
from dask_integration.standardise import standardise

VALUES = np.random.default_rng(0).integers(-1, 3, (60, 40)).astype(np.int8)
VALUES[5] = 2
VALUES[6] = -1


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("chunks", [(60, 40), (20, 40), (60, 7), (13, 17)])
@pytest.mark.parametrize("scale", ["std", "patterson", None])
def test_fit_and_transform_are_standardise(axis: int, chunks: Any, scale: Any) -> None:
    """In any blocks, and for arrays in memory at once."""
    rule: dict[str, Any] = {"axis": axis, "scale": scale, "missing": -1}
    x = da.from_array(VALUES, chunks=chunks)
    expected = standardise(x, **rule).compute(scheduler="synchronous")
    fitted = StandardScaler(**rule).fit(x)
    np.testing.assert_allclose(fitted.transform(x).compute(), expected, atol=1e-6)
    at_once = StandardScaler(**rule).fit(VALUES)
    np.testing.assert_allclose(at_once.statistics, fitted.statistics, rtol=1e-12)
    np.testing.assert_allclose(at_once.transform(VALUES), expected, atol=1e-6)
    assert fitted.transform(x).dtype == at_once.transform(VALUES).dtype == np.float32


@pytest.mark.parametrize("axis", [0, 1])
def test_inverse_gives_back_what_was_transformed(axis: int) -> None:
    """Lazily and at once; missing values come back as the mean."""
    fitted = StandardScaler(axis, missing=-1).fit(VALUES)
    mean = np.expand_dims(fitted.mean, axis)
    expected = np.where(VALUES == -1, mean, VALUES)
    y = fitted.transform(VALUES, dtype="float64")
    np.testing.assert_allclose(fitted.inverse(y), expected, atol=1e-12)
    lazy = fitted.inverse(da.from_array(y, chunks=(20, 9)))
    np.testing.assert_allclose(lazy.compute(), expected, atol=1e-12)


def test_other_data_are_scaled_by_the_statistics_that_were_found() -> None:
    """New samples, any number of them; other rows are refused."""
    fitted = StandardScaler(1, missing=-1).fit(VALUES)
    new = VALUES[:, :3] * np.int8(2)
    known = (new - fitted.mean[:, None]) * fitted.factor[:, None]
    np.testing.assert_allclose(
        fitted.transform(new, dtype="float64"), np.where(new == -1, 0, known), atol=1e-12
    )
    with pytest.raises(InvalidArgumentError, match=r"another shape.*\(30, 2\), got \(60, 2\)"):
        fitted.transform(VALUES[:30])
    with pytest.raises(InvalidArgumentError, match=r"call fit\(x\)"):
        StandardScaler(1).transform(VALUES)


@pytest.mark.parametrize("missing", [None, -1, math.nan])
def test_a_scaler_can_be_kept(tmp_path: Path, missing: float | None) -> None:
    """Pickled or stored as two plain arrays, it scales to the last bit as before."""
    values = VALUES.astype("float64")
    if missing is not None:
        values[values == -1] = missing
    fitted = StandardScaler(1, ddof=1, missing=missing).fit(values)
    fitted.save(tmp_path / "s", path="scaler")
    stored = StandardScaler.load(tmp_path / "s", path="scaler")
    for other in (pickle.loads(pickle.dumps(fitted)), stored):
        np.testing.assert_array_equal(other.transform(values), fitted.transform(values))
        assert other.ddof == 1
    assert cs.open_array(tmp_path / "s", path="scaler/mean", mode="r").shape == (60,)
    cs.create_group(tmp_path / "s", path="other")
    with pytest.raises(InvalidArgumentError, match="holds no scaler"):
        StandardScaler.load(tmp_path / "s", path="other")

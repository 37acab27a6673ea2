"""Summaries of blocks agree with numpy, however the values are split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chunkstore.errors import InvalidArgumentError
from dask_integration.summaries import (
    REDUCTIONS,
    finish,
    merge_summaries,
    result_dtype,
    summarise,
)

DTYPES = ["?", "i1", "u1", "i2", "u4", "i8", "u8", "f2", "f4", "f8"]


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], tuple[int, ...], list[float]]:
    """Draw values, the axes to reduce, and what is missing among them."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=6))
    limit = 1000 if dtype.kind == "f" else None
    elements = hnp.from_dtype(dtype, **({"min_value": -limit, "max_value": limit} if limit else {}))
    values = draw(hnp.arrays(dtype, shape, elements=elements))
    axes = tuple(sorted(draw(st.sets(st.sampled_from(range(len(shape))))))) if shape else ()
    missing = [float("nan")] if dtype.kind == "f" else []
    missing += [] if dtype.kind == "b" else [draw(st.sampled_from([0, 1, 7]))]
    return values, axes, draw(st.sampled_from([[], missing, missing[:1], missing[::-1]]))


def exact(values: np.ndarray[Any, Any], axes: tuple[int, ...], missing: list[float]) -> Any:
    """Give the masked array that numpy has functions for, in exact arithmetic for integers."""
    unknown = np.zeros(values.shape, bool)
    for value in missing:
        unknown |= np.isnan(values) if np.isnan(value) else values == value
    wide = values.astype(object) if values.dtype.kind in "biu" else values.astype("f8")
    return wide, ~unknown


@given(case=arrays(), cut=st.integers(0, 6))
def test_as_numpy_says(
    case: tuple[np.ndarray[Any, Any], tuple[int, ...], list[float]], cut: int
) -> None:
    """Each reduction of an array in two parts is that of numpy on the values that are known."""
    values, axes, missing = case
    parts = [values]
    if axes:
        parts = np.split(values, [min(cut, values.shape[axes[0]])], axes[0])
    whole = merge_summaries(
        [summarise(part, axes=axes, names=REDUCTIONS, missing=missing) for part in parts]
    )
    wide, known = exact(values, axes, missing)
    how: dict[str, Any] = {"axis": axes, "keepdims": True}
    n_known = known.sum(**how)

    def result(name: Any, **more: Any) -> Any:
        found = finish(whole, name=name, dtype=values.dtype, missing=missing, **more)
        assert found.dtype == result_dtype(name, values.dtype)
        assert found.shape == n_known.shape
        return found

    np.testing.assert_array_equal(result("count"), n_known)
    total = np.asarray(np.sum(wide, where=known, initial=0, **how))
    limits = np.iinfo(result_dtype("sum", values.dtype)) if values.dtype.kind in "biu" else None
    if limits is None:
        np.testing.assert_allclose(result("sum"), total, atol=1e-9)
    elif (total < limits.min).any() or (total > limits.max).any():
        with pytest.raises(InvalidArgumentError, match="does not fit"):
            result("sum")
    else:
        assert (result("sum") == total).all()
    some = np.asarray(n_known > 0)
    mean = np.where(some, total / np.maximum(n_known, 1), np.nan).astype("f8")
    np.testing.assert_allclose(result("mean"), mean, rtol=1e-12, atol=1e-9)
    for ddof in (0, 1):
        deviations = np.sum((wide.astype("f8") - mean) ** 2, where=known, **how)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.where(n_known > ddof, deviations / (n_known - ddof), np.nan)
        spread = float(np.nanmax(np.abs(wide.astype("f8")), initial=0)) ** 2
        tolerance = {"rtol": 1e-9, "atol": 1e-12 * spread}
        np.testing.assert_allclose(result("var", ddof=ddof), variance, **tolerance)
        np.testing.assert_allclose(result("std", ddof=ddof) ** 2, variance, **tolerance)
    nothing = missing[0] if missing else np.nan
    for name, function, start in [("min", np.min, np.inf), ("max", np.max, -np.inf)]:
        extreme = function(wide, where=known, initial=start, **how)
        expected = np.where(some, extreme, nothing).astype(values.dtype)
        np.testing.assert_array_equal(result(name), expected)


def test_what_is_not_finite_goes_through() -> None:
    """NaN and infinity that are not declared missing give what they give in numpy, silently."""
    values = np.array([[1.0, np.nan, 2.0], [1.0, np.inf, 2.0], [np.inf, -np.inf, 0.0], [1e200] * 3])
    values[3, 0] = -1e200
    summary = summarise(values, axes=(1,), names=REDUCTIONS)
    with np.errstate(invalid="ignore", over="ignore"):
        for name in ("sum", "mean", "var", "std", "min", "max"):
            found = finish(summary, name=name, dtype=values.dtype)
            np.testing.assert_allclose(found, getattr(np, name)(values, axis=1, keepdims=True))


def test_small_spread_around_a_large_mean() -> None:
    """Deviations of one part in 10**9 keep their digits, over many parts."""
    noise = np.random.default_rng(0).normal(size=100_000)
    values = 1e9 + noise
    parts = [summarise(part, axes=(0,), names=["var"]) for part in np.split(values, 100)]
    found = finish(merge_summaries(parts), name="var", dtype=values.dtype)
    np.testing.assert_allclose(found, np.var(noise), rtol=1e-6)


def test_sums_that_pass_the_limits_on_the_way() -> None:
    """A sum of 64-bit integers that fits is exact, also when parts of it do not fit."""
    top = np.iinfo("i8").max
    values = [top, top, 5, -top, -top]
    parts = [summarise(np.array([value]), axes=(0,), names=["sum"]) for value in values]
    assert finish(merge_summaries(parts), name="sum", dtype=np.dtype("i8")).tolist() == [5]
    with pytest.raises(InvalidArgumentError, match=f"the sum {2 * top} does not fit int64") as e:
        finish(merge_summaries(parts[:2]), name="sum", dtype=np.dtype("i8"))
    assert e.value.value == 2 * top

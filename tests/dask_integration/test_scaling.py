"""Standardising one block: fast ways are as exact as slow ones, and slabs are the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.scaling import Scaling, slabs


@given(
    hnp.arrays("int8", st.tuples(st.integers(1, 8), st.integers(2, 90))),
    st.sampled_from((None, -1, 0)),
    st.sampled_from((0, 1)),
)
def test_bytes_in_float32_are_as_exact_as_their_result(
    block: NDArray[np.int8], missing: int | None, axis: int
) -> None:
    """The short way from bytes to float32 is off by a few roundings of the largest value."""
    rule = Scaling(axis, missing=missing)
    short, long = (rule.standardise(block, dtype=dtype) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(short, long, rtol=1e-6, atol=2e-6)
    assert not np.signbit(short[short == 0]).any()


@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("center", [True, False])
def test_what_is_undone_is_what_was_there(dtype: str, axis: int, center: bool) -> None:
    """Values come back; missing ones, and rows without spread, as their mean."""
    values = np.random.default_rng(0).integers(-1, 5, (30, 40)).astype(dtype)
    values[3] = values[:, 4] = 2
    rule = Scaling(axis, center=center, missing=-1)
    statistics = rule.statistics(rule.moments(values))
    back = rule.undo(rule.apply(values, statistics), statistics)
    mean = np.take(statistics, [0], axis=axis)
    np.testing.assert_allclose(back, np.where(values == -1, mean, values), atol=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("axis", "fitted"), [(0, True), (1, True), (1, False)])
@pytest.mark.parametrize("height", [1, 7, 100])
def test_slabs_are_the_standardised_block(order: Any, axis: int, fitted: bool, height: int) -> None:
    """Put together, slabs of any height are what the block is as a whole."""
    block = np.asarray(np.random.default_rng(0).integers(0, 3, (23, 11)), dtype="int8", order=order)
    rule = Scaling(axis)
    statistics = rule.statistics(rule.moments(block)) if fitted else None
    given_ = slabs(block, height=height, dtype="float64", scaling=rule, statistics=statistics)
    np.testing.assert_allclose(np.concatenate(list(given_)), rule.standardise(block), atol=1e-14)


def test_missing_values_can_be_refused() -> None:
    """impute="error" counts them in words, and says nothing where there are none."""
    block = np.array([[0, 1, -1], [-1, 2, 1]], np.int8)
    with pytest.raises(InvalidArgumentError, match=r"2 values are missing\..*Fill them first"):
        Scaling(1, missing=-1, impute="error").standardise(block)
    Scaling(1, missing=-9, impute="error").standardise(block)


@pytest.mark.parametrize("ploidy", [1, 4])
def test_the_genotype_scale_knows_other_ploidies(ploidy: int) -> None:
    """p is the mean over the ploidy, and dosages end there."""
    block = np.array([[0, ploidy, ploidy, 0], [0, 0, 0, ploidy]], np.int8)
    found = Scaling(1, scale="patterson", ploidy=ploidy).standardise(block)
    p = block.mean(axis=1, keepdims=True) / ploidy
    np.testing.assert_allclose(found, (block - ploidy * p) / np.sqrt(p * (1 - p)))
    with pytest.raises(InvalidArgumentError, match=f"dosages from 0 to {ploidy}, got {ploidy + 1}"):
        Scaling(1, scale="patterson", ploidy=ploidy).standardise(block + np.int8(1))

"""What all decompositions share: sums, signs, tall factors and residuals, beside numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import InvalidArgumentError
from dask_integration.factors import (
    SmallFactor,
    Sums,
    add_sums,
    leading,
    refuse_not_finite,
    squares_of,
    tall_step,
    true_residuals,
)


def exact_factor(x: np.ndarray, k: int) -> SmallFactor:
    return leading(*np.linalg.eigh(x.T @ x), k=k)


@given(st.integers(0, 6), st.integers(1, 9), st.integers(0, 1000))
def test_low_rank_gives_zeros_and_still_orthonormal_vectors(rank: int, k: int, seed: int) -> None:
    """Beyond the rank, values and tall vectors are exactly 0, and small vectors orthonormal."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((60, rank)) @ draw.standard_normal((rank, 30))
    small = exact_factor(x, k)
    assert (small.values[rank:] == 0).all()
    assert (small.values[: min(rank, k)] > 0).all()
    np.testing.assert_allclose(small.vectors.T @ small.vectors, np.eye(k), atol=1e-12)
    tall = tall_step([x], small, n_rows=60, dtype="float64")
    assert (tall.rows[:, rank:] == 0).all()
    assert np.isfinite(tall.rows).all()
    np.testing.assert_allclose(true_residuals(tall.applied, small), 0, atol=1e-8)


def test_an_array_of_zeros_decomposes_into_zeros() -> None:
    """Nothing divides by the largest singular value when it is 0."""
    small = exact_factor(np.zeros((20, 6)), 2)
    tall = tall_step([np.zeros((20, 6))], small, n_rows=20, dtype="float64")
    assert not small.values.any()
    assert not tall.rows.any()
    assert not true_residuals(tall.applied, small).any()


def test_residuals_are_true() -> None:
    """They equal the norm they stand for, small for exact vectors and large for spoilt ones."""
    x = np.random.default_rng(2).standard_normal((80, 12))
    small = exact_factor(x, 4)
    spoilt = small._replace(vectors=np.linalg.qr(small.vectors + 0.01)[0])
    for given_, limits in ((small, (0, 1e-12)), (spoilt, (1e-3, 1))):
        parts = [
            tall_step([band], given_, n_rows=len(band), dtype="float64").applied
            for band in np.array_split(x, 4)
        ]
        residuals = true_residuals(np.sum(parts, axis=0), given_)
        u = x @ given_.vectors / given_.values
        norms = np.linalg.norm(x.T @ u - given_.vectors * given_.values, axis=0)
        np.testing.assert_allclose(residuals, norms / given_.values, rtol=1e-9, atol=1e-14)
        assert (residuals >= limits[0]).all()
        assert (residuals < limits[1]).all()


def test_signs_follow_the_largest_element() -> None:
    """Negating the array changes no vector of the small side."""
    x = np.random.default_rng(4).standard_normal((40, 10))
    small = exact_factor(x, 10)
    strongest = np.abs(small.vectors).argmax(axis=0)
    assert (small.vectors[strongest, range(10)] > 0).all()
    np.testing.assert_array_equal(small.vectors, exact_factor(-x, 10).vectors)


def test_squares_of_many_small_numbers_keep_their_digits() -> None:
    """A float32 slab of a million elements is off by 1e-6 at most, in either memory order."""
    x = np.random.default_rng(0).random((1000, 1000)).astype(np.float32)
    exact = (x.astype(float) ** 2).sum()
    for slab in (x, x.T):
        assert squares_of(slab) == pytest.approx(exact, rel=1e-6)


def test_sums_add_up_in_any_number() -> None:
    """One, two or many parts: products, squares and bytes are those of the whole."""
    parts = [Sums(np.full((2, 2), float(n)), float(n), n) for n in range(5)]
    for count in range(1, 6):
        total = add_sums(parts[:count])
        assert total.squares == total.n_bytes == sum(range(count))
        np.testing.assert_array_equal(total.products, np.full((2, 2), sum(range(count))))
    assert parts[0].products.sum() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    """The message has the value and where it stands in the block."""
    x = np.ones((7, 5), np.float32)
    x[4, 2] = value
    with pytest.raises(InvalidArgumentError, match=rf"got {value} at \(4, 2\)"):
        refuse_not_finite(x, value)
    with pytest.raises(InvalidArgumentError, match="overflow float64"):
        refuse_not_finite(np.full((3, 2), 1e200), np.inf)
    refuse_not_finite(x, 1.0)

"""Kernels of the singular value decomposition: compared with numpy's on arrays cut into bands."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.factors import (
    SmallFactor,
    explained_variance_ratio,
    gram,
    gram_factor,
    krylov_basis,
    krylov_start,
    krylov_step,
    ritz_factor,
    tall_step,
    true_residuals,
)


def with_spectrum(n_rows: int, values: NDArray[np.float64], *, seed: int = 0) -> NDArray[Any]:
    """Make an array with given singular values and random vectors."""
    draw = np.random.default_rng(seed)
    left = np.linalg.qr(draw.standard_normal((n_rows, values.size)))[0]
    right = np.linalg.qr(draw.standard_normal((values.size, values.size)))[0]
    return (left * values) @ right


def bands(x: NDArray[Any]) -> list[NDArray[Any]]:
    return np.array_split(x, 4)


def krylov(x: NDArray[Any], k: int, *, width: int, n_passes: int) -> SmallFactor:
    """Run the passes in the order that `svd` gives them."""
    bases = [krylov_start(x.shape[1], width, seed=3)]
    applied: list[NDArray[np.float64]] = []
    while True:
        applied.append(np.sum([krylov_step(band, bases[-1]) for band in bands(x)], axis=0))
        if len(applied) == n_passes:
            return SmallFactor.unpack(ritz_factor(*bases, *applied, k=k))
        bases.append(krylov_basis(applied[-1], *bases, seed=3))
        together = np.hstack(bases)
        np.testing.assert_allclose(
            together.T @ together, np.eye(together.shape[1]), atol=1e-12, err_msg=f"{len(bases)}"
        )


@pytest.mark.parametrize("dtype", ["int8", "bool", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_gram_and_krylov_step_are_products_in_float64(dtype: str, order: Any) -> None:
    """For every dtype and memory order the products are numpy's in float64."""
    draw = np.random.default_rng(0)
    x = np.asarray(draw.integers(0, 2, (500, 30)) * 100, order=order).astype(dtype)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(gram(x), exact.T @ exact, rtol=1e-14)
    basis = draw.standard_normal((30, 4))
    applied = krylov_step(x, basis)
    np.testing.assert_allclose(applied[:-1], exact.T @ (exact @ basis), rtol=1e-12, atol=1e-8)
    np.testing.assert_allclose(applied[-1], [(exact**2).sum(), 0, 0, 0], rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gram_finds_small_singular_values_beside_large_ones(dtype: str) -> None:
    """Ten values over three orders of magnitude are right to 1e-9, also for float32 data."""
    x = with_spectrum(3000, 10.0 ** -(np.arange(40) / 3)).astype(dtype)
    expected = np.linalg.svd(x.astype(np.float64), compute_uv=False)[:10]
    total = np.sum([gram(band) for band in bands(x)], axis=0)
    small = SmallFactor.unpack(gram_factor(total, k=10))
    np.testing.assert_allclose(small.values, expected, rtol=1e-9)


def test_each_krylov_pass_brings_the_values_nearer() -> None:
    """Errors fall with every pass, from below: Ritz values never exceed singular values."""
    expected = np.concatenate([[20.0, 15, 10], np.linspace(3, 1, 97)])
    x = with_spectrum(400, expected)
    errors = []
    for n_passes in (1, 2, 3, 4):
        found = krylov(x, 3, width=8, n_passes=n_passes).values
        assert (found <= expected[:3] * (1 + 1e-12)).all()
        errors.append(float(np.abs(found / expected[:3] - 1).max()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-8


def test_krylov_bases_that_span_everything_are_exact() -> None:
    """When all bases together are a full basis, the last one narrower, nothing is approximate."""
    x = np.random.default_rng(1).standard_normal((300, 25))
    small = krylov(x, 25, width=10, n_passes=3)
    np.testing.assert_allclose(small.values, np.linalg.svd(x, compute_uv=False), rtol=1e-12)


@given(st.integers(0, 6), st.integers(1, 9), st.integers(1, 3), st.integers(0, 1000))
def test_low_rank_gives_zeros_and_still_orthonormal_vectors(
    rank: int, k: int, n_passes: int, seed: int
) -> None:
    """Beyond the rank, singular values are exactly 0 and the small vectors still orthonormal."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((60, rank)) @ draw.standard_normal((rank, 30))
    exact = SmallFactor.unpack(gram_factor(gram(x), k=k))
    passes = krylov(x, k, width=9, n_passes=n_passes)
    for small in (exact, passes):
        assert (small.values[rank:] == 0).all()
        assert (small.values[: min(rank, k)] > 0).all()
        np.testing.assert_allclose(small.vectors.T @ small.vectors, np.eye(k), atol=1e-12)
        tall = tall_step(x, small.pack())
        assert (tall[:60, rank:] == 0).all()
        assert np.isfinite(tall).all()
        # After one pass over a rank below the width, the next basis holds all of the row space.
        if small is exact or n_passes > 1:
            np.testing.assert_allclose(true_residuals(tall[60:], small.pack()), 0, atol=1e-8)
        assert explained_variance_ratio(small.pack()).sum() <= 1 + 1e-9
    if k >= rank:
        np.testing.assert_allclose(passes.total, exact.total, rtol=1e-12)


def test_an_array_of_zeros_decomposes_into_zeros() -> None:
    """Nothing divides by the largest singular value when it is 0."""
    x = np.zeros((20, 6))
    for small in (SmallFactor.unpack(gram_factor(gram(x), k=2)), krylov(x, 2, width=3, n_passes=2)):
        tall = tall_step(x, small.pack())
        assert not small.values.any()
        assert not tall.any()
        assert not true_residuals(tall[20:], small.pack()).any()
        assert not explained_variance_ratio(small.pack()).any()


def test_residuals_are_true() -> None:
    """They equal the norm they stand for, small for exact vectors and large for spoilt ones."""
    x = np.random.default_rng(2).standard_normal((80, 12))
    small = SmallFactor.unpack(gram_factor(gram(x), k=4))
    spoilt = small._replace(vectors=np.linalg.qr(small.vectors + 0.01)[0])
    for given_, limits in ((small, (0, 1e-12)), (spoilt, (1e-3, 1))):
        tall = np.sum([tall_step(band, given_.pack())[-12:] for band in bands(x)], axis=0)
        residuals = true_residuals(tall, given_.pack())
        u = x @ given_.vectors / given_.values
        norms = np.linalg.norm(x.T @ u - given_.vectors * given_.values, axis=0)
        np.testing.assert_allclose(residuals, norms / given_.values, rtol=1e-9, atol=1e-14)
        assert (residuals >= limits[0]).all()
        assert (residuals < limits[1]).all()


def test_passes_over_changing_data_are_refused() -> None:
    """A source that is written while it is read does not pass for one array."""
    x = np.random.default_rng(3).standard_normal((50, 8))
    first = krylov_start(8, 3, seed=0)
    applied = krylov_step(x, first)
    second = krylov_basis(applied, first, seed=0)
    with pytest.raises(InvalidArgumentError, match="changed while it was read"):
        ritz_factor(first, second, applied, krylov_step(x * 1.001, second), k=2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    """Both kinds of product name the value and where it stands in the block."""
    x = np.ones((7, 5), np.float32)
    x[4, 2] = value
    for attempt in (lambda: gram(x), lambda: krylov_step(x, np.ones((5, 2)))):
        with pytest.raises(InvalidArgumentError, match=rf"got {value} at \(4, 2\)"):
            attempt()


def test_squares_that_overflow_are_refused() -> None:
    """Finite values beyond the square root of the largest float are refused in words."""
    x = np.full((3, 2), 1e200)
    for attempt in (lambda: gram(x), lambda: krylov_step(x, np.ones((2, 1)))):
        with pytest.raises(InvalidArgumentError, match="overflow float64"):
            attempt()


def test_signs_follow_the_largest_element() -> None:
    """Negating the array changes no vector of the small side."""
    x = np.random.default_rng(4).standard_normal((40, 10))
    small = SmallFactor.unpack(gram_factor(gram(x), k=10))
    strongest = np.abs(small.vectors).argmax(axis=0)
    assert (small.vectors[strongest, range(10)] > 0).all()
    np.testing.assert_array_equal(small.pack(), gram_factor(gram(-x), k=10))


def test_a_block_becomes_float64_a_slab_at_a_time() -> None:
    """A step over 32 MB of float32 holds little more than 1 MB of float64 beside it."""
    x = np.ones((40_000, 200), np.float32)
    basis = krylov_start(200, 5, seed=0)
    tracemalloc.start()
    krylov_step(x, basis)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20

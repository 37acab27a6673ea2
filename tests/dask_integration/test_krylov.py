"""Block Krylov passes: bases stay orthonormal, values come nearer, restarts lose no pass."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dask_integration.factors import SmallFactor
from dask_integration.krylov import advance, krylov_start, krylov_step
from dask_integration.scaling import slabs


def with_spectrum(n_rows: int, values: NDArray[np.float64], *, seed: int = 0) -> NDArray[Any]:
    """Make an array with given singular values and random vectors."""
    draw = np.random.default_rng(seed)
    left = np.linalg.qr(draw.standard_normal((n_rows, values.size)))[0]
    right = np.linalg.qr(draw.standard_normal((values.size, values.size)))[0]
    return (left * values) @ right


def passes(
    x: NDArray[Any], k: int, *, width: int, n_passes: int, max_columns: int = 10_000
) -> list[tuple[SmallFactor, NDArray[np.float64]]]:
    """Run passes in the order that `svd` gives them; checks the bases on the way."""
    state = krylov_start(x.shape[1], width, seed=3)
    found = []
    for _ in range(n_passes):
        if not state.block.size:
            break
        products = np.sum(
            [krylov_step([band], state.block) for band in np.array_split(x, 4)], axis=0
        )
        state, small, residuals = advance(state, products, k=k, max_columns=max_columns, seed=3)
        together = np.hstack([state.basis, state.block])
        assert together.shape[1] <= max(max_columns, k + width)
        np.testing.assert_allclose(together.T @ together, np.eye(together.shape[1]), atol=1e-11)
        np.testing.assert_allclose(state.applied, x.T @ (x @ state.basis), atol=1e-9 * (x**2).sum())
        found.append((small, residuals))
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_step_is_two_products(dtype: str, order: Any) -> None:
    """In both precisions and memory orders, slab by slab."""
    draw = np.random.default_rng(0)
    x = np.asarray(draw.integers(-5, 5, (500, 30)), dtype=dtype, order=order)
    block = draw.standard_normal((30, 4))
    exact = x.astype(np.float64)
    applied = krylov_step([x[:200], x[200:]], block)
    rtol = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(applied, exact.T @ (exact @ block), rtol=rtol, atol=rtol * 1e3)


def test_each_pass_brings_the_values_nearer() -> None:
    """Errors fall with every pass, from below: Ritz values never exceed singular values."""
    expected = np.concatenate([[20.0, 15, 10], np.linspace(3, 1, 97)])
    found = passes(with_spectrum(400, expected), 3, width=8, n_passes=4)
    for small, _ in found:
        assert (small.values <= expected[:3] * (1 + 1e-12)).all()
    errors = [float(np.abs(small.values / expected[:3] - 1).max()) for small, _ in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-8


def test_residuals_bound_the_error_of_the_values() -> None:
    """After every pass an eigenvalue lies as near as the residual says."""
    values = np.concatenate([np.linspace(20, 10, 10), np.linspace(9, 1, 90)])
    for small, residuals in passes(with_spectrum(300, values), 6, width=9, n_passes=8):
        for value, residual in zip(small.values**2, residuals, strict=True):
            assert np.abs(values**2 - value).min() <= residual * value * (1 + 1e-9)


def test_bases_that_span_everything_are_exact() -> None:
    """When all blocks together are a full basis, the last one narrower, nothing is approximate."""
    x = np.random.default_rng(1).standard_normal((300, 25))
    small, residuals = passes(x, 25, width=10, n_passes=9)[-1]
    np.testing.assert_allclose(small.values, np.linalg.svd(x, compute_uv=False), rtol=1e-12)
    assert (residuals < 1e-10).all()


@pytest.mark.parametrize("max_columns", [30, 40])
def test_a_restart_bounds_the_basis_and_loses_no_pass(max_columns: int) -> None:
    """A basis of a bounded size converges too, never going back, in not twice the passes."""
    x = with_spectrum(300, np.concatenate([np.linspace(12, 10, 5), np.linspace(8, 1, 115)]))

    def n_needed(limit: int) -> int:
        worst = [r.max() for _, r in passes(x, 5, width=10, n_passes=40, max_columns=limit)]
        assert worst[-1] < 1e-8
        return int(np.argmax(np.array(worst) < 1e-6))

    assert n_needed(max_columns) <= 2 * n_needed(10_000)


@given(st.integers(0, 6), st.integers(1, 9), st.integers(1, 3), st.integers(0, 1000))
def test_low_rank_is_found_in_two_passes(rank: int, k: int, n_passes: int, seed: int) -> None:
    """Directions that run out are replaced; values beyond the rank are exactly 0."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((60, rank)) @ draw.standard_normal((rank, 30))
    small, residuals = passes(x, k, width=9, n_passes=n_passes)[-1]
    assert (small.values[rank:] == 0).all()
    assert (small.values[: min(rank, k)] > 0).all()
    np.testing.assert_allclose(small.vectors.T @ small.vectors, np.eye(k), atol=1e-12)
    if n_passes > 1:
        np.testing.assert_allclose(residuals, 0, atol=1e-8)


def test_a_block_becomes_floats_a_slab_at_a_time() -> None:
    """A step over 8 MB of int8 holds little more than a few megabytes beside it."""
    x = np.ones((40_000, 200), np.int8)
    block = krylov_start(200, 5, seed=0).block
    tracemalloc.start()
    krylov_step(slabs(x, height=1000, dtype="float32"), block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20

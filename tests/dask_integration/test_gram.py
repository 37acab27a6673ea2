"""The exact way: products in both precisions, and what rounding does to small singular values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dask_integration.gram import gram, gram_factor, gram_height


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_product_is_numpys(dtype: str, order: Any) -> None:
    """Slabs in either memory order add up to the whole product."""
    x = np.asarray(np.random.default_rng(0).integers(-9, 9, (500, 30)), dtype=dtype, order=order)
    exact = x.astype(np.float64)
    np.testing.assert_array_equal(gram([x[:77], x[77:]], n=30), exact.T @ exact)


@pytest.mark.parametrize(("dtype", "n_right"), [("float32", 7), ("float64", 17)])
def test_small_singular_values_drown_where_the_residuals_say(dtype: str, n_right: int) -> None:
    """Values over many orders: those with small residuals are right to as much as these say."""
    draw = np.random.default_rng(0)
    values = 10.0 ** -(np.arange(24) / 2.5)
    left, right = (np.linalg.qr(draw.standard_normal((n, 24)))[0] for n in (3000, 24))
    x = ((left * values) @ right.T).astype(dtype)
    exact = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    small, residuals = gram_factor(gram([x[:1500], x[1500:]], n=24), k=24, dtype=dtype)
    # A value of 0 says only that it is small beside the first one.
    trusted = (residuals < 1e-1) & (small.values > 0)
    assert trusted.sum() >= n_right
    off = np.abs(small.values**2 / exact**2 - 1)
    assert (off[trusted] <= residuals[trusted]).all()


def test_slabs_are_tall_enough_for_their_product() -> None:
    """Adding up n * n results never takes as long as making them."""
    assert gram_height(10) == 512
    assert gram_height(4000) == 2000

"""The exact way: a square matrix of the smaller side, gathered in one pass.

Floor 1: no dask, no store, no threads. ::

    one task a block     sum over blocks      once
    X_b.T @ X_b     ->   G = X.T @ X     ->   eigh(G) = V S**2 V.T

``X.T @ X`` squares the condition of X: in float64 a singular value below 1e-8 of the largest
drowns in rounding, in float32 one below 1e-3. How much rounding there is, is part of the residuals.

Source: Golub and Van Loan 2013, Matrix Computations, section 8.6 (the cross-product and its
limits). For genotypes ``X.T @ X`` is the genetic relationship matrix (Patterson, Price and Reich
2006, PLoS Genetics 2, e190, what follows eq. 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_integration.factors import Doubles, SmallFactor, leading, true_residuals

__all__ = ["ROUNDING", "gram", "gram_factor", "gram_height"]

_SLAB_ROWS = 512
ROUNDING = {np.dtype("float32"): 1e-6, np.dtype("float64"): 1e-14}
"""Norm of a Gram matrix's error beside its own, as measured in slabs of 512 to 1,024 rows."""


def gram_height(n: int) -> int:
    """Choose the rows of a slab: enough that adding up n * n results costs little beside them."""
    return max(_SLAB_ROWS, n // 2)


def gram(slabs: Iterable[NDArray[np.floating[Any]]], *, n: int) -> Doubles:
    """Multiply the transpose of a block by the block.

    Parameters
    ----------
    slabs : iterable of ndarray, shape (r, n)
        The block.
    n : int
        Columns of the block.

    Returns
    -------
    ndarray of float64, shape (n, n)

    Notes
    -----
    Holds the result, the product of one slab, and the slab. BLAS computes one triangle only.

    Examples
    --------
    >>> gram([np.array([[1.0, 2.0]]), np.array([[0.0, 1.0]])], n=2)
    array([[1., 2.],
           [2., 5.]])
    """
    total = np.zeros((n, n))
    for slab in slabs:
        total += slab.T @ slab
    return total


def gram_factor(total: Doubles, *, k: int, dtype: Any = np.float64) -> tuple[SmallFactor, Doubles]:
    """Decompose a Gram matrix into the leading singular values and right singular vectors.

    Parameters
    ----------
    total : ndarray of float64, shape (n, n)
        ``X.T @ X``: the sum of ``gram`` over all blocks.
    k : int
        Number of components, at most n.
    dtype : dtype
        The precision of its products.

    Returns
    -------
    SmallFactor
    residuals : ndarray of float64, shape (k,)
        As ``true_residuals``, with what rounding of the products may add.

    Examples
    --------
    >>> small, _ = gram_factor(np.diag([9.0, 4.0, 0.0]), k=2)
    >>> small.values
    array([3., 2.])
    """
    values, vectors = np.linalg.eigh(total)
    small = leading(values, vectors, k=k)
    scale = np.where(small.values > 0, small.values, small.values[0]) ** 2
    rounding = ROUNDING[np.dtype(dtype)] * small.values[0] ** 2
    share = np.divide(rounding, scale, out=np.zeros_like(scale), where=scale > 0)
    return small, true_residuals(total @ small.vectors, small) + share

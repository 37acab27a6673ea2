"""numpy functions that every decomposition shares: sums of a pass, small factor, tall factor.

Floor 0: no dask, no store, no threads. ``svd`` maps functions of one block over an array of shape
(m, n) cut into blocks of whole rows, adds up what they return, and runs the others once::

    one task a block                       once, on sums of shape (n, ...)
    gram.gram             X_b.T @ X_b      gram.gram_factor          -> SmallFactor
    krylov.krylov_step    X_b.T @ X_b @ W  krylov.advance            -> SmallFactor, next W
    tall_step             X_b @ V / s      true_residuals

Blocks come as slabs of rows (see ``scaling.slabs``) in float32 or float64. Products of a slab are
in the slab's precision, and every sum over slabs is float64.

Left out: which block runs where, and how partial results meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError

__all__ = [
    "SmallFactor",
    "Sums",
    "TallPart",
    "add_sums",
    "leading",
    "refuse_not_finite",
    "residual_norms",
    "squares_of",
    "tall_step",
    "true_residuals",
]

Doubles: TypeAlias = NDArray[np.float64]


class Sums(NamedTuple):
    """What a pass found in one block, or in all of them."""

    products: Doubles
    """Shape (n, ...): whatever the pass adds up."""
    squares: float
    """Sum of the squares of all elements."""
    n_bytes: int
    """Bytes of the blocks as they were read, before they became floats."""


def add_sums(parts: list[Sums]) -> Sums:
    """Add up what a pass found in disjoint blocks.

    Examples
    --------
    >>> add_sums([Sums(np.ones(2), 1.0, 8), Sums(np.ones(2), 2.0, 8)])
    Sums(products=array([2., 2.]), squares=3.0, n_bytes=16)
    """
    if len(parts) == 1:
        return parts[0]
    # What overflowed in float32 shows in the squares.
    with np.errstate(over="ignore", invalid="ignore"):
        products = parts[0].products + parts[1].products
        for part in parts[2:]:
            products += part.products
    return Sums(products, sum(p.squares for p in parts), sum(p.n_bytes for p in parts))


class SmallFactor(NamedTuple):
    """The half of a decomposition that one process holds; the tall factor follows from it."""

    vectors: Doubles
    """Shape (n, k): orthonormal columns, largest singular value first."""
    values: Doubles
    """Shape (k,): singular values; exactly 0 for what rounding cannot tell from 0."""


def leading(
    values: Doubles, vectors: Doubles, *, k: int, basis: Doubles | None = None
) -> SmallFactor:
    """Take the k largest of ascending eigenpairs of ``X.T @ X``, noise set to 0, signs fixed.

    Parameters
    ----------
    values : ndarray of float64, shape (c,)
        Ascending, as ``numpy.linalg.eigh`` gives them.
    vectors : ndarray of float64, shape (c, c)
        Their vectors, as columns.
    k : int
        At most c.
    basis : ndarray of float64, shape (n, c), optional
        What the vectors are combinations of.

    Notes
    -----
    The element of largest magnitude of each vector is positive. An eigenvalue below ``c``
    roundings of the largest one is 0: measured, sums of products of low rank leave up to three.
    """
    largest = values[-k:][::-1]
    chosen = vectors[:, -k:][:, ::-1]
    if basis is not None:
        chosen = basis @ chosen
    floor = max(values.size, 16) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    squared = np.where(largest > floor, largest, 0.0)
    strongest = np.abs(chosen).argmax(axis=0)
    signs = np.sign(np.take_along_axis(chosen, strongest[np.newaxis], axis=0))
    return SmallFactor(chosen * signs, np.sqrt(squared))


class TallPart(NamedTuple):
    """What the last pass makes of one block."""

    rows: NDArray[np.floating[Any]]
    """Shape (r, k): the block's rows of the tall factor."""
    applied: Doubles
    """Shape (n, k): the block's share of ``X.T @ X @ vectors``."""


def tall_step(
    slabs: Iterable[NDArray[np.floating[Any]]], small: SmallFactor, *, n_rows: int, dtype: Any
) -> TallPart:
    """Give the rows of the tall factor that belong to a block, and their share of its check.

    Parameters
    ----------
    slabs : iterable of ndarray, shape (up to n_rows, n)
        The block.
    small : SmallFactor
    n_rows : int
        Rows of the block.
    dtype : dtype
        Of the rows.

    Returns
    -------
    TallPart
        The rows are ``block @ vectors / values``, 0 where the singular value is 0.

    Examples
    --------
    >>> small = SmallFactor(np.eye(2), np.array([2.0, 0.0]))
    >>> tall_step([np.array([[2.0, 0.0]])], small, n_rows=1, dtype="float64")
    TallPart(rows=array([[1., 0.]]), applied=array([[4., 0.], [0., 0.]]))
    """
    n, k = small.vectors.shape
    rows = np.zeros((n_rows, k), dtype)
    applied = np.zeros((n, k))
    at, vectors = 0, small.vectors
    for slab in slabs:
        vectors = vectors.astype(slab.dtype, copy=False)
        products = slab @ vectors
        applied += slab.T @ products
        here = rows[at : at + len(slab)]
        np.divide(products, small.values, out=here, where=small.values > 0, casting="same_kind")
        at += len(slab)
    return TallPart(rows, applied)


def true_residuals(applied: Doubles, small: SmallFactor) -> Doubles:
    """Measure how far each component is from being a singular pair of the data just read.

    Parameters
    ----------
    applied : ndarray of float64, shape (n, k)
        ``X.T @ X @ vectors``: the sum of ``TallPart.applied`` over all blocks.
    small : SmallFactor

    Returns
    -------
    ndarray of float64, shape (k,)
        ``norm(X.T @ X @ v - s**2 * v) / s**2``, which is ``norm(X.T @ u - s * v) / s`` with
        ``u = X @ v / s``. Where s is 0, ``norm(X.T @ X @ v) / s[0]**2``. 0 if all of X is 0.

    Notes
    -----
    There is an eigenvalue of ``X.T @ X`` within this share of ``s**2``, and the vector is within
    this over the relative gap of the right one (Parlett 1998, The Symmetric Eigenvalue Problem,
    theorems 4.5.1 and 11.7.1).

    Examples
    --------
    >>> small = SmallFactor(np.eye(2), np.array([2.0, 1.0]))
    >>> true_residuals(np.array([[4.0, 0.0], [0.0, 1.5]]), small)
    array([0. , 0.5])
    """
    off = np.linalg.norm(applied - small.vectors * small.values**2, axis=0)
    return residual_norms(off, small.values)


def residual_norms(off: Doubles, values: Doubles) -> Doubles:
    """Divide norms of ``X.T @ X @ v - s**2 * v`` by what they are relative to."""
    scale = np.where(values > 0, values, values[0]) ** 2
    relative: Doubles = np.divide(off, scale, out=off, where=scale > 0)
    return relative


def squares_of(slab: NDArray[np.floating[Any]]) -> float:
    """Sum the squares of a slab: rows in their own precision, then rows in float64."""
    turned = slab.T if slab.flags.f_contiguous else slab
    return float(np.einsum("ij,ij->i", turned, turned).sum(dtype=np.float64))


def refuse_not_finite(block: NDArray[Any], squares: float) -> None:
    """Refuse a block whose products are not finite; a NaN or infinity reaches its squares."""
    if math.isfinite(squares):
        return
    finite = np.isfinite(block)
    if finite.all():
        raise InvalidArgumentError(
            "cannot decompose x: squares overflow float64 (values reach "
            f"{float(np.abs(block).max()):.3g}). Divide x by a power of ten first."
        )
    at = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), block.shape))
    raise InvalidArgumentError(
        f"cannot decompose x: expected finite values, got {block[at]} at {at} of a block. "
        "Standardise with missing=float('nan'), or replace such values first."
    )

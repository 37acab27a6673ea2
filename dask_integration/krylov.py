"""Block Krylov passes: what is known after each, and what the next one should look at.

Floor 1: no dask, no store, no threads. A pass multiplies an orthonormal block W by ``X.T @ X``;
all blocks so far span the space in which the best vectors are looked for (Rayleigh-Ritz)::

    pass p     W_p (n, w)  --one read of X-->  X.T @ X @ W_p
    known      Q = [W_1 ... W_p],  H = X.T @ X @ Q
    Ritz       Q.T @ H = Y L Y.T     v = Q @ y,  s = sqrt(l)
    residual   norm(H @ y - l * v) / l          nothing more to read: H is at hand
    next       W_(p+1) = orthonormal part of H_p that Q does not span

When Q has no room for another block it is replaced by its leading Ritz vectors, and H by what is
known of them, so that no pass is lost (thick restart).

Source: Musco and Musco 2015 (NeurIPS 28, algorithm 2) for block Krylov with Rayleigh-Ritz; Halko,
Martinsson and Tropp 2011 (SIAM Review 53, section 4.1) for the random start; Wu and Simon 2000
(SIAM J. Matrix Anal. Appl. 22, section 3) for the restart; one read a step as in PCAone (Li,
Meisner and Albrechtsen 2023, Genome Research 33, algorithm 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dask_integration.factors import Doubles, SmallFactor, leading, residual_norms

__all__ = [
    "KrylovState",
    "advance",
    "krylov_height",
    "krylov_start",
    "krylov_step",
    "restarted",
]

_SLAB_ELEMENTS = 1 << 18
"""One megabyte as float32: both products of a step find the slab in the processor's cache."""

_SLAB_ROWS = 128
"""With fewer rows a slab, adding up results of n rows would take a tenth of the products' time."""

_WEAK = 1e-10
"""A direction this short beside the one it came from holds rounding errors and little else."""


class KrylovState(NamedTuple):
    """All that is known between two passes, and all that a checkpoint has to keep."""

    basis: Doubles
    """Shape (n, c): orthonormal columns that passes have multiplied."""
    applied: Doubles
    """Shape (n, c): ``X.T @ X @ basis``."""
    block: Doubles
    """Shape (n, up to width): what the next pass multiplies, orthonormal to the basis too."""


def krylov_height(n: int) -> int:
    """Choose the rows of a slab."""
    return max(_SLAB_ROWS, _SLAB_ELEMENTS // max(n, 1))


def krylov_start(n: int, width: int, *, seed: int) -> KrylovState:
    """Begin with random directions.

    Examples
    --------
    >>> start = krylov_start(5, 2, seed=0)
    >>> bool(np.allclose(start.block.T @ start.block, np.eye(2))), start.basis.shape
    (True, (5, 0))
    """
    drawn = np.random.default_rng([seed, 0]).standard_normal((n, width))
    return restarted(np.linalg.qr(drawn)[0])


def restarted(block: Doubles) -> KrylovState:
    """Begin with given directions, orthonormal columns."""
    empty = np.empty((len(block), 0))
    return KrylovState(empty, empty, block)


def krylov_step(slabs: Iterable[NDArray[np.floating[Any]]], block: Doubles) -> Doubles:
    """Apply ``X.T @ X`` to a few directions, as far as one block of rows of X goes.

    Parameters
    ----------
    slabs : iterable of ndarray, shape (r, n)
        The block of rows.
    block : ndarray of float64, shape (n, width)
        The directions.

    Returns
    -------
    ndarray of float64, shape (n, width)
        ``X.T @ (X @ block)``.

    Examples
    --------
    >>> krylov_step([np.array([[1.0, 2.0]])], np.eye(2))
    array([[1., 2.],
           [2., 4.]])
    """
    applied = np.zeros(block.shape)
    directions: NDArray[np.floating[Any]] = block
    for slab in slabs:
        directions = directions.astype(slab.dtype, copy=False)
        applied += slab.T @ (slab @ directions)
    return applied


def advance(
    state: KrylovState, products: Doubles, *, k: int, max_columns: int, seed: int
) -> tuple[KrylovState, SmallFactor, Doubles]:
    """Take in what a pass found: the best vectors so far, and the state for the next pass.

    Parameters
    ----------
    state : KrylovState
        What the pass began with.
    products : ndarray of float64, shape (n, width)
        Sum of ``krylov_step`` over all blocks, for ``state.block``.
    k : int
        Number of components, at most the columns of basis and block.
    max_columns : int
        Columns that basis and block may have together.
    seed : int
        For the directions that replace dependent ones.

    Returns
    -------
    KrylovState
        Its block is empty where no direction is left.
    SmallFactor
    residuals : ndarray of float64, shape (k,)
        As ``factors.true_residuals``, from the products of all passes.

    Examples
    --------
    >>> x = np.diag([3.0, 2.0])
    >>> start = restarted(np.eye(2))
    >>> _, small, residuals = advance(start, x.T @ x, k=2, max_columns=4, seed=0)
    >>> small.values, residuals
    (array([3., 2.]), array([0., 0.]))
    """
    basis = np.hstack([state.basis, state.block])
    applied = np.hstack([state.applied, products])
    projected = basis.T @ applied
    values, vectors = np.linalg.eigh((projected + projected.T) / 2)
    small = leading(values, vectors, k=k, basis=basis)
    chosen = vectors[:, ::-1]
    off = applied @ chosen[:, :k] - (basis @ chosen[:, :k]) * small.values**2
    residuals = residual_norms(np.linalg.norm(off, axis=0), small.values)

    block = _next_block(basis, products, seed=seed)
    if basis.shape[1] + 2 * block.shape[1] > max_columns:
        kept = chosen[:, : max(k, max_columns // 2)]
        basis, applied = basis @ kept, applied @ kept
    return KrylovState(basis, applied, block), small, residuals


def _next_block(basis: Doubles, products: Doubles, *, seed: int) -> Doubles:
    """Find what a pass added to the space that is known so far.

    A pass over an array of low rank adds fewer directions than it has columns. The others are
    drawn anew, so that all blocks together stay orthonormal and no pass is wasted.
    """
    n, n_known = basis.shape
    new = products[:, : min(products.shape[1], n - n_known)]
    norms = np.linalg.norm(new, axis=0)
    new = new / np.where(norms > 0, norms, 1.0)
    draw = np.random.default_rng([seed, n_known])
    # Three rounds: after each, columns that almost vanished are replaced; the last only purifies.
    for is_last in (False, False, True):
        new, lengths = np.linalg.qr(new - basis @ (basis.T @ new))
        weak = np.abs(np.diagonal(lengths)) < _WEAK
        if not is_last and weak.any():
            new[:, weak] = draw.standard_normal((n, int(weak.sum()))) / math.sqrt(n)
    return new

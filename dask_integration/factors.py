"""numpy functions of the singular value decomposition: Gram, block Krylov step, tall factor.

Floor 0: no dask, no store, no threads. ``svd`` maps the functions of one block over an array of
shape (m, n) cut into blocks of whole rows, adds up what they return, and runs the others once::

    one task a block                     once, on sums of shape (n, ...)
    gram          X_b.T @ X_b       ->   gram_factor                      -> SmallFactor
    krylov_step   X_b.T @ X_b @ W   ->   krylov_basis, last ritz_factor   -> SmallFactor
    tall_step     X_b @ V / s       ->   true_residuals

Every product and sum is carried in float64, also for float32 blocks: ``X.T @ X`` squares the
condition of X, and in float32 a singular value below a thousandth of the largest would drown.

Left out: which block runs where, and how partial results meet.

Source: Musco and Musco 2015 (NeurIPS 28, algorithm 2) for block Krylov with Rayleigh-Ritz, here
with the basis kept orthonormal from pass to pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError

__all__ = [
    "SmallFactor",
    "explained_variance_ratio",
    "gram",
    "gram_factor",
    "krylov_basis",
    "krylov_start",
    "krylov_step",
    "ritz_factor",
    "tall_step",
    "true_residuals",
]

Doubles: TypeAlias = NDArray[np.float64]

_SLAB_ELEMENTS = 1 << 17
"""One megabyte as float64: both products of a step find the slab in the processor's cache."""

_SLAB_ROWS = 64
"""With fewer rows a slab, adding up results of n rows would take longer than the products."""

_WEAK = 1e-10
"""A direction this short beside the one it came from holds rounding errors and little else."""


class SmallFactor(NamedTuple):
    """The half of a decomposition that fits one task, before the tall factor is known.

    Travels between tasks as one float64 block of shape (n + 2, k): the vectors, then the
    singular values, then the total repeated.
    """

    vectors: Doubles
    """Shape (n, k): orthonormal columns, largest singular value first."""
    values: Doubles
    """Shape (k,): singular values; exactly 0 for what rounding cannot tell from 0."""
    total: float
    """Sum of the squares of all elements: the sum of all squared singular values."""

    def pack(self) -> Doubles:
        """Stack the three into one block."""
        return np.vstack([self.vectors, self.values, np.full_like(self.values, self.total)])

    @classmethod
    def unpack(cls, block: Doubles) -> SmallFactor:
        """Undo ``pack``."""
        return cls(block[:-2], block[-2], float(block[-1, 0]))


def gram(block: NDArray[Any]) -> Doubles:
    """Multiply the transpose of a block by the block.

    Parameters
    ----------
    block : ndarray, shape (r, n)

    Returns
    -------
    ndarray of float64, shape (n, n)

    Raises
    ------
    InvalidArgumentError
        For NaN, infinity, or squares that overflow.

    Notes
    -----
    Holds two results and a slab of the block as float64. BLAS computes one triangle only.

    Examples
    --------
    >>> gram(np.array([[1, 2], [0, 1]], dtype="int8"))
    array([[1., 2.],
           [2., 5.]])
    """
    n = block.shape[1]
    total = np.zeros((n, n))
    # The result has n columns here, so it takes more rows to outweigh adding it up.
    for slab in _slabs(block, at_least=max(_SLAB_ROWS, n // 2)):
        with np.errstate(over="ignore", invalid="ignore"):
            total += slab.T @ slab
    _refuse_bad_products(block, float(np.trace(total)))
    return total


def gram_factor(total: Doubles, *, k: int) -> Doubles:
    """Decompose a Gram matrix into the leading singular values and right singular vectors.

    Parameters
    ----------
    total : ndarray of float64, shape (n, n)
        ``X.T @ X``: the sum of ``gram`` over all blocks.
    k : int
        Number of components, at most n.

    Returns
    -------
    ndarray of float64
        A packed ``SmallFactor``.

    Notes
    -----
    Exact to rounding. An eigenvalue below ``n`` roundings of the largest one is 0: a Gram matrix
    cannot show singular values below about ``1e-8 * sqrt(n)`` of the largest.

    Examples
    --------
    >>> small = SmallFactor.unpack(gram_factor(np.diag([9.0, 4.0, 0.0]), k=2))
    >>> small.values, small.total
    (array([3., 2.]), 13.0)
    """
    values, vectors = np.linalg.eigh(total)
    return _leading(values, vectors, k=k, total=float(np.trace(total))).pack()


def krylov_start(n: int, width: int, *, seed: int) -> Doubles:
    """Draw an orthonormal start basis of shape (n, width).

    Examples
    --------
    >>> start = krylov_start(5, 2, seed=0)
    >>> bool(np.allclose(start.T @ start, np.eye(2)))
    True
    """
    drawn = np.random.default_rng([seed, 0]).standard_normal((n, width))
    return np.linalg.qr(drawn)[0]


def krylov_step(block: NDArray[Any], basis: Doubles) -> Doubles:
    """Apply ``X.T @ X`` to a basis, as far as one block of rows of X goes.

    Parameters
    ----------
    block : ndarray, shape (r, n)
    basis : ndarray of float64, shape (n, width)

    Returns
    -------
    ndarray of float64, shape (n + 1, width)
        ``block.T @ (block @ basis)``; the last row starts with the sum of the block's squares.
        Summed over all blocks, both are those of X.

    Raises
    ------
    InvalidArgumentError
        For NaN, infinity, or squares that overflow.

    Examples
    --------
    >>> krylov_step(np.array([[1.0, 2.0]]), np.eye(2))
    array([[1., 2.],
           [2., 4.],
           [5., 0.]])
    """
    n, width = basis.shape
    applied = np.zeros((n + 1, width))
    for slab in _slabs(block):
        with np.errstate(over="ignore", invalid="ignore"):
            applied[:n] += slab.T @ (slab @ basis)
            flat = slab.ravel(order="K")
            applied[n, 0] += flat @ flat
    _refuse_bad_products(block, float(applied[n, 0]))
    return applied


def krylov_basis(applied: Doubles, *bases: Doubles, seed: int) -> Doubles:
    """Find the next basis: what a pass added to the space that is known so far.

    Parameters
    ----------
    applied : ndarray of float64, shape (n + 1, width)
        Sum of ``krylov_step`` over all blocks, for the last of ``bases``.
    *bases : ndarray of float64, shape (n, width) each
        All bases so far, together orthonormal.
    seed : int
        For the directions that replace dependent ones.

    Returns
    -------
    ndarray of float64, shape (n, at most width)
        Orthonormal, and orthogonal to ``bases``; narrower where fewer directions are left.

    Notes
    -----
    A pass over an array of low rank adds fewer directions than it has columns. The others are
    drawn anew, so that all bases together stay orthonormal and no pass is wasted.

    Examples
    --------
    >>> first = np.eye(3)[:, :1]
    >>> abs(krylov_basis(np.array([[1.0], [2.0], [0.0], [9.0]]), first, seed=0)).round(12)
    array([[0.],
           [1.],
           [0.]])
    """
    known = np.hstack(bases)
    n, n_known = known.shape
    new = applied[:n, : min(applied.shape[1], n - n_known)]
    norms = np.linalg.norm(new, axis=0)
    new = new / np.where(norms > 0, norms, 1.0)
    draw = np.random.default_rng([seed, n_known])
    # Three rounds: after each, columns that almost vanished are replaced; the last only purifies.
    for is_last in (False, False, True):
        new, lengths = np.linalg.qr(new - known @ (known.T @ new))
        weak = np.abs(np.diagonal(lengths)) < _WEAK
        if not is_last and weak.any():
            new[:, weak] = draw.standard_normal((n, int(weak.sum()))) / math.sqrt(n)
    return new


def ritz_factor(*bases_then_applied: Doubles, k: int) -> Doubles:
    """Find the best singular values and vectors within all bases (Rayleigh-Ritz).

    Parameters
    ----------
    *bases_then_applied : ndarray of float64
        All bases in order, then for each the sum of ``krylov_step`` over all blocks.
    k : int
        Number of components, at most the columns of all bases.

    Returns
    -------
    ndarray of float64
        A packed ``SmallFactor``.

    Raises
    ------
    InvalidArgumentError
        If passes saw different sums of squares: the source changed while it was read.

    Examples
    --------
    >>> x = np.diag([3.0, 2.0])
    >>> ritz = ritz_factor(np.eye(2), krylov_step(x, np.eye(2)), k=2)
    >>> SmallFactor.unpack(ritz).values
    array([3., 2.])
    """
    n_passes = len(bases_then_applied) // 2
    basis = np.hstack(bases_then_applied[:n_passes])
    applied = np.hstack([one[:-1] for one in bases_then_applied[n_passes:]])
    totals = [float(one[-1, 0]) for one in bases_then_applied[n_passes:]]
    if max(totals) - min(totals) > 1e-9 * max(totals):
        raise InvalidArgumentError(
            "cannot decompose x: its sum of squares differs between passes "
            f"({min(totals):.17g} and {max(totals):.17g}), so its source changed while it was "
            "read. Let no job write to it, then run again."
        )
    projected = basis.T @ applied
    values, vectors = np.linalg.eigh((projected + projected.T) / 2)
    return _leading(values, vectors, k=k, total=totals[0], basis=basis).pack()


def _leading(
    values: Doubles, vectors: Doubles, *, k: int, total: float, basis: Doubles | None = None
) -> SmallFactor:
    """Take the k largest of ascending eigenpairs, with signs fixed and noise set to 0."""
    largest = values[-k:][::-1]
    chosen = vectors[:, -k:][:, ::-1]
    if basis is not None:
        chosen = basis @ chosen
    # Measured: sums of products of low rank leave eigenvalues of up to 3 eps of the largest.
    floor = max(values.size, 16) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    squared = np.where(largest > floor, largest, 0.0)
    return SmallFactor(_fix_signs(chosen), np.sqrt(squared), total)


def _fix_signs(vectors: Doubles) -> Doubles:
    """Make the element of largest magnitude of each column positive."""
    strongest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(np.take_along_axis(vectors, strongest[np.newaxis], axis=0))
    fixed: Doubles = vectors * signs
    return fixed


def tall_step(block: NDArray[Any], small: Doubles) -> Doubles:
    """Give the rows of the tall factor that belong to a block, and their share of its check.

    Parameters
    ----------
    block : ndarray, shape (r, n)
    small : ndarray of float64, shape (n + 2, k)
        A packed ``SmallFactor``.

    Returns
    -------
    ndarray of float64, shape (r + n, k)
        First the r rows ``block @ vectors / values``, 0 where the singular value is 0. Then
        ``block.T @ block @ vectors``, which summed over all blocks goes to ``true_residuals``.

    Examples
    --------
    >>> small = SmallFactor(np.eye(2), np.array([2.0, 0.0]), 4.0).pack()
    >>> tall_step(np.array([[2.0, 0.0]]), small)
    array([[1., 0.],
           [4., 0.],
           [0., 0.]])
    """
    vectors, values, _ = SmallFactor.unpack(small)
    n_rows, n = block.shape
    result = np.zeros((n_rows + n, values.size))
    at = 0
    for slab in _slabs(block):
        rows = slab @ vectors
        result[n_rows:] += slab.T @ rows
        np.divide(rows, values, out=result[at : at + len(rows)], where=values > 0)
        at += len(rows)
    return result


def true_residuals(applied: Doubles, small: Doubles) -> Doubles:
    """Measure how far each component is from being a singular pair of the data just read.

    Parameters
    ----------
    applied : ndarray of float64, shape (n, k)
        ``X.T @ X @ vectors``: the sum of the last n rows of ``tall_step`` over all blocks.
    small : ndarray of float64, shape (n + 2, k)
        A packed ``SmallFactor``.

    Returns
    -------
    ndarray of float64, shape (k,)
        ``norm(X.T @ u - s * v) / s`` with ``u = X @ v / s``; where s is 0,
        ``norm(X.T @ X @ v) / s[0]**2``. 0 if all of X is 0.

    Examples
    --------
    >>> small = SmallFactor(np.eye(2), np.array([2.0, 1.0]), 5.0).pack()
    >>> true_residuals(np.array([[4.0, 0.0], [0.0, 1.5]]), small)
    array([0. , 0.5])
    """
    vectors, values, _ = SmallFactor.unpack(small)
    off: Doubles = np.linalg.norm(applied - vectors * values**2, axis=0)
    scale = np.where(values > 0, values, values[0]) ** 2
    np.divide(off, scale, out=off, where=scale > 0)
    return off


def explained_variance_ratio(small: Doubles) -> Doubles:
    """Give each component's share of the total sum of squares; 0 if all of X is 0.

    Examples
    --------
    >>> explained_variance_ratio(SmallFactor(np.eye(2), np.array([3.0, 2.0]), 20.0).pack())
    array([0.45, 0.2 ])
    """
    _, values, total = SmallFactor.unpack(small)
    shares: Doubles = values**2 / (total if total > 0 else 1.0)
    return shares


def _slabs(block: NDArray[Any], *, at_least: int = _SLAB_ROWS) -> Iterator[Doubles]:
    """Walk over a block in slabs of rows, as float64."""
    n_rows, n = block.shape
    height = max(at_least, _SLAB_ELEMENTS // max(n, 1))
    for start in range(0, n_rows, height):
        yield np.asarray(block[start : start + height], dtype=np.float64)


def _refuse_bad_products(block: NDArray[Any], squares: float) -> None:
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

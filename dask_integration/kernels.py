"""numpy functions on one block: its moments, and what to subtract and to divide by.

Floor 0: no dask, no store, no threads. Here each is an ordinary function that can be tested alone;
``scaling`` applies them, ``scaler`` maps them over the blocks of an array. The kernels of the
singular value decomposition are in ``factors``, ``gram`` and ``krylov``.

Moments of one row (or of whatever lies along the axis) are three float64 numbers kept where the
values were, so that moments of a block are again a block::

    block (4, 1000)   --moments(axis=1)-->   (4, 3) :  count | mean  | squared deviations
                                                       n     | sum/n | sum((x - mean)**2)

Blocks are walked in tiles that fit the processor's cache, so an int8 block of 100 MB becomes
float64 half a megabyte at a time.

Left out: which block runs where, and how partial results meet.

Source: Chan, Golub and LeVeque 1983 (The American Statistician 37, eq. 2.1) for the merge of
moments; Patterson, Price and Reich 2006 (PLoS Genetics 2, e190, eq. 1-3) for the genotype scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError

__all__ = [
    "Doubles",
    "ScaleRule",
    "is_reversed",
    "known_values",
    "mean_and_factor",
    "merge_moments",
    "moments",
    "refuse_blocks",
    "tiles",
]

ScaleRule: TypeAlias = Literal["std", "patterson"] | None
"""What divides the centred values: the standard deviation, the genotype scale, or nothing."""

Doubles: TypeAlias = NDArray[np.float64]

_DOSAGE_SLACK = 1e-3
"""How far outside 0 to the ploidy a dosage may lie: what float16 makes of an imputed 0 or 2."""

_TILE_ELEMENTS = 65_536
"""Half a megabyte as float64: a tile and its work space fit a level-2 cache."""

_EXACT_FLOAT32 = 1 << 24
"""Sums of integers are exact in float32 up to here."""


def refuse_blocks(
    doing: str, *, shape: tuple[float, ...], dtype: np.dtype[Any], block_type: type
) -> None:
    """Refuse arrays whose blocks these functions would misread.

    Parameters
    ----------
    doing : str
        Verb for the message.
    shape : tuple of int or NaN
        NaN where the extent is not known.
    dtype : dtype
        Expected boolean, integer or real, of up to 64 bits.
    block_type : type
        Expected ``numpy.ndarray`` itself.

    Raises
    ------
    InvalidArgumentError
        Says which it is, and what to do.

    Examples
    --------
    >>> refuse_blocks("sum", shape=(2,), dtype=np.dtype("int8"), block_type=np.ndarray)
    """
    named = f"cannot {doing} an array of shape {shape} and dtype {dtype}"
    if dtype.kind not in "biuf" or dtype.itemsize > np.dtype(np.float64).itemsize:
        raise InvalidArgumentError(
            f"{named}: expected booleans, integers or real floats of up to 64 bits. "
            "Convert it with astype first."
        )
    if block_type is not np.ndarray:
        raise InvalidArgumentError(
            f"{named}: expected blocks of numpy.ndarray, got {block_type.__name__}. "
            "Convert it first; where a mask says what is missing, fill it with a value of its own."
        )
    if any(math.isnan(extent) for extent in shape):
        raise InvalidArgumentError(
            f"{named}: the sizes of its blocks are not known. Call compute_chunk_sizes() first."
        )


def moments(
    block: NDArray[Any], *, axis: int, missing: float | None = None, ploidy: int | None = None
) -> Doubles:
    """Count, average and spread the values along one axis of a block.

    Parameters
    ----------
    block : ndarray
        Booleans, integers or real floats.
    axis : int
        Axis whose values are summed up.
    missing : float, optional
        The value that stands for "not known": NaN, or a number. Left out of all three moments.
    ploidy : int, optional
        Refuse values outside 0 to this: they are no dosages.

    Returns
    -------
    ndarray of float64
        Shape of ``block`` with 3 along ``axis``: count, mean, sum of squared deviations. Where
        nothing is known all three are 0. The third is exactly 0 if and only if all known values
        are equal (or differ by less than the square root of the smallest float).

    Raises
    ------
    InvalidArgumentError
        For NaN or infinity that is not declared missing, and for values that are no dosages.

    Notes
    -----
    Integers of 8 bits are summed exactly. Other values are shifted by the first one before they
    are squared, so that a small spread around a large mean keeps its digits.

    Examples
    --------
    >>> moments(np.array([[1, 3, -1], [5, 5, 5]], dtype="int8"), axis=1, missing=-1)
    array([[2., 2., 2.],
           [3., 5., 0.]])
    """
    values = np.asarray(block)
    if is_reversed(values):
        swapped = moments(values.T, axis=values.ndim - 1 - axis, missing=missing, ploidy=ploidy)
        return swapped.T
    result = np.zeros((*values.shape[:axis], 3, *values.shape[axis + 1 :]))
    summarise = _sums_of_bytes if values.dtype.itemsize == 1 else _shifted_sums
    for tile in tiles(values.shape):
        here = (*tile[:axis], slice(None), *tile[axis + 1 :])
        known = known_values(values[tile], missing)
        part = summarise(values[tile], known, axis=axis, ploidy=ploidy)
        is_first = tile[axis].start == 0
        result[here] = part if is_first else merge_moments([result[here], part], axis=axis)
    return result


def _sums_of_bytes(
    tile: NDArray[Any], known: NDArray[np.bool_] | None, *, axis: int, ploidy: int | None
) -> Doubles:
    """Moments from exact sums: no sum of a tile of bytes outgrows a float64's integers."""
    extent = tile.shape[axis]
    if known is not None:
        # Zeros for what is missing; on bytes this costs a tenth of what it costs on floats.
        tile = tile * known
    low, high = int(tile.min()), int(tile.max())
    if ploidy is not None:
        _refuse_no_dosage(low, high, ploidy)
    largest = max(abs(low), abs(high))
    work = np.float32 if extent * largest**2 <= _EXACT_FLOAT32 else np.float64
    values: NDArray[np.floating[Any]] = tile.astype(work)
    if known is None:
        count: Any = float(extent)
    else:
        count = _add_along(known.astype(np.float32), axis)
    total = _add_along(values, axis)
    values *= values
    squares = _add_along(values, axis)
    divisor = np.maximum(count, 1.0)
    return _side_by_side(
        count, total / divisor, (count * squares - total * total) / divisor, axis=axis
    )


def _add_along(values: NDArray[np.floating[Any]], axis: int) -> Doubles:
    """Sum along an axis where every order of adding is exact."""
    # einsum adds in plain order, in half the time of numpy's pairwise sum.
    letters = "abcdefghijklmnopqrstuvwxyz"[: values.ndim]
    total = np.einsum(f"{letters}->{letters.replace(letters[axis], '')}", values)
    return np.expand_dims(np.asarray(total, dtype=np.float64), axis)


def _shifted_sums(
    tile: NDArray[Any], known: NDArray[np.bool_] | None, *, axis: int, ploidy: int | None
) -> Doubles:
    """Moments by two sweeps over values shifted by the first known one of each row."""
    values = tile.astype(np.float64)
    if known is None:
        count: Any = float(tile.shape[axis])
        pivot = np.take(values, [0], axis=axis)
    else:
        count = known.sum(axis=axis, keepdims=True, dtype=np.float64)
        first = np.expand_dims(known.argmax(axis=axis), axis)
        np.copyto(values, 0.0, where=~known)
        pivot = np.take_along_axis(values, first, axis=axis)
    if ploidy is not None:
        _refuse_no_dosage(float(values.min()), float(values.max()), ploidy)
    # Infinities and overflow are looked for in the sums, which costs nothing per value.
    with np.errstate(invalid="ignore", over="ignore"):
        _shift(values, pivot, known)
        offset = values.sum(axis=axis, keepdims=True) / np.maximum(count, 1.0)
        _shift(values, offset, known)
        values *= values
        squares = values.sum(axis=axis, keepdims=True)
    if not np.isfinite(squares).all():
        _refuse_not_finite(tile, known)
    return _side_by_side(count, pivot + offset, squares, axis=axis)


def _shift(values: Doubles, by: Doubles, known: NDArray[np.bool_] | None) -> None:
    """Subtract in place; what is not known stays 0."""
    values -= by
    if known is not None:
        np.copyto(values, 0.0, where=~known)


def _side_by_side(count: Any, mean: Doubles, squares: Doubles, *, axis: int) -> Doubles:
    counts = np.broadcast_to(np.asarray(count, dtype=np.float64), mean.shape)
    return np.concatenate([counts, mean, squares], axis=axis)


def _refuse_no_dosage(low: float, high: float, ploidy: int) -> None:
    # A NaN fails no comparison; the sums show it.
    if low < -_DOSAGE_SLACK or high > ploidy + _DOSAGE_SLACK:
        odd = low if low < -_DOSAGE_SLACK else high
        kind = "diploid dosages from 0 to 2" if ploidy == 2 else f"dosages from 0 to {ploidy}"
        raise InvalidArgumentError(
            f'cannot scale by "patterson": expected {kind}, got {odd:g}. '
            "If this value marks missing calls, declare it with missing=.",
            value=odd,
        )


def _refuse_not_finite(tile: NDArray[Any], known: NDArray[np.bool_] | None) -> None:
    finite = np.isfinite(tile)
    if known is not None:
        finite |= ~known
    if finite.all():
        raise InvalidArgumentError(
            "cannot standardise: squared deviations overflow float64. "
            "Divide x by a power of ten first."
        )
    at = np.unravel_index(int(np.argmin(finite)), tile.shape)
    raise InvalidArgumentError(
        f"cannot average: expected finite values, got {tile[at]}. "
        "Declare NaN with missing=float('nan'), or replace such values first."
    )


def merge_moments(parts: Sequence[Doubles], *, axis: int) -> Doubles:
    """Merge the moments of disjoint sets of values into those of their union.

    Parameters
    ----------
    parts : sequence of ndarray
        Results of ``moments`` of the same shape, at least one.
    axis : int
        The axis that holds count, mean and squared deviations.

    Returns
    -------
    ndarray of float64
        Of the shape of one part. Equal values keep squared deviations of exactly 0.

    Notes
    -----
    Chan, Golub and LeVeque 1983, eq. 2.1; parts are merged in order, so the result of the same
    parts is the same to the last bit.

    Examples
    --------
    >>> merge_moments([np.array([2.0, 2.0, 2.0]), np.array([1.0, 5.0, 0.0])], axis=0)
    array([3., 3., 8.])
    """
    merged = parts[0]
    for part in parts[1:]:
        n, mean, squares = _three(merged, axis)
        n_more, mean_more, squares_more = _three(part, axis)
        count = n + n_more
        with np.errstate(over="ignore", invalid="ignore"):
            delta = mean_more - mean
            share = n_more / np.maximum(count, 1.0)
            squares = squares + squares_more + delta * delta * (n * share)
        merged = np.stack([count, mean + delta * share, squares], axis=axis)
    return merged


def _three(block: Doubles, axis: int) -> tuple[Doubles, Doubles, Doubles]:
    count, mean, squares = np.moveaxis(block, axis, 0)
    return count, mean, squares


def mean_and_factor(
    merged: Doubles, *, axis: int, scale: ScaleRule = "std", ddof: int = 0, ploidy: int = 2
) -> Doubles:
    """Turn moments into the mean to subtract and the factor to multiply by.

    Parameters
    ----------
    merged : ndarray of float64
        Moments over the whole axis.
    axis : int
        The axis that holds the three moments.
    scale : "std", "patterson" or None
        ``"std"``: ``1 / sqrt(squared deviations / (count - ddof))``. ``"patterson"``:
        ``1 / sqrt(p * (1 - p))`` with the allele frequency ``p = mean / ploidy``. None: 1.
    ddof : int
        What is taken off the count for ``"std"``.
    ploidy : int
        Copies of each chromosome, for ``"patterson"``.

    Returns
    -------
    ndarray of float64
        Shape of ``merged`` with 2 along ``axis``: mean, factor. The factor is 0 where the scale
        is 0 or not defined: equal values, fewer than ``ddof + 1`` known values, or no value
        known.

    Raises
    ------
    InvalidArgumentError
        If squared deviations overflowed.

    Examples
    --------
    >>> mean_and_factor(np.array([[4.0, 1.0, 1.0], [4.0, 7.0, 0.0]]), axis=1)
    array([[1., 2.],
           [7., 0.]])
    """
    count, mean, squares = _three(merged, axis)
    if not np.isfinite(squares).all():
        raise InvalidArgumentError(
            "cannot standardise: squared deviations overflow float64. "
            "Divide x by a power of ten first."
        )
    if scale == "std":
        variance = np.where(count > ddof, squares / np.maximum(count - ddof, 1.0), 0.0)
    elif scale == "patterson":
        frequency = mean / ploidy
        # The mean of rounded dosages may lie outside 0 to 2 by a hair.
        variance = np.where(squares > 0, np.maximum(frequency * (1 - frequency), 0.0), 0.0)
    else:
        variance = np.ones_like(mean)
    factor = np.divide(1.0, np.sqrt(variance), out=np.zeros_like(variance), where=variance > 0)
    return np.stack([mean, factor], axis=axis)


def known_values(tile: NDArray[Any], missing: float | None) -> NDArray[np.bool_] | None:
    """Mark the values that are not missing; None when that is all of them."""
    if missing is None:
        return None
    known = ~np.isnan(tile) if math.isnan(missing) else tile != missing
    return None if known.all() else known


def tiles(shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Cut a shape into tiles of a bounded size, whole along the last axes where possible."""
    sizes: list[int] = []
    left = _TILE_ELEMENTS
    for extent in reversed(shape):
        sizes.insert(0, max(1, min(extent, left)))
        left //= sizes[0]
    starts = [range(0, extent, size) for extent, size in zip(shape, sizes, strict=True)]
    for corner in product(*starts):
        yield tuple(slice(at, at + size) for at, size in zip(corner, sizes, strict=True))


def is_reversed(values: NDArray[Any]) -> bool:
    """Say whether the first axis is the dense one: then the walk is over the transpose."""
    return values.ndim > 1 and abs(values.strides[0]) < abs(values.strides[-1])

"""numpy functions that sum up one block along any axes, and merge what they found.

Floor 1: no dask, no store. A `Summary` holds what is needed of a block for the reductions asked
for, each an array with a single element along the reduced axes::

    block (4, 1000)   --summarise(axes=(1,))-->   count (4, 1) | total (4, 1) | low | high | …

Summaries of disjoint parts are merged in any grouping; `finish` makes the result of one reduction.

Sums of integers are exact: they are held as two integers, so that no order of adding overflows,
and only a result that its type cannot hold is refused. Variances are merged as counts, means and
squared deviations, never from sums of squares.

Source: Chan, Golub and LeVeque 1983 (The American Statistician 37, eq. 2.1), in ``kernels``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.kernels import merge_moments, moments

__all__ = [
    "REDUCTIONS",
    "Reduction",
    "Summary",
    "finish",
    "merge_summaries",
    "result_dtype",
    "summarise",
]

Reduction: TypeAlias = Literal["count", "max", "mean", "min", "std", "sum", "var"]

REDUCTIONS: tuple[Reduction, ...] = ("count", "max", "mean", "min", "std", "sum", "var")

Values: TypeAlias = NDArray[Any]

_HALF_BITS = 32
_HALF = 2**_HALF_BITS


class Summary(NamedTuple):
    """What is known of a part of an array; None for what no reduction needs."""

    n_known: NDArray[np.int64]
    """Values that are not missing."""
    total: NDArray[np.float64] | None
    """Sum of floats."""
    halves: NDArray[np.int64] | None
    """Sum of integers as ``halves[0] * 2**32 + halves[1]``."""
    spread: NDArray[np.float64] | None
    """Count, mean and squared deviations, along the first axis."""
    low: Values | None
    high: Values | None


def result_dtype(name: Reduction, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give the data type of a reduction of an array.

    Examples
    --------
    >>> result_dtype("sum", np.dtype("int8")), result_dtype("mean", np.dtype("float32"))
    (dtype('int64'), dtype('float64'))
    """
    if name in ("min", "max"):
        return dtype
    if name == "count" or (name == "sum" and dtype.kind in "bi"):
        return np.dtype(np.int64)
    return np.dtype(np.uint64 if name == "sum" and dtype.kind == "u" else np.float64)


def summarise(
    block: Values,
    *,
    axes: tuple[int, ...],
    names: Collection[Reduction],
    missing: Sequence[float] = (),
) -> Summary:
    """Sum up a block along some axes.

    Parameters
    ----------
    block : ndarray
        Booleans, integers or real floats of up to 64 bits.
    axes : tuple of int
        Axes to reduce.
    names : collection of Reduction
        What will be asked for.
    missing : sequence of float
        Values that stand for "not known", NaN among them where it does.

    Examples
    --------
    >>> summarise(np.array([[1, 3, -1]], "int8"), axes=(1,), names=["max"], missing=[-1])[:1]
    (array([[2]]),)
    """
    values = np.asarray(block)
    known = _known(values, missing)
    how: dict[str, Any] = {"axis": axes, "keepdims": True, "where": known}
    least, greatest = _ends(values.dtype)
    wanted = set(names)
    total = halves = spread = low = high = None
    # What is not finite goes through as numpy lets it through, without its warnings.
    with np.errstate(invalid="ignore", over="ignore"):
        if wanted & {"sum", "mean"}:
            if values.dtype.kind == "f":
                total = np.sum(values, dtype=np.float64, **how)
            else:
                halves = _exact_sum(values, known, axes)
        if wanted & {"var", "std"}:
            spread = _spread(values, known, axes, missing)
        if "min" in wanted:
            low = np.min(values, initial=greatest, **how)
        if "max" in wanted:
            high = np.max(values, initial=least, **how)
    return Summary(_count(values, known, axes), total, halves, spread, low, high)


def merge_summaries(parts: Sequence[Summary]) -> Summary:
    """Merge the summaries of disjoint parts into that of their union.

    Examples
    --------
    >>> one = summarise(np.array([1, 2]), axes=(0,), names=["sum"])
    >>> finish(merge_summaries([one, one]), name="sum", dtype=np.dtype(int))
    array([6])
    """
    counts, totals, halves, spreads, lows, highs = zip(*parts, strict=True)
    return Summary(
        n_known=_folded(np.add, counts),
        total=_folded(np.add, totals),
        halves=None if halves[0] is None else _carried(_folded(np.add, halves)),
        spread=None if spreads[0] is None else merge_moments(spreads, axis=0),
        low=_folded(np.minimum, lows),
        high=_folded(np.maximum, highs),
    )


def finish(
    summary: Summary,
    *,
    name: Reduction,
    dtype: np.dtype[Any],
    ddof: int = 0,
    missing: Sequence[float] = (),
) -> Values:
    """Make the result of one reduction.

    Parameters
    ----------
    summary : Summary
        Of everything that is reduced.
    name : Reduction
        Which result.
    dtype : dtype
        Of the array that was reduced.
    ddof : int
        What is taken off the count for "var" and "std".
    missing : sequence of float
        As in `summarise`.

    Returns
    -------
    ndarray
        Of `result_dtype`. Where nothing is known, a sum is 0, mean, variance and deviation are NaN,
        and the least and greatest value are the first of `missing`, or NaN.

    Raises
    ------
    InvalidArgumentError
        If a sum of integers is out of range.
    """
    count = summary.n_known
    if name == "count":
        return count
    if name in ("min", "max"):
        found: Any = summary.low if name == "min" else summary.high
        nothing = missing[0] if missing else math.nan
        # Integers have a missing value wherever something may be missing.
        return found if count.all() else np.where(count > 0, found, np.array(nothing, dtype))
    if name == "sum" and summary.halves is not None:
        return _whole(summary.halves, dtype)
    if name in ("var", "std"):
        assert summary.spread is not None
        variance = _divided(summary.spread[2], np.maximum(count - ddof, 0))
        return np.sqrt(variance) if name == "std" else variance
    total: Any = summary.total
    if summary.halves is not None:
        total = summary.halves[0] * float(_HALF) + summary.halves[1]
    return _divided(total, count) if name == "mean" else np.asarray(total)


def _known(values: Values, missing: Sequence[float]) -> Any:
    """Mark the values that are not missing; True when that is all of them."""
    known: Any = True
    for value in missing:
        here = ~np.isnan(values) if math.isnan(value) else values != value
        known = here if known is True else known & here
    return True if known is True or known.all() else known


def _count(values: Values, known: Any, axes: tuple[int, ...]) -> NDArray[np.int64]:
    if known is True:
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(values.shape))
        return np.full(shape, math.prod(values.shape[axis] for axis in axes), np.int64)
    counts: NDArray[np.int64] = np.sum(known, axis=axes, dtype=np.int64, keepdims=True)
    return counts


def _exact_sum(values: Values, known: Any, axes: tuple[int, ...]) -> NDArray[np.int64]:
    """Add integers as halves, which cannot overflow within two thousand million elements."""
    n_added = math.prod(values.shape[axis] for axis in axes)
    how: dict[str, Any] = {"axis": axes, "keepdims": True, "where": known, "dtype": np.int64}
    largest = max((abs(int(end)) for end in _range(values)), default=0)
    if largest * n_added < 2**63:
        whole = np.sum(values, **how)
        return _carried(np.stack([np.zeros_like(whole), whole]))
    high = np.sum(values >> _HALF_BITS, **how)
    low = np.sum(values & np.array(_HALF - 1, values.dtype), **how)
    return _carried(np.stack([high, low]))


def _range(values: Values) -> Sequence[Any]:
    """Give bounds of the values: those of a narrow type, without a look."""
    if values.dtype.kind == "b":
        return (1,)
    if values.dtype.itemsize < np.dtype(np.int64).itemsize:
        limits = np.iinfo(values.dtype)
        return (limits.min, limits.max)
    return (values.min(), values.max()) if values.size else ()


def _carried(halves: NDArray[np.int64]) -> NDArray[np.int64]:
    """Carry what does not fit in the lower half, which is then from 0 to 2**32 - 1."""
    return np.stack([halves[0] + (halves[1] >> _HALF_BITS), halves[1] & (_HALF - 1)])


def _whole(halves: NDArray[np.int64], dtype: np.dtype[Any]) -> Values:
    """Give a sum as one integer, if its type can hold it."""
    kind = result_dtype("sum", dtype)
    limits = np.iinfo(kind)
    high = halves[0]
    out = (high < limits.min >> _HALF_BITS) | (high > limits.max >> _HALF_BITS)
    if out.any():
        at = np.unravel_index(int(np.argmax(out)), out.shape)
        value = int(halves[0][at]) * _HALF + int(halves[1][at])
        raise InvalidArgumentError(
            f"cannot add up integers of {dtype}: the sum {value} does not fit {kind}. Convert them "
            f"to float64 first, with .astype('float64')",
            value=value,
        )
    whole: Values = (high.astype(kind) << kind.type(_HALF_BITS)) | halves[1].astype(kind)
    return whole


def _divided(total: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide; NaN where there is nothing to divide by."""
    quotient = np.full_like(total, np.nan)
    np.divide(total, count, out=quotient, where=count > 0)
    return quotient


def _spread(
    values: Values, known: Any, axes: tuple[int, ...], missing: Sequence[float]
) -> NDArray[np.float64]:
    """Give count, mean and squared deviations, along a new first axis."""
    if len(missing) > 1:
        values = np.where(known, values, np.array(missing[0], values.dtype))
    rest = tuple(axis for axis in range(values.ndim) if axis not in axes)
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(values.shape))
    rows = values.transpose(*rest, *axes).reshape(math.prod(kept), -1)
    if rows.size == 0:
        return np.zeros((3, *kept))
    unknown = missing[0] if missing else None
    try:
        found = moments(rows, axis=1, missing=unknown)
    except InvalidArgumentError:
        # That kernel refuses what is not finite; numpy's rule is to let it through.
        found = _plain_moments(rows, _known(rows, missing[:1]))
    return np.moveaxis(found, 1, 0).reshape(3, *kept)


def _plain_moments(rows: Values, known: Any) -> NDArray[np.float64]:
    how: dict[str, Any] = {"axis": 1, "keepdims": True, "where": known}
    work = rows.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        count = np.sum(np.ones_like(work), **how)
        mean = np.sum(work, **how) / np.maximum(count, 1.0)
        work -= mean
        work *= work
        return np.concatenate([count, mean, np.sum(work, **how)], axis=1)


def _ends(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Give the least and the greatest value of a type."""
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return False, True
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _folded(merge: np.ufunc, parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else reduce(merge, parts)

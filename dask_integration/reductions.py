"""Counts, sums, means, variances and extremes over any axes, several in one pass.

Floor 4. Each block is read once and summed up in the task that made it; the summaries are merged
by a tree with a wide fan-in, a few numbers however many blocks there are::

    blocks     b b b b   b b b b   b b      summaries of blocks, split_every=4
    level 1       s         s       s
    root                    s ─▶ mean, std, …

What is a block's is in ``summaries``; this is the thin layer over it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, cast

import dask.array as da
import numpy as np

from chunkstore.errors import InvalidArgumentError
from dask_integration.kernels import refuse_blocks
from dask_integration.layers import map_block, map_partials, need_task_array, reduce_blocks
from dask_integration.summaries import (
    REDUCTIONS,
    Reduction,
    finish,
    merge_summaries,
    result_dtype,
    summarise,
)

__all__ = ["count", "max", "mean", "min", "reduce", "std", "sum", "var"]


def reduce(
    x: da.Array,
    names: Iterable[Reduction],
    *,
    axis: int | Sequence[int] | None = None,
    ddof: int = 0,
    keepdims: bool = False,
    missing: float | Sequence[float] | None = None,
    split_every: int = 16,
) -> dict[Reduction, da.Array]:
    """Reduce an array in several ways at once, in one pass over its blocks.

    Parameters
    ----------
    x : dask.array.Array
        Booleans, integers or real floats of up to 64 bits.
    names : iterable of {"count", "max", "mean", "min", "std", "sum", "var"}
        What to compute.
    axis : int or sequence of int, optional
        Axes to reduce; all by default.
    ddof : int
        What is taken off the count for "var" and "std".
    keepdims : bool
        Keep reduced axes, with one element.
    missing : float or sequence of float, optional
        Values that stand for "not known" and are skipped, such as ``-1`` or ``float("nan")``. By
        default nothing is, and NaN makes its result NaN, as in numpy.
    split_every : int
        Summaries that one task merges.

    Returns
    -------
    dict of str to dask.array.Array
        Lazy. Counts are int64, sums int64, uint64 or float64, means, variances and deviations
        float64, extremes of the type of `x`. Where nothing is known the sum is 0, means and
        variances are NaN, and extremes are the first missing value.

    Raises
    ------
    InvalidArgumentError
        If `x` or an argument cannot be meant, or an extreme of no elements is asked for. When
        computed: if a sum of integers does not fit its type; it is never wrong.

    Notes
    -----
    Compute the results together (``dask.compute(*results.values())``, or in one graph): apart,
    each is a pass of its own. One task a block, fused with what makes the block, and about a
    sixteenth more to merge. A task holds its block and a mask of it; for "var" and "std" over
    axes that are not the last ones, a copy of it.

    Means and variances are added up in float64 from the means and deviations of parts, so that a
    small spread around a large mean keeps its digits. Integers are added exactly.

    Source: Chan, Golub and LeVeque 1983 (The American Statistician 37, eq. 2.1).

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import dask.array as da
    >>> x = da.asarray([[1, 2, -1], [4, 4, 4]])
    >>> found = reduce(x, ["mean", "count"], axis=1, missing=-1)
    >>> found["mean"].compute(scheduler="synchronous")
    array([1.5, 4. ])
    """
    need_task_array(x, "reduce")
    refuse_blocks("reduce", shape=x.shape, dtype=x.dtype, block_type=type(x._meta))
    wanted = _checked_names(x, names)
    axes = _checked_axes(x, axis)
    unknown = _checked_missing(x, missing)
    if ddof < 0:
        raise InvalidArgumentError(f"cannot reduce {_named(x)}: ddof {ddof} is negative")
    n_each = math.prod(x.shape[number] for number in axes)
    if n_each == 0 and not {"min", "max"}.isdisjoint(wanted):
        raise InvalidArgumentError(
            f"cannot reduce {_named(x)} along axes {axes}: nothing has no least or greatest value"
        )
    chunks = tuple((1,) if number in axes else sizes for number, sizes in enumerate(x.chunks))
    summaries = reduce_blocks(
        map_partials(
            partial(summarise, axes=axes, names=wanted, missing=unknown), x, label="summarise"
        ),
        merge_summaries,
        axes=axes,
        chunks=chunks,
        dtype=object,
        split_every=split_every,
        label="merge-summaries",
    )
    results: dict[Reduction, da.Array] = {}
    for name in wanted:
        result = map_block(
            partial(finish, name=name, dtype=x.dtype, ddof=ddof, missing=unknown),
            summaries,
            dtype=result_dtype(name, x.dtype),
            label=name,
        )
        results[name] = result if keepdims else _without(result, axes)
    return results


def count(x: da.Array, **arguments: Any) -> da.Array:
    """Count the values that are not missing; arguments as in `reduce`."""
    return reduce(x, ["count"], **arguments)["count"]


def sum(x: da.Array, **arguments: Any) -> da.Array:
    """Add up; integers exactly, or with an error. Arguments as in `reduce`."""
    return reduce(x, ["sum"], **arguments)["sum"]


def mean(x: da.Array, **arguments: Any) -> da.Array:
    """Average; arguments as in `reduce`.

    Examples
    --------
    >>> float(mean(da.arange(5, chunks=2)).compute(scheduler="synchronous"))
    2.0
    """
    return reduce(x, ["mean"], **arguments)["mean"]


def var(x: da.Array, **arguments: Any) -> da.Array:
    """Give the variance; arguments as in `reduce`."""
    return reduce(x, ["var"], **arguments)["var"]


def std(x: da.Array, **arguments: Any) -> da.Array:
    """Give the standard deviation; arguments as in `reduce`."""
    return reduce(x, ["std"], **arguments)["std"]


def min(x: da.Array, **arguments: Any) -> da.Array:
    """Give the least value; arguments as in `reduce`."""
    return reduce(x, ["min"], **arguments)["min"]


def max(x: da.Array, **arguments: Any) -> da.Array:
    """Give the greatest value; arguments as in `reduce`."""
    return reduce(x, ["max"], **arguments)["max"]


def _without(x: da.Array, axes: tuple[int, ...]) -> da.Array:
    """Drop axes of one element."""
    left = tuple(number for number in range(x.ndim) if number not in axes)
    if len(left) == x.ndim:
        return x
    dropped: Any = da.map_blocks(
        np.squeeze,
        x,
        axis=axes,
        drop_axis=list(axes),
        dtype=x.dtype,
        meta=np.empty((0,) * len(left), x.dtype),
    )
    return cast(da.Array, dropped)


def _named(x: da.Array) -> str:
    return f"an array of shape {x.shape} and dtype {x.dtype}"


def _checked_names(x: da.Array, names: Iterable[Reduction]) -> list[Reduction]:
    wanted = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in REDUCTIONS]
    if unknown or not wanted:
        raise InvalidArgumentError(
            f"cannot reduce {_named(x)} to {unknown[0] if unknown else 'nothing'!r}: expected some "
            f"of {', '.join(REDUCTIONS)}"
        )
    return cast(list[Reduction], wanted)


def _checked_axes(x: da.Array, axis: int | Sequence[int] | None) -> tuple[int, ...]:
    asked = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = sorted(number % x.ndim for number in asked if -x.ndim <= number < x.ndim)
    if len(axes) != len(asked) or len(set(axes)) != len(axes):
        raise InvalidArgumentError(
            f"cannot reduce {_named(x)} along axis {axis}: expected different axes from "
            f"{-x.ndim} to {x.ndim - 1}"
        )
    return tuple(axes)


def _checked_missing(x: da.Array, missing: float | Sequence[float] | None) -> tuple[float, ...]:
    """Give the missing values in the kind of `x`; refuse one that `x` cannot hold."""
    given = () if missing is None else missing if isinstance(missing, Sequence) else (missing,)
    if x.dtype.kind == "f":
        return tuple(map(float, given))
    limits = (0, 1) if x.dtype.kind == "b" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    for value in given:
        if not math.isfinite(value) or value != int(value) or not limits[0] <= value <= limits[1]:
            raise InvalidArgumentError(
                f"cannot reduce {_named(x)}: missing={value} is no value of {x.dtype}, so nothing "
                f"could be missing. Expected an integer from {limits[0]} to {limits[1]}, or None"
            )
    return tuple(map(int, given))

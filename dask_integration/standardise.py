r"""Centre and scale the rows or columns of a dask array, a block at a time.

Floor 4. Where a block spans the axis of the statistics, reading, statistics and scaling are one
task; otherwise one pass gathers moments, and a second reads again and applies them::

    blocks span the axis          | blocks do not
    read -> moments, scale        | read -> moments --\
                                  |                    merge -> mean, factor
                                  | read -> scale  <--/

The second read is the price of bounded memory: one pass would hold every block until the last
moment is known.

Left out: the arithmetic, which is in ``kernels``.

Source: the conventions of scale are those of scikit-allel and sgkit (see ``standardise``).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike

from chunkstore.errors import InvalidArgumentError
from dask_integration.kernels import (
    ScaleRule,
    centre_and_scale,
    mean_and_factor,
    merge_moments,
    moments,
    refuse_blocks,
    standardise_block,
)
from dask_integration.layers import map_block, map_partials, need_task_array, reduce_blocks, reread

__all__ = ["standardise"]


def standardise(
    x: da.Array,
    *,
    axis: int,
    center: bool = True,
    scale: ScaleRule = "std",
    ddof: int = 0,
    missing: float | None = None,
    dtype: DTypeLike | None = None,
) -> da.Array:
    """Subtract the mean along an axis and divide by the spread, lazily.

    Parameters
    ----------
    x : dask.array.Array
        Booleans, integers or real floats, of any number of axes.
    axis : int
        The axis along which mean and spread are taken: ``axis=1`` for an array of variants by
        samples gives each variant (row) its own mean.
    center : bool
        Subtract the mean. If False, values are only scaled.
    scale : "std", "patterson" or None
        What to divide by. ``"std"``: the standard deviation. ``"patterson"``: for diploid
        dosages from 0 to 2, ``sqrt(p * (1 - p))`` with ``p = mean / 2``, as in scikit-allel
        and sgkit. Programs that divide by ``sqrt(2 * p * (1 - p))``, the standard deviation in
        Hardy-Weinberg proportions, give values smaller by ``sqrt(2)``. None: nothing.
    ddof : int
        Taken off the count in the standard deviation, as in ``numpy.std``.
    missing : float, optional
        The value of ``x`` that means "not known", such as -1 or NaN. It counts in no statistic
        and is put at the mean: 0 in the result (``mean / spread`` with ``center=False``).
    dtype : dtype, optional
        float32 or float64. Default float64 if ``x`` is float64, else float32. The arithmetic is
        float64 either way; 64-bit integers beyond 2**53 are rounded first.

    Returns
    -------
    dask.array.Array
        Shape and blocks of ``x``. A row whose known values are all equal, or that has none, has
        no spread to divide by: it is 0 throughout, without a warning. With ``scale=None`` nothing
        is divided, and only centring makes such a row 0.

    Raises
    ------
    InvalidArgumentError
        For arguments that cannot be meant. When computed: for NaN or infinity not declared
        missing, for values that are no dosages under ``"patterson"``, and for spreads that
        overflow float64. A note on the error names the block.

    Notes
    -----
    Reads every block of ``x`` once if blocks span ``axis``, else twice. One task a block and pass.
    A task holds its block, the block's result, and a few tiles of half a megabyte: integers
    stay as small as they are until then.

    Patterson, Price and Reich 2006, PLoS Genetics 2, e190, eq. 1-3; they estimate ``p`` with a
    pseudo-count, ``(1 + sum) / (2 + 2 * count)``, which neither scikit-allel, sgkit nor this does.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> x = da.from_array(np.array([[0, 2, -1, 2, 0], [1, 1, 1, 1, 1]], dtype="int8"))
    >>> standardise(x, axis=1, missing=-1).compute(scheduler="synchronous")
    array([[-1.,  1.,  0.,  1., -1.],
           [ 0.,  0.,  0.,  0.,  0.]], dtype=float32)
    """
    need_task_array(x, "standardise")
    refuse_blocks("standardise", shape=x.shape, dtype=x.dtype, block_type=type(x._meta))
    axis = _checked_axis(x, axis)
    missing = _checked_missing(x, missing)
    if scale not in ("std", "patterson", None):
        raise InvalidArgumentError(
            f'cannot standardise {_named(x)}: expected scale="std", "patterson" or None, '
            f"got {scale!r}"
        )
    if ddof < 0:
        raise InvalidArgumentError(
            f"cannot standardise {_named(x)}: expected ddof of 0 or more, got {ddof}"
        )
    dtype = _checked_dtype(x, dtype)
    rule: dict[str, Any] = {"axis": axis, "scale": scale, "ddof": ddof}
    apply: dict[str, Any] = {"center": center, "missing": missing, "dtype": dtype}
    if x.numblocks[axis] == 1:
        local = partial(standardise_block, **rule, **apply)
        return map_block(local, x, dtype=dtype, label="standardise")
    statistics = _statistics(reread(x), missing=missing, **rule)
    scaled = partial(centre_and_scale, axis=axis, **apply)
    return map_block(scaled, x, aligned=[statistics], dtype=dtype, label="standardise")


def _statistics(
    x: da.Array, *, axis: int, scale: ScaleRule, ddof: int, missing: float | None
) -> da.Array:
    """Gather mean and factor of each row in one pass: 2 elements along ``axis``."""
    gathered = map_partials(
        partial(moments, axis=axis, missing=missing, dosage=scale == "patterson"),
        x,
        label="moments",
    )
    return reduce_blocks(
        gathered,
        partial(merge_moments, axis=axis),
        axes=[axis],
        chunks=(*x.chunks[:axis], (2,), *x.chunks[axis + 1 :]),
        dtype=np.float64,
        finalize=partial(mean_and_factor, axis=axis, scale=scale, ddof=ddof),
        label="mean-and-factor",
    )


def _named(x: da.Array) -> str:
    return f"an array of shape {x.shape} and dtype {x.dtype}"


def _checked_axis(x: da.Array, axis: int) -> int:
    if not -x.ndim <= axis < x.ndim:
        raise InvalidArgumentError(
            f"cannot standardise {_named(x)} along axis {axis}: expected {-x.ndim} to {x.ndim - 1}"
        )
    return axis % int(x.ndim)


def _checked_missing(x: da.Array, missing: float | None) -> float | None:
    """Give the missing value in the kind of ``x``; refuse one that ``x`` cannot hold."""
    if missing is None or x.dtype.kind == "f":
        return missing
    limits = (0, 1) if x.dtype.kind == "b" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    if math.isfinite(missing) and missing == int(missing) and limits[0] <= missing <= limits[1]:
        return int(missing)
    raise InvalidArgumentError(
        f"cannot standardise {_named(x)}: missing={missing} is no value of {x.dtype}, so nothing "
        f"could be missing. Expected an integer from {limits[0]} to {limits[1]}, or None."
    )


def _checked_dtype(x: da.Array, dtype: DTypeLike | None) -> np.dtype[Any]:
    if dtype is None:
        return np.dtype("float64" if x.dtype == np.float64 else "float32")
    asked = np.dtype(dtype)
    if asked not in (np.dtype("float32"), np.dtype("float64")):
        raise InvalidArgumentError(
            f"cannot standardise {_named(x)} to {asked}: expected float32 or float64"
        )
    return asked

r"""Centre and scale the rows or columns of a dask array, a block at a time.

Floor 4. Where a block spans the axis of the statistics, reading, statistics and scaling are one
task; otherwise one pass gathers moments, and a second reads again and applies them::

    blocks span the axis          | blocks do not
    read -> moments, scale        | read -> moments --\
                                  |                    merge -> mean, factor
                                  | read -> scale  <--/

The second read is the price of bounded memory: one pass would hold every block until the last
moment is known.

Left out: the arithmetic, which is in ``scaling``; statistics that are kept, in ``scaler``.

Source: the conventions of scale are those of scikit-allel and sgkit (see ``standardise``).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import dask.array as da
from numpy.typing import DTypeLike

from dask_integration.kernels import ScaleRule
from dask_integration.layers import map_block, need_task_array, reread
from dask_integration.scaler import StandardScaler, float_dtype, gathered_statistics
from dask_integration.scaling import ImputeRule

__all__ = ["standardise"]


def standardise(
    x: da.Array,
    *,
    axis: int,
    center: bool = True,
    scale: ScaleRule = "std",
    ddof: int = 0,
    ploidy: int = 2,
    missing: float | None = None,
    impute: ImputeRule = "mean",
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
        What to divide by. ``"std"``: the standard deviation. ``"patterson"``: for dosages
        from 0 to the ploidy, ``sqrt(p * (1 - p))`` with ``p = mean / ploidy``, as in
        scikit-allel and sgkit. Programs that divide by ``sqrt(2 * p * (1 - p))``, the standard
        deviation in Hardy-Weinberg proportions, give values smaller by ``sqrt(2)``. None: nothing.
    ddof : int
        Taken off the count in the standard deviation, as in ``numpy.std``.
    ploidy : int
        Copies of each chromosome, for ``"patterson"``.
    missing : float, optional
        The value of ``x`` that means "not known", such as -1 or NaN. It counts in no statistic
        and is put at the mean: 0 in the result (``mean / spread`` with ``center=False``).
    impute : "mean" or "error"
        Put missing values at the mean, or refuse them.
    dtype : dtype, optional
        float32 or float64. Default float64 if ``x`` is float64, else float32. Sums are exact for
        bytes and float64 otherwise; 64-bit integers beyond 2**53 are rounded first.

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

    To keep the statistics, or use them on other data: `StandardScaler`.

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
    scaler = StandardScaler(
        axis, center=center, scale=scale, ddof=ddof, ploidy=ploidy, missing=missing, impute=impute
    )
    rule = scaler.rule(x)
    dtype = float_dtype(x.dtype, dtype)
    if x.numblocks[rule.axis] == 1:
        return map_block(
            partial(rule.standardise, dtype=dtype), x, dtype=dtype, label="standardise"
        )
    statistics = gathered_statistics(reread(x), rule)
    scaled: Any = partial(rule.apply, dtype=dtype)
    return map_block(scaled, x, aligned=[statistics], dtype=dtype, label="standardise")

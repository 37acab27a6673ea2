"""How stored values become centred and scaled floats: the rule, and its use on one block.

Floor 1: no dask, no store, no threads. A `Scaling` is a few words that travel with a task; the
numbers that it needs, mean and factor of each row, come from the block itself where the block
spans the axis, and are handed over otherwise::

    block (4, 1000)  --moments-->  (4, 3)  --statistics-->  (4, 2) mean | factor  --apply-->  floats

Blocks are walked in tiles that fit the processor's cache, so an int8 block of 100 MB becomes
float64 half a megabyte at a time.

Left out: which block runs where, and how moments of several blocks meet.

Source: the conventions of scale are those of scikit-allel and sgkit (see ``standardise``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.kernels import (
    Doubles,
    ScaleRule,
    is_reversed,
    known_values,
    mean_and_factor,
    merge_moments,
    moments,
    tiles,
)

__all__ = ["ImputeRule", "Scaling", "slabs"]

ImputeRule: TypeAlias = Literal["mean", "error"]
"""What happens to a missing value: it is put at the mean, or refused."""


@dataclass(frozen=True)
class Scaling:
    """A rule of centring and scaling along one axis; see ``standardise`` for its words.

    Parameters
    ----------
    axis : int
        The axis along which mean and spread are taken; not negative.
    center : bool
        Subtract the mean.
    scale : "std", "patterson" or None
        What to divide by.
    ddof : int
        Taken off the count in the standard deviation.
    ploidy : int
        Copies of each chromosome, for ``"patterson"``.
    missing : float, optional
        The value that means "not known".
    impute : "mean" or "error"
        What happens to missing values.

    Examples
    --------
    >>> rule = Scaling(axis=1, missing=-1)
    >>> rule.standardise(np.array([[0, 2, -1, 2, 0], [7, 7, 7, 7, 7]], dtype="int8"))
    array([[-1.,  1.,  0.,  1., -1.],
           [ 0.,  0.,  0.,  0.,  0.]])
    """

    axis: int
    center: bool = True
    scale: ScaleRule = "std"
    ddof: int = 0
    ploidy: int = 2
    missing: float | None = None
    impute: ImputeRule = "mean"

    def transposed(self) -> Scaling:
        """Give the rule for the transpose of a matrix."""
        return replace(self, axis=1 - self.axis)

    def moments(self, block: NDArray[Any]) -> Doubles:
        """Count, average and spread a block's values; see ``kernels.moments``.

        Raises
        ------
        InvalidArgumentError
            For NaN or infinity that is not declared missing, for values that are no dosages under
            ``"patterson"``, and for missing values where they are to be refused.
        """
        found = moments(
            block,
            axis=self.axis,
            missing=self.missing,
            ploidy=self.ploidy if self.scale == "patterson" else None,
        )
        if self.impute == "error":
            n_missing = block.size - int(np.take(found, 0, axis=self.axis).sum())
            if n_missing:
                raise InvalidArgumentError(
                    f'cannot standardise with impute="error": {n_missing} values are missing. '
                    'Fill them first, or take impute="mean".'
                )
        return found

    def merged(self, parts: list[Doubles]) -> Doubles:
        """Merge the moments of disjoint parts of the axis; see ``kernels.merge_moments``."""
        return merge_moments(parts, axis=self.axis)

    def statistics(self, merged: Doubles) -> Doubles:
        """Turn moments of the whole axis into mean and factor; see ``kernels.mean_and_factor``."""
        return mean_and_factor(
            merged, axis=self.axis, scale=self.scale, ddof=self.ddof, ploidy=self.ploidy
        )

    def apply(
        self, block: NDArray[Any], statistics: Doubles, *, dtype: DTypeLike = np.float64
    ) -> NDArray[Any]:
        """Give ``(x - mean) * factor`` of a block, with missing values at the mean.

        Parameters
        ----------
        block : ndarray
            Values as in ``kernels.moments``.
        statistics : ndarray of float64
            Mean and factor of each row: 2 elements along the axis.
        dtype : dtype
            float32 or float64. The arithmetic is float64, but for float32 made of bytes: there it
            is float32 around the whole number next to the mean, and as exact as the result.

        Returns
        -------
        ndarray
            New, of the shape and memory order of ``block``. Without centring a missing value
            becomes ``mean * factor``.
        """
        values = np.asarray(block)
        axis = self.axis
        if is_reversed(values):
            turned = replace(self, axis=values.ndim - 1 - axis)
            return turned.apply(values.T, statistics.T, dtype=dtype).T
        result = np.empty(values.shape, dtype=dtype)
        in_bytes = values.dtype.itemsize == 1 and result.dtype == np.float32 and self.center
        fill = _centre_bytes if in_bytes else partial(_scale_floats, center=self.center)
        for tile in tiles(values.shape):
            here = statistics[(*tile[:axis], slice(None), *tile[axis + 1 :])]
            mean, factor = (np.take(here, [i], axis=axis) for i in (0, 1))
            known = known_values(values[tile], self.missing)
            fill(result[tile], values[tile], known, mean=mean, factor=factor)
        return result

    def standardise(self, block: NDArray[Any], *, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Standardise a block that spans the axis, and so holds all that its statistics need."""
        return self.apply(block, self.statistics(self.moments(block)), dtype=dtype)

    def undo(
        self, block: NDArray[Any], statistics: Doubles, *, dtype: DTypeLike = np.float64
    ) -> NDArray[Any]:
        """Give back the values that ``apply`` was given; where the factor is 0, the mean.

        Without centring, what had no spread comes back as the mean too: nothing else is known.
        """
        mean, factor = (np.take(statistics, [i], axis=self.axis) for i in (0, 1))
        spread = np.divide(1.0, factor, out=np.zeros_like(factor), where=factor > 0)
        values = np.asarray(block, dtype=np.float64) * spread
        shift = mean if self.center else np.where(factor > 0, 0.0, mean)
        return np.asarray(values + shift, dtype=dtype)


def slabs(
    block: NDArray[Any],
    *,
    height: int,
    dtype: DTypeLike,
    scaling: Scaling | None = None,
    statistics: Doubles | None = None,
) -> Iterator[NDArray[Any]]:
    """Walk over a matrix in slabs of rows, each made into standardised floats as it comes.

    Parameters
    ----------
    block : ndarray, shape (r, n)
        Stored values; spans the second axis.
    height : int
        Rows of a slab.
    dtype : dtype
        float32 or float64.
    scaling : Scaling, optional
        The rule. The default takes the values as they are.
    statistics : ndarray of float64, optional
        Mean and factor, of shape (r, 2) for a rule along the second axis, or (2, n) along the
        first. Rows that have none bring their own: then each slab is looked at twice.

    Yields
    ------
    ndarray, shape (up to height, n)

    Examples
    --------
    >>> x = np.array([[0, 2], [0, 4], [5, 5]], dtype="int8")
    >>> rule = Scaling(axis=1, scale=None)
    >>> [slab.tolist() for slab in slabs(x, height=2, dtype="float32", scaling=rule)]
    [[[-1.0, 1.0], [-2.0, 2.0]], [[0.0, 0.0]]]
    """
    for start in range(0, len(block), height):
        slab = block[start : start + height]
        if scaling is None:
            yield np.asarray(slab, dtype=dtype)
        elif statistics is None:
            assert scaling.axis == 1
            yield scaling.standardise(slab, dtype=dtype)
        else:
            own = statistics[start : start + height] if scaling.axis == 1 else statistics
            yield scaling.apply(slab, own, dtype=dtype)


def _centre_bytes(
    out: NDArray[np.float32],
    tile: NDArray[Any],
    known: NDArray[np.bool_] | None,
    *,
    mean: Doubles,
    factor: Doubles,
) -> None:
    """Fill a float32 tile from one of bytes, twice as fast as by way of float64."""
    # Bytes minus a whole number are exact, so what is rounded is at most half a step from 0.
    pivot = np.rint(mean)
    np.copyto(out, tile, casting="unsafe")
    out -= pivot.astype(np.float32)
    out -= (mean - pivot).astype(np.float32)
    out *= factor.astype(np.float32)
    if known is not None:
        out *= known
        # A negative number times 0 is -0; this is 0.
        out += np.float32(0)


def _scale_floats(
    out: NDArray[Any],
    tile: NDArray[Any],
    known: NDArray[np.bool_] | None,
    *,
    mean: Doubles,
    factor: Doubles,
    center: bool,
) -> None:
    work = tile.astype(np.float64)
    if known is not None:
        np.copyto(work, mean, where=~known)
    if center:
        work -= mean
    work *= factor
    out[...] = work

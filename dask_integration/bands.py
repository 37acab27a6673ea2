"""A matrix as bands that span one of its axes, read anew in each pass.

Floor 3. A pass is one computation: a task for each band turns it into standardised floats a slab
at a time, multiplies, and gives back sums; the sums are added in a tree::

    band 0  --read, standardise, multiply-->  Sums --\
    band 1  --read, standardise, multiply-->  Sums ----> add --> Sums of the array
    ...                                            --/

Integers stay as small as they are until they are in a slab. What each task needs besides its band
is sent to the workers once.

Left out: what is multiplied, which is in ``gram`` and ``krylov``; what follows, in ``svd``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import dask.array as da
import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dask_integration.blas import on_one_blas_thread
from dask_integration.chunks import Block
from dask_integration.factors import (
    Doubles,
    SmallFactor,
    Sums,
    TallPart,
    add_sums,
    refuse_not_finite,
    squares_of,
    tall_step,
    true_residuals,
)
from dask_integration.krylov import krylov_height
from dask_integration.layers import (
    hold_reductions,
    map_block,
    map_partials,
    share,
    tree_reduce,
)
from dask_integration.scaling import Scaling, slabs

__all__ = ["Bands"]

Step: TypeAlias = Callable[..., Doubles]
"""``step(slabs, *operands)`` gives the products of one band."""


class Bands:
    """An array as bands of shape (r, n), with n the extent of the contracted axis.

    Parameters
    ----------
    x : dask.array.Array
        Two axes.
    contracted : int
        The axis that bands span. For axis 0 the bands are those of the transpose.
    scaling : Scaling, optional
        How values become floats, in terms of `x`.
    statistics : ndarray of float64, optional
        Mean and factor for the scaling, of the shape that `x` has with 2 along its axis. Needed
        unless each band brings its own: then it spans the axis of the scaling.
    """

    def __init__(
        self,
        x: da.Array,
        contracted: int,
        *,
        scaling: Scaling | None = None,
        statistics: Doubles | None = None,
    ) -> None:
        self.contracted = contracted
        self.n = x.shape[contracted]
        self.rows = x.chunks[1 - contracted]
        self.n_bytes = int(x.nbytes)
        held = hold_reductions(x)
        if held.numblocks[contracted] > 1:
            # The shuffle of `distributed` would put all blocks on disk and serve one pass only.
            held = held.rechunk({contracted: -1}, method="tasks")
        if contracted == 0:
            held = held.T
            scaling = None if scaling is None else scaling.transposed()
            statistics = None if statistics is None else statistics.T
        assert scaling is None or scaling.axis == 1 or statistics is not None
        self._x = held
        self._scaling = scaling
        self._statistics = None if statistics is None else share(statistics, held)

    def run(
        self,
        step: Step,
        *operands: NDArray[Any],
        n_columns: int,
        height: int,
        dtype: np.dtype[Any],
    ) -> Sums:
        """Make a pass: add up what a function gives for each band.

        Parameters
        ----------
        step : callable
            ``step(slabs, *operands)`` gives float64 of shape (n, n_columns) for each band.
        *operands : ndarray
            Sent to each worker once.
        n_columns : int
            Of what the step gives.
        height : int
            Rows of a slab.
        dtype : dtype
            Of the slabs.

        Returns
        -------
        Sums
            Squares that overflow float32 are infinite; what overflows float64, and NaN and
            infinity in `x`, raise `InvalidArgumentError`.
        """
        run = partial(_sums_of_band, self._view(height, dtype), step)
        partials = self._map(run, operands, label=_step_name(step))
        fan_in = _fan_in(8 * self.n * n_columns)
        total: Any = tree_reduce(partials, add_sums, split_every=fan_in, label="sum")
        return cast(Sums, total.compute())

    def tall(
        self, small: SmallFactor, *, dtype: np.dtype[Any], work: np.dtype[Any]
    ) -> tuple[da.Array, da.Array]:
        """Give the tall factor, lazily, and its true residuals, which share its pass.

        Parameters
        ----------
        small : SmallFactor
        dtype : dtype
            Of the tall factor.
        work : dtype
            Of the products.

        Returns
        -------
        rows : dask.array.Array, shape (m, k)
        residuals : dask.array.Array of float64, shape (k,)
        """
        k = small.values.size
        vectors = share(small.vectors, self._x)
        run = partial(_tall_of_band, self._view(krylov_height(self.n), work), small.values, dtype)
        parts = self._map(run, (vectors,), label="tall-step")
        rows = map_block(
            _rows_of, parts, dtype=dtype, chunks=(self.rows, (k,)), label="tall-factor"
        )
        applied = tree_reduce(
            map_partials(_applied_of, parts),
            _add,
            split_every=_fan_in(8 * self.n * k),
            label="check",
        )
        residuals = delayed(_residuals, pure=True)(applied, vectors, small.values)
        return rows, da.from_delayed(residuals, shape=(k,), dtype=np.float64)

    def _view(self, height: int, dtype: np.dtype[Any]) -> _View:
        return _View(self._scaling, self._statistics is not None, height, dtype)

    def _map(self, run: Callable[..., Any], operands: Iterable[Any], *, label: str) -> da.Array:
        shared = [one if isinstance(one, Delayed) else share(one, self._x) for one in operands]
        if self._statistics is not None:
            shared.insert(0, self._statistics)
        run = partial(on_one_blas_thread, run)
        return map_partials(run, self._x, *shared, label=label, pass_block=True)


def _fan_in(sum_bytes: int) -> int:
    """Choose how many sums a task of the tree adds up.

    With fan-in f, about ``(f - 1) * log(n_sums) / log(f)`` sums are held at a time: fewest for 2,
    which costs a task a sum. That is nothing beside large sums.
    """
    return 16 if sum_bytes < 2**20 else 4 if sum_bytes < 2**22 else 2


def _step_name(step: Step) -> str:
    """Name a step for the dashboard."""
    return str(getattr(getattr(step, "func", step), "__name__", "step"))


@dataclass(frozen=True)
class _View:
    """How a task looks at its band; travels with each task."""

    scaling: Scaling | None
    is_fitted: bool
    height: int
    dtype: np.dtype[Any]

    def of(self, block: Block, band: NDArray[Any], operands: list[Any]) -> _Slabs:
        """Give the band as slabs; takes the statistics out of the operands."""
        statistics = operands.pop(0) if self.is_fitted else None
        if statistics is not None and self.scaling is not None and self.scaling.axis == 1:
            statistics = statistics[block.region[0]]
        return _Slabs(
            slabs(
                band,
                height=self.height,
                dtype=self.dtype,
                scaling=self.scaling,
                statistics=statistics,
            )
        )


class _Slabs:
    """Slabs on their way through a step, their squares added up."""

    def __init__(self, source: Iterator[NDArray[Any]]) -> None:
        self._source = source
        self.squares = 0.0

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for slab in self._source:
            self.squares += squares_of(slab)
            yield slab


def _sums_of_band(
    view: _View, step: Step, block: Block, band: NDArray[Any], *operands: Any
) -> Sums:
    given = list(operands)
    source = view.of(block, band, given)
    with np.errstate(over="ignore", invalid="ignore"):
        products = step(source, *given)
    if view.dtype == np.float64 or not np.isfinite(band).all():
        refuse_not_finite(band, source.squares)
    return Sums(products, source.squares, band.nbytes)


def _tall_of_band(
    view: _View,
    values: Doubles,
    dtype: np.dtype[Any],
    block: Block,
    band: NDArray[Any],
    *operands: Any,
) -> TallPart:
    given = list(operands)
    source = view.of(block, band, given)
    return tall_step(source, SmallFactor(given[0], values), n_rows=len(band), dtype=dtype)


def _rows_of(part: TallPart) -> NDArray[Any]:
    return part.rows


def _applied_of(part: TallPart) -> Doubles:
    return part.applied


def _add(parts: list[Doubles]) -> Doubles:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _residuals(applied: Doubles, vectors: Doubles, values: Doubles) -> Doubles:
    return true_residuals(applied, SmallFactor(vectors, values))

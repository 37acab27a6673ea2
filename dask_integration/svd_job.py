"""A decomposition while it runs: pass after pass, each kept and told of.

Floor 4. ::

    gram     pass -> eigh                      again in float64 if float32 would not do
    krylov   pass -> Ritz -> residuals -> ...  until they are small; in float64 from where float32
                                               would not do

After each pass the state goes to the checkpoint, from which a job that was killed goes on.

Left out: arguments and results, which are in ``svd``; the passes, in ``bands``; the arithmetic,
in ``gram`` and ``krylov``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.bands import Bands
from dask_integration.blas import on_one_blas_thread
from dask_integration.checkpoint import Checkpoint
from dask_integration.factors import Doubles, SmallFactor, Sums
from dask_integration.gram import ROUNDING, gram, gram_factor, gram_height
from dask_integration.krylov import (
    KrylovState,
    advance,
    krylov_height,
    krylov_start,
    krylov_step,
    restarted,
)
from dask_integration.passes import Pass, Watch
from dask_integration.scaler import gathered_statistics
from dask_integration.scaling import Scaling
from dask_integration.svd_plan import SVDPlan

__all__ = ["SVDJob"]

_SINGLE, _DOUBLE = np.dtype("float32"), np.dtype("float64")

_SAFE_SQUARES = (1e-20, 1e30)
"""Sums of squares and eigenvalues that float32 holds with all its digits."""

Found: TypeAlias = tuple[SmallFactor, Doubles]
"""The small factor and the residuals of its components."""


@dataclass
class SVDJob:
    """The state of one decomposition while it runs.

    Parameters
    ----------
    k : int
        Number of components.
    plan : SVDPlan
        Method, axis and sizes.
    dtype : dtype
        Precision of products to begin with.
    tol, max_passes, seed
        As in `svd`.
    watch : Watch, optional
        Is told of each pass.
    checkpoint : Checkpoint
        Where the state is kept.
    history : list of Pass
        What was found so far.
    total : float
        Sum of squares that the first pass of this precision found.
    arrays : dict of str to ndarray
        What the last pass left, as it is in the checkpoint.
    """

    k: int
    plan: SVDPlan
    dtype: np.dtype[Any]
    tol: float
    max_passes: int
    seed: int
    watch: Watch | None
    checkpoint: Checkpoint
    history: list[Pass] = field(default_factory=list)
    total: float = math.nan
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def resume(self) -> None:
        """Take up what an earlier run left, if it left anything."""
        snapshot = self.checkpoint.load()
        if snapshot is not None:
            record = snapshot.record
            self.arrays = snapshot.arrays
            self.history = [Pass.from_json(one) for one in record["history"]]
            self.dtype = np.dtype(record["dtype"])
            self.total = math.nan if record["total"] is None else record["total"]

    def gather(self, x: da.Array, rule: Scaling) -> Doubles:
        """Find statistics that do not lie in bands, in a pass of their own."""
        if "statistics" not in self.arrays:
            with self._pass("statistics", int(x.nbytes)) as done:
                statistics: Any = gathered_statistics(x, rule)
                found = statistics.compute()
                done(int(x.nbytes))
            self._keep(statistics=found)
        return self.arrays["statistics"]

    def gram(self, bands: Bands) -> Found:
        """Find the exact factor; in two passes if float32 turns out not to do."""
        if "gram" in self.arrays:
            return self._gram_factor(self.arrays["gram"])
        step = partial(gram, n=bands.n)
        while True:
            with self._pass("gram", bands.n_bytes) as done:
                sums = bands.run(
                    step, n_columns=bands.n, height=gram_height(bands.n), dtype=self.dtype
                )
                if not math.isfinite(sums.squares):
                    done(sums.n_bytes)
                    self.dtype = _DOUBLE
                    continue
                self.total = sums.squares
                found = self._gram_factor(sums.products)
                done(sums.n_bytes, found)
            if self._single_fails(found[0], tol=self.tol):
                self.dtype = _DOUBLE
                continue
            self._keep(gram=sums.products)
            return found

    def krylov(self, bands: Bands) -> Found:
        """Make passes until residuals are small, directions run out, or passes do."""
        state, found = self._krylov_state(bands.n)
        n_made = sum(one.kind == "krylov" for one in self.history)
        columns = self.plan.max_columns
        take_in = partial(advance, k=self.k, max_columns=columns, seed=self.seed)
        while found is None or (n_made < self.max_passes and not self._is_done(state, found)):
            with self._pass("krylov", bands.n_bytes) as done:
                sums = bands.run(
                    krylov_step,
                    state.block,
                    n_columns=state.block.shape[1],
                    height=krylov_height(bands.n),
                    dtype=self.dtype,
                )
                n_made += 1
                if not math.isfinite(sums.squares):
                    done(sums.n_bytes)
                    self.dtype = _DOUBLE
                    continue
                self._refuse_change(sums)
                state, small, residuals = on_one_blas_thread(take_in, state, sums.products)
                found = small, residuals
                done(sums.n_bytes, found)
            if self._single_fails(small, tol=self.tol / 2):
                state, found = self._in_double(state, small), None
            self._keep(**state._asdict(), **small._asdict())
        return found

    def _gram_factor(self, total: Doubles) -> Found:
        # On a busy machine BLAS threads that wait for each other take ten times as long as one.
        return on_one_blas_thread(partial(gram_factor, k=self.k, dtype=self.dtype), total)

    def _krylov_state(self, n: int) -> tuple[KrylovState, Found | None]:
        """Give what to begin with: what the checkpoint held, or random directions."""
        if "basis" not in self.arrays:
            return krylov_start(n, self.plan.width, seed=self.seed), None
        state = KrylovState(*(self.arrays[name] for name in KrylovState._fields))
        if not state.basis.size:
            return state, None
        small = SmallFactor(*(self.arrays[name] for name in SmallFactor._fields))
        return state, (small, np.array(self.history[-1].residuals))

    def _in_double(self, state: KrylovState, small: SmallFactor) -> KrylovState:
        """Begin anew in float64 with the best directions: products in float32 would spoil them."""
        self.dtype, self.total = _DOUBLE, math.nan
        more = state.block[:, : self.plan.width - self.k]
        return restarted(np.linalg.qr(np.hstack([small.vectors, more]))[0])

    def _single_fails(self, small: SmallFactor, *, tol: float) -> bool:
        """Say whether rounding of float32 products is more than what was asked for."""
        largest, least = small.values[0] ** 2, small.values[-1] ** 2
        if self.dtype != _SINGLE:
            return False
        low, high = _SAFE_SQUARES
        return not (least > low and self.total < high and ROUNDING[_SINGLE] * largest < tol * least)

    def _is_done(self, state: KrylovState, found: Found) -> bool:
        """Say whether all components are found as far as float64 can tell, or nothing is left."""
        small, residuals = found
        squares = np.where(small.values > 0, small.values, small.values[0]) ** 2
        noise = 32 * np.finfo(np.float64).eps * small.values[0] ** 2
        floor = np.divide(noise, squares, out=np.zeros_like(squares), where=squares > 0)
        return not state.block.size or bool((residuals <= np.maximum(self.tol, floor)).all())

    def _refuse_change(self, sums: Sums) -> None:
        """Refuse data that are not those of the passes before."""
        if math.isnan(self.total):
            self.total = sums.squares
        if abs(sums.squares - self.total) > 1e-9 * self.total:
            raise InvalidArgumentError(
                "cannot decompose x: its sum of squares differs between passes "
                f"({self.total:.17g} and {sums.squares:.17g}), so its source changed while it was "
                "read. Let no job write to it, then run again."
            )

    @contextmanager
    def _pass(
        self, kind: Literal["statistics", "gram", "krylov"], n_bytes: int
    ) -> Iterator[Callable[..., Any]]:
        """Watch a pass; gives a function that adds it to the history when it is done."""
        number, started = len(self.history) + 1, time.perf_counter()
        # From one pass to the next residuals fall unevenly; over three they show a trend.
        before = next((one for one in self.history[-3:] if one.residuals), None)

        def add(n_read: int, found: Found | None = None) -> Pass:
            seconds = time.perf_counter() - started
            lists = () if found is None else (found[0].values, found[1])
            facts = (tuple(one.tolist()) for one in lists)
            self.history.append(Pass(kind, number, n_read, seconds, self.dtype.name, *facts))
            return self.history[-1]

        if self.watch is None:
            yield add
        else:
            with self.watch(f"pass {number}, {kind}", n_bytes) as tell:

                def add_and_tell(n_read: int, found: Found | None = None) -> None:
                    one = add(n_read, found)
                    tell(one, one.to_go(before, tol=self.tol))

                yield add_and_tell

    def _keep(self, **arrays: NDArray[Any]) -> None:
        """Hold the state after a pass, in the checkpoint too; statistics stay."""
        kept = {name: self.arrays[name] for name in ("statistics",) if name in self.arrays}
        self.arrays = {**kept, **arrays}
        record = {
            "history": [one.to_json() for one in self.history],
            "total": None if math.isnan(self.total) else self.total,
            "dtype": self.dtype.name,
        }
        self.checkpoint.save(len(self.history), self.arrays, record)

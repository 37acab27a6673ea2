"""Which way a decomposition goes, and what it holds: decided from shapes before anything is read.

Floor 2: a pure function of numbers. The array is cut into bands that span the contracted axis::

    bands of a tall array, axis 1 contracted        of a wide array, axis 0 contracted
        n                                               m
      +-----+                                         +----+----+----+
    r | X_b |  one task                             n | X_b|    |    |  bands of its transpose
      +-----+                                         +----+----+----+
      |     |                                            r
      +-----+

The smaller side makes small products. But blocks that do not span it are merged, and where they
span the longer side instead, a band is the whole array; then the longer side is contracted.

Bytes that one process holds while a pass runs, with n the contracted extent, N bands, t threads::

    a task       band (twice if merged) + slab of floats + its sums
    in between   sums of about log2(N) tasks
    at the end   gram: 3 n*n            krylov: 4 n*(columns of the basis)

Left out: the libraries themselves and the buffers of BLAS, about 180 MB in every process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Blocks
from dask_integration.gram import gram_height
from dask_integration.krylov import krylov_height

__all__ = ["LIBRARY_BYTES", "SVDMethod", "SVDPlan", "plan_svd"]

SVDMethod: TypeAlias = Literal["auto", "gram", "krylov"]
"""How to find singular vectors; see ``svd``."""

LIBRARY_BYTES = 180 * 10**6
"""What Python, numpy, BLAS and dask take beside the data; measured on Linux, two threads.

Where pyarrow and numba are installed, dask's imports take 120 MB more: allow for them.
"""

_LARGEST_GRAM = 4096
"""Up to this side a Gram matrix costs less time than the passes that Krylov would make."""

_WIDE_BAND = 256 * 2**20
"""Bands of more bytes than this are reason to look for a way that needs less memory."""

_MOST_BLOCKS = 10
"""Blocks of directions that a Krylov basis has at most: more help little after a restart."""

_FEWEST_BLOCKS = 3


@dataclass(frozen=True)
class SVDPlan:
    """How a decomposition goes.

    Parameters
    ----------
    method : "gram" or "krylov"
        Found, if "auto" was asked for.
    contracted : int
        The axis that bands span.
    n : int
        Its extent.
    width : int
        Directions of a Krylov pass.
    max_columns : int
        Columns that a Krylov basis may grow to.
    held_bytes : int
        The most that one process holds at a time, without libraries.
    """

    method: Literal["gram", "krylov"]
    contracted: int
    n: int
    width: int
    max_columns: int
    held_bytes: int


def plan_svd(
    chunks: Blocks,
    *,
    item_bytes: int,
    k: int,
    n_oversamples: int,
    method: SVDMethod = "auto",
    n_threads: int = 1,
    memory: int | None = None,
) -> SVDPlan:
    """Choose method and axis, and count what a process will hold.

    Parameters
    ----------
    chunks : tuple of tuples of int
        Blocks of the array, two axes.
    item_bytes : int
        Bytes of an element as stored.
    k, n_oversamples : int
        Components, and further directions of a Krylov pass.
    method : "auto", "gram" or "krylov"
        ``"auto"``: gram where it fits, else krylov.
    n_threads : int
        Tasks that run side by side in one process.
    memory : int, optional
        Bytes that one process may take, libraries included.

    Returns
    -------
    SVDPlan

    Raises
    ------
    InvalidArgumentError
        If nothing that was asked for fits; says how much would.

    Examples
    --------
    >>> plan = plan_svd(((1000,) * 200, (1000,)), item_bytes=1, k=20, n_oversamples=10)
    >>> plan.method, plan.contracted, plan.n
    ('gram', 1, 1000)
    >>> plan_svd(((100,) * 200, (50_000,)), item_bytes=4, k=20, n_oversamples=10).method
    'krylov'
    """
    shape = tuple(map(sum, chunks))
    smaller = 1 if shape[1] <= shape[0] else 0
    counted = _Counter(chunks, item_bytes, k, n_oversamples, n_threads, memory)
    krylov = [counted.plan("krylov", axis) for axis in (smaller, 1 - smaller)]
    gram = counted.plan("gram", smaller)
    if method == "auto":
        plans = [gram, *krylov] if shape[smaller] <= _LARGEST_GRAM else krylov
    else:
        plans = [gram] if method == "gram" else krylov
    room = math.inf if memory is None else memory - LIBRARY_BYTES
    fitting = [plan for plan in plans if plan.held_bytes <= room]
    if not fitting:
        least = min(plans, key=lambda plan: plan.held_bytes)
        raise InvalidArgumentError(
            f"cannot decompose an array of shape {shape} within {memory} bytes: {n_threads} tasks "
            f"side by side need {least.held_bytes + LIBRARY_BYTES} (method {least.method!r}, "
            "libraries included). Allow as much, compute with fewer threads, or rechunk to smaller "
            f"blocks along axis {1 - least.contracted}"
        )
    chosen = fitting[0]
    if counted.band_bytes(chosen.contracted) > _WIDE_BAND:
        chosen = min(fitting, key=lambda plan: plan.held_bytes)
    return chosen


@dataclass(frozen=True)
class _Counter:
    """Counts what ways of decomposing one array would hold."""

    chunks: Blocks
    item_bytes: int
    k: int
    n_oversamples: int
    n_threads: int
    memory: int | None

    def band_bytes(self, contracted: int) -> int:
        rows, n = max(self.chunks[1 - contracted]), sum(self.chunks[contracted])
        merged = 2 if len(self.chunks[contracted]) > 1 else 1
        return rows * n * self.item_bytes * merged

    def plan(self, method: Literal["gram", "krylov"], contracted: int) -> SVDPlan:
        n, n_bands = sum(self.chunks[contracted]), len(self.chunks[1 - contracted])
        width = min(self.k + self.n_oversamples, n)
        is_gram = method == "gram"
        sums = 8 * n * (n if is_gram else width)
        # Slabs are float64 where float32 would not do.
        height = gram_height(n) if is_gram else krylov_height(n)
        slab = 8 * n * min(height, max(self.chunks[1 - contracted]))
        # The product of a slab stands beside the sums of a task.
        tasks = self.n_threads * (self.band_bytes(contracted) + slab + 2 * sums)
        tasks += sums * (1 + math.ceil(math.log2(max(n_bands, 2))))
        if is_gram:
            return SVDPlan(method, contracted, n, width, 0, max(tasks, 3 * sums))
        columns = self._columns(n, width, tasks)
        return SVDPlan(method, contracted, n, width, columns, tasks + 32 * n * columns)

    def _columns(self, n: int, width: int, task_bytes: int) -> int:
        """Choose how far a basis may grow: it takes what the tasks leave."""
        fewest = max(_FEWEST_BLOCKS * width, self.k + 2 * width)
        most = min(_MOST_BLOCKS * width, n)
        if self.memory is not None:
            most = min(most, (self.memory - LIBRARY_BYTES - task_bytes) // (32 * n))
        return max(fewest, most)

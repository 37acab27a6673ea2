"""Leading singular values and vectors of an array larger than memory.

Floor 4. Passes over the array go on until the answer is good enough; after each a checkpoint is
kept, and it is known how good the answer is::

    method   passes                       a task multiplies        then, once
    gram     1                            X_b.T @ X_b              eigh                  -> s, v
    krylov   until residuals <= tol       X_b.T @ (X_b @ W)        Rayleigh-Ritz, next W -> s, v
    both     1 more, when u is computed   X_b @ v / s              residuals again

For an array wider than tall all of this happens to its transpose, and u and v change places. Each
pass is a computation of its own, so a block is read, used and dropped.

Left out: the order of passes (``svd_job``), the passes themselves (``bands``), the arithmetic
(``gram``, ``krylov``, ``factors``), and what fits into memory (``svd_plan``).

Source: Halko, Martinsson and Tropp 2011 (SIAM Review 53) and Musco and Musco 2015 (NeurIPS 28) for
block Krylov methods; see ``gram`` and ``krylov``.
"""

from __future__ import annotations

import hashlib
import operator
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import dask.array as da
import numpy as np
from dask.utils import parse_bytes
from numpy.typing import DTypeLike, NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.bands import Bands
from dask_integration.checkpoint import Checkpoint
from dask_integration.factors import Doubles
from dask_integration.gram import ROUNDING
from dask_integration.kernels import refuse_blocks
from dask_integration.layers import need_task_array, runners
from dask_integration.passes import Pass, Watch
from dask_integration.scaler import StandardScaler, float_dtype, rule_to_attributes
from dask_integration.svd_job import SVDJob
from dask_integration.svd_plan import SVDMethod, SVDPlan, plan_svd

__all__ = ["SVD", "ConvergenceWarning", "SVDMethod", "svd"]

_ROW_BYTES = 64 * 2**20
"""Blocks that an array in memory is cut into."""


class ConvergenceWarning(UserWarning):
    """Not all residuals are as small as was asked for."""


@dataclass(frozen=True, eq=False)
class SVD:
    """A singular value decomposition: small things at hand, the tall factor lazy.

    Unpacks as ``u, s, v = svd(x, k)``, with ``x ≈ (u * s) @ v``. ``dask.compute(result)`` gives
    an `SVD` with ndarrays only, and reads ``x`` once for the tall factor and ``check`` together.
    """

    u: da.Array | Doubles
    """Shape (m, k): left singular vectors as columns; lazy unless x is wider than tall.

    What is lazy refers to vectors that the workers hold, if it was found on a cluster: compute it
    there.
    """
    s: Doubles
    """Shape (k,): singular values, largest first."""
    v: da.Array | Doubles
    """Shape (k, n): right singular vectors as rows; lazy if x is wider than tall."""
    residuals: Doubles
    """Shape (k,): ``norm(x.T @ x @ v - s**2 * v) / s**2`` of each component, from the last pass.

    An eigenvalue of ``x.T @ x`` lies within this share of ``s**2``. Where s is 0, relative to
    ``s[0]**2``. With gram they include what float32 may have rounded away.
    """
    check: da.Array | Doubles
    """Shape (k,), lazy: the same, measured anew in the pass that makes the tall factor."""
    total: float
    """Sum of all squared elements of x: of all squared singular values."""
    tol: float
    """What residuals were to reach."""
    method: Literal["gram", "krylov"]
    """The method that was used."""
    scaler: StandardScaler | None
    """The scaler that was given; fitted, if its statistics took a pass of their own."""
    history: tuple[Pass, ...]
    """What each pass found, and what it cost; the convergence record."""

    def __iter__(self) -> Iterator[Any]:
        return iter((self.u, self.s, self.v))

    @property
    def explained_variance_ratio(self) -> Doubles:
        """Shape (k,): ``s**2 / total``, the shares of variance if x is centred."""
        return self.s**2 / (self.total if self.total > 0 else 1.0)

    @property
    def passes(self) -> int:
        """Reads of the whole array, without the one that computing the tall factor makes."""
        return len(self.history)

    @property
    def bytes_read(self) -> int:
        """Bytes of values that the passes took in."""
        return sum(one.n_bytes for one in self.history)

    @property
    def converged(self) -> bool:
        """Whether all residuals are at most ``tol``."""
        return bool((self.residuals <= self.tol).all())


def svd(
    x: da.Array | NDArray[Any],
    k: int,
    *,
    method: SVDMethod = "auto",
    scaler: StandardScaler | None = None,
    dtype: DTypeLike | None = None,
    tol: float = 1e-4,
    max_passes: int = 30,
    n_oversamples: int = 10,
    memory: int | str | None = None,
    seed: int = 0,
    checkpoint: Any = None,
    progress: Watch | None = None,
) -> SVD:
    """Find the k largest singular values of an array and their vectors.

    Parameters
    ----------
    x : dask.array.Array or ndarray, shape (m, n)
        Booleans, integers or real floats. Best in blocks that span the smaller side; blocks that
        do not are put together to bands that do, inside each pass.
    k : int
        Number of components, 1 to ``min(m, n)``.
    method : "auto", "gram" or "krylov"
        ``"gram"``: exact, in one pass; holds square matrices of the smaller side. ``"krylov"``:
        as many passes as it takes to bring all residuals to ``tol``. ``"auto"``: gram up to a
        side of 4,096 if it fits into ``memory``, else krylov; and krylov over the longer side if
        only this avoids bands of more than 256 MB.
    scaler : StandardScaler, optional
        Decompose the standardised array, which is never made: each task standardises some rows at
        a time. One more pass where the statistics do not lie in bands and are not fitted.
    dtype : "float32" or "float64", optional
        Of the tall factor, and of products. The default is float64 for float64, else float32.
        float32 products are used for as long as their rounding stays below ``tol``; then the
        method goes on in float64. Sums are float64 throughout.
    tol : float
        Residual that counts as found; see ``SVD.residuals``.
    max_passes : int
        Passes after which krylov gives up, with a `ConvergenceWarning`.
    n_oversamples : int
        How many more vectors than k each pass of krylov carries.
    memory : int or str, optional
        Bytes, or text such as ``"300 MB"``, that one process may take in all, with 180 MB for
        the libraries. Method and size of the basis are chosen to fit.
    seed : int
        Start of krylov's random vectors.
    checkpoint : Store, str or Path, optional
        A group to keep the state in after each pass. Called again with the same arguments after
        it was killed, this goes on from there; the group stays when all is done.
    progress : callable, optional
        Told of each pass; see `passes.Watch`.

    Returns
    -------
    SVD
        ``u, s, v`` with ``residuals``, ``total`` and ``history``. Of each pair of vectors, the
        one on the smaller side has its element of largest magnitude positive. Where ``x`` has a
        lower rank than k, s is exactly 0, the vectors of the smaller side are still orthonormal,
        and those of the longer side are 0.

    Raises
    ------
    InvalidArgumentError
        For arguments that cannot be meant, or that do not fit into ``memory``; for NaN or infinity
        in ``x`` (a note on the error names the block); if the data changed between passes; if the
        checkpoint is of another job.

    Notes
    -----
    Runs on the scheduler that dask would use. With r rows a band, n the contracted side (the
    smaller one unless that does not fit), w = k + n_oversamples, and bytes of a float64:

    ======  =====================  ====================  ==============================
    method  passes for s and v     a task holds          between tasks
    ======  =====================  ====================  ==============================
    gram    1                      band + 2 n * n        log2(bands) n * n
    krylov  4 to 10 as a rule      band + 2 n * w        log2(bands) n * w; up to 40 n * w
    u       1 more                 band + (r + n) * k    a few (r + n) * k
    ======  =====================  ====================  ==============================

    plus the rows that are floats at a time: 1 MB of them or 128 (512, or n / 2, for gram). Blocks
    that do not span the contracted side cost a second copy of the band. Tasks run BLAS on one
    thread: dask runs several of them side by side.

    A singular value below about ``1e-8 * sqrt(n)`` of the largest counts as 0: products of
    ``x.T @ x`` cannot tell it from rounding. For the same reason columns of the tall factor are
    orthogonal to about ``1e-16 * (s[0] / s)**2``.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> x = da.from_array(np.diag([3.0, 2.0, 1.0]), chunks=(1, 3))
    >>> u, s, v = svd(x, 2)
    >>> s
    array([3., 2.])
    """
    x = _as_blocks(x)
    k = _checked_components(x, k)
    _refuse_settings(method, tol=tol, max_passes=max_passes, n_oversamples=n_oversamples)
    rule = None if scaler is None else scaler.rule(x)
    asked = float_dtype(x.dtype, dtype)
    plan = plan_svd(
        x.chunks,
        item_bytes=x.dtype.itemsize,
        k=k,
        n_oversamples=n_oversamples,
        method=method,
        n_threads=runners().n_threads,
        memory=parse_bytes(memory) if isinstance(memory, str) else memory,
    )
    job = SVDJob(
        k=k,
        plan=plan,
        dtype=np.dtype("float64") if tol < 2 * ROUNDING[asked] else asked,
        tol=tol,
        max_passes=max_passes,
        seed=seed,
        watch=progress,
        checkpoint=Checkpoint(
            checkpoint, _identity(x, k, plan, scaler=scaler, asked=asked, tol=tol, seed=seed)
        ),
    )
    job.resume()
    statistics = None if scaler is None else scaler.statistics
    if rule is not None and statistics is None and rule.axis != plan.contracted:
        statistics = job.gather(x, rule)
        scaler = StandardScaler(**{**asdict(rule), "statistics": statistics})
    bands = Bands(x, plan.contracted, scaling=rule, statistics=statistics)
    small, residuals = job.gram(bands) if plan.method == "gram" else job.krylov(bands)
    rows, check = bands.tall(small, dtype=asked, work=job.dtype)
    columns = small.vectors
    u, v = (columns, rows.T) if plan.contracted == 0 else (rows, columns.T)
    found = SVD(
        u=u,
        s=small.values,
        v=v,
        residuals=residuals,
        check=check,
        total=job.total,
        tol=tol,
        method=plan.method,
        scaler=scaler,
        history=tuple(job.history),
    )
    if not found.converged:
        warnings.warn(_not_converged(found), ConvergenceWarning, stacklevel=2)
    return found


def _as_blocks(given: da.Array | NDArray[Any]) -> da.Array:
    """Give the array as blocks; refuse what cannot be decomposed."""
    x: Any = given
    if isinstance(given, np.ndarray):
        refuse_blocks("decompose", shape=x.shape, dtype=x.dtype, block_type=type(given))
        x = da.from_array(x, chunks=_in_memory_chunks(given), name=False)
    need_task_array(x, "decompose")
    refuse_blocks("decompose", shape=x.shape, dtype=x.dtype, block_type=type(x._meta))
    if x.ndim != 2:
        raise InvalidArgumentError(f"cannot decompose {_named(x)}: expected two axes, got {x.ndim}")
    return cast(da.Array, x)


def _in_memory_chunks(x: NDArray[Any]) -> tuple[int, ...] | int:
    """Cut an array in memory along its longer side."""
    if x.ndim != 2:
        return -1
    longer = 0 if x.shape[0] >= x.shape[1] else 1
    rows = max(1, _ROW_BYTES // max(1, 8 * x.shape[1 - longer]))
    return (rows, -1) if longer == 0 else (-1, rows)


def _checked_components(x: da.Array, k: int) -> int:
    try:
        count = operator.index(k)
    except TypeError:
        raise InvalidArgumentError(
            f"cannot decompose {_named(x)}: expected a whole number of components, got k={k!r}"
        ) from None
    if not 1 <= count <= min(x.shape):
        raise InvalidArgumentError(
            f"cannot find k={count} components of {_named(x)}: "
            f"expected 1 to {min(x.shape)}, the smaller side"
        )
    return count


def _refuse_settings(method: str, *, tol: float, max_passes: int, n_oversamples: int) -> None:
    if method not in get_args(SVDMethod):
        raise InvalidArgumentError(
            f'cannot decompose by method={method!r}: expected "auto", "gram" or "krylov"'
        )
    for name, value, least in (("max_passes", max_passes, 1), ("n_oversamples", n_oversamples, 0)):
        if value < least:
            raise InvalidArgumentError(
                f"cannot decompose with {name}={value}: expected {least} or more"
            )
    if not 0 < tol < 1:
        raise InvalidArgumentError(f"cannot decompose to tol={tol}: expected between 0 and 1")


def _identity(
    x: da.Array, k: int, plan: SVDPlan, *, scaler: StandardScaler | None, **rest: Any
) -> dict[str, Any]:
    """Describe all that the state of a job depends on; the data show themselves in their sums."""
    identity = {
        "shape": list(x.shape),
        "dtype": str(x.dtype),
        "components": k,
        "method": plan.method,
        "contracted axis": plan.contracted,
        "width": plan.width,
        "precision": str(rest["asked"]),
        "tol": rest["tol"],
        "seed": rest["seed"],
        "scaling": None if scaler is None else rule_to_attributes(scaler),
    }
    if scaler is not None and scaler.statistics is not None:
        identity["statistics"] = hashlib.sha256(scaler.statistics.tobytes()).hexdigest()
    return identity


def _not_converged(found: SVD) -> str:
    rough = [str(i) for i, one in enumerate(found.residuals, 1) if one > found.tol]
    advice = (
        "Allow more passes with max_passes, or ask for fewer components"
        if found.method == "krylov"
        else "x.T @ x does not tell these from rounding"
    )
    return (
        f"{len(rough)} of {found.s.size} components have residuals above {found.tol:g} "
        f"(up to {found.residuals.max():.1e}) after {found.passes} passes: {', '.join(rough)}. "
        f"{advice}"
    )


def _named(x: da.Array) -> str:
    return f"an array of shape {x.shape} and dtype {x.dtype}"

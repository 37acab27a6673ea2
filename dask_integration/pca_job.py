"""Principal components of an array in a store, written back as a group: the job behind the command.

Floor 5. A plan is made first and refuses everything that can be refused before work begins; the
run then reads the array, one task a block, and writes::

    scores                    (samples, components)   coordinates of the samples
    loadings                  (variants, components)  principal axes; see `pca` for conventions
    singular_values           (components)            s
    explained_variance        (components)            s**2 over the number of samples
    explained_variance_ratio  (components)            s**2 over the sum of all squares
    residuals                 (components)            norm(x.T @ u - s * v) / s, as measured
    mean, factor              (variants)              what was subtracted and multiplied by
    sample_id                 (samples)               copied from beside the array, if there

What lies along the longer axis is written by chunk and never held whole.

The axis that is not the samples is called variants here, whatever it holds. The group's document,
with the parameters as attributes, is written last.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import dask.array as da
import numpy as np
from dask.base import compute
from numpy.typing import NDArray

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, MissingChunkError, NodeNotFoundError
from dask_integration.genotypes import find_genotypes, write_column
from dask_integration.io import from_store, to_store
from dask_integration.kernels import ScaleRule
from dask_integration.passes import Pass, Watch
from dask_integration.pca import PCA, Convention, pca
from dask_integration.scaler import rule_to_attributes
from dask_integration.svd import ConvergenceWarning

__all__ = ["MEMBERS", "PcaPlan", "PcaResult", "plan_pca", "run_pca", "sample_names"]

MEMBERS = (
    "scores",
    "loadings",
    "singular_values",
    "explained_variance",
    "explained_variance_ratio",
    "residuals",
    "mean",
    "factor",
    "sample_id",
)
"""Names of all arrays that a result may hold."""

_SAMPLE_NAMES = ("samples", "sample")
_MISSING_ATTRIBUTE = "missing_value"
_SAMPLE_ID = "sample_id"


@dataclass(frozen=True)
class PcaPlan:
    """What a run will do; made by `plan_pca`.

    Parameters
    ----------
    source : str
        Place of the array or of its group, as the user gave it.
    array : chunkstore.Array
        The array, of two axes.
    samples_axis : int
        0 or 1.
    n_components : int
        Components to find.
    scale : "std", "patterson" or None
        What the centred values of a variant are divided by.
    missing : float or None
        The value that stands for a missing one.
    convention : str
        As in `pca`.
    options : mapping of str to object
        Of `svd`: method, tolerance, memory and the like.
    """

    source: str
    array: cs.Array
    samples_axis: int
    n_components: int
    scale: ScaleRule
    missing: float | None
    convention: Convention = "scikit-allel"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_samples(self) -> int:
        """Extent of the axis of samples."""
        return self.array.shape[self.samples_axis]

    @property
    def n_variants(self) -> int:
        """Extent of the other axis."""
        return self.array.shape[1 - self.samples_axis]


@dataclass(frozen=True, eq=False)
class PcaResult:
    """The part of a result that is small enough to be shown.

    Parameters
    ----------
    scores : numpy.ndarray, shape (n_samples, k)
        Coordinates of the samples.
    singular_values, explained_variance_ratio, residuals : numpy.ndarray, shape (k,)
        One number for each component.
    method : str
        The method that was used.
    history : sequence of Pass
        What each pass over the array found.
    """

    scores: NDArray[Any]
    singular_values: NDArray[Any]
    explained_variance_ratio: NDArray[Any]
    residuals: NDArray[Any]
    method: str
    history: tuple[Pass, ...]


def plan_pca(
    source: str,
    *,
    n_components: int = 20,
    scale: ScaleRule = "patterson",
    samples_axis: str | int | None = None,
    missing: float | str | None = "declared",
    missing_chunks: Literal["error", "fill"] = "error",
    convention: Convention = "scikit-allel",
    options: Mapping[str, Any] | None = None,
) -> PcaPlan:
    """Look at the array and settle what a run will do; reads no chunk.

    Parameters
    ----------
    source : str
        An array of two axes, or a group that holds one; see `find_genotypes`.
    n_components : int
        At most the smaller extent.
    scale : "std", "patterson" or None
        As in `standardise`.
    samples_axis : str or int, optional
        Name or number of the axis of samples. The default is the axis named ``samples`` or
        ``sample``.
    missing : float, None or "declared"
        The value that stands for a missing one; None if there are none. ``"declared"`` takes the
        array's attribute ``missing_value``, and None without it.
    missing_chunks : "error" or "fill"
        What a chunk that is not stored means: that it was lost, or, as Zarr has it, that all its
        values are the fill value.
    convention : str
        As in `pca`.
    options : mapping of str to object, optional
        Of `svd`: method, tolerance, memory and the like.

    Returns
    -------
    PcaPlan

    Raises
    ------
    NodeNotFoundError, MetadataError
        If there is no such array, or its metadata cannot be read.
    InvalidArgumentError
        If the axis is not clear, or the array does not have that many components.
    """
    array = find_genotypes(source)
    if array.dtype.kind not in "biuf":
        raise InvalidArgumentError(
            f"cannot decompose {source}: expected real numbers, got data type {array.dtype}"
        )
    smaller = min(array.shape)
    if not 1 <= n_components <= smaller:
        raise InvalidArgumentError(
            f"cannot find {n_components} components of {source}: an array of shape {array.shape} "
            f"has at most {smaller}. Ask for 1 to {smaller}."
        )
    declared = array.attrs.get(_MISSING_ATTRIBUTE)
    if missing == "declared":
        missing = _number(declared, source)
    assert not isinstance(missing, str)
    return PcaPlan(
        source=source,
        array=array.with_options(missing_chunks=missing_chunks),
        samples_axis=_samples_axis(array, samples_axis, source),
        n_components=n_components,
        scale=scale,
        missing=missing,
        convention=convention,
        options=options or {},
    )


def run_pca(
    plan: PcaPlan,
    folder: Path,
    *,
    checkpoint: Path | None = None,
    watch: Watch | None = None,
    writing: Any = None,
) -> PcaResult:
    """Compute the components and write them to an empty folder.

    Parameters
    ----------
    plan : PcaPlan
        What `plan_pca` settled.
    folder : Path
        Becomes the group of results; its own document is written last.
    checkpoint : Path, optional
        A group for the state after each pass; a run that was killed goes on from there.
    watch : callable, optional
        Told of each pass; see `passes.Watch`.
    writing : callable, optional
        ``writing(n_bytes)`` gives the context in which the long arrays are written, in the last
        read of the array.

    Returns
    -------
    PcaResult

    Raises
    ------
    ChunkError, MissingChunkError
        If a chunk of the array cannot be read, or is not there; names its key.
    InvalidArgumentError
        If the values cannot be decomposed: NaN, infinity, or no dosages under ``"patterson"``.

    Notes
    -----
    Reads the array as often as `svd` does, and once more to write what lies along its longer
    axis. Holds a few blocks a task, and the scores.
    """
    try:
        x = from_store(plan.array)
        with warnings.catch_warnings():
            # The residuals are in the result, and the caller says what they mean.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = pca(
                x,
                plan.n_components,
                convention=plan.convention,
                samples_axis=plan.samples_axis,
                scale=plan.scale,
                missing=plan.missing,
                checkpoint=checkpoint,
                progress=watch,
                **plan.options,
            )
        with nullcontext() if writing is None else writing(x.nbytes):
            scores, residuals = _write_arrays(folder, plan, found)
    except MissingChunkError as error:
        raise MissingChunkError(
            f"{error}. If it was lost, make {plan.source} again; if it stands for "
            f"{plan.array.fill_value} throughout, pass --missing-chunks fill."
        ) from error
    assert found.svd is not None
    names = sample_names(plan)
    if names is not None:
        write_column(folder / _SAMPLE_ID, names, axis="samples")
    cs.create_group(str(folder), attributes=_attributes(plan, found))
    return PcaResult(
        scores,
        found.singular_values,
        found.explained_variance_ratio,
        residuals,
        found.svd.method,
        found.svd.history,
    )


def _write_arrays(folder: Path, plan: PcaPlan, found: PCA) -> tuple[NDArray[Any], NDArray[Any]]:
    """Write all arrays, the lazy ones in one read; give the scores, and residuals measured anew."""
    by_number = found.statistics if plan.samples_axis == 0 else found.statistics.T
    mean, factor = by_number[0], by_number[1]
    arrays: dict[str, tuple[Any, tuple[str, ...]]] = {
        "scores": (found.scores, ("samples", "components")),
        "loadings": (found.loadings, ("variants", "components")),
        "mean": (mean, ("variants",)),
        "factor": (factor, ("variants",)),
    }
    lazy = []
    for name, (values, axes) in arrays.items():
        if isinstance(values, da.Array):
            lazy.append(to_store(values, str(folder / name), dimension_names=axes, compute=False))
    *_, residuals = compute(*lazy, found.check)
    small = {name: (values, ("components",)) for name, values in _numbers(found, residuals).items()}
    for name, (values, axes) in (arrays | small).items():
        if not isinstance(values, da.Array):
            cs.create_array(str(folder / name), data=values, dimension_names=axes)
    scores = cs.open_array(str(folder / "scores"), mode="r")[...]
    return np.asarray(scores), cast(NDArray[Any], residuals)


def _numbers(found: PCA, residuals: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Give what has one number a component."""
    return {
        "singular_values": found.singular_values,
        "explained_variance": found.explained_variance,
        "explained_variance_ratio": found.explained_variance_ratio,
        "residuals": residuals,
    }


def sample_names(plan: PcaPlan) -> list[str] | None:
    """Read the names of the samples from the array ``sample_id`` beside the source.

    Returns
    -------
    list of str or None
        None if there is no such array, or it does not fit the samples.
    """
    array = plan.array
    inside, _, _ = array.path.rpartition("/")
    store, path = array.store, f"{inside}/{_SAMPLE_ID}".lstrip("/")
    if not array.path:
        # The array is the root of its store: its neighbours are in the folder above.
        assert isinstance(store, cs.LocalStore)
        store, path = cs.LocalStore(Path(store.root).parent, read_only=True), _SAMPLE_ID
    try:
        names = cs.open_array(store, path=path, mode="r")
    except NodeNotFoundError:
        return None
    if names.shape != (plan.n_samples,):
        return None
    return [str(name) for name in names[...]]


def _samples_axis(array: cs.Array, asked: str | int | None, source: str) -> int:
    """Find the axis of samples by what the user said, or by its name."""
    names = array.dimension_names or (None, None)
    described = f"its axes are {' and '.join(_described(array, axis) for axis in (0, 1))}"
    if asked is None:
        found = [axis for axis in (0, 1) if names[axis] in _SAMPLE_NAMES]
        if len(found) != 1:
            raise InvalidArgumentError(
                f"cannot tell which axis of {source} is the samples: {described}. "
                "Say so with --samples-axis NAME, 0 or 1."
            )
        return found[0]
    if isinstance(asked, int) and asked in (0, 1):
        return asked
    if names.count(str(asked)) == 1:
        return names.index(str(asked))
    raise InvalidArgumentError(f"{source} has no axis {asked!r}: {described}")


def _described(array: cs.Array, axis: int) -> str:
    name = array.dimension_names[axis] if array.dimension_names else None
    return f"{axis} ({name or 'unnamed'}, {array.shape[axis]} long)"


def _number(declared: Any, source: str) -> float | None:
    """Check the attribute that declares the missing value."""
    if declared is None or (isinstance(declared, (int, float)) and not isinstance(declared, bool)):
        return declared
    if declared == "NaN":
        return math.nan
    raise InvalidArgumentError(
        f"cannot decompose {source}: its attribute {_MISSING_ATTRIBUTE!r} is {declared!r}, "
        "expected a number. Say which value is missing with --missing VALUE, or --missing none."
    )


def _attributes(plan: PcaPlan, found: PCA) -> Mapping[str, Any]:
    """Describe the run: enough to repeat it, and to project further samples."""
    missing = plan.missing
    assert found.svd is not None
    return {
        "job": "pca",
        "source": plan.source,
        "array": plan.array.name,
        "samples_axis": plan.samples_axis,
        "n_samples": plan.n_samples,
        "n_variants": plan.n_variants,
        "components": plan.n_components,
        "scale": plan.scale or "none",
        "scaling": rule_to_attributes(found.scaler),
        "convention": plan.convention,
        "method": found.svd.method,
        "tol": found.svd.tol,
        "passes": found.svd.passes,
        "missing_value": "NaN" if missing is not None and math.isnan(missing) else missing,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "chunkstore": cs.__version__,
            "dask": version("dask"),
            "numpy": version("numpy"),
        },
    }

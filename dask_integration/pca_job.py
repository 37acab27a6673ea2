"""Principal components of an array in a store, written back as a group: the job behind the command.

Floor 5. A plan is made first and refuses everything that can be refused before work begins; the
run then reads the array, one task a block, and writes::

    scores                    (samples, components)   v.T * s: coordinates of the samples
    loadings                  (variants, components)  u: written by chunk, never held whole
    singular_values           (components)            s
    explained_variance_ratio  (components)            s**2 over the sum of all squares
    residuals                 (components)            norm(x.T @ u - s * v) / s, as measured
    sample_id                 (samples)               copied from beside the array, if there

The axis that is not the samples is called variants here, whatever it holds. The group's document,
with the parameters as attributes, is written last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from dask.base import compute
from numpy.typing import NDArray

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, MissingChunkError, NodeNotFoundError
from dask_integration.genotypes import find_genotypes, write_column
from dask_integration.io import from_store, to_store
from dask_integration.kernels import ScaleRule
from dask_integration.standardise import standardise
from dask_integration.svd import svd

__all__ = ["MEMBERS", "PcaPlan", "PcaResult", "plan_pca", "run_pca", "sample_names"]

MEMBERS = (
    "scores",
    "loadings",
    "singular_values",
    "explained_variance_ratio",
    "residuals",
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
    """

    source: str
    array: cs.Array
    samples_axis: int
    n_components: int
    scale: ScaleRule
    missing: float | None

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
    """

    scores: NDArray[Any]
    singular_values: NDArray[Any]
    explained_variance_ratio: NDArray[Any]
    residuals: NDArray[Any]


def plan_pca(
    source: str,
    *,
    n_components: int = 20,
    scale: ScaleRule = "patterson",
    samples_axis: str | int | None = None,
    missing: float | str | None = "declared",
    missing_chunks: Literal["error", "fill"] = "error",
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
    )


def run_pca(plan: PcaPlan, folder: Path) -> PcaResult:
    """Compute the components and write them to an empty folder.

    Parameters
    ----------
    plan : PcaPlan
        What `plan_pca` settled.
    folder : Path
        Becomes the group of results; its own document is written last.

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
    Reads the array twice where the smaller side is at most some thousands, once for the singular
    values and once for the loadings; see `svd` for the rest. Holds a few blocks a task, and the
    scores.
    """
    x = from_store(plan.array)
    if plan.samples_axis == 0:
        x = x.T
    y = standardise(x, axis=1, scale=plan.scale, missing=plan.missing)
    found = svd(y, plan.n_components)
    written = to_store(
        found.u,
        str(folder / "loadings"),
        dimension_names=("variants", "components"),
        compute=False,
    )
    try:
        _, s, v, shares, residuals = compute(
            written, found.s, found.v, found.explained_variance_ratio, found.residuals
        )
    except MissingChunkError as error:
        raise MissingChunkError(
            f"{error}. If it was lost, make {plan.source} again; if it stands for "
            f"{plan.array.fill_value} throughout, pass --missing-chunks fill."
        ) from error
    result = PcaResult(v.T * s, s, shares, residuals)
    _write_small(folder, result)
    names = sample_names(plan)
    if names is not None:
        write_column(folder / _SAMPLE_ID, names, axis="samples")
    cs.create_group(str(folder), attributes=_attributes(plan))
    return result


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


def _write_small(folder: Path, result: PcaResult) -> None:
    """Write what has one number a component, and the scores."""
    axes = {"scores": ("samples", "components")}
    for name in ("scores", "singular_values", "explained_variance_ratio", "residuals"):
        cs.create_array(
            str(folder / name),
            data=getattr(result, name),
            dimension_names=axes.get(name, ("components",)),
        )


def _attributes(plan: PcaPlan) -> Mapping[str, Any]:
    """Describe the run: enough to repeat it."""
    missing = plan.missing
    return {
        "job": "pca",
        "source": plan.source,
        "array": plan.array.name,
        "samples_axis": plan.samples_axis,
        "n_samples": plan.n_samples,
        "n_variants": plan.n_variants,
        "components": plan.n_components,
        "scale": plan.scale or "none",
        "missing_value": "NaN" if missing is not None and math.isnan(missing) else missing,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "chunkstore": cs.__version__,
            "dask": version("dask"),
            "numpy": version("numpy"),
        },
    }

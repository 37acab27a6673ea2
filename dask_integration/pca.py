"""Principal components of samples by features, or of variants by samples, larger than memory.

Floor 5. A decomposition of the centred and scaled array, in the words and the conventions of the
programs that people come from::

    convention      samples are   scale       explained variance   loadings
    scikit-learn    axis 0        none        s**2 / (n - 1)       unit vectors
    scikit-allel    axis 1        patterson   s**2 / n             unit vectors
    sgkit           axis 1        patterson   s**2 / n             times sqrt(variance)

Left out: how the decomposition is found, which is in ``svd``.

Source: scikit-learn 1.9 ``PCA``; scikit-allel 1.3 ``pca``; sgkit 0.10 ``pca`` and dask-ml's
``TruncatedSVD`` behind it; Patterson, Price and Reich 2006 (PLoS Genetics 2, e190, eq. 1-3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import dask.array as da
import numpy as np
from numpy.typing import NDArray

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeNotFoundError
from dask_integration.io import from_store
from dask_integration.kernels import ScaleRule
from dask_integration.layers import map_block
from dask_integration.scaler import (
    StandardScaler,
    float_dtype,
    gathered_statistics,
    rule_from_attributes,
)
from dask_integration.scaling import ImputeRule
from dask_integration.svd import SVD, svd

__all__ = ["PCA", "Convention", "load_pca", "pca"]

Matrix: TypeAlias = "da.Array | NDArray[Any]"

Convention: TypeAlias = Literal["scikit-learn", "scikit-allel", "sgkit"]
"""Whose words and numbers to use; see ``pca``."""


class _Rules(NamedTuple):
    samples_axis: int
    scale: ScaleRule
    ddof: int
    """Taken off the number of samples in explained variances."""
    scales_loadings: bool


_RULES: Mapping[str, _Rules] = {
    "scikit-learn": _Rules(0, None, 1, scales_loadings=False),
    "scikit-allel": _Rules(1, "patterson", 0, scales_loadings=False),
    "sgkit": _Rules(1, "patterson", 0, scales_loadings=True),
}


@dataclass(frozen=True, eq=False)
class PCA:
    """Principal components; what lies along the longer axis of the array is lazy.

    ``dask.compute(result)`` gives a `PCA` with ndarrays only, and reads the array once for it.
    """

    scores: Matrix
    """Shape (n_samples, k): coordinates of the samples."""
    components: Matrix
    """Shape (n_features, k): principal axes, unit vectors as columns."""
    singular_values: NDArray[np.float64]
    """Shape (k,): of the centred and scaled array, largest first."""
    explained_variance: NDArray[np.float64]
    """Shape (k,): variance of the samples along each axis, by the convention."""
    explained_variance_ratio: NDArray[np.float64]
    """Shape (k,): share of all variance."""
    residuals: NDArray[np.float64]
    """Shape (k,): how far each component is from exact; see `SVD.residuals`."""
    check: Matrix
    """Shape (k,): the same, measured anew with what is lazy; see `SVD.check`."""
    statistics: Matrix
    """Mean and factor of each feature: 2 elements along the axis of samples."""
    scaler: StandardScaler
    """The rule of centring and scaling."""
    convention: Convention
    """As asked for."""
    svd: SVD | None
    """The decomposition with its history; None for what was loaded."""

    @property
    def samples_axis(self) -> int:
        """Axis of samples in the array."""
        return self.scaler.axis

    @property
    def loadings(self) -> Matrix:
        """Shape (n_features, k): the components, times ``sqrt(explained_variance)`` for sgkit."""
        if _RULES[self.convention].scales_loadings:
            return self.components * np.sqrt(self.explained_variance)
        return self.components

    def transform(self, x: Matrix) -> Matrix:
        """Project samples, those of the array or new ones, onto the components.

        Parameters
        ----------
        x : dask.array.Array or ndarray
            Laid out as the array that was decomposed: the same features, any number of samples.
            Missing values are put at the mean of the array that was decomposed.

        Returns
        -------
        dask.array.Array or ndarray, shape (n_samples, k)
            An ndarray if `x` and this result are ndarrays. What is lazy in this result is computed
            with it: ``dask.compute(result)`` first, or `load_pca`, saves that.

        Raises
        ------
        InvalidArgumentError
            If the features are not as many.
        """
        axis, n_features = self.samples_axis, self.components.shape[0]
        if x.ndim != 2 or x.shape[1 - axis] != n_features:
            raise InvalidArgumentError(
                f"cannot project an array of shape {x.shape}: expected {n_features} features "
                f"along axis {1 - axis}"
            )
        parts = (x, self.components, self.statistics)
        if not any(isinstance(part, da.Array) for part in parts):
            fitted = replace(self.scaler, statistics=cast(NDArray[Any], self.statistics))
            y = cast(NDArray[Any], fitted.transform(x))
            return (y if axis == 0 else y.T) @ self.components
        return _projected(x, self)


def pca(
    x: Matrix,
    k: int,
    *,
    convention: Convention = "scikit-learn",
    samples_axis: int | None = None,
    scale: ScaleRule | Literal["convention"] = "convention",
    ddof: int = 0,
    ploidy: int = 2,
    missing: float | None = None,
    impute: ImputeRule = "mean",
    **options: Any,
) -> PCA:
    """Find the k leading principal components of an array.

    Parameters
    ----------
    x : dask.array.Array or ndarray
        Samples by features, or features by samples; booleans, integers or real floats.
    k : int
        Number of components.
    convention : "scikit-learn", "scikit-allel" or "sgkit"
        Sets what follows where it is not given, and what explained variances and loadings are;
        see the table at the top of the module.
    samples_axis : int, optional
        Axis of samples.
    scale : "std", "patterson" or None, optional
        What centred features are divided by; see `standardise`.
    ddof, ploidy, missing, impute
        As in `standardise`.
    **options
        ``method``, ``dtype``, ``tol``, ``max_passes``, ``n_oversamples``, ``memory``, ``seed``,
        ``checkpoint`` and ``progress`` of `svd`.

    Returns
    -------
    PCA

    Raises
    ------
    InvalidArgumentError
        As `standardise` and `svd`.

    Notes
    -----
    The array is never standardised as a whole. Passes, memory and accuracy are those of `svd`;
    features of samples that lie in several blocks along their axis take one more pass where the
    samples are the longer axis.

    Features without spread count as 0, where scikit-allel and sgkit divide by 0. Signs: the
    vectors on the shorter axis have their element of largest magnitude positive. That is
    scikit-learn's rule where there are more samples than features; otherwise, and beside
    scikit-allel and sgkit, which have none, components may point the other way.

    Examples
    --------
    >>> import numpy as np
    >>> found = pca(np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]), 1)
    >>> found.explained_variance.round(3), found.explained_variance_ratio.round(3)
    (array([8.333]), array([1.]))
    """
    if convention not in _RULES:
        raise InvalidArgumentError(
            f"cannot follow convention={convention!r}: expected one of {', '.join(_RULES)}"
        )
    rules = _RULES[convention]
    axis = rules.samples_axis if samples_axis is None else samples_axis
    if axis not in (0, 1):
        raise InvalidArgumentError(f"cannot take axis {axis} for the samples: expected 0 or 1")
    if x.ndim == 2 and x.shape[axis] < 2:
        raise InvalidArgumentError(
            f"cannot find components of {x.shape[axis]} samples along axis {axis}: expected 2 or "
            "more"
        )
    scaler = StandardScaler(
        axis,
        scale=rules.scale if scale == "convention" else scale,
        ddof=ddof,
        ploidy=ploidy,
        missing=missing,
        impute=impute,
    )
    found = svd(x, k, scaler=scaler, **options)
    assert found.scaler is not None
    statistics: Matrix | None = found.scaler.statistics
    if statistics is None:
        statistics = (
            gathered_statistics(x, scaler.rule(x))
            if isinstance(x, da.Array)
            else cast(NDArray[Any], scaler.fit(x).statistics)
        )
    columns, rows = found.u, found.v.T
    return PCA(
        scores=(columns if axis == 0 else rows) * found.s,
        components=rows if axis == 0 else columns,
        singular_values=found.s,
        explained_variance=found.s**2 / (x.shape[axis] - rules.ddof),
        explained_variance_ratio=found.explained_variance_ratio,
        residuals=found.residuals,
        check=found.check,
        statistics=statistics,
        scaler=scaler,
        convention=convention,
        svd=found,
    )


def load_pca(store: Any, *, path: str | None = None) -> PCA:
    """Open what ``chunkstore pca`` wrote, to project further samples.

    Parameters
    ----------
    store, path
        The group, as in `chunkstore.open_group`.

    Returns
    -------
    PCA
        Components and statistics are lazy; the rest is read.

    Raises
    ------
    NodeNotFoundError
        If there is no such group.
    InvalidArgumentError
        If it holds no such result.
    """
    group = cs.open_group(store, path=path, mode="r")
    try:
        scaler = rule_from_attributes(group.attrs["scaling"])
        convention = cast(Convention, group.attrs["convention"])
        small = {
            name: np.asarray(cast(cs.Array, group[name])[...])
            for name in (
                "scores",
                "singular_values",
                "explained_variance",
                "explained_variance_ratio",
                "residuals",
            )
        }
        components, *statistics = (
            from_store(cast(cs.Array, group[name])) for name in ("loadings", "mean", "factor")
        )
    except (KeyError, TypeError, NodeNotFoundError) as error:
        raise InvalidArgumentError(
            f"{group!r} is no result of principal components: {error}"
        ) from error
    if _RULES[convention].scales_loadings:
        variance = small["explained_variance"]
        components = da.where(variance > 0, components / np.sqrt(variance), 0)
    return PCA(
        **small,
        components=components,
        check=small["residuals"],
        statistics=da.stack(statistics, axis=scaler.axis),
        scaler=scaler,
        convention=convention,
        svd=None,
    )


def _projected(given: Matrix, model: PCA) -> da.Array:
    """Project lazily: one task a block of features, and their sum."""
    axis = model.samples_axis
    x: Any = given if isinstance(given, da.Array) else da.from_array(given, name=False)
    rule = replace(model.scaler, statistics=None).rule(x)
    features = x.chunks[1 - axis]
    components = da.asarray(model.components).rechunk((features, -1))
    blocks = (-1, features) if axis == 0 else (features, -1)
    statistics = da.asarray(model.statistics).rechunk(blocks)
    dtype = float_dtype(x.dtype, None)
    scaled = partial(rule.apply, dtype=dtype)
    y = map_block(scaled, x, aligned=[statistics], dtype=dtype, label="standardise")
    return cast(da.Array, (y if axis == 0 else y.T) @ components)

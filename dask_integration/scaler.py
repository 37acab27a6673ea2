"""Mean and spread of the rows of an array as a thing of their own: found once, stored, used again.

Floor 3. ::

    StandardScaler(axis=1)  --fit(x), one pass-->  fitted  --transform(y)-->  floats
                                                     |     <--inverse(z)----
                                                     +-- save / load: two small Zarr arrays

Left out: the arithmetic, which is in ``scaling`` and ``kernels``.

Source: the names of fit and transform are those of scikit-learn; a fit gives a new object here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, cast, get_args

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike, NDArray

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeNotFoundError
from dask_integration.kernels import Doubles, ScaleRule, refuse_blocks
from dask_integration.layers import map_block, map_partials, need_task_array, reduce_blocks
from dask_integration.scaling import ImputeRule, Scaling

__all__ = [
    "StandardScaler",
    "float_dtype",
    "gathered_statistics",
    "rule_from_attributes",
    "rule_to_attributes",
]


@dataclass(frozen=True, eq=False)
class StandardScaler:
    """Centre and scale along one axis, with statistics that can be kept.

    Parameters
    ----------
    axis : int
        The axis along which mean and spread are taken. ``axis=1`` for variants by samples gives
        each variant its own; ``axis=0`` is scikit-learn's for samples by features.
    center, scale, ddof, ploidy, missing, impute
        As in `standardise`.
    statistics : ndarray of float64, optional
        Mean and factor along the axis; what `fit` finds.

    Examples
    --------
    >>> import numpy as np
    >>> fitted = StandardScaler(axis=1).fit(np.array([[1.0, 3.0], [5.0, 5.0]]))
    >>> fitted.mean, fitted.factor
    (array([2., 5.]), array([1., 0.]))
    >>> fitted.transform(np.array([[4.0], [7.0]])).tolist()
    [[2.0], [0.0]]
    """

    axis: int
    center: bool = True
    scale: ScaleRule = "std"
    ddof: int = 0
    ploidy: int = 2
    missing: float | None = None
    impute: ImputeRule = "mean"
    statistics: Doubles | None = None

    def __post_init__(self) -> None:
        if self.scale not in ("std", "patterson", None):
            raise InvalidArgumentError(
                f'cannot standardise: expected scale="std", "patterson" or None, got {self.scale!r}'
            )
        if self.impute not in get_args(ImputeRule):
            raise InvalidArgumentError(
                f'cannot standardise: expected impute="mean" or "error", got {self.impute!r}'
            )
        for name, value, least in (("ddof", self.ddof, 0), ("ploidy", self.ploidy, 1)):
            if value < least:
                raise InvalidArgumentError(
                    f"cannot standardise: expected {name} of {least} or more, got {value}"
                )

    @property
    def mean(self) -> Doubles:
        """What is subtracted; the shape of an array without the axis. 0 where nothing is known."""
        return cast(Doubles, np.take(self._fitted(), 0, axis=self.axis))

    @property
    def factor(self) -> Doubles:
        """What is multiplied by, ``1 / spread``; 0 for rows without spread."""
        return cast(Doubles, np.take(self._fitted(), 1, axis=self.axis))

    def rule(self, x: da.Array | NDArray[Any]) -> Scaling:
        """Give the rule for an array, or refuse what cannot be meant for it."""
        block_type = type(x._meta) if isinstance(x, da.Array) else type(x)
        refuse_blocks("standardise", shape=x.shape, dtype=x.dtype, block_type=block_type)
        if not -x.ndim <= self.axis < x.ndim:
            raise InvalidArgumentError(
                f"cannot standardise {_named(x)} along axis {self.axis}: "
                f"expected {-x.ndim} to {x.ndim - 1}"
            )
        axis = self.axis % int(x.ndim)
        if self.statistics is not None:
            expected = (*x.shape[:axis], 2, *x.shape[axis + 1 :])
            if self.statistics.shape != expected:
                raise InvalidArgumentError(
                    f"cannot standardise {_named(x)} along axis {axis}: the scaler was fitted to "
                    f"arrays of another shape. Expected statistics of shape {expected}, got "
                    f"{self.statistics.shape}"
                )
        return Scaling(
            axis,
            center=self.center,
            scale=self.scale,
            ddof=self.ddof,
            ploidy=self.ploidy,
            missing=_checked_missing(x, self.missing),
            impute=self.impute,
        )

    def fit(self, x: da.Array | NDArray[Any]) -> StandardScaler:
        """Find mean and spread in one pass.

        Parameters
        ----------
        x : dask.array.Array or ndarray
            Booleans, integers or real floats.

        Returns
        -------
        StandardScaler
            The same rule, fitted. Holds two float64 for each row.

        Raises
        ------
        InvalidArgumentError
            As `standardise`.
        """
        whole = replace(self, statistics=None)
        rule = whole.rule(x)
        if isinstance(x, da.Array):
            statistics = gathered_statistics(x, rule).compute()
        else:
            statistics = rule.statistics(rule.moments(x))
        return replace(whole, axis=rule.axis, missing=rule.missing, statistics=statistics)

    def transform(
        self, x: da.Array | NDArray[Any], *, dtype: DTypeLike | None = None
    ) -> da.Array | NDArray[Any]:
        """Standardise any array by the statistics found before: dask arrays lazily, others at once.

        Parameters
        ----------
        x : dask.array.Array or ndarray
            Of the fitted shape, but for the axis, which may have any extent.
        dtype : dtype, optional
            float32 or float64; the default as in `standardise`.
        """
        rule = self.rule(x)
        return self._mapped(rule.apply, x, rule.axis, float_dtype(x.dtype, dtype))

    def inverse(
        self, y: da.Array | NDArray[Any], *, dtype: DTypeLike | None = None
    ) -> da.Array | NDArray[Any]:
        """Give back what `transform` was given; a row without spread comes back as its mean."""
        rule = replace(self, missing=None).rule(y)
        return self._mapped(rule.undo, y, rule.axis, float_dtype(y.dtype, dtype))

    def _mapped(
        self, func: Any, x: da.Array | NDArray[Any], axis: int, dtype: np.dtype[Any]
    ) -> da.Array | NDArray[Any]:
        statistics = self._fitted()
        if not isinstance(x, da.Array):
            return cast(NDArray[Any], func(x, statistics, dtype=dtype))
        need_task_array(x, "standardise")
        beside = da.from_array(
            statistics, chunks=(*x.chunks[:axis], (2,), *x.chunks[axis + 1 :]), name=False
        )
        return map_block(
            partial(func, dtype=dtype), x, aligned=[beside], dtype=dtype, label="standardise"
        )

    def _fitted(self) -> Doubles:
        if self.statistics is None:
            raise InvalidArgumentError(
                "this scaler has no statistics yet: call fit(x), and use what it returns"
            )
        return self.statistics

    def save(self, store: Any, *, path: str | None = None, overwrite: bool = False) -> None:
        """Store a fitted scaler as a group of two arrays, ``mean`` and ``factor``.

        Parameters
        ----------
        store, path, overwrite
            As in `chunkstore.create_group`. The rule is the group's attribute ``scaling``.
        """
        attributes = {"scaling": rule_to_attributes(self)}
        group = cs.create_group(store, path=path, attributes=attributes, overwrite=overwrite)
        for name in ("mean", "factor"):
            cs.create_array(
                group.store, name=f"{group.path}/{name}".lstrip("/"), data=getattr(self, name)
            )

    @classmethod
    def load(cls, store: Any, *, path: str | None = None) -> StandardScaler:
        """Read a scaler that `save` stored, or that stands in a result of ``chunkstore pca``.

        Raises
        ------
        NodeNotFoundError
            If there is no such group.
        InvalidArgumentError
            If the group holds no scaler.
        """
        group = cs.open_group(store, path=path, mode="r")
        try:
            rule = rule_from_attributes(group.attrs["scaling"])
            parts = [np.asarray(cast(cs.Array, group[name])[...]) for name in ("mean", "factor")]
        except (KeyError, TypeError, NodeNotFoundError) as error:
            raise InvalidArgumentError(
                f"{group!r} holds no scaler: expected the attribute 'scaling' and the arrays "
                "'mean' and 'factor'"
            ) from error
        return replace(rule, statistics=np.stack(parts, axis=rule.axis))


def gathered_statistics(x: da.Array, rule: Scaling) -> da.Array:
    """Gather mean and factor of each row in one pass, lazily: 2 elements along the axis."""
    need_task_array(x, "standardise")
    axis = rule.axis
    return reduce_blocks(
        map_partials(rule.moments, x, label="moments"),
        rule.merged,
        axes=[axis],
        chunks=(*x.chunks[:axis], (2,), *x.chunks[axis + 1 :]),
        dtype=np.float64,
        finalize=rule.statistics,
        label="mean-and-factor",
    )


def float_dtype(given: np.dtype[Any], asked: DTypeLike | None) -> np.dtype[Any]:
    """Give the floats to compute in: those asked for, or float64 for float64 and float32 else."""
    if asked is None:
        return np.dtype("float64" if given == np.float64 else "float32")
    dtype = np.dtype(asked)
    if dtype not in (np.dtype("float32"), np.dtype("float64")):
        raise InvalidArgumentError(
            f"cannot compute with {given} in {dtype}: expected float32 or float64"
        )
    return dtype


def rule_to_attributes(scaler: StandardScaler) -> dict[str, Any]:
    """Describe a rule in what JSON can hold."""
    rule = asdict(replace(scaler, statistics=None))
    del rule["statistics"]
    if scaler.missing is not None and math.isnan(scaler.missing):
        rule["missing"] = "NaN"
    return rule


def rule_from_attributes(rule: Mapping[str, Any]) -> StandardScaler:
    """Undo ``rule_to_attributes``."""
    missing = rule.get("missing")
    return StandardScaler(**{**rule, "missing": math.nan if missing == "NaN" else missing})


def _named(x: da.Array | NDArray[Any]) -> str:
    return f"an array of shape {x.shape} and dtype {x.dtype}"


def _checked_missing(x: da.Array | NDArray[Any], missing: float | None) -> float | None:
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

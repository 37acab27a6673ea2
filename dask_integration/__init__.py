"""Turn stored arrays into dask graphs whose blocks are whole write units, and run jobs over them.

::

    x = from_store("genotypes.zarr", "calls")  # one task a block, nothing read yet
    y = standardise(x, axis=1, scale="patterson")  # means and spreads block by block
    u, s, v = svd(y, 20)  # leading singular vectors; u, the tall ones, lazily
    to_store(y, "standardised.zarr")  # read, computed and written in the same task

Works with no cluster, with threads, and with a `distributed.Client`; starts none by itself.
"""

from __future__ import annotations

from chunkstore.errors import MissingExtraError as _MissingExtraError

try:
    import dask.array as _dask_array  # noqa: F401
except ImportError as _error:
    _missing = _error

    # Said when a name is asked for, not at import: xarray's reader needs no dask, and Python
    # imports this package before it.
    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        raise _MissingExtraError(
            f"dask_integration.{name} needs dask, which is not installed. Run: "
            'python -m pip install "chunkstore[dask]"'
        ) from _missing

else:
    from dask_integration.explain import Explanation, explain
    from dask_integration.io import append, from_store, is_complete, to_store, write_region
    from dask_integration.pca import PCA, load_pca, pca
    from dask_integration.plot import scree_and_scatter
    from dask_integration.receipts import StoreReport
    from dask_integration.rechunk import rechunk
    from dask_integration.rechunk_job import RechunkJob, RechunkReport
    from dask_integration.rechunk_plan import RechunkPlan
    from dask_integration.reductions import reduce
    from dask_integration.scaler import StandardScaler
    from dask_integration.standardise import standardise
    from dask_integration.svd import SVD, ConvergenceWarning, svd

__all__ = [
    "PCA",
    "SVD",
    "ConvergenceWarning",
    "Explanation",
    "RechunkJob",
    "RechunkPlan",
    "RechunkReport",
    "StandardScaler",
    "StoreReport",
    "append",
    "explain",
    "from_store",
    "is_complete",
    "load_pca",
    "pca",
    "rechunk",
    "reduce",
    "scree_and_scatter",
    "standardise",
    "svd",
    "to_store",
    "write_region",
]

for _name in __all__:
    if _name in globals():
        globals()[_name].__module__ = __name__
del _name

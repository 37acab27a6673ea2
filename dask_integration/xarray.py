"""What users of xarray import: datasets of dask arrays, read and written block by block.

::

    import dask_integration.xarray as cx

    ds = cx.open_dataset("era.zarr")  # one task a block, nothing read but coordinates
    anomalies = ds - ds.mean("time")
    anomalies.chunkstore.to_store("anomalies.zarr")  # read, computed and written block by block

Importing it gives datasets, arrays and trees the accessor ``.chunkstore``. Reading without dask
needs no import: ``xr.open_dataset(…, engine="chunkstore")``. Floor 7: a door.
"""

from __future__ import annotations

from chunkstore.errors import MissingExtraError as _MissingExtraError

try:
    import dask.array as _dask_array  # noqa: F401
    import xarray as _xarray  # noqa: F401
except ImportError as _error:
    raise _MissingExtraError(
        f"dask_integration.xarray needs dask and xarray, and {_error.name} is not installed. Run: "
        'python -m pip install "chunkstore[dask,xarray]"'
    ) from _error

from dask_integration.xarray_open import open_dataset, open_datatree
from dask_integration.xarray_writer import to_store, write_region

__all__ = ["open_dataset", "open_datatree", "to_store", "write_region"]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name

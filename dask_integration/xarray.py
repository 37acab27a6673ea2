"""What users of xarray import: datasets of dask arrays, read and written block by block.

::

    import dask_integration.xarray as cx

    ds = cx.open_dataset("era.zarr")  # one task a block, nothing read but coordinates

Floor 7: a door. Reading without dask needs no import: ``xr.open_dataset(…, engine="chunkstore")``.
"""

from __future__ import annotations

from dask_integration.xarray_open import open_dataset, open_datatree

__all__ = ["open_dataset", "open_datatree"]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name

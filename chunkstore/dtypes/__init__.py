"""Data types: the name in a document, the numpy dtype in memory, and the coding of fill values.

Floor 1. The families of types are in the modules beside this one, each importing only ``base``;
``table`` sees them all.

Source: Zarr v3 core, "Data types" and "Fill value"; zarr-extensions, "data-types"; Zarr v2, "Data
type encoding".
"""

from __future__ import annotations

from chunkstore.dtypes.base import DataType
from chunkstore.dtypes.table import from_numpy, from_v2, from_v3

__all__ = ["DataType", "from_numpy", "from_v2", "from_v3"]

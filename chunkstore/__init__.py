"""Read and write N-dimensional arrays in the Zarr formats, version 2 and 3, from any store.

The way of the data: `Array` turns a selection into requests for chunks (``indexing``), the
``engine`` fetches them from the store and runs them through the array's codecs (``pipeline``).
"""

from __future__ import annotations

from chunkstore import errors
from chunkstore.api import (
    consolidate_metadata,
    create_array,
    create_group,
    open,
    open_array,
    open_consolidated,
    open_group,
    open_store,
)
from chunkstore.array import Array
from chunkstore.cache import ChunkCache
from chunkstore.cleaning import Leftover, clean
from chunkstore.group import Group
from chunkstore.options import Options
from chunkstore.shortcuts import (
    array,
    copy,
    create,
    empty,
    empty_like,
    from_array,
    full,
    full_like,
    load,
    ones,
    ones_like,
    open_like,
    save,
    verify,
    zeros,
    zeros_like,
)
from chunkstore.stores.base import Store
from chunkstore.stores.local import LocalStore
from chunkstore.stores.mapping import MappingStore
from chunkstore.stores.memory import MemoryStore
from chunkstore.stores.zip import ZipStore
from chunkstore.verifying import Verification

__all__ = [
    "Array",
    "ChunkCache",
    "Group",
    "Leftover",
    "LocalStore",
    "MappingStore",
    "MemoryStore",
    "Options",
    "Store",
    "Verification",
    "ZipStore",
    "array",
    "clean",
    "consolidate_metadata",
    "copy",
    "create",
    "create_array",
    "create_group",
    "empty",
    "empty_like",
    "errors",
    "from_array",
    "full",
    "full_like",
    "load",
    "ones",
    "ones_like",
    "open",
    "open_array",
    "open_consolidated",
    "open_group",
    "open_like",
    "open_store",
    "save",
    "verify",
    "zeros",
    "zeros_like",
]

__version__ = "0.1.0"

for _name in set(__all__) - {"errors"}:
    globals()[_name].__module__ = __name__
del _name

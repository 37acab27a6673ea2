"""What a backend is written with, in one place; the contract that all keep is in ``base``.

Floor 2. Imported by nobody here: who only reads loads none of it.
"""

from __future__ import annotations

from chunkstore.keys import check_key, check_prefix, is_temporary
from chunkstore.stores.base import Listing, LockKind, OpenValue, Store, listing_of
from chunkstore.stores.conditional import ConditionalStore
from chunkstore.stores.leases import Version, Versioned
from chunkstore.types import Buffer, ByteRange

__all__ = [
    "Buffer",
    "ByteRange",
    "ConditionalStore",
    "Listing",
    "LockKind",
    "OpenValue",
    "Store",
    "Version",
    "Versioned",
    "check_key",
    "check_prefix",
    "is_temporary",
    "listing_of",
]

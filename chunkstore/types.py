"""Names for the shapes of values that pass between the floors.

Floor 0. Only aliases; nothing here runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy.typing as npt

__all__ = ["JSON", "Buffer", "ByteRange", "ChunkCoords", "NDArray", "Selection", "Shape"]

Shape: TypeAlias = tuple[int, ...]
"""Extent of an array along each axis, in elements."""

ChunkCoords: TypeAlias = tuple[int, ...]
"""Position of a chunk in the chunk grid, one integer an axis."""

Selection: TypeAlias = Any
"""What a user may put between the brackets of an array."""

JSON: TypeAlias = Mapping[str, Any]
"""One object of a JSON document."""

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Encoded bytes; readers treat them as read-only and contiguous."""

NDArray: TypeAlias = npt.NDArray[Any]
"""A numpy array of any data type."""


class ByteRange(NamedTuple):
    """Part of a stored value.

    ``start`` counts from the first byte, or from the end when negative (then ``length`` must
    reach exactly to the end). ``length`` is in bytes; None means up to the end.
    """

    start: int
    length: int | None = None

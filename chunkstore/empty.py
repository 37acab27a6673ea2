"""Whether a chunk is empty: every element exactly the fill value, so that it may go unstored.

Floor 1. Bits are compared, not values: a NaN equals itself here, and -0.0 is not 0.0, so leaving
an empty chunk out never changes what is read.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chunkstore.types import NDArray

__all__ = ["is_all_fill"]


def is_all_fill(chunk: NDArray, fill_value: Any) -> bool:
    """Whether every element of a chunk has exactly the bits of the fill value.

    Looks at one element first, which settles it for most chunks that hold data.

    Examples
    --------
    >>> is_all_fill(np.array([np.nan, np.nan]), np.nan), is_all_fill(np.array([-0.0]), 0.0)
    (True, False)
    """
    if chunk.size == 0:
        return True
    if chunk.dtype == object:
        return all(_is_same(element, fill_value) for element in chunk.flat)
    packed = _packed(chunk.dtype)
    if packed.itemsize != chunk.dtype.itemsize:
        chunk = chunk.astype(packed)
    wanted = np.array(fill_value, packed).reshape(1)
    if packed.kind == "T":
        return bool((chunk == wanted).all())
    # A slice and not an element: of text, numpy's scalars drop the zeros at the end.
    first: Any = (..., *(slice(0, 1),) * chunk.ndim)
    if chunk[first].tobytes() != wanted.tobytes():
        return False
    itemsize = packed.itemsize
    unit = math.gcd(itemsize, 8)
    if itemsize == unit:
        return bool((chunk.view(f"u{unit}") == wanted.view(f"u{unit}")).all())
    # Every element is the one before it: a comparison along the memory, whatever their size.
    flat = np.ascontiguousarray(chunk).reshape(-1).view(f"u{unit}")
    n = itemsize // unit
    return bool((flat[n:] == flat[:-n]).all())


def _packed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give the dtype without the padding between fields, which means nothing."""
    if dtype.subdtype is not None:
        return np.dtype((_packed(dtype.subdtype[0]), dtype.subdtype[1]))
    if dtype.names is None:
        return dtype
    return np.dtype([(name, _packed(dtype[name])) for name in dtype.names])


def _is_same(element: Any, fill_value: Any) -> bool:
    """Whether an object is stored as the fill value is; what cannot be told counts as different."""
    if isinstance(fill_value, np.ndarray) and fill_value.ndim == 0:
        fill_value = fill_value[()]
    if type(element) is not type(fill_value):
        return False
    if isinstance(element, np.ndarray):
        same_kind = element.dtype == fill_value.dtype and element.shape == fill_value.shape
        return bool(same_kind and element.tobytes() == fill_value.tobytes())
    if isinstance(element, float):
        return bool(element.hex() == float(fill_value).hex())
    return isinstance(element, (bytes, str, int, type(None))) and bool(element == fill_value)

"""Whether a chunk is empty: every element exactly the fill value, so that it may go unstored.

Floor 1. Bits are compared, not values: a NaN equals itself here, and -0.0 is not 0.0, so leaving
an empty chunk out never changes what is read.
"""

from __future__ import annotations

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
    if chunk.dtype.kind not in "biufcmM":
        return bool(np.all(chunk == fill_value))
    wanted = np.asarray(fill_value, chunk.dtype).reshape(1)
    if chunk[(0,) * chunk.ndim].tobytes() != wanted.tobytes():
        return False
    unit = f"u{min(chunk.dtype.itemsize, 8)}"
    if chunk.dtype.itemsize > 8:
        chunk = np.ascontiguousarray(chunk)[..., np.newaxis]
    return bool((chunk.view(unit) == wanted.view(unit)).all())

"""Which values may be written to an array of which type: numpy's casts, without the silent ones.

Floor 1. Numpy's assignment cuts 2.7 to 2 and 300 to 44 without a word. Here a cast may round a
float to a shorter one, and nothing else may change a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chunkstore.dtypes import from_numpy
from chunkstore.errors import InvalidArgumentError
from chunkstore.types import NDArray

__all__ = ["castable", "holder"]


def castable(value: Any, dtype: np.dtype[Any], *, what: str) -> NDArray:
    """Give the value as an array that may be cast to the stored type; refuse what loses data."""
    if isinstance(value, np.ndarray) and value.dtype == dtype:
        return value
    # A field may hold an array of its type in each record.
    base = dtype if dtype.subdtype is None else dtype.subdtype[0]
    try:
        return from_numpy(base).cast(value)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"cannot write to {what}: {error}") from error


def holder(value: Any, dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Give the dtype to read a Python scalar as: the stored one, unless that would cut it."""
    if isinstance(value, float) and dtype.kind in "iub":
        return None
    if isinstance(value, complex) and dtype.kind != "c":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and dtype.kind == "b":
        return None
    return dtype

"""Which values may be written to an array of which type: numpy's casts, without the silent ones.

Floor 1. Numpy's assignment cuts 2.7 to 2 and 300 to 44 without a word. Here a cast may round a
float to a shorter one, and nothing else may change a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chunkstore.errors import InvalidArgumentError
from chunkstore.types import NDArray

__all__ = ["castable", "holder"]


def castable(value: Any, dtype: np.dtype[Any], *, what: str) -> NDArray:
    """Give the value as an array that may be cast to the stored type; refuse what loses data."""
    try:
        if isinstance(value, (bool, int, float, complex, str)) or dtype.kind in "TO":
            values = np.asarray(value, holder(value, dtype))
        else:
            values = np.asarray(value)
            if not values.size:
                values = values.astype(dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidArgumentError(f"cannot write {value!r} to {what}: {error}") from error
    if values.dtype == dtype:
        return values
    if not np.can_cast(values.dtype, dtype, "same_kind"):
        raise InvalidArgumentError(
            f"cannot write values of {values.dtype} to {what}: the cast could lose more than "
            f"precision. Convert them first, for example with .astype({dtype.name!r})"
        )
    if dtype.kind in "iu" and not np.can_cast(values.dtype, dtype):
        limits = np.iinfo(dtype)
        low, high = int(values.min()), int(values.max())
        if low < limits.min or high > limits.max:
            raise InvalidArgumentError(
                f"cannot write values from {low} to {high} to {what}: {dtype} holds {limits.min} "
                f"to {limits.max}"
            )
    return values


def holder(value: Any, dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Give the dtype to read a Python scalar as: the stored one, unless that would cut it."""
    if isinstance(value, float) and dtype.kind in "iub":
        return None
    if isinstance(value, complex) and dtype.kind != "c":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and dtype.kind == "b":
        return None
    return dtype

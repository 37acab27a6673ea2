"""Which values may be written to an array of which type: numpy's casts, without the silent ones.

Floor 1. Numpy's assignment cuts 2.7 to 2 and 300 to 44 without a word. Here a cast may round a
float to a shorter one, and nothing else may change a value.
"""

from __future__ import annotations

from typing import Any

from chunkstore.dtypes import DataType, from_numpy
from chunkstore.errors import InvalidArgumentError
from chunkstore.types import NDArray

__all__ = ["castable"]


def castable(
    value: Any, data_type: DataType, *, what: str, fields: str | list[str] | None = None
) -> NDArray:
    """Give the value as an array that may be cast to the stored type; refuse what loses data.

    With `fields`, the value is for these fields of a record.
    """
    if fields is not None:
        dtype = data_type.dtype[fields]
        # A field may hold an array of its type in each record.
        data_type = from_numpy(dtype if dtype.subdtype is None else dtype.subdtype[0])
    try:
        return data_type.cast(value)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"cannot write to {what}: {error}") from error

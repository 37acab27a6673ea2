"""Moments and durations: numpy's ``datetime64`` and ``timedelta64``.

Floor 1. Stored as 64-bit integers that count a unit; the least integer is "not a time".

Source: zarr-extensions, "numpy.datetime64" and "numpy.timedelta64"; Zarr v2, "Data type encoding".
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkstore.dtypes.base import DataType, as_values
from chunkstore.types import NDArray

__all__ = ["UNITS", "of_dtype", "time_type"]

UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "μs", "ns", "ps", "fs", "as", "generic")
"""What a unit may be called; ``"us"`` and ``"μs"`` are one."""

MAX_SCALE = 2**31 - 1

_NOT_A_TIME = -(2**63)
_TIMES = (dt.date, dt.timedelta, np.datetime64, np.timedelta64)


@dataclass(frozen=True, slots=True)
class Time(DataType):
    """``numpy.datetime64`` and ``numpy.timedelta64``.

    Parameters
    ----------
    unit : str
        One of `UNITS`, as the document spells it.
    scale_factor : int
        How many units an element counts at a time.
    """

    unit: str
    scale_factor: int

    def to_v3(self) -> Any:
        configuration = {"unit": self.unit, "scale_factor": self.scale_factor}
        return {"name": self.name, "configuration": configuration}

    def to_v2(self, order: str = "<") -> Any:
        scale = self.scale_factor if self.scale_factor != 1 else ""
        unit = "us" if self.unit == "μs" else self.unit
        suffix = "" if unit == "generic" and not scale else f"[{scale}{unit}]"
        return f"{order}{self.dtype.kind}8{suffix}"

    def default_fill(self) -> Any:
        return self._of_count(_NOT_A_TIME)

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        if value == "NaT":
            return self._of_count(_NOT_A_TIME)
        if not strict and isinstance(value, str):
            return self.scalar(value)
        if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise self.refusal(value, '"NaT" or an integer of 64 bits')
        return self._of_count(value)

    def fill_to_json(self, value: Any) -> Any:
        count = self.fill_to_v2(value, "<")
        return "NaT" if count == _NOT_A_TIME else count

    def fill_to_v2(self, value: Any, order: str) -> Any:
        return int(np.asarray(value, self.dtype).view(np.int64)[()])

    def scalar(self, value: Any) -> Any:
        # Zero is what zarr-python's users write for the start of counting.
        if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64)):
            return self.fill_from_json(int(value))
        return DataType.scalar(self, value)

    def cast(self, value: Any) -> NDArray:
        values = as_values(value)
        if values.dtype == self.dtype:
            return values
        if not values.size and values.dtype.kind in "fO":
            return values.astype(self.dtype)
        if values.dtype.kind in "OU":
            return self._parsed(
                values if isinstance(value, np.ndarray) else as_values(value, object)
            )
        if values.dtype.kind in "iu" and not isinstance(value, np.ndarray):
            return as_values(value, np.int64).view(self.dtype)
        if values.dtype.kind != self.dtype.kind:
            raise self.lossy(values, f"give {self.dtype.type.__name__} values")
        return self._in_unit(values)

    def _parsed(self, values: NDArray) -> NDArray:
        made = np.empty(values.size, self.dtype)
        for i, item in enumerate(values.flat):
            made[i] = self._parsed_one(item)
        return made.reshape(values.shape)

    def _parsed_one(self, item: Any) -> Any:
        """Read a count, Python's and pandas' times, and ISO 8601 text, each in its own unit."""
        if isinstance(item, str) and item == "NaT":
            return self._of_count(_NOT_A_TIME)
        # Numpy's durations are integers to Python.
        if isinstance(item, (int, np.integer)) and not isinstance(item, (bool, np.timedelta64)):
            return as_values(int(item), np.int64).view(self.dtype)[()]
        is_text = isinstance(item, str) and self.dtype.kind == "M"
        if not is_text and not isinstance(item, _TIMES):
            raise self.lossy(item, f"a {type(item).__name__} is no time")
        # Python's own interface, which numpy asks, ends at microseconds.
        exact = getattr(item, f"to_{self.dtype.type.__name__}", None)
        try:
            found = self.dtype.type(item) if exact is None else exact()
        except (TypeError, ValueError) as error:
            raise self.lossy(item, str(error)) from error
        return self._in_unit(np.asarray(found))[()]

    def _in_unit(self, values: NDArray) -> NDArray:
        """Convert to this unit, and back again to see that nothing was cut or wrapped around."""
        try:
            converted = values.astype(self.dtype, casting="same_kind")
        except (TypeError, OverflowError) as error:
            raise self.lossy(values, str(error)) from error
        back = converted.astype(values.dtype)
        if not np.array_equal(back.view(np.int64), values.view(np.int64)):
            raise self.lossy(
                values,
                f"some are no whole number of {self.dtype}, or out of its range. Convert them "
                f"first, with .astype({str(self.dtype)!r})",
            )
        return converted

    def _of_count(self, count: int) -> Any:
        return np.asarray(count, np.int64).view(self.dtype)[()]


def time_type(kind: str, unit: str, scale_factor: int) -> Time:
    """Give the type of moments (kind ``"M"``) or durations (``"m"``) in a unit."""
    name = "numpy.datetime64" if kind == "M" else "numpy.timedelta64"
    dtype = np.dtype(f"{kind}8[{scale_factor}{unit}]")
    return Time(name, dtype, unit, scale_factor)


def of_dtype(dtype: np.dtype[Any]) -> Time:
    """Give the type of a numpy dtype of kind ``M`` or ``m``."""
    unit, scale_factor = np.datetime_data(dtype)
    return time_type(dtype.kind, unit, scale_factor)

"""Data types: the name in a document, the numpy dtype in memory, and the coding of fill values.

Floor 1. A `DataType` is a frozen value that knows one type wholly: what version 3 calls it, its
version 2 type string, the numpy dtype that holds its elements (always in native byte order: the
order on disk is the business of the ``bytes`` codec), and how its fill value is written as JSON.

Source: Zarr v3 core, "Data types" and "Fill value"; Zarr v2, "Data type encoding".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkstore.errors import InvalidArgumentError

__all__ = ["DataType", "from_numpy", "from_v2", "from_v3"]

_HEX = re.compile(r"0x[0-9a-fA-F]+")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_V2_TYPESTR = re.compile(r"([<>|=])([biufc])(\d+)")


@dataclass(frozen=True, slots=True)
class DataType:
    """One data type. The subclasses are the families that code fill values in their own way.

    Parameters
    ----------
    name : str
        The name in version 3 documents, such as ``"float32"``.
    dtype : numpy.dtype
        What holds the elements in memory.
    """

    name: str
    dtype: np.dtype[Any]

    @property
    def is_fixed_size(self) -> bool:
        """Whether every element takes the same number of bytes."""
        return True

    @property
    def needs_byte_order(self) -> bool:
        """Whether the bytes of an element come in an order that must be declared."""
        return self.dtype.itemsize > 1

    def default_fill(self) -> Any:
        """Give the fill value of an array whose creator names none: zero, false or empty."""
        return self.dtype.type(0)

    def to_v3(self) -> Any:
        """Give the JSON of the ``data_type`` field of a version 3 document."""
        return self.name

    def to_v2(self, order: str = "<") -> Any:
        """Give the JSON of the ``dtype`` field of a version 2 document.

        `order` is the byte order on disk, ``"<"`` or ``">"``; types of one byte ignore it.
        """
        order = order if self.needs_byte_order else "|"
        return f"{order}{self.dtype.kind}{self.dtype.itemsize}"

    def fill_from_json(self, value: Any, *, strict: bool) -> Any:
        """Turn the JSON of a fill value into a scalar of `dtype`.

        `strict` holds the value to version 3; version 2 says little, and old writers less, so
        there every spelling with one meaning is taken.
        """
        raise NotImplementedError

    def fill_to_json(self, value: Any) -> Any:
        """Turn a scalar into JSON from which `fill_from_json` restores the same bits."""
        raise NotImplementedError

    def scalar(self, value: Any) -> Any:
        """Turn a user's fill value into a scalar of `dtype`; refuse one that would change."""
        try:
            with np.errstate(all="ignore", over="raise"):
                result = np.asarray(value).astype(self.dtype)[()]
        except (TypeError, ValueError, OverflowError, FloatingPointError) as error:
            raise self._refusal(value, f"a value of {self.name}") from error
        if result.ndim:
            raise self._refusal(value, "one value")
        if not _same_value(value, result, self.dtype):
            raise self._refusal(value, f"a value that {self.name} can hold")
        return result

    def _refusal(self, value: Any, expected: str) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"fill value {value!r} does not fit data type {self.name}: expected {expected}"
        )


class Boolean(DataType):
    """``bool``: JSON true or false."""

    __slots__ = ()

    def fill_from_json(self, value: Any, *, strict: bool) -> Any:
        if isinstance(value, bool) or (not strict and value in (0, 1)):
            return np.bool_(value)
        raise self._refusal(value, "true or false")

    def fill_to_json(self, value: Any) -> Any:
        return bool(value)


class Integer(DataType):
    """``int8`` to ``uint64``: a JSON integer in range."""

    __slots__ = ()

    def fill_from_json(self, value: Any, *, strict: bool) -> Any:
        if not strict and isinstance(value, (bool, float)) and float(value).is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._refusal(value, "a JSON integer")
        limits = np.iinfo(self.dtype)
        if not limits.min <= value <= limits.max:
            raise self._refusal(value, f"an integer from {limits.min} to {limits.max}")
        return self.dtype.type(value)

    def fill_to_json(self, value: Any) -> Any:
        return int(value)


class Float(DataType):
    """``float16`` to ``float64``: a number, a word, or ``"0x…"`` for the exact bits."""

    __slots__ = ()

    def fill_from_json(self, value: Any, *, strict: bool) -> Any:
        return self.part_from_json(value, self.dtype, strict=strict)

    def fill_to_json(self, value: Any) -> Any:
        return _float_to_json(self.dtype.type(value))

    def part_from_json(self, value: Any, dtype: np.dtype[Any], *, strict: bool) -> Any:
        """Read one float, which may be half of a complex number."""
        if isinstance(value, str):
            if value in _SPECIAL:
                return dtype.type(_SPECIAL[value])
            if _HEX.fullmatch(value) and len(value) == 2 + 2 * dtype.itemsize:
                return np.uint64(int(value, 16)).astype(f"u{dtype.itemsize}").view(dtype)
            raise self._refusal(
                value, f'"NaN", "Infinity", "-Infinity" or "0x" and {2 * dtype.itemsize} hex digits'
            )
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._refusal(value, "a number or a string")
        if strict and not math.isfinite(value):
            raise self._refusal(value, 'the string "NaN", "Infinity" or "-Infinity"')
        try:
            with np.errstate(over="ignore"):
                result = dtype.type(value)
        except OverflowError:
            result = dtype.type(math.inf)
        if math.isfinite(value) and not np.isfinite(result):
            raise self._refusal(value, f"a number within the range of {dtype}")
        return result


class Complex(Float):
    """``complex64`` and ``complex128``: a pair of floats."""

    __slots__ = ()

    def fill_from_json(self, value: Any, *, strict: bool) -> Any:
        half = np.dtype(f"f{self.dtype.itemsize // 2}")
        if not strict and isinstance(value, (int, float)):
            value = [value, 0.0]
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise self._refusal(value, "a list of real and imaginary part")
        parts = [self.part_from_json(part, half, strict=strict) for part in value]
        return np.array(parts, half).view(self.dtype)[0]

    def fill_to_json(self, value: Any) -> Any:
        scalar = self.dtype.type(value)
        return [_float_to_json(scalar.real), _float_to_json(scalar.imag)]


class String(DataType):
    """``string``: text of any length, held as numpy's variable-width strings."""

    __slots__ = ()

    @property
    def is_fixed_size(self) -> bool:
        return False

    @property
    def needs_byte_order(self) -> bool:
        return False

    def default_fill(self) -> Any:
        return ""

    def to_v2(self, order: str = "<") -> Any:
        return "|O"

    def scalar(self, value: Any) -> Any:
        if isinstance(value, str):
            return str(value)
        raise self._refusal(value, "a string")

    def fill_from_json(self, value: Any, *, strict: bool) -> Any:
        # Version 2 writers put 0 for "no text" in arrays of objects.
        return "" if value == 0 and not strict else self.scalar(value)

    def fill_to_json(self, value: Any) -> Any:
        return str(value)


STRING = String("string", np.dtypes.StringDType())


def _core_types() -> dict[str, DataType]:
    families: list[tuple[type[DataType], str]] = [
        (Boolean, "bool"),
        *((Integer, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)),
        *((Float, f"float{bits}") for bits in (16, 32, 64)),
        *((Complex, f"complex{bits}") for bits in (64, 128)),
    ]
    table = {name: family(name, np.dtype(name)) for family, name in families}
    table["string"] = STRING
    return table


_BY_NAME = _core_types()
_BY_DTYPE = {data_type.dtype: data_type for data_type in _BY_NAME.values()}


def from_numpy(dtype: Any) -> DataType:
    """Give the data type that stores a numpy dtype, or anything `numpy.dtype` accepts.

    Byte order is dropped: in memory it is always native. ``str`` is the text type.

    Raises
    ------
    InvalidArgumentError
        If no data type of Zarr can hold the dtype.

    Examples
    --------
    >>> from_numpy(">i4").name, from_numpy(str).name
    ('int32', 'string')
    """
    if dtype is str or (isinstance(dtype, str) and dtype in ("str", "string")):
        return STRING
    try:
        native = np.dtype(dtype).newbyteorder("=")
    except TypeError as error:
        raise InvalidArgumentError(f"dtype {dtype!r} is not one that numpy knows") from error
    found = _BY_DTYPE.get(native)
    if found is None and native.kind == "T":
        found = STRING
    if found is None:
        raise InvalidArgumentError(
            f"dtype {native!r} has no data type in Zarr; expected one of {', '.join(_BY_NAME)}"
        )
    return found


def from_v3(value: Any) -> DataType:
    """Read the ``data_type`` field of a version 3 document."""
    name, configuration = value, None
    if isinstance(value, dict):
        name, configuration = value.get("name"), value.get("configuration")
    found = _BY_NAME.get(name) if isinstance(name, str) else None
    if found is None:
        raise InvalidArgumentError(
            f"data type {value!r} is not known; expected one of {', '.join(_BY_NAME)}"
        )
    if configuration:
        raise InvalidArgumentError(f"data type {name!r} takes no configuration: {configuration!r}")
    return found


def from_v2(value: Any) -> tuple[DataType, str | None]:
    """Read the ``dtype`` field of a version 2 document.

    Returns
    -------
    data_type : DataType
        In native byte order.
    order : {"<", ">"} or None
        Byte order on disk; None for types of one byte, whatever the document says.
    """
    match = _V2_TYPESTR.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidArgumentError(f"type string {value!r} is not known")
    order, kind, size = match.groups()
    try:
        found = _BY_DTYPE.get(np.dtype(f"{kind}{size}"))
    except TypeError:
        found = None
    if found is None:
        raise InvalidArgumentError(f"type string {value!r} is not known")
    if not found.needs_byte_order:
        return found, None
    if order == "|":
        raise InvalidArgumentError(f"type string {value!r} does not say its byte order")
    return found, ">" if order == ">" else "<"


def _float_to_json(value: Any) -> float | str:
    if np.isfinite(value):
        return float(value)
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    unsigned = f"u{value.dtype.itemsize}"
    bits = int(value.view(unsigned))
    if bits == int(value.dtype.type(math.nan).view(unsigned)):
        return "NaN"
    return f"0x{bits:0{2 * value.dtype.itemsize}x}"


def _same_value(asked: Any, result: Any, dtype: np.dtype[Any]) -> bool:
    """Whether a fill value survived the cast; floats may round, nothing else may change."""
    if dtype.kind in "fc":
        return np.asarray(asked).dtype.kind in "biufc"
    return bool(np.asarray(asked) == result)

"""Booleans, integers, floats and complex numbers, of the core and of the small extension types.

Floor 1. How a number is written depends on few facts: how many bits it has, and which bits stand
for "not a number" and infinity. Which numpy dtype holds it is given by the table, so that types
numpy lacks differ here in nothing but those facts.

Source: Zarr v3 core, "Permitted fill values"; zarr-extensions, "data-types".
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkstore.dtypes.base import DataType, as_values
from chunkstore.errors import InvalidArgumentError
from chunkstore.types import NDArray

__all__ = ["V2_LITERALS", "FloatFormat", "rank"]

V2_LITERALS = re.compile(r"bfloat16|float8_\w+|float4_e2m1fn|int[24]")
"""Small types that version 2 documents call by name: an extension that TensorStore writes."""

_HEX = re.compile(r"0x[0-9a-fA-F]+")
_BOOL, _INTEGER, _FLOAT, _COMPLEX = range(4)
_RANKS = {"b": _BOOL, "i": _INTEGER, "u": _INTEGER, "f": _FLOAT, "c": _COMPLEX}


def rank(dtype: np.dtype[Any]) -> int | None:
    """Place a dtype in the order boolean, integer, float, complex; None if it holds no numbers."""
    if dtype.type.__module__ == "ml_dtypes":
        kinds = {"int": _INTEGER, "uint": _INTEGER, "complex": _COMPLEX, "bcomplex": _COMPLEX}
        return kinds.get(dtype.name.rstrip("0123456789"), _FLOAT)
    return _RANKS.get(dtype.kind)


@dataclass(frozen=True, slots=True)
class Boolean(DataType):
    """``bool``: JSON true or false."""

    @property
    def n_bits(self) -> int:
        return 1

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        if isinstance(value, bool) or (not strict and value in (0, 1)):
            return np.bool_(value)
        raise self.refusal(value, "true or false")

    def fill_to_json(self, value: Any) -> Any:
        return bool(value)

    def scalar(self, value: Any) -> Any:
        if np.ndim(value) == 0 and rank(np.asarray(value).dtype) is not None and value in (0, 1):
            return np.bool_(value)
        raise self.refusal(value, "true or false")

    def cast(self, value: Any) -> NDArray:
        return _numbers(self, value, _BOOL)


@dataclass(frozen=True, slots=True)
class Integer(DataType):
    """``int2`` to ``uint64``: a JSON integer in range.

    Parameters
    ----------
    bits : int
        Bits of an element; where they are fewer than its bytes hold, the upper ones mean nothing.
    """

    bits: int

    @property
    def n_bits(self) -> int:
        return self.bits

    @property
    def has_spare_bits(self) -> bool:
        return self.bits < 8 * self.dtype.itemsize

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest value."""
        if self.name.startswith("u"):
            return 0, (1 << self.bits) - 1
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    def to_v2(self, order: str = "<") -> Any:
        return _to_v2(self, order)

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        if not strict and isinstance(value, (bool, float)) and float(value).is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refusal(value, "a JSON integer")
        least, most = self.limits
        if not least <= value <= most:
            raise self.refusal(value, f"an integer from {least} to {most}")
        return np.asarray(value, object).astype(self.dtype)[()]

    def fill_to_json(self, value: Any) -> Any:
        return int(value)

    def scalar(self, value: Any) -> Any:
        # 0.0 for 0 is a slip that loses nothing.
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            value = int(value)
        return DataType.scalar(self, value)

    def cast(self, value: Any) -> NDArray:
        values = _numbers(self, value, _INTEGER)
        if values.dtype != self.dtype and values.size:
            least, most = self.limits
            low, high = int(values.min()), int(values.max())
            if low < least or high > most:
                raise self.lossy(values, f"they go from {low} to {high}, it from {least} to {most}")
        return values


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """One way to write a real number in bits.

    Parameters
    ----------
    dtype : numpy.dtype
        What holds it.
    bits : int
        How many bits it has.
    nan : int, optional
        The bits that ``"NaN"`` stands for; None where the format has no such value.
    infinity : int, optional
        The bits of positive infinity; None where the format has none.
    """

    dtype: np.dtype[Any]
    bits: int
    nan: int | None
    infinity: int | None

    @property
    def words(self) -> dict[str, int]:
        """Map the words that a document may say to the bits they stand for."""
        words = {} if self.nan is None else {"NaN": self.nan}
        if self.infinity is not None:
            words["Infinity"] = self.infinity
            words["-Infinity"] = self.infinity | 1 << (self.bits - 1)
        return words

    def from_json(self, value: Any, *, strict: bool) -> Any:
        """Read one number; a ValueError says what was expected instead."""
        if isinstance(value, str):
            return self._from_text(value, strict=strict)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("a number or a string")
        if isinstance(value, float) and not math.isfinite(value):
            # Version 2 writers left it to their JSON library, which writes words without quotes.
            if strict:
                raise ValueError('a string such as "NaN", not a bare word')
            return self._from_text(_word(value), strict=True)
        return self._nearest(value)

    def to_json(self, value: Any) -> float | str:
        """Write one number so that `from_json` restores its bits."""
        bits = self.bits_of(value)
        for word, meant in self.words.items():
            if bits == meant:
                return word
        number = float(value)
        if math.isfinite(number):
            return number
        return f"0x{bits:0{2 * self.dtype.itemsize}x}"

    def bits_of(self, value: Any) -> int:
        """Give the bits of a scalar as an unsigned integer."""
        return int(np.asarray(value, self.dtype).view(f"u{self.dtype.itemsize}")[()])

    def plain_nan(self, value: Any) -> Any:
        """Give the one NaN that has a word for any NaN, and other numbers as they are."""
        return self.of_bits(self.nan) if self.nan is not None and math.isnan(value) else value

    def of_bits(self, bits: int) -> Any:
        """Give the scalar with these bits."""
        return np.asarray(bits, f"u{self.dtype.itemsize}").view(self.dtype)[()]

    def _from_text(self, text: str, *, strict: bool) -> Any:
        words = self.words
        n_digits = 2 * self.dtype.itemsize
        if text in words:
            return self.of_bits(words[text])
        if _HEX.fullmatch(text) and len(text) == 2 + n_digits:
            bits = int(text, 16)
            if bits < 1 << self.bits:
                return self.of_bits(bits)
        elif not strict and _HEX.match(text) is None:
            try:
                return self.from_json(float(text), strict=False)
            except ValueError:
                pass
        options = ", ".join(f'"{word}"' for word in words)
        raise ValueError(
            f'a number{", " if options else ""}{options} or "0x" and {n_digits} digits'
        )

    def _nearest(self, value: int | float) -> Any:
        """Round a finite number once, to the nearest value and to even bits in the middle."""
        try:
            # A change of numpy's error state takes longer than the rest.
            with np.errstate(all="ignore") if abs(value) > 1 else contextlib.nullcontext():
                result = self.dtype.type(float(value))
        except OverflowError:
            raise ValueError("a number in range") from None
        found = float(result)
        if not math.isfinite(found) or (not self.words and abs(value) > self._most()):
            raise ValueError(f"a number within the range of {self.dtype}")
        if self.bits > 16 or found == value:
            return result
        # Casts to the small types round to 32 bits first, and rounding twice can miss by one.
        from fractions import Fraction  # With decimal behind it, for small floats alone.

        bits, exact = self.bits_of(result), Fraction(value)
        near = [(bit, float(self.of_bits(bit))) for bit in (bits - 1, bits, bits + 1)
                if 0 <= bit < 1 << self.bits]  # fmt: skip
        finite = [(bit, number) for bit, number in near if math.isfinite(number)]
        return self.of_bits(
            min(finite, key=lambda it: (abs(Fraction(it[1]) - exact), it[0] % 2))[0]
        )

    def _most(self) -> float:
        """Give the greatest value of a format in which all bits stand for numbers."""
        return float(self.of_bits((1 << (self.bits - 1)) - 1))


@dataclass(frozen=True, slots=True)
class Float(DataType):
    """``float4_e2m1fn`` to ``float64``: a number, a word, or ``"0x…"`` for the exact bits."""

    format: FloatFormat

    @property
    def n_bits(self) -> int:
        return self.format.bits

    @property
    def has_spare_bits(self) -> bool:
        return self.format.bits < 8 * self.dtype.itemsize

    def to_v2(self, order: str = "<") -> Any:
        return _to_v2(self, order)

    def default_fill(self) -> Any:
        zero = self.format.of_bits(0)
        if float(zero) != 0:
            raise InvalidArgumentError(f"{self.name} has no zero; give a fill_value")
        return zero

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        try:
            return self.format.from_json(value, strict=strict)
        except ValueError as error:
            raise self.refusal(value, str(error)) from None

    def fill_to_json(self, value: Any) -> Any:
        return self.format.to_json(value)

    def fill_for_v2(self, value: Any) -> Any:
        return self.format.plain_nan(value)

    def scalar(self, value: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, (bool, np.generic)):
            return self.fill_from_json(value, strict=False)
        return DataType.scalar(self, value)

    def cast(self, value: Any) -> NDArray:
        values = _numbers(self, value, _FLOAT)
        _check_range(self, values, self.format)
        return values


@dataclass(frozen=True, slots=True)
class Complex(DataType):
    """``complex64``, ``complex128`` and their kin: a pair of floats.

    Parameters
    ----------
    format : FloatFormat
        How the real and the imaginary part are written.
    """

    format: FloatFormat

    @property
    def order_unit(self) -> int:
        return self.format.dtype.itemsize

    @property
    def number_bits(self) -> int:
        return self.format.bits

    @property
    def has_spare_bits(self) -> bool:
        return self.format.bits < 8 * self.format.dtype.itemsize

    def to_v2(self, order: str = "<") -> Any:
        if self.dtype.type.__module__ == "ml_dtypes":
            raise InvalidArgumentError(f"Zarr version 2 has no {self.name}; use zarr_format=3")
        return DataType.to_v2(self, order)

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        if not strict and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            value = [value, 0.0]
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise self.refusal(value, "a list of real and imaginary part")
        try:
            parts = [self.format.from_json(part, strict=strict) for part in value]
        except ValueError as error:
            raise self.refusal(value, f"two numbers, each {error}") from None
        return np.array(parts, self.format.dtype).view(self.dtype)[0]

    def fill_to_json(self, value: Any) -> Any:
        parts = np.asarray(value, self.dtype).reshape(1).view(self.format.dtype)
        return [self.format.to_json(part) for part in parts]

    def fill_for_v2(self, value: Any) -> Any:
        parts = np.asarray(value, self.dtype).reshape(1).view(self.format.dtype)
        plain = [self.format.plain_nan(part) for part in parts]
        return np.array(plain, self.format.dtype).view(self.dtype)[0]

    def cast(self, value: Any) -> NDArray:
        values = _numbers(self, value, _COMPLEX)
        if values.dtype != self.dtype:
            for part in (values.real, values.imag):
                _check_range(self, part, self.format)
        return values


@dataclass(frozen=True, slots=True)
class ComplexPair(Complex):
    """Complex numbers for which there is no numpy dtype: records of ``real`` and ``imag``."""

    def to_v2(self, order: str = "<") -> Any:
        raise InvalidArgumentError(f"Zarr version 2 has no {self.name}; use zarr_format=3")

    def cast(self, value: Any) -> NDArray:
        if isinstance(value, (bool, int, float, complex)):
            value = np.asarray(complex(value))
        values = as_values(value)
        if values.dtype == self.dtype:
            return values
        if rank(values.dtype) is None:
            raise self.lossy(values, "give numbers, or records of real and imag")
        made = np.empty(values.shape, self.dtype)
        values = _native(values)
        for name, part in (("real", values.real), ("imag", values.imag)):
            _check_range(self, part, self.format)
            made[name] = part
        return made


def _numbers(data_type: DataType, value: Any, most: int) -> NDArray:
    """Make an array of numbers of a rank of at most `most`; one of another dtype stays as it is."""
    values = as_values(value)
    if values.dtype == data_type.dtype:
        return values
    if not values.size and values.dtype.kind == "f":
        # An empty list has no type of its own.
        return values.astype(data_type.dtype)
    if values.dtype.kind == "O":
        values = _python_numbers(data_type, values)
    found = rank(values.dtype)
    if found is None:
        raise data_type.lossy(values, "they are no numbers")
    if found > most and most == _INTEGER and not isinstance(value, np.ndarray):
        # Among integers on both sides of 2^63, numpy finds no integer type for all of them.
        objects = as_values(value, object)
        if all(isinstance(item, int) for item in objects.flat):
            return as_values(value, data_type.dtype)
    if found > most:
        raise data_type.lossy(
            values,
            f"the cast could lose more than precision. Convert them first, for example with "
            f".astype({data_type.dtype.name!r})",
        )
    return _native(values)


def _native(values: NDArray) -> NDArray:
    """Give numbers of ml_dtypes, which it casts to few other dtypes, in one that numpy has."""
    if values.dtype.type.__module__ != "ml_dtypes":
        return values
    holders = {_INTEGER: np.int8, _FLOAT: np.float32, _COMPLEX: np.complex64}
    return values.astype(holders[rank(values.dtype) or _FLOAT])


def _python_numbers(data_type: DataType, values: NDArray) -> NDArray:
    """Turn Python integers that numpy has no integer for into floats, and refuse other objects."""
    if not all(isinstance(item, int) for item in values.flat):
        raise data_type.lossy(values, "they are objects. Convert them first")
    if rank(data_type.dtype) == _INTEGER:
        raise data_type.lossy(values, "an integer is out of range")
    return as_values(values, np.float64)


def _check_range(data_type: DataType, values: NDArray, into: FloatFormat) -> None:
    """Refuse finite values that would become infinite, or cut, when they are rounded."""
    if not values.size or not _may_overflow(values.dtype, into):
        return
    for extreme in _extremes(values):
        try:
            if math.isfinite(extreme):
                into.from_json(extreme, strict=True)
        except ValueError as error:
            raise data_type.lossy(values, f"{extreme!r} is not {error}") from None


def _may_overflow(source: np.dtype[Any], into: FloatFormat) -> bool:
    """Whether the source may hold finite numbers that the format cannot come near to."""
    if source == into.dtype:
        return False
    if rank(source) != _FLOAT:
        return into.bits <= 16
    is_native = into.dtype.type.__module__ != "ml_dtypes"
    return not is_native or source.itemsize > into.dtype.itemsize


def _extremes(values: NDArray) -> tuple[float, float]:
    """Give the least and greatest finite value; NaN where there is none."""
    if values.dtype.kind != "f":
        return float(values.min()), float(values.max())
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    if math.isinf(low) or math.isinf(high):
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)
    return low, high


def _to_v2(data_type: DataType, order: str) -> Any:
    """Give a typestr; for small types the literal name, TensorStore's extension of version 2."""
    if data_type.dtype.type.__module__ != "ml_dtypes":
        return DataType.to_v2(data_type, order)
    if not V2_LITERALS.fullmatch(data_type.name):
        raise InvalidArgumentError(f"Zarr version 2 has no {data_type.name}; use zarr_format=3")
    if data_type.needs_byte_order and order == ">":
        raise InvalidArgumentError(f"Zarr version 2 has {data_type.name} in little-endian only")
    return data_type.name


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"

"""Text: of any length, and of a fixed number of characters.

Floor 1. Numpy's fixed-width text ends at its last character that is not zero, so trailing zeros
cannot be stored in it; its variable-width text keeps them.

Source: zarr-extensions, "string", "fixed_length_utf32"; Zarr v2, "Data type encoding".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkstore.dtypes.base import DataType, as_values
from chunkstore.errors import CodecError, InvalidArgumentError
from chunkstore.types import NDArray, Shape

__all__ = ["STRING", "fixed_text"]

_MAX_CODE_POINT = 0x10FFFF
_WIDE = np.dtypes.StringDType()


@dataclass(frozen=True, slots=True)
class Text(DataType):
    """``string``: text of any length, held as numpy's variable-width strings."""

    @property
    def is_fixed_size(self) -> bool:
        return False

    @property
    def order_unit(self) -> int:
        return 1

    @property
    def default_serializer(self) -> str:
        return "vlen-utf8"

    def default_fill(self) -> Any:
        return ""

    def to_v2(self, order: str = "<") -> Any:
        return "|O"

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        # Version 2 writers put 0 for "no text" in arrays of objects.
        if not strict and value == 0:
            return ""
        return self.scalar(value)

    def fill_to_json(self, value: Any) -> Any:
        return str(value)

    def scalar(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise self.refusal(value, "a string")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.refusal(value, f"text that UTF-8 can hold: {error}") from None
        return str(value)

    def cast(self, value: Any) -> NDArray:
        values = _text_of(self, value)
        if values.dtype.kind != "O":
            return values
        return as_values(values, _WIDE)


@dataclass(frozen=True, slots=True)
class FixedText(DataType):
    """``fixed_length_utf32``: text of at most so many code points, 4 bytes each.

    Parameters
    ----------
    length : int
        Code points of an element.
    """

    length: int

    @property
    def order_unit(self) -> int:
        return 4

    def to_v3(self) -> Any:
        return {"name": self.name, "configuration": {"length_bytes": 4 * self.length}}

    def to_v2(self, order: str = "<") -> Any:
        return f"{order}U{self.length}"

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        if not strict and not isinstance(value, str) and value == 0:
            value = ""
        if not isinstance(value, str) or len(value) > self.length:
            raise self.refusal(value, f"a string of at most {self.length} characters")
        return np.array(value, self.dtype)[()]

    def fill_to_json(self, value: Any) -> Any:
        return str(value)

    def scalar(self, value: Any) -> Any:
        return self.fill_from_json(value)

    def cast(self, value: Any) -> NDArray:
        values = _text_of(self, value)
        if values.dtype.kind == "U" and values.dtype.itemsize <= self.dtype.itemsize:
            return values
        if values.dtype.kind == "O":
            longest = max(map(len, values.flat), default=0)
            if any(text.endswith("\0") for text in values.flat):
                raise self.lossy(values, "it does not keep zero characters at the end of text")
        else:
            longest = int(np.strings.str_len(values).max(initial=0))
        if longest > self.length:
            raise self.lossy(values, f"{longest} characters are more than {self.length}")
        return as_values(values, self.dtype)

    def from_stored(self, raw: NDArray, shape: Shape, order: str) -> NDArray:
        array = DataType.from_stored(self, raw, shape, order)
        points = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
        # Numpy does not look, and fails much later, where nobody knows the chunk any more.
        if points.size and int(points.max()) > _MAX_CODE_POINT:
            raise CodecError(f"{self.name}: U+{int(points.max()):X} is no character of Unicode")
        return array


def _text_of(data_type: DataType, value: Any) -> NDArray:
    """Make an array of text; of objects that are all text where it was no array of text yet."""
    # Of what is no array, numpy would drop zeros at the end of text, and write numbers as text.
    values = as_values(value, None if isinstance(value, np.ndarray) else object)
    kind = values.dtype.kind
    if kind == "U" or (kind == "T" and not hasattr(values.dtype, "na_object")):
        return values
    if kind not in "OT" and values.size:
        raise data_type.lossy(values, "they are no text. Convert them first, with .astype(str)")
    objects = as_values(values, object)
    for item in objects.flat:
        if not isinstance(item, str):
            raise InvalidArgumentError(
                f"{item!r} cannot be stored as {data_type.name}: it is a {type(item).__name__}, "
                f"no text, and there is no mark for missing text"
            )
    return objects


STRING = Text("string", _WIDE)
"""The one type of text of any length."""


def fixed_text(length: int) -> FixedText:
    """Give the type of text of at most `length` code points."""
    return FixedText("fixed_length_utf32", np.dtype(f"U{length}"), length)

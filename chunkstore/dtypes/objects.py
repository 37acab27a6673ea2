"""Arrays of Python objects, which only version 2 has.

Floor 1. Version 2 calls them all ``|O`` and leaves it to a filter to turn objects into bytes, so
what an element may be is up to the filter: anything that JSON, MessagePack or pickle can hold, or
arrays of one dtype. Text and byte strings have types of their own.

Source: Zarr v2, "Data type encoding" and "Filters"; numcodecs, "json2", "msgpack2", "vlen-array".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkstore.dtypes.base import DataType, as_values, boxed
from chunkstore.errors import InvalidArgumentError
from chunkstore.types import NDArray

__all__ = ["OBJECT", "ragged"]


@dataclass(frozen=True, slots=True)
class Objects(DataType):
    """``object``: elements that are any Python objects the array's filter can hold."""

    @property
    def is_fixed_size(self) -> bool:
        return False

    @property
    def order_unit(self) -> int:
        return 1

    @property
    def default_serializer(self) -> str:
        raise InvalidArgumentError(
            "dtype object can be many things: give dtype 'string' or 'bytes', 'array:int32' for "
            "arrays of any length, or for other objects zarr_format=2 and filters=[...] with "
            "numcodecs.JSON() or numcodecs.MsgPack()"
        )

    def to_v3(self) -> Any:
        raise InvalidArgumentError(
            f"Zarr version 3 has no type for {self.name}; use zarr_format=2, or dtype 'string' or "
            f"'bytes'"
        )

    def to_v2(self, order: str = "<") -> Any:
        return "|O"

    def default_fill(self) -> Any:
        return None

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        # A list is one element here, but numpy would take it for several.
        return boxed(value) if isinstance(value, list) else value

    def fill_to_json(self, value: Any) -> Any:
        return value[()] if isinstance(value, np.ndarray) else value

    def scalar(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype != object:
            raise self.refusal(value, "an object that JSON can hold")
        return self.fill_from_json(value)

    def cast(self, value: Any) -> NDArray:
        return as_values(value, object)


@dataclass(frozen=True, slots=True)
class Ragged(Objects):
    """``array:<item>``: each element is an array of one axis, of any length.

    Parameters
    ----------
    item : DataType
        Type of what the arrays hold.
    """

    item: DataType

    @property
    def default_serializer(self) -> str:
        return "numcodecs.vlen-array"

    def serializer_configuration(self) -> dict[str, Any]:
        return {"dtype": self.item.to_v2()}

    def default_fill(self) -> Any:
        return boxed(np.empty(0, self.item.dtype))

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        # One number is an array of it, as the filter itself takes it.
        items = value if isinstance(value, list) else [value]
        fills = [self.item.fill_from_json(item, strict=strict) for item in items]
        return boxed(np.array(fills, self.item.dtype))

    def fill_to_json(self, value: Any) -> Any:
        return [self.item.fill_to_json(item) for item in value[()]]

    def fill_for_v2(self, value: Any) -> Any:
        # Null, which reads as nothing here too: readers in Python have no use for an empty list.
        return value if value[()].size else None

    def scalar(self, value: Any) -> Any:
        return boxed(self._element(value))

    def cast(self, value: Any) -> NDArray:
        if isinstance(value, np.ndarray) and value.dtype != object:
            return boxed(self._element(value))
        values = as_values(value, object)
        made = np.empty(values.size, object)
        for i, element in enumerate(values.flat):
            made[i] = self._element(element)
        return made.reshape(values.shape)

    def _element(self, value: Any) -> NDArray:
        items = self.item.cast([] if value is None else value).astype(self.item.dtype)
        if items.ndim > 1:
            raise InvalidArgumentError(
                f"an element of {self.name} must have one axis, got shape {items.shape}"
            )
        return items.reshape(-1)


OBJECT = Objects("object", np.dtype(object))
"""Any Python objects."""


def ragged(item: DataType) -> Ragged:
    """Give the type of arrays of any length that hold elements of one type.

    Raises
    ------
    InvalidArgumentError
        If the elements vary in length themselves.
    """
    if not item.is_fixed_size:
        raise InvalidArgumentError(f"arrays of {item.name} cannot be elements of an array")
    return Ragged(f"array:{item.name}", np.dtype(object), item)

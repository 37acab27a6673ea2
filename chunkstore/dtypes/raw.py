"""Bytes without further meaning: of any length, of a fixed one, or ended by zeros.

Floor 1. Two families hold a fixed number of bytes: raw ones keep every byte, the null-terminated
ones (numpy's ``S``) end at their last byte that is not zero.

Source: Zarr v3 core, "r*"; zarr-extensions, "bytes"; Zarr v2, "Data type encoding". The names
``null_terminated_bytes``, ``raw_bytes`` and ``variable_length_bytes`` are zarr-python's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkstore.dtypes.base import DataType, as_values, boxed, from_base64, to_base64
from chunkstore.errors import InvalidArgumentError
from chunkstore.types import NDArray

__all__ = ["BYTES", "VARIABLE_LENGTH_BYTES", "null_terminated", "raw_bits", "raw_bytes"]

_BYTES_LIKE = (bytes, bytearray, memoryview)


@dataclass(frozen=True, slots=True)
class Bytes(DataType):
    """``bytes``: byte strings of any length, held as Python objects."""

    @property
    def is_fixed_size(self) -> bool:
        return False

    @property
    def order_unit(self) -> int:
        return 1

    @property
    def default_serializer(self) -> str:
        return "vlen-bytes"

    def default_fill(self) -> Any:
        return b""

    def to_v2(self, order: str = "<") -> Any:
        return "|O"

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        if not strict and not isinstance(value, str) and value == 0:
            return b""
        found = _bytes_of_list(value) if isinstance(value, list) else from_base64(value)
        if found is None:
            raise self.refusal(value, "base64, or a list of integers from 0 to 255")
        return found

    def fill_to_json(self, value: Any) -> Any:
        # Of the two spellings, the one that zarr-python reads too.
        return to_base64(value)

    def scalar(self, value: Any) -> Any:
        if not isinstance(value, _BYTES_LIKE):
            raise self.refusal(value, "bytes")
        return bytes(value)

    def cast(self, value: Any) -> NDArray:
        return _objects_of(self, value)


@dataclass(frozen=True, slots=True)
class NullTerminated(DataType):
    """``null_terminated_bytes``: byte strings that end at their last byte that is not zero."""

    @property
    def order_unit(self) -> int:
        return 1

    def to_v3(self) -> Any:
        return _sized(self)

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        found = from_base64(value)
        if found is None and not strict:
            found = _plain_bytes(value)
        if found is None or len(found.rstrip(b"\0")) > self.dtype.itemsize:
            raise self.refusal(value, f"base64 of at most {self.dtype.itemsize} bytes")
        return np.array(found, self.dtype)[()]

    def fill_to_json(self, value: Any) -> Any:
        return to_base64(bytes(value))

    def scalar(self, value: Any) -> Any:
        if isinstance(value, str) and value.isascii():
            value = value.encode()
        if not isinstance(value, _BYTES_LIKE) or len(value) > self.dtype.itemsize:
            raise self.refusal(value, f"at most {self.dtype.itemsize} bytes")
        return np.array(bytes(value), self.dtype)[()]

    def cast(self, value: Any) -> NDArray:
        if isinstance(value, np.ndarray) and value.dtype.kind == "S":
            values = value
        elif isinstance(value, np.ndarray) and value.dtype.kind == "U":
            # Numpy writes ASCII and refuses anything else.
            values = as_values(value, "S")
        else:
            objects = _objects_of(self, value, ascii_too=True)
            if any(item.endswith(b"\0") for item in objects.flat):
                raise self.lossy(objects, "it does not keep zero bytes at the end")
            values = as_values(objects, "S") if objects.size else objects.astype(self.dtype)
        if values.dtype.itemsize > self.dtype.itemsize:
            longest = int(np.strings.str_len(values).max(initial=0))
            if longest > self.dtype.itemsize:
                raise self.lossy(values, f"{longest} bytes are more than {self.dtype.itemsize}")
            values = values.astype(self.dtype)
        return values


@dataclass(frozen=True, slots=True)
class Raw(DataType):
    """``r8``, ``r16``, … and zarr-python's ``raw_bytes``: so many bytes, each of them kept."""

    @property
    def order_unit(self) -> int:
        return 1

    def to_v3(self) -> Any:
        return _sized(self) if self.name == "raw_bytes" else self.name

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        n_bytes = self.dtype.itemsize
        found = _bytes_of_list(value) if isinstance(value, list) else from_base64(value)
        if not strict and not isinstance(value, str) and value == 0:
            found = bytes(n_bytes)
        if found is None or len(found) != n_bytes:
            raise self.refusal(value, f"a list of {n_bytes} integers from 0 to 255, or base64")
        return self._element(found)

    def fill_to_json(self, value: Any) -> Any:
        return to_base64(value.tobytes()) if self.name == "raw_bytes" else list(value.tobytes())

    def fill_to_v2(self, value: Any, order: str) -> Any:
        return to_base64(value.tobytes())

    def scalar(self, value: Any) -> Any:
        if isinstance(value, np.void):
            value = value.tobytes()
        if isinstance(value, int) and value == 0:
            value = bytes(self.dtype.itemsize)
        if not isinstance(value, _BYTES_LIKE) or len(value) != self.dtype.itemsize:
            raise self.refusal(value, f"{self.dtype.itemsize} bytes")
        return self._element(bytes(value))

    def cast(self, value: Any) -> NDArray:
        n_bytes = self.dtype.itemsize
        if isinstance(value, (np.ndarray, np.void)) and value.dtype.kind in "SV":
            values = np.asarray(value)
            if values.dtype.itemsize != n_bytes or values.dtype.names is not None:
                raise self.lossy(values, f"exactly {n_bytes} bytes are kept")
            return np.ascontiguousarray(values).reshape(values.shape).view(self.dtype)
        objects = _objects_of(self, value)
        for item in objects.flat:
            if len(item) != n_bytes:
                raise self.lossy(item, f"{len(item)} bytes are not {n_bytes}")
        joined = np.frombuffer(b"".join(objects.flat), self.dtype)
        return joined.reshape(objects.shape)

    def _element(self, value: bytes) -> Any:
        return np.frombuffer(value, self.dtype)[0]


def _sized(data_type: DataType) -> dict[str, Any]:
    configuration = {"length_bytes": data_type.dtype.itemsize}
    return {"name": data_type.name, "configuration": configuration}


def _bytes_of_list(value: list[Any]) -> bytes | None:
    if all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 255 for n in value):
        return bytes(value)
    return None


def _plain_bytes(value: Any) -> bytes | None:
    """Read what netCDF-C writes: the characters themselves where others write base64."""
    if isinstance(value, str) and value.isascii():
        return value.encode()
    return b"" if not isinstance(value, str) and value == 0 else None


def _objects_of(data_type: DataType, value: Any, *, ascii_too: bool = False) -> NDArray:
    """Make an array of objects that are all bytes, or also text that is one byte a character."""
    if isinstance(value, _BYTES_LIKE):
        return boxed(bytes(value))
    values = as_values(value, None if isinstance(value, np.ndarray) else object)
    if values.dtype.names is None and values.dtype.kind in "SV":
        return values.astype(object)
    if values.dtype.kind != "O" and values.size:
        raise data_type.lossy(values, "they are no bytes")
    objects = np.empty(values.size, object)
    for i, item in enumerate(values.flat):
        if ascii_too and isinstance(item, str) and item.isascii():
            item = item.encode()
        if not isinstance(item, _BYTES_LIKE):
            raise InvalidArgumentError(
                f"{item!r} cannot be stored as {data_type.name}: it is a "
                f"{type(item).__name__}, no bytes"
            )
        objects[i] = bytes(item)
    return objects.reshape(values.shape)


BYTES = Bytes("bytes", np.dtype(object))
"""Byte strings of any length, as registered."""

VARIABLE_LENGTH_BYTES = Bytes("variable_length_bytes", np.dtype(object))
"""The same under zarr-python's name."""


def null_terminated(length: int) -> NullTerminated:
    """Give numpy's ``S`` type of so many bytes."""
    return NullTerminated("null_terminated_bytes", np.dtype(f"S{length}"))


def raw_bits(n_bytes: int) -> Raw:
    """Give the core type of so many bytes, ``r`` and the number of bits."""
    return Raw(f"r{8 * n_bytes}", np.dtype(f"V{n_bytes}"))


def raw_bytes(n_bytes: int) -> Raw:
    """Give the same type under zarr-python's name."""
    return Raw("raw_bytes", np.dtype(f"V{n_bytes}"))

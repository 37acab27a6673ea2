"""``packbits``: elements of a few bits side by side, without bits between them.

Floor 2. Two codecs share the name and not the bytes:

``packbits``, array to bytes. Name in v3: ``packbits`` (registered extension); none in v2. zarrs
reads it. The first element is in the lowest bits of the first byte.

``numcodecs.packbits``, array to array, for booleans. Name in v3, unregistered:
``numcodecs.packbits``; in v2: ``{"id": "packbits"}``. zarr-python reads it. The first element is
in the highest bit of the second byte; the first byte counts the bits left over.

.. code-block:: json

    {"name": "packbits", "configuration": {"padding_encoding": "first_byte", "first_bit": 0,
                                           "last_bit": 3}}

.. code-block:: json

    {"name": "numcodecs.packbits"}

Source: zarr-extensions, "packbits", in the order of bits that zarrs writes; numcodecs
documentation, "PackBits".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import (
    ArrayArrayCodec,
    ArrayBytesCodec,
    ChunkSpec,
    as_bytes,
    component,
    is_integer,
)
from chunkstore.codecs.settings import Settings
from chunkstore.dtypes import DataType, from_numpy
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["NumcodecsPackbitsCodec", "PackbitsCodec"]

_PADDINGS = ("none", "first_byte", "last_byte")
_EVEN_WIDTHS = (1, 2, 4)
"""Numbers of bits of which no element lies across two bytes."""

_BLOCK_ELEMENTS = 1 << 14
"""Elements packed at a time, for each of their bits takes a byte meanwhile; divisible by 8."""


@dataclass(frozen=True, slots=True)
class PackbitsCodec(ArrayBytesCodec):
    """Pack a range of bits of every element.

    Parameters
    ----------
    padding_encoding : {"none", "first_byte", "last_byte"}
        Whether the number of bits left over in the last byte is stored, and where.
    first_bit, last_bit : int, optional
        The range of bits to store, counted from the lowest, both ends included; None for all.
        The others are lost, but for the sign of whole numbers.

    Examples
    --------
    >>> from chunkstore.dtypes import from_numpy
    >>> spec = ChunkSpec((9,), from_numpy("bool"), False)
    >>> bytes(PackbitsCodec().encode(np.array([1, 1, 0, 0, 0, 0, 0, 0, 1], "?"), spec)).hex()
    '0301'
    """

    name = "packbits"
    padding_encoding: str = "none"
    first_bit: int | None = None
    last_bit: int | None = None

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        keys = ("padding_encoding", "first_bit", "last_bit")
        settings = Settings(cls.name, configuration, optional=keys)
        padding = settings.choice("padding_encoding", _PADDINGS, "none")
        settings.check()
        n_bits = _bits(spec.data_type)
        first = last = None
        if settings.get("first_bit") is not None:
            first = settings.integer("first_bit", 0, n_bits - 1)
        if settings.get("last_bit") is not None:
            last = settings.integer("last_bit", first or 0, n_bits - 1)
        settings.check()
        return cls(padding, first, last)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        configuration: dict[str, Any] = {"padding_encoding": self.padding_encoding}
        if self.first_bit is not None:
            configuration["first_bit"] = self.first_bit
        if self.last_bit is not None:
            configuration["last_bit"] = self.last_bit
        return configuration

    def encoded_nbytes(self, spec: ChunkSpec) -> int:
        """Give the length: the bits of all elements, and the byte of the padding."""
        return -(-self._total_bits(spec) // 8) + (self.padding_encoding != "none")

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Pack the elements in C order."""
        first, last = self._range(spec.data_type)
        flat = _unsigned(array, spec.data_type).reshape(-1)
        parts = [
            _packed(flat[at : at + _BLOCK_ELEMENTS], first, last - first + 1)
            for at in range(0, flat.size, _BLOCK_ELEMENTS)
        ]
        padding = np.array([-self._total_bits(spec) % 8], np.uint8)
        if self.padding_encoding == "first_byte":
            parts.insert(0, padding)
        elif self.padding_encoding == "last_byte":
            parts.append(padding)
        return np.concatenate(parts).data if parts else b""

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Unpack the elements."""
        view = as_bytes(data)
        if view.nbytes != self.encoded_nbytes(spec):
            raise CodecError(
                f"packbits expected {self.encoded_nbytes(spec)} bytes for shape {spec.shape} of "
                f"{spec.data_type.name}, got {view.nbytes}"
            )
        view = self._without_padding(view, -self._total_bits(spec) % 8)
        first, last = self._range(spec.data_type)
        width = last - first + 1
        flat = np.empty(spec.n_elements * _components(spec.data_type), _container(spec.data_type))
        for at in range(0, flat.size, _BLOCK_ELEMENTS):
            block = flat[at : at + _BLOCK_ELEMENTS]
            start = at * width // 8
            part = view[start : start + -(-block.size * width // 8)]
            _unpack(part, block, first, width)
        return _signed(flat, spec.data_type, last + 1).reshape(spec.shape)

    def _without_padding(self, view: NDArray, n_expected: int) -> NDArray:
        if self.padding_encoding == "none":
            return view
        at_start = self.padding_encoding == "first_byte"
        declared, rest = (view[0], view[1:]) if at_start else (view[-1], view[:-1])
        if declared != n_expected:
            raise CodecError(f"packbits declares {declared} bits of padding, expected {n_expected}")
        return rest

    def _range(self, data_type: DataType) -> tuple[int, int]:
        last = _bits(data_type) - 1 if self.last_bit is None else self.last_bit
        return self.first_bit or 0, last

    def _total_bits(self, spec: ChunkSpec) -> int:
        first, last = self._range(spec.data_type)
        return spec.n_elements * _components(spec.data_type) * (last - first + 1)


@dataclass(frozen=True, slots=True)
class NumcodecsPackbitsCodec(ArrayArrayCodec):
    """Pack booleans into bytes, highest bit first, behind a byte that counts the padding.

    Examples
    --------
    >>> from chunkstore.dtypes import from_numpy
    >>> spec = ChunkSpec((4,), from_numpy("bool"), False)
    >>> NumcodecsPackbitsCodec().encode(np.array([True, False, False, True]), spec)
    array([  4, 144], dtype=uint8)
    """

    name = "numcodecs.packbits"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        Settings(cls.name, configuration).check()
        if spec.data_type.name != "bool":
            raise CodecError(f"{cls.name} packs bool, not {spec.data_type.name}")
        return cls()

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Give bytes along one axis."""
        n_bytes = 1 + math.ceil(spec.n_elements / 8)
        return spec.replace(shape=(n_bytes,), data_type=from_numpy("uint8"), fill_value=np.uint8(0))

    def encode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Pack the elements in C order."""
        padding = np.array([-array.size % 8], np.uint8)
        return np.concatenate([padding, np.packbits(array.reshape(-1))])

    def decode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Unpack the elements."""
        if array[0] != -spec.n_elements % 8:
            raise CodecError(
                f"{self.name} declares {array[0]} bits of padding, expected {-spec.n_elements % 8}"
            )
        bits = np.unpackbits(array[1:], count=spec.n_elements)
        return bits.view(np.bool_).reshape(spec.shape)


def _components(data_type: DataType) -> int:
    return 2 if data_type.name.startswith("complex") else 1


def _bits(data_type: DataType) -> int:
    """Give the number of bits of a component of an element."""
    if data_type.name == "bool":
        return 1
    if data_type.is_fixed_size and data_type.dtype.kind in "mM":
        return 64
    number = re.fullmatch(r"(?:u?int|b?float)(\d+)(?:_\w+)?", component(data_type))
    if number is None:
        raise CodecError(f"packbits cannot pack {data_type.name}")
    return int(number[1])


def _container(data_type: DataType) -> np.dtype[Any]:
    """Give the unsigned type whose memory a component's is."""
    return np.dtype(f"u{data_type.dtype.itemsize // _components(data_type)}")


def _unsigned(array: NDArray, data_type: DataType) -> NDArray:
    return np.ascontiguousarray(array).reshape(-1).view(_container(data_type))


def _signed(flat: NDArray, data_type: DataType, n_bits: int) -> NDArray:
    """Give the elements of unsigned components, with the sign in all the bits above the stored."""
    if is_integer(data_type) and not data_type.name.startswith("u"):
        shift = flat.dtype.itemsize * 8 - n_bits
        signed: NDArray = flat.view(f"i{flat.dtype.itemsize}")
        signed = (signed << signed.dtype.type(shift)) >> signed.dtype.type(shift)
        if data_type.dtype.kind == "i":
            return signed
        return signed.astype(data_type.dtype)
    return flat.view(data_type.dtype)


def _packed(values: NDArray, first: int, width: int) -> NDArray:
    """Pack `width` bits of each element, from the bit `first` on."""
    if width in _EVEN_WIDTHS:
        fields = (values >> values.dtype.type(first)).astype(np.uint8) & np.uint8((1 << width) - 1)
        if width == 1:
            return np.packbits(fields, bitorder="little")
        n_each = 8 // width
        fields = np.pad(fields, (0, -fields.size % n_each)).reshape(-1, n_each)
        shifts = np.arange(n_each, dtype=np.uint8) * np.uint8(width)
        joined: NDArray = np.bitwise_or.reduce(fields << shifts, axis=1)
        return joined
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    bits = np.unpackbits(little.view(np.uint8).reshape(values.size, -1), axis=1, bitorder="little")
    return np.packbits(bits[:, first : first + width], bitorder="little")


def _unpack(packed: NDArray, out: NDArray, first: int, width: int) -> None:
    """Undo `_packed`, with zeros for the bits that were not stored."""
    if width in _EVEN_WIDTHS:
        if width == 1:
            fields = np.unpackbits(packed, count=out.size, bitorder="little")
        else:
            shifts = np.arange(8 // width, dtype=np.uint8) * np.uint8(width)
            fields = packed[:, np.newaxis] >> shifts & np.uint8((1 << width) - 1)
            fields = fields.reshape(-1)[: out.size]
        np.left_shift(fields.astype(out.dtype, copy=False), out.dtype.type(first), out=out)
        return
    bits = np.unpackbits(packed, count=out.size * width, bitorder="little").reshape(-1, width)
    every = np.zeros((out.size, out.dtype.itemsize * 8), np.uint8)
    every[:, first : first + width] = bits
    little = np.packbits(every, axis=1, bitorder="little")
    out[...] = little.view(out.dtype.newbyteorder("<")).reshape(-1)

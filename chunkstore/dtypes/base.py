"""What every data type knows and can do; the families fill in what differs.

Floor 1. A `DataType` is a frozen value that knows one type wholly: what version 3 calls it, its
version 2 type string, the numpy dtype that holds its elements (always in native byte order), how
a fill value is written as JSON, which bytes an element is stored as, and which values a user may
assign without losing any.

Source: Zarr v3 core, "Data types" and "Fill value"; Zarr v2, "Data type encoding".
"""

from __future__ import annotations

import base64
import binascii
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkstore.errors import InvalidArgumentError
from chunkstore.types import NDArray, Shape

__all__ = ["NATIVE", "DataType", "as_values", "boxed", "from_base64", "to_base64"]

NATIVE = "<" if sys.byteorder == "little" else ">"
"""This machine's byte order, as numpy writes it."""


@dataclass(frozen=True, slots=True)
class DataType:
    """One data type. The subclasses are the families that differ in how values are written.

    Parameters
    ----------
    name : str
        The name in version 3 documents, such as ``"float32"``.
    dtype : numpy.dtype
        What holds the elements in memory, in native byte order and without padding.
    """

    name: str
    dtype: np.dtype[Any]

    # -- what it is -----------------------------------------------------------------------------

    @property
    def is_fixed_size(self) -> bool:
        """Whether every element takes the same number of bytes."""
        return True

    @property
    def n_bits(self) -> int:
        """Bits that one element needs; fewer than the bytes that hold it have for small types."""
        return 8 * self.dtype.itemsize

    @property
    def number_bits(self) -> int:
        """Bits of each number that an element is made of: half of it for complex numbers."""
        return self.n_bits

    @property
    def order_unit(self) -> int:
        """Bytes of the numbers that byte order turns around; 1 where it has no meaning."""
        return self.dtype.itemsize

    @property
    def needs_byte_order(self) -> bool:
        """Whether the bytes of an element come in an order that must be declared."""
        return self.order_unit > 1

    @property
    def may_omit_byte_order(self) -> bool:
        """Whether documents exist that leave a needed byte order out and mean little-endian."""
        return not self.needs_byte_order

    @property
    def default_serializer(self) -> str:
        """Name of the codec from array to bytes that an array gets when none is asked for."""
        return "bytes"

    def serializer_configuration(self) -> dict[str, Any]:
        """Give the configuration of that codec, beyond the byte order that ``bytes`` has."""
        return {}

    # -- in documents ---------------------------------------------------------------------------

    def to_v3(self) -> Any:
        """Give the JSON of the ``data_type`` field of a version 3 document.

        Raises
        ------
        InvalidArgumentError
            If version 3 has no such type.
        """
        return self.name

    def to_v2(self, order: str = "<") -> Any:
        """Give the JSON of the ``dtype`` field of a version 2 document.

        `order` is the byte order on disk, ``"<"`` or ``">"``; types of one byte ignore it.

        Raises
        ------
        InvalidArgumentError
            If version 2 has no such type.
        """
        order = order if self.needs_byte_order else "|"
        return f"{order}{self.dtype.kind}{self.dtype.itemsize}"

    # -- fill values ----------------------------------------------------------------------------

    def default_fill(self) -> Any:
        """Give the fill value of an array whose creator names none: zero, false or empty."""
        return np.zeros((), self.dtype)[()]

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        """Turn the JSON of a fill value into a scalar of `dtype`.

        `strict` holds the value to version 3; version 2 says little, and old writers less, so
        there every spelling with one meaning is taken.
        """
        raise NotImplementedError

    def fill_to_json(self, value: Any) -> Any:
        """Turn a scalar into JSON from which `fill_from_json` restores the same bits."""
        raise NotImplementedError

    def fill_from_v2(self, value: Any, order: str) -> Any:
        """Turn the JSON of a version 2 fill value, of an array of this byte order, to a scalar."""
        return self.fill_from_json(value, strict=False)

    def fill_to_v2(self, value: Any, order: str) -> Any:
        """Turn a scalar into the JSON of a version 2 fill value; undoes `fill_from_v2`."""
        return self.fill_to_json(value)

    def fill_for_v2(self, value: Any) -> Any:
        """Give the scalar nearest to this one that every reader of version 2 can read."""
        return value

    def scalar(self, value: Any) -> Any:
        """Turn a user's fill value into a scalar of `dtype`; refuse one that would change."""
        try:
            values = self.cast(value)
        except InvalidArgumentError as error:
            raise self.refusal(value, f"a value of {self.name}") from error
        if values.ndim:
            raise self.refusal(value, "one value")
        return values.astype(self.dtype)[()]

    def refusal(self, value: Any, expected: str) -> InvalidArgumentError:
        """Make the error for a fill value that the type cannot have."""
        return InvalidArgumentError(
            f"fill value {value!r} does not fit data type {self.name}: expected {expected}"
        )

    # -- values to be written -------------------------------------------------------------------

    def cast(self, value: Any) -> NDArray:
        """Give what a user assigns as an array that numpy can cast to `dtype` without loss.

        Parameters
        ----------
        value : array-like
            A scalar, a nested list or an array.

        Returns
        -------
        numpy.ndarray
            Of the shape of the value. Of `dtype`, or of one whose values were checked: a cast
            rounds floats and changes nothing else. The value itself where that will do.

        Raises
        ------
        InvalidArgumentError
            If a value would be cut, wrap around, overflow or change its kind.
        """
        raise NotImplementedError

    def lossy(self, values: Any, why: str) -> InvalidArgumentError:
        """Make the error for values whose cast to this type would lose something."""
        kind = f"values of {values.dtype}" if isinstance(values, np.ndarray) else repr(values)
        return InvalidArgumentError(f"{kind} cannot be stored as {self.name}: {why}")

    # -- elements as bytes ----------------------------------------------------------------------

    @property
    def stored_nbytes(self) -> int:
        """Bytes of one element as the ``bytes`` codec stores it."""
        return self.dtype.itemsize

    @property
    def has_spare_bits(self) -> bool:
        """Whether stored elements have bits that mean nothing and may hold anything."""
        return False

    def is_stored_plain(self, order: str) -> bool:
        """Whether stored elements are the memory of `dtype` as it is."""
        plain_order = not self.needs_byte_order or order == NATIVE
        return plain_order and not self.has_spare_bits

    def to_stored(self, array: NDArray, order: str) -> NDArray:
        """Give an array whose memory, in C order, is the elements as they are stored."""
        if order == NATIVE or not self.needs_byte_order:
            return array
        return self.swapped(array)

    def from_stored(self, raw: NDArray, shape: Shape, order: str) -> NDArray:
        """Undo `to_stored`; `raw` is of uint8, of the right length. A view where that will do.

        Raises
        ------
        CodecError
            If the bytes are none that the type can have.
        """
        array = raw.view(self.dtype).reshape(shape)
        if order != NATIVE and self.needs_byte_order:
            array = self.swapped(array)
        return self.cleaned(array)

    def swapped(self, array: NDArray) -> NDArray:
        """Give a copy with the bytes of each number turned around."""
        unit = np.dtype(f"u{self.order_unit}")
        flat = np.ascontiguousarray(array).reshape(-1).view(unit)
        # A cast, since numpy's own byteswap takes three times as long.
        return flat.astype(unit.newbyteorder("S")).view(self.dtype).reshape(array.shape)

    def cleaned(self, array: NDArray) -> NDArray:
        """Give the elements with zeros in the bits that mean nothing."""
        if not self.has_spare_bits:
            return array
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        used = np.uint8((1 << self.number_bits) - 1)
        return (flat & used).view(self.dtype).reshape(array.shape)


def as_values(value: Any, dtype: Any = None) -> NDArray:
    """Make an array of what a user gives, or say why that cannot be.

    Raises
    ------
    InvalidArgumentError
        If numpy can make no array of it.
    """
    try:
        return np.asarray(value, dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{value!r} is no array: {error}") from error


def boxed(value: Any) -> NDArray:
    """Give an array without axes that holds one object, which numpy will not look into.

    Examples
    --------
    >>> boxed([1, 2]).shape
    ()
    """
    box = np.empty((), object)
    box[()] = value
    return box


def from_base64(value: Any) -> bytes | None:
    """Decode base64 in the standard alphabet, with its padding; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def to_base64(value: bytes) -> str:
    """Encode bytes in the standard alphabet of base64."""
    return base64.b64encode(value).decode("ascii")

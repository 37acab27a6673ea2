"""``bitround``: numbers rounded to a few significant bits, so that they compress better.

Floor 2. Array to array. Name in v3: ``bitround`` (registered extension), and for floats
``numcodecs.bitround``; in v2: ``{"id": "bitround"}``, for floats. zarr-python reads the name with
the prefix, zarrs both.

.. code-block:: json

    {"name": "bitround", "configuration": {"keepbits": 10}}

.. code-block:: json

    {"name": "numcodecs.bitround", "configuration": {"keepbits": 10}}

Of floats the mantissa is rounded to ``keepbits`` bits, ties to even; of whole numbers the
magnitude, counted from its highest bit that is set. Where others round a finite number to
infinity, change NaN, or make -1 a -32, this does not: what would leave the type's range is rounded
towards zero, NaN stays as it is, and a negative number is rounded like a positive one. Decoding
does nothing, so that any reader gets what was written.
Source: zarr-extensions, "bitround"; Klöwer et al. 2021, Nature Computational Science 1, 713.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from chunkstore.codecs.base import ArrayArrayCodec, ChunkSpec, component, is_integer
from chunkstore.codecs.settings import Settings
from chunkstore.dtypes import DataType
from chunkstore.errors import CodecError
from chunkstore.types import NDArray

__all__ = ["BitroundCodec", "NumcodecsBitroundCodec"]

_MANTISSA_BITS = {"float16": 10, "float32": 23, "float64": 52, "bfloat16": 7}


@dataclass(frozen=True, slots=True)
class BitroundCodec(ArrayArrayCodec):
    """Round to significant bits.

    Parameters
    ----------
    keepbits : int
        Bits to keep, at least 1.

    Examples
    --------
    >>> from chunkstore.dtypes import from_numpy
    >>> spec = ChunkSpec((2,), from_numpy("float32"), np.float32(0))
    >>> BitroundCodec(3).encode(np.array([1.1, -2.7], "f4"), spec)
    array([ 1.125, -2.75 ], dtype=float32)
    """

    name = "bitround"
    keepbits: int

    least_bits: ClassVar[int] = 1

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, required=("keepbits",))
        made = cls(settings.integer("keepbits", cls.least_bits, 64))
        settings.check()
        if made._mantissa_bits(spec.data_type) is None and not cls._takes_whole(spec.data_type):
            raise CodecError(f"{cls.name} cannot round {spec.data_type.name}")
        return made

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"keepbits": self.keepbits}

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Round the fill value with the rest."""
        fill = np.asarray(spec.fill_value, spec.data_type.dtype).reshape(1)
        return spec.replace(fill_value=self.encode(fill, spec)[0])

    def encode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Give the rounded numbers."""
        mantissa = self._mantissa_bits(spec.data_type)
        array = np.ascontiguousarray(array).reshape(array.shape)
        if mantissa is None:
            return _round_whole(array, self.keepbits)
        if self.keepbits >= mantissa:
            return array
        is_complex = spec.data_type.name.startswith("complex")
        n_bytes = array.dtype.itemsize // (2 if is_complex else 1)
        bits = array.reshape(-1).view(f"u{n_bytes}")
        rounded = _round_mantissa(bits, mantissa - self.keepbits, mantissa)
        return rounded.view(array.dtype).reshape(array.shape)

    def decode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Give the numbers as they are stored."""
        return array

    @staticmethod
    def _mantissa_bits(data_type: DataType) -> int | None:
        return _MANTISSA_BITS.get(component(data_type))

    @classmethod
    def _takes_whole(cls, data_type: DataType) -> bool:
        kind = data_type.dtype.kind if data_type.is_fixed_size else "T"
        return kind in "mM" or (kind in "iu" and is_integer(data_type))


@dataclass(frozen=True, slots=True)
class NumcodecsBitroundCodec(BitroundCodec):
    """The same for floats alone, under the name and with the fill value of zarr-python."""

    name = "numcodecs.bitround"

    least_bits: ClassVar[int] = 0

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Leave the fill value."""
        return spec

    @classmethod
    def _takes_whole(cls, data_type: DataType) -> bool:
        return False


def _round_mantissa(bits: NDArray, n_dropped: int, mantissa: int) -> NDArray:
    """Round the patterns of floats, which are in the order of their magnitudes."""
    unsigned = bits.dtype.type
    n_bits = bits.dtype.itemsize * 8
    exponent = unsigned(((1 << (n_bits - 1 - mantissa)) - 1) << mantissa)
    kept = unsigned((1 << n_bits) - (1 << n_dropped))
    half = unsigned((1 << (n_dropped - 1)) - 1)
    with np.errstate(over="ignore"):
        rounded = bits + (half + ((bits >> unsigned(n_dropped)) & unsigned(1))) & kept
    overflows = (rounded & exponent) == exponent
    rounded = np.where(overflows, bits & kept, rounded)
    return np.where((bits & exponent) == exponent, bits, rounded)


def _round_whole(array: NDArray, keepbits: int) -> NDArray:
    """Round the magnitudes of whole numbers, ties to even."""
    whole = array.view("i8") if array.dtype.kind in "mM" else array
    unsigned = np.dtype(f"u{whole.dtype.itemsize}")
    one = unsigned.type(1)
    negative = whole < 0
    with np.errstate(over="ignore"):
        bits = whole.astype(unsigned)
        bits = np.where(negative, unsigned.type(0) - bits, bits)
        n_dropped = np.maximum(_bit_length(bits) - keepbits, 0).astype(unsigned)
        step = one << n_dropped
        kept = bits & ~(step - one)
        rest, half = bits - kept, step >> one
        up = (half > 0) & ((rest > half) | ((rest == half) & ((kept & step) > 0)))
        largest = np.iinfo(whole.dtype).max
        up &= kept <= unsigned.type(largest) - step
        rounded = np.where(up, kept + step, kept)
        signed: NDArray = np.where(negative, unsigned.type(0) - rounded, rounded)
    return signed.view(array.dtype).reshape(array.shape)


def _bit_length(bits: NDArray) -> NDArray:
    """Give the number of bits up to the highest that is set, of unsigned numbers."""
    length = np.minimum(np.frexp(bits.astype(np.float64))[1], bits.dtype.itemsize * 8)
    # A number just below a power of two is rounded up to it as a float64.
    below = (bits >> np.maximum(length - 1, 0).astype(bits.dtype)) == 0
    fixed: NDArray = np.where(below & (length > 0), length - 1, length)
    return fixed

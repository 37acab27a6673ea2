"""``numcodecs.quantize``: floats rounded to a number of decimal digits.

Floor 2. Array to array. Name in v3, unregistered: ``numcodecs.quantize``; in v2:
``{"id": "quantize"}``. zarr-python reads it.

.. code-block:: json

    {"name": "numcodecs.quantize", "configuration": {"digits": 2, "dtype": "<f8", "astype": "<f4"}}

The digits are turned into the number of bits that gives at least as many, so that the rest of the
mantissa becomes zeros. Source: numcodecs documentation, "Quantize".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import ChunkSpec, TypedFilter, check_typed
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import NDArray

__all__ = ["QuantizeCodec"]

_MAX_DIGITS = 300


@dataclass(frozen=True, slots=True)
class QuantizeCodec(TypedFilter):
    """Round to decimal digits.

    Parameters
    ----------
    digits : int
        Decimal digits to keep behind the point; negative ones drop digits before it.

    Examples
    --------
    >>> codec = QuantizeCodec(np.dtype("f8"), np.dtype("f8"), 1)
    >>> codec.encode_values(np.array([0.111111, 0.333333]))
    array([0.125 , 0.3125])
    """

    name = "numcodecs.quantize"
    digits: int

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; a missing ``dtype`` is the type of the elements."""
        settings = Settings(
            cls.name, configuration, required=("digits",), optional=("dtype", "astype")
        )
        digits = settings.integer("digits", -_MAX_DIGITS, _MAX_DIGITS)
        dtype = settings.dtype("dtype", spec.data_type.dtype)
        astype = settings.dtype("astype", dtype)
        for key, part in (("dtype", dtype), ("astype", astype))[: 1 + ("astype" in settings)]:
            if part.kind != "f":
                settings.problem(key, f"{cls.name} rounds floats, not {part}")
        settings.check()
        check_typed(cls.name, (dtype, astype), spec)
        return cls(dtype, astype, digits)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"digits": self.digits, "dtype": self.dtype.str, "astype": self.astype.str}

    def encode_values(self, values: NDArray) -> NDArray:
        """Round, if every result stays finite."""
        with np.errstate(all="ignore"):
            rounded: NDArray = np.around(self._factor * values) / self._factor
            encoded = rounded.astype(self.astype.newbyteorder("="), copy=False)
        if not (np.isfinite(encoded) | ~np.isfinite(values)).all():
            raise CodecError(
                f"{self.name} cannot round some values to {self.digits} digits in {self.astype}: "
                f"they are too large"
            )
        return encoded

    def decode_values(self, values: NDArray) -> NDArray:
        """Convert back to the type of the elements."""
        with np.errstate(all="ignore"):
            return values.astype(self.dtype.newbyteorder("="), copy=False)

    @property
    def _factor(self) -> float:
        """The power of two that scales the last kept bit to 1."""
        exponent = math.log10(10.0**-self.digits)
        exponent = math.floor(exponent) if exponent < 0 else math.ceil(exponent)
        return float(2.0 ** math.ceil(math.log2(10.0**-exponent)))

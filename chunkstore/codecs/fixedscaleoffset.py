"""``numcodecs.fixedscaleoffset``: ``(x - offset) * scale``, rounded to whole numbers.

Floor 2. Array to array. Name in v3, unregistered: ``numcodecs.fixedscaleoffset``; in v2:
``{"id": "fixedscaleoffset"}``. zarr-python and zarrs read it.

.. code-block:: json

    {"name": "numcodecs.fixedscaleoffset", "configuration": {"offset": 1000, "scale": 10,
                                                             "dtype": "<f8", "astype": "|u1"}}

A result that ``astype`` cannot hold, NaN among them, is refused: numcodecs stores some other
number. Source: numcodecs documentation, "FixedScaleOffset".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import ChunkSpec, TypedFilter, check_typed
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import NDArray

__all__ = ["FixedScaleOffsetCodec"]

_MOST = sys.float_info.max


@dataclass(frozen=True, slots=True)
class FixedScaleOffsetCodec(TypedFilter):
    """Store scaled values as whole numbers.

    Parameters
    ----------
    offset, scale : int or float
        What is subtracted first, and what is multiplied with then.

    Examples
    --------
    >>> codec = FixedScaleOffsetCodec(np.dtype("f8"), np.dtype("u1"), 1000, 10)
    >>> codec.encode_values(np.array([1000.0, 1000.44, 1001.0]))
    array([ 0,  4, 10], dtype=uint8)
    """

    name = "numcodecs.fixedscaleoffset"
    offset: float
    scale: float

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; a missing ``dtype`` is the type of the elements."""
        settings = Settings(
            cls.name, configuration, required=("offset", "scale"), optional=("dtype", "astype")
        )
        dtype = settings.dtype("dtype", spec.data_type.dtype)
        astype = settings.dtype("astype", dtype)
        for key, part in (("dtype", dtype), ("astype", astype))[: 1 + ("astype" in settings)]:
            if part.kind not in "iuf":
                settings.problem(key, f"{cls.name} works on numbers, not on {part}")
        offset, scale = (_number(settings.number(key, _MOST)) for key in ("offset", "scale"))
        if scale == 0:
            settings.problem("scale", f"{cls.name} cannot undo a scale of 0")
        settings.check()
        check_typed(cls.name, (dtype, astype), spec)
        return cls(dtype, astype, offset, scale)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {
            "offset": self.offset,
            "scale": self.scale,
            "dtype": self.dtype.str,
            "astype": self.astype.str,
        }

    def encode_values(self, values: NDArray) -> NDArray:
        """Scale and round, if every result fits."""
        try:
            with np.errstate(all="ignore"):
                scaled = np.around((values - self.offset) * self.scale)
                exact = scaled
                if values.dtype.kind in "iu":
                    # numpy's whole numbers wrap around; what they would give must be the same.
                    exact = np.around((values.astype("f8") - self.offset) * self.scale)
                encoded = scaled.astype(self.astype.newbyteorder("="))
                fits = _fits(values, exact, encoded) and self._comes_back(encoded)
        except (OverflowError, TypeError) as error:
            raise CodecError(f"{self.name} cannot scale {values.dtype}: {error}") from error
        if not fits:
            raise CodecError(
                f"{self.name} cannot store some values in {self.astype} after offset "
                f"{self.offset} and scale {self.scale}: they do not fit"
            )
        return encoded

    def decode_values(self, values: NDArray) -> NDArray:
        """Scale back."""
        with np.errstate(all="ignore"):
            return self._scaled_back(values).astype(self.dtype.newbyteorder("="), copy=False)

    def _scaled_back(self, values: NDArray) -> NDArray:
        # As floats, so that a negative scale of unsigned numbers is no error.
        scaled: NDArray = (values / float(self.scale)) + float(self.offset)
        return scaled

    def _comes_back(self, encoded: NDArray) -> bool:
        """Whether the type of the elements, if of whole numbers, holds what rounding made."""
        if self.dtype.kind == "f":
            return True
        limits = np.iinfo(self.dtype)
        back = np.trunc(self._scaled_back(encoded))
        return bool(((back >= float(limits.min)) & (back < float(limits.max) + 1)).all())


def _fits(values: NDArray, exact: NDArray, encoded: NDArray) -> bool:
    if encoded.dtype.kind == "f":
        was_finite = np.isfinite(values)
        return bool((np.isfinite(encoded) | ~was_finite).all())
    if (encoded == exact).all():
        return True
    # Whole numbers beyond 2**53 are near what floats give for them; a wrap is far from it.
    found, wanted = encoded.astype("f8"), exact.astype("f8")
    return bool(np.isclose(found, wanted, rtol=1e-12, atol=0).all())


def _number(value: float) -> float:
    return float(value) if abs(value) >= 2**63 else value

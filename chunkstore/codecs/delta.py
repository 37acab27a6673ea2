"""``numcodecs.delta``: each element as its difference from the one before.

Floor 2. Array to array. Name in v3, unregistered: ``numcodecs.delta``; in v2:
``{"id": "delta"}``. zarr-python reads it.

.. code-block:: json

    {"name": "numcodecs.delta", "configuration": {"dtype": "<i4", "astype": "<i2"}}

The first element of a chunk is stored as it is. A difference that ``astype`` cannot hold is
refused: numcodecs stores it cut short, and other values come back.
Source: numcodecs documentation, "Delta".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import ChunkSpec, TypedFilter, check_typed
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import NDArray

__all__ = ["DeltaCodec"]


@dataclass(frozen=True, slots=True)
class DeltaCodec(TypedFilter):
    """Store differences, in C order through the chunk.

    Examples
    --------
    >>> codec = DeltaCodec(np.dtype("i2"), np.dtype("i1"))
    >>> codec.encode_values(np.array([100, 102, 99], "i2"))
    array([100,   2,  -3], dtype=int8)
    """

    name = "numcodecs.delta"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, required=("dtype",), optional=("astype",))
        dtype = settings.dtype("dtype")
        astype = settings.dtype("astype", dtype)
        for key, part in (("dtype", dtype), ("astype", astype))[: 1 + ("astype" in settings)]:
            if part.kind not in "iufc" or (part.kind == "c" and dtype.kind != astype.kind):
                settings.problem(key, f"{cls.name} has no differences of {part}")
        settings.check()
        check_typed(cls.name, (dtype, astype), spec)
        return cls(dtype, astype)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"dtype": self.dtype.str, "astype": self.astype.str}

    def encode_values(self, values: NDArray) -> NDArray:
        """Give the first element and the differences."""
        differences = np.empty_like(values)
        with np.errstate(all="ignore"):
            differences[:1] = values[:1]
            np.subtract(values[1:], values[:-1], out=differences[1:])
            encoded = differences.astype(self.astype.newbyteorder("="))
            if self._may_lose and not _holds(encoded, differences):
                raise CodecError(
                    f"{self.name} cannot store the differences in {self.astype}: some do not fit. "
                    f"Leave out astype, or choose a wider one"
                )
        return encoded

    def decode_values(self, values: NDArray) -> NDArray:
        """Add the differences up."""
        decoded = np.empty(values.shape, self.dtype.newbyteorder("="))
        with np.errstate(all="ignore"):
            if self._wraps:
                # numpy would add signed and unsigned numbers of 64 bits up as floats.
                values = values.astype(decoded.dtype)
            np.cumsum(values, out=decoded)
        return decoded

    @property
    def _wraps(self) -> bool:
        """Whether both types are of whole numbers, which wrap around on both ways."""
        return self.dtype.kind in "iu" and self.astype.kind in "iu"

    @property
    def _may_lose(self) -> bool:
        """Whether a difference could come back as another number: if bits are cut off."""
        return not self._wraps or self.astype.itemsize < self.dtype.itemsize


def _holds(encoded: NDArray, differences: NDArray) -> bool:
    if encoded.dtype.kind in "fc" and differences.dtype.kind in "fc":
        # Rounding is what a narrower float is chosen for; infinity is not.
        return bool((np.isfinite(encoded) | ~np.isfinite(differences)).all())
    return bool((encoded.astype(differences.dtype) == differences).all())

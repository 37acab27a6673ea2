"""``numcodecs.astype``: elements converted to another type.

Floor 2. Array to array. Name in v3, unregistered: ``numcodecs.astype``; in v2:
``{"id": "astype"}``. zarr-python reads it.

.. code-block:: json

    {"name": "numcodecs.astype", "configuration": {"encode_dtype": "<f4", "decode_dtype": "<f8"}}

Floats may round and lose their fraction; a number that the other type cannot hold at all, such as
300 or NaN in a byte, is refused: numcodecs stores some other number.
Source: numcodecs documentation, "AsType".
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

__all__ = ["AsTypeCodec"]


@dataclass(frozen=True, slots=True)
class AsTypeCodec(TypedFilter):
    """Convert the type of the elements.

    Examples
    --------
    >>> codec = AsTypeCodec(np.dtype("f8"), np.dtype("i2"))
    >>> codec.decode_values(codec.encode_values(np.array([1.0, 2.75])))
    array([1., 2.])
    """

    name = "numcodecs.astype"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; a missing ``decode_dtype`` is the type of the elements."""
        settings = Settings(
            cls.name, configuration, required=("encode_dtype",), optional=("decode_dtype",)
        )
        astype = settings.dtype("encode_dtype")
        dtype = settings.dtype("decode_dtype", spec.data_type.dtype)
        settings.check()
        if dtype.kind == "c" and astype.kind != "c":
            raise CodecError(f"{cls.name} cannot convert {dtype} to {astype}", key="encode_dtype")
        check_typed(cls.name, (dtype, astype), spec)
        return cls(dtype, astype)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"encode_dtype": self.astype.str, "decode_dtype": self.dtype.str}

    def encode_values(self, values: NDArray) -> NDArray:
        """Convert, if every element fits."""
        return self._convert(values, self.astype.newbyteorder("="))

    def decode_values(self, values: NDArray) -> NDArray:
        """Convert back, if every element fits."""
        return self._convert(values, self.dtype.newbyteorder("="))

    def _convert(self, values: NDArray, dtype: np.dtype[Any]) -> NDArray:
        try:
            with np.errstate(all="ignore"):
                converted = values.astype(dtype)
                fits = _fits(values, converted)
        except (TypeError, ValueError, OverflowError) as error:
            raise CodecError(
                f"{self.name} cannot convert {values.dtype} to {dtype}: {error}"
            ) from error
        if not fits:
            raise CodecError(
                f"{self.name} cannot convert {values.dtype} to {dtype}: some values do not fit"
            )
        return converted


def _fits(values: NDArray, converted: NDArray) -> bool:
    """Whether no element became something else than its value, rounded or cut."""
    kinds = values.dtype.kind, converted.dtype.kind
    if kinds[0] in "biufc" and kinds[1] in "fc":
        return bool((np.isfinite(converted) | ~np.isfinite(values)).all())
    if kinds[0] == "f" and kinds[1] in "iu":
        return bool((np.trunc(values) == converted.astype(values.dtype)).all()) and _inside(
            values, converted.dtype
        )
    if kinds[1] == "b" and kinds[0] != "b":
        return bool((values == converted.astype(values.dtype)).all())
    return bool((converted.astype(values.dtype) == values).all())


def _inside(values: NDArray, dtype: np.dtype[Any]) -> bool:
    """Whether floats are within an integer type; a rounded limit must not let one through."""
    limits = np.iinfo(dtype)
    low, high = float(limits.min), float(limits.max)
    above = values >= high if int(high) > limits.max else values > high
    return not bool((above | (values < low)).any())

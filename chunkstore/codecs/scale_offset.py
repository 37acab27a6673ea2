"""``scale_offset``: ``(x - offset) * scale``, in the elements' own type.

Floor 2. Array to array. Name in v3: ``scale_offset`` (registered extension); none in v2.
zarr-python reads it.

.. code-block:: json

    {"name": "scale_offset", "configuration": {"offset": 5, "scale": 0.5}}

Offset and scale are written as fill values of the type are. Nothing overflows in silence: a whole
number out of range, a division with a remainder, and a float that would become infinite are
errors. Source: zarr-extensions, "scale_offset".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import ArrayArrayCodec, ChunkSpec, integer_limits, is_float, is_integer
from chunkstore.codecs.settings import Settings
from chunkstore.dtypes import DataType
from chunkstore.errors import CodecError, InvalidArgumentError
from chunkstore.types import NDArray

__all__ = ["ScaleOffsetCodec"]


@dataclass(frozen=True, slots=True)
class ScaleOffsetCodec(ArrayArrayCodec):
    """Subtract an offset, then multiply by a scale.

    Parameters
    ----------
    offset, scale : JSON value
        As in the document: a number, or one of the words of floats.

    Examples
    --------
    >>> from chunkstore.dtypes import from_numpy
    >>> spec = ChunkSpec((3,), from_numpy("int16"), np.int16(0))
    >>> ScaleOffsetCodec(10, 3).encode(np.array([10, 11, 9], "i2"), spec)
    array([ 0,  3, -3], dtype=int16)
    """

    name = "scale_offset"
    offset: int | float | str = 0
    scale: int | float | str = 1

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, optional=("offset", "scale"))
        settings.check()
        if not (is_integer(spec.data_type) or is_float(spec.data_type)):
            raise CodecError(f"scale_offset works on numbers, not on {spec.data_type.name}")
        made = cls(settings.get("offset", 0), settings.get("scale", 1))
        for key, value in (("offset", made.offset), ("scale", made.scale)):
            try:
                scalar = _scalar(value, spec.data_type, key)
            except CodecError as error:
                settings.problem(key, str(error))
                continue
            if key == "scale" and scalar == 0:
                settings.problem(key, "scale_offset cannot undo a scale of 0")
        settings.check()
        return made

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"offset": self.offset, "scale": self.scale}

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Scale the fill value with the rest."""
        fill = np.asarray(spec.fill_value, spec.data_type.dtype).reshape(1)
        return spec.replace(fill_value=self.encode(fill, spec)[0])

    def encode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Scale, if every result fits."""
        offset, scale = self._scalars(spec.data_type)
        if is_integer(spec.data_type):
            wide = _wide(array)
            edges = [(edge - int(offset)) * int(scale) for edge in _edges(wide)]
            _check_range(edges, spec.data_type)
            # The result fits, so that arithmetic modulo its size cannot miss it.
            with np.errstate(over="ignore"):
                product: NDArray = (wide - wide.dtype.type(offset)) * wide.dtype.type(scale)
            return product.astype(array.dtype)
        with np.errstate(all="ignore"):
            scaled: NDArray = ((array - offset) * scale).astype(array.dtype, copy=False)
            lost = ~np.isfinite(scaled) & np.isfinite(array)
        if lost.any():
            raise CodecError(
                f"scale_offset makes {array[lost][0]!s} infinite in {spec.data_type.name}"
            )
        return scaled

    def decode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Scale back; whole numbers must come out whole."""
        offset, scale = self._scalars(spec.data_type)
        if not is_integer(spec.data_type):
            with np.errstate(all="ignore"):
                real: NDArray = (array / scale) + offset
            return real.astype(array.dtype, copy=False)
        wide = _wide(array)
        divisor = wide.dtype.type(scale)
        with np.errstate(all="ignore"):
            if (wide % divisor).any():
                raise CodecError(f"scale_offset has values that are no multiples of {self.scale}")
            edges = [edge // int(scale) + int(offset) for edge in _edges(wide)]
            _check_range(edges, spec.data_type)
            whole: NDArray = (wide // divisor) + wide.dtype.type(offset)
        return whole.astype(array.dtype)

    def _scalars(self, data_type: DataType) -> tuple[Any, Any]:
        return (
            _scalar(self.offset, data_type, "offset"),
            _scalar(self.scale, data_type, "scale"),
        )


def _scalar(value: Any, data_type: DataType, key: str) -> Any:
    try:
        return data_type.fill_from_json(value, strict=True)
    except InvalidArgumentError as error:
        raise CodecError(
            f"scale_offset takes for {key!r} a value of {data_type.name}, got {value!r}", key=key
        ) from error


def _wide(array: NDArray) -> NDArray:
    """Give whole numbers in a type of numpy's own; types of less than a byte have no arithmetic."""
    return array if array.dtype.kind in "iu" else array.astype(np.int8)


def _edges(array: NDArray) -> tuple[int, int]:
    return (int(array.min()), int(array.max())) if array.size else (0, 0)


def _check_range(edges: list[int], data_type: DataType) -> None:
    low, high = integer_limits(data_type)
    if min(edges) < low or max(edges) > high:
        raise CodecError(
            f"scale_offset gives values from {min(edges)} to {max(edges)}, but {data_type.name} "
            f"holds {low} to {high}"
        )

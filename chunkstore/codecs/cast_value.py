"""``cast_value``: elements converted to another type by their value.

Floor 2. Array to array. Name in v3: ``cast_value`` (registered extension); none in v2.
zarr-python reads it where the package cast-value-rs is installed.

.. code-block:: json

    {"name": "cast_value", "configuration": {
        "data_type": "uint8", "rounding": "nearest-even", "out_of_range": "clamp",
        "scalar_map": {"encode": [["NaN", 255]], "decode": [[255, "NaN"]]}}}

For each element the first of these that applies:

1. its entry in ``scalar_map``, for the direction in hand;
2. the same value, where the other type has it;
3. the value rounded as ``rounding`` says; if that is out of range, what ``out_of_range`` says.

NaN and infinities that the other type does not have are errors unless they are mapped.
Source: zarr-extensions, "cast_value".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np

from chunkstore.codecs.base import ArrayArrayCodec, ChunkSpec, integer_limits, is_float, is_integer
from chunkstore.codecs.settings import Settings
from chunkstore.dtypes import DataType, from_v3
from chunkstore.errors import CodecError, InvalidArgumentError
from chunkstore.types import NDArray

__all__ = ["CastValueCodec"]

_ROUNDINGS = (
    "nearest-even",
    "towards-zero",
    "towards-positive",
    "towards-negative",
    "nearest-away",
)
_DIRECTIONS = ("encode", "decode")
_NO_SIGN_MAGNITUDE = ("fnuz", "fnu")
_FLOAT64_PRECISION = 53
_EXACT = 2**_FLOAT64_PRECISION
"""Up to here a float64 holds every whole number."""
_OF_NUMPY = ("float16", "float32", "float64")
_SMALL_BITS = {"bfloat16": 16}


@dataclass(frozen=True, slots=True)
class CastValueCodec(ArrayArrayCodec):
    """Convert elements by value.

    Parameters
    ----------
    data_type : DataType
        What the elements are converted to.
    rounding : str
        "nearest-even", "nearest-away", "towards-zero", "towards-positive", "towards-negative".
    out_of_range : {"error", "clamp", "wrap"}
        What becomes of a number that the other type is too small for. "wrap" counts modulo the
        size of the type, for whole numbers only.
    scalar_map_json : str
        Values to replace as JSON, ``"null"`` for none.

    Examples
    --------
    >>> from chunkstore.dtypes import from_numpy
    >>> spec = ChunkSpec((3,), from_numpy("float32"), np.float32(0))
    >>> codec = CastValueCodec(from_numpy("uint8"), "towards-zero", "clamp")
    >>> codec.encode(np.array([1.7, -3, 400], "f4"), spec)
    array([  1,   0, 255], dtype=uint8)
    """

    name = "cast_value"
    data_type: DataType
    rounding: str = "nearest-even"
    out_of_range: str = "error"
    scalar_map_json: str = "null"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        optional = ("rounding", "out_of_range", "scalar_map")
        settings = Settings(cls.name, configuration, required=("data_type",), optional=optional)
        data_type = spec.data_type
        if "data_type" in configuration:
            try:
                data_type = from_v3(configuration["data_type"])
            except InvalidArgumentError as error:
                settings.problem("data_type", f"cast_value: {error}")
        rounding = settings.choice("rounding", _ROUNDINGS, _ROUNDINGS[0])
        out_of_range = settings.choice("out_of_range", ("error", "clamp", "wrap"), "error")
        scalar_map = _checked_map(settings)
        settings.check()
        for role in (data_type, spec.data_type):
            _check_supported(role)
        if out_of_range == "wrap" and not is_integer(data_type):
            raise CodecError(
                f'cast_value takes "wrap" only for whole numbers, not for {data_type.name}',
                key="out_of_range",
            )
        made = cls(data_type, rounding, out_of_range, json.dumps(scalar_map))
        made._check_fill(spec)
        return made

    def configuration(self) -> dict[str, Any]:
        """Give the configuration, without what is the default."""
        configuration: dict[str, Any] = {"data_type": self.data_type.to_v3()}
        if self.rounding != _ROUNDINGS[0]:
            configuration["rounding"] = self.rounding
        if self.out_of_range != "error":
            configuration["out_of_range"] = self.out_of_range
        if self.scalar_map_json != "null":
            configuration["scalar_map"] = json.loads(self.scalar_map_json)
        return configuration

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Change the type, and convert the fill value with the rest."""
        fill = np.asarray(spec.fill_value, spec.data_type.dtype).reshape(1)
        encoded = self._cast(fill, spec.data_type, self.data_type, "encode")
        return spec.replace(data_type=self.data_type, fill_value=encoded[0])

    def encode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Convert the elements."""
        return self._cast(array, spec.data_type, self.data_type, "encode")

    def decode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Convert the elements back."""
        return self._cast(array, self.data_type, spec.data_type, "decode")

    def _check_fill(self, spec: ChunkSpec) -> None:
        """Refuse a fill value that would come back as another one, as the specification asks."""
        fill = np.asarray(spec.fill_value, spec.data_type.dtype).reshape(1)
        there = self._cast(fill, spec.data_type, self.data_type, "encode")
        back = self._cast(there, self.data_type, spec.data_type, "decode")
        if not (back == fill)[0] and not ((back != back) & (fill != fill))[0]:
            raise CodecError(
                f"cast_value turns the fill value {fill[0]!s} into {there[0]!s} and back into "
                f"{back[0]!s}; it must come back the same"
            )

    def _cast(self, array: NDArray, source: DataType, target: DataType, way: str) -> NDArray:
        entries = _entries(self.scalar_map_json, source, target, way)
        mapped = [_equals(array, key) for key, _ in entries]
        if mapped:
            # What is mapped need not be convertible.
            array = np.where(np.logical_or.reduce(mapped), array.dtype.type(0), array)
        with np.errstate(all="ignore"):
            cast = _convert(array, (source, target), self.rounding, self.out_of_range)
        for where, (_, value) in zip(reversed(mapped), reversed(entries), strict=True):
            cast[where] = value
        return cast


def _check_supported(data_type: DataType) -> None:
    if not (is_integer(data_type) or is_float(data_type)) or data_type.name.endswith(
        _NO_SIGN_MAGNITUDE
    ):
        raise CodecError(f"cast_value does not work on {data_type.name}")


def _checked_map(settings: Settings) -> Any:
    """Check the form of a scalar map; its values are checked when the types are known."""
    value = settings.get("scalar_map")
    if value is None:
        return None
    if not isinstance(value, Mapping) or not value.keys() <= set(_DIRECTIONS):
        settings.note("scalar_map", 'lists under "encode" and "decode"')
        return None
    for way, pairs in value.items():
        if not isinstance(pairs, (list, tuple)) or any(
            not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in pairs
        ):
            what = f"cast_value takes in its scalar_map lists of pairs, got {pairs!r}"
            settings.problem(f"scalar_map.{way}", what)
    return dict(value)


@lru_cache(maxsize=256)
def _entries(
    scalar_map_json: str, source: DataType, target: DataType, way: str
) -> tuple[tuple[Any, Any], ...]:
    """Read the pairs of one direction as scalars of the two types."""
    pairs = (json.loads(scalar_map_json) or {}).get(way, ())
    try:
        return tuple(
            (source.fill_from_json(key, strict=True), target.fill_from_json(value, strict=True))
            for key, value in pairs
        )
    except InvalidArgumentError as error:
        raise CodecError(f"cast_value: in its scalar_map: {error}", key="scalar_map") from error


def _equals(array: NDArray, key: Any) -> NDArray:
    equal: NDArray = array != array if key != key else array == key
    return equal


def _convert(
    array: NDArray, types: tuple[DataType, DataType], rounding: str, out_of_range: str
) -> NDArray:
    source, target = types
    if not is_integer(target):
        return _to_float(array, target, rounding, out_of_range)
    if is_integer(source):
        wide = array if array.dtype.kind in "iu" else array.astype(np.int8)
        return _to_range(wide, target, out_of_range)
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        strange = values[~np.isfinite(values)][0]
        raise CodecError(f"cast_value cannot convert {strange} to {target.name}; map it")
    return _to_range(_round(values, rounding), target, out_of_range)


def _round(values: NDArray, rounding: str) -> NDArray:
    """Round float64 to whole numbers."""
    if rounding == "nearest-even":
        return np.rint(values)
    if rounding == "towards-positive":
        return np.ceil(values)
    if rounding == "towards-negative":
        return np.floor(values)
    whole = np.trunc(values)
    if rounding == "towards-zero":
        return whole
    away = whole + np.where(np.abs(values - whole) >= 0.5, np.sign(values), 0)
    # A zero keeps its sign, which the sum has lost.
    signed: NDArray = np.copysign(away, values)
    return signed


def _to_range(values: NDArray, target: DataType, out_of_range: str) -> NDArray:
    """Bring whole numbers, in integers or float64, into an integer type."""
    low, high = integer_limits(target)
    # The limits of 64 bits are no float64: 2**63 itself is already too much.
    is_float_64 = values.dtype.kind == "f" and high > _EXACT
    above = values >= float(high) if is_float_64 else values > high
    below = values < low
    outside = above | below
    if outside.any():
        if out_of_range == "error":
            raise CodecError(
                f"cast_value cannot store {values[outside][0]!s} in {target.name}, which holds "
                f"{low} to {high}; it was not told to clamp or to wrap"
            )
        if out_of_range == "wrap":
            return _wrapped(values, target)
        inside = np.where(outside, values.dtype.type(0), values).astype(_container(target))
        inside[above], inside[below] = high, low
        return inside.astype(target.dtype)
    return values.astype(_container(target)).astype(target.dtype)


def _container(target: DataType) -> np.dtype[Any]:
    """Give a dtype of numpy's own that holds an integer type."""
    return target.dtype if target.dtype.kind in "iu" else np.dtype(np.int8)


def _wrapped(values: NDArray, target: DataType) -> NDArray:
    """Take whole numbers modulo the size of the type."""
    low, high = integer_limits(target)
    if values.dtype.kind == "f":
        # Of the magnitude, which is exact, where adding 2**64 to a small number would not be.
        magnitude = np.fmod(np.abs(values), 2.0**64).astype(np.uint64)
        bits = np.where(values < 0, np.uint64(0) - magnitude, magnitude)
    else:
        bits = values.astype(f"{values.dtype.kind}8").view(np.uint64)
    n_values = high - low + 1
    if n_values == 2**64:
        return bits.view(target.dtype)
    signed = (bits & np.uint64(n_values - 1)).astype(np.int64)
    wrapped = np.where(signed > high, signed - n_values, signed)
    return wrapped.astype(_container(target)).astype(target.dtype)


class _FloatFormat(NamedTuple):
    """What a float type holds: significant bits, the last place of the least number, its ends."""

    precision: int
    least_exponent: int
    largest: float
    has_infinity: bool
    has_nan: bool


@lru_cache(maxsize=64)
def _format_of(target: DataType) -> _FloatFormat:
    if target.name in _OF_NUMPY:
        info = np.finfo(target.dtype)
        precision = int(info.nmant) + 1
        return _FloatFormat(
            precision, int(info.minexp) - precision + 1, float(info.max), True, True
        )
    # numpy knows nothing of the smaller types, but they have few enough numbers to look at all.
    n_bits = _SMALL_BITS.get(target.name) or int(target.name.removeprefix("float").split("_")[0])
    patterns = np.arange(2**n_bits, dtype=f"u{target.dtype.itemsize}")
    values = patterns.view(target.dtype).astype(np.float64)
    finite = np.unique(np.abs(values[np.isfinite(values)]))
    exponent = int(np.frexp(finite[-1])[1])
    precision = exponent - int(np.log2(finite[-1] - finite[-2]))
    return _FloatFormat(
        precision,
        int(np.log2(finite[1])),
        float(finite[-1]),
        bool(np.isinf(values).any()),
        bool(np.isnan(values).any()),
    )


def _to_float(array: NDArray, target: DataType, rounding: str, out_of_range: str) -> NDArray:
    """Convert to a float type, by way of the float64 that is exactly the result."""
    form = _format_of(target)
    rounded = array.astype(np.float64)
    _check_special(rounded, target, form)
    if target.name in _OF_NUMPY and rounding == "nearest-even":
        # The processor's own rounding; numpy's types have infinities to show what does not fit.
        cast = array.astype(target.dtype)
        if not (np.isinf(cast) & np.isfinite(rounded)).any():
            return cast
    large = _beyond_float64(array)
    if form.precision < _FLOAT64_PRECISION:
        # In units of the last place that the result will have, rounding is to whole numbers.
        place = np.maximum(np.frexp(rounded)[1] - form.precision, form.least_exponent)
        rounded = np.ldexp(_round(np.ldexp(rounded, -place), rounding), place)
    if large is not None and large.any():
        rounded[large] = _round_large(array[large], form.precision, rounding)
    lost = np.isfinite(array.astype(np.float64)) & (np.abs(rounded) > form.largest)
    if lost.any():
        if out_of_range != "clamp":
            raise CodecError(
                f"cast_value cannot store {array[lost][0]!s} in {target.name}, which holds up to "
                f"{form.largest}; it was not told to clamp"
            )
        end = np.inf if form.has_infinity else form.largest
        rounded[lost] = np.copysign(end, rounded[lost])
    return rounded.astype(target.dtype)


def _check_special(values: NDArray, target: DataType, form: _FloatFormat) -> None:
    missing = np.zeros(values.shape, bool)
    if not form.has_nan:
        missing |= np.isnan(values)
    if not form.has_infinity:
        missing |= np.isinf(values)
    if missing.any():
        raise CodecError(f"cast_value cannot convert {values[missing][0]} to {target.name}; map it")


def _beyond_float64(array: NDArray) -> NDArray | None:
    """Tell which elements a float64 may not hold exactly; None if all fit by their type."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8:
        return None
    beyond: NDArray = array > _EXACT
    return beyond | (array < -_EXACT) if array.dtype.kind == "i" else beyond


def _round_large(whole: NDArray, precision: int, rounding: str) -> NDArray:
    """Round 64-bit whole numbers beyond 2**53 to so many bits; the result is an exact float64."""
    sign = np.where(whole < 0, -1.0, 1.0)
    bits = whole.astype(np.int64).view(np.uint64) if whole.dtype.kind == "i" else whole
    bits = np.where(whole < 0, np.uint64(0) - bits, bits)
    length = np.frexp(bits.astype(np.float64))[1]
    # A number just below a power of two was rounded up to it.
    length -= bits >> np.minimum(length - 1, 63).astype(np.uint64) == 0
    length = np.minimum(length, 64)
    shift = np.maximum(length - precision, 0).astype(np.uint64)
    kept = bits >> shift
    rest = bits - (kept << shift)
    # Of the rest only its place among 0, a half and 1 matters: 40 bits of it and whether the
    # others are zero.
    excess = np.maximum(shift.astype(np.int64) - 40, 0).astype(np.uint64)
    seen = (rest >> excess) | ((rest & ((np.uint64(1) << excess) - np.uint64(1))) != 0)
    fraction = np.ldexp(seen.astype(np.float64), -(shift - excess).astype(np.int32))
    odd = (kept & np.uint64(1)).astype(np.float64)
    step = np.abs(_round(sign * (odd + fraction), rounding)) - odd
    rounded: NDArray = sign * np.ldexp(kept.astype(np.float64) + step, shift.astype(np.int32))
    return rounded

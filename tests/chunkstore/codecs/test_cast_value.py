"""Casting by value is right for all types, roundings and ranges; exact fractions are the judge."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chunkstore as cs
from chunkstore.codecs.base import ChunkSpec
from chunkstore.codecs.cast_value import CastValueCodec
from chunkstore.dtypes import from_v3
from chunkstore.errors import CodecError, MetadataError

INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
FLOATS = ("float16", "float32", "float64")
SMALL = ("int2", "int4", "uint4", "bfloat16", "float8_e5m2", "float8_e4m3", "float6_e2m3fn",
         "float4_e2m1fn")  # fmt: skip
ROUNDINGS = ("nearest-even", "towards-zero", "towards-positive", "towards-negative", "nearest-away")


def spec_of(name: str, n: int = 1, fill: Any = 0) -> ChunkSpec:
    """Give the spec of a chunk along one axis."""
    if name in SMALL:
        pytest.importorskip("ml_dtypes")
    data_type = from_v3(name)
    return ChunkSpec((n,), data_type, data_type.fill_from_json(fill, strict=True))


def make(source: str, **configuration: Any) -> tuple[CastValueCodec, ChunkSpec]:
    """Make the codec and what it is given."""
    spec = spec_of(source)
    return CastValueCodec.from_configuration(configuration, spec), spec


def round_fraction(value: Fraction, rounding: str) -> int:
    """Round to a whole number."""
    if rounding == "nearest-even":
        return round(value)
    if rounding == "towards-positive":
        return math.ceil(value)
    if rounding == "towards-negative":
        return math.floor(value)
    if rounding == "towards-zero":
        return math.trunc(value)
    whole = math.trunc(value)
    return whole + (abs(value - whole) >= Fraction(1, 2)) * (1 if value > 0 else -1)


def expected_integer(value: float, name: str, rounding: str, out_of_range: str) -> int | None:
    """Say what becomes of a number in an integer type; None for an error."""
    if not math.isfinite(value):
        return None
    limits = np.iinfo(name)
    whole = round_fraction(Fraction(value), rounding)
    if limits.min <= whole <= limits.max or out_of_range == "error":
        return whole if limits.min <= whole <= limits.max else None
    if out_of_range == "clamp":
        return int(limits.min if whole < limits.min else limits.max)
    return (whole - int(limits.min)) % (int(limits.max) - int(limits.min) + 1) + int(limits.min)


def expected_float(value: float, name: str, rounding: str, out_of_range: str) -> float | None:
    """Say what becomes of a finite number in a float type; None for an error."""
    info = np.finfo(name)
    exact = Fraction(value)
    if exact == 0:
        return 0.0
    # The exponent of the last place: of the number's own binade, or of the least there is.
    exponent = math.frexp(float(abs(exact)))[1] if abs(exact) < 2**1023 else 1024
    while Fraction(2) ** exponent <= abs(exact):
        exponent += 1
    while Fraction(2) ** (exponent - 1) > abs(exact):
        exponent -= 1
    place = max(exponent - info.nmant - 1, int(info.minexp) - info.nmant)
    result = round_fraction(exact / Fraction(2) ** place, rounding) * Fraction(2) ** place
    if abs(result) <= Fraction(float(info.max)):
        return float(result)
    if out_of_range != "clamp":
        return None
    return math.inf if result > 0 else -math.inf


def numbers(name: str) -> st.SearchStrategy[np.ndarray]:
    """Draw numbers of all sizes, those near whole ones and halves more often."""
    every = hnp.arrays(name, 6)
    near = hnp.arrays(np.int64, 6, elements=st.integers(-600, 600)).map(lambda a: a / 4)
    with np.errstate(all="ignore"):
        return every | near.map(lambda a: a.astype(name))


@settings(max_examples=120)
@given(st.sampled_from((*INTEGERS, *FLOATS)), st.data())
def test_to_integers(source: str, data: st.DataObject) -> None:
    """Every number becomes the whole number that the settings ask for, or an error."""
    target = data.draw(st.sampled_from(INTEGERS))
    rounding = data.draw(st.sampled_from(ROUNDINGS))
    out_of_range = data.draw(st.sampled_from(("error", "clamp", "wrap")))
    with np.errstate(all="ignore"):
        values = data.draw(numbers(source))
    codec, spec = make(source, data_type=target, rounding=rounding, out_of_range=out_of_range)
    wanted = [expected_integer(v, target, rounding, out_of_range) for v in values.tolist()]
    if None in wanted:
        with pytest.raises(CodecError, match="cast_value cannot"):
            codec.encode(values, spec)
    else:
        encoded = codec.encode(values, spec)
        assert encoded.dtype == target
        assert encoded.tolist() == wanted


@settings(max_examples=120)
@given(st.sampled_from((*INTEGERS, *FLOATS)), st.data())
def test_to_floats(source: str, data: st.DataObject) -> None:
    """Every number becomes the float that the rounding asks for, or an error."""
    target = data.draw(st.sampled_from(FLOATS))
    rounding = data.draw(st.sampled_from(ROUNDINGS))
    out_of_range = data.draw(st.sampled_from(("error", "clamp")))
    with np.errstate(all="ignore"):
        values = data.draw(numbers(source))
    values = values[np.isfinite(values)]
    codec, spec = make(source, data_type=target, rounding=rounding, out_of_range=out_of_range)
    wanted = [expected_float(v, target, rounding, out_of_range) for v in values.tolist()]
    if None in wanted:
        with pytest.raises(CodecError, match="not told to clamp"):
            codec.encode(values, spec)
    else:
        encoded = codec.encode(values, spec)
        assert encoded.dtype == target
        assert encoded.tolist() == wanted
        if source[0] == "f":
            np.testing.assert_array_equal(np.signbit(encoded), np.signbit(values))


@pytest.mark.parametrize("target", SMALL)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_small_types(target: str, rounding: str) -> None:
    """Types of less than two bytes hold the neighbour on the side that is asked for."""
    codec, spec = make("float32", data_type=target, rounding=rounding, out_of_range="clamp")
    data_type = from_v3(target)
    n_bits = 16 if target == "bfloat16" else int("".join(filter(str.isdigit, target))[0])
    held = np.arange(2**n_bits).astype(f"u{data_type.dtype.itemsize}").view(data_type.dtype)
    if "int" in target:
        held = np.arange(-8, 16).astype(data_type.dtype)
    with np.errstate(all="ignore"):
        table = np.unique(held.astype("f8"))
    table = table[np.isfinite(table)]
    values = np.random.default_rng(0).uniform(table[0], table[-1], 300).astype("f4")
    found = codec.encode(values, spec).astype("f8")
    at = np.clip(np.searchsorted(table, values, side="right"), 1, len(table) - 1)
    below, above = table[at - 1], table[at]
    exact = values.astype("f8")
    towards = {
        "towards-positive": np.where(exact == below, below, above),
        "towards-negative": below,
        "towards-zero": np.where((exact > 0) | (exact == below), below, above),
    }
    if rounding in towards:
        np.testing.assert_array_equal(found, towards[rounding])
    else:
        assert (np.abs(found - exact) == np.minimum(exact - below, above - exact)).all()


def test_special_floats() -> None:
    """NaN and infinities go where a type has them, and are errors where it has not."""
    codec, spec = make("float64", data_type="float16")
    special = np.array([np.nan, np.inf, -np.inf, -0.0])
    encoded = codec.encode(special, spec)
    np.testing.assert_array_equal(encoded, special)
    assert np.signbit(encoded[3])
    for out_of_range in ("error", "clamp", "wrap"):
        codec, spec = make("float64", data_type="int8", out_of_range=out_of_range)
        for value in (np.nan, np.inf, -np.inf):
            with pytest.raises(CodecError, match="map it"):
                codec.encode(np.array([1.0, value]), spec)


def test_scalar_map() -> None:
    """Mapped values come first, by the pairs of the direction; the first pair of equals wins."""
    codec, spec = make(
        "float32",
        data_type="uint8",
        out_of_range="clamp",
        scalar_map={
            "encode": [["NaN", 255], ["Infinity", 254], [0.1, 7], [0.1, 8]],
            "decode": [[255, "NaN"], [254, "Infinity"]],
        },
    )
    values = np.array([np.nan, np.inf, 0.1, 3, 300], "f4")
    encoded = codec.encode(values, spec)
    assert encoded.tolist() == [255, 254, 7, 3, 255]
    np.testing.assert_array_equal(codec.decode(encoded, spec), [np.nan, np.inf, 7, 3, np.nan])
    assert np.isnan(values[0])


@pytest.mark.parametrize(
    ("data_type", "fill", "scalar_map", "fits"),
    [
        ("float32", "NaN", None, True),
        ("uint8", 255, None, True),
        ("uint8", "NaN", None, False),
        ("uint8", "NaN", {"encode": [["NaN", 0]]}, False),
        ("uint8", "NaN", {"encode": [["NaN", 0]], "decode": [[0, "NaN"]]}, True),
        ("uint8", 0.5, None, False),
        ("uint8", 256, None, False),
        ("float32", 0.1, None, False),
        ("float32", 0.5, None, True),
    ],
)
def test_fill_value_must_come_back(data_type: str, fill: Any, scalar_map: Any, fits: bool) -> None:
    """A fill value that would come back as another number is refused when the array is opened."""
    configuration = {"data_type": data_type}
    if scalar_map is not None:
        configuration["scalar_map"] = scalar_map
    spec = spec_of("float64", fill=fill)
    if fits:
        codec = CastValueCodec.from_configuration(configuration, spec)
        resolved = codec.resolve(spec)
        assert resolved.data_type.name == data_type
        again = codec.decode(np.array([resolved.fill_value]), spec)
        np.testing.assert_array_equal(again, [spec.fill_value])
    else:
        with pytest.raises(CodecError, match="cast_value"):
            CastValueCodec.from_configuration(configuration, spec)


def test_out_of_range_error_is_not_written() -> None:
    """The word for the default is understood, and left out when the document is written."""
    codec, _ = make("float32", data_type="int8", out_of_range="error", rounding="nearest-even")
    assert codec.configuration() == {"data_type": "int8"}


def test_in_an_array() -> None:
    """An array casts its chunks, and the shards inside hold the cast fill value."""
    store = cs.MemoryStore()
    filters = [
        {"name": "scale_offset", "configuration": {"offset": 10, "scale": 4}},
        {"name": "cast_value", "configuration": {"data_type": "int16", "out_of_range": "clamp"}},
    ]
    made = cs.create_array(
        store, shape=(8,), chunks=(2,), shards=(4,), dtype="f8", filters=filters, fill_value=10.5,
        compressors=None,
    )  # fmt: skip
    made[1:3] = [11, 1e9]
    opened = cs.open_array(store)
    assert opened[:5].tolist() == [10.5, 11, 10 + 32767 / 4, 10.5, 10.5]
    document = store.get("zarr.json") or b""
    store.set("zarr.json", document.replace(b'"int16"', b'"uint99"'))
    with pytest.raises(MetadataError, match=r"data_type: .*uint99"):
        cs.open_array(store)

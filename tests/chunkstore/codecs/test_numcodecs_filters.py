"""Delta, astype, fixedscaleoffset and quantize store what numcodecs stores, or refuse to."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chunkstore.codecs import table
from chunkstore.codecs.base import ChunkSpec, TypedFilter
from chunkstore.dtypes import from_numpy
from chunkstore.errors import CodecError
from chunkstore.metadata.model import CodecSpec

INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
FLOATS = ("f2", "f4", "f8")
NUMBERS = (*INTEGERS, *FLOATS)


def make(codec_id: str, given_dtype: str, /, **configuration: Any) -> tuple[TypedFilter, Any]:
    """Make a filter for elements of a type, and numcodecs' own."""
    spec = ChunkSpec((3,), from_numpy(given_dtype), np.zeros((), given_dtype)[()])
    made = table.make(CodecSpec(f"numcodecs.{codec_id}", configuration), spec)
    assert isinstance(made, TypedFilter)
    return made, numcodecs.get_codec({"id": codec_id, **configuration})


def arrays(dtype: str, **arguments: Any) -> st.SearchStrategy[np.ndarray]:
    """Draw one-dimensional arrays of a type."""
    return hnp.arrays(dtype, st.integers(1, 20), **arguments)


def compare(values: np.ndarray, ours: TypedFilter, theirs: Any) -> np.ndarray | None:
    """Encode and decode with both; None where ours refuses, else what comes back from both."""
    with np.errstate(all="ignore"):
        try:
            encoded = ours.encode_values(values)
        except CodecError:
            return None
        expected = theirs.encode(values)
        assert encoded.dtype == expected.dtype
        np.testing.assert_array_equal(encoded, expected)
        decoded = ours.decode_values(encoded)
        np.testing.assert_array_equal(decoded, theirs.decode(expected))
    assert decoded.dtype == values.dtype
    return decoded


@settings(max_examples=100)
@given(st.sampled_from(INTEGERS), st.data())
def test_delta_never_loses_a_bit(dtype: str, data: st.DataObject) -> None:
    """Whole numbers come back exactly as they were or are refused, whatever type stores them."""
    astype = data.draw(st.sampled_from(NUMBERS))
    values = data.draw(arrays(dtype))
    ours, theirs = make("delta", dtype, dtype=dtype, astype=astype)
    differences = np.diff(values.astype(object), prepend=0)
    try:
        encoded = ours.encode_values(values)
    except CodecError:
        # Refused for a reason: some difference, in the type of the elements, is none of astype.
        wrapped = np.array([int(d) for d in differences], object)
        with np.errstate(all="ignore"):
            exact = np.array([np.uint64(int(d) % 2**64) for d in wrapped]).astype(dtype)
            assert not np.array_equal(exact.astype(astype).astype(dtype), exact)
        return
    with np.errstate(all="ignore"), suppress(OverflowError):
        # numpy lets numcodecs not store a first element that wraps.
        np.testing.assert_array_equal(encoded, theirs.encode(values))
    assert encoded.dtype == astype
    if astype[0] != "f":
        np.testing.assert_array_equal(ours.decode_values(encoded), values)


@settings(max_examples=50)
@given(st.sampled_from(FLOATS), st.data())
def test_delta_of_floats(dtype: str, data: st.DataObject) -> None:
    """Floats are stored as numcodecs stores them, and never as infinite if they were not."""
    astype = data.draw(st.sampled_from(FLOATS))
    ours, theirs = make("delta", dtype, dtype=dtype, astype=astype)
    compare(data.draw(arrays(dtype)), ours, theirs)


@settings(max_examples=100)
@given(st.sampled_from(("?", *NUMBERS)), st.data())
def test_astype_keeps_values_or_refuses(decode_dtype: str, data: st.DataObject) -> None:
    """What comes back is the value, rounded or without its fraction; anything else is refused."""
    encode_dtype = data.draw(st.sampled_from(("?", *NUMBERS)))
    values = data.draw(arrays(decode_dtype))
    ours, theirs = make(
        "astype", decode_dtype, decode_dtype=decode_dtype, encode_dtype=encode_dtype
    )
    try:
        decoded = compare(values, ours, theirs)
    except CodecError:
        # Rounding up to a float may give a number that the integers end below.
        assert encode_dtype[0] == "f"
        assert decode_dtype[0] in "iu"
        return
    if decoded is None:
        return
    exact = [v.item() for v in values]
    back = [v.item() for v in decoded]
    precision = {"f2": 2.0**-10, "f4": 2.0**-23, "f8": 2.0**-52}.get(encode_dtype, 0)
    for value, found in zip(exact, back, strict=True):
        if value != value or value in (np.inf, -np.inf):
            assert found != found or found == value
        elif encode_dtype[0] in "iu" and decode_dtype[0] == "f":
            assert found == np.trunc(value)
        else:
            assert abs(found - value) <= abs(value) * precision + 2.0**-24


@pytest.mark.parametrize("value", [300, -1, 2**40, np.nan, np.inf, 256.0, -0.0 - 1])
def test_astype_does_not_wrap(value: float) -> None:
    """Numbers that a byte cannot hold are refused, where numcodecs stores others."""
    ours, _ = make("astype", "f8", decode_dtype="f8", encode_dtype="u1")
    with pytest.raises(CodecError, match="do not fit"):
        ours.encode_values(np.array([1, value]))


def test_astype_of_text() -> None:
    """Text that fits is converted, and text that does not is refused rather than cut."""
    ours, theirs = make("astype", "U3", decode_dtype="<U3", encode_dtype="S3")
    assert compare(np.array(["abc", "d"], "U3"), ours, theirs) is not None
    with pytest.raises(CodecError, match="cannot convert"):
        ours.encode_values(np.array(["é"], "U3"))
    short, _ = make("astype", "S3", decode_dtype="S3", encode_dtype="S2")
    with pytest.raises(CodecError, match="do not fit"):
        short.encode_values(np.array([b"abc"]))


@settings(max_examples=100)
@given(st.sampled_from(NUMBERS), st.data())
def test_fixedscaleoffset(dtype: str, data: st.DataObject) -> None:
    """Values come back to within half a step, or are refused."""
    astype = data.draw(st.sampled_from(NUMBERS))
    offset = data.draw(st.sampled_from((0, 3, -2.5, 1000)))
    scale = data.draw(st.sampled_from((1, 2, 10, 0.5, -4)))
    values = data.draw(arrays(dtype))
    ours, theirs = make(
        "fixedscaleoffset", dtype, dtype=dtype, astype=astype, offset=offset, scale=scale
    )
    try:
        decoded = compare(values, ours, theirs)
    except OverflowError:
        # numcodecs lets numpy refuse to multiply small integers with large ones.
        return
    if decoded is None or dtype[0] == "f" or astype[0] == "f" or dtype[1] == "8":
        return
    step = abs(1 / scale)
    # Back in an integer type the fraction is cut off.
    assert all(abs(int(a) - int(b)) <= step / 2 + 1 for a, b in zip(values, decoded, strict=True))


@pytest.mark.parametrize("value", [np.nan, np.inf, 12.8, -0.06, 1e300])
def test_fixedscaleoffset_does_not_wrap(value: float) -> None:
    """A result that the stored type cannot hold is refused, where numcodecs stores another."""
    ours, _ = make("fixedscaleoffset", "f8", dtype="f8", astype="i1", offset=0, scale=10)
    fits = value == -0.06
    if fits:
        assert ours.encode_values(np.array([value])).tolist() == [-1]
    else:
        with pytest.raises(CodecError, match="do not fit"):
            ours.encode_values(np.array([1.0, value]))


def test_fixedscaleoffset_of_small_integers() -> None:
    """Integers that wrap around on the way are refused: 3 - 5 is no byte."""
    ours, _ = make("fixedscaleoffset", "u1", dtype="u1", astype="u1", offset=5, scale=1)
    assert ours.encode_values(np.array([5, 200], "u1")).tolist() == [0, 195]
    with pytest.raises(CodecError, match="do not fit"):
        ours.encode_values(np.array([3], "u1"))


@settings(max_examples=50)
@given(st.sampled_from(FLOATS), st.data())
def test_quantize(dtype: str, data: st.DataObject) -> None:
    """Floats come back to the digits asked for, the same as numcodecs', or are refused."""
    digits = data.draw(st.integers(-3, 6))
    astype = data.draw(st.sampled_from(FLOATS))
    values = data.draw(arrays(dtype, elements=st.floats(-1000, 1000, width=16)))
    ours, theirs = make("quantize", dtype, dtype=dtype, astype=astype, digits=digits)
    decoded = compare(values, ours, theirs)
    if decoded is not None and dtype == astype == "f8":
        assert np.abs(decoded - values).max() <= 10.0**-digits


def test_quantize_does_not_overflow() -> None:
    """A number that becomes infinite on the way is refused."""
    ours, _ = make("quantize", "f4", dtype="f4", digits=6)
    with pytest.raises(CodecError, match="too large"):
        ours.encode_values(np.array([3e38], "f4"))


@pytest.mark.parametrize(
    ("codec_id", "configuration", "dtype", "fill", "expected"),
    [
        ("delta", {"dtype": "<i4", "astype": "<i2"}, "i4", 7, np.int16(7)),
        ("delta", {"dtype": "<i4", "astype": "<i2"}, "i4", 70_000, np.int16(0)),
        ("astype", {"encode_dtype": "<f4"}, "f8", np.nan, np.float32(np.nan)),
        ("astype", {"encode_dtype": "<i4"}, "f8", np.nan, np.int32(0)),
        ("quantize", {"digits": 1}, "f8", 0.125, np.float64(0.125)),
        ("fixedscaleoffset", {"offset": 9, "scale": 2, "astype": "u1"}, "f8", 5.0, np.uint8(5)),
    ],
)
def test_fill_value_is_the_same_number(
    codec_id: str, configuration: Any, dtype: str, fill: Any, expected: Any
) -> None:
    """The fill value behind a filter is zarr-python's: the same number, zero where it cannot be."""
    spec = ChunkSpec((3,), from_numpy(dtype), np.dtype(dtype).type(fill))
    made = table.make(CodecSpec(f"numcodecs.{codec_id}", configuration), spec)
    assert isinstance(made, TypedFilter)
    resolved = made.resolve(spec)
    assert resolved.data_type == from_numpy(expected.dtype)
    assert resolved.fill_value.tobytes() == expected.tobytes()

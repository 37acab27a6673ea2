"""Fill values mean the same bits in a document and in memory, and nothing else is taken."""

from __future__ import annotations

import base64
import json
import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.dtypes import DataType, from_numpy, from_v2, from_v3, small
from chunkstore.errors import InvalidArgumentError

FLOATS = ("float16", "float32", "float64", *small.FLOATS)
COMPLEX = (
    "complex64",
    "complex128",
    "complex_float16",
    "complex_bfloat16",
    "complex_float8_e4m3fn",
    "complex_float4_e2m1fn",
)
INTEGERS = (
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *small.INTEGERS,
)
TIME = {"name": "numpy.datetime64", "configuration": {"unit": "ns", "scale_factor": 1}}
DURATION = {"name": "numpy.timedelta64", "configuration": {"unit": "D", "scale_factor": 7}}
TEXT3 = {"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}}
STRUCT = {
    "name": "struct",
    "configuration": {
        "fields": [
            {"name": "a", "data_type": "float32"},
            {"name": "t", "data_type": TIME},
            {
                "name": "n",
                "data_type": {
                    "name": "struct",
                    "configuration": {"fields": [{"name": "s", "data_type": TEXT3}]},
                },
            },
        ]
    },
}
LEGACY = {"name": "structured", "configuration": {"fields": [["a", "int16"], ["b", "uint8"]]}}
S4 = {"name": "null_terminated_bytes", "configuration": {"length_bytes": 4}}
V2 = {"name": "raw_bytes", "configuration": {"length_bytes": 2}}


def bits_of(data_type: DataType, value: Any) -> bytes:
    """Give the memory of one element."""
    return np.asarray(value, data_type.dtype).tobytes()


def element(data_type: DataType, bits: int) -> Any:
    """Give the element whose memory is an unsigned integer."""
    raw = bits.to_bytes(data_type.dtype.itemsize, "little")
    return np.frombuffer(raw, data_type.dtype)[0]


def through_json(value: Any) -> Any:
    """Send a value through strict JSON, as documents are."""
    return json.loads(json.dumps(value, allow_nan=False))


@lru_cache
def finite_values(name: str) -> list[tuple[float, int]]:
    """List the finite values of a float type with their bits, from the least to the greatest."""
    data_type = from_v3(name)
    patterns = np.arange(1 << data_type.n_bits, dtype=f"u{data_type.dtype.itemsize}")
    with np.errstate(all="ignore"):
        values = patterns.view(data_type.dtype).astype(np.float64)
    return [(float(values[i]), int(i)) for i in np.argsort(values) if np.isfinite(values[i])]


# -- bits there and back ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLOATS)
@given(data=st.data())
def test_float_bits(name: str, data: st.DataObject) -> None:
    """Every bit pattern of a float, each NaN among them, comes back from its JSON."""
    data_type = from_v3(name)
    any_bits = st.integers(0, (1 << data_type.n_bits) - 1)
    # Else a NaN would hardly ever come.
    form = data_type.format  # type: ignore[attr-defined]
    near_nan = any_bits.map(lambda bits: bits | (form.infinity or form.nan or 0))
    value = element(data_type, data.draw(any_bits | near_nan))
    again = data_type.fill_from_json(through_json(data_type.fill_to_json(value)))
    assert bits_of(data_type, again) == bits_of(data_type, value)
    assert bits_of(data_type, data_type.scalar(value)) == bits_of(data_type, value)


@pytest.mark.parametrize("name", [name for name in FLOATS if name != "bfloat16" and "16" not in name
                                  and "32" not in name and "64" not in name])  # fmt: skip
def test_all_bits_of_small_floats(name: str) -> None:
    """The same for every one of the few patterns that a small float has."""
    data_type = from_v3(name)
    for bits in range(1 << data_type.n_bits):
        value = element(data_type, bits)
        assert bits_of(data_type, data_type.fill_from_json(data_type.fill_to_json(value))) == (
            bytes([bits])
        )


@pytest.mark.parametrize("name", COMPLEX)
@given(data=st.data())
def test_complex_bits(name: str, data: st.DataObject) -> None:
    """Both parts of a complex number keep their bits."""
    data_type = from_v3(name)
    raw = data.draw(st.binary(min_size=data_type.dtype.itemsize, max_size=data_type.dtype.itemsize))
    value = data_type.from_stored(np.frombuffer(raw, np.uint8), (1,), "<")[0]
    again = data_type.fill_from_json(through_json(data_type.fill_to_json(value)))
    assert bits_of(data_type, again) == bits_of(data_type, value)


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_limits(name: str) -> None:
    """The least and the greatest integer come back, and their neighbours are refused."""
    data_type = from_v3(name)
    least, most = data_type.limits  # type: ignore[attr-defined]
    for value in (least, most, 0, 1):
        scalar = data_type.fill_from_json(value)
        assert scalar.dtype == data_type.dtype
        assert (int(scalar), data_type.fill_to_json(scalar)) == (value, value)
        assert int(data_type.scalar(value)) == value
    for value in (least - 1, most + 1, 2**80, -(2**80)):
        for read in (data_type.fill_from_json, data_type.scalar):
            with pytest.raises(InvalidArgumentError):
                read(value)


@pytest.mark.parametrize("document", [TIME, DURATION], ids=["moment", "duration"])
@given(count=st.integers(-(2**63), 2**63 - 1))
def test_time_bits(document: Any, count: int) -> None:
    """Every count of a time comes back; the least is not a time, and is called so."""
    data_type = from_v3(document)
    scalar = data_type.fill_from_json(count)
    assert scalar.dtype == data_type.dtype
    assert int(scalar.view("i8")) == count
    assert data_type.fill_to_json(scalar) == ("NaT" if count == -(2**63) else count)
    assert data_type.fill_from_json(data_type.fill_to_json(scalar)).view("i8") == count
    assert data_type.fill_to_v2(scalar, "<") == count


@given(text=st.text(max_size=3))
def test_fixed_text(text: str) -> None:
    """Text that fits comes back; zeros at its end are padding."""
    data_type = from_v3(TEXT3)
    scalar = data_type.fill_from_json(text)
    assert scalar == text.rstrip("\0")
    assert data_type.fill_from_json(through_json(data_type.fill_to_json(scalar))) == scalar
    with pytest.raises(InvalidArgumentError):
        data_type.fill_from_json(text + "abcd")


@given(text=st.text())
def test_text(text: str) -> None:
    """Text of any length comes back as it is, zeros at its end included."""
    data_type = from_v3("string")
    assert data_type.fill_from_json(through_json(data_type.fill_to_json(text))) == text


@given(value=st.binary(max_size=20))
def test_bytes(value: bytes) -> None:
    """Byte strings come back from base64, and from lists of integers."""
    data_type = from_v3("bytes")
    assert data_type.fill_to_json(value) == base64.b64encode(value).decode()
    assert data_type.fill_from_json(data_type.fill_to_json(value)) == value
    assert data_type.fill_from_json(list(value)) == value


@given(value=st.binary(min_size=2, max_size=2))
def test_raw(value: bytes) -> None:
    """Raw bits are written as a list of their bytes, zarr-python's raw bytes as base64."""
    bits, raw = from_v3("r16"), from_v3(V2)
    assert bits.fill_to_json(bits.scalar(value)) == list(value)
    assert raw.fill_to_json(raw.scalar(value)) == base64.b64encode(value).decode()
    for data_type in (bits, raw):
        for spelling in (list(value), base64.b64encode(value).decode()):
            assert data_type.fill_from_json(spelling).tobytes() == value
        assert data_type.fill_to_v2(data_type.scalar(value), "<") == (
            base64.b64encode(value).decode()
        )


@given(value=st.binary(max_size=4))
def test_null_terminated(value: bytes) -> None:
    """Byte strings that end at their last byte come back without zeros at their end."""
    data_type = from_v3(S4)
    scalar = data_type.fill_from_json(base64.b64encode(value).decode())
    assert bytes(scalar) == value.rstrip(b"\0")
    assert data_type.fill_from_json(data_type.fill_to_json(scalar)) == scalar


def test_struct() -> None:
    """A record is an object with a value for every field, however deep."""
    data_type = from_v3(STRUCT)
    document = {"a": "0x7fc00001", "t": "NaT", "n": {"s": "é"}}
    scalar = data_type.fill_from_json(document)
    assert through_json(data_type.fill_to_json(scalar)) == document
    assert scalar.dtype == data_type.dtype
    assert scalar["a"].view("u4") == 0x7FC00001
    assert np.isnat(scalar["t"])


def test_legacy_struct() -> None:
    """A legacy record is written as packed little-endian bytes, and read either way."""
    data_type = from_v3(LEGACY)
    packed = base64.b64encode(b"\x02\x01\x03").decode()
    scalar = data_type.fill_from_json(packed)
    assert scalar.tolist() == (258, 3)
    assert data_type.fill_to_json(scalar) == packed
    assert data_type.fill_from_json({"a": 258, "b": 3}) == scalar


# -- what each spelling means ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "json_value", "raw"),
    [
        ("bool", True, b"\x01"),
        ("float32", "NaN", b"\x00\x00\xc0\x7f"),
        ("float32", "0x7fc00000", b"\x00\x00\xc0\x7f"),
        ("float32", "0x7F800001", b"\x01\x00\x80\x7f"),
        ("float32", "-Infinity", b"\x00\x00\x80\xff"),
        ("float32", -0.0, b"\x00\x00\x00\x80"),
        ("float32", 1, b"\x00\x00\x80\x3f"),
        ("float64", 2**53 + 1, b"\x00\x00\x00\x00\x00\x00\x40\x43"),
        ("float16", 65519, b"\xff\x7b"),
        ("bfloat16", "NaN", b"\xc0\x7f"),
        ("bfloat16", 1.5, b"\xc0\x3f"),
        ("float8_e4m3", "NaN", b"\x7c"),
        ("float8_e3m4", "Infinity", b"\x70"),
        ("float8_e5m2", "0xff", b"\xff"),
        ("float8_e8m0fnu", "NaN", b"\xff"),
        ("float8_e8m0fnu", 1.0, b"\x7f"),
        ("float6_e2m3fn", -7.5, b"\x3f"),
        ("float4_e2m1fn", "0x0f", b"\x0f"),
        ("int4", -1, b"\x0f"),
        ("uint2", 3, b"\x03"),
        ("complex64", [1, "NaN"], b"\x00\x00\x80\x3f\x00\x00\xc0\x7f"),
        ("complex_float16", [1, -2], b"\x00\x3c\x00\xc0"),
        ("r24", [1, 2, 255], b"\x01\x02\xff"),
    ],
)
def test_meaning(document: Any, json_value: Any, raw: bytes) -> None:
    """A spelling of the specification stands for the bits that the specification gives it."""
    data_type = from_v3(document)
    assert bits_of(data_type, data_type.fill_from_json(json_value)) == raw


@pytest.mark.parametrize("name", [*small.FLOATS, "float16"])
@given(data=st.data())
def test_numbers_are_rounded_once(name: str, data: st.DataObject) -> None:
    """A number becomes the nearest value of the type, the even one of two as near."""
    data_type = from_v3(name)
    finite = finite_values(name)
    at = data.draw(st.integers(1, len(finite) - 1))
    (low, low_bits), (high, _) = finite[at - 1 : at + 1]
    middle = (low + high) / 2
    for number in (middle, math.nextafter(middle, -math.inf), math.nextafter(middle, math.inf)):
        below, above = Fraction(number) - Fraction(low), Fraction(high) - Fraction(number)
        want = low if below < above or (below == above and low_bits % 2 == 0) else high
        assert float(data_type.fill_from_json(number)) == want


@pytest.mark.parametrize(
    ("document", "json_value"),
    [
        ("bool", 0), ("bool", 1), ("bool", "true"), ("bool", None), ("bool", 0.0),
        ("int8", 1.0), ("int8", True), ("int8", "1"), ("int8", None), ("int8", [1]), ("int8", 128),
        ("uint8", -1), ("uint64", 2**64), ("int64", -(2**63) - 1), ("int4", 8), ("uint2", 4),
        ("float32", math.nan), ("float32", math.inf), ("float32", -math.inf), ("float32", True),
        ("float32", "nan"), ("float32", "inf"), ("float32", "+Infinity"), ("float32", "1.5"),
        ("float32", ""), ("float32", "0x7fc0"), ("float32", "0x07fc00000"), ("float32", "0x"),
        ("float32", "7fc00000"), ("float32", "0x7fc0000g"), ("float32", "0x-fc00000"),
        ("float32", None), ("float32", [1.0]), ("float32", {}), ("float32", 1e39),
        ("float32", 10**400), ("float64", -(10**400)), ("float16", 65520), ("bfloat16", 3.4e38),
        ("float8_e4m3fn", "Infinity"), ("float8_e4m3fn", 465), ("float8_e5m2fnuz", "-Infinity"),
        ("float8_e8m0fnu", "Infinity"), ("float8_e8m0fnu", 0), ("float8_e8m0fnu", -1.0),
        ("float6_e2m3fn", "NaN"), ("float6_e2m3fn", 7.6), ("float6_e2m3fn", "0x40"),
        ("float4_e2m1fn", "NaN"), ("float4_e2m1fn", "Infinity"), ("float4_e2m1fn", -100),
        ("float4_e2m1fn", "0x10"), ("float4_e2m1fn", "0xf"),
        ("complex64", 1.0), ("complex64", [1.0]), ("complex64", [1, 2, 3]), ("complex64", "NaN"),
        ("complex64", [1, "nan"]), ("complex64", [math.nan, 0]), ("complex64", {"real": 1}),
        ("complex_float4_e2m1fn", ["NaN", 0]), ("complex_float16", [65520, 0]),
        ("string", 0), ("string", None), ("string", ["a"]), ("string", "\ud800"),
        ("bytes", None), ("bytes", 0), ("bytes", "a"), ("bytes", "YQ"), ("bytes", "Y Q=="),
        ("bytes", "YQ==\n"), ("bytes", [256]), ("bytes", [-1]), ("bytes", [1.0]), ("bytes", [True]),
        ("bytes", {"a": 1}), ("bytes", "-_8="),
        ("r16", []), ("r16", [1]), ("r16", [1, 2, 3]), ("r16", [0] * 16), ("r16", "AA=="),
        ("r16", 0), (V2, "AAAA"), (V2, 0), (V2, [1]), (S4, "YWJjZGU="), (S4, 0), (S4, "abc"),
        (S4, None),
        (TEXT3, 0), (TEXT3, None), (TEXT3, "abcd"), (TEXT3, ["a"]),
        (TIME, 1.0), (TIME, True), (TIME, "nat"), (TIME, "2020-01-01"), (TIME, None), (TIME, 2**63),
        (TIME, -(2**63) - 1), (DURATION, "1"),
        (STRUCT, {"a": 1, "t": 0}), (STRUCT, {"a": 1, "t": 0, "n": {}}), (STRUCT, {}),
        (STRUCT, None), (STRUCT, {"a": 1, "t": 0, "n": {"s": ""}, "b": 1}), (STRUCT, [1, 0, [""]]),
        (STRUCT, 0),
        (STRUCT, "AAAA"), (STRUCT, {"a": True, "t": 0, "n": {"s": ""}}),
        (STRUCT, {"a": 1, "t": 0, "n": {"s": "abcd"}}),
        (LEGACY, "AAA="), (LEGACY, "nonsense"), (LEGACY, {"a": 1}), (LEGACY, 0),
    ],
    ids=str,
)  # fmt: skip
def test_v3_refuses(document: Any, json_value: Any) -> None:
    """What the specification does not allow for a type is refused, and no other error gets out."""
    with pytest.raises(InvalidArgumentError):
        from_v3(document).fill_from_json(json_value)


def test_refusal_names_the_field() -> None:
    """The error for one field of a record says which it is, and what was expected."""
    with pytest.raises(InvalidArgumentError, match=r"field 'n': field 's': .*at most 3 characters"):
        from_v3(STRUCT).fill_from_json({"a": 1, "t": 0, "n": {"s": "abcd"}})


@pytest.mark.parametrize(
    ("typestr", "json_value", "want"),
    [
        ("|b1", 0, False), ("|b1", 1, True), ("<i4", 1.0, 1), ("<i4", True, 1), ("<u1", -0.0, 0),
        ("<f8", "1.5", 1.5), ("<f8", "-inf", -math.inf), ("<f4", math.inf, math.inf),
        ("<c8", 2, 2 + 0j), ("<c16", "Infinity", complex(math.inf, 0)),
        ("<U3", 0, ""), ("|S3", 0, b""), ("|S3", "YWI=", b"ab"), ("|S3", "YWIA", b"ab"),
        ("|S1", "\0", b""), ("|S1", "x", b"x"), ("|S3", "", b""),
        ("<M8[s]", 0, np.datetime64(0, "s")), ("<M8[D]", "2020-01-01", np.datetime64("2020-01-01")),
        ("<m8[D]", 3, np.timedelta64(3, "D")),
    ],
)  # fmt: skip
def test_v2_is_lenient(typestr: str, json_value: Any, want: Any) -> None:
    """Spellings of old writers with one meaning are taken."""
    data_type, order = from_v2(typestr)
    found = data_type.fill_from_v2(json_value, order or "<")
    assert found == want
    assert np.asarray(found).dtype.kind == data_type.dtype.kind


def test_v2_takes_a_bare_nan() -> None:
    """The bare words that Python writes for NaN and infinity are read as the plain ones."""
    data_type, _ = from_v2("<f4")
    assert data_type.fill_from_v2(math.nan, "<").view("u4") == 0x7FC00000
    assert data_type.fill_from_v2(-math.inf, "<") == -math.inf


@pytest.mark.parametrize(
    ("typestr", "json_value"),
    [
        ("<i4", 1.5), ("<i4", "1"), ("|u1", 256), ("|u1", -1.0), ("|b1", 2), ("|b1", "true"),
        ("<f8", "nonsense"), ("<f8", [1]), ("<f8", 10**400), ("|S3", "YWJjZA=="), ("|S3", 1),
        ("|V2", "AA=="), ("|V2", "nonsense"), ("|V2", 1), ("<U2", "abc"), ("<U2", 1),
        ("<M8[s]", 1.5), ("<M8[s]", "nonsense"), ("<M8[s]", "2020-01-01T00:00:00.5"),
    ],
)  # fmt: skip
def test_v2_refuses(typestr: str, json_value: Any) -> None:
    """What has no one meaning is refused in version 2 too."""
    data_type, order = from_v2(typestr)
    with pytest.raises(InvalidArgumentError):
        data_type.fill_from_v2(json_value, order or "<")


@pytest.mark.parametrize(
    ("document", "raw"),
    [
        ([["a", "<i2"], ["b", "|u1"]], b"\x02\x01\x03"),
        ([["a", ">i2"], ["b", "|u1"]], b"\x01\x02\x03"),
        ([["a", "<i2"], ["", "|V1"], ["b", "|u1"]], b"\x02\x01\x00\x03"),
    ],
)
def test_v2_struct_is_stored_bytes(document: Any, raw: bytes) -> None:
    """A record's fill value is base64 of its bytes as stored, order and padding included."""
    data_type, order = from_v2(document)
    packed = base64.b64encode(raw).decode()
    scalar = data_type.fill_from_v2(packed, order or "<")
    assert scalar.tolist() == (258, 3)
    assert data_type.fill_to_v2(scalar, order or "<") == packed
    assert data_type.fill_from_v2(0, order or "<").tolist() == (0, 0)
    with pytest.raises(InvalidArgumentError, match=f"base64 of {len(raw)} bytes"):
        data_type.fill_from_v2(packed[:-4], order or "<")


def test_v2_struct_with_an_array_in_each_record() -> None:
    """A field that is an array has all its elements in the fill value."""
    data_type, order = from_v2([["a", ">u2", [2]], ["b", "|S1"]])
    scalar = data_type.fill_from_v2(base64.b64encode(b"\x00\x01\x00\x02x").decode(), order or "<")
    assert scalar["a"].tolist() == [1, 2]
    assert scalar["b"] == b"x"


@pytest.mark.parametrize(
    ("codec", "configuration", "json_value", "want"),
    [
        ("vlen-utf8", {}, 0, ""),
        ("vlen-utf8", {}, "é", "é"),
        ("vlen-bytes", {}, 0, b""),
        ("vlen-bytes", {}, "YQA=", b"a\0"),
        ("json2", {}, {"a": 1}, {"a": 1}),
        ("json2", {}, "x", "x"),
        ("msgpack2", {}, 0, 0),
    ],
)
def test_v2_objects(codec: str, configuration: Any, json_value: Any, want: Any) -> None:
    """An array of objects has the fill value that its filter can hold."""
    data_type, _ = from_v2("|O", object_codec=codec, configuration=configuration)
    found = data_type.fill_from_v2(json_value, "<")
    assert (type(found), found) == (type(want), want)
    assert data_type.fill_from_v2(data_type.fill_to_v2(found, "<"), "<") == found


def test_v2_list_as_one_object() -> None:
    """A list is one fill value, which numpy cannot take for several."""
    data_type, _ = from_v2("|O", object_codec="json2")
    found = data_type.fill_from_v2([1, 2], "<")
    target = np.empty(3, object)
    target[...] = found
    assert target.tolist() == [[1, 2]] * 3
    assert data_type.fill_to_v2(found, "<") == [1, 2]


@pytest.mark.parametrize(("json_value", "want"), [(0, [0]), ([], []), ([1, 2], [1, 2])])
def test_v2_ragged(json_value: Any, want: list[int]) -> None:
    """A number is an array of one, as the filter itself takes it; no list is no element."""
    data_type, _ = from_v2("|O", object_codec="vlen-array", configuration={"dtype": "<i4"})
    found = data_type.fill_from_v2(json_value, "<")
    assert found.shape == ()
    assert (found[()].tolist(), found[()].dtype) == (want, np.dtype("i4"))
    assert data_type.fill_to_v2(found, "<") == want


# -- what a user gives -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "value", "want"),
    [
        ("?", 1, True),
        ("?", np.True_, True),
        ("i4", 3.0, 3),
        ("i4", np.uint8(3), 3),
        ("i4", True, 1),
        ("u1", np.int64(255), 255),
        ("f4", 3, 3.0),
        ("f4", np.float64(0.1), np.float32(0.1)),
        ("f8", np.float32(0.5), 0.5),
        ("f8", np.array(2.5), 2.5),
        ("c8", 1.5, 1.5 + 0j),
        ("bfloat16", 1.5, 1.5),
        ("int4", -8, -8),
        ("complex_float8_e4m3", 1 + 2j, (1, 2)),
        ("S3", b"ab", b"ab"),
        ("S3", "ab", b"ab"),
        ("U3", "é", "é"),
        ("V2", b"ab", np.void(b"ab")),
        ("V2", np.void(b"ab"), np.void(b"ab")),
        ("V2", 0, np.void(b"\0\0")),
        ("string", "é\0", "é\0"),
        ("bytes", bytearray(b"a"), b"a"),
        ("M8[s]", "2020-01-01", np.datetime64("2020-01-01", "s")),
        ("M8[s]", np.datetime64("2020-01-01", "D"), np.datetime64("2020-01-01", "s")),
        ("M8[s]", 0, np.datetime64(0, "s")),
        ("m8[s]", np.timedelta64(2, "m"), np.timedelta64(120, "s")),
        ([("a", "i4"), ("b", "f8")], (1, 2.5), (1, 2.5)),
        ([("a", "i4"), ("b", "f8")], {"b": 2.5, "a": 1}, (1, 2.5)),
        ([("a", "i4"), ("b", "f8")], 0, (0, 0.0)),
    ],
)
def test_scalar(dtype: Any, value: Any, want: Any) -> None:
    """What a user gives for a fill value becomes a scalar of the type."""
    data_type = from_numpy(dtype)
    found = data_type.scalar(value)
    assert found == want if not isinstance(want, tuple) else found.tolist() == want
    if data_type.is_fixed_size:
        assert np.asarray(found, data_type.dtype)[()] == found


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("?", 2), ("?", "true"), ("?", None), ("?", [True]), ("i1", 128), ("i1", 1.5), ("i1", "1"),
        ("i1", math.nan), ("i1", None), ("i1", 1j), ("u1", -1), ("i4", [1, 2]), ("f4", 1e39),
        ("f4", "1.5"), ("f4", 1j), ("f4", None), ("f2", 10**6), ("c8", "1"), ("c8", 1e39),
        ("float4_e2m1fn", math.nan), ("float4_e2m1fn", 7), ("float8_e4m3fn", math.inf),
        ("int4", 8), ("uint2", -1), ("S2", b"abc"), ("S2", "é"), ("S2", 1), ("U2", "abc"),
        ("U2", b"a"), ("V2", b"a"), ("V2", b"abc"), ("V2", 1), ("string", 1), ("string", None),
        ("string", b"a"), ("bytes", "a"), ("bytes", 1), ("M8[s]", "nonsense"), ("M8[s]", 1.5),
        ("M8[s]", True), ("M8[s]", np.timedelta64(1, "s")), ("M8[D]", "2020-01-01T12"),
        ([("a", "i4"), ("b", "f8")], (1,)), ([("a", "i4"), ("b", "f8")], (1.5, 0)),
        ([("a", "i4"), ("b", "f8")], {"a": 1}), ([("a", "i4"), ("b", "f8")], {"a": 1, "c": 2}),
        ([("a", "i4"), ("b", "f8")], np.array((1, 2.0), [("b", "i4"), ("a", "f8")])),
        (object, np.arange(2)), ("array:i4", [1.5]), ("array:i4", [[1]]), ("array:i4", "a"),
    ],
    ids=str,
)  # fmt: skip
def test_scalar_refuses(dtype: Any, value: Any) -> None:
    """A fill value that would be cut, wrapped or reinterpreted is refused."""
    with pytest.raises(InvalidArgumentError):
        from_numpy(dtype).scalar(value)


@pytest.mark.parametrize("name", ["float32", "complex64", "float8_e4m3"])
def test_v2_has_one_nan(name: str) -> None:
    """For version 2, which has one word for NaN and no bits, every NaN is the plain one."""
    data_type = from_v3(name)
    odd = data_type.fill_from_json(
        ["0x7fc00001", -0.0] if name == "complex64" else {4: "0xffc00001", 1: "0x7d"}[
            data_type.dtype.itemsize
        ]
    )  # fmt: skip
    plain = data_type.fill_for_v2(odd)
    assert data_type.fill_to_json(plain) == (["NaN", -0.0] if name == "complex64" else "NaN")
    one = data_type.scalar(1)
    assert data_type.fill_for_v2(one) == one


@pytest.mark.parametrize(
    "document",
    [*INTEGERS, *COMPLEX, "bool", "string", "bytes", "r16", TIME, TEXT3, STRUCT, LEGACY, S4],
    ids=str,
)
def test_default_fill(document: Any) -> None:
    """The fill value that nobody chose is zero, empty or no time, and comes back from its JSON."""
    data_type = from_v3(document)
    fill = data_type.default_fill()
    again = data_type.fill_from_json(through_json(data_type.fill_to_json(fill)))
    assert bits_of(data_type, again) == bits_of(data_type, fill)
    if document in (TIME, STRUCT):
        assert np.isnat(fill if document is TIME else fill["t"])
    elif data_type.is_fixed_size:
        assert not any(bits_of(data_type, fill))


def test_a_type_without_zero_has_no_default() -> None:
    """Where there is no zero, a fill value must be given."""
    with pytest.raises(InvalidArgumentError, match="give a fill_value"):
        from_v3("float8_e8m0fnu").default_fill()

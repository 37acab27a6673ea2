"""Values of every type go into an array and come out of it; what would change is refused."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.codecs.base import ChunkSpec
from chunkstore.codecs.bytes import BytesCodec
from chunkstore.dtypes import from_numpy, from_v2, from_v3, small
from chunkstore.empty import is_all_fill
from chunkstore.errors import CodecError, InvalidArgumentError
from tests.contracts.codecs import same_bits

RECORD = [("a", "i4"), ("b", "f8")]
NESTED = [("a", "u1"), ("n", [("t", "M8[s]"), ("s", "U2")])]


def objects(*values: Any) -> np.ndarray:
    """Give an array of just these objects."""
    made = np.empty(len(values), object)
    for i, value in enumerate(values):
        made[i] = value
    return made


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays hold the same bits, or the same objects."""
    if a.dtype.kind in "OT":
        return a.dtype == b.dtype and a.tolist() == b.tolist()
    return same_bits(a, b)


# -- casts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("?", [True, False]),
        ("i1", [-128, 127]),
        ("u1", np.array([0, 255])),
        ("i4", np.array([1, 2], ">i8")),
        ("i8", np.array([1, 2], "u1")),
        ("u8", [2**64 - 1]),
        ("u8", [2**64 - 1, 0, 1]),
        ("i4", []),
        ("i4", True),
        ("i4", np.array([1, -8], ml_dtypes.int4)),
        ("f4", [1, 2]),
        ("f4", np.array([0.1, np.nan, np.inf])),
        ("f4", np.array([1.5, 2], ml_dtypes.bfloat16)),
        ("f4", 2**70),
        ("f4", [2**70, 1]),
        ("f2", [65519.9, -1e-30]),
        ("c8", [1, 2.5, 3j]),
        ("bfloat16", [0.1, -np.inf, np.nan, 3e38]),
        ("float8_e4m3", [240, 0.1]),
        ("float8_e4m3", np.array([1.5], ml_dtypes.float8_e5m2)),
        ("int4", [-8, 7]),
        ("int4", np.array([3], ml_dtypes.uint4)),
        ("complex_float16", [1 + 2j, 65504]),
        ("complex64", np.array([1 + 2j]).astype(ml_dtypes.complex32)),
        ("complex_float8_e4m3", [1 + 2j, 3]),
        ("S3", [b"a", b"abc", ""]),
        ("S3", np.array(["ab"])),
        ("S3", np.array([b"abc"], "S9")),
        ("S3", [b"abc", "xy"]),
        ("U3", ["é", "abc"]),
        ("U3", np.array(["abc"], "U9")),
        ("U3", np.array(["abc"], np.dtypes.StringDType())),
        ("U3", objects("a", "bc")),
        ("V2", [b"ab", b"\0\0"]),
        ("V2", np.array([b"ab"], "V2")),
        ("V2", np.array([b"a\0"], "S2")),
        ("string", ["a", "é" * 100, "x\0"]),
        ("string", np.array(["a", "bc"])),
        ("string", np.array(["a"], np.dtypes.StringDType(na_object=None))),
        ("string", []),
        ("bytes", [b"a", b"x\0", bytearray(b"y"), memoryview(b"z")]),
        ("bytes", np.array([b"a"])),
        ("bytes", np.array([b"a\0"], "V2")),
        ("M8[s]", ["2020-01-01", "NaT"]),
        ("M8[s]", [dt.datetime(2020, 1, 1), dt.datetime(1969, 1, 1)]),
        ("M8[s]", np.array(["2020-01-01"], "M8[ns]")),
        ("M8[s]", np.array(["2020-01", "NaT"], ">M8[M]")),
        ("M8[s]", 5),
        ("M8[s]", objects("2020-01-01", dt.date(2020, 1, 1), np.datetime64(1, "h"), np.int8(3))),
        ("M8[s]", []),
        ("m8[s]", [dt.timedelta(minutes=1)]),
        ("m8[ms]", np.array([1, 2], "m8[m]")),
        (RECORD, [(1, 2), (3, 4.5)]),
        (RECORD, (1, 2.5)),
        (RECORD, 0),
        (RECORD, np.array([(1, 2)], [("a", "i8"), ("b", "i1")])),
        (RECORD, np.zeros(2, np.dtype(RECORD, align=True))),
        (RECORD, np.zeros(2, [("a", ">i4"), ("b", "<f8")])),
        (NESTED, [(1, ("2020-01-01", "ab")), (2, ("NaT", ""))]),
        ([("a", "i4", (2,))], [([1, 2],), ([3, 4],)]),
        (object, [{"a": 1}, None]),
        (object, {"a": 1}),
        ("array:i4", objects(np.array([1, 2]), [3], None, 4)),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),
)
def test_cast(dtype: Any, value: Any) -> None:
    """What loses nothing but precision is taken, with the shape that numpy gives it."""
    data_type = from_numpy(dtype)
    values = data_type.cast(value).astype(data_type.dtype)
    if dtype in ("string", "bytes", object) or str(dtype).startswith("array"):
        assert values.shape == np.asarray(value, object).shape
        return
    if values.dtype.kind in "mM" and np.asarray(value).dtype.kind == "O":
        want = [np.array(item, data_type.dtype).view("i8") for item in np.asarray(value, object)]
        assert values.view("i8").tolist() == want
        return
    if data_type.name.startswith("complex_float8"):
        assert values["real"].astype(float).tolist() == np.real(value).tolist()
        assert values["imag"].astype(float).tolist() == np.imag(value).tolist()
        return
    with np.errstate(all="ignore"):
        plain = np.asarray(value, None if hasattr(value, "dtype") else data_type.dtype)
        if plain.dtype == np.dtype(ml_dtypes.uint4):
            plain = plain.astype("i1")
        want = plain.astype(data_type.dtype)
    assert values.shape == want.shape
    assert values.tobytes() == want.tobytes()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("?", 1),
        ("?", [0, 1]),
        ("i1", 128),
        ("i1", np.array([-129, 0])),
        ("i1", 1.0),
        ("i8", 2**63),
        ("i8", 2**70),
        ("i8", [2**64 - 1, -1]),
        ("u8", [2**64 - 1, -1]),
        ("u8", [2**64 - 1, 1.0]),
        ("u1", -1),
        ("u8", np.array([-1])),
        ("i4", np.array([1.0])),
        ("i4", np.array([1.5], ml_dtypes.bfloat16)),
        ("i4", "1"),
        ("i4", [None]),
        ("i4", [1, [2]]),
        ("i4", np.array(["2020"], "M8[Y]")),
        ("int4", 8),
        ("uint2", [0, 4]),
        ("int4", np.array([15], ml_dtypes.uint4)),
        ("f4", 1e39),
        ("f4", np.array([np.inf, 1e39, np.nan])),
        ("f4", np.array([-1e39, -np.inf])),
        ("f4", 1j),
        ("f4", "1.5"),
        ("f4", [1.5, None]),
        ("f2", np.array([70000])),
        ("f2", np.array([1e38], ml_dtypes.bfloat16)),
        ("c8", 1e39),
        ("c8", [1e39j]),
        ("bfloat16", 3.4e38),
        ("float8_e4m3", np.array([57344], ml_dtypes.float8_e5m2)),
        ("float6_e2m3fn", 8),
        ("float4_e2m1fn", np.array([-7.0])),
        ("float8_e8m0fnu", [0.0, 1]),
        ("complex_float16", [1e6]),
        ("complex_float8_e4m3", [1000j]),
        ("complex_float8_e4m3", ["a"]),
        ("S2", b"abc"),
        ("S2", ["é"]),
        ("S2", np.array(["é"])),
        ("S3", [b"a\0"]),
        ("S2", np.array([b"abc"])),
        ("S2", [1]),
        ("U2", "abc"),
        ("U2", np.array(["abc"])),
        ("U2", np.array(["abc"], np.dtypes.StringDType())),
        ("U3", ["a\0"]),
        ("U2", [b"a"]),
        ("U2", [1]),
        ("U2", np.array([1])),
        ("V2", [b"a"]),
        ("V2", np.array([b"abc"])),
        ("V2", np.zeros(2, RECORD)),
        ("V2", [1]),
        ("string", [1]),
        ("string", ["a", None]),
        ("string", [b"a"]),
        ("string", np.array([b"a"])),
        ("string", np.array([1.5])),
        ("string", np.array(["a", None], np.dtypes.StringDType(na_object=None))),
        ("string", np.array(["a", np.nan], np.dtypes.StringDType(na_object=np.nan))),
        ("string", ["\ud800"]),
        ("bytes", "a"),
        ("bytes", [b"a", None]),
        ("bytes", [1]),
        ("bytes", np.arange(3, dtype="u1")),
        ("M8[s]", np.array(["2020-01-01T00:00:00.5"], "M8[ms]")),
        ("M8[ns]", np.array(["3000-01-01"], "M8[D]")),
        ("M8[Y]", np.array(["2020-02"], "M8[M]")),
        ("M8[s]", np.array([1, 2])),
        ("M8[s]", np.array([1], "m8[s]")),
        ("M8[s]", [True]),
        ("M8[s]", ["nonsense"]),
        ("M8[s]", [None]),
        ("M8[s]", objects(np.timedelta64(1, "s"))),
        ("M8[s]", objects(dt.timedelta(1))),
        ("M8[s]", [dt.datetime(2020, 1, 1, microsecond=5)]),
        ("m8[s]", objects(dt.date(2020, 1, 1))),
        ("m8[s]", objects("5")),
        ("m8[ns]", [dt.timedelta(days=200_000)]),
        ("m8[s]", np.array(["2020"], "M8[s]")),
        ("m8[D]", [dt.timedelta(hours=1)]),
        ("m8[s]", 1.5),
        (RECORD, (1,)),
        (RECORD, (1.5, 0)),
        (RECORD, (2**31, 0)),
        (RECORD, ("1", 0)),
        (RECORD, np.array([(1, 2)], [("b", "i4"), ("a", "i4")])),
        (RECORD, np.array([(1,)], [("a", "i4")])),
        (RECORD, np.array([(1.5, 2)], [("a", "f4"), ("b", "f4")])),
        (NESTED, [(1, ("2020-01-01", "abc"))]),
        (NESTED, [(1, ("2020-01-01T00:00:00.5", "a"))]),
        ([("a", "i1", (2,))], [([1, 200],)]),
        ("array:i4", objects([1.5])),
        ("array:i4", objects([[1, 2]])),
        ("array:u1", objects([1], [256])),
        ("array:i4", objects("a")),
    ],
    ids=str,
)
def test_cast_refuses(dtype: Any, value: Any) -> None:
    """What would be cut, wrap around, overflow or change its kind is refused."""
    data_type = from_numpy(dtype)
    with pytest.raises(InvalidArgumentError):
        data_type.cast(value)


def test_refusals_say_what_to_do() -> None:
    """The error names the values, the type and the range, and the field of a record."""
    with pytest.raises(
        InvalidArgumentError, match=r"values of int64 .* int8: they go from 1 to 128"
    ):
        from_numpy("i1").cast([1, 128])
    with pytest.raises(InvalidArgumentError, match=r"first, for example with .astype\('int32'\)"):
        from_numpy("i4").cast([1.5])
    with pytest.raises(InvalidArgumentError, match=r"field 'n': field 's': .* 3 characters .* 2"):
        from_numpy(NESTED).cast([(1, (0, "abc"))])


def test_pandas_times_are_exact() -> None:
    """Times of pandas keep their nanoseconds, which Python's interface to them does not show."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    stamp = pandas.Timestamp("2020-01-01T00:00:00.123456789")
    assert from_numpy("M8[ns]").cast([stamp]).tolist() == [stamp.value]
    assert from_numpy("m8[ns]").cast(pandas.Timedelta(7, "ns")).tolist() == 7
    with pytest.raises(InvalidArgumentError):
        from_numpy("M8[us]").cast([stamp])


def test_array_of_the_type_is_not_copied() -> None:
    """Values of the very dtype are taken as they are."""
    for dtype in ("i4", "S3", "U3", "M8[s]", "string", RECORD, ml_dtypes.bfloat16):
        data_type = from_numpy(dtype)
        values = np.zeros(3, data_type.dtype)
        assert data_type.cast(values) is values


# -- elements as bytes ---------------------------------------------------------------------------


def codec_and_spec(document: Any, shape: tuple[int, ...], endian: Any) -> tuple[Any, ChunkSpec]:
    """Make the bytes codec for a chunk of a type."""
    data_type = from_v3(document) if not isinstance(document, list) else from_numpy(document)
    spec = ChunkSpec(shape, data_type, None)
    configuration = {} if endian is None else {"endian": endian}
    return BytesCodec.from_configuration(configuration, spec), spec


@pytest.mark.parametrize("name", [*small.INTEGERS, *small.FLOATS])
@given(raw=st.binary(min_size=12, max_size=12))
def test_spare_bits_are_ignored(name: str, raw: bytes) -> None:
    """Of a stored element only the bits of its type count; what is read has zeros in the others."""
    codec, spec = codec_and_spec(name, (len(raw) // from_v3(name).dtype.itemsize,), "little")
    values = codec.decode(raw, spec)
    used = (1 << spec.data_type.n_bits) - 1
    if name != "bfloat16":
        assert values.tobytes() == bytes(byte & used for byte in raw)
    assert codec.encode(values, spec) == values.tobytes()
    assert codec.is_plain(spec) == (used in (255, 65535))


def test_spare_bits_in_records_and_pairs() -> None:
    """The same inside a record, and in both parts of a complex number."""
    fields = [{"name": "a", "data_type": "int4"}, {"name": "b", "data_type": "uint16"}]
    document = {"name": "struct", "configuration": {"fields": fields}}
    codec, spec = codec_and_spec(document, (1,), "big")
    values = codec.decode(b"\xf7\x01\x02", spec)
    assert values.tobytes() == b"\x07\x02\x01"
    assert bytes(codec.encode(values, spec)) == b"\x07\x01\x02"
    codec, spec = codec_and_spec("complex_float4_e2m1fn", (1,), None)
    assert codec.decode(b"\xf1\x82", spec).tobytes() == b"\x01\x02"


@pytest.mark.parametrize(
    ("document", "native", "big"),
    [
        ("int16", b"\x01\x02", b"\x02\x01"),
        ("bfloat16", b"\x01\x02", b"\x02\x01"),
        ("complex64", bytes(range(8)), b"\x03\x02\x01\x00\x07\x06\x05\x04"),
        ("complex_float16", b"\x01\x02\x03\x04", b"\x02\x01\x04\x03"),
        ("complex_float8_e5m2", b"\x01\x02", b"\x01\x02"),
        ("r16", b"\x01\x02", b"\x01\x02"),
        (
            {"name": "fixed_length_utf32", "configuration": {"length_bytes": 8}},
            b"a\x00\x00\x00\xe9\x00\x00\x00",
            b"\x00\x00\x00a\x00\x00\x00\xe9",
        ),
        (
            {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 1}},
            bytes(range(8)),
            bytes(range(7, -1, -1)),
        ),
        ([("a", "u1"), ("b", "u2"), ("c", [("d", "c8")])],
         bytes(range(11)), b"\x00\x02\x01\x06\x05\x04\x03\x0a\x09\x08\x07"),
        ([("a", "u2", (2,))], b"\x01\x02\x03\x04", b"\x02\x01\x04\x03"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("shape", [(1,), (), (2, 3)])
def test_byte_order(document: Any, native: bytes, big: bytes, shape: tuple[int, ...]) -> None:
    """Each number of an element is stored in the order asked for, and read back from it."""
    codec, spec = codec_and_spec(document, shape, "big")
    little, _ = codec_and_spec(document, shape, "little")
    n = spec.n_elements
    values = np.frombuffer(native * n, spec.data_type.dtype).reshape(shape)
    assert bytes(codec.encode(values, spec)) == big * n
    assert bytes(little.encode(values, spec)) == native * n
    for made, raw in ((codec, big), (little, native)):
        read = made.decode(raw * n, spec)
        assert read.tobytes() == native * n
        assert (read.dtype, read.shape) == (spec.data_type.dtype, shape)


def test_record_with_padding() -> None:
    """Padding between stored fields is skipped when read and zero when written."""
    data_type, order = from_v2([["a", "|u1"], ["", "|V2"], ["b", ">u2"], ["", "|V1"]])
    assert order is None
    spec = ChunkSpec((2,), data_type, None)
    codec = BytesCodec.from_configuration({}, spec)
    assert codec.encoded_nbytes(spec) == 12
    values = codec.decode(b"\x01xx\x02\x03x" * 2, spec)
    assert values.tolist() == [(1, 0x203)] * 2
    assert bytes(codec.encode(values, spec)) == b"\x01\x00\x00\x02\x03\x00" * 2


def test_legacy_record_may_omit_the_order() -> None:
    """The legacy struct without a byte order is little-endian; the struct must declare one."""
    fields = [["a", "uint16"]]
    legacy = {"name": "structured", "configuration": {"fields": fields}}
    codec, spec = codec_and_spec(legacy, (1,), None)
    assert codec.decode(b"\x01\x02", spec)["a"].tolist() == [0x201]
    codec, spec = codec_and_spec(legacy, (1,), "big")
    assert codec.decode(b"\x01\x02", spec)["a"].tolist() == [0x102]
    with pytest.raises(CodecError, match="endian"):
        codec_and_spec([("a", "u2")], (1,), None)
    codec_and_spec([("a", "u1")], (1,), None)


def test_no_character_of_unicode() -> None:
    """A stored code point beyond Unicode is damage, found when the chunk is read."""
    document = {"name": "fixed_length_utf32", "configuration": {"length_bytes": 4}}
    codec, spec = codec_and_spec(document, (2,), "little")
    assert codec.decode(b"\xff\xff\x10\x00" * 2, spec).tolist() == ["\U0010ffff"] * 2
    with pytest.raises(CodecError, match="U\\+110000 is no character"):
        codec.decode(b"a\x00\x00\x00\x00\x00\x11\x00", spec)


@pytest.mark.parametrize("document", ["string", "bytes"])
def test_bytes_codec_needs_a_fixed_size(document: str) -> None:
    """Elements of any length do not go into the bytes codec."""
    with pytest.raises(CodecError, match="vary in length"):
        codec_and_spec(document, (1,), None)


LEAVES = st.sampled_from(
    ["?", "i1", "u2", "i4", "f2", "f8", "c8", "S3", "U2", "M8[s]", "V3", "m8[25us]"]
)


@st.composite
def records(draw: st.DrawFn, *, depth: int = 2, arrays: bool = True) -> list[Any]:
    """Draw the fields of a record in random byte orders."""
    fields: list[Any] = []
    for i in range(draw(st.integers(1, 3))):
        inner: Any = np.dtype(draw(LEAVES)).newbyteorder(draw(st.sampled_from("<>")))
        if depth and draw(st.booleans()):
            inner = draw(records(depth=depth - 1, arrays=arrays))
        shape = draw(st.sampled_from([(), (2,), (1, 3)])) if arrays else ()
        fields.append((f"f{i}", inner, shape) if shape else (f"f{i}", inner))
    return fields


def random_records(dtype: np.dtype[Any], seed: int) -> np.ndarray:
    """Give two records of random bytes, but with truth values and characters that exist."""
    dice = np.random.default_rng(seed)
    values = np.frombuffer(dice.bytes(2 * dtype.itemsize), dtype).copy()

    def mend(part: np.ndarray) -> None:
        if part.dtype.kind == "b":
            part[...] = dice.integers(0, 2, part.shape)
        elif part.dtype.kind == "U":
            part[...] = dice.choice(["", "é", "ab"], part.shape)
        for name in part.dtype.names or ():
            mend(part[name])

    mend(values)
    return values


def same_in_any_order(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of records hold the same bits, each field in its own byte order."""
    if a.dtype.names:
        return all(same_in_any_order(a[name], b[name]) for name in a.dtype.names)
    return same_bits(*(part.astype(part.dtype.newbyteorder("=")) for part in (a, b)))


@given(fields=records(), seed=st.integers(0, 2**32 - 1))
def test_any_record_of_version_2(fields: list[Any], seed: int) -> None:
    """Records nested in any way and with fields of any byte order keep their stored bytes."""
    stored = np.dtype(fields)
    document = json.loads(json.dumps(stored.descr))
    data_type, order = from_v2(document)
    assert data_type.dtype == from_numpy(stored).dtype
    assert json.loads(json.dumps(data_type.to_v2(order or "<"))) == document
    endian = {"<": {"endian": "little"}, ">": {"endian": "big"}, None: {}}[order]
    spec = ChunkSpec((2,), data_type, None)
    codec = BytesCodec.from_configuration(endian, spec)
    values = random_records(stored, seed)
    decoded = codec.decode(values.tobytes(), spec)
    assert decoded.dtype == data_type.dtype
    assert same_in_any_order(decoded, values)
    assert bytes(codec.encode(decoded, spec)) == values.tobytes()
    fill = data_type.fill_from_v2(data_type.fill_to_v2(decoded[0], order or "<"), order or "<")
    assert fill.tobytes() == decoded[0].tobytes()


@given(fields=records(arrays=False))
def test_any_record_of_version_3(fields: list[Any]) -> None:
    """Records nested in any way are read back from their document, and so are fill values."""
    data_type = from_numpy(fields)
    assert from_v3(json.loads(json.dumps(data_type.to_v3()))) == data_type
    fill = data_type.default_fill()
    assert data_type.fill_from_json(data_type.fill_to_json(fill)).tobytes() == fill.tobytes()


# -- empty chunks --------------------------------------------------------------------------------


def chunk_of(dtype: Any, *values: Any) -> tuple[np.ndarray, Any]:
    """Give a chunk of values of a type, and the last of them as its fill value."""
    data_type = from_numpy(dtype)
    chunk = np.empty(len(values), data_type.dtype)
    for i, value in enumerate(values):
        chunk[i, ...] = data_type.scalar(value)
    return chunk, data_type.scalar(values[-1])


@pytest.mark.parametrize(
    ("dtype", "fill", "other"),
    [
        ("f4", 0.0, -0.0),
        ("f8", np.nan, np.array(0x7FF8000000000001, "u8").view("f8")[()]),
        ("c8", 0, complex(0, -0.0)),
        ("c16", 1, 1j),
        ("bfloat16", 0.0, -0.0),
        ("float8_e5m2", 0.0, -0.0),
        ("int4", 0, -1),
        ("S3", b"", b"a"),
        ("S5", b"abcde", b"abcdf"),
        ("U3", "", "\x01"),
        ("U7", "abcdefg", "abcdefh"),
        ("V3", b"abc", b"abd"),
        ("V16", b"a" * 16, b"a" * 15 + b"b"),
        ("M8[s]", "NaT", 0),
        ("m8[s]", 0, 1),
        ("string", "a", "a\0"),
        ("string", "", "\0"),
        ("bytes", b"a", b"a\0"),
        (RECORD, (0, 0.0), (0, -0.0)),
        ([("a", "u1"), ("b", "S2")], (1, b"a"), (1, b"b")),
        ([("a", "u1", (3,))], ([1, 2, 3],), ([1, 2, 4],)),
        ("complex_float8_e4m3", 0, -0.0j),
        (object, None, 0),
        (object, 0, False),
        (object, 1, 1.0),
        (object, "a", b"a"),
        ("array:i4", [1, 2], [1, 3]),
        ("array:i4", [], [0]),
        ("array:f4", [0.0], [-0.0]),
    ],
    ids=str,
)
def test_empty_by_bits(dtype: Any, fill: Any, other: Any) -> None:
    """A chunk is empty when every element has the bits of the fill value, not its worth."""
    empty, value = chunk_of(dtype, fill, fill, fill)
    assert is_all_fill(empty, value)
    assert is_all_fill(empty[::2], value)
    assert is_all_fill(empty[:0], value)
    assert is_all_fill(empty[:1].reshape(()), value)
    for values in ((other, fill, fill), (fill, other, fill), (fill, fill, other, fill)):
        mixed, value = chunk_of(dtype, *values)
        assert not is_all_fill(mixed, value)
        assert not is_all_fill(np.repeat(mixed, 2)[::2].reshape(1, -1), value)


def test_empty_ignores_padding() -> None:
    """Bytes between the fields of a record do not count."""
    aligned = np.dtype([("a", "u1"), ("b", "u4")], align=True)
    raw = np.frombuffer(b"\x01xyz\x02\x00\x00\x00\x01abc\x02\x00\x00\x00", aligned)
    assert is_all_fill(raw, np.array((1, 2), aligned)[()])
    assert not is_all_fill(raw, np.array((1, 3), aligned)[()])
    assert not is_all_fill(raw, np.array((2, 2), aligned)[()])


def test_containers_are_never_empty() -> None:
    """Whether two lists are stored alike cannot be told in general, so they are stored."""
    data_type = from_numpy(object)
    fill = data_type.fill_from_json([1])
    assert not is_all_fill(objects([1], [1]), fill)


# -- whole arrays --------------------------------------------------------------------------------

WHOLE: list[tuple[Any, list[Any]]] = [
    ("?", [True, False, True]),
    (">i4", [1, -2, 3]),
    ("c16", [1 + 2j, complex(np.nan, np.inf), 0]),
    ("S3", [b"a", b"abc", b""]),
    (">U3", ["é", "abc", ""]),
    ("V3", [b"abc", b"\0\0\0", b"a\0\0"]),
    ("M8[ns]", ["2020-01-01", "NaT", "1900-01-01"]),
    (">m8[25us]", [1, -2, "NaT"]),
    ("string", ["é", "a" * 20, "x\0"]),
    ("bytes", [b"a", b"", b"x\0"]),
    (RECORD, [(1, 2.5), (-1, np.nan), (0, 0)]),
    (NESTED, [(1, ("2020-01-01", "ab")), (2, ("NaT", "")), (3, ("1970-01-01", "é"))]),
    ("bfloat16", [1.5, -0.0, np.inf]),
    ("float8_e4m3", [1.5, -0.0, np.nan]),
    ("int4", [-8, 7, 0]),
]
ONLY_3: list[tuple[Any, list[Any]]] = [
    ("uint2", [0, 3, 1]),
    ("float6_e3m2fn", [28, -0.0625, 0]),
    ("complex_float16", [1 + 2j, 0, -1]),
    ("complex_float32", [1 + 2j, 0, -1]),
    ("variable_length_bytes", [b"a", b"", b"x\0"]),
]
ONLY_2: list[tuple[Any, list[Any]]] = [
    ([("a", "i4", (2,)), ("b", "u1")], [([1, 2], 3), ([4, 5], 6), ([0, 0], 0)]),
]


@pytest.mark.parametrize(
    ("zarr_format", "dtype", "values"),
    [(3, *case) for case in WHOLE + ONLY_3] + [(2, *case) for case in WHOLE + ONLY_2],
    ids=str,
)
def test_array_round_trip(zarr_format: Any, dtype: Any, values: list[Any]) -> None:
    """An array of each type gives back what was written, whole, in part and with fill values."""
    store = cs.MemoryStore()
    made = cs.create_array(
        store, name="x", shape=(2, 4), chunks=(1, 2), dtype=dtype, zarr_format=zarr_format
    )
    data_type = made.metadata.data_type
    want = np.full((2, 4), data_type.default_fill(), data_type.dtype)
    want[0, :3] = data_type.cast(values).astype(data_type.dtype)
    want[1, 2] = want[0, 1]
    made[0, :3] = data_type.cast(values)
    made[1, 2] = want[0, 1]
    again = cs.open_array(store, path="x")
    assert again.metadata.data_type == data_type
    assert again.dtype == data_type.dtype
    assert same(again[...], want)
    assert same(again[:, ::-1], want[:, ::-1])


@pytest.mark.parametrize(("dtype", "values"), WHOLE + ONLY_3, ids=str)
def test_sharded_round_trip(dtype: Any, values: list[Any]) -> None:
    """The same inside shards."""
    made = cs.create_array(None, shape=6, chunks=2, shards=4, dtype=dtype)
    data_type = made.metadata.data_type
    want = np.full(6, data_type.default_fill(), data_type.dtype)
    want[1:4] = data_type.cast(values)
    made[1:4] = values
    assert same(made[...], want)
    assert same(made[3:], want[3:])


def test_struct_fields_are_written_alone() -> None:
    """A field of a record array takes values by the rules of its own type."""
    made = cs.create_array(None, shape=3, chunks=2, dtype=RECORD)
    made[...] = [(1, 2.5), (3, 4.5), (5, 6.5)]
    made["a"] = [7, 8, 9]
    assert made[...].tolist() == [(7, 2.5), (8, 4.5), (9, 6.5)]
    with pytest.raises(InvalidArgumentError):
        made["a"] = 1.5
    with pytest.raises(InvalidArgumentError):
        made["a"] = 2**31


def test_text_of_the_user_never_shrinks() -> None:
    """Text that is too long for an array is refused and nothing is written."""
    made = cs.create_array(None, shape=2, dtype="U2")
    for values in ("abc", ["a", "abc"], np.array(["abc", ""])):
        with pytest.raises(InvalidArgumentError, match=r"cannot write to .*3 characters"):
            made[...] = values
    assert made[...].tolist() == ["", ""]

"""Bits are packed in the order that zarrs writes, and come back with their signs."""

from __future__ import annotations

from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.codecs.base import ChunkSpec
from chunkstore.codecs.packbits import NumcodecsPackbitsCodec, PackbitsCodec
from chunkstore.dtypes import DataType, from_v3
from chunkstore.errors import CodecError

BITS = {
    "bool": 1, "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4,
    "float6_e2m3fn": 6, "float6_e3m2fn": 6, "float8_e5m2": 8, "int8": 8, "uint8": 8, "int16": 16,
    "uint16": 16, "float16": 16, "bfloat16": 16, "int32": 32, "float32": 32, "uint64": 64,
    "int64": 64, "float64": 64, "complex64": 32, "complex128": 64, "complex_float16": 16,
}  # fmt: skip


def data_type_of(name: str) -> DataType:
    """Give a data type, or skip where it needs a library that is not installed."""
    if name not in ("bool", "complex64", "complex128") and not name.startswith(("int", "uint")):
        pytest.importorskip("ml_dtypes")
    if name in ("int2", "uint2", "int4", "uint4"):
        pytest.importorskip("ml_dtypes")
    return from_v3(name)


def patterns(data_type: DataType, n: int, n_bits: int, seed: int) -> tuple[list[int], np.ndarray]:
    """Give patterns of bits, one a component, and the elements that have them."""
    rng = np.random.default_rng(seed)
    n_parts = 2 if data_type.name.startswith("complex") else 1
    raw = [int.from_bytes(rng.bytes(8), "little") % (1 << n_bits) for _ in range(n * n_parts)]
    size = data_type.dtype.itemsize // n_parts
    signed = data_type.name.startswith("int")
    fill = [
        bits | (-1 << n_bits) & (1 << 8 * size) - 1 if signed and bits >> (n_bits - 1) else bits
        for bits in raw
    ]
    memory = np.array(fill, f"u{size}")
    if data_type.name in ("int2", "int4"):
        return raw, memory.view("i1").astype(data_type.dtype)
    return raw, memory.view(data_type.dtype)


@settings(max_examples=150)
@given(st.sampled_from(tuple(BITS)), st.integers(1, 40), st.data())
def test_order_of_bits(name: str, n: int, data: st.DataObject) -> None:
    """Element after element, lowest bit first, fills byte after byte, lowest bit first."""
    data_type, n_bits = data_type_of(name), BITS[name]
    first = data.draw(st.integers(0, n_bits - 1))
    last = data.draw(st.integers(first, n_bits - 1))
    padding = data.draw(st.sampled_from(("none", "first_byte", "last_byte")))
    raw, values = patterns(data_type, n, n_bits, data.draw(st.integers(0, 9)))
    spec = ChunkSpec((n,), data_type, data_type.default_fill())
    codec = PackbitsCodec.from_configuration(
        {"first_bit": first, "last_bit": last, "padding_encoding": padding}, spec
    )
    width = last - first + 1
    number = sum((bits >> first & (1 << width) - 1) << i * width for i, bits in enumerate(raw))
    n_padding = -len(raw) * width % 8
    expected = number.to_bytes((len(raw) * width + n_padding) // 8, "little")
    if padding == "first_byte":
        expected = bytes([n_padding]) + expected
    elif padding == "last_byte":
        expected += bytes([n_padding])
    encoded = bytes(codec.encode(values, spec))
    assert encoded == expected
    assert len(encoded) == codec.encoded_nbytes(spec)
    decoded = codec.decode(encoded, spec)
    kept = [bits >> first << first & (1 << last + 1) - 1 for bits in raw]
    if name.startswith("int"):
        kept = [bits - (bits >> last << last + 1) for bits in kept]
        assert decoded.astype("i8").tolist() == kept
    else:
        size = data_type.dtype.itemsize // (2 if name.startswith("complex") else 1)
        assert decoded.view(f"u{size}").tolist() == kept


@pytest.mark.parametrize(
    ("padding", "expected"),
    [("none", "0102"), ("first_byte", "060102"), ("last_byte", "010206")],
)
def test_booleans_as_zarrs_writes_them(padding: str, expected: str) -> None:
    """The trap: zarrs fills from the lowest bit, numcodecs from the highest."""
    values = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1], bool)
    spec = ChunkSpec((10,), from_v3("bool"), np.False_)
    assert bytes(PackbitsCodec(padding).encode(values, spec)).hex() == expected
    packed = NumcodecsPackbitsCodec().encode(values, spec)
    assert packed.tobytes().hex() == "068040"
    assert packed.tobytes() == numcodecs.PackBits().encode(values).tobytes()


def test_more_than_one_block() -> None:
    """A chunk of more elements than are packed at a time has no seam."""
    n = (1 << 14) * 2 + 5
    values = np.random.default_rng(0).integers(-4, 4, n).astype("i2")
    spec = ChunkSpec((n,), from_v3("int16"), np.int16(0))
    codec = PackbitsCodec("last_byte", None, 2)
    encoded = codec.encode(values, spec)
    assert len(encoded) == -(-n * 3 // 8) + 1
    np.testing.assert_array_equal(codec.decode(encoded, spec), values)


@pytest.mark.parametrize(
    ("codec", "value", "what"),
    [
        (PackbitsCodec(), b"\x01", "expected 2 bytes"),
        (PackbitsCodec(), b"\x01\x02\x03", "expected 2 bytes"),
        (PackbitsCodec("first_byte"), b"\x05\x01\x02", "declares 5 bits of padding, expected 6"),
        (PackbitsCodec("last_byte"), b"\x01\x02\xff", "declares 255 bits"),
    ],
)
def test_wrong_lengths(codec: PackbitsCodec, value: bytes, what: str) -> None:
    """Bytes of another number of elements are refused."""
    with pytest.raises(CodecError, match=what):
        codec.decode(value, ChunkSpec((10,), from_v3("bool"), np.False_))


def test_numcodecs_padding_is_checked() -> None:
    """A count of padding bits that is not the chunk's is refused."""
    spec = ChunkSpec((10,), from_v3("bool"), np.False_)
    with pytest.raises(CodecError, match="declares 7 bits"):
        NumcodecsPackbitsCodec().decode(np.array([7, 1, 2], "u1"), spec)


@pytest.mark.parametrize("name", ["string", "int8"])
def test_types_that_are_refused(name: str) -> None:
    """Types without a fixed number of bits cannot be packed; the other codec packs bool alone."""
    data_type = from_v3(name)
    spec = ChunkSpec((3,), data_type, data_type.default_fill())
    cls: Any = PackbitsCodec if name == "string" else NumcodecsPackbitsCodec
    with pytest.raises(CodecError, match=f"pack.* {name}"):
        cls.from_configuration({}, spec)

"""The bytes codec writes what the specification says, and copies only where it must."""

from __future__ import annotations

import numpy as np
import pytest

from chunkstore.codecs.bytes import BytesCodec
from chunkstore.errors import CodecError
from tests.contracts.codecs import spec_for


@pytest.mark.parametrize(
    ("endian", "dtype", "value", "expected"),
    [
        ("little", "u2", 0x0102, "0201"),
        ("big", "u2", 0x0102, "0102"),
        ("little", "f4", 1.0, "0000803f"),
        ("big", "f4", 1.0, "3f800000"),
        ("little", "i8", -2, "feffffffffffffff"),
        ("big", "i8", -2, "fffffffffffffffe"),
        ("little", "c8", 1 + 2j, "0000803f00000040"),
        ("big", "c8", 1 + 2j, "3f80000040000000"),
        (None, "?", True, "01"),
        (None, "i1", -1, "ff"),
        ("big", "u1", 7, "07"),
    ],
)
def test_bytes_of_one_element(endian: str, dtype: str, value: complex, expected: str) -> None:
    """One element is stored as the bytes that its number has in the declared order."""
    spec = spec_for((), dtype)
    encoded = bytes(BytesCodec(endian).encode(np.array(value, dtype), spec))
    assert encoded.hex() == expected
    assert BytesCodec(endian).decode(encoded, spec)[()] == value


def test_elements_are_in_c_order() -> None:
    """The last axis varies fastest, whatever the array's own layout."""
    array = np.asfortranarray(np.arange(6, dtype="u1").reshape(2, 3))
    assert bytes(BytesCodec(None).encode(array, spec_for((2, 3), "u1"))) == bytes(range(6))


def test_plain_bytes_are_views() -> None:
    """In the machine's own byte order neither direction copies."""
    array = np.arange(6, dtype="<i4")
    spec = spec_for((6,), "i4")
    encoded = BytesCodec("little").encode(array, spec)
    decoded = BytesCodec("little").decode(encoded, spec)
    assert np.shares_memory(np.frombuffer(encoded, "u1"), array)
    assert np.shares_memory(decoded, array)


def test_decoded_bytes_object_is_read_only() -> None:
    """A chunk that is a view of stored bytes cannot be written, so it cannot change them."""
    decoded = BytesCodec("little").decode(bytes(8), spec_for((2,), "i4"))
    with pytest.raises(ValueError, match="read-only"):
        decoded[0] = 1


@pytest.mark.parametrize("dtype", ["i2", "f8", "c16"])
def test_order_must_be_declared(dtype: str) -> None:
    """Elements longer than a byte need the byte order, and the error names the type."""
    with pytest.raises(CodecError, match=r"endian.*longer than a byte"):
        BytesCodec.from_configuration({}, spec_for((2,), dtype))
    assert BytesCodec.from_configuration({}, spec_for((2,), "u1")) == BytesCodec(None)


def test_text_is_refused() -> None:
    """Elements that vary in length have no place in a row of equal ones."""
    with pytest.raises(CodecError, match="vary in length"):
        BytesCodec.from_configuration({"endian": "little"}, spec_for((2,), "string"))


@pytest.mark.parametrize("n_bytes", [0, 7, 9, 16])
def test_wrong_length_names_both(n_bytes: int) -> None:
    """The error for a wrong number of bytes says how many were expected, and found."""
    with pytest.raises(CodecError, match=rf"expected 8 bytes .*\(2,\).*int32, got {n_bytes}"):
        BytesCodec("little").decode(bytes(n_bytes), spec_for((2,), "i4"))

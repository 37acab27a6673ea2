"""``vlen-bytes`` and ``vlen-array`` keep every element, and refuse damage before they allocate."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs.vlen import VLenArray, VLenBytes

import chunkstore.codecs.vlen_bytes as module
from chunkstore.codecs.base import ChunkSpec
from chunkstore.codecs.vlen_bytes import VLenArrayCodec, VLenBytesCodec
from chunkstore.dtypes import from_numpy
from chunkstore.errors import CodecError
from tests.contracts.codecs import damaged, peak_bytes


def objects(values: list[Any]) -> np.ndarray:
    """Give an array of just these objects."""
    made = np.empty(len(values), object)
    for i, value in enumerate(values):
        made[i] = value
    return made


def spec(dtype: str, *shape: int) -> ChunkSpec:
    """Give the spec of a chunk of objects."""
    data_type = from_numpy(dtype)
    return ChunkSpec(shape, data_type, data_type.default_fill())


@given(values=st.lists(st.binary(), max_size=6))
def test_bytes_round_trip(values: list[bytes]) -> None:
    """Byte strings of every content and length come back, laid out as numcodecs does."""
    codec, where = VLenBytesCodec(), spec("bytes", len(values))
    encoded = codec.encode(objects(values), where)
    assert bytes(encoded) == bytes(VLenBytes().encode(objects(values)))
    decoded = codec.decode(encoded, where)
    assert decoded.tolist() == values
    assert all(type(value) is bytes for value in decoded)


def test_layout() -> None:
    """A count, then each length with its bytes, all little-endian, in C order."""
    array = objects([b"a", b"", b"xyz", b"\0"]).reshape(2, 2)
    encoded = bytes(VLenBytesCodec().encode(array.T, spec("bytes", 2, 2)))
    assert encoded == (
        b"\x04\0\0\0" b"\x01\0\0\0a" b"\x03\0\0\0xyz" b"\0\0\0\0" b"\x01\0\0\0\0"
    )  # fmt: skip
    assert VLenBytesCodec().decode(encoded, spec("bytes", 2, 2)).tolist() == array.T.tolist()


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 2)])
def test_shapes(shape: tuple[int, ...]) -> None:
    """Chunks of any number of axes come back in their shape."""
    n = int(np.prod(shape))
    array = objects([bytes([i]) * i for i in range(n)]).reshape(shape)
    for codec, name, given_ in (
        (VLenBytesCodec(), "bytes", array),
        (VLenArrayCodec("|u1"), "array:uint8", objects([np.arange(i) for i in range(n)])),
    ):
        where = spec(name, *shape)
        decoded = codec.decode(codec.encode(given_.reshape(shape), where), where)
        assert decoded.shape == shape
        assert [len(item) for item in decoded.flat] == list(range(n))


@pytest.mark.parametrize("value", [None, 0, "a", 1.5, [b"a"]])
def test_only_bytes(value: Any) -> None:
    """What is no bytes is refused; numcodecs alone would store None and 0 as nothing."""
    with pytest.raises(CodecError, match="cannot encode an element"):
        VLenBytesCodec().encode(objects([b"a", value]), spec("bytes", 2))


@given(
    values=st.lists(st.lists(st.integers(-(2**15), 2**15 - 1), max_size=4), max_size=5),
    typestr=st.sampled_from(["<i2", ">i2", "<i8", "<f4", ">f8"]),
)
def test_array_round_trip(values: list[list[int]], typestr: str) -> None:
    """Arrays of any length come back in native byte order, laid out as numcodecs does."""
    name = f"array:{np.dtype(typestr).newbyteorder('=').name}"
    codec, where = VLenArrayCodec(typestr), spec(name, len(values))
    encoded = codec.encode(objects(values), where)
    assert bytes(encoded) == bytes(VLenArray(typestr).encode(objects(values)))
    decoded = codec.decode(encoded, where)
    assert [item.tolist() for item in decoded] == values
    assert all(item.dtype == np.dtype(typestr).newbyteorder("=") for item in decoded)


def test_array_of_nothing_and_of_one() -> None:
    """None is an empty array and a number one of length one."""
    where = spec("array:int32", 2)
    codec = VLenArrayCodec("<i4")
    decoded = codec.decode(codec.encode(objects([None, 7]), where), where)
    assert [item.tolist() for item in decoded] == [[], [7]]


@pytest.mark.parametrize("value", [[1.5], [2**40], [[1, 2], [3, 4]], "a", [None]])
def test_arrays_are_not_cut(value: Any) -> None:
    """What the element type cannot hold is refused; numcodecs alone would cut it."""
    with pytest.raises(CodecError, match="cannot encode an element"):
        VLenArrayCodec("<i4").encode(objects([value]), spec("array:int32", 1))


@pytest.mark.parametrize(
    ("codec", "where", "values"),
    [
        (VLenBytesCodec(), spec("bytes", 3), [b"abc", b"", b"x" * 40]),
        (VLenArrayCodec("<u2"), spec("array:uint16", 3), [[1, 2], [], list(range(20))]),
    ],
    ids=["bytes", "array"],
)
def test_damage(codec: Any, where: ChunkSpec, values: list[Any]) -> None:
    """Damaged bytes decode to a chunk of the right shape or raise CodecError, and nothing else."""
    encoded = bytes(codec.encode(objects(values), where))
    for data in damaged(encoded):
        try:
            decoded = codec.decode(data, where)
        except CodecError:
            continue
        assert decoded.shape == where.shape


@pytest.mark.parametrize("count", [0, 2, 4, 2**32 - 1])
def test_wrong_count(count: int) -> None:
    """A count that is not the chunk's is refused before memory is taken for it."""
    data = count.to_bytes(4, "little") + bytes(4 * 3)

    def decode() -> None:
        with pytest.raises(CodecError, match=f"holds {count} elements, expected 3"):
            VLenBytesCodec().decode(data, spec("bytes", 3))

    assert peak_bytes(decode) < 1 << 20


def test_too_short_for_a_count() -> None:
    """Fewer bytes than a count are refused as such."""
    for data in (b"", b"\x01\0\0"):
        with pytest.raises(CodecError, match="holds no elements"):
            VLenBytesCodec().decode(data, spec("bytes", 1))


def test_configurations() -> None:
    """Each codec is made again from its configuration, and refuses other types than its own."""
    assert VLenBytesCodec.from_configuration({}, spec("bytes", 1)) == VLenBytesCodec()
    VLenBytesCodec.from_configuration({}, spec("variable_length_bytes", 1))
    made = VLenArrayCodec.from_configuration({"dtype": ">i4"}, spec("array:i4", 1))
    assert made == VLenArrayCodec(">i4")
    assert made.configuration() == {"dtype": ">i4"}
    assert hash(made) == hash(VLenArrayCodec(">i4"))
    for configuration, dtype, what in (
        ({}, "array:i4", "needs 'dtype'"),
        ({"dtype": "nonsense"}, "array:i4", "nonsense"),
        ({"dtype": "<i8"}, "array:i4", r"dtype='array:int64'"),
        ({"dtype": "<i4"}, "object", r"dtype='array:int32'"),
        ({"dtype": "<i4", "a": 1}, "array:i4", "does not know 'a'"),
    ):
        with pytest.raises(CodecError, match=what):
            VLenArrayCodec.from_configuration(configuration, spec(dtype, 1))
    for dtype in ("object", "string", "i4"):
        with pytest.raises(CodecError, match="dtype='bytes'"):
            VLenBytesCodec.from_configuration({}, spec(dtype, 1))


def test_documented_example() -> None:
    """The example in the module's docstring names the codec."""
    block = re.search(r"code-block:: json\n\n(.*?)\n\n", module.__doc__ or "", re.DOTALL)
    assert block
    assert json.loads(block[1]) == {"name": VLenBytesCodec.name}

"""Rounding to bits is exact, keeps what is special, and never leaves the range."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chunkstore as cs
from chunkstore.codecs.base import ChunkSpec
from chunkstore.codecs.bitround import BitroundCodec, NumcodecsBitroundCodec
from chunkstore.dtypes import from_numpy
from chunkstore.errors import CodecError

MANTISSA = {"f2": 10, "f4": 23, "f8": 52}
INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


def spec_of(dtype: str, n: int = 1) -> ChunkSpec:
    """Give the spec of a chunk along one axis."""
    return ChunkSpec((n,), from_numpy(dtype), np.zeros((), dtype)[()])


def rounded(magnitude: int, n_dropped: int) -> int:
    """Round a whole number to a multiple of a power of two, ties to even."""
    return round(Fraction(magnitude, 1 << n_dropped)) << n_dropped


@settings(max_examples=80)
@given(st.sampled_from(INTEGERS), st.data())
def test_whole_numbers(dtype: str, data: st.DataObject) -> None:
    """The magnitude is rounded from its highest bit, towards zero where it would not fit."""
    keepbits = data.draw(st.integers(1, 64))
    values = data.draw(hnp.arrays(dtype, st.integers(1, 30)))
    encoded = BitroundCodec(keepbits).encode(values, spec_of(dtype, values.size))
    assert encoded.dtype == values.dtype
    limits = np.iinfo(dtype)
    for value, found in zip(values.tolist(), encoded.tolist(), strict=True):
        magnitude = abs(value)
        n_dropped = max(magnitude.bit_length() - keepbits, 0)
        expected = rounded(magnitude, n_dropped)
        if expected > limits.max:
            expected = magnitude >> n_dropped << n_dropped
        assert found == (-expected if value < 0 else expected)


@settings(max_examples=60)
@given(st.sampled_from(tuple(MANTISSA)), st.data())
def test_floats_as_numcodecs(dtype: str, data: st.DataObject) -> None:
    """Finite numbers are rounded as numcodecs does, but never to infinity; NaN stays as it is."""
    keepbits = data.draw(st.integers(0, MANTISSA[dtype]))
    raw = data.draw(hnp.arrays(f"u{dtype[1]}", st.integers(1, 30)))
    values = raw.view(dtype)
    encoded = NumcodecsBitroundCodec(keepbits).encode(values, spec_of(dtype, values.size))
    theirs = numcodecs.BitRound(keepbits).encode(values).view(dtype)
    same = np.isfinite(values) & np.isfinite(theirs)
    assert encoded[same].tobytes() == theirs[same].tobytes()
    assert encoded[~np.isfinite(values)].tobytes() == values[~np.isfinite(values)].tobytes()
    assert np.isfinite(encoded[np.isfinite(values)]).all()


@pytest.mark.parametrize("dtype", [*MANTISSA, "c8", "c16"])
@pytest.mark.parametrize("keepbits", [1, 5, 64])
def test_is_idempotent(dtype: str, keepbits: int) -> None:
    """What is rounded stays as it is; complex numbers are rounded in both parts."""
    values = np.random.default_rng(0).normal(size=50).astype(dtype)
    if values.dtype.kind == "c":
        values = values * (1 + 2j)
        values = values.astype(dtype)
    codec, spec = BitroundCodec(keepbits), spec_of(dtype, 50)
    once = codec.encode(values, spec)
    assert codec.encode(once, spec).tobytes() == once.tobytes()
    assert codec.decode(once, spec) is once
    if values.dtype.kind == "c":
        real = codec.encode(values.real.copy(), spec_of(f"f{values.dtype.itemsize // 2}", 50))
        np.testing.assert_array_equal(once.real, real)


def test_dates() -> None:
    """Dates are rounded as the numbers they are, and NaT stays NaT."""
    days = np.array(["1970-01-01", "NaT", "1970-02-10", "1969-11-20"], "M8[D]")
    encoded = BitroundCodec(3).encode(days, spec_of("M8[D]", 4))
    assert encoded.view("i8").tolist() == [0, np.iinfo("i8").min, 40, -40]


@pytest.mark.parametrize(
    ("cls", "keepbits", "dtype"),
    [
        (BitroundCodec, 0, "f4"),
        (BitroundCodec, 65, "f4"),
        (BitroundCodec, 3, "?"),
        (BitroundCodec, 3, "S4"),
        (BitroundCodec, True, "f4"),
        (BitroundCodec, 2.0, "f4"),
        (NumcodecsBitroundCodec, -1, "f4"),
        (NumcodecsBitroundCodec, 3, "i4"),
    ],
)
def test_what_is_refused(cls: type[BitroundCodec], keepbits: Any, dtype: str) -> None:
    """Numbers of bits that cannot be meant, and types without significant bits, are refused."""
    with pytest.raises(CodecError, match=cls.name):
        cls.from_configuration({"keepbits": keepbits}, spec_of(dtype))


def test_fill_value() -> None:
    """The fill value is rounded with the rest, but for the name that zarr-python has."""
    spec = ChunkSpec((1,), from_numpy("f4"), np.float32(1.1))
    assert BitroundCodec(3).resolve(spec).fill_value == np.float32(1.125)
    assert NumcodecsBitroundCodec(3).resolve(spec).fill_value == np.float32(1.1)


REGISTRY: list[tuple[str, list[float], list[float]]] = [
    ("f4", [0, 0.1, 1.2, 12.3, 123.4, 1234.5, np.nan, np.inf, -np.inf],
     [0, 0.1015625, 1.25, 12, 120, 1280, np.nan, np.inf, -np.inf]),
    ("u1", [0, 1, 10, 11, 100, 123, 200, 208, 209, 255],
     [0, 1, 10, 12, 96, 128, 192, 192, 224, 224]),
]  # fmt: skip
"""Numbers and what zarrs makes of them with ``keepbits`` 3: the sample data beside the registered
specification. No wheel of zarrs is built with the codec, and zarr-python has the floats only."""


@pytest.mark.parametrize(("dtype", "values", "expected"), REGISTRY)
def test_sample_data_of_the_registry(dtype: str, values: Any, expected: Any) -> None:
    """The sample data of the registered specification is written and read bit for bit."""
    codec = {"name": "bitround", "configuration": {"keepbits": 3}}
    array = cs.create_array(None, data=np.array(values, dtype), filters=codec, compressors=None)
    wanted = np.array(expected, dtype)
    assert array[...].tobytes() == wanted.tobytes()
    assert array.store.get("c/0") == wanted.tobytes()

"""Scaling in the elements' own type is exact for whole numbers and never overflows in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chunkstore.codecs.base import ChunkSpec
from chunkstore.codecs.scale_offset import ScaleOffsetCodec
from chunkstore.dtypes import from_v3
from chunkstore.errors import CodecError

INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


def make(name: str, offset: Any, scale: Any, fill: Any = 0) -> tuple[ScaleOffsetCodec, ChunkSpec]:
    """Make the codec and what it is given."""
    data_type = from_v3(name)
    spec = ChunkSpec((6,), data_type, data_type.fill_from_json(fill, strict=True))
    configuration = {"offset": offset, "scale": scale}
    return ScaleOffsetCodec.from_configuration(configuration, spec), spec


@settings(max_examples=80)
@given(st.sampled_from(INTEGERS), st.data())
def test_whole_numbers(name: str, data: st.DataObject) -> None:
    """Encoding is Python's arithmetic where the results fit, and an error where they do not."""
    limits = np.iinfo(name)
    scalars = st.integers(max(-5, limits.min), 5) | st.integers(int(limits.min), int(limits.max))
    offset, scale = data.draw(scalars), data.draw(scalars.filter(bool))
    values = data.draw(hnp.arrays(name, 6))
    codec, spec = make(name, offset, scale)
    wanted = [(v - offset) * scale for v in values.tolist()]
    if all(limits.min <= w <= limits.max for w in wanted):
        encoded = codec.encode(values, spec)
        assert encoded.dtype == values.dtype
        assert encoded.tolist() == wanted
        np.testing.assert_array_equal(codec.decode(encoded, spec), values)
    else:
        with pytest.raises(CodecError, match="holds"):
            codec.encode(values, spec)


@settings(max_examples=80)
@given(st.sampled_from(INTEGERS), st.data())
def test_decoding_whole_numbers(name: str, data: st.DataObject) -> None:
    """Decoding is Python's division where there is no remainder, and an error otherwise."""
    limits = np.iinfo(name)
    scalars = st.integers(max(-5, limits.min), 5)
    offset, scale = data.draw(scalars), data.draw(scalars.filter(bool))
    stored = data.draw(hnp.arrays(name, 6))
    codec, spec = make(name, offset, scale)
    if any(v % scale for v in stored.tolist()):
        with pytest.raises(CodecError, match="no multiples"):
            codec.decode(stored, spec)
        return
    wanted = [v // scale + offset for v in stored.tolist()]
    if all(limits.min <= w <= limits.max for w in wanted):
        assert codec.decode(stored, spec).tolist() == wanted
    else:
        with pytest.raises(CodecError, match="holds"):
            codec.decode(stored, spec)


@settings(max_examples=60)
@given(st.sampled_from(("float16", "float32", "float64")), st.data())
def test_floats(name: str, data: st.DataObject) -> None:
    """Floats are scaled in their own type; one that would become infinite is an error."""
    offset, scale = (data.draw(st.sampled_from((0, 1, -2.5, 0.1, 1e4))) for _ in range(2))
    values = data.draw(hnp.arrays(name, 6))
    codec, spec = make(name, offset, scale or 2)
    dtype = np.dtype(name).type
    with np.errstate(all="ignore"):
        wanted = (values - dtype(offset)) * dtype(scale or 2)
        back = wanted / dtype(scale or 2) + dtype(offset)
    if (np.isfinite(values) & ~np.isfinite(wanted)).any():
        with pytest.raises(CodecError, match="infinite"):
            codec.encode(values, spec)
    else:
        np.testing.assert_array_equal(codec.encode(values, spec), wanted)
        np.testing.assert_array_equal(codec.decode(wanted, spec), back)


def test_small_integers() -> None:
    """Types of less than a byte are held to their own limits."""
    pytest.importorskip("ml_dtypes")
    codec, spec = make("int4", 1, 2)
    values = np.array([-3, 0, 4]).astype(spec.data_type.dtype)
    assert codec.encode(values, spec).astype(int).tolist() == [-8, -2, 6]
    with pytest.raises(CodecError, match="holds -8 to 7"):
        codec.encode(np.array([5]).astype(spec.data_type.dtype), spec)


def test_fill_value_is_scaled() -> None:
    """The fill value behind the codec is the scaled one, and one that does not fit is refused."""
    codec, spec = make("int16", 5, 3, fill=7)
    assert codec.resolve(spec).fill_value == 6
    codec, spec = make("int16", 5, 3, fill=32767)
    with pytest.raises(CodecError, match="holds"):
        codec.resolve(spec)


def test_scalars_are_written_as_given() -> None:
    """A float's exact bits may be given as a fill value may, and are written back so."""
    codec, _ = make("float32", "0x3f800000", 0.1)
    assert codec.configuration() == {"offset": "0x3f800000", "scale": 0.1}

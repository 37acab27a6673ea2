"""``categorize`` stores labels as numbers and loses no text."""

from __future__ import annotations

import json
import re
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore.codecs.categorize as module
from chunkstore.codecs.base import ChunkSpec
from chunkstore.codecs.categorize import CategorizeCodec
from chunkstore.dtypes import from_numpy
from chunkstore.errors import CodecError
from tests.contracts.codecs import damaged

LABELS = ("female", "male", "é")
WIDE = np.dtypes.StringDType()


def spec(*shape: int, dtype: Any = str) -> ChunkSpec:
    """Give the spec of a chunk of text."""
    return ChunkSpec(shape, from_numpy(dtype), "")


@given(
    values=st.lists(st.sampled_from(["", *LABELS])),
    astype=st.sampled_from(["|u1", "|i1", "<i4", ">u2"]),
)
def test_round_trip(values: list[str], astype: str) -> None:
    """Labels and empty text come back, stored as numcodecs stores them."""
    codec = CategorizeCodec(LABELS, "|O", astype)
    encoded = codec.encode(np.array(values, WIDE), spec(len(values)))
    theirs = numcodecs.Categorize(LABELS, dtype=object, astype=astype)
    assert bytes(encoded) == theirs.encode(np.array(values, object)).tobytes()
    assert len(encoded) == codec.encoded_nbytes(spec(len(values)))
    decoded = codec.decode(encoded, spec(len(values)))
    assert decoded.dtype == WIDE
    assert decoded.tolist() == values


def test_fixed_text() -> None:
    """Text of a fixed length goes in and out too, in any shape and layout."""
    codec = CategorizeCodec(LABELS, "<U6", "|u1")
    array = np.array([["male", ""], ["é", "female"], ["", "male"]], "U6")
    where = spec(2, 3, dtype="U6")
    decoded = codec.decode(codec.encode(array.T, where), where)
    assert decoded.dtype == array.dtype
    assert decoded.tolist() == array.T.tolist()


@pytest.mark.parametrize("value", ["other", "femal", "female\0"])
def test_what_is_no_label(value: str) -> None:
    """Text that is no label is refused; numcodecs would store it as empty."""
    with pytest.raises(CodecError, match="has no label"):
        CategorizeCodec(LABELS, "|O", "|u1").encode(np.array(["male", value], WIDE), spec(2))


def test_numbers_that_are_no_label() -> None:
    """A stored number without a label is damage."""
    codec = CategorizeCodec(LABELS, "|O", "|i1")
    assert codec.decode(b"\x00\x03", spec(2)).tolist() == ["", "é"]
    for data in (b"\x00\x04", b"\x00\xff"):
        with pytest.raises(CodecError, match="3 labels"):
            codec.decode(data, spec(2))


def test_damage() -> None:
    """Damaged bytes decode to a chunk of labels or raise CodecError."""
    codec = CategorizeCodec(LABELS, "|O", "<u2")
    for data in damaged(bytes(codec.encode(np.array(["male", "", "é"], WIDE), spec(3)))):
        try:
            decoded = codec.decode(data, spec(3))
        except CodecError:
            continue
        assert set(decoded.tolist()) <= {"", *LABELS}


@pytest.mark.parametrize(
    ("configuration", "dtype", "what"),
    [
        ({"dtype": "|O"}, str, "needs 'labels'"),
        ({"labels": ["a"]}, str, "needs 'dtype'"),
        ({"labels": "ab", "dtype": "|O"}, str, "list of text"),
        ({"labels": ["a", 1], "dtype": "|O"}, str, "list of text"),
        ({"labels": ["a"], "dtype": "|O", "astype": "<f4"}, str, "integers"),
        ({"labels": ["a"], "dtype": "|O", "astype": "nonsense"}, str, "integers"),
        ({"labels": ["a"], "dtype": "|O", "astype": 1}, str, "integers"),
        ({"labels": ["a"] * 128, "dtype": "|O", "astype": "|i1"}, str, "too many"),
        ({"labels": ["a"], "dtype": "|O", "a": 1}, str, "does not know 'a'"),
        ({"labels": ["a"], "dtype": "|O"}, "i4", "holds text"),
        ({"labels": ["a"], "dtype": "|O"}, object, "holds text"),
    ],
)
def test_refuses(configuration: dict[str, Any], dtype: Any, what: str) -> None:
    """A configuration that cannot be meant is refused with the reason."""
    with pytest.raises(CodecError, match=what):
        CategorizeCodec.from_configuration(configuration, spec(1, dtype=dtype))


def test_documented_example() -> None:
    """The example in the module's docstring makes the codec, and the codec gives it back."""
    block = re.search(r"code-block:: json\n\n(.*?)\n\n", module.__doc__ or "", re.DOTALL)
    assert block
    example = json.loads(block[1])
    made = CategorizeCodec.from_configuration(example["configuration"], spec(1))
    assert (made.name, made.configuration()) == (example["name"], example["configuration"])
    assert hash(made) == hash(CategorizeCodec(("female", "male"), "|O", "|u1"))

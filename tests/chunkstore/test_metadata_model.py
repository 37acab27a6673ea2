"""What both formats share: counts, JSON paths, problems, attributes and the text of a document."""

from __future__ import annotations

import json
import pickle
import re
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.dtypes import from_numpy
from chunkstore.errors import InvalidArgumentError, MetadataError
from chunkstore.metadata import text
from chunkstore.metadata.model import (
    MAX_EXTENT,
    Problems,
    check_chunk_bytes,
    counts,
    is_count,
    metadata_error,
    plain_attributes,
    step,
)


@pytest.mark.parametrize("value", [0, 1, 7, MAX_EXTENT])
def test_counts(value: int) -> None:
    """A count is an integer from zero to what a signed index can say."""
    assert is_count(value)
    assert is_count(value, least=1) == (value > 0)


@pytest.mark.parametrize("value", [-1, MAX_EXTENT + 1, 1.0, True, False, "1", None, [1]])
def test_no_counts(value: Any) -> None:
    """Nothing else is one, true and false least of all."""
    assert not is_count(value)
    problems = Problems()
    assert counts([3, value, 4], "shape", problems) is None
    assert [path for path, _ in problems.found] == ["shape[1]"]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
@example(["a.b", ".zarray", "[0]", 'a"]'])
def test_paths_lead_back(keys: list[str]) -> None:
    """A JSON path names one place only, however odd the keys on the way."""
    path = ""
    for key in keys:
        path = step(path, key)
    found: list[str] = []
    rest = path
    while rest:
        if rest.startswith("["):
            key, end = json.JSONDecoder().raw_decode(rest[1:])
            rest = rest[end + 2 :]
        else:
            match = re.match(r"\.?([^.\[]+)", rest)
            assert match is not None
            key, rest = match[1], rest[match.end() :]
        found.append(key)
    assert found == keys


def test_problems_below_a_place() -> None:
    """Problems of a document inside another one have the path in the outer one."""
    problems = Problems("metadata.x")
    problems.add("shape[0]", "odd")
    problems.add("", "odd")
    problems.extend([("[1]", "odd")])
    assert [path for path, _ in problems.found] == [
        "metadata.x.shape[0]",
        "metadata.x",
        "metadata.x[1]",
    ]


def test_no_problems_raise_nothing() -> None:
    """A document without problems is valid."""
    Problems().raise_if_any("a document")


def test_error_of_problems() -> None:
    """The error names the document, counts the problems, lists them, and pickles."""
    error = metadata_error("a document", [("a", "is odd"), ("", "is odder")])
    assert str(error) == (
        "a document is not valid, 2 problems:\n  a: is odd\n  (document): is odder"
    )
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, MetadataError)
    assert str(again) == str(error)
    assert again.problems == [("a", "is odd"), ("", "is odder")]  # type: ignore[attr-defined]
    assert "1 problem:" in str(metadata_error("a document", [("a", "is odd")]))


def test_chunk_too_large_to_address() -> None:
    """A chunk of more bytes than an address can say is a problem; one below that is not."""
    problems = Problems()
    check_chunk_bytes((2**31, 2**29), from_numpy("f4"), "chunks", problems)
    assert not problems.found
    check_chunk_bytes((2**31, 2**30), from_numpy("f4"), "chunks", problems)
    assert [path for path, _ in problems.found] == ["chunks"]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        ((1, (2,)), [1, [2]]),
        ({"a": np.arange(2)}, {"a": [0, 1]}),
    ],
)
def test_attributes_become_plain(value: Any, plain: Any) -> None:
    """Values of numpy and tuples become what JSON has."""
    made = plain_attributes({"k": value})
    assert made == {"k": plain}
    assert type(made["k"]) is type(plain)


@pytest.mark.parametrize(
    "value", [float("nan"), np.float32("inf"), [float("-inf")], {1, 2}, b"x", 1j, object()]
)
def test_attributes_that_are_no_json(value: Any) -> None:
    """What JSON has not is refused by the name of the attribute."""
    with pytest.raises(InvalidArgumentError, match="'k'"):
        plain_attributes({"k": value})


def test_attribute_names_are_strings() -> None:
    """An attribute has a name, and a number is none."""
    with pytest.raises(InvalidArgumentError, match="names"):
        plain_attributes({1: 2})  # type: ignore[dict-item]


def test_attributes_are_a_copy() -> None:
    """What a caller changes later does not change the attributes."""
    inner = [1]
    group = cs.create_group(None, attributes={"k": inner})
    inner.append(2)
    assert group.attrs["k"] == [1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_text_survives(document: dict[str, Any]) -> None:
    """What is written reads the same, NaN and lone surrogates too."""
    again = text.load(text.dump(document), "a document")
    assert repr(again) == repr(document)


@given(st.binary(max_size=60))
def test_any_bytes_read_or_are_refused(data: bytes) -> None:
    """No bytes make the reader fail in any other way than with its own error."""
    with suppress(MetadataError):
        assert isinstance(text.load(data, "a document"), dict)

"""Label files: read strictly, matched by name, and never silently wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkstore.errors import InvalidArgumentError, StoreError
from dask_integration.labels import match_labels, read_labels, write_labels


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.tsv"


def test_what_is_written_is_read(file: Path) -> None:
    """Names with spaces and quotes survive."""
    pairs = {"S1": "North Sea", "S 2": 'the "south"', "Ł": "P'"}
    write_labels(file, pairs.items())
    assert read_labels(file) == pairs


@pytest.mark.parametrize(
    "text",
    [
        "sample\tpopulation\na\tX\nb\tY\n",
        "sample\tpopulation\r\na\tX\r\nb\tY",
        "\ufeffsample\tpopulation\na\tX\n\nb\tY\n",
        "population\tage\tsample\nX\t3\ta\nY\t4\tb\n",
        "sample\tpopulation\na\tX\na\tX\nb\tY\nc\t\n",
    ],
    ids=["plain", "windows", "byte order mark", "more columns", "repeated and blank"],
)
def test_files_of_several_programs_are_read(file: Path, text: str) -> None:
    """Line ends, a byte order mark, other columns and repeated lines change nothing."""
    file.write_bytes(text.encode())
    assert read_labels(file) == {"a": "X", "b": "Y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"first line must name the columns 'sample' and 'population'.*got \[\]"),
        ("sample,population\na,X\n", r"separated by a tab"),
        ("sample\tgroup\na\tX\n", r"must name the columns"),
        ("sample\tpopulation\na\tX\nb\n", r"line 3: expected 2 tab-separated columns, got 1"),
        ("sample\tpopulation\na\tX\na\tY\n", r"line 3: sample 'a' is in population 'X' above"),
    ],
)
def test_broken_files_are_refused(file: Path, text: str, message: str) -> None:
    """The line and the fault are named."""
    file.write_text(text)
    with pytest.raises(InvalidArgumentError, match=message):
        read_labels(file)


def test_a_binary_file_and_a_missing_one_are_refused(file: Path) -> None:
    """Neither is taken for an empty list of labels."""
    with pytest.raises(StoreError, match="No such file"):
        read_labels(file)
    file.write_bytes(b"\x89PNG\xff\x00")
    with pytest.raises(InvalidArgumentError, match="tab-separated UTF-8"):
        read_labels(file)


def test_labels_follow_the_samples() -> None:
    """Order and number are the samples'; what does not match is counted."""
    matched = match_labels({"c": "Z", "a": "X", "z": "W", "y": "W"}, ["a", "b", "c"])
    assert matched.labels == ("X", None, "Z")
    assert (matched.n_unlabelled, matched.n_unused) == (1, 2)


def test_labels_of_other_data_are_refused() -> None:
    """No match at all is an error that shows names of both sides."""
    with pytest.raises(InvalidArgumentError, match=r"'a', 'b'.*'NA1'"):
        match_labels({"NA1": "X"}, ["a", "b"])


def test_a_name_of_two_samples_is_refused() -> None:
    """A label cannot tell which of them it is for."""
    with pytest.raises(InvalidArgumentError, match="several samples"):
        match_labels({"a": "X"}, ["a", "b", "a"])
    assert match_labels({"b": "X"}, ["a", "b", "a"]).labels == (None, "X", None)

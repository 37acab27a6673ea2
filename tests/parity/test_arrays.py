"""What we write other libraries read, and what they write we read, for every option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from tests.contracts.codecs import same_bits
from tests.parity.cases import CASES, Case
from tests.parity.peers import PEERS, document_2, document_3, stored_document


@pytest.fixture(params=PEERS, scope="module")
def peer(request: pytest.FixtureRequest) -> Any:
    """Give a peer, or skip where it is not installed."""
    made = PEERS[request.param]()
    made.name = request.param
    return made


def skip_unfit(case: Case, peer: Any, direction: str) -> None:
    """Skip what a peer cannot do."""
    for key in (peer.name, f"{peer.name} {direction}"):
        if key in case.unfit:
            pytest.skip(f"{peer.name}: {case.unfit[key]}")


def write(case: Case, folder: Path) -> cs.Array:
    """Make a case's array with chunkstore and write the values."""
    array = cs.create_array(folder, **case.arguments)
    array[case.written] = case.values[case.written]
    return array


def later_half(case: Case) -> tuple[slice, ...]:
    """Give a selection that cuts chunks."""
    return tuple(slice(extent // 2, extent) for extent in case.shape)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_they_read_and_change_what_we_wrote(case: Case, peer: Any, tmp_path: Path) -> None:
    """The peer reads the very bits that we wrote and the fill value, and we read its changes."""
    skip_unfit(case, peer, "reads")
    array = write(case, tmp_path)
    expected = case.expected
    assert same_bits(peer.read(tmp_path), expected)
    selection = later_half(case)
    expected[selection] = 1
    peer.change(tmp_path, selection, expected[selection])
    assert same_bits(np.asarray(array[...]), expected)
    assert same_bits(peer.read(tmp_path), expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_we_read_and_change_what_they_wrote(case: Case, peer: Any, tmp_path: Path) -> None:
    """We read the very bits that the peer wrote and all facts, and the peer reads our changes."""
    skip_unfit(case, peer, "writes")
    peer.write(case, tmp_path)
    array = cs.open_array(tmp_path, mode="r+")
    expected = case.expected
    assert same_bits(np.asarray(array[...]), expected)
    assert array.shape == case.shape
    assert array.chunks == case.chunks
    assert array.dtype == expected.dtype
    assert array.dimension_names == case.layout.get("dimension_names")
    fill = np.asarray(case.layout.get("fill_value", 0), array.dtype)
    assert same_bits(np.asarray(array.fill_value, array.dtype), fill)
    if case.zarr_format == 3 or peer.name == "zarr":
        assert dict(array.attrs) == case.layout.get("attributes", {})
    selection = later_half(case)
    expected[selection] = 1
    array[selection] = expected[selection]
    array.attrs["changed"] = True
    assert same_bits(peer.read(tmp_path), expected)
    assert same_bits(np.asarray(cs.open_array(tmp_path)[...]), expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_our_document_is_the_one_meant(case: Case, tmp_path: Path) -> None:
    """Our document says what one written by hand from the specification says."""
    write(case, tmp_path)
    stored = stored_document(tmp_path)
    by_hand = document_3(case) if case.zarr_format == 3 else document_2(case)
    for codec in (*stored.get("codecs", ()), *by_hand.get("codecs", ())):
        if not codec.get("configuration"):
            codec.pop("configuration", None)
    if np.dtype(case.dtype).itemsize == 1 and case.zarr_format == 3:
        # Elements of one byte need no order, and say none.
        by_hand["codecs"] = [
            c if c["name"] != "bytes" else {"name": "bytes"} for c in by_hand["codecs"]
        ]
    assert stored == by_hand


NAMED = [case for case in CASES if any(word in case.name for word in ("keys", "shape", "fill"))]


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case.name)
def test_same_chunk_keys(case: Case, tmp_path: Path) -> None:
    """Zarr-python stores the same chunks under the same names as we do."""
    peer = PEERS["zarr"]()
    peer.name = "zarr"
    skip_unfit(case, peer, "writes")
    write(case, tmp_path / "ours")
    peer.write(case, tmp_path / "theirs")
    ours, theirs = (
        {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "ours", tmp_path / "theirs")
    )
    assert ours == theirs

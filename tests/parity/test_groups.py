"""Hierarchies and defaults: what either library makes when little is asked for, the other reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs

zarr = pytest.importorskip("zarr", minversion="3.1", reason="needs zarr-python 3")

FORMATS = [2, 3]
DTYPES = ["?", "i1", "u2", "i4", "i8", "f4", "f8", "c16"]
VALUES = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_they_read_our_hierarchy(zarr_format: Any, tmp_path: Path) -> None:
    """Zarr-python sees the members, attributes and values that we made."""
    root = cs.create_group(tmp_path, attributes={"title": "é"}, zarr_format=zarr_format)
    root.create_array("x", data=VALUES, chunks=(2, 3), attributes={"units": "K"})
    root.create_group("deep/er", attributes={"a": [1, None]}).create_array("y", data=VALUES[0])
    theirs = zarr.open_group(str(tmp_path), mode="r")
    assert dict(theirs.attrs) == {"title": "é"}
    assert sorted(theirs.keys()) == ["deep", "x"]
    assert theirs["x"].attrs["units"] == "K"
    np.testing.assert_array_equal(theirs["x"][...], VALUES)
    assert dict(theirs["deep/er"].attrs) == {"a": [1, None]}
    np.testing.assert_array_equal(theirs["deep"]["er"]["y"][...], VALUES[0])


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_we_read_their_hierarchy(zarr_format: Any, tmp_path: Path) -> None:
    """We see the members, attributes and values that zarr-python made."""
    theirs = zarr.create_group(str(tmp_path), zarr_format=zarr_format, attributes={"title": "é"})
    theirs.create_array("x", shape=(3, 4), chunks=(2, 3), dtype="i8", attributes={"units": "K"})
    theirs["x"][...] = VALUES
    deep = theirs.create_group("deep").create_group("er", attributes={"a": [1, None]})
    deep.create_array("y", data=VALUES[0])
    root = cs.open_group(tmp_path, mode="r")
    assert dict(root.attrs) == {"title": "é"}
    assert list(root) == ["deep", "x"]
    assert root["x"].attrs["units"] == "K"
    np.testing.assert_array_equal(root["x"][...], VALUES)
    assert dict(root["deep/er"].attrs) == {"a": [1, None]}
    np.testing.assert_array_equal(root["deep"]["er"]["y"][...], VALUES[0])
    assert root.metadata.zarr_format == zarr_format


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_both_add_to_one_hierarchy(zarr_format: Any, tmp_path: Path) -> None:
    """Members and attributes that either adds to the other's group are seen by both."""
    ours = cs.create_group(tmp_path, zarr_format=zarr_format)
    theirs = zarr.open_group(str(tmp_path), mode="r+")
    theirs.create_array("theirs", data=VALUES)
    ours.create_array("ours", data=VALUES)
    theirs["ours"].attrs["a"] = 1
    ours["theirs"].attrs["b"] = 2
    ours["theirs"][0] = 9
    theirs["ours"][0] = 9
    again = zarr.open_group(str(tmp_path), mode="r")
    assert sorted(again.keys()) == list(ours) == ["ours", "theirs"]
    assert (ours["ours"].attrs["a"], again["theirs"].attrs["b"]) == (1, 2)
    assert ours["ours"][0, 0] == again["theirs"][0, 0] == 9


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_our_defaults(zarr_format: Any, dtype: str, tmp_path: Path) -> None:
    """An array of which we were told only shape and type is read by zarr-python."""
    values = VALUES.astype(dtype)
    cs.create_array(tmp_path, shape=(3, 4), dtype=dtype, zarr_format=zarr_format)[...] = values
    theirs = zarr.open_array(str(tmp_path), mode="r")
    assert theirs.dtype == values.dtype
    np.testing.assert_array_equal(theirs[...], values)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", ["create_array", "group", "open", "zeros"])
def test_their_defaults(way: str, zarr_format: Any, dtype: str, tmp_path: Path) -> None:
    """An array of which zarr-python was told only shape and type is read, however it was made."""
    given = {"shape": (3, 4), "dtype": dtype, "zarr_format": zarr_format}
    if way == "create_array":
        theirs = zarr.create_array(str(tmp_path), name="x", **given)
    elif way == "group":
        del given["zarr_format"]
        theirs = zarr.create_group(str(tmp_path), zarr_format=zarr_format).create_array(
            "x", **given
        )
    elif way == "open":
        theirs = zarr.open_array(str(tmp_path), path="x", mode="w", **given)
    else:
        theirs = zarr.zeros(store=str(tmp_path), path="x", **given)
    values = VALUES.astype(dtype)
    theirs[...] = values
    array = cs.open_array(tmp_path, path="x", mode="r")
    assert array.dtype == values.dtype
    assert array.fill_value == theirs.fill_value
    np.testing.assert_array_equal(array[...], values)


def test_undefined_fill_value(tmp_path: Path) -> None:
    """Version 2 may leave the fill value open; both libraries then read zeros."""
    theirs = zarr.create_array(
        str(tmp_path), shape=4, chunks=2, dtype="f8", zarr_format=2, fill_value=None
    )
    theirs[:2] = [1, 2]
    array = cs.open_array(tmp_path)
    assert array.fill_value == theirs.fill_value
    assert array[...].tolist() == theirs[...].tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize("given", [{}, {"shards": (4, 6)}, {"order": "F"}])
def test_padding_of_edge_chunks(given: dict[str, Any], tmp_path: Path) -> None:
    """Chunks that reach beyond the array are stored whole, padded with the fill value, by both."""
    arguments = {
        "shape": (3, 4), "dtype": "i2", "chunks": (2, 3), "fill_value": 9, "compressors": None,
        "zarr_format": 2 if "order" in given else 3, **given,
    }  # fmt: skip
    cs.create_array(tmp_path / "ours", **arguments)[...] = VALUES
    zarr.create_array(str(tmp_path / "theirs"), **arguments)[...] = VALUES
    for path in (tmp_path / "ours").rglob("*"):
        twin = tmp_path / "theirs" / path.relative_to(tmp_path / "ours")
        if path.is_file() and path.name not in ("zarr.json", ".zarray", ".zattrs"):
            if "shards" in given:
                # The order of inner chunks is the writer's choice.
                assert path.stat().st_size == twin.stat().st_size
            else:
                assert path.read_bytes() == twin.read_bytes()

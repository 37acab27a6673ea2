"""Bytes that other libraries wrote with every codec, kept beside the script that made them."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from tests.data.codecs.cases import SHAPE, WRITERS, WRITTEN, Case

FOLDER = Path(__file__).resolve().parents[2] / "data" / "codecs"
COMPRESSORS = ("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd", "pcodec", "zfpy")
LOSSY = ("delta-floats", "zfpy")
"""Codecs that lose a little each time; the others lose nothing of what they once encoded."""


def stored() -> list[tuple[str, str]]:
    """List the arrays of all files."""
    return [(writer, name) for writer in WRITERS for name in WRITERS[writer]]


def uncompressed() -> list[tuple[str, str]]:
    """List the arrays without a compressor, which may store the same in other bytes."""
    return [
        (writer, name)
        for writer, name in stored()
        if not any(word in codecs_of(WRITERS[writer][name]) for word in COMPRESSORS)
    ]


def codecs_of(case: Case) -> str:
    """Give all codecs of a case as text."""
    return json.dumps([*case.codecs, case.compressor])


def load(writer: str, name: str) -> tuple[cs.MemoryStore, np.ndarray, Case]:
    """Give the stored array, what its writer reads, and what it was told to write."""
    needed = next((n for n in ("pcodec", "zfpy") if n in name), None)
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}")
    found = json.loads((FOLDER / f"{writer}.json").read_text())[name]
    store = cs.MemoryStore()
    for key, value in found["store"].items():
        store.set(key, base64.b64decode(value))
    case = WRITERS[writer][name]
    raw = base64.b64decode(found["values"])
    values = np.frombuffer(raw, np.dtype(case.dtype).newbyteorder("<")).reshape(SHAPE)
    return store, values, case


@pytest.mark.parametrize(("writer", "name"), stored())
def test_reads_what_they_wrote(writer: str, name: str) -> None:
    """The values are those that the writer itself reads, to the last bit."""
    store, values, case = load(writer, name)
    array = cs.open_array(store, mode="r")
    native = values.astype(values.dtype.newbyteorder("="))
    assert array[...].tobytes() == native.tobytes()
    assert array.dtype == native.dtype
    if case.dtype.strip("<>|=")[0] in "iubM":
        np.testing.assert_array_equal(array[WRITTEN], case.values.astype(native.dtype))


@pytest.mark.parametrize(("writer", "name"), stored())
def test_writes_the_same_values(writer: str, name: str) -> None:
    """Written again by us the array reads the same, and its document still says the same codecs."""
    store, _, case = load(writer, name)
    before = {key: store.get(key) for key in store.list_prefix("")}
    array = cs.open_array(store, mode="r+")
    values = array[...]
    array[...] = values
    again = cs.open_array(store)[...]
    array.resize((7, 6))
    resized = cs.open_array(store)[:5]
    if any(word in name for word in LOSSY):
        np.testing.assert_allclose([again, resized], [values, values], atol=0.05)
    else:
        assert again.tobytes() == resized.tobytes() == values.tobytes()
    document = json.loads(store.get("zarr.json" if case.zarr_format == 3 else ".zarray") or b"")
    original = json.loads(before["zarr.json" if case.zarr_format == 3 else ".zarray"] or b"")
    for key in ("codecs", "filters", "compressor", "dtype", "data_type", "order", "fill_value"):
        assert said(document.get(key)) == said(original.get(key))


def said(value: Any) -> Any:
    """Leave out configurations that say nothing, but where zarr-python needs them."""
    if not isinstance(value, list):
        return value
    return [
        {"name": entry["name"]}
        if entry.get("configuration") == {} and not entry["name"].startswith("numcodecs.")
        else entry
        for entry in value
    ]


@pytest.mark.parametrize(("writer", "name"), uncompressed())
def test_stores_the_same_bytes(writer: str, name: str) -> None:
    """Given the values we store the very bytes, where no compressor has a say in them."""
    store, _, case = load(writer, name)
    before: dict[str, Any] = {key: store.get(key) for key in store.list_prefix("")}
    array = cs.open_array(store, mode="r+", options=cs.Options(write_empty_chunks=True))
    array[...] = np.full(SHAPE, case.fill).astype(array.dtype)
    array[WRITTEN] = case.values.astype(array.dtype)
    for key, value in before.items():
        assert store.get(key) == value

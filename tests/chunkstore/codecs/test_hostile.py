"""Whatever bytes are stored, a chunk is decoded or refused: no codec crashes or hangs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import CodecError
from tests.chunkstore.codecs.test_golden import load
from tests.data.codecs.cases import CHUNKS, WRITERS

NAMES = sorted({(writer, name) for writer in ("zarr-python", "zarrs") for name in WRITERS[writer]})


@st.composite
def damage(draw: st.DrawFn) -> Any:
    """Draw what happens to a value: other bytes, a cut, an insertion, or a few changed bytes."""
    kind = draw(st.sampled_from(("other", "cut", "insert", "change")))
    part = draw(st.binary(min_size=1, max_size=40))
    places = draw(st.lists(st.floats(0, 1), min_size=1, max_size=4))
    if kind == "other":
        return lambda value: part
    if kind == "cut":
        return lambda value: value[: int(places[0] * len(value))]
    if kind == "insert":
        return lambda value: value[: (at := int(places[0] * len(value)))] + part + value[at:]

    def change(value: bytes) -> bytes:
        changed = bytearray(value)
        for place, byte in zip(places, part * 4, strict=False):
            changed[int(place * (len(value) - 1))] ^= byte or 255
        return bytes(changed)

    return change


@cache
def opened(writer: str, name: str) -> tuple[cs.Array, bytes]:
    """Give an array and one of its stored chunks."""
    store, _, _ = load(writer, name)
    documents = ("zarr.json", ".zarray", ".zattrs")
    key = next(key for key in store.list_prefix("") if key not in documents)
    return cs.open_array(store, mode="r"), bytes(store.get(key) or b"")


@pytest.mark.parametrize(("writer", "name"), NAMES)
@settings(max_examples=20)
@given(damage=damage())
def test_damaged_chunks(writer: str, name: str, damage: Any) -> None:
    """A damaged chunk gives a `CodecError`, or a chunk of the array's shape and type."""
    array, stored = opened(writer, name)
    value = damage(stored)
    out = np.empty(CHUNKS, array.dtype)
    for memory in (None, out):
        try:
            chunk = array.engine.pipeline.decode(value, memory)
        except CodecError:
            continue
        assert chunk.shape == CHUNKS
        assert chunk.dtype == array.dtype

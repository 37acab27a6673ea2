"""Arrays that other libraries wrote, kept as they were stored, are read as what was put in."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import metadata as formats
from tests.contracts.codecs import same_bits
from tests.data.dtypes import cases
from tests.data.dtypes.generate import HERE

TRUSTED = cs.Options(allow_pickle=True)
ARRAYS = [(store, name) for store, arrays in cases.STORES.items() for name in arrays]


@lru_cache
def load(store: str) -> cs.MemoryStore:
    """Load a store from its file."""
    made = cs.MemoryStore()
    for key, text in json.loads((HERE / f"{store}.json").read_text()).items():
        is_document = key.rpartition("/")[2] in ("zarr.json", ".zarray", ".zattrs", ".zgroup")
        made.set(key, text.encode() if is_document else base64.b64decode(text))
    return made


def expected(case: cases.Case, dtype: np.dtype[Any], fill: Any) -> np.ndarray:
    """Give the whole array in the dtype it is read as."""
    whole = np.empty(cases.SHAPE, dtype)
    whole[...] = fill
    if dtype.kind in "OT":
        whole[: cases.N_WRITTEN] = case.values
    else:
        whole[: cases.N_WRITTEN] = case.values.astype(dtype)
    return whole


def plain(array: np.ndarray) -> list[Any]:
    """Give objects in a form that can be compared."""
    return [item.tolist() if isinstance(item, np.ndarray) else item for item in array.tolist()]


@pytest.mark.parametrize(("store", "name"), ARRAYS)
def test_values_and_fill_value(store: str, name: str) -> None:
    """Every element has the bits that were written, and those of the fill value where none were."""
    case = cases.STORES[store][name]
    array = cs.open_array(load(store), path=name, options=TRUSTED)
    data_type = array.metadata.data_type
    fill = array.metadata.fill_value
    if isinstance(case.fill, tuple):
        given = np.array(case.fill, data_type.dtype)[()]
    elif case.filters and isinstance(case.fill, int):
        # Arrays of objects whose writer was given no fill value have 0 for one.
        given = data_type.fill_from_v2(case.fill, "<")
    else:
        given = data_type.scalar(case.fill)
    if data_type.is_fixed_size:
        assert same_bits(np.asarray(fill, data_type.dtype), np.asarray(given, data_type.dtype))
    else:
        assert fill == given
    want = expected(case, data_type.dtype, given)
    read = array[...]
    assert read.dtype == want.dtype
    if want.dtype.kind in "OT":
        assert plain(read) == plain(want)
    else:
        assert same_bits(read, want)


@pytest.mark.parametrize(("store", "name"), ARRAYS)
def test_documents_survive_a_rewrite(store: str, name: str) -> None:
    """Written again by us, a document still leads to the same type, fill value and codecs."""
    array = cs.open_array(load(store), path=name, options=TRUSTED)
    copy = cs.MemoryStore()
    document = "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"
    for key, value in formats.encode("x", array.metadata).items():
        copy.set(key, value)
    again = cs.open_array(copy, path="x").metadata
    assert again.data_type == array.metadata.data_type
    assert again.codecs == array.metadata.codecs
    assert repr(again.fill_value) == repr(array.metadata.fill_value)
    raw, ours = load(store).get(f"{name}/{document}"), copy.get(f"x/{document}")
    assert raw is not None
    assert ours is not None
    field = "data_type" if array.metadata.zarr_format == 3 else "dtype"
    assert json.loads(bytes(ours))[field] == json.loads(bytes(raw))[field]


def test_files_are_small() -> None:
    """The stores stay small enough to be kept with the sources."""
    assert sum(path.stat().st_size for path in HERE.iterdir() if path.is_file()) < 200_000

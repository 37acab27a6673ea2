"""The short ways that zarr-python has lead to the same arrays here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError


def test_names_of_zarr_python_2() -> None:
    """Older names of arguments are taken, wherever zarr-python takes them."""
    store = cs.MemoryStore()
    made = cs.zeros((4, 4), chunks=(2, -1), store=store, path="a", compressor=None, zarr_format=2,
                    dimension_separator="/")  # fmt: skip
    made[...] = 1
    assert made.chunks == (2, 4)
    assert store.get("a/1/0") == np.ones((2, 4)).tobytes()
    store = cs.MemoryStore()
    assert cs.create(3, dtype="i2", store=store, path="b", chunks=None).chunks == (3,)
    assert cs.array([1, 2], store=store, path="c").path == "c"


def test_open_makes_an_array_where_it_is_given_one() -> None:
    """Opening with a shape opens or makes an array, as the mode says."""
    store = cs.MemoryStore()
    made = cs.open(store, mode="w", shape=5, dtype="i4", chunks=2)
    assert isinstance(made, cs.Array)
    made[...] = 3
    again = cs.open(store, shape=5, dtype="i4")
    assert again[...].tolist() == [3] * 5
    with pytest.raises(FileNotFoundError):
        cs.open(cs.MemoryStore(), mode="r", shape=5, dtype="i4")


@pytest.mark.parametrize("source", [np.ones((2, 3), "f4"), [[1.0, 2.0]]])
def test_like_arrays_in_memory(source: Any) -> None:
    """An array may be like one of numpy, or a list: shape and dtype count."""
    values = np.asarray(source)
    made = cs.zeros_like(source, chunks=1)
    assert (made.shape, made.dtype, made.chunks) == (values.shape, values.dtype, (1, 1))
    assert cs.full_like(source, 2)[0, 0] == 2


def test_like_arrays_of_another_type() -> None:
    """Codecs and fill value of another type are chosen anew, the chunks stay."""
    text = cs.create_array(None, shape=4, chunks=2, dtype=str, fill_value="x")
    made = cs.open_like(text, dtype="i2")
    assert (made.chunks, made.fill_value) == ((2,), 0)
    assert [spec.name for spec in made.metadata.codecs] == ["bytes", "blosc", "crc32c"]
    filtered = cs.create_array(None, shape=4, chunks=2, dtype="f4",
                               filters={"id": "quantize", "digits": 1, "dtype": "<f4"})  # fmt: skip
    assert len(cs.open_like(filtered, dtype="f4").filters) == 1
    assert cs.open_like(filtered, dtype="f8").filters == ()


def test_from_array() -> None:
    """An array is made from one that is stored, with its layout, or from one in memory."""
    source = cs.create_array(None, data=np.arange(6), chunks=4, shards=8, attributes={"a": 1})
    store = cs.MemoryStore()
    made = cs.from_array(store, data=source, name="x", chunks=2)
    assert (made.chunks, made.shards, made.attrs["a"]) == ((2,), (8,), 1)
    assert made[...].tolist() == list(range(6))
    assert cs.from_array(store, data=[1, 2], name="y")[...].tolist() == [1, 2]


def test_open_consolidated() -> None:
    """A group opens from its consolidated metadata, or the error says that there is none."""
    root = cs.create_group(None)
    root.create_array("x", shape=2, dtype="i1")
    with pytest.raises(InvalidArgumentError):
        cs.open_consolidated(root.store)
    cs.consolidate_metadata(root.store)
    assert cs.open_consolidated(root.store).is_consolidated


def test_sizes_by_bytes() -> None:
    """Chunks and shards are as large as the sizes that are asked for, and hold each other."""
    made = cs.create_array(None, shape=(10_000, 10_000), dtype="f4", chunks="1MB", shards="64MB")
    assert 0.2e6 < np.prod(made.chunks) * 4 <= 1e6
    assert 16e6 < np.prod(made.shards) * 4 <= 80e6
    assert cs.create_array(None, shape=(5, 7), dtype="i1", chunks=(None, 2)).chunks == (5, 2)


def test_what_is_stored_is_told() -> None:
    """All that is known of an array can be read in a few lines, the stored bytes too."""
    made = cs.create_array(None, data=np.zeros((4, 4)) + 1, chunks=2, order="F")
    text = made.info_complete()
    assert f"stored         {made.nbytes_stored()} B" in text
    assert "chunks stored  4" in text
    assert (made.order, cs.zeros(3).order) == ("F", "C")

"""Damaged chunks are named and never read as data; what is whole stays readable."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.codecs.gzip import GzipCodec
from chunkstore.codecs.zstd import ZstdCodec
from chunkstore.errors import ChunkError, ChunkStoreError

VALUES = np.arange(1, 1 + 40 * 30, dtype="i4").reshape(40, 30)

CHECKED: dict[str, dict[str, Any]] = {
    "default": {},
    "gzip": {"compressors": GzipCodec(1)},
    "zstd-checksum": {"compressors": ZstdCodec(1, checksum=True)},
    "crc32c": {"compressors": {"name": "crc32c"}},
    "shards": {"shards": (20, 20)},
}
UNCHECKED: dict[str, dict[str, Any]] = {
    "plain": {"compressors": None},
    "zstd": {"compressors": ZstdCodec(1)},
    "version-2": {"zarr_format": 2},
    "fortran": {"order": "F"},
}


def make(folder: Path, layout: dict[str, Any]) -> tuple[cs.Array, Path]:
    """Make an array with values; gives it and the file of its chunk (1, 1), or shard."""
    array = cs.create_array(
        folder, name="a/x", shape=VALUES.shape, chunks=(10, 10), dtype="i4",
        options=cs.Options(n_threads=1), **layout,
    )  # fmt: skip
    array[...] = VALUES
    key = "1.1" if array.metadata.zarr_format == 2 else "c/1/1"
    return array, folder / "a" / "x" / key


def region(array: cs.Array) -> tuple[slice, ...]:
    """Give the elements of the damaged chunk, or shard."""
    return tuple(
        slice(size, min(2 * size, extent))
        for size, extent in zip(array.write_unit, array.shape, strict=True)
    )


@pytest.mark.parametrize("layout", CHECKED | UNCHECKED)
@pytest.mark.parametrize("n_bytes", [0, 1, 10, -1])
def test_cut_short(layout: str, n_bytes: int, tmp_path: Path) -> None:
    """A chunk that was cut short is an error with key, coordinates, array and store."""
    array, file = make(tmp_path, (CHECKED | UNCHECKED)[layout])
    whole = file.read_bytes()
    file.write_bytes(whole[:n_bytes])
    with pytest.raises(ChunkError) as error:
        array[...]
    facts = error.value
    assert facts.key == str(file.relative_to(tmp_path))
    assert facts.path == "a/x"
    assert facts.chunk_coords == (1, 1)
    assert facts.store == array.store
    for part in (repr(facts.key), "(1, 1)", "'a/x'", str(tmp_path)):
        assert part in str(facts)
    assert file.read_bytes() == whole[:n_bytes]


@pytest.mark.parametrize("layout", CHECKED | UNCHECKED)
def test_the_rest_is_readable(layout: str, tmp_path: Path) -> None:
    """Elements of whole chunks are read as before, and only a write of all mends a broken one."""
    array, file = make(tmp_path, (CHECKED | UNCHECKED)[layout])
    file.write_bytes(file.read_bytes()[:5])
    rows, columns = region(array)
    np.testing.assert_array_equal(array[: rows.start], VALUES[: rows.start])
    np.testing.assert_array_equal(array[:, : columns.start], VALUES[:, : columns.start])
    with pytest.raises(ChunkError):
        array[rows.start, columns.start] = 0
    assert len(file.read_bytes()) == 5
    array[rows, columns] = 7
    expected = VALUES.copy()
    expected[rows, columns] = 7
    np.testing.assert_array_equal(array[...], expected)


@pytest.mark.parametrize("layout", CHECKED)
def test_changed_bytes_are_found(layout: str, tmp_path: Path) -> None:
    """With a checksum no change of a stored byte is ever read as data."""
    array, file = make(tmp_path, CHECKED[layout])
    whole = file.read_bytes()
    dice = random.Random(layout)
    n_found = 0
    for _ in range(150):
        broken = bytearray(whole)
        broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        file.write_bytes(broken)
        try:
            found = array[...]
        except ChunkError:
            n_found += 1
        else:
            np.testing.assert_array_equal(found, VALUES)
    assert n_found > 100


@pytest.mark.parametrize("layout", CHECKED | UNCHECKED)
def test_nonsense_is_never_a_crash(layout: str, tmp_path: Path) -> None:
    """Whatever stands in a chunk's place gives values or an error of ours, and no other error."""
    array, file = make(tmp_path, (CHECKED | UNCHECKED)[layout])
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    nonsense = [b"", b"{}", bytes(len(whole)), b"\xff" * len(whole), whole * 2, whole[::-1]]
    nonsense += [rng.bytes(n) for n in (1, 16, 100, len(whole), 4000)]
    for value in nonsense:
        file.write_bytes(value)
        try:
            found = array[...]
        except ChunkStoreError:
            continue
        assert found.shape == VALUES.shape


def test_chunk_of_a_compressor_we_lack(tmp_path: Path) -> None:
    """A chunk that the library at hand cannot decompress is an error that names it."""
    codec = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 0}
    array, file = make(tmp_path, {"compressors": {"name": "blosc", "configuration": codec}})
    value = bytearray(file.read_bytes())
    # The container's flags: the compressor is in the three highest bits.
    value[2] = (value[2] & 0x1F) | (2 << 5)
    file.write_bytes(value)
    with pytest.raises(ChunkError, match=r"'a/x/c/1/1'.*blosc"):
        array[...]


def test_folder_in_place_of_a_chunk(tmp_path: Path) -> None:
    """A folder of a chunk's name is no value: the chunk reads as missing, and writing fails."""
    array, file = make(tmp_path, {"compressors": None})
    file.unlink()
    file.mkdir()
    assert array[10, 10] == 0
    with pytest.raises(ChunkStoreError, match="'a/x/c/1/1'"):
        array[10:20, 10:20] = 1


@pytest.mark.parametrize("layout", [{}, {"shards": 4}])
def test_writing_over_damage(layout: Any) -> None:
    """A write to a part of a damaged chunk is refused and says how to go on; the whole replaces."""
    made = cs.create_array(None, data=np.ones(4), chunks=2, **layout)
    key = made.engine.chunk_key((0,))
    made.store.set(key, b"foreign")
    with pytest.raises(cs.errors.ChunkError, match=r"stored there cannot be read.*whole chunk"):
        made[0] = 2
    assert made.store.get(key) == b"foreign"
    made[...] = 3
    assert made[...].tolist() == [3.0] * 4


def test_refusals_are_not_called_damage() -> None:
    """What the options refuse to read says which option, and not that the value is damaged."""
    made = cs.create_array(
        None, data=np.array([{1}], object), zarr_format=2, filters={"id": "pickle"},
        options=cs.Options(allow_pickle=True),
    )  # fmt: skip
    with pytest.raises(cs.errors.ChunkError) as caught:
        cs.open_array(made.store)[...]
    assert "allow_pickle=True" in str(caught.value)
    assert "damaged" not in str(caught.value)

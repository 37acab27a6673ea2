"""A small stored value never makes a reader take much memory, whatever it decodes to."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tracemalloc
import zlib
from typing import Any

import numcodecs
import numpy as np
import pytest

import chunkstore as cs

LIMIT = 1 << 20
BOMB_BYTES = 1 << 25
PEAK = 12 * LIMIT  # The dictionary of lzma alone takes 8 MiB.
ONE = cs.Options(max_decoded_bytes=LIMIT, n_threads=1)

COMPRESSORS: dict[str, tuple[Any, Any]] = {
    "zstd": ({"name": "zstd", "configuration": {"level": 3}}, numcodecs.Zstd(3).encode),
    "gzip": ({"name": "gzip", "configuration": {"level": 9}}, gzip.compress),
    "blosc": (numcodecs.Blosc("zstd"), numcodecs.Blosc("zstd").encode),
    "zlib": (numcodecs.Zlib(9), zlib.compress),
    "bz2": (numcodecs.BZ2(9), bz2.compress),
    "lzma": (numcodecs.LZMA(), lzma.compress),
    "lz4": (numcodecs.LZ4(), numcodecs.LZ4().encode),
}


def peak_of_reading(array: cs.Array) -> tuple[BaseException, int]:
    """Read an array that cannot be read; give the error and the most memory taken meanwhile."""
    tracemalloc.start()
    try:
        with pytest.raises(cs.errors.ChunkError) as caught:
            array[...]
        return caught.value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("dtype", [str, "bytes"])
def test_bombs_of_text(dtype: Any, compressor: str, zarr_format: Any) -> None:
    """Text and bytes decompress to no more than the options allow, and the error says so."""
    codec, compress = COMPRESSORS[compressor]
    store = cs.MemoryStore()
    made = cs.create_array(
        store, shape=1, dtype=dtype, compressors=codec, zarr_format=zarr_format, options=ONE
    )
    bomb = struct.pack("<II", 1, BOMB_BYTES) + bytes(BOMB_BYTES)
    store.set(made.engine.chunk_key((0,)), bytes(compress(bomb)))
    error, peak = peak_of_reading(made)
    assert "max_decoded_bytes" in str(error)
    assert peak < PEAK
    patient = made.with_options(max_decoded_bytes=BOMB_BYTES + 8)
    assert len(patient[0]) == BOMB_BYTES


@pytest.mark.parametrize("filter_id", ["json2", "msgpack2", "vlen-array", "vlen-bytes"])
def test_bombs_of_objects(filter_id: str) -> None:
    """Objects of version 2 decompress to no more than the options allow."""
    dtype: Any = {"vlen-array": "array:int32", "vlen-bytes": "bytes"}.get(filter_id, object)
    filters = {"id": filter_id, **({"dtype": "<i4"} if filter_id == "vlen-array" else {})}
    store = cs.MemoryStore()
    made = cs.create_array(
        store, shape=1, dtype=dtype, filters=filters, compressors=numcodecs.Zstd(), zarr_format=2,
        options=ONE,
    )  # fmt: skip
    store.set("0", bytes(numcodecs.Zstd().encode(b" " * BOMB_BYTES)))
    error, peak = peak_of_reading(made)
    assert "max_decoded_bytes" in str(error)
    assert peak < PEAK


def test_bomb_before_a_filter_of_version_2() -> None:
    """A compressor among the filters, behind text, is bounded as well."""
    store = cs.MemoryStore()
    made = cs.create_array(
        store, shape=1, dtype=str, filters=[numcodecs.VLenUTF8(), numcodecs.Zstd()],
        compressors=None, zarr_format=2, options=ONE,
    )  # fmt: skip
    store.set("0", bytes(numcodecs.Zstd().encode(bytes(BOMB_BYTES))))
    error, peak = peak_of_reading(made)
    assert "max_decoded_bytes" in str(error)
    assert peak < PEAK


@pytest.mark.parametrize("dtype", [str, "int32"])
def test_bombs_of_shards(dtype: Any) -> None:
    """A compressor around shards is bounded by what the inner chunks can take, or the options."""
    store = cs.MemoryStore()
    made = cs.create_array(
        store, shape=4, dtype=dtype, chunks=2, shards=4, compressors=None, options=ONE
    )
    document = made.metadata.codecs[0]._asdict()
    document.pop("must_understand")
    made = cs.create_array(
        store, shape=4, dtype=dtype, chunks=4, serializer=document,
        compressors={"name": "gzip", "configuration": {"level": 9}}, options=ONE, overwrite=True,
    )  # fmt: skip
    made[...] = np.arange(4).astype(made.dtype)
    assert made[...].tolist() == np.arange(4).astype(made.dtype).tolist()
    store.set(made.engine.chunk_key((0,)), gzip.compress(bytes(BOMB_BYTES)))
    _, peak = peak_of_reading(made)
    assert peak < PEAK


@pytest.mark.parametrize("dtype", [str, "bytes"])
def test_counts_without_elements(dtype: Any) -> None:
    """A count that the bytes cannot hold is refused before memory is taken for it."""
    n = 1 << 27
    store = cs.MemoryStore()
    made = cs.create_array(store, shape=n, chunks=n, dtype=dtype, compressors=None)
    store.set("c/0", struct.pack("<II", n, 0))
    tracemalloc.start()
    with pytest.raises(cs.errors.CodecError, match="too few"):
        made.engine.pipeline.decode(store.get("c/0") or b"")
    assert tracemalloc.get_traced_memory()[1] < LIMIT
    tracemalloc.stop()


def test_counts_in_msgpack() -> None:
    """MessagePack whose lists claim more than there is takes no memory for the claims."""
    store = cs.MemoryStore()
    made = cs.create_array(
        store, shape=1, dtype=object, filters=numcodecs.MsgPack(), compressors=None, zarr_format=2
    )
    n = 100_000
    store.set("0", (b"\xdd" + struct.pack(">I", n)) * 500 + bytes(n))
    error, peak = peak_of_reading(made)
    assert "msgpack2" in str(error)
    assert peak < 8 * n


def test_what_could_not_be_read_is_not_written() -> None:
    """A chunk that is longer than the options let one read is refused before it is stored."""
    store = cs.MemoryStore()
    made = cs.create_array(store, shape=2, dtype=str, options=ONE)
    with pytest.raises(cs.errors.ChunkError, match=r"smaller chunks.*max_decoded_bytes"):
        made[...] = "x" * LIMIT
    assert made.nchunks_initialized == 0
    uncompressed = cs.create_array(None, shape=2, dtype=str, compressors=None, options=ONE)
    uncompressed[...] = "x" * LIMIT
    assert len(uncompressed[1]) == LIMIT

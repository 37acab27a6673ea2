"""The filters of version 2 do to the bytes what numcodecs does when one follows the other."""

from __future__ import annotations

import json
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.codecs.chain import FilterChain
from chunkstore.errors import ChunkError, InvalidArgumentError, MetadataError

SHAPE = (4, 6)
BYTES_FILTERS: tuple[dict[str, Any], ...] = (
    {"id": "zlib", "level": 1},
    {"id": "bz2", "level": 1},
    {"id": "lzma", "preset": 0},
    {"id": "gzip", "level": 1},
    {"id": "lz4"},
    {"id": "zstd", "level": 1},
    {"id": "shuffle"},
    {"id": "shuffle", "elementsize": 2},
    {"id": "fletcher32"},
    {"id": "jenkins_lookup3"},
    {"id": "crc32"},
    {"id": "crc32", "location": "end"},
    {"id": "crc32c"},
    {"id": "adler32"},
    {"id": "base64"},
)


def by_numcodecs(values: np.ndarray, filters: list[dict[str, Any]], order: str = "C") -> bytes:
    """Encode a chunk as version 2 says: each filter gets what the one before it returns."""
    data: Any = np.array(values, order=order)  # type: ignore[call-overload]
    for configuration in filters:
        data = numcodecs.get_codec(dict(configuration)).encode(data)
    return numcodecs.compat.ensure_bytes(data)


def stored_by_us(
    values: np.ndarray, dtype: str, filters: list[Any], compressor: Any = None, order: str = "C"
) -> tuple[cs.MemoryStore, bytes]:
    """Write one chunk and give what is stored."""
    store = cs.MemoryStore()
    array = cs.create_array(
        store, shape=SHAPE, chunks=SHAPE, dtype=dtype, zarr_format=2, filters=filters,
        compressors=compressor, order=order, fill_value=0,
        options=cs.Options(write_empty_chunks=True),
    )  # fmt: skip
    array[...] = values.astype(values.dtype.newbyteorder("="))
    value = store.get("0.0")
    assert value is not None
    return store, bytes(value)


@st.composite
def chains(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """Draw a type and filters, those of numbers first, each seeing what the one before makes."""
    order = draw(st.sampled_from("<>"))
    dtype = order + draw(st.sampled_from(("i2", "i4", "u2", "u4", "i8")))
    filters: list[dict[str, Any]] = []
    current = dtype
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(("delta", "wider", "astype", "viewed")))
        if kind == "delta":
            filters.append({"id": "delta", "dtype": current})
        elif kind == "viewed":
            # Another byte order, as no writer would mean it, but the bytes come back all the same.
            seen = draw(st.sampled_from("<>")) + current[1] + current[2]
            filters.append({"id": "delta", "dtype": seen})
            current = seen
        else:
            wide = draw(st.sampled_from("<>")) + "i8"
            if current[1:] == "i8":
                continue
            key = ("dtype", "astype") if kind == "wider" else ("decode_dtype", "encode_dtype")
            codec_id = "delta" if kind == "wider" else "astype"
            filters.append({"id": codec_id, key[0]: current, key[1]: wide})
            current = wide
    filters += draw(st.lists(st.sampled_from(BYTES_FILTERS), max_size=2))
    return dtype, filters


@given(chains(), st.sampled_from("CF"), st.integers(0, 5))
def test_bytes_are_those_of_numcodecs(
    chain: tuple[str, list[dict[str, Any]]], order: str, seed: int
) -> None:
    """Whatever the filters, byte orders and layout, the stored bytes are numcodecs' own."""
    dtype, filters = chain
    raw = np.random.default_rng(seed).bytes(24 * np.dtype(dtype).itemsize)
    values = np.frombuffer(raw, dtype).reshape(SHAPE)
    expected = by_numcodecs(values, filters, order)
    store, value = stored_by_us(values, dtype, filters, order=order)
    if not any(f["id"] in ("gzip", "zlib", "bz2", "lzma", "zstd") for f in filters):
        assert value == expected
    # Compressors may do the same in other bytes; ours are read by theirs and theirs by ours.
    decoded: Any = value
    for configuration in reversed(filters):
        decoded = numcodecs.get_codec(dict(configuration)).decode(decoded)
    back = np.frombuffer(numcodecs.compat.ensure_bytes(decoded), dtype).reshape(SHAPE, order=order)  # type: ignore[arg-type]
    np.testing.assert_array_equal(back, values)
    store.set("0.0", expected)
    np.testing.assert_array_equal(cs.open_array(store)[...], values)


@pytest.mark.parametrize(
    ("dtype", "filters"),
    [
        (">f8", [{"id": "fixedscaleoffset", "offset": 0, "scale": 4, "dtype": ">f8",
                  "astype": "<i2"}, {"id": "delta", "dtype": "<i2"}]),
        ("<f4", [{"id": "quantize", "digits": 2, "dtype": "<f4", "astype": ">f8"}]),
        ("<f4", [{"id": "bitround", "keepbits": 8}, {"id": "shuffle"}]),
        ("<f4", [{"id": "bitround", "keepbits": 8}, {"id": "delta", "dtype": "<i4"}]),
        ("<f8", [{"id": "bitround", "keepbits": 52}]),
        ("<f8", [{"id": "astype", "encode_dtype": ">f4", "decode_dtype": "<f8"}]),
        ("|b1", [{"id": "packbits"}, {"id": "zlib"}]),
        ("|b1", [{"id": "shuffle", "elementsize": 1}, {"id": "packbits"}]),
        ("|u1", [{"id": "packbits"}]),
        ("<i4", [{"id": "delta", "dtype": "<i2"}]),
        ("<i4", [{"id": "crc32"}, {"id": "delta", "dtype": "<u4"}]),
        ("<i4", [{"id": "shuffle"}, {"id": "delta", "dtype": "u1"}, {"id": "lz4"}]),
    ],
    ids=str,
)  # fmt: skip
def test_filters_of_numbers(dtype: str, filters: list[dict[str, Any]]) -> None:
    """Filters that change types, shapes and byte orders give numcodecs' bytes and values."""
    numbers = np.arange(-12, 12).reshape(SHAPE) / (4 if "f" in dtype else 1)
    values = (numbers % 2 if dtype in ("|b1", "|u1") else numbers).astype(dtype)
    expected = by_numcodecs(values, filters)
    store, value = stored_by_us(values, dtype, filters)
    assert value == expected
    decoded: Any = expected
    for configuration in reversed(filters):
        decoded = numcodecs.get_codec(dict(configuration)).decode(decoded)
    back = np.frombuffer(numcodecs.compat.ensure_bytes(decoded), dtype).reshape(SHAPE)
    np.testing.assert_array_equal(cs.open_array(store)[...], back)


def test_dates_taken_for_integers() -> None:
    """A filter may be configured for other elements than the array's, of the same bytes."""
    filters = [{"id": "delta", "dtype": "<i8", "astype": "<i4"}, {"id": "zlib", "level": 1}]
    days = np.datetime64("1970-01-01") + np.arange(24).reshape(SHAPE)
    store, value = stored_by_us(days, "<M8[D]", filters)
    assert value == by_numcodecs(days.astype("<M8[D]"), filters)
    np.testing.assert_array_equal(cs.open_array(store)[...], days)


@pytest.mark.parametrize("codec_id", ["delta", "astype", "packbits", "pcodec", "zfpy"])
def test_compressors_of_numbers(codec_id: str) -> None:
    """What takes numbers works as the compressor too, alone and behind filters."""
    if codec_id in ("pcodec", "zfpy"):
        pytest.importorskip(codec_id)
    dtype = {"packbits": "|b1", "zfpy": "<f8", "pcodec": "<f4"}.get(codec_id, "<i4")
    configuration = {
        "delta": {"dtype": "<i4"}, "astype": {"decode_dtype": "<i4", "encode_dtype": "<i8"},
    }.get(codec_id, {})  # fmt: skip
    compressor = {"id": codec_id, **configuration}
    values = (np.arange(24).reshape(SHAPE) % 2).astype(dtype)
    for filters in ([], [{"id": "shuffle", "elementsize": 1}]):
        if filters and codec_id != "packbits":
            continue
        store, value = stored_by_us(values, dtype, filters, compressor)
        assert value == by_numcodecs(values, [*filters, compressor])
        np.testing.assert_array_equal(cs.open_array(store)[...], values)


@pytest.mark.parametrize(
    ("filters", "compressor"),
    [
        ([{"id": "shuffle", "elementsize": 4}, {"id": "zlib", "level": 4}], None),
        ([{"id": "delta", "dtype": "<i4", "astype": ">i8"}], {"id": "zstd", "level": 0}),
        (None, {"id": "delta", "dtype": "<i4"}),
        ([{"id": "crc32c"}], {"id": "bz2", "level": 1}),
    ],
)
def test_document_keeps_filters_and_compressor_apart(filters: Any, compressor: Any) -> None:
    """Writing the document again, as a resize does, changes nothing about its codecs."""
    store = cs.MemoryStore()
    cs.create_array(
        store, shape=SHAPE, dtype=">i4", zarr_format=2, filters=filters, compressors=compressor
    )
    before = json.loads(store.get(".zarray") or b"")
    assert (before["filters"], before["compressor"]) == (filters, compressor)
    cs.open_array(store, mode="r+").resize((8, 6))
    after = json.loads(store.get(".zarray") or b"")
    assert after == {**before, "shape": [8, 6]}


@pytest.mark.parametrize(
    ("filters", "path", "what"),
    [
        ([{"id": "zlib"}, {"id": "delta", "dtype": "<i4"}], "filters[1]", "no fixed number"),
        ([{"id": "shuffle"}, {"id": "zlib", "level": 11}], "filters[1].level", "from -1 to 9"),
        ([{"id": "nonsense"}], "filters[0]", "is not known"),
        ([{"id": "delta", "dtype": "<i4", "astype": "O"}], "filters[0].astype", "type string"),
        ([{"id": "delta", "dtype": "nonsense"}], "filters[0].dtype", "type string"),
        ([{"id": "delta"}], "filters[0].dtype", "needs 'dtype'"),
        ([{"id": "quantize", "digits": 1, "dtype": "<i4"}], "filters[0].dtype", "rounds floats"),
        ([{"id": "bitround", "keepbits": 3}], "filters[0]", "cannot round int32"),
        ([{"id": "shuffle", "size": 3}], "filters[0].size", "does not know"),
        ([{"id": "delta", "dtype": "<c16"}], "filters[0]", "100 bytes cannot hold"),
    ],
)
def test_problems_name_the_filter(filters: Any, path: str, what: str) -> None:
    """A filter that cannot be made is reported at its place in the document."""
    store = cs.MemoryStore()
    shape = (3, 8) if "<c16" not in str(filters) else (5, 5)
    document = {
        "zarr_format": 2, "shape": shape, "chunks": shape, "dtype": "<i4", "fill_value": 0,
        "order": "C", "filters": filters, "compressor": None,
    }  # fmt: skip
    store.set(".zarray", json.dumps(document).encode())
    with pytest.raises(MetadataError) as error:
        cs.open_array(store)
    ((found, text),) = error.value.problems
    assert found == path
    assert what in text


def test_floats_are_not_swapped() -> None:
    """A filter that would round floats with their bytes swapped is refused."""
    quantize = {"id": "quantize", "digits": 1, "dtype": "<f8"}
    with pytest.raises(InvalidArgumentError, match=r"takes <f8, but is given >f8"):
        stored_by_us(np.ones(SHAPE), ">f8", [quantize])


def test_bomb_behind_a_filter() -> None:
    """No filter decodes to more than the chunk, however little is stored."""
    filters = [{"id": "delta", "dtype": "<i4"}, {"id": "zlib", "level": 9}, {"id": "bz2"}]
    store, _ = stored_by_us(np.zeros(SHAPE, "<i4"), "<i4", filters)
    for n_layers in (1, 2):
        bomb: Any = bytes(1 << 24)
        for configuration in filters[-n_layers:]:
            bomb = numcodecs.get_codec(dict(configuration)).encode(bomb)
        store.set("0.0", bytes(bomb))
        with pytest.raises(ChunkError, match=r"(?s)expected|cannot decode"):
            cs.open_array(store)[...]


def test_chain_says_what_it_holds() -> None:
    """The pipeline shows the filters themselves, for those who copy an array to another layout."""
    store, _ = stored_by_us(
        np.zeros(SHAPE), "<f8", [{"id": "quantize", "digits": 1, "dtype": "<f8"}]
    )
    serializer = cs.open_array(store).engine.pipeline.serializer
    assert isinstance(serializer, FilterChain)
    assert [codec.name for codec in serializer.filters] == ["numcodecs.quantize"]
    assert hash(serializer) == hash(serializer)

"""Blosc buffers carry the configuration, and their header is believed only where it can be."""

from __future__ import annotations

import numpy as np
import pytest
from numcodecs import blosc

from chunkstore.codecs.blosc import BloscCodec
from chunkstore.errors import CodecError
from tests.contracts.codecs import spec_for

DATA = (np.arange(4000, dtype="i4") // 5).tobytes()
AVAILABLE = blosc.list_compressors()
NAMES = ("lz4", "lz4hc", "blosclz", "zstd", "snappy", "zlib")


@pytest.mark.parametrize("cname", [name for name in NAMES if name in AVAILABLE])
@pytest.mark.parametrize("shuffle", ["noshuffle", "shuffle", "bitshuffle"])
def test_others_read_what_we_write(cname: str, shuffle: str) -> None:
    """The library reads every combination, and its header tells what was asked for."""
    value = bytes(BloscCodec(cname, 5, shuffle, 4, 0).encode(DATA))
    assert blosc.decompress(value) == DATA
    # Bytes 2 and 3 of the header: flags and element size.
    assert value[3] == 4
    assert (value[2] & 1, value[2] >> 2 & 1) == {
        "noshuffle": (0, 0),
        "shuffle": (1, 0),
        "bitshuffle": (0, 1),
    }[shuffle]


def test_compressor_that_is_not_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding with a compressor that the library lacks is refused, naming those it has."""
    monkeypatch.setattr(blosc, "list_compressors", lambda: ["lz4"])
    with pytest.raises(CodecError, match=r"without 'snappy'.*lz4"):
        BloscCodec("snappy", 5, "shuffle", 4, 0).encode(DATA)


@pytest.mark.parametrize(
    ("configuration", "dtype", "typesize"),
    [
        ({"shuffle": "shuffle"}, "f8", 8),
        ({"shuffle": "bitshuffle"}, "i2", 2),
        ({"shuffle": "noshuffle"}, "f8", None),
        ({"shuffle": "shuffle", "typesize": None}, "u1", 1),
        ({"shuffle": "shuffle", "typesize": 3}, "f8", 3),
        ({"shuffle": "shuffle"}, "string", 1),
    ],
)
def test_missing_typesize(configuration: dict[str, object], dtype: str, typesize: int) -> None:
    """A missing element size is that of the data type, and is written from then on."""
    given = {"cname": "lz4", "clevel": 5, **configuration}
    codec = BloscCodec.from_configuration(given, spec_for((2,), dtype))
    assert codec.typesize == typesize
    assert codec.configuration().get("typesize") == typesize
    assert codec.configuration()["blocksize"] == 0


@pytest.mark.parametrize("typesize", [255, 256, 70_000])
def test_long_elements(typesize: int) -> None:
    """Elements longer than the container can say are stored all the same."""
    codec = BloscCodec("lz4", 5, "shuffle", typesize, 0)
    assert bytes(codec.decode(codec.encode(DATA))) == DATA


def test_too_long_for_a_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk longer than the container holds is refused with what to do about it."""
    monkeypatch.setattr(blosc, "MAX_BUFFERSIZE", 100)
    with pytest.raises(CodecError, match=r"at most 100 bytes, got 16000; choose smaller chunks"):
        BloscCodec().encode(DATA)


def test_stored_length_must_match() -> None:
    """A buffer that is longer or shorter than its header says is damaged."""
    value = bytes(BloscCodec().encode(DATA))
    for broken in (value + b"\x00", value[:-1]):
        with pytest.raises(CodecError, match="declares"):
            BloscCodec().decode(broken)


def test_header_alone() -> None:
    """Less than a header is refused before the library sees it."""
    with pytest.raises(CodecError, match="less than its header"):
        BloscCodec().decode(bytes(15))

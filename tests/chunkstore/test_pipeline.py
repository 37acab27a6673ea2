"""Lists of codecs are put together only where they fit, and every misfit is reported."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from chunkstore.layout import array_metadata
from chunkstore.metadata.model import CodecSpec
from chunkstore.pipeline import Pipeline
from chunkstore.sharding import pipeline_problems

BYTES = CodecSpec("bytes", {"endian": "little"})
CRC32C = CodecSpec("crc32c", {})
GZIP = CodecSpec("gzip", {"level": 1})
FLIP = CodecSpec("transpose", {"order": [1, 0]})


def problems(*codecs: CodecSpec) -> list[tuple[str, str]]:
    """List what is wrong with codecs for chunks of 4 × 3 int32."""
    metadata = array_metadata(shape=(4, 3), dtype="i4", chunks=(4, 3)).replace(codecs=codecs)
    made = pipeline_problems(metadata)
    return [] if isinstance(made, Pipeline) else made


@pytest.mark.parametrize(
    "codecs",
    [
        (BYTES,),
        (FLIP, BYTES),
        (FLIP, FLIP, BYTES, GZIP, CRC32C, GZIP),
        (BYTES, CRC32C, CRC32C),
        (CodecSpec("nonsense", {}, must_understand=False), BYTES),
        (BYTES, CodecSpec("nonsense", {"a": 1}, must_understand=False)),
    ],
)
def test_what_fits(codecs: tuple[CodecSpec, ...]) -> None:
    """Array codecs, a serializer and byte codecs fit in this order; unknown ones may be skipped."""
    assert problems(*codecs) == []


@pytest.mark.parametrize(
    ("codecs", "path", "what"),
    [
        ((), "codecs", "must have one codec from array to bytes"),
        ((FLIP,), "codecs", "must have one codec from array to bytes"),
        ((GZIP, BYTES), "codecs[0]", "takes bytes"),
        ((BYTES, FLIP), "codecs[1]", "takes an array, but bytes before it"),
        ((BYTES, BYTES), "codecs[1]", "takes an array, but bytes before it"),
        ((BYTES, CodecSpec("nonsense", {})), "codecs[1]", "'nonsense' is not known"),
        ((CodecSpec("bytes", {}),), "codecs[0]", "endian"),
        ((BYTES, CodecSpec("gzip", {"level": 10})), "codecs[1].configuration.level", "from 0 to 9"),
        ((BYTES, CodecSpec("gzip", {})), "codecs[1].configuration.level", "needs 'level'"),
        (
            (CodecSpec("transpose", {"order": [0]}), BYTES),
            "codecs[0].configuration.order",
            "permutation of [0, 1]",
        ),
    ],
)
def test_what_does_not_fit(codecs: tuple[CodecSpec, ...], path: str, what: str) -> None:
    """Each misfit is reported with its place in the document and with what would fit."""
    ((found, text),) = problems(*codecs)
    assert found == path
    assert what in text


def test_all_misfits_are_reported() -> None:
    """One look at a document shows everything that is wrong with its codecs."""
    found = problems(
        CodecSpec("transpose", {"order": "F"}),
        BYTES,
        CodecSpec("gzip", {"level": "high"}),
        CodecSpec("nonsense", {}),
    )
    assert [path for path, _ in found] == [
        "codecs[0].configuration.order",
        "codecs[2].configuration.level",
        "codecs[3]",
    ]


def test_bytes_codec_is_no_filter() -> None:
    """In version 3 a codec of bytes cannot come before the elements are laid out as bytes."""
    gzip = {"name": "gzip", "configuration": {"level": 1}}
    with pytest.raises(InvalidArgumentError, match="takes bytes"):
        cs.create_array(None, shape=(4, 3), dtype="i4", filters=gzip)


def test_shape_is_threaded_through() -> None:
    """Each codec is made for what the one before it gives, not for the array's chunk."""
    cycle = {"name": "transpose", "configuration": {"order": [2, 0, 1]}}
    array = cs.create_array(
        None, shape=(2, 3, 4), chunks=(2, 3, 4), dtype="u1", filters=[cycle, cycle],
        compressors=None,
    )  # fmt: skip
    values = np.arange(24, dtype="u1").reshape(2, 3, 4)
    array[...] = values
    assert array.store.get("c/0/0/0") == values.transpose(2, 0, 1).transpose(2, 0, 1).tobytes()
    np.testing.assert_array_equal(array[...], values)


@pytest.mark.parametrize(
    "arguments",
    [
        {"compressors": {"name": "nonsense"}},
        {"compressors": [{"name": "gzip", "configuration": {"level": 11}}]},
        {"filters": {"name": "transpose", "configuration": {"order": [0, 0]}}},
        {"serializer": {"name": "gzip", "configuration": {"level": 1}}},
        {"serializer": {"name": "bytes"}},
        {"compressors": {"name": "bytes", "configuration": {"endian": "little"}}},
        {"compressors": 5},
        {"compressors": "nonsense"},
        {"filters": [None]},
        {"compressors": {"level": 5}},
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_creators_misfit_is_an_argument_error(arguments: dict[str, Any], zarr_format: Any) -> None:
    """Codecs that a creator asks for and that do not fit are refused, and nothing is made."""
    store = cs.MemoryStore()
    with pytest.raises(InvalidArgumentError):
        cs.create_array(store, shape=(4, 3), dtype="i4", zarr_format=zarr_format, **arguments)
    assert list(store.list_prefix()) == []

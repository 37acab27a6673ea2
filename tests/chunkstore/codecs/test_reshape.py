"""Shapes are worked out as the specification says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.codecs.reshape import ReshapeCodec
from chunkstore.errors import CodecError, MetadataError
from tests.contracts.codecs import spec_for

CHUNK = (100, 50, 64, 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([[0, 1], [2], 3], (5000, 64, 3)),
        ([[0, 1], -1], (5000, 192)),
        ([[0], 10, -1, [3]], (100, 10, 320, 3)),
        ([-1], (960_000,)),
        ([-1, [3]], (320_000, 3)),
        ([[0, 1, 2, 3]], (960_000,)),
        ([2, 50, [1], [2, 3]], (2, 50, 50, 192)),
        ([1, [0], [1, 2], 1, [3], 1], (1, 100, 3200, 1, 3, 1)),
        ([[0], [], [1], [2], [3]], (100, 1, 50, 64, 3)),
    ],
)
def test_shapes(shape: list[Any], expected: tuple[int, ...]) -> None:
    """Lengths, axes and what is left over give the new shape."""
    spec = spec_for(CHUNK, "u1")
    codec = ReshapeCodec.from_configuration({"shape": shape}, spec)
    assert codec.resolve(spec).shape == expected


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        ([[1], [0], -1], "out of order"),
        ([[1, 0], 10, [2, 3]], "out of order"),
        ([[2, 3], 10, [0, 1]], "out of order"),
        ([10, [1], -1], "moves axes"),
        ([[0], [2], -1], "moves axes"),
        ([[0, 2], [3], 50], "moves axes"),
        ([[0], -1, -1], "only once"),
        ([7, -1], "does not keep"),
        ([[0], [1], [2]], "does not keep"),
        ([[0], [4], -1], "has not"),
    ],
)
def test_what_is_refused(shape: list[Any], what: str) -> None:
    """What does not keep the elements, or names axes where they are not, is refused."""
    with pytest.raises(CodecError, match=what) as error:
        ReshapeCodec.from_configuration({"shape": shape}, spec_for(CHUNK, "u1"))
    assert error.value.key == "shape"


def test_chunks_of_different_shapes() -> None:
    """Axes named rather than lengths fit chunks of any shape; a length that does not is refused."""
    store, values = cs.MemoryStore(), np.arange(24).reshape(6, 4)
    codec = {"name": "reshape", "configuration": {"shape": [[0, 1]]}}
    cs.create_array(store, data=values, chunks=[[2, 4], [3, 1]], filters=[codec])
    np.testing.assert_array_equal(cs.open_array(store)[...], values)
    document = json.loads(store.get("zarr.json") or b"")
    document["codecs"][0]["configuration"]["shape"] = [12, -1]
    store.set("zarr.json", json.dumps(document).encode())
    with pytest.raises(MetadataError, match=r"codecs\[0\].configuration.shape: .*does not keep"):
        cs.open_array(store)

"""Transpose permutes as the specification says: axis i of the result is axis order[i]."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from chunkstore.codecs.transpose import TransposeCodec
from tests.contracts.codecs import spec_for


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_permutation(order: tuple[int, ...]) -> None:
    """Each element is found at its permuted place, and back at its own after decoding."""
    array = np.arange(24, dtype="u1").reshape(2, 3, 4)
    spec = spec_for((2, 3, 4), "u1")
    codec = TransposeCodec(order)
    encoded = codec.encode(array, spec)
    assert encoded.shape == tuple((2, 3, 4)[axis] for axis in order)
    for index in np.ndindex(array.shape):
        assert encoded[tuple(index[axis] for axis in order)] == array[index]
    np.testing.assert_array_equal(codec.decode(encoded, spec), array)


def test_neither_direction_copies() -> None:
    """Both directions give views."""
    array = np.zeros((2, 3))
    codec, spec = TransposeCodec((1, 0)), spec_for((2, 3), "f8")
    assert np.shares_memory(codec.encode(array, spec), array)
    assert np.shares_memory(codec.decode(array.T, spec), array)


def test_spec_keeps_type_and_fill_value() -> None:
    """Only the shape of what is encoded changes."""
    spec = spec_for((2, 3), "f8").replace(fill_value=5.0)
    resolved = TransposeCodec((1, 0)).resolve(spec)
    assert (resolved.shape, resolved.data_type, resolved.fill_value) == (
        (3, 2),
        spec.data_type,
        5.0,
    )

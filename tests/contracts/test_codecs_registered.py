"""The registered extension codecs, and numcodecs' filters, keep the contract of their kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from chunkstore.codecs.astype import AsTypeCodec
from chunkstore.codecs.cast_value import CastValueCodec
from chunkstore.codecs.delta import DeltaCodec
from chunkstore.codecs.packbits import NumcodecsPackbitsCodec, PackbitsCodec
from chunkstore.codecs.reshape import ReshapeCodec
from chunkstore.codecs.scale_offset import ScaleOffsetCodec
from chunkstore.dtypes import from_numpy
from tests.contracts.codecs import ArrayArrayContract, ArrayBytesContract, spec_for

NO_INTEGERS: tuple[Any, ...] = (True, "1", 1.0, [1], 2**70)


class TestReshape(ArrayArrayContract):
    """Two axes joined, and a last one of what is left."""

    codec = ReshapeCodec(((0, 1), -1))
    shapes = ((2, 3, 4), (1, 5, 1), (4, 1, 2))
    spec = spec_for((2, 3, 4), "i4")
    bad_configurations = (
        {},
        {"shape": 24},
        {"shape": [23]},
        {"shape": [-1, -1]},
        {"shape": [-2, 12]},
        {"shape": [0, -1]},
        {"shape": [True, 24]},
        {"shape": [2.0, 12]},
        {"shape": ["0", 12]},
        {"shape": [[0], [1], [3]]},
        {"shape": [[-1], [0], [1]]},
        {"shape": [[1], [0], [2]]},
        {"shape": [[0, 2], [1]]},
        {"shape": [[1, 0], 4]},
        {"shape": [[0, 0], 6]},
        {"shape": [3, [0], 4]},
        {"shape": [[0.0], 12]},
        {"shape": [5, -1]},
    )


class TestPackbits(ArrayBytesContract):
    """Every bit of every type; booleans shrink to one."""

    codec = PackbitsCodec()


class TestPackbitsPadded(ArrayBytesContract):
    """The padding counted in front."""

    codec = PackbitsCodec("first_byte")
    dtypes = ("?", "u1", "f4")
    bad_configurations = (
        {"padding_encoding": "second_byte"},
        {"padding_encoding": None},
        {"first_bit": 32},
        {"last_bit": 32},
        {"first_bit": -1},
        {"first_bit": 9, "last_bit": 8},
        *({"first_bit": v} for v in NO_INTEGERS),
        *({"last_bit": v} for v in NO_INTEGERS),
    )


class TestNumcodecsPackbits(ArrayArrayContract):
    """Booleans only."""

    codec = NumcodecsPackbitsCodec()
    shapes = ((1,), (8,), (3, 4), (2, 1, 5))
    dtypes = ("?",)
    spec = spec_for((6,), "?")
    test_documented_example = None


class TestDelta(ArrayArrayContract):
    """Whole numbers of one type, which wrap around and back."""

    codec = DeltaCodec(np.dtype("<i4"), np.dtype("<i4"))
    shapes = ((1,), (7,), (3, 4), (2, 1, 5))
    dtypes = ("i4", "u4")
    bad_configurations = (
        {},
        {"dtype": None},
        {"dtype": "O"},
        {"dtype": "i4,i4"},
        {"dtype": "<i8"},
        {"dtype": "<i4", "astype": "?"},
        {"dtype": "<i4", "astype": "<c8"},
        {"dtype": "<i4", "astype": 4},
        {"dtype": "<M8[s]"},
        {"dtype": "("},
        {"dtype": ["<i4"]},
    )


class TestAsType(ArrayArrayContract):
    """A wider type, which holds every value."""

    codec = AsTypeCodec(np.dtype("<f4"), np.dtype("<f8"))
    shapes = ((1,), (3, 4))
    dtypes = ("f4",)
    spec = spec_for((2, 3, 4), "f4")
    bad_configurations = (
        {},
        {"encode_dtype": "f5"},
        {"encode_dtype": "O"},
        {"encode_dtype": "<f8", "decode_dtype": "<f8"},
        {"encode_dtype": "S0"},
    )

    def test_round_trip(self) -> None:
        """Values come back, NaN as some NaN."""
        for spec, array in self.cases():
            decoded = self.codec.decode(self.codec.encode(array, spec), spec)
            np.testing.assert_array_equal(decoded, array)

    def test_documented_example(self) -> None:
        """The example is for float64."""
        made = AsTypeCodec.from_configuration({"encode_dtype": "<f4"}, spec_for((2,), "f8"))
        assert made == AsTypeCodec(np.dtype("<f8"), np.dtype("<f4"))


class TestCastValue(ArrayArrayContract):
    """A wider type, which holds every value."""

    codec = CastValueCodec(from_numpy("int64"))
    shapes = ((1,), (3, 4), (2, 1, 5))
    dtypes = ("i1", "u1", "i2", "u2", "i4", "u4", "i8")
    bad_configurations = (
        {},
        {"data_type": "bool"},
        {"data_type": "complex64"},
        {"data_type": "nonsense"},
        {"data_type": None},
        {"data_type": ["int8"]},
        {"data_type": "int8", "rounding": "up"},
        {"data_type": "int8", "rounding": None},
        {"data_type": "int8", "out_of_range": "saturate"},
        {"data_type": "float32", "out_of_range": "wrap"},
        {"data_type": "int8", "scalar_map": []},
        {"data_type": "int8", "scalar_map": {"decode": 1}},
        {"data_type": "int8", "scalar_map": {"encode": [[1]]}},
        {"data_type": "int8", "scalar_map": {"encode": {"1": 2}}},
        {"data_type": "int8", "scalar_map": {"both": []}},
        {"data_type": "int8", "scalar_map": {"encode": [["NaN", 0]]}},
        {"data_type": "int8", "scalar_map": {"encode": [[1, 128]]}},
        {"data_type": "int8", "scalar_map": {"encode": [[0, 1]]}},
    )

    test_documented_example = None  # It maps NaN, so it is for floats: see test_table.


class TestScaleOffset(ArrayArrayContract):
    """Nothing subtracted, and multiplied by one."""

    codec = ScaleOffsetCodec(0, 1)
    shapes = ((1,), (3, 4), (2, 1, 5))
    dtypes = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
    bad_configurations = (
        {"scale": 0},
        {"scale": 0.5},
        {"scale": None},
        {"scale": True},
        {"offset": "NaN"},
        {"offset": 2**31},
        {"offset": [1]},
    )

    test_documented_example = None  # Its scale is a fraction, so it is for floats: see test_table.

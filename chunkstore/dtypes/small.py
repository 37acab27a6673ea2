"""Types below 8 bits and the floats of machine learning: their facts, and where numpy gets them.

Floor 1. The only module that imports ml_dtypes, which is an optional extra and is loaded when the
first array of such a type is opened. Elements take whole bytes in memory and in the ``bytes``
codec, even where they need fewer bits.

Source: zarr-extensions, "data-types": bfloat16, float8_*, float6_*, float4_*, int2, int4, uint2,
uint4, complex_*.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from chunkstore.errors import MissingExtraError

__all__ = ["COMPLEX", "FLOATS", "INTEGERS", "dtype_of"]


class FloatFacts(NamedTuple):
    """Bits of a float, and which of its bit patterns mean NaN and infinity, where it has them."""

    bits: int
    nan: int | None = None
    infinity: int | None = None


INTEGERS = {"int2": 2, "int4": 4, "uint2": 2, "uint4": 4}
"""Name -> bits."""

FLOATS = {
    "bfloat16": FloatFacts(16, 0x7FC0, 0x7F80),
    "float8_e3m4": FloatFacts(8, 0x78, 0x70),
    "float8_e4m3": FloatFacts(8, 0x7C, 0x78),
    "float8_e4m3b11fnuz": FloatFacts(8, 0x80),
    "float8_e4m3fn": FloatFacts(8, 0x7F),
    "float8_e4m3fnuz": FloatFacts(8, 0x80),
    "float8_e5m2": FloatFacts(8, 0x7E, 0x7C),
    "float8_e5m2fnuz": FloatFacts(8, 0x80),
    "float8_e8m0fnu": FloatFacts(8, 0xFF),
    "float6_e2m3fn": FloatFacts(6),
    "float6_e3m2fn": FloatFacts(6),
    "float4_e2m1fn": FloatFacts(4),
}
"""Name -> facts; ``float8_e4m3fn`` is not registered, but TensorStore writes it."""

COMPLEX = {"complex_float16": "complex32", "complex_bfloat16": "bcomplex32"}
"""Name -> the name in ml_dtypes, for those it has; the others are pairs of `FLOATS`."""


@lru_cache(maxsize=64)
def dtype_of(name: str) -> np.dtype[Any]:
    """Give the numpy dtype that ml_dtypes has under a name.

    Raises
    ------
    MissingExtraError
        If ml_dtypes is not installed, or too old to have it.
    """
    try:
        import ml_dtypes
    except ImportError as error:
        raise MissingExtraError(
            f"the data type {name} needs ml_dtypes, which is not installed: "
            f"pip install 'chunkstore[dtypes]'"
        ) from error
    found: type[Any] | None = getattr(ml_dtypes, name, None)
    if found is None:
        raise MissingExtraError(
            f"the data type {name} needs a newer ml_dtypes than {ml_dtypes.__version__}: "
            f"pip install --upgrade 'chunkstore[dtypes]'"
        )
    return np.dtype(found)

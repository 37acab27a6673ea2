"""What the stores beside this file hold: one array of five elements for each data type.

Chunks have two elements. The first three elements are written, so that the second chunk holds a
fill value and the third is not stored. Used by `generate.py`, which runs under several versions
of the other libraries, and by the test that reads the stores: needs only numpy and ml_dtypes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

SHAPE, CHUNK, N_WRITTEN = 5, 2, 3


class Case(NamedTuple):
    """One array: its type as the writer is told it, its three values, and its fill value."""

    dtype: Any
    values: Any
    fill: Any
    filters: tuple[str, ...] = ()
    """Ids of numcodecs; see `generate.filters_of`."""


def objects(*values: Any) -> np.ndarray:
    """Give an array of just these objects."""
    made = np.empty(len(values), object)
    for i, value in enumerate(values):
        made[i] = value
    return made


def bits(dtype: str, *values: int) -> np.ndarray:
    """Give floats with these bits."""
    return np.array(values, f"u{np.dtype(dtype).itemsize}").view(dtype)


RECORD = [("a", "<i4"), ("b", "<f8")]
NESTED = [("n", [("x", "<i4"), ("t", "<M8[s]")]), ("u", "<U2"), ("s", "S3")]
MIXED = [("a", "<i4"), ("b", ">f8"), ("c", "<u2", (2, 2)), ("d", [("e", ">U2")])]

NUMBERS = {
    "bool": Case("?", np.array([True, False, True]), True),
    "int8": Case("i1", np.array([-128, 127, 1], "i1"), -1),
    "big-int32": Case(">i4", np.array([1, -2, 3], ">i4"), 258),
    "uint64": Case("u8", np.array([2**64 - 1, 0, 1], "u8"), 2**64 - 1),
    "float16": Case("f2", bits("f2", 0x7C01, 0x8000, 0x3C00), -1.5),
    "float32": Case("f4", bits("f4", 0x7FC00001, 0xFF800000, 1), float("inf")),
    "float64": Case("f8", bits("f8", 0x7FF8 << 48, 1 << 63, 1), float("nan")),
    "complex64": Case("c8", np.array([1 + 2j, complex(np.nan, np.inf), -0.0], "c8"), 1 - 2j),
    "complex128": Case("c16", np.array([1e300 + 2j, 0, 1j]), complex(np.nan, -np.inf)),
}
"""Types that every writer has."""

FIXED = {
    "S": Case("S3", np.array([b"abc", b"", b"a"], "S3"), b"xy"),
    "U": Case("U3", np.array(["é", "", "abc"], "U3"), "ü"),
    "big-U": Case(">U3", np.array(["é", "", "abc"], ">U3"), "ü"),
    "V": Case("V3", np.array([b"abc", b"\0\0\0", b"a\0\0"], "V3"), np.void(b"x\0y")),
    "M8": Case("M8[ns]", np.array(["2020-01-01", "NaT", "1900-01-01"], "M8[ns]"),
               np.datetime64("2000-01-01", "ns")),
    "big-M8": Case(">M8[10s]", np.array([1, 2, -3], "i8").view("M8[10s]"),
                   np.datetime64(7, "10s")),
    "m8": Case("m8[D]", np.array([1, -1, 0], "m8[D]"), np.timedelta64(5, "D")),
    "record": Case(RECORD, np.array([(1, 2.5), (-1, np.inf), (0, -0.0)], RECORD), (7, 8.5)),
    "nested": Case(NESTED, np.array([((1, "2020-01-01"), "é", b"ab"), ((2, "NaT"), "", b""),
                                     ((-3, "1970-01-01"), "ab", b"abc")], NESTED),
                   ((9, "2000-01-01"), "ü", b"z")),
}  # fmt: skip
"""Types of numpy that zarr-python has in both versions."""

MIXED_RECORD = Case(
    MIXED,
    np.array(
        [(1, 2.5, [[1, 2], [3, 4]], ("é",)), (2, 0, [[0, 0], [0, 0]], ("ab",)), (3, -1, 5, ("",))],
        MIXED,
    ),
    (4, 5.5, [[6, 7], [8, 9]], ("ü",)),
)

RAGGED = objects(np.array([1, 2], "i4"), np.array([], "i4"), np.array([3], "i4"))
ANY = objects("é", {"a": [1, None, 2.5]}, [1, [2]])

OBJECTS = {
    "vlen-utf8": Case(object, objects("é", "", "abc"), "ü", ("vlen-utf8",)),
    "vlen-utf8-zlib": Case(object, objects("é", "", "abc"), "", ("vlen-utf8", "zlib")),
    "vlen-bytes": Case(object, objects(b"a\0", b"", b"\xff"), 0, ("vlen-bytes",)),
    "vlen-array": Case(object, RAGGED, 0, ("vlen-array",)),
    "json2": Case(object, ANY, {"b": 1}, ("json2",)),
    "msgpack2": Case(object, ANY, "none", ("msgpack2",)),
    "pickle": Case(object, objects("é", 1j, None), 0, ("pickle",)),
    "categorize": Case(object, objects("x", "", "yy"), "yy", ("categorize",)),
    "json2-numbers": Case("<i4", np.array([1, -2, 3], "i4"), 5, ("json2",)),
    "categorize-U": Case("<U2", np.array(["x", "", "yy"], "U2"), "yy", ("categorize-U",)),
}
"""Types of version 2 that only zarr-python 2 writes."""

VARIABLE = {
    "string": Case("string", np.array(["é", "", "abc"], np.dtypes.StringDType()), "ü"),
    "bytes": Case("variable_length_bytes", objects(b"a\0", b"", b"\xff"), b"xy"),
}
"""Types of version 3 whose elements are of any length."""

SMALL = {
    name: Case(name, np.array(values).astype(getattr(ml_dtypes, name)), fill)
    for name, values, fill in [
        ("bfloat16", [1.5, -0.0, float("inf")], 2.5),
        ("float8_e4m3fn", [1.5, -448, float("nan")], 2),
        ("float8_e4m3fnuz", [1.5, 240, float("nan")], 2),
        ("float8_e4m3b11fnuz", [1.5, 30, float("nan")], 2),
        ("float8_e5m2", [1.5, 57344, float("-inf")], 2),
        ("float8_e5m2fnuz", [1.5, 57344, float("nan")], 2),
        ("float8_e3m4", [1.5, 15.5, float("inf")], 2),
        ("int4", [-8, 7, 0], -3),
        ("int2", [-2, 1, 0], -1),
        ("float4_e2m1fn", [-6, 0.5, 0], 1.5),
    ]
}
"""Types of TensorStore that numpy gets from ml_dtypes."""

STORES: dict[str, dict[str, Case]] = {
    "zarr-2.18": {**NUMBERS, **FIXED, "mixed": MIXED_RECORD, **OBJECTS},
    "zarr-3.1": {
        f"v{version}-{name}": case
        for version, cases in ((2, NUMBERS | FIXED), (3, NUMBERS | FIXED | VARIABLE))
        for name, case in cases.items()
    },
    "zarr-3.4": {
        f"v{version}-{name}": case
        for version, cases in ((2, NUMBERS | FIXED), (3, NUMBERS | FIXED | VARIABLE))
        for name, case in cases.items()
    },
    "tensorstore": {
        **{f"v3-{name}": case for name, case in (NUMBERS | SMALL).items() if "big" not in name},
        **{f"v2-{name}": case for name, case in SMALL.items() if "float4" not in name},
    },
}
"""Name of a store -> name of an array in it -> what it holds."""

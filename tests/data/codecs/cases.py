"""Arrays that other libraries encode with the codecs they have: for stored bytes, and side by side.

Every array has 5 × 6 elements in chunks of 3 × 4. Used by `generate.py`, which runs under several
versions of the other libraries, and by the tests: needs only numpy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

SHAPE, CHUNKS = (5, 6), (3, 4)
WRITTEN = (slice(0, 5), slice(1, 6))
"""The part that is written; the rest has the fill value."""

ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}


class Case(NamedTuple):
    """One array: its type, what is written, its fill value, and its codecs as documents say them.

    In version 2 the codecs are filters and a compressor, in version 3 the whole list.
    """

    dtype: str
    values: np.ndarray
    fill: Any
    codecs: tuple[dict[str, Any], ...]
    compressor: dict[str, Any] | None = None
    order: str = "C"

    @property
    def zarr_format(self) -> int:
        """Version 3 calls a codec by name, version 2 by id."""
        entries = (*self.codecs, *([self.compressor] if self.compressor else []))
        return 3 if "name" in entries[0] else 2

    @property
    def data_type(self) -> str:
        """The name in version 3."""
        return np.dtype(self.dtype).name


INTEGERS = (np.arange(30).reshape(SHAPE) - 12)[WRITTEN]
FLOATS = np.round(np.sin(np.arange(30)).reshape(SHAPE) * 100, 3)[WRITTEN]
BOOLEANS = (np.arange(30).reshape(SHAPE) % 3 == 0)[WRITTEN]
DATES = (np.datetime64("2001-01-01", "ns") + np.arange(30).reshape(SHAPE) * 10**9)[WRITTEN]


def _bytes(endian: str = "little", **configuration: Any) -> dict[str, Any]:
    return {"name": "bytes", "configuration": {"endian": endian, **configuration}}


def _numcodecs(codec_id: str, **configuration: Any) -> dict[str, Any]:
    return {"name": f"numcodecs.{codec_id}", "configuration": configuration}


def _registered(codec: str, **configuration: Any) -> dict[str, Any]:
    return {"name": codec, "configuration": configuration}


_COMPRESSORS: dict[str, dict[str, Any]] = {
    "blosc": {"cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
    "bz2": {"level": 1},
    "gzip": {"level": 1},
    "lz4": {"acceleration": 1},
    "lzma": {"format": 1, "check": -1, "preset": 1, "filters": None},
    "zlib": {"level": 1},
    "zstd": {"level": 1},
    "shuffle": {"elementsize": 4},
    "crc32": {},
    "crc32c": {},
    "adler32": {},
    "fletcher32": {},
    "jenkins_lookup3": {},
}
_FILTERS: dict[str, tuple[str, np.ndarray, dict[str, Any]]] = {
    "delta": ("<i4", INTEGERS, {"dtype": "<i4", "astype": "<i2"}),
    "delta-floats": ("<f8", FLOATS, {"dtype": "<f8", "astype": "<f4"}),
    "astype": ("<f8", FLOATS, {"encode_dtype": "<f4", "decode_dtype": "<f8"}),
    "fixedscaleoffset": (
        "<f8", FLOATS, {"offset": -100, "scale": 100, "dtype": "<f8", "astype": "<u2"},
    ),
    "quantize": ("<f4", FLOATS, {"digits": 1, "dtype": "<f4", "astype": "<f4"}),
    "bitround": ("<f4", FLOATS, {"keepbits": 5}),
    "packbits": ("|b1", BOOLEANS, {}),
}  # fmt: skip
_ARRAY_COMPRESSORS: dict[str, dict[str, Any]] = {
    "pcodec": {
        "level": 4, "mode_spec": "auto", "delta_spec": "auto",
        "paging_spec": "equal_pages_up_to", "equal_pages_up_to": 262144,
    },
    "zfpy": {"mode": 4, "tolerance": 0.01, "rate": -1, "precision": -1},
}  # fmt: skip


def _of_version_3() -> dict[str, Case]:
    cases = {
        f"v3-{codec_id}": Case("<i4", INTEGERS, 0, (_bytes(), _numcodecs(codec_id, **settings)))
        for codec_id, settings in _COMPRESSORS.items()
    }
    for name, (dtype, values, settings) in _FILTERS.items():
        codec = _numcodecs(name.partition("-")[0], **settings)
        fill: Any = False if dtype == "|b1" else 0
        cases[f"v3-{name}"] = Case(dtype, values, fill, (codec, _bytes(), ZSTD))
    for codec_id, settings in _ARRAY_COMPRESSORS.items():
        cases[f"v3-{codec_id}"] = Case("<f4", FLOATS, 0, (_numcodecs(codec_id, **settings),))
    return cases


def _of_version_2() -> dict[str, Case]:
    cases = {
        f"v2-{codec_id}": Case("<i4", INTEGERS, 0, (), {"id": codec_id, **settings})
        for codec_id, settings in _COMPRESSORS.items()
    }
    for name, (dtype, values, settings) in _FILTERS.items():
        codec = {"id": name.partition("-")[0], **settings}
        cases[f"v2-{name}"] = Case(dtype, values, 0, (codec,), {"id": "zlib", "level": 1})
    for codec_id, settings in _ARRAY_COMPRESSORS.items():
        cases[f"v2-{codec_id}"] = Case("<f4", FLOATS, 0, (), {"id": codec_id, **settings})
        cases[f"v2-{codec_id}-filter"] = Case("<f4", FLOATS, 0, ({"id": codec_id, **settings},))
    shuffle, zlib = {"id": "shuffle", "elementsize": 4}, {"id": "zlib", "level": 4}
    return cases | {
        "v2-shuffle-zlib": Case(">i4", INTEGERS, -1, (shuffle, zlib)),
        "v2-zlib-shuffle-lz4": Case("<i4", INTEGERS, 0, (zlib, {"id": "shuffle", "elementsize": 1}),
                                    {"id": "lz4"}),
        "v2-fortran": Case(">i4", INTEGERS, 7, ({"id": "delta", "dtype": ">i4", "astype": "<i2"},
                                                {"id": "delta", "dtype": "<i2"}),
                           {"id": "bz2", "level": 1}, order="F"),
        "v2-dates": Case("<M8[ns]", DATES, 0, ({"id": "delta", "dtype": "<i8"},), zlib),
        "v2-big-floats": Case(">f8", FLOATS, 0, (
            {"id": "fixedscaleoffset", "offset": 0, "scale": 10, "dtype": ">f8", "astype": "<i2"},
        ), zlib),
        "v2-viewed": Case("<i4", INTEGERS, 0, ({"id": "delta", "dtype": "<i2"}, shuffle)),
        "v2-checksum-end": Case("<i4", INTEGERS, 0, ({"id": "crc32", "location": "end"},), zlib),
    }  # fmt: skip


def _registered_with_zarr_python() -> dict[str, Case]:
    cast = _registered(
        "cast_value", data_type="int16", rounding="towards-zero", out_of_range="clamp",
        scalar_map={"encode": [["NaN", -1000]], "decode": [[-1000, "NaN"]]},
    )  # fmt: skip
    missing = np.where(FLOATS > 90, np.nan, FLOATS)
    return {
        "cast_value": Case("<f8", missing, 0, (cast, _bytes(), ZSTD)),
        "scale_offset": Case(
            "<f4", FLOATS, 0, (_registered("scale_offset", offset=1.5, scale=0.25), _bytes())
        ),
        "scale_and_cast": Case("<f8", FLOATS, -100, (
            _registered("scale_offset", offset=-100, scale=100),
            _registered("cast_value", data_type="uint16"), _bytes(),
        )),
    }  # fmt: skip


def _registered_with_zarrs() -> dict[str, Case]:
    return {
        "packbits": Case("|b1", BOOLEANS, False, (_registered("packbits"),)),
        "packbits-first": Case(
            "|b1", BOOLEANS, False, (_registered("packbits", padding_encoding="first_byte"),)
        ),
        "packbits-last": Case(
            "|b1", BOOLEANS, False, (_registered("packbits", padding_encoding="last_byte"),)
        ),
        "packbits-range": Case("<u2", INTEGERS + 12, 0, (
            _registered("packbits", first_bit=0, last_bit=4, padding_encoding="last_byte"), ZSTD,
        )),
        "packbits-upper": Case("<i2", INTEGERS * 256, 0, (_registered("packbits", first_bit=8),)),
        "packbits-floats": Case("<f4", FLOATS, 0, (_registered("packbits", first_bit=8),)),
        "reshape": Case(
            "<i2", INTEGERS, 0, (_registered("reshape", shape=[[0, 1]]), _bytes(), ZSTD)
        ),
        "reshape-transpose": Case("<i2", INTEGERS, 0, (
            _registered("reshape", shape=[[0], 2, -1]), _registered("transpose", order=[2, 0, 1]),
            _bytes(),
        )),
        "v3-zlib": Case("<i4", INTEGERS, 0, (_bytes(), _numcodecs("zlib", level=1))),
        "v3-bz2": Case("<i4", INTEGERS, 0, (_bytes(), _numcodecs("bz2", level=1))),
        "v3-shuffle": Case("<i4", INTEGERS, 0, (_bytes(), _numcodecs("shuffle", elementsize=4))),
        # Quarters, for zarrs and numcodecs round the last bits of others differently.
        "v3-fixedscaleoffset": Case("<f4", np.round(FLOATS * 4) / 4, 0, (
            _numcodecs("fixedscaleoffset", offset=-100, scale=100, dtype="<f4", astype="<u2"),
            _bytes(),
        )),
    }  # fmt: skip


WRITERS: dict[str, dict[str, Case]] = {
    "zarr-python-2": _of_version_2(),
    "zarr-python": {**_of_version_2(), **_of_version_3(), **_registered_with_zarr_python()},
    "zarrs": _registered_with_zarrs(),
}

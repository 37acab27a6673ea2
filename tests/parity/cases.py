"""Arrays to exchange with other libraries: every option of both formats, one at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ALL: tuple[Any, ...] = (...,)
BLOSC_NAMES = ("lz4", "lz4hc", "blosclz", "zstd", "zlib")
SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
DTYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
BITS_OF_A_NAN = {"f2": "0x7e05", "f4": "0x7fc00005"}


@dataclass(frozen=True)
class Case:
    """One array, in words that `chunkstore.create_array` and zarr-python's share."""

    name: str
    zarr_format: int = 3
    dtype: str = "i4"
    shape: tuple[int, ...] = (5, 4)
    chunks: tuple[int, ...] = (2, 3)
    layout: dict[str, Any] = field(default_factory=lambda: {"compressors": None})
    written: tuple[Any, ...] = ALL
    unfit: dict[str, str] = field(default_factory=dict)
    """Peer, or peer and direction such as ``"zarr writes"`` -> why it cannot take part."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What to create the array with."""
        return {
            "shape": self.shape,
            "dtype": self.dtype,
            "chunks": self.chunks,
            "zarr_format": self.zarr_format,
            **self.layout,
        }

    @property
    def values(self) -> np.ndarray:
        """Values of every bit pattern that the dtype has, in native byte order."""
        dtype = np.dtype(self.dtype).newbyteorder("=")
        n_elements = math.prod(self.shape)
        rng = np.random.default_rng(len(self.name))
        if dtype.kind == "b":
            return rng.integers(0, 2, self.shape).astype(bool)
        raw = rng.integers(0, 256, n_elements * dtype.itemsize, "u1")
        return raw.view(dtype).reshape(self.shape)

    @property
    def expected(self) -> np.ndarray:
        """What reads back: the values where they are written, else the fill value."""
        fill = self.layout.get("fill_value", 0)
        whole = np.full(self.shape, fill, np.dtype(self.dtype).newbyteorder("="))
        whole[self.written] = self.values[self.written]
        return whole


def codec(name: str, **configuration: Any) -> dict[str, Any]:
    """Write a codec as a version 3 document does."""
    return {"name": name, "configuration": configuration}


def blosc(cname: str, shuffle: str) -> dict[str, Any]:
    """Write a blosc codec for elements of four bytes."""
    return codec("blosc", cname=cname, clevel=5, shuffle=shuffle, typesize=4, blocksize=0)


CRC32C: dict[str, Any] = {"name": "crc32c"}
ZSTD = codec("zstd", level=1, checksum=False)
BIG = codec("bytes", endian="big")


def version_3() -> list[Case]:
    """List the cases of version 3."""
    many = {"shape": (40, 30), "chunks": (17, 12)}
    cases = [Case(f"v3-{dtype}", dtype=dtype) for dtype in DTYPES]
    cases += [
        Case(f"v3-big-{dtype}", dtype=dtype, layout={"serializer": BIG, "compressors": None})
        for dtype in ("i2", "u8", "f4", "c16")
    ]
    compressors: dict[str, Any] = {
        "gzip-0": [codec("gzip", level=0)],
        "gzip-9": [codec("gzip", level=9)],
        "zstd": [ZSTD],
        "zstd-negative": [codec("zstd", level=-5, checksum=False)],
        "zstd-checksum": [codec("zstd", level=3, checksum=True)],
        "crc32c": [CRC32C],
        "zstd-crc32c": [ZSTD, CRC32C],
        "crc32c-gzip": [CRC32C, codec("gzip", level=1)],
        "three": [codec("gzip", level=1), ZSTD, CRC32C],
    }
    compressors |= {f"blosc-{c}-{s}": [blosc(c, s)] for c in BLOSC_NAMES for s in SHUFFLES}
    cases += [
        Case(f"v3-{name}", layout={"compressors": given}, **many)
        for name, given in compressors.items()
    ]
    for order in ((1, 0), (0, 1)):
        layout = {"filters": [codec("transpose", order=list(order))], "compressors": [ZSTD]}
        cases.append(Case(f"v3-transpose-{order}", layout=layout))
    layout = {
        "filters": [codec("transpose", order=[2, 0, 1])],
        "serializer": BIG,
        "compressors": [ZSTD],
    }
    cases.append(Case("v3-transpose-3", shape=(3, 4, 5), chunks=(2, 2, 3), layout=layout))
    for name in ("default", "v2"):
        for separator in ("/", "."):
            keys = {"name": name, "separator": separator}
            layout = {"compressors": None, "chunk_key_encoding": keys}
            cases.append(Case(f"v3-keys-{name}{separator}", layout=layout))
            cases.append(
                Case(f"v3-keys-scalar-{name}{separator}", shape=(), chunks=(), layout=layout)
            )
    names = {"compressors": None, "dimension_names": ("x", None)}
    cases.append(Case("v3-dimension-names", layout=names))
    attributes = {"a": 1, "é": [True, None, {"b": "\n"}], "x": 0.1, "n": -(2**60)}
    cases.append(Case("v3-attributes", layout={"compressors": None, "attributes": attributes}))
    return cases + shapes(3) + fill_values(3)


def version_2() -> list[Case]:
    """List the cases of version 2."""
    many = {"zarr_format": 2, "shape": (40, 30), "chunks": (17, 12)}
    cases = [
        Case(f"v2-{order}{dtype}", 2, f"{order}{dtype}")
        for dtype in DTYPES
        for order in ("<>" if np.dtype(dtype).itemsize > 1 else "|")
    ]
    compressors: dict[str, Any] = {
        "zlib": {"id": "zlib", "level": 1},
        "gzip": {"id": "gzip", "level": 9},
        "bz2": {"id": "bz2", "level": 1},
        "zstd": {"id": "zstd", "level": 3},
    }
    compressors |= {
        f"blosc-{cname}-{shuffle}": {
            "id": "blosc", "cname": cname, "clevel": 5, "shuffle": shuffle, "blocksize": 0,
        }
        for cname in BLOSC_NAMES for shuffle in (-1, 0, 1, 2)
    }  # fmt: skip
    cases += [
        Case(f"v2-{name}", layout={"compressors": given}, **many)
        for name, given in compressors.items()
    ]
    for order in "CF":
        layout = {"order": order, "compressors": {"id": "zlib", "level": 1}}
        cases.append(Case(f"v2-order-{order}", layout=layout, **many))
        cases.append(Case(f"v2-order-{order}-big", 2, ">u2", (3, 4, 5), (2, 2, 3), layout))
    for separator in "./":
        keys = {"name": "v2", "separator": separator}
        layout = {"compressors": None, "chunk_key_encoding": keys}
        cases.append(Case(f"v2-keys{separator}", 2, layout=layout))
    attributes = {"a": 1, "é": [True, None, {"b": "\n"}], "x": 0.1}
    cases.append(Case("v2-attributes", 2, layout={"compressors": None, "attributes": attributes}))
    return cases + shapes(2) + fill_values(2)


def shapes(zarr_format: int) -> list[Case]:
    """List arrays of odd shapes and chunks."""
    return [
        Case(f"v{zarr_format}-shape-{shape}-{chunks}", zarr_format, shape=shape, chunks=chunks)
        for shape, chunks in [
            ((), ()),
            ((0,), (1,)),
            ((7,), (7,)),
            ((7,), (100,)),
            ((7,), (1,)),
            ((0, 3), (2, 2)),
            ((1, 1, 1, 1), (2, 1, 3, 1)),
            ((4, 6), (2, 3)),
        ]
    ]


def fill_values(zarr_format: int) -> list[Case]:
    """List arrays that are written in part, so that the fill value shows."""
    cases = []
    given: list[tuple[str, str, Any]] = [
        ("true", "?", True),
        ("least", "i8", -(2**63)),
        ("most", "u8", 2**64 - 1),
        ("one-third", "f8", 1 / 3),
        ("negative-zero", "f4", -0.0),
        ("nan", "f4", math.nan),
        ("inf", "f8", math.inf),
        ("minus-inf", "f2", -math.inf),
        ("complex", "c16", complex(math.nan, -math.inf)),
    ]
    for name, dtype, fill in given:
        layout = {"compressors": None, "fill_value": fill}
        written = (slice(0, 2), slice(0, 4))
        cases.append(
            Case(f"v{zarr_format}-fill-{name}", zarr_format, dtype, layout=layout, written=written)
        )
    if zarr_format == 2:
        # Version 2 has no way to say which NaN.
        return cases
    for dtype, bits in BITS_OF_A_NAN.items():
        fill = np.array(int(bits, 16), f"u{dtype[1]}").view(dtype)[()]
        layout = {"compressors": None, "fill_value": fill}
        unfit = {"zarr writes": "zarr-python stores every NaN as the plain one"}
        if dtype != "f4":
            unfit["zarr"] = "zarr-python reads every NaN but of float32 as the plain one"
        cases.append(
            Case(f"v{zarr_format}-fill-nan-{dtype}", zarr_format, dtype, layout=layout,
                 written=(slice(0, 2),), unfit=unfit)
        )  # fmt: skip
    return cases


CASES = version_3() + version_2()

from typing import TypeAlias

from chunkstore.types import Buffer, NDArray

Layout: TypeAlias = tuple[
    int, tuple[int, ...], tuple[int, ...], tuple[int, ...], bytes, bytes | None
]

def connect(blosc: str | None, zstd: str | None, lz4: str | None, crc32c: str | None, /) -> str: ...
def read_files(
    layout: Layout,
    prefix: bytes,
    separator: str,
    coords: NDArray,
    regions: NDArray,
    places: NDArray,
    out: NDArray,
    origin: int,
    status: NDArray,
    low: int,
    high: int,
    /,
) -> int: ...
def decode_parts(
    layout: Layout,
    value: Buffer,
    ranges: NDArray,
    regions: NDArray,
    places: NDArray,
    out: NDArray,
    origin: int,
    status: NDArray,
    low: int,
    high: int,
    /,
) -> int: ...

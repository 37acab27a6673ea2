from chunkstore.requests import Pick
from chunkstore.types import Buffer, NDArray, Shape

VERSION: int

def connect(blosc: str | None, zstd: str | None, crc32c: str | None, /) -> str: ...

class Job:
    @property
    def n_units(self) -> int: ...
    def run(self, number: int, /) -> bool: ...
    def stop(self) -> None: ...
    def left(self) -> list[int]: ...

class Chunks:
    def __new__(
        cls,
        itemsize: int,
        shape: Shape,
        strides: Shape,
        per_unit: Shape,
        fill: bytes,
        codec: tuple[str, int, str, int, int, int, int, bool],
        index: tuple[bool, bool] | None,
        prefix: bytes,
        separator: str,
        /,
    ) -> Chunks: ...
    def reading(
        self, out: NDArray, runs: tuple[Pick, ...], keep_missing: bool, n_threads: int, /
    ) -> Job: ...
    def decoding(
        self,
        out: NDArray,
        runs: tuple[Pick, ...],
        value: Buffer,
        ranges: NDArray,
        numbers: NDArray,
        /,
    ) -> Job: ...
    def writing(
        self,
        values: NDArray,
        runs: tuple[Pick, ...],
        extents: Shape,
        temporary: str,
        salt: int,
        keep_empty: bool,
        n_threads: int,
        /,
    ) -> Job: ...

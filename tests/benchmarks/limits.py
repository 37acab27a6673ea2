"""What the machine allows: the work of a row reduced to copying, decoding or plain files.

Each is measured on the row's own data, in the row's own rounds, with as many threads. They place
nothing and check nothing: no library can be expected to be as fast as each of them, and none can
be faster than what it cannot do without.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.harness import Contender
from tests.benchmarks.peers import CODECS, Layout, clear

__all__ = ["read_limits", "write_limits"]

Work = Callable[[int, int], None]
"""Does the items from one number up to another."""


def read_limits(path: Path, layout: Layout, threads: int) -> list[Contender]:
    """Give the limits of reading all of a Zarr array that stands at `path`."""
    found = [
        Contender("memcpy", partial(_copying, layout, threads), kind="limit"),
        Contender("open and read files", partial(_reading, path, threads), kind="limit"),
    ]
    if layout.codec is not None and layout.shards is None:
        decoding = partial(_decoding, path, layout, threads)
        found.append(Contender("decode from memory", decoding, kind="limit"))
    return found


def write_limits(
    folder: Path, layout: Layout, values: Callable[[], np.ndarray], threads: int
) -> list[Contender]:
    """Give the limits of writing all of an array; a file for each chunk or shard."""
    target = folder / "written-limit"
    found = [
        Contender("memcpy", partial(_copying, layout, threads), kind="limit"),
        Contender(
            "create and write files", partial(_writing, target, layout, values, threads),
            kind="limit", clear=partial(clear, target),
        ),
    ]  # fmt: skip
    if layout.codec is not None:
        encoding = partial(_encoding, layout, values, threads)
        found.append(Contender("encode from memory", encoding, kind="limit"))
    return found


def _shared(work: Work, n: int, threads: int) -> Callable[[], None]:
    """Share items among threads in equal parts."""
    edges = np.linspace(0, n, threads + 1).astype(int).tolist()
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        list(pool.map(work, edges[:-1], edges[1:]))

    return run


def _copying(layout: Layout, threads: int) -> Callable[[], None]:
    n = int(np.prod(layout.shape)) * np.dtype(layout.dtype).itemsize
    source = np.ones(n, "u1")
    targets: list[np.ndarray] = []

    def copy(low: int, high: int) -> None:
        targets[-1][low:high] = source[low:high]

    share = _shared(copy, n, threads)

    def run() -> None:
        # A new array each time, as a read that gives one has.
        targets[:] = [np.empty(n, "u1")]
        share()

    return run


def _files(path: Path) -> list[str]:
    return [str(file) for file in sorted(path.rglob("*")) if file.is_file()]


def _reading(path: Path, threads: int) -> Callable[[], None]:
    files = _files(path)
    largest = max(Path(file).stat().st_size for file in files)
    buffers = threading.local()

    def read(low: int, high: int) -> None:
        if not hasattr(buffers, "bytes"):
            buffers.bytes = bytearray(largest)
        for file in files[low:high]:
            descriptor = os.open(file, os.O_RDONLY)
            os.readv(descriptor, [buffers.bytes])
            os.close(descriptor)

    return _shared(read, len(files), threads)


def codec_of(layout: Layout) -> Any:
    """Give numcodecs' codec of a layout."""
    import numcodecs

    settings = dict(CODECS[layout.codec])
    if layout.codec == "zstd":
        return numcodecs.Zstd(**settings)
    if layout.codec == "gzip":
        return numcodecs.GZip(**settings)
    settings["shuffle"] = {"shuffle": 1, "bitshuffle": 2}[settings["shuffle"]]
    return numcodecs.Blosc(**settings)


def _decoding(path: Path, layout: Layout, threads: int) -> Callable[[], None]:
    codec = codec_of(layout)
    chunks = [Path(file).read_bytes() for file in _files(path) if not file.endswith(".json")]
    n = int(np.prod(layout.chunks)) * np.dtype(layout.dtype).itemsize

    def decode(low: int, high: int) -> None:
        buffer = np.empty(n, "u1")
        for chunk in chunks[low:high]:
            codec.decode(chunk, out=buffer)

    return _shared(decode, len(chunks), threads)


def _chunks_of(values: np.ndarray, shape: Sequence[int]) -> list[np.ndarray]:
    """Copy the values into one C-contiguous array for each chunk."""
    cells = np.ndindex(*(-(-n // c) for n, c in zip(values.shape, shape, strict=True)))
    cuts = (tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, shape, strict=True))
            for cell in cells)  # fmt: skip
    return [np.ascontiguousarray(values[cut]) for cut in cuts]


def _encoding(layout: Layout, values: Callable[[], np.ndarray], threads: int) -> Callable[[], None]:
    codec = codec_of(layout)
    chunks = _chunks_of(values(), layout.chunks)

    def encode(low: int, high: int) -> None:
        for chunk in chunks[low:high]:
            codec.encode(chunk)

    return _shared(encode, len(chunks), threads)


def _writing(
    target: Path, layout: Layout, values: Callable[[], np.ndarray], threads: int
) -> Callable[[], None]:
    chunks: list[Any] = _chunks_of(values(), layout.shards or layout.chunks)
    if layout.codec is not None:
        codec = codec_of(layout)
        chunks = [codec.encode(chunk) for chunk in chunks]

    def write(low: int, high: int) -> None:
        for i in range(low, high):
            path = f"{target}/{i % 64}/{i}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.write(descriptor, chunks[i])
            os.close(descriptor)

    def run() -> None:
        for i in range(64):
            (target / str(i)).mkdir(parents=True)
        _shared(write, len(chunks), threads)()

    return run

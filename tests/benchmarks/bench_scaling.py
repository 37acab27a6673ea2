"""Whether the cost of a chunk stays the same from a thousand chunks to a million.

Every figure is seconds for one chunk: ours at the largest number is the row's own, and beside it
as a limit stand our own figures at smaller numbers, which it would equal if the cost were flat.
Peers run at numbers that take them seconds. Chunks are tiny, so that nothing but a library's own
work for each is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.data import clear, equals
from tests.benchmarks.harness import OURS, CannotError, Contender, Measure, Row, Scale
from tests.benchmarks.peers import IN_MEMORY, Layout, peer_named

CHUNK = 16
SHARD = 10_000
PEER_CHUNKS = {"zarr": 1_000, "zarr fused": 10_000, "zarrs": 10_000, "tensorstore": 100_000}
"""How many chunks each peer gets at full size."""


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    return [
        Row(
            "read all, a store in memory", "seconds a chunk of 32 bytes",
            contenders(scale, 1_000_000, read_memory), rounds=3,
        ),
        Row(
            "write all, a store in memory", "seconds a chunk of 32 bytes",
            contenders(scale, 100_000, write_memory), rounds=3,
        ),
        Row(
            "read all, shards of 10,000", "seconds an inner chunk of 32 bytes, local files",
            contenders(scale, 1_000_000, read_shards), rounds=3,
        ),
    ]  # fmt: skip


Prepare = Callable[[Scale, str, int], Callable[[], Any]]


def contenders(scale: Scale, most: int, prepare: Prepare) -> list[Contender]:
    """Give ours at numbers of chunks up to the largest, and the peers at theirs."""
    found = [Contender(OURS, partial(prepare, scale, OURS, scale.part(most)), note=_count(most))]
    smaller = [n for n in (1_000, 10_000, 100_000) if n < most]
    found += [
        Contender(f"ours, {_count(n)}", partial(prepare, scale, OURS, scale.part(n)), kind="limit")
        for n in smaller
    ]
    for name, n in PEER_CHUNKS.items():
        run = partial(prepare, scale, name, scale.part(min(n, most)))
        found.append(Contender(name, run, needs=peer_named(name).needs, note=_count(min(n, most))))
    return found


def _count(n: int) -> str:
    return f"{n:,} chunks"


def layout_of(n_chunks: int) -> Layout:
    """Give the layout of an array of so many chunks."""
    return Layout("tiny", (n_chunks * CHUNK,), (CHUNK,), dtype="int16", codec=None)


def values_of(n_chunks: int) -> np.ndarray:
    """Give its elements; none is the fill value, so that every chunk is stored."""
    return np.arange(n_chunks * CHUNK, dtype="i8").astype("i2") | 1


def per_chunk(n_chunks: int, work: Callable[[], Any]) -> Callable[[], Measure]:
    """Time some work and give the seconds for one chunk; its result is the elements."""
    expected = values_of(n_chunks)

    def run() -> Measure:
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        if result is not None:
            equals(expected, result)
        return Measure(seconds / n_chunks)

    return run


def read_memory(scale: Scale, name: str, n_chunks: int) -> Callable[[], Any]:
    """Read all of an array in memory."""
    peer = peer_named(name)
    handle = in_memory(name, n_chunks)
    peer.write(handle, values_of(n_chunks))
    return per_chunk(n_chunks, lambda: peer.read(handle, ...))


def write_memory(scale: Scale, name: str, n_chunks: int) -> Callable[[], Any]:
    """Write all of an array in memory, over and over the same one."""
    peer, handle, values = peer_named(name), in_memory(name, n_chunks), values_of(n_chunks)
    return per_chunk(n_chunks, lambda: peer.write(handle, values))


def in_memory(name: str, n_chunks: int) -> Any:
    """Make an array in memory, with the peer's settings for one thread."""
    if name == "zarrs":
        raise CannotError("zarrs' pipeline has no store in memory")
    store: Any = IN_MEMORY
    if name == OURS:
        import chunkstore

        store = chunkstore.MemoryStore()
    elif name.startswith("zarr"):
        import zarr.storage

        store = zarr.storage.MemoryStore()
    return peer_named(name).create(store, layout_of(n_chunks), 1)


def read_shards(scale: Scale, name: str, n_chunks: int) -> Callable[[], Any]:
    """Read all of an array in local shards of many inner chunks."""
    peer = peer_named(name)
    shard = min(n_chunks, SHARD)
    layout = replace(layout_of(n_chunks), name=f"shards-{n_chunks}", shards=(shard * CHUNK,))
    path = scale.folder / f"{layout.name}-{name.replace(' ', '-')}.zarr"
    if not path.exists():
        new = path.with_suffix(".new")
        clear(new)
        ours = peer_named(OURS)
        ours.write(ours.create(new, layout, scale.cpus), values_of(n_chunks))
        new.rename(path)
    handle = peer.open(path, scale.cpus)
    return per_chunk(n_chunks, lambda: peer.read(handle, ...))

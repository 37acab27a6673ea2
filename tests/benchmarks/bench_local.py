"""Local files: read all and write all in four layouts, single chunks, opening, importing.

Small steps (one chunk, one open) are repeated within a round, and the time divided.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.data import equals, field, field_shape, layout, make_arrays, readers, writers
from tests.benchmarks.harness import OURS, Contender, Measure, Row, Scale
from tests.benchmarks.limits import read_limits, write_limits
from tests.benchmarks.peers import PEERS, Layout, Peer

MIB = 1 << 20
LARGE, SMALL, SHARD = (1024, 1024), (128, 128), (2048, 2048)
N_CHUNKS, N_OPENS = 200, 50


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    shape = field_shape(scale)
    layouts = {
        "4 MiB chunks": layout("large", shape, LARGE),
        "64 KiB chunks": layout("small", shape, SMALL),
        "16 MiB shards of 64 KiB": layout("sharded", shape, SMALL, shards=SHARD),
        "4 MiB chunks, uncompressed": layout("plain", shape, LARGE, codec=None),
    }
    found = [read_row(name, one, scale) for name, one in layouts.items()]
    found += [write_row(name, one, scale) for name, one in layouts.items()]
    small, sharded = layouts["64 KiB chunks"], layouts["16 MiB shards of 64 KiB"]
    found += [
        one_chunk_row("one 64 KiB chunk", small, scale, at_most=35e-6),
        one_chunk_row("one inner chunk", sharded, scale),
        open_row(small, scale),
        import_row(),
    ]
    return found


def described(one: Layout, scale: Scale) -> str:
    """Say what a layout's array is."""
    size = np.dtype(one.dtype).itemsize * np.prod(one.shape) / MIB
    return f"{size:.0f} MiB {one.dtype} {one.shape}, {one.codec or 'no codec'}"


def read_row(name: str, one: Layout, scale: Scale) -> Row:
    """Reading all elements into a new array."""
    path = PEERS[0].path(scale.folder, one)
    n_bytes = int(np.prod(one.shape)) * 4
    return Row(
        f"read all, {name}",
        described(one, scale),
        readers(one, scale, lambda peer, handle: peer.read(handle, ...))
        + read_limits(path, one, scale.cpus),
        check=lambda result: equals(field(scale), result),
        make=lambda: make_arrays(one, lambda: field(scale), scale),
        goal=2.0 if name == "64 KiB chunks" else 1.2,
        memory_at_most=n_bytes + 64 * MIB,
    )


def write_row(name: str, one: Layout, scale: Scale) -> Row:
    """Making an array and writing all elements; where these are many files, of a quarter."""
    if one.shards is None and one.chunks == SMALL:
        scale = replace(scale, n_bytes=max(1 << 18, scale.n_bytes // 4))
        one = replace(one, shape=field_shape(scale))
    return Row(
        f"write all, {name}",
        described(one, scale),
        writers(one, scale, lambda: field(scale))
        + write_limits(scale.folder, one, lambda: field(scale), scale.cpus),
        make=lambda: field(scale),
        goal=1.0,
    )


def one_chunk_row(name: str, one: Layout, scale: Scale, *, at_most: float | None = None) -> Row:
    """Reading chunks one at a time, at random, from an open array."""
    rng = np.random.default_rng(1)
    counts = [n // c for n, c in zip(one.shape, one.chunks, strict=True)]
    selections = [
        tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, one.chunks, strict=True))
        for cell in rng.integers(counts, size=(N_CHUNKS, 2)).tolist()
    ]

    def work(peer: Peer, handle: Any) -> np.ndarray:
        for selection in selections:
            result = peer.read(handle, selection)
        return result

    return Row(
        name,
        f"{described(one, scale)}; mean of {N_CHUNKS} at random",
        readers(one, scale, work),
        check=lambda result: equals(field(scale)[selections[-1]], result),
        make=lambda: make_arrays(one, lambda: field(scale), scale),
        operations=N_CHUNKS,
        goal=2.0,
        at_most=at_most,
    )


def open_row(one: Layout, scale: Scale) -> Row:
    """Opening an array, one at a time, each forgotten before the next."""

    def prepare(peer: Peer) -> Callable[[], Any]:
        path = peer.path(scale.folder, one)

        def run() -> Any:
            for _ in range(N_OPENS - 1):
                peer.open(path, scale.cpus)
            return peer.open(path, scale.cpus)

        return run

    def check(handle: Any) -> None:
        if tuple(handle.shape) != one.shape:
            raise ValueError(f"got shape {handle.shape}, expected {one.shape}")

    return Row(
        "open one array",
        f"mean of {N_OPENS}",
        [Contender(p.name, partial(prepare, p), needs=p.needs, note=p.note) for p in PEERS],
        check=check,
        make=lambda: make_arrays(one, lambda: field(scale), scale),
        operations=N_OPENS,
        goal=1.0,
    )


def import_row() -> Row:
    """Importing a library in a new interpreter that has numpy and numcodecs already."""

    def prepare(before: str, module: str) -> Callable[[], Any]:
        code = (
            f"import time{before}; start = time.perf_counter(); import {module}; "
            "print(time.perf_counter() - start)"
        )
        command = [sys.executable, "-c", code]
        # As after an installation: not compiled anew at each start, which a checkout may be.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

        def run() -> Measure:
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            )
            return Measure(float(done.stdout))

        return run

    contenders = [
        Contender(name, partial(prepare, ", numpy, numcodecs", name), needs=(name,))
        for name in (OURS, "zarr", "tensorstore", "h5py", "blosc2")
    ]
    both = Contender("numpy and numcodecs", partial(prepare, "", "numpy, numcodecs"), kind="limit")
    return Row(
        "import",
        "a new interpreter that has imported numpy and numcodecs",
        [*contenders, both],
        at_most=0.060,
    )

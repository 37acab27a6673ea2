"""Codecs and threads: int8 genotypes, read and written whole in chunks of 1 MB.

Reading with 1 processor, 2, and more threads than processors, at smaller scales for one codec
alone. No process may run on more processors than the row has threads.
"""

from __future__ import annotations

import numpy as np

from tests.benchmarks.data import (
    equals,
    genotypes,
    genotypes_shape,
    layout,
    make_arrays,
    readers,
    writers,
)
from tests.benchmarks.harness import Row, Scale
from tests.benchmarks.limits import read_limits, write_limits
from tests.benchmarks.peers import CODECS, PEERS, Layout

MIB = 1 << 20


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    layouts = [
        layout(
            f"genotypes-{codec}", genotypes_shape(scale), (1000, 1000), dtype="int8", codec=codec
        )
        for codec in sorted(name for name in CODECS if name is not None)
    ]
    found = []
    for one in layouts:
        counts = {1, 2} if scale.part(2) == 2 else {2}
        if one.codec == "blosc-zstd-bitshuffle":
            counts |= {1, 2 * max(2, scale.cpus)}
        found += [read_row(one, scale, threads) for threads in sorted(counts)]
    return found + [write_row(one, scale) for one in layouts]


def described(one: Layout) -> str:
    """Say what a layout's array is."""
    return f"{np.prod(one.shape) / MIB:.0f} MiB of genotypes, int8 {one.shape}"


def read_row(one: Layout, scale: Scale, threads: int) -> Row:
    """Reading all with a number of threads."""
    n_bytes = int(np.prod(one.shape))
    return Row(
        f"read all, {one.codec}, {threads} thread{'s' * (threads > 1)}",
        described(one),
        [
            *readers(one, scale, lambda peer, handle: peer.read(handle, ...), threads=threads),
            *read_limits(PEERS[0].path(scale.folder, one), one, threads),
        ],
        check=lambda result: equals(genotypes(scale), result),
        make=lambda: make_arrays(one, lambda: genotypes(scale), scale),
        threads=threads,
        goal=1.2,
        memory_at_most=n_bytes + 64 * MIB,
    )


def write_row(one: Layout, scale: Scale) -> Row:
    """Making an array and writing all."""
    return Row(
        f"write all, {one.codec}",
        described(one),
        [
            *writers(one, scale, lambda: genotypes(scale)),
            *write_limits(scale.folder, one, lambda: genotypes(scale), scale.cpus),
        ],
        make=lambda: genotypes(scale),
        goal=1.0,
    )

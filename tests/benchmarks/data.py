"""The numbers that benchmarks read and write, and the arrays made of them.

The numbers are made from one seed and kept as ``.npy`` files in the run's folder. Every process
maps them into memory, so that their pages are there once and count for no contender.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.harness import CannotError, Contender, Scale
from tests.benchmarks.peers import PEERS, Layout, Peer, clear

__all__ = [
    "equals",
    "field",
    "field_shape",
    "genotypes",
    "genotypes_shape",
    "layout",
    "make_arrays",
    "readers",
    "writers",
]


def field_shape(scale: Scale) -> tuple[int, int]:
    """Give the shape of `field`: (8192, 16384) at full size."""
    n_elements = scale.n_bytes // 4
    n_columns = 1 << math.ceil(math.log2(2 * n_elements) / 2)
    return n_elements // n_columns, n_columns


def field(scale: Scale) -> np.ndarray:
    """Map a smooth float32 field with noise."""
    n_rows, n_columns = field_shape(scale)

    def fill(out: np.ndarray) -> None:
        rng = np.random.default_rng(0)
        wave = np.cos(np.arange(n_columns, dtype="f4") / 300)
        for row in range(n_rows):
            noise = rng.standard_normal(n_columns, "f4")
            out[row] = np.round((100 * np.sin(row / 200) * wave + 0.3 * noise) * 64) / 64

    return _mapped(scale, "field", (n_rows, n_columns), "f4", fill)


def genotypes_shape(scale: Scale) -> tuple[int, int]:
    """Give the shape of `genotypes`, variants by samples: (200000, 1000) at full size."""
    return scale.part(200_000), 1_000


N_POPULATIONS = 12
DIVERGENCE = 0.05
"""How far the populations' allele frequencies are apart (Fst)."""


def genotypes(scale: Scale, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Map int8 genotypes of samples from populations: 0, 1 or 2 copies of an allele.

    Frequencies of a variant are drawn around a common one, by the model of Balding and Nichols.
    """
    n_variants, n_samples = shape or genotypes_shape(scale)
    population = np.arange(n_samples) * N_POPULATIONS // n_samples

    def fill(out: np.ndarray) -> None:
        rng = np.random.default_rng(0)
        rest = (1 - DIVERGENCE) / DIVERGENCE
        for start in range(0, n_variants, 500):
            n = min(500, n_variants - start)
            common = rng.uniform(0.05, 0.5, size=(n, 1))
            frequency = rng.beta(common * rest, (1 - common) * rest, size=(n, N_POPULATIONS))
            limit = np.round(256 * frequency).clip(4, 252).astype("u1")[:, population]
            draws = np.frombuffer(rng.bytes(2 * n * n_samples), "u1").reshape(2, n, n_samples)
            out[start : start + n] = (draws[0] < limit).view("i1") + (draws[1] < limit)

    return _mapped(scale, "genotypes", (n_variants, n_samples), "i1", fill)


def _mapped(
    scale: Scale, name: str, shape: tuple[int, int], dtype: str, fill: Callable[[np.ndarray], None]
) -> np.ndarray:
    path = scale.folder / f"{name}-{shape[0]}x{shape[1]}.npy"
    if not path.exists():
        # Whole or absent: the next run with the same folder finds it.
        partial_path = path.with_name(f"{path.name}.{os.getpid()}")
        out = np.lib.format.open_memmap(partial_path, "w+", dtype, shape)
        fill(out)
        out.flush()
        partial_path.rename(path)
    # Private to the process: some libraries refuse arrays that they cannot write to.
    values = np.asarray(np.load(path, mmap_mode="c"))
    values.sum(dtype="f8")  # All its pages are there before memory is counted.
    return values


def layout(
    name: str, values_shape: tuple[int, ...], chunks: tuple[int, ...], **settings: Any
) -> Layout:
    """Give a layout whose chunks and shards are no larger than the array."""
    if settings.get("shards") is not None:
        settings["shards"] = tuple(map(min, settings["shards"], values_shape))
    return Layout(name, values_shape, tuple(map(min, chunks, values_shape)), **settings)


def make_arrays(
    layout: Layout, values: Callable[[], np.ndarray], scale: Scale, peers: Sequence[Peer] = PEERS
) -> None:
    """Write the values as each library stores them, unless they are there.

    All Zarr libraries read one array, written by zarr-python or, where that is not installed, by
    ours.
    """
    by_suffix = {peer.suffix: peer for peer in reversed(peers)}
    by_suffix[".zarr"] = next((p for p in peers if p.name == "zarr" and _is_here(p)), peers[0])
    for peer in by_suffix.values():
        path = peer.path(scale.folder, layout)
        if path.exists() or not _is_here(peer):
            continue
        new = path.with_name(f"new-{path.name}")
        clear(new)
        try:
            handle = peer.create(new, layout, scale.cpus)
        except CannotError:
            continue
        peer.write(handle, values())
        new.rename(path)


def _is_here(peer: Peer) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in peer.needs)


def readers(
    layout: Layout,
    scale: Scale,
    work: Callable[[Peer, Any], Any],
    *,
    threads: int | None = None,
    peers: Sequence[Peer] = PEERS,
) -> list[Contender]:
    """Give a contender for each library: it opens the array, and `work` on the handle is timed."""

    def prepare(peer: Peer) -> Callable[[], Any]:
        path = peer.path(scale.folder, layout)
        if not path.exists():
            peer.create(path, layout, 1)  # Says why it cannot.
        return partial(work, peer, peer.open(path, threads or scale.cpus))

    return [
        Contender(peer.name, partial(prepare, peer), needs=peer.needs, note=peer.note)
        for peer in peers
    ]


def writers(
    layout: Layout,
    scale: Scale,
    values: Callable[[], np.ndarray],
    *,
    threads: int | None = None,
    peers: Sequence[Peer] = PEERS,
) -> list[Contender]:
    """Give a contender for each library: making an array and writing all of it is timed."""

    # Writing it brings in the library's modules and threads before memory is counted.
    few = replace(layout, shape=(8,) * len(layout.shape), chunks=(8,) * len(layout.shape))

    def prepare(peer: Peer, path: Path) -> Callable[[], Any]:
        clear(path)
        peer.write(peer.create(path, replace(few, shards=None), 1), np.ones(few.shape, few.dtype))
        given = values()

        def run() -> Any:
            peer.write(peer.create(path, layout, threads or scale.cpus), given)

        return run

    def check(peer: Peer, path: Path, _: Any) -> None:
        equals(values(), read_back(peer, path))

    contenders = []
    for peer in peers:
        path = scale.folder / f"written-{peer.name.replace(' ', '-')}{peer.suffix}"
        contenders.append(
            Contender(
                peer.name, partial(prepare, peer, path), needs=peer.needs, note=peer.note,
                clear=partial(clear, path), check=partial(check, peer, path),
            )
        )  # fmt: skip
    return contenders


def read_back(writer: Peer, path: Path) -> np.ndarray:
    """Read what a library wrote, with another one where there is one: TensorStore, or ours."""
    reader = writer
    if writer.suffix == ".zarr":
        known = {peer.name: peer for peer in PEERS}
        other = known["tensorstore"]
        reader = other if _is_here(other) and writer is not other else known["chunkstore"]
    return reader.read(reader.open(path, 2), ...)


def equals(expected: Any, result: Any) -> None:
    """Raise unless a result has the expected shape, dtype and elements."""
    expected, result = np.asarray(expected), np.asarray(result)
    if result.shape != expected.shape or result.dtype != expected.dtype:
        raise ValueError(
            f"got {result.dtype} {result.shape}, expected {expected.dtype} {expected.shape}"
        )
    if not np.array_equal(result, expected):
        n_wrong = np.count_nonzero(result != expected)
        raise ValueError(f"{n_wrong} of {expected.size} elements differ")

"""dask over stored arrays: a mean, the building of graphs, standardising into a store.

All with dask's threads in one process, so that memory is that process's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.data import (
    clear,
    equals,
    field,
    field_shape,
    genotypes,
    genotypes_shape,
    layout,
    make_arrays,
)
from tests.benchmarks.harness import OURS, Contender, Measure, Row, Scale
from tests.benchmarks.peers import PEERS, Layout, peer_named, zarr_arguments

ZARR = ("dask", "zarr")
BLOCK = (1000, 1000)


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    return [mean_row(scale), *graph_rows(scale), standardise_row(scale)]


@contextlib.contextmanager
def threads(scale: Scale) -> Iterator[None]:
    """Run dask on as many threads as the row has processors."""
    import dask

    with dask.config.set(scheduler="threads", num_workers=scale.cpus):
        yield


def computed(scale: Scale, build: Callable[[], Any]) -> Callable[[], Any]:
    """Build a collection and compute it: both are timed, as a user waits for both."""

    def run() -> Any:
        with threads(scale):
            return build().compute()

    return run


def mean_row(scale: Scale) -> Row:
    """The mean of an array in many small chunks."""
    one = layout("small", field_shape(scale), (128, 128))
    path = PEERS[0].path(scale.folder, one)

    def ours() -> Callable[[], Any]:
        from dask_integration import from_store

        return computed(scale, lambda: from_store(path).mean(dtype="f8"))

    def from_zarr(chunks: Any) -> Callable[[], Any]:
        import dask.array as da

        return computed(scale, lambda: da.from_zarr(str(path), chunks=chunks).mean(dtype="f8"))

    def plain() -> Callable[[], Any]:
        peer = peer_named(OURS)
        handle = peer.open(path, scale.cpus)
        return lambda: peer.read(handle, ...).mean(dtype="f8")

    def check(result: Any) -> None:
        if not np.isclose(result, field(scale).mean(dtype="f8"), rtol=1e-9, atol=1e-9):
            raise ValueError(f"got {result}, expected {field(scale).mean(dtype='f8')}")

    return Row(
        "mean, 64 KiB chunks",
        f"float32 {one.shape}, {one.n_chunks:,} chunks; graph and all",
        [
            Contender(OURS, ours, needs=("dask",)),
            Contender("da.from_zarr", partial(from_zarr, None), needs=ZARR),
            Contender("da.from_zarr, 4 MiB blocks", partial(from_zarr, (1024, 1024)), needs=ZARR),
            Contender("read all by ours, numpy's mean", plain, kind="limit"),
        ],
        check=check,
        make=lambda: make_arrays(one, lambda: field(scale), scale),
        goal=20.0,
        against="da.from_zarr",
    )


def graph_rows(scale: Scale) -> list[Row]:
    """Building an array of many blocks, and what is sent to a scheduler of a job that copies it."""
    side = 1000 if scale.n_bytes >= 512 << 20 else 100
    one = Layout("blocks", (side * 2, side * 2), (2, 2))
    path = scale.folder / "blocks.zarr"

    def make() -> None:
        if not path.exists():
            peer_named(OURS).create(path, one, 1)

    def build(name: str) -> Any:
        if name == OURS:
            from dask_integration import from_store

            return from_store(path, chunks=one.chunks)
        import dask.array as da

        return da.from_zarr(str(path))

    def prepare(name: str) -> Callable[[], Any]:
        build(name)
        return lambda: build(name)

    def copy_job(name: str, x: Any) -> Any:
        out = scale.folder / f"blocks-{name}.zarr"
        if name == OURS:
            from dask_integration import to_store

            return to_store(x, out, overwrite=True, compute=False)
        import dask.array as da

        clear(out)
        return da.store(x, peer_named("zarr").create(out, one, 1), lock=False, compute=False)

    def prepare_size(name: str) -> Callable[[], Any]:
        import cloudpickle
        from dask.base import collections_to_expr

        def size() -> Measure:
            x = build(name)
            sent = cloudpickle.dumps(collections_to_expr(copy_job(name, x), True))
            return Measure(float(len(sent)), x)

        return size

    def check(result: Any) -> None:
        equals((side, side), np.array(result.numblocks))

    what = f"{side * side:,} blocks"
    names = {OURS: ("dask",), "da.from_zarr": ZARR}
    return [
        Row(
            "build an array of 10⁶ blocks", what,
            [Contender(name, partial(prepare, name), needs=needs) for name, needs in names.items()],
            check=check, make=make, at_most=0.050,
        ),
        Row(
            "bytes of the graph sent, a copy of 10⁶ blocks", what,
            [
                Contender(name, partial(prepare_size, name), needs=needs)
                for name, needs in names.items()
            ],
            check=check, make=make, unit="B", rounds=1, at_most=10_000,
        ),
    ]  # fmt: skip


def standardise_row(scale: Scale) -> Row:
    """Standardising genotypes into a new array, of the same chunks and codec for all."""
    shape = genotypes_shape(scale)
    source = layout("genotypes-dask", shape, BLOCK, dtype="int8", codec="blosc-zstd-bitshuffle")
    target = layout("standardised", shape, BLOCK, codec="blosc-zstd-bitshuffle")
    path = PEERS[0].path(scale.folder, source)

    def ours(out: Any) -> Callable[[], Any]:
        from dask_integration import from_store, standardise, to_store

        codecs = zarr_arguments(target)["compressors"]

        def run() -> None:
            with threads(scale):
                y = standardise(from_store(path), axis=1)
                to_store(y, out, compressors=codecs)

        return run

    def by_dask(out: Any) -> Callable[[], Any]:
        import dask.array as da

        def run() -> None:
            x = da.from_zarr(str(path)).astype("f4")
            y = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
            with threads(scale):
                da.to_zarr(y, peer_named("zarr").create(out, target, scale.cpus))

        return run

    def check(out: Any, _: Any) -> None:
        peer = peer_named(OURS)
        result = peer.read(peer.open(out, scale.cpus), ...)
        for start in range(0, shape[0], 10_000):
            x = genotypes(scale)[start : start + 10_000].astype("f8")
            spread = x.std(axis=1, keepdims=True)
            good = spread[:, 0] > 0
            expected = (x - x.mean(axis=1, keepdims=True))[good] / spread[good]
            np.testing.assert_allclose(result[start : start + 10_000][good], expected, atol=1e-5)

    def contender(name: str, prepare: Callable[[Any], Any], needs: tuple[str, ...]) -> Contender:
        out = scale.folder / f"standardised-{name}.zarr"
        return Contender(
            name, partial(prepare, out), needs=needs, clear=partial(clear, out),
            check=partial(check, out),
        )  # fmt: skip

    return Row(
        "standardise rows into a store",
        f"int8 {shape} in chunks of {BLOCK}",
        [contender(OURS, ours, ("dask",)), contender("da.to_zarr", by_dask, ZARR)],
        make=lambda: make_arrays(source, lambda: genotypes(scale), scale, PEERS[:2]),
        rounds=3,
        goal=2.0,
        # Four blocks a thread, of those that from_store makes by itself.
        memory_at_most=4 * scale.cpus * (64 << 20),
    )

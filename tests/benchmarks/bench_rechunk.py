"""Copying an array from columns into rows within 256 MB, beside dask's ways, cubed and a loop.

Source and target are local and uncompressed, so that moving and not encoding is measured. dask's
cluster runs in the contender's process, so that its memory counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_dask import threads
from tests.benchmarks.data import clear, equals, field, field_shape, layout, make_arrays
from tests.benchmarks.harness import OURS, Contender, Row, Scale
from tests.benchmarks.peers import PEERS, Layout, peer_named

MB = 10**6
BOUND = 256 * MB


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    shape = field_shape(scale)
    source = layout("columns", shape, (shape[0], 128), codec=None)
    target = layout("rows", shape, (64, shape[1]), codec=None)
    path = PEERS[0].path(scale.folder, source)
    ways: dict[str, tuple[Way, tuple[str, ...]]] = {
        OURS: (ours, ("dask",)),
        "dask, p2p": (dask_p2p, ("dask", "distributed", "zarr")),
        "dask, tasks": (dask_tasks, ("dask", "zarr")),
        "cubed": (cubed, ("cubed",)),
        "two bands by zarr": (two_bands, ("zarr",)),
    }

    def contender(name: str, way: Way, needs: tuple[str, ...]) -> Contender:
        out = scale.folder / f"rows-{name.replace(' ', '-')}.zarr"

        def check(_: Any) -> None:
            reader = peer_named(OURS)
            handle = reader.open(out, scale.cpus)
            if tuple(handle.chunks) != target.chunks:
                raise ValueError(f"got chunks {handle.chunks}, expected {target.chunks}")
            equals(field(scale), reader.read(handle, ...))

        return Contender(
            name, partial(way, scale, path, out, target), needs=needs, clear=partial(clear, out),
            check=check,
        )  # fmt: skip

    return [
        Row(
            "columns into rows within 256 MB",
            f"float32 {shape}, chunks {source.chunks} to {target.chunks}",
            [contender(name, way, needs) for name, (way, needs) in ways.items()],
            make=lambda: make_arrays(source, lambda: field(scale), scale, PEERS[:2]),
            rounds=3,
            goal=1.0,
            memory_at_most=BOUND,
        )
    ]


Way = Callable[[Scale, Path, Path, Layout], Callable[[], Any]]


def ours(scale: Scale, source: Path, out: Path, target: Layout) -> Callable[[], Any]:
    """Ours, told the bound."""
    from dask_integration import rechunk

    def run() -> None:
        with threads(scale):
            rechunk(source, out, chunks=target.chunks, memory=BOUND)

    return run


def dask_p2p(scale: Scale, source: Path, out: Path, target: Layout) -> Callable[[], Any]:
    """dask's rechunking through a cluster's disks; it takes no bound."""
    import dask.array as da
    from distributed import Client

    client = Client(
        processes=False, n_workers=1, threads_per_worker=scale.cpus, dashboard_address=None,
        local_directory=str(scale.folder),
    )  # fmt: skip

    def run() -> None:
        x = da.from_zarr(str(source)).rechunk(target.chunks, method="p2p")
        with client.as_current():
            da.to_zarr(x, peer_named("zarr").create(out, target, scale.cpus))

    return run


def dask_tasks(scale: Scale, source: Path, out: Path, target: Layout) -> Callable[[], Any]:
    """dask's rechunking by tasks, on threads; it takes no bound."""
    import dask.array as da

    def run() -> None:
        with threads(scale):
            x = da.from_zarr(str(source)).rechunk(target.chunks, method="tasks")
            da.to_zarr(x, peer_named("zarr").create(out, target, scale.cpus))

    return run


def cubed(scale: Scale, source: Path, out: Path, target: Layout) -> Callable[[], Any]:
    """cubed on threads, told the bound for each task."""
    import cubed as library

    spec = library.Spec(
        work_dir=str(scale.folder / "cubed"), allowed_mem=BOUND, executor_name="threads",
        executor_options={"max_workers": scale.cpus}, zarr_compressor=None,
    )  # fmt: skip

    def run() -> None:
        x = library.from_zarr(str(source), spec=spec).rechunk(target.chunks)
        library.to_zarr(x, str(out))

    return run


def two_bands(scale: Scale, source: Path, out: Path, target: Layout) -> Callable[[], Any]:
    """A loop that reads the source once for each half of the rows, by zarr's fused pipeline."""
    peer = peer_named("zarr fused")
    half = -(-target.shape[0] // 2)
    half += -half % target.chunks[0]

    def run() -> None:
        read, write = peer.open(source, scale.cpus), peer.create(out, target, scale.cpus)
        for start in range(0, target.shape[0], half):
            band = slice(start, min(start + half, target.shape[0]))
            write[band] = read[band]

    return run

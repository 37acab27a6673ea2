"""xarray datasets: opening, loading and writing beside xarray's own zarr backend.

The datasets that are read were written by xarray's backend. Codec and chunks are the same for all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.bench_dask import threads
from tests.benchmarks.data import clear, equals, field
from tests.benchmarks.harness import OURS, Contender, Row, Scale
from tests.benchmarks.peers import Layout, Zarr, peer_named, zarr_arguments

XARRAY = ("xarray",)
N_OPENS = 5
N_VARIABLES = 8


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    return [open_row(scale), load_row(scale), write_row(scale, False), write_row(scale, True)]


def dataset(values: dict[str, np.ndarray]) -> Any:
    """Make a dataset of variables on the same two axes, with a coordinate each."""
    import xarray as xr

    n_rows, n_columns = next(iter(values.values())).shape
    return xr.Dataset(
        {name: (("y", "x"), array) for name, array in values.items()},
        coords={"y": np.arange(n_rows) / 4, "x": np.arange(n_columns) / 4},
    )


def encoding(values: dict[str, np.ndarray], chunks: tuple[int, int]) -> dict[str, Any]:
    """Give each variable the same chunks and codec."""
    found = {}
    for name, array in values.items():
        one = Layout(name, array.shape, tuple(map(min, chunks, array.shape)))
        found[name] = {
            "chunks": one.chunks, "compressors": zarr_arguments(one)["compressors"],
        }  # fmt: skip
    return found


def write_by_xarray(path: Path, ds: Any, how: dict[str, Any], **arguments: Any) -> None:
    """Write by xarray's own backend, consolidated."""
    with warnings.catch_warnings():
        # zarr warns that version 3 does not specify consolidated metadata.
        warnings.simplefilter("ignore")
        ds.to_zarr(path, mode="w", encoding=how, consolidated=True, **arguments)


def make(path: Path, values: Callable[[], dict[str, np.ndarray]], chunks: tuple[int, int]) -> None:
    """Write a dataset for reading, unless it is there."""
    if not path.exists():
        new = path.with_suffix(".new")
        clear(new)
        write_by_xarray(new, dataset(values()), encoding(values(), chunks))
        new.rename(path)


def opener(path: Path, engine: str) -> Callable[[], Any]:
    """Give a function that opens a dataset, without dask."""
    import xarray as xr

    return lambda: xr.open_dataset(path, engine=engine, consolidated=True, chunks=None)


def open_row(scale: Scale) -> Row:
    """Opening a dataset of many small variables, from consolidated metadata."""
    path = scale.folder / "variables.zarr"

    def values() -> dict[str, np.ndarray]:
        return {f"v{i:03}": np.full((8, 8), i, "f4") for i in range(100)}

    def prepare(engine: str) -> Callable[[], Any]:
        open_it = opener(path, engine)

        def run() -> Any:
            for _ in range(N_OPENS):
                found = open_it()
            return found

        return run

    def prepare_limit() -> Callable[[], Any]:
        # What xarray does with variables that are there already: it decodes, makes indexes.
        import xarray as xr

        from dask_integration.xarray_engine import GroupStore, open_stores

        (found,) = open_stores(path).values()
        variables = found.get_variables()

        class Ready(GroupStore):
            def get_variables(self) -> Any:
                return {name: v.copy(deep=False) for name, v in variables.items()}

        store = Ready(found.group, found.arrays)

        def run() -> Any:
            for _ in range(N_OPENS):
                ds = xr.open_dataset(store, engine="store")
            return ds

        return run

    def check(ds: Any) -> None:
        equals(np.full((8, 8), 42, "f4"), ds["v042"].values)
        equals(np.arange(100), np.array([int(name[1:]) for name in sorted(ds.data_vars)]))

    return Row(
        "open 100 variables", f"consolidated; mean of {N_OPENS}",
        [
            Contender(OURS, partial(prepare, "chunkstore"), needs=XARRAY),
            Contender("xarray's zarr", partial(prepare, "zarr"), needs=(*XARRAY, "zarr")),
            Contender("xarray's own part", prepare_limit, kind="limit", needs=XARRAY),
        ],
        check=check, make=lambda: make(path, values, (8, 8)), operations=N_OPENS, goal=5.0,
    )  # fmt: skip


def load_row(scale: Scale) -> Row:
    """Loading a variable of ten thousand small chunks."""
    path = scale.folder / "chunks.zarr"
    side = 64 * max(2, int(np.sqrt(scale.part(10_000))))

    def values() -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        return {"v": np.round(rng.standard_normal((side, side), "f4") * 16) / 16}

    def prepare(engine: str, pipeline: str | None) -> Callable[[], Any]:
        if pipeline is not None:
            peer = peer_named(pipeline)
            assert isinstance(peer, Zarr)
            peer.configure(scale.cpus)
        open_it = opener(path, engine)
        return lambda: open_it()["v"].load()

    return Row(
        "load 10⁴ chunks of 16 KiB", f"float32 ({side}, {side}), opened and loaded, no dask",
        [
            Contender(OURS, partial(prepare, "chunkstore", None), needs=XARRAY),
            *(
                Contender(
                    f"xarray's zarr, {name}", partial(prepare, "zarr", name),
                    needs=(*XARRAY, *peer_named(name).needs),
                )
                for name in ("zarr", "zarr fused", "zarrs")
            ),
        ],
        check=lambda result: equals(values()["v"], result.values),
        make=lambda: make(path, values, (64, 64)),
        goal=10.0,
        against="xarray's zarr, zarr",
    )  # fmt: skip


def write_row(scale: Scale, with_dask: bool) -> Row:
    """Writing a dataset of some variables, held in memory or in dask's blocks."""
    part = replace(scale, n_bytes=max(1 << 16, scale.n_bytes // 4))
    chunks = (256, 256)

    def values() -> dict[str, np.ndarray]:
        return {f"v{i}": a for i, a in enumerate(np.array_split(field(part), N_VARIABLES, axis=1))}

    def given() -> Any:
        ds = dataset(values())
        return ds.chunk(y=chunks[0], x=chunks[1]) if with_dask else ds

    def ours(path: Path) -> Callable[[], Any]:
        from dask_integration.xarray import to_store

        ds, how = given(), encoding(values(), chunks)

        def run() -> None:
            with threads(scale):
                to_store(ds, path, mode="w", encoding=how)

        return run

    def theirs(path: Path) -> Callable[[], Any]:
        ds, how = given(), encoding(values(), chunks)

        def run() -> None:
            with threads(scale):
                write_by_xarray(path, ds, how)

        return run

    def check(path: Path, _: Any) -> None:
        for name, expected in values().items():
            peer = peer_named(OURS)
            equals(expected, peer.read(peer.open(path / name, scale.cpus), ...))

    def contender(name: str, prepare: Any, needs: tuple[str, ...]) -> Contender:
        path = scale.folder / f"dataset-{name.replace(' ', '-')}.zarr"
        return Contender(
            name, partial(prepare, path), needs=needs, clear=partial(clear, path),
            check=partial(check, path),
        )  # fmt: skip

    return Row(
        f"write {N_VARIABLES} variables, {'dask blocks' if with_dask else 'in memory'}",
        f"{part.n_bytes >> 20} MiB of float32 in chunks of {chunks}",
        [
            contender(OURS, ours, (*XARRAY, "dask")),
            contender("xarray's zarr", theirs, (*XARRAY, "zarr")),
        ],
        make=lambda: field(part),
        goal=1.5,
    )

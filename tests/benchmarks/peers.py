"""The libraries that are measured beside ours, each behind the same few functions.

Every library gets its best documented settings for the same threads and nothing that the others
do not get. What one cannot do it says by raising `CannotError`. Each imports its library when it is
first used: nothing here needs any of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.harness import OURS, CannotError

__all__ = ["IN_MEMORY", "PEERS", "Layout", "Peer", "clear", "peer_named"]


@dataclass(frozen=True)
class Layout:
    """How an array is stored. ``codec`` is a name in `CODECS`."""

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str = "float32"
    codec: str | None = "blosc-lz4"
    shards: tuple[int, ...] | None = None

    @property
    def n_chunks(self) -> int:
        return int(np.prod([-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True)]))


CODECS: dict[str | None, dict[str, Any]] = {
    "blosc-lz4": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle"},
    "blosc-zstd-bitshuffle": {"cname": "zstd", "clevel": 5, "shuffle": "bitshuffle"},
    "zstd": {"level": 3},
    "gzip": {"level": 5},
}
"""Settings of each codec; blosc's take the element's size beside them."""


def clear(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


IN_MEMORY = Path("in memory")
"""In place of a path: TensorStore's own store in memory."""


class Peer:
    """A library: `open` and `create` give a handle, on which the others work."""

    name: str
    needs: tuple[str, ...] = ()
    suffix = ".zarr"
    note = ""

    def path(self, folder: Path, layout: Layout) -> Path:
        """Say where an array of this library is; all Zarr libraries read the same one."""
        return folder / f"{layout.name}{self.suffix}"

    def open(self, path: Path, threads: int) -> Any:
        """Open an array to read it."""
        raise NotImplementedError

    def create(self, path: Path, layout: Layout, threads: int) -> Any:
        """Make an array to write all of it."""
        raise NotImplementedError

    def read(self, handle: Any, selection: Any) -> np.ndarray:
        """Read slices and integers."""
        result: np.ndarray = handle[selection]
        return result

    def write(self, handle: Any, values: np.ndarray) -> None:
        """Write all elements."""
        handle[...] = values

    def orthogonal(self, handle: Any, indices: tuple[Any, ...]) -> np.ndarray:
        """Read the crossings of rows and columns."""
        result: np.ndarray = handle.oindex[indices]
        return result

    def points(self, handle: Any, indices: tuple[Any, ...]) -> np.ndarray:
        """Read single elements."""
        result: np.ndarray = handle.vindex[indices]
        return result

    def mask(self, handle: Any, mask: np.ndarray) -> np.ndarray:
        """Read where a mask is true."""
        result: np.ndarray = handle[mask]
        return result


class Chunkstore(Peer):
    """Ours."""

    name = OURS

    def open(self, path: Path, threads: int) -> Any:
        import chunkstore

        return chunkstore.open_array(path, mode="r", options=chunkstore.Options(n_threads=threads))

    def create(self, path: Path, layout: Layout, threads: int) -> Any:
        import chunkstore

        return chunkstore.create_array(
            path, **zarr_arguments(layout), options=chunkstore.Options(n_threads=threads)
        )


class Zarr(Peer):
    """zarr-python with one of its codec pipelines."""

    def __init__(self, name: str, pipeline: str | None, needs: tuple[str, ...] = ("zarr",)) -> None:
        self.name = name
        self.needs = needs
        self._pipeline = pipeline

    def configure(self, threads: int) -> None:
        """Choose this pipeline for all of zarr-python."""
        import zarr

        settings: dict[str, Any] = {"threading.max_workers": threads}
        if self._pipeline is not None:
            settings["codec_pipeline.path"] = self._pipeline
            settings["codec_pipeline.max_workers"] = threads
        zarr.config.set(settings)
        if self.name == "zarr fused":
            import zarr.core.codec_pipeline as pipelines

            if not hasattr(pipelines, "FusedCodecPipeline"):
                raise CannotError(
                    f"zarr {zarr.__version__} has no fused pipeline; 3.3 and later do"
                )

    def open(self, path: Path, threads: int) -> Any:
        import zarr

        self.configure(threads)
        return zarr.open_array(path, mode="r")

    def create(self, path: Path, layout: Layout, threads: int) -> Any:
        import zarr

        self.configure(threads)
        return zarr.create_array(path, **zarr_arguments(layout))


class TensorStore(Peer):
    """TensorStore's zarr3 driver, no cache; it does not wait for the disk, as no other does."""

    name = "tensorstore"
    needs = ("tensorstore",)

    def _open(self, path: Path, threads: int, **arguments: Any) -> Any:
        import tensorstore

        kvstore = {"driver": "file", "path": f"{path}/"}
        if path is IN_MEMORY:
            kvstore = {"driver": "memory"}
        spec: dict[str, Any] = {"driver": "zarr3", "kvstore": kvstore}
        spec |= arguments.pop("spec", {})
        context = _tensorstore_context(threads)
        return tensorstore.open(spec, context=context, **arguments).result()

    def open(self, path: Path, threads: int) -> Any:
        return self._open(path, threads, open=True, read=True)

    def create(self, path: Path, layout: Layout, threads: int) -> Any:
        spec = {"metadata": tensorstore_metadata(layout)}
        return self._open(path, threads, spec=spec, create=True)

    def read(self, handle: Any, selection: Any) -> np.ndarray:
        result: np.ndarray = handle[selection].read().result()
        return result

    def write(self, handle: Any, values: np.ndarray) -> None:
        handle.write(values).result()

    def orthogonal(self, handle: Any, indices: tuple[Any, ...]) -> np.ndarray:
        result: np.ndarray = handle.oindex[indices].read().result()
        return result

    def points(self, handle: Any, indices: tuple[Any, ...]) -> np.ndarray:
        result: np.ndarray = handle.vindex[indices].read().result()
        return result

    def mask(self, handle: Any, mask: np.ndarray) -> np.ndarray:
        result: np.ndarray = handle[mask].read().result()
        return result


class H5py(Peer):
    """HDF5 with the same chunks and codec, the codec by hdf5plugin; one lock for all threads."""

    name = "h5py"
    needs = ("h5py", "hdf5plugin")
    suffix = ".h5"
    note = "one file; HDF5 lets one thread in at a time"

    def open(self, path: Path, threads: int) -> Any:
        # Of its blosc filter alone: no other contender runs in this process.
        os.environ["BLOSC_NTHREADS"] = str(threads)
        import h5py
        import hdf5plugin  # noqa: F401  (importing it adds its codecs)

        return h5py.File(path, "r")["a"]

    def create(self, path: Path, layout: Layout, threads: int) -> Any:
        if layout.shards is not None:
            raise CannotError("HDF5 has no chunks within chunks")
        os.environ["BLOSC_NTHREADS"] = str(threads)
        import h5py

        file = h5py.File(path, "w")
        return file.create_dataset(
            "a", layout.shape, layout.dtype, chunks=layout.chunks, **self._codec(layout)
        )

    def _codec(self, layout: Layout) -> dict[str, Any]:
        import hdf5plugin

        settings = dict(CODECS.get(layout.codec, {}))
        if layout.codec == "gzip":
            return {"compression": "gzip", "compression_opts": settings["level"]}
        if layout.codec == "zstd":
            return dict(hdf5plugin.Zstd(clevel=settings["level"]))
        if layout.codec is not None:
            shuffles = {"shuffle": 1, "bitshuffle": 2}
            settings["shuffle"] = shuffles[settings["shuffle"]]
            return dict(hdf5plugin.Blosc(**settings))
        return {}

    def write(self, handle: Any, values: np.ndarray) -> None:
        handle[...] = values
        handle.file.close()

    def orthogonal(self, handle: Any, indices: tuple[Any, ...]) -> np.ndarray:
        if sum(not isinstance(i, slice) for i in indices) > 1:
            raise CannotError("h5py takes one list of indices, not two")
        result: np.ndarray = handle[indices]
        return result

    def points(self, handle: Any, indices: tuple[Any, ...]) -> np.ndarray:
        raise CannotError("h5py takes one list of indices, not two")


class Blosc2(Peer):
    """blosc2's NDArray in one file: chunks are split into blocks, of a size that it chooses."""

    name = "blosc2"
    needs = ("blosc2",)
    suffix = ".b2nd"
    note = "one file; chunks split into blocks"

    def open(self, path: Path, threads: int) -> Any:
        import blosc2

        return blosc2.open(str(path), mode="r", dparams=blosc2.DParams(nthreads=threads))

    def create(self, path: Path, layout: Layout, threads: int) -> Any:
        import blosc2

        if layout.shards is not None:
            raise CannotError("blosc2 has no chunks within chunks; its blocks are not stored apart")
        # It writes while it makes the array: see `write`.
        return partial(
            blosc2.asarray, chunks=layout.chunks, urlpath=str(path), mode="w",
            cparams=self._codec(layout, threads),
        )  # fmt: skip

    def _codec(self, layout: Layout, threads: int) -> Any:
        import blosc2

        filters = {"shuffle": blosc2.Filter.SHUFFLE, "bitshuffle": blosc2.Filter.BITSHUFFLE}
        codecs = {
            "blosc-lz4": blosc2.Codec.LZ4,
            "blosc-zstd-bitshuffle": blosc2.Codec.ZSTD,
            "zstd": blosc2.Codec.ZSTD,
        }
        if layout.codec is None:
            return blosc2.CParams(clevel=0, nthreads=threads)
        if layout.codec not in codecs:
            raise CannotError(f"blosc2 has no codec {layout.codec}")
        settings = CODECS[layout.codec]
        chosen = filters.get(settings.get("shuffle", ""))
        return blosc2.CParams(
            codec=codecs[layout.codec],
            clevel=settings.get("clevel", settings.get("level", 5)),
            filters=[chosen] if chosen is not None else [],
            filters_meta=[0] if chosen is not None else [],
            nthreads=threads,
        )

    def write(self, handle: Any, values: np.ndarray) -> None:
        handle(values)

    def orthogonal(self, handle: Any, indices: tuple[Any, ...]) -> np.ndarray:
        # It takes lists of indices alone.
        lists = [np.arange(n)[index] for n, index in zip(handle.shape, indices, strict=True)]
        result: np.ndarray = handle.oindex[tuple(lists)]
        return result

    def points(self, handle: Any, indices: tuple[Any, ...]) -> np.ndarray:
        result: np.ndarray = handle[indices]
        return result


@lru_cache
def _tensorstore_context(threads: int) -> Any:
    """Give the settings, made once: a program that opens many arrays does so too."""
    import tensorstore

    return tensorstore.Context({
        "cache_pool": {"total_bytes_limit": 0},
        "data_copy_concurrency": {"limit": threads},
        "file_io_concurrency": {"limit": max(4, 2 * threads) if threads > 1 else 1},
        "file_io_sync": False,
    })  # fmt: skip


def zarr_arguments(layout: Layout) -> dict[str, Any]:
    """Give the arguments of ``create_array``, which are zarr-python's and ours."""
    return {
        "shape": layout.shape,
        "chunks": layout.chunks,
        "shards": layout.shards,
        "dtype": layout.dtype,
        "compressors": [] if layout.codec is None else [_zarr_codec(layout)],
        "fill_value": 0,
    }


def _zarr_codec(layout: Layout) -> dict[str, Any]:
    settings = dict(CODECS[layout.codec])
    name = str(layout.codec).partition("-")[0]
    if name == "blosc":
        settings |= {"typesize": np.dtype(layout.dtype).itemsize, "blocksize": 0}
    elif name == "zstd":
        settings["checksum"] = False
    return {"name": name, "configuration": settings}


def tensorstore_metadata(layout: Layout) -> dict[str, Any]:
    """Give the document of an array, as TensorStore takes it."""
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if np.dtype(layout.dtype).itemsize == 1:
        codecs = [{"name": "bytes"}]
    if layout.codec is not None:
        codecs.append(_zarr_codec(layout))
    if layout.shards is not None:
        index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        settings = {"chunk_shape": layout.chunks, "codecs": codecs, "index_codecs": index}
        codecs = [{"name": "sharding_indexed", "configuration": settings}]
    return {
        "shape": layout.shape,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": layout.shards or layout.chunks},
        },
        "data_type": layout.dtype,
        "codecs": codecs,
        "fill_value": 0,
    }


PEERS: Sequence[Peer] = (
    Chunkstore(),
    Zarr("zarr", None),
    Zarr("zarr fused", "zarr.core.codec_pipeline.FusedCodecPipeline"),
    Zarr("zarrs", "zarrs.ZarrsCodecPipeline", ("zarr", "zarrs")),
    TensorStore(),
    H5py(),
    Blosc2(),
)


def peer_named(name: str) -> Peer:
    """Give a library by its name here."""
    return next(peer for peer in PEERS if peer.name == name)

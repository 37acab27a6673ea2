"""The engine: where stored values become chunks and chunks become stored values.

Floor 5. The only place where stores meet codecs::

    read    fetch ─▶ decode ─▶ place in the buffer                               (reading)
    write   take from the buffer (merge with what is stored) ─▶ encode ─▶ store  (writing)

What does not change from request to request is prepared once, in an `Engine` for each array. One
stored value is one unit of work: a chunk, or a shard. Units are shared by the calling thread and a
bounded number of helpers (``workers``); each holds one unit at a time. Where the compiled kernel
can serve, it is given the whole request (``compiled``), and what it leaves is done in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from chunkstore.cache import mark_changed, mark_many_changed, state_of
from chunkstore.compiled import Kernel, kernel_for
from chunkstore.errors import CodecError
from chunkstore.keys import prefix_of
from chunkstore.reading import read_chunk, read_shard
from chunkstore.requests import Projection, Request
from chunkstore.sharding import pipeline_of
from chunkstore.types import ChunkCoords, NDArray, Shape
from chunkstore.values import StoredValues, Unit
from chunkstore.workers import run_in_threads
from chunkstore.writing import write_chunk, write_shard

__all__ = ["Engine"]

_SERIAL_BYTES = 1 << 17
"""Decoded bytes below which starting a helper thread costs more than it saves."""

_MOST_VARIANTS = 4096
"""Pipelines kept for chunks of different shapes; each takes some kilobytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Engine(StoredValues):
    """All that reading and writing the chunks of one array needs; parameters as `StoredValues`."""

    _kernels: list[Kernel | None] = field(init=False, repr=False)
    _variants: dict[Shape, Engine] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        StoredValues.__post_init__(self)
        uniform = self.metadata.grid.uniform_shape is not None
        object.__setattr__(self, "_kernels", [] if uniform else [None])
        object.__setattr__(self, "_variants", None if uniform else {})

    @property
    def kernel(self) -> Kernel | None:
        """What the compiled kernel knows of the chunks, told when they are first asked for."""
        if not self._kernels:
            self._kernels.append(self._make_kernel())
        return self._kernels[0]

    def _make_kernel(self) -> Kernel | None:
        encoding = self.metadata.key_encoding
        start = f"c{encoding.separator}" if encoding.name == "default" else ""
        return kernel_for(
            self.chunk_pipeline,
            self.sharding,
            prefix=self.store.file_prefix(prefix_of(self.path) + start),
            separator=encoding.separator,
        )

    def read(self, request: Request, out: NDArray) -> None:
        """Fill `out`, of the request's buffer shape, with the selected elements."""
        view = request.buffer_view(out)
        kernel = self.kernel if self.cache is None and request.is_runs else None
        n_threads = self._n_threads(out.nbytes)
        if kernel is None or not kernel.reads_files or self._splits_shards(request, n_threads):
            units = self._units(request.projections(self.metadata.grid), request, n_threads)
        else:
            keep_missing = self.options.missing_chunks == "error"
            left = kernel.read(view, request.picks, keep_missing=keep_missing, n_threads=n_threads)
            if not left:
                return
            units = self._numbered(request, left)

        def work(unit: Unit) -> None:
            engine = self if self._variants is None else self._variant(unit)
            if engine.sharding is None:
                read_chunk(engine, unit, view)
            else:
                read_shard(engine, unit, view, kernel)

        self._run(work, units, request, n_threads)

    def write(self, request: Request, values: NDArray, *, alone: bool = True) -> None:
        """Store `values`, of the request's buffer shape, as the selected elements.

        Unless the caller is `alone`, another writer may be appending: what chunks at the edge hold
        beyond the array is kept then.
        """
        view = request.buffer_view(values)
        reach = self.metadata.shape if alone else self.metadata.grid.reach
        n_threads = self._n_threads(values.nbytes)
        units: Iterable[Unit]
        temporary = self._temporary(request, values, n_threads)
        if temporary is not None:
            left = self._write_files(request, view, temporary, reach=reach, n_threads=n_threads)
            if not left:
                return
            units = self._numbered(request, left)
        else:
            units = self._units(request.projections(self.metadata.grid), request, n_threads)

        def work(unit: Unit) -> None:
            engine = self if self._variants is None else self._variant(unit)
            write = write_chunk if engine.sharding is None else write_shard
            if reach != self.metadata.shape and self._is_at_edge(unit.projection.coords):
                unit = unit._replace(keeps_beyond=True)
            mark_changed(self.store.place(unit.key))
            try:
                write(engine, unit, view, request.fields)
            finally:
                mark_changed(self.store.place(unit.key))

        self._run(work, units, request, n_threads)

    # -- units and threads ----------------------------------------------------------------------

    def _run(
        self, work: Callable[[Unit], None], units: Iterable[Unit], request: Request, n_threads: int
    ) -> None:
        n_units = request.n_projections(self.metadata.grid)
        run_in_threads(work, units, n_threads=min(n_threads, n_units))

    def _units(
        self, projections: Iterable[Projection], request: Request, n_threads: int
    ) -> Iterator[Unit]:
        n_units = min(n_threads, request.n_projections(self.metadata.grid))
        # Threads that have no shard of their own help inside the shards.
        inner = n_threads // max(1, n_units)
        for projection in projections:
            key = self.chunk_key(projection.coords)
            state = None if self.cache is None else state_of(self.store.place(key))
            yield Unit(projection, key, inner, state)

    def _numbered(self, request: Request, numbers: Iterable[int]) -> Iterator[Unit]:
        """Give the units that the kernel has left."""
        return self._units(request.numbered(self.metadata.grid, numbers), request, 1)

    def _n_threads(self, n_bytes: int) -> int:
        """Choose how many threads a request of so many decoded bytes may use."""
        if self.store.concurrency > 1:
            # Requests mostly wait, so that more of them than processors pay even for few bytes,
            # and one thread decodes while others wait.
            return self.options.threads_for(self.store.concurrency)
        if n_bytes > _SERIAL_BYTES or not self.metadata.data_type.is_fixed_size:
            return self.options.threads
        return 1

    def _splits_shards(self, request: Request, n_threads: int) -> bool:
        """Whether there are more threads than shards, so that several share one."""
        if self.sharding is None or n_threads == 1:
            return False
        return request.n_projections(self.metadata.grid) < n_threads

    def _variant(self, unit: Unit) -> Engine:
        """Give the engine for chunks of a unit's shape, where shapes differ."""
        assert self._variants is not None
        shape = self.metadata.grid.shape_of(unit.projection.coords)
        found = self._variants.get(shape)
        if found is None:
            made = pipeline_of(self.metadata, shape, self.options)
            if isinstance(made, list):
                path, what = made[0]
                self.fail("read", unit, CodecError(f"{path}: {what}"))
            found = replace(self, pipeline=made)
            if len(self._variants) >= _MOST_VARIANTS:
                self._variants.clear()
            self._variants[shape] = found
        return found

    def _is_at_edge(self, coords: ChunkCoords) -> bool:
        """Whether a chunk reaches beyond the array."""
        return any(
            axis.start_of(i) + axis.size_of(i) > axis.extent
            for axis, i in zip(self.metadata.grid.axes, coords, strict=True)
        )

    # -- files written by the kernel ------------------------------------------------------------

    def _temporary(self, request: Request, values: NDArray, n_threads: int) -> str | None:
        """Give the start of temporary names where the kernel can write; None where it cannot."""
        kernel = self.kernel
        if (
            kernel is not None
            and kernel.writes_files
            and values.dtype == kernel.dtype
            and request.is_runs
            and request.fields is None
            and not self._splits_shards(request, n_threads)
        ):
            return self.store.temporary_prefix()
        return None

    def _write_files(
        self, request: Request, view: NDArray, temporary: str, *, reach: Shape, n_threads: int
    ) -> list[int]:
        """Write the units that are covered; gives the numbers of the others.

        `reach` is where the array ends, or the chunks, if those at the edge are not to be replaced.
        """
        assert self.kernel is not None
        grid = self.metadata.grid

        def mark() -> None:
            keys = map(self.chunk_key, request.chunk_coords(grid))
            mark_many_changed(map(self.store.place, keys))

        mark()
        try:
            return self.kernel.write(
                view,
                request.picks,
                extents=reach,
                temporary=temporary,
                keep_empty=self.options.write_empty_chunks,
                n_threads=n_threads,
            )
        finally:
            mark()

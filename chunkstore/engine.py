"""The engine: where stored values become chunks and chunks become stored values.

Floor 5. The only place with threads, and the only one where stores meet codecs::

    read    fetch ─▶ decode ─▶ place in the buffer
    write   take from the buffer (merge with what is stored) ─▶ encode ─▶ store

What does not change from request to request is prepared once, in an `Engine` for each array.
Work on several chunks is shared by the calling thread and a bounded number of helpers that live
as long as the request: nothing outlives a call, so there is nothing to close, and a forked child
inherits nothing. Each thread holds one chunk at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np

from chunkstore.errors import ChunkError, ChunkStoreError, CodecError, MissingChunkError
from chunkstore.indexing import Projection, Request
from chunkstore.keys import join
from chunkstore.metadata.model import ArrayMetadata
from chunkstore.options import Options
from chunkstore.pipeline import Pipeline
from chunkstore.stores.base import Store
from chunkstore.types import Buffer, ChunkCoords, NDArray

__all__ = ["Engine", "is_all_fill", "run_in_threads"]

_T = TypeVar("_T")

_SERIAL_BYTES = 1 << 17
"""Decoded bytes below which starting a helper thread costs more than it saves."""


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """All that reading and writing the chunks of one array needs.

    Parameters
    ----------
    store : Store
        Where the values are.
    path : str
        The array's path in it.
    metadata : ArrayMetadata
        Grid, key encoding and fill value.
    pipeline : Pipeline
        The codecs.
    options : Options
        Threads and the policy for empty and missing chunks.
    """

    store: Store
    path: str
    metadata: ArrayMetadata
    pipeline: Pipeline
    options: Options

    def chunk_key(self, coords: ChunkCoords) -> str:
        """Give the key under which a chunk is stored."""
        return join(self.path, self.metadata.key_encoding.encode(coords))

    def read(self, request: Request, out: NDArray) -> None:
        """Fill `out`, of the request's buffer shape, with the selected elements."""
        view = request.buffer_view(out)

        def read_one(projection: Projection) -> None:
            self._read_chunk(projection, view)

        self._run(read_one, request, out.nbytes)

    def write(self, request: Request, values: NDArray) -> None:
        """Store `values`, of the request's buffer shape, as the selected elements."""
        view = request.buffer_view(values)

        def write_one(projection: Projection) -> None:
            self._write_chunk(projection, view)

        self._run(write_one, request, values.nbytes)

    def _run(self, work: Callable[[Projection], None], request: Request, n_bytes: int) -> None:
        grid = self.metadata.grid
        n_threads = 1
        if n_bytes > _SERIAL_BYTES or not self.metadata.data_type.is_fixed_size:
            n_threads = min(self.options.threads, request.n_projections(grid))
        run_in_threads(work, request.projections(grid), n_threads=n_threads)

    def _read_chunk(self, projection: Projection, out: NDArray) -> None:
        coords, chunk_selection, out_selection, whole = projection
        key = self.chunk_key(coords)
        value = self.store.get(key)
        target = out[out_selection] if out_selection else out
        if value is None:
            if self.options.missing_chunks == "error":
                raise MissingChunkError(
                    f"chunk {coords} of {self.path or '/'!r} in {self.store!r} is not stored (key "
                    f"{key!r}), and the handle was opened with missing_chunks='error'",
                    store=self.store,
                    key=key,
                    chunk_coords=coords,
                )
            target[...] = self.pipeline.spec.fill_value
        elif whole and target.shape == self.pipeline.spec.shape:
            self._decode(coords, key, value, target)
        else:
            target[...] = self._decode(coords, key, value)[chunk_selection]

    def _write_chunk(self, projection: Projection, values: NDArray) -> None:
        coords, chunk_selection, out_selection, whole = projection
        key = self.chunk_key(coords)
        part = values[out_selection] if out_selection else values
        spec = self.pipeline.spec
        if whole:
            if part.shape != spec.shape:
                # The chunk reaches beyond the array: what lies there is stored as fill value.
                chunk = np.full(spec.shape, spec.fill_value, spec.data_type.dtype)
                chunk[chunk_selection] = part
                part = chunk
            encoded = self._encode(coords, key, part)
            if encoded is None:
                self.store.delete(key)
            else:
                self.store.set(key, encoded)
            return

        def merge(stored: bytes | None) -> Buffer | None:
            chunk = np.full(spec.shape, spec.fill_value, spec.data_type.dtype)
            if stored is not None:
                self._decode(coords, key, stored, chunk)
            chunk[chunk_selection] = part
            return self._encode(coords, key, chunk)

        self.store.update(key, merge)

    def _decode(
        self, coords: ChunkCoords, key: str, value: Buffer, out: NDArray | None = None
    ) -> NDArray:
        try:
            return self.pipeline.decode(value, out)
        except CodecError as error:
            self._fail("read", coords, key, error)

    def _encode(self, coords: ChunkCoords, key: str, chunk: NDArray) -> Buffer | None:
        """Encode a chunk; None stands for an empty one that need not be stored."""
        if not self.options.write_empty_chunks and is_all_fill(
            chunk, self.pipeline.spec.fill_value
        ):
            return None
        try:
            return self.pipeline.encode(chunk)
        except CodecError as error:
            self._fail("write", coords, key, error)

    def _fail(self, verb: str, coords: ChunkCoords, key: str, error: ChunkStoreError) -> NoReturn:
        hint = "The value is damaged or was written under other metadata" if verb == "read" else ""
        raise ChunkError(
            f"cannot {verb} chunk {coords} of array {self.path or '/'!r} in {self.store!r} (key "
            f"{key!r}): {error}. {hint}".rstrip(". ")
            + ".",
            store=self.store,
            path=self.path,
            key=key,
            chunk_coords=coords,
        ) from error


def is_all_fill(chunk: NDArray, fill_value: Any) -> bool:
    """Whether every element has exactly the bits of the fill value.

    Bits, not values: a NaN equals itself here, and -0.0 is not 0.0, so leaving an empty chunk
    out never changes what is read.

    Examples
    --------
    >>> is_all_fill(np.array([np.nan, np.nan]), np.nan), is_all_fill(np.array([-0.0]), 0.0)
    (True, False)
    """
    if chunk.size == 0:
        return True
    if chunk.dtype.kind not in "biufcmM":
        return bool(np.all(chunk == fill_value))
    wanted = np.asarray(fill_value, chunk.dtype).reshape(1)
    if chunk[(0,) * chunk.ndim].tobytes() != wanted.tobytes():
        return False
    unit = f"u{min(chunk.dtype.itemsize, 8)}"
    if chunk.dtype.itemsize > 8:
        chunk = np.ascontiguousarray(chunk)[..., np.newaxis]
    return bool((chunk.view(unit) == wanted.view(unit)).all())


def run_in_threads(work: Callable[[_T], None], items: Iterable[_T], *, n_threads: int) -> None:
    """Call `work` on each item, by the calling thread and up to ``n_threads - 1`` helpers.

    Items are taken one at a time as threads become free. The first exception stops all threads
    after the item in hand and is raised here; so is an interrupt of the calling thread.
    """
    if n_threads <= 1:
        for item in items:
            work(item)
        return
    queue = _Shared(iter(items))
    failures: list[BaseException] = []

    def help_out() -> None:
        try:
            for item in queue:
                work(item)
        except BaseException as error:
            queue.stop()
            failures.append(error)

    helpers = [
        threading.Thread(target=help_out, name=f"chunkstore-engine-{i}", daemon=True)
        for i in range(n_threads - 1)
    ]
    for helper in helpers:
        helper.start()
    try:
        for item in queue:
            work(item)
    finally:
        queue.stop()
        for helper in helpers:
            helper.join()
    if failures:
        raise failures[0]


class _Shared(Iterator[_T]):
    """An iterator that several threads may draw from, and any of them may end."""

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._lock = threading.Lock()
        self._stopped = False

    def __next__(self) -> _T:
        with self._lock:
            if self._stopped:
                raise StopIteration
            return next(self._items)

    def stop(self) -> None:
        self._stopped = True

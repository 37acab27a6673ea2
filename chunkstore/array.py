"""`Array`: an N-dimensional array whose chunks are values of a store.

Floor 6. Turns what a user asks into a request and hands it to the engine; adds numpy's rules for
shapes, broadcasting and casts. Holds no data.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from chunkstore import documents, resizing
from chunkstore import metadata as formats
from chunkstore.attributes import Attributes
from chunkstore.casting import castable
from chunkstore.checks import CodecCheck
from chunkstore.description import Description
from chunkstore.display import Text, as_text, human_bytes
from chunkstore.dtypes import from_numpy
from chunkstore.engine import Engine
from chunkstore.errors import InvalidArgumentError, MetadataError, SelectionError
from chunkstore.indexing import numpy_request
from chunkstore.keys import prefix_of
from chunkstore.layout import array_metadata, extents, knowing_codecs
from chunkstore.metadata.model import ArrayMetadata, metadata_error
from chunkstore.options import Options
from chunkstore.pipeline import Pipeline
from chunkstore.requests import Request, whole_request
from chunkstore.sharding import pipeline_problems
from chunkstore.stores.base import Store
from chunkstore.types import NDArray, Selection, Shape

__all__ = ["Array"]

_MOST_STAMPED = 10_000
"""Stored values up to which an array is asked for a stamp of its content: about 0.05 s."""


class Array(Description):
    """An array in a store. Made by `open_array` and `create_array`, not by calling the class.

    Reading and writing with ``[]`` follow numpy: integers, slices with any step, Ellipsis and
    None, broadcasting on assignment. Whole chunks are read and written by several threads.

    Notes
    -----
    A handle holds the metadata as it was when it was opened. Threads may share it. It pickles as
    a small description (store, path, documents, options), and unpickling does no I/O.

    Writes that cover a chunk replace it. Writes that cover a part read, merge and replace it as
    one step among the threads of this process.

    Examples
    --------
    >>> import chunkstore
    >>> a = chunkstore.create_array(
    ...     chunkstore.MemoryStore(), shape=(4, 6), chunks=(2, 3), dtype="i4"
    ... )
    >>> a[1] = range(6)
    >>> a[:2, ::-2]
    array([[0, 0, 0],
           [5, 3, 1]], dtype=int32)
    """

    __slots__ = ("_ahead", "_engine", "_pending", "_read_only", "_token")

    def __init__(
        self,
        engine: Engine,
        *,
        read_only: bool = False,
        pending: str | None = None,
        ahead: bool = False,
    ) -> None:
        self._engine = engine
        self._ahead = ahead
        self._read_only = read_only
        self._pending = pending
        self._token = os.urandom(16).hex()

    @property
    def attrs(self) -> Attributes:
        """The user's attributes; changes are written through."""
        return Attributes(self)

    # -- reading and writing --------------------------------------------------------------------

    def __getitem__(self, selection: Selection) -> Any:
        return self.read(selection)

    def __setitem__(self, selection: Selection, value: Any) -> None:
        self.write(selection, value)

    def __iter__(self) -> Iterator[Any]:
        """Iterate along the first axis; each chunk is read once."""
        if not self.shape:
            raise TypeError("iteration over an array without axes")
        axis = self._read_grid.axes[0]
        for chunk in range(axis.n_chunks):
            start = axis.start_of(chunk)
            yield from self.read(slice(start, start + axis.size_of(chunk)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        if copy is False:
            raise ValueError("an array in a store cannot be had without a copy")
        values: NDArray = self.read(...)
        return values if dtype is None else values.astype(dtype)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def read(self, selection: Selection = ..., *, out: NDArray | None = None) -> Any:
        """Read a selection.

        Parameters
        ----------
        selection
            As between brackets, by numpy's rules: integers, slices, Ellipsis, None, arrays of
            integers, masks, and names of fields. The whole array by default.
        out : numpy.ndarray, optional
            Writable memory for the result, of its shape and this array's dtype, in any layout.

        Returns
        -------
        numpy.ndarray or numpy scalar
            A new array, or `out`. A scalar where integers pick one element.

        Raises
        ------
        SelectionError
            If the selection does not fit the array.
        ChunkError
            If a stored chunk cannot be decoded; it names the key.

        Notes
        -----
        One request to the store for each chunk touched; holds the result and one decoded chunk a
        thread, less where chunks decode straight into the result.
        """
        request = numpy_request(selection, self.shape)
        return self.read_request(request, out=out, scalar=_may_be_scalar(selection))

    def read_request(
        self, request: Request, *, out: NDArray | None = None, scalar: bool = True
    ) -> Any:
        """Read what a request asks for; the common end of every way to select."""
        if out is None:
            buffer = np.empty(request.buffer_shape, self.dtype)
            self._check_fields(request)
            self._engine.read(request, buffer)
            result = buffer.reshape(request.result_shape)
            if request.fields is not None:
                result = result[request.fields]
            return result[()] if scalar and result.ndim == 0 else result
        self._check_out(out, request)
        self._engine.read(request, out.reshape(request.buffer_shape))
        return out

    def write(self, selection: Selection, value: Any) -> None:
        """Write values to a selection.

        Parameters
        ----------
        selection
            As between brackets.
        value : array-like
            Broadcast to the selection's shape, by numpy's rules.

        Raises
        ------
        InvalidArgumentError
            If the values do not broadcast, or the cast to this array's type could lose more than
            precision: floats to integers, integers out of range.
        SelectionError
            If the selection does not fit the array.
        ReadOnlyError
            If the handle is read-only.

        Notes
        -----
        One write to the store for each chunk touched, and a read before it where the selection
        covers a part of the chunk.
        """
        self.write_request(numpy_request(selection, self.shape), value)

    def write_request(self, request: Request, value: Any) -> None:
        """Write to what a request asks for; the common end of every way to select."""
        documents.check_open_for_writing(self.read_only, repr(self))
        self._check_fields(request)
        data_type = self.metadata.data_type
        values = castable(value, data_type, what=repr(self), fields=request.fields)
        # Of an array that does not exist yet, or is ahead of what exists, its job is in charge.
        alone = self._pending is not None or self._ahead
        self._engine.write(request, _broadcast(values, request), alone=alone)

    # -- changing the extent --------------------------------------------------------------------

    def resize(self, shape: int | Sequence[int], *, written: bool = False) -> None:
        """Change the shape; elements that come in read as the fill value.

        Parameters
        ----------
        shape : int or tuple of int
            The new extent along each axis.
        written : bool
            Whether what comes in was written already, through `grown`: then only the documents
            change.

        Raises
        ------
        ConflictError
            If another writer has changed the shape since this handle was opened.
        InvalidArgumentError
            If an extent is no integer or negative, or if there are too many or too few.

        Notes
        -----
        Under codecs that round, elements that come in may read as what the codecs make of the
        fill value, where a stored chunk holds them.

        An axis of a rectilinear grid that grows beyond its chunks gets one more for the rest.

        Lists the array's keys once. Shrinking deletes the chunks outside; what was there does not
        come back when the array grows again.
        """
        documents.check_open_for_writing(self.read_only, repr(self))
        new = extents("shape", shape, least=0)
        with self.store.lock("node", self.path):
            change = resizing.publish if written else resizing.resize
            self._use(change(self._engine, new))

    def grown(self, shape: int | Sequence[int], *, keep: bool = False) -> Array:
        """Give a handle for writing what the array will hold when it has grown to a shape.

        Readers see the old extent until ``resize(shape, written=True)`` is called on this handle:
        all that was written, or, if the job fails before, nothing of it.

        Parameters
        ----------
        shape : int or tuple of int
            The new extent along each axis, none smaller than now.
        keep : bool
            Keep what is stored beyond the old extent: a job that was interrupted has written it,
            through a handle like this, and is gone on with.

        Notes
        -----
        Lists the array's keys once, and clears what is stored beyond the old extent. No lock is
        held while the job runs: if another writer changes the shape meanwhile, `resize` raises
        `ConflictError`, and what was appended last may be a mixture of both. One job at a time.

        Examples
        --------
        >>> import chunkstore
        >>> a = chunkstore.create_array(chunkstore.MemoryStore(), data=[1, 2, 3], chunks=2)
        >>> a.grown(5)[3:] = [4, 5]
        >>> a[:]
        array([1, 2, 3])
        >>> a.resize(5, written=True)
        >>> a[:]
        array([1, 2, 3, 4, 5])
        """
        documents.check_open_for_writing(self.read_only, repr(self))
        new = extents("shape", shape, least=0)
        with self.store.lock("node", self.path):
            engine = resizing.prepared(self._engine, new, keep=keep)
        return Array(engine, read_only=self._read_only, ahead=True)

    @property
    def is_ahead(self) -> bool:
        """Whether the handle has a shape that is not stored yet; see `grown`."""
        return self._ahead

    def append(self, data: Any, axis: int = 0) -> Shape:
        """Write data behind the end of one axis; gives the new shape.

        Parameters
        ----------
        data : array-like
            Of this array's shape but along `axis`.
        axis : int
            The axis to grow.

        Raises
        ------
        ConflictError
            If another writer has changed the shape meanwhile.

        Notes
        -----
        Starts from the shape as it is stored now. The data is written first and the documents
        last: a reader finds all of it or nothing.
        """
        documents.check_open_for_writing(self.read_only, repr(self))
        if not -self.ndim <= axis < self.ndim:
            raise InvalidArgumentError(f"axis {axis} is out of bounds for {self.ndim} axes")
        values = castable(data, self.metadata.data_type, what=repr(self))
        with self.store.lock("node", self.path):
            self.refresh()
            self._use(resizing.append(self._engine, values, axis % self.ndim))
        return self.shape

    def refresh(self) -> None:
        """Read the documents again, so that changes of other writers show in this handle."""
        found = documents.read_node(self.store, self.path, zarr_format=self.metadata.zarr_format)
        if found is None:
            raise documents.not_found(self.store, self.path)
        metadata = documents.require_array(found, self.store, self.path)
        where = f"{formats.primary_key(self.path, metadata)!r} in {self.store!r}"
        pipeline = _pipeline(metadata, where, self.options)
        self._engine = Engine(self.store, self.path, metadata, pipeline, self.options)

    # -- what is stored -------------------------------------------------------------------------

    @property
    def nchunks_initialized(self) -> int:
        """Number of chunks that are stored; a shard counts for all its chunks. One listing."""
        grid, sharding = self.metadata.grid, self._engine.sharding
        n_cells = grid.grid_shape
        stored = (
            coords
            for _, coords in resizing.stored_keys(self._engine)
            if all(i < n for i, n in zip(coords, n_cells, strict=True))
        )
        if sharding is None:
            return sum(1 for _ in stored)
        return sum(
            math.prod(map(operator.floordiv, grid.shape_of(coords), sharding.chunk_shape))
            for coords in stored
        )

    def content_stamp(self) -> str | None:
        """Give a text that differs whenever the stored array has changed; None if unknown.

        See `Store.content_stamp`. One listing; not asked for above 10,000 stored values, whose
        listing would be felt.
        """
        if math.prod(self.metadata.grid.grid_shape) > _MOST_STAMPED:
            return None
        return self.store.content_stamp(prefix_of(self.path))

    def nbytes_stored(self) -> int:
        """Bytes of the stored chunks. One listing, and a question for each chunk."""
        sizes = (self.store.size(key) for key, _ in resizing.stored_keys(self._engine))
        return sum(size for size in sizes if size is not None)

    def info_complete(self) -> Text:
        """Give `info` and what is stored: number of chunks, bytes, and their ratio to memory.

        One listing, and a question for each chunk.
        """
        n_bytes = self.nbytes_stored()
        facts = [
            *self._facts(),
            ("chunks stored", self.nchunks_initialized),
            ("stored", f"{human_bytes(n_bytes)}, {self.nbytes / max(1, n_bytes):.1f} times less"),
        ]
        return as_text("Array", facts)

    # -- handles --------------------------------------------------------------------------------

    def with_options(self, **changes: Any) -> Array:
        """Give a handle on the same array with some run settings changed; see `Options`."""
        options = dataclasses.replace(self.options, **changes)
        # Some of them reach the codecs, so these are made anew.
        pipeline = _pipeline(self.metadata, repr(self), options)
        engine = Engine(self.store, self.path, self.metadata, pipeline, options)
        return Array(engine, read_only=self._read_only, pending=self._pending)

    @property
    def pending(self) -> str | None:
        """Token of an array that is held back from readers; None once it is published."""
        return self._pending

    def publish(self) -> None:
        """Make an array that was created with ``pending=True`` exist for readers.

        To be called when all its chunks are written. Does nothing on an array that exists.

        Raises
        ------
        ConflictError
            If another writer has made something at its path meanwhile.
        """
        if self._pending is not None:
            documents.publish(self.store, self.path, self.metadata, self._pending)
            self._pending = None

    def change_metadata(self, change: Callable[[ArrayMetadata], ArrayMetadata]) -> None:
        """Change the stored documents in one step, and this handle with them."""
        documents.check_open_for_writing(self.read_only, repr(self))
        if self._pending is not None:
            metadata = change(self.metadata)
        else:
            metadata = documents.update_node(self.store, self.path, self.metadata, change)
        self._use(metadata)

    def _use(self, metadata: ArrayMetadata) -> None:
        self._engine = dataclasses.replace(self._engine, metadata=metadata)

    def update_attributes(self, attributes: Mapping[str, Any]) -> Array:
        """Set several attributes in one write; returns the handle."""
        self.attrs.update(attributes)
        return self

    def __reduce__(self) -> tuple[object, ...]:
        encoded = formats.encode(self.path, self.metadata)
        return _restore, (
            self.store, self.path, tuple(encoded.items()), self.options, self._read_only,
            self._pending,
        )  # fmt: skip

    def __dask_tokenize__(self) -> tuple[object, ...]:
        # Dask names results by what they are made of. Where the store cannot prove what that is,
        # a token of its own for each handle is never reused for other data.
        # Over a network that proof is a request that nobody asked for.
        stamp = self.content_stamp() if self.store.concurrency == 1 else None
        if stamp is None:
            return ("chunkstore.Array", self._token)
        layout = repr((self.metadata, self.options.missing_chunks))
        return ("chunkstore.Array", stamp, repr(self.store), self.path, layout)

    def _check_fields(self, request: Request) -> None:
        if request.fields is None:
            return
        asked = [request.fields] if isinstance(request.fields, str) else request.fields
        known = self.dtype.names or ()
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise SelectionError(
                f"{self!r} has no field {unknown[0]!r}; its fields: {', '.join(known) or 'none'}"
            )

    def _check_out(self, out: NDArray, request: Request) -> None:
        if out.shape != request.result_shape or out.dtype != self.dtype:
            raise InvalidArgumentError(
                f"out must have shape {request.result_shape} and dtype {self.dtype}, got "
                f"{out.shape} and {out.dtype}"
            )
        if not out.flags.writeable:
            raise InvalidArgumentError("out must be writable")


def open_array_node(
    store: Store, path: str, metadata: ArrayMetadata, *, options: Options, read_only: bool
) -> Array:
    """Make the handle on an array whose metadata was read."""
    where = f"{formats.primary_key(path, metadata)!r} in {store!r}"
    pipeline = _pipeline(metadata, where, options)
    return Array(Engine(store, path, metadata, pipeline, options), read_only=read_only)


def open_array_like(twin: Array, path: str, metadata: ArrayMetadata) -> Array:
    """Make the handle on an array that differs from an open one in path and attributes alone."""
    return Array(
        dataclasses.replace(twin.engine, path=path, metadata=metadata), read_only=twin._read_only
    )


def make_array(
    store: Store,
    path: str,
    *,
    shape: Any = None,
    dtype: Any = None,
    data: Any = None,
    overwrite: bool = False,
    pending: bool | str = False,
    options: Options,
    **layout: Any,
) -> Array:
    """Lay an array out, make it in a store and write its data; see `chunkstore.create_array`."""
    if data is not None:
        if dtype is None:
            data = np.asarray(data)
        else:
            data = castable(data, from_numpy(dtype), what=f"the new array {path or '/'!r}")
        shape = data.shape if shape is None else shape
        dtype = data.dtype if dtype is None else dtype
    if shape is None or dtype is None:
        raise InvalidArgumentError("to create an array give shape and dtype, or data")
    options = knowing_codecs(options, layout)
    metadata = array_metadata(shape=shape, dtype=dtype, options=options, **layout)
    # With data the document comes last: a reader never finds an array that is half written.
    held_back = pending or data is not None
    everything = whole_request(metadata.shape)
    if data is not None:
        # Data that does not fit is found out before anything is replaced.
        values = castable(data, metadata.data_type, what=f"the new array {path or '/'!r}")
        data = _broadcast(values, everything)
    made = make_array_from(
        store, path, metadata, overwrite=overwrite, pending=held_back, options=options
    )
    if data is not None:
        made.engine.write(everything, data)
        if not pending:
            made.publish()
    return made


def make_array_from(
    store: Store,
    path: str,
    metadata: ArrayMetadata,
    *,
    overwrite: bool,
    pending: bool | str,
    options: Options,
) -> Array:
    """Make an array of given metadata in a store."""
    pipeline = _pipeline(metadata, "the new array's metadata", options)
    token = documents.make_node(store, path, metadata, overwrite=overwrite, pending=pending)
    return Array(Engine(store, path, metadata, pipeline, options), pending=token)


def _pipeline(metadata: ArrayMetadata, document: str, options: Options) -> Pipeline:
    made = pipeline_problems(metadata, options)
    if isinstance(made, Pipeline):
        return made
    found = CodecCheck(options)(metadata)
    raise metadata_error(document, found)


@lru_cache(maxsize=256)
def _prepared(
    path: str, encoded: tuple[tuple[str, bytes], ...], options: Options
) -> tuple[ArrayMetadata, Pipeline]:
    """Parse documents and make the pipeline, once for each array that a process works on."""
    values = dict(encoded)
    key = encoded[-1][0]
    beside = formats.attributes_key(key)
    attributes = None if beside is None else values.get(beside)
    metadata = formats.decode(key, values[key], attributes, store="a pickled array")
    if not isinstance(metadata, ArrayMetadata):
        raise MetadataError("a pickled array holds the document of a group")
    return metadata, _pipeline(metadata, key, options)


def _restore(
    store: Store,
    path: str,
    encoded: tuple[tuple[str, bytes], ...],
    options: Options,
    read_only: bool,
    pending: str | None,
) -> Array:
    metadata, pipeline = _prepared(path, encoded, options)
    engine = Engine(store, path, metadata, pipeline, options)
    return Array(engine, read_only=read_only, pending=pending)


def _may_be_scalar(selection: Selection) -> bool:
    """Whether numpy gives a scalar where no axis is left: an Ellipsis asks for an array."""
    entries = selection if isinstance(selection, tuple) else (selection,)
    return not any(entry is Ellipsis for entry in entries)


def _broadcast(values: NDArray, request: Request) -> NDArray:
    shape = request.result_shape
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = values[0]
    try:
        return np.broadcast_to(values, shape).reshape(request.buffer_shape)
    except ValueError as error:
        raise SelectionError(
            f"could not broadcast input array from shape {values.shape} into shape {shape}"
        ) from error

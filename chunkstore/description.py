"""What an array is, as told by its metadata: nothing here asks the store.

Floor 5. `Description` is the part of `Array` that a person reads first: shape, type, chunks and
codecs.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from chunkstore.chunk_grid import ChunkGrid, RegularGrid
from chunkstore.display import Facts, Text, as_html, as_text, human_bytes
from chunkstore.engine import Engine
from chunkstore.errors import InvalidArgumentError
from chunkstore.metadata import v2
from chunkstore.metadata.model import ArrayMetadata
from chunkstore.metadata.v3 import codec_document
from chunkstore.options import Options
from chunkstore.selectors import Selections
from chunkstore.stores.base import Store
from chunkstore.types import Shape

__all__ = ["Description"]


class Description(Selections):
    """What can be said of an array without reading it; mixed into `Array`."""

    __slots__ = ()

    _engine: Engine
    _read_only: bool

    @property
    def engine(self) -> Engine:
        """What reads and writes the chunks; for code that works chunk by chunk."""
        return self._engine

    @property
    def store(self) -> Store:
        """The store that holds the chunks."""
        return self._engine.store

    @property
    def path(self) -> str:
        """Path in the store, without a slash at either end; the root is ``""``."""
        return self._engine.path

    @property
    def name(self) -> str:
        """Path with a slash in front."""
        return f"/{self.path}"

    @property
    def basename(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def metadata(self) -> ArrayMetadata:
        """All that the documents say."""
        return self._engine.metadata

    @property
    def options(self) -> Options:
        """Run settings of this handle."""
        return self._engine.options

    @property
    def read_only(self) -> bool:
        """Whether writes through this handle are refused."""
        return self._read_only or self.store.read_only

    @property
    def shape(self) -> Shape:
        """Extent along each axis, in elements."""
        return self.metadata.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements in memory."""
        return self.metadata.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements in memory."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> Any:
        """Shape of the unit of reading: a chunk, or an inner chunk of a shard.

        A tuple of integers. In a rectilinear grid, where chunks differ in shape, the sizes of all
        chunks along each axis, a tuple of tuples, as dask writes chunks.
        """
        return _chunks(self._read_grid)

    @property
    def shards(self) -> Any:
        """Shape of the unit of writing where it holds several chunks, else None; as `chunks`."""
        return None if self._engine.sharding is None else _chunks(self.metadata.grid)

    @property
    def write_unit(self) -> Shape:
        """Shape of the smallest part that two writers may write at once without care.

        Raises
        ------
        InvalidArgumentError
            If the units differ in shape; see `write_chunk_sizes`.
        """
        shape = self.metadata.grid.uniform_shape
        if shape is None:
            raise InvalidArgumentError(
                f"{self!r} has a rectilinear grid: its write units have no common shape. "
                f"write_chunk_sizes gives the sizes along each axis"
            )
        return shape

    @property
    def read_chunk_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Sizes of all units of reading along each axis, as dask writes chunks.

        A last chunk that reaches beyond the array counts with the part inside.
        """
        return self._read_grid.chunk_sizes

    @property
    def write_chunk_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Sizes of all units of writing along each axis; as `read_chunk_sizes`."""
        return self.metadata.grid.chunk_sizes

    @property
    def _read_grid(self) -> ChunkGrid:
        """The units of reading as a grid over the array.

        Inner chunks make one even where shards differ in shape: each edge is a multiple.
        """
        sharding = self._engine.sharding
        if sharding is None:
            return self.metadata.grid
        return RegularGrid(self.shape, sharding.chunk_shape)

    @property
    def cdata_shape(self) -> Shape:
        """Number of chunks along each axis."""
        return self._read_grid.grid_shape

    @property
    def nchunks(self) -> int:
        """Number of chunks, stored or not."""
        return math.prod(self.cdata_shape)

    @property
    def filters(self) -> tuple[Any, ...]:
        """Codecs before the elements become bytes, as objects of the document; in its order."""
        return self.codecs[0]

    @property
    def serializer(self) -> Any:
        """The codec that lays elements out as bytes, as in the document; None in version 2."""
        return self.codecs[1]

    @property
    def compressors(self) -> tuple[Any, ...]:
        """Codecs after the elements became bytes; as `filters`. In shards, those of a chunk."""
        return self.codecs[2]

    @property
    def order(self) -> Literal["C", "F"]:
        """Layout of a stored chunk, row by row or column by column."""
        array_codecs = self._engine.chunk_pipeline.array_codecs
        reverse = {"order": list(range(self.ndim))[::-1]}
        for first, _ in array_codecs[:1]:
            if first.name == "transpose" and first.configuration() == reverse:
                return "F"
        return "C"

    @property
    def codecs(self) -> tuple[tuple[Any, ...], Any, tuple[Any, ...]]:
        """The `filters`, the `serializer` and the `compressors`, in the order of encoding."""
        if self.metadata.zarr_format == 2:
            document = v2.array_document(self.metadata)
            compressor = document["compressor"]
            return tuple(document["filters"] or ()), None, (compressor,) if compressor else ()
        if self._engine.sharding is None:
            codecs: list[Any] = [codec_document(spec) for spec in self.metadata.codecs]
        else:
            codecs = list(self.metadata.codecs[0].configuration["codecs"])
        # What a reader may skip is in the document and not in the pipeline.
        names = [codec if isinstance(codec, str) else codec["name"] for codec in codecs]
        at = names.index(self._engine.chunk_pipeline.serializer.name)
        return tuple(codecs[:at]), codecs[at], tuple(codecs[at + 1 :])

    @property
    def fill_value(self) -> Any:
        """What elements read as that were never written; None where version 2 leaves it open."""
        return self.metadata.fill_value

    @property
    def dimension_names(self) -> tuple[str | None, ...] | None:
        """Name of each axis, or None where there are none."""
        return self.metadata.dimension_names

    # -- for people -----------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Array {self.name} {self.shape} {self.dtype} in {self.store!r}>"

    def _facts(self) -> Facts:
        metadata = self.metadata
        codecs = ", ".join(spec.name for spec in metadata.codecs)
        facts: list[tuple[str, object]] = [
            ("path", self.name),
            ("store", self.store),
            ("format", f"Zarr v{metadata.zarr_format}"),
            ("shape", self.shape),
            ("data type", metadata.data_type.name),
            ("chunks", f"{_shown(self._read_grid)}, {self.nchunks} in all"),
            *([("shards", _shown(metadata.grid))] if self.shards else []),
            ("codecs", codecs),
            ("fill value", self.fill_value),
            ("in memory", human_bytes(self.nbytes)),
        ]
        if self.dimension_names is not None:
            facts.insert(4, ("dimensions", self.dimension_names))
        return facts

    @property
    def info(self) -> Text:
        """What the array is, in a few lines; asks the store for nothing."""
        return as_text("Array", self._facts())

    def _repr_html_(self) -> str:
        return as_html("Array", self._facts())


def _chunks(grid: ChunkGrid) -> Shape | tuple[tuple[int, ...], ...]:
    """Give the shape of all chunks of a grid, or their sizes along each axis where they differ."""
    shape = grid.uniform_shape
    return grid.chunk_sizes if shape is None else shape


def _shown(grid: ChunkGrid) -> str:
    """Say in few words what shape the chunks of a grid have."""
    shape = grid.uniform_shape
    return f"of different shapes up to {grid.largest_chunk}" if shape is None else str(shape)

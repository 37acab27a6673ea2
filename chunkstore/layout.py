"""How a new array is laid out: from what a creator asks for to the metadata that says it.

Floor 4. Pure: no store is asked. Fills in what was left open, the chunk shape, the codecs and the
fill value, and refuses what cannot be written.

Source: Zarr v3 core, "Array metadata"; Zarr v2, "Metadata".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chunkstore import dtypes
from chunkstore.chunk_grid import ChunkGrid, RectilinearGrid, RegularGrid, grid_from_edges
from chunkstore.codecs import table
from chunkstore.codecs.base import ChunkSpec, Codec
from chunkstore.errors import CodecError, InvalidArgumentError
from chunkstore.keys import ChunkKeyEncoding
from chunkstore.metadata import check_format, v2
from chunkstore.metadata.model import (
    MAX_EXTENT,
    ArrayMetadata,
    CodecSpec,
    Problems,
    check_chunk_bytes,
    plain_attributes,
)
from chunkstore.metadata.v3 import codec_document
from chunkstore.options import Options
from chunkstore.sharding import ShardingCodec, pipeline_problems
from chunkstore.types import Shape

_MAX_BLOSC_BYTES = 2**31 - 17
"""What one blosc buffer can hold."""

_SHARD_BYTES = 1 << 26
"""Decoded size that automatic shards aim at: few objects, and memory for one on each thread."""

__all__ = ["array_metadata", "automatic_chunks", "extents", "parse_bytes"]

_TARGET_BYTES = 1 << 20
"""Decoded size that automatic chunks aim at: large enough to compress and to outweigh a request,
small enough that a slice across the chunks reads little that it does not need."""


def array_metadata(
    *,
    shape: int | Sequence[int],
    dtype: Any,
    chunks: int | Sequence[int] | str = "auto",
    shards: int | Sequence[int] | str | None = None,
    filters: Any = "auto",
    compressors: Any = "auto",
    serializer: Any = "auto",
    fill_value: Any = None,
    order: str | None = None,
    zarr_format: int = 3,
    attributes: Mapping[str, Any] | None = None,
    chunk_key_encoding: Any = None,
    dimension_names: Sequence[str | None] | None = None,
    options: Options | None = None,
) -> ArrayMetadata:
    """Give the metadata of a new array; parameters as in `chunkstore.create_array`.

    Raises
    ------
    InvalidArgumentError
        If an argument cannot be meant, alone or beside another.
    """
    check_format(zarr_format)
    data_type = dtypes.from_numpy(dtype)
    # Refuses a type that the format does not have, before anything is overwritten.
    (data_type.to_v2 if zarr_format == 2 else data_type.to_v3)()
    full_shape = extents("shape", shape, least=0)
    grid = _chunk_grid(chunks, full_shape, data_type)
    chunk_shape = grid.largest_chunk
    is_open = fill_value is Ellipsis
    if is_open and zarr_format != 2:
        raise InvalidArgumentError("only Zarr version 2 leaves a fill value open, with `...`")
    given = fill_value is not None and not is_open
    fill = data_type.scalar(fill_value) if given else data_type.default_fill()
    if zarr_format == 2:
        fill = data_type.fill_for_v2(fill)
    codecs = _codecs(
        ChunkSpec(chunk_shape, data_type, fill, options or Options()),
        byte_order=_byte_order(dtype),
        filters=filters,
        compressors=compressors,
        serializer=serializer,
        order=order or "C",
        zarr_format=zarr_format,
    )
    if shards is not None:
        grid = _shard_grid(shards, grid, data_type)
        codecs = _sharded(codecs, chunk_shape, zarr_format)
    if zarr_format == 2 and not isinstance(grid, RegularGrid):
        raise InvalidArgumentError(
            f"Zarr version 2 has chunks of one shape only, not up to {grid.largest_chunk}; give "
            f"one shape as chunks, or use zarr_format=3"
        )
    metadata = ArrayMetadata(
        zarr_format=zarr_format,
        data_type=data_type,
        grid=grid,
        key_encoding=_key_encoding(chunk_key_encoding, zarr_format),
        fill_value=None if is_open else fill,
        codecs=codecs,
        attributes=plain_attributes(attributes),
        dimension_names=_dimension_names(dimension_names, len(full_shape), zarr_format),
    )
    _check_chunks(metadata, options)
    return metadata


def _check_chunks(metadata: ArrayMetadata, options: Options | None) -> None:
    """Refuse metadata whose chunks are too large, or that no pipeline can encode."""
    too_large = Problems()
    check_chunk_bytes(metadata.grid.largest_chunk, metadata.data_type, "chunks", too_large)
    problems = too_large.found or pipeline_problems(metadata, options)
    if isinstance(problems, list):
        found = "; ".join(f"{path}: {what}" for path, what in problems)
        raise InvalidArgumentError(f"cannot create the array: {found}", problems=problems)


def knowing_codecs(options: Options, given: Mapping[str, Any]) -> Options:
    """Add the classes of a user's own codec objects to what a handle knows.

    Parameters
    ----------
    options : Options
        As the user gave them.
    given : mapping
        Arguments of `array_metadata`, of which some may be codecs.
    """
    arguments = (given.get(name) for name in ("filters", "compressors", "serializer"))
    codecs = (codec for argument in arguments for codec in _several(argument))
    classes = (type(codec) for codec in codecs if isinstance(codec, Codec))
    own = (cls for cls in classes if not table.is_ours(cls) and cls is not ShardingCodec)
    known = tuple(dict.fromkeys((*options.codecs, *own)))
    return options if known == options.codecs else replace(options, codecs=known)


def automatic_chunks(shape: Shape, itemsize: int, *, target_bytes: int = _TARGET_BYTES) -> Shape:
    """Choose a chunk shape of at most about `target_bytes`, as even as the array allows.

    The longest axis of the chunk is halved until the chunk is small enough, so that no way of
    cutting through the array is favoured.

    Examples
    --------
    >>> automatic_chunks((10_000, 1_000), 8)
    (313, 250)
    """
    chunk_shape = [max(1, extent) for extent in shape]
    while math.prod(chunk_shape) * itemsize > target_bytes and max(chunk_shape) > 1:
        axis = max(range(len(shape)), key=lambda i: chunk_shape[i])
        chunk_shape[axis] = -(-chunk_shape[axis] // 2)
    return tuple(chunk_shape)


def _chunk_grid(chunks: Any, shape: Shape, data_type: dtypes.DataType) -> ChunkGrid:
    """Give the grid of chunks that is asked for: a shape, edges along each axis, or a grid."""
    if isinstance(chunks, (RegularGrid, RectilinearGrid)):
        if chunks.shape != shape:
            raise InvalidArgumentError(
                f"chunks is a grid over shape {chunks.shape}, but the array has {shape}"
            )
        return chunks
    if _names_edges(chunks):
        return grid_from_edges("chunks", chunks, shape, unit=(1,) * len(shape))
    return RegularGrid(shape, _chunk_shape(chunks, shape, data_type))


def _shard_grid(shards: Any, chunks: ChunkGrid, data_type: dtypes.DataType) -> ChunkGrid:
    """Give the grid of shards over an array; as `_chunk_grid`."""
    inner = chunks.uniform_shape
    if inner is None:
        raise InvalidArgumentError(
            "the chunks in a shard all have one shape; give the edges to shards instead of chunks"
        )
    shape = chunks.shape
    if isinstance(shards, (RegularGrid, RectilinearGrid)):
        return _chunk_grid(shards, shape, data_type)
    if _names_edges(shards):
        return grid_from_edges("shards", shards, shape, unit=inner)
    return RegularGrid(shape, _shard_shape(shards, shape, inner, data_type))


def _names_edges(chunks: Any) -> bool:
    """Whether an argument gives the edges of chunks along an axis, rather than one shape."""
    return isinstance(chunks, Sequence) and any(
        isinstance(entry, (Sequence, np.ndarray)) and not isinstance(entry, str) for entry in chunks
    )


def _shard_shape(
    shards: Any, shape: Shape, chunk_shape: Shape, data_type: dtypes.DataType
) -> Shape:
    """Give the shape of a shard, a multiple of the chunk along each axis."""
    if isinstance(shards, str):
        target = _SHARD_BYTES if shards == "auto" else parse_bytes(shards)
        whole = automatic_chunks(shape, data_type.dtype.itemsize, target_bytes=target)
        return tuple(
            max(1, round(n / chunk)) * chunk for n, chunk in zip(whole, chunk_shape, strict=True)
        )
    if isinstance(shards, (int, np.integer)) and not isinstance(shards, bool):
        shards = (shards,) * len(shape)
    if isinstance(shards, bool):
        raise InvalidArgumentError(
            f'shards must be integers, a size such as "64MB", "auto" or None, got {shards!r}'
        )
    shard_shape = extents("shards", shards, least=1)
    if len(shard_shape) != len(chunk_shape) or any(
        shard % chunk for shard, chunk in zip(shard_shape, chunk_shape, strict=True)
    ):
        raise InvalidArgumentError(
            f"shards {shard_shape} must be a multiple of chunks {chunk_shape} along each axis"
        )
    return shard_shape


def _sharded(
    codecs: tuple[CodecSpec, ...], chunk_shape: Shape, zarr_format: int
) -> tuple[CodecSpec, ...]:
    """Put the codecs of a chunk into a sharding codec."""
    if zarr_format == 2:
        raise InvalidArgumentError("Zarr version 2 has no shards; use zarr_format=3")
    configuration = {
        "chunk_shape": list(chunk_shape),
        "codecs": [codec_document(spec) for spec in codecs],
        "index_codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "crc32c"},
        ],
        "index_location": "end",
    }
    return (CodecSpec("sharding_indexed", configuration),)


def parse_bytes(text: str) -> int:
    """Read a number of bytes with a decimal or binary unit.

    Examples
    --------
    >>> parse_bytes("64MB"), parse_bytes("1.5 KiB")
    (64000000, 1536)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if match is None:
        raise InvalidArgumentError(f'{text!r} is no size in bytes; expected such as "64MB"')
    number, prefix, binary = match.groups()
    n_bytes = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix or " "))
    if n_bytes < 1:
        raise InvalidArgumentError(f"{text!r} is less than a byte")
    return n_bytes


def extents(name: str, value: int | Sequence[int], *, least: int) -> Shape:
    """Read an argument that gives one integer for each axis, such as a shape.

    Raises
    ------
    InvalidArgumentError
        If an entry is no integer, less than `least`, or more than an index can say.
    """
    entries = list(value) if isinstance(value, Iterable) else [value]
    for extent in entries:
        if (
            isinstance(extent, bool)
            or not isinstance(extent, (int, np.integer))
            or not least <= extent <= MAX_EXTENT
        ):
            raise InvalidArgumentError(
                f"{name} must be integers of at least {least} and at most 2**63 - 1, got {value!r}"
            )
    return tuple(map(int, entries))


def _chunk_shape(chunks: Any, shape: Shape, data_type: dtypes.DataType) -> Shape:
    if chunks is True or (isinstance(chunks, str) and chunks == "auto"):
        return automatic_chunks(shape, data_type.dtype.itemsize)
    if chunks is False or chunks is None:
        return tuple(max(1, extent) for extent in shape)
    if isinstance(chunks, str):
        target = parse_bytes(chunks)
        return automatic_chunks(shape, data_type.dtype.itemsize, target_bytes=target)
    if isinstance(chunks, (int, np.integer)):
        chunks = (chunks,) * len(shape)
    if isinstance(chunks, Sequence) and len(chunks) == len(shape):
        # As in zarr-python, the whole axis.
        pairs = zip(chunks, shape, strict=True)
        chunks = tuple(max(1, n) if size in (None, -1) else size for size, n in pairs)
    chunk_shape = extents("chunks", chunks, least=1)
    if len(chunk_shape) != len(shape):
        raise InvalidArgumentError(
            f"chunks {chunk_shape} has {len(chunk_shape)} axes, but shape {shape} has {len(shape)}"
        )
    return chunk_shape


def _byte_order(dtype: Any) -> str:
    try:
        return ">" if np.dtype(dtype).newbyteorder("=") != np.dtype(dtype) else "<"
    except (TypeError, ValueError):
        return "<"


def _codecs(
    spec: ChunkSpec,
    *,
    byte_order: str,
    filters: Any,
    compressors: Any,
    serializer: Any,
    order: str,
    zarr_format: int,
) -> tuple[CodecSpec, ...]:
    if order not in ("C", "F"):
        raise InvalidArgumentError(f'order must be "C" or "F", got {order!r}')
    filter_specs = _given("filters", filters, (), spec, zarr_format)
    if isinstance(compressors, str) and compressors == "auto":
        compressors = _default_compressors(spec, zarr_format)
    compressor_specs = _given("compressors", compressors, (), spec, zarr_format)
    if zarr_format == 2:
        if serializer not in ("auto", None):
            raise InvalidArgumentError("Zarr version 2 has no serializer; use zarr_format=3")
        if len(compressor_specs) > 1:
            raise InvalidArgumentError(
                "Zarr version 2 has one compressor; put the others into filters"
            )
        filter_specs = v2.with_serializer(spec.data_type, filter_specs)
        return v2.codec_list(
            order=order,
            ndim=len(spec.shape),
            filters=filter_specs,
            compressor=compressor_specs[0] if compressor_specs else None,
            byte_order=byte_order if spec.data_type.needs_byte_order else None,
        )
    if order == "F" and len(spec.shape) > 1:
        reverse = {"order": list(range(len(spec.shape)))[::-1]}
        # First, as in version 2: behind filters, zarr-python decodes in the order of its memory.
        filter_specs = (CodecSpec("transpose", reverse), *filter_specs)
    if isinstance(serializer, str) and serializer == "auto":
        middle = _default_serializer(spec)
    else:
        middle = _given("serializer", serializer, (), spec, zarr_format)[0]
    return (*filter_specs, middle, *compressor_specs)


def _default_compressors(spec: ChunkSpec, zarr_format: int) -> tuple[dict[str, Any], ...]:
    """Choose compression that any reader has, and a checksum where the format has one.

    On smooth and noisy floats, counts and genotypes, Zstandard after a bit shuffle compresses best
    of what decodes at 1 GB/s or more on one core. Without the checksum, a flipped bit in stored
    bytes could be read as data.
    """
    itemsize = spec.data_type.dtype.itemsize
    if spec.data_type.is_fixed_size and spec.n_elements * itemsize <= _MAX_BLOSC_BYTES:
        name, configuration = (
            "blosc",
            {
                "cname": "zstd",
                "clevel": 3,
                "shuffle": "bitshuffle",
                "typesize": itemsize,
                "blocksize": 0,
            },
        )
    else:
        name, configuration = "zstd", {"level": 0, "checksum": False}
    compressor = {"name": name, "configuration": configuration}
    return (compressor, {"name": "crc32c"}) if zarr_format == 3 else (compressor,)


def _default_serializer(spec: ChunkSpec) -> CodecSpec:
    name = spec.data_type.default_serializer
    # Little-endian whatever was asked: the data type of version 3 has no byte order.
    needs_order = name == "bytes" and spec.data_type.needs_byte_order
    return CodecSpec(name, {"endian": "little"} if needs_order else {})


def _given(
    name: str, codecs: Any, default: tuple[CodecSpec, ...], spec: ChunkSpec, zarr_format: int
) -> tuple[CodecSpec, ...]:
    """Read one codec or several from an argument; None is none, "auto" the default."""
    if codecs is None:
        return ()
    if isinstance(codecs, str) and codecs == "auto":
        return default
    try:
        return tuple(
            table.spec_of(codec, zarr_format=zarr_format, spec=spec) for codec in _several(codecs)
        )
    except CodecError as error:
        raise InvalidArgumentError(f"{name}: {error}") from error


def _several(codecs: Any) -> Sequence[Any]:
    """Give the codecs of an argument that may be one or a sequence of them."""
    if isinstance(codecs, (str, Mapping)) or not isinstance(codecs, Sequence):
        return (codecs,)
    return codecs


def _key_encoding(given: Any, zarr_format: int) -> ChunkKeyEncoding:
    name, separator = ("v2", ".") if zarr_format == 2 else ("default", "/")
    if isinstance(given, ChunkKeyEncoding):
        name, separator = given.name, given.separator
    elif isinstance(given, str):
        name, separator = given, "." if given == "v2" else "/"
    elif isinstance(given, Mapping):
        configuration = given.get("configuration", given)
        name = given.get("name", name)
        separator = configuration.get("separator", "." if name == "v2" else "/")
    elif given is not None:
        raise InvalidArgumentError(f"chunk_key_encoding {given!r} is not understood")
    if name not in ("default", "v2") or separator not in ("/", "."):
        raise InvalidArgumentError(
            f'chunk_key_encoding must be "default" or "v2" with separator "/" or ".", got {given!r}'
        )
    if zarr_format == 2 and name != "v2":
        raise InvalidArgumentError("Zarr version 2 has only the chunk key encoding v2")
    return ChunkKeyEncoding(name, separator)  # type: ignore[arg-type]


def _dimension_names(
    names: Sequence[str | None] | None, ndim: int, zarr_format: int
) -> tuple[str | None, ...] | None:
    if names is None:
        return None
    if zarr_format == 2:
        raise InvalidArgumentError(
            "Zarr version 2 has no dimension_names; use zarr_format=3, or the attribute "
            "_ARRAY_DIMENSIONS that xarray reads"
        )
    if isinstance(names, str) or len(names) != ndim:
        raise InvalidArgumentError(f"dimension_names must name {ndim} dimensions, got {names!r}")
    for name in names:
        if name is not None and not isinstance(name, str):
            raise InvalidArgumentError(f"dimension_names must be strings or None, got {names!r}")
    return tuple(names)

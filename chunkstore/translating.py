"""How an array is laid out, as the arguments that make another like it, in either format.

Floor 5. Pure: no store is asked. Codecs are said again in the words of the format that is asked
for, so that what is read is the same:

    version 2                                     version 3
    filters of elements                       ─▶  codecs before the serializer, numcodecs.*
    zfpy, pcodec                              ─▶  serializer
    filters of bytes, compressor              ─▶  codecs behind it; gzip, zstd, blosc, crc32c by
                                                  their registered names
    order "F"                                 ─▶  transpose

and the reverse. What the other format has no words for is left out: all codecs of elements, if one
of them has none, since each works on what the one before it makes; a checksum that version 2 has no
room for; codecs that other readers of version 3 do not know (categorize); and zfp where it is not
lossless, which would round once more what it has rounded. Where no codec of bytes is left of those
there were, the default ones are taken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from chunkstore.codecs import table
from chunkstore.codecs.base import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec, Codec
from chunkstore.codecs.bytes import BytesCodec
from chunkstore.codecs.chain import FilterChain
from chunkstore.description import Description
from chunkstore.dtypes import from_numpy
from chunkstore.errors import CodecError, InvalidArgumentError
from chunkstore.layout import array_metadata
from chunkstore.metadata.model import ArrayMetadata
from chunkstore.metadata.v2 import OBJECT_FILTERS
from chunkstore.pipeline import Pipeline
from chunkstore.sharding import pipeline_problems

__all__ = ["codec_arguments", "layout_like"]

_OF_NUMBERS = ("numcodecs.pcodec", "numcodecs.zfpy")
"""Serializers that both formats know, version 2 as a filter or the compressor."""


def layout_like(source: Any, **changes: Any) -> dict[str, Any]:
    """Give the arguments of `create_array` that make an array laid out like another.

    Parameters
    ----------
    source : Array or array-like
        Of what is no `Array`, shape and dtype count.
    **changes
        Arguments that shall be others. Where it is the data type, codecs and fill value are
        chosen anew; in another format, codecs are said in its words.
    """
    if not isinstance(source, Description):
        values = np.asarray(source)
        return {"shape": values.shape, "dtype": values.dtype, **changes}
    layout = _layout_of(source, changes.get("zarr_format"))
    if "dtype" in changes and from_numpy(changes["dtype"]) != source.metadata.data_type:
        for name in ("filters", "serializer", "compressors", "fill_value"):
            del layout[name]
    return {**layout, **changes}


def _layout_of(source: Description, zarr_format: int | None) -> dict[str, Any]:
    metadata = source.metadata
    target = zarr_format or metadata.zarr_format
    same = target == metadata.zarr_format
    uniform = metadata.grid.uniform_shape is not None
    shards = source.shards if uniform or source.shards is None else metadata.grid
    attributes = dict(metadata.attributes)
    names = metadata.dimension_names
    if target == 3 and not same and _names_axes(attributes.get("_ARRAY_DIMENSIONS"), source.ndim):
        names = tuple(attributes.pop("_ARRAY_DIMENSIONS"))
    elif target == 2 and names is not None:
        # Version 2 has no names; this attribute is how xarray keeps them there.
        attributes["_ARRAY_DIMENSIONS"] = list(names)
        names = None
    return {
        "shape": source.shape,
        "chunks": source.chunks if uniform or source.shards else metadata.grid,
        "shards": shards if target == 3 else None,
        **codec_arguments(metadata, source.engine.chunk_pipeline, zarr_format=target),
        "fill_value": ... if target == 2 and metadata.fill_value is None else metadata.fill_value,
        "zarr_format": target,
        "chunk_key_encoding": metadata.key_encoding if same else None,
        "attributes": attributes,
        "dimension_names": names,
    }


def _names_axes(value: Any, ndim: int) -> bool:
    """Whether an attribute is what xarray writes: a name, or nothing, for each axis."""
    is_list = isinstance(value, list) and len(value) == ndim
    return is_list and all(name is None or isinstance(name, str) for name in value)


_LOSSLESS_ZFP = {"mode": 4, "tolerance": -1, "rate": -1, "precision": -1}


class Parts(NamedTuple):
    """The codecs of a chunk by kind, those of a version 2 chain of filters taken apart."""

    of_arrays: list[Codec]
    serializer: ArrayBytesCodec
    of_bytes: list[Codec]


def codec_arguments(
    metadata: ArrayMetadata, pipeline: Pipeline, *, zarr_format: int
) -> dict[str, Any]:
    """Give the codec arguments of `create_array` that make chunks like those of an array.

    Parameters
    ----------
    metadata : ArrayMetadata
        Of the array.
    pipeline : Pipeline
        Of its unit of reading: a chunk, or an inner chunk of a shard.
    zarr_format : {2, 3}
        Format of the array to be.

    Returns
    -------
    dict
        ``dtype``, ``order``, ``filters``, ``serializer`` and ``compressors``.
    """
    parts, order = _parts(pipeline)
    given: dict[str, Any] = {"dtype": metadata.data_type, "order": order, "serializer": "auto"}
    if zarr_format == 3:
        given |= _to_v3(parts, pipeline, from_v3=metadata.zarr_format == 3)
    else:
        given |= _to_v2(parts, pipeline)
        if parts.serializer.configuration().get("endian") == "big":
            given["dtype"] = metadata.data_type.dtype.newbyteorder(">")
    is_plain = not given["filters"] and given["serializer"] == "auto"
    if not is_plain and not _can_encode(given, pipeline, zarr_format):
        # Other writers store what these codecs cannot hold, a fill value out of range for one.
        given |= {"filters": "auto", "serializer": "auto"}
    return given


def _parts(pipeline: Pipeline) -> tuple[Parts, str]:
    """Sort the codecs by kind; the reversal of all axes is the order of a chunk, no codec."""
    of_arrays: list[Codec] = [codec for codec, _ in pipeline.array_codecs]
    order = "C"
    reverse = {"order": list(range(len(pipeline.spec.shape)))[::-1]}
    if of_arrays and of_arrays[0].name == "transpose" and of_arrays[0].configuration() == reverse:
        of_arrays, order = of_arrays[1:], "F"
    serializer: ArrayBytesCodec = pipeline.serializer
    of_bytes: list[Codec] = list(pipeline.bytes_codecs)
    if isinstance(serializer, FilterChain):
        chain = serializer
        serializer, behind = chain.serializer, []
        for codec in chain.filters:
            if isinstance(codec, BytesBytesCodec):
                behind.append(codec)
            elif not behind and serializer is chain.serializer:
                # One that takes bytes for elements has no place in version 3 and loses nothing.
                if isinstance(codec, ArrayArrayCodec):
                    of_arrays.append(codec)
                elif isinstance(codec, ArrayBytesCodec):
                    serializer = codec
        of_bytes = [*behind, *of_bytes]
    if serializer.name == "numcodecs.zfpy" and serializer.configuration() != _LOSSLESS_ZFP:
        serializer = BytesCodec("little")
    return Parts(of_arrays, serializer, of_bytes), order


def _to_v3(parts: Parts, pipeline: Pipeline, *, from_v3: bool) -> dict[str, Any]:
    compressors = _said(parts.of_bytes, pipeline, 3)
    arguments: dict[str, Any] = {
        "filters": _said(parts.of_arrays, pipeline, 3),
        "compressors": "auto" if compressors is None else compressors,
    }
    if from_v3 or parts.serializer.name in _OF_NUMBERS:
        arguments["serializer"] = parts.serializer
    return arguments


def _to_v2(parts: Parts, pipeline: Pipeline) -> dict[str, Any]:
    """Give filters and a compressor; the last codec of bytes is the compressor."""
    # Other orders of axes than the reverse have no word, and change nothing but the order.
    of_arrays = [codec for codec in parts.of_arrays if codec.name != "transpose"]
    filters = _said(of_arrays, pipeline, 2) or []
    if parts.serializer.name in (*OBJECT_FILTERS.values(), *_OF_NUMBERS):
        filters = [*filters, parts.serializer]
    of_bytes = parts.of_bytes
    if len(of_bytes) > 1:
        of_bytes = [codec for codec in of_bytes if codec.name != "crc32c"]
    compressors = _said(of_bytes, pipeline, 2)
    if compressors is None:
        return {"filters": filters, "compressors": "auto"}
    return {"filters": [*filters, *compressors[:-1]], "compressors": compressors[-1:]}


def _said(codecs: list[Codec], pipeline: Pipeline, zarr_format: int) -> list[Codec] | None:
    """Give codecs as they are, or None if a format has no word for one of them."""
    try:
        for codec in codecs:
            table.spec_of(codec, zarr_format=zarr_format, spec=pipeline.spec)
    except CodecError:
        return None
    return codecs


def _can_encode(given: dict[str, Any], pipeline: Pipeline, zarr_format: int) -> bool:
    """Whether chunks can be written so, the fill value among them."""
    spec = pipeline.spec
    try:
        metadata = array_metadata(
            shape=spec.shape, chunks=tuple(max(1, n) for n in spec.shape), zarr_format=zarr_format,
            fill_value=spec.fill_value, options=spec.options, **given,
        )  # fmt: skip
        made = pipeline_problems(metadata, spec.options)
        if isinstance(made, Pipeline):
            made.lay_out(made.full_chunk())
    except (InvalidArgumentError, CodecError):
        return False
    return True

"""Version 2 documents: ``.zarray``, ``.zgroup`` and ``.zattrs`` to model and back.

Floor 1. What version 2 says with ``order``, ``filters``, ``dtype`` and ``compressor`` becomes one
list of codecs, as in version 3, and is taken apart again to be written:

    order "F"           transpose with the axes reversed
    dtype ">i4"         bytes, endian big        (for "|O" the filter that turns objects to bytes)
    filters             with the line above, one entry from array to bytes
    compressor          numcodecs.<id>, bytes to bytes

Source: Zarr v2 specification, "Arrays" and "Hierarchies".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from chunkstore import dtypes
from chunkstore.chunk_grid import RegularGrid
from chunkstore.errors import InvalidArgumentError
from chunkstore.keys import ChunkKeyEncoding
from chunkstore.metadata.model import (
    UNREAD,
    ArrayMetadata,
    Check,
    CodecSpec,
    GroupMetadata,
    Problems,
    check_chunk_bytes,
    counts,
)
from chunkstore.types import Shape

__all__ = [
    "ARRAY_DOCUMENT",
    "ATTRIBUTES_DOCUMENT",
    "FILTER_CHAIN",
    "GROUP_DOCUMENT",
    "array_document",
    "codec_list",
    "group_document",
    "parse_array",
    "parse_group",
    "problem_path",
    "with_serializer",
]

ARRAY_DOCUMENT = ".zarray"
GROUP_DOCUMENT = ".zgroup"
ATTRIBUTES_DOCUMENT = ".zattrs"

NUMCODECS_PREFIX = "numcodecs."

OBJECT_FILTERS = {
    "numcodecs.categorize": "numcodecs.categorize",
    "numcodecs.json2": "numcodecs.json2",
    "numcodecs.msgpack2": "numcodecs.msgpack2",
    "numcodecs.pickle": "numcodecs.pickle",
    "numcodecs.vlen-array": "numcodecs.vlen-array",
    "numcodecs.vlen-bytes": "vlen-bytes",
    "numcodecs.vlen-utf8": "vlen-utf8",
}
"""Filter that turns elements, also those that are objects, into bytes -> our codec."""

_KEEP_SHAPE = ("numcodecs.json2", "numcodecs.msgpack2", "numcodecs.pickle")
"""Codecs that store the shape of a chunk beside its elements, as numpy sees them: zarr-python 2
wrote them so whatever the order, and then could not read those of order "F"."""

FILTER_CHAIN = "numcodecs filters"
"""Name of the entry that holds an array's filters; no name of version 3, which have no spaces."""

_SERIALIZERS = ("bytes", FILTER_CHAIN, *OBJECT_FILTERS.values())
_OF_NUMBERS = ("astype", "bitround", "delta", "fixedscaleoffset", "packbits", "pcodec", "quantize",
               "zfpy")  # fmt: skip
"""Codecs that are given elements, not bytes; where one is the compressor it ends the chain."""

_REQUIRED = ("chunks", "compressor", "dtype", "fill_value", "filters", "order", "shape")
_KNOWN = frozenset((*_REQUIRED, "zarr_format", "dimension_separator"))


def parse_array(
    document: Mapping[str, Any],
    attributes: Mapping[str, Any],
    *,
    where: str,
    problems: Problems | None = None,
    check: Check | None = None,
) -> ArrayMetadata:
    """Turn the two documents of an array into metadata.

    Parameters
    ----------
    document, attributes : mapping
        The decoded ``.zarray``, and ``.zattrs`` (empty where it is not stored).
    where, problems, check
        As in `chunkstore.metadata.v3.parse_array`.

    Raises
    ------
    MetadataError
        Listing every problem with its JSON path.
    """
    problems = problems or Problems()
    for name in _REQUIRED:
        if name not in document:
            problems.add(name, "is missing, but required")
    shape = counts(document["shape"], "shape", problems) if "shape" in document else None
    chunk_shape = _chunk_shape(document, shape, problems)
    order = document.get("order", "C")
    if order not in ("C", "F"):
        problems.add("order", f'must be "C" or "F", got {order!r}')
    separator = document.get("dimension_separator", ".")
    if separator not in (".", "/"):
        problems.add("dimension_separator", f'must be "." or "/", got {separator!r}')
    filters = _filters(document, problems)
    compressor = None
    if document.get("compressor") is not None:
        compressor = _numcodec(document["compressor"], "compressor", problems)
    codecs_are_read = compressor is not UNREAD and UNREAD not in filters
    object_filter = _object_filter(filters, compressor)
    data_type, fill_value, byte_order = _type_and_fill(document, object_filter, problems)
    grid = None
    if shape is not None and chunk_shape is not None:
        grid = RegularGrid(shape, chunk_shape)
    if data_type is not None and chunk_shape is not None:
        check_chunk_bytes(chunk_shape, data_type, "chunks", problems)
    codecs = codec_list(
        order=order, ndim=len(shape or ()), filters=filters, compressor=compressor,
        byte_order=byte_order,
    )  # fmt: skip
    if grid is None or data_type is None or not codecs_are_read:
        if check is not None:
            problems.extend(check.certain(codecs, zarr_format=2, data_type=data_type, grid=grid))
        problems.raise_if_any(where)
    assert grid is not None and data_type is not None
    metadata = ArrayMetadata(
        zarr_format=2,
        data_type=data_type,
        grid=grid,
        key_encoding=ChunkKeyEncoding("v2", "/" if separator == "/" else "."),
        fill_value=fill_value,
        codecs=codecs,
        attributes=dict(attributes),
        extra={name: value for name, value in document.items() if name not in _KNOWN},
    )
    if problems.found and check is not None:
        problems.extend(check(metadata))
    problems.raise_if_any(where)
    return metadata


def parse_group(
    document: Mapping[str, Any],
    attributes: Mapping[str, Any],
    *,
    where: str,
    problems: Problems | None = None,
) -> GroupMetadata:
    """Turn the two documents of a group into metadata; errors as in `parse_array`."""
    if problems is not None:
        problems.raise_if_any(where)
    extra = {name: value for name, value in document.items() if name != "zarr_format"}
    return GroupMetadata(zarr_format=2, attributes=dict(attributes), extra=extra)


def codec_list(
    *,
    order: str,
    ndim: int,
    filters: tuple[CodecSpec, ...],
    compressor: CodecSpec | None,
    byte_order: str | None,
) -> tuple[CodecSpec, ...]:
    """Put what version 2 keeps apart into one list of codecs, in the order of encoding."""
    object_filter = _object_filter(filters, compressor)
    if object_filter is not None:
        serializer = CodecSpec(OBJECT_FILTERS[object_filter.name], object_filter.configuration)
    elif byte_order is None:
        serializer = CodecSpec("bytes", {})
    else:
        serializer = CodecSpec("bytes", {"endian": "big" if byte_order == ">" else "little"})
    codecs: list[CodecSpec] = []
    if order == "F" and ndim > 1 and serializer.name not in _KEEP_SHAPE:
        codecs.append(CodecSpec("transpose", {"order": list(range(ndim))[::-1]}))
    others = tuple(spec for spec in filters if spec is not object_filter)
    compressor = None if compressor is object_filter else compressor
    takes_numbers = compressor is not None and _numcodec_id(compressor) in _OF_NUMBERS
    if others or takes_numbers:
        last = compressor if takes_numbers else None
        first = len(filters) - len(others)
        chain = {"serializer": serializer, "filters": others, "compressor": last, "first": first}
        serializer = CodecSpec(FILTER_CHAIN, chain)
    codecs.append(serializer)
    if compressor is not None and not takes_numbers:
        codecs.append(compressor)
    return tuple(codecs)


def with_serializer(
    data_type: dtypes.DataType, filters: tuple[CodecSpec, ...]
) -> tuple[CodecSpec, ...]:
    """Add the filter that turns elements into bytes, where a type needs one and none is given.

    Raises
    ------
    InvalidArgumentError
        If version 2 has no such type, or if several filters would do.
    """
    data_type.to_v2()
    if data_type.is_fixed_size or any(spec.name in OBJECT_FILTERS for spec in filters):
        return filters
    name = NUMCODECS_PREFIX + data_type.default_serializer.removeprefix(NUMCODECS_PREFIX)
    return (CodecSpec(name, data_type.serializer_configuration()), *filters)


def array_document(metadata: ArrayMetadata) -> dict[str, Any]:
    """Turn an array's metadata into the JSON object of its ``.zarray``."""
    codecs = list(metadata.codecs)
    transposed = bool(codecs) and codecs[0].name == "transpose"
    order = "F" if transposed else "C"
    at = _serializer_index(codecs)
    serializer, filters, after = codecs[at], [], codecs[at + 1 :]
    if serializer.name == FILTER_CHAIN:
        chain = serializer.configuration
        serializer, filters = chain["serializer"], list(map(_numcodec_document, chain["filters"]))
        after = after or [spec for spec in (chain["compressor"],) if spec is not None]
    byte_order = ">" if serializer.configuration.get("endian") == "big" else "<"
    if serializer.name != "bytes":
        filters.insert(0, _numcodec_document(serializer))
    fill = metadata.fill_value
    assert isinstance(metadata.grid, RegularGrid), "version 2 has no other grid"
    return {
        "zarr_format": 2,
        "shape": list(metadata.shape),
        "chunks": list(metadata.grid.chunk_shape),
        "dtype": metadata.data_type.to_v2(byte_order),
        "fill_value": None if fill is None else metadata.data_type.fill_to_v2(fill, byte_order),
        "order": order,
        "filters": filters or None,
        "dimension_separator": metadata.key_encoding.separator,
        "compressor": _numcodec_document(after[0]) if after else None,
        **metadata.extra,
    }


def group_document(metadata: GroupMetadata) -> dict[str, Any]:
    """Turn a group's metadata into the JSON object of its ``.zgroup``."""
    return {"zarr_format": 2, **metadata.extra}


def problem_path(codecs: Sequence[CodecSpec], path: str) -> str:
    """Say where in a version 2 document a problem of the codecs lies.

    `path` is that of the codecs into which the document was read. The layout of elements,
    which version 2 has no codec for, is the business of ``dtype``.
    """
    match = re.fullmatch(r"codecs\[(\d+)\](?:\.configuration)?(.*)", path)
    if match is None:
        return path
    at, rest = int(match[1]), match[2]
    serializer = _serializer_index(codecs)
    if at == serializer and codecs[at].name in OBJECT_FILTERS.values():
        return f"filters[0]{rest}"
    if at == serializer:
        # Filters are part of how elements become bytes; each problem says which of them it is.
        return rest[1:] if codecs[at].name == FILTER_CHAIN and rest else "dtype"
    return f"compressor{rest}" if at > serializer else "order"


def _serializer_index(codecs: Sequence[CodecSpec]) -> int:
    """Give the place of the codec from array to bytes in a list made by `codec_list`."""
    return next(i for i, spec in enumerate(codecs) if spec.name in _SERIALIZERS)


def _chunk_shape(
    document: Mapping[str, Any], shape: Shape | None, problems: Problems
) -> Shape | None:
    """Read the chunk shape; writers used to give axes of no length chunks of none, read as 1."""
    if "chunks" not in document:
        return None
    sizes = counts(document["chunks"], "chunks", problems)
    if sizes is None or shape is None:
        return None
    if len(shape) != len(sizes):
        problems.add("chunks", f"has {len(sizes)} entries, but the shape has {len(shape)}")
        return None
    for i, (size, extent) in enumerate(zip(sizes, shape, strict=True)):
        if size == 0 and extent > 0:
            problems.add(f"chunks[{i}]", "must be an integer of at least 1, got 0")
    return tuple(max(1, size) for size in sizes)


def _type_and_fill(
    document: Mapping[str, Any], object_filter: CodecSpec | None, problems: Problems
) -> tuple[dtypes.DataType | None, Any, str | None]:
    if "dtype" not in document:
        return None, None, None
    name, configuration, _ = object_filter or CodecSpec("", {})
    try:
        data_type, byte_order = dtypes.from_v2(
            document["dtype"],
            object_codec=name.removeprefix(NUMCODECS_PREFIX) or None,
            configuration=configuration,
        )
    except InvalidArgumentError as error:
        problems.add("dtype", str(error))
        return None, None, None
    fill = document.get("fill_value")
    if fill is None:
        return data_type, None, byte_order
    try:
        return data_type, data_type.fill_from_v2(fill, byte_order or "<"), byte_order
    except InvalidArgumentError as error:
        problems.add("fill_value", str(error))
        return data_type, None, byte_order


def _filters(document: Mapping[str, Any], problems: Problems) -> tuple[CodecSpec, ...]:
    value = document.get("filters")
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.add("filters", f"must be a list or null, got {value!r}")
        return ()
    return tuple(_numcodec(entry, f"filters[{i}]", problems) for i, entry in enumerate(value))


def _numcodec(value: Any, path: str, problems: Problems) -> CodecSpec:
    """Read ``{"id": …}``; the configuration stays as it is, so that it is written back alike."""
    if not isinstance(value, Mapping) or not isinstance(value.get("id"), str):
        problems.add(path, f"must be an object with an id, got {value!r}")
        return UNREAD
    configuration = {name: item for name, item in value.items() if name != "id"}
    return CodecSpec(NUMCODECS_PREFIX + value["id"], configuration)


def _numcodec_document(spec: CodecSpec) -> dict[str, Any]:
    return {"id": _numcodec_id(spec), **spec.configuration}


def _numcodec_id(spec: CodecSpec) -> str:
    return spec.name.removeprefix(NUMCODECS_PREFIX)


def _object_filter(filters: Sequence[CodecSpec], compressor: CodecSpec | None) -> CodecSpec | None:
    """Give the filter that elements go through first, if it is one that turns them into bytes.

    Old writers could also leave that to the compressor.
    """
    first = next(iter((*filters, compressor)), None)
    return first if first is not None and first.name in OBJECT_FILTERS else None

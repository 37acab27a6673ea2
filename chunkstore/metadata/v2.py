"""Version 2 documents: ``.zarray``, ``.zgroup`` and ``.zattrs`` to model and back.

Floor 1. What version 2 says with ``order``, ``filters``, ``dtype`` and ``compressor`` becomes one
list of codecs, as in version 3, and is taken apart again to be written:

    order "F"           transpose with the axes reversed
    filters             numcodecs.<id>, array to array
    dtype ">i4"         bytes, endian big        (``vlen-utf8`` for text among the filters)
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
    "GROUP_DOCUMENT",
    "array_document",
    "codec_list",
    "group_document",
    "parse_array",
    "parse_group",
    "problem_path",
]

ARRAY_DOCUMENT = ".zarray"
GROUP_DOCUMENT = ".zgroup"
ATTRIBUTES_DOCUMENT = ".zattrs"

NUMCODECS_PREFIX = "numcodecs."
TEXT_FILTER = "vlen-utf8"

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
    before = len(problems.found)
    filters = _filters(document, problems)
    compressor = _numcodec(document.get("compressor"), "compressor", problems)
    codecs_are_read = before == len(problems.found)
    data_type, fill_value, byte_order = _type_and_fill(document, filters, problems)
    if shape is None or chunk_shape is None or data_type is None:
        problems.raise_if_any(where)
    assert shape is not None and chunk_shape is not None and data_type is not None
    check_chunk_bytes(chunk_shape, data_type, "chunks", problems)
    codecs = codec_list(
        data_type, order=order, ndim=len(shape), filters=filters, compressor=compressor,
        byte_order=byte_order,
    )  # fmt: skip
    metadata = ArrayMetadata(
        zarr_format=2,
        data_type=data_type,
        grid=RegularGrid(shape, chunk_shape),
        key_encoding=ChunkKeyEncoding("v2", "/" if separator == "/" else "."),
        fill_value=fill_value,
        codecs=codecs,
        attributes=dict(attributes),
        extra={name: value for name, value in document.items() if name not in _KNOWN},
    )
    if problems.found and check is not None and codecs_are_read:
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
    data_type: dtypes.DataType,
    *,
    order: str,
    ndim: int,
    filters: tuple[CodecSpec, ...],
    compressor: CodecSpec | None,
    byte_order: str | None,
) -> tuple[CodecSpec, ...]:
    """Put what version 2 keeps apart into one list of codecs, in the order of encoding."""
    codecs: list[CodecSpec] = []
    if order == "F" and ndim > 1:
        codecs.append(CodecSpec("transpose", {"order": list(range(ndim))[::-1]}))
    codecs.extend(spec for spec in filters if not _is_text(spec))
    if any(map(_is_text, filters)):
        codecs.append(CodecSpec(TEXT_FILTER, {}))
    elif byte_order is None:
        codecs.append(CodecSpec("bytes", {}))
    else:
        codecs.append(CodecSpec("bytes", {"endian": "big" if byte_order == ">" else "little"}))
    if compressor is not None:
        codecs.append(compressor)
    return tuple(codecs)


def array_document(metadata: ArrayMetadata) -> dict[str, Any]:
    """Turn an array's metadata into the JSON object of its ``.zarray``."""
    codecs = list(metadata.codecs)
    transposed = bool(codecs) and codecs[0].name == "transpose"
    order = "F" if transposed else "C"
    at = _serializer_index(codecs)
    filters = [_numcodec_document(spec) for spec in codecs[transposed:at]]
    byte_order = ">" if codecs[at].configuration.get("endian") == "big" else "<"
    if codecs[at].name == TEXT_FILTER:
        filters.append({"id": TEXT_FILTER})
    after = codecs[at + 1 :]
    fill = metadata.fill_value
    assert isinstance(metadata.grid, RegularGrid), "version 2 has no other grid"
    return {
        "zarr_format": 2,
        "shape": list(metadata.shape),
        "chunks": list(metadata.grid.chunk_shape),
        "dtype": metadata.data_type.to_v2(byte_order),
        "fill_value": None if fill is None else metadata.data_type.fill_to_json(fill),
        "order": order,
        "filters": filters or None,
        "dimension_separator": metadata.key_encoding.separator,
        "compressor": _numcodec_document(after[0]) if after else None,
        **metadata.extra,
    }


def group_document(metadata: GroupMetadata) -> dict[str, Any]:
    """Turn a group's metadata into the JSON object of its ``.zgroup``."""
    return {"zarr_format": 2, **metadata.extra}


def problem_path(metadata: ArrayMetadata, path: str) -> str:
    """Say where in a version 2 document a problem of the codecs lies.

    `path` is that of the list of codecs into which the document was read. The layout of elements,
    which version 2 has no codec for, is the business of ``dtype``.
    """
    match = re.fullmatch(r"codecs\[(\d+)\](?:\.configuration)?(.*)", path)
    if match is None:
        return path
    at, rest = int(match[1]), match[2]
    serializer = _serializer_index(metadata.codecs)
    first = int(metadata.codecs[0].name == "transpose")
    if at == serializer:
        return "dtype"
    if at > serializer:
        return f"compressor{rest}"
    return f"filters[{at - first}]{rest}" if at >= first else "order"


def _serializer_index(codecs: Sequence[CodecSpec]) -> int:
    """Give the place of the codec from array to bytes in a list made by `codec_list`."""
    return next(i for i, spec in enumerate(codecs) if spec.name in ("bytes", TEXT_FILTER))


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
    document: Mapping[str, Any], filters: tuple[CodecSpec, ...], problems: Problems
) -> tuple[dtypes.DataType | None, Any, str | None]:
    if "dtype" not in document:
        return None, None, None
    if document["dtype"] == "|O" and any(map(_is_text, filters)):
        data_type, byte_order = dtypes.from_numpy(str), None
    else:
        try:
            data_type, byte_order = dtypes.from_v2(document["dtype"])
        except InvalidArgumentError as error:
            problems.add("dtype", str(error))
            return None, None, None
    fill = document.get("fill_value")
    if fill is None:
        return data_type, None, byte_order
    try:
        return data_type, data_type.fill_from_json(fill, strict=False), byte_order
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
    specs = (_numcodec(entry, f"filters[{i}]", problems) for i, entry in enumerate(value))
    return tuple(spec for spec in specs if spec is not None)


def _numcodec(value: Any, path: str, problems: Problems) -> CodecSpec | None:
    """Read ``{"id": …}``; the configuration stays as it is, so that it is written back alike."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not isinstance(value.get("id"), str):
        problems.add(path, f"must be null or an object with an id, got {value!r}")
        return None
    configuration = {name: item for name, item in value.items() if name != "id"}
    return CodecSpec(NUMCODECS_PREFIX + value["id"], configuration)


def _numcodec_document(spec: CodecSpec) -> dict[str, Any]:
    return {"id": spec.name.removeprefix(NUMCODECS_PREFIX), **spec.configuration}


def _is_text(spec: CodecSpec) -> bool:
    return spec.name == NUMCODECS_PREFIX + TEXT_FILTER

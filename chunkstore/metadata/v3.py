"""Version 3 documents: ``zarr.json`` to model and back.

Floor 1. Checks all that the document alone can show; a codec's own configuration is checked by
the codec. The bare-string short-hand of 3.1 is read but never written, since older readers do not
know it.

Source: Zarr v3 core 3.1, "Array metadata", "Group metadata", "Extension points".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chunkstore import dtypes
from chunkstore.chunk_grid import RegularGrid
from chunkstore.errors import InvalidArgumentError
from chunkstore.keys import ChunkKeyEncoding
from chunkstore.metadata.model import (
    ArrayMetadata,
    CodecSpec,
    GroupMetadata,
    Problems,
    is_count,
)

__all__ = ["DOCUMENT", "array_document", "group_document", "parse_array", "parse_group"]

DOCUMENT = "zarr.json"

_ARRAY_FIELDS = frozenset(
    (
        "zarr_format",
        "node_type",
        "shape",
        "data_type",
        "chunk_grid",
        "chunk_key_encoding",
        "fill_value",
        "codecs",
        "attributes",
        "dimension_names",
        "storage_transformers",
    )
)
_REQUIRED = _ARRAY_FIELDS - {"attributes", "dimension_names", "storage_transformers"}
_GROUP_FIELDS = frozenset(("zarr_format", "node_type", "attributes"))


def parse_array(document: Mapping[str, Any], *, where: str) -> ArrayMetadata:
    """Turn an array's document into metadata.

    Parameters
    ----------
    document : mapping
        The decoded JSON object.
    where : str
        What to call the document in an error, such as ``"'a/zarr.json' in LocalStore('d')"``.

    Raises
    ------
    MetadataError
        Listing every problem with its JSON path.
    """
    problems = Problems()
    for name in sorted(_REQUIRED - document.keys()):
        problems.add(name, "is missing, but required")
    extra = _unknown_fields(document, _ARRAY_FIELDS, problems)
    shape = _shape(document, problems)
    data_type = _data_type(document, problems)
    fill_value = None
    if data_type is not None and "fill_value" in document:
        try:
            fill_value = data_type.fill_from_json(document["fill_value"], strict=True)
        except InvalidArgumentError as error:
            problems.add("fill_value", str(error))
    grid = _grid(document, shape, problems)
    key_encoding = _key_encoding(document, problems)
    codecs = parse_codecs(document.get("codecs", ()), "codecs", problems)
    if "codecs" in document and not document["codecs"]:
        problems.add("codecs", "must not be empty: one array-to-bytes codec is required")
    names = _dimension_names(document, shape, problems)
    if document.get("storage_transformers"):
        problems.add("storage_transformers", "are not supported: none is registered")
    attributes = _attributes(document, problems)
    problems.raise_if_any(where)
    assert data_type is not None and grid is not None and key_encoding is not None
    return ArrayMetadata(
        zarr_format=3,
        data_type=data_type,
        grid=grid,
        key_encoding=key_encoding,
        fill_value=fill_value,
        codecs=codecs,
        attributes=attributes,
        dimension_names=names,
        extra=extra,
    )


def parse_group(document: Mapping[str, Any], *, where: str) -> GroupMetadata:
    """Turn a group's document into metadata; parameters and errors as in `parse_array`."""
    problems = Problems()
    extra = _unknown_fields(document, _GROUP_FIELDS, problems)
    attributes = _attributes(document, problems)
    problems.raise_if_any(where)
    return GroupMetadata(zarr_format=3, attributes=attributes, extra=extra)


def array_document(metadata: ArrayMetadata) -> dict[str, Any]:
    """Turn an array's metadata into the JSON object of its document."""
    document: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(metadata.shape),
        "data_type": metadata.data_type.to_v3(),
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": list(metadata.grid.chunk_shape)},
        },
        "chunk_key_encoding": {
            "name": metadata.key_encoding.name,
            "configuration": {"separator": metadata.key_encoding.separator},
        },
        "fill_value": metadata.data_type.fill_to_json(metadata.fill_value),
        "codecs": [codec_document(spec) for spec in metadata.codecs],
        "attributes": metadata.attributes,
    }
    if metadata.dimension_names is not None:
        document["dimension_names"] = list(metadata.dimension_names)
    return {**document, **metadata.extra}


def group_document(metadata: GroupMetadata) -> dict[str, Any]:
    """Turn a group's metadata into the JSON object of its document."""
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": metadata.attributes,
        **metadata.extra,
    }


def parse_codecs(value: Any, path: str, problems: Problems) -> tuple[CodecSpec, ...]:
    """Read a list of codecs at a JSON path; each may be an object or a bare name."""
    if not isinstance(value, (list, tuple)):
        problems.add(path, f"must be a list of codecs, got {value!r}")
        return ()
    specs = []
    for i, entry in enumerate(value):
        spec = _extension(entry, f"{path}[{i}]", problems, may_be_optional=True)
        if spec is not None:
            specs.append(spec)
    return tuple(specs)


def _extension(
    value: Any, path: str, problems: Problems, *, may_be_optional: bool = False
) -> CodecSpec | None:
    """Read an extension point: ``"name"`` or ``{"name", "configuration"?, "must_understand"?}``."""
    if isinstance(value, str):
        return CodecSpec(value, {})
    if not isinstance(value, Mapping):
        problems.add(path, f"must be an object with a name, got {value!r}")
        return None
    before = len(problems.found)
    name = value.get("name")
    if not isinstance(name, str) or not name:
        problems.add(f"{path}.name", f"must be a string, got {name!r}")
    configuration = value.get("configuration", {})
    if not isinstance(configuration, Mapping):
        problems.add(f"{path}.configuration", f"must be an object, got {configuration!r}")
    must_understand = value.get("must_understand", True)
    if not isinstance(must_understand, bool):
        problems.add(f"{path}.must_understand", f"must be true or false, got {must_understand!r}")
    elif not must_understand and not may_be_optional:
        problems.add(f"{path}.must_understand", "must not be false here")
    for key in sorted(value.keys() - {"name", "configuration", "must_understand"}):
        problems.add(f"{path}.{key}", "is not a field of an extension object")
    if len(problems.found) > before:
        return None
    assert isinstance(name, str)
    return CodecSpec(name, dict(configuration), must_understand)


def _unknown_fields(
    document: Mapping[str, Any], known: frozenset[str], problems: Problems
) -> dict[str, Any]:
    """Keep the fields we need not understand; report the others."""
    extra = {name: value for name, value in document.items() if name not in known}
    for name, value in extra.items():
        if not isinstance(value, Mapping) or value.get("must_understand") is not False:
            problems.add(
                name, 'is not known, and does not say "must_understand": false. A newer writer?'
            )
    return extra


def _shape(document: Mapping[str, Any], problems: Problems) -> tuple[int, ...] | None:
    value = document.get("shape")
    if isinstance(value, list) and all(is_count(extent) for extent in value):
        return tuple(value)
    if "shape" in document:
        problems.add("shape", f"must be a list of integers of at least 0, got {value!r}")
    return None


def _data_type(document: Mapping[str, Any], problems: Problems) -> dtypes.DataType | None:
    if "data_type" not in document:
        return None
    try:
        return dtypes.from_v3(document["data_type"])
    except InvalidArgumentError as error:
        problems.add("data_type", str(error))
        return None


def _grid(
    document: Mapping[str, Any], shape: tuple[int, ...] | None, problems: Problems
) -> RegularGrid | None:
    if "chunk_grid" not in document:
        return None
    spec = _extension(document["chunk_grid"], "chunk_grid", problems)
    if spec is None:
        return None
    if spec.name != "regular":
        problems.add("chunk_grid.name", f'must be "regular", got {spec.name!r}')
        return None
    path = "chunk_grid.configuration"
    for key in sorted(spec.configuration.keys() - {"chunk_shape"}):
        problems.add(f"{path}.{key}", "is not known")
    chunk_shape = spec.configuration.get("chunk_shape")
    if not isinstance(chunk_shape, list) or not all(is_count(n, least=1) for n in chunk_shape):
        problems.add(
            f"{path}.chunk_shape", f"must be a list of integers of at least 1, got {chunk_shape!r}"
        )
        return None
    if shape is None:
        return None
    if len(chunk_shape) != len(shape):
        problems.add(
            f"{path}.chunk_shape",
            f"has {len(chunk_shape)} entries, but the shape has {len(shape)}",
        )
        return None
    return RegularGrid(shape, tuple(chunk_shape))


def _key_encoding(document: Mapping[str, Any], problems: Problems) -> ChunkKeyEncoding | None:
    if "chunk_key_encoding" not in document:
        return None
    spec = _extension(document["chunk_key_encoding"], "chunk_key_encoding", problems)
    if spec is None:
        return None
    name, configuration = spec.name, spec.configuration
    path = "chunk_key_encoding.configuration"
    for key in sorted(configuration.keys() - {"separator"}):
        problems.add(f"{path}.{key}", "is not known")
    if name not in ("default", "v2"):
        problems.add("chunk_key_encoding.name", f'must be "default" or "v2", got {name!r}')
        return None
    separator = configuration.get("separator", "/" if name == "default" else ".")
    if separator not in ("/", "."):
        problems.add(f"{path}.separator", f'must be "/" or ".", got {separator!r}')
        return None
    return ChunkKeyEncoding(name, separator)  # type: ignore[arg-type]


def _dimension_names(
    document: Mapping[str, Any], shape: tuple[int, ...] | None, problems: Problems
) -> tuple[str | None, ...] | None:
    value = document.get("dimension_names")
    if value is None:
        return None
    if not isinstance(value, list) or not all(n is None or isinstance(n, str) for n in value):
        problems.add("dimension_names", f"must be a list of strings and nulls, got {value!r}")
        return None
    if shape is not None and len(value) != len(shape):
        problems.add("dimension_names", f"has {len(value)} entries, but the shape has {len(shape)}")
    return tuple(value)


def _attributes(document: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    value = document.get("attributes", {})
    if not isinstance(value, dict):
        problems.add("attributes", f"must be an object, got {value!r}")
        return {}
    return value


def codec_document(spec: CodecSpec) -> dict[str, Any]:
    document: dict[str, Any] = {"name": spec.name}
    if spec.configuration:
        document["configuration"] = dict(spec.configuration)
    if not spec.must_understand:
        document["must_understand"] = False
    return document

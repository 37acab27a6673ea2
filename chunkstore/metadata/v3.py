"""Version 3 documents: ``zarr.json`` to model and back.

Floor 1. Checks all that the document alone can show; a codec's own configuration is checked by
the codec. The bare-string short-hand of 3.1 is read but never written, since older readers do not
know it.

What one need not understand is kept and written back: unknown fields and unknown codecs that say
``"must_understand": false``, and consolidated metadata.

Source: Zarr v3 core 3.1, "Array metadata", "Group metadata", "Extensions"; zarr-extensions,
"Rectilinear chunk grid".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chunkstore import dtypes
from chunkstore.chunk_grid import (
    Axis,
    ChunkGrid,
    RectilinearAxis,
    RectilinearGrid,
    RegularAxis,
    RegularGrid,
)
from chunkstore.errors import InvalidArgumentError
from chunkstore.keys import ChunkKeyEncoding
from chunkstore.metadata.model import (
    MAX_EXTENT,
    UNREAD,
    ArrayMetadata,
    Check,
    CodecSpec,
    GroupMetadata,
    Problems,
    check_chunk_bytes,
    count_problem,
    counts,
    extension_name_problem,
    is_count,
    step,
)
from chunkstore.types import Shape

__all__ = [
    "CONSOLIDATED",
    "DOCUMENT",
    "array_document",
    "codec_document",
    "group_document",
    "parse_array",
    "parse_codecs",
    "parse_group",
]

DOCUMENT = "zarr.json"

CONSOLIDATED = "consolidated_metadata"
"""Field of a group's document that repeats the documents of all nodes below it."""

_EXTENSION_FIELDS = frozenset(("name", "configuration", "must_understand"))
_REQUIRED = (
    "shape",
    "data_type",
    "chunk_grid",
    "chunk_key_encoding",
    "fill_value",
    "codecs",
)
_ARRAY_FIELDS = frozenset(
    (
        "zarr_format",
        "node_type",
        *_REQUIRED,
        "attributes",
        "dimension_names",
        "storage_transformers",
    )
)
_GROUP_FIELDS = frozenset(("zarr_format", "node_type", "attributes", CONSOLIDATED))


def parse_array(
    document: Mapping[str, Any],
    *,
    where: str,
    problems: Problems | None = None,
    check: Check | None = None,
) -> ArrayMetadata:
    """Turn an array's document into metadata.

    Parameters
    ----------
    document : mapping
        The decoded JSON object.
    where : str
        What to call the document in an error, such as ``"'a/zarr.json' in LocalStore('d')"``.
    problems : Problems, optional
        Of this document, found before.
    check : callable, optional
        Finds further problems, those of the codecs. Asked only where there are problems already,
        so that they are reported together; whoever opens the array checks its codecs anyway.

    Raises
    ------
    MetadataError
        Listing every problem with its JSON path.
    """
    problems = problems or Problems()
    for name in _REQUIRED:
        if name not in document:
            problems.add(name, "is missing, but required")
    extra = _unknown_fields(document, _ARRAY_FIELDS, problems)
    shape = counts(document["shape"], "shape", problems) if "shape" in document else None
    data_type = _data_type(document, problems)
    fill_value = _fill_value(document, data_type, problems)
    grid = _grid(document, shape, problems)
    key_encoding = _key_encoding(document, problems)
    codecs = parse_codecs(document.get("codecs", ()), "codecs", problems)
    if "codecs" in document and document["codecs"] == []:
        problems.add("codecs", "must not be empty: one array-to-bytes codec is required")
    names = _dimension_names(document, shape, problems)
    _refuse_storage_transformers(document, problems)
    attributes = _attributes(document, problems)
    if grid is not None and data_type is not None:
        check_chunk_bytes(grid.largest_chunk, data_type, "chunk_grid.configuration", problems)
    if grid is None or data_type is None or UNREAD in codecs:
        if check is not None:
            problems.extend(check.certain(codecs, zarr_format=3, data_type=data_type, grid=grid))
        problems.raise_if_any(where)
    assert grid is not None and data_type is not None
    metadata = ArrayMetadata(
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
    if problems.found and check is not None and codecs:
        problems.extend(check(metadata))
    problems.raise_if_any(where)
    return metadata


def parse_group(
    document: Mapping[str, Any], *, where: str, problems: Problems | None = None
) -> GroupMetadata:
    """Turn a group's document into metadata; parameters and errors as in `parse_array`."""
    problems = problems or Problems()
    extra = _unknown_fields(document, _GROUP_FIELDS, problems)
    attributes = _attributes(document, problems)
    copy = document.get(CONSOLIDATED)
    if copy is not None:
        # Left as it is until it is used: it is large, and the members' own documents count.
        extra[CONSOLIDATED] = copy
        if not isinstance(copy, Mapping):
            problems.add(CONSOLIDATED, f"must be an object, got {copy!r}")
        elif copy.get("kind") != "inline" and copy.get("must_understand") is not False:
            problems.add(step(CONSOLIDATED, "kind"), f'must be "inline", got {copy.get("kind")!r}')
    problems.raise_if_any(where)
    return GroupMetadata(zarr_format=3, attributes=attributes, extra=extra)


def array_document(metadata: ArrayMetadata) -> dict[str, Any]:
    """Turn an array's metadata into the JSON object of its document."""
    document: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(metadata.shape),
        "data_type": metadata.data_type.to_v3(),
        "chunk_grid": _grid_document(metadata.grid),
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


def codec_document(spec: CodecSpec) -> dict[str, Any]:
    """Turn one entry of a codec list into its JSON object."""
    document: dict[str, Any] = {"name": spec.name}
    # zarr-python opens no codec of these names without the field, empty or not.
    if spec.configuration or spec.name.startswith("numcodecs."):
        document["configuration"] = dict(spec.configuration)
    if not spec.must_understand:
        document["must_understand"] = False
    return document


def parse_codecs(value: Any, path: str, problems: Problems) -> tuple[CodecSpec, ...]:
    """Read a list of codecs at a JSON path; each may be an object or a bare name.

    What cannot be read is `UNREAD`, its problems noted.
    """
    if not isinstance(value, (list, tuple)):
        problems.add(path, f"must be a list of codecs, got {value!r}")
        return ()
    specs = []
    for i, entry in enumerate(value):
        spec = _extension(entry, f"{path}[{i}]", problems, may_be_optional=True)
        specs.append(UNREAD if spec is None else spec)
    return tuple(specs)


def _extension(
    value: Any, path: str, problems: Problems, *, may_be_optional: bool = False
) -> CodecSpec | None:
    """Read an extension point: ``"name"`` or ``{"name", "configuration"?, "must_understand"?}``."""
    is_bare = isinstance(value, str)
    if is_bare:
        value = {"name": value}
    elif not isinstance(value, Mapping):
        problems.add(path, f"must be a name or an object with a name, got {value!r}")
        return None
    before = len(problems.found)
    name = value.get("name")
    what = (
        extension_name_problem(name) if isinstance(name, str) else f"must be a string, got {name!r}"
    )
    if what is not None:
        problems.add(path if is_bare else step(path, "name"), what)
    configuration = value.get("configuration", {})
    if not isinstance(configuration, Mapping):
        problems.add(step(path, "configuration"), f"must be an object, got {configuration!r}")
    must_understand = value.get("must_understand", True)
    what = None
    if not isinstance(must_understand, bool):
        what = f"must be true or false, got {must_understand!r}"
    elif not must_understand and not may_be_optional:
        what = "must not be false here: chunks cannot be read without it"
    if what is not None:
        problems.add(step(path, "must_understand"), what)
    for key in sorted(value.keys() - _EXTENSION_FIELDS):
        problems.add(step(path, key), "is not a field of an extension object")
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
                step("", name),
                'is not known, and does not say "must_understand": false. A newer writer?',
            )
    return extra


def _refuse_storage_transformers(document: Mapping[str, Any], problems: Problems) -> None:
    """Refuse any: none is registered, and each may change where chunks are and what they hold."""
    value = document.get("storage_transformers") or []
    if not isinstance(value, list):
        problems.add("storage_transformers", f"must be a list, got {value!r}")
        return
    for i, entry in enumerate(value):
        name = entry.get("name") if isinstance(entry, Mapping) else entry
        problems.add(f"storage_transformers[{i}]", f"is not supported: {name!r}")


def _data_type(document: Mapping[str, Any], problems: Problems) -> dtypes.DataType | None:
    if "data_type" not in document:
        return None
    if _extension(document["data_type"], "data_type", problems) is None:
        return None
    try:
        return dtypes.from_v3(document["data_type"])
    except InvalidArgumentError as error:
        problems.add("data_type", str(error))
        return None


def _fill_value(
    document: Mapping[str, Any], data_type: dtypes.DataType | None, problems: Problems
) -> Any:
    if data_type is None:
        return None
    if "fill_value" in document:
        try:
            return data_type.fill_from_json(document["fill_value"], strict=True)
        except InvalidArgumentError as error:
            problems.add("fill_value", str(error))
    return data_type.default_fill()


# -- chunk grids ----------------------------------------------------------------------------------


def _grid(document: Mapping[str, Any], shape: Shape | None, problems: Problems) -> ChunkGrid | None:
    if "chunk_grid" not in document:
        return None
    spec = _extension(document["chunk_grid"], "chunk_grid", problems)
    if spec is None:
        return None
    reader = _GRIDS.get(spec.name)
    if reader is None:
        known = " or ".join(f'"{name}"' for name in _GRIDS)
        problems.add("chunk_grid.name", f"must be {known}, got {spec.name!r}")
        return None
    return reader(spec.configuration, shape, problems)


def _regular_grid(
    configuration: Mapping[str, Any], shape: Shape | None, problems: Problems
) -> RegularGrid | None:
    path = "chunk_grid.configuration"
    if not _has_keys(configuration, ("chunk_shape",), path, problems):
        return None
    path = step(path, "chunk_shape")
    chunk_shape = counts(configuration["chunk_shape"], path, problems, least=1)
    if chunk_shape is None or shape is None:
        return None
    if len(chunk_shape) != len(shape):
        problems.add(path, _rank_problem(chunk_shape, shape))
        return None
    return RegularGrid(shape, chunk_shape)


def _rectilinear_grid(
    configuration: Mapping[str, Any], shape: Shape | None, problems: Problems
) -> RectilinearGrid | None:
    path = "chunk_grid.configuration"
    if not _has_keys(configuration, ("kind", "chunk_shapes"), path, problems):
        return None
    if configuration["kind"] != "inline":
        problems.add(step(path, "kind"), f'must be "inline", got {configuration["kind"]!r}')
        return None
    path = step(path, "chunk_shapes")
    given = configuration["chunk_shapes"]
    if not isinstance(given, list):
        problems.add(path, f"must be a list with one entry an axis, got {given!r}")
        return None
    if shape is not None and len(given) != len(shape):
        problems.add(path, _rank_problem(given, shape))
        shape = None
    axes = [
        _axis(entry, shape[i] if shape else 0, f"{path}[{i}]", problems)
        for i, entry in enumerate(given)
    ]
    found = tuple(axis for axis in axes if axis is not None)
    return RectilinearGrid(found) if shape is not None and len(found) == len(axes) else None


_GRIDS: dict[
    str, Callable[[Mapping[str, Any], Shape | None, Problems], RegularGrid | RectilinearGrid | None]
] = {"regular": _regular_grid, "rectilinear": _rectilinear_grid}


def _axis(value: Any, extent: int, path: str, problems: Problems) -> Axis | None:
    """Read one axis: a size that repeats, or a list of edges and of runs ``[edge, count]``."""
    if not isinstance(value, list):
        if is_count(value, least=1):
            return RegularAxis(extent, value)
        problems.add(path, f"must be a chunk size or a list of edges, got {value!r}")
        return None
    runs: list[tuple[int, int]] = []
    before = len(problems.found)
    for i, entry in enumerate(value):
        run = entry if isinstance(entry, list) else [entry, 1]
        if len(run) != 2:
            problems.add(f"{path}[{i}]", f"must be an edge or [edge, count], got {entry!r}")
            continue
        for j, number in enumerate(run):
            if not is_count(number, least=1):
                inner = f"[{j}]" if run is entry else ""
                problems.add(f"{path}[{i}]{inner}", count_problem(number, 1))
        runs.append((run[0], run[1]))
    if len(problems.found) > before:
        return None
    reach = sum(edge * count for edge, count in runs)
    if not extent <= reach <= MAX_EXTENT:
        bounds = f"at least the shape's {extent}" if reach < extent else "at most 2**63 - 1"
        problems.add(path, f"has edges that sum to {reach}, must be {bounds}")
        return None
    return RectilinearAxis(extent, tuple(runs))


def _grid_document(grid: ChunkGrid) -> dict[str, Any]:
    if isinstance(grid, RegularGrid):
        return {"name": "regular", "configuration": {"chunk_shape": list(grid.chunk_shape)}}
    shapes = [_axis_document(axis) for axis in grid.axes]
    return {
        "name": "rectilinear",
        "configuration": {"kind": "inline", "chunk_shapes": shapes},
    }


def _axis_document(axis: Axis) -> int | list[int | list[int]]:
    if isinstance(axis, RegularAxis):
        return axis.size
    return [edge if count == 1 else [edge, count] for edge, count in axis.runs]


def _rank_problem(entries: Any, shape: Shape) -> str:
    return f"has {len(entries)} entries, but the shape has {len(shape)}"


def _has_keys(
    configuration: Mapping[str, Any], keys: tuple[str, ...], path: str, problems: Problems
) -> bool:
    """Note the keys that a configuration lacks or should not have; whether it lacks none."""
    for key in sorted(configuration.keys() - set(keys)):
        problems.add(step(path, key), "is not known")
    missing = [key for key in keys if key not in configuration]
    for key in missing:
        problems.add(step(path, key), "is missing, but required")
    return not missing


# -- the rest -------------------------------------------------------------------------------------


def _key_encoding(document: Mapping[str, Any], problems: Problems) -> ChunkKeyEncoding:
    """Read the encoding; any will do where it has problems, for then nothing is read."""
    if "chunk_key_encoding" not in document:
        return ChunkKeyEncoding()
    spec = _extension(document["chunk_key_encoding"], "chunk_key_encoding", problems)
    if spec is None:
        return ChunkKeyEncoding()
    name, configuration = spec.name, spec.configuration
    path = "chunk_key_encoding.configuration"
    for key in sorted(configuration.keys() - {"separator"}):
        problems.add(step(path, key), "is not known")
    if name not in ("default", "v2"):
        problems.add("chunk_key_encoding.name", f'must be "default" or "v2", got {name!r}')
        return ChunkKeyEncoding()
    separator = configuration.get("separator", "/" if name == "default" else ".")
    if separator not in ("/", "."):
        problems.add(step(path, "separator"), f'must be "/" or ".", got {separator!r}')
        return ChunkKeyEncoding()
    return ChunkKeyEncoding(name, separator)  # type: ignore[arg-type]


def _dimension_names(
    document: Mapping[str, Any], shape: Shape | None, problems: Problems
) -> tuple[str | None, ...] | None:
    value = document.get("dimension_names")
    if value is None:
        return None
    if not isinstance(value, list):
        problems.add("dimension_names", f"must be a list of strings and nulls, got {value!r}")
        return None
    for i, name in enumerate(value):
        if name is not None and not isinstance(name, str):
            problems.add(f"dimension_names[{i}]", f"must be a string or null, got {name!r}")
    if shape is not None and len(value) != len(shape):
        problems.add("dimension_names", _rank_problem(value, shape))
    return tuple(value)


def _attributes(document: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    value = document.get("attributes", {})
    if not isinstance(value, dict):
        problems.add("attributes", f"must be an object, got {value!r}")
        return {}
    return value

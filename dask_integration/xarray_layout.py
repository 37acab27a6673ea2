"""How a new variable is laid out: from its encoding to the arguments of `create_array`.

Floor 2: no dask. An encoding comes from three places, and each is trusted as it deserves:

    given with the write     every entry must be understood and must fit
    set by hand on it        what concerns the layout must fit; the rest is not looked at
    left from its source     is kept where it fits what the variable has become, else left

The last is told from the others by ``preferred_chunks``, which readers set. So a variable that was
sliced, rechunked or computed since it was read is never laid out by what no longer holds.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

import chunkstore as cs
from chunkstore.errors import AlignmentError, InvalidArgumentError
from dask_integration.align import alignment, chunks_for_blocks, require_aligned
from dask_integration.chunks import Blocks, largest_block, regular_blocks
from dask_integration.xarray_encoding import (
    DIMENSION_KEY,
    fill_and_attributes,
    is_stale,
    stored_dtype,
)

__all__ = ["array_layout", "check_blocks", "checked_attributes"]

_CODECS = ("filters", "serializer", "compressors")
_KNOWN = frozenset((
    *_CODECS, "cache_metadata", "chunk_key_encoding", "chunks", "shards", "write_empty_chunks",
))  # fmt: skip
_OF_SOURCES = frozenset(("original_shape", "preferred_chunks", "source"))
_INNER_CHUNK_BYTES = 2**20


def array_layout(
    variable: xr.Variable, name: Hashable, *, zarr_format: int, explicit: bool, align: str
) -> dict[str, Any]:
    """Give the arguments of `chunkstore.create_array` for an encoded variable.

    Parameters
    ----------
    variable : xarray.Variable
        As `encode_variable` gives it.
    name : str
        Its name, for errors.
    zarr_format : {2, 3}
        Format to write.
    explicit : bool
        Whether the encoding was given with the write.
    align : {"auto", "error"}
        As in `to_store`.

    Returns
    -------
    dict
        All but the store and the name; ``options`` only where the encoding asks for it.

    Raises
    ------
    ValueError, TypeError
        If the encoding cannot be followed; names the variable and the entry.
    """
    encoding = dict(variable.encoding)
    stale = not explicit and is_stale(encoding)
    if encoding.get("_FillValue") is not None:
        raise ValueError(
            f"variable {name!r} has _FillValue {encoding['_FillValue']!r} in its encoding, which "
            f"values of type {variable.dtype} cannot have. Delete the entry"
        )
    if explicit:
        _check_entries(encoding, name, zarr_format)
    if stale and zarr_format == 2:
        encoding.pop("shards", None)
    fill, attributes = fill_and_attributes(variable, mask_fill=zarr_format == 2)
    layout: dict[str, Any] = {
        "shape": variable.shape,
        "dtype": stored_dtype(variable),
        "fill_value": fill,
        "zarr_format": zarr_format,
        **_chunks_and_shards(variable, encoding, name, stale=stale, align=align),
        **{key: encoding[key] for key in _CODECS if encoding.get(key) is not None},
    }
    if encoding.get("compressors", "auto") is None:
        layout["compressors"] = None
    if zarr_format == 2:
        attributes[DIMENSION_KEY] = list(variable.dims)
        layout.pop("serializer", None)
    else:
        layout["dimension_names"] = variable.dims
    if encoding.get("chunk_key_encoding") is not None:
        layout["chunk_key_encoding"] = encoding["chunk_key_encoding"]
    layout["attributes"] = checked_attributes(attributes, f"variable {name!r}")
    return _proved(layout, name, stale=stale)


def checked_attributes(attributes: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Give attributes that a document can hold.

    Raises
    ------
    TypeError
        For a value that is no JSON; names it.
    """
    try:
        return cs.create_group(None, attributes=attributes).attrs.asdict()
    except InvalidArgumentError as error:
        raise TypeError(f"Invalid attribute in Dataset.attrs. Of {what}: {error}") from error


def _check_entries(encoding: Mapping[str, Any], name: Hashable, zarr_format: int) -> None:
    known = _KNOWN | _OF_SOURCES | {"_FillValue"} | ({"fill_value"} if zarr_format == 3 else set())
    unknown = sorted(set(encoding) - known)
    if unknown:
        hint = (
            " In version 2, `_FillValue` sets the array's fill value."
            if "fill_value" in unknown
            else ""
        )
        raise ValueError(
            f"unexpected encoding parameters for variable {name!r}: {unknown!r}. Known are "
            f"{', '.join(sorted(known - _OF_SOURCES))}, beside those of CF conventions.{hint}"
        )


def _proved(layout: dict[str, Any], name: Hashable, *, stale: bool) -> dict[str, Any]:
    """Give a layout that an array can be made of; leave what a stale encoding has too much."""
    attempts = [layout]
    if stale:
        plain = {key: value for key, value in layout.items() if key not in _CODECS}
        fill = (
            np.nan
            if np.dtype(object if layout["dtype"] is str else layout["dtype"]).kind == "f"
            else None
        )
        attempts += [_for_format(layout), plain, {**plain, "fill_value": fill}]
    problem: Exception | None = None
    for attempt in attempts:
        try:
            cs.create_array(None, **attempt)
        except (InvalidArgumentError, cs.errors.CodecError) as error:
            problem = problem or error
        else:
            return attempt
    assert problem is not None
    raise ValueError(f"cannot lay out variable {name!r} by its encoding: {problem}") from problem


def _for_format(layout: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the checksum out that version 2 has no room for beside a compressor."""
    if layout["zarr_format"] == 3:
        return dict(layout)
    compressors = layout.get("compressors") or ()
    kept = [codec for codec in compressors if not _is_checksum(codec)]
    return {**layout, "compressors": kept}


def _is_checksum(codec: Any) -> bool:
    return isinstance(codec, Mapping) and codec.get("name") == "crc32c"


# --- chunks and shards -------------------------------------------------------------------------


def _chunks_and_shards(
    variable: xr.Variable, encoding: Mapping[str, Any], name: Hashable, *, stale: bool, align: str
) -> dict[str, Any]:
    chunks = _sizes(encoding.get("chunks"), variable.ndim, "chunks", name, lenient=True)
    shards = _sizes(encoding.get("shards"), variable.ndim, "shards", name, lenient=stale)
    blocks = variable.chunks
    if stale and blocks is not None and not _fits(blocks, shards or chunks):
        chunks = shards = None
    if shards is not None and chunks is None:
        # Two shards in a row: what divides both edges divides the shard.
        doubled = tuple((size, size) for size in shards)
        item_bytes = variable.dtype.itemsize
        chunks = chunks_for_blocks(doubled, item_bytes=item_bytes, max_bytes=_INNER_CHUNK_BYTES)
    if chunks is None:
        chunks = "auto" if blocks is None else _chunks_of_blocks(variable, name, align=align)
    found: dict[str, Any] = {"chunks": chunks}
    if shards is not None:
        found["shards"] = shards
    return found


def _sizes(given: Any, ndim: int, entry: str, name: Hashable, *, lenient: bool) -> Any:
    """Read an entry that gives a size for each axis; None where there is none that could hold."""
    if given is None or given == () or given == []:
        return None
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        given = (given,) * ndim
    sizes = tuple(given) if isinstance(given, tuple | list) else None
    if sizes is not None and len(sizes) != ndim and lenient:
        return None
    if sizes is None or any(
        isinstance(size, bool) or not isinstance(size, int | np.integer | tuple | list)
        for size in sizes
    ):
        raise TypeError(
            f"sizes in `encoding[{entry!r}]` must be an int or a tuple of ints, got {given!r} for "
            f"variable named {name!r}"
        )
    return sizes


def _fits(blocks: Blocks, unit: Any) -> bool:
    """Whether no two blocks share a unit; of a rectilinear grid that is not known."""
    if unit is None:
        return True
    if any(isinstance(size, tuple | list) for size in unit):
        return False
    return all(verdict.aligned for verdict in alignment(blocks, unit))


def _chunks_of_blocks(variable: xr.Variable, name: Hashable, *, align: str) -> tuple[int, ...]:
    assert variable.chunks is not None
    blocks: Blocks = variable.chunks
    if align == "auto":
        sizes = tuple(max(1, size) for size in largest_block(blocks))
        blocks = regular_blocks(variable.shape, sizes)
    try:
        return chunks_for_blocks(blocks, item_bytes=variable.dtype.itemsize)
    except AlignmentError as error:
        raise AlignmentError(
            f"Zarr requires uniform chunk sizes except for final chunk. Variable named {name!r} "
            f"has incompatible dask chunks: {variable.chunks!r}. Rechunk it with .chunk(), set "
            f"encoding['chunks'] to sizes that divide every chunk, or pass align=\"auto\""
        ) from error


def check_blocks(
    variable: xr.Variable,
    name: Hashable,
    write_unit: tuple[int, ...],
    *,
    unit_name: str = "chunk",
    shape: tuple[int, ...] | None = None,
    starts: tuple[int, ...] | None = None,
) -> None:
    """Refuse dask blocks of which two would share a write unit.

    Parameters
    ----------
    variable : xarray.Variable
        What is written.
    write_unit : tuple of int
        Shape of the target's write units.
    unit_name, shape, starts
        As in `dask_integration.align.require_aligned`.

    Raises
    ------
    AlignmentError
        In xarray's words; has the fix as the attribute ``rechunk``.
    """
    if variable.chunks is None:
        return
    try:
        require_aligned(
            variable.chunks, write_unit, target=f"variable {name!r}", unit_name=unit_name,
            shape=shape, starts=starts,
        )  # fmt: skip
    except AlignmentError as error:
        facts = {fact: value for fact, value in vars(error).items() if fact != "message"}
        fix = {variable.dims[axis]: sizes for axis, sizes in facts["rechunk"].items()}
        raise AlignmentError(
            f"Specified Zarr chunks {write_unit} for variable named {name!r} would overlap "
            f"multiple Dask chunks: {error} In xarray's terms, one of: rechunk with "
            f".chunk({fix!r}); change or delete encoding['{unit_name}s']; pass align=\"auto\", "
            f"which merges the blocks",
            **facts,
        ) from error

"""Between stored arrays and xarray's variables: dimensions, attributes and encoding.

Floor 1: no dask. How a dataset lies in a Zarr store is xarray's convention, and where xarray has a
function for a part of it that function is used, so that an engine follows the installed xarray:

    dimensions    version 3: ``dimension_names``; version 2: the attribute ``_ARRAY_DIMENSIONS``,
                  or what netCDF's C library keeps in ``_NCZARR_ARRAY``
    fill value    version 2: it masks, as netCDF's ``_FillValue`` does; version 3: it does not, and
                  ``_FillValue`` is an attribute of its own, in base64 for floats
    encoding      chunks, shards and codecs, these as objects of the array's own document, or of
                  numcodecs in version 2, which are what xarray's own backend can write again

Source: xarray, "Zarr Encoding Specification"; NUG, "NCZarr".
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numcodecs.errors import UnknownCodecError
from numcodecs.registry import get_codec
from xarray.backends.zarr import (
    FillValueCoder,
    encode_zarr_attr_value,
    encode_zarr_variable,
)
from xarray.coding.strings import check_vlen_dtype

import chunkstore as cs

__all__ = [
    "DIMENSION_KEY",
    "decode_attributes",
    "dimensions_of",
    "encode_attributes",
    "encode_variable",
    "encoding_of",
    "fill_and_attributes",
    "stored_dtype",
    "write_sizes",
]

DIMENSION_KEY = "_ARRAY_DIMENSIONS"
"""Attribute of a version 2 array that names its dimensions."""

_NCZARR_KEY = "_NCZARR_ARRAY"

_KEEPS_TEXT = "zarr_format" in inspect.signature(encode_zarr_variable).parameters
"""Whether the installed xarray keeps numpy's strings as they are, in version 3: since 2026.9."""


# -- reading ------------------------------------------------------------------------------------


def dimensions_of(array: cs.Array) -> tuple[str, ...]:
    """Give the names of an array's dimensions.

    Raises
    ------
    KeyError
        If they are not stored, or not as many as the array has axes.
    """
    metadata = array.metadata
    if metadata.zarr_format == 3:
        names: Any = metadata.dimension_names
        where = "the metadata field `dimension_names`"
    else:
        names = metadata.attributes.get(DIMENSION_KEY)
        where = f"the attribute `{DIMENSION_KEY}`"
        nczarr = metadata.extra.get(_NCZARR_KEY)
        if names is None and isinstance(nczarr, Mapping):
            # Full names of dimensions, with the groups that they are defined in.
            names = [str(name).rpartition("/")[2] for name in nczarr.get("dimrefs", ())]
    if names is None and array.ndim == 0:
        return ()
    if names is None or len(names) != array.ndim or None in names:
        raise KeyError(
            f"{array!r} names {names!r} as its dimensions: {where} is required for xarray to "
            f"determine variable dimensions, one name for each of {array.ndim} axes. Read it with "
            f"chunkstore.open_array, or leave it out with drop_variables"
        )
    return tuple(names)


def decode_attributes(array: cs.Array, *, mask_fill: bool) -> dict[str, Any]:
    """Give an array's attributes as xarray decodes them.

    Parameters
    ----------
    array : chunkstore.Array
        The stored array.
    mask_fill : bool
        Whether the array's fill value stands for missing values.
    """
    attributes = dict(array.metadata.attributes)
    if array.metadata.zarr_format == 2:
        for name in [DIMENSION_KEY, *(n for n in attributes if n.lower().startswith("_nc"))]:
            attributes.pop(name, None)
    if mask_fill:
        if array.fill_value is not None:
            attributes["_FillValue"] = array.fill_value
    elif "_FillValue" in attributes:
        attributes["_FillValue"] = _decode_fill(attributes["_FillValue"], array)
    return attributes


def _decode_fill(value: Any, array: cs.Array) -> Any:
    if array.dtype.kind in "fc" and not isinstance(value, str | list):
        # Other writers than xarray leave a plain number.
        return value
    if array.dtype.kind in "TOU":
        return str(value)
    try:
        return FillValueCoder.decode(value, "bytes" if array.dtype.kind == "S" else array.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the attribute _FillValue of {array!r} is {value!r}, which stands for no {array.dtype}"
        ) from error


def encoding_of(array: cs.Array, dimensions: tuple[str, ...], *, mask_fill: bool) -> dict[str, Any]:
    """Give a variable's encoding: what writes it again as it is stored.

    ``preferred_chunks`` are the units of writing, shards where there are any: smaller blocks would
    read a shard's index many times, and could not be written back.
    """
    sizes = write_sizes(array)
    encoding: dict[str, Any] = {
        "chunks": _compact(array.chunks, array.read_chunk_sizes),
        "preferred_chunks": dict(zip(dimensions, sizes, strict=True)),
        "compressors": tuple(map(_codec_object, array.compressors)),
        "filters": tuple(map(_codec_object, array.filters)),
        "shards": None if array.shards is None else sizes,
    }
    if array.dtype.kind == "T" and _KEEPS_TEXT:
        encoding["dtype"] = array.dtype
    if array.metadata.zarr_format == 3:
        encoding["serializer"] = array.serializer
        if not mask_fill:
            encoding["fill_value"] = array.fill_value
    return encoding


def _codec_object(document: Any) -> Any:
    """Give the object that zarr-python wants for a codec of version 2; others as they are."""
    if isinstance(document, Mapping) and "id" in document:
        with contextlib.suppress(UnknownCodecError):
            return get_codec(dict(document))
    return document


def write_sizes(array: cs.Array) -> tuple[int | tuple[int, ...], ...]:
    """Give the size of write units along each axis; all sizes along one where they differ."""
    return _compact(array.shards or array.chunks, array.write_chunk_sizes)


def _compact(
    chunks: tuple[Any, ...], sizes: tuple[tuple[int, ...], ...]
) -> tuple[int | tuple[int, ...], ...]:
    """Say a rectilinear grid by one number along axes where it is regular."""
    if all(isinstance(size, int) for size in chunks):
        return chunks
    return tuple(
        axis[0] if axis and len({*axis[:-1]}) <= 1 and axis[-1] <= axis[0] else axis
        for axis in sizes
    )


# -- writing ------------------------------------------------------------------------------------


def encode_variable(variable: xr.Variable, name: Hashable, zarr_format: int) -> xr.Variable:
    """Encode a variable by CF conventions, as the installed xarray does for its Zarr backend.

    Raises
    ------
    ValueError, TypeError
        xarray's, with a note that names the variable.
    """
    how: Any = {"zarr_format": zarr_format} if _KEEPS_TEXT else {}
    try:
        encoded: xr.Variable = encode_zarr_variable(variable, name=name, **how)
    except Exception as error:
        error.add_note(f"Raised while encoding variable {name!r} with value {variable!r}")
        raise
    return encoded


def stored_dtype(variable: xr.Variable) -> Any:
    """Give the dtype to create an array with for an encoded variable."""
    return str if check_vlen_dtype(variable.dtype) is str else variable.dtype


def encode_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Turn attributes into what JSON can hold: numpy's scalars and arrays become Python's."""
    return {name: encode_zarr_attr_value(value) for name, value in attributes.items()}


def fill_and_attributes(variable: xr.Variable, *, mask_fill: bool) -> tuple[Any, dict[str, Any]]:
    """Give the fill value and the attributes of the array for an encoded variable.

    Parameters
    ----------
    variable : xarray.Variable
        As `encode_variable` gives it.
    mask_fill : bool
        Whether the array's fill value is to stand for missing values, as in version 2.

    Returns
    -------
    fill_value : scalar or None
        None leaves the choice to the data type.
    attributes : dict
        JSON values.
    """
    attributes = dict(variable.attrs)
    missing = attributes.pop("_FillValue", None)
    if mask_fill:
        fill = missing
    else:
        fill = variable.encoding.get("fill_value")
        if fill is None and variable.dtype.kind == "f":
            # What was never written is no number; zero would look like data.
            fill = np.nan
        if missing is not None:
            attributes["_FillValue"] = FillValueCoder.encode(missing, variable.dtype)
    if variable.dtype.kind == "f" and _is_nan(attributes.get("missing_value")):
        # Says nothing that the values do not say, and JSON has no word for it.
        del attributes["missing_value"]
    return fill, encode_attributes(attributes)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))

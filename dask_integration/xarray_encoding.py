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
from collections.abc import Callable, Hashable, Mapping
from functools import partial
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
    "checked_range",
    "decode_attributes",
    "dimensions_of",
    "encode_attributes",
    "encode_variable",
    "encoding_of",
    "fill_and_attributes",
    "is_stale",
    "stored_dtype",
    "trusted",
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
    filters, serializer, compressors = array.codecs
    encoding: dict[str, Any] = {
        "chunks": _compact(array.chunks, lambda: array.read_chunk_sizes),
        "preferred_chunks": dict(zip(dimensions, sizes, strict=True)),
        "compressors": tuple(map(_codec_object, compressors)),
        "filters": tuple(map(_codec_object, filters)),
        "shards": None if array.shards is None else sizes,
    }
    if array.dtype.kind == "T" and _KEEPS_TEXT:
        encoding["dtype"] = array.dtype
    if array.metadata.zarr_format == 3:
        encoding["serializer"] = serializer
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
    return _compact(array.shards or array.chunks, lambda: array.write_chunk_sizes)


def _compact(
    chunks: tuple[Any, ...], sizes: Callable[[], tuple[tuple[int, ...], ...]]
) -> tuple[int | tuple[int, ...], ...]:
    """Say a rectilinear grid by one number along axes where it is regular."""
    if all(isinstance(size, int) for size in chunks):
        return chunks
    return tuple(
        axis[0] if axis and len({*axis[:-1]}) <= 1 and axis[-1] <= axis[0] else axis
        for axis in sizes()
    )


# -- writing ------------------------------------------------------------------------------------


_MISSING = ("_FillValue", "missing_value")
_PACKING = (*_MISSING, "add_offset", "scale_factor")
"""Entries of an encoding that say how other numbers are turned into those of its dtype."""


def is_stale(encoding: Mapping[str, Any]) -> bool:
    """Whether an encoding was left by a reader, so that the variable may have changed since."""
    return "preferred_chunks" in encoding


def trusted(variable: xr.Variable) -> xr.Variable:
    """Give a variable without the dtype that its source had, if that could not hold its values.

    Fractions would be rounded and large integers would wrap around, in silence.
    """
    encoding = variable.encoding
    if not is_stale(encoding) or "dtype" not in encoding or not _is_plain(variable.dtype):
        return variable
    if variable.dtype.kind in "fiu" and any(name in encoding for name in _PACKING):
        return variable
    stored = np.dtype(encoding["dtype"])
    if variable.dtype.kind == stored.kind in "fcT" or np.can_cast(variable.dtype, stored):
        return variable
    left = ("dtype", *_PACKING)
    found = variable.copy(deep=False)
    found.encoding = {name: entry for name, entry in encoding.items() if name not in left}
    return found


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether CF conventions store values of a dtype as they are, unlike times."""
    return dtype.kind in "biufcSUTO"


def checked_range(variable: xr.Variable, name: Hashable) -> xr.Variable:
    """Give a variable that refuses, when its values are there, what its packed dtype cannot hold.

    Values that lie outside would wrap around when they are cast, and NaN become any number. Of a
    dask array each block is checked in the task that computes it.

    Raises
    ------
    ValueError
        At once for values in memory; from the task of a block otherwise.
    """
    dtype = variable.encoding.get("dtype")
    packed = None if dtype is None or dtype is str else np.dtype(dtype)
    is_unsigned = "_Unsigned" in variable.encoding or "_Unsigned" in variable.attrs
    if packed is None or packed.kind not in "iu" or is_unsigned or variable.size == 0:
        return variable
    if variable.dtype.kind not in "fiu" or np.can_cast(variable.dtype, packed):
        return variable
    scale = float(np.asarray(variable.encoding.get("scale_factor", 1)).item())
    offset = float(np.asarray(variable.encoding.get("add_offset", 0)).item())
    limits = np.iinfo(packed)
    ends = sorted(end * scale + offset for end in (limits.min, limits.max))
    # Values are rounded to the nearest number, and the outermost may be half a step off.
    step = abs(scale) / 2
    check = partial(
        _refuse_outside,
        low=ends[0] - step,
        high=ends[1] + step,
        has_missing=any(variable.encoding.get(m) is not None for m in _MISSING),
        what=f"{name!r} as {packed}",
    )
    if variable.chunks is None:
        check(variable.values)
        return variable
    data: Any = variable.data
    found = variable.copy(deep=False, data=data.map_blocks(check, dtype=data.dtype))
    return found


def _refuse_outside(
    values: np.ndarray[Any, Any], *, low: float, high: float, has_missing: bool, what: str
) -> np.ndarray[Any, Any]:
    if values.size:
        if not has_missing and values.dtype.kind == "f" and np.isnan(values).any():
            raise ValueError(
                f"cannot store variable {what}: it has NaN, and no _FillValue to stand for it. "
                f"Give one in `encoding`, or drop the variable's encoding with .drop_encoding()"
            )
        least, most = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        if least < low or most > high:
            raise ValueError(
                f"cannot store variable {what}: with its scale_factor and add_offset that holds "
                f"{low:.6g} to {high:.6g}, and the values go from {least:.6g} to {most:.6g}. Give "
                f"other ones in `encoding`, or drop the variable's encoding with .drop_encoding()"
            )
    return values


def encode_variable(variable: xr.Variable, name: Hashable, zarr_format: int) -> xr.Variable:
    """Encode a variable by CF conventions, as the installed xarray does for its Zarr backend.

    Values that its dtype cannot hold are refused; see `checked_range`.

    Raises
    ------
    ValueError, TypeError
        xarray's, with a note that names the variable.
    """
    how: Any = {"zarr_format": zarr_format} if _KEEPS_TEXT else {}
    try:
        checked = checked_range(variable, name)
        encoded: xr.Variable = encode_zarr_variable(checked, name=name, **how)
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
    fill_value : scalar, None or ...
        None leaves the choice to the data type, ``...`` leaves it open.
    attributes : dict
        JSON values.
    """
    attributes = dict(variable.attrs)
    missing = attributes.pop("_FillValue", None)
    if mask_fill:
        # Without one no value is missing, which only an open fill value says.
        fill = ... if missing is None else missing
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

"""From a name in a document, or a numpy dtype, to the data type.

Floor 1; the one module that sees all families.

Source: Zarr v3 core, "Data types"; zarr-extensions, "data-types"; Zarr v2, "Data type encoding".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from chunkstore.dtypes import numbers, objects, raw, small, structs, text, times
from chunkstore.dtypes.base import DataType
from chunkstore.errors import InvalidArgumentError
from chunkstore.types import Shape

__all__ = ["from_numpy", "from_v2", "from_v3"]

_RAW_BITS = re.compile(r"r([1-9]\d{0,9})")
_V2_TYPESTR = re.compile(r"([<>|])([biufcmMSUV])(\d{1,9})(?:\[(\d{0,10})([A-Za-zμ]+)\])?")
_V2_OBJECT = re.compile(r"\|?O[48]?")
_ARRAY_OF = "array:"
_MAX_ITEM_BYTES = 2**31 - 1


# -- types without a configuration -----------------------------------------------------------------


_FLOATS = {
    16: numbers.FloatFormat(np.dtype("float16"), 16, 0x7E00, 0x7C00),
    32: numbers.FloatFormat(np.dtype("float32"), 32, 0x7FC00000, 0x7F800000),
    64: numbers.FloatFormat(np.dtype("float64"), 64, 0x7FF8 << 48, 0x7FF0 << 48),
}


def _core_types() -> dict[str, DataType]:
    made: list[DataType] = [numbers.Boolean("bool", np.dtype("bool"))]
    for bits in (8, 16, 32, 64):
        names = (f"int{bits}", f"uint{bits}")
        made += [numbers.Integer(name, np.dtype(name), bits) for name in names]
    for bits, form in _FLOATS.items():
        made.append(numbers.Float(f"float{bits}", form.dtype, form))
    for name, bits in (
        ("complex64", 32), ("complex128", 64), ("complex_float32", 32), ("complex_float64", 64),
    ):  # fmt: skip
        made.append(numbers.Complex(name, np.dtype(f"complex{2 * bits}"), _FLOATS[bits]))
    made += [text.STRING, raw.BYTES, raw.VARIABLE_LENGTH_BYTES]
    return {data_type.name: data_type for data_type in made}


_CORE = _core_types()
_BY_DTYPE = {
    data_type.dtype: data_type
    for name, data_type in _CORE.items()
    if not name.startswith("complex_") and data_type.dtype.kind in "biufc"
}


@lru_cache(maxsize=256)
def _named(name: str) -> DataType | None:
    """Give the type of a name that needs no configuration; None if there is none."""
    if name in _CORE:
        return _CORE[name]
    bits = _RAW_BITS.fullmatch(name)
    if bits is not None and int(bits[1]) % 8 == 0 and int(bits[1]) // 8 <= _MAX_ITEM_BYTES:
        return raw.raw_bits(int(bits[1]) // 8)
    if name in small.INTEGERS:
        return numbers.Integer(name, small.dtype_of(name), small.INTEGERS[name])
    if name in small.FLOATS:
        form = _small_format(name)
        return numbers.Float(name, form.dtype, form)
    part = name.removeprefix("complex_")
    if part == name or (part not in small.FLOATS and name not in small.COMPLEX):
        return None
    form = _FLOATS[16] if part == "float16" else _small_format(part)
    if name in small.COMPLEX:
        return numbers.Complex(name, small.dtype_of(small.COMPLEX[name]), form)
    pair = np.dtype([("real", form.dtype), ("imag", form.dtype)])
    return numbers.ComplexPair(name, pair, form)


def _small_format(name: str) -> numbers.FloatFormat:
    return numbers.FloatFormat(small.dtype_of(name), *small.FLOATS[name])


# -- types with one --------------------------------------------------------------------------------


def _keys(name: str, configuration: Mapping[str, Any], wanted: tuple[str, ...]) -> list[Any]:
    for key in wanted:
        if key not in configuration:
            raise _bad(f"{name} needs {key!r} in its configuration", "configuration", key)
    for key in configuration:
        if key not in wanted:
            known = ", ".join(map(repr, wanted))
            raise _bad(f"{name} does not know {key!r}; it knows: {known}", "configuration", key)
    return [configuration[key] for key in wanted]


def _length(name: str, configuration: Mapping[str, Any], unit: int = 1) -> int:
    (length,) = _keys(name, configuration, ("length_bytes",))
    is_integer = isinstance(length, int) and not isinstance(length, bool)
    if not is_integer or not unit <= length <= _MAX_ITEM_BYTES or length % unit:
        multiple = f", a multiple of {unit}" if unit > 1 else ""
        what = f"an integer from {unit} to {_MAX_ITEM_BYTES}{multiple}"
        raise _bad(
            f"{name} takes for 'length_bytes' {what}, got {length!r}",
            "configuration",
            "length_bytes",
        )
    return int(length)


def _time(name: str, configuration: Mapping[str, Any]) -> DataType:
    unit, scale = _keys(name, configuration, ("unit", "scale_factor"))
    if unit not in times.UNITS:
        options = ", ".join(times.UNITS)
        raise _bad(f"{name} has no unit {unit!r}; it has {options}", "configuration", "unit")
    if isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale <= times.MAX_SCALE:
        raise _bad(
            f"{name} takes for 'scale_factor' an integer from 1 to {times.MAX_SCALE}, got "
            f"{scale!r}",
            "configuration",
            "scale_factor",
        )
    return times.time_type("M" if name == "numpy.datetime64" else "m", unit, scale)


def _struct(name: str, configuration: Mapping[str, Any]) -> DataType:
    (entries,) = _keys(name, configuration, ("fields",))
    if not isinstance(entries, list):
        raise _bad(f"{name} takes for 'fields' a list, got {entries!r}", "configuration", "fields")
    fields = [_struct_field(name, i, entry) for i, entry in enumerate(entries)]
    try:
        return structs.struct(fields, name=name)
    except InvalidArgumentError as error:
        raise _bad(str(error), "configuration", "fields") from error


def _struct_field(name: str, i: int, entry: Any) -> structs.Field:
    where = f"configuration.fields[{i}]"
    if name == "structured" and isinstance(entry, list) and len(entry) == 2:
        field_name, data_type, inside = entry[0], entry[1], f"{where}[1]"
    elif isinstance(entry, Mapping) and entry.keys() == {"name", "data_type"}:
        field_name, data_type, inside = entry["name"], entry["data_type"], f"{where}.data_type"
    else:
        raise _bad(f"{where}: must be an object with name and data_type, got {entry!r}", where)
    if not isinstance(field_name, str):
        raise _bad(f"{where}: the name must be a string, got {field_name!r}", where)
    try:
        return structs.Field(field_name, _of_v3(data_type))
    except InvalidArgumentError as error:
        deeper = (inside, error.key) if "key" in vars(error) else (inside,)
        raise _bad(f"{inside}: {error}", *map(str, deeper)) from error


_CONFIGURED: dict[str, Callable[[str, Mapping[str, Any]], DataType]] = {
    "fixed_length_utf32": lambda name, given: text.fixed_text(_length(name, given, 4) // 4),
    "null_terminated_bytes": lambda name, given: raw.null_terminated(_length(name, given)),
    "raw_bytes": lambda name, given: raw.raw_bytes(_length(name, given)),
    "numpy.datetime64": _time,
    "numpy.timedelta64": _time,
    "struct": _struct,
    "structured": _struct,
}


def _bad(message: str, *path: str) -> InvalidArgumentError:
    """Make an error that knows the JSON path, below the data type, of what is wrong."""
    return (
        InvalidArgumentError(message, key=".".join(path)) if path else InvalidArgumentError(message)
    )


# -- the three ways in -----------------------------------------------------------------------------


def from_v3(value: Any) -> DataType:
    """Read the ``data_type`` field of a version 3 document.

    Raises
    ------
    InvalidArgumentError
        If it is not known or not valid; the fact ``key`` is the JSON path below the field.
    MissingExtraError
        If numpy needs ml_dtypes for it, which is not installed.

    Examples
    --------
    >>> from_v3({"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}}).dtype
    dtype('<U3')
    """
    try:
        return _of_v3(value)
    except RecursionError:
        raise InvalidArgumentError("is nested too deeply to be read") from None


def _of_v3(value: Any) -> DataType:
    name, configuration = value, {}
    if isinstance(value, Mapping):
        name, configuration = value.get("name"), value.get("configuration", {})
        for key in value.keys() - {"name", "configuration", "must_understand"}:
            raise _bad(f"{key!r} is not a field of a data type", str(key))
        if value.get("must_understand", True) is not True:
            raise _bad("must_understand must not be false here", "must_understand")
        if not isinstance(configuration, Mapping):
            raise _bad(f"must be an object, got {configuration!r}", "configuration")
    if not isinstance(name, str):
        raise InvalidArgumentError(f"must be a name, or an object with one, got {value!r}")
    if name in _CONFIGURED:
        return _CONFIGURED[name](name, configuration)
    found = _named(name)
    if found is None:
        raise InvalidArgumentError(
            f"data type {name!r} is not known; known are {', '.join((*_CORE, *_CONFIGURED))}, r8, "
            f"r16, ... and with ml_dtypes {', '.join((*small.INTEGERS, *small.FLOATS))}"
        )
    if configuration:
        raise _bad(f"{name} takes no configuration, got {configuration!r}", "configuration")
    return found


def from_numpy(dtype: Any) -> DataType:
    """Give the data type that stores a numpy dtype, or anything that names one.

    Parameters
    ----------
    dtype
        What `numpy.dtype` accepts; ``str`` and ``bytes`` for elements of any length; the name of
        a data type of version 3, or its object with a configuration; ``"array:<dtype>"`` for
        arrays of any length; a `DataType`.

    Returns
    -------
    DataType
        Byte order is dropped, since in memory it is always native, and so is padding in records.

    Raises
    ------
    InvalidArgumentError
        If no data type of Zarr can hold the dtype.

    Examples
    --------
    >>> from_numpy(">i4").name, from_numpy(str).name, from_numpy("V2").name
    ('int32', 'string', 'r16')
    """
    if isinstance(dtype, DataType):
        return structs.renewed(dtype)
    if dtype is str or dtype is bytes:
        return text.STRING if dtype is str else raw.BYTES
    if isinstance(dtype, Mapping) and isinstance(dtype.get("name"), str):
        return from_v3(dtype)
    if isinstance(dtype, str):
        if dtype.startswith(_ARRAY_OF):
            return objects.ragged(from_numpy(dtype.removeprefix(_ARRAY_OF)))
        named = text.STRING if dtype == "str" else _named(dtype)
        if named is not None:
            return named
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"dtype {dtype!r} is not one that numpy knows") from error
    return _of_dtype(found)


def from_v2(
    value: Any, *, object_codec: str | None = None, configuration: Mapping[str, Any] | None = None
) -> tuple[DataType, str | None]:
    """Read the ``dtype`` field of a version 2 document.

    Parameters
    ----------
    value
        A type string, or the list of a record's fields.
    object_codec : str, optional
        Id of the filter that turns elements into bytes, which says what ``|O`` means.
    configuration : mapping, optional
        Configuration of that filter.

    Returns
    -------
    data_type : DataType
        In native byte order.
    order : {"<", ">"} or None
        Byte order on disk; None where there is none to choose, whatever the document says.
    """
    if isinstance(value, list):
        try:
            return _struct_of_v2(value)
        except RecursionError:
            raise InvalidArgumentError("is nested too deeply to be read") from None
    if isinstance(value, str) and _V2_OBJECT.fullmatch(value):
        return _object_of_v2(object_codec, configuration or {}), None
    if isinstance(value, str) and numbers.V2_LITERALS.fullmatch(value):
        literal = _named(value)
        if literal is not None:
            return literal, "<" if literal.needs_byte_order else None
    found, order = _of_typestr(value)
    if not found.needs_byte_order:
        return found, None
    if order == "|":
        raise InvalidArgumentError(f"type string {value!r} does not say its byte order")
    return found, order


# -- what they share -------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _of_dtype(dtype: np.dtype[Any]) -> DataType:
    if dtype.kind == "T":
        if hasattr(dtype, "na_object"):
            raise InvalidArgumentError(
                f"dtype {dtype!r} has a mark for missing text, and Zarr has none; use 'string'"
            )
        return text.STRING
    native = dtype.newbyteorder("=")
    found = _BY_DTYPE.get(native)
    if found is None and native.type.__module__ == "ml_dtypes":
        by_ml_name = {ml_name: name for name, ml_name in small.COMPLEX.items()}
        found = _named(by_ml_name.get(native.name, native.name))
    if found is not None:
        return found
    if native.names is not None:
        return structs.struct([_field_of_dtype(native, name) for name in native.names])
    kind, n_bytes = native.kind, native.itemsize
    if kind in "SUV" and n_bytes == 0:
        hint = "string" if kind == "U" else "bytes"
        raise InvalidArgumentError(f"dtype {native.str!r} has no length; give it one, or {hint!r}")
    if kind == "V" and native.subdtype is None:
        return raw.raw_bits(n_bytes)
    if kind == "S":
        return raw.null_terminated(n_bytes)
    if kind == "U":
        return text.fixed_text(n_bytes // 4)
    if kind in "mM":
        return times.of_dtype(native)
    if kind == "O":
        return objects.OBJECT
    raise InvalidArgumentError(
        f"dtype {native!r} has no data type in Zarr; expected one of {', '.join(_CORE)}, a dtype "
        f"of bytes, text or times, or records of these"
    )


def _field_of_dtype(dtype: np.dtype[Any], name: str) -> structs.Field:
    assert dtype.fields is not None
    inner, _, *title = dtype.fields[name]
    if title:
        raise InvalidArgumentError(f"field {name!r} has a title, {title[0]!r}: Zarr keeps none")
    base, shape = inner.subdtype or (inner, ())
    return structs.Field(name, _of_dtype(base), shape)


def _of_typestr(value: Any) -> tuple[DataType, str]:
    match = _V2_TYPESTR.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidArgumentError(
            f"dtype {value!r} is not known; expected a type string such as '<f8', or a list of "
            f"fields"
        )
    order, kind, size, scale, unit = match.groups()
    if kind in "mM":
        unit = unit or "generic"
        if size != "8" or unit not in times.UNITS or not 1 <= int(scale or 1) <= times.MAX_SCALE:
            raise InvalidArgumentError(f"type string {value!r} is not known")
        return times.time_type(kind, unit, int(scale or 1)), order
    if unit is None and kind in "SUV":
        return _of_dtype(np.dtype(f"{kind}{size}")), order
    found = None
    if unit is None and int(size) <= 16:
        found = next((t for d, t in _BY_DTYPE.items() if d.str[1:] == f"{kind}{size}"), None)
    if found is None:
        raise InvalidArgumentError(f"type string {value!r} is not known")
    return found, order


def _object_of_v2(object_codec: str | None, configuration: Mapping[str, Any]) -> DataType:
    if object_codec in ("vlen-utf8", "categorize"):
        return text.STRING
    if object_codec == "vlen-bytes":
        return raw.BYTES
    if object_codec == "vlen-array":
        item, _ = from_v2(configuration.get("dtype"))
        return objects.ragged(item)
    if object_codec is None:
        raise InvalidArgumentError(
            "type string '|O' needs a first filter that turns objects into bytes, such as vlen-utf8"
        )
    return objects.OBJECT


def _struct_of_v2(entries: list[Any]) -> tuple[DataType, str | None]:
    fields, stored = _fields_of_v2(entries)
    made = structs.struct(fields)
    # Where one order holds for all, it is said by the codec, as for any other type.
    for order in "<>":
        if stored == made.stored_dtype(order):
            return made, order if made.needs_byte_order else None
    return structs.struct_as_stored(fields, stored), None


def _fields_of_v2(entries: list[Any]) -> tuple[list[structs.Field], np.dtype[Any]]:
    """Read fields, and the layout they are stored in; entries without a name are padding."""
    fields: list[structs.Field] = []
    layout: dict[str, list[Any]] = {"names": [], "formats": [], "offsets": []}
    offset = 0
    for entry in entries:
        if not isinstance(entry, list) or len(entry) not in (2, 3):
            raise InvalidArgumentError(f"field {entry!r} is no list of name, dtype and maybe shape")
        if not isinstance(entry[0], str):
            raise InvalidArgumentError(f"the name of a field must be a string, got {entry[0]!r}")
        field, inner = _field_of_v2(entry[0], entry[1], _field_shape(entry))
        is_padding = not field.name and inner.kind == "V" and inner.names is None
        if not is_padding:
            fields.append(field)
            for key, value in zip(layout, (field.name, inner, offset), strict=True):
                layout[key].append(value)
        offset += inner.itemsize
    structs.struct(fields)
    try:
        return fields, np.dtype({**layout, "itemsize": offset})  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"numpy has no records of these fields: {error}") from error


def _field_of_v2(name: str, value: Any, shape: Shape) -> tuple[structs.Field, np.dtype[Any]]:
    if isinstance(value, list):
        inner_fields, inner = _fields_of_v2(value)
        data_type: DataType = structs.struct(inner_fields)
    else:
        data_type, order = from_v2(value, object_codec="")
        if data_type.dtype.type.__module__ == "ml_dtypes":
            raise InvalidArgumentError(f"field {name!r} cannot be of type {value!r}")
        inner = data_type.dtype.newbyteorder(order or "=")  # type: ignore[arg-type]
    if shape:
        try:
            inner = np.dtype((inner, shape))
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(f"numpy has no arrays of shape {shape}: {error}") from error
    return structs.Field(name, data_type, shape), inner


def _field_shape(entry: list[Any]) -> Shape:
    shape = entry[2] if len(entry) == 3 else []
    extents = [shape] if isinstance(shape, int) and not isinstance(shape, bool) else shape
    if not isinstance(extents, list) or not all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in extents
    ):
        raise InvalidArgumentError(f"shape {shape!r} of field {entry[0]!r} must be integers")
    return tuple(extents)

"""Records of named fields, which may be records again.

Floor 1. In memory fields are packed, one after the other, in native byte order. So they are stored
too, but for version 2, where each field may have an order of its own and padding may lie between
fields: there the stored layout is kept beside the one in memory.

Source: zarr-extensions, "struct" and "structured"; Zarr v2, "Data type encoding".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chunkstore.dtypes.base import DataType, as_values, from_base64, to_base64
from chunkstore.errors import InvalidArgumentError
from chunkstore.types import NDArray, Shape

__all__ = ["Field", "renewed", "struct", "struct_as_stored"]


class Field(NamedTuple):
    """One field of a record; with a shape, each record holds an array of them."""

    name: str
    data_type: DataType
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Struct(DataType):
    """``struct``, and the legacy ``structured``.

    Parameters
    ----------
    fields : tuple of Field
        In the order they are stored in.
    """

    fields: tuple[Field, ...]

    @property
    def is_legacy(self) -> bool:
        """Whether documents call it by its name from before it was registered."""
        return self.name == "structured"

    @property
    def needs_byte_order(self) -> bool:
        return any(field.data_type.needs_byte_order for field in self.fields)

    @property
    def may_omit_byte_order(self) -> bool:
        return self.is_legacy or not self.needs_byte_order

    @property
    def has_spare_bits(self) -> bool:
        return any(field.data_type.has_spare_bits for field in self.fields)

    # -- in documents ---------------------------------------------------------------------------

    def to_v3(self) -> Any:
        self._refuse_shapes()
        fields: list[Any] = []
        for name, data_type, _ in self.fields:
            inner = data_type.to_v3()
            fields.append([name, inner] if self.is_legacy else {"name": name, "data_type": inner})
        return {"name": self.name, "configuration": {"fields": fields}}

    def to_v2(self, order: str = "<") -> Any:
        described = []
        for name, data_type, shape in self.fields:
            typestr = data_type.to_v2(order)
            if isinstance(typestr, str) and typestr[0] not in "<>|":
                # TensorStore's words for an array's type, which no numpy knows in a record.
                raise InvalidArgumentError(
                    f"Zarr version 2 has no type for field {name!r} of {data_type.name}; use "
                    f"zarr_format=3"
                )
            described.append([name, typestr, *([list(shape)] if shape else [])])
        return described

    # -- fill values ----------------------------------------------------------------------------

    def default_fill(self) -> Any:
        return self._record(
            np.full(field.shape, field.data_type.default_fill(), field.data_type.dtype)
            for field in self.fields
        )

    def fill_from_json(self, value: Any, *, strict: bool = True) -> Any:
        if self.is_legacy and isinstance(value, str):
            return self._from_packed(value, self.dtype.newbyteorder("<"))
        if not isinstance(value, Mapping):
            raise self.refusal(value, "an object with a value for each field")
        names = [field.name for field in self.fields]
        for name in names:
            if name not in value:
                raise self.refusal(value, f"a value for the field {name!r}")
        for name in value:
            if name not in names:
                raise self.refusal(value, f"no value for {name!r}, which is none of its fields")
        parts = []
        for name, data_type, _ in self.fields:
            try:
                parts.append(data_type.fill_from_json(value[name], strict=strict))
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"field {name!r}: {error}") from error
        return self._record(parts)

    def fill_to_json(self, value: Any) -> Any:
        if self.is_legacy:
            # Its first readers know no other spelling.
            return self._to_packed(value, self.dtype.newbyteorder("<"))
        self._refuse_shapes()
        return {name: data_type.fill_to_json(value[name]) for name, data_type, _ in self.fields}

    def fill_from_v2(self, value: Any, order: str) -> Any:
        if not isinstance(value, str) and value == 0:
            return np.zeros((), self.dtype)[()]
        if isinstance(value, str):
            return self._from_packed(value, self.stored_dtype(order))
        return self.fill_from_json(value, strict=False)

    def fill_to_v2(self, value: Any, order: str) -> Any:
        return self._to_packed(value, self.stored_dtype(order))

    def stored_dtype(self, order: str) -> np.dtype[Any]:
        """Give the dtype whose memory is the stored bytes, in a byte order."""
        return self.dtype.newbyteorder(order)  # type: ignore[arg-type]

    def scalar(self, value: Any) -> Any:
        if isinstance(value, int) and value == 0:
            return np.zeros((), self.dtype)[()]
        if isinstance(value, Mapping):
            parts = []
            for name, data_type, shape in self.fields:
                if name not in value or len(value) != len(self.fields):
                    raise self.refusal(value, "a value for each field and no other")
                part = data_type.cast(value[name])
                parts.append(np.broadcast_to(part, shape))
            return self._record(parts)
        return DataType.scalar(self, value)

    def _refuse_shapes(self) -> None:
        for name, _, shape in self.fields:
            if shape:
                raise InvalidArgumentError(
                    f"Zarr version 3 has no type for field {name!r}, an array of shape {shape}; "
                    f"make it several fields, or use zarr_format=2"
                )

    def _record(self, parts: Iterable[Any]) -> Any:
        made = np.zeros((), self.dtype)
        for field, part in zip(self.fields, parts, strict=True):
            made[field.name] = part
        return made[()]

    def _from_packed(self, value: str, stored: np.dtype[Any]) -> Any:
        raw = from_base64(value)
        if raw is None or len(raw) != stored.itemsize:
            raise self.refusal(value, f"base64 of {stored.itemsize} bytes")
        return np.frombuffer(raw, stored).astype(self.dtype)[0]

    def _to_packed(self, value: Any, stored: np.dtype[Any]) -> str:
        packed = np.zeros(1, stored)
        packed[0] = np.asarray(value, self.dtype)
        return to_base64(packed.tobytes())

    # -- values to be written -------------------------------------------------------------------

    def cast(self, value: Any) -> NDArray:
        if isinstance(value, (np.ndarray, np.void)):
            values = np.asarray(value)
        else:
            # Tuples are read as they are first, so that each field can refuse what it would cut.
            values = as_values(value, _loose(self))
        if values.dtype == self.dtype:
            return values
        names = tuple(field.name for field in self.fields)
        if values.dtype.names != names:
            raise self.lossy(
                values, f"give records with the fields {names}, in this order, or tuples"
            )
        made = np.empty(values.shape, self.dtype)
        for name, data_type, _ in self.fields:
            try:
                made[name] = data_type.cast(_settled(values[name]))
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"field {name!r}: {error}") from error
        return made

    # -- elements as bytes ----------------------------------------------------------------------

    def swapped(self, array: NDArray) -> NDArray:
        return self._each(array, lambda field, part: field.swapped(part))

    def cleaned(self, array: NDArray) -> NDArray:
        if not self.has_spare_bits:
            return array
        return self._each(array, lambda field, part: field.cleaned(part))

    def _each(self, array: NDArray, change: Any) -> NDArray:
        made = np.empty_like(array)
        for name, data_type, _ in self.fields:
            made[name] = change(data_type, array[name])
        return made


@dataclass(frozen=True, slots=True)
class StructAsStored(Struct):
    """A record of version 2 whose fields differ in byte order, or that has padding.

    Parameters
    ----------
    stored : numpy.dtype
        The layout of a stored record.
    """

    stored: np.dtype[Any]

    @property
    def needs_byte_order(self) -> bool:
        return False

    @property
    def stored_nbytes(self) -> int:
        return self.stored.itemsize

    def to_v2(self, order: str = "<") -> Any:
        return _as_json(self.stored.descr)

    def stored_dtype(self, order: str) -> np.dtype[Any]:
        return self.stored

    def is_stored_plain(self, order: str) -> bool:
        return False

    def to_stored(self, array: NDArray, order: str) -> NDArray:
        # Zeros, so that padding never holds what was in memory before.
        stored = np.zeros(array.shape, self.stored)
        stored[...] = array
        return stored

    def from_stored(self, raw: NDArray, shape: Shape, order: str) -> NDArray:
        return raw.view(self.stored).reshape(shape).astype(self.dtype)


def struct(fields: Sequence[Field], *, name: str = "struct") -> Struct:
    """Give the type of records of these fields.

    Raises
    ------
    InvalidArgumentError
        If there is no field, a name is empty or comes twice, or a field varies in length.
    """
    return Struct(name, _packed(fields), tuple(fields))


def struct_as_stored(fields: Sequence[Field], stored: np.dtype[Any]) -> Struct:
    """Give the type of records that are stored in a layout of their own."""
    return StructAsStored("struct", _packed(fields), tuple(fields), stored)


def renewed(data_type: DataType) -> DataType:
    """Give the type that a new array has for the elements of an old one.

    The legacy name and a stored layout of its own are what only old documents say.
    """
    if not isinstance(data_type, Struct):
        return data_type
    return struct(
        [field._replace(data_type=renewed(field.data_type)) for field in data_type.fields]
    )


def _packed(fields: Sequence[Field]) -> np.dtype[Any]:
    names = [field.name for field in fields]
    if not names:
        raise InvalidArgumentError("a struct needs at least one field")
    if "" in names:
        raise InvalidArgumentError("a field of a struct needs a name that is not empty")
    for name, data_type, _ in fields:
        if names.count(name) > 1:
            raise InvalidArgumentError(f"the field name {name!r} comes twice in a struct")
        if not data_type.is_fixed_size:
            raise InvalidArgumentError(
                f"field {name!r} of a struct must have a fixed size, not {data_type.name}"
            )
    try:
        return np.dtype([(name, data_type.dtype, shape) for name, data_type, shape in fields])
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"numpy has no records of these fields: {error}") from error


def _loose(data_type: Struct) -> np.dtype[Any]:
    """Give the dtype of records with the same fields that hold any objects."""
    fields: list[tuple[str, Any, Shape]] = []
    for name, inner, shape in data_type.fields:
        fields.append((name, _loose(inner) if isinstance(inner, Struct) else object, shape))
    return np.dtype(fields)


def _settled(values: NDArray) -> Any:
    """Give the objects of a loose field as nested lists, which each type reads in its own way."""
    return values.tolist() if values.dtype == object else values


def _as_json(descr: Any) -> Any:
    """Turn numpy's description of a dtype, tuples and lists, into JSON."""
    return [_as_json(item) if isinstance(item, (list, tuple)) else item for item in descr]

"""The filters of a version 2 array, each of which sees the bytes that the one before it made.

Floor 2. Array to bytes: the elements laid out, then one filter after another. Made from a version
2 document only, under a name that no version 3 document can have.

Version 3 knows at each place of a pipeline whether an array is there or bytes, and of which type.
The filters of version 2 do not: each takes memory, looks at it as the type of its own
configuration, in its byte order, and leaves memory behind. So a compressor may come before a
filter of numbers, a filter may change the byte order, and dates may be taken for integers::

    array "<M8[ns]" ─▶ bytes ─▶ delta "<i8" to "<i4" ─▶ shuffle ─▶ zlib ─▶ bytes

Source: Zarr v2, "Filters", and what numcodecs does with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from chunkstore.codecs.base import (
    ArrayArrayCodec,
    ArrayBytesCodec,
    BytesBytesCodec,
    ChunkSpec,
    Codec,
    TypedFilter,
    as_bytes,
    check_unbounded,
    decode_unbounded,
)
from chunkstore.codecs.probing import probe, stand_ins
from chunkstore.codecs.settings import located
from chunkstore.dtypes import from_numpy
from chunkstore.errors import CodecError, InvalidArgumentError
from chunkstore.metadata.model import UNREAD, CodecSpec
from chunkstore.types import Buffer, NDArray, Shape

__all__ = ["FilterChain", "chain_problems", "make_chain"]

Make = Callable[[CodecSpec, ChunkSpec], Codec | None]

_BITROUND = "numcodecs.bitround"


@dataclass(frozen=True, slots=True)
class FilterChain(ArrayBytesCodec):
    """Lay elements out, and filter the bytes.

    Parameters
    ----------
    serializer : ArrayBytesCodec
        Makes the bytes that the first filter sees.
    filters : tuple of Codec
        As they are without a chain, in the order of encoding; a compressor that takes numbers
        rather than bytes comes last.
    steps : tuple of BytesBytesCodec
        The same as codecs of bytes.
    """

    name = "numcodecs filters"
    serializer: ArrayBytesCodec
    filters: tuple[Codec, ...]
    steps: tuple[BytesBytesCodec, ...]
    _configuration: Mapping[str, Any] = field(hash=False)

    def configuration(self) -> dict[str, Any]:
        """Give what the chain was made from."""
        return dict(self._configuration)

    def encoded_nbytes(self, spec: ChunkSpec) -> int | None:
        """Give the encoded length where no step's depends on the values."""
        n_bytes = self.serializer.encoded_nbytes(spec)
        for step in self.steps:
            n_bytes = None if n_bytes is None else step.encoded_nbytes(n_bytes)
        return n_bytes

    def encoded_bound(self, spec: ChunkSpec) -> int | None:
        """Give an upper bound of the encoded length."""
        return self._bounds(spec)[-1]

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Lay the elements out and run every filter over them."""
        data = self.serializer.encode(array, spec)
        for step, limit in zip(self.steps, self._bounds(spec), strict=False):
            if limit is None:
                check_unbounded(step, data, spec.options)
            data = step.encode(data)
        return data

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Undo every filter, none of them to more than it can have been given."""
        for step, limit in zip(reversed(self.steps), self._bounds(spec)[-2::-1], strict=True):
            if limit is None:
                decoded = decode_unbounded(step, data, spec.options)
            else:
                decoded = step.decode(data, limit=limit)
            data = decoded.data if isinstance(decoded, np.ndarray) else decoded
        return self.serializer.decode(data, spec)

    def _bounds(self, spec: ChunkSpec) -> list[int | None]:
        """Give the most bytes before the first step, and after each."""
        bounds = [self.serializer.encoded_bound(spec)]
        for step in self.steps:
            before = bounds[-1]
            bounds.append(None if before is None else step.encoded_bound(before))
        return bounds


def make_chain(configuration: Mapping[str, Any], spec: ChunkSpec, make: Make) -> FilterChain:
    """Make a chain.

    Parameters
    ----------
    configuration : mapping
        ``serializer``, a CodecSpec; ``filters``, a tuple of them; ``first``, the place of the
        first of these in the document; and ``compressor``, one that takes numbers, or None.
    spec : ChunkSpec
        The chunk to encode.
    make : callable
        Makes the codec of one entry.

    Raises
    ------
    CodecError
        Whose ``nested_problems`` say which filters cannot be made.
    """
    serializer = make(configuration["serializer"], spec)
    if not isinstance(serializer, ArrayBytesCodec):
        raise CodecError(f"{configuration['serializer'].name} does not turn arrays into bytes")
    place: _Place | None = _first_place(serializer, spec)
    filters: list[Codec] = []
    steps: list[BytesBytesCodec] = []
    problems: list[tuple[str, str]] = []
    for path, entry in _entries(configuration):
        if problems:
            problems += _certain(path, entry, spec, make)
            continue
        try:
            codec, step, place = _make_step(entry, place, make)
        except CodecError as error:
            problems.extend(located(error, path, below=""))
            continue
        filters.append(codec)
        steps.append(step)
    if problems:
        raise CodecError("; ".join(what for _, what in problems), nested_problems=problems)
    return FilterChain(serializer, tuple(filters), tuple(steps), configuration)


def chain_problems(
    configuration: Mapping[str, Any], spec: ChunkSpec, make: Make
) -> list[tuple[str, str]]:
    """List what is wrong with filters whatever they are given; arguments as in `make_chain`."""
    return [
        (f".configuration.{below}", what)
        for path, entry in _entries(configuration)
        for below, what in _certain(path, entry, spec, make)
    ]


def _entries(configuration: Mapping[str, Any]) -> Iterator[tuple[str, CodecSpec]]:
    """Iterate over the entries of a chain behind the serializer, each with its JSON path."""
    for i, entry in enumerate(configuration["filters"], configuration.get("first", 0)):
        if entry is not UNREAD:
            yield f"filters[{i}]", entry
    if configuration["compressor"] is not None:
        yield "compressor", configuration["compressor"]


def _certain(path: str, entry: CodecSpec, spec: ChunkSpec, make: Make) -> list[tuple[str, str]]:
    """List what is wrong with a filter behind one that cannot be made."""
    found = probe(entry, stand_ins(spec.options), make).problems
    return [(path + below.removeprefix(".configuration"), what) for below, what in found]


class _Place(NamedTuple):
    """What the memory between two filters holds: elements of a type, in its byte order."""

    dtype: np.dtype[Any]
    shape: Shape

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ArrayStep(BytesBytesCodec):
    """A codec of arrays, between bytes that hold a known number of elements.

    Parameters
    ----------
    codec : ArrayArrayCodec or ArrayBytesCodec
        What does the work.
    spec : ChunkSpec
        What it encodes.
    dtype : numpy.dtype
        The type of that, in the byte order of the bytes before.
    encoded : numpy.dtype, optional
        The type that it encodes to, in the byte order of the bytes after; None for bytes.
    """

    name = "numcodecs filter"
    codec: ArrayArrayCodec | ArrayBytesCodec
    spec: ChunkSpec
    dtype: np.dtype[Any]
    encoded: np.dtype[Any] | None

    @property
    def _encoded_shape(self) -> Shape:
        assert isinstance(self.codec, ArrayArrayCodec)
        return self.codec.resolve(self.spec).shape

    def encoded_nbytes(self, n_bytes: int) -> int | None:
        """Give the encoded length of the array."""
        if isinstance(self.codec, ArrayBytesCodec):
            return self.codec.encoded_nbytes(self.spec)
        assert self.encoded is not None
        return math.prod(self._encoded_shape) * self.encoded.itemsize

    def encoded_bound(self, n_bytes: int) -> int | None:
        """Give an upper bound of the encoded length of the array."""
        if isinstance(self.codec, ArrayBytesCodec):
            return self.codec.encoded_bound(self.spec)
        return self.encoded_nbytes(n_bytes)

    def encode(self, data: Buffer) -> Buffer:
        """Encode the elements that the bytes hold."""
        array = as_bytes(data).view(self.dtype).reshape(self.spec.shape)
        array = array.astype(self.dtype.newbyteorder("="), copy=False)
        if isinstance(self.codec, ArrayBytesCodec):
            return self.codec.encode(array, self.spec)
        return as_bytes(
            np.ascontiguousarray(self.codec.encode(array, self.spec), self.encoded)
        ).data

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer:
        """Give the bytes that hold the elements."""
        if isinstance(self.codec, ArrayBytesCodec):
            array = self.codec.decode(data, self.spec)
        else:
            assert self.encoded is not None
            view = as_bytes(data)
            if view.nbytes != self.encoded_nbytes(0):
                raise CodecError(
                    f"{self.codec.name} expected {self.encoded_nbytes(0)} bytes, got {view.nbytes}"
                )
            stored = view.view(self.encoded).reshape(self._encoded_shape)
            native = stored.astype(self.encoded.newbyteorder("="), copy=False)
            array = self.codec.decode(native, self.spec)
        return as_bytes(np.ascontiguousarray(array, self.dtype)).data


def _first_place(serializer: ArrayBytesCodec, spec: ChunkSpec) -> _Place | None:
    if serializer.encoded_nbytes(spec) is None:
        return None
    dtype = spec.data_type.dtype
    if serializer.configuration().get("endian") == "big":
        dtype = dtype.newbyteorder(">")
    elif serializer.configuration().get("endian") == "little":
        dtype = dtype.newbyteorder("<")
    return _Place(dtype, spec.shape)


def _make_step(
    entry: CodecSpec, place: _Place | None, make: Make
) -> tuple[Codec, BytesBytesCodec, _Place | None]:
    """Make one filter, and say what it leaves; None stands for bytes of any number."""
    spec, dtype = _seen_by(entry, place)
    if entry.name == "numcodecs.shuffle":
        # Version 3 takes the type's size where none is given, numcodecs always this one.
        entry = entry._replace(configuration={"elementsize": 4, **entry.configuration})
    codec = make(entry, spec)
    if isinstance(codec, BytesBytesCodec):
        n_bytes = None if place is None else codec.encoded_nbytes(place.n_bytes)
        after = None if n_bytes is None else _Place(np.dtype(np.uint8), (n_bytes,))
        return codec, codec, after
    if not isinstance(codec, (ArrayArrayCodec, ArrayBytesCodec)):
        raise CodecError(f"{entry.name} is no filter")
    if place is None:
        raise CodecError(
            f"{entry.name} takes elements, but the bytes before it are of no fixed number"
        )
    if isinstance(codec, ArrayBytesCodec):
        return codec, ArrayStep(codec, spec, dtype, None), None
    after_spec = codec.resolve(spec)
    encoded = codec.astype if isinstance(codec, TypedFilter) else after_spec.data_type.dtype
    if encoded.kind == dtype.kind and not isinstance(codec, TypedFilter):
        encoded = dtype
    step = ArrayStep(codec, spec, dtype, encoded)
    if codec.name == _BITROUND:
        # numcodecs leaves the bits as integers; a codec of numbers behind it is told so.
        encoded = np.dtype(f"{encoded.str[0]}i{encoded.itemsize}")
    return codec, step, _Place(encoded, after_spec.shape)


def _seen_by(entry: CodecSpec, place: _Place | None) -> tuple[ChunkSpec, np.dtype[Any]]:
    """Say what a filter sees in the memory before it: elements of the type it is configured for."""
    dtype, shape = place or (np.dtype(np.uint8), ())
    declared = entry.configuration.get("dtype", entry.configuration.get("decode_dtype"))
    if entry.name == "numcodecs.packbits":
        declared = "?"
    if isinstance(declared, str):
        try:
            dtype = np.dtype(declared)
        except (TypeError, ValueError, SyntaxError):
            # The codec itself says what is wrong with it.
            dtype = place.dtype if place is not None else dtype
    if place is not None and _is_swapped(dtype, place.dtype):
        raise CodecError(
            f"{entry.name} takes {dtype.str}, but is given {place.dtype.str}: with their bytes "
            f"swapped, floats would be rounded to other numbers"
        )
    if place is not None and dtype.itemsize != place.dtype.itemsize:
        if not dtype.itemsize or place.n_bytes % dtype.itemsize:
            raise CodecError(f"{entry.name} takes {dtype}, which {place.n_bytes} bytes cannot hold")
        shape = (place.n_bytes // dtype.itemsize,)
    try:
        data_type = from_numpy(dtype.newbyteorder("="))
    except InvalidArgumentError:
        n_bytes = 0 if place is None else place.n_bytes
        dtype, shape, data_type = np.dtype(np.uint8), (n_bytes,), from_numpy("uint8")
    return ChunkSpec(shape, data_type, data_type.default_fill()), dtype


def _is_swapped(seen: np.dtype[Any], given: np.dtype[Any]) -> bool:
    """Whether floats of one byte order are taken for those of the other."""
    return seen.kind == given.kind == "f" and seen == given.newbyteorder("S") != given

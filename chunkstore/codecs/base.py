"""The contract of a codec: three kinds, each a frozen value that computes and does no I/O.

Floor 2. A chunk is encoded by a list of codecs, any number of the first kind, one of the second,
any number of the third, and decoded by the same list backwards::

    array ──[array-to-array]*──▶ array ──[array-to-bytes]──▶ bytes ──[bytes-to-bytes]*──▶ bytes

A codec is made from its configuration by ``from_configuration`` and gives it back by
``configuration()``; two codecs with the same configuration are equal. Codecs are used by many
threads at once and keep no state.

What an array-to-array codec does to the shape, data type and fill value of a chunk is told by
``resolve``; the pipeline threads a `ChunkSpec` through the list with it, so that each codec knows
what it is given.

A codec of your own is a class derived from one of the three, as in each file of this folder:

>>> import chunkstore
>>> @dataclass(frozen=True)
... class Xor(BytesBytesCodec):
...     name = "example.xor"
...     key: int = 255
...
...     @classmethod
...     def from_configuration(cls, configuration, spec):
...         settings = Settings(cls.name, configuration, required=("key",))
...         key = settings.integer("key", 0, 255)
...         settings.check()
...         return cls(key)
...
...     def configuration(self):
...         return {"key": self.key}
...
...     def encode(self, data):
...         return (as_bytes(data) ^ self.key).data
...
...     def decode(self, data, *, limit=None, out=None):
...         return (as_bytes(data) ^ self.key).data
>>> store = chunkstore.MemoryStore()
>>> made = chunkstore.create_array(store, data=np.arange(4), compressors=Xor(7))
>>> chunkstore.open_array(store, options=chunkstore.Options(codecs=(Xor,)))[1:]
array([1, 2, 3])

A package makes its codec known to all who install it, without the option, by an entry point::

    [project.entry-points."chunkstore.codecs"]
    "example.xor" = "my_package:Xor"

Source: Zarr v3 core, "Codecs".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np

from chunkstore.codecs.settings import Settings
from chunkstore.dtypes import DataType, from_numpy
from chunkstore.errors import ChecksumError, CodecError, InvalidArgumentError
from chunkstore.options import Options
from chunkstore.types import Buffer, NDArray, Shape

__all__ = [
    "ArrayArrayCodec",
    "ArrayBytesCodec",
    "BytesBytesCodec",
    "Checksum32",
    "ChunkSpec",
    "Codec",
    "TypedFilter",
    "as_bytes",
    "check_count",
    "check_limit",
    "check_typed",
    "check_unbounded",
    "component",
    "decode_members",
    "decode_unbounded",
    "integer_limits",
    "is_float",
    "is_integer",
]

_DEFAULT_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """What a chunk is at one place of the pipeline.

    Parameters
    ----------
    shape : tuple of int
        Extent along each axis, in elements.
    data_type : DataType
        Type of the elements.
    fill_value : scalar
        What elements are that were never written, as they are at this place.
    options : Options
        Run settings of the handle; a codec may heed them, never to change what bytes mean.
    """

    shape: Shape
    data_type: DataType
    fill_value: Any
    options: Options = _DEFAULT_OPTIONS

    @property
    def n_elements(self) -> int:
        """Number of elements of the chunk, padding included."""
        return math.prod(self.shape)

    def replace(self, **changes: Any) -> ChunkSpec:
        """Give the same spec with some fields changed."""
        return replace(self, **changes)


class Codec:
    """What the three kinds share.

    A subclass is a frozen dataclass whose fields are its configuration, and sets `name`.
    """

    name: ClassVar[str]
    __slots__ = ()

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec from its configuration in a document.

        Parameters
        ----------
        configuration : mapping
            The ``configuration`` object; empty where the document has none.
        spec : ChunkSpec
            What the codec will be given to encode.

        Raises
        ------
        CodecError
            If a key is missing, unknown or has a value the codec cannot take.
        """
        Settings(cls.name, configuration).check()
        return cls()

    def configuration(self) -> dict[str, Any]:
        """Give the ``configuration`` object from which an equal codec can be made."""
        return {}


class ArrayArrayCodec(Codec):
    """Array to array: changes values, their order, or their type."""

    __slots__ = ()

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Tell what `encode` returns when it is given a chunk of this spec."""
        return spec

    def encode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Encode a chunk; may return a view of it."""
        raise NotImplementedError

    def decode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Undo `encode`; `spec` is what `encode` was given. May return a view."""
        raise NotImplementedError


class ArrayBytesCodec(Codec):
    """Array to bytes: how elements are laid out."""

    __slots__ = ()

    def encoded_nbytes(self, spec: ChunkSpec) -> int | None:
        """Give the encoded length in bytes where the spec alone decides it, else None."""
        return None

    def encoded_bound(self, spec: ChunkSpec) -> int | None:
        """Give an upper bound of the encoded length in bytes; None if there is none."""
        return self.encoded_nbytes(spec)

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode a chunk; may return a view of its memory."""
        raise NotImplementedError

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Undo `encode`. May return a read-only view of `data`.

        Raises
        ------
        CodecError
            If the bytes cannot be a chunk of this spec.
        """
        raise NotImplementedError

    def is_plain(self, spec: ChunkSpec) -> bool:
        """Whether encoded bytes are the chunk's memory as it is, in C order."""
        return False


class BytesBytesCodec(Codec):
    """Bytes to bytes: compression and checksums."""

    __slots__ = ()

    def encoded_bound(self, n_bytes: int) -> int | None:
        """Give an upper bound of the encoded length of `n_bytes` bytes; None if there is none."""
        return None

    def encoded_nbytes(self, n_bytes: int) -> int | None:
        """Give the encoded length of `n_bytes` bytes where it does not depend on their values."""
        return None

    def encode(self, data: Buffer) -> Buffer:
        """Encode; may return a view of `data`."""
        raise NotImplementedError

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer | NDArray:
        """Undo `encode`.

        Parameters
        ----------
        data : bytes-like
            As stored.
        limit : int, optional
            More bytes than this the decoded value cannot have; a codec that could be made to
            produce more checks before it allocates.
        out : numpy.ndarray of uint8, optional
            Writable memory of exactly the decoded length. A codec that can decode into it does
            and returns it; the others return their result as usual.

        Raises
        ------
        CodecError
            If the bytes are damaged, or would decode to more than `limit`.
        """
        raise NotImplementedError


def as_bytes(data: Buffer | NDArray) -> NDArray:
    """View any bytes-like value as a one-dimensional array of uint8, without a copy."""
    if isinstance(data, np.ndarray):
        return data.reshape(-1).view(np.uint8)
    return np.frombuffer(data, np.uint8)


def check_limit(name: str, n_bytes: int | str, limit: int | None) -> None:
    """Refuse to decode to more bytes than a codec was told to expect.

    `n_bytes` in words is of a length that is known to be too large, but not how large.
    """
    if limit is not None and (isinstance(n_bytes, str) or n_bytes > limit):
        raise CodecError(
            f"{name} decodes to {n_bytes} bytes, more than the {limit} expected", limit=limit
        )


def decode_unbounded(codec: BytesBytesCodec, data: Buffer, options: Options) -> Buffer | NDArray:
    """Undo a codec whose decoded length the metadata does not bound, within that of the options.

    Raises
    ------
    CodecError
        If it is longer; the message says which option to change.
    """
    limit = options.max_decoded_bytes
    try:
        decoded = codec.decode(data, limit=limit)
        check_limit(codec.name, as_bytes(decoded).nbytes, limit)
    except CodecError as error:
        if getattr(error, "limit", None) != limit:
            raise
        raise CodecError(
            f"{codec.name} decodes {memoryview(data).nbytes} bytes to more than {limit}, and the "
            f"metadata does not say how many there should be. If you trust whoever wrote them, "
            f"open the array with a larger Options(max_decoded_bytes=…)",
            is_advice=True,
        ) from error
    return decoded


def check_unbounded(codec: BytesBytesCodec, data: Buffer, options: Options) -> None:
    """Refuse to encode what `decode_unbounded` would refuse to decode."""
    n_bytes = memoryview(data).nbytes
    if n_bytes > options.max_decoded_bytes:
        raise CodecError(
            f"the chunk has {n_bytes} bytes for {codec.name}, more than the "
            f"{options.max_decoded_bytes} that it would be read with. Choose smaller chunks, or "
            f"use a larger Options(max_decoded_bytes=…) to write and to read",
            is_advice=True,
        )


def check_count(name: str, view: NDArray, spec: ChunkSpec) -> None:
    """Refuse bytes that start with another count than the chunk's, or are too short for it.

    The codecs of elements with their length in front allocate by the count: each of so many
    elements has at least 4 bytes of length.
    """
    count = int.from_bytes(view[:4].tobytes(), "little")
    if view.nbytes < 4 or count != spec.n_elements:
        raise CodecError(
            f"{name} holds {count if view.nbytes >= 4 else 'no'} elements, expected "
            f"{spec.n_elements} for shape {spec.shape}"
        )
    if view.nbytes < 4 + 4 * count:
        raise CodecError(f"{name} has {view.nbytes} bytes, too few for {count} elements")


def is_integer(data_type: DataType) -> bool:
    """Whether a data type is one of whole numbers, ``int2`` to ``uint64``."""
    return re.fullmatch(r"u?int\d+", data_type.name) is not None


def is_float(data_type: DataType) -> bool:
    """Whether a data type is one of real floats, ``float4_e2m1fn`` to ``float64``."""
    return re.fullmatch(r"b?float\d+(_\w+)?", data_type.name) is not None


def component(data_type: DataType) -> str:
    """Give the name of the real type that an element is made of: half of a complex one.

    Examples
    --------
    >>> component(from_numpy("complex64")), component(from_numpy("int16"))
    ('float32', 'int16')
    """
    if data_type.name in ("complex64", "complex128"):
        return f"float{data_type.dtype.itemsize * 4}"
    return data_type.name.removeprefix("complex_")


def integer_limits(data_type: DataType) -> tuple[int, int]:
    """Give the least and the largest number of a type of whole numbers.

    Examples
    --------
    >>> integer_limits(from_numpy("int8"))
    (-128, 127)
    """
    n_bits = int(data_type.name.rpartition("int")[2])
    if data_type.name.startswith("u"):
        return 0, 2**n_bits - 1
    return -(2 ** (n_bits - 1)), 2 ** (n_bits - 1) - 1


class Decompressor(Protocol):
    """What the decompressors of the standard library have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def unused_data(self) -> bytes:
        """What was fed after the end of the stream."""

    def decompress(self, data: Any, max_length: int) -> bytes:
        """Decompress more of the stream, to at most `max_length` bytes."""


_PIECE_BYTES = 1 << 16
"""What is fed at a time after the first member of a stream: a decompressor copies what it does
not use, and a value of many short members would be copied whole for each of them."""


def decode_members(
    name: str,
    start: Callable[[], Decompressor],
    data: Buffer,
    *,
    limit: int | None,
    unlimited: int = -1,
) -> Buffer:
    """Decode compressed streams that follow one another, never to more than `limit` bytes.

    Parameters
    ----------
    name : str
        What to call the codec in an error.
    start : callable
        Makes the decompressor of one stream.
    data : bytes-like
        One stream or more.
    limit : int, optional
        Refuse to decode to more bytes than this; the memory taken stays within it.
    unlimited : int
        What the library takes for a length without limit.
    """
    view = memoryview(data).cast("B")
    parts: list[bytes] = []
    total = at = 0
    step = view.nbytes
    while at < view.nbytes or not parts:
        member = start()
        while not member.eof:
            if at >= view.nbytes:
                raise CodecError(f"{name} stream of {view.nbytes} bytes ends before its end mark")
            piece = view[at : at + step]
            room = unlimited if limit is None else limit - total + 1
            try:
                part = member.decompress(piece, room)
            # Each library has exceptions of its own, and some derive from nothing but Exception.
            except Exception as error:
                raise CodecError(f"{name} cannot decode {view.nbytes} bytes: {error}") from error
            total += len(part)
            if limit is not None and total > limit:
                check_limit(name, f"{total} or more", limit)
            parts.append(part)
            at += piece.nbytes
        at -= len(member.unused_data)
        step = _PIECE_BYTES
    return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True)
class Checksum32(BytesBytesCodec):
    """Store four bytes of checksum, little-endian, beside the bytes they are of.

    Parameters
    ----------
    location : {"start", "end"}
        Whether the checksum comes before the bytes or after them.
    """

    location: Literal["start", "end"] = "start"

    default_location: ClassVar[Literal["start", "end"]] = "start"

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, optional=("location",))
        location = settings.choice("location", ("start", "end"), cls.default_location)
        settings.check()
        return cls("start" if location == "start" else "end")

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"location": self.location}

    def checksum(self, content: NDArray) -> int:
        """Compute the checksum of bytes."""
        raise NotImplementedError

    def encoded_bound(self, n_bytes: int) -> int:
        """Add four bytes."""
        return n_bytes + 4

    def encoded_nbytes(self, n_bytes: int) -> int:
        """Add four bytes."""
        return n_bytes + 4

    def encode(self, data: Buffer) -> Buffer:
        """Give the bytes and their checksum."""
        checksum = self.checksum(as_bytes(data)).to_bytes(4, "little")
        return b"".join((checksum, data) if self.location == "start" else (data, checksum))

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer | NDArray:
        """Check the bytes and give a view of them without the checksum."""
        view = as_bytes(data)
        if view.nbytes < 4:
            raise CodecError(f"{self.name} needs at least 4 bytes, got {view.nbytes}")
        at_start = self.location == "start"
        content, last = (view[4:], view[:4]) if at_start else (view[:-4], view[-4:])
        check_limit(self.name, content.nbytes, limit)
        stored, computed = int.from_bytes(last.tobytes(), "little"), self.checksum(content)
        if computed != stored:
            raise ChecksumError(
                f"{self.name} does not match: stored {stored:#010x}, computed {computed:#010x}"
            )
        return content.data


@dataclass(frozen=True, slots=True)
class TypedFilter(ArrayArrayCodec):
    """An array-to-array codec of numcodecs, whose configuration says the types of both sides.

    In version 3 the type it takes must be the one it is given, up to the meaning of the same
    bytes: ``<i8`` is taken for dates. In version 2 it is given bytes, which it sees as that type.
    Byte orders count only there.

    Parameters
    ----------
    dtype : numpy.dtype
        What it takes and gives back.
    astype : numpy.dtype
        What it encodes to.
    """

    dtype: np.dtype[Any]
    astype: np.dtype[Any]

    def encode_values(self, values: NDArray) -> NDArray:
        """Encode elements of `dtype` in native byte order to as many of `astype`."""
        raise NotImplementedError

    def decode_values(self, values: NDArray) -> NDArray:
        """Undo `encode_values`."""
        raise NotImplementedError

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Change the data type; the fill value is the same number, or zero where it cannot be.

        The fill value is not encoded, as in zarr-python: what these codecs make of an element may
        depend on its neighbours, and a shard behind them leaves out what equals this one.
        """
        dtype = self.astype.newbyteorder("=")
        return spec.replace(data_type=from_numpy(dtype), fill_value=_same_or_zero(spec, dtype))

    def encode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Encode the elements in C order; the shape stays."""
        values = np.ascontiguousarray(array).reshape(-1).view(self.dtype.newbyteorder("="))
        return self.encode_values(values).reshape(spec.shape)

    def decode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Undo `encode`."""
        values = self.decode_values(np.ascontiguousarray(array).reshape(-1))
        return values.view(spec.data_type.dtype).reshape(spec.shape)


def check_typed(name: str, dtypes: tuple[np.dtype[Any], np.dtype[Any]], spec: ChunkSpec) -> None:
    """Refuse types of a `TypedFilter` that cannot be those of its place in the pipeline."""
    dtype, astype = dtypes
    given = spec.data_type.dtype
    if not spec.data_type.is_fixed_size or dtype.itemsize != given.itemsize:
        raise CodecError(f"{name} takes elements of {dtype}, but is given {spec.data_type.name}")
    try:
        from_numpy(astype.newbyteorder("="))
    except InvalidArgumentError as error:
        raise CodecError(f"{name} cannot encode to {astype}: {error}") from error


def _same_or_zero(spec: ChunkSpec, dtype: np.dtype[Any]) -> Any:
    """Give the fill value in another type; zero where that type cannot hold it."""
    fill = np.asarray(spec.fill_value, spec.data_type.dtype)
    if fill.dtype.kind in "biuf" or fill.dtype.kind == dtype.kind:
        with np.errstate(all="ignore"):
            cast = fill.astype(dtype)
            if cast.astype(fill.dtype).tobytes() == fill.tobytes():
                return cast[()]
    return np.zeros((), dtype)[()]

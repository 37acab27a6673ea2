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

Source: Zarr v3 core, "Codecs".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from chunkstore.dtypes import DataType
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray, Shape

__all__ = [
    "ArrayArrayCodec",
    "ArrayBytesCodec",
    "BytesBytesCodec",
    "ChunkSpec",
    "Codec",
    "as_bytes",
    "check_keys",
    "integer",
]


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """What a chunk is at one place of the pipeline: shape, data type and fill value."""

    shape: Shape
    data_type: DataType
    fill_value: Any

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
        check_keys(cls.name, configuration)
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


def check_keys(
    name: str,
    configuration: Mapping[str, Any],
    *,
    required: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
) -> None:
    """Refuse a configuration with missing or unknown keys, naming the first of them."""
    for key in required:
        if key not in configuration:
            raise CodecError(f"{name} needs {key!r} in its configuration", key=key)
    for key in configuration:
        if key not in required and key not in optional:
            known = ", ".join(map(repr, required + optional)) or "none"
            raise CodecError(f"{name} does not know {key!r}; it knows: {known}", key=key)


def integer(name: str, configuration: Mapping[str, Any], key: str, least: int, most: int) -> int:
    """Read a whole number from a configuration and check its range."""
    value = configuration[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise CodecError(
            f"{name} takes for {key!r} an integer from {least} to {most}, got {value!r}", key=key
        )
    return value

"""``numcodecs.zfpy``: zfp, lossy compression of smooth arrays of one to four axes.

Floor 2. Array to bytes. Name in v3, unregistered: ``numcodecs.zfpy``; in v2: ``{"id": "zfpy"}``,
as compressor or filter. zarr-python reads it.

.. code-block:: json

    {"name": "numcodecs.zfpy", "configuration": {"mode": 4, "tolerance": 0.01, "rate": -1,
                                                 "precision": -1}}

Needs the package zfpy, which is imported on first use. The library reads as far as the bytes tell
it to, past their end if they are cut short; so it is given what it could at most read, and only
what does not depend on the bytes added is believed.
Source: numcodecs documentation, "ZFPY"; zfp documentation, "Header" and "Modes".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Self

import numpy as np

from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError, MissingExtraError
from chunkstore.types import Buffer, NDArray, Shape

__all__ = ["ZfpyCodec"]

_PARAMETERS = {2: "rate", 3: "precision", 4: "tolerance"}
_DTYPES = ("i4", "i8", "f4", "f8")
_MAGIC = b"zfp"
_HEADER_BYTES = 19
_MOST_BITS_A_BLOCK = 16658
"""The library's own bound, of a block of four axes and 64 bits."""


@dataclass(frozen=True, slots=True)
class ZfpyCodec(ArrayBytesCodec):
    """Compress an array with zfp.

    Parameters
    ----------
    mode : {2, 3, 4}
        What is fixed: the rate, the precision, or the accuracy.
    tolerance : float
        Largest error of an element, for mode 4; -1 is without loss.
    rate : float
        Bits an element, for mode 2.
    precision : float
        Bit planes an element, for mode 3.
    """

    name = "numcodecs.zfpy"
    mode: int = 4
    tolerance: float = -1
    rate: float = -1
    precision: float = -1

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`.

        ``compression_kwargs``, which numcodecs writes, repeats the other keys.
        """
        keys = ("mode", "tolerance", "rate", "precision", "compression_kwargs")
        settings = Settings(cls.name, configuration, optional=keys)
        mode = settings.integer("mode", min(_PARAMETERS), max(_PARAMETERS), default=4)
        values = {key: settings.number(key, math.inf, -1) for key in _PARAMETERS.values()}
        settings.check()
        if not spec.data_type.is_fixed_size or spec.data_type.dtype.str[1:] not in _DTYPES:
            raise CodecError(f"{cls.name} cannot compress {spec.data_type.name}")
        if not 1 <= len(spec.shape) <= 4:
            raise CodecError(
                f"{cls.name} compresses arrays of 1 to 4 axes, not of {len(spec.shape)}"
            )
        _library()
        return cls(mode, values["tolerance"], values["rate"], values["precision"])

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {
            "mode": self.mode,
            "tolerance": self.tolerance,
            "rate": self.rate,
            "precision": self.precision,
        }

    def encoded_bound(self, spec: ChunkSpec) -> int:
        """Give what the largest block takes, for each of them."""
        return _HEADER_BYTES + _n_blocks(spec.shape) * _MOST_BITS_A_BLOCK // 8 + 8

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Compress, with a header that tells type and shape."""
        key = _PARAMETERS[self.mode]
        arguments = {key: {"rate": self.rate, "precision": self.precision}.get(key, self.tolerance)}
        try:
            encoded: bytes = _library().compress_numpy(
                np.ascontiguousarray(array), write_header=True, **arguments
            )
        except (TypeError, ValueError, RuntimeError) as error:
            raise CodecError(f"zfpy cannot encode shape {spec.shape}: {error}") from error
        return encoded

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decompress, after checking the header against the chunk."""
        stored = bytes(data)
        header = _header(stored)
        if header.dtype != spec.data_type.dtype or math.prod(header.shape) != spec.n_elements:
            raise CodecError(
                f"zfpy holds {header.dtype} of shape {header.shape}, expected "
                f"{spec.data_type.name} of shape {spec.shape}"
            )
        added = _n_blocks(header.shape) * max(_most_bits(header), header.least_bits) // 8 + 16
        decoded = self._decompress(stored + bytes(added))
        if self._decompress(stored + b"\xff" * added).tobytes() != decoded.tobytes():
            raise CodecError(f"zfpy stream is cut short: it has {len(stored)} bytes")
        return decoded.reshape(spec.shape)

    def _decompress(self, data: bytes) -> NDArray:
        try:
            decoded: NDArray = _library().decompress_numpy(data)
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise CodecError(f"zfpy cannot decode: {error}") from error
        return decoded


class _Header(NamedTuple):
    """What a stream declares; `least_bits` are those that a block takes up in any case."""

    dtype: np.dtype[Any]
    shape: Shape
    least_bits: int


def _header(data: bytes) -> _Header:
    """Read the 32 bits of magic, 52 of type and shape, and 12 or 76 of mode."""
    if data[:3] != _MAGIC or len(data) < 12:
        raise CodecError(f"not a zfp stream: starts with {data[:4].hex() or 'nothing'}")
    bits: int = int.from_bytes(data[4:20], "little")
    dtype = np.dtype(_DTYPES[bits & 3])
    ndim = (bits >> 2 & 3) + 1
    width = 48 // ndim
    lengths = [(bits >> 4 + i * width & (1 << width) - 1) + 1 for i in range(ndim)]
    mode = bits >> 52 & 0xFFF
    if mode < 2048:
        least = mode + 1
    else:
        least = (bits >> 64 & 0x7FFF) + 1 if mode == 4095 else 1
    if least > _MOST_BITS_A_BLOCK:
        raise CodecError(f"zfp stream declares blocks of {least} bits, more than there can be")
    return _Header(dtype, tuple(reversed(lengths)), least)


def _n_blocks(shape: Shape) -> int:
    return math.prod((n + 3) // 4 for n in shape)


def _most_bits(header: _Header) -> int:
    """Give the most bits of a block: the planes of its elements, their groups, and an exponent."""
    n_elements: int = 4 ** len(header.shape)
    return n_elements * (header.dtype.itemsize * 8 + 1) + 32


def _library() -> Any:
    try:
        return import_module("zfpy")
    except ImportError as error:
        raise MissingExtraError(
            "the codec numcodecs.zfpy needs the package zfpy: pip install zfpy==1.0.1"
        ) from error

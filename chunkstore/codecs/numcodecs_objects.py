"""``json2``, ``msgpack2`` and ``pickle``: a chunk of any objects as one document.

Floor 2. Array to bytes. In v2: filters such as ``{"id": "json2"}`` on the type ``|O``, and on types
that such a document can hold, numbers and text; in v3: no names.

.. code-block:: json

    {"name": "numcodecs.json2", "configuration": {"encoding": "utf-8"}}

JSON and MessagePack hold a list: the elements, nested along the axes, then the type string and the
shape of the chunk. All three keep the shape themselves, so a document's ``order`` means nothing.
Reading a pickle can run any code, so it is refused unless the handle's options allow it. Encoding
uses numcodecs. Source: numcodecs, "json", "msgpacks", "pickles".
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numcodecs
import numpy as np
from numcodecs.errors import UnknownCodecError

from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec
from chunkstore.codecs.settings import Settings
from chunkstore.dtypes import DataType
from chunkstore.errors import CodecError, MissingExtraError
from chunkstore.types import Buffer, NDArray, Shape

__all__ = ["JSON2Codec", "MsgPack2Codec", "PickleCodec"]


@dataclass(frozen=True, slots=True)
class _ListCodec(ArrayBytesCodec):
    """What JSON and MessagePack share: a nested list with the type and the shape at its end.

    Parameters
    ----------
    codec : numcodecs.abc.Codec
        The codec that encodes.
    """

    codec_id: ClassVar[str]
    options: ClassVar[tuple[str, ...]]
    codec: Any = field(hash=False)

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        Settings(cls.name, configuration, optional=cls.options).check()
        _check_type(cls.codec_id, spec.data_type)
        try:
            codec = numcodecs.get_codec({"id": cls.codec_id, **configuration})
        except UnknownCodecError as error:
            raise MissingExtraError(
                f"the filter {cls.codec_id} needs a library that is not installed: "
                f"pip install 'numcodecs[msgpack]'"
            ) from error
        except (TypeError, ValueError, LookupError) as error:
            raise CodecError(f"{cls.codec_id} refuses {configuration!r}: {error}") from error
        return cls(codec)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {key: value for key, value in self.codec.get_config().items() if key != "id"}

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode the chunk, which keeps its shape."""
        try:
            return bytes(self.codec.encode(array))
        except (TypeError, ValueError, LookupError, OverflowError, RecursionError) as error:
            raise CodecError(f"{self.codec_id} cannot hold an element: {error}") from error

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decode, after checking type and shape against those of the chunk."""
        try:
            items = self.load(bytes(data))
        except (ValueError, RecursionError) as error:
            raise CodecError(f"{self.codec_id} cannot decode {len(data)} bytes: {error}") from error
        if not isinstance(items, list) or len(items) < 2 or not isinstance(items[-1], list):
            raise CodecError(f"{self.codec_id} holds no list of elements, type and shape")
        shape = tuple(items[-1])
        if shape != spec.shape and not (spec.n_elements == 1 and all(n == 1 for n in shape)):
            raise CodecError(
                f"{self.codec_id} holds a chunk of shape {shape}, expected {spec.shape}"
            )
        return _array(self.codec_id, _flattened(self.codec_id, items[:-2], shape), spec)

    def load(self, data: bytes) -> Any:
        """Decode the document; a ValueError says that it is none."""
        raise NotImplementedError


class JSON2Codec(_ListCodec):
    """Store a chunk as JSON."""

    name = "numcodecs.json2"
    codec_id = "json2"
    options = (
        "encoding",
        "skipkeys",
        "ensure_ascii",
        "check_circular",
        "allow_nan",
        "sort_keys",
        "indent",
        "separators",
        "strict",
    )
    __slots__ = ()

    def load(self, data: bytes) -> Any:
        """Decode JSON."""
        settings = self.configuration()
        try:
            text = data.decode(settings["encoding"])
        except LookupError as error:
            raise ValueError(str(error)) from error
        return json.loads(text, strict=settings["strict"])


class MsgPack2Codec(_ListCodec):
    """Store a chunk as MessagePack; needs the library msgpack."""

    name = "numcodecs.msgpack2"
    codec_id = "msgpack2"
    options = ("raw", "use_bin_type", "use_single_float")
    __slots__ = ()

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode the chunk; numcodecs cannot do so without an axis, so one is added."""
        return _ListCodec.encode(self, np.atleast_1d(array), spec)

    def load(self, data: bytes) -> Any:
        """Decode MessagePack, after a pass that checks every count against what follows it."""
        import msgpack  # type: ignore[import-untyped,unused-ignore]

        try:
            # The library allocates what a count says, at each of up to a thousand levels.
            counted = msgpack.Unpacker(max_buffer_size=max(1, len(data)), strict_map_key=False)
            counted.feed(data)
            counted.skip()
            return msgpack.unpackb(data, raw=self.codec.raw, strict_map_key=False)
        except msgpack.UnpackException as error:
            raise ValueError(str(error) or "it is cut short") from error


@dataclass(frozen=True, slots=True)
class PickleCodec(ArrayBytesCodec):
    """Store a chunk as a pickle, if that is allowed.

    Parameters
    ----------
    protocol : int
        The version of the format to write.
    """

    name = "numcodecs.pickle"
    protocol: int = pickle.HIGHEST_PROTOCOL

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, optional=("protocol",))
        newest = pickle.HIGHEST_PROTOCOL
        protocol = settings.integer("protocol", 0, newest, default=newest)
        settings.check()
        return cls(protocol)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"protocol": self.protocol}

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode the chunk, which keeps its shape."""
        _check_allowed(spec)
        try:
            return pickle.dumps(array, protocol=self.protocol)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            raise CodecError(f"pickle cannot hold an element: {error}") from error

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decode; whatever code the pickle names is run."""
        _check_allowed(spec)
        try:
            decoded = pickle.loads(data)
        # What a pickle runs may raise anything.
        except Exception as error:
            raise CodecError(f"pickle cannot decode {len(data)} bytes: {error}") from error
        found = decoded if isinstance(decoded, np.ndarray) else None
        if found is None or found.shape != spec.shape or found.dtype != spec.data_type.dtype:
            what = type(decoded).__name__ if found is None else f"{found.dtype} of {found.shape}"
            raise CodecError(
                f"pickle holds {what}, expected {spec.data_type.dtype} of {spec.shape}"
            )
        return found


def _check_allowed(spec: ChunkSpec) -> None:
    if not spec.options.allow_pickle:
        raise CodecError(
            "the array is stored as pickles, and reading one can run any code. If you trust "
            "whoever wrote it, open it with options=Options(allow_pickle=True)",
            is_advice=True,
        )


def _check_type(codec_id: str, data_type: DataType) -> None:
    is_object = data_type.name == "object"
    if not is_object and not (data_type.is_fixed_size and data_type.dtype.kind in "biufU"):
        raise CodecError(
            f"{codec_id} does not hold {data_type.name}; create the array with dtype=object"
        )


def _flattened(codec_id: str, level: list[Any], shape: Shape) -> list[Any]:
    """Give the elements in C order; lists below the last axis are elements themselves."""
    if len(level) != (shape[0] if shape else 1):
        raise CodecError(f"{codec_id} holds {len(level)} items along axis 0 of shape {shape}")
    for axis, extent in enumerate(shape[1:], 1):
        for row in level:
            if not isinstance(row, list) or len(row) != extent:
                raise CodecError(f"{codec_id} holds no {extent} items along axis {axis}")
        level = [item for row in level for item in row]
    return level


def _array(codec_id: str, elements: list[Any], spec: ChunkSpec) -> NDArray:
    dtype = spec.data_type.dtype
    if dtype.kind == "O":
        return np.fromiter(elements, object, len(elements)).reshape(spec.shape)
    try:
        made = spec.data_type.cast(elements).astype(dtype)
    except ValueError as error:
        raise CodecError(f"{codec_id} holds no {spec.data_type.name}: {error}") from error
    if made.ndim != 1:
        raise CodecError(f"{codec_id} holds lists, no elements of {spec.data_type.name}")
    return made.reshape(spec.shape)

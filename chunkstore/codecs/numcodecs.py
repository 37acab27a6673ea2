"""``numcodecs.*``: codecs of the numcodecs library that have no file of their own.

Floor 2. Bytes to bytes. Names in v3, unregistered: ``numcodecs.lz4``, ``numcodecs.fletcher32``,
``numcodecs.jenkins_lookup3``, ``numcodecs.base64``; in v2 the same ids, and those that other
packages register with numcodecs. zarr-python reads them.

.. code-block:: json

    {"name": "numcodecs.lz4", "configuration": {"acceleration": 1}}

.. code-block:: json

    {"name": "numcodecs.fletcher32"}

.. code-block:: json

    {"name": "numcodecs.jenkins_lookup3", "configuration": {"initval": 0}}

.. code-block:: json

    {"name": "numcodecs.base64"}

Source: numcodecs documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numcodecs
from numcodecs.errors import UnknownCodecError
from numcodecs.registry import codec_registry
from numcodecs.registry import entries as numcodecs_entries

from chunkstore.codecs.base import BytesBytesCodec, as_bytes, check_limit
from chunkstore.errors import ChecksumError, CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["NumcodecsBytesCodec"]

_OF_OBJECTS = ("categorize", "json2", "msgpack2", "pickle", "vlen-array", "vlen-bytes", "vlen-utf8")
"""These make Python objects of bytes; the last thing to do with bytes that are not objects."""

_ADDED_BYTES = {"fletcher32": 4, "jenkins_lookup3": 4}
_FLETCHER32_OF_NOTHING = bytes(4)


@dataclass(frozen=True, slots=True)
class NumcodecsBytesCodec(BytesBytesCodec):
    """A codec of numcodecs from bytes to bytes.

    Parameters
    ----------
    name : str
        The id with the prefix.
    configuration_json : str
        The configuration without the id, and without what is None.
    codec : numcodecs.abc.Codec
        The codec that does the work.
    """

    # Here a field, where the other codecs have one name for the class.
    name: str  # type: ignore[misc]
    configuration_json: str
    codec: Any = field(compare=False, repr=False)

    @staticmethod
    def knows(codec_id: str) -> bool:
        """Whether numcodecs, or a package that it knows of, has a codec of this id."""
        return codec_id in codec_registry or codec_id in numcodecs_entries

    @classmethod
    def from_id(cls, codec_id: str, configuration: Mapping[str, Any]) -> NumcodecsBytesCodec:
        """Make the codec that numcodecs knows under an id.

        Raises
        ------
        CodecError
            If numcodecs does not know the id, or refuses the configuration.
        """
        if codec_id in _OF_OBJECTS:
            raise CodecError(f"numcodecs.{codec_id} is for arrays of objects only")
        try:
            codec = numcodecs.get_codec({"id": codec_id, **configuration})
            settings = {
                key: value
                for key, value in codec.get_config().items()
                if key != "id" and value is not None
            }
            return cls(f"numcodecs.{codec_id}", json.dumps(settings, sort_keys=True), codec)
        except UnknownCodecError as error:
            raise CodecError(
                f"codec numcodecs.{codec_id} is not known here, nor is {codec_id!r} to numcodecs"
            ) from error
        # A codec of another package may raise anything.
        except Exception as error:
            raise CodecError(
                f"numcodecs refuses {codec_id!r} {dict(configuration)!r}: {error}"
            ) from error

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        configuration: dict[str, Any] = json.loads(self.configuration_json)
        return configuration

    def encoded_nbytes(self, n_bytes: int) -> int | None:
        """Give the length where the codec only adds a checksum."""
        added = _ADDED_BYTES.get(self.codec.codec_id)
        return None if added is None else n_bytes + added

    def encoded_bound(self, n_bytes: int) -> int | None:
        """Give the bound that the library states, where it states one."""
        if self.codec.codec_id == "lz4":
            return n_bytes + n_bytes // 255 + 20
        if self.codec.codec_id == "base64":
            return 4 * -(-n_bytes // 3)
        return self.encoded_nbytes(n_bytes)

    def encode(self, data: Buffer) -> Buffer:
        """Encode with numcodecs."""
        view = as_bytes(data)
        if not view.nbytes and self.codec.codec_id == "fletcher32":
            # The library looks at the first byte in any case.
            return _FLETCHER32_OF_NOTHING
        try:
            return as_bytes(self.codec.encode(view)).data
        # Each library raises what it likes: zlib.error, OSError, RuntimeError, ...
        except Exception as error:
            raise CodecError(f"{self.name} cannot encode: {error}") from error

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer | NDArray:
        """Decode with numcodecs, and check the length before where it can be known, else after."""
        view = as_bytes(data)
        is_empty = self._declared(view, limit) == 0
        if is_empty or (
            self.codec.codec_id == "fletcher32" and view.data == _FLETCHER32_OF_NOTHING
        ):
            # numcodecs takes a block of nothing for damage.
            return b""
        try:
            decoded = as_bytes(self.codec.decode(view))
        except Exception as error:
            is_checksum = self.codec.codec_id in _ADDED_BYTES and isinstance(error, RuntimeError)
            raise (ChecksumError if is_checksum else CodecError)(
                f"{self.name} cannot decode {view.nbytes} bytes: {error}"
            ) from error
        check_limit(self.name, decoded.nbytes, limit)
        return decoded.data

    def _declared(self, view: NDArray, limit: int | None) -> int | None:
        """Give the decoded length where the bytes say it, and refuse one above the limit."""
        least = _ADDED_BYTES.get(self.codec.codec_id, 4 if self.codec.codec_id == "lz4" else 0)
        if view.nbytes < least:
            raise CodecError(f"{self.name} needs at least {least} bytes, got {view.nbytes}")
        if self.codec.codec_id != "lz4":
            return None
        declared = int.from_bytes(view[:4].tobytes(), "little", signed=True)
        if declared < 0:
            raise CodecError(f"{self.name} declares {declared} bytes")
        check_limit(self.name, declared, limit)
        return declared

"""``numcodecs.*``: every codec of the numcodecs library, as version 2 knows them.

Floor 2. In v2 documents a codec is ``{"id": "zlib", "level": 1}``; zarr-python also writes the
same configuration in v3 documents under the name ``numcodecs.zlib``.

.. code-block:: json

    {"name": "numcodecs.zlib", "configuration": {"level": 1}}

Source: numcodecs documentation; Zarr v2, "compressor".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numcodecs
from numcodecs.errors import UnknownCodecError

from chunkstore.codecs.base import BytesBytesCodec, as_bytes
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["NumcodecsBytesCodec"]


@dataclass(frozen=True, slots=True)
class NumcodecsBytesCodec(BytesBytesCodec):
    """A compressor or checksum of numcodecs, bytes to bytes.

    Parameters
    ----------
    codec : numcodecs.abc.Codec
        The codec that does the work.
    """

    name = "numcodecs"
    codec: Any

    @classmethod
    def from_id(cls, codec_id: str, configuration: Mapping[str, Any]) -> NumcodecsBytesCodec:
        """Make the codec that numcodecs knows under an id.

        Raises
        ------
        CodecError
            If numcodecs does not know the id, or refuses the configuration.
        """
        try:
            return cls(numcodecs.get_codec({"id": codec_id, **configuration}))
        except UnknownCodecError as error:
            raise CodecError(f"numcodecs has no codec {codec_id!r}") from error
        except (TypeError, ValueError) as error:
            raise CodecError(
                f"numcodecs refuses {codec_id!r} {configuration!r}: {error}"
            ) from error

    def configuration(self) -> dict[str, Any]:
        """Give the configuration without the id."""
        return {key: value for key, value in self.codec.get_config().items() if key != "id"}

    def encode(self, data: Buffer) -> Buffer:
        """Encode with numcodecs."""
        return as_bytes(self.codec.encode(data)).data

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer | NDArray:
        """Decode with numcodecs, then check the length."""
        try:
            decoded = as_bytes(self.codec.decode(data))
        except Exception as error:
            # numcodecs lets each library raise what it likes: zlib.error, OSError, EOFError, ...
            raise CodecError(
                f"{self.codec.codec_id} cannot decode {len(data)} bytes: {error}"
            ) from error
        if limit is not None and decoded.nbytes > limit:
            raise CodecError(
                f"{self.codec.codec_id} decodes to {decoded.nbytes} bytes, more than the {limit} "
                f"expected"
            )
        return decoded.data

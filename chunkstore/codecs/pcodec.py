"""``numcodecs.pcodec``: pco, compression of numbers by what their sequence looks like.

Floor 2. Array to bytes. Name in v3, unregistered: ``numcodecs.pcodec``; in v2:
``{"id": "pcodec"}``, as compressor or filter. zarr-python and zarrs read it.

.. code-block:: json

    {"name": "numcodecs.pcodec", "configuration": {"level": 8, "mode_spec": "auto",
        "delta_spec": "auto", "paging_spec": "equal_pages_up_to", "delta_encoding_order": null,
        "equal_pages_up_to": 262144}}

Needs the package pcodec, which is imported on first use.
Source: numcodecs documentation, "PCodec"; the pco format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError, MissingExtraError
from chunkstore.types import Buffer, NDArray

__all__ = ["PcodecCodec"]

_DTYPES = ("u2", "u4", "u8", "i2", "i4", "i8", "f2", "f4", "f8")
_DELTAS = ("auto", "no_op", "none", "try_consecutive", "try_lookback")


@dataclass(frozen=True, slots=True)
class PcodecCodec(ArrayBytesCodec):
    """Compress the elements with pco.

    Parameters
    ----------
    level : int
        From 0, fastest, to 12, smallest.
    mode_spec : {"auto", "classic"}
        Whether to look for structure such as multiples of 0.1.
    delta_spec : str
        How to take differences first; "none" is an older word for "no_op".
    delta_encoding_order : int, optional
        How many times, where "try_consecutive" is chosen or implied by it.
    equal_pages_up_to : int
        Numbers of a page.
    """

    name = "numcodecs.pcodec"
    level: int = 8
    mode_spec: str = "auto"
    delta_spec: str = "auto"
    delta_encoding_order: int | None = None
    equal_pages_up_to: int = 262144

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        keys = ("level", "mode_spec", "delta_spec", "paging_spec", "delta_encoding_order")
        settings = Settings(cls.name, configuration, optional=(*keys, "equal_pages_up_to"))
        level = settings.integer("level", 0, 12, default=8)
        mode = settings.choice("mode_spec", ("auto", "classic"), "auto")
        settings.choice("paging_spec", ("equal_pages_up_to",), "equal_pages_up_to")
        pages = settings.integer("equal_pages_up_to", 1, 2**31 - 1, default=262144)
        delta = settings.choice("delta_spec", _DELTAS, "auto")
        order = settings.get("delta_encoding_order")
        if order is not None:
            order = settings.integer("delta_encoding_order", 0, 7)
            if delta not in ("auto", "try_consecutive"):
                settings.problem(
                    "delta_encoding_order",
                    f'{cls.name} takes "delta_encoding_order" with "try_consecutive" only, '
                    f"got {delta!r}",
                )
        settings.check()
        if not spec.data_type.is_fixed_size or spec.data_type.dtype.str[1:] not in _DTYPES:
            raise CodecError(f"{cls.name} cannot compress {spec.data_type.name}")
        _standalone()
        return cls(level, mode, delta, order, pages)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {
            "level": self.level,
            "mode_spec": self.mode_spec,
            "delta_spec": self.delta_spec,
            "paging_spec": "equal_pages_up_to",
            "delta_encoding_order": self.delta_encoding_order,
            "equal_pages_up_to": self.equal_pages_up_to,
        }

    def encoded_bound(self, spec: ChunkSpec) -> int:
        """Allow for headers and bins beside numbers that cannot be compressed."""
        n_bytes = spec.n_elements * spec.data_type.dtype.itemsize
        pages = -(-spec.n_elements // self.equal_pages_up_to) + 1
        return n_bytes + n_bytes // 4 + pages * 256 + (1 << 17)

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Compress the elements in C order."""
        flat = np.require(array, requirements=["C", "A"]).reshape(-1)
        try:
            encoded: bytes = _standalone().simple_compress(flat, self._settings())
        except (RuntimeError, TypeError, ValueError) as error:
            raise CodecError(f"pcodec cannot encode {flat.size} elements: {error}") from error
        return encoded

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decompress into memory of the chunk's size, whatever the bytes declare."""
        flat = np.empty(spec.n_elements, spec.data_type.dtype)
        try:
            progress = _standalone().simple_decompress_into(bytes(data), flat)
        except (RuntimeError, TypeError, ValueError) as error:
            raise CodecError(f"pcodec cannot decode {len(data)} bytes: {error}") from error
        if progress.n_processed != flat.size or not progress.finished:
            what = "" if progress.finished else "more than "
            raise CodecError(
                f"pcodec holds {what}{progress.n_processed} elements, expected {flat.size} for "
                f"shape {spec.shape}"
            )
        return flat.reshape(spec.shape)

    def _settings(self) -> Any:
        library = import_module("pcodec")
        delta = library.DeltaSpec
        if self.delta_encoding_order is not None:
            delta_spec = delta.try_consecutive(self.delta_encoding_order)
        elif self.delta_spec in ("none", "no_op"):
            # Releases before 1 have only the older word.
            delta_spec = (getattr(delta, "no_op", None) or delta.none)()
        elif self.delta_spec == "try_consecutive":
            delta_spec = delta.try_consecutive(1)
        else:
            delta_spec = getattr(delta, self.delta_spec)()
        return library.ChunkConfig(
            compression_level=self.level,
            delta_spec=delta_spec,
            mode_spec=getattr(library.ModeSpec, self.mode_spec)(),
            paging_spec=library.PagingSpec.equal_pages_up_to(self.equal_pages_up_to),
        )


def _standalone() -> Any:
    """Give the part of the library for values that hold all they need to be decoded."""
    try:
        return import_module("pcodec.standalone")
    except ImportError as error:
        raise MissingExtraError(
            "the codec numcodecs.pcodec needs the package pcodec: pip install pcodec"
        ) from error

"""``numcodecs.shuffle``: bytes of equal weight side by side, which compress better.

Floor 2. Bytes to bytes. Name in v3, unregistered: ``numcodecs.shuffle``; in v2:
``{"id": "shuffle"}``. zarr-python and zarrs read it; HDF5 has the same filter.

.. code-block:: json

    {"name": "numcodecs.shuffle", "configuration": {"elementsize": 4}}

Source: numcodecs documentation, "Shuffle".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import BytesBytesCodec, ChunkSpec, as_bytes, check_limit
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["ShuffleCodec"]

_FEW = 32


@dataclass(frozen=True, slots=True)
class ShuffleCodec(BytesBytesCodec):
    """Put the first bytes of all elements before the second ones, and so on.

    Parameters
    ----------
    elementsize : int
        Bytes of an element; 0 and 1 change nothing.

    Examples
    --------
    >>> bytes(ShuffleCodec(2).encode(b"aAbBcC"))
    b'abcABC'
    """

    name = "numcodecs.shuffle"
    elementsize: int

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; a missing ``elementsize`` is that of the elements."""
        settings = Settings(cls.name, configuration, optional=("elementsize",))
        if settings.get("elementsize") is None:
            elementsize = spec.data_type.dtype.itemsize if spec.data_type.is_fixed_size else 1
        else:
            elementsize = settings.integer("elementsize", 0, 2**31 - 1)
        settings.check()
        return cls(elementsize)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"elementsize": self.elementsize}

    def encoded_bound(self, n_bytes: int) -> int:
        """Give the same length."""
        return n_bytes

    def encoded_nbytes(self, n_bytes: int) -> int:
        """Give the same length."""
        return n_bytes

    def encode(self, data: Buffer) -> Buffer:
        """Rearrange into new memory."""
        view = self._checked(data)
        if self.elementsize <= 1:
            return view.data
        return np.ascontiguousarray(view.reshape(-1, self.elementsize).T).reshape(-1).data

    def decode(
        self, data: Buffer, *, limit: int | None = None, out: NDArray | None = None
    ) -> Buffer | NDArray:
        """Rearrange back, into `out` where its length is right."""
        view = self._checked(data)
        check_limit(self.name, view.nbytes, limit)
        if self.elementsize <= 1:
            return view.data
        decoded = out if out is not None and out.nbytes == view.nbytes else np.empty_like(view)
        elements = decoded.reshape(-1, self.elementsize)
        if self.elementsize > _FEW:
            elements[...] = view.reshape(self.elementsize, -1).T
        else:
            # One column at a time is five times as fast as numpy's transposition.
            for i, column in enumerate(view.reshape(self.elementsize, -1)):
                elements[:, i] = column
        return decoded

    def _checked(self, data: Buffer) -> NDArray:
        view = as_bytes(data)
        if self.elementsize > 1 and view.nbytes % self.elementsize:
            raise CodecError(
                f"shuffle has elements of {self.elementsize} bytes, which do not make up "
                f"{view.nbytes} bytes"
            )
        return view

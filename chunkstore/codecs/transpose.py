"""``transpose``: permute the axes of a chunk.

Floor 2. Array to array. Name in v3: ``transpose``; in v2: ``order: "F"``, the axes reversed.

.. code-block:: json

    {"name": "transpose", "configuration": {"order": [1, 0, 2]}}

Axis ``i`` of the encoded chunk is axis ``order[i]`` of the chunk. Source: Zarr v3 core codecs,
"transpose".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import ArrayArrayCodec, ChunkSpec
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import NDArray

__all__ = ["TransposeCodec"]


@dataclass(frozen=True, slots=True)
class TransposeCodec(ArrayArrayCodec):
    """Permute axes.

    Parameters
    ----------
    order : tuple of int
        A permutation of ``range(ndim)``.
    """

    name = "transpose"
    order: tuple[int, ...]

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, required=("order",))
        order = settings.get("order")
        if (
            not isinstance(order, (list, tuple))
            or any(isinstance(axis, bool) or not isinstance(axis, int) for axis in order)
            or sorted(order) != list(range(len(order)))
        ):
            settings.note("order", "a permutation of the axes 0, 1, …")
        settings.check()
        ndim = len(spec.shape)
        if len(order) != ndim:
            raise CodecError(
                f'transpose takes for "order" a permutation of {list(range(ndim))}, got {order!r}',
                key="order",
            )
        return cls(tuple(order))

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"order": list(self.order)}

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Permute the shape."""
        return spec.replace(shape=tuple(spec.shape[axis] for axis in self.order))

    def encode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Give a view with the axes permuted."""
        return array.transpose(self.order)

    def decode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Give a view with the axes in their own order again."""
        return array.transpose(np.argsort(self.order))

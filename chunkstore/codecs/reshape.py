"""``reshape``: a chunk under another shape, its elements in the same C order.

Floor 2. Array to array. Name in v3: ``reshape`` (registered extension); none in v2. zarrs reads
it.

.. code-block:: json

    {"name": "reshape", "configuration": {"shape": [[0, 1], -1]}}

Each entry of ``shape`` is a length, a list of axes of the chunk whose lengths are multiplied, or
once -1 for what is left. Source: zarr-extensions, "reshape".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from chunkstore.codecs.base import ArrayArrayCodec, ChunkSpec
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import NDArray, Shape

__all__ = ["ReshapeCodec"]

Entry = int | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReshapeCodec(ArrayArrayCodec):
    """Reshape without moving an element.

    Parameters
    ----------
    entries : tuple of int or tuple of int
        A length, the axes that make up this one, or -1.

    Examples
    --------
    >>> from chunkstore.dtypes import from_numpy
    >>> spec = ChunkSpec((100, 50, 64, 3), from_numpy("u1"), 0)
    >>> ReshapeCodec(((0, 1), (2,), 3)).resolve(spec).shape
    (5000, 64, 3)
    """

    name = "reshape"
    entries: tuple[Entry, ...]

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(cls.name, configuration, required=("shape",))
        shape = settings.get("shape")
        if not isinstance(shape, (list, tuple)):
            settings.note("shape", "a list")
        settings.check()
        entries = tuple(map(_entry, shape))
        _new_shape(entries, spec.shape)
        return cls(entries)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"shape": [list(e) if isinstance(e, tuple) else e for e in self.entries]}

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """Change the shape."""
        return spec.replace(shape=_new_shape(self.entries, spec.shape))

    def encode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Give a view under the new shape; a copy where the layout has none."""
        return array.reshape(_new_shape(self.entries, spec.shape))

    def decode(self, array: NDArray, spec: ChunkSpec) -> NDArray:
        """Give a view under the chunk's own shape."""
        return array.reshape(spec.shape)


def _entry(value: Any) -> Entry:
    if _is_integer(value) and (value == -1 or value >= 1):
        return int(value)
    if isinstance(value, (list, tuple)) and all(_is_integer(axis) for axis in value):
        return tuple(value)
    raise CodecError(
        f"reshape takes for 'shape' positive integers, lists of axes and -1, got {value!r}",
        key="shape",
    )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _new_shape(entries: Sequence[Entry], shape: Shape) -> Shape:
    """Work out the new shape, and refuse entries that would name axes out of their place."""
    axes = [axis for entry in entries if isinstance(entry, tuple) for axis in entry]
    if any(not 0 <= axis < len(shape) for axis in axes):
        raise CodecError(f"reshape names an axis that shape {shape} has not", key="shape")
    if any(b <= a for a, b in itertools.pairwise(axes)):
        raise CodecError(f"reshape names axes out of order: {axes}", key="shape")
    lengths = [
        math.prod(shape[axis] for axis in entry) if isinstance(entry, tuple) else entry
        for entry in entries
    ]
    size, known = math.prod(shape), math.prod(n for n in lengths if n != -1)
    if lengths.count(-1) > 1:
        raise CodecError("reshape takes -1 only once", key="shape")
    if -1 in lengths and known and size % known == 0:
        lengths[lengths.index(-1)] = size // known
    if math.prod(lengths) != size or -1 in lengths:
        raise CodecError(
            f"reshape to {_shown(entries)} does not keep the {size} elements of shape {shape}",
            key="shape",
        )
    for i, entry in enumerate(entries):
        if isinstance(entry, tuple) and entry:
            before, after = shape[: entry[0]], shape[entry[-1] + 1 :]
            if math.prod(lengths[:i]) != math.prod(before) or (
                math.prod(lengths[i + 1 :]) != math.prod(after)
            ):
                raise CodecError(
                    f"reshape to {_shown(entries)} moves axes {list(entry)} of shape {shape}",
                    key="shape",
                )
    return tuple(lengths)


def _shown(entries: Sequence[Entry]) -> list[Any]:
    return [list(entry) if isinstance(entry, tuple) else entry for entry in entries]
